"""The two-tower model: it learns, never breaks on a stranger, and comes out the same twice."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from shop.features import CONTEXT_VALUES, FeatureSchema
from tests.learning.tasteful_log import DAY_MS, GROUPS, START_MS, a_task, a_tasteful_log
from training.algorithms.sampled_softmax import PoolSampler, sampled_softmax
from training.algorithms.two_tower import (
    CHECKPOINT,
    TwoTowerRetriever,
    TwoTowerTask,
    fit_two_tower,
    new_two_tower,
)
from training.algorithms.two_tower_steps import (
    batch_loss,
    new_optimiser,
    shopper_tensors,
)
from training.examples import ShopperBatch, moments_at, shopper_batch
from training.model_folder import read_item_vectors
from training.models.two_tower import (
    TwoTower,
    TwoTowerConfig,
    load_two_tower,
    load_user_tower,
    serving_user_tower,
)
from training.product_tokens import product_tokens

_NOW_MS = START_MS + 50 * DAY_MS


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Steps this small lose more to waking a second thread than it gives."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> TwoTowerTask:
    return a_task(a_tasteful_log(tmp_path_factory.mktemp("log") / "snapshot"))


def a_model(task: TwoTowerTask, seed: int = 0) -> TwoTower:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return new_two_tower(task)


def a_batch(task: TwoTowerTask, users: int = 6) -> ShopperBatch:
    moments = moments_at(task.snapshot, task.schema, np.arange(users), _NOW_MS)
    return shopper_batch(task.histories, moments, task.schema)


def serving_inputs(batch: ShopperBatch) -> tuple[torch.Tensor, ...]:
    return (torch.from_numpy(batch.history_rows), *shopper_tensors(batch)[1:])


def a_stranger(schema: FeatureSchema) -> tuple[torch.Tensor, ...]:
    length = schema.history_length
    return (
        torch.zeros(1, length, dtype=torch.int64),
        torch.zeros(1, length, dtype=torch.int64),
        torch.zeros(1, length),
        torch.zeros(1, 6, dtype=torch.int64),
        torch.zeros(1, len(CONTEXT_VALUES)),
    )


def test_every_product_has_a_unit_vector_and_no_product_has_none(task: TwoTowerTask) -> None:
    vectors = a_model(task).eval().all_items()
    assert vectors.shape == (task.snapshot.products.num_rows + 1, task.schema.vector_size)
    assert not vectors[0].any()
    torch.testing.assert_close(vectors[1:].norm(dim=1), torch.ones(len(vectors) - 1))


def test_every_shopper_has_a_unit_vector(task: TwoTowerTask) -> None:
    vectors = serving_user_tower(a_model(task))(*serving_inputs(a_batch(task)))
    assert vectors.shape == (6, task.schema.vector_size)
    torch.testing.assert_close(vectors.norm(dim=1), torch.ones(6))


def test_a_stranger_gets_a_finite_unit_vector(task: TwoTowerTask) -> None:
    vector = serving_user_tower(a_model(task))(*a_stranger(task.schema))
    assert torch.isfinite(vector).all()
    torch.testing.assert_close(vector.norm(dim=1), torch.ones(1))


def test_a_stranger_among_others_gives_finite_gradients(task: TwoTowerTask) -> None:
    model = a_model(task)
    rows, events, ages, codes, values = a_stranger(task.schema)
    real = (rows > 0).float()
    model.users(model.items(rows.ravel())[None], real, events, ages, codes, values).sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)


def test_padding_changes_nothing(task: TwoTowerTask) -> None:
    tower = serving_user_tower(a_model(task))
    batch = a_batch(task)
    rows, events, ages, codes, values = serving_inputs(batch)
    cut = 5
    rows[:, :-cut], events[:, :-cut], ages[:, :-cut] = 0, 0, 0
    short = tower(rows[:, -cut:], events[:, -cut:], ages[:, -cut:], codes, values)
    torch.testing.assert_close(tower(rows, events, ages, codes, values), short)


def test_a_shopper_alone_gets_the_same_vector_as_in_a_batch(task: TwoTowerTask) -> None:
    tower = serving_user_tower(a_model(task))
    inputs = serving_inputs(a_batch(task))
    together = tower(*inputs)
    for at in range(len(together)):
        alone = tower(*(tensor[at : at + 1] for tensor in inputs))
        torch.testing.assert_close(alone[0], together[at], rtol=1e-5, atol=1e-6)


def test_serving_from_the_table_equals_the_trained_towers(task: TwoTowerTask) -> None:
    model = a_model(task).eval()
    batch = a_batch(task)
    rows = torch.from_numpy(batch.history_rows)
    history = model.items(rows.ravel()).view(*rows.shape, -1)
    trained = model.users(history, *shopper_tensors(batch))
    torch.testing.assert_close(serving_user_tower(model)(*serving_inputs(batch)), trained)


def test_a_code_without_examples_counts_as_unknown(task: TwoTowerTask) -> None:
    tower = serving_user_tower(a_model(task))
    rows, events, ages, codes, values = serving_inputs(a_batch(task))
    placement, unheard_of = 3, 6  # the log only knows "home"
    codes[:, placement] = unheard_of
    strange = tower(rows, events, ages, codes, values)
    codes[:, placement] = 0
    torch.testing.assert_close(strange, tower(rows, events, ages, codes, values))


def test_gradients_reach_every_weight(task: TwoTowerTask) -> None:
    model = a_model(task).train()
    wishes = task.wishes.epoch(np.random.default_rng(0))
    # The last batch: every shopper has a history by then.
    at = np.argsort(wishes.moments.times_ms)[-32:]
    counts = task.wishes.counts
    loss = batch_loss(
        model,
        shopper_batch(task.histories, wishes.moments.at(at), task.schema),
        wishes.wanted_rows[at],
        wishes.weights[at],
        PoolSampler(counts / counts.sum(), 16),
        np.random.default_rng(1),
        temperature=0.1,
    )
    loss.backward()
    still = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert still == []


def test_thirty_two_examples_are_learnt_by_heart(task: TwoTowerTask) -> None:
    model = a_model(task).eval()  # without dropout
    optimiser = new_optimiser(model, replace(task.settings.steps, learning_rate=1e-2))
    wishes = task.wishes.epoch(np.random.default_rng(0))
    at = np.arange(32)
    batch = shopper_batch(task.histories, wishes.moments.at(at), task.schema)
    # Values apart from each other, so that no two shoppers look the same to the tower.
    batch = replace(
        batch, context_values=np.random.default_rng(0).random((32, len(CONTEXT_VALUES)), np.float32)
    )
    wanted = np.arange(1, 33).reshape(32, 1) % task.snapshot.products.num_rows + 1
    sampler = PoolSampler(np.full(task.wishes.counts.size, 1 / 32), 400)
    losses = []
    for step in range(80):
        optimiser.zero_grad()
        loss = batch_loss(
            model,
            batch,
            wanted,
            np.ones((32, 1), dtype=np.float32),
            sampler,
            np.random.default_rng(step),
            temperature=0.1,
        )
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[0] > 2.0
    assert losses[-1] < 0.1


def test_training_finds_the_taste_of_shoppers(task: TwoTowerTask, tmp_path: Path) -> None:
    longer = replace(task, settings=replace(task.settings, epochs=6, patience=6))
    fit_two_tower(longer, tmp_path, fingerprint="f")
    retriever = TwoTowerRetriever.of(load_two_tower(tmp_path), task.schema, task.histories)
    users = np.arange(16)
    best = retriever.best_rows(moments_at(task.snapshot, task.schema, users, _NOW_MS), 5)
    is_liked = (best - 1) % len(GROUPS) == users[:, None] % len(GROUPS)
    assert is_liked.mean() > 0.9


def weights_of(folder: Path) -> dict[str, torch.Tensor]:
    return load_two_tower(folder).state_dict()


def assert_same_weights(one: Path, other: Path) -> None:
    theirs = weights_of(other)
    for name, ours in weights_of(one).items():
        assert torch.equal(ours, theirs[name]), name


def test_the_same_seed_gives_the_same_model(task: TwoTowerTask, tmp_path: Path) -> None:
    fit_two_tower(task, tmp_path / "a", fingerprint="f")
    torch.rand(3)  # the state of the global generator must not matter
    fit_two_tower(task, tmp_path / "b", fingerprint="f")
    assert_same_weights(tmp_path / "a", tmp_path / "b")


def test_another_seed_gives_another_model(task: TwoTowerTask, tmp_path: Path) -> None:
    fit_two_tower(task, tmp_path / "a", fingerprint="f")
    fit_two_tower(replace(task, seed=1), tmp_path / "b", fingerprint="f")
    a, b = (weights_of(tmp_path / name)["users.qkv.weight"] for name in "ab")
    assert not torch.equal(a, b)


class _Interrupted(Exception):
    pass


def interrupt_after(share: float) -> None:
    def advance(done: float) -> None:
        if done > share:
            raise _Interrupted

    return advance


def test_interrupted_training_goes_on_to_the_same_end(task: TwoTowerTask, tmp_path: Path) -> None:
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    fit_two_tower(task, whole, fingerprint="f")
    with pytest.raises(_Interrupted):
        fit_two_tower(task, stopped, fingerprint="f", advance=interrupt_after(0.6))
    assert (stopped / CHECKPOINT).exists()
    seen: list[float] = []
    fit_two_tower(task, stopped, fingerprint="f", advance=seen.append)
    assert min(seen) > 0.5  # the first of two epochs was not repeated
    assert_same_weights(whole, stopped)
    assert not (stopped / CHECKPOINT).exists()


def test_a_checkpoint_of_other_settings_is_not_continued(
    task: TwoTowerTask, tmp_path: Path
) -> None:
    with pytest.raises(_Interrupted):
        fit_two_tower(task, tmp_path, fingerprint="old", advance=interrupt_after(0.6))
    seen: list[float] = []
    fit_two_tower(task, tmp_path, fingerprint="new", advance=seen.append)
    assert min(seen) < 0.5


def test_what_is_written_is_what_was_trained(task: TwoTowerTask, tmp_path: Path) -> None:
    fit_two_tower(task, tmp_path, fingerprint="f")
    vectors = read_item_vectors(tmp_path)
    tower = load_user_tower(tmp_path)
    np.testing.assert_array_equal(vectors, tower.items_RD.numpy())
    assert vectors.dtype == np.float32


def test_a_product_nobody_wanted_lives_from_its_content(task: TwoTowerTask) -> None:
    model = a_model(task).eval()
    model.items.is_warm_R[3] = 0.0
    before = model.all_items().clone()
    with torch.no_grad():
        model.items.ids.weight[3] += 5.0
    torch.testing.assert_close(model.all_items()[3], before[3])


def test_products_alike_share_tokens(task: TwoTowerTask) -> None:
    tokens = product_tokens(task.snapshot, 16_384).tokens
    words = [set(tokens[row][tokens[row] > 0].tolist()) for row in (1, 5, 2)]
    assert len(words[0] & words[1]) > len(words[0] & words[2])
    assert not tokens[0].any()


def test_inclusion_in_the_pool_is_what_the_sampler_says() -> None:
    random = np.random.default_rng(0)
    shares = np.array([0.0, 0.5, 0.3, 0.15, 0.04, 0.01])
    sampler = PoolSampler(shares, uniform_count=2)
    drawn = np.zeros(shares.size)
    rounds = 4_000
    promised = np.zeros(shares.size)
    for _ in range(rounds):
        pool = sampler.draw(random.choice(6, (2, 2), p=shares), random)
        drawn[pool.rows] += 1
        promised[pool.rows] = np.exp(pool.log_inclusion)
    np.testing.assert_allclose(drawn[1:] / rounds, promised[1:], atol=0.03)


def test_correction_makes_the_pool_estimate_the_whole_softmax() -> None:
    random = np.random.default_rng(0)
    count = 400
    shares = np.append(0.0, 1.0 / np.arange(1, count + 1))
    shares /= shares.sum()
    logits = np.append(0.0, random.normal(size=count))
    sampler = PoolSampler(shares, uniform_count=40)
    corrected, plain = [], []
    for _ in range(1_000):
        pool = sampler.draw(random.choice(count + 1, (8, 4), p=shares), random)
        corrected.append(np.exp(logits[pool.rows] - pool.log_inclusion).sum())
        plain.append(np.exp(logits[pool.rows]).sum())
    whole = np.exp(logits[1:]).sum()
    assert np.mean(corrected) == pytest.approx(whole, rel=0.03)
    assert np.mean(plain) < 0.5 * whole


def test_over_the_whole_catalogue_the_loss_is_the_softmax() -> None:
    similarity = torch.randn(3, 7, generator=torch.Generator().manual_seed(0))
    wanted = torch.tensor([[1], [4], [6]])
    loss = sampled_softmax(similarity, wanted, torch.ones(3, 1), torch.zeros(7), temperature=0.5)
    expected = torch.nn.functional.cross_entropy(similarity / 0.5, wanted[:, 0])
    torch.testing.assert_close(loss, expected)


def test_other_wishes_of_a_shopper_are_not_negatives() -> None:
    similarity = torch.tensor([[0.0, 9.0, 0.0]])
    wanted = torch.tensor([[0, 1]])
    loss = sampled_softmax(
        similarity, wanted, torch.tensor([[1.0, 1e-9]]), torch.zeros(3), temperature=1.0
    )
    torch.testing.assert_close(loss, torch.tensor(np.log(2.0), dtype=torch.float32))


def test_configuration_survives_json() -> None:
    config = TwoTowerConfig(9, 3, 16, 5, (2, 3), 4)
    raw = {name: getattr(config, name) for name in TwoTowerConfig.__slots__}
    raw["context_code_counts"] = [2, 3]
    assert TwoTowerConfig.from_json(raw) == config
