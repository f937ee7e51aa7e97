"""Sources: every form of outside data that Vitrine reads, recognised by its files and columns."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from shop.errors import DataRejected
from training.data.progress import Progress, no_progress
from training.data.readers import online_retail, rees46, sequences, world
from training.data.snapshot import MANIFEST, SNAPSHOT_SCHEMA, SnapshotManifest, file_sha256
from training.data.tabular import SUFFIXES, column_names, find_tables


@dataclass(frozen=True, slots=True)
class TableSource:
    """A form of data that is one table, known by its columns."""

    columns: tuple[str, ...]  # all of them are needed
    suffixes: tuple[str, ...]
    read: Callable[[Path, Path, Progress], SnapshotManifest]  # file, out, progress


WORLD = "world"  # the one form that is a folder of several tables
TABLE_SOURCES = {
    "online-retail": TableSource(
        online_retail.COLUMNS, SUFFIXES, online_retail.import_online_retail
    ),
    "sequences": TableSource(sequences.COLUMNS, (".parquet",), sequences.import_sequences),
    "rees46": TableSource(rees46.COLUMNS, SUFFIXES, rees46.import_rees46),
}
SOURCES = (*TABLE_SOURCES, WORLD)


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
    if source == WORLD:
        return world.import_world(folder, out, progress)
    form = TABLE_SOURCES[source]
    return form.read(_the_table(source, form, folder), out, progress)


def detect_source(folder: Path) -> str:
    """Which source `folder` (or one file) is, by its files and columns.

    Raises DataRejected, naming what was looked for, if it is none of them or more than one.
    """
    tables = find_tables(folder)
    found = [name for name, form in TABLE_SOURCES.items() if any(_fits(form, t) for t in tables)]
    if all((folder / name).is_file() for name in world.FILES):
        found.append(WORLD)
    if len(found) == 1:
        return found[0]
    if found:
        raise DataRejected(f"{folder} could be {' or '.join(found)}; import one by its name")
    looked_for = [f"{n} (a table with {', '.join(f.columns)})" for n, f in TABLE_SOURCES.items()]
    looked_for.append(f"{WORLD} (a folder with {', '.join(world.FILES)})")
    raise DataRejected(f"{folder} is none of: {'; '.join(looked_for)}")


def snapshot_for(data: Path, snapshots: Path, *, progress: Progress = no_progress) -> Path:
    """The snapshot of what `--data` names: `data` itself if it is one, else `data` imported.

    What is imported goes to a folder of `snapshots` named by its content, so that the same data is
    imported once. Raises DataRejected as `detect_source` and `import_data` do.
    """
    if (data / MANIFEST).is_file():
        return data
    source = detect_source(data)
    out = snapshots / f"{source}-{_content_id(source, data)}"
    if not (out / MANIFEST).is_file():
        import_data(source, data, out, progress=progress)
    return out


def _content_id(source: str, data: Path) -> str:
    files = [data / n for n in world.FILES] if source == WORLD else find_tables(data)
    digests = "".join(file_sha256(file) for file in files)
    # With the schema: what an older version imported is imported again.
    return hashlib.sha256(f"{SNAPSHOT_SCHEMA}{digests}".encode()).hexdigest()[:12]


def _the_table(source: str, form: TableSource, data: Path) -> Path:
    files = find_tables(data)
    if data.is_file():
        return data  # the reader names what it lacks
    fitting = [file for file in files if _fits(form, file)]
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
