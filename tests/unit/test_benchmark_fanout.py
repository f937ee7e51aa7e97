"""The fan-out benchmark: it only holds if the ailments were felt, named, and harmless."""

from dataclasses import replace

import numpy as np
import pytest

from loadtest.benchmarks.ailing import AILMENTS, REASON_OF, Cell, note
from loadtest.benchmarks.fanout import STALLED, FanOuts, outcome_of
from loadtest.benchmarks.result import Result
from serving.proto import recommendations_pb2 as pb
from serving.stack.local import BUSINESS_SYSTEMS
from simulator.faults import SYSTEMS

GONE = frozenset({"gone"})


def fan_outs(took_ms: float, *, incomplete: int = 0) -> FanOuts:
    return FanOuts(np.full(STALLED, took_ms), incomplete)


def a_cell(**changes: object) -> Cell:
    cell = Cell("costs", "dead", calls=60, named_after_s=4.0, settled_calls=40, named=40)
    return replace(cell, **changes)


def an_outcome(healthy_ms: float = 4.0, stalled_ms: float = 11.0, *cells: Cell) -> Result:
    stalled = {name: fan_outs(stalled_ms, incomplete=STALLED) for name in SYSTEMS}
    return outcome_of(fan_outs(healthy_ms), stalled, cells or (a_cell(),))


def a_reply(*product_ids: str, lost: str = "", stage: str = "lookups") -> pb.RecommendResponse:
    return pb.RecommendResponse(
        items=[pb.RecommendedProduct(product_id=name) for name in product_ids],
        degraded=[pb.Degradation(stage=stage, reason=lost)] if lost else [],
    )


def test_quick_fan_outs_and_named_losses_hold() -> None:
    outcome = an_outcome()
    assert outcome.holds
    assert outcome.figures["healthy_p99_ms"] == 4.0
    assert outcome.figures["stalled_p99_ms"] == dict.fromkeys(SYSTEMS, 11.0)


@pytest.mark.parametrize(
    "outcome",
    [
        an_outcome(8.1),
        an_outcome(4.0, 12.1),
        an_outcome(4.0, 11.0, a_cell(failed=1)),
        an_outcome(4.0, 11.0, a_cell(sold_out_shown=1)),
        an_outcome(4.0, 11.0, a_cell(named=39)),
        an_outcome(4.0, 11.0, a_cell(settled_calls=0, named=0)),
        an_outcome(4.0, 11.0, a_cell(), Cell("costs", "slow")),
        outcome_of(fan_outs(4.0), dict.fromkeys(SYSTEMS, fan_outs(11.0)), (a_cell(),)),
    ],
    ids=["slow", "stalled", "failed", "sold out", "unnamed", "unfelt", "unfelt too", "no stall"],
)
def test_what_was_asked_and_did_not_come_does_not_hold(outcome: Result) -> None:
    assert not outcome.holds


def test_naming_a_back_end_that_does_not_ail_does_not_hold_but_for_chance() -> None:
    cell = Cell("costs", "dead")
    for at in range(20):
        note(cell, a_reply("a", lost="DEFAULT_OFFER"), GONE, after_s=12.0 + at)
    both = a_reply("a", lost="DEFAULT_OFFER")
    both.degraded.append(pb.Degradation(stage="lookups", reason="STALE_STOCK"))
    note(cell, both, GONE, after_s=40.0)
    assert cell.is_named_rightly
    for _ in range(2):
        note(cell, both, GONE, after_s=40.0)
    assert not cell.is_named_rightly


def test_a_loss_must_be_named_once_nothing_is_current_any_more() -> None:
    cell = Cell("inventory", "dead")
    note(cell, a_reply("a"), GONE, after_s=0.1)
    note(cell, a_reply("a", lost="NO_RANKING", stage="ranking"), GONE, after_s=1.0)
    note(cell, a_reply("a", "gone", lost="STALE_STOCK"), GONE, after_s=1.5)
    note(cell, a_reply("a"), GONE, after_s=2.0)  # of products that were asked just before
    note(cell, None, GONE, after_s=2.5)
    assert (cell.calls, cell.failed, cell.sold_out_shown) == (5, 1, 1)
    assert (cell.named_after_s, cell.settled_calls) == (1.5, 0)
    note(cell, a_reply("a", lost="STALE_STOCK"), GONE, after_s=3.1)
    assert cell.is_named_rightly
    note(cell, a_reply("a"), GONE, after_s=3.2)
    assert (cell.settled_calls, cell.named) == (2, 1)
    assert not cell.is_named_rightly


def test_every_system_ails_in_every_way() -> None:
    assert set(REASON_OF) == set(SYSTEMS) == set(BUSINESS_SYSTEMS)
    assert len(AILMENTS) == 4
