"""Offers: candidates with price, stock, promotion, cost and supply as of now.

Shapes: N candidates, aligned with `Candidates.rows`.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, eq=False)
class Offers:
    """What each product costs and whether it can be sold, and when that was learnt."""

    rows: NDArray[np.int64]  # [N]
    price_minor: NDArray[np.int64]  # [N] what the shopper pays, promotion included
    list_price_minor: NDArray[np.int64]  # [N] before promotion
    price_known: NDArray[np.bool_]  # [N] False: no price young enough, the product is dropped
    price_as_of_ms: NDArray[np.int64]  # [N]
    stock: NDArray[np.int64]  # [N] units; meaningless where not tracked
    stock_tracked: NDArray[np.bool_]  # [N] False: the shop does not count this product
    stock_known: NDArray[np.bool_]  # [N] False: no stock figure young enough
    stock_as_of_ms: NDArray[np.int64]  # [N]
    cost_minor: NDArray[np.int64]  # [N] what the shop pays itself
    # [N] chance that the shopper has to wait, 0..1; NaN = unknown
    backorder_risk: NDArray[np.float32]

    def __len__(self) -> int:
        return int(self.rows.size)

    @property
    def margin_minor(self) -> NDArray[np.int64]:
        """[N] what one kept sale earns."""
        return self.price_minor - self.cost_minor

    @property
    def discount(self) -> NDArray[np.float32]:
        """[N] share of the list price taken off, 0..1."""
        listed = np.maximum(self.list_price_minor, 1)
        off: NDArray[np.float64] = np.clip(1.0 - self.price_minor / listed, 0.0, 1.0)
        return off.astype(np.float32)

    def is_sellable(self, *, sell_unknown_stock: bool) -> NDArray[np.bool_]:
        """[N] priced, and not known to be gone.

        `sell_unknown_stock` decides for products whose stock figure is lost or too old.
        """
        in_stock = ~self.stock_tracked | np.where(
            self.stock_known, self.stock > 0, sell_unknown_stock
        )
        return np.asarray(self.price_known & in_stock, dtype=np.bool_)

    def taken(self, positions: NDArray[np.intp]) -> "Offers":
        """The offers at these positions, in this order."""
        return Offers(**{name: getattr(self, name)[positions] for name in Offers.__slots__})

    def followed_by(self, others: "Offers") -> "Offers":
        """These offers, then the others."""
        return Offers(
            **{
                name: np.concatenate([getattr(self, name), getattr(others, name)])
                for name in Offers.__slots__
            }
        )
