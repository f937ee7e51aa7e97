"""A whole stack over one state folder, driven through the command line as a user would."""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc

from serving.client import VitrineClient
from serving.proto import business_pb2 as business
from serving.proto import business_pb2_grpc as business_rpc
from serving.proto import recommendations_pb2 as pb
from serving.stack.folder import StackState, StateFolder
from serving.stack.processes import marked
from serving.stack.up import Prepared

PATIENCE_S = 60.0  # generous: these tests judge whether, benchmarks judge how fast


def eventually(holds: Callable[[], bool], *, within_s: float = PATIENCE_S) -> bool:
    """Whether `holds` becomes true; asked again and again."""
    until = time.monotonic() + within_s
    while time.monotonic() < until:
        if holds():
            return True
        time.sleep(0.05)
    return holds()


def vitrine(*words: str, state_dir: Path) -> subprocess.CompletedProcess[str]:
    """The command line, to its end."""
    argv = [sys.executable, "-m", "vitrine", *words, "--state-dir", str(state_dir)]
    return subprocess.run(argv, capture_output=True, text=True, check=False, timeout=600)


@dataclass
class RunningStack:
    """One that is up."""

    state_dir: Path
    client: VitrineClient = field(init=False)

    def __post_init__(self) -> None:
        self.client = VitrineClient(self.state.door, timeout_s=10.0, retries=False)

    @property
    def folder(self) -> StateFolder:
        return StateFolder(self.state_dir)

    @property
    def state(self) -> StackState:
        return self.folder.running()

    @property
    def prepared(self) -> Prepared:
        return Prepared.read(self.folder.run / "prepared.json")

    @property
    def known_shopper(self) -> str:
        return self.prepared.example_shopper

    def cli(self, *words: str) -> subprocess.CompletedProcess[str]:
        return vitrine(*words, state_dir=self.state_dir)

    def cli_json(self, *words: str) -> dict[str, Any]:
        ran = self.cli(*words, "--json")
        assert ran.returncode == 0, ran.stderr
        answer: dict[str, Any] = json.loads(ran.stdout)
        return answer

    def home(self, shopper: str, **fields: Any) -> pb.RecommendResponse:
        """A list for the home page."""
        return self.client.recommend(user_id=shopper, placement="home", **fields)

    def answers_in_full(self) -> bool:
        """Whether a list comes without anything lost, worked out now: what explains is not kept."""
        return not self.home(self.known_shopper, explain=True).degraded

    def service_pid(self, name: str) -> int:
        (pid,) = [s.pid for s in self.state.services if s.name == name and s.pid is not None]
        return pid

    @contextmanager
    def fault(self, system: str, **settings: Any) -> Iterator[None]:
        """One of the shop's systems ails inside the block."""
        with grpc.insecure_channel(self.state.addresses["control"]) as channel:
            switches = business_rpc.FaultsStub(channel)
            switches.SetFaults(business.FaultSettings(system=system, **settings), timeout=5)
            try:
                yield
            finally:
                switches.SetFaults(business.FaultSettings(system=system), timeout=5)

    @contextmanager
    def stock_of(self, product: str, units: int, *, after: int = 50) -> Iterator[None]:
        """So many units of a product are there inside the block, `after` beyond it."""
        with grpc.insecure_channel(self.state.addresses["control"]) as channel:
            room = business_rpc.StockRoomStub(channel)
            room.SetStock(business.SetStockRequest(product_ids=[product], stock=[units]))
            try:
                yield
            finally:
                room.SetStock(business.SetStockRequest(product_ids=[product], stock=[after]))

    @contextmanager
    def price_of(self, product: str, price_minor: int, *, before: int) -> Iterator[None]:
        """A product has this list price inside the block."""
        with grpc.insecure_channel(self.state.addresses["control"]) as channel:
            room = business_rpc.StockRoomStub(channel)
            room.SetPrices(
                business.SetPricesRequest(product_ids=[product], price_minor=[price_minor])
            )
            try:
                yield
            finally:
                room.SetPrices(
                    business.SetPricesRequest(product_ids=[product], price_minor=[before])
                )

    def nothing_is_left(self) -> bool:
        return not marked(self.folder.name) and not self.folder.is_locked()
