"""The benchmarks of back-ends: they only hold if ailments were felt, named, and harmless."""

from dataclasses import replace

import numpy as np
import pytest

from loadtest.benchmarks import backends
from loadtest.benchmarks.ailing import AILMENTS, HEALTHY, REASON_OF, Cell, note
from loadtest.benchmarks.fanout import STALLED, FanOuts, outcome_of
from loadtest.benchmarks.result import Result
from serving.proto import recommendations_pb2 as pb
from serving.stack.local import BUSINESS_SYSTEMS
from simulator.faults import SYSTEMS

GONE = frozenset({"gone"})


def fan_outs(took_ms: float, *, incomplete: int = 0) -> FanOuts:
    return FanOuts(np.full(STALLED, took_ms), incomplete)


def a_cell(system: str = "costs", ailment: str = "dead", **changes: object) -> Cell:
    cell = Cell(system, ailment, calls=60, named_after_s=4.0, settled_calls=40, named=40)
    return replace(cell, **changes)


def a_matrix(*, others: int = 0, by_chance: int = 0, **changes: object) -> tuple[Cell, ...]:
    """Healthy, and every system in every ailment; the changes are those of dead costs."""
    healthy = a_cell("inventory", HEALTHY, named=0, named_others=by_chance)
    cells = [
        a_cell(system, ailment, named_others=others) for system in REASON_OF for ailment in AILMENTS
    ]
    bad = a_cell(named_others=others, **changes)
    matrix = [bad if (c.system, c.ailment) == ("costs", "dead") else c for c in cells]
    return (healthy, *matrix)


def an_outcome(healthy_ms: float = 4.0, stalled_ms: float = 11.0) -> Result:
    stalled = {name: fan_outs(stalled_ms, incomplete=STALLED) for name in SYSTEMS}
    return outcome_of(fan_outs(healthy_ms), stalled)


def a_reply(*product_ids: str, lost: str = "", stage: str = "lookups") -> pb.RecommendResponse:
    return pb.RecommendResponse(
        items=[pb.RecommendedProduct(product_id=name) for name in product_ids],
        degraded=[pb.Degradation(stage=stage, reason=lost)] if lost else [],
    )


def test_quick_fan_outs_hold() -> None:
    outcome = an_outcome()
    assert outcome.holds
    assert outcome.figures["healthy_p99_ms"] == 4.0
    assert outcome.figures["stalled_p99_ms"] == dict.fromkeys(SYSTEMS, 11.0)


@pytest.mark.parametrize(
    "outcome",
    [
        an_outcome(8.1),
        an_outcome(4.0, 12.1),
        outcome_of(fan_outs(4.0), dict.fromkeys(SYSTEMS, fan_outs(11.0))),
    ],
    ids=["slow", "stalled", "no stall"],
)
def test_slow_fan_outs_do_not_hold(outcome: Result) -> None:
    assert not outcome.holds


def test_a_matrix_of_named_and_harmless_losses_holds() -> None:
    unseen = a_cell("inventory", "misread", named=0, sold_out_shown=3)
    outcome = backends.outcome_of((*a_matrix(), unseen))
    assert outcome.holds
    assert outcome.figures["cells"] == 25
    assert (outcome.figures["settled_calls"], outcome.figures["settled_calls_named"]) == (
        1000,
        1000,
    )
    assert outcome.notes


@pytest.mark.parametrize(
    "cells",
    [
        a_matrix(failed=1),
        a_matrix(sold_out_shown=1),
        a_matrix(named=39),
        a_matrix(settled_calls=0, named=0),
        a_matrix()[:-1],
        a_matrix()[1:],
        a_matrix(others=11, by_chance=6),
        (*a_matrix(), a_cell("costs", "misread", failed=1)),
        (),
    ],
    ids=[
        "failed",
        "sold out",
        "unnamed",
        "unfelt",
        "not tried",
        "no comparison",
        "others",
        "failed unseen",
        "nothing",
    ],
)
def test_a_matrix_that_lacks_anything_does_not_hold(cells: tuple[Cell, ...]) -> None:
    assert not backends.outcome_of(cells).holds


def test_what_a_busy_machine_names_by_chance_is_told_from_what_an_ailment_does() -> None:
    assert backends.outcome_of(a_matrix(others=9, by_chance=6)).holds
    cell = a_cell(settled_calls=0, named=0)
    both = a_reply("a", lost="DEFAULT_OFFER")
    both.degraded.append(pb.Degradation(stage="lookups", reason="STALE_STOCK"))
    note(cell, both, GONE, after_s=40.0)
    assert (cell.named, cell.named_others) == (1, 1)
    healthy = a_cell("inventory", HEALTHY, settled_calls=0, named=0)
    note(healthy, a_reply("a", lost="STALE_STOCK"), GONE, after_s=40.0)
    assert (healthy.named, healthy.named_others) == (0, 1)


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
    assert cell.is_named
    note(cell, a_reply("a"), GONE, after_s=3.2)
    assert (cell.settled_calls, cell.named) == (2, 1)
    assert not cell.is_named


def test_every_system_ails_in_every_way() -> None:
    assert set(REASON_OF) == set(SYSTEMS) == set(BUSINESS_SYSTEMS)
    assert len(AILMENTS) == 5
