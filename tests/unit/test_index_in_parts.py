"""Settings of an index in parts, who may go over to a release, and what a list says of its loss."""

import asyncio
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from serving.adapters.shards import ShardState
from serving.recommend.ports import PartlyFound
from serving.recommend.request import Degradation
from serving.reply import degraded_of
from serving.settings import Settings
from serving.settings_reader import load_settings
from serving.sharding import check_shards, until_held
from serving.stack.shards import ShardShown, shards_line
from shop.errors import SettingsRejected
from tests.unit.small_shop import a_shop, an_ask

ONE, TWO = ShardState(frozenset({"r1"}), {}), ShardState(frozenset({"r1", "r2"}), {})


@pytest.mark.parametrize(
    ("told", "why"),
    [
        ({"SHARDS": "-1"}, "index.shards = -1: must be 0 to 64"),
        ({"SHARDS": "2", "ADDRESSES": "a:1"}, "must name all 2 shards"),
        ({"SHARDS": "2", "ADDRESSES": "a:1,a:1"}, "must name each once"),
        ({"SHARDS": "1", "ADDRESSES": "a"}, "must each be host:port"),
        ({"ADDRESSES": "a:1"}, "must name all 0 shards"),
    ],
)
def test_parts_that_cannot_be_are_refused(told: dict[str, str], why: str) -> None:
    with pytest.raises(SettingsRejected, match=why):
        load_settings(None, {f"VITRINE_INDEX__{name}": value for name, value in told.items()})


def test_a_gpu_holds_the_whole_index() -> None:
    told = {"VITRINE_INDEX__SHARDS": "2", "VITRINE_GPU__INDEX": "gpu"}
    with pytest.raises(SettingsRejected, match="GPU holds the whole index"):
        load_settings(None, told)


def test_a_door_must_be_told_where_the_parts_are() -> None:
    check_shards(Settings())
    with pytest.raises(SettingsRejected, match="must name the 2 shards"):
        check_shards(load_settings(None, {"VITRINE_INDEX__SHARDS": "2"}))


class Told:
    """Shards that say this, one after another."""

    def __init__(self, *states: list[ShardState | None]) -> None:
        self.states = list(states)

    async def hold(self, release: str) -> list[ShardState | None]:
        return self.states.pop(0) if len(self.states) > 1 else self.states[0]


def held(shards: Told, *, wanted: int = 3) -> bool:
    left = iter([True] * wanted)
    return asyncio.run(
        until_held(shards, "r2", before="r1", is_wanted=lambda: next(left, False), every_s=0.0)
    )


def test_a_release_waits_until_every_part_of_the_one_before_holds_it() -> None:
    assert held(Told([ONE, TWO], [TWO, TWO]))
    assert not held(Told([ONE, TWO]))


def test_a_part_that_is_lost_anyway_holds_up_nobody() -> None:
    assert held(Told([TWO, None]))
    assert held(Told([TWO, ShardState(frozenset(), {"r2": "no such folder"})]))


class Parted:
    """An index of which only a share could be searched."""

    def __init__(self, searched_share: float) -> None:
        self.searched_share = searched_share

    async def search(
        self, user_vector: Any, count: int, *, allowed: Any, timeout_s: float
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        rows = np.arange(1, 4, dtype=np.int64)
        return PartlyFound.of(rows, np.ones(3, np.float32), self.searched_share)


def test_a_list_says_which_share_of_the_products_was_searched_for_it() -> None:
    shop = a_shop()
    deps = replace(shop.deps, release=replace(shop.deps.release, index=Parted(0.75)))
    answer = asyncio.run(replace(shop, deps=deps).recommend(an_ask()))
    assert ("candidates", Degradation.PARTIAL_INDEX) in answer.degraded
    assert not answer.fallback
    told = {each.reason: each.searched_share for each in degraded_of(answer)}
    assert told["PARTIAL_INDEX"] == 0.75
    whole = asyncio.run(shop.recommend(an_ask()))
    assert Degradation.PARTIAL_INDEX not in {reason for _, reason in whole.degraded}
    assert whole.searched_share == 1.0


def test_status_names_the_part_that_is_lost() -> None:
    shards = [ShardShown("a:1", True, 500, ("r1",)), ShardShown("b:2", answers=False)]
    assert shards_line(shards, "r1") == ("shards         1 of 2 hold r1, 500 products; LOST: b:2")
