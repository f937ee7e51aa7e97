"""Live values: what the ranker is told of each candidate beyond its row, gathered on the device.

The same numbers as `shop.features.candidate_values` and `shop.neighbours.score_neighbours` make on
the host, from tables that lie in device memory, so that candidates never travel. Prices and
discounts are written by whoever follows the shop's systems. Only the history that the models see
counts here: a host that knows a longer one averages its prices over all of it.

Shapes: B requests, T history, N candidates, R catalogue rows, K neighbours of each.
"""

import torch
from torch import Tensor, nn

from shop.neighbours import REACH, RECENCY_DECAY


class LiveValues(nn.Module):
    """Built with list prices [R] and neighbours [R, K] as in `shop.neighbours.Neighbours`."""

    def __init__(
        self, list_price_minor: Tensor, neighbour_rows: Tensor, neighbour_scores: Tensor
    ) -> None:
        super().__init__()
        self.list_log_price_R: Tensor
        self.log_price_R: Tensor
        self.discount_R: Tensor
        self.neighbour_rows_RK: Tensor
        self.neighbour_scores_RK: Tensor
        listed = log_price_of(list_price_minor)
        self.register_buffer("list_log_price_R", listed)
        self.register_buffer("log_price_R", listed.clone())
        self.register_buffer("discount_R", torch.zeros_like(listed))
        self.register_buffer("neighbour_rows_RK", neighbour_rows.to(torch.int32))
        self.register_buffer("neighbour_scores_RK", neighbour_scores.float())

    def set_prices(self, rows: Tensor, price_minor: Tensor, discount: Tensor) -> None:
        """Prices that hold from now on; rows [M], the others as long."""
        self.log_price_R[rows] = log_price_of(price_minor)
        self.discount_R[rows] = discount.float()

    def forward(self, history_rows: Tensor, candidate_rows: Tensor) -> Tensor:
        """[B, N, 4] in the order of `shop.features.CANDIDATE_VALUES`; 0 for padding."""
        log_price_BN = self.log_price_R[candidate_rows]
        is_known_BT = history_rows > 0
        known_B1 = is_known_BT.sum(dim=1, keepdim=True)
        listed_BT = self.list_log_price_R[history_rows] * is_known_BT
        taste_B1 = listed_BT.sum(dim=1, keepdim=True) / known_B1.clamp(min=1)
        to_taste_BN = torch.where(known_B1 > 0, log_price_BN - taste_B1, 0.0)
        values = torch.stack(
            [
                log_price_BN,
                self.discount_R[candidate_rows],
                self._item_item(history_rows, is_known_BT, candidate_rows),
                to_taste_BN,
            ],
            dim=-1,
        )
        return values * (candidate_rows > 0).unsqueeze(-1)

    def _item_item(self, rows_BT: Tensor, is_known_BT: Tensor, wanted_BN: Tensor) -> Tensor:
        """[B, N] scores summed by row: sorted once, then two look-ups in the running sum."""
        age_BT = is_known_BT.flip(1).cumsum(dim=1).flip(1) - 1  # 0 for the most recent known one
        weight_BT = torch.where(
            is_known_BT & (age_BT < REACH), RECENCY_DECAY ** age_BT.float(), 0.0
        )
        near_BM, order = self.neighbour_rows_RK[rows_BT].flatten(1).sort(dim=1)
        scores_BM = (self.neighbour_scores_RK[rows_BT] * weight_BT[..., None]).flatten(1)
        # In float64: the difference of two sums must be 0 where a product has no score.
        sums = torch.gather(scores_BM, 1, order).double().cumsum(dim=1)
        sums = torch.nn.functional.pad(sums, (1, 0))
        wanted = wanted_BN.to(torch.int32)
        low = torch.searchsorted(near_BM, wanted, right=False)
        high = torch.searchsorted(near_BM, wanted, right=True)
        return (torch.gather(sums, 1, high) - torch.gather(sums, 1, low)).float()


def log_price_of(price_minor: Tensor) -> Tensor:
    """As `shop.features.log_price_of`."""
    return torch.log1p(price_minor.clamp(min=0).double() / 100.0).float()
