"""Showing: a stack and its processes as a person or a script reads them."""

import json
import time
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil
from rich.table import Table
from rich.text import Text

from serving.console.invitation import ADDRESS as CONSOLE
from serving.console.invitation import key_file, token_of
from serving.rules_state import RulesState
from serving.stack.folder import StackState
from serving.stack.processes import descendants
from serving.stack.supervisor import last_lines

_MB = 1_000_000
_LAST_REQUESTS = 200


@dataclass(frozen=True, slots=True)
class ProcessMemory:
    """One process of the stack. PSS shares pages among those who map them; its sum is honest."""

    service: str
    pid: int
    command: str
    rss_bytes: int
    pss_bytes: int


def memory_of(state: StackState) -> list[ProcessMemory]:
    """Every living process of the stack, the supervisor first, then service by service."""
    roots = [("supervisor", state.supervisor_pid)]
    roots += [(service.name, service.pid) for service in state.services if service.pid is not None]
    seen: set[int] = {pid for name, pid in roots if name != "supervisor"}
    found = []
    for name, pid in sorted(roots, key=lambda root: root[0] == "supervisor"):
        below = [p for p in descendants(pid) if p.pid not in seen]
        seen |= {p.pid for p in below}
        for process in [psutil.Process(pid) if psutil.pid_exists(pid) else None, *below]:
            entry = None if process is None else _memory(name, process)
            found += [] if entry is None else [entry]
    return found


def _memory(service: str, process: psutil.Process) -> ProcessMemory | None:
    try:
        memory = process.memory_full_info()
        words = process.cmdline() or [process.name()]
    except psutil.Error:  # gone meanwhile
        return None
    return ProcessMemory(service, process.pid, _short(words), memory.rss, memory.pss)


def _short(words: list[str]) -> str:
    """What tells one process from another: the module or program, not the path to Python."""
    if "-m" in words[:-1]:
        return words[words.index("-m") + 1]
    program = words[0].rsplit("/", 1)[-1]
    if program.startswith("python"):
        script = next((word for word in words[1:] if not word.startswith("-")), program)
        return script.rsplit("/", 1)[-1]
    return program


def lost_lately(logs: Path) -> dict[str, int]:
    """How often each reason was given in the last requests, by the gateways' own lines."""
    lost: Counter[str] = Counter()
    for file in sorted(logs.glob("gateway-*.jsonl")):
        for line in last_lines(file, _LAST_REQUESTS):
            try:
                entry = json.loads(line)
            except ValueError:  # the file's first line may be cut
                continue
            lost.update(entry.get("degraded", ()))
    return dict(lost)


def cached_lately(logs: Path) -> dict[str, int]:
    """How many of the last lists had which `cache_status`, by the gateways' own lines."""
    statuses: Counter[str] = Counter()
    for file in sorted(logs.glob("gateway-*.jsonl")):
        for line in last_lines(file, _LAST_REQUESTS):
            try:
                entry = json.loads(line)
            except ValueError:  # the file's first line may be cut
                continue
            if isinstance(entry.get("cache"), str):
                statuses[entry["cache"]] += 1
    return dict(statuses)


def as_json(
    state: StackState,
    *,
    serves: bool,
    lost: dict[str, int],
    cached: dict[str, int],
    rules: RulesState | None,
) -> dict[str, Any]:
    """A JSON object for `status --json`."""
    memory = memory_of(state)
    return {
        **asdict(state),
        "serves": serves,
        "degradations": lost,
        "cache": cached | {"hit_rate": hit_rate(cached)},
        "rules": None if rules is None else asdict(rules),
        "uptime_s": round(time.time() - state.started_ms / 1000),
        "processes": [asdict(process) for process in memory],
        "rss_bytes": sum(process.rss_bytes for process in memory),
        "pss_bytes": sum(process.pss_bytes for process in memory),
    }


def hit_rate(cached: dict[str, int]) -> float | None:
    """Share of the lists that the cache was asked for; None if it was not."""
    asked = sum(count for status, count in cached.items() if status != "BYPASS")
    return (asked - cached.get("MISS", 0)) / asked if asked else None


def as_table(
    state: StackState,
    *,
    serves: bool,
    lost: dict[str, int],
    cached: dict[str, int],
    rules: RulesState | None,
    logs: Path,
) -> tuple[Table, Text]:
    """The services as a table, and the lines under it."""
    memory = memory_of(state)
    table = Table("service", "pid", "state", "restarts", "memory")
    for service in state.services:
        pss = sum(p.pss_bytes for p in memory if p.service == service.name)
        table.add_row(
            service.name,
            "-" if service.pid is None else str(service.pid),
            Text("ready", "green") if service.is_ready else Text("not ready", "red"),
            str(service.restarts),
            f"{pss / _MB:.0f} MB",
        )
    total = sum(process.pss_bytes for process in memory)
    uptime_min = (time.time() - state.started_ms / 1000) / 60
    losses = ", ".join(f"{why} ×{n}" for why, n in sorted(lost.items())) or "none"
    lines = [
        f"door           {state.door}  ({'serving' if serves else 'not serving: ' + state.phase})",
        f"release        {state.release}  (from {state.source}, {state.profile} profile)",
        *_rules_lines(rules),
        f"memory         {total / _MB:.0f} MB in {len(memory)} processes, shared pages once",
        f"up             {uptime_min:.0f} min, supervisor {state.supervisor_pid}",
        f"degraded       {losses}  (last {_LAST_REQUESTS} requests)",
        f"cache          {_cache_line(cached)}  (last {_LAST_REQUESTS} requests)",
        *(f"{name:14} {address}" for name, address in state.addresses.items()),
        *_console_lines(state, logs.parent),
        f"{'logs':14} {logs}",
    ]
    return table, Text("\n".join(lines))


def _console_lines(state: StackState, state_dir: Path) -> list[str]:
    """How to come in. Only whoever may read the key file gets to see this."""
    if CONSOLE not in state.addresses:
        return []
    return [f"console token  {token_of(state_dir)}  ({key_file(state_dir)})"]


def _cache_line(cached: dict[str, int]) -> str:
    rate = hit_rate(cached)
    counts = ", ".join(f"{status} ×{n}" for status, n in sorted(cached.items()))
    return "not asked" if rate is None else f"{rate:.0%} hits: {counts}"


def _rules_lines(rules: RulesState | None) -> list[str]:
    """The book in force, and whether the file is another that cannot be used."""
    if rules is None:
        return []
    lines = [f"rules          {rules.version or 'none'}  ({rules.rules} rules)"]
    if rules.faults:
        more = f" and {len(rules.faults) - 1} more" if len(rules.faults) > 1 else ""
        lines.append(
            f"rules REFUSED  {rules.file}: {rules.faults[0]}{more}; see `vitrine rules check`"
        )
    if rules.notes:
        lines.append(f"rules          {len(rules.notes)} notes; see `vitrine rules show`")
    return lines
