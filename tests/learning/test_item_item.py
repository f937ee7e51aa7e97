"""Item–item neighbours and popularity, against sums anyone can do by hand."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

import training.algorithms.item_item as item_item
from shop.events import EVENT_CODES, EventType
from training.algorithms.item_item import ItemItemRetriever, ItemItemSettings, fit_neighbours
from training.algorithms.popularity import PopularRetriever, fit_popularity
from training.data.snapshot import Events, Snapshot, SnapshotManifest
from training.examples import Moments, wanted_touches
from training.histories import build_histories

_LATER_MS = 10**12
_DAY_MS = 86_400_000


def a_snapshot(
    deeds: list[tuple[int, int, int]],
    *,
    types: list[EventType] | None = None,
    times_ms: list[int] | None = None,
    product_count: int = 6,
) -> Snapshot:
    """Deeds are (user, session, product row), one millisecond apart unless `times_ms` says else."""
    count = len(deeds)
    users, sessions, rows = (np.array(column) for column in zip(*deeds, strict=True))
    zeros = np.zeros(count, dtype=np.int64)
    codes = [EVENT_CODES[t] for t in types or [EventType.PURCHASE] * count]
    events = Events(
        times_ms=np.arange(count) if times_ms is None else np.array(times_ms),
        user_rows=users.astype(np.int32),
        session_ids=sessions,
        request_ids=zeros,
        product_rows=rows.astype(np.int32),
        codes=np.array(codes, dtype=np.int8),
        placements=zeros.astype(np.int8),
        positions=zeros.astype(np.int16),
        quantities=zeros.astype(np.int32),
        price_minor=zeros,
        discounts=zeros.astype(np.float32),
        amounts=zeros.astype(np.int32),
        devices=zeros.astype(np.int8),
        countries=zeros.astype(np.int16),
    )
    manifest = SnapshotManifest("s", 1, "test", "EUR", {}, 0, count, True, True, {})
    products = pa.table({"product_id": [f"p{i}" for i in range(product_count)]})
    ids = np.array([f"u{i}" for i in range(int(users.max()) + 1)])
    return Snapshot(Path(), manifest, products, products, ids, ("",), ("",), ("",), events)


def brute_force(snapshot: Snapshot, settings: ItemItemSettings) -> np.ndarray:
    size = snapshot.products.num_rows + 1
    together, counts = np.zeros((size, size)), np.zeros(size)
    events, touches = snapshot.events, wanted_touches(snapshot)
    for user in set(events.user_rows.tolist()):
        places = [at for at in touches.events_at if events.user_rows[at] == user]
        for i, here in enumerate(places):
            counts[events.product_rows[here]] += 1
            for j, other in enumerate(places):
                a, b = events.product_rows[here], events.product_rows[other]
                same = a == b and events.session_ids[here] == events.session_ids[other]
                if 0 < abs(i - j) <= settings.reach and not same:
                    together[a, b] += 1 / (1 + 0.3 * (abs(i - j) - 1))
    return together / np.sqrt(np.maximum(counts[:, None] * counts[None, :], 1))


def random_deeds(seed: int, count: int = 120) -> list[tuple[int, int, int]]:
    random = np.random.default_rng(seed)
    users = random.integers(0, 5, count)
    return [
        (int(u), int(u) * 10 + at // 30, int(random.integers(1, 7))) for at, u in enumerate(users)
    ]


@pytest.mark.parametrize("reach", [1, 3, 50])
@pytest.mark.parametrize("block_cells", [1, 4_000_000])
def test_neighbours_equal_brute_force(
    reach: int, block_cells: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(item_item, "_BLOCK_CELLS", block_cells)
    snapshot = a_snapshot(random_deeds(reach))
    settings = ItemItemSettings(neighbour_count=4, reach=reach)
    neighbours = fit_neighbours(snapshot, before_ms=_LATER_MS, settings=settings)
    expected = brute_force(snapshot, settings)
    np.testing.assert_allclose(neighbours.scores, -np.sort(-expected, axis=1)[:, :4], rtol=1e-6)
    for row in range(7):
        real = neighbours.scores[row] > 0
        found = expected[row, neighbours.rows[row][real]]
        np.testing.assert_allclose(found, neighbours.scores[row][real], rtol=1e-6)


def test_later_wishes_do_not_count() -> None:
    snapshot = a_snapshot([(0, 0, 1), (0, 0, 2), (0, 0, 3)])
    neighbours = fit_neighbours(snapshot, before_ms=2)
    assert neighbours.rows[1, 0] == 2
    assert not neighbours.scores[3].any()


def test_a_product_neighbours_itself_only_across_sessions() -> None:
    click_and_buy = [(0, 0, 1), (0, 0, 1)]
    types = [EventType.CLICK, EventType.PURCHASE]
    once = fit_neighbours(a_snapshot(click_and_buy, types=types), before_ms=_LATER_MS)
    again = fit_neighbours(a_snapshot([(0, 0, 1), (0, 1, 1)]), before_ms=_LATER_MS)
    assert not once.scores[1].any()
    assert again.rows[1, 0] == 1
    assert again.scores[1, 0] == 1.0


def test_fewer_products_than_neighbours_are_padded_with_row_zero() -> None:
    neighbours = fit_neighbours(a_snapshot([(0, 0, 1), (0, 0, 2)]), before_ms=_LATER_MS)
    assert neighbours.rows.shape == (7, ItemItemSettings().neighbour_count)
    assert neighbours.rows[1].tolist()[:2] == [2, 0]
    assert not neighbours.rows[0].any()


def test_a_click_and_its_purchase_are_one_wish_at_the_time_of_the_click() -> None:
    types = [EventType.CLICK, EventType.CLICK, EventType.PURCHASE]
    touches = wanted_touches(a_snapshot([(0, 0, 1), (0, 0, 2), (0, 0, 1)], types=types))
    assert touches.events_at.tolist() == [0, 1]
    assert touches.strongest.tolist() == [EVENT_CODES[types[2]], EVENT_CODES[types[0]]]


def a_moment(user: int, time_ms: int) -> Moments:
    zero = np.zeros(1, dtype=np.int64)
    return Moments(zero + user, zero + time_ms, zero, zero, zero, zero, zero, zero)


def test_item_item_proposes_the_neighbours_of_the_last_wish_first() -> None:
    snapshot = a_snapshot([(0, 0, 1), (0, 0, 2), (0, 0, 3), (1, 1, 1)])
    neighbours = fit_neighbours(snapshot, before_ms=_LATER_MS)
    retriever = ItemItemRetriever(neighbours, build_histories(snapshot))
    assert retriever.best_rows(a_moment(1, 99), 4)[0].tolist() == [2, 3, 0, 0]


def test_popularity_fades_with_age() -> None:
    deeds = [(0, 0, 1), (0, 0, 1), (0, 0, 2)]
    snapshot = a_snapshot(deeds, times_ms=[0, 1, 200 * _DAY_MS])
    popularity = fit_popularity(snapshot, before_ms=201 * _DAY_MS)
    assert popularity.popular_rows.tolist() == [2, 1, 3, 4, 5, 6]
    assert popularity.popularity[2] == 1.0
    assert popularity.popularity[0] == 0.0


def test_popularity_ignores_what_comes_later() -> None:
    snapshot = a_snapshot([(0, 0, 1), (0, 0, 2), (0, 0, 2)])
    assert fit_popularity(snapshot, before_ms=1).popular_rows[0] == 1


def test_popularity_proposes_the_same_list_to_everyone() -> None:
    popularity = fit_popularity(a_snapshot([(0, 0, 2)]), before_ms=_LATER_MS)
    assert PopularRetriever(popularity).best_rows(a_moment(0, 5), 8)[0].tolist() == [
        2,
        1,
        3,
        4,
        5,
        6,
        0,
        0,
    ]
