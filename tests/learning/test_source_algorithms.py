"""What an export makes for the sources beside the two-tower model, against sums done by hand."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

import training.algorithms.content as content_module
import training.algorithms.user_user as user_user_module
from export.source_tables import find_arrivals
from shop.events import EventType
from shop.source_tables import shopper_key
from tests.learning.test_item_item import a_snapshot
from training.algorithms.content import ContentSettings, fit_content
from training.algorithms.segments import SegmentSettings, fit_segments
from training.algorithms.user_user import UserUserSettings, fit_user_user
from training.data.snapshot import Snapshot

_DAY_MS = 86_400_000
CLICK, PURCHASE = EventType.CLICK, EventType.PURCHASE


def described(*products: dict[str, object]) -> Snapshot:
    """Nobody did anything worth mentioning with these products."""
    blank = dict.fromkeys(
        ("title", "category", "brand", "material", "use", "season", "style", "colour"), ""
    )
    rows = [blank | {"price_minor": 0} | product for product in products]
    snapshot = a_snapshot([(0, 0, 1)])
    return replace(snapshot, products=pa.Table.from_pylist(rows))


def test_products_are_alike_by_the_cosine_of_their_weighted_terms() -> None:
    snapshot = described(
        {"category": "lamps", "title": "Brass lamp"},
        {"category": "lamps", "title": "brass, LAMP"},
        {"category": "lamps", "title": "Oak shelf"},
        {"category": "rugs", "title": "Wool rug"},
    )
    found = fit_content(snapshot, settings=ContentSettings(neighbour_count=2))
    lamp, brass, oak = np.log(4 / 3), np.log(4 / 2), np.log(4 / 1)
    own = np.sqrt(lamp**2 + 2 * brass**2)
    shelf = np.sqrt(lamp**2 + 2 * oak**2)
    assert found.rows[1].tolist() == [2, 3]
    assert found.scores[1].tolist() == pytest.approx([1.0, lamp**2 / (own * shelf)], abs=1e-6)
    assert found.rows[4].tolist() == [0, 0]  # shares nothing with anything
    assert not found.rows[0].any()


def test_a_rare_term_in_common_counts_more_than_a_usual_one() -> None:
    plain = [{"colour": "white", "material": f"m{at}"} for at in range(6)]
    snapshot = described(
        {"colour": "white", "material": "horn"}, {"material": "horn", "colour": "red"}, *plain
    )
    assert fit_content(snapshot).rows[1, 0] == 2


def test_blocks_of_any_size_find_the_same_neighbours(monkeypatch: pytest.MonkeyPatch) -> None:
    titles = ["red oak chair", "oak chair", "red rug", "red oak", "wool rug", "chair"]
    snapshot = described(*({"title": title} for title in titles))
    whole = fit_content(snapshot)
    monkeypatch.setattr(content_module, "_BLOCK_CELLS", 1)
    piecemeal = fit_content(snapshot)
    assert (whole.rows == piecemeal.rows).all()
    assert whole.scores == pytest.approx(piecemeal.scores)


def test_titles_in_any_script_have_words() -> None:
    snapshot = described({"title": "赤い 椅子"}, {"title": "青い 椅子"}, {"title": "Стол"})
    assert fit_content(snapshot).rows[1, 0] == 2


# u0 and u1 want the same; u1 also bought product 3. u2 shares only what everybody wants.
DEEDS = [
    (0, 0, 1),
    (0, 0, 2),
    (1, 1, 1),
    (1, 1, 2),
    (1, 1, 3),
    (2, 2, 1),
    (2, 2, 4),
    (3, 3, 1),
    (3, 3, 5),
]


def test_shoppers_are_offered_what_those_alike_bought_but_not_what_they_had() -> None:
    lists = fit_user_user(a_snapshot(DEEDS))
    assert lists.of("u0").rows.tolist() == [3]
    assert lists.of("u0").scores[0] > 0
    assert lists.of("u1").rows.size == 0  # u0 wanted nothing that u1 did not


def test_what_everybody_wants_makes_nobody_alike() -> None:
    assert fit_user_user(a_snapshot(DEEDS)).of("u2").rows.size == 0


def test_the_nearest_shopper_s_purchases_come_first() -> None:
    deeds = [
        (0, 0, 1),
        (0, 0, 2),
        (0, 0, 3),
        (1, 1, 1),
        (1, 1, 2),
        (1, 1, 4),
        (2, 2, 3),
        (2, 2, 5),
        (3, 3, 6),
    ]
    assert fit_user_user(a_snapshot(deeds)).of("u0").rows.tolist() == [4, 5]
    nearest_only = fit_user_user(a_snapshot(deeds), settings=UserUserSettings(nearest=1))
    assert nearest_only.of("u0").rows.tolist() == [4]


def test_a_purchase_weighs_more_than_a_click() -> None:
    deeds = [(0, 0, 1), (1, 1, 1), (1, 1, 2), (2, 2, 1), (2, 2, 3), (3, 3, 4)]
    types = [CLICK, CLICK, CLICK, CLICK, PURCHASE, CLICK]
    # u2's own profile leans on its purchase, so it is less near; what it bought still counts.
    found = fit_user_user(a_snapshot(deeds, types=types)).of("u0")
    assert set(found.rows.tolist()) == {2, 3}
    flat = fit_user_user(a_snapshot(deeds)).of("u0")
    ratio = found.scores[found.rows.tolist().index(3)] / found.scores[0]
    assert ratio != pytest.approx(flat.scores[1] / flat.scores[0])


def test_people_in_blocks_of_any_size_find_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = fit_user_user(a_snapshot(DEEDS))
    monkeypatch.setattr(user_user_module, "_BLOCK_CELLS", 1)
    piecemeal = fit_user_user(a_snapshot(DEEDS))
    assert (whole.rows == piecemeal.rows).all()
    assert (whole.keys == piecemeal.keys).all()


def test_only_so_many_shoppers_are_kept_the_last_seen() -> None:
    lists = fit_user_user(a_snapshot(DEEDS), settings=UserUserSettings(shoppers=2))
    assert set(lists.keys.tolist()) == {shopper_key("u2"), shopper_key("u3")}


def a_divided_shop(*, by_country: bool) -> Snapshot:
    """Even shoppers are loyal and buy product 1, odd ones product 2; or the country says which."""
    deeds = [(user, session, 1 + user % 2) for session in range(40) for user in range(4)]
    snapshot = a_snapshot(deeds, times_ms=[at * _DAY_MS // 8 for at in range(len(deeds))])
    users = snapshot.events.user_rows
    country = users % 2 if by_country else users // 2
    return replace(
        snapshot,
        manifest=replace(snapshot.manifest, last_ms=int(snapshot.events.times_ms[-1])),
        shoppers=pa.table({"segment": ["loyal", "new"] * 2 if not by_country else [""] * 4}),
        countries=("DE", "FR"),
        events=replace(snapshot.events, countries=country.astype(np.int16)),
    )


def test_the_dimension_that_tells_most_is_kept_and_one_that_tells_nothing_is_not() -> None:
    found = fit_segments(a_divided_shop(by_country=False), settings=SegmentSettings(prior=5.0))
    assert found.lists.dimensions == ("segment",)
    assert found.gains["segment"] > 0.1 > abs(found.gains["country"])
    assert found.lists.segments == (("segment", "loyal"), ("segment", "new"))
    assert found.lists.rows[:, 0].tolist() == [1, 2]
    assert found.lists.scores[:, 0].tolist() == [1.0, 1.0]


def test_a_shop_that_knows_only_countries_goes_by_them() -> None:
    found = fit_segments(a_divided_shop(by_country=True), settings=SegmentSettings(prior=5.0))
    assert found.lists.dimensions == ("country",)
    assert found.lists.rows[:, 0].tolist() == [1, 2]


def test_a_shop_that_knows_nothing_of_its_shoppers_has_no_segments() -> None:
    snapshot = replace(
        a_snapshot([(0, 0, 1), (1, 0, 2)]), shoppers=pa.table({"segment": [None, ""]})
    )
    lists = fit_segments(snapshot).lists
    assert (lists.dimensions, lists.segments) == ((), ())
    assert lists.rows.shape[0] == 0


def added(*days: int, real: bool = True) -> Snapshot:
    """Products added so many days after the log began, which then went on to day 100."""
    snapshot = a_snapshot([(0, 0, 1)])
    manifest = replace(snapshot.manifest, first_ms=0, last_ms=100 * _DAY_MS, time_is_real=real)
    products = pa.table({"available_from_ms": [day * _DAY_MS for day in days]})
    return replace(snapshot, manifest=manifest, products=products)


def test_arrivals_are_the_latest_first_and_not_what_the_log_began_with() -> None:
    arrivals = find_arrivals(added(0, 60, 99, 45, 80))
    assert arrivals.rows.tolist() == [3, 5, 2]
    assert (np.diff(arrivals.added_ms) <= 0).all()
    assert arrivals.since(80 * _DAY_MS).tolist() == [3, 5]
    assert arrivals.since(200 * _DAY_MS).tolist() == []


def test_data_whose_times_are_not_real_has_no_arrivals() -> None:
    assert find_arrivals(added(0, 99, real=False)).rows.size == 0
