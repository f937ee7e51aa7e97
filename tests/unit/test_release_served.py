"""What Triton gets to see of the repository: sound versions of one release each, nothing else."""

import shutil
from dataclasses import replace
from pathlib import Path

from serving.triton.repository import install_version, installed_versions, remove_version
from serving.triton.served import serve_sound_versions
from shop.release import MANIFEST
from shop.tensors import MODELS, RANKER, USER_TOWER
from tests.contract.small_release import KEY, SCHEMA, a_release


def a_repository(root: Path, *versions: int) -> Path:
    repository = root / "model_repository"
    for version in versions:
        folder, manifest = a_release(root / "releases", version=version, seed=version)
        install_version(folder, manifest, repository)
    return repository


def files(folder: Path) -> dict[str, tuple[int, bytes]]:
    return {
        str(path.relative_to(folder)): (path.stat().st_mtime_ns, path.read_bytes())
        for path in folder.rglob("*")
        if path.is_file()
    }


def flip_a_byte(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def test_sound_versions_are_copied_with_configuration_and_manifest(tmp_path: Path) -> None:
    repository = a_repository(tmp_path, 1, 2)
    found = serve_sound_versions(repository, tmp_path / "served", KEY)
    assert found.releases == {1: "r0001-seed1", 2: "r0002-seed2"}
    assert found.refused == {}
    assert {name: c for name, (_, c) in files(tmp_path / "served").items()} == {
        name: c for name, (_, c) in files(repository).items()
    }


def test_second_look_touches_nothing_so_that_nothing_is_loaded_again(tmp_path: Path) -> None:
    repository = a_repository(tmp_path, 1, 2)
    serve_sound_versions(repository, tmp_path / "served", KEY)
    before = files(tmp_path / "served")
    serve_sound_versions(repository, tmp_path / "served", KEY)
    assert files(tmp_path / "served") == before


def test_version_that_only_one_model_has_is_not_there_yet(tmp_path: Path) -> None:
    repository = a_repository(tmp_path, 1, 2)
    shutil.rmtree(repository / RANKER / "2")
    assert [v.version for v in installed_versions(repository)] == [1]
    assert serve_sound_versions(repository, tmp_path / "served", KEY).releases.keys() == {1}


def test_removed_version_is_taken_away(tmp_path: Path) -> None:
    repository = a_repository(tmp_path, 1, 2)
    serve_sound_versions(repository, tmp_path / "served", KEY)
    remove_version(repository, 1)
    serve_sound_versions(repository, tmp_path / "served", KEY)
    assert sorted(p.name for p in (tmp_path / "served" / RANKER).iterdir() if p.is_dir()) == ["2"]


def test_damaged_version_is_refused_and_the_others_served(tmp_path: Path) -> None:
    repository = a_repository(tmp_path, 1, 2)
    flip_a_byte(repository / USER_TOWER / "2" / "model.onnx")
    found = serve_sound_versions(repository, tmp_path / "served", KEY)
    assert found.releases.keys() == {1}
    assert "user_tower.onnx is damaged" in found.refused[2]


def test_model_damaged_after_it_was_served_stays_as_it_was(tmp_path: Path) -> None:
    repository = a_repository(tmp_path, 1)
    serve_sound_versions(repository, tmp_path / "served", KEY)
    before = files(tmp_path / "served")
    flip_a_byte(repository / RANKER / "1" / "model.onnx")
    assert serve_sound_versions(repository, tmp_path / "served", KEY).refused == {}
    assert files(tmp_path / "served") == before


def test_served_copy_that_was_damaged_is_replaced(tmp_path: Path) -> None:
    repository, served = a_repository(tmp_path, 1), tmp_path / "served"
    serve_sound_versions(repository, served, KEY)
    flip_a_byte(served / RANKER / "1" / "model.onnx")
    serve_sound_versions(repository, served, KEY)
    model = Path(RANKER) / "1" / "model.onnx"
    assert (served / model).read_bytes() == (repository / model).read_bytes()


def test_version_of_two_releases_is_refused(tmp_path: Path) -> None:
    repository = a_repository(tmp_path, 1)
    other, _ = a_release(tmp_path / "other", version=1, seed=7)
    shutil.copyfile(other / "ranker.onnx", repository / RANKER / "1" / "model.onnx")
    shutil.copyfile(other / MANIFEST, repository / RANKER / "1" / MANIFEST)
    found = serve_sound_versions(repository, tmp_path / "served", KEY)
    assert "mixes models of two releases" in found.refused[1]


def test_version_in_the_folder_of_another_is_refused(tmp_path: Path) -> None:
    repository = a_repository(tmp_path, 1)
    for model in MODELS:
        (repository / model / "1").rename(repository / model / "5")
    found = serve_sound_versions(repository, tmp_path / "served", KEY)
    assert "r0001-seed1 is version 1, but lies in folder 5" in found.refused[5]


def test_version_signed_with_another_key_is_refused(tmp_path: Path) -> None:
    found = serve_sound_versions(a_repository(tmp_path, 1), tmp_path / "served", bytes(32))
    assert "signature does not match" in found.refused[1]


def test_edited_configuration_is_refused(tmp_path: Path) -> None:
    repository = a_repository(tmp_path, 1)
    config = repository / RANKER / "config.pbtxt"
    config.write_text(config.read_text().replace("max_batch_size: 16", "max_batch_size: 0"))
    found = serve_sound_versions(repository, tmp_path / "served", KEY)
    assert "another configuration" in found.refused[1]


def test_release_with_other_tensors_stands_alone(tmp_path: Path) -> None:
    repository = a_repository(tmp_path, 1)
    schema = replace(SCHEMA, history_length=9)
    folder, manifest = a_release(tmp_path / "releases", version=2, schema=schema)
    install_version(folder, manifest, repository)
    found = serve_sound_versions(repository, tmp_path / "served", KEY)
    assert found.releases.keys() == {2}
    assert "another configuration" in found.refused[1]


def test_hidden_version_is_left_out_but_known(tmp_path: Path) -> None:
    repository, served = a_repository(tmp_path, 1, 2), tmp_path / "served"
    found = serve_sound_versions(repository, served, KEY, hidden=frozenset({2}))
    assert found.releases.keys() == {1, 2}
    assert not (served / RANKER / "2").exists()
