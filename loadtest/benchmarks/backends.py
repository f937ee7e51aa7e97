"""Back-ends: calls through the real door while each of the five is slow, wrong or dead in turn."""

from pathlib import Path

from loadtest.benchmarks.ailing import (
    AILMENTS,
    HEALTHY,
    RATE_PER_S,
    REASON_OF,
    UNSEEN,
    Cell,
    ailing_stack,
)
from loadtest.benchmarks.result import Check, Grid, Result, at_least, at_most
from loadtest.benchmarks.stack import a_stack

CHANCE_SHARE = 0.1  # of calls, beyond the share of a healthy shop's
_UNSEEN_NOTE = (
    "misread: the system answers with sensible values of other products, under a check that says"
    " they are right. No caller can tell, so nothing is named, and what is sold out then is not"
    " known to be. Shown for what it does; judged for failed calls alone."
)


def measure(state_dir: Path, images: Path) -> Result:
    """Healthy first, then every back-end in every ailment, then what nobody can see."""
    ways = (HEALTHY, *AILMENTS, *UNSEEN)
    matrix = [(system, way) for way in ways for system in REASON_OF]
    with a_stack(state_dir) as stack:
        return outcome_of(ailing_stack(state_dir, stack, matrix))


def outcome_of(cells: tuple[Cell, ...]) -> Result:
    """What was asked, beside what was measured. A fault only counts if it was felt."""
    judged = [cell for cell in cells if cell.ailment in AILMENTS]
    calls, failed = sum(cell.calls for cell in cells), sum(cell.failed for cell in cells)
    sold_out = sum(cell.sold_out_shown for cell in judged)
    named, settled = sum(cell.named for cell in judged), sum(cell.settled_calls for cell in judged)
    missing = {(s, a) for s in REASON_OF for a in AILMENTS} - {
        (cell.system, cell.ailment) for cell in judged
    }
    healthy = [cell for cell in cells if cell.ailment == HEALTHY]
    by_chance, others = _falsely_named(healthy), _falsely_named(judged)
    unnamed = [f"{cell.system} {cell.ailment}" for cell in judged if not cell.is_named]
    unnamed += [f"{system} {ailment} (not tried)" for system, ailment in sorted(missing)]
    return Result(
        name="backends",
        figures={
            "cells": len(judged),
            "calls": calls,
            "failed": failed,
            "sold_out_shown": sold_out,
            "settled_calls": settled,
            "settled_calls_named": named,
            "others_named_share": round(others, 4),
            "named_when_healthy_share": round(by_chance, 4),
        },
        checks=(
            at_least("calls while a back-end ails", calls, 1, ""),
            at_most("failed calls while a back-end ails", failed, 0, ""),
            at_most("products shown that are known to be sold out", sold_out, 0, ""),
            Check(
                f"replies name what was lost, in all {len(judged)} cells",
                "always",
                "always" if not unnamed else f"not with {', '.join(unnamed)}",
                not unnamed,
            ),
            at_most(
                f"replies that name a back-end which does not ail, beyond the {by_chance:.0%} of a"
                " healthy shop on this machine",
                100.0 * (others - by_chance),
                100.0 * CHANCE_SHARE,
                " %",
            ),
        ),
        grids=(_grid(cells),),
        notes=(_UNSEEN_NOTE,) if any(cell.ailment in UNSEEN for cell in cells) else (),
    )


def _falsely_named(cells: list[Cell]) -> float:
    """Share of settled calls; NaN of none. Of a healthy shop's, with any back-end at all."""
    settled = sum(cell.settled_calls for cell in cells)
    return sum(cell.named_others for cell in cells) / settled if settled else float("nan")


def _grid(cells: tuple[Cell, ...]) -> Grid:
    return Grid(
        f"{RATE_PER_S:g} calls/s through the door, open loop, while a back-end ails",
        (
            "back-end",
            "is",
            "calls",
            "failed",
            "sold out, shown",
            "named when settled",
            "others named, too",
            "named first after",
            "reason",
        ),
        tuple(
            (
                cell.system,
                cell.ailment,
                str(cell.calls),
                str(cell.failed),
                str(cell.sold_out_shown) if cell.ailment not in UNSEEN else "unknown",
                f"{cell.named} of {cell.settled_calls}",
                str(cell.named_others),
                f"{cell.named_after_s:.1f} s" if cell.named else "–",
                REASON_OF[cell.system] if cell.named else "–",
            )
            for cell in cells
        ),
    )
