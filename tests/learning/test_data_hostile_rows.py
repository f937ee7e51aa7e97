"""Whatever the cells hold: the import is refused, or it gives a snapshot that passes its own check
and accounts for every row."""

import csv
import tempfile
from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shop.errors import DataRejected
from training.data.check import check_snapshot
from training.data.readers import online_retail, rees46
from training.data.snapshot import load_snapshot
from training.data.sources import import_data

SOUND = {
    "online-retail": dict(
        zip(
            online_retail.COLUMNS,
            ["1", "85123A", "A BOX", "6", "2010-12-01 08:26:00", "2.55", "7", "France"],
            strict=True,
        )
    ),
    "rees46": dict(
        zip(
            rees46.COLUMNS,
            ["2019-10-01 00:00:00 UTC", "view", "5", "a.b", "aqua", "33.2", "7", "s1"],
            strict=True,
        )
    ),
}
NASTY = st.sampled_from(
    [
        "",
        " ",
        "nan",
        "-inf",
        "1e999",
        "1e17",
        "-1",
        "0",
        "0.001",
        "9" * 18,
        "9" * 40,
        "1,5",
        "0x1F",
        "C1",
        "85123a",
        "purchase",
        "2010-12-01",
        "2010-02-30 00:00:00",
        "9999-99-99 99:99:99",
        "0001-01-01 00:00:00",
        "12/01/2010 8:26",
        "=cmd|'/c calc'!A0",
        "'; DROP TABLE events; --",
        "../../etc/passwd",
        "\u202e\u0000\u0007",
        "a\nb",
        'a"b',
        "\ud7ff😀",
        "x" * 3_000,
    ]
)
SLOW_DISK = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def rows_of(source: str) -> st.SearchStrategy[list[dict[str, str]]]:
    sound = SOUND[source]
    cell = {name: st.one_of(st.just(value), NASTY) for name, value in sound.items()}
    return st.lists(st.one_of(st.just(sound), st.fixed_dictionaries(cell)), max_size=12)


def accounts_for_every_row(source: str, write: Callable[[Path], Path], rows: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        file = write(Path(name))
        out = Path(name) / "snapshot"
        try:
            manifest = import_data(source, file, out)
        except DataRejected as error:
            assert str(error)  # noqa: PT017  a refusal says why
            return
        report = check_snapshot(out)
        assert report.is_passed, report
        assert len(load_snapshot(out).events) == manifest.counts["events"]
        set_aside = manifest.counts["quarantined"] + sum(manifest.left_out.values())
        assert manifest.counts["events"] + set_aside == rows


@SLOW_DISK
@given(data=st.data(), source=st.sampled_from(sorted(SOUND)))
def test_csv_cells_of_any_text(data: st.DataObject, source: str) -> None:
    rows = data.draw(rows_of(source))

    def write(folder: Path) -> Path:
        with (folder / "x.csv").open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(SOUND[source])
            writer.writerows(row.values() for row in rows)
        return folder / "x.csv"

    accounts_for_every_row(source, write, len(rows))


COLUMNS_OF_TWO = st.sampled_from(
    [
        pa.array([None, None]),
        pa.array([True, False]),
        pa.array([-1, 2**63 - 1]),
        pa.array([0, 2**64 - 1], pa.uint64()),
        pa.array([7, None], pa.int8()),
        pa.array([float("nan"), 7.0]),
        pa.array([float("-inf"), 1e300]),
        pa.array([7.5, 7.0], pa.float32()),
        pa.array([Decimal("7.50"), None], pa.decimal128(9, 2)),
        pa.array(["7", "x" * 3_000]),
        pa.array(["7", None]).dictionary_encode(),
        pa.array([7, 8]).dictionary_encode(),
        pa.array([b"\xff", b"7"], pa.binary()),
        pa.array([[1], []], pa.list_(pa.int64())),
        pa.array([{"a": 1}, None]),
        pa.array([date(2011, 1, 1), None]),
        pa.array([-(2**52), 2**52], pa.timestamp("s")),
        pa.array([-(2**62), 2**62], pa.timestamp("ns")),
        pa.array([datetime(2011, 1, 1, tzinfo=UTC), None], pa.timestamp("us", "Asia/Tokyo")),
        pa.array([-(2**31), 2**31 - 1], pa.date32()),
        pa.array([-(2**62), 2**62], pa.date64()),
        pa.array([1, 2], pa.time32("s")),
        pa.array([1, 2], pa.time64("us")),
        pa.array([1, 2], pa.duration("ms")),
    ]
)


@SLOW_DISK
@given(data=st.data(), source=st.sampled_from(sorted(SOUND)))
def test_parquet_columns_of_any_type(data: st.DataObject, source: str) -> None:
    columns = {name: pa.array([value] * 2) for name, value in SOUND[source].items()}
    for name in data.draw(st.sets(st.sampled_from(sorted(columns)), min_size=1, max_size=2)):
        columns[name] = data.draw(COLUMNS_OF_TWO)

    def write(folder: Path) -> Path:
        pq.write_table(pa.table(columns), folder / "x.parquet")
        return folder / "x.parquet"

    accounts_for_every_row(source, write, 2)


@SLOW_DISK
@given(rubbish=st.binary(max_size=300), suffix=st.sampled_from([".csv", ".parquet"]))
def test_files_of_any_bytes(rubbish: bytes, suffix: str) -> None:
    header = ",".join(SOUND["rees46"]).encode() + b"\n" if suffix == ".csv" else b"PAR1"

    def write(folder: Path) -> Path:
        (folder / f"x{suffix}").write_bytes(header + rubbish)
        return folder / f"x{suffix}"

    with tempfile.TemporaryDirectory() as name:
        file = write(Path(name))
        try:
            import_data("rees46", file, Path(name) / "snapshot")
        except DataRejected:
            return
        assert check_snapshot(Path(name) / "snapshot").is_passed
