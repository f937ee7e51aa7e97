"""The choice model: what it says is what happens, and it moves the way shoppers do."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shop.events import EVENT_CODES, EventType
from simulator.choice import Steps, examination
from simulator.event_columns import EventColumns
from simulator.lexicon import DEVICES
from simulator.sessions import Sessions, category_choice, start_sessions
from simulator.world import World, WorldSettings, build_world

# Few days with many sessions: the first day's needs and moods can be drawn again, so every
# probability that the simulation used is known exactly.
BUSY = WorldSettings(product_count=600, shopper_count=3_000, days=2, sessions_per_shopper=2.0)
NOW = BUSY.end_ms


@pytest.fixture(scope="module")
def world() -> World:
    return build_world(BUSY)


@pytest.fixture(scope="module")
def first_day(world: World) -> EventColumns:
    return next(iter(world.events()))


@pytest.fixture(scope="module")
def first_sessions(world: World) -> Sessions:
    return start_sessions(
        world.truth,
        BUSY.start_ms,
        turns_to=category_choice(world.truth),
        last_bought=np.zeros(world.shoppers.count, dtype=np.int64),
        left=np.zeros(world.shoppers.count, dtype=np.int64),
        first_id=1,
        rng=np.random.default_rng([BUSY.seed, 3, 0]),
    )


def steps_behind(world: World, sessions: Sessions, events: EventColumns) -> Steps:
    """[E, 1] the probabilities by which these events came about."""
    when = sessions.when.taken(events.sessions - 1)
    shown = replace(when, time_ms=events.times_ms)
    return world.truth.steps(
        events.shoppers.astype(np.int64),
        events.products.astype(np.int64)[:, None],
        events.positions.astype(np.int64)[:, None],
        events.price_minor[:, None],
        shown,
    )


def of_type(events: EventColumns, event: EventType) -> EventColumns:
    return events.where(events.codes == EVENT_CODES[event])


def standard_errors_off(happened: float, probabilities: np.ndarray) -> float:
    spread = np.sqrt((probabilities * (1.0 - probabilities)).sum(dtype=np.float64))
    return float(abs(happened - probabilities.sum(dtype=np.float64)) / spread)


def test_click_rates_by_position_are_the_true_ones(
    world: World, first_day: EventColumns, first_sessions: Sessions
) -> None:
    shown, clicks = of_type(first_day, EventType.IMPRESSION), of_type(first_day, EventType.CLICK)
    steps = steps_behind(world, first_sessions, shown)
    true = (steps.examined * steps.attracted)[:, 0]
    for position in range(1, 25):
        happened = np.count_nonzero(clicks.positions == position)
        # 4 standard errors: 24 positions are tried. Clicks after midnight fall into the next day,
        # a handful at most.
        assert standard_errors_off(happened, true[shown.positions == position]) < 4.0, position


def test_carts_follow_clicks_as_often_as_the_truth_says(
    world: World, first_day: EventColumns, first_sessions: Sessions
) -> None:
    shown, clicks = of_type(first_day, EventType.IMPRESSION), of_type(first_day, EventType.CLICK)
    carts = of_type(first_day, EventType.CART)
    steps = steps_behind(world, first_sessions, clicks)
    assert len(carts) > 500
    assert standard_errors_off(len(carts), steps.carted[:, 0]) < 4.0
    assert len(shown) > 50_000


def test_the_first_list_is_examined_less_the_further_down() -> None:
    devices = np.arange(len(DEVICES))
    seen = examination(np.arange(1, 25), devices)
    assert np.all(seen[:, 0] == 1.0)
    assert np.all(np.diff(seen, axis=1) < 0.0)
    assert np.all(seen > 0.0)


@settings(max_examples=30, deadline=None)
@given(
    shopper=st.integers(0, BUSY.shopper_count - 1),
    position=st.integers(1, 200),
    need=st.integers(0, 30),
    paid_share=st.floats(0.0, 3.0),
    day=st.integers(-400, 400),
)
def test_probabilities_are_probabilities_and_each_step_loses_some(
    world: World, shopper: int, position: int, need: int, paid_share: float, day: int
) -> None:
    rows = np.arange(1, 101)
    paid = (world.products.price_minor[rows] * paid_share).astype(np.int64)
    true = world.true_probabilities(
        shopper,
        rows,
        time_ms=NOW + day * 86_400_000,
        position=position,
        need=need,
        price_minor=paid,
    )
    for column in (true.click, true.cart, true.purchase, true.return_risk):
        assert column.shape == (1, 100)
        assert np.all((column >= 0.0) & (column <= 1.0))
    assert np.all(true.cart <= true.click)
    assert np.all(true.purchase <= true.cart)


def test_one_question_for_many_is_many_questions_for_one(world: World) -> None:
    who, rows = np.array([3, 500, 2_000]), np.array([[1, 2], [3, 4], [600, 1]])
    together = world.true_probabilities(who, rows, time_ms=NOW, position=[1, 2])
    for at, shopper in enumerate(who):
        alone = world.true_probabilities(shopper, rows[at], time_ms=NOW, position=[1, 2])
        assert together.purchase[at] == pytest.approx(alone.purchase[0], rel=1e-6)


@pytest.mark.parametrize("row", [0, 601])
def test_a_row_that_is_no_product_is_refused(world: World, row: int) -> None:
    with pytest.raises(ValueError, match="product rows"):
        world.true_probabilities(0, [row], time_ms=NOW)


def test_a_discount_sells(world: World) -> None:
    who, rows = np.arange(500), np.arange(1, 601)
    listed = world.true_probabilities(who, rows, time_ms=NOW).purchase.mean()
    half = world.products.price_minor[rows] // 2
    reduced = world.true_probabilities(who, rows, time_ms=NOW, price_minor=half).purchase.mean()
    assert reduced > 1.1 * listed


def test_a_need_lifts_its_own_category_most(world: World) -> None:
    rows = np.arange(1, 601)
    idle = world.true_probabilities(np.arange(200), rows, time_ms=NOW).click
    looking = world.true_probabilities(np.arange(200), rows, time_ms=NOW, need=0).click
    lift = (looking / idle).mean(axis=0)
    own = world.products.category[rows] == 0
    assert lift[own].mean() > 1.5
    assert lift[own].min() > lift[~own].max()


def test_what_suits_the_time_of_year_is_clicked_more(world: World) -> None:
    summer_rows = np.flatnonzero(world.products.attributes[:, 4] == 2)
    day_ms = 86_400_000
    july, january = 1_784_116_800_000, 1_784_116_800_000 - 182 * day_ms
    in_july = world.true_probabilities(np.arange(200), summer_rows, time_ms=july).click.mean()
    in_january = world.true_probabilities(np.arange(200), summer_rows, time_ms=january).click.mean()
    assert in_july > 1.2 * in_january


def test_who_hurries_clicks_less_and_buys_less(world: World) -> None:
    rows, who = np.arange(1, 101), np.arange(200)
    calm, hurried = (
        world.true_probabilities(who, rows, time_ms=NOW, engagement=mood) for mood in (1.0, -1.0)
    )
    assert np.all(hurried.click < calm.click)
    assert np.all(hurried.purchase < calm.purchase)


def test_what_was_left_in_a_cart_is_bought_more_and_nothing_else_is(world: World) -> None:
    rows, who = np.arange(1, 101), np.arange(200)
    usual = world.true_probabilities(who, rows, time_ms=NOW)
    reminded = world.true_probabilities(who, rows, time_ms=NOW, left=7)
    assert np.all(reminded.purchase[:, 6] > 1.5 * usual.purchase[:, 6])
    assert np.array_equal(np.delete(reminded.purchase, 6, 1), np.delete(usual.purchase, 6, 1))


def test_a_dead_end_costs_clicks_and_purchases(world: World) -> None:
    rows, who = np.arange(1, 101), np.arange(200)
    usual = world.true_probabilities(who, rows, time_ms=NOW)
    lost = world.true_probabilities(who, rows, time_ms=NOW, dead_end=True)
    assert np.all(lost.click < usual.click)
    assert np.all(lost.purchase < usual.purchase)


def test_phones_on_their_way_buy_less_and_click_as_ever(world: World) -> None:
    rows, who, eight = np.arange(1, 101), np.arange(200), NOW + 8 * 3_600_000
    phones, desktops = (
        world.true_probabilities(who, rows, time_ms=eight, device=device) for device in (0, 1)
    )
    at_ten = [
        world.true_probabilities(who, rows, time_ms=NOW + 10 * 3_600_000, device=device)
        for device in (0, 1)
    ]
    assert np.all(phones.purchase / phones.click < at_ten[0].purchase / at_ten[0].click)
    np.testing.assert_allclose(
        desktops.purchase / desktops.click, at_ten[1].purchase / at_ten[1].click, rtol=1e-4
    )
