"""Release files: reading a release folder from disk, verified before anything in it is used."""

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from serving.adapters.source_files import read_source_tables
from serving.recommend.ports import ReleaseTables
from shop.catalogue import SPECIFICATION, Catalogue, CodedColumn
from shop.errors import NotFound, ReleaseRejected
from shop.features import FeatureSchema
from shop.neighbours import Neighbours
from shop.release import (
    CATALOGUE_FILE,
    MANIFEST,
    NEIGHBOURS_FILE,
    POPULARITY_FILE,
    SCHEMA_FILE,
    SOURCES_FILE,
    VECTORS_FILE,
    Manifest,
    check_file,
    read_manifest,
)

CURRENT = "CURRENT"  # in the releases' folder: the id of the active release


def current_release(releases_root: Path) -> str:
    """The id of the active release. Raises NotFound before the first promotion."""
    try:
        release = (releases_root / CURRENT).read_text().strip()
    except FileNotFoundError as error:
        raise NotFound(
            f"no release is active in {releases_root}; run: vitrine promote RELEASE"
        ) from error
    if not release:
        raise NotFound(f"{releases_root / CURRENT} is empty; run: vitrine promote RELEASE")
    return release


def read_release_manifest(folder: Path, key: bytes) -> Manifest:
    """The signed manifest, its files not yet looked at. Raises ReleaseRejected or NotFound."""
    try:
        text = (folder / MANIFEST).read_text()
    except FileNotFoundError as error:
        raise NotFound(f"{folder} holds no release: it has no {MANIFEST}") from error
    except (OSError, UnicodeDecodeError) as error:
        raise ReleaseRejected(f"{folder / MANIFEST} cannot be read: {error}") from error
    manifest = read_manifest(text, key)
    if manifest.release != folder.resolve().name:
        raise ReleaseRejected(f"{folder} holds {manifest.release}, not what its name says")
    return manifest


def verify_release(folder: Path, key: bytes) -> Manifest:
    """The manifest, once every file it lists was read and found to be the one that was signed.

    Raises ReleaseRejected or NotFound. Reads everything: about a second per gigabyte.
    """
    manifest = read_release_manifest(folder, key)
    check_files(folder, manifest, manifest.files)
    return manifest


def check_files(folder: Path, manifest: Manifest, names: Iterable[str]) -> None:
    """Raises ReleaseRejected unless each of these files is there and is the one that was signed."""
    for name in names:
        path = folder / name
        try:
            size_bytes, sha256 = path.stat().st_size, file_sha256(path)
        except OSError as error:
            raise ReleaseRejected(f"{manifest.release}: {name} cannot be read: {error}") from error
        check_file(manifest, name, size_bytes, sha256)


def file_sha256(path: Path) -> str:
    """Hex digest of a file, read in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def load_tables(folder: Path, manifest: Manifest) -> ReleaseTables:
    """The tables that the gateway keeps in memory, from a folder that `verify_release` accepted.

    Raises ReleaseRejected if the files do not describe the same products.
    """
    try:
        schema = FeatureSchema.from_json(json.loads((folder / SCHEMA_FILE).read_text()))
        catalogue = read_catalogue(folder / CATALOGUE_FILE)
        with np.load(folder / NEIGHBOURS_FILE) as arrays:
            neighbours = Neighbours(
                arrays["rows"].astype(np.int32, copy=False),
                arrays["scores"].astype(np.float32, copy=False),
            )
        with np.load(folder / POPULARITY_FILE) as arrays:
            popular_rows = arrays["popular_rows"].astype(np.int64, copy=False)
            popularity = arrays["popularity"].astype(np.float32, copy=False)
        rows = catalogue.product_count + 1
        sources = read_source_tables(
            folder / SOURCES_FILE, release=manifest.release, row_count=rows
        )
        vectors_shape = np.load(folder / VECTORS_FILE, mmap_mode="r").shape
    except (OSError, KeyError, ValueError, pa.ArrowException) as error:
        raise ReleaseRejected(f"{manifest.release} cannot be loaded: {error!r}") from error
    if "purchase" not in schema.heads:
        raise ReleaseRejected(f"{manifest.release}: the ranker has no purchase head, so no value")
    _check_fit(
        manifest.release,
        {
            f"{NEIGHBOURS_FILE} rows": (neighbours.rows.shape[0], rows),
            f"{NEIGHBOURS_FILE} scores": (neighbours.scores.shape, neighbours.rows.shape),
            f"{POPULARITY_FILE} popularity": (popularity.shape, (rows,)),
            f"{POPULARITY_FILE} popular_rows": (popular_rows.shape, (rows - 1,)),
            f"{POPULARITY_FILE} popular_rows beyond": (_beyond(popular_rows, rows), 0),
            f"{NEIGHBOURS_FILE} rows beyond": (_beyond(neighbours.rows, rows), 0),
            VECTORS_FILE: (vectors_shape, (rows, schema.vector_size)),
        },
    )
    return ReleaseTables(
        release=manifest.release,
        version=manifest.version,
        catalogue=catalogue,
        schema=schema,
        neighbours=neighbours,
        popular_rows=popular_rows,
        popularity=popularity,
        sources=sources,
    )


def _beyond(rows: NDArray[Any], row_count: int) -> int:
    """How many of `rows` are no catalogue row."""
    return int(np.count_nonzero((rows < 0) | (rows >= row_count)))


def _check_fit(release: str, pairs: dict[str, tuple[Any, Any]]) -> None:
    for name, (found, needed) in pairs.items():
        if found != needed:
            raise ReleaseRejected(f"{release}: {name} is {found}, the catalogue needs {needed}")


def read_catalogue(path: Path) -> Catalogue:
    """The catalogue with its padding row. Raises OSError, KeyError or ArrowException."""
    table = pq.read_table(path)
    currency = (table.schema.metadata or {}).get(b"currency", b"").decode()
    category_codes, category_names = _coded(table, "category")
    brand_codes, brand_names = _coded(table, "brand")
    return Catalogue(
        product_ids=_texts(table, "product_id"),
        titles=_texts(table, "title"),
        category_codes=category_codes,
        brand_codes=brand_codes,
        category_names=category_names,
        brand_names=brand_names,
        list_price_minor=_padded(table["list_price_minor"].to_numpy()),
        cost_minor=_padded(table["cost_minor"].fill_null(0).to_numpy()),
        cost_known=np.concatenate(([False], table["cost_minor"].is_valid().to_numpy())),
        currency=currency,
        specification=_specification(table),
    )


def _specification(table: pa.Table) -> dict[str, CodedColumn]:
    """What this catalogue tells beside category and brand; releases before searching have none."""
    told = [name for name in SPECIFICATION if name in table.column_names]
    columns = {name: CodedColumn(*_coded(table, name)) for name in told}
    return {name: column for name, column in columns.items() if len(column.names) > 1}


def _texts(table: pa.Table, column: str) -> NDArray[np.str_]:
    return np.array(["", *table[column].fill_null("").to_pylist()], dtype=np.str_)


def _padded(values: NDArray[Any]) -> NDArray[np.int64]:
    return np.concatenate((np.zeros(1, np.int64), values.astype(np.int64)))


def _coded(table: pa.Table, column: str) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """[R] codes into the names, of which name 0 is "" and stands for none."""
    values = table[column].fill_null("").to_pylist()
    names = ("", *sorted(set(values) - {""}))
    code_of = {name: code for code, name in enumerate(names)}
    codes = np.array([0, *(code_of[value] for value in values)], dtype=np.int64)
    return codes, names
