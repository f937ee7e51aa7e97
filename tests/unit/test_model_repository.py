"""The folder that Triton loads from: what counts as a version in it."""

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
