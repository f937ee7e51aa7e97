"""Product features: what the ranker knows of every product beside its two-tower vector.

Shapes: R catalogue rows, A codes, S statics.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shop.features import log_price_of
from training.data.snapshot import Snapshot
from training.model_folder import list_prices

_CODED = ("category", "brand", "material", "use", "season", "style", "colour")
_POPULARITY_FLOOR = 1e-4


@dataclass(frozen=True, slots=True, eq=False)
class ProductFeatures:
    """Codes to embed and numbers to take as they are; row 0 is all zeros."""

    codes: NDArray[np.int64]  # [R, A] the first is the row itself; 0 = unknown
    code_counts: tuple[int, ...]  # [A]
    statics: NDArray[np.float32]  # [R, S] mean 0, deviation 1


def product_features(snapshot: Snapshot, popularity: NDArray[np.float32]) -> ProductFeatures:
    """Of every catalogue row; popularity [R] as in the model folder. Empty columns are left out."""
    row_count = snapshot.products.num_rows + 1
    columns = [np.arange(row_count, dtype=np.int64)]
    for name in _CODED:
        values = [str(value or "") for value in snapshot.products[name].to_pylist()]
        code_of = {value: code for code, value in enumerate(sorted({*values} - {""}), start=1)}
        if code_of:
            codes = np.zeros(row_count, dtype=np.int64)
            codes[1:] = [code_of.get(value, 0) for value in values]
            columns.append(codes)
    prices = log_price_of(list_prices(snapshot))
    statics = np.stack([np.log(popularity + _POPULARITY_FLOOR), prices], axis=1)
    known = statics[1:]
    statics = (statics - known.mean(axis=0)) / np.maximum(known.std(axis=0), 1e-3)
    statics[0] = 0.0
    return ProductFeatures(
        np.stack(columns, axis=1),
        tuple(int(column.max()) + 1 for column in columns),
        statics.astype(np.float32),
    )
