"""`vitrine data` as its users meet it: exit status, JSON, and messages that say what to do."""

import argparse
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from shop.errors import DataRejected
from training.data.command import configure, run
from training.data.snapshot import EVENTS


def vitrine_data(*words: str | Path) -> int:
    parser = argparse.ArgumentParser()
    configure(parser)
    return run(parser.parse_args([str(word) for word in words]))


@pytest.fixture
def data(tmp_path: Path) -> Path:
    table = pa.table({"user_id": [7, 8, 8], "item_ids": [[1, 2, 3], [2, 1], [1]]})
    pq.write_table(table, tmp_path / "toys_sequences.parquet")
    return tmp_path


def test_import_prints_the_manifest_as_json(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert vitrine_data("import", "sequences", data, "--out", data / "s", "--json") == 0

    printed = json.loads(capsys.readouterr().out)
    assert printed["counts"]["events"] == 5
    assert printed["faults"] == {"user_id is there twice": 1}


def test_import_tells_counts_times_faults_and_where_bad_rows_are(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert vitrine_data("import", "sequences", data, "--out", data / "s") == 0

    printed = capsys.readouterr().out
    for expected in ("purchase", "user_id is there twice", "1999-12-30", "quarantine.jsonl"):
        assert expected in printed


def test_check_passes_what_import_wrote_and_fails_what_was_edited(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    vitrine_data("import", "sequences", data, "--out", data / "s")
    assert vitrine_data("check", data / "s") == 0
    with (data / "s" / EVENTS).open("ab") as file:
        file.write(b"!")
    capsys.readouterr()

    assert vitrine_data("check", data / "s", "--json") == 1
    assert json.loads(capsys.readouterr().out)["passed"] is False


def test_data_that_cannot_be_loaded_at_all_is_an_error(data: Path) -> None:
    with pytest.raises(DataRejected, match="InvoiceNo"):
        vitrine_data("import", "online-retail", data, "--out", data / "s")


def test_an_unknown_source_is_wrong_usage(data: Path) -> None:
    with pytest.raises(SystemExit) as stopped:
        vitrine_data("import", "ebay", data, "--out", data / "s")
    assert stopped.value.code == 2
