"""Admission state: how full the door is, as its metrics say, for `vitrine status`."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

_SHED = 'vitrine_shed_total{reason="'


@dataclass(frozen=True, slots=True)
class AdmissionState:
    """Of the first replica."""

    lists_allowed: float  # what the adaptive limit has come to
    lists_under_way: int
    shed: dict[str, int]  # since the replica started, by reason; those that happened

    @staticmethod
    def of(metrics: Mapping[str, float]) -> "AdmissionState | None":
        """None if nobody answered, or the door is of a version without a limit."""
        if "vitrine_lists_allowed" not in metrics:
            return None
        shed = {
            name.removeprefix(_SHED).removesuffix('"}'): int(count)
            for name, count in metrics.items()
            if name.startswith(_SHED) and count
        }
        under_way = int(metrics.get("vitrine_lists_under_way", 0.0))
        return AdmissionState(round(metrics["vitrine_lists_allowed"], 1), under_way, shed)

    def line(self) -> str:
        """As a person reads it."""
        shed = ", ".join(f"{reason} ×{count}" for reason, count in sorted(self.shed.items()))
        return (
            f"admission      {self.lists_under_way} lists under way, at most"
            f" {math.ceil(self.lists_allowed)}; turned away: {shed or 'none'}"
        )
