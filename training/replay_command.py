"""The `vitrine replay` command: whether training still sees what the gateway sent to the models."""

import argparse
import json
import sys
from pathlib import Path

import pyarrow.parquet as pq

from shop.errors import NotFound
from shop.features import FeatureSchema
from shop.release import CATALOGUE_FILE, HISTORIES_FILE, SCHEMA_FILE
from training.logged import Log, read_imported
from training.replay import Replay, replay

_CURRENT = "CURRENT"  # names the release that is active, beside the releases
_SHOWN = 10


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of `vitrine replay`."""
    parser.add_argument("--release", metavar="NAME", help="whose calls; default: the active one's")
    parser.add_argument(
        "--filled-from",
        metavar="NAME",
        help="the release that the history store was filled from; default: the oldest there is",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(arguments: argparse.Namespace) -> int:
    """0 if every call that the log tells enough of has the features that were sent."""
    releases = arguments.state_dir / "releases"
    release = arguments.release or _active(releases)
    filled_from = arguments.filled_from or min(path.name for path in releases.glob("r*"))
    folder = releases / release
    if not (folder / SCHEMA_FILE).is_file():
        raise NotFound(f"{folder} is no release; see `vitrine releases`")
    catalogue = pq.read_table(folder / CATALOGUE_FILE, columns=["product_id"])
    log = _log(arguments.state_dir / "feedback")
    done = replay(
        log,
        FeatureSchema.from_json(json.loads((folder / SCHEMA_FILE).read_text())),
        ["", *catalogue["product_id"].to_pylist()],
        release=release,
        imported=read_imported(releases / filled_from / HISTORIES_FILE, log.shoppers),
    )
    _show(done, as_json=arguments.json)
    return 1 if done.unequal else 0


def _active(releases: Path) -> str:
    try:
        return (releases / _CURRENT).read_text().strip()
    except FileNotFoundError as error:
        raise NotFound(f"{releases} has no active release; name one: --release NAME") from error


def _log(folder: Path) -> Log:
    log = Log()
    for writer in sorted(folder.glob("writer-*")):
        segments = sorted(writer.glob("*.log"))
        log.read(writer.name, (segment.read_bytes() for segment in segments))
    return log


def _show(done: Replay, *, as_json: bool) -> None:
    judged = int(done.is_judged.sum())
    figures = {
        "calls": len(done.request_ids),
        "judged": judged,
        "equal": judged - len(done.unequal),
        "unequal": list(done.unequal),
    }
    if as_json:
        sys.stdout.write(json.dumps(figures, indent=2) + "\n")
        return
    sys.stdout.write(
        f"{figures['calls']} calls in the log, {judged} can be judged, "
        f"{figures['equal']} of them have the features that were sent\n"
    )
    for request in done.unequal[:_SHOWN]:
        sys.stdout.write(f"  differs: {request}\n")
