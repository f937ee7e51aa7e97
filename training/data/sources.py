"""Sources: every form of outside data that Vitrine reads, recognised by its files and columns."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from shop.errors import DataRejected
from training.data.progress import Progress, no_progress
from training.data.readers import online_retail
from training.data.snapshot import MANIFEST, SnapshotManifest, file_sha256, read_snapshot_manifest
from training.data.tabular import SUFFIXES, column_names, find_tables


@dataclass(frozen=True, slots=True)
class TableSource:
    """A form of data that is one table, known by its columns."""

    columns: tuple[str, ...]  # all of them are needed
    suffixes: tuple[str, ...]
    read: Callable[[Path, Path, Progress], SnapshotManifest]  # file, out, progress


TABLE_SOURCES = {
    "online-retail": TableSource(
        online_retail.COLUMNS, SUFFIXES, online_retail.import_online_retail
    ),
}
SOURCES = (*TABLE_SOURCES,)


def import_data(
    source: str, folder: Path, out: Path, *, progress: Progress = no_progress
) -> SnapshotManifest:
    """Read `folder` (or one file) as `source` and write the snapshot `out`.

    Raises DataRejected if the source is unknown, its file or a column is missing or ambiguous,
    nothing usable is left, or `out` already holds a snapshot. Single bad rows are quarantined.
    """
    if source not in SOURCES:
        raise DataRejected(f"unknown source {source!r}; known are {', '.join(SOURCES)}")
    if (out / MANIFEST).exists():
        raise DataRejected(f"{out} already holds a snapshot; choose another --out")
    form = TABLE_SOURCES[source]
    return form.read(_the_table(source, form, folder), out, progress)


def _the_table(source: str, form: TableSource, data: Path) -> Path:
    files = find_tables(data)
    if data.is_file():
        return data  # the reader names what it lacks
    fitting = [f for f in files if _fits(form, f)]
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        raise DataRejected(f"{data} holds {', '.join(f.name for f in fitting)}; name one of them")
    raise DataRejected(
        f"{data} holds no {source} table: none of its {len(files)} {' or '.join(form.suffixes)} "
        f"files has the columns {', '.join(form.columns)}"
    )


def _fits(form: TableSource, file: Path) -> bool:
    if file.suffix not in form.suffixes:
        return False
    try:
        return set(form.columns) <= set(column_names(file))
    except DataRejected:
        return False
