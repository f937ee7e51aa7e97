"""Faults: how a simulated system ails: slow, flaky, silent, or wrong in what it says.

A dead system has no server at all, so that one is `simulator.backends`' business.
"""

import asyncio
import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import grpc
import numpy as np
from numpy.typing import NDArray

from serving.proto import business_pb2 as pb

SYSTEMS = ("inventory", "pricing", "promotions", "costs", "supply")
FEEDS = ("competitors", "demand", "calendar")
CONTEXT_FEEDS = ("weather", "trends")
_ALL = (*SYSTEMS, *FEEDS, *CONTEXT_FEEDS)
_ABSURD = {  # the column that goes wrong, and an absurd value
    "packed_stock": -5,
    "packed_price_minor": 0,
    "packed_percent_off": float("nan"),
    "packed_cost_minor": -5,
    "packed_backorder_risk": float("nan"),
}
_NEGATIVE = -5
_CAST_NAN = -(2**63)  # what most machines make of NaN where a whole number is wanted


@dataclass(slots=True)
class Ailment:
    """What ails one system now; `settings` is replaced whole, between two calls."""

    chance: np.random.Generator
    settings: pb.FaultSettings = field(default_factory=pb.FaultSettings)

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

    def confused(self, product_ids: Sequence[str]) -> list[str]:
        """The ids in the order in which the answer has them."""
        is_swapped = self.settings.wrong_values == pb.WRONG_VALUES_SWAPPED
        return list(product_ids)[::-1] if is_swapped else list(product_ids)

    def packed(self, **columns: NDArray[np.generic]) -> dict[str, bytes]:
        """The columns as they go over the wire, little-endian, made wrong or left right."""
        wrong_values = self.settings.wrong_values
        if wrong_values == pb.WRONG_VALUES_SHORT:
            columns = {name: values[:-1] for name, values in columns.items()}
        elif wrong_values == pb.WRONG_VALUES_MISREAD:
            columns = {name: values[::-1] for name, values in columns.items()}
        else:
            columns |= {
                name: np.full_like(columns[name], nonsense(wrong_values, absurd))
                for name, absurd in _ABSURD.items()
                if name in columns and is_nonsensical(wrong_values)
            }
        return {
            name: values.astype(values.dtype.newbyteorder("<")).tobytes()
            for name, values in columns.items()
        }


_NONSENSICAL = (pb.WRONG_VALUES_ABSURD, pb.WRONG_VALUES_NAN, pb.WRONG_VALUES_NEGATIVE)


def is_nonsensical(wrong_values: pb.WrongValues) -> bool:
    """Whether such answers hold one value for all, and one that makes no sense."""
    return wrong_values in _NONSENSICAL


def nonsense(wrong_values: pb.WrongValues, absurd: float) -> float:
    """What a column holds instead of its values, where an absurd one would be `absurd`.

    A column of fractions is known by that being a float.
    """
    if wrong_values == pb.WRONG_VALUES_NAN:
        return math.nan if isinstance(absurd, float) else _CAST_NAN
    return _NEGATIVE if wrong_values == pb.WRONG_VALUES_NEGATIVE else absurd


def checked_faults(faults: pb.FaultSettings) -> pb.FaultSettings:
    """The same faults. Raises ValueError naming the first setting that means nothing."""
    if faults.system not in _ALL:
        allowed = ", ".join(_ALL)
        raise ValueError(f"system {faults.system!r}: must be one of {allowed}")
    for name in ("latency_ms", "jitter_ms"):
        if not 0.0 <= getattr(faults, name) <= 600_000.0:
            raise ValueError(f"{name} {getattr(faults, name)}: must be 0..600000")
    if not 0.0 <= faults.error_rate <= 1.0:
        raise ValueError(f"error_rate {faults.error_rate}: must be 0..1")
    if faults.wrong_values not in pb.WrongValues.values():
        raise ValueError(f"wrong_values {faults.wrong_values}: unknown")
    return faults
