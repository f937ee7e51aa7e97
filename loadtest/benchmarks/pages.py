"""Pages: what the trained description model writes of products it never saw, and what is let out.

Each page goes the whole way of a description: prompt, vLLM, validators, again with its faults
named, verdict. What is not rejected is then read by judges that the pipeline does not know.
"""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from loadtest.benchmarks.page_judges import Judgement, judge_pages
from loadtest.benchmarks.page_run import held_out_shelves
from loadtest.benchmarks.result import Check, Figure, Grid, Result, at_least, at_most
from loadtest.benchmarks.writing_jobs import Shop, written_by

PAGES = 200  # the figure is of 2,000
_SET_PAGES = 250  # of each text set: every held-out product of the Flipkart sample once
_LEAST_COVERAGE = 0.8
_LEAST_SHOWN = 0.5
_REAL = "flipkart_1002"


def measure(
    state_dir: Path, images: Path, *, pages: int = PAGES, texts: Sequence[Path] = ()
) -> Result:
    """Claims before and after the validators, and what three judges say of what is shown.

    Raises BenchmarkFailed where no model was trained, or no world was made.
    """
    shop = Shop.at(state_dir, texts)
    shelves = held_out_shelves(shop.snapshot, shop.specifications, texts)
    began = time.perf_counter()
    wanted = {"pages": pages, "set_pages": min(_SET_PAGES, pages)}
    lines = written_by("loadtest.benchmarks.page_run", shop, wanted)
    seconds = time.perf_counter() - began
    by_source = {
        source: judge_pages([line for line in lines if line["source"] == source], found)
        for source, found in shelves.items()
    }
    return _result(by_source, lines, seconds)


def _result(by_source: dict[str, Judgement], lines: list[dict[str, Any]], seconds: float) -> Result:
    figures: dict[str, Figure] = {
        "pages": len(lines),
        "seconds": round(seconds, 1),
        "tokens_per_s": round(sum(line["tokens"] for line in lines) / seconds, 1),
    }
    checks: list[Check] = []
    for source, found in by_source.items():
        figures |= _figures(source, found)
        # nothing shown is nothing wrong: a model that writes what may not be shown fails here
        share = found.published / max(1, found.pages)
        checks.append(at_least(f"{source}: pages that are shown", share, _LEAST_SHOWN, ""))
        checks.append(
            at_most(f"{source}: unsupported claims shown", found.unsupported_shown, 0, "")
        )
        if source == "catalogue":
            checks.append(
                at_most(f"{source}: pages shown, untrue in the world", found.untrue, 0, "")
            )
        checks.append(
            at_most(f"{source}: pages shown with words from nowhere", found.strange, 0, "")
        )
    if _REAL in by_source:
        told = by_source[_REAL].coverage
        checks.append(at_least("attributes told, real products", told, _LEAST_COVERAGE, ""))
    notes = [
        "Held-out products only. Shown is what is not rejected: published at once, or waiting for a"
        " person. Where a text set has fewer held-out products than pages, they come again with"
        " another seed."
    ]
    notes += [example for found in by_source.values() for example in found.examples]
    return Result(
        name="pages",
        figures=figures,
        checks=tuple(checks),
        grids=(_grid(by_source),),
        notes=tuple(notes),
    )


def _figures(source: str, found: Judgement) -> dict[str, Figure]:
    return {
        f"{source}_pages": found.pages,
        f"{source}_shown": found.published,
        f"{source}_published_at_once": found.at_once,
        f"{source}_attempts": round(found.attempts, 3),
        f"{source}_claims_first": found.claims_first,
        f"{source}_unsupported_first": round(found.unsupported_first_share, 5),
        f"{source}_unsupported_shown": round(found.unsupported_share, 5),
        f"{source}_coverage_first": round(found.coverage_first, 4),
        f"{source}_coverage": round(found.coverage, 4),
        f"{source}_untrue_shown": found.untrue,
        f"{source}_strange_shown": found.strange,
    }


def _grid(by_source: dict[str, Judgement]) -> Grid:
    header = (
        *("source", "pages", "shown", "at once", "attempts", "unsupported before", "after"),
        *("coverage", "untrue", "from nowhere"),
    )
    rows = tuple(
        (
            source,
            str(found.pages),
            str(found.published),
            str(found.at_once),
            f"{found.attempts:.2f}",
            f"{found.unsupported_first_share:.2%} of {found.claims_first}",
            f"{found.unsupported_share:.2%} of {found.claims_shown}",
            f"{found.coverage:.3f}",
            str(found.untrue) if source == "catalogue" else "–",
            str(found.strange),
        )
        for source, found in by_source.items()
    )
    return Grid("Pages of held-out products", header, rows)
