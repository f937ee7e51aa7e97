"""Codec: from protobuf to checked values and back. Nothing behind it meets protobuf or a bad field.

Shapes: K shown products.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from serving.event_fields import (
    EVENT_TYPES,
    discount_of,
    dwell_ms_in_seconds,
    dwell_ms_of,
    recent_events,
    result_count_of,
    shop_time_ms,
)
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
from serving.recommend.request import Ask
from shop.errors import InvalidRequest
from shop.events import EventType
from shop.features import PLACEMENTS, Context
from shop.filters import Filter, parse_filter
from shop.local_time import UTC_ZONE, utc_offset_minutes
from shop.merchandising import LEAST_FACTOR, MOST_FACTOR, Boost, Promotion
from shop.tokens import Page, decode_attribution, decode_page

DEFAULT_PAGE_SIZE = 20
MAX_PAGE_SIZE = 500
MAX_EVENTS = 1_000
MAX_MANY = 1_000
MAX_PRICES = 500
_MAX_CONTEXT_PRODUCTS = 100
_MAX_CART = 200
_MAX_EXCLUDED = 1_000
_MAX_WISHES = 10  # boosts, and promotions: each is a pass over the candidates, and more
_RETURN_FIELDS = tuple(field.name for field in pb.RecommendedProduct.DESCRIPTOR.fields)


@dataclass(frozen=True, slots=True)
class Decoder:
    """What it takes to judge a request: the shop's currency, token key and clock, fresh ids."""

    currency: str
    token_key: bytes
    now_ms: Callable[[], int]  # by the shop's clock
    new_request_id: Callable[[], str]
    time_zone: str = UTC_ZONE  # of shoppers who do not tell theirs
    clock_offset_ms: int = 0  # the shop's clock minus the callers'
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
                utc_offset_minutes=self._offset(checks, request, now_ms),
                placement=checks.one_of("placement", request.placement, PLACEMENTS),
                device=text("device", request.device, MAX_NAME_BYTES),
                country=text("country", request.country, MAX_NAME_BYTES),
                segment=text("segment", request.segment, MAX_NAME_BYTES),
            ),
            page_size=checks.whole("page_size", request.page_size, 0, MAX_PAGE_SIZE)
            or DEFAULT_PAGE_SIZE,
            page=None,
            recent_events=recent_events(
                checks, request.recent_events, now_ms, self.clock_offset_ms
            ),
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
            preview=request.preview,
        )
        if request.page_token:
            ask = replace(ask, page=self._page(checks, request.page_token, ask))
        checks.raise_if_any()
        return ask

    def _offset(self, checks: FieldChecks, request: pb.RecommendRequest, now_ms: int) -> int:
        """The shopper's clock against UTC in minutes, the shop's where the request does not say."""
        if not request.HasField("utc_offset_minutes"):
            return utc_offset_minutes(self.time_zone, now_ms)
        name, most = "utc_offset_minutes", MAX_OFFSET_MINUTES
        return checks.whole(name, request.utc_offset_minutes, -most, most)

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
        ids = checks.different_ids("product_ids", request.product_ids, MAX_PRICES)
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
        name = checks.one_of(f"{at}type", event.type, EVENT_TYPES)
        user = text(f"{at}user_id", event.user_id, MAX_ID_BYTES)
        visitor = text(f"{at}visitor_id", event.visitor_id, MAX_ID_BYTES)
        if not user and not visitor:
            checks.add(f"{at}user_id", "is required, or visitor_id")
        if event.placement:
            checks.one_of(f"{at}placement", event.placement, PLACEMENTS)
        kind = EVENT_TYPES.get(name, EventType.CLICK)  # never seen where the type is wrong
        value = checks.real(f"{at}value", event.value, 0.0, MAX_VALUE)
        return ShopperEvent(
            idempotency_key=text(
                f"{at}idempotency_key", event.idempotency_key, MAX_ID_BYTES, required=True
            ),
            type=kind,
            shopper=user or visitor,
            session_id=text(f"{at}session_id", event.session_id, MAX_ID_BYTES),
            product_id=text(
                f"{at}product_id",
                event.product_id,
                MAX_ID_BYTES,
                required=name != EventType.SEARCH,
            ),
            time_ms=shop_time_ms(
                checks, f"{at}time_ms", event.time_ms, now_ms, self.clock_offset_ms
            ),
            quantity=checks.whole(f"{at}quantity", event.quantity, 0, MAX_QUANTITY),
            price_minor=checks.whole(f"{at}price_minor", event.price_minor, 0, MAX_PRICE_MINOR),
            position=checks.whole(f"{at}position", event.position, 0, MAX_POSITION),
            value=value,
            query=text(f"{at}query", event.query, MAX_QUERY_BYTES),
            placement=event.placement,
            device=text(f"{at}device", event.device, MAX_NAME_BYTES),
            country=text(f"{at}country", event.country, MAX_NAME_BYTES),
            request_id=self._request_of(checks, at, event.attribution_token, now_ms),
            dwell_ms=dwell_ms_of(checks, at, event, kind) or dwell_ms_in_seconds(kind, value),
            result_count=result_count_of(checks, at, event, kind),
            discount=discount_of(checks, at, event),
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


def _cart(checks: FieldChecks, cart: Sequence[pb.CartItem]) -> tuple[str, ...]:
    checks.count("cart", len(cart), _MAX_CART)
    for at, item in enumerate(cart[:_MAX_CART]):
        checks.text(f"cart[{at}].product_id", item.product_id, MAX_ID_BYTES, required=True)
        checks.whole(f"cart[{at}].quantity", item.quantity, 0, MAX_QUANTITY)
    return tuple(item.product_id for item in cart)
