"""Shards: exact search of a table that lies in parts on several devices.

Each device searches its own rows at the same time, and the best K of all parts are the best K of
the whole: every part returns K, so none of them can be missing. The same device may be named more
than once, which is how two GPUs are rehearsed on one.

Shapes: R catalogue rows, B requests, D vector size, K nearest.
"""

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor

from export.gpu.search import ExactSearch, Storage

Closed = tuple[Tensor, ...]


class ShardedSearch:
    """Nearest products of every row, found on all devices; answers on the first one."""

    def __init__(
        self,
        items: Tensor,
        devices: Sequence[torch.device],
        *,
        storage: Storage = "fp16",
        count: int,
        chunk_rows: int = 0,
    ) -> None:
        """`items` [R, D] of unit length, row 0 zeros, on any device: only its parts are moved.

        Raises ValueError without a device, or with more devices than products.
        """
        products = items.shape[0] - 1
        if not 0 < len(devices) <= products:
            raise ValueError(f"{len(devices)} devices for {products} products")
        self.storage, self.count = storage, min(count, products)
        edges = [1 + products * at // len(devices) for at in range(len(devices) + 1)]
        self._bounds = list(itertools.pairwise(edges))
        self._devices = tuple(devices)
        self._parts = [
            ExactSearch(
                torch.cat([items[:1], items[first:end]]).to(device),
                storage=storage,
                count=count,
                chunk_rows=chunk_rows,
            )
            for (first, end), device in zip(self._bounds, devices, strict=True)
        ]

    @property
    def table_bytes(self) -> int:
        """What one search of everything must read, on the device that reads most."""
        return max(part.table_bytes for part in self._parts)

    def closed_for(self, allowed: Tensor | None) -> Closed:
        """For each device what is added to its scores, from allowed [R] or [B, R]."""
        return tuple(
            part.closed_for(None if allowed is None else _own(allowed, bounds, device))
            for part, bounds, device in zip(self._parts, self._bounds, self._devices, strict=True)
        )

    def __call__(self, user_BD: Tensor, closed: Closed) -> tuple[Tensor, Tensor]:
        """Rows [B, K], best first, and cosines [B, K]; row 0 with -inf where fewer are allowed."""
        home = self._devices[0]
        # work is only queued here: every device is given its own before any answer is waited for
        users = [user_BD.to(device, non_blocking=True) for device in self._devices]
        found = [
            part(user, own) for part, user, own in zip(self._parts, users, closed, strict=True)
        ]
        rows, cosines = [], []
        for (first, _), (own_rows, own_cosines) in zip(self._bounds, found, strict=True):
            rows.append(torch.where(own_rows > 0, own_rows + first - 1, 0).to(home))
            cosines.append(own_cosines.to(home))
        best = torch.cat(cosines, dim=1).topk(self.count, dim=1)
        return torch.gather(torch.cat(rows, dim=1), 1, best.indices), best.values


def _own(allowed: Tensor, bounds: tuple[int, int], device: torch.device) -> Tensor:
    """The part of a mask, with the row that is no product before it."""
    first, end = bounds
    return torch.cat([allowed[..., :1], allowed[..., first:end]], dim=-1).to(device)
