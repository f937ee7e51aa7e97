"""The ranker: what its probabilities promise of each other, and that serving equals learning."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from shop.features import CANDIDATE_VALUES, CONTEXT_VALUES
from training.algorithms.ranker import loss_of
from training.calibration import Affine
from training.models.ranker import (
    MAX_POSITION,
    Ranker,
    RankerConfig,
    ServingRanker,
    chained,
    chained_log,
    load_ranker,
    load_serving_ranker,
    save_ranker,
)
from training.ranking_set import Batch

ROWS, LENGTH, SIZE = 40, 6, 8
ALL_HEADS = ("click", "cart", "purchase", "return")
CONTEXT_COUNTS = (4, 3, 3, 7, 25, 8)


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    """Several threads on a busy machine wait for each other longer than such small steps take."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def a_ranker(heads: tuple[str, ...] = ALL_HEADS, seed: int = 0) -> Ranker:
    torch.manual_seed(seed)
    ranker = Ranker(
        RankerConfig(
            heads,
            CONTEXT_COUNTS,
            (ROWS, 5),
            static_count=2,
            vector_size=SIZE,
            embedding_size=8,
            attention_size=8,
            expert_count=2,
            expert_hidden=16,
            expert_size=8,
            tower_size=8,
        )
    )
    products = ranker.products
    products.codes_RA.copy_(torch.stack([torch.arange(ROWS), torch.arange(ROWS) % 5], dim=1))
    products.statics_RS.copy_(torch.randn(ROWS, 2))
    products.vectors_RD.copy_(torch.nn.functional.normalize(torch.randn(ROWS, SIZE), dim=1))
    return ranker.eval()


def a_batch(lists: int = 4, candidates: int = 8, heads: int = 4, seed: int = 1) -> Batch:
    random = torch.Generator().manual_seed(seed)

    def whole(high: int, *shape: int) -> Tensor:
        return torch.randint(0, high, shape, generator=random)

    def real(*shape: int) -> Tensor:
        return torch.randn(shape, generator=random)

    events = whole(9, lists, LENGTH)
    return Batch(
        torch.where(events > 0, whole(ROWS - 1, lists, LENGTH) + 1, 0),
        events,
        real(lists, LENGTH).abs() * (events > 0),
        torch.stack([whole(count, lists) for count in CONTEXT_COUNTS], dim=1),
        real(lists, len(CONTEXT_VALUES)),
        torch.nn.functional.normalize(real(lists, SIZE), dim=1),
        whole(ROWS - 1, lists, candidates) + 1,
        real(lists, candidates, len(CANDIDATE_VALUES)),
        whole(24, lists, candidates) + 1,
        whole(2, lists, candidates, heads).to(torch.float32),
        torch.ones(lists, candidates, heads),
    )


def test_there_is_one_logit_per_head_and_candidate() -> None:
    assert a_ranker()(*a_batch().inputs()).shape == (4, 8, 4)


def test_cart_and_purchase_are_never_likelier_than_the_click() -> None:
    probabilities = chained(a_ranker()(*a_batch().inputs()), a_ranker().config.parents)
    click, cart, purchase, _ = probabilities.unbind(-1)
    assert (cart <= click).all()
    assert (purchase <= click).all()


def test_the_chain_in_logarithms_is_the_chain() -> None:
    ranker, batch = a_ranker(), a_batch()
    logits = ranker(*batch.inputs())
    on_top = torch.zeros(batch.positions.shape)
    logs = torch.stack(chained_log(logits, ranker.config, on_top), dim=-1)
    torch.testing.assert_close(torch.exp(logs), chained(logits, ranker.config.parents))


def test_down_the_list_clicks_and_what_follows_get_rarer_but_returns_do_not() -> None:
    ranker, batch = a_ranker(), a_batch()
    logits = ranker(*batch.inputs())
    low = ranker.log_examined(torch.full_like(batch.positions, 9), batch.context_codes)
    top = ranker.log_examined(torch.ones_like(batch.positions), batch.context_codes)
    below, above = (chained_log(logits, ranker.config, log) for log in (low, top))
    for head in range(3):
        assert (below[head] < above[head]).all()
    torch.testing.assert_close(below[3], above[3])


def test_the_top_and_places_outside_of_lists_are_examined_for_sure() -> None:
    ranker, batch = a_ranker(), a_batch(candidates=2)
    positions = torch.tensor([[0, 1]]).expand(4, 2)
    assert (ranker.log_examined(positions, batch.context_codes) == 0).all()


def test_very_deep_positions_are_known() -> None:
    ranker, batch = a_ranker(), a_batch(candidates=1)
    deep = torch.full((4, 1), 10 * MAX_POSITION)
    assert torch.isfinite(ranker.log_examined(deep, batch.context_codes)).all()


@pytest.mark.parametrize(
    ("heads", "parents"),
    [
        (ALL_HEADS, (None, 0, 0, None)),
        (("purchase", "return"), (None, None)),
        (("cart", "purchase"), (None, None)),
        (("click", "purchase"), (None, 0)),
        (("purchase",), (None,)),
    ],
)
def test_absent_heads_drop_out_of_the_chain(
    heads: tuple[str, ...], parents: tuple[int | None, ...]
) -> None:
    ranker = a_ranker(heads)
    assert ranker.config.parents == parents
    probabilities = ServingRanker(ranker)(*a_batch().inputs())
    assert probabilities.shape == (4, 8, len(heads))
    assert ((probabilities > 0) & (probabilities < 1)).all()


def test_gradients_reach_every_parameter() -> None:
    ranker = a_ranker()
    loss_of(ranker, a_batch(lists=16, candidates=30)).backward()
    still = [n for n, p in ranker.named_parameters() if p.grad is None or not p.grad.any()]
    assert still == []


def test_unknown_outcomes_teach_nothing() -> None:
    ranker, batch = a_ranker(), a_batch()
    batch.is_known[..., 3] = 0.0
    flipped = replace(batch, labels=batch.labels.clone())
    flipped.labels[..., 3] = 1.0 - flipped.labels[..., 3]
    assert loss_of(ranker, batch).item() == loss_of(ranker, flipped).item()


def test_the_ranker_can_learn_thirty_two_examples_by_heart() -> None:
    ranker, batch = a_ranker(("click", "purchase")).train(), a_batch(heads=2)
    batch.positions[:] = 1
    batch.labels[..., 1] *= batch.labels[..., 0]  # no purchase without a click
    optimiser = torch.optim.Adam(ranker.parameters(), lr=1e-2)
    first = loss_of(ranker, batch).item()
    for _ in range(200):
        optimiser.zero_grad()
        loss_of(ranker, batch).backward()
        optimiser.step()
    assert loss_of(ranker, batch).item() < 0.05 * first


def test_a_shopper_without_history_gets_finite_answers_and_gradients() -> None:
    ranker, batch = a_ranker(), a_batch()
    for column in (batch.history_rows, batch.history_events, batch.history_ages):
        column.zero_()
    loss = loss_of(ranker, batch)
    loss.backward()
    assert torch.isfinite(loss)
    assert all(torch.isfinite(p.grad).all() for p in ranker.parameters() if p.grad is not None)


def test_padding_in_the_history_changes_nothing() -> None:
    ranker, batch = a_ranker(), a_batch()
    longer = replace(
        batch,
        history_rows=torch.nn.functional.pad(batch.history_rows, (3, 0)),
        history_events=torch.nn.functional.pad(batch.history_events, (3, 0)),
        history_ages=torch.nn.functional.pad(batch.history_ages, (3, 0)),
    )
    torch.testing.assert_close(ranker(*longer.inputs()), ranker(*batch.inputs()))


def test_a_candidate_is_scored_alike_in_any_company() -> None:
    ranker, batch = a_ranker(), a_batch()
    alone = replace(
        batch,
        candidate_rows=batch.candidate_rows[:, 2:3],
        candidate_values=batch.candidate_values[:, 2:3],
    )
    torch.testing.assert_close(ranker(*alone.inputs()), ranker(*batch.inputs())[:, 2:3])


def test_serving_equals_the_calibrated_ranker_at_the_top_of_the_list() -> None:
    ranker, batch = a_ranker(), a_batch()
    ranker.set_calibration(tuple(Affine(0.5 + at, at - 2.0) for at in range(4)))
    top = torch.ones_like(batch.positions)
    logs = chained_log(
        ranker.calibrated(ranker(*batch.inputs())),
        ranker.config,
        ranker.log_examined(top, batch.context_codes),
    )
    served = ServingRanker(ranker)(*batch.inputs())
    torch.testing.assert_close(served, torch.exp(torch.stack(logs, dim=-1)))


def test_what_was_saved_is_what_serves(tmp_path: Path) -> None:
    ranker, batch = a_ranker(), a_batch()
    ranker.set_calibration(tuple(Affine(1.5, 0.1) for _ in range(4)))
    save_ranker(ranker, tmp_path)
    assert load_ranker(tmp_path).config == ranker.config
    served = load_serving_ranker(tmp_path)(*batch.inputs())
    torch.testing.assert_close(served, ServingRanker(ranker)(*batch.inputs()))


def test_a_known_product_without_own_embedding_still_has_its_category() -> None:
    ranker = a_ranker()
    rows = torch.tensor([7])
    own, shared = (table.weight for table in ranker.products.embeddings)
    features = ranker.products(rows, torch.zeros(1))
    torch.testing.assert_close(features[0, SIZE : SIZE + 8], shared[7 % 5])
    assert not torch.equal(ranker.products(rows), features)
    assert own[7].any()
