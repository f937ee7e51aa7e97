"""Commands about releases: `vitrine export`, `promote`, `rollback` and `releases`."""

import argparse
import json
import sys
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from export.promote import (
    EngineShelf,
    ReleaseEntry,
    Shelf,
    list_releases,
    promote,
    promotions,
    prune_releases,
    rollback,
)
from serving.adapters.key_files import read_key, read_or_create_key
from serving.stack.folder import StateFolder
from serving.triton.status import STATUS_FILE
from shop.errors import NotFound
from shop.release import Manifest

REPOSITORY = "model_repository"  # in the state folder
ENGINES = "engines"  # likewise: what a Triton with TensorRT loads from
RELEASE_KEY = "release.key"  # in its keys


def shelf_of(state_dir: Path, *, may_have_fewer_engines: bool = False) -> Shelf:
    """Where the releases of one state folder lie."""
    state = StateFolder(state_dir)
    engines = EngineShelf(state.root / ENGINES, may_be_fewer=may_have_fewer_engines)
    return Shelf(state.releases, state.root / REPOSITORY, state.run / STATUS_FILE, engines=engines)


def _chosen_shelf(arguments: argparse.Namespace) -> Shelf:
    """That of the state folder, but for what the command line says."""
    shelf = shelf_of(arguments.state_dir)
    own = StateFolder(arguments.state_dir).root / ENGINES
    engines = EngineShelf(arguments.engines or own, arguments.tensorrt, arguments.fewer_engines)
    repository = arguments.repository or shelf.repository
    return replace(shelf, repository=repository, fleet=arguments.triton, engines=engines)


def configure_export(parser: argparse.ArgumentParser) -> None:
    """Arguments of `vitrine export`."""
    parser.add_argument("model", type=Path, metavar="MODEL", help="model folder, or its name")
    parser.add_argument(
        "--snapshot", type=Path, metavar="DIR", help="what it learnt from (the one of its name)"
    )
    parser.add_argument("--promote", action="store_true", help="make it the active release")
    parser.add_argument(
        "--profile",
        choices=("cpu", "gpu"),
        default="cpu",
        help="gpu: also engines for this machine's GPU, which promotion puts into engines/",
    )
    add_precision(parser)
    parser.add_argument("--json", action="store_true", help="print the manifest")


def add_precision(parser: argparse.ArgumentParser) -> None:
    """The option of whoever builds engines."""
    parser.add_argument(
        "--precision",
        choices=("fp32", "tf32", "fp16", "bf16", "int8", "fp8"),
        default="fp16",
        help="of the engines (fp16); refused where it costs more than 0.5 %% of NDCG",
    )


def run_export(arguments: argparse.Namespace) -> int:
    """Build a signed release from a model folder. Raises ReleaseRejected if it is not fit."""
    from export.engine_command import build_engines
    from export.release import export_release  # torch takes seconds: only where it is used

    state = StateFolder(arguments.state_dir)
    key = read_or_create_key(state.keys / RELEASE_KEY)
    if arguments.profile == "gpu":
        from export.tensorrt import key_for_here

        key_for_here("any", arguments.precision)  # before minutes of work: can it be built here?
    model = _folder(arguments.model, state.models)
    snapshot = _folder(arguments.snapshot or Path(model.name), state.snapshots)
    with _bar() as bar:
        task = bar.add_task("starting", total=1.0)
        manifest = export_release(
            model_folder=model,
            snapshot_folder=snapshot,
            releases_root=state.releases,
            key=key,
            progress=lambda step, share: bar.update(task, description=step, completed=share),
        )
    if arguments.profile == "gpu":
        build_engines(state, manifest, snapshot, key, arguments.precision)
    if arguments.promote:
        promote(manifest.release, shelf_of(state.root), key)
    if arguments.json:
        sys.stdout.write(manifest.to_json())
    else:
        _show_export(manifest, is_current=arguments.promote)
    return 0


def configure_promote(parser: argparse.ArgumentParser) -> None:
    """Arguments of `vitrine promote`."""
    parser.add_argument("release", metavar="RELEASE", help="as `vitrine releases` names it")
    _add_repository(parser)


def run_promote(arguments: argparse.Namespace) -> int:
    """Make a release the active one. On ReleaseRejected or NotFound all stays as it was."""
    shelf = _chosen_shelf(arguments)
    manifest = promote(arguments.release, shelf, _key(arguments))
    sys.stdout.write(f"{manifest.release} is active\n")
    return 0


def configure_rollback(parser: argparse.ArgumentParser) -> None:
    """Arguments of `vitrine rollback`."""
    parser.add_argument(
        "release", nargs="?", metavar="RELEASE", help="which (the one active before this one)"
    )
    _add_repository(parser)


def run_rollback(arguments: argparse.Namespace) -> int:
    """Make an earlier release the active one again. Raises as `run_promote`."""
    shelf = _chosen_shelf(arguments)
    manifest = rollback(shelf, _key(arguments), arguments.release)
    sys.stdout.write(f"{manifest.release} is active\n")
    return 0


def configure_releases(parser: argparse.ArgumentParser) -> None:
    """Arguments of `vitrine releases`."""
    parser.add_argument(
        "--prune", type=int, metavar="N", help="delete all but the newest N; the active one stays"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run_releases(arguments: argparse.Namespace) -> int:
    """List releases, newest first; with --prune delete old ones before."""
    shelf, key = shelf_of(arguments.state_dir), _key(arguments)
    deleted = [] if arguments.prune is None else prune_releases(shelf, key, arguments.prune)
    entries = list_releases(shelf, key)
    if arguments.json:
        history = [asdict(promotion) for promotion in promotions(shelf)]
        listed = [asdict(entry) for entry in entries]
        result = {"releases": listed, "promotions": history, "deleted": deleted}
        sys.stdout.write(json.dumps(result, indent=2) + "\n")
        return 0
    for release in deleted:
        sys.stdout.write(f"{release} deleted\n")
    Console().print(_as_table(entries))
    return 0


def _add_repository(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--repository",
        type=Path,
        metavar="DIR",
        help="model repository of a Triton elsewhere (the state folder's)",
    )
    parser.add_argument(
        "--triton",
        default="",
        metavar="HOST:PORT",
        help="wait until every Triton that this name leads to serves it (a cluster's)",
    )
    parser.add_argument(
        "--engines",
        type=Path,
        metavar="DIR",
        help="repository of a Triton elsewhere that runs engines (engines/ of the state folder)",
    )
    parser.add_argument(
        "--tensorrt",
        default="",
        metavar="VERSION",
        help="only engines built by it, e.g. 10.13 (those built last)",
    )
    parser.add_argument(
        "--fewer-engines",
        action="store_true",
        help="also where a GPU that is served now would find no engine in the release",
    )


def _key(arguments: argparse.Namespace) -> bytes:
    return read_key(StateFolder(arguments.state_dir).keys / RELEASE_KEY)


def _folder(given: Path, parent: Path) -> Path:
    """A folder as given, or the one of that name in `parent`."""
    for folder in (given, parent / given):
        if folder.is_dir():
            return folder
    raise NotFound(f"there is no folder {given}, nor {parent / given}")


def _bar() -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TimeElapsedColumn(),
        console=Console(stderr=True),
        transient=True,
    )


def _show_export(manifest: Manifest, *, is_current: bool) -> None:
    size_mb = sum(entry.size_bytes for entry in manifest.files.values()) / 1e6
    table = Table("measure", "value", title=f"{manifest.release}, {size_mb:.1f} MB")
    for name, value in sorted(manifest.metrics.items()):
        table.add_row(name, f"{value:.6g}")
    Console().print(table)
    if not manifest.is_searchable:
        sys.stdout.write("it cannot be searched: no text encoder (vitrine train search)\n")
    hint = "it is active" if is_current else f"make it active: vitrine promote {manifest.release}"
    sys.stdout.write(f"{hint}\n")


def _as_table(entries: list[ReleaseEntry]) -> Table:
    table = Table("release", "built (UTC)", "snapshot", "state")
    for entry in entries:
        built = datetime.fromtimestamp(entry.created_ms / 1000, tz=UTC).strftime("%Y-%m-%d %H:%M")
        state = escape(entry.fault) or ("active" if entry.is_current else "")
        table.add_row(entry.release, built if entry.version else "", entry.snapshot, state)
    return table
