"""Page: docs/benchmarks.md, written from the stored results and nothing else."""

import shutil
from collections.abc import Mapping
from pathlib import Path

from loadtest.benchmarks.result import Check, Grid, Result

_HEAD = """\
# Benchmarks

Written by `make bench` (one part: `vitrine bench NAME --write`); not edited by hand. Every figure
names its machine, day and command. Load generator and stack share the machine's cores. A latency
counts from the moment a call was *meant* to be sent, so a queue cannot hide; percentiles are not
interpolated.
"""


def write_page(
    path: Path, results: list[Result], titles: Mapping[str, str], *, drawn: Path
) -> None:
    """Replace the page and its pictures, which lie in the folder `drawn`."""
    parts = [_HEAD, _overview(results, titles)]
    parts += [_section(result, titles[result.name]) for result in results]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(parts))
    images = path.parent / "images"
    images.mkdir(exist_ok=True)
    for name in (name for result in results for name in result.pictures):
        if (drawn / name).exists():  # else the page keeps the one that it has
            shutil.copyfile(drawn / name, images / name)


def _overview(results: list[Result], titles: Mapping[str, str]) -> str:
    rows = [
        (f"[{titles[result.name]}](#{_anchor(titles[result.name])})", *_cells(check))
        for result in results
        for check in result.checks
    ]
    grid = Grid("", ("", "what", "asked", "measured", ""), tuple(rows))
    return "## Asked and measured\n\n" + _table(grid)


def _section(result: Result, title: str) -> str:
    lines = [
        f"## {title}\n",
        f"`{result.command}` · {result.measured_at} UTC · {result.machine}\n",
    ]
    if result.checks:
        rows = tuple(_cells(check) for check in result.checks)
        lines.append(_table(Grid("", ("what", "asked", "measured", ""), rows)))
    lines += [f"**{grid.title}**\n\n{_table(grid)}" for grid in result.grids]
    lines += [f"![{title}](images/{name})\n" for name in result.pictures]
    lines += [f"{note}\n" for note in result.notes]
    return "\n".join(lines)


def _cells(check: Check) -> tuple[str, str, str, str]:
    return check.what, check.asked, check.measured, "holds" if check.holds else "**does not hold**"


def _table(grid: Grid) -> str:
    def row(cells: tuple[str, ...]) -> str:
        return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"

    rule = "|" + "---|" * len(grid.header)
    return "\n".join([row(grid.header), rule, *map(row, grid.rows)]) + "\n"


def _anchor(title: str) -> str:
    kept = "".join(c for c in title.lower() if c.isalnum() or c in " -")
    return kept.replace(" ", "-")
