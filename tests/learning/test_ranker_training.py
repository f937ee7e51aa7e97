"""Ranker training, small: it learns tastes, repeats itself exactly, and can be resumed."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.learning.tasteful_log import a_task, a_tasteful_log
from training.algorithms.item_item import ItemItemSettings, fit_neighbours
from training.algorithms.popularity import fit_popularity
from training.algorithms.ranker import CHECKPOINT, RankerSettings, train_ranker
from training.algorithms.two_tower import fit_two_tower
from training.data.snapshot import Snapshot
from training.model_folder import RANKER_WEIGHTS, write_neighbours, write_popularity
from training.models.ranker import load_ranker
from training.ranking_preparation import SetSettings, past_tables, prepare_sets
from training.split import Split, SplitSettings, time_split

SETTINGS = replace(
    RankerSettings.quick(),
    epochs=2,
    fewest_steps=30,
    sets=SetSettings(proposed_lists=300, horizon_days=1.0, past_tables=2),
)


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Steps this small lose more to waking a second thread than it gives."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> tuple[Snapshot, Path, Split]:
    """A snapshot and a model folder as the steps before the ranker leave it."""
    folder = tmp_path_factory.mktemp("ranker")
    snapshot = a_tasteful_log(folder / "snapshot", sessions=8)
    task = a_task(snapshot, epochs=1)
    split = time_split(snapshot, SplitSettings(test_share=0.15, calibration_share=0.15))
    fit_two_tower(task, folder, fingerprint="")
    write_neighbours(fit_neighbours(snapshot, before_ms=split.train_end_ms), folder)
    write_popularity(fit_popularity(snapshot, before_ms=split.train_end_ms), folder)
    return snapshot, folder, split


def trained(
    shop: tuple[Snapshot, Path, Split], settings: RankerSettings = SETTINGS
) -> dict[str, float]:
    snapshot, folder, split = shop
    schema = a_task(snapshot).schema
    return train_ranker(snapshot, folder, schema, split, seed=3, settings=settings)


def weights(folder: Path) -> dict[str, torch.Tensor]:
    state: dict[str, torch.Tensor] = torch.load(folder / RANKER_WEIGHTS, weights_only=True)
    return state


@pytest.fixture(scope="module")
def first(
    shop: tuple[Snapshot, Path, Split],
) -> tuple[dict[str, float], dict[str, torch.Tensor]]:
    """Figures and weights of one whole training."""
    return trained(shop), weights(shop[1])


def test_it_learns_whose_products_are_wanted(
    shop: tuple[Snapshot, Path, Split],
    first: tuple[dict[str, float], dict[str, torch.Tensor]],
) -> None:
    metrics, _ = first
    assert metrics["ranker click test auc"] > 0.8
    assert metrics["ranker purchase test auc"] > 0.8
    assert metrics["ranker click test ece"] < 0.1
    assert load_ranker(shop[1]).config.heads == ("click", "purchase")


class Interrupted(Exception):
    """Stands for the machine going down."""


def test_a_training_stopped_and_taken_up_again_gives_the_same_weights(
    shop: tuple[Snapshot, Path, Split],
    first: tuple[dict[str, float], dict[str, torch.Tensor]],
) -> None:
    snapshot, folder, split = shop
    _, whole = first

    def stop_in_the_second_epoch(step: str, share: float) -> None:
        if "epoch 2" in step:
            raise Interrupted

    with pytest.raises(Interrupted):
        train_ranker(
            snapshot,
            folder,
            a_task(snapshot).schema,
            split,
            seed=3,
            settings=SETTINGS,
            progress=stop_in_the_second_epoch,
        )
    assert (folder / CHECKPOINT).exists()
    trained(shop)
    assert not (folder / CHECKPOINT).exists()
    for name, tensor in weights(folder).items():
        assert torch.equal(tensor, whole[name]), name


def test_no_list_sees_neighbours_of_its_own_future(shop: tuple[Snapshot, Path, Split]) -> None:
    snapshot, _, split = shop
    settings = ItemItemSettings(neighbour_count=7)
    newest = fit_neighbours(snapshot, before_ms=split.train_end_ms, settings=settings)
    past = past_tables(snapshot, newest, split, 3)
    times_ms = np.sort(snapshot.events.times_ms[::5])
    seen = 0
    for at, table in past.groups(times_ms):
        start_ms = int(past.starts_ms[seen])
        assert times_ms[at].min() >= start_ms
        as_it_was = fit_neighbours(snapshot, before_ms=start_ms, settings=settings)
        np.testing.assert_array_equal(table.rows, as_it_was.rows)
        seen += 1
    assert seen == 4


def test_lists_before_the_first_table_are_left_out(shop: tuple[Snapshot, Path, Split]) -> None:
    snapshot, folder, split = shop
    schema = a_task(snapshot).schema
    sets = prepare_sets(snapshot, folder, schema, split, settings=SETTINGS.sets, seed=0)
    first_ms = snapshot.manifest.first_ms
    earliest_ms = first_ms + (split.train_end_ms - first_ms) // (SETTINGS.sets.past_tables + 1)
    assert sets.train.lists.moments.times_ms.min() >= earliest_ms


def test_windows_share_no_outcome(shop: tuple[Snapshot, Path, Split]) -> None:
    snapshot, folder, split = shop
    schema = a_task(snapshot).schema
    sets = prepare_sets(snapshot, folder, schema, split, settings=SETTINGS.sets, seed=0)
    assert split.in_train(sets.train.lists.certain_ms).all()
    assert split.in_calibration(sets.calibration.lists.certain_ms).all()
    assert split.in_test(sets.test.lists.certain_ms).all()
