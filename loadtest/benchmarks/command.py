"""`vitrine bench`: runs one benchmark, or all of them, and writes docs/benchmarks.md."""

import argparse
import importlib
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from loadtest.benchmarks.page import write_page
from loadtest.benchmarks.result import Result, keep, kept, machine
from loadtest.benchmarks.stack import BenchmarkFailed, a_stack
from loadtest.peers.contestants import PEERS, PEERS_PYTHON
from shop.errors import DependencyUnavailable

ALL = "all"
# In the order of the page. Names are modules of this package, each with `measure`.
TITLES = {
    "start": "From a fresh clone to the first answer",
    "memory": "Resident memory",
    "pipeline": "One call at a time",
    "floors": "What the arithmetic alone costs",
    "fanout": "Five back-ends asked at once",
    "backends": "Back-ends slow, wrong and dead",
    "filters": "Filtered search",
    "cache": "Rankings kept for calls that come again",
    "load": "150 calls a second",
    "batching": "What batching brings",
    "overload": "Three times as many calls as it can answer",
    "ann": "Recall against latency of the index",
    "scale": "More products, more candidates",
    "shards": "An index in parts",
    "peers": "Beside what a team would build instead",
    "faults": "Triton killed under load",
    "adversity": "One thing goes wrong at a time",
    "malformed": "A million hostile messages",
    "storm": "Clients that ask again at once",
    "releases": "Twenty releases under load",
    "soak": "Half a million calls",
    "upgrade": "A second cluster takes over under load",
    "nodes": "A node of the cluster is lost under load",
    "quality": "Lists against the truth of the world",
    "sources": "Candidate sources and their blends",
    "search": "Queries, their constraints and what finds them",
    "calibration": "Do the probabilities come true?",
    "signals": "What a session's signals tell",
    "validators": "Texts held to their facts",
    "images": "Spoilt photos and look-alikes told",
    "writer": "Descriptions written: tokens a second",
    "describing": "Texts taken back, and lists while texts are written",
    "pages": "Pages of products never seen, and what is let out",
    "asks": "Questions about products never seen, and what is said",
    "gpu": "On a GPU",
    "retail": "Real data: UCI Online Retail",
}
_BEFORE_THE_STACK = ("start", "filters", "validators")
_AFTER_THE_STACK = ("ann", "scale", "shards", "search", "signals", "writer")
_LONG = ("malformed", "releases", "soak")  # up to an hour each: only when asked for by name
_ON_THEIR_OWN = ("pages", "asks", "gpu", "retail", "images", "peers", *_LONG)
_WITHOUT_THE_STACK = (*_BEFORE_THE_STACK, *_AFTER_THE_STACK, *_ON_THEIR_OWN)
# What a benchmark takes beside the stack's folder: its parameter, and the option it comes from.
_TAKES: dict[str, dict[str, str]] = {
    "retail": {"data": "retail_data"},
    "images": {"photos": "photos"},
    "peers": {"rounds_wanted": "rounds", "names": "peers"},
    "pages": {"pages": "pages", "texts": "texts"},
    "asks": {"texts": "texts"},
    "ann": {"products": "products"},
    "scale": {"products": "products"},
    "shards": {"products": "products"},
    "malformed": {"messages": "messages"},
    "releases": {"releases": "releases", "calls": "calls", "rate": "rate"},
    "soak": {"calls": "calls"},
}
_COUNTS = ("products", "rounds", "pages", "messages", "releases", "calls", "rate")
_ROOT = Path(__file__).resolve().parents[2]
_PAGE = _ROOT / "docs" / "benchmarks.md"


def configure_bench(parser: argparse.ArgumentParser) -> None:
    """Arguments of `vitrine bench`."""
    names = "; ".join(f"{name}: {title.lower()}" for name, title in TITLES.items())
    parser.add_argument("name", choices=[ALL, *TITLES], metavar="NAME", help=f"all; {names}")
    parser.add_argument("--json", action="store_true", help="the figures as one flat JSON object")
    parser.add_argument(
        "--write", action="store_true", help="put the figures into docs/benchmarks.md (all does)"
    )
    parser.add_argument(
        "--retail-data",
        type=Path,
        metavar="DIR",
        help="folder with the UCI Online Retail file, for the benchmark retail",
    )
    parser.add_argument(
        "--photos", type=Path, metavar="FILE",
        help="Parquet with split and jpeg of real photos, for the benchmark images",
    )  # fmt: skip
    parser.add_argument(
        "--products",
        type=_count,
        metavar="N",
        help="ann, scale, shards: the most; by default 1,000,000, shards 200,000",
    )
    parser.add_argument("--messages", type=_count, metavar="N", help="malformed: 1,000,000")
    parser.add_argument(
        "--releases", type=_count, metavar="N", help="releases: how many, default 20"
    )
    parser.add_argument(
        "--calls", type=_count, metavar="N", help="releases: default 100,000; soak: 500,000"
    )
    parser.add_argument("--rate", type=_count, metavar="N", help="releases: calls a second, 70")
    parser.add_argument(
        "--pages", type=_count, metavar="N", help="pages: of the world's products, default 200"
    )
    parser.add_argument(
        "--texts",
        type=Path,
        action="append",
        default=[],
        metavar="DIR",
        help="pages, asks: a text set with held-out products, too; several times",
    )
    parser.add_argument("--rounds", type=_count, metavar="N", help="peers: default 7")
    parser.add_argument(
        "--peers", nargs="+", choices=sorted(PEERS), metavar="NAME", help="peers: these alone"
    )


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not allowed; give a whole number above 0")
    return int(text)


def run_bench(arguments: argparse.Namespace) -> int:
    """0 if everything that was asked holds, 1 if not."""
    results = _all(arguments) if arguments.name == ALL else [_run(arguments.name, arguments)]
    if arguments.write or arguments.name == ALL:
        store = _store(arguments.state_dir)
        stored = [result for name in TITLES if (result := kept(name, store)) is not None]
        write_page(_PAGE, stored, TITLES, drawn=_drawn(arguments.state_dir))
        sys.stderr.write(f"written: {_PAGE}\n")
    return 0 if all(result.holds for result in results) else 1


def _all(arguments: argparse.Namespace) -> list[Result]:
    """Every benchmark; those that measure a running stack share one."""
    results = [_run(name, arguments) for name in _BEFORE_THE_STACK]
    with a_stack(arguments.state_dir):
        results += [_run(name, arguments) for name in TITLES if name not in _WITHOUT_THE_STACK]
    results += [_run(name, arguments) for name in _AFTER_THE_STACK]
    sys.stderr.write(f"left out, because they take long: {', '.join(_LONG)}\n")
    for name in ("pages", "asks"):
        try:
            results.append(_run(name, arguments))
        except BenchmarkFailed as error:
            sys.stderr.write(f"{name} is left out: {error}\n")
    if PEERS_PYTHON.exists():
        results.append(_run("peers", arguments))
    else:
        sys.stderr.write("peers is left out: `python3 scripts/bootstrap.py --peers` makes them\n")
    try:
        results.append(_run("gpu", arguments))
    except DependencyUnavailable as error:
        sys.stderr.write(f"gpu is left out: {error}\n")
    if arguments.retail_data is None:
        sys.stderr.write("retail is left out: it needs --retail-data DIR\n")
    else:
        results.append(_run("retail", arguments))
    if arguments.photos is None:
        sys.stderr.write("images is left out: it needs --photos FILE\n")
    else:
        results.append(_run("images", arguments))
    return results


def _run(name: str, arguments: argparse.Namespace) -> Result:
    sys.stderr.write(f"{name}: {TITLES[name].lower()} …\n")
    module = importlib.import_module(f"loadtest.benchmarks.{name}")
    extra = _options(name, arguments)
    drawn = _drawn(arguments.state_dir)
    drawn.mkdir(parents=True, exist_ok=True)
    measured: Result = module.measure(arguments.state_dir, drawn, **extra)
    asked = [" --retail-data DIR"] if name == "retail" else []
    asked += [" --photos FILE"] if name == "images" else []
    if arguments.name == name:  # what was asked for this one alone
        asked += [f" --{key} {value}" for key in _COUNTS if (value := getattr(arguments, key))]
        asked += [f" --peers {' '.join(arguments.peers)}"] if arguments.peers else []
        asked += [" --texts DIR" for _ in arguments.texts]
    command = f"vitrine bench {name}{''.join(asked)}"
    result = replace(measured, command=command, machine=machine())
    keep(result, _store(arguments.state_dir))
    if arguments.json:
        sys.stdout.write(json.dumps(result.figures, indent=2) + "\n")
    else:
        _show(result)
    return result


def _options(name: str, arguments: argparse.Namespace) -> dict[str, Any]:
    """What was asked of this benchmark; nothing where its own figures are wanted."""
    found = {each: getattr(arguments, option) for each, option in _TAKES.get(name, {}).items()}
    return {each: value for each, value in found.items() if value}


def _store(state_dir: Path) -> Path:
    return state_dir / "bench"


def _drawn(state_dir: Path) -> Path:
    """Pictures beside the figures they belong to; only --write takes them into the page."""
    return _store(state_dir) / "images"


def _show(result: Result) -> None:
    console = Console()
    checks = Table("asked", "limit", "measured", "", title=TITLES[result.name])
    for check in result.checks:
        verdict = "[green]holds[/green]" if check.holds else "[red]does not hold[/red]"
        checks.add_row(check.what, check.asked, check.measured, verdict)
    if result.checks:
        console.print(checks)
    for grid in result.grids:
        table = Table(*grid.header, title=grid.title)
        for row in grid.rows:
            table.add_row(*row)
        console.print(table)
    for note in result.notes:
        console.print(note, markup=False)
