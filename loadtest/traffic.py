"""Traffic: who calls and what for. Sessions of known and new shoppers, seeded, made beforehand.

A few shoppers come often and most come rarely (Zipf). A session walks as one of the log did, if
there is a log (`loadtest.sessions`): the same pages, products and carts in the same order. Without
one it wanders from page to page by the scenario's weights, over products that are Zipf, too.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Literal

import numpy as np

from loadtest.doors import Call
from loadtest.sessions import LoggedSession, Step
from serving.proto import recommendations_pb2 as pb

_ZIPF_EXPONENT = 0.8  # repeat visits in shop logs lie between 0.6 and 1
_SALE_ZIPF_EXPONENT = 1.6  # a sale: the first ten products of a thousand get nine of ten looks
_CALLS_PER_SESSION = 5.0
_OPEN_SESSIONS = 200  # how many shoppers are in the shop at a time
_CART_SIZE = 2.5  # products, as a mean
_DEVICES = ("mobile", "desktop", "tablet")
_DEVICE_SHARES = (0.6, 0.34, 0.06)

Placement = Literal["home", "product", "category", "cart", "search", "email"]


@dataclass(frozen=True, slots=True)
class Audience:
    """What calls may name. Without shoppers and products, all is new and unknown."""

    shoppers: Sequence[str]
    products: Sequence[str]
    queries: Sequence[str] = ()
    sessions: Sequence[LoggedSession] = ()


@dataclass(frozen=True, slots=True)
class Scenario:
    """A mix of calls. Shares lie within 0..1."""

    name: str
    summary: str
    placements: tuple[tuple[Placement, float], ...]  # where within a session, with weights
    new_shoppers: float  # share of sessions by visitors nobody has seen
    clicks: float  # share of lists on which a click is logged
    page_size: int
    walks: bool = False  # as the sessions of the log, where there is one
    hot: bool = False  # everybody after the same few products
    batch: int = 0  # shoppers in a RecommendMany; 0: one shopper a call
    rate_per_s: float = 150.0  # where none is asked for


SCENARIOS = {
    scenario.name: scenario
    for scenario in (
        Scenario(
            "browse",
            "shoppers walk through the shop: home, product, category and cart pages",
            (("home", 0.35), ("product", 0.40), ("category", 0.15), ("cart", 0.10)),
            new_shoppers=0.1,
            clicks=0.05,
            page_size=20,
            walks=True,
        ),
        Scenario(
            "search",
            "queries such as 'red summer dresses under $50'",
            (("search", 1.0),),
            new_shoppers=0.2,
            clicks=0.15,
            page_size=30,
        ),
        Scenario(
            "product",
            "product pages alone: what goes with this one",
            (("product", 1.0),),
            new_shoppers=0.3,
            clicks=0.05,
            page_size=20,
        ),
        Scenario(
            "cart",
            "carts of a few products: what is missing in there",
            (("cart", 1.0),),
            new_shoppers=0.05,
            clicks=0.05,
            page_size=20,
        ),
        Scenario(
            "flash-sale",
            "half of the shoppers new, all after the same few products; try --shape spike",
            (("product", 0.55), ("category", 0.15), ("home", 0.15), ("cart", 0.15)),
            new_shoppers=0.5,
            clicks=0.2,
            page_size=20,
            hot=True,
        ),
        Scenario(
            "email",
            "batches of 25 shoppers by RecommendMany; --rate counts batches",
            (("email", 1.0),),
            new_shoppers=0.0,
            clicks=0.0,
            page_size=20,
            batch=25,
            rate_per_s=1.0,
        ),
    )
}


@dataclass(slots=True)
class _Session:
    """One that is under way. `steps` is what remains of a logged one, last first."""

    name: str
    shopper: str
    is_known: bool
    device: str
    left: int
    steps: list[Step]


def make_calls(
    scenario: Scenario, audience: Audience, count: int, rng: np.random.Generator
) -> list[Call]:
    """`count` calls in the order they are to be sent."""
    return list(islice(endless_calls(scenario, audience, rng), count))


def endless_calls(
    scenario: Scenario,
    audience: Audience,
    rng: np.random.Generator,
    *,
    open_sessions: int = _OPEN_SESSIONS,
) -> Iterator[Call]:
    """Calls of so many sessions that are under way at a time, one beginning when another ends."""
    if scenario.batch:
        yield from _batches(scenario, audience, rng)
    sessions: list[_Session] = []
    number = 0
    while True:
        if len(sessions) < open_sessions:
            sessions.append(_session(scenario, audience, number, rng))
        at = int(rng.integers(len(sessions)))
        session = sessions[at]
        yield _call(scenario, audience, session, number, rng)
        number += 1
        session.left -= 1
        if session.left <= 0:
            sessions[at] = sessions[-1]
            sessions.pop()


def _batches(scenario: Scenario, audience: Audience, rng: np.random.Generator) -> Iterator[Call]:
    """A campaign: shoppers in no order, each once a round."""
    everybody = list(audience.shoppers) or [f"visitor-{number:06d}" for number in range(10_000)]
    number = 0
    while True:
        rng.shuffle(everybody)
        for first in range(0, len(everybody), scenario.batch):
            requests = [
                pb.RecommendRequest(
                    placement="email",
                    user_id=shopper,
                    page_size=scenario.page_size,
                    request_id=f"email-{number}-{shopper}",
                )
                for shopper in everybody[first : first + scenario.batch]
            ]
            body = pb.RecommendManyRequest(requests=requests).SerializeToString()
            yield Call(body, kind="email", many=True)
            number += 1


def _session(
    scenario: Scenario, audience: Audience, number: int, rng: np.random.Generator
) -> _Session:
    is_known = bool(audience.shoppers) and rng.random() >= scenario.new_shoppers
    shopper = f"visitor-{rng.integers(1 << 40):010x}"
    name = f"load-{rng.integers(1 << 32):08x}-{number}"
    if scenario.walks and audience.sessions:
        walked = audience.sessions[_zipf(len(audience.sessions), rng)]
        steps = list(walked.steps[::-1])
        known = walked.shopper if is_known else shopper
        return _Session(name, known, is_known, walked.device, len(steps), steps)
    if is_known:
        shopper = audience.shoppers[_zipf(len(audience.shoppers), rng)]
    device = str(rng.choice(_DEVICES, p=_DEVICE_SHARES))
    return _Session(name, shopper, is_known, device, int(rng.geometric(1 / _CALLS_PER_SESSION)), [])


def _zipf(size: int, rng: np.random.Generator, exponent: float = _ZIPF_EXPONENT) -> int:
    """A rank below `size`, the first ones often: the inverse of the continuous distribution."""
    power = 1.0 - exponent
    return min(int(((size**power - 1.0) * rng.random() + 1.0) ** (1.0 / power)), size) - 1


def _call(
    scenario: Scenario,
    audience: Audience,
    session: _Session,
    number: int,
    rng: np.random.Generator,
) -> Call:
    step = session.steps.pop() if session.steps else _wandered(scenario, audience, rng)
    request = pb.RecommendRequest(
        placement=step.placement,
        user_id=session.shopper if session.is_known else "",
        visitor_id="" if session.is_known else session.shopper,
        session_id=session.name,
        device=session.device,
        page_size=scenario.page_size,
        request_id=f"{session.name}-{number}",
        context_product_ids=[step.product] if step.product else [],
        cart=[pb.CartItem(product_id=product, quantity=1) for product in step.cart],
    )
    if step.placement == "search" and audience.queries:
        at = _zipf(len(audience.queries), rng)  # as words, queries are Zipf
        request.query = audience.queries[at]
    clicks = bool(rng.random() < scenario.clicks)
    return Call(request.SerializeToString(), clicks=clicks, kind=step.placement)


def _wandered(scenario: Scenario, audience: Audience, rng: np.random.Generator) -> Step:
    names = [name for name, _ in scenario.placements]
    weights = np.array([weight for _, weight in scenario.placements])
    placement = str(rng.choice(names, p=weights / weights.sum()))
    exponent = _SALE_ZIPF_EXPONENT if scenario.hot else _ZIPF_EXPONENT

    def a_product() -> str:
        return audience.products[_zipf(len(audience.products), rng, exponent)]

    if not audience.products:
        return Step(placement)
    if placement == "product":
        return Step(placement, product=a_product())
    if placement == "cart":
        wanted = 1 + int(rng.poisson(_CART_SIZE - 1.0))
        return Step(placement, cart=tuple(dict.fromkeys(a_product() for _ in range(wanted))))
    return Step(placement)
