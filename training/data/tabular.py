"""Tabular files from outside: one Parquet or CSV file as columns, under limits, nothing trusted.

Only the wanted columns are read. CSV cells come as text; what they mean is decided in `columns`.
"""

import codecs
import csv
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
from numpy.typing import NDArray

from shop.errors import DataRejected

SUFFIXES = (".parquet", ".csv")
_BATCH_ROWS = 1 << 13  # few, so that a batch of unfolding cells is noticed before it fills memory
_MAX_HEADER_BYTES = 1 << 16
_MAX_RAW_CHARACTERS = 200


@dataclass(frozen=True, slots=True)
class Limits:
    """What a file may cost. All of it is held in memory: 20 M rows of eight columns are ~4 GB."""

    file_bytes: int = 4 << 30
    rows: int = 20_000_000
    table_bytes: int = 4 << 30  # decoded: a small Parquet file can unfold to anything


LIMITS = Limits()


@dataclass(frozen=True, slots=True)
class BrokenLine:
    """A CSV line that could not be split into its columns."""

    row: int
    fault: str
    text: str


@dataclass(frozen=True, slots=True, eq=False)
class SourceTable:
    """The wanted columns of one file. N rows; optional columns may be missing."""

    file: str
    table: pa.Table
    rows: NDArray[np.int64]  # [N] 1-based data row of each table row in the file
    broken: tuple[BrokenLine, ...] = ()
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return int(self.rows.size)


def find_tables(data: Path) -> list[Path]:
    """The readable files of `data`, which is a folder or itself one file, by name.

    Raises DataRejected if there is nothing at `data`.
    """
    if data.is_file():
        return [data]
    if not data.is_dir():
        raise DataRejected(
            f"{data} does not exist; name a folder or a {' or '.join(SUFFIXES)} file"
        )
    return sorted(f for f in data.iterdir() if f.suffix in SUFFIXES and f.is_file())


def column_names(path: Path) -> tuple[str, ...]:
    """The columns a file says it has. Raises DataRejected if it cannot be read."""
    if path.suffix == ".csv":
        return tuple(_csv_header(path))
    with _parquet(path) as file:
        return tuple(file.schema_arrow.names)


def column_types(path: Path) -> dict[str, pa.DataType]:
    """The types a Parquet file says its columns have. Raises DataRejected if it cannot be read."""
    with _parquet(path) as file:
        return dict(zip(file.schema_arrow.names, file.schema_arrow.types, strict=True))


def read_source(
    path: Path,
    required: Iterable[str],
    optional: Iterable[str] = (),
    *,
    limits: Limits = LIMITS,
) -> SourceTable:
    """The named columns of one file; text in Parquet comes as dictionaries.

    Raises DataRejected, naming the file and what is needed, if a required column is missing, the
    file is no Parquet or CSV, or it is larger than the limits.
    """
    if path.suffix not in SUFFIXES:
        raise DataRejected(f"{path}: cannot read {path.suffix or 'this'}; need {SUFFIXES}")
    size = path.stat().st_size
    if size > limits.file_bytes:
        raise DataRejected(f"{path} has {size} bytes; take a part of at most {limits.file_bytes}")
    present = column_names(path)
    missing = [name for name in required if name not in present]
    if missing:
        raise DataRejected(
            f"{path} lacks the column {', '.join(missing)}; it has {', '.join(present[:20])}"
        )
    wanted = [name for name in (*required, *optional) if name in present]
    doubled = [name for name in wanted if present.count(name) > 1]
    if doubled:
        raise DataRejected(f"{path} has the column {doubled[0]} twice")
    if path.suffix == ".csv":
        return _read_csv(path, wanted, limits)
    return _read_parquet(path, wanted, limits)


def _parquet(path: Path, folded: list[str] | None = None) -> pq.ParquetFile:
    """The open file; columns of text named in `folded` are read as dictionaries, so that a
    megabyte repeated a million times stays a megabyte."""
    try:
        return pq.ParquetFile(path, read_dictionary=folded)
    except (pa.ArrowException, OSError) as error:
        raise DataRejected(f"{path} is no readable Parquet file: {error}") from error


def _read_parquet(path: Path, wanted: list[str], limits: Limits) -> SourceTable:
    texts = [name for name, kind in column_types(path).items() if _is_text(kind)]
    with _parquet(path, [name for name in wanted if name in texts]) as file:
        _refuse_size(path, file.metadata.num_rows, _unfolded_bytes(file, wanted), limits)
        for name in wanted:
            _refuse_nested(path, file.schema_arrow.field(name))
        try:
            batches = _within_limits(path, file.iter_batches(_BATCH_ROWS, columns=wanted), limits)
            table = pa.Table.from_batches(batches, schema=_chosen(file.schema_arrow, wanted))
        except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
            raise DataRejected(f"{path} is damaged: {error}") from error
    return SourceTable(path.name, table, np.arange(1, table.num_rows + 1))


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _chosen(schema: pa.Schema, wanted: list[str]) -> pa.Schema:
    # iter_batches keeps the file's order of columns, whatever order they are asked for in
    return pa.schema([field for field in schema if field.name in set(wanted)])


def _refuse_nested(path: Path, field: pa.Field) -> None:
    inner = field.type.value_type if pa.types.is_list(field.type) else field.type
    if pa.types.is_nested(inner):
        raise DataRejected(f"{path}: column {field.name} is {field.type}; need plain values")


def _refuse_size(path: Path, rows: int, table_bytes: int, limits: Limits) -> None:
    if rows > limits.rows:
        raise DataRejected(f"{path} has more than {limits.rows} rows; take a part of it")
    if table_bytes > limits.table_bytes:
        raise DataRejected(f"{path} unfolds to more than {limits.table_bytes} bytes; take a part")


def _unfolded_bytes(file: pq.ParquetFile, wanted: list[str]) -> int:
    """What the file says of itself; a lie is found while reading."""
    groups = (file.metadata.row_group(at) for at in range(file.metadata.num_row_groups))
    chunks = (group.column(at) for group in groups for at in range(group.num_columns))
    return sum(
        chunk.total_uncompressed_size
        for chunk in chunks
        if chunk.path_in_schema.split(".")[0] in set(wanted)
    )


def _within_limits(
    path: Path, batches: Iterable[pa.RecordBatch], limits: Limits
) -> list[pa.RecordBatch]:
    kept: list[pa.RecordBatch] = []
    rows = table_bytes = 0
    for batch in batches:
        rows += batch.num_rows
        table_bytes += batch.nbytes
        _refuse_size(path, rows, table_bytes, limits)
        kept.append(batch)
    return kept


def _csv_header(path: Path) -> list[str]:
    try:
        with path.open("rb") as file:
            line = file.readline(_MAX_HEADER_BYTES)
    except OSError as error:
        raise DataRejected(f"{path} cannot be read: {error}") from error
    # Latin-1 reads any bytes; the names that matter are ASCII.
    names = next(csv.reader([line.removeprefix(b"\xef\xbb\xbf").decode("latin-1")]), [])
    if not names:
        raise DataRejected(f"{path} is empty; the first line must name the columns")
    return [name.strip() for name in names]


def _read_csv(path: Path, wanted: list[str], limits: Limits) -> SourceTable:
    try:
        return _read_csv_as(path, wanted, limits, is_utf8=_is_utf8(path))
    except (pa.ArrowException, OSError) as error:
        raise DataRejected(f"{path} is no readable CSV file: {error}") from error


def _is_utf8(path: Path) -> bool:
    """Read beforehand, since pyarrow loses broken lines whose bytes it cannot decode."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        with path.open("rb") as file:
            while piece := file.read(1 << 20):
                decoder.decode(piece)
            decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return False
    return True


def _read_csv_as(path: Path, wanted: list[str], limits: Limits, *, is_utf8: bool) -> SourceTable:
    broken: list[BrokenLine] = []
    names = _csv_header(path)
    reader = pacsv.open_csv(
        path,
        # One thread: only then does a broken line know its number.
        read_options=pacsv.ReadOptions(
            use_threads=False,
            # Spreadsheet exports of these data sets carry pound signs in Latin-1, which reads any.
            encoding="utf8" if is_utf8 else "latin1",
            column_names=names,
            skip_rows=1,
        ),
        parse_options=pacsv.ParseOptions(
            newlines_in_values=True, invalid_row_handler=_collect_into(broken)
        ),
        convert_options=pacsv.ConvertOptions(
            include_columns=wanted,
            column_types=dict.fromkeys(wanted, pa.large_string()),
            null_values=[""],
            strings_can_be_null=True,
        ),
    )
    with reader:
        table = pa.Table.from_batches(_within_limits(path, reader, limits), schema=reader.schema)
    rows = np.arange(1, table.num_rows + len(broken) + 1)
    whole = np.setdiff1d(rows, [line.row for line in broken], assume_unique=True)
    notes = () if is_utf8 else (f"{path.name} is no UTF-8 and was read as Latin-1",)
    return SourceTable(path.name, table, whole, tuple(broken), notes)


def _collect_into(broken: list[BrokenLine]) -> Callable[[pacsv.InvalidRow], str]:
    def collect(line: pacsv.InvalidRow) -> str:
        fault = f"has {line.actual_columns} columns, not {line.expected_columns}"
        text = (line.text or "")[:_MAX_RAW_CHARACTERS]
        broken.append(BrokenLine((line.number or 1) - 1, fault, text))  # the header is line 1
        return "skip"

    return collect
