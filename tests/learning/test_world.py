"""The simulated world keeps its promises: same seed, same bytes; causes first; real taste."""

from pathlib import Path

import numpy as np
import pytest

from shop.errors import DataRejected, SettingsRejected
from shop.events import EVENT_CODES, EventType
from simulator.choice import NO_NEED
from simulator.event_columns import EventColumns, concatenated
from simulator.showing import LENGTHS
from simulator.world import World, WorldSettings, build_world, generate, load_world, main

IMPRESSION, CLICK, CART, ABANDON, PURCHASE, RETURN = (
    EVENT_CODES[name]
    for name in (
        EventType.IMPRESSION,
        EventType.CLICK,
        EventType.CART,
        EventType.ABANDON,
        EventType.PURCHASE,
        EventType.RETURN,
    )
)


@pytest.fixture(scope="module")
def world() -> World:
    return build_world(
        WorldSettings(product_count=400, shopper_count=600, days=14, sessions_per_shopper=5.0)
    )


@pytest.fixture(scope="module")
def events(world: World) -> EventColumns:
    return concatenated(list(world.events()))


def tiny(seed: int = 7) -> WorldSettings:
    return WorldSettings(
        seed=seed, product_count=300, shopper_count=60, days=2, sessions_per_shopper=1.0
    )


def of_type(events: EventColumns, code: int) -> EventColumns:
    return events.where(events.codes == code)


def keys_of(events: EventColumns) -> np.ndarray:
    """[E] one number per list and position."""
    return events.requests * 100 + events.positions


def causes_of(effects: EventColumns, causes: EventColumns) -> EventColumns:
    """The causes [E] at the same place of the same list as each effect, which must exist."""
    order = np.argsort(keys_of(causes))
    at = order[np.searchsorted(keys_of(causes)[order], keys_of(effects))]
    found = causes.where(at)
    assert np.array_equal(keys_of(found), keys_of(effects))
    return found


def assert_each_follows(effects: EventColumns, causes: EventColumns) -> None:
    assert len(effects) > 0
    caused = causes_of(effects, causes)
    assert np.array_equal(caused.products, effects.products)
    assert np.array_equal(caused.shoppers, effects.shoppers)
    assert np.array_equal(caused.sessions, effects.sessions)
    assert np.all(caused.times_ms < effects.times_ms)


def ndcg_at_20(score: np.ndarray, gain: np.ndarray) -> float:
    worth = 1.0 / np.log2(np.arange(2, 22))
    got = np.take_along_axis(gain, np.argsort(-score, axis=1)[:, :20], axis=1) @ worth
    return float((got / (-np.sort(-gain, axis=1)[:, :20] @ worth)).mean())


def test_events_come_in_time_order_and_inside_the_world(world: World, events: EventColumns) -> None:
    assert np.all(np.diff(events.times_ms) >= 0)
    assert events.times_ms[0] >= world.settings.start_ms
    assert events.times_ms[-1] < world.settings.end_ms


def test_every_deed_follows_the_one_before_it(events: EventColumns) -> None:
    assert_each_follows(of_type(events, CLICK), of_type(events, IMPRESSION))
    assert_each_follows(of_type(events, CART), of_type(events, CLICK))
    assert_each_follows(of_type(events, PURCHASE), of_type(events, CART))
    assert_each_follows(of_type(events, ABANDON), of_type(events, CART))
    assert_each_follows(of_type(events, RETURN), of_type(events, PURCHASE))


def test_a_cart_is_never_both_bought_and_abandoned(events: EventColumns) -> None:
    bought, abandoned = of_type(events, PURCHASE), of_type(events, ABANDON)
    assert np.intersect1d(keys_of(bought), keys_of(abandoned)).size == 0


def test_returns_take_days(events: EventColumns) -> None:
    returns = of_type(events, RETURN)
    bought = causes_of(returns, of_type(events, PURCHASE))
    assert np.all(returns.times_ms - bought.times_ms > 2 * 86_400_000)


def test_a_list_holds_no_product_twice_and_is_filled_from_the_top(events: EventColumns) -> None:
    shown = of_type(events, IMPRESSION)
    pairs = np.stack([shown.requests, shown.products], axis=1)
    assert len(np.unique(pairs, axis=0)) == len(shown)
    first = np.flatnonzero(np.diff(shown.requests, prepend=-1) != 0)
    assert np.all(shown.positions[first] == 1)
    lengths = np.diff(np.append(first, len(shown)))
    assert np.all(lengths <= LENGTHS[shown.placements[first]])
    assert np.mean(lengths >= 20) > 0.9  # categories of so small a shop can run dry


def test_no_product_is_shown_before_it_is_available(world: World, events: EventColumns) -> None:
    assert np.all(events.times_ms >= world.products.available_from_ms[events.products])
    arrived = world.products.available_from_ms[1:] > world.settings.start_ms
    assert 0.02 < arrived.mean() < 0.15


def test_some_shoppers_are_cold(world: World, events: EventColumns) -> None:
    seen = np.bincount(events.shoppers, minlength=world.shoppers.count) > 0
    late = world.shoppers.first_ms > world.settings.start_ms
    assert 0 < np.count_nonzero(~seen) < 0.2 * world.shoppers.count
    assert np.count_nonzero(late & seen) > 0


def test_overall_rates_are_those_of_a_shop(events: EventColumns) -> None:
    shown, clicked, carted, bought = (
        len(of_type(events, code)) for code in (IMPRESSION, CLICK, CART, PURCHASE)
    )
    assert 0.07 < clicked / shown < 0.11
    assert 0.25 < carted / clicked < 0.35
    assert 0.42 < bought / carted < 0.58


def test_margins_and_prices_are_plausible(world: World) -> None:
    share = world.products.cost_minor[1:] / world.products.price_minor[1:]
    assert share.min() > 0.44
    assert share.max() < 0.66
    assert world.products.price_minor[1:].min() > 0


def test_complements_are_other_real_products(world: World) -> None:
    rows = np.arange(1, world.products.count + 1)[:, None]
    complements = world.products.complements[1:]
    assert complements.min() >= 1
    assert np.all(complements != rows)
    assert np.all(np.diff(np.sort(complements, axis=1), axis=1) > 0)


def test_paid_prices_carry_their_discount(world: World, events: EventColumns) -> None:
    listed = world.products.price_minor[events.products]
    assert np.all(np.abs(events.price_minor - listed * (1.0 - events.discounts)) < 1.0)
    assert 0.05 < np.mean(events.discounts > 0) < 0.2


def test_popular_products_do_not_make_up_for_taste(world: World) -> None:
    """A list by true purchase probability beats the best list for everybody by far."""
    who = np.arange(300)
    rows = np.arange(1, world.products.count + 1)
    gain = world.true_probabilities(who, rows, time_ms=world.settings.end_ms).purchase
    popular = np.broadcast_to(gain.mean(axis=0), gain.shape)
    assert ndcg_at_20(gain, gain) == pytest.approx(1.0)
    assert ndcg_at_20(popular, gain) < 0.4
    assert ndcg_at_20(popular, gain) > 1.5 * ndcg_at_20(-gain, gain)  # yet popularity matters


def test_slow_browsing_tells_of_engagement(events: EventColumns) -> None:
    """Sessions that buy have longer pauses between impression and first click."""
    clicks = of_type(events, CLICK)
    pause_ms = clicks.times_ms - causes_of(clicks, of_type(events, IMPRESSION)).times_ms
    is_bought = np.isin(keys_of(clicks), keys_of(of_type(events, PURCHASE)))
    assert np.median(pause_ms[is_bought]) > 1.05 * np.median(pause_ms[~is_bought])


def test_the_same_seed_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("one", "two"):
        generate(tmp_path / name, tiny())
    for file in (tmp_path / "one").iterdir():
        assert file.read_bytes() == (tmp_path / "two" / file.name).read_bytes(), file.name


def test_another_seed_gives_other_tastes() -> None:
    one, two = (build_world(tiny(seed)) for seed in (1, 2))
    assert not np.array_equal(one.shoppers.taste, two.shoppers.taste)


def test_a_written_world_grows_again_with_the_same_truth(tmp_path: Path) -> None:
    world = generate(tmp_path, tiny())
    again = load_world(tmp_path)
    asked = {"time_ms": world.settings.end_ms, "need": NO_NEED}
    rows = np.arange(1, 301)
    first = world.true_probabilities([0, 59], rows, **asked)
    second = again.true_probabilities([0, 59], rows, **asked)
    assert np.array_equal(first.purchase, second.purchase)
    assert np.array_equal(first.return_risk, second.return_risk)


def test_a_folder_without_a_world_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataRejected, match="holds no world"):
        load_world(tmp_path)


def test_a_world_of_another_version_is_refused(tmp_path: Path) -> None:
    (tmp_path / "world.json").write_text('{"version": 0, "settings": {}}')
    with pytest.raises(DataRejected, match="version 0"):
        load_world(tmp_path)


@pytest.mark.parametrize(
    "wrong", [{"product_count": 3}, {"days": 0}, {"seed": -1}, {"sessions_per_shopper": 0.0}]
)
def test_settings_that_make_no_world_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(SettingsRejected, match=next(iter(wrong))):
        WorldSettings(**wrong)


def test_the_command_names_the_setting_that_is_wrong(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--out", str(tmp_path), "--products", "3"]) == 2
    assert "product_count = 3" in capsys.readouterr().err


def test_the_command_writes_a_world_that_can_be_loaded(tmp_path: Path) -> None:
    sizes = ["--products", "300", "--shoppers", "60", "--days", "2", "--sessions", "1"]
    assert main(["--out", str(tmp_path), *sizes]) == 0
    assert load_world(tmp_path).settings.product_count == 300


def test_dwell_is_longer_for_what_goes_into_the_cart(events: EventColumns) -> None:
    dwells = events.where(events.codes == EVENT_CODES[EventType.DWELL])
    clicks = np.count_nonzero(events.codes == EVENT_CODES[EventType.CLICK])
    assert 0.65 < len(dwells) / clicks < 0.75
    assert dwells.amounts.min() > 1_000
    carts = events.where(events.codes == EVENT_CODES[EventType.CART])
    width = int(events.products.max()) + 1
    in_cart = np.isin(
        dwells.requests * width + dwells.products, carts.requests * width + carts.products
    )
    assert np.median(dwells.amounts[in_cart]) > 1.2 * np.median(dwells.amounts[~in_cart])


def test_searches_name_no_product_and_some_lead_nowhere(events: EventColumns) -> None:
    searches = events.where(events.codes == EVENT_CODES[EventType.SEARCH])
    assert not searches.products.any()
    assert not searches.requests.any()
    assert 0.1 < np.mean(searches.amounts == 0) < 0.6
    others = events.where(
        ~np.isin(events.codes, [EVENT_CODES[EventType.SEARCH], EVENT_CODES[EventType.DWELL]])
    )
    assert not others.amounts.any()


def test_some_carts_are_emptied_and_more_are_left(events: EventColumns) -> None:
    removed, left = (
        np.count_nonzero(events.codes == EVENT_CODES[kind])
        for kind in (EventType.REMOVE, EventType.ABANDON)
    )
    assert 0.15 < removed / (removed + left) < 0.25
