"""Catalogue: the products of one release, as aligned columns.

Row 0 means "no product": it pads histories and candidate lists and is never shown. Real products
are rows 1..P, the same rows in the FAISS index, in the ranker's feature table and in every array.
Shapes: R = P + 1 rows.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

NO_PRODUCT = 0
# Up to here one number per catalogue row is quicker than sorting a call's few hundred rows.
DENSE_ROWS = 65_536
_FEW = 24  # below it, one comparison for each is quicker than sorting
# What a shop may tell of its products beside category and brand; each may be absent.
SPECIFICATION = ("material", "use", "season", "style", "colour")


def is_one_of(rows: NDArray[np.int64], few: NDArray[np.int64]) -> NDArray[np.bool_]:
    """[N] which of `rows` are among `few` [F]. The overhead of np.isin is most of it for a few."""
    if few.size > _FEW:
        return np.isin(rows, few)
    found = np.zeros(rows.shape, dtype=np.bool_)
    for row in few.tolist():
        found |= rows == row
    return found


@dataclass(frozen=True, slots=True, eq=False)
class CodedColumn:
    """A text attribute of every product, as codes into its names. Code 0 is "", not told."""

    codes: NDArray[np.int64]  # [R]
    names: tuple[str, ...]  # by code
    code_of: dict[str, int] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "code_of", _codes(self.names))


@dataclass(frozen=True, slots=True, eq=False)
class Catalogue:
    """Products of one release. Text columns hold "" in row 0; categories and brands are coded."""

    product_ids: NDArray[np.str_]  # [R]
    titles: NDArray[np.str_]  # [R]
    category_codes: NDArray[np.int64]  # [R] into category_names, 0 = none
    brand_codes: NDArray[np.int64]  # [R] into brand_names, 0 = none
    category_names: tuple[str, ...]  # by code: category_names[0] is ""
    brand_names: tuple[str, ...]  # by code: brand_names[0] is ""
    list_price_minor: NDArray[np.int64]  # [R] price at export, in minor units of `currency`
    cost_minor: NDArray[np.int64]  # [R] purchase cost; where unknown, settings' default margin
    cost_known: NDArray[np.bool_]  # [R]
    currency: str
    specification: Mapping[str, CodedColumn] = field(default_factory=dict)  # of SPECIFICATION
    row_of: dict[str, int] = field(init=False)
    # Every text attribute that this catalogue tells, by name: category, brand and `specification`.
    texts: dict[str, CodedColumn] = field(init=False)
    category_code_of: dict[str, int] = field(init=False)
    brand_code_of: dict[str, int] = field(init=False)

    def __post_init__(self) -> None:
        rows = {str(pid): row for row, pid in enumerate(self.product_ids.tolist()) if row > 0}
        if len(rows) != len(self.product_ids) - 1:
            raise ValueError("product ids are not unique")
        object.__setattr__(self, "row_of", rows)
        texts = {
            "category": CodedColumn(self.category_codes, self.category_names),
            "brand": CodedColumn(self.brand_codes, self.brand_names),
            **self.specification,
        }
        object.__setattr__(self, "texts", texts)
        object.__setattr__(self, "category_code_of", texts["category"].code_of)
        object.__setattr__(self, "brand_code_of", texts["brand"].code_of)

    @property
    def product_count(self) -> int:
        """P: products without the padding row."""
        return int(self.product_ids.size) - 1

    def rows_of(self, product_ids: list[str]) -> NDArray[np.int64]:
        """Rows of the named products; unknown names become row 0."""
        row_of = self.row_of
        return np.fromiter(
            (row_of.get(pid, NO_PRODUCT) for pid in product_ids), np.int64, len(product_ids)
        )


def _codes(names: tuple[str, ...]) -> dict[str, int]:
    if not names or names[0] != "":
        raise ValueError('names are not by code: name 0 must be "", unknown')
    return {name: code for code, name in enumerate(names)}
