"""Engine command: `vitrine engines RELEASE`, engines for this machine's GPU beside a release.

For a GPU of another architecture, another TensorRT or another precision than the release has
engines for: run it where such a GPU is, on the same state folder.
"""

import argparse
import json
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from export.command import RELEASE_KEY, add_precision
from export.engine_files import read_engines
from serving.adapters.key_files import read_key
from serving.adapters.release_files import read_release_manifest
from serving.stack.folder import StateFolder
from shop.engine_record import EngineEntry
from shop.errors import DependencyUnavailable, NotFound
from shop.release import Manifest
from shop.tensors import MODELS

if TYPE_CHECKING:
    from export.tensorrt import EngineKey, EnginePrecision


def configure_engines(parser: argparse.ArgumentParser) -> None:
    """Arguments of `vitrine engines`."""
    parser.add_argument("release", metavar="RELEASE", help="as `vitrine releases` names it")
    parser.add_argument("--list", action="store_true", help="what it has, without building")
    parser.add_argument(
        "--snapshot",
        type=Path,
        metavar="DIR",
        help="where real inputs are drawn from (the snapshot that the release names)",
    )
    add_precision(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON array")


def run_engines(arguments: argparse.Namespace) -> int:
    """Build engines of a release, or list them. Raises as `build_engines`."""
    state = StateFolder(arguments.state_dir)
    key = read_key(state.keys / RELEASE_KEY)
    folder = state.releases / arguments.release
    if folder.parent != state.releases or not folder.is_dir():
        raise NotFound(f"there is no release {arguments.release}; see: vitrine releases")
    manifest = read_release_manifest(folder, key)
    if arguments.list:
        entries = list(read_engines(folder, manifest, key).engines)
    else:
        snapshot = arguments.snapshot or state.snapshots / manifest.snapshot
        entries = build_engines(state, manifest, snapshot, key, arguments.precision)
    if arguments.json:
        sys.stdout.write(json.dumps([asdict(entry) for entry in entries], indent=1) + "\n")
        return 0
    for entry in entries:
        sys.stdout.write(f"{described(entry)}\n")
    if not entries:
        sys.stdout.write(f"{manifest.release} has no engines\n")
    elif not arguments.list:
        sys.stdout.write(f"put them where Triton loads from: vitrine promote {manifest.release}\n")
    return 0


def described(entry: EngineEntry) -> str:
    """One line."""
    return (
        f"{entry.file}, {entry.size_bytes / 1e6:.1f} MB: ‖Δ‖/‖ref‖ {entry.relative_error:.1e},"
        f" NDCG loss {entry.ndcg_loss:.2%}"
    )


def build_engines(
    state: StateFolder,
    manifest: Manifest,
    snapshot: Path,
    key: bytes,
    precision: "EnginePrecision",
) -> list[EngineEntry]:
    """Engines of a release's models for this machine's GPU, proved and kept beside it.

    Raises DependencyUnavailable without TensorRT or a GPU, ReleaseRejected if one is too far from
    its graph. Takes minutes.
    """
    from export.tensorrt import key_for_here

    key_for_here("any", precision)  # before any work: can it be built here?
    from export.engine_build import EngineJob, add_engines
    from export.engine_run import engine_answer
    from export.release import samples_of

    folder = state.releases / manifest.release
    schema, samples = samples_of(snapshot, folder)
    cache = state.root / "timing.cache"
    job = EngineJob(folder, manifest, schema, samples, cache, precision, key)
    return add_engines(job, engine_answer)


def engines_at_start(
    folder: Path,
    manifest: Manifest,
    key: bytes,
    *,
    here: "Callable[[], EngineKey]",
    build: Callable[[], list[EngineEntry]],
    say: Callable[[str], None],
) -> None:
    """At a start on a GPU: has engines built if the release in `folder` lacks them for it.

    `here` is what would be built on this machine. Where it raises DependencyUnavailable, engines
    that were built before, perhaps elsewhere, are taken as they are; without any it is raised.
    """
    there = read_engines(folder, manifest, key).engines
    try:
        wanted = here()
    except DependencyUnavailable as error:
        if not there:
            raise
        known = ", ".join(sorted({entry.file for entry in there}))
        say(f"{manifest.release} keeps the engines it has, {known}: {error}")
        return
    fitting = {entry.fits for entry in there}
    names = f"{wanted.architecture}, TensorRT {wanted.tensorrt_version}"
    target = (wanted.compute_capability, wanted.tensorrt_version)
    if all((model, *target) in fitting for model in MODELS):
        say(f"{manifest.release} has engines for {names}")
        return
    say(f"{manifest.release} has no engines for {names}: building them, which takes minutes")
    for entry in build():
        say(described(entry))
