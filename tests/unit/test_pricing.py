"""Price suggestions: inside every limit whatever the inputs, explained to the last cent."""

import math
from dataclasses import fields, replace
from itertools import pairwise
from time import perf_counter
from typing import Any

import numpy as np
import pytest
from hypothesis import Phase, find, given, settings
from hypothesis import strategies as st

from shop.price_drivers import STATES, DriverState, PriceDriver, PriceInputs, PriceMethod
from shop.price_limits import MAX_PRICE_MINOR, PriceLimit, PriceLimits
from shop.pricing import LimitState, Outcome, PriceSuggestions, suggest_prices

DAY_MS = 86_400_000
WIDE = PriceLimits(
    floor_share=0.01,
    ceiling_share=100.0,
    min_margin=0.0,
    step_share=0.99,
    day_step_share=0.99,
    endings=(),
)
METHOD = PriceMethod()


def inputs(**changes: Any) -> PriceInputs:
    """One product at 20.00 that costs 10.00, everything known and nothing in the way."""
    known: dict[str, Any] = {
        "current_minor": 2_000,
        "list_minor": 2_000,
        "cost_minor": 1_000.0,
        "competitor_minor": [2_000.0],
        "competitor_age_ms": [0.0],
        "units_per_day": 1.0,
        "elasticity": -2.0,  # the best price is twice the cost
        "demand_age_ms": 0.0,
        "stock_units": METHOD.target_cover_days,
        "stock_age_ms": 0.0,
        "promotion_runs": False,
        "promotion_in_ms": math.inf,
        "lowest_minor": 2_000.0,
        "highest_minor": 2_000.0,
        "calendar_age_ms": 0.0,
    }
    kinds = {"current_minor": np.int64, "list_minor": np.int64, "promotion_runs": np.bool_}
    return PriceInputs(
        **{
            name: np.array([value], dtype=kinds.get(name, np.float64))
            for name, value in (known | changes).items()
        }
    )


def suggested(limits: PriceLimits = WIDE, **changes: Any) -> PriceSuggestions:
    return suggest_prices(inputs(**changes), limits, METHOD)


def price(limits: PriceLimits = WIDE, **changes: Any) -> int:
    return int(suggested(limits, **changes).price_minor[0])


def state(driver: PriceDriver, **changes: Any) -> DriverState:
    return STATES[suggested(**changes).driver_states[0, list(PriceDriver).index(driver)]]


anything = st.floats(allow_nan=True, allow_infinity=True) | st.sampled_from(
    [math.nan, math.inf, -math.inf, 0.0, -1.0, 1.0, 1_500.0, 2_500.0, 1e300]
)
prices = st.integers(100, 10_000) | st.integers(1, MAX_PRICE_MINOR)


@st.composite
def some_limits(draw: st.DrawFn) -> PriceLimits:
    """Limits of which one or two are tight."""
    tight = {
        "floor_minor": st.integers(1, 3_000),
        "ceiling_minor": st.integers(3_000, 50_000),
        "floor_share": st.floats(0.01, 1.0),
        "ceiling_share": st.floats(1.0, 3.0),
        "min_margin": st.floats(0.0, 0.9),
        "step_share": st.floats(0.001, 0.3),
        "day_step_share": st.floats(0.001, 0.3),
        "freeze_before_ms": st.integers(0, 30 * DAY_MS),
    }
    chosen = draw(st.sets(st.sampled_from(sorted(tight)), max_size=2))
    modulus = draw(st.sampled_from([1, 10, 50]))
    return replace(
        WIDE,
        **{name: draw(tight[name]) for name in sorted(chosen)},
        endings=tuple(draw(st.sets(st.integers(0, modulus - 1), max_size=3))),
        ending_modulus_minor=modulus,
    )


@st.composite
def any_inputs(draw: st.DrawFn) -> PriceInputs:
    """A sensible product, a few figures of which may be anything at all, or nothing that drives."""
    current = draw(prices)
    near = st.floats(0.8, 1.25).map(lambda share: share * current)
    known: dict[str, Any] = {
        "current_minor": current,
        "list_minor": draw(st.just(current) | prices),
        "cost_minor": draw(st.floats(0.1, 0.8)) * current,
        "competitor_minor": draw(st.lists(near, max_size=3)),
        "units_per_day": draw(st.floats(0.0, 50.0)),
        "elasticity": draw(st.floats(-5.0, -0.5)),
        "stock_units": draw(st.floats(0.0, 500.0)),
        "promotion_in_ms": draw(st.just(math.inf) | st.floats(0.0, 60.0 * DAY_MS)),
        "lowest_minor": current * draw(st.floats(0.9, 1.0)),
        "highest_minor": current * draw(st.floats(1.0, 1.1)),
    }
    if draw(st.sampled_from([False] * 7 + [True])):  # or hardly any price would stay where it is
        known |= {"competitor_minor": [], "elasticity": math.nan, "stock_units": math.nan}
    known["competitor_age_ms"] = [0.0] * len(known["competitor_minor"])
    odd = sorted({each.name for each in fields(PriceInputs)} - {"current_minor", "list_minor"})
    for name in sorted(draw(st.sets(st.sampled_from(odd), max_size=2))):
        if name == "promotion_runs":
            known[name] = draw(st.booleans())
        elif name.startswith("competitor"):
            known[name] = [draw(anything) for _ in known[name]]
        else:
            known[name] = draw(anything)
    return inputs(**known)


@pytest.mark.parametrize("outcome", list(Outcome))
def test_the_properties_below_see_every_outcome(outcome: Outcome) -> None:
    find(  # raises where none is found
        st.tuples(any_inputs(), some_limits()),
        lambda drawn: suggest_prices(*drawn, METHOD).outcomes[0] is outcome,
        settings=settings(max_examples=2_000, phases=[Phase.generate], database=None),
    )


@given(any_inputs(), some_limits())
def test_a_suggestion_is_inside_every_limit_or_the_price_is_kept(
    known: PriceInputs, limits: PriceLimits
) -> None:
    found = suggest_prices(known, limits, METHOD)
    new, current = int(found.price_minor[0]), int(known.current_minor[0])
    if new == current:
        return
    assert found.outcomes[0] is Outcome.CHANGE
    slack = 1e-9 * max(new, current)  # the limits' own arithmetic, not a cent
    assert limits.floor_minor <= new <= limits.ceiling_minor
    listed = int(known.list_minor[0])
    assert listed * limits.floor_share - slack <= new <= listed * limits.ceiling_share + slack
    assert new * (1.0 - limits.min_margin) >= known.cost_minor[0] - slack
    assert abs(new - current) <= current * limits.step_share + slack
    for before in (current, known.lowest_minor[0], known.highest_minor[0]):
        assert abs(new - before) <= before * limits.day_step_share + slack
    assert not known.promotion_runs[0]
    assert known.promotion_in_ms[0] > limits.freeze_before_ms
    assert not limits.endings or new % limits.ending_modulus_minor in limits.endings


@given(any_inputs(), some_limits())
def test_reasons_add_up_to_the_move_to_the_last_cent(
    known: PriceInputs, limits: PriceLimits
) -> None:
    found = suggest_prices(known, limits, METHOD)
    reasons = found.reasons(0)
    moved = int(found.price_minor[0] - known.current_minor[0])
    assert sum(reason.moved_minor for reason in reasons) == moved
    assert [reason.name for reason in reasons[:3]] == list(PriceDriver)
    for reason in reasons[:3]:
        assert reason.state is DriverState.USED or (reason.moved_minor, reason.wish_minor) == (0, 0)
    if found.outcomes[0] not in (Outcome.CHANGE, Outcome.NO_CHANGE):
        assert moved == 0
        assert len(reasons) > 3, "a price that was kept says which limit kept it"


@settings(max_examples=50)
@given(any_inputs(), some_limits(), st.lists(st.floats(1.0, 5_000.0), min_size=2, max_size=6))
def test_a_dearer_market_never_makes_a_price_cheaper(
    known: PriceInputs, limits: PriceLimits, market: list[float]
) -> None:
    found = [
        int(
            suggest_prices(
                replace(
                    known,
                    competitor_minor=np.array([[each]]),
                    competitor_age_ms=np.zeros((1, 1)),
                ),
                limits,
                METHOD,
            ).price_minor[0]
        )
        for each in sorted(market)
    ]
    assert all(cheaper <= dearer for cheaper, dearer in pairwise(found))


@given(st.floats(1_700.0, 2_400.0), st.floats(1_700.0, 2_400.0))
def test_where_no_limit_binds_a_clearly_dearer_market_raises_the_price(
    one: float, other: float
) -> None:
    cheap, dear = sorted((one, other))
    if dear > cheap * 1.002:
        assert price(competitor_minor=[cheap]) < price(competitor_minor=[dear])


@settings(max_examples=20)
@given(any_inputs(), some_limits())
def test_the_same_question_gets_the_same_answer(known: PriceInputs, limits: PriceLimits) -> None:
    one, two = (suggest_prices(known, limits, METHOD) for _ in range(2))
    assert one.outcomes == two.outcomes
    assert one.reasons(0) == two.reasons(0)


@settings(max_examples=20)
@given(st.lists(any_inputs(), min_size=2, max_size=4), some_limits())
def test_a_product_s_suggestion_does_not_depend_on_its_neighbours(
    several: list[PriceInputs], limits: PriceLimits
) -> None:
    most = max(each.competitor_minor.shape[1] for each in several)

    def column(name: str) -> np.ndarray:
        values = [getattr(each, name) for each in several]
        if values[0].ndim == 1:
            return np.concatenate(values)
        return np.concatenate(
            [np.pad(v, ((0, 0), (0, most - v.shape[1])), constant_values=np.nan) for v in values]
        )

    together = PriceInputs(**{each.name: column(each.name) for each in fields(PriceInputs)})
    found = suggest_prices(together, limits, METHOD)
    for at, each in enumerate(several):
        alone = suggest_prices(each, limits, METHOD)
        assert found.price_minor[at] == alone.price_minor[0]
        assert found.reasons(at) == alone.reasons(0)


def test_drivers_at_rest_leave_the_price_where_it_is() -> None:
    found = suggested()
    assert (found.price_minor[0], found.outcomes[0]) == (2_000, Outcome.NO_CHANGE)


def test_each_driver_pulls_in_its_direction() -> None:
    assert price(competitor_minor=[2_200.0]) > 2_000 > price(competitor_minor=[1_800.0])
    assert price(cost_minor=1_200.0) > 2_000 > price(cost_minor=900.0)
    assert price(elasticity=-1.8) > 2_000 > price(elasticity=-2.5)
    assert price(stock_units=20.0) > 2_000 > price(stock_units=100.0)
    assert price(units_per_day=2.0) > 2_000 > price(units_per_day=0.0)


def test_a_driver_s_move_is_its_weight_s_share_of_what_it_wishes() -> None:
    found = suggested(competitor_minor=[2_200.0])
    reason = found.reasons(0)[0]
    assert reason.name is PriceDriver.COMPETITORS
    assert reason.wish_minor == 2_200
    assert reason.moved_minor == round(2_000 * 1.1**METHOD.competitor_weight) - 2_000


def test_the_market_is_the_median_of_the_young_prices() -> None:
    ages = [0.0, 0.0, 0.0, float(METHOD.competitor_max_age_ms + 1)]
    found = suggested(competitor_minor=[1_800.0, 2_100.0, 9e9, 1.0], competitor_age_ms=ages)
    assert found.driver_wish_minor[0, 0] == 2_100.0
    even = suggested(competitor_minor=[1_800.0, 2_200.0], competitor_age_ms=[0.0, 0.0])
    assert even.driver_wish_minor[0, 0] == 2_000.0


@pytest.mark.parametrize(
    ("driver", "changes", "why"),
    [
        ("competitors", {"competitor_minor": [], "competitor_age_ms": []}, "missing"),
        ("competitors", {"competitor_minor": [math.nan]}, "missing"),
        ("competitors", {"competitor_minor": [-5.0]}, "senseless"),
        ("competitors", {"competitor_minor": [math.inf]}, "senseless"),
        ("competitors", {"competitor_age_ms": [3.0 * DAY_MS]}, "too_old"),
        ("competitors", {"competitor_age_ms": [-3.0 * DAY_MS]}, "too_old"),
        ("demand", {"elasticity": math.nan}, "missing"),
        ("demand", {"cost_minor": math.nan}, "missing"),
        ("demand", {"elasticity": 0.5}, "senseless"),
        ("demand", {"elasticity": -math.inf}, "senseless"),
        ("demand", {"cost_minor": 0.0}, "senseless"),
        ("demand", {"elasticity": -1.0}, "inelastic"),
        ("demand", {"elasticity": -0.4}, "inelastic"),
        ("demand", {"demand_age_ms": 8.0 * DAY_MS}, "too_old"),
        ("demand", {"demand_age_ms": math.nan}, "too_old"),
        ("stock_cover", {"units_per_day": math.nan}, "missing"),
        ("stock_cover", {"stock_units": math.nan}, "missing"),
        ("stock_cover", {"units_per_day": -1.0}, "senseless"),
        ("stock_cover", {"stock_units": math.inf}, "senseless"),
        ("stock_cover", {"stock_units": 0.0}, "sold_out"),
        ("stock_cover", {"stock_age_ms": 2.0 * DAY_MS}, "too_old"),
    ],
)
def test_a_driver_without_a_good_input_is_dropped_and_named(
    driver: str, changes: dict[str, Any], why: str
) -> None:
    assert state(PriceDriver(driver), **changes) == why
    reason = suggested(**changes).reasons(0)[list(PriceDriver).index(PriceDriver(driver))]
    assert (reason.moved_minor, reason.wish_minor) == (0, 0)


@pytest.mark.parametrize(
    ("limits", "changes", "limit", "at"),
    [
        ({"floor_minor": 1_950}, {"competitor_minor": [1_600.0]}, "floor", 1_950),
        ({"ceiling_minor": 2_050}, {"competitor_minor": [2_500.0]}, "ceiling", 2_050),
        ({"floor_share": 0.97}, {"competitor_minor": [1_600.0]}, "list_floor", 1_940),
        ({"ceiling_share": 1.03}, {"competitor_minor": [2_500.0]}, "list_ceiling", 2_060),
        ({"min_margin": 0.48}, {"competitor_minor": [1_600.0]}, "min_margin", 1_924),
        ({"step_share": 0.02}, {"competitor_minor": [2_500.0]}, "step", 2_040),
        ({"step_share": 0.02}, {"competitor_minor": [1_600.0]}, "step", 1_960),
        (
            {"day_step_share": 0.05},
            {"competitor_minor": [2_500.0], "lowest_minor": 1_930.0},
            "day_step",
            2_026,
        ),
    ],
)
def test_each_limit_binds_and_is_named(
    limits: dict[str, Any], changes: dict[str, Any], limit: str, at: int
) -> None:
    found = suggested(replace(WIDE, **limits), **changes)
    assert found.price_minor[0] == at
    bound = [r for r in found.reasons(0) if r.state is LimitState.BINDS]
    assert [reason.name.value for reason in bound] == [limit]


def test_a_price_below_its_margin_is_raised_even_where_nothing_is_known_of_the_market() -> None:
    blind = {"competitor_minor": [math.nan], "elasticity": math.nan, "units_per_day": math.nan}
    assert price(replace(WIDE, min_margin=0.52), **blind) == 2_084
    assert price(replace(WIDE, min_margin=0.5), **blind) == 2_000


def test_a_price_ends_as_the_shop_s_prices_do() -> None:
    nines = replace(WIDE, endings=(9, 5))
    assert price(nines, competitor_minor=[2_200.0]) % 10 in (5, 9)
    limits = replace(WIDE, endings=(99,), ending_modulus_minor=100)
    assert price(limits, competitor_minor=[2_200.0]) == 2_099
    assert price(limits, competitor_minor=[2_300.0]) == 2_099


def test_a_price_that_nothing_moves_keeps_its_ending() -> None:
    blind = {"competitor_minor": [math.nan], "elasticity": math.nan, "units_per_day": math.nan}
    assert price(replace(WIDE, endings=(99,), ending_modulus_minor=100), **blind) == 2_000


def test_contradicting_limits_keep_the_price_and_are_named() -> None:
    limits = replace(WIDE, min_margin=0.6, step_share=0.05)  # the margin needs 25.00
    found = suggested(limits)
    assert (found.price_minor[0], found.outcomes[0]) == (2_000, Outcome.CONTRADICTION)
    against = [r.name for r in found.reasons(0) if r.state is LimitState.CONTRADICTS]
    assert against == [PriceLimit.MIN_MARGIN, PriceLimit.STEP]


def test_a_band_without_an_allowed_ending_keeps_the_price_and_says_so() -> None:
    limits = replace(WIDE, step_share=0.01, endings=(99,), ending_modulus_minor=100)
    found = suggested(limits, current_minor=2_040, lowest_minor=2_040.0, highest_minor=2_040.0)
    assert (found.price_minor[0], found.outcomes[0]) == (2_040, Outcome.CONTRADICTION)
    against = [r.name for r in found.reasons(0) if r.state is LimitState.CONTRADICTS]
    assert against[-1] is PriceLimit.ENDING


@pytest.mark.parametrize(
    ("changes", "limits"),
    [
        ({"cost_minor": math.nan}, ["min_margin"]),
        ({"cost_minor": -1.0}, ["min_margin"]),
        ({"calendar_age_ms": math.nan}, ["day_step", "promotion_freeze"]),
        ({"calendar_age_ms": 1.0 * DAY_MS}, ["day_step", "promotion_freeze"]),
        ({"lowest_minor": math.nan}, ["day_step"]),
        ({"promotion_in_ms": math.nan}, ["promotion_freeze"]),
    ],
)
def test_a_limit_that_cannot_be_checked_keeps_the_price(
    changes: dict[str, Any], limits: list[str]
) -> None:
    found = suggested(competitor_minor=[2_200.0], **changes)
    assert (found.price_minor[0], found.outcomes[0]) == (2_000, Outcome.UNKNOWN_LIMIT)
    unknown = [r.name.value for r in found.reasons(0) if r.state is LimitState.UNKNOWN]
    assert unknown == limits


@pytest.mark.parametrize(
    "changes",
    [
        {"promotion_runs": True},
        {"promotion_in_ms": 7.0 * DAY_MS},
        {"promotion_in_ms": -1.0},
        {"promotion_runs": True, "calendar_age_ms": math.nan},
    ],
)
def test_a_promotion_that_runs_or_is_near_freezes_the_price(changes: dict[str, Any]) -> None:
    found = suggested(competitor_minor=[2_200.0], **changes)
    assert (found.price_minor[0], found.outcomes[0]) == (2_000, Outcome.FROZEN)
    assert price(competitor_minor=[2_200.0], promotion_in_ms=7.0 * DAY_MS + 1.0) > 2_000


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"floor_minor": 0}, "floor_minor: "),
        ({"ceiling_minor": 10**13}, "ceiling_minor: "),
        ({"floor_minor": 500, "ceiling_minor": 499}, "ceiling_minor: "),
        ({"floor_share": 0.0}, "floor_share: "),
        ({"ceiling_share": 0.9}, "ceiling_share: "),
        ({"min_margin": 1.0}, "min_margin: "),
        ({"step_share": 0.0}, "step_share: "),
        ({"day_step_share": math.nan}, "day_step_share: "),
        ({"freeze_before_ms": -1}, "freeze_before_ms: "),
        ({"endings": (10,)}, "endings: "),
        ({"ending_modulus_minor": 0}, "ending_modulus_minor: "),
    ],
)
def test_limits_that_no_price_could_keep_are_refused(changes: dict[str, Any], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        PriceLimits(**changes)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"competitor_weight": -0.1}, "competitor_weight: "),
        ({"competitor_weight": 0.9}, "cover_weight: must be at most 1 together"),
        ({"competitor_index": math.nan}, "competitor_index: "),
        ({"target_cover_days": 0.0}, "target_cover_days: "),
        ({"most_pull": 0.0}, "most_pull: "),
        ({"demand_max_age_ms": 0}, "demand_max_age_ms: "),
    ],
)
def test_a_method_that_makes_no_sense_is_refused(changes: dict[str, Any], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        PriceMethod(**changes)


def test_a_current_price_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="current_minor: must be 1 to"):
        inputs(current_minor=0)


def test_five_hundred_products_cost_a_few_milliseconds() -> None:
    one = inputs(competitor_minor=[2_100.0])
    many = PriceInputs(
        **{
            each.name: np.repeat(getattr(one, each.name), 500, axis=0)
            for each in fields(PriceInputs)
        }
    )
    started = perf_counter()
    found = suggest_prices(many, PriceLimits(), METHOD)
    assert perf_counter() - started < 0.1  # 1 ms on a quiet machine
    assert (found.price_minor == found.price_minor[0]).all()
