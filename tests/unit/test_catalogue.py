"""The catalogue's columns, and the errors that every part of the shop raises."""

import pickle
from dataclasses import replace

import numpy as np
import pytest

from shop.errors import (
    DependencyTimeout,
    DependencyUnavailable,
    InvalidRequest,
    NotFound,
    Overloaded,
    VitrineError,
)
from tests.unit.small_shop import a_catalogue


def test_products_are_found_by_id_and_unknown_ones_are_row_zero() -> None:
    catalogue = a_catalogue(5)
    assert catalogue.rows_of(["p2", "nope", "p5", ""]).tolist() == [2, 0, 5, 0]
    assert catalogue.product_count == 5


def test_two_products_of_one_id_are_refused() -> None:
    catalogue = a_catalogue(3)
    with pytest.raises(ValueError, match="not unique"):
        replace(catalogue, product_ids=np.array(["", "a", "b", "a"]))


@pytest.mark.parametrize("column", ["category_names", "brand_names"])
def test_code_zero_must_mean_unknown(column: str) -> None:
    with pytest.raises(ValueError, match="name 0 must be"):
        replace(a_catalogue(3), **{column: ("lamps",)})


@pytest.mark.parametrize(
    "error",
    [
        InvalidRequest("filter", "wrong"),
        NotFound("no such release"),
        Overloaded("too much", 250),
        Overloaded("too much", None),
        DependencyTimeout("price", "too slow"),
        DependencyUnavailable("triton", "down"),
    ],
)
def test_errors_survive_the_pickling_between_processes(error: VitrineError) -> None:
    back = pickle.loads(pickle.dumps(error))
    assert type(back) is type(error)
    assert str(back) == str(error)
    assert back.args == error.args
