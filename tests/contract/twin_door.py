"""The real door, on a real Ray Serve, with memory twins behind it.

    python -m tests.contract.twin_door STATE PORTS_FILE [CERTIFICATES [REPLICAS]]

With a folder of certificates (not "") it speaks TLS, and hears only clients that show one.
A file named `stall-ranker` in STATE makes the ranker answer never; `fail-log` makes the event store
fail; `break-pipeline` puts a bug into it.
"""

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from serving.adapters.memory import MemoryEventStore, MemoryRanker
from serving.admission import AdmissionSettings
from serving.app import serve
from serving.deployments import DoorGateway
from serving.gateway import OpenService
from serving.recommend.lookups import OfferCache
from serving.recommend.ports import EventReceipt, ShopperEvent
from serving.recommend.settings import StageBudgets
from serving.service import Service
from serving.settings import DoorSettings, Settings
from serving.telemetry import Telemetry
from shop.errors import DependencyUnavailable
from shop.features import ShopperFeatures
from tests.unit.small_shop import PLAIN, SmallShop, a_shop, lower_rows_sell_better

TOKEN_KEY = bytes(range(32))


class Switched(MemoryRanker):
    """A ranker that does what the files in a folder say."""

    def __init__(self, folder: Path) -> None:
        super().__init__(judge=lower_rows_sell_better)
        self._folder = folder

    async def probabilities(
        self,
        features: ShopperFeatures,
        user_vector: NDArray[np.float32],
        candidate_rows: NDArray[np.int64],
        candidate_values: NDArray[np.float32],
        *,
        timeout_s: float,
    ) -> NDArray[np.float32]:
        if (self._folder / "break-pipeline").exists():
            raise KeyError("a bug, and nobody's fault but ours")
        if (self._folder / "stall-ranker").exists():
            await asyncio.Event().wait()
        return self.judge(candidate_rows, candidate_values)


class SwitchedStore(MemoryEventStore):
    """An event store that does what the files in a folder say."""

    def __init__(self, shop: SmallShop, folder: Path) -> None:
        super().__init__(histories=shop.histories)
        self._folder = folder

    async def record(self, events: Sequence[ShopperEvent], *, timeout_s: float) -> EventReceipt:
        if (self._folder / "fail-log").exists():
            raise DependencyUnavailable("feedback", "no space left on device")
        return await MemoryEventStore.record(self, events, timeout_s=timeout_s)


@asynccontextmanager
async def open_twins(folder: Path) -> AsyncIterator[Service]:
    """A service on twins, in real time; a call has two seconds, its ranker may take a minute."""
    shop = a_shop()
    settings = replace(PLAIN, budgets=StageBudgets(total_ms=2_000.0, ranking_ms=60_000.0))
    offers = OfferCache(
        shop.deps.release.tables.catalogue,
        shop.systems,
        settings.offers,
        time.monotonic,
    )
    deps = replace(
        shop.deps,
        release=replace(shop.deps.release, ranker=Switched(folder)),
        offers=offers,
        settings=settings,
        clock=time.monotonic,
    )
    yield Service(deps, SwitchedStore(shop, folder), TOKEN_KEY, Telemetry(), is_sound=lambda: True)
    await offers.close()


class TwinGateway(DoorGateway):
    """The door's gateway with twins behind it."""

    def _opener(self, settings: Settings) -> OpenService:
        return partial(open_twins, settings.state_dir)


def door_settings(certificates: str = "", replicas: str = "1") -> DoorSettings:
    """Of a small door on ports of its own."""
    door = DoorSettings(
        port=0,
        metrics_port=0,
        concurrent_calls=16,
        queued_calls=4,
        replicas=int(replicas),
        admission=AdmissionSettings(
            target_ms=60_000.0
        ),  # tests that stall it leave its limit at 20
    )
    if not certificates:
        return door
    return replace(
        door,
        tls_certificate=f"{certificates}/door.pem",
        tls_key=f"{certificates}/door.key",
        tls_client_ca=f"{certificates}/ca.pem",
    )


if __name__ == "__main__":
    serve(
        Settings(
            state_dir=Path(sys.argv[1]),
            door=door_settings(*sys.argv[3:]),
        ),
        ports_file=Path(sys.argv[2]),
        die_with_parent=True,
        gateway=TwinGateway,
    )
