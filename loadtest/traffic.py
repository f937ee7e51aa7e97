"""Traffic: who calls and what for. Sessions of known and new shoppers, seeded, made beforehand.

A few shoppers come often and most come rarely (Zipf); each session walks from the home page over
product pages to the cart, so that consecutive calls of a shopper are alike, as in a real shop.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from loadtest.openloop import Call
from serving.proto import recommendations_pb2 as pb

_ZIPF_EXPONENT = 0.8  # repeat visits in shop logs lie between 0.6 and 1
_CALLS_PER_SESSION = 5.0
_OPEN_SESSIONS = 200  # how many shoppers are in the shop at a time
_DEVICES = ("mobile", "desktop", "tablet")
_DEVICE_SHARES = (0.6, 0.34, 0.06)


@dataclass(frozen=True, slots=True)
class Audience:
    """The shoppers and products that calls may name. Without either, all is new and unknown."""

    shoppers: Sequence[str]
    products: Sequence[str]


@dataclass(frozen=True, slots=True)
class Scenario:
    """A mix of calls. Shares lie within 0..1."""

    name: str
    summary: str
    placements: tuple[tuple[str, float], ...]  # where within a session, with weights
    new_shoppers: float  # share of sessions by visitors nobody has seen
    clicks: float  # share of lists on which a click is logged
    page_size: int


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
        ),
    )
}


@dataclass(slots=True)
class _Session:
    name: str
    shopper: str
    is_known: bool
    device: str
    left: int


def make_calls(
    scenario: Scenario, audience: Audience, count: int, rng: np.random.Generator
) -> list[Call]:
    """`count` calls in the order they are to be sent."""
    open_sessions: list[_Session] = []
    calls = []
    for number in range(count):
        if len(open_sessions) < _OPEN_SESSIONS:
            open_sessions.append(_session(scenario, audience, number, rng))
        at = int(rng.integers(len(open_sessions)))
        session = open_sessions[at]
        calls.append(_call(scenario, audience, session, number, rng))
        session.left -= 1
        if session.left <= 0:
            open_sessions[at] = open_sessions[-1]
            open_sessions.pop()
    return calls


def _session(
    scenario: Scenario, audience: Audience, number: int, rng: np.random.Generator
) -> _Session:
    is_known = bool(audience.shoppers) and rng.random() >= scenario.new_shoppers
    shopper = f"visitor-{rng.integers(1 << 40):010x}"
    if is_known:
        shopper = audience.shoppers[_zipf(len(audience.shoppers), rng)]
    device = str(rng.choice(_DEVICES, p=_DEVICE_SHARES))
    return _Session(
        f"load-{number}", shopper, is_known, device, int(rng.geometric(1 / _CALLS_PER_SESSION))
    )


def _zipf(size: int, rng: np.random.Generator) -> int:
    """A rank below `size`, the first ones often: the inverse of the continuous distribution."""
    power = 1.0 - _ZIPF_EXPONENT
    return int(((size**power - 1.0) * rng.random() + 1.0) ** (1.0 / power)) - 1


def _call(
    scenario: Scenario,
    audience: Audience,
    session: _Session,
    number: int,
    rng: np.random.Generator,
) -> Call:
    names = [name for name, _ in scenario.placements]
    weights = np.array([weight for _, weight in scenario.placements])
    placement = str(rng.choice(names, p=weights / weights.sum()))
    request = pb.RecommendRequest(
        placement=placement,
        user_id=session.shopper if session.is_known else "",
        visitor_id="" if session.is_known else session.shopper,
        session_id=session.name,
        device=session.device,
        page_size=scenario.page_size,
        request_id=f"{session.name}-{number}",
    )
    if placement == "product" and audience.products:
        product = audience.products[_zipf(len(audience.products), rng)]
        request.context_product_ids.append(product)
    if placement == "cart" and audience.products:
        product = audience.products[_zipf(len(audience.products), rng)]
        request.cart.append(pb.CartItem(product_id=product, quantity=1))
    return Call(request.SerializeToString(), clicks=bool(rng.random() < scenario.clicks))
