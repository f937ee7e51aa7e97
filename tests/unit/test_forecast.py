"""The demand forecast finds what it was given: rates, weekdays, and the world's own elasticity."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from shop.errors import DataRejected
from simulator.forecast import (
    BAND_COUNT,
    Forecast,
    Sales,
    elasticities,
    forecast_demand,
    weekday_index,
)
from simulator.sales_log import forecast_beside

DAY_MS = 86_400_000
ROWS = 3  # and row 0
CODES = np.array([0, 1, 1, 2])


def some_sales(
    rows: list[int], days: list[int], units: list[float], *, day_count: int = 70, weekday: int = 0
) -> Sales:
    nothing = np.zeros((ROWS + 1, BAND_COUNT), dtype=np.int64)
    return Sales(
        np.array(rows, dtype=np.int64),
        np.array(days, dtype=np.int64),
        np.array(units),
        day_count,
        weekday,
        nothing,
        nothing,
        np.zeros(BAND_COUNT),
    )


def forecast(sales: Sales) -> Forecast:
    return forecast_demand(sales, CODES)


def test_steady_sales_are_forecast_as_they_are() -> None:
    days = list(range(70))
    found = forecast(some_sales([1] * 70, days, [3.0] * 70))
    assert found.units_per_day[1] == pytest.approx(3.0)
    assert found.found.tolist() == [False, True, False, False]
    assert found.units_per_day[2] == 0.0


def test_late_sales_weigh_more_than_early_ones() -> None:
    rising = forecast(some_sales([1] * 70, list(range(70)), [1.0] * 35 + [3.0] * 35))
    falling = forecast(some_sales([1] * 70, list(range(70)), [3.0] * 35 + [1.0] * 35))
    assert rising.units_per_day[1] > 2.5 > 1.5 > falling.units_per_day[1]


def test_days_without_a_sale_count_once_the_product_is_there() -> None:
    weekly = list(range(0, 70, 7))
    found = forecast(some_sales([1] * len(weekly), weekly, [7.0] * len(weekly)))
    assert found.units_per_day[1] == pytest.approx(1.0, rel=0.4)
    new = forecast(some_sales([1, 1, 1], [67, 68, 69], [2.0, 2.0, 2.0]))
    assert new.units_per_day[1] == pytest.approx(2.0)


def test_weekdays_are_taken_out_whichever_day_the_log_ends_on() -> None:
    weekend = np.array([1.0, 1.0, 1.0, 1.0, 1.0, 4.0, 5.0])  # Monday first, mean 2
    for weekday, day_count in ((0, 70), (3, 69), (6, 73)):
        days = np.arange(day_count)
        units = weekend[(days + weekday) % 7]
        sales = some_sales(
            [1] * day_count, days.tolist(), units.tolist(), day_count=day_count, weekday=weekday
        )
        np.testing.assert_allclose(weekday_index(sales), weekend / 2.0)
        assert forecast(sales).units_per_day[1] == pytest.approx(2.0)


def test_less_than_four_weeks_say_nothing_of_weekdays() -> None:
    sales = some_sales([1] * 27, list(range(27)), [1.0, 5.0, 1.0] * 9, day_count=27)
    assert weekday_index(sales).tolist() == [1.0] * 7


def with_reductions(elasticity: dict[int, float], *, shown: int = 2_000_000) -> Sales:
    """Each row as often shown at full price as at 20 % off, and bought as its elasticity says."""
    rng = np.random.default_rng(3)
    shape = (ROWS + 1, BAND_COUNT)
    impressions, purchases = np.zeros(shape, dtype=np.int64), np.zeros(shape, dtype=np.int64)
    for row, each in elasticity.items():
        rate = 0.01 * row  # a better seller is not a more elastic one
        impressions[row, [0, 4]] = shown, shown // 9
        purchases[row, 0] = rng.binomial(shown, rate)
        purchases[row, 4] = rng.binomial(shown // 9, rate * 0.8**each)
    reduction = np.array([0.0, 0.0, 0.0, 0.0, 0.2, 0.0])
    empty = np.zeros(0, dtype=np.int64)
    return Sales(empty, empty, np.zeros(0), 70, 0, impressions, purchases, reduction)


def test_elasticity_is_found_within_products_whatever_their_rates() -> None:
    found = elasticities(with_reductions({1: -2.0, 2: -2.0, 3: -1.0}), CODES)
    assert found[1] == pytest.approx(-2.0, abs=0.25)
    assert found[2] == pytest.approx(-1.0, abs=0.25)


def test_a_category_with_few_sales_leans_on_the_shop() -> None:
    sales = with_reductions({1: -2.0, 2: -2.0})
    found = elasticities(sales, CODES)
    assert found[2] == pytest.approx(found[1], abs=0.1)


def test_without_reductions_no_elasticity_is_guessed() -> None:
    assert np.isnan(elasticities(with_reductions({}), CODES)).all()
    assert np.isnan(forecast(some_sales([1], [3], [1.0])).elasticity).all()


def a_log(folder: Path, **manifest: object) -> tuple[Path, dict[str, int]]:
    """Two lamps and a mug; the lamp is sold twice on the last day."""
    ids = ["lamp", "desk", "mug"]
    products = pa.table({"product_id": ids, "category": ["light", "", "kitchen"]})
    pq.write_table(products, folder / "products.parquet")
    events = pa.table(
        {
            "time_ms": pa.array([0, DAY_MS, 2 * DAY_MS, 2 * DAY_MS + 1, 2 * DAY_MS + 2]),
            "product_id": pa.array(["lamp", "mug", "lamp", "stranger", "lamp"]),
            "type": pa.array(["impression", "purchase", "purchase", "purchase", "click"]),
            "quantity": pa.array([1, 1, 2, 9, 1], pa.int32()),
            "discount": pa.array([0.0, 0.2, 0.0, 0.0, 0.0], pa.float32()),
        }
    )
    pq.write_table(events, folder / "events.parquet")
    if manifest:
        (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder / "products.parquet", {name: row for row, name in enumerate(ids, start=1)}


def test_a_log_is_read_from_beside_its_products(tmp_path: Path) -> None:
    found = forecast_beside(*a_log(tmp_path))
    assert found.found.tolist() == [False, True, False, True]
    assert found.units_per_day[1] == pytest.approx(2.0)
    assert 0.0 < found.units_per_day[3] < 1.0


def test_where_only_the_order_of_events_is_known_nothing_is_forecast(tmp_path: Path) -> None:
    assert not forecast_beside(*a_log(tmp_path, time_is_real=False)).found.any()
    assert forecast_beside(*a_log(tmp_path, time_is_real=True)).found.any()


def test_a_shop_without_a_log_has_no_forecast(tmp_path: Path) -> None:
    products, row_of = a_log(tmp_path)
    (tmp_path / "events.parquet").unlink()
    assert not forecast_beside(products, row_of).found.any()


def test_a_log_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    products, row_of = a_log(tmp_path)
    (tmp_path / "events.parquet").write_bytes(b"not parquet")
    with pytest.raises(DataRejected, match=r"events\.parquet cannot be read"):
        forecast_beside(products, row_of)
