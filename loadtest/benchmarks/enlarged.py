"""Enlarged: item vectors of a catalogue far larger than the release's, by its own product tower.

The simulator makes the products, and the tower reads what they are, as it does for any product that
nobody has touched. As most of a real catalogue is not new, each also takes the trained identity of
some warm product of its category: without, products of equal attributes would share one vector.

Shapes: P products, R = P + 1 rows, N of them at a time, D vector size.
"""

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray
from torch.nn import functional

from loadtest.benchmarks.stack import BenchmarkFailed
from shop.release import CATALOGUE_FILE
from simulator.catalogue import make_products
from simulator.settings import WorldSettings
from simulator.tables import products_table
from training.models.two_tower import ItemTower, load_two_tower
from training.product_tokens import tokens_of

_AT_A_TIME = 20_000


class EnlargedShop:
    """Makes vectors with the newest model of a state folder."""

    def __init__(self, state_dir: Path) -> None:
        """Raises BenchmarkFailed if no model was trained there."""
        weights = sorted(
            (state_dir / "models").glob("*/two_tower.pt"), key=lambda file: file.stat().st_mtime
        )
        if not weights:
            raise BenchmarkFailed(f"no model in {state_dir / 'models'}; `vitrine up` trains one")
        folder = weights[-1].parent
        model = load_two_tower(folder).eval()
        self._tower: ItemTower = model.items
        self._buckets = model.items.words.num_embeddings - 1
        known = pq.read_table(folder / CATALOGUE_FILE, columns=["category"])["category"]
        categories = np.array(["", *known.to_pylist()], np.str_)
        warm = np.flatnonzero(self._tower.is_warm_R.numpy() > 0)
        self._warm = warm
        self._warm_of = {
            str(name): warm[categories[warm] == name] for name in np.unique(categories[warm])
        }

    def vectors(self, product_count: int, *, seed: int = 3) -> NDArray[np.float32]:
        """[R, D] unit vectors; row 0 zeros. Some 50 µs a product."""
        rng = np.random.default_rng(seed)
        parts = [np.zeros((1, self._tower.ids.embedding_dim), np.float32)]
        made = 0
        while made < product_count:
            count = min(_AT_A_TIME, product_count - made)
            parts.append(self._some(count, int(rng.integers(1 << 30)), rng))
            made += count
        return np.concatenate(parts)

    def _some(self, count: int, world_seed: int, rng: np.random.Generator) -> NDArray[np.float32]:
        """[N, D] of one seed's products."""
        least = max(count, 300)  # the smallest catalogue that the simulator makes
        table = products_table(make_products(WorldSettings(seed=world_seed, product_count=least)))
        table = table.slice(0, count)
        words = tokens_of(table, self._buckets)
        identities = np.array(
            [
                rng.choice(self._warm_of.get(name, self._warm))
                for name in table["category"].to_pylist()
            ]
        )
        tower = self._tower
        with torch.no_grad():
            content = functional.embedding_bag(
                torch.from_numpy(words.tokens[1:]),
                tower.words.weight,
                per_sample_weights=torch.from_numpy(words.weights[1:]),
                mode="sum",
            )
            joined = content + tower.ids(torch.from_numpy(identities))
            found = functional.normalize(joined + tower.mix(joined), dim=-1)
        return np.asarray(found.numpy(), np.float32)
