"""Promotion and rollback: one pointer, moved only to what is sound and is answered."""

import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from export.command import shelf_of
from export.promote import Shelf, list_releases, promote, promotions, prune_releases, rollback
from serving.adapters.release_files import current_release
from serving.triton.repository import installed_versions
from serving.triton.served import serve_sound_versions
from serving.triton.status import ModelStatus, TritonStatus, write_status
from shop.errors import NotFound, ReleaseRejected
from shop.tensors import MODELS
from tests.contract.small_release import KEY, a_release

DEADLINE_S = 10.0


def a_shelf(root: Path, *, releases: int = 3) -> Shelf:
    shelf = shelf_of(root)
    for version in range(1, releases + 1):
        a_release(shelf.releases_root, version=version, seed=version)
    return shelf


def names(shelf: Shelf) -> list[str]:
    return [entry.release for entry in list_releases(shelf, KEY)]


def served(shelf: Shelf) -> list[int]:
    return [version.version for version in installed_versions(shelf.repository)]


def a_status(*versions: int, is_ready: bool = True, reason: str = "") -> TritonStatus:
    models = tuple(
        ModelStatus(model, version, "", is_ready, reason, 0)
        for version in versions
        for model in MODELS
    )
    now_ms = time.time_ns() // 1_000_000
    return TritonStatus(
        "127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3", 1, 2, True, 0, "", models, now_ms
    )


def test_promoted_release_is_current_and_in_the_repository(tmp_path: Path) -> None:
    shelf = a_shelf(tmp_path)
    manifest = promote("r0001-seed1", shelf, KEY)
    assert current_release(shelf.releases_root) == "r0001-seed1"
    assert served(shelf) == [1]
    assert serve_sound_versions(shelf.repository, tmp_path / "served", KEY).releases == {
        1: manifest.release
    }


def test_release_before_stays_loaded_and_older_ones_go(tmp_path: Path) -> None:
    shelf = a_shelf(tmp_path)
    for release in ("r0001-seed1", "r0002-seed2", "r0003-seed3"):
        promote(release, shelf, KEY)
    assert served(shelf) == [2, 3]
    assert [p.release for p in promotions(shelf)] == ["r0001-seed1", "r0002-seed2", "r0003-seed3"]


def test_rollback_goes_to_the_one_before(tmp_path: Path) -> None:
    shelf = a_shelf(tmp_path)
    promote("r0001-seed1", shelf, KEY)
    promote("r0003-seed3", shelf, KEY)
    assert rollback(shelf, KEY).release == "r0001-seed1"
    assert current_release(shelf.releases_root) == "r0001-seed1"
    assert served(shelf) == [1, 3]


def test_rollback_to_a_named_release_brings_it_back(tmp_path: Path) -> None:
    shelf = a_shelf(tmp_path)
    for release in ("r0001-seed1", "r0002-seed2", "r0003-seed3"):
        promote(release, shelf, KEY)
    rollback(shelf, KEY, "r0001-seed1")
    assert current_release(shelf.releases_root) == "r0001-seed1"
    assert served(shelf) == [1, 3]


def test_rollback_without_anything_before_is_refused(tmp_path: Path) -> None:
    shelf = a_shelf(tmp_path)
    with pytest.raises(NotFound, match="no release was active before"):
        rollback(shelf, KEY)
    promote("r0001-seed1", shelf, KEY)
    with pytest.raises(NotFound, match="no release was active before"):
        rollback(shelf, KEY)


@pytest.mark.parametrize("release", ["r0009-none", "../releases/r0001-seed1", "", "."])
def test_release_that_is_not_there_is_refused(tmp_path: Path, release: str) -> None:
    with pytest.raises(NotFound, match="vitrine releases"):
        promote(release, a_shelf(tmp_path), KEY)


def test_damaged_release_is_refused_and_the_active_one_stays(tmp_path: Path) -> None:
    shelf = a_shelf(tmp_path)
    promote("r0001-seed1", shelf, KEY)
    (shelf.releases_root / "r0002-seed2" / "ranker.onnx").write_bytes(b"damaged")
    with pytest.raises(ReleaseRejected):
        promote("r0002-seed2", shelf, KEY)
    assert current_release(shelf.releases_root) == "r0001-seed1"
    assert served(shelf) == [1]


def test_release_that_a_running_triton_refuses_never_becomes_current(tmp_path: Path) -> None:
    shelf = a_shelf(tmp_path)
    promote("r0001-seed1", shelf, KEY)
    write_status(shelf.status_file, a_status(2, is_ready=False, reason="stub ran out of memory"))
    with pytest.raises(ReleaseRejected, match="stub ran out of memory"):
        promote("r0002-seed2", shelf, KEY, ready_within_s=0.2)
    assert current_release(shelf.releases_root) == "r0001-seed1"
    assert served(shelf) == [1]


def test_pointer_moves_only_when_a_running_triton_answers(tmp_path: Path) -> None:
    shelf = a_shelf(tmp_path)
    promote("r0001-seed1", shelf, KEY)
    write_status(shelf.status_file, a_status(1))
    promoting = threading.Thread(target=promote, args=("r0002-seed2", shelf, KEY))
    promoting.start()
    give_up_s = time.monotonic() + DEADLINE_S
    while served(shelf) != [1, 2] and time.monotonic() < give_up_s:
        promoting.join(0.01)
    assert current_release(shelf.releases_root) == "r0001-seed1"
    write_status(shelf.status_file, a_status(1, 2))
    promoting.join(DEADLINE_S)
    assert current_release(shelf.releases_root) == "r0002-seed2"


def test_status_of_a_supervisor_that_is_gone_is_not_waited_for(tmp_path: Path) -> None:
    shelf = a_shelf(tmp_path)
    write_status(shelf.status_file, replace(a_status(7), updated_ms=0))
    promote("r0001-seed1", shelf, KEY)
    assert current_release(shelf.releases_root) == "r0001-seed1"


def test_promoting_the_active_release_again_mends_the_repository(tmp_path: Path) -> None:
    shelf = a_shelf(tmp_path)
    promote("r0001-seed1", shelf, KEY)
    (shelf.repository / "ranker" / "1" / "model.onnx").write_bytes(b"damaged")
    promote("r0001-seed1", shelf, KEY)
    model = shelf.repository / "ranker" / "1" / "model.onnx"
    assert model.read_bytes() == (shelf.releases_root / "r0001-seed1/ranker.onnx").read_bytes()
    assert len(promotions(shelf)) == 1


def test_releases_are_listed_newest_first_with_what_is_wrong(tmp_path: Path) -> None:
    shelf = a_shelf(tmp_path)
    promote("r0002-seed2", shelf, KEY)
    (shelf.releases_root / "r0001-seed1" / "manifest.json").write_text("{}")
    entries = list_releases(shelf, KEY)
    assert [entry.release for entry in entries] == ["r0003-seed3", "r0002-seed2", "r0001-seed1"]
    assert [entry.is_current for entry in entries] == [False, True, False]
    assert "cannot be read" in entries[2].fault


def test_pruning_keeps_the_newest_the_active_and_the_one_before(tmp_path: Path) -> None:
    shelf = a_shelf(tmp_path, releases=6)
    promote("r0001-seed1", shelf, KEY)
    promote("r0003-seed3", shelf, KEY)
    assert prune_releases(shelf, KEY, 2) == ["r0004-seed4", "r0002-seed2"]
    assert names(shelf) == ["r0006-seed6", "r0005-seed5", "r0003-seed3", "r0001-seed1"]
