"""Report: what one run on a GPU found, as a table for reading and one flat JSON for keeping."""

import platform
from dataclasses import dataclass, field
from typing import Any

import torch

from export.gpu.checks import Checked


@dataclass(frozen=True, slots=True)
class Goal:
    """One thing that was asked, beside what was measured."""

    what: str
    asked: str
    measured: str
    holds: bool


@dataclass(slots=True)
class Report:
    """Filled step by step, so that a run that breaks off still tells what it found."""

    device: torch.device
    figures: dict[str, Any] = field(default_factory=dict)
    checks: list[Checked] = field(default_factory=list)
    rows: list[tuple[str, str]] = field(default_factory=list)  # what, measured
    goals: list[Goal] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)  # for want of time
    not_run: list[str] = field(default_factory=list)  # for want of something else, with the reason

    @property
    def is_right(self) -> bool:
        """Whether nothing broke and every comparison held that must, gates aside."""
        return all(each.holds or each.is_gate for each in self.checks) and not self.failures

    def add(self, key: str, what: str, value: float, unit: str) -> None:
        """One figure; its key ends in its unit."""
        self.figures[key] = round(value, 6)
        self.rows.append((what, f"{value:,.4g} {unit}"))

    def checked(self, check: Checked, key: str) -> bool:
        """One comparison; a fast wrong answer is shown as wrong. Returns whether it holds."""
        self.checks.append(check)
        for name, value in check.figures.items():
            self.figures[f"{key}_{name}"] = value
        return check.holds

    def failed(self, step: str, error: Exception) -> None:
        """A step that broke off; the others go on."""
        first = str(error).strip().splitlines() or [""]
        self.failures.append(f"{step}: {type(error).__name__}: {first[0][:200]}")

    def flat(self) -> dict[str, Any]:
        """One flat JSON object: machine, figures, verdicts."""
        return {
            **machine(self.device),
            **self.figures,
            "is_right": self.is_right,
            "checks_failed": sum(not (c.holds or c.is_gate) for c in self.checks),
            "gates_lost": sum(c.is_gate and not c.holds for c in self.checks),
            "goals_missed": sum(not goal.holds for goal in self.goals),
            "failures": "; ".join(self.failures),
            "left_out": "; ".join(self.left_out),
            "not_run": "; ".join(self.not_run),
        }

    def text(self) -> str:
        """Everything, for reading."""
        said = machine(self.device)
        lines = [f"on {said['device']}, torch {said['torch']}, Python {said['python']}", ""]
        lines += ["against float64, on random inputs"]
        lines += [f"  {_verdict(c)} {c.what}: {c.measured}" for c in self.checks]
        lines += ["", "measured (medians)"]
        width = max((len(what) for what, _ in self.rows), default=0)
        lines += [f"  {what:<{width}}  {measured}" for what, measured in self.rows]
        if self.goals:
            lines += ["", "asked"]
            lines += [
                f"  {'met   ' if g.holds else 'MISSED'} {g.what}: {g.asked}, measured {g.measured}"
                for g in self.goals
            ]
        lines += [f"LEFT OUT for want of time: {each}" for each in self.left_out]
        lines += [f"NOT RUN {each}" for each in self.not_run]
        lines += [f"FAILED {failure}" for failure in self.failures]
        return "\n".join(lines) + "\n"


def _verdict(check: Checked) -> str:
    if check.holds:
        return "holds  "
    return "REFUSED" if check.is_gate else "WRONG  "


def machine(device: torch.device) -> dict[str, str]:
    """What this was measured on, without naming the machine."""
    if device.type == "cuda":
        name = torch.cuda.get_device_name(device)
        major, minor = torch.cuda.get_device_capability(device)
        name = f"{name} (sm_{major}{minor})"
    else:
        name = "the CPU: correctness only, its times say nothing of a GPU"
    return {
        "device": name,
        "torch": torch.__version__,
        "cuda": str(torch.version.cuda),
        "python": platform.python_version(),
    }
