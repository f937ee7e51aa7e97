"""Sources are recognised by what the files hold, and files from outside are not trusted."""

from pathlib import Path

import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
import pytest

from shop.errors import DataRejected
from training.data.readers import online_retail, rees46
from training.data.snapshot import MANIFEST
from training.data.sources import SOURCES, detect_source, import_data, snapshot_for
from training.data.tabular import Limits, find_tables, read_source


def write_columns(file: Path, *names: str) -> None:
    if file.suffix == ".csv":
        file.write_text(",".join(names) + "\n")
    else:
        pq.write_table(pa.table({name: pa.array([], pa.string()) for name in names}), file)


def write_sequences(folder: Path, last: int = 3) -> None:
    table = pa.table({"user_id": [1, 2], "item_ids": [[1, 2], [2, last]]})
    pq.write_table(table, folder / "toys_sequences.parquet")


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
@pytest.mark.parametrize(
    ("source", "columns"),
    [("online-retail", online_retail.COLUMNS), ("rees46", rees46.COLUMNS)],
)
def test_a_table_is_recognised_by_its_columns(
    tmp_path: Path, source: str, columns: tuple[str, ...], suffix: str
) -> None:
    write_columns(tmp_path / f"anything{suffix}", "more", *columns)
    write_columns(tmp_path / "unrelated.csv", "a", "b")

    assert detect_source(tmp_path) == source
    assert detect_source(tmp_path / f"anything{suffix}") == source


def test_sequences_are_recognised_by_their_columns(tmp_path: Path) -> None:
    write_sequences(tmp_path)

    assert detect_source(tmp_path) == "sequences"


def test_a_world_is_recognised_by_its_files(tmp_path: Path) -> None:
    for name in ("products.parquet", "shoppers.parquet", "events.parquet"):
        write_columns(tmp_path / name, "a")
    (tmp_path / "world.json").write_text("{}")

    assert detect_source(tmp_path) == "world"


def test_what_is_not_recognised_says_what_was_looked_for(tmp_path: Path) -> None:
    (tmp_path / "holiday.jpg").write_bytes(b"")

    with pytest.raises(DataRejected, match="none of") as error:
        detect_source(tmp_path)
    assert all(source in str(error.value) for source in SOURCES)


def test_two_forms_in_one_folder_are_not_guessed_between(tmp_path: Path) -> None:
    write_columns(tmp_path / "a.csv", *online_retail.COLUMNS)
    write_columns(tmp_path / "b.csv", *rees46.COLUMNS)

    with pytest.raises(DataRejected, match="online-retail or rees46"):
        detect_source(tmp_path)


def test_an_unknown_source_names_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(DataRejected, match="known are online-retail, sequences, rees46, world"):
        import_data("ebay", tmp_path, tmp_path / "out")


def test_a_folder_without_the_source_says_which_columns_it_needs(tmp_path: Path) -> None:
    write_columns(tmp_path / "a.csv", "x")

    with pytest.raises(DataRejected, match="has the columns InvoiceNo, StockCode"):
        import_data("online-retail", tmp_path, tmp_path / "out")


def test_data_that_is_a_snapshot_is_used_as_it_is(tmp_path: Path) -> None:
    write_sequences(tmp_path)
    import_data("sequences", tmp_path, tmp_path / "snapshot")

    assert snapshot_for(tmp_path / "snapshot", tmp_path / "all") == tmp_path / "snapshot"
    assert not (tmp_path / "all").exists()


def test_the_same_data_is_imported_once_and_other_data_apart(tmp_path: Path) -> None:
    data, snapshots = tmp_path / "data", tmp_path / "all"
    data.mkdir()
    write_sequences(data)
    first = snapshot_for(data, snapshots)
    written_ns = (first / MANIFEST).stat().st_mtime_ns

    assert snapshot_for(data, snapshots) == first
    assert (first / MANIFEST).stat().st_mtime_ns == written_ns
    write_sequences(data, last=4)
    assert snapshot_for(data, snapshots) != first


def test_an_absent_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataRejected, match="nowhere does not exist"):
        find_tables(tmp_path / "nowhere")


@pytest.mark.parametrize("content", [b"", b"PAR1", b"PAR1" + b"\xff" * 64 + b"PAR1", b"a,b\n1,2\n"])
def test_a_file_that_is_no_parquet_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.parquet").write_bytes(content)

    with pytest.raises(DataRejected, match=r"x\.parquet"):
        read_source(tmp_path / "x.parquet", ("a",))


@pytest.mark.parametrize("content", [b"", b"\n", b"a,a\n1,2\n"])
def test_a_csv_without_a_usable_header_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.csv").write_bytes(content)

    with pytest.raises(DataRejected, match=r"x\.csv"):
        read_source(tmp_path / "x.csv", ("a",))


def test_a_cut_off_parquet_file_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "x.parquet"
    pq.write_table(pa.table({"a": list(range(10_000))}), file)
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2] + whole[-2_000:])

    with pytest.raises(DataRejected, match=r"x\.parquet"):
        read_source(file, ("a",))


@pytest.mark.parametrize("suffix", [".pkl", ".json", ""])
def test_only_parquet_and_csv_are_read(tmp_path: Path, suffix: str) -> None:
    (tmp_path / f"x{suffix}").write_bytes(b"cos\nsystem\n(S'true'\ntR.")

    with pytest.raises(DataRejected):
        import_data("online-retail", tmp_path / f"x{suffix}", tmp_path / "out")


def test_a_megabyte_repeated_twenty_thousand_times_costs_a_megabyte(tmp_path: Path) -> None:
    rows = 20_000  # 20 GB if it were unfolded
    names = [*online_retail.COLUMNS]
    folded = pa.DictionaryArray.from_arrays(pa.array([0] * rows, pa.int32()), ["x" * 1_000_000])
    table = pa.table(dict.fromkeys(names, folded))
    pq.write_table(table, tmp_path / "bomb.parquet", store_schema=False)
    assert (tmp_path / "bomb.parquet").stat().st_size < 10_000_000

    with pytest.raises(DataRejected, match="nothing usable"):
        import_data("online-retail", tmp_path / "bomb.parquet", tmp_path / "out")


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
@pytest.mark.parametrize(
    ("limits", "reason"),
    [
        (Limits(rows=999), "more than 999 rows"),
        (Limits(table_bytes=500), "unfolds to more than 500 bytes"),
        (Limits(file_bytes=99), "at most 99"),
    ],
)
def test_a_file_beyond_the_limits_is_refused(
    tmp_path: Path, limits: Limits, reason: str, suffix: str
) -> None:
    file = tmp_path / f"x{suffix}"
    table = pa.table({"a": list(range(1_000))})
    if suffix == ".csv":
        pacsv.write_csv(table, file)
    else:
        pq.write_table(table, file)

    with pytest.raises(DataRejected, match=reason):
        read_source(file, ("a",), limits=limits)
