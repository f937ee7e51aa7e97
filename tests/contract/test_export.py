"""From trained modules to a signed release, on the real torch, ONNX Runtime and FAISS."""

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import faiss
import numpy as np
import onnx
import onnxruntime
import pyarrow.parquet as pq
import pytest
import torch

from export.histories import histories_table
from export.onnx_models import check_parity, torch_answer, write_onnx
from export.prepare import lacks_search
from export.release import export_release, next_version
from export.samples import draw_samples
from serving.adapters.faiss import load_index
from serving.adapters.history_records import imported
from serving.adapters.release_files import load_tables, verify_release
from serving.adapters.release_search import load_search
from shop.errors import ReleaseRejected
from shop.events import HISTORY_LIMIT
from shop.release import (
    MANIFEST,
    RANKER_FILE,
    RELEASE_FORMAT,
    REQUIRED_FILES,
    SEARCH_FILES,
    USER_TOWER_FILE,
    Manifest,
    read_manifest,
)
from shop.search_query import parse_query
from shop.tensors import TEXT_VECTOR_SIZE, ranker_spec, user_tower_spec
from tests.contract.small_models import a_model_folder, a_snapshot
from tests.contract.small_release import a_release
from training.data.snapshot import Snapshot, load_snapshot
from training.histories import build_histories
from training.model_folder import read_neighbours, read_schema
from training.models.ranker import load_serving_ranker
from training.models.text_encoder import TextEncoder, save_text_encoder
from training.models.two_tower import load_user_tower

KEY = bytes(range(32))


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    """Snapshot, model and releases' root, one release exported."""
    root = tmp_path_factory.mktemp("export")
    snapshot = a_snapshot(root / "snapshot")
    model = a_model_folder(snapshot, root / "model")
    return root / "snapshot", model, root / "releases"


@pytest.fixture(scope="module")
def exported(folders: tuple[Path, Path, Path]) -> tuple[Path, Manifest]:
    snapshot, model, releases = folders
    steps: list[tuple[str, float]] = []
    manifest = export_release(
        model_folder=model,
        snapshot_folder=snapshot,
        releases_root=releases,
        key=KEY,
        progress=lambda step, share: steps.append((step, share)),
    )
    assert [share for _, share in steps] == sorted(share for _, share in steps)
    assert steps[-1] == ("done", 1.0)
    return releases / manifest.release, manifest


def test_release_is_whole_signed_and_named_by_version_and_snapshot(
    exported: tuple[Path, Manifest], folders: tuple[Path, Path, Path]
) -> None:
    folder, manifest = exported
    assert verify_release(folder, KEY) == manifest
    assert set(manifest.files) == set(REQUIRED_FILES)
    assert {path.name for path in folder.iterdir()} == {*REQUIRED_FILES, MANIFEST}
    assert manifest.release == f"r0001-{manifest.snapshot[-12:]}"
    assert next_version(folders[2]) == 2
    assert not list(folders[2].glob(".part-*"))


def test_metrics_of_training_and_of_export_are_in_the_manifest(
    exported: tuple[Path, Manifest],
) -> None:
    metrics = exported[1].metrics
    assert metrics["hr@10"] == 0.5
    assert metrics["parity_samples"] >= 200
    assert metrics["parity_user_tower"] < 1e-5
    assert metrics["parity_ranker"] < 1e-5
    assert metrics["index_recall@60"] == 1.0
    assert metrics["index_is_exact"] == 1.0


def test_serving_loads_tables_and_index_of_the_same_products(
    exported: tuple[Path, Manifest], folders: tuple[Path, Path, Path]
) -> None:
    folder, manifest = exported
    tables = load_tables(folder, manifest)
    snapshot = load_snapshot(folders[0])
    assert tables.catalogue.product_ids[1:].tolist() == snapshot.products["product_id"].to_pylist()
    assert tables.catalogue.currency == "EUR"
    assert not tables.catalogue.cost_known.any()
    index = load_index(folder, manifest, row_count=61, vector_size=16)
    assert (index.row_count, index.vector_size) == (61, 16)
    index.close()


def test_the_candidate_sources_have_something_to_propose(
    exported: tuple[Path, Manifest],
) -> None:
    folder, manifest = exported
    tables = load_tables(folder, manifest)
    histories = pq.read_table(folder / "histories.parquet")["user_id"].to_pylist()
    sources = tables.sources
    assert (sources.content.rows[1:, 0] > 0).all()
    assert sum(sources.user_user.of(name).rows.size > 0 for name in histories) > 1
    assert sources.wishes.sum() > 0
    assert all(np.isfinite(manifest.metrics[name]) for name in manifest.metrics)


def test_a_release_of_an_older_form_is_refused_and_says_what_to_do(
    exported: tuple[Path, Manifest],
) -> None:
    _, manifest = exported
    older = manifest.to_json().replace(f'"format": {RELEASE_FORMAT}', '"format": 1')
    with pytest.raises(ReleaseRejected, match="export it again"):
        read_manifest(older, KEY)


def test_a_model_folder_with_a_text_encoder_makes_a_searchable_release(
    folders: tuple[Path, Path, Path], tmp_path: Path
) -> None:
    snapshot, model, _ = folders
    trained = Path(shutil.copytree(model, tmp_path / "model"))
    save_text_encoder(TextEncoder().eval(), trained)
    manifest = export_release(
        model_folder=trained, snapshot_folder=snapshot, releases_root=tmp_path / "r", key=KEY
    )
    assert set(manifest.files) == {*REQUIRED_FILES, *SEARCH_FILES}
    assert manifest.is_searchable
    assert manifest.metrics["searchable_products"] == 60
    assert manifest.metrics["parity_text_encoder"] < 1e-5
    folder = tmp_path / "r" / manifest.release
    catalogue = load_tables(folder, verify_release(folder, KEY)).catalogue
    searching = load_search(folder, manifest, catalogue)
    assert searching is not None
    assert parse_query("shelf 3", searching.vocabulary).constraints
    assert (searching.index.row_count, searching.index.vector_size) == (61, TEXT_VECTOR_SIZE)
    searching.close()


def test_a_release_from_before_searching_is_told_from_products_without_titles(
    exported: tuple[Path, Manifest], folders: tuple[Path, Path, Path], tmp_path: Path
) -> None:
    assert lacks_search(exported[1], folders[0])
    a_snapshot(tmp_path / "untitled", titles=False)
    assert not lacks_search(exported[1], tmp_path / "untitled")
    assert not lacks_search(a_release(tmp_path, is_searchable=True)[1], folders[0])


def test_a_searchable_release_that_lacks_a_part_is_refused(
    folders: tuple[Path, Path, Path], tmp_path: Path
) -> None:
    _, manifest = a_release(tmp_path, is_searchable=True)
    for name in SEARCH_FILES:
        files = {file: entry for file, entry in manifest.files.items() if file != name}
        with pytest.raises(ReleaseRejected, match=f"missing {name}"):
            read_manifest(replace(manifest, files=files).signed(KEY).to_json(), KEY)
    assert not a_release(tmp_path, version=2)[1].is_searchable


@pytest.mark.parametrize("batch", [1, 2, 7])
@pytest.mark.parametrize("candidates", [1, 64, 500])
def test_graphs_answer_any_batch_and_any_number_of_candidates_like_the_modules(
    exported: tuple[Path, Manifest],
    folders: tuple[Path, Path, Path],
    batch: int,
    candidates: int,
) -> None:
    folder, model = exported[0], folders[1]
    schema = read_schema(model)
    rng = np.random.default_rng(batch * 1000 + candidates)
    samples = draw_samples(
        load_snapshot(folders[0]), schema, read_neighbours(model), count=batch, rng=rng
    )
    tower = onnxruntime.InferenceSession(folder / USER_TOWER_FILE)
    vectors = tower.run(None, samples.shoppers)[0]
    wanted = torch_answer(load_user_tower(model), user_tower_spec(schema), samples.shoppers)
    np.testing.assert_allclose(vectors, wanted, atol=1e-5)
    inputs = {
        **samples.shoppers,
        "user_vector": vectors,
        **{name: array[:, :candidates] for name, array in samples.candidates.items()},
    }
    found = onnxruntime.InferenceSession(folder / RANKER_FILE).run(None, inputs)[0]
    assert found.shape == (batch, candidates, len(schema.heads))
    wanted = torch_answer(load_serving_ranker(model), ranker_spec(schema), inputs)
    np.testing.assert_allclose(found, wanted, atol=1e-6)


def test_graph_does_not_depend_on_who_else_is_in_the_batch(
    exported: tuple[Path, Manifest], folders: tuple[Path, Path, Path]
) -> None:
    schema = read_schema(folders[1])
    samples = draw_samples(
        load_snapshot(folders[0]),
        schema,
        read_neighbours(folders[1]),
        count=16,
        rng=np.random.default_rng(4),
    )
    session = onnxruntime.InferenceSession(exported[0] / USER_TOWER_FILE)
    together = session.run(None, samples.shoppers)[0]
    for at in range(16):
        alone = session.run(None, {n: a[at : at + 1] for n, a in samples.shoppers.items()})[0]
        np.testing.assert_allclose(alone[0], together[at], atol=1e-5)


def test_graphs_hold_no_path_of_the_machine_that_made_them(
    exported: tuple[Path, Manifest],
) -> None:
    project = str(Path(__file__).resolve().parents[2])
    for name in (USER_TOWER_FILE, RANKER_FILE):
        raw = (exported[0] / name).read_bytes()
        assert project.encode() not in raw
        assert b"site-packages" not in raw
        assert onnx.load_from_string(raw).graph.input[0].type.tensor_type.shape.dim[0].dim_param


class _Off(torch.nn.Module):
    """A user tower that is not the exported one."""

    def __init__(self, real: torch.nn.Module) -> None:
        super().__init__()
        self.real = real

    def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
        return self.real(*inputs) * 1.01


def test_graph_that_differs_from_its_module_is_rejected(
    exported: tuple[Path, Manifest], folders: tuple[Path, Path, Path]
) -> None:
    schema = read_schema(folders[1])
    samples = draw_samples(
        load_snapshot(folders[0]),
        schema,
        read_neighbours(folders[1]),
        count=8,
        rng=np.random.default_rng(0),
    )
    with pytest.raises(ReleaseRejected, match=r"differs from the trained model by 9\.9e-03"):
        check_parity(
            _Off(load_user_tower(folders[1])),
            user_tower_spec(schema),
            exported[0] / USER_TOWER_FILE,
            samples.shoppers,
        )


def test_same_module_gives_the_same_bytes(
    exported: tuple[Path, Manifest], folders: tuple[Path, Path, Path], tmp_path: Path
) -> None:
    again = tmp_path / "again.onnx"
    write_onnx(load_user_tower(folders[1]), user_tower_spec(read_schema(folders[1])), again)
    assert again.read_bytes() == (exported[0] / USER_TOWER_FILE).read_bytes()


def test_model_of_another_snapshot_is_rejected_and_leaves_nothing(
    folders: tuple[Path, Path, Path], tmp_path: Path
) -> None:
    a_snapshot(tmp_path / "other", products=61)
    with pytest.raises(ReleaseRejected, match="not trained on snapshot"):
        export_release(
            model_folder=folders[1],
            snapshot_folder=tmp_path / "other",
            releases_root=tmp_path / "releases",
            key=KEY,
        )
    assert [path.name for path in (tmp_path / "releases").iterdir()] == [".export.lock"]


def test_configurations_name_the_shapes_of_this_release(exported: tuple[Path, Manifest]) -> None:
    text = (exported[0] / "user_tower.pbtxt").read_text()
    assert 'name: "history_rows" data_type: TYPE_INT64 dims: [12]' in text
    heads = len(json.loads((exported[0] / "schema.json").read_text())["heads"])
    assert re.search(
        rf'"probabilities".*dims: \[-1, {heads}\]', (exported[0] / "ranker.pbtxt").read_text()
    )


def test_histories_are_what_the_online_store_would_hold(
    exported: tuple[Path, Manifest], folders: tuple[Path, Path, Path]
) -> None:
    snapshot = load_snapshot(folders[0])
    rows = pq.read_table(exported[0] / "histories.parquet").to_pylist()
    assert [row["user_id"] for row in rows] == snapshot.user_ids.tolist()
    assert rows[3]["country"] == "DE"
    _, stored = imported(rows[3])
    wanted = build_histories(snapshot).history_at(3, 2**41)
    products = ["", *snapshot.products["product_id"].to_pylist()]
    assert stored.product_ids == tuple(products[row] for row in wanted.product_rows)
    np.testing.assert_array_equal(stored.event_codes, wanted.event_codes)
    np.testing.assert_array_equal(stored.times_ms, wanted.times_ms)
    np.testing.assert_array_equal(stored.promotions, wanted.promotions)
    assert len(stored.signals) == len(wanted.signals)
    np.testing.assert_array_equal(stored.signals.event_codes, wanted.signals.event_codes)
    np.testing.assert_array_equal(stored.signals.amounts, wanted.signals.amounts)


def test_only_the_newest_interactions_of_a_busy_shopper_are_kept(tmp_path: Path) -> None:
    snapshot: Snapshot = a_snapshot(tmp_path / "busy", shoppers=2, events=900)
    table = histories_table(snapshot)
    lengths = [len(codes) for codes in table["event_codes"].to_pylist()]
    assert lengths == [HISTORY_LIMIT, HISTORY_LIMIT]
    newest = snapshot.events.times_ms[snapshot.events.user_rows == 0][-HISTORY_LIMIT:]
    assert table["times_ms"][0].as_py() == newest.tolist()


def test_index_file_is_read_by_faiss_itself(exported: tuple[Path, Manifest]) -> None:
    index = faiss.read_index(str(exported[0] / "index.faiss"))
    vectors = np.load(exported[0] / "item_vectors.npy")
    _, rows = index.search(vectors[5:6], 1)
    assert rows[0, 0] == 5
