"""Door plan: what is started and how it is driven; goes to each process as JSON."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from shop.features import FeatureSchema

ENGINE_READY, REPLICA_READY = "engine.json", "replica-{}.ready"
RESULT = '{"rate_per_s"'  # how a line of the drive begins that tells of one rate
_SOCKET = "engine.socket"


@dataclass(frozen=True, slots=True)
class DoorPlan:
    """One run."""

    device: str  # cuda, cpu
    rows: int  # of the catalogue, row 0 among them
    candidates: int
    precision: str
    batches: tuple[int, ...]  # sizes that the engine is made for, ascending
    replicas: int
    generators: int
    channels: int  # connections of each generator
    rates_per_s: tuple[float, ...]  # the first is the one that is asked for
    rounds: int  # of the first rate; the median counts
    duration_s: float
    warm_s: float
    seed: int
    listed: int = 20
    shoppers: int = 10_000

    def to_json(self) -> str:
        """`from_json` reads it back."""
        return json.dumps(asdict(self))

    @staticmethod
    def from_json(text: str) -> "DoorPlan":
        """Raises ValueError or TypeError if it is no plan."""
        raw = json.loads(text)
        lists = {name: tuple(raw[name]) for name in ("batches", "rates_per_s")}
        return DoorPlan(**(raw | lists))


def socket_in(folder: Path) -> Path:
    """Where the engine listens."""
    return folder / _SOCKET


def schema_told_in(folder: Path) -> FeatureSchema:
    """What the engine says of itself once it can be asked."""
    return FeatureSchema.from_json(json.loads((folder / ENGINE_READY).read_text()))
