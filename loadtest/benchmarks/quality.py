"""Quality: served lists against what the world's shoppers would really buy.

The simulated world knows the true purchase probability of every product for every shopper. A list's
gain at place i is that probability; NDCG@20 divides the list's discounted sum by the best possible
list of products in stock. Popularity and the exact pipeline are judged the same way.

Shapes: S shoppers, P products, K places.
"""

import asyncio
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from loadtest.benchmarks.reference import Reference
from loadtest.benchmarks.result import Grid, Result, at_least
from loadtest.benchmarks.stack import BenchmarkFailed, a_stack
from loadtest.current import current_folder, current_manifest
from serving.adapters.release_files import load_tables
from serving.client import VitrineClient
from serving.proto import recommendations_pb2 as pb
from serving.recommend.ports import ReleaseTables
from serving.recommend.request import Answer
from serving.stack.folder import StateFolder
from serving.stack.up import Prepared
from shop.release import HISTORIES_FILE
from shop.scoring import ValueWeights
from simulator.tables import PRODUCTS, SHOPPERS
from simulator.world import load_world

SHOPPER_COUNT = 1_000
PLACES = 20
OVER_POPULARITY = 1.5
OF_EXACT = 0.9
_BY_PURCHASE = ValueWeights(
    satisfied_purchase_minor=1.0,
    margin_share=0.0,
    return_cost_minor=0.0,
    cart_minor=0.0,
    click_minor=0.0,
)


@dataclass(frozen=True, slots=True, eq=False)
class _Truth:
    """What would really happen, for the shoppers asked about. Columns in catalogue order."""

    purchase: NDArray[np.float64]  # [S, P + 1]; 0 where the product cannot be had
    worth_minor: NDArray[np.float64]  # [S, P + 1] expected margin after returns


def measure(state_dir: Path, images: Path) -> Result:
    """NDCG@20 of served lists, of popularity, and of the exact pipeline."""
    with a_stack(state_dir) as stack:
        prepared = Prepared.read(StateFolder(state_dir).run / "prepared.json")
        if not (prepared.data_folder / "world.json").exists():
            raise BenchmarkFailed(
                "this stack serves other data than a world; nobody knows its truth"
            )
        tables = load_tables(current_folder(state_dir), current_manifest(state_dir))
        shoppers = _some_shoppers(current_folder(state_dir))
        requests = [
            pb.RecommendRequest(
                user_id=shopper, placement="home", page_size=PLACES, request_id=f"quality-{at}"
            )
            for at, shopper in enumerate(shoppers)
        ]
        with VitrineClient(stack.door) as client:
            replies = [client.recommend(request) for request in requests]
        reference = Reference(state_dir, stack, prepared.clock_offset_ms)
        exact = asyncio.run(reference.lists(requests))
        by_purchase = asyncio.run(reference.lists(requests, value=_BY_PURCHASE))
    truth = _truth(prepared.data_folder, tables, shoppers, now_ms=reference.now_ms())
    served = np.array([_padded(_rows(tables, reply)) for reply in replies])
    popular = np.tile(_popular_in_stock(tables, truth), (len(shoppers), 1))
    lists = {
        "served": served,
        "exact search in float64, in process": _slates(exact),
        "the same, ordered by purchase probability alone": _slates(by_purchase),
        "popularity": popular,
    }
    ndcg = {name: _ndcg(rows, truth.purchase) for name, rows in lists.items()}
    worth = {name: _mean_worth(rows, truth) for name, rows in lists.items()}
    return _result(ndcg, worth, replies, len(shoppers))


def _result(
    ndcg: dict[str, float], worth: dict[str, float], replies: list[pb.RecommendResponse], count: int
) -> Result:
    names = list(ndcg)
    over_popularity = ndcg[names[0]] / ndcg[names[3]]
    of_exact = ndcg[names[0]] / ndcg[names[1]]
    degraded = sum(1 for reply in replies if reply.degraded)
    explored = sum(item.reason == pb.EXPLORATION for reply in replies for item in reply.items)
    return Result(
        name="quality",
        figures={
            "ndcg@20_served": round(ndcg[names[0]], 4),
            "ndcg@20_exact": round(ndcg[names[1]], 4),
            "ndcg@20_by_purchase": round(ndcg[names[2]], 4),
            "ndcg@20_popularity": round(ndcg[names[3]], 4),
            "served_over_popularity": round(over_popularity, 3),
            "served_over_exact": round(of_exact, 4),
            "shoppers": count,
            "degraded": degraded,
        },
        checks=(
            at_least("NDCG@20 served / popularity", over_popularity, OVER_POPULARITY, ""),
            at_least("NDCG@20 served / exact pipeline", of_exact, OF_EXACT, ""),
        ),
        grids=(
            Grid(
                f"{count} shoppers, home page, 20 products, true purchase probability as gain",
                ("list", "NDCG@20", "expected margin after returns of one list seen whole"),
                tuple((name, f"{ndcg[name]:.4f}", f"{worth[name] / 100:.2f}") for name in names),
            ),
        ),
        notes=(
            "The served order is by expected margin after returns, not by purchase probability: the"
            " third line shows what that choice gives away in NDCG, the last column what it earns."
            f" Exploration is on, as for any shopper: {explored / (count * PLACES):.2%} of the"
            f" places tried a product; {degraded} of {count} lists were degraded.",
        ),
    )


def _some_shoppers(release_folder: Path) -> list[str]:
    histories = pq.read_table(release_folder / HISTORIES_FILE, columns=["user_id", "product_ids"])
    lengths = histories["product_ids"].combine_chunks().value_lengths().to_numpy()
    known = np.flatnonzero(lengths)
    count = min(SHOPPER_COUNT, known.size)
    chosen = np.random.default_rng(6).choice(known, count, replace=False)
    names: list[str] = histories["user_id"].take(chosen).to_pylist()
    return names


def _truth(world_folder: Path, tables: ReleaseTables, shoppers: list[str], now_ms: int) -> _Truth:
    world = load_world(world_folder)
    ids = pq.read_table(world_folder / SHOPPERS, columns=["user_id"])["user_id"].to_pylist()
    row_of = {name: row for row, name in enumerate(ids)}
    who = np.array([row_of[name] for name in shoppers])
    products = pq.read_table(world_folder / PRODUCTS, columns=["product_id", "stock"])
    catalogue_rows = tables.catalogue.rows_of(products["product_id"].to_pylist())
    world_rows = np.arange(1, products.num_rows + 1)
    true = world.true_probabilities(who, world_rows, time_ms=now_ms)
    stock = products["stock"].fill_null(1).to_numpy()
    purchase = np.zeros((who.size, tables.catalogue.product_ids.size))
    purchase[:, catalogue_rows] = np.where(stock > 0, true.purchase, 0.0)
    margin = tables.catalogue.list_price_minor - tables.catalogue.cost_minor
    kept = np.zeros_like(purchase)
    kept[:, catalogue_rows] = 1.0 - true.return_risk
    return _Truth(purchase, purchase * kept * margin)


def _rows(tables: ReleaseTables, reply: pb.RecommendResponse) -> NDArray[np.int64]:
    return tables.catalogue.rows_of([item.product_id for item in reply.items])


def _slates(answers: list[Answer]) -> NDArray[np.int64]:
    return np.array([_padded(answer.slate.rows) for answer in answers])


def _padded(rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """[K] short lists end with row 0, which nobody buys."""
    return np.pad(rows[:PLACES], (0, PLACES - min(PLACES, rows.size)))


def _popular_in_stock(tables: ReleaseTables, truth: _Truth) -> NDArray[np.int64]:
    rows = tables.popular_rows[truth.purchase[:, tables.popular_rows].max(axis=0) > 0]
    return rows[:PLACES]


def _ndcg(lists: NDArray[np.int64], gains: NDArray[np.float64]) -> float:
    discounts = 1.0 / np.log2(np.arange(PLACES) + 2.0)
    found = np.take_along_axis(gains, lists, axis=1) @ discounts
    best = -np.sort(-gains, axis=1)[:, :PLACES] @ discounts
    return float(np.mean(found / best))


def _mean_worth(lists: NDArray[np.int64], truth: _Truth) -> float:
    return float(np.take_along_axis(truth.worth_minor, lists, axis=1).sum(axis=1).mean())
