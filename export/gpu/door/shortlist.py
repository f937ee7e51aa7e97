"""Shortlist: the chain, and of its candidates the best few by value, still on the device.

Value is what is expected to be kept of a sale: price × purchase × (1 - return). The shop's own
value knows costs and priorities too; those are the host's.

Shapes: B requests, N candidates, K listed, H heads.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from export.gpu.chain import Chain
from export.gpu.checks import Checked, check_chain, shopper_inputs
from export.gpu.door.plan import DoorPlan
from export.gpu.drawn import Shop, draw_shop
from export.gpu.engines import make_engine
from export.gpu.graphs import GraphedCall
from export.gpu.search import ExactSearch, chunk_rows_for
from shop.scoring import HEADS

_PURCHASE, _RETURN = HEADS.index("purchase"), HEADS.index("return")
_CLOSED = 5  # position of the filter among a chain's inputs
_CHECKED = 4


class Shortlist(nn.Module):
    """Rows [B, K] and values [B, K], best first."""

    def __init__(self, chain: Chain, listed: int) -> None:
        super().__init__()
        self.chain, self.listed = chain, listed

    def forward(self, *inputs: Tensor) -> tuple[Tensor, Tensor]:
        """As the chain's inputs."""
        rows_BN, cosines_BN, probabilities_BNH = self.chain(*inputs)
        price_BN = torch.expm1(self.chain.values.log_price_R[rows_BN])
        value_BN = price_BN * kept_share(probabilities_BNH.float())
        value_BN = torch.where(cosines_BN > -torch.inf, value_BN, -torch.inf)
        best, at = value_BN.topk(self.listed, dim=-1)
        return torch.where(best > -torch.inf, torch.gather(rows_BN, 1, at), 0), best


def kept_share(probabilities_BNH: Tensor) -> Tensor:
    """[B, N] chance that it is bought and kept."""
    return probabilities_BNH[..., _PURCHASE] * (1 - probabilities_BNH[..., _RETURN])


class ShortlistEngine:
    """Answers batches of the host, in a few prepared sizes. For one thread at a time."""

    def __init__(self, plan: DoorPlan) -> None:
        device = torch.device(plan.device)
        self.shop: Shop = draw_shop(plan.rows, device, seed=plan.seed)
        self.batches = plan.batches
        chunk_rows = chunk_rows_for(max(plan.batches), plan.rows)
        self.search = ExactSearch(
            self.shop.items_RD, storage="fp16", count=plan.candidates, chunk_rows=chunk_rows
        )
        shop = self.shop
        self.chain = Chain(shop.tower, self.search, shop.values, shop.ranker).eval()
        self._shortlist = Shortlist(self.chain, plan.listed).eval()
        self._closed = self.search.closed_for(None)
        self._device, self._precision = device, plan.precision
        self._runs = {size: self._prepared(size) for size in plan.batches}

    def check(self) -> Checked:
        """The chain against float64, and the list against its own chain's candidates."""
        inputs = (*shopper_inputs(self.shop, _CHECKED, 5), self._closed)
        chain = make_engine(self.chain, "eager", self._precision, inputs)  # type: ignore[arg-type]
        checked = check_chain(
            "door's chain", chain, self.shop, self.search, inputs, precision=self._precision
        )
        rows, cosines, probabilities = (part.cpu() for part in chain(*inputs))
        prices = torch.expm1(self.shop.values.log_price_R.double().cpu())
        values = prices[rows] * kept_share(probabilities.double())
        wanted = values.masked_fill(torch.isinf(cosines), -torch.inf).topk(
            self._shortlist.listed, dim=-1
        )
        found_rows, found = self(tuple(part.cpu().numpy() for part in inputs[:_CLOSED]))
        near = np.allclose(found, wanted.values.numpy(), rtol=2e-2 if self._is_small else 1e-4)
        same = np.mean(
            [
                np.isin(own, np.asarray(each)).mean()
                for own, each in zip(found_rows, torch.gather(rows, 1, wanted.indices), strict=True)
            ]
        )
        measured = f"{checked.measured}; {same:.1%} of the list are its best"
        holds = checked.holds and near and bool(same >= (0.9 if self._is_small else 0.99))
        return Checked("door: chain and list", measured, checked.figures, holds)

    @property
    def _is_small(self) -> bool:
        return self._precision in ("bf16", "fp16")

    def __call__(self, columns: Sequence[NDArray[Any]]) -> tuple[NDArray[Any], NDArray[Any]]:
        """Rows [B, K] and values [B, K] of the tower's inputs [B, ...], B at most the largest.

        What a size has too many is filled with the first member, and thrown away.
        """
        count = len(columns[0])
        size = next(size for size in self.batches if size >= count)
        padding = [0] * (size - count)
        tensors = [
            torch.from_numpy(np.concatenate([column, column[padding]])).to(self._device)
            for column in columns
        ]
        rows, values = self._runs[size](*tensors, self._closed)
        return rows[:count].cpu().numpy(), values[:count].cpu().numpy()

    def _prepared(self, size: int) -> Callable[..., Any]:
        inputs = (*shopper_inputs(self.shop, size, 0), self._closed)
        engine = make_engine(self._shortlist, "eager", self._precision, inputs)  # type: ignore[arg-type]
        if self._device.type != "cuda":
            return engine
        return GraphedCall(engine, inputs, shared=[_CLOSED])
