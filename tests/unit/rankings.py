"""Builds rankings for tests."""

from typing import Any

import numpy as np

from serving.recommend.ranking_record import Ranking


def a_ranking(count: int = 8, **changes: Any) -> Ranking:
    """`count` candidates of a small shop, all ranked; vectors of 4, four heads."""
    rows = np.arange(1, count + 1, dtype=np.int32)
    columns: dict[str, Any] = {
        "made_ms": 0,
        "rows": rows,
        "sources": np.ones(count, dtype=np.uint16),
        "query_scores": np.zeros((count, 0), dtype=np.float32),
        "user_vector": np.full(4, 0.5, dtype=np.float32),
        "ranked_rows": rows,
        "price_minor": rows.astype(np.int64) * 100,
        "discount": np.zeros(count, dtype=np.float32),
        "probabilities": np.full((count, 4), 0.25, dtype=np.float32),
    }
    return Ranking(**(columns | changes))
