"""Records of rankings: what was packed comes back, and nothing else is taken for one."""

from typing import Any

import numpy as np
import pytest

from serving.recommend.ranking_record import DamagedRanking, Ranking, check, unpacked
from shop.candidates import Source
from tests.unit.rankings import a_ranking


def checked(ranking: Ranking) -> None:
    check(ranking, row_count=61, vector_size=4, head_count=4)


def test_what_was_packed_comes_back() -> None:
    ranking = a_ranking(made_ms=1_750_000_000_000, sources=np.arange(8, dtype=np.uint16))
    found = unpacked(ranking.packed())
    checked(found)
    for name in Ranking.__slots__:
        assert np.array_equal(getattr(found, name), getattr(ranking, name)), name


def test_candidates_keep_their_order_and_who_proposed_them() -> None:
    sources = np.array([1 << Source.TWO_TOWER | 1 << Source.POPULAR, 0, 1 << Source.EXPLORATION])
    ranking = a_ranking(3, rows=np.array([5, 2, 9], np.int32), sources=sources.astype(np.uint16))
    candidates = ranking.candidates()
    assert candidates.rows.tolist() == [5, 2, 9]
    named = [[Source(at) for at in np.flatnonzero(row)] for row in candidates.proposed]
    assert named == [[Source.TWO_TOWER, Source.POPULAR], [], [Source.EXPLORATION]]


def test_what_is_read_cannot_be_changed_for_others() -> None:
    found = unpacked(a_ranking().packed())
    with pytest.raises(ValueError, match="read-only"):
        found.probabilities[0] = 0.0


def test_a_probability_that_the_model_did_not_give_is_none_later_either() -> None:
    probabilities = np.full((8, 4), 0.25, dtype=np.float32)
    probabilities[3, 1] = np.nan
    checked(unpacked(a_ranking(probabilities=probabilities).packed()))


@pytest.mark.parametrize(
    "damage",
    [
        {"rows": np.array([1, 2, 3, 4, 5, 6, 7, 61], np.int32)},  # beyond the catalogue
        {"rows": np.array([1, 2, 3, 4, 5, 6, 7, 0], np.int32)},
        {"rows": np.array([1, 2, 3, 4, 5, 6, 7, 7], np.int32)},
        {
            "rows": np.zeros(0, np.int32),
            "sources": np.zeros(0, np.uint16),
            "query_scores": np.zeros((0, 0), np.float32),
        },
        {"sources": np.full(8, 65_535, np.uint16)},
        {"ranked_rows": np.full(8, -1, np.int32)},
        {"user_vector": np.full(4, np.nan, np.float32)},
        {"user_vector": np.full(5, 0.1, np.float32)},
        {"price_minor": np.full(8, -1, np.int64)},
        {"price_minor": np.full(8, 1 << 62, np.int64)},
        {"discount": np.full(8, np.nan, np.float32)},
        {"probabilities": np.full((8, 4), 1.5, np.float32)},
        {"probabilities": np.full((8, 3), 0.5, np.float32)},
    ],
    ids=str,
)
def test_what_later_stages_could_not_use_is_refused(damage: dict[str, Any]) -> None:
    with pytest.raises(DamagedRanking):
        checked(unpacked(a_ranking(**damage).packed()))


def test_other_sizes_than_it_names_are_refused() -> None:
    record = a_ranking().packed()
    for other in (b"", record[:10], record[:-1], record + b"\0", b"\1" + record[1:]):
        with pytest.raises(DamagedRanking):
            unpacked(other)
