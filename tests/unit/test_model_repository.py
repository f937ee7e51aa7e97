"""The folder that Triton loads from: looked at while promotion changes it."""

import shutil
import threading
import time
from pathlib import Path

from serving.triton.repository import CONFIG, MODEL, installed_versions
from shop.release import MANIFEST
from shop.tensors import MODELS


def put_in(repository: Path, name: str) -> None:
    for model in MODELS:
        folder = repository / model / name
        folder.mkdir(parents=True, exist_ok=True)
        (repository / model / CONFIG).write_text("config")
        (folder / MODEL).write_text("model")
        (folder / MANIFEST).write_text("manifest")


def test_folder_that_only_looks_like_a_version_is_none(tmp_path: Path) -> None:
    put_in(tmp_path, "3")
    put_in(tmp_path, "2.before")
    assert [found.version for found in installed_versions(tmp_path)] == [3]


def test_version_taken_out_while_it_is_looked_at_harms_nobody(tmp_path: Path) -> None:
    put_in(tmp_path, "1")
    is_over = threading.Event()

    def come_and_go() -> None:
        while not is_over.is_set():
            put_in(tmp_path, "2")
            for model in MODELS:
                shutil.rmtree(tmp_path / model / "2")

    promoting = threading.Thread(target=come_and_go)
    promoting.start()
    try:
        until = time.monotonic() + 0.3
        while time.monotonic() < until:
            assert 1 in {found.version for found in installed_versions(tmp_path)}
    finally:
        is_over.set()
        promoting.join()
