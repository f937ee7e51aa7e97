"""Reading a release folder: nothing is used that was not signed, nothing mixed is loaded."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from serving.adapters.release_files import (
    current_release,
    load_tables,
    read_release_manifest,
    verify_release,
)
from shop.errors import NotFound, ReleaseRejected
from shop.release import MANIFEST, REQUIRED_FILES
from tests.contract.small_release import KEY, PRODUCT_COUNT, SCHEMA, a_release, sign


def test_sound_release_is_accepted(tmp_path: Path) -> None:
    folder, manifest = a_release(tmp_path)
    assert verify_release(folder, KEY) == manifest


@pytest.mark.parametrize("name", REQUIRED_FILES)
def test_one_changed_byte_in_any_file_is_noticed(tmp_path: Path, name: str) -> None:
    folder, _ = a_release(tmp_path)
    content = bytearray((folder / name).read_bytes())
    content[len(content) // 2] ^= 1
    (folder / name).write_bytes(content)
    with pytest.raises(ReleaseRejected, match=f"{name} is damaged or from another release"):
        verify_release(folder, KEY)


def test_missing_file_is_noticed(tmp_path: Path) -> None:
    folder, _ = a_release(tmp_path)
    (folder / "ranker.onnx").unlink()
    with pytest.raises(ReleaseRejected, match=r"ranker\.onnx cannot be read"):
        verify_release(folder, KEY)


def test_file_of_another_release_is_noticed(tmp_path: Path) -> None:
    folder, _ = a_release(tmp_path, version=1, seed=1)
    other, _ = a_release(tmp_path, version=2, seed=2)
    shutil.copyfile(other / "ranker.onnx", folder / "ranker.onnx")
    with pytest.raises(ReleaseRejected, match="from another release"):
        verify_release(folder, KEY)


def test_release_under_another_name_is_rejected(tmp_path: Path) -> None:
    folder, _ = a_release(tmp_path)
    renamed = folder.rename(tmp_path / "r0009-other")
    with pytest.raises(ReleaseRejected, match="not what its name says"):
        read_release_manifest(renamed, KEY)


def test_release_signed_with_another_key_is_rejected(tmp_path: Path) -> None:
    folder, _ = a_release(tmp_path, key=bytes(32))
    with pytest.raises(ReleaseRejected, match="signature"):
        verify_release(folder, KEY)


def test_folder_without_manifest_is_no_release(tmp_path: Path) -> None:
    folder, _ = a_release(tmp_path)
    (folder / MANIFEST).unlink()
    with pytest.raises(NotFound, match="holds no release"):
        verify_release(folder, KEY)


def test_tables_come_with_a_padding_row_and_coded_texts(tmp_path: Path) -> None:
    tables = load_tables(*a_release(tmp_path))
    catalogue = tables.catalogue
    assert catalogue.product_count == PRODUCT_COUNT
    assert catalogue.product_ids[:3].tolist() == ["", "p1", "p2"]
    assert catalogue.row_of["p20"] == 20
    assert catalogue.category_names == ("", "lamps")
    assert catalogue.category_codes[:4].tolist() == [0, 0, 1, 0]
    assert catalogue.brand_codes[1:].tolist() == [1] * PRODUCT_COUNT
    assert catalogue.list_price_minor[:3].tolist() == [0, 1000, 1001]
    assert catalogue.cost_known[:3].tolist() == [False, False, True]
    assert catalogue.cost_minor[:3].tolist() == [0, 0, 500]
    assert catalogue.currency == "EUR"
    assert tables.popular_rows.dtype == np.int64
    assert tables.popularity.dtype == np.float32


@pytest.mark.parametrize(
    ("name", "array"),
    [
        ("item_vectors.npy", np.zeros((5, 8), np.float32)),
        ("item_vectors.npy", np.zeros((PRODUCT_COUNT + 1, 3), np.float32)),
    ],
)
def test_signed_vectors_of_another_catalogue_or_model_are_rejected(
    tmp_path: Path, name: str, array: np.ndarray
) -> None:
    folder, manifest = a_release(tmp_path)
    np.save(folder / name, array)
    manifest = sign(folder, manifest.release, 1)
    with pytest.raises(ReleaseRejected, match="the catalogue needs"):
        load_tables(folder, manifest)


@pytest.mark.parametrize("name", ["neighbours.npz", "popularity.npz", "sources.npz"])
def test_signed_tables_of_another_catalogue_are_rejected(tmp_path: Path, name: str) -> None:
    folder, _ = a_release(tmp_path, product_count=20)
    other, _ = a_release(tmp_path, version=2, product_count=21)
    shutil.copyfile(other / name, folder / name)
    with pytest.raises(ReleaseRejected, match=f"{name}.*the catalogue needs"):
        load_tables(folder, sign(folder, folder.name, 1))


def test_table_that_cannot_be_read_is_rejected_not_crashed_on(tmp_path: Path) -> None:
    folder, _ = a_release(tmp_path)
    (folder / "catalogue.parquet").write_bytes(b"no parquet")
    with pytest.raises(ReleaseRejected, match="cannot be loaded"):
        load_tables(folder, sign(folder, folder.name, 1))


def test_active_release_is_named_by_the_pointer(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="vitrine promote"):
        current_release(tmp_path)
    (tmp_path / "CURRENT").write_text("r0001-abc\n")
    assert current_release(tmp_path) == "r0001-abc"
    (tmp_path / "CURRENT").write_text("")
    with pytest.raises(NotFound, match="is empty"):
        current_release(tmp_path)


def test_neighbour_that_is_no_product_is_rejected_before_it_can_crash_a_call(
    tmp_path: Path,
) -> None:
    folder, _ = a_release(tmp_path)
    rows = np.full((PRODUCT_COUNT + 1, 3), PRODUCT_COUNT + 1, np.int32)
    np.savez(folder / "neighbours.npz", rows=rows, scores=np.ones(rows.shape, np.float32))
    with pytest.raises(ReleaseRejected, match="rows beyond is 63, the catalogue needs 0"):
        load_tables(folder, sign(folder, folder.name, 1))


def test_release_without_a_purchase_head_is_rejected(tmp_path: Path) -> None:
    release = a_release(tmp_path, schema=replace(SCHEMA, heads=("click",)))
    with pytest.raises(ReleaseRejected, match="no purchase head"):
        load_tables(*release)
