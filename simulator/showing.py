"""Showing: the old shop window, by which the world's past lists were chosen.

A mixture, slot by slot: popular products, the category that is browsed, a rough guess of taste,
complements of the last product, and uniform exploration; often the product last left in a cart as
a reminder. The order is popularity with much noise.
So the log is biased as real logs are, yet every available product can appear at every position.

Shapes: B lists, W slots drawn per list, L list length, R catalogue rows, C categories.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from simulator.catalogue import Products
from simulator.choice import NO_NEED, ChoiceModel
from simulator.lexicon import CATEGORIES

LIST_LENGTH = 24
_DRAWN = 44  # slots drawn per list: enough for LIST_LENGTH distinct ones nearly always
PLACEMENTS = ("home", "category", "search", "email", "product", "cart")
LENGTHS = np.array([24, 24, 24, 20, 20, 20])  # as PLACEMENTS
_POPULAR, _BROWSE, _TASTE, _COMPLEMENT, _UNIFORM = range(5)
# Slot mixture per placement, in that order.
_MIXTURE = np.array(
    [
        [0.22, 0.15, 0.45, 0.05, 0.13],
        [0.05, 0.55, 0.30, 0.00, 0.10],
        [0.05, 0.60, 0.25, 0.00, 0.10],
        [0.25, 0.10, 0.50, 0.05, 0.10],
        [0.08, 0.37, 0.25, 0.20, 0.10],
        [0.15, 0.15, 0.30, 0.30, 0.10],
    ]
)
REMINDED = 0.6  # lists that hold what the shopper last left in a cart
_TASTE_DRAWS = 8  # the guess keeps the best of so many, by taste seen through noise
_TASTE_NOISE = 1.0


@dataclass(frozen=True, slots=True, eq=False)
class Shelf:
    """The products that could be shown on one day, arranged for quick weighted draws."""

    rows: NDArray[np.int64]  # [available] sorted by category
    cumulative: NDArray[np.float64]  # [available] of exposure weights
    starts: NDArray[np.int64]  # [C] where a category begins
    ends: NDArray[np.int64]  # [C]
    holds: NDArray[np.bool_]  # [R] True for the available rows

    def popular(self, shape: tuple[int, ...], rng: np.random.Generator) -> NDArray[np.int64]:
        """Rows drawn by exposure."""
        return self._at(rng.random(shape) * self.cumulative[-1])

    def uniform(self, shape: tuple[int, ...], rng: np.random.Generator) -> NDArray[np.int64]:
        """Rows drawn evenly."""
        return self.rows[rng.integers(0, self.rows.size, shape)]

    def of_category(
        self, category: NDArray[np.int64], rng: np.random.Generator
    ) -> NDArray[np.int64]:
        """Rows drawn by exposure within each given category; same shape."""
        begin, end = self.starts[category], self.ends[category]
        low = np.where(begin > 0, self.cumulative[begin - 1], 0.0)
        high = np.where(end > begin, self.cumulative[end - 1], self.cumulative[-1])
        low = np.where(end > begin, low, 0.0)  # an empty category falls back to the whole shelf
        return self._at(low + rng.random(category.shape) * (high - low))

    def _at(self, mass: NDArray[np.float64]) -> NDArray[np.int64]:
        at = np.searchsorted(self.cumulative, mass, side="right")
        return self.rows[np.minimum(at, self.rows.size - 1)]


def make_shelf(products: Products, time_ms: int) -> Shelf:
    """The shelf as it stands at `time_ms`."""
    holds = products.available_from_ms <= time_ms
    holds[0] = False
    rows = np.flatnonzero(holds)
    rows = rows[np.argsort(products.category[rows], kind="stable")]
    codes = np.arange(len(CATEGORIES))
    return Shelf(
        rows,
        np.cumsum(products.exposure[rows], dtype=np.float64),
        np.searchsorted(products.category[rows], codes, side="left"),
        np.searchsorted(products.category[rows], codes, side="right"),
        holds,
    )


@dataclass(frozen=True, slots=True, eq=False)
class Lists:
    """Shown lists, padded on the right."""

    rows: NDArray[np.int64]  # [B, L] catalogue rows
    shown: NDArray[np.bool_]  # [B, L] False = padding


@dataclass(frozen=True, slots=True, eq=False)
class Occasions:
    """Who is to be shown a list, where, and what the shop window can know of the moment."""

    shopper_rows: NDArray[np.int64]  # [B]
    placement: NDArray[np.int64]  # [B] into PLACEMENTS
    need: NDArray[np.int64]  # [B] category code, or NO_NEED
    browse: NDArray[np.int64]  # [B] category to leaf through where there is no need
    anchor: NDArray[np.int64]  # [B] product looked at last, 0 = none
    left: NDArray[np.int64]  # [B] product last left in a cart, 0 = none of late


def show_lists(
    truth: ChoiceModel, shelf: Shelf, occasions: Occasions, rng: np.random.Generator
) -> Lists:
    """One list per occasion."""
    wide = (occasions.shopper_rows.size, _DRAWN)
    category = np.where(occasions.need == NO_NEED, occasions.browse, occasions.need)
    kind = _kinds(occasions.placement, rng)
    leafed = shelf.of_category(np.broadcast_to(category[:, None], wide), rng)
    drawn = np.where(kind == _BROWSE, leafed, shelf.popular(wide, rng))
    drawn[kind == _TASTE] = _guess_taste(truth, shelf, occasions, kind == _TASTE, rng)
    complements = _complements(truth.products, shelf, occasions.anchor, leafed, rng)
    drawn = np.where(kind == _COMPLEMENT, complements, drawn)
    drawn = np.where(kind == _UNIFORM, shelf.uniform(wide, rng), drawn)
    reminds = shelf.holds[occasions.left] & (rng.random(wide[0]) < REMINDED)  # row 0 is not held
    drawn[reminds, 0] = occasions.left[reminds]
    return _arranged(drawn, occasions.placement, truth.products, rng)


def _kinds(placement: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
    edges = np.cumsum(_MIXTURE, axis=1)[placement][:, None, :-1]
    return (rng.random((placement.size, _DRAWN))[:, :, None] >= edges).sum(axis=2)


def _guess_taste(
    truth: ChoiceModel,
    shelf: Shelf,
    occasions: Occasions,
    where: NDArray[np.bool_],
    rng: np.random.Generator,
) -> NDArray[np.int64]:
    """[slots where it holds] the best of a few draws, by taste seen through noise."""
    lists, _ = np.nonzero(where)
    pool = shelf.popular((lists.size, _TASTE_DRAWS), rng)
    pool[:, 0] = shelf.of_category(occasions.browse[lists], rng)
    seen = truth.taste(occasions.shopper_rows[lists], pool)
    seen = seen + _TASTE_NOISE * rng.standard_normal(pool.shape, dtype=np.float32)
    return pool[np.arange(lists.size), seen.argmax(axis=1)]


def _complements(
    products: Products,
    shelf: Shelf,
    anchor: NDArray[np.int64],
    otherwise: NDArray[np.int64],
    rng: np.random.Generator,
) -> NDArray[np.int64]:
    """[B, W] complements of the anchor; `otherwise` [B, W] where there is none to show."""
    pick = rng.integers(0, products.complements.shape[1], otherwise.shape)
    complements = products.complements[anchor[:, None], pick]  # row 0 has row 0 as complements
    return np.where(shelf.holds[complements], complements, otherwise).astype(np.int64)


def _arranged(
    drawn: NDArray[np.int64],
    placement: NDArray[np.int64],
    products: Products,
    rng: np.random.Generator,
) -> Lists:
    """Without duplicates, cut to the placement's length, roughly most popular first."""
    by_row = np.argsort(drawn, axis=1, kind="stable")
    sorted_rows = np.take_along_axis(drawn, by_row, axis=1)
    first = np.ones(drawn.shape, dtype=bool)
    first[:, 1:] = sorted_rows[:, 1:] != sorted_rows[:, :-1]
    keep = np.empty_like(first)
    np.put_along_axis(keep, by_row, first, axis=1)
    # The first distinct slots make the list, so that the mixture is not bent towards popularity.
    keep &= np.cumsum(keep, axis=1) <= LENGTHS[placement][:, None]
    noise = rng.gumbel(size=drawn.shape)
    order_score = 0.5 * np.log(products.exposure[drawn] + 1e-6) + noise
    order = np.argsort(np.where(keep, -order_score, np.inf), axis=1)[:, :LIST_LENGTH]
    return Lists(np.take_along_axis(drawn, order, axis=1), np.take_along_axis(keep, order, axis=1))
