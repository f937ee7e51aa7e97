"""Visits: page views as shoppers make them, in time, with reloads, ways back and events between.

What a cache can do depends on how often the same shopper asks the same again; so this is explicit
here, unlike in `loadtest.traffic`, where every call is a new page.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from serving.recommend.ports import ShopperEvent
from serving.recommend.request import Answer, Ask
from shop.catalogue import Catalogue
from shop.events import EventType
from shop.features import Context

_OPEN_VISITS = 200  # shoppers in the shop at a time
_PAGE_SIZE = 20
_PAGES = 5.0  # of a visit
_BETWEEN_S = 20.0  # two pages of a visit
_ZIPF_EXPONENT = 0.8  # as in loadtest.traffic
_DEVICES = (("mobile", 0.6), ("desktop", 0.4))
_PAGE_KINDS = (("home", 0.35), ("product", 0.40), ("category", 0.15), ("cart", 0.10))


@dataclass(frozen=True, slots=True)
class Mix:
    """How shoppers behave. Shares lie within 0..1."""

    name: str
    new_shoppers: float  # share of visits by somebody nobody has seen
    reloads: float  # share of views that show the page before once more
    ways_back: float  # share of views that go back to the last page but one
    events: float  # share of views after which an event is logged


@dataclass(frozen=True, slots=True)
class View:
    """One page seen by one shopper."""

    at_ms: int  # since the beginning
    shopper: str
    session: str
    device: str
    placement: str
    product: str  # that the page is about, or lies in the cart; "" = none
    logs_event: bool  # about this product, or one of the list, once it was seen


@dataclass(slots=True)
class _Visit:
    shopper: str
    session: str
    device: str
    pages: list[tuple[str, str]] = field(default_factory=list)
    left: int = 1


def views(
    mix: Mix,
    shoppers: Sequence[str],
    products: Sequence[str],
    count: int,
    rng: np.random.Generator,
) -> Iterator[View]:
    """`count` views in order of time."""
    open_visits: list[_Visit] = []
    at_ms = 0.0
    for number in range(count):
        at_ms += rng.exponential(_BETWEEN_S / _OPEN_VISITS) * 1000.0
        if len(open_visits) < _OPEN_VISITS:
            open_visits.append(_visit(mix, shoppers, number, rng))
        visit = open_visits[int(rng.integers(len(open_visits)))]
        placement, product = _page(mix, visit, products, rng)
        visit.pages.append((placement, product))
        visit.left -= 1
        if visit.left <= 0:
            open_visits.remove(visit)
        yield View(
            int(at_ms),
            visit.shopper,
            visit.session,
            visit.device,
            placement,
            product,
            bool(rng.random() < mix.events),
        )


def _visit(mix: Mix, shoppers: Sequence[str], number: int, rng: np.random.Generator) -> _Visit:
    is_new = rng.random() < mix.new_shoppers
    shopper = f"new-{number}" if is_new else shoppers[_zipf(len(shoppers), rng)]
    device = str(rng.choice([d for d, _ in _DEVICES], p=[share for _, share in _DEVICES]))
    return _Visit(shopper, f"visit-{number}", device, left=int(rng.geometric(1 / _PAGES)))


def _page(
    mix: Mix, visit: _Visit, products: Sequence[str], rng: np.random.Generator
) -> tuple[str, str]:
    luck = rng.random()
    if visit.pages and luck < mix.reloads:
        return visit.pages[-1]
    if len(visit.pages) > 1 and luck < mix.reloads + mix.ways_back:
        return visit.pages[-2]
    kinds, weights = zip(*_PAGE_KINDS, strict=True)
    kind = str(rng.choice(kinds, p=weights))
    has_product = kind in ("product", "cart")
    return kind, products[_zipf(len(products), rng)] if has_product else ""


def _zipf(size: int, rng: np.random.Generator) -> int:
    """A rank below `size`, the first ones often."""
    power = 1.0 - _ZIPF_EXPONENT
    return int(((size**power - 1.0) * rng.random() + 1.0) ** (1.0 / power)) - 1


def ask_of(view: View, number: int, now_ms: int) -> Ask:
    """What the page asks for."""
    product = (view.product,) if view.product else ()
    return Ask(
        request_id=f"view-{number}",
        shopper=view.shopper,
        session_id=view.session,
        context=Context(now_ms, 0, placement=view.placement, device=view.device, country="DE"),
        page_size=_PAGE_SIZE,
        page=None,
        recent_events=(),
        context_product_ids=product if view.placement == "product" else (),
        cart_product_ids=product if view.placement == "cart" else (),
        exclude_product_ids=frozenset(),
        filter=None,
        strict_filtering=False,
        diversity=0.0,
        explain=False,
    )


def event_of(view: View, answer: Answer, catalogue: Catalogue, number: int) -> ShopperEvent:
    """A click on what the page is about, else on the first product of its list."""
    first = catalogue.product_ids[answer.slate.rows[0]]
    return ShopperEvent(
        idempotency_key=f"event-{number}",
        type=EventType.CLICK,
        shopper=view.shopper,
        session_id=view.session,
        product_id=view.product or str(first),
        time_ms=answer.ask.context.now_ms,
        quantity=1,
        price_minor=0,
        position=1,
        value=0.0,
        query="",
        placement=view.placement,
        device=view.device,
        country="DE",
        request_id=answer.ask.request_id,
    )
