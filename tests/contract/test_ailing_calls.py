"""Calls while a back-end ails: what they may not show is what the replica they ask knows."""

import asyncio
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from loadtest.benchmarks.ailing import ailing_door
from serving.proto import business_pb2 as business
from serving.proto import recommendations_pb2 as pb
from tests.contract.scripted_door import ScriptedDoor, a_list, scripted_door

LEARNS_AFTER = 3  # calls over one connection


@dataclass
class SeveralReplicas(ScriptedDoor):
    """Each connection has a replica of its own, which learns what is sold out by being asked."""

    sold_out: frozenset[str] = frozenset()
    asked_since: Counter[str] = field(default_factory=Counter)
    faults: list[business.FaultSettings] = field(default_factory=list)

    def Recommend(self, request: pb.RecommendRequest, context: Any) -> pb.RecommendResponse:
        if not self.sold_out:
            return a_list()
        self.asked_since[context.peer()] += 1
        return a_list(1 if self.asked_since[context.peer()] <= LEARNS_AFTER else 50)

    def SetFaults(self, settings: business.FaultSettings, timeout: float) -> None:
        assert timeout > 0
        self.faults.append(settings)

    @contextmanager
    def none_left(self, products: frozenset[str]) -> Iterator[None]:
        self.sold_out = products
        yield


def test_nothing_ails_before_the_replica_that_is_asked_knows_what_is_sold_out() -> None:
    door = SeveralReplicas()
    requests = iter(lambda: pb.RecommendRequest(user_id="s"), None)
    with scripted_door(door):
        cells = asyncio.run(
            ailing_door(
                door.address,
                requests,
                door.none_left,
                door,
                [("inventory", "negative"), ("pricing", "dead")],
                settled_s=0.0,
            )
        )
    assert len(door.sold_out) == 10
    assert [(cell.failed, cell.sold_out_shown) for cell in cells] == [(0, 0), (0, 0)]
    assert all(cell.calls > 60 for cell in cells)
    assert [(each.system, each.dead, each.wrong_values) for each in door.faults] == [
        ("inventory", False, business.WRONG_VALUES_NEGATIVE),
        ("inventory", False, business.WRONG_VALUES_NONE),
        ("pricing", True, business.WRONG_VALUES_NONE),
        ("pricing", False, business.WRONG_VALUES_NONE),
    ]
