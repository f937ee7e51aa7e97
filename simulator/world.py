"""World: a small seeded shop whose truth is known, so that a recommendation can be judged by it.

    python -m simulator.world --out DIR        writes products, shoppers, events and world.json

`World.true_probabilities` answers what no log can: how likely a shopper is to click, cart, buy and
return a product. A written world keeps its settings only; `load_world` grows it again from them.
"""

import argparse
import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import ArrayLike, NDArray
from rich.console import Console
from rich.progress import Progress

from shop.errors import DataRejected, SettingsRejected
from simulator.behaviour import simulate
from simulator.calibration import calibrated
from simulator.catalogue import Products, make_products
from simulator.choice import (
    NO_NEED,
    ChoiceModel,
    Circumstances,
    TrueProbabilities,
    make_choice_model,
)
from simulator.event_columns import EventColumns
from simulator.settings import WorldSettings
from simulator.shoppers import Shoppers, make_shoppers
from simulator.specifications import write_specifications
from simulator.tables import (
    EVENTS,
    PRODUCTS,
    SHOPPERS,
    products_table,
    shoppers_table,
    write_events,
)

__all__ = [
    "World",
    "WorldSettings",
    "build_world",
    "generate",
    "is_current_world",
    "load_world",
    "write_world",
]

WORLD_VERSION = 2  # raise when equal settings give another world
WORLD = "world.json"
CURRENCY = "EUR"
TIME_ZONE = "UTC"  # by which its shoppers' hours go

ProgressCallback = Callable[[int, int], None]
"""Called with days done and days in all."""


@dataclass(frozen=True, slots=True, eq=False)
class World:
    """One shop with everything that is true of it. Shapes: B shoppers, N products each."""

    settings: WorldSettings
    products: Products
    shoppers: Shoppers
    truth: ChoiceModel

    def events(self) -> Iterator[EventColumns]:
        """All events, day by day, in time order; the same ones every time."""
        return simulate(self.truth, self.settings)

    def true_probabilities(
        self,
        shopper_rows: ArrayLike,
        product_rows: ArrayLike,
        *,
        time_ms: ArrayLike,
        position: ArrayLike = 1,
        need: ArrayLike | None = None,
        price_minor: ArrayLike | None = None,
        device: ArrayLike | None = None,
        engagement: ArrayLike = 0.0,
        left: ArrayLike = 0,
        dead_end: ArrayLike = False,
    ) -> TrueProbabilities:
        """What would happen if these products were shown to these shoppers.

        shopper_rows [B] are 0-based, as in shoppers.parquet. product_rows [B, N], or [N] for all
        shoppers alike, are catalogue rows 1..P; row 0 raises ValueError. time_ms, need (category
        codes, `choice.NO_NEED`, which is also the default), device, engagement, left (a product
        row, 0 for none) and dead_end are [B] or one for all; position and price_minor (default:
        list price) fit [B, N]. The device defaults to the one each shopper mostly uses.
        """
        who = np.atleast_1d(np.asarray(shopper_rows, dtype=np.int64))
        rows = np.asarray(product_rows, dtype=np.int64)
        rows = np.broadcast_to(rows, (who.size, rows.shape[-1]))
        if rows.size and (rows.min() < 1 or rows.max() > self.products.count):
            raise ValueError(f"product rows must be 1..{self.products.count}; 0 is no product")
        listed = self.products.price_minor[rows]
        steps = self.truth.steps(
            who,
            rows,
            np.broadcast_to(np.asarray(position, dtype=np.int64), rows.shape),
            listed if price_minor is None else np.broadcast_to(price_minor, rows.shape),
            Circumstances(
                _per_shopper(time_ms, who),
                _per_shopper(NO_NEED if need is None else need, who),
                _per_shopper(self.shoppers.device[who] if device is None else device, who),
                np.broadcast_to(np.asarray(engagement, dtype=np.float32), who.shape),
                _per_shopper(left, who),
                np.broadcast_to(np.asarray(dead_end, dtype=np.bool_), who.shape),
            ),
        )
        click = steps.examined * steps.attracted
        cart = click * steps.carted
        return TrueProbabilities(click, cart, cart * steps.bought, steps.returned)


def _per_shopper(value: ArrayLike, who: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.broadcast_to(np.asarray(value, dtype=np.int64), who.shape)


def build_world(settings: WorldSettings) -> World:
    """Grow a world. Takes about a second at the default size."""
    products = make_products(settings)
    shoppers = make_shoppers(settings, products)
    truth = calibrated(make_choice_model(products, shoppers), settings)
    return World(settings, products, shoppers, truth)


def write_world(world: World, folder: Path, progress: ProgressCallback | None = None) -> int:
    """Write the world's tables and, last, world.json; returns the number of events."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / WORLD).unlink(missing_ok=True)  # a half-written folder must not look whole
    pq.write_table(products_table(world.products), folder / PRODUCTS, compression="zstd")
    write_specifications(world.products, world.settings.seed, folder)
    pq.write_table(shoppers_table(world.shoppers), folder / SHOPPERS, compression="zstd")
    days = _counted(world.events(), world.settings.days, progress)
    written = write_events(folder / EVENTS, world.products, world.shoppers, days)
    about = {
        "version": WORLD_VERSION,
        "currency": CURRENCY,
        "time_zone": TIME_ZONE,
        "events": written,
        "settings": asdict(world.settings),
    }
    part = folder / f"{WORLD}.part"
    part.write_text(json.dumps(about, indent=2) + "\n")
    os.replace(part, folder / WORLD)
    return written


def _counted(
    days: Iterator[EventColumns], total: int, progress: ProgressCallback | None
) -> Iterator[EventColumns]:
    for done, day in enumerate(days, start=1):
        yield day
        if progress is not None:
            progress(done, total)


def is_current_world(folder: Path) -> bool:
    """Whether `folder` holds a world that `load_world` can grow again."""
    try:
        about = json.loads((folder / WORLD).read_text())
    except (OSError, ValueError):
        return False
    return isinstance(about, dict) and about.get("version") == WORLD_VERSION


def load_world(folder: Path) -> World:
    """Grow the world again that was written to `folder`; its tables are not read.

    Raises DataRejected if the folder holds no world, or one of another version.
    """
    try:
        about = json.loads((folder / WORLD).read_text())
        version, settings = about["version"], WorldSettings(**about["settings"])
    except FileNotFoundError as error:
        raise DataRejected(f"{folder} holds no world: it has no {WORLD}") from error
    except (ValueError, KeyError, TypeError, SettingsRejected) as error:
        raise DataRejected(f"{folder / WORLD} cannot be read: {error}") from error
    if version != WORLD_VERSION:
        raise DataRejected(
            f"{folder / WORLD} is of version {version}, need {WORLD_VERSION}: generate it anew"
        )
    return build_world(settings)


def generate(
    folder: Path, settings: WorldSettings, progress: ProgressCallback | None = None
) -> World:
    """Grow a world and write it to `folder`."""
    world = build_world(settings)
    write_world(world, folder, progress)
    return world


def _parser() -> argparse.ArgumentParser:
    default = WorldSettings()
    parser = argparse.ArgumentParser(
        prog="python -m simulator.world", description="Grow a simulated shop and write its tables."
    )
    parser.add_argument("--out", type=Path, required=True, help="folder to write to")
    parser.add_argument("--products", type=int, default=default.product_count, metavar="N")
    parser.add_argument("--shoppers", type=int, default=default.shopper_count, metavar="N")
    parser.add_argument("--days", type=int, default=default.days, metavar="N")
    parser.add_argument(
        "--sessions", type=float, default=default.sessions_per_shopper, help="mean per shopper"
    )
    parser.add_argument("--seed", type=int, default=default.seed)
    parser.add_argument(
        "--end-ms", type=int, default=default.end_ms, help="Unix milliseconds when the world ends"
    )
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    chosen = _parser().parse_args(arguments)
    console = Console(stderr=True)
    try:
        settings = WorldSettings(
            seed=chosen.seed,
            product_count=chosen.products,
            shopper_count=chosen.shoppers,
            days=chosen.days,
            sessions_per_shopper=chosen.sessions,
            end_ms=chosen.end_ms,
        )
    except SettingsRejected as error:
        console.print(f"[red]{error}[/red]")
        return 2
    with Progress(console=console) as bar:
        task = bar.add_task("simulating days", total=settings.days)
        generate(chosen.out, settings, lambda done, _: bar.update(task, completed=done))
    size = (chosen.out / EVENTS).stat().st_size / 1e6
    console.print(f"world of {settings} in {chosen.out}, events {size:.1f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
