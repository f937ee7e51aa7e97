"""The main job on a small world: one call, a complete model folder, and nothing done twice."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

import vitrine
from shop.errors import DataRejected, NotFound
from shop.release import (
    CATALOGUE_FILE,
    NEIGHBOURS_FILE,
    POPULARITY_FILE,
    SCHEMA_FILE,
    VECTORS_FILE,
)
from simulator.world import WorldSettings, generate
from tests.contract.small_models import a_snapshot
from training.data.snapshot import read_snapshot_manifest
from training.data.sources import import_data
from training.main_job import train, train_all
from training.model_folder import (
    METRICS_FILE,
    RANKER_CONFIG,
    RANKER_WEIGHTS,
    TEXT_ENCODER_WEIGHTS,
    TWO_TOWER_CONFIG,
    TWO_TOWER_WEIGHTS,
    read_item_vectors,
    read_metrics,
    read_neighbours,
    read_popularity,
    read_schema,
)
from training.models.two_tower import load_user_tower
from training.settings import TrainingSettings, quick, settings_for

COMPLETE = {
    CATALOGUE_FILE,
    SCHEMA_FILE,
    NEIGHBOURS_FILE,
    POPULARITY_FILE,
    VECTORS_FILE,
    TWO_TOWER_WEIGHTS,
    TWO_TOWER_CONFIG,
    RANKER_WEIGHTS,
    RANKER_CONFIG,
    TEXT_ENCODER_WEIGHTS,
    METRICS_FILE,
}


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Steps this small lose more to waking a second thread than it gives."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def snapshot(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("world")
    generate(folder / "raw", WorldSettings.small())
    import_data("world", folder / "raw", folder / "snapshot")
    return folder / "snapshot"


@pytest.fixture(scope="module")
def settings(snapshot: Path) -> TrainingSettings:
    return quick(settings_for(read_snapshot_manifest(snapshot)))


@pytest.fixture(scope="module")
def models(
    snapshot: Path, settings: TrainingSettings, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    out = tmp_path_factory.mktemp("models") / "small"
    train_all(snapshot, out, settings=settings)
    return out


def test_the_model_folder_is_complete(models: Path) -> None:
    assert {file.name for file in models.iterdir() if file.is_file()} >= COMPLETE


def test_tables_fit_the_catalogue(models: Path, snapshot: Path) -> None:
    products = read_snapshot_manifest(snapshot).counts["products"]
    schema = read_schema(models)
    assert read_item_vectors(models).shape == (products + 1, schema.vector_size)
    assert read_neighbours(models).rows.shape[0] == products + 1
    assert sorted(read_popularity(models).popular_rows) == list(range(1, products + 1))
    assert schema.heads == ("click", "cart", "purchase", "return")


def test_the_user_tower_stands_in_the_space_of_the_item_vectors(models: Path) -> None:
    np.testing.assert_array_equal(
        load_user_tower(models).items_RD.numpy(), read_item_vectors(models)
    )


def test_two_towers_find_more_than_popularity(models: Path) -> None:
    metrics = read_metrics(models)
    assert metrics["two-tower next recall@20"] > 1.3 * metrics["popularity next recall@20"]


def test_a_second_run_repeats_nothing(
    models: Path, snapshot: Path, settings: TrainingSettings
) -> None:
    before = {file: file.stat().st_mtime_ns for file in models.glob("**/*.pt")}
    train_all(snapshot, models, settings=settings)
    assert {file: file.stat().st_mtime_ns for file in models.glob("**/*.pt")} == before


def test_a_lost_file_is_made_again(
    models: Path, snapshot: Path, settings: TrainingSettings
) -> None:
    expected = (models / NEIGHBOURS_FILE).read_bytes()
    (models / NEIGHBOURS_FILE).unlink()
    train_all(snapshot, models, settings=settings)
    assert (models / NEIGHBOURS_FILE).read_bytes() == expected


def test_interrupted_training_goes_on_and_finishes(
    snapshot: Path, settings: TrainingSettings, tmp_path: Path
) -> None:
    def interrupt(step: str, share: float) -> None:
        if share > 0.9:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train("two-tower", snapshot, tmp_path, settings=settings, progress=interrupt)
    with pytest.raises(NotFound):
        load_user_tower(tmp_path)
    shares: list[float] = []
    train(
        "two-tower",
        snapshot,
        tmp_path,
        settings=settings,
        progress=lambda step, share: shares.append(share) if "learning" in step else None,
    )
    assert min(shares) > 0.4  # the first of two epochs was not repeated
    load_user_tower(tmp_path)


def test_the_command_trains_one_algorithm_and_prints_what_it_measured(
    snapshot: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["train", "item-item", "--data", str(snapshot), "--out", str(tmp_path), "--json"]
    assert vitrine.main([*words, "--quick"]) == 0
    assert "item-item next recall@20" in json.loads(capsys.readouterr().out)
    assert not (tmp_path / TWO_TOWER_WEIGHTS).exists()


def test_a_folder_without_a_snapshot_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataRejected, match="is no snapshot"):
        train_all(tmp_path, tmp_path / "out")


def test_products_without_titles_have_no_search_and_whoever_asks_is_told(tmp_path: Path) -> None:
    a_snapshot(tmp_path / "snapshot", titles=False)
    with pytest.raises(DataRejected, match="no titles to search by"):
        train("search", tmp_path / "snapshot", tmp_path / "out")
    assert not (tmp_path / "out" / TEXT_ENCODER_WEIGHTS).exists()


def test_only_the_text_encoder_is_learnt_where_all_else_stands(
    models: Path, snapshot: Path, settings: TrainingSettings
) -> None:
    before = {file: file.stat().st_mtime_ns for file in models.glob("**/*.pt")}
    (models / TEXT_ENCODER_WEIGHTS).unlink()
    train_all(snapshot, models, settings=settings)
    after = {file: file.stat().st_mtime_ns for file in models.glob("**/*.pt")}
    assert {file.name for file in after if after[file] != before[file]} == {TEXT_ENCODER_WEIGHTS}
    assert read_metrics(models)["search embedding precision@20"] > 0.5
