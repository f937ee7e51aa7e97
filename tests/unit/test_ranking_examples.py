"""What the ranker learns from: right labels, the gateway's numbers, nothing of the future."""

from pathlib import Path

import numpy as np
import pytest

from shop.blend import Quotas, interleave
from shop.events import EventType, History
from shop.features import candidate_values, mean_log_price
from shop.neighbours import Neighbours, score_neighbours
from shop.popularity import Popularity
from shop.sources import from_history, from_neighbours, from_popularity
from tests.learning.shown_log import HOUR_MS, PRODUCTS, START_MS, Deed, a_list, written
from training.data.snapshot import Snapshot
from training.examples import moments_of_events
from training.histories import build_histories
from training.model_folder import list_prices, schema_of
from training.proposals import Proposer
from training.ranking_examples import (
    RETURN_DAYS,
    Lists,
    judged_lists,
    shown_lists,
    values_of_lists,
    visits,
)

CLICK, CART = EventType.CLICK, EventType.CART
PURCHASE, RETURN = EventType.PURCHASE, EventType.RETURN
HEADS = ("click", "cart", "purchase", "return")


def shown(deeds: list[Deed], folder: Path) -> Lists:
    snapshot = written(deeds, folder)
    return shown_lists(snapshot, schema_of(snapshot, history_length=5, vector_size=4))


def outcomes(head: str, deeds: list[Deed], folder: Path) -> list[list[bool]]:
    # Every head exists in the snapshot, whatever the test is about.
    extra = [Deed(0, kind, 12, shopper=2, session=9) for kind in (CLICK, CART, PURCHASE, RETURN)]
    return shown(deeds + extra, folder).labels[..., HEADS.index(head)].tolist()


def neighbours_of(seed: int = 0, kept: int = 4) -> Neighbours:
    random = np.random.default_rng(seed)
    rows = random.integers(0, PRODUCTS + 1, (PRODUCTS + 1, kept)).astype(np.int32)
    scores = random.random((PRODUCTS + 1, kept)).astype(np.float32) * (rows > 0)
    rows[0], scores[0] = 0, 0.0
    return Neighbours(rows, scores)


def a_busy_log(folder: Path, *, count: int = 400, seed: int = 0) -> Snapshot:
    random = np.random.default_rng(seed)
    kinds = (CLICK, CART, PURCHASE, EventType.ABANDON)
    deeds = [
        Deed(
            float(hours),
            kinds[random.integers(4)],
            int(random.integers(1, PRODUCTS + 1)),
            shopper=int(random.integers(3)),
            session=int(hours // 6),
        )
        for hours in np.sort(random.random(count) * 900)
    ]
    for request in range(1, 41):
        products = random.permutation(PRODUCTS)[: random.integers(1, 8)] + 1
        deeds += a_list(
            random.random() * 900, request, products.tolist(), int(random.integers(3)), 999
        )
    return written(deeds, folder)


def test_a_list_keeps_its_products_in_place_with_price_and_discount(tmp_path: Path) -> None:
    lists = shown([*a_list(5, 7, [3, 1, 2]), *a_list(1, 8, [4])], tmp_path)
    assert lists.rows.tolist() == [[4, 0, 0], [3, 1, 2]]  # in order of time
    assert lists.positions.tolist() == [[1, 0, 0], [1, 2, 3]]
    assert lists.price_minor[1].tolist() == [300, 100, 200]
    assert lists.discounts[1].tolist() == pytest.approx([0.03, 0.01, 0.02])


def test_an_outcome_belongs_to_the_list_that_showed_the_product(tmp_path: Path) -> None:
    deeds = [
        *a_list(1, 1, [3, 4]),
        *a_list(2, 2, [3, 5]),
        Deed(3, CLICK, 3, request=2),
        Deed(3, CLICK, 4),  # reached without a list
        Deed(3, CLICK, 9, request=1),  # was not in that list
    ]
    assert outcomes("click", deeds, tmp_path) == [[False, False], [True, False]]


def test_what_was_bought_must_have_been_clicked(tmp_path: Path) -> None:
    deeds = [*a_list(1, 1, [3, 4]), Deed(2, PURCHASE, 4, request=1)]
    assert outcomes("click", deeds, tmp_path) == [[False, True]]


@pytest.mark.parametrize(("days", "expected"), [(RETURN_DAYS - 1, True), (RETURN_DAYS + 1, False)])
def test_a_return_counts_within_its_period(tmp_path: Path, days: float, expected: bool) -> None:
    deeds = [
        *a_list(1, 1, [3]),
        Deed(1.1, PURCHASE, 3, request=1),
        Deed(1 + 24 * days, RETURN, 3, request=1),
    ]
    assert outcomes("return", deeds, tmp_path) == [[expected]]


def test_returns_are_known_of_purchases_only_and_nothing_of_padding(tmp_path: Path) -> None:
    deeds = [
        *a_list(1, 1, [3, 4, 5]),
        *a_list(2, 2, [6]),
        *(Deed(3, kind, 4, request=1) for kind in (CLICK, CART, PURCHASE, RETURN)),
    ]
    lists = shown(deeds, tmp_path)
    assert lists.is_known[0, :, HEADS.index("return")].tolist() == [False, True, False]
    assert lists.is_known[1, :, 0].tolist() == [True, False, False]


def test_a_purchase_teaches_of_returns_only_when_its_return_period_is_over(tmp_path: Path) -> None:
    deeds = [
        *a_list(1, 1, [3]),
        *(Deed(2, kind, 3, request=1) for kind in (CLICK, CART, PURCHASE)),
        Deed(100, RETURN, 3, request=1),
    ]
    lists = shown(deeds, tmp_path)
    soon = START_MS + 50 * HOUR_MS
    late = START_MS + int((RETURN_DAYS + 1) * 24 * HOUR_MS)
    assert lists.certain_in(lambda ms: ms < soon).is_known[0, 0].tolist() == [True] * 3 + [False]
    assert lists.certain_in(lambda ms: ms < late).is_known[0, 0].tolist() == [True] * 4
    later = lists.certain_in(lambda ms: ms >= soon)
    assert later.is_known[0, 0].tolist() == [False] * 3 + [True]


def test_lists_without_a_certain_outcome_are_left_out(tmp_path: Path) -> None:
    deeds = [*a_list(1, 1, [3]), *a_list(9, 2, [4]), Deed(1, CLICK, 3, request=1)]
    lists = shown(deeds, tmp_path)
    assert lists.certain_in(lambda ms: ms < START_MS + 5 * HOUR_MS).rows.tolist() == [[3]]


def test_candidate_values_equal_the_gateways_bit_for_bit(tmp_path: Path) -> None:
    snapshot = a_busy_log(tmp_path)
    lists = shown_lists(snapshot, schema_of(snapshot, history_length=5, vector_size=4))
    histories, neighbours, prices = (
        build_histories(snapshot),
        neighbours_of(),
        list_prices(snapshot),
    )
    values = values_of_lists(lists, histories, neighbours, prices)
    for at in range(len(lists)):
        moments, rows = lists.moments, lists.rows[at].astype(np.int64)
        history = histories.history_at(int(moments.user_rows[at]), int(moments.times_ms[at]))
        online = candidate_values(
            price_minor=lists.price_minor[at],
            discount=lists.discounts[at],
            item_item=score_neighbours(history, neighbours).of(rows),
            taste_log_price=mean_log_price(history, prices),
        )
        real = rows > 0
        np.testing.assert_array_equal(values[at][real], online[real])


def test_a_visit_wants_what_comes_within_its_horizon(tmp_path: Path) -> None:
    deeds = [
        Deed(0, PURCHASE, 1),
        Deed(100, CLICK, 2, session=2),
        Deed(101, PURCHASE, 3, session=2),
        Deed(100 + 24 * 4, PURCHASE, 4, session=3),
        Deed(100 + 24 * 9, PURCHASE, 5, session=4),
        Deed(102, PURCHASE, 6, shopper=1, session=5),
    ]
    snapshot = written(deeds, tmp_path)
    schema = schema_of(snapshot, history_length=5, vector_size=4)
    asked = visits(snapshot, schema, horizon_days=5.0)
    rows = np.tile(np.arange(1, 7, dtype=np.int32), (len(asked.moments), 1))
    lists = judged_lists(snapshot, schema, asked, rows, list_prices(snapshot))
    second = int(np.flatnonzero(asked.moments.times_ms == START_MS + 100 * HOUR_MS)[0])
    bought = lists.labels[second, :, schema.heads.index("purchase")]
    assert (np.flatnonzero(bought) + 1).tolist() == [3, 4]
    clicked = lists.labels[second, :, schema.heads.index("click")]
    assert (np.flatnonzero(clicked) + 1).tolist() == [2, 3, 4]


def test_a_visit_without_horizon_still_sees_its_own_session(tmp_path: Path) -> None:
    deeds = [Deed(0, CLICK, 1), Deed(2, PURCHASE, 2), Deed(3, PURCHASE, 3, session=2)]
    snapshot = written(deeds, tmp_path)
    schema = schema_of(snapshot, history_length=5, vector_size=4)
    asked = visits(snapshot, schema, horizon_days=0.0)
    rows = np.tile(np.arange(1, 4, dtype=np.int32), (2, 1))
    lists = judged_lists(snapshot, schema, asked, rows, list_prices(snapshot))
    assert lists.labels[0, :, schema.heads.index("purchase")].tolist() == [False, True, False]


def a_proposer(snapshot: Snapshot, *, repeats: bool) -> Proposer:
    random = np.random.default_rng(3)
    vectors = random.normal(size=(PRODUCTS + 1, 4)).astype(np.float32)
    score_of = np.linspace(0, 1, PRODUCTS + 1, dtype=np.float32)
    popular = Popularity.of(
        np.arange(PRODUCTS, 0, -1), score_of, np.zeros(PRODUCTS + 1, dtype=np.int64)
    )
    quotas = Quotas(two_tower=4, item_item=3, history=2, popular=2, candidates=8, looked_up=8)
    histories = build_histories(snapshot)
    return Proposer(histories, vectors, neighbours_of(), popular, repeats, quotas)


def _other_sources(proposer: Proposer, history: History) -> list:
    quotas = proposer.quotas
    return [
        from_neighbours(score_neighbours(history, proposer.neighbours), quotas.item_item, None),
        from_history(history, quotas.history, None),
        from_popularity(proposer.popularity, np.zeros(0, np.int64), quotas.popular, None),
    ]


def test_proposals_are_blended_as_the_gateway_blends(tmp_path: Path) -> None:
    snapshot = a_busy_log(tmp_path)
    proposer = a_proposer(snapshot, repeats=True)
    schema = schema_of(snapshot, history_length=5, vector_size=4)
    moments = moments_of_events(snapshot, schema, np.arange(0, 400, 13))
    user_vectors = np.random.default_rng(1).normal(size=(len(moments), 4)).astype(np.float32)
    proposed = proposer.rows(moments, user_vectors)
    for at, ours in enumerate(proposed):
        history = proposer.histories.history_at(
            int(moments.user_rows[at]), int(moments.times_ms[at]), int(moments.session_ids[at])
        )
        nearest = proposer.nearest(user_vectors[at : at + 1])[0]
        proposals = [nearest, *_other_sources(proposer, history)]
        online = interleave(proposals, proposer.quotas, proposer.quotas.candidates).rows
        assert ours[ours > 0].tolist() == online.tolist()


def test_where_nobody_buys_twice_nothing_known_is_proposed(tmp_path: Path) -> None:
    snapshot = a_busy_log(tmp_path, count=30)
    proposer = a_proposer(snapshot, repeats=False)
    schema = schema_of(snapshot, history_length=5, vector_size=4)
    moments = moments_of_events(snapshot, schema, np.arange(0, 60, 7))
    user_vectors = np.random.default_rng(1).normal(size=(len(moments), 4)).astype(np.float32)
    for at, rows in enumerate(proposer.rows(moments, user_vectors)):
        history = proposer.histories.history_at(
            int(moments.user_rows[at]), int(moments.times_ms[at])
        )
        assert not np.isin(rows[rows > 0], history.product_rows).any()
