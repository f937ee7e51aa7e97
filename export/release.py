"""Release: all that goes online together, built from one model folder, signed, written whole.

The folder appears under its final name only when every file in it was written, read back and found
right by the very code that will serve it. Promotion is another matter: `export.promote`.
"""

import contextlib
import fcntl
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from export.histories import write_histories
from export.index import build_index
from export.model_config import model_configs, text_encoder_config
from export.onnx_models import check_parity, onnx_runner, write_onnx
from export.samples import Inputs, Samples, draw_samples
from export.search import add_search, has_encoder
from export.source_tables import build_source_tables
from serving.adapters.release_files import check_files, file_sha256, load_tables
from serving.adapters.source_files import write_source_tables
from shop.errors import ReleaseRejected
from shop.features import FeatureSchema
from shop.release import (
    CATALOGUE_FILE,
    HISTORIES_FILE,
    INDEX_FILE,
    MANIFEST,
    NEIGHBOURS_FILE,
    POPULARITY_FILE,
    RANKER_FILE,
    REQUIRED_FILES,
    SCHEMA_FILE,
    SEARCH_FILES,
    SOURCES_FILE,
    TEXT_ENCODER_CONFIG_FILE,
    USER_TOWER_FILE,
    VECTORS_FILE,
    FileEntry,
    Manifest,
)
from shop.tensors import ranker_spec, user_tower_spec
from training.data.snapshot import Snapshot, load_snapshot
from training.model_folder import (
    read_item_vectors,
    read_metrics,
    read_neighbours,
    read_schema,
)
from training.models.ranker import load_serving_ranker
from training.models.two_tower import load_user_tower

# As trained; the release carries the bytes that evaluation saw.
_COPIED = (CATALOGUE_FILE, SCHEMA_FILE, VECTORS_FILE, NEIGHBOURS_FILE, POPULARITY_FILE)
_SAMPLE_COUNT = 256  # real inputs on which graphs and index are tried
_NUMBERED = re.compile(r"r(\d{4,})-.*")

Progress = Callable[[str, float], None]


def export_release(
    *,
    model_folder: Path,
    snapshot_folder: Path,
    releases_root: Path,
    key: bytes,
    progress: Progress = lambda step, share: None,
) -> Manifest:
    """Build, prove, sign and store a release; it is not active yet.

    `progress` is told each step and the share of the work done, 0 to 1.
    Raises ReleaseRejected if the trained models cannot be served as they were evaluated.
    """
    with _only_exporter(releases_root):
        version = next_version(releases_root)
        part = Path(tempfile.mkdtemp(prefix=".part-", dir=releases_root))
        try:
            manifest = _build(part, model_folder, snapshot_folder, version, key, progress)
            part.chmod(0o755)
            target = releases_root / manifest.release
            part.rename(target)
        except BaseException:
            shutil.rmtree(part, ignore_errors=True)
            raise
    return manifest


def samples_of(snapshot_folder: Path, release_folder: Path) -> tuple[FeatureSchema, Inputs]:
    """Real inputs of both models, the user vector among them, for proving other forms of them."""
    schema = read_schema(release_folder)
    samples = draw_samples(
        load_snapshot(snapshot_folder),
        schema,
        read_neighbours(release_folder),
        count=_SAMPLE_COUNT,
        rng=np.random.default_rng(1),
    )
    spec = user_tower_spec(schema)
    vectors = onnx_runner(release_folder / USER_TOWER_FILE, spec)(samples.shoppers)
    return schema, samples.shoppers | samples.candidates | {"user_vector": vectors}


def next_version(releases_root: Path) -> int:
    """One more than the highest ever used here; numbers of deleted releases are not known."""
    numbers = [_NUMBERED.fullmatch(folder.name) for folder in releases_root.iterdir()]
    return 1 + max((int(number[1]) for number in numbers if number), default=0)


@contextlib.contextmanager
def _only_exporter(releases_root: Path) -> Iterator[None]:
    """One export at a time, so that no two take the same version; clears what a killed one left."""
    releases_root.mkdir(parents=True, exist_ok=True)
    with (releases_root / ".export.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for left in releases_root.glob(".part-*"):
            shutil.rmtree(left, ignore_errors=True)
        yield


def _build(
    folder: Path,
    model_folder: Path,
    snapshot_folder: Path,
    version: int,
    key: bytes,
    progress: Progress,
) -> Manifest:
    progress("reading the snapshot", 0.0)
    snapshot = load_snapshot(snapshot_folder)
    _check_products(snapshot, model_folder)
    for name in _COPIED:
        shutil.copyfile(model_folder / name, folder / name)
    schema = read_schema(model_folder)
    for model, text in model_configs(schema).items():
        (folder / f"{model}.pbtxt").write_text(text)
    progress("writing histories", 0.1)
    shopper_count = write_histories(snapshot, folder / HISTORIES_FILE)
    progress("tables of the candidate sources", 0.12)
    sources, source_metrics = build_source_tables(snapshot)
    write_source_tables(sources, folder / SOURCES_FILE)
    progress("drawing real inputs", 0.2)
    samples = draw_samples(
        snapshot,
        schema,
        read_neighbours(model_folder),
        count=_SAMPLE_COUNT,
        rng=np.random.default_rng(version),
    )
    metrics = _add_models(folder, model_folder, samples, progress)
    progress("building the index", 0.8)
    user_vectors = onnx_runner(folder / USER_TOWER_FILE, user_tower_spec(schema))(samples.shoppers)
    index = build_index(read_item_vectors(model_folder), user_vectors)
    index.write(folder / INDEX_FILE)
    metrics |= index.metrics() | source_metrics | {"shoppers": float(shopper_count)}
    files = REQUIRED_FILES
    if has_encoder(model_folder):
        progress("adding search", 0.85)
        (folder / TEXT_ENCODER_CONFIG_FILE).write_text(text_encoder_config())
        metrics |= add_search(folder, model_folder, snapshot, version)
        files += SEARCH_FILES
    progress("signing and reading back", 0.95)
    manifest = _sign(
        folder,
        version,
        snapshot.manifest.snapshot,
        files,
        read_metrics(model_folder) | metrics,
        key,
    )
    check_files(folder, manifest, manifest.files)
    load_tables(folder, manifest)
    progress("done", 1.0)
    return manifest


def _check_products(snapshot: Snapshot, model_folder: Path) -> None:
    """Rows are only numbers: another order of products would recommend something else, silently."""
    trained = pq.read_table(model_folder / CATALOGUE_FILE, columns=["product_id"])
    if trained["product_id"].to_pylist() != snapshot.products["product_id"].to_pylist():
        raise ReleaseRejected(
            f"{model_folder} was not trained on snapshot {snapshot.manifest.snapshot}: "
            "its products are others, or in another order"
        )


def _add_models(
    folder: Path, model_folder: Path, samples: Samples, progress: Progress
) -> dict[str, float]:
    """Write both graphs and prove them; returns how near they are to the trained modules."""
    schema = read_schema(model_folder)
    progress("exporting the user tower", 0.25)
    tower, tower_spec = load_user_tower(model_folder), user_tower_spec(schema)
    write_onnx(tower, tower_spec, folder / USER_TOWER_FILE)
    tower_parity = check_parity(tower, tower_spec, folder / USER_TOWER_FILE, samples.shoppers)
    progress("exporting the ranker", 0.5)
    vectors = onnx_runner(folder / USER_TOWER_FILE, tower_spec)(samples.shoppers)
    inputs = samples.shoppers | samples.candidates | {"user_vector": vectors}
    ranker, spec = load_serving_ranker(model_folder), ranker_spec(schema)
    write_onnx(ranker, spec, folder / RANKER_FILE)
    ranker_parity = check_parity(ranker, spec, folder / RANKER_FILE, inputs)
    return {
        "parity_user_tower": tower_parity.worst_relative_error,
        "parity_ranker": ranker_parity.worst_relative_error,
        "parity_samples": float(tower_parity.sample_count),
    }


def _sign(
    folder: Path,
    version: int,
    snapshot: str,
    files: tuple[str, ...],
    metrics: dict[str, float],
    key: bytes,
) -> Manifest:
    manifest = Manifest(
        release=f"r{version:04d}-{snapshot[-12:]}",
        version=version,
        created_ms=time.time_ns() // 1_000_000,
        snapshot=snapshot,
        files={
            name: FileEntry((folder / name).stat().st_size, file_sha256(folder / name))
            for name in files
        },
        metrics={name: value for name, value in metrics.items() if np.isfinite(value)},
    ).signed(key)
    (folder / MANIFEST).write_text(manifest.to_json())
    return manifest
