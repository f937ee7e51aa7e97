"""Cost and supply: the live figures, what holds without them, and when a system is asked at all."""

from dataclasses import replace

import numpy as np
import pytest

from serving.recommend.request import Degradation
from serving.recommend.settings import OfferSettings
from tests.unit.small_shop import a_catalogue
from tests.unit.test_lookups import LOST, ROWS, Shelf, a_shelf

ALL = np.arange(1, 21)


def risks(shelf: Shelf, rows: np.ndarray = ROWS) -> list[float | None]:
    found = shelf.look_up(rows).backorder_risk
    assert found.dtype == np.float32
    return [None if np.isnan(risk) else round(float(risk), 4) for risk in found]


def test_the_cost_system_s_figure_counts_before_the_catalogue_s() -> None:
    shelf = a_shelf()
    shelf.costs.cost_minor = {"p1": 321}
    offers = shelf.look_up()
    assert offers.cost_minor.tolist() == [500, 321, 500]  # the catalogue says 500
    assert offers.margin_minor.tolist() == [800, 779, 700]
    assert shelf.lost() == set()


def test_a_lost_cost_is_the_last_known_one_then_the_catalogue_s_then_a_usual_margin() -> None:
    catalogue = a_catalogue(20)
    known = catalogue.cost_known.copy()
    known[1] = False
    shelf = a_shelf(OfferSettings(default_margin=0.4), replace(catalogue, cost_known=known))
    shelf.costs.cost_minor = {"p1": 321, "p2": 322}
    assert shelf.look_up().cost_minor.tolist() == [500, 321, 322]
    shelf.costs.failure = LOST
    shelf.time.pass_ms(86_000_000)
    assert shelf.look_up().cost_minor.tolist() == [500, 321, 322]
    assert shelf.lost() == {Degradation.DEFAULT_OFFER}
    shelf.time.pass_ms(1_000_000)
    assert shelf.look_up().cost_minor.tolist() == [500, 660, 500]


@pytest.mark.parametrize("nonsense", [-1, 10**13])
def test_a_senseless_cost_is_none_for_its_product(nonsense: int) -> None:
    shelf = a_shelf()
    shelf.costs.cost_minor = {**{f"p{row}": 400 for row in ALL}, "p1": nonsense}
    assert shelf.look_up(ALL).cost_minor.tolist() == [500, *[400] * 19]
    assert shelf.lost() == set()


def test_mostly_senseless_costs_are_a_lost_system() -> None:
    shelf = a_shelf()
    shelf.costs.cost_minor = {f"p{row}": 400 for row in ALL}
    shelf.look_up(ALL)
    shelf.costs.cost_minor = {f"p{row}": -5 for row in ALL}
    shelf.time.pass_ms(11_000)
    assert shelf.look_up(ALL).cost_minor.tolist() == [400] * 20
    assert shelf.lost() == {Degradation.DEFAULT_OFFER}


def test_a_product_that_the_supply_system_does_not_know_has_no_risk_and_nothing_is_lost() -> None:
    shelf = a_shelf()
    shelf.supply.risk_and_days = {"p1": (0.25, 14.0)}
    assert risks(shelf) == [None, 0.25, None]
    assert shelf.lost() == set()


def test_a_wait_that_hides_in_the_freight_is_no_risk() -> None:
    shelf = a_shelf(OfferSettings(backorder_patience_days=3.0))
    shelf.supply.risk_and_days = {"p1": (0.9, 3.0), "p2": (0.9, 3.5), "p3": (0.9, float("inf"))}
    assert risks(shelf) == [0.9, 0.0, 0.9]


@pytest.mark.parametrize(
    ("risk", "days"),
    [(float("nan"), 5.0), (-0.1, 5.0), (1.1, 5.0), (0.5, -1.0), (0.5, float("nan"))],
)
def test_a_senseless_risk_is_unknown_for_its_product(risk: float, days: float) -> None:
    shelf = a_shelf()
    shelf.supply.risk_and_days = {"p1": (risk, days), "p2": (0.5, 5.0), "p3": (0.5, 5.0)}
    assert risks(shelf) == [0.5, None, 0.5]


def test_a_lost_risk_is_the_last_known_one_then_unknown() -> None:
    shelf = a_shelf()
    shelf.supply.risk_and_days = {"p1": (0.5, 9.0)}
    assert risks(shelf) == [None, 0.5, None]
    shelf.supply.stalls = True
    shelf.time.pass_ms(3_599_000)
    assert risks(shelf) == [None, 0.5, None]
    assert shelf.lost() == {Degradation.DEFAULT_OFFER}
    shelf.time.pass_ms(2_000)
    assert risks(shelf) == [None, None, None]


def test_all_nan_from_the_supply_system_is_a_lost_system_not_a_calm_one() -> None:
    shelf = a_shelf()
    shelf.supply.risk_and_days = {f"p{row}": (0.5, 9.0) for row in ALL}
    risks(shelf, ALL)
    shelf.supply.risk_and_days = {f"p{row}": (float("nan"), 9.0) for row in ALL}
    shelf.time.pass_ms(11_000)
    assert risks(shelf, ALL) == [0.5] * 20
    assert shelf.lost() == {Degradation.DEFAULT_OFFER}


def test_slow_moving_systems_are_asked_less_often() -> None:
    shelf = a_shelf()
    for _ in range(10):
        shelf.look_up()
        shelf.time.pass_ms(2_001)
    assert (shelf.inventory.ask_count, shelf.pricing.ask_count) == (10, 10)
    assert shelf.promotions.ask_count == 4  # five seconds
    assert (shelf.costs.ask_count, shelf.supply.ask_count) == (2, 2)  # ten seconds


def test_what_one_system_answered_last_does_not_make_another_s_answer_current() -> None:
    shelf = a_shelf()
    shelf.look_up()
    shelf.inventory.failure = LOST
    shelf.time.pass_ms(2_001)
    shelf.look_up()
    assert shelf.lost() == {Degradation.STALE_STOCK}
    shelf.inventory.failure = None
    shelf.inventory.units["p1"] = 0
    assert shelf.look_up().stock.tolist() == [9, 0, 9]
    assert shelf.lost() == set()


def test_a_system_that_refuses_now_and_then_is_asked_again_and_nothing_is_lost() -> None:
    shelf = a_shelf()
    for _ in range(20):
        shelf.look_up()
        shelf.time.pass_ms(2_001)
    asked = shelf.pricing.ask_count
    shelf.pricing.refusals = 1
    shelf.look_up()
    assert shelf.lost() == set()
    assert shelf.pricing.ask_count == asked + 2
