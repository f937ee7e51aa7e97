"""Price reply: from the columns of a price answer to protobuf, one suggestion per product.

Shapes: A products asked for, N of them with a suggestion.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from serving.proto import recommendations_pb2 as pb
from serving.recommend.price_settings import PricingSettings
from serving.recommend.prices import PriceAnswer, PriceFailure
from shop.catalogue import Catalogue
from shop.price_drivers import PriceDriver, PriceInputs, PriceMethod, is_cost, is_price, is_young
from shop.price_limits import BANDS, PriceLimit
from shop.pricing import Outcome, PriceReason, PriceSuggestions

_OUTCOMES = {
    Outcome.CHANGE: pb.PRICE_CHANGE,
    Outcome.NO_CHANGE: pb.PRICE_NO_CHANGE,
    Outcome.CONTRADICTION: pb.PRICE_CONTRADICTION,
    Outcome.UNKNOWN_LIMIT: pb.PRICE_UNKNOWN_LIMIT,
    Outcome.FROZEN: pb.PRICE_FROZEN,
}
_FAILURES = {
    PriceFailure.UNKNOWN_PRODUCT: ("NOT_FOUND", "the release knows no such product"),
    PriceFailure.NO_PRICE: ("UNAVAILABLE", "its current price is not known, or too old to go by"),
}
# Which ends of the band a limit sets. A promotion freeze sets both, but only where it holds.
_HAS_LEAST = (PriceLimit.FLOOR, PriceLimit.LIST_FLOOR, PriceLimit.MIN_MARGIN)
_HAS_MOST = (PriceLimit.CEILING, PriceLimit.LIST_CEILING)
_HAS_BOTH = (PriceLimit.STEP, PriceLimit.DAY_STEP, PriceLimit.PROMOTION_FREEZE)


def encode_prices(
    answer: PriceAnswer, catalogue: Catalogue, settings: PricingSettings
) -> pb.SuggestPriceResponse:
    """The whole reply."""
    known = _Freshness(answer, settings.method)
    at_of = {place: at for at, place in enumerate(answer.places.tolist())}
    return pb.SuggestPriceResponse(
        suggestions=[
            _failed(product_id, answer.failures[place])
            if place in answer.failures
            else _suggestion(product_id, answer, at_of[place], known)
            for place, product_id in enumerate(answer.ask.product_ids)
        ],
        degraded=[
            pb.Degradation(stage=stage, reason=reason.value) for stage, reason in answer.degraded
        ],
        stage_ms=answer.stage_ms,
        release=answer.release,
        request_id=answer.ask.request_id,
        currency=catalogue.currency,
        endings=settings.limits.endings,
        ending_modulus_minor=settings.limits.ending_modulus_minor,
    )


def _failed(product_id: str, failure: PriceFailure) -> pb.PriceSuggestion:
    code, message = _FAILURES[failure]
    return pb.PriceSuggestion(product_id=product_id, failure=pb.Failure(code=code, message=message))


def _suggestion(
    product_id: str, answer: PriceAnswer, at: int, known: "_Freshness"
) -> pb.PriceSuggestion:
    suggestions = answer.suggestions
    return pb.PriceSuggestion(
        product_id=product_id,
        price_minor=int(suggestions.price_minor[at]),
        current_price_minor=int(answer.inputs.current_minor[at]),
        outcome=_OUTCOMES[suggestions.outcomes[at]],
        reasons=[_reason(reason) for reason in suggestions.reasons(at)],
        limits=list(_limits(suggestions, at)),
        inputs=known.inputs(at),
    )


def _reason(reason: PriceReason) -> pb.PriceReason:
    return pb.PriceReason(
        kind="driver" if isinstance(reason.name, PriceDriver) else "limit",
        name=reason.name.value,
        moved_minor=reason.moved_minor,
        wish_minor=reason.wish_minor,
        state=reason.state.value,
    )


def _limits(suggestions: PriceSuggestions, at: int) -> Iterator[pb.PriceLimitInForce]:
    bands = suggestions.bands
    columns = (bands.least_minor[at], bands.most_minor[at], bands.unknown[at])
    for limit, least, most, unknown in zip(BANDS, *(c.tolist() for c in columns), strict=True):
        if unknown:
            yield pb.PriceLimitInForce(name=limit.value, unknown=True)
        elif limit is not PriceLimit.PROMOTION_FREEZE or least == most:
            both = limit in _HAS_BOTH
            yield pb.PriceLimitInForce(
                name=limit.value,
                least_minor=least if both or limit in _HAS_LEAST else None,
                most_minor=most if both or limit in _HAS_MOST else None,
            )


class _Freshness:
    """Of every input of every suggestion: whether it is known, and since when."""

    def __init__(self, answer: PriceAnswer, method: PriceMethod) -> None:
        now_ms, inputs = answer.ask.now_ms, answer.inputs
        price_age = (now_ms - answer.price_as_of_ms).astype(np.float64)
        oldest, sold_elsewhere = _competitors(inputs, method)
        stock_young = is_young(inputs.stock_age_ms, method.stock_max_age_ms)
        demand_young = is_young(inputs.demand_age_ms, method.demand_max_age_ms)
        columns = {
            "price": (price_age, np.ones(price_age.size, dtype=np.bool_)),
            # The catalogue's cost is as old as the release, and has no time.
            "cost": (now_ms - answer.cost_as_of_ms, is_cost(inputs.cost_minor)),
            "stock": (inputs.stock_age_ms, stock_young),
            "competitors": (oldest, sold_elsewhere),
            "demand": (inputs.demand_age_ms, demand_young & ~np.isnan(inputs.units_per_day)),
            "calendar": (
                inputs.calendar_age_ms,
                is_young(inputs.calendar_age_ms, method.calendar_max_age_ms),
            ),
        }
        self._columns = [
            (name, _times(now_ms - age), known.tolist()) for name, (age, known) in columns.items()
        ]

    def inputs(self, at: int) -> list[pb.PriceInput]:
        """Of one suggestion."""
        return [
            pb.PriceInput(name=name, known=known[at], as_of_ms=as_of_ms[at])
            for name, as_of_ms, known in self._columns
        ]


def _competitors(
    inputs: PriceInputs, method: PriceMethod
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """[N] age of the oldest price used, and whether there is one."""
    age_ms = inputs.competitor_age_ms
    used = is_price(inputs.competitor_minor) & is_young(age_ms, method.competitor_max_age_ms)
    if used.shape[1] == 0:
        return np.full(used.shape[0], np.nan), np.zeros(used.shape[0], dtype=np.bool_)
    has_any = np.asarray(used.any(axis=1), dtype=np.bool_)
    return np.where(has_any, np.where(used, age_ms, -np.inf).max(axis=1), np.nan), has_any


def _times(as_of_ms: NDArray[np.float64]) -> list[int]:
    """Whole Unix milliseconds; 0 for a time that is unknown or none."""
    is_time = (as_of_ms > 0.0) & (as_of_ms < 1e15)
    times: list[int] = np.where(is_time, as_of_ms, 0.0).astype(np.int64).tolist()
    return times
