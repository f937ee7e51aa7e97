"""Ranking: ids and request features go to the ranker, probabilities come back.

Shapes: N candidates, D vector size, H heads.
"""

import numpy as np
from numpy.typing import NDArray

from serving.recommend.call import Call
from serving.recommend.candidates import Found
from serving.recommend.fallbacks import or_fallback
from serving.recommend.history import Past
from serving.recommend.request import Degradation, Stage
from shop.errors import DependencyUnavailable
from shop.features import ShopperFeatures, candidate_values, mean_log_price
from shop.offers import Offers
from shop.scoring import Scores


async def rank(
    call: Call,
    past: Past,
    features: ShopperFeatures,
    found: Found,
    offers: Offers,
) -> Scores | None:
    """Calibrated probabilities, aligned with `found.candidates`. None if the ranker is lost."""
    candidates = found.candidates
    if len(candidates) == 0:
        return None
    within_s = call.within_s(call.deps.settings.budgets.ranking_ms)
    tables = call.deps.release.tables
    values = candidate_values(
        price_minor=offers.price_minor,
        discount=offers.discount,
        item_item=found.item_item.of(candidates.rows),
        taste_log_price=mean_log_price(past.history, tables.catalogue.list_price_minor),
    )

    async def asked() -> Scores:
        columns = await call.deps.release.ranker.probabilities(
            features,
            _vector_or_zeros(found.user_vector, tables.schema.vector_size),
            candidates.rows,
            values,
            timeout_s=within_s,
        )
        return _checked(columns, len(candidates), tables.schema.heads)

    return await or_fallback(
        asked(),
        within_s=within_s,
        fallback=None,
        stage=Stage.RANKING,
        lost=Degradation.NO_RANKING,
        losses=call.losses,
    )


def _vector_or_zeros(vector: NDArray[np.float32] | None, size: int) -> NDArray[np.float32]:
    # Without a tower the ranker still has history, context and candidates; zeros favour no product.
    return np.zeros(size, dtype=np.float32) if vector is None else vector


def _checked(columns: NDArray[np.float32], count: int, heads: tuple[str, ...]) -> Scores:
    """A bad row stays and comes last (see `expected_value`); nothing but bad rows is no answer."""
    if columns.shape != (count, len(heads)):
        raise DependencyUnavailable("triton", f"ranked {columns.shape} for {count} candidates")
    if not np.isfinite(columns).all(axis=1).any():
        raise DependencyUnavailable("triton", "no candidate has finite probabilities")
    return Scores.from_columns(heads, columns)
