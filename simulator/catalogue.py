"""Catalogue of the simulated shop: products with a specification, a price, and hidden qualities.

What a shop would know of its products is public here (specification, price, stock); what only the
world knows (appeal, hidden traits, true return risk) is named as hidden.

Shapes: R = P + 1 rows as in `shop.catalogue` (row 0 = no product), A attributes, Z hidden traits,
K complements.
"""

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from simulator.lexicon import (
    BRAND_ENDS,
    BRAND_STARTS,
    CATEGORIES,
    COLOURS,
    SEASONS,
    SERIES,
    STYLES,
    Department,
)
from simulator.settings import MS_PER_DAY, WorldSettings

_Number = TypeVar("_Number", bound=np.generic)

BRAND_COUNT = 120
TRAIT_COUNT = 8
COMPLEMENT_COUNT = 4
COLD_SHARE = 0.08  # products that arrive while the world runs
MATERIALS = tuple(sorted({m for c in CATEGORIES for m in c.materials}))
USES = tuple(sorted({u for c in CATEGORIES for u in c.uses}))
ATTRIBUTES = ("category", "brand", "material", "use", "season", "style", "colour")


@dataclass(frozen=True, slots=True, eq=False)
class Products:
    """Every product of the world. Row 0 is padding in every array and in `ids` and `titles`."""

    ids: tuple[str, ...]  # [R]
    titles: tuple[str, ...]  # [R]
    vocabularies: tuple[tuple[str, ...], ...]  # [A] names of each attribute's codes
    attributes: NDArray[np.int32]  # [R, A] codes, in the order of ATTRIBUTES
    complements: NDArray[np.int32]  # [R, K] rows of products that go with it
    price_minor: NDArray[np.int64]  # [R] list price
    cost_minor: NDArray[np.int64]  # [R]
    stock: NDArray[np.int64]  # [R] at the end of the world
    supply_days: NDArray[np.int32]  # [R]
    available_from_ms: NDArray[np.int64]  # [R]
    price_level: NDArray[np.float32]  # [R] log price against its category, in standard deviations
    log_price_spread: NDArray[np.float32]  # [R] that standard deviation
    appeal: NDArray[np.float32]  # [R] hidden: what makes a product sell to anybody
    exposure: NDArray[np.float32]  # [R] hidden: weight with which the old shop window showed it
    traits: NDArray[np.float32]  # [R, Z] hidden: only behaviour tells them
    return_logit: NDArray[np.float32]  # [R] hidden: category, material and the brand's fit

    @property
    def count(self) -> int:
        """P."""
        return len(self.ids) - 1

    @property
    def category(self) -> NDArray[np.int32]:
        """[R] category codes, into `lexicon.CATEGORIES`."""
        return self.attributes[:, 0]

    def names(self, attribute: str) -> list[str]:
        """[P] the attribute's names for rows 1..P."""
        at = ATTRIBUTES.index(attribute)
        names = self.vocabularies[at]
        return [names[code] for code in self.attributes[1:, at]]


@dataclass(frozen=True, slots=True, eq=False)
class _Brands:
    names: tuple[str, ...]
    department: NDArray[np.int32]  # [brands]
    price_tier: NDArray[np.float64]  # [brands] log factor
    style: NDArray[np.int32]  # [brands] house style
    fit_logit: NDArray[np.float64]  # [brands] how often its sizes disappoint
    traits: NDArray[np.float64]  # [brands, Z]
    fame: NDArray[np.float64]  # [brands] log weight


def make_products(settings: WorldSettings) -> Products:
    """The catalogue that belongs to these settings."""
    rng = np.random.default_rng([settings.seed, 1])
    brands = _make_brands(rng)
    attributes = _make_attributes(settings.product_count, brands, rng)
    category, brand = attributes[:, 0], attributes[:, 1]
    log_price = (
        np.log([c.price_minor for c in CATEGORIES])[category]
        + brands.price_tier[brand]
        + rng.normal(0.0, 0.25, category.size)
    )
    price_minor = _price_points(np.exp(log_price))
    level, spread = _price_levels(price_minor, category)
    rows = settings.product_count
    appeal = rng.normal(0.0, 0.55, rows) + 0.25 * brands.fame[brand]
    trend = rng.normal(0.0, 0.4, rows)  # shown for reasons that have nothing to do with appeal
    material_logit = rng.normal(0.0, 0.25, len(MATERIALS))
    return_logit = (
        np.array([c.return_logit for c in CATEGORIES])[category]
        + brands.fit_logit[brand]
        + material_logit[attributes[:, 2]]
        + rng.normal(0.0, 0.2, rows)
    )
    cost_share = np.clip(rng.normal(0.55, 0.05, rows) - 0.03 * brands.price_tier[brand], 0.45, 0.65)
    return Products(
        ids=("", *(f"P{row:06d}" for row in range(1, rows + 1))),
        titles=("", *_titles(attributes, brands, rng)),
        vocabularies=(
            tuple(c.name for c in CATEGORIES),
            brands.names,
            MATERIALS,
            USES,
            SEASONS,
            STYLES,
            COLOURS,
        ),
        attributes=_padded(attributes),
        complements=_padded(_complements(attributes, rng)),
        price_minor=_padded(price_minor),
        cost_minor=_padded(np.round(price_minor * cost_share).astype(np.int64)),
        stock=_padded(_stock(rows, rng)),
        supply_days=_padded(rng.integers(2, 60, rows).astype(np.int32)),
        available_from_ms=_padded(_arrivals(settings, rng)),
        price_level=_padded(level),
        log_price_spread=_padded(spread),
        appeal=_padded(appeal.astype(np.float32)),
        exposure=_padded(np.exp(0.8 * appeal + trend).astype(np.float32)),
        traits=_padded(
            (0.6 * brands.traits[brand] + 0.8 * rng.normal(size=(rows, TRAIT_COUNT))).astype(
                np.float32
            )
        ),
        return_logit=_padded(return_logit.astype(np.float32)),
    )


def _padded(values: NDArray[_Number]) -> NDArray[_Number]:
    return np.concatenate([np.zeros_like(values[:1]), values])


def _make_brands(rng: np.random.Generator) -> _Brands:
    names = sorted(f"{start} {end}" for start in BRAND_STARTS for end in BRAND_ENDS)
    chosen = rng.choice(len(names), BRAND_COUNT, replace=False)
    return _Brands(
        names=tuple(names[i] for i in chosen),
        department=np.arange(BRAND_COUNT, dtype=np.int32) % len(Department),
        price_tier=rng.normal(0.0, 0.35, BRAND_COUNT),
        style=rng.integers(0, len(STYLES), BRAND_COUNT).astype(np.int32),
        fit_logit=rng.normal(0.0, 0.35, BRAND_COUNT),
        traits=rng.normal(size=(BRAND_COUNT, TRAIT_COUNT)),
        fame=rng.normal(0.0, 1.0, BRAND_COUNT),
    )


def _make_attributes(count: int, brands: _Brands, rng: np.random.Generator) -> NDArray[np.int32]:
    """[P, A] one specification each; what is drawn stays plausible for the category and brand."""
    departments = list(Department)
    weights = rng.dirichlet(np.full(len(CATEGORIES), 6.0))
    category = rng.choice(len(CATEGORIES), count, p=weights)
    rows = np.empty((count, len(ATTRIBUTES)), dtype=np.int32)
    rows[:, 0] = category
    for code, facts in enumerate(CATEGORIES):
        at = np.flatnonzero(category == code)
        makers = np.flatnonzero(brands.department == departments.index(facts.department))
        fame = np.exp(0.6 * brands.fame[makers])
        rows[at, 1] = rng.choice(makers, at.size, p=fame / fame.sum())
        rows[at, 2] = _some_of(facts.materials, MATERIALS, at.size, rng)
        rows[at, 3] = _some_of(facts.uses, USES, at.size, rng)
        rows[at, 4] = _some_of(facts.seasons, SEASONS, at.size, rng)
    house_style = brands.style[rows[:, 1]]
    any_style = rng.integers(0, len(STYLES), count)
    rows[:, 5] = np.where(rng.random(count) < 0.6, house_style, any_style)
    rows[:, 6] = rng.integers(0, len(COLOURS), count)
    return rows


def _some_of(
    allowed: tuple[str, ...], names: tuple[str, ...], count: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    codes = np.array([names.index(name) for name in allowed])
    return codes[rng.integers(0, codes.size, count)]


def _price_points(raw_minor: NDArray[np.float64]) -> NDArray[np.int64]:
    """Prices as shops write them: x.99 below 100, whole tens less one cent above."""
    whole = np.where(raw_minor < 10_000, 100, 1_000)
    return (np.maximum(np.round(raw_minor / whole), 1) * whole).astype(np.int64) - 1


def _price_levels(
    price_minor: NDArray[np.int64], category: NDArray[np.int32]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    log_price = np.log(price_minor)
    level, spread = np.zeros(log_price.size), np.ones(log_price.size)
    for code in range(len(CATEGORIES)):
        at = category == code
        if np.count_nonzero(at) > 1:
            spread[at] = log_price[at].std()
            level[at] = (log_price[at] - log_price[at].mean()) / spread[at]
    return level.astype(np.float32), spread.astype(np.float32)


def _titles(attributes: NDArray[np.int32], brands: _Brands, rng: np.random.Generator) -> list[str]:
    """[P] e.g. "Halden Studio Alba scandinavian oak bookshelf for the office, sand"."""
    titles = []
    for category, brand, material, use, season, style, colour in attributes.tolist():
        facts = CATEGORIES[category]
        noun = facts.nouns[rng.integers(len(facts.nouns))]
        series = SERIES[rng.integers(len(SERIES))]
        time_of_year = "" if season == 0 else f" {SEASONS[season]}"
        titles.append(
            f"{brands.names[brand]} {series} {STYLES[style]} {MATERIALS[material]}{time_of_year} "
            f"{noun} for {USES[use]}, {COLOURS[colour]}"
        )
    return titles


def _complements(attributes: NDArray[np.int32], rng: np.random.Generator) -> NDArray[np.int32]:
    """[P, K] catalogue rows; a complement shares style or colour where the shop has such a one."""
    names = [c.name for c in CATEGORIES]
    related = [[names.index(n) for n in c.goes_with] for c in CATEGORIES]
    members = [np.flatnonzero(np.isin(attributes[:, 0], codes)) for codes in related]
    chosen = np.empty((len(attributes), COMPLEMENT_COUNT), dtype=np.int32)
    for at, row in enumerate(attributes):
        pool = members[row[0]]
        pool = pool[rng.integers(0, pool.size, 40)]
        kinship = (
            2.0 * (attributes[pool, 5] == row[5])
            + 1.0 * (attributes[pool, 6] == row[6])
            + 1.0 * (attributes[pool, 1] == row[1])
            + rng.random(pool.size)
        )
        kinship[np.setdiff1d(np.arange(pool.size), np.unique(pool, return_index=True)[1])] = -1.0
        chosen[at] = pool[np.argsort(-kinship)[:COMPLEMENT_COUNT]] + 1
    return chosen


def _stock(count: int, rng: np.random.Generator) -> NDArray[np.int64]:
    units = np.round(rng.lognormal(3.5, 1.0, count)).astype(np.int64)
    share = rng.random(count)
    units[share < 0.12] = rng.integers(1, 4, np.count_nonzero(share < 0.12))
    units[share < 0.05] = 0
    return units


def _arrivals(settings: WorldSettings, rng: np.random.Generator) -> NDArray[np.int64]:
    """[P] most products were there long before; a few arrive while the world runs, some today."""
    count = settings.product_count
    age_days = rng.uniform(1.0, 700.0, count)
    arrives = rng.random(count) < COLD_SHARE
    day = np.where(arrives, rng.uniform(0.1, 1.0, count) * settings.days, -age_days)
    return settings.start_ms + np.round(day * MS_PER_DAY).astype(np.int64)
