"""What the world writes is what training reads, and the campaigns behind both agree."""

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from simulator.campaigns import REDUCED_SHARE, campaign_weeks, percent_off, product_keys
from simulator.event_columns import concatenated
from simulator.world import World, WorldSettings, build_world, write_world
from training.data.snapshot import EVENT_COLUMNS, PRODUCT_COLUMNS, SHOPPER_COLUMNS

NOON_MS = 1_780_000_000_000
WEEK_MS = 7 * 86_400_000


@pytest.fixture(scope="module")
def world() -> World:
    return build_world(
        WorldSettings(product_count=400, shopper_count=300, days=4, sessions_per_shopper=3.0)
    )


@pytest.fixture(scope="module")
def folder(world: World, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("world")
    write_world(world, folder)
    return folder


@pytest.mark.parametrize(
    ("name", "columns"),
    [
        ("products.parquet", PRODUCT_COLUMNS),
        ("shoppers.parquet", SHOPPER_COLUMNS),
        ("events.parquet", EVENT_COLUMNS),
    ],
)
def test_tables_have_the_columns_of_a_snapshot(folder: Path, name: str, columns: object) -> None:
    assert pq.read_schema(folder / name).equals(columns)


def test_written_events_are_the_simulated_ones(world: World, folder: Path) -> None:
    table = pq.read_table(folder / "events.parquet")
    events = concatenated(list(world.events()))
    products, users = np.array(world.products.ids), np.array(world.shoppers.ids)
    assert table["product_id"].to_pylist() == products[events.products].tolist()
    assert table["user_id"].to_pylist() == users[events.shoppers].tolist()
    assert np.array_equal(table["time_ms"].to_numpy(), events.times_ms)
    assert set(table["type"].to_pylist()) >= {"impression", "click", "cart", "purchase", "abandon"}


def test_titles_tell_the_specification(folder: Path) -> None:
    for product in pq.read_table(folder / "products.parquet").slice(0, 50).to_pylist():
        for name in ("brand", "material", "use", "style", "colour"):
            assert product[name] in product["title"]


def test_titles_rarely_repeat(folder: Path) -> None:
    titles = pq.read_table(folder / "products.parquet")["title"].to_pylist()
    assert len(set(titles)) > 0.99 * len(titles)


def test_about_a_tenth_of_the_products_is_reduced() -> None:
    keys = product_keys(f"P{row}" for row in range(5_000))
    percent = percent_off(keys, NOON_MS, seed=7)
    assert np.mean(percent > 0) == pytest.approx(REDUCED_SHARE, abs=0.02)
    assert percent.max() <= 40.0


def test_a_campaign_lasts_the_product_s_own_week() -> None:
    keys = product_keys(f"P{row}" for row in range(200))
    hours = NOON_MS + np.arange(0, 3 * WEEK_MS, 3_600_000)
    percent = percent_off(keys[:, None], hours[None, :], seed=7)
    weeks = campaign_weeks(keys[:, None], hours[None, :])
    changes = np.diff(percent, axis=1) != 0
    assert changes.any()
    assert not np.any(changes & (np.diff(weeks, axis=1) == 0))


def test_campaigns_depend_on_the_seed() -> None:
    keys = product_keys(f"P{row}" for row in range(1_000))
    one, two = (percent_off(keys, NOON_MS, seed) for seed in (1, 2))
    assert np.mean((one > 0) & (two > 0)) < 0.04
