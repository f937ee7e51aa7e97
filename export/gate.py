"""Gate: whether a release may follow the one that is active, by the measures signed into both.

    python -m export.gate RELEASE --state-dir DIR [--allow 0.05]

The nightly job of a cluster asks before it promotes; a person may promote what the gate holds.
Measures of two releases are of two last days, so that a few per cent either way mean nothing.
"""

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from export.command import RELEASE_KEY, shelf_of
from serving.adapters.key_files import read_key
from serving.adapters.release_files import CURRENT, current_release, read_release_manifest
from serving.stack.folder import StateFolder
from shop.errors import VitrineError

HELD = 3  # the exit code that says: sound, but worse than what is served
ALLOWED_LOSS = 0.05  # of a measure: from one day to the next they move by two or three per cent
_FLOOR = "popularity next recall@20"
_RECALL = "two-tower next recall@20"
# Measure → what pure chance reaches. A loss is of what lies above it.
_NEEDED = {_RECALL: 0.0, "ranker click test auc": 0.5, "ranker purchase test auc": 0.5}
_WHERE_BOTH_HAVE_IT = {"served next recall@20": 0.0}


def faults(
    candidate: Mapping[str, float],
    active: Mapping[str, float] | None,
    *,
    allowed_loss: float = ALLOWED_LOSS,
) -> Iterator[str]:
    """Why the candidate should not follow; nothing if it may. `active` is None for the first."""
    missing = sorted(set(_NEEDED) - set(candidate))
    if missing:
        yield f"it was never measured: {', '.join(missing)}"
        return
    if candidate[_RECALL] <= candidate.get(_FLOOR, 0.0):
        yield f"{_RECALL} {candidate[_RECALL]:.4f}: no better than the most popular products"
    for name, chance in (_NEEDED | _WHERE_BOTH_HAVE_IT).items():
        if active is None or name not in active or name not in candidate:
            continue
        now, before = candidate[name] - chance, active[name] - chance
        if now < before * (1.0 - allowed_loss):
            yield f"{name} {candidate[name]:.4f}, the active release has {active[name]:.4f}"


def main(arguments: Sequence[str] | None = None) -> int:
    """0: may be promoted; 3: should not be, and why; 1: cannot be judged."""
    options = _parser().parse_args(arguments)
    state = StateFolder(options.state_dir)
    root = shelf_of(state.root).releases_root
    try:
        key = read_key(state.keys / RELEASE_KEY)
        candidate = read_release_manifest(root / options.release, key).metrics
    except VitrineError as error:
        sys.stderr.write(f"gate: {error}\n")
        return 1
    active = _active(root, key)
    found = list(faults(candidate, active, allowed_loss=options.allow))
    for fault in found:
        sys.stdout.write(f"{options.release} is held: {fault}\n")
    if not found:
        sys.stdout.write(f"{options.release} may be promoted\n")
    return HELD if found else 0


def _active(root: Path, key: bytes) -> Mapping[str, float] | None:
    """Its measures; None where nothing is active, or nothing that this version can read."""
    if not (root / CURRENT).exists():
        return None
    try:
        return read_release_manifest(root / current_release(root), key).metrics
    except VitrineError as error:
        sys.stdout.write(f"not compared with the active release: {error}\n")
        return None


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m export.gate", description="May this release follow the active one?"
    )
    parser.add_argument("release", metavar="RELEASE")
    parser.add_argument("--state-dir", type=Path, required=True)
    parser.add_argument(
        "--allow",
        type=float,
        default=ALLOWED_LOSS,
        metavar="SHARE",
        help=f"of a measure that may be lost ({ALLOWED_LOSS})",
    )
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
