"""Faults: how a simulated system ails: slow, flaky, silent, or wrong in what it says.

A dead system has no server at all, so that one is `simulator.backends`' business.
"""

import asyncio
from dataclasses import dataclass, field
from typing import TypeVar

import grpc
import numpy as np

from serving.proto import business_pb2 as pb

SYSTEMS = ("inventory", "pricing", "promotions")
FEEDS = ("competitors", "demand", "calendar")
_NONSENSE: dict[type, tuple[str, float]] = {  # the column that goes wrong, and an absurd value
    pb.StockResponse: ("stock", -5),
    pb.PricesResponse: ("price_minor", 0),
    pb.PromotionsResponse: ("percent_off", float("nan")),
}
_Answer = TypeVar("_Answer", pb.StockResponse, pb.PricesResponse, pb.PromotionsResponse)


@dataclass(slots=True)
class Ailment:
    """What ails one system now; `settings` is replaced whole, between two calls."""

    chance: np.random.Generator
    settings: pb.FaultSettings = field(default_factory=pb.FaultSettings)

    @property
    def wrong_values(self) -> int:
        """A pb.WrongValues."""
        return self.settings.wrong_values

    def settings_of(self, system: str) -> pb.FaultSettings:
        """A copy that names the system."""
        copy = pb.FaultSettings()
        copy.CopyFrom(self.settings)
        copy.system = system
        return copy

    async def endure(self, context: grpc.aio.ServicerContext) -> None:
        """Come before every answer: waits, fails or never comes back, as the settings say."""
        now = self.settings
        if now.stall:
            await asyncio.get_running_loop().create_future()  # until the caller gives up
        if now.latency_ms > 0 or now.jitter_ms > 0:
            late_ms = now.latency_ms + now.jitter_ms * self.chance.random()
            await asyncio.sleep(late_ms / 1000.0)
        if now.error_rate > 0 and self.chance.random() < now.error_rate:
            await context.abort(grpc.StatusCode.UNAVAILABLE, "a simulated fault")


def checked_faults(faults: pb.FaultSettings) -> pb.FaultSettings:
    """The same faults. Raises ValueError naming the first setting that means nothing."""
    if faults.system not in (*SYSTEMS, *FEEDS):
        allowed = ", ".join((*SYSTEMS, *FEEDS))
        raise ValueError(f"system {faults.system!r}: must be one of {allowed}")
    for name in ("latency_ms", "jitter_ms"):
        if not 0.0 <= getattr(faults, name) <= 600_000.0:
            raise ValueError(f"{name} {getattr(faults, name)}: must be 0..600000")
    if not 0.0 <= faults.error_rate <= 1.0:
        raise ValueError(f"error_rate {faults.error_rate}: must be 0..1")
    if faults.wrong_values not in pb.WrongValues.values():
        raise ValueError(f"wrong_values {faults.wrong_values}: unknown")
    return faults


def garbled(answer: _Answer, wrong_values: int) -> _Answer:
    """The answer made wrong in place, or left right."""
    if wrong_values == pb.WRONG_VALUES_NONE:
        return answer
    name, nonsense = _NONSENSE[type(answer)]
    column = getattr(answer, name)
    values = list(column)
    del column[:]
    if wrong_values == pb.WRONG_VALUES_ABSURD:
        column.extend([nonsense] * len(values))
    elif wrong_values == pb.WRONG_VALUES_SHORT:
        column.extend(values[:-1])
    else:
        column.extend(values[::-1])
    return answer
