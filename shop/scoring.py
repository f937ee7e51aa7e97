"""Scoring: from probabilities and offers to the value that orders the list.

Shapes: N candidates.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shop.offers import Offers

HEADS = ("click", "cart", "purchase", "return")


@dataclass(frozen=True, slots=True, eq=False)
class Scores:
    """Calibrated probabilities per candidate, as if shown at the top of the list.

    click, cart and purchase are per impression; return is given that the product was purchased.
    None where the data had no such labels.
    """

    purchase: NDArray[np.float32]  # [N]
    click: NDArray[np.float32] | None = None  # [N]
    cart: NDArray[np.float32] | None = None  # [N]
    return_risk: NDArray[np.float32] | None = None  # [N]

    @staticmethod
    def from_columns(heads: tuple[str, ...], columns: NDArray[np.float32]) -> "Scores":
        """From the ranker's output [N, H], columns named by `heads`; purchase must be there."""
        by_head = {head: columns[:, at] for at, head in enumerate(heads)}
        return Scores(
            purchase=by_head["purchase"],
            click=by_head.get("click"),
            cart=by_head.get("cart"),
            return_risk=by_head.get("return"),
        )

    def columns(self, heads: tuple[str, ...]) -> NDArray[np.float32]:
        """[N, H] as `from_columns` takes them; NaN for a head that is absent."""
        by_head = {
            "purchase": self.purchase,
            "click": self.click,
            "cart": self.cart,
            "return": self.return_risk,
        }
        columns = np.full((self.purchase.size, len(heads)), np.nan, dtype=np.float32)
        for at, head in enumerate(heads):
            found = by_head[head]
            if found is not None:
                columns[:, at] = found
        return columns


@dataclass(frozen=True, slots=True)
class ValueWeights:
    """What an outcome is worth to the shop, in minor units. Zero switches a term off."""

    satisfied_purchase_minor: (
        float  # worth of a kept purchase beyond its margin (the shopper returns)
    )
    margin_share: float  # how much of the margin counts, 0..1
    return_cost_minor: float  # handling and freight of one return
    cart_minor: float
    click_minor: float


def expected_value(scores: Scores, offers: Offers, weights: ValueWeights) -> NDArray[np.float64]:
    """[N] expected worth of showing each offer, minor units: margin after returns plus priorities.

    Not finite becomes -inf, so that one NaN cannot win the sort.
    """
    risk = np.zeros(len(offers)) if scores.return_risk is None else scores.return_risk
    kept = weights.satisfied_purchase_minor + weights.margin_share * offers.margin_minor
    value = scores.purchase * ((1.0 - risk) * kept - risk * weights.return_cost_minor)
    if scores.cart is not None:
        value = value + scores.cart * weights.cart_minor
    if scores.click is not None:
        value = value + scores.click * weights.click_minor
    return np.where(np.isfinite(value), value, -np.inf).astype(np.float64)
