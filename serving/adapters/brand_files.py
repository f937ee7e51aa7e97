"""Brand files: the trained brand-compliance model from disk."""

import zipfile
from pathlib import Path

import numpy as np

from shop.descriptions.brand import COLUMNS, BrandModel
from shop.errors import DependencyUnavailable


def read_brand(file: Path) -> BrandModel:
    """Raises DependencyUnavailable if it is missing or another model's."""
    try:
        with file.open("rb") as stream, np.load(stream, allow_pickle=False) as kept:
            weights = kept["weights"].astype(np.float32)
            model = BrandModel(weights, float(kept["bias"]), str(kept["version"]))
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise DependencyUnavailable("brand model", f"{file}: {error}") from error
    if weights.shape != (COLUMNS,) or not np.isfinite(weights).all():
        raise DependencyUnavailable("brand model", f"{file}: {weights.shape} is not [{COLUMNS}]")
    return model
