"""Shoppers of the simulated shop: tastes, habits and circumstances, all drawn from one seed.

A taste is a weight per attribute value (category, brand, material, use, season, style, colour),
partly shared by the segment, partly the shopper's own; a few favourite brands; a price level; and a
liking for hidden product traits. So attributes tell much of a taste, and behaviour tells the rest.

Shapes: U shoppers, G attribute values of all attributes together, Z hidden traits, C categories.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from simulator.catalogue import ATTRIBUTES, TRAIT_COUNT, Products
from simulator.lexicon import CATEGORIES, COUNTRIES, DEVICES, SEGMENTS
from simulator.settings import WorldSettings

# How strongly tastes differ per attribute (standard deviation, in logits): shared by the segment,
# and the shopper's own. Category and style lead, as they do in shops.
SEGMENT_SPREAD = dict(zip(ATTRIBUTES, (0.55, 0.15, 0.20, 0.20, 0.10, 0.35, 0.15), strict=True))
OWN_SPREAD = dict(zip(ATTRIBUTES, (1.00, 0.35, 0.35, 0.30, 0.15, 0.65, 0.40), strict=True))
TRAIT_SPREAD = 0.20  # per trait; eight of them
FAVOURITE_BRANDS = 4
FAVOURITE_BONUS = 1.0
LATE_SHARE = 0.08  # shoppers whose first visit falls into the last sixth of the world
NEVER_SHARE = 0.02  # known to the shop, never seen
_SEGMENT_PRICE = (0.0, -0.9, 0.2, 0.2, 0.4, 0.1, -0.8, 1.0)  # wanted price level, as SEGMENTS
_SEGMENT_DEALS = (1.2, 1.8, 0.9, 0.8, 0.6, 0.7, 2.4, 0.3)  # pull of a discount, as SEGMENTS


@dataclass(frozen=True, slots=True, eq=False)
class Shoppers:
    """Every shopper of the world, by 0-based row."""

    ids: tuple[str, ...]  # [U]
    segment: NDArray[np.int8]  # [U] into SEGMENTS
    country: NDArray[np.int8]  # [U] into COUNTRIES
    device: NDArray[np.int8]  # [U] into DEVICES: the one mostly used
    first_ms: NDArray[np.int64]  # [U] no visit before this
    visits_per_day: NDArray[np.float64]  # [U] 0 = never comes
    pace: NDArray[np.float32]  # [U] log factor on pauses
    taste: NDArray[np.float32]  # [U, G] logits
    taste_offsets: tuple[int, ...]  # [A] where each attribute's values begin in G
    trait_taste: NDArray[np.float32]  # [U, Z]
    price_level: NDArray[np.float32]  # [U] wanted, in the unit of Products.price_level
    deal_pull: NDArray[np.float32]  # [U] logits per 100 % off
    return_logit: NDArray[np.float32]  # [U]

    @property
    def count(self) -> int:
        """U."""
        return len(self.ids)

    def category_taste(self) -> NDArray[np.float32]:
        """[U, C]."""
        return self.taste[:, : len(CATEGORIES)]


def make_shoppers(settings: WorldSettings, products: Products) -> Shoppers:
    """The shoppers that belong to these settings and this catalogue."""
    rng = np.random.default_rng([settings.seed, 2])
    count = settings.shopper_count
    segment = rng.choice(len(SEGMENTS), count, p=rng.dirichlet(np.full(len(SEGMENTS), 20.0)))
    sizes = [len(names) for names in products.vocabularies]
    late = rng.random(count) < LATE_SHARE
    first_day = np.where(late, rng.uniform(5 / 6, 1.0, count), 0.0) * settings.days
    first_ms = settings.start_ms + (first_day * 86_400_000).astype(np.int64)
    return Shoppers(
        ids=tuple(f"U{row:07d}" for row in range(1, count + 1)),
        segment=segment.astype(np.int8),
        country=_draw(len(COUNTRIES), count, rng, skew=0.7),
        device=rng.choice(len(DEVICES), count, p=(0.58, 0.34, 0.08)).astype(np.int8),
        first_ms=first_ms,
        visits_per_day=_visits(settings, rng),
        pace=rng.normal(0.0, 0.35, count).astype(np.float32),
        taste=_tastes(segment, sizes, rng),
        taste_offsets=tuple(int(n) for n in np.cumsum([0, *sizes[:-1]])),
        trait_taste=rng.normal(0.0, TRAIT_SPREAD, (count, TRAIT_COUNT)).astype(np.float32),
        price_level=_about(_SEGMENT_PRICE, 0.7, segment, rng),
        deal_pull=np.maximum(_about(_SEGMENT_DEALS, 0.6, segment, rng), 0.0),
        return_logit=rng.normal(0.0, 0.5, count).astype(np.float32),
    )


def _about(
    means: tuple[float, ...],
    spread: float,
    segment: NDArray[np.int64],
    rng: np.random.Generator,
) -> NDArray[np.float32]:
    return (np.array(means)[segment] + rng.normal(0.0, spread, segment.size)).astype(np.float32)


def _draw(kinds: int, count: int, rng: np.random.Generator, *, skew: float) -> NDArray[np.int8]:
    weights = skew ** np.arange(kinds)
    return rng.choice(kinds, count, p=weights / weights.sum()).astype(np.int8)


def _visits(settings: WorldSettings, rng: np.random.Generator) -> NDArray[np.float64]:
    """[U] few shoppers come daily, many once a month: log-normal, mean as the settings say."""
    spread = 0.9
    habit = rng.lognormal(-0.5 * spread**2, spread, settings.shopper_count)
    habit[rng.random(settings.shopper_count) < NEVER_SHARE] = 0.0
    return np.minimum(habit * settings.sessions_per_shopper / settings.days, 2.5)


def _tastes(
    segment: NDArray[np.int64], sizes: list[int], rng: np.random.Generator
) -> NDArray[np.float32]:
    """[U, G] segment taste plus own taste, attribute by attribute."""
    parts = []
    for name, size in zip(ATTRIBUTES, sizes, strict=True):
        shared = rng.normal(0.0, SEGMENT_SPREAD[name], (len(SEGMENTS), size))
        own = rng.normal(0.0, OWN_SPREAD[name], (segment.size, size))
        if name == "brand":
            favourites = rng.integers(0, size, (segment.size, FAVOURITE_BRANDS))
            np.put_along_axis(
                own, favourites, np.take_along_axis(own, favourites, 1) + FAVOURITE_BONUS, 1
            )
        parts.append((shared[segment] + own).astype(np.float32))
    return np.concatenate(parts, axis=1)
