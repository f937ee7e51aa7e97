"""Histories on LMDB: what is LMDB's own. What all stores have in common: test_history_stores."""

import subprocess
import sys
from pathlib import Path

import pytest

from serving.adapters.lmdb import LmdbHistories
from shop.errors import DependencyUnavailable
from tests.unit.feedback_writer import an_event

ROOT = Path(__file__).resolve().parents[2]


def test_a_full_store_says_which_setting_helps(tmp_path: Path) -> None:
    store = LmdbHistories(tmp_path / "small", map_bytes=1 << 17, max_shoppers=10**6)

    def fill() -> None:
        for number in range(1_000):
            with store.writing() as changes:
                changes.apply([an_event(str(number), shopper=f"u{number}")])

    with pytest.raises(DependencyUnavailable, match=r"feedback\.history_map_bytes"):
        fill()
    store.close()


def test_another_process_sees_what_was_committed(tmp_path: Path) -> None:
    store = LmdbHistories(tmp_path / "h.lmdb", map_bytes=1 << 26, max_shoppers=9)
    with store.writing() as changes:
        changes.apply([an_event("a")])
    reader = (
        "import asyncio, pathlib, sys;"
        "from serving.adapters.lmdb import LmdbHistories;"
        "store = LmdbHistories(pathlib.Path(sys.argv[1]), map_bytes=1 << 26, max_shoppers=9);"
        "print(asyncio.run(store.of('ada', timeout_s=1)).product_ids)"
    )
    found = subprocess.run(
        [sys.executable, "-c", reader, str(tmp_path / "h.lmdb")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    assert found.stdout.strip() == "('lamp-1',)"
    store.close()
