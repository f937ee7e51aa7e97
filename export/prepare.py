"""Prepare: from a shop's data to an active release, in one go.

    python -m export.prepare --state-dir DIR --result FILE [--data DIR] [--quick]

Every step is skipped where its result stands already, so that a second start trains nothing. Run as
a process of its own: what training takes of the memory is free again when serving begins.
"""

import argparse
import json
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from export.command import RELEASE_KEY, shelf_of
from export.promote import list_releases, promote
from serving.adapters.key_files import read_or_create_key
from serving.adapters.release_files import read_release_manifest
from serving.stack.folder import StateFolder
from shop.errors import VitrineError
from shop.release import HISTORIES_FILE, Manifest
from simulator.specifications import SPECIFICATIONS_FILE, write_specifications
from simulator.world import WorldSettings, generate, is_current_world, load_world
from training.brand_voice import BRAND_FILE, train_brand_voice, write_brand_voice
from training.data.progress import Progress as ShowProgress
from training.data.snapshot import PRODUCTS, SnapshotManifest, read_snapshot_manifest
from training.data.sources import snapshot_for

INTERRUPTED = 130
QUICK = "quick"  # metric of releases that were made with --quick
_DAY_MS = 86_400_000
_OLD_DATA_MS = 30 * _DAY_MS
_EXAMPLE_INTERACTIONS = 20
_WORTH_A_LINE_S = 0.5  # a step that only found its result says nothing


@dataclass(frozen=True, slots=True)
class _Job:
    """What is prepared where."""

    state: StateFolder
    data: Path | None  # None: the built-in world
    quick: bool
    steps: "_Steps"
    on_gpu: bool = False


class _Steps:
    """Shows long work: a bar while it goes on, one line with its time when it is done."""

    def __init__(self) -> None:
        self._console = Console()

    @contextmanager
    def step(self, name: str) -> Iterator[ShowProgress]:
        began = time.monotonic()
        if self._console.is_terminal:
            columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
            with Progress(*columns, console=self._console, transient=True) as progress:
                yield _bar(progress, progress.add_task(name, total=1.0), name)
        else:
            yield self._lines(name)
        took_s = time.monotonic() - began
        if took_s >= _WORTH_A_LINE_S:
            self._console.print(f"{name} ({took_s:.1f} s)", highlight=False)

    def say(self, line: str) -> None:
        """One line that stays."""
        self._console.print(line, highlight=False, markup=False)

    def _lines(self, name: str) -> ShowProgress:
        """For logs, where a bar is a blank line: each part of the step once, when it begins."""
        told = {"", "done"}

        def show(part: str, share: float) -> None:
            if part not in told:
                told.add(part)
                self._console.print(f"  {name}: {part} …", highlight=False)

        return show


def _bar(progress: Progress, task: TaskID, name: str) -> ShowProgress:
    def show(part: str, share: float) -> None:
        progress.update(task, description=f"{name}: {part}" if part else name, completed=share)

    return show


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
    options = _parser().parse_args(arguments)
    job = _Job(
        StateFolder(options.state_dir),
        options.data,
        options.quick,
        _Steps(),
        on_gpu=options.profile == "gpu",
    )
    try:
        result = prepare(job)
    except VitrineError as error:
        sys.stderr.write(f"vitrine up: {error}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("interrupted; run it again to go on where it stopped\n")
        return INTERRUPTED
    options.result.parent.mkdir(parents=True, exist_ok=True)
    options.result.write_text(json.dumps(result, indent=2) + "\n")
    return 0


def prepare(job: _Job) -> dict[str, str | int]:
    """An active release for the job's data; what `serving.stack.up.Prepared` reads."""
    key = read_or_create_key(job.state.keys / RELEASE_KEY)
    data = job.data if job.data is not None else _built_in_world(job)
    with job.steps.step("data") as bar:
        snapshot_folder = snapshot_for(data, job.state.snapshots, progress=bar)
    snapshot = read_snapshot_manifest(snapshot_folder)
    manifest = _standing_release(job, snapshot, key)
    if manifest is not None and lacks_search(manifest, snapshot_folder):
        manifest = None  # made before products could be searched: only that part is learnt anew
    if manifest is None:
        manifest = _new_release(job, snapshot_folder, key)
    if job.on_gpu:
        _with_engines(job, manifest, snapshot_folder, key)
    # Without a GPU nobody asks for engines, whatever lies there from another day.
    shelf = shelf_of(job.state.root, may_have_fewer_engines=not job.on_gpu)
    promote(manifest.release, shelf, key)
    _with_brand_voice(job, snapshot_folder)
    folder = job.state.releases / manifest.release
    return {
        "release": manifest.release,
        "version": manifest.version,
        "snapshot_folder": str(snapshot_folder.resolve()),
        "data_folder": str(data.resolve()),
        "source": str(job.data.resolve()) if job.data else "the simulated world",
        "example_shopper": _example_shopper(folder),
        "clock_offset_ms": clock_offset_ms(snapshot, manifest),
    }


def clock_offset_ms(snapshot: SnapshotManifest, manifest: Manifest) -> int:
    """What to add to this machine's clock so that the shop lives on where its data ends.

    Data recorded long ago would otherwise meet shoppers who were away for years. 0 for fresh data.
    """
    age_ms = manifest.created_ms - snapshot.last_ms
    return -age_ms if age_ms > _OLD_DATA_MS else 0


def _built_in_world(job: _Job) -> Path:
    folder = job.state.root / ("world-quick" if job.quick else "world")
    if is_current_world(folder):
        _with_specifications(folder)
        return folder
    now_ms = time.time_ns() // 1_000_000
    until_today_ms = now_ms - now_ms % _DAY_MS
    settings = WorldSettings.small() if job.quick else WorldSettings()
    with job.steps.step(f"a world of {settings.product_count:,} products") as bar:
        settings = WorldSettings(
            seed=settings.seed,
            product_count=settings.product_count,
            shopper_count=settings.shopper_count,
            days=settings.days,
            sessions_per_shopper=settings.sessions_per_shopper,
            end_ms=until_today_ms,
        )
        generate(folder, settings, lambda done, days: bar("day by day", done / days))
    return folder


def _with_specifications(folder: Path) -> None:
    """Worlds from before products had specifications get theirs; nothing else changes."""
    if not (folder / SPECIFICATIONS_FILE).exists():
        world = load_world(folder)
        write_specifications(world.products, world.settings.seed, folder)


def _with_brand_voice(job: _Job, snapshot_folder: Path) -> None:
    """The model that descriptions' voice is scored by, once for a shop."""
    folder = job.state.root / "descriptions"
    if not (folder / BRAND_FILE).exists():
        with job.steps.step("the voice of the shop's pages"):
            products = pq.read_table(snapshot_folder / "products.parquet")
            write_brand_voice(folder, *train_brand_voice(products))


def _standing_release(job: _Job, snapshot: SnapshotManifest, key: bytes) -> Manifest | None:
    """The release of this data that is active, else its newest; None if there is none."""
    fitting = [
        entry
        for entry in list_releases(shelf_of(job.state.root), key)
        if not entry.fault
        and entry.snapshot == snapshot.snapshot
        and bool(entry.metrics.get(QUICK, 0.0)) == job.quick
    ]
    if not fitting:
        return None
    chosen = next((entry for entry in fitting if entry.is_current), fitting[0])
    return read_release_manifest(job.state.releases / chosen.release, key)


def lacks_search(manifest: Manifest, snapshot_folder: Path) -> bool:
    """Whether the release cannot be searched although its products have titles."""
    if manifest.is_searchable:
        return False
    titles = pq.read_table(snapshot_folder / PRODUCTS, columns=["title"])["title"]
    return any(titles.to_pylist())


def _new_release(job: _Job, snapshot_folder: Path, key: bytes) -> Manifest:
    from export.release import export_release  # torch takes seconds: only where it is used
    from training.main_job import train_all
    from training.model_folder import add_metrics
    from training.settings import quick, settings_for

    settings = settings_for(read_snapshot_manifest(snapshot_folder))
    model_folder = job.state.models / (snapshot_folder.name + (f"-{QUICK}" if job.quick else ""))
    with job.steps.step("learning") as bar:
        train_all(
            snapshot_folder,
            model_folder,
            settings=quick(settings) if job.quick else settings,
            progress=bar,
        )
    add_metrics({QUICK: float(job.quick)}, model_folder)
    with job.steps.step("export") as bar:
        return export_release(
            model_folder=model_folder,
            snapshot_folder=snapshot_folder,
            releases_root=job.state.releases,
            key=key,
            progress=bar,
        )


def _with_engines(job: _Job, manifest: Manifest, snapshot_folder: Path, key: bytes) -> None:
    """Engines for this machine's GPU; built where they can be and are not there yet."""
    from export.engine_command import build_engines, engines_at_start
    from export.tensorrt import key_for_here

    engines_at_start(
        job.state.releases / manifest.release,
        manifest,
        key,
        here=lambda: key_for_here("any", "fp16"),
        build=lambda: build_engines(job.state, manifest, snapshot_folder, key, "fp16"),
        say=job.steps.say,
    )


def _example_shopper(release_folder: Path) -> str:
    """Someone with enough of a history for a personal list."""
    histories = pq.read_table(release_folder / HISTORIES_FILE, columns=["user_id", "product_ids"])
    lengths = histories["product_ids"].combine_chunks().value_lengths().to_numpy()
    enough = lengths >= _EXAMPLE_INTERACTIONS
    at = int(enough.argmax()) if enough.any() else int(lengths.argmax())
    return str(histories["user_id"][at].as_py())


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m export.prepare", description="Make sure that there is a release to serve."
    )
    parser.add_argument("--state-dir", type=Path, required=True)
    parser.add_argument("--result", type=Path, required=True, help="where to say what there is")
    parser.add_argument("--data", type=Path, help="the shop's data; default: a simulated world")
    parser.add_argument("--profile", choices=("cpu", "gpu"), default="cpu", help="gpu: engines too")
    parser.add_argument("--quick", action="store_true", help="little of everything, to try out")
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
