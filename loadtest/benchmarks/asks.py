"""Asks: questions about products that no model saw, and what is said to them.

A question is about a line that all, some or none of its products have, about the price or about
stock. Each is answered twice: by a model that chooses among sentences which tell the asked lines,
as is the default, and by the same model phrasing its sentences itself.
"""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from loadtest.benchmarks.result import Figure, Grid, Result, at_least, at_most
from loadtest.benchmarks.writing_jobs import Shop, written_by

QUESTIONS = 240  # of each source
_LEAST_TOLD, _LEAST_SILENT = 0.8, 0.8
_WORLD = "catalogue"


def measure(state_dir: Path, images: Path, *, texts: Sequence[Path] = ()) -> Result:
    """Raises BenchmarkFailed where no model was trained, or no world was made."""
    began = time.perf_counter()
    lines = written_by(
        "loadtest.benchmarks.ask_run", Shop.at(state_dir, texts), {"questions": QUESTIONS}
    )
    return result_of(lines, time.perf_counter() - began)


def result_of(lines: Sequence[dict[str, Any]], seconds: float) -> Result:
    """Shares by source and way."""
    figures: dict[str, Figure] = {"questions": len(lines) // 2, "seconds": round(seconds, 1)}
    checks = [at_least("questions asked", len(lines) // 2, 1, "")]
    rows = []
    for source in sorted({line["source"] for line in lines}):
        for bound in (True, False):
            own = [line for line in lines if (line["source"], line["bound"]) == (source, bound)]
            found = _shares(own)
            way = "chosen" if bound else "phrased"
            figures |= {f"{source}_{way}_{name}": value for name, value in found.items()}
            rows.append((source, way, *(f"{value:g}" for value in found.values())))
            if source == _WORLD:
                what = f"{source}, {way}: sentences said, untrue in the world"
                checks.append(at_most(what, found["untrue"], 0, ""))
            if bound:
                told = f"{source}: asked lines told"
                silent = f"{source}: questions that no line answers, nothing said"
                checks.append(at_least(told, found["told"], _LEAST_TOLD, ""))
                checks.append(at_least(silent, found["silent"], _LEAST_SILENT, ""))
    header = ("source", "sentences", "told", "silent", "said", "beside the question", "left out")
    return Result(
        name="asks",
        figures=figures,
        checks=tuple(checks),
        grids=(Grid("Questions about held-out products", (*header, "untrue"), tuple(rows)),),
        notes=(
            "Told: of the products that have the asked line, those that it is told of. Silent: of"
            " the questions that no line answers, those to which nothing is said. What is left out"
            " was written, and no fact granted it.",
        ),
    )


def _shares(lines: Sequence[dict[str, Any]]) -> dict[str, float]:
    wanted = sum(len(line["wanted"]) for line in lines)
    told = sum(len(set(line["wanted"]) & set(line["told"])) for line in lines)
    unanswerable = [line for line in lines if not line["wanted"]]
    silent = sum(not line["said"] for line in unanswerable)
    return {
        "told": round(told / max(1, wanted), 3),
        "silent": round(silent / max(1, len(unanswerable)), 3),
        "said": sum(len(line["said"]) for line in lines),
        "beside": sum(line["beside"] for line in lines),
        "left_out": sum(sum(line["left_out"].values()) for line in lines),
        "untrue": sum(len(line["untrue"]) for line in lines),
    }
