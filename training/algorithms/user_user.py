"""User–user: what those bought who want the same things (Resnick et al. 1994; Breese et al. 1998).

Deeds are no ratings, so the similarity is the cosine of what two shoppers wanted, each product
weighed by ln(U / u) of the u shoppers who wanted it, Breese's inverse user frequency: what
everybody wants tells nothing. A product's score for a shopper is the sum of its nearest
shoppers' similarities times how much they wanted it.

Shapes: U shoppers, N possible neighbours, R catalogue rows, M products of one list, W wishes.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from shop.events import EVENT_CODE_COUNT, EVENT_CODES, EventType
from shop.source_tables import ShopperLists, shopper_key
from training.algorithms.nearest import best_of_rows
from training.data.snapshot import Snapshot
from training.examples import wanted_touches

_BLOCK_CELLS = 4_000_000  # of a block's dense matrices: 16 MB of float32 each


@dataclass(frozen=True, slots=True)
class UserUserSettings:
    """Who is compared with whom, and what is kept."""

    list_length: int = 60
    nearest: int = 200  # on the world 50 find 0.18 of the truth's best 500, 200 0.23, 500 0.24
    # Neighbours are sought among the shoppers with the most wishes, and lists are made for those
    # seen last: time and size stay linear in what is left. A list takes 500 bytes. With 4,000 the
    # world's 20,000 shoppers take 7 s of CPU, three times less than with all of them.
    pool: int = 4_000
    shoppers: int = 200_000


@dataclass(frozen=True, slots=True, eq=False)
class _Wishes:
    """How much every shopper wanted what, each pair once."""

    users: NDArray[np.int64]  # [W]
    rows: NDArray[np.int64]  # [W]
    strength: NDArray[np.float64]  # [W]


def fit_user_user(snapshot: Snapshot, *, settings: UserUserSettings | None = None) -> ShopperLists:
    """A list for every shopper who wanted anything, without what they wanted themselves."""
    settings = settings or UserUserSettings()
    wishes, last_ms = _wishes(snapshot)
    user_count, row_count = snapshot.user_ids.size, snapshot.products.num_rows + 1
    profiles = _matrix(wishes, _unit(wishes, user_count, row_count), user_count, row_count)
    wanted = _matrix(wishes, np.log1p(wishes.strength), user_count, row_count)
    sizes = np.bincount(wishes.users, minlength=user_count)
    pool = np.sort(np.argsort(-sizes, kind="stable")[: settings.pool])
    pool = pool[sizes[pool] > 0]
    known = np.flatnonzero(sizes)
    chosen = np.sort(known[np.argsort(-last_ms[known], kind="stable")[: settings.shoppers]])
    near = profiles.index_select(0, torch.from_numpy(pool)).coalesce()
    by_product = wanted.index_select(0, torch.from_numpy(pool)).transpose(0, 1).coalesce()
    rows = np.zeros((chosen.size, settings.list_length), dtype=np.int32)
    scores = np.zeros((chosen.size, settings.list_length), dtype=np.float32)
    step = max(1, _BLOCK_CELLS // max(1, row_count, pool.size))
    for start in range(0, chosen.size, step):
        users = chosen[start : start + step]
        own = profiles.index_select(0, torch.from_numpy(users)).to_dense()  # [block, R]
        similarity = torch.sparse.mm(near, own.T.contiguous()).numpy().T.copy()  # [block, N]
        similarity[users[:, None] == pool] = 0.0  # nobody is their own neighbour
        weights = _only_largest(similarity, settings.nearest)
        found = torch.sparse.mm(by_product, torch.from_numpy(weights.T.copy())).numpy().T.copy()
        had = wanted.index_select(0, torch.from_numpy(users)).to_dense().numpy()
        found[had > 0] = 0.0
        block = slice(start, start + users.size)
        rows[block], scores[block] = best_of_rows(found, settings.list_length)
    keys = np.array([shopper_key(str(name)) for name in snapshot.user_ids[chosen]], np.uint64)
    order = np.argsort(keys)
    return ShopperLists(keys[order], rows[order], scores[order])


def _wishes(snapshot: Snapshot) -> tuple[_Wishes, NDArray[np.int64]]:
    """Wishes, and [U] when each shopper last wanted something."""
    touches, events = wanted_touches(snapshot), snapshot.events
    commitment = np.ones(EVENT_CODE_COUNT)  # of one session's strongest deed
    commitment[EVENT_CODES[EventType.CART]] = 2.0
    commitment[EVENT_CODES[EventType.PURCHASE]] = 3.0
    row_count = snapshot.products.num_rows + 1
    users = events.user_rows[touches.events_at].astype(np.int64)
    cells = users * row_count + events.product_rows[touches.events_at]
    pairs, places = np.unique(cells, return_inverse=True)
    strength = np.bincount(
        places, weights=commitment[touches.strongest], minlength=pairs.size
    ).astype(np.float64)
    last_ms = np.zeros(snapshot.user_ids.size, dtype=np.int64)
    np.maximum.at(last_ms, users, events.times_ms[touches.events_at])
    return _Wishes(pairs // row_count, pairs % row_count, strength), last_ms


def _unit(wishes: _Wishes, user_count: int, row_count: int) -> NDArray[np.float64]:
    """[W] so that every shopper's wishes have unit length."""
    shoppers = int(np.unique(wishes.users).size)
    rarity = np.log(shoppers / np.maximum(1, np.bincount(wishes.rows, minlength=row_count)))
    weights = (1.0 + np.log(wishes.strength)) * rarity[wishes.rows]
    lengths = np.sqrt(np.bincount(wishes.users, weights=weights**2, minlength=user_count))
    unit: NDArray[np.float64] = weights / np.maximum(lengths[wishes.users], 1e-12)
    return unit


def _matrix(
    wishes: _Wishes, values: NDArray[np.float64], user_count: int, row_count: int
) -> torch.Tensor:
    """[U, R] sparse."""
    return torch.sparse_coo_tensor(
        torch.from_numpy(np.stack([wishes.users, wishes.rows])),
        torch.from_numpy(values.astype(np.float32)),
        (user_count, row_count),
        check_invariants=True,
    ).coalesce()


def _only_largest(similarity: NDArray[np.float32], count: int) -> NDArray[np.float32]:
    """The same with zeros in place of all but the `count` largest of every row."""
    if count >= similarity.shape[1]:
        return similarity
    least = np.partition(similarity, similarity.shape[1] - count, axis=1)[:, -count]
    return np.where(similarity >= least[:, None], similarity, np.float32(0))
