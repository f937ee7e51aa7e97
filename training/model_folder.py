"""Model folder: the files between training and export, written whole and read back typed.

Shapes: P products, R = P + 1 catalogue rows, D vector size, K neighbours.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from shop.catalogue import SPECIFICATION
from shop.errors import NotFound
from shop.features import FEATURE_VERSION, FeatureSchema
from shop.neighbours import Neighbours
from shop.release import (
    CATALOGUE_FILE,
    NEIGHBOURS_FILE,
    POPULARITY_FILE,
    SCHEMA_FILE,
    VECTORS_FILE,
)
from shop.scoring import HEADS
from training.data.snapshot import Snapshot
from training.model_files import METRICS_FILE as METRICS_FILE
from training.model_files import RANKER_CONFIG as RANKER_CONFIG
from training.model_files import RANKER_WEIGHTS as RANKER_WEIGHTS
from training.model_files import TEXT_ENCODER_WEIGHTS as TEXT_ENCODER_WEIGHTS
from training.model_files import TWO_TOWER_CONFIG as TWO_TOWER_CONFIG
from training.model_files import TWO_TOWER_WEIGHTS as TWO_TOWER_WEIGHTS
from training.model_files import read_json as read_json
from training.model_files import write_json as write_json
from training.model_files import write_whole as write_whole

_CATALOGUE_COLUMNS = ("product_id", "title", "category", "brand", *SPECIFICATION)
_LABEL_OF_HEAD = {head: f"events_{head}" for head in HEADS}


@dataclass(frozen=True, slots=True, eq=False)
class PopularityTable:
    """What is bought most, lately."""

    popular_rows: NDArray[np.int64]  # [P] most popular first
    popularity: NDArray[np.float32]  # [R] share of the most popular, 0..1; row 0 is 0


def schema_of(snapshot: Snapshot, *, history_length: int, vector_size: int) -> FeatureSchema:
    """The vocabularies of `snapshot`; heads are those for which it has labels."""
    known = snapshot.manifest.counts
    segments = sorted({str(s) for s in snapshot.shoppers["segment"].to_pylist() if s})
    return FeatureSchema(
        version=FEATURE_VERSION,
        history_length=history_length,
        vector_size=vector_size,
        devices=tuple(name for name in snapshot.devices if name),
        countries=tuple(name for name in snapshot.countries if name),
        segments=tuple(segments),
        heads=tuple(head for head in HEADS if known.get(_LABEL_OF_HEAD[head], 0) > 0),
        time_zone=snapshot.manifest.time_zone,
    )


def list_prices(snapshot: Snapshot) -> NDArray[np.int64]:
    """[R] list prices in minor units, row 0 is 0."""
    prices = snapshot.products["price_minor"].fill_null(0).to_numpy().astype(np.int64)
    return np.concatenate([np.zeros(1, np.int64), prices])


def write_catalogue(snapshot: Snapshot, folder: Path) -> None:
    """The products that the release will know, in row order."""
    products = snapshot.products
    table = pa.table(
        {name: products[name] for name in _CATALOGUE_COLUMNS}
        | {"list_price_minor": products["price_minor"], "cost_minor": products["cost_minor"]}
    ).replace_schema_metadata({b"currency": snapshot.manifest.currency.encode()})
    write_whole(folder / CATALOGUE_FILE, lambda path: pq.write_table(table, path))


def write_schema(schema: FeatureSchema, folder: Path) -> None:
    """`read_schema` reads it back."""
    write_json(folder / SCHEMA_FILE, schema.to_json())


def read_schema(folder: Path) -> FeatureSchema:
    """Raises NotFound if the folder has none, ValueError if features mean something else now."""
    return FeatureSchema.from_json(read_json(folder / SCHEMA_FILE))


def write_neighbours(neighbours: Neighbours, folder: Path) -> None:
    """`read_neighbours` reads them back."""
    _write_npz(folder / NEIGHBOURS_FILE, rows=neighbours.rows, scores=neighbours.scores)


def read_neighbours(folder: Path) -> Neighbours:
    """Raises NotFound if the folder has none."""
    arrays = _read_npz(folder / NEIGHBOURS_FILE)
    return Neighbours(arrays["rows"], arrays["scores"])


def write_popularity(popularity: PopularityTable, folder: Path) -> None:
    """`read_popularity` reads it back."""
    _write_npz(
        folder / POPULARITY_FILE,
        popular_rows=popularity.popular_rows,
        popularity=popularity.popularity,
    )


def read_popularity(folder: Path) -> PopularityTable:
    """Raises NotFound if the folder has none."""
    arrays = _read_npz(folder / POPULARITY_FILE)
    return PopularityTable(arrays["popular_rows"], arrays["popularity"])


def write_item_vectors(vectors: NDArray[np.float32], folder: Path) -> None:
    """vectors [R, D]: row 0 zeros, the others of unit length."""
    write_whole(folder / VECTORS_FILE, lambda path: _save_array(path, vectors))


def read_item_vectors(folder: Path) -> NDArray[np.float32]:
    """[R, D]. Raises NotFound if the folder has none."""
    path = folder / VECTORS_FILE
    if not path.exists():
        raise NotFound(f"{path} does not exist; train first")
    vectors: NDArray[np.float32] = np.load(path, allow_pickle=False)
    return vectors


def add_metrics(metrics: Mapping[str, float], folder: Path) -> dict[str, float]:
    """Merge into `metrics.json` and return all of it; a name measured again is replaced."""
    merged = read_metrics(folder) | {name: float(value) for name, value in metrics.items()}
    write_json(folder / METRICS_FILE, dict(sorted(merged.items())))
    return merged


def read_metrics(folder: Path) -> dict[str, float]:
    """Flat name → number; empty before anything was measured."""
    if not (folder / METRICS_FILE).exists():
        return {}
    return {str(k): float(v) for k, v in read_json(folder / METRICS_FILE).items()}


def _write_npz(path: Path, **arrays: NDArray[Any]) -> None:
    def save(part: Path) -> None:
        with part.open("wb") as file:  # a path would get ".npz" appended
            np.savez(file, **arrays)

    write_whole(path, save)


def _save_array(path: Path, array: NDArray[Any]) -> None:
    with path.open("wb") as file:  # a path would get ".npy" appended
        np.save(file, array)


def _read_npz(path: Path) -> dict[str, NDArray[Any]]:
    if not path.exists():
        raise NotFound(f"{path} does not exist; train first")
    with np.load(path, allow_pickle=False) as arrays:
        return {name: arrays[name] for name in arrays.files}
