"""Checks: everything that will be timed, first compared with float64 on random inputs.

A search may return other rows where cosines tie within its rounding; what it may not do is return
one that is worse than what belongs in its place by more than that.

Shapes: B requests, R catalogue rows, D vector size, K nearest.
"""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from export.gpu.drawn import Shop, draw_inputs, on_device
from export.gpu.engines import Engine
from export.gpu.live_values import LiveValues
from export.gpu.search import ExactSearch
from export.gpu.shards import ShardedSearch
from export.quality_gate import MAX_NDCG_LOSS, MAX_RELATIVE_ERROR, fidelity
from shop.events import History
from shop.features import candidate_values, mean_log_price
from shop.neighbours import Neighbours, score_neighbours
from shop.tensors import ModelSpec

# Largest loss of cosine in any place. fp16 keeps eleven bits of each number: unit vectors then
# differ by up to 2e-4. Eight bits choose the candidates, so a neighbour may be missed outright.
MAX_REGRET = {"fp32": 2e-6, "fp16": 5e-4, "int8": 2e-3}
MIN_RECALL = {"fp32": 0.9999, "fp16": 0.99, "int8": 0.97}
MAX_VALUE_ERROR = 1e-5


@dataclass(frozen=True, slots=True)
class Checked:
    """One comparison with float64."""

    what: str
    measured: str
    figures: dict[str, float]
    holds: bool
    is_gate: bool = False  # a precision that loses too much is a finding, and is not used


Search = Callable[[Tensor, Any], tuple[Tensor, Tensor]]


def check_search(
    name: str,
    search: ExactSearch | ShardedSearch,
    items_RD: Tensor,
    users_BD: Tensor,
    allowed: Tensor | None,
    *,
    run: Search | None = None,
) -> Checked:
    """Rows and cosines of `run` (the search itself) against all products in float64."""
    rows, cosines = (run or search)(users_BD, search.closed_for(allowed))
    recall, regret, told_wrong = [], 0.0, 0.0
    for at, user in enumerate(users_BD.double()):
        truth = _exact(items_RD, user, None if allowed is None else _of(allowed, at))
        found = rows[at][torch.isfinite(cosines[at])]
        best = truth.topk(min(search.count, int(torch.isfinite(truth).sum())))
        if found.numel() != best.indices.numel() or found.unique().numel() != found.numel():
            return Checked(name, f"{found.numel()} rows of {best.indices.numel()}", {}, False)
        if found.numel() == 0:
            continue
        got = truth[found]
        recall.append(torch.isin(found, best.indices).double().mean().item())
        regret = max(regret, (best.values - got.sort(descending=True).values).max().item())
        told = cosines[at][torch.isfinite(cosines[at])].double()
        told_wrong = max(told_wrong, (told - got).abs().max().item())
    mean = float(np.mean(recall)) if recall else 1.0
    limit = MAX_REGRET[search.storage]
    return Checked(
        name,
        f"recall {mean:.4f}, worst place {regret:.1e}, cosines {told_wrong:.1e}",
        {"recall": mean, "regret": regret},
        mean >= MIN_RECALL[search.storage] and regret <= limit and told_wrong <= limit,
    )


def _exact(items_RD: Tensor, user_D: Tensor, allowed_R: Tensor | None) -> Tensor:
    """[R] cosines in float64, -inf where nothing may be found; in parts that memory bears."""
    truth = torch.cat([part.double() @ user_D for part in items_RD.split(1 << 20)])
    truth[0] = -torch.inf
    if allowed_R is not None:
        truth[~allowed_R] = -torch.inf
    return truth


def _of(allowed: Tensor, at: int) -> Tensor:
    return allowed if allowed.dim() == 1 else allowed[at]


def in_float64(module: nn.Module) -> nn.Module:
    """A copy that computes in float64 throughout."""
    return copy.deepcopy(module).double().eval()


def answer_in_float64(exact: nn.Module, inputs: tuple[Tensor, ...]) -> Tensor:
    """What `in_float64`'s module answers."""
    with torch.inference_mode():
        answer: Tensor = exact(
            *(each.double() if each.is_floating_point() else each for each in inputs)
        )
    return answer


def check_model(
    engine: Engine, precision: str, reference: Tensor, inputs: tuple[Tensor, ...], name: str
) -> Checked:
    """An engine's answer against the float64 one; the ranker's lists against their order too."""
    answer = engine(*inputs)
    near = fidelity(reference.cpu().numpy(), answer.cpu().numpy(), orders=reference.dim() == 3)
    holds = near.relative_error <= MAX_RELATIVE_ERROR[precision] and near.ndcg_loss <= MAX_NDCG_LOSS
    measured = f"‖Δ‖/‖ref‖ {near.relative_error:.1e}, NDCG loss {near.ndcg_loss:.1e}"
    figures = {"error": near.relative_error, "ndcg_loss": near.ndcg_loss}
    is_gate = precision != "fp32"
    return Checked(f"{name}, {engine.label}", measured, figures, holds, is_gate)


def check_values(values: LiveValues, rng: np.random.Generator, *, rounds: int = 8) -> Checked:
    """Candidate values on the device against the functions that the gateway and training use."""
    device = values.log_price_R.device
    rows = int(values.log_price_R.numel())
    prices = rng.integers(100, 100_000, rows)
    prices[0] = 0
    own = LiveValues(
        torch.from_numpy(prices).to(device),
        values.neighbour_rows_RK,
        values.neighbour_scores_RK,
    ).to(device)
    near = Neighbours(
        values.neighbour_rows_RK.cpu().numpy(), values.neighbour_scores_RK.cpu().numpy()
    )
    worst = 0.0
    for length in range(rounds):
        history = np.zeros(30, np.int64)
        if length:
            history[-3 * length :] = rng.integers(0, rows, 3 * length)  # unknown ones among them
        wanted = rng.integers(1, rows, 200)
        known = near.rows[history[history > 0]].ravel()[:150]
        wanted[: known.size] = np.where(known > 0, known, wanted[: known.size])
        told = own(
            torch.from_numpy(history[None]).to(device), torch.from_numpy(wanted[None]).to(device)
        )
        expected = _values_of_the_host(history, wanted, prices, near)
        worst = max(worst, float(np.abs(told[0].cpu().numpy() - expected).max()))
    return Checked(
        "candidate values",
        f"largest difference {worst:.1e}",
        {"error": worst},
        worst <= MAX_VALUE_ERROR,
    )


def _values_of_the_host(
    rows: NDArray[Any], wanted: NDArray[Any], prices: NDArray[Any], near: Neighbours
) -> NDArray[np.float32]:
    zeros = np.zeros(rows.size, np.int64)
    history = History(
        product_rows=rows,
        event_codes=zeros + 1,
        times_ms=zeros,
        session_mask=np.zeros(rows.size, np.bool_),
    )
    return candidate_values(
        price_minor=prices[wanted],
        discount=np.zeros(wanted.size, np.float32),
        item_item=score_neighbours(history, near).of(wanted),
        taste_log_price=mean_log_price(history, prices),
    )


def check_chain(
    name: str,
    run: Callable[..., Any],
    shop: Shop,
    search: ExactSearch,
    inputs: tuple[Tensor, ...],
    *,
    precision: str = "fp32",
) -> Checked:
    """The chain's own rows, judged by the float64 tower's vector and ranked by the float64 ranker.

    `inputs` are the shopper's tensors and `closed`.
    """
    *shopper, _ = inputs
    rows, _, probabilities = run(*inputs)
    vectors = answer_in_float64(in_float64(shop.tower), tuple(shopper))
    regret = 0.0
    for at, user in enumerate(vectors):
        truth = _exact(shop.items_RD, user, None)
        best = truth.topk(search.count).values
        regret = max(regret, (best - truth[rows[at]].sort(descending=True).values).max().item())
    values = shop.values(shopper[0], rows).double()
    wanted = answer_in_float64(in_float64(shop.ranker), (*shopper, vectors, rows, values))
    near = fidelity(wanted.cpu().numpy(), probabilities.cpu().numpy())
    # The vector itself is rounded where the tower is: a product may lose its place by as much.
    limit = MAX_RELATIVE_ERROR[precision]
    holds = regret <= max(MAX_REGRET[search.storage], limit) and near.relative_error <= limit
    return Checked(
        name,
        f"worst place {regret:.1e}, ‖Δ‖/‖ref‖ {near.relative_error:.1e},"
        f" NDCG loss {near.ndcg_loss:.1e}",
        {"regret": regret, "error": near.relative_error, "ndcg_loss": near.ndcg_loss},
        holds and near.ndcg_loss <= MAX_NDCG_LOSS,
        is_gate=precision != "fp32",
    )


def shopper_inputs(shop: Shop, batch: int, seed: int) -> tuple[Tensor, ...]:
    """The tower's inputs for `batch` drawn shoppers, on the shop's device."""
    return _drawn(shop, shop.tower_spec, batch, 1, seed)


def ranker_inputs(shop: Shop, batch: int, candidates: int, seed: int) -> tuple[Tensor, ...]:
    """The ranker's inputs for `batch` drawn shoppers, on the shop's device."""
    return _drawn(shop, shop.ranker_spec, batch, candidates, seed)


def _drawn(
    shop: Shop, spec: ModelSpec, batch: int, candidates: int, seed: int
) -> tuple[Tensor, ...]:
    drawn = draw_inputs(
        spec,
        shop.schema,
        batch=batch,
        candidates=candidates,
        row_count=shop.row_count,
        rng=np.random.default_rng(seed),
    )
    return on_device(drawn, shop.items_RD.device)
