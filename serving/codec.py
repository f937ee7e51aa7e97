"""Codec: from protobuf to checked values and back. Nothing behind it meets protobuf or a bad field.

Shapes: K shown products.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from serving.field_checks import (
    MAX_DEADLINE_MS,
    MAX_ID_BYTES,
    MAX_NAME_BYTES,
    MAX_OFFSET_MINUTES,
    MAX_POSITION,
    MAX_PRICE_MINOR,
    MAX_QUANTITY,
    MAX_QUERY_BYTES,
    MAX_VALUE,
    FieldChecks,
)
from serving.proto import recommendations_pb2 as pb
from serving.recommend.ports import ShopperEvent
from serving.recommend.prices import PriceAsk
from serving.recommend.request import Ask, RecentEvent
from shop.errors import InvalidRequest
from shop.events import EVENT_CODES, HISTORY_TYPES, EventType
from shop.features import PLACEMENTS, Context
from shop.filters import Filter, parse_filter
from shop.merchandising import LEAST_FACTOR, MOST_FACTOR, Boost, Promotion
from shop.tokens import Page, decode_attribution, decode_page

DEFAULT_PAGE_SIZE = 20
MAX_PAGE_SIZE = 500
MAX_EVENTS = 1_000
MAX_MANY = 1_000
MAX_PRICES = 500
_MAX_CONTEXT_PRODUCTS = 100
_MAX_CART = 200
_MAX_RECENT_EVENTS = 200
_MAX_EXCLUDED = 1_000
_MAX_WISHES = 10  # boosts, and promotions: each is a pass over the candidates, and more
_RETURN_FIELDS = tuple(field.name for field in pb.RecommendedProduct.DESCRIPTOR.fields)
_RECENT_TYPES: dict[str, int] = {
    event.value: EVENT_CODES[event] for event in EventType if event in HISTORY_TYPES
}
_EVENT_TYPES: Mapping[str, EventType] = {event.value: event for event in EventType}


@dataclass(frozen=True, slots=True)
class Decoder:
    """What it takes to judge a request: the shop's currency, its token key, the time, fresh ids."""

    currency: str
    token_key: bytes
    now_ms: Callable[[], int]
    new_request_id: Callable[[], str]
    is_searchable: bool = True  # whether the release has titles to search by

    def ask(self, request: pb.RecommendRequest) -> Ask:
        """Raises InvalidRequest, naming every field that is wrong."""
        now_ms = self.now_ms()
        checks = FieldChecks()
        text = checks.text
        user = text("user_id", request.user_id, MAX_ID_BYTES)
        visitor = text("visitor_id", request.visitor_id, MAX_ID_BYTES)
        if request.query:
            self._check_query(checks, request)
        checks.whole("deadline_ms", request.deadline_ms, 0, MAX_DEADLINE_MS)
        if request.currency not in ("", self.currency):
            checks.add("currency", f"must be the shop's, {self.currency}, or empty")
        if request.experiment_overrides:
            checks.add("experiment_overrides", "no experiment runs yet; leave it empty")
        ask = Ask(
            request_id=text("request_id", request.request_id, MAX_ID_BYTES)
            or self.new_request_id(),
            shopper=user or visitor,
            session_id=text("session_id", request.session_id, MAX_ID_BYTES),
            context=Context(
                now_ms=now_ms,
                utc_offset_minutes=checks.whole(
                    "utc_offset_minutes",
                    request.utc_offset_minutes,
                    -MAX_OFFSET_MINUTES,
                    MAX_OFFSET_MINUTES,
                ),
                placement=checks.one_of("placement", request.placement, PLACEMENTS),
                device=text("device", request.device, MAX_NAME_BYTES),
                country=text("country", request.country, MAX_NAME_BYTES),
                segment=text("segment", request.segment, MAX_NAME_BYTES),
            ),
            page_size=checks.whole("page_size", request.page_size, 0, MAX_PAGE_SIZE)
            or DEFAULT_PAGE_SIZE,
            page=None,
            recent_events=_recent_events(checks, request.recent_events, now_ms),
            context_product_ids=checks.ids(
                "context_product_ids", request.context_product_ids, _MAX_CONTEXT_PRODUCTS
            ),
            cart_product_ids=_cart(checks, request.cart),
            exclude_product_ids=frozenset(
                checks.ids("exclude_product_ids", request.exclude_product_ids, _MAX_EXCLUDED)
            ),
            filter=_filter(checks, "filter", request.filter) if request.filter else None,
            strict_filtering=request.strict_filtering,
            diversity=checks.real("diversity", request.diversity, 0.0, 1.0),
            explain=request.explain,
            boosts=_boosts(checks, request.boosts),
            promotions=_promotions(checks, request.promotions),
            return_fields=_return_fields(checks, request.return_fields),
            query=request.query,
        )
        if request.page_token:
            ask = replace(ask, page=self._page(checks, request.page_token, ask))
        checks.raise_if_any()
        return ask

    def _check_query(self, checks: FieldChecks, request: pb.RecommendRequest) -> None:
        """Not to answer it would be an answer to another question."""
        checks.text("query", request.query, MAX_QUERY_BYTES)
        if request.placement != "search":
            checks.add("query", "is answered by the placement search alone; leave it empty")
        elif not self.is_searchable:
            checks.add("query", "cannot be answered: this release has no titles to search by")

    def _page(self, checks: FieldChecks, token: str, ask: Ask) -> Page | None:
        try:
            return decode_page(
                token,
                self.token_key,
                fingerprint=ask.fingerprint(),
                now_ms=ask.context.now_ms,
            )
        except InvalidRequest as error:
            checks.add(error.field, error.reason)
            return None

    def price_ask(self, request: pb.SuggestPriceRequest) -> PriceAsk:
        """Raises InvalidRequest, naming every field that is wrong."""
        checks = FieldChecks()
        ids = checks.ids("product_ids", request.product_ids, MAX_PRICES)
        if not ids:
            checks.add("product_ids", f"names no product; name 1 to {MAX_PRICES}")
        seen: set[str] = set()
        for at, product_id in enumerate(ids[:MAX_PRICES]):
            if product_id in seen:
                checks.add(f"product_ids[{at}]", "is named before; name each product once")
            seen.add(product_id)
        checks.whole("deadline_ms", request.deadline_ms, 0, MAX_DEADLINE_MS)
        if request.currency not in ("", self.currency):
            checks.add("currency", f"must be the shop's, {self.currency}, or empty")
        request_id = checks.text("request_id", request.request_id, MAX_ID_BYTES)
        checks.raise_if_any()
        return PriceAsk(request_id or self.new_request_id(), ids, self.now_ms())

    def events(self, request: pb.LogEventsRequest) -> list[ShopperEvent]:
        """Raises InvalidRequest, naming every field of every event that is wrong."""
        checks = FieldChecks()
        checks.count("events", len(request.events), MAX_EVENTS)
        checks.raise_if_any()  # a million bad events must not be looked at one by one
        now_ms = self.now_ms()
        events = [
            self._event(checks, f"events[{at}].", event, now_ms)
            for at, event in enumerate(request.events)
        ]
        checks.raise_if_any()
        return events

    def _event(self, checks: FieldChecks, at: str, event: pb.Event, now_ms: int) -> ShopperEvent:
        text = checks.text
        kind = checks.one_of(f"{at}type", event.type, _EVENT_TYPES)
        user = text(f"{at}user_id", event.user_id, MAX_ID_BYTES)
        visitor = text(f"{at}visitor_id", event.visitor_id, MAX_ID_BYTES)
        if not user and not visitor:
            checks.add(f"{at}user_id", "is required, or visitor_id")
        if event.placement:
            checks.one_of(f"{at}placement", event.placement, PLACEMENTS)
        needs_product = kind != EventType.SEARCH
        return ShopperEvent(
            idempotency_key=text(
                f"{at}idempotency_key", event.idempotency_key, MAX_ID_BYTES, required=True
            ),
            type=_EVENT_TYPES.get(kind, EventType.CLICK),  # never seen where the type is wrong
            shopper=user or visitor,
            session_id=text(f"{at}session_id", event.session_id, MAX_ID_BYTES),
            product_id=text(
                f"{at}product_id", event.product_id, MAX_ID_BYTES, required=needs_product
            ),
            time_ms=checks.time_ms(f"{at}time_ms", event.time_ms, now_ms),
            quantity=checks.whole(f"{at}quantity", event.quantity, 0, MAX_QUANTITY),
            price_minor=checks.whole(f"{at}price_minor", event.price_minor, 0, MAX_PRICE_MINOR),
            position=checks.whole(f"{at}position", event.position, 0, MAX_POSITION),
            value=checks.real(f"{at}value", event.value, 0.0, MAX_VALUE),
            query=text(f"{at}query", event.query, MAX_QUERY_BYTES),
            placement=event.placement,
            device=text(f"{at}device", event.device, MAX_NAME_BYTES),
            country=text(f"{at}country", event.country, MAX_NAME_BYTES),
            request_id=self._request_of(checks, at, event.attribution_token, now_ms),
        )

    def _request_of(self, checks: FieldChecks, at: str, token: str, now_ms: int) -> str:
        """The request whose list the event follows from; "" without a token."""
        if not token:
            return ""
        try:
            return decode_attribution(token, self.token_key, now_ms=now_ms).request_id
        except InvalidRequest as error:
            checks.add(f"{at}{error.field}", error.reason)
            return ""


def _filter(checks: FieldChecks, field: str, text: str) -> Filter | None:
    try:
        return parse_filter(text)
    except InvalidRequest as error:
        checks.add(field, error.reason)
        return None


def _boosts(checks: FieldChecks, boosts: Sequence[pb.Boost]) -> tuple[Boost, ...]:
    checks.count("boosts", len(boosts), _MAX_WISHES)
    found = []
    for at, boost in enumerate(boosts[:_MAX_WISHES]):
        filter_ = _filter(checks, f"boosts[{at}].filter", boost.filter)
        factor = checks.real(f"boosts[{at}].factor", boost.factor, LEAST_FACTOR, MOST_FACTOR)
        if filter_ is not None:
            found.append(Boost(filter_, factor))
    return tuple(found)


def _promotions(checks: FieldChecks, promotions: Sequence[pb.Promotion]) -> tuple[Promotion, ...]:
    checks.count("promotions", len(promotions), _MAX_WISHES)
    found = []
    for at, promotion in enumerate(promotions[:_MAX_WISHES]):
        filter_ = _filter(checks, f"promotions[{at}].filter", promotion.filter)
        percent = checks.real(f"promotions[{at}].percent", promotion.percent, 0.0, 100.0)
        if filter_ is not None:
            found.append(Promotion(filter_, percent))
    total = sum(promotion.percent for promotion in found)
    if total > 100.0 and all(promotion.percent <= 100.0 for promotion in found):
        checks.add("promotions", f"take {total:g} percent of the page together, at most 100")
    return tuple(found)


def _return_fields(checks: FieldChecks, names: Sequence[str]) -> frozenset[str]:
    checks.count("return_fields", len(names), len(_RETURN_FIELDS))
    for at, name in enumerate(names[: len(_RETURN_FIELDS)]):
        checks.one_of(f"return_fields[{at}]", name, _RETURN_FIELDS)
    return frozenset(names)


def _recent_events(
    checks: FieldChecks, events: Sequence[pb.RecentEvent], now_ms: int
) -> tuple[RecentEvent, ...]:
    checks.count("recent_events", len(events), _MAX_RECENT_EVENTS)
    found = []
    for at, event in enumerate(events[:_MAX_RECENT_EVENTS]):
        path = f"recent_events[{at}]."
        kind = checks.one_of(f"{path}type", event.type, _RECENT_TYPES)
        product_id = checks.text(f"{path}product_id", event.product_id, MAX_ID_BYTES, required=True)
        time_ms = checks.time_ms(f"{path}time_ms", event.time_ms, now_ms)
        found.append(RecentEvent(_RECENT_TYPES.get(kind, 0), product_id, time_ms))
    return tuple(found)


def _cart(checks: FieldChecks, cart: Sequence[pb.CartItem]) -> tuple[str, ...]:
    checks.count("cart", len(cart), _MAX_CART)
    for at, item in enumerate(cart[:_MAX_CART]):
        checks.text(f"cart[{at}].product_id", item.product_id, MAX_ID_BYTES, required=True)
        checks.whole(f"cart[{at}].quantity", item.quantity, 0, MAX_QUANTITY)
    return tuple(item.product_id for item in cart)
