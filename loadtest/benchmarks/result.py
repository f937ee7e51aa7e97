"""Result: what one benchmark measured, what was asked of it, and how it is kept."""

import json
import os
import platform
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil

Figure = float | int | str | None


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was asked, beside what was measured."""

    what: str
    asked: str  # as a reader says it: "≤ 100 ms"
    measured: str
    holds: bool


@dataclass(frozen=True, slots=True)
class Grid:
    """A small table of the page."""

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True)
class Result:
    """A benchmark's outcome. `figures` is what `bench NAME --json` prints: one flat object."""

    name: str
    figures: dict[str, Any]
    checks: tuple[Check, ...] = ()
    grids: tuple[Grid, ...] = ()
    pictures: tuple[str, ...] = ()  # file names in docs/images
    notes: tuple[str, ...] = ()
    command: str = ""
    machine: str = ""
    measured_at: str = field(default_factory=lambda: datetime.now(UTC).strftime("%Y-%m-%d %H:%M"))

    @property
    def holds(self) -> bool:
        """Whether everything that was asked holds."""
        return all(check.holds for check in self.checks)


def at_most(what: str, measured: float, limit: float, unit: str) -> Check:
    """`measured` must not exceed `limit`; NaN fails."""
    return Check(what, f"≤ {limit:g}{unit}", f"{measured:.4g}{unit}", measured <= limit)


def at_least(what: str, measured: float, limit: float, unit: str) -> Check:
    """`measured` must reach `limit`; NaN fails."""
    return Check(what, f"≥ {limit:g}{unit}", f"{measured:.4g}{unit}", measured >= limit)


def machine() -> str:
    """This machine in one line, without naming it."""
    model = platform.processor() or platform.machine()
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    memory_gib = psutil.virtual_memory().total / 2**30
    release = platform.freedesktop_os_release().get("PRETTY_NAME", "Linux")
    return (
        f"{os.cpu_count()} cores of {model}, {memory_gib:.0f} GiB, {release},"
        f" Python {platform.python_version()}"
    )


def keep(result: Result, folder: Path) -> None:
    """Store it beside the others, replacing an earlier one of the same name."""
    folder.mkdir(parents=True, exist_ok=True)
    part = folder / f"{result.name}.part"
    part.write_text(json.dumps(asdict(result), indent=2, ensure_ascii=False) + "\n")
    os.replace(part, folder / f"{result.name}.json")


def kept(name: str, folder: Path) -> Result | None:
    """The last stored result of this name, if there is one."""
    try:
        raw = json.loads((folder / f"{name}.json").read_text())
    except FileNotFoundError:
        return None
    return Result(
        **{
            **raw,
            "checks": tuple(Check(**check) for check in raw["checks"]),
            "grids": tuple(
                Grid(g["title"], tuple(g["header"]), tuple(map(tuple, g["rows"])))
                for g in raw["grids"]
            ),
            "pictures": tuple(raw["pictures"]),
            "notes": tuple(raw["notes"]),
        }
    )
