"""The state folder of one local stack: where its pieces lie, its lock, what it says of itself.

One stack per folder. A supervisor holds the lock for life, so that "is one running?" never depends
on a file that a killed process left behind.
"""

import fcntl
import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path

from shop.errors import NotFound, VitrineError

_KEPT_LOGS = 3


class Phase(StrEnum):
    """Where a stack is in its life."""

    STARTING = "starting"
    READY = "ready"
    STOPPING = "stopping"


class StackRunning(VitrineError):
    """Another supervisor holds this folder."""


@dataclass(frozen=True, slots=True)
class ServiceState:
    """One service as `status` shows it."""

    name: str
    pid: int | None  # None: not running at this moment
    is_ready: bool
    restarts: int
    log: str


@dataclass(frozen=True, slots=True)
class StackState:
    """What a running supervisor says of itself."""

    run: str  # marks this run's processes
    supervisor_pid: int
    phase: Phase
    profile: str  # cpu, gpu
    source: str  # what the shop's data came from: "the world", or a data folder
    release: str  # active at the start; a promotion changes it while the stack runs
    started_ms: int
    door: str  # host:port of the gRPC API
    addresses: dict[str, str]  # everything that listens, by name
    services: tuple[ServiceState, ...]

    @staticmethod
    def from_json(text: str) -> "StackState":
        """Raises ValueError, KeyError or TypeError if the text is not one."""
        raw = json.loads(text)
        services = tuple(ServiceState(**service) for service in raw.pop("services"))
        return StackState(**(raw | {"phase": Phase(raw["phase"]), "services": services}))

    def to_json(self) -> str:
        """A JSON object; `from_json` reads it back."""
        return json.dumps(asdict(self), indent=2) + "\n"


@dataclass(frozen=True, slots=True)
class StateFolder:
    """Paths inside a stack's state folder."""

    root: Path

    @property
    def logs(self) -> Path:
        """One file per service."""
        return self.root / "logs"

    @property
    def run(self) -> Path:
        """Process ids, ports, generated settings: all of it of one run."""
        return self.root / "run"

    def metrics_address(self, rank: int) -> Path:
        """Where a gateway's replica tells at which address its metrics are."""
        return self.run / f"metrics-{rank}"

    @property
    def keys(self) -> Path:
        """Secrets of this shop."""
        return self.root / "keys"

    @property
    def snapshots(self) -> Path:
        """Data that was taken in."""
        return self.root / "snapshots"

    @property
    def models(self) -> Path:
        """Trained, not yet exported."""
        return self.root / "models"

    @property
    def releases(self) -> Path:
        """What can be served, and CURRENT."""
        return self.root / "releases"

    @property
    def name(self) -> str:
        """A short name for this folder, the same for every run in it."""
        return hashlib.sha256(str(self.root.resolve()).encode()).hexdigest()[:12]

    @property
    def _state_file(self) -> Path:
        return self.run / "stack.json"

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Holds the folder for one supervisor. Raises StackRunning if another has it."""
        self.run.mkdir(parents=True, exist_ok=True)
        with (self.run / "stack.lock").open("a") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise StackRunning(
                    "a stack is already running here: see `vitrine status`, or stop it with"
                    " `vitrine down`"
                ) from error
            lock.truncate(0)
            lock.write(str(os.getpid()))
            lock.flush()
            yield

    def holder(self) -> int | None:
        """Process id of the supervisor that is alive in this folder, from its very first moment."""
        if not self.is_locked():
            return None
        try:
            return int((self.run / "stack.lock").read_text())
        except ValueError:  # it has the lock and is about to write its name
            return None

    def is_locked(self) -> bool:
        """Whether a supervisor is alive in this folder."""
        try:
            with (self.run / "stack.lock").open("r") as lock:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except FileNotFoundError:
            return False
        except BlockingIOError:
            return True
        return False

    def write_state(self, state: StackState) -> None:
        """Replace what this stack says of itself, in one step."""
        part = self._state_file.with_suffix(".part")
        part.write_text(state.to_json())
        os.replace(part, self._state_file)

    def forget_state(self) -> None:
        """The stack is gone."""
        self._state_file.unlink(missing_ok=True)

    def last_state(self) -> StackState | None:
        """What the last supervisor said, alive or not; None if it stopped in good order."""
        try:
            return StackState.from_json(self._state_file.read_text())
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError):
            return None  # written by another version of this code: as good as gone

    def running(self) -> StackState:
        """The stack that runs here. Raises NotFound, naming the fix, if none does."""
        state = self.last_state() if self.is_locked() else None
        if state is None:
            raise NotFound("no stack is running here; start one with `vitrine up`")
        return state

    def active_release(self) -> str:
        """The release that is served, or will be at the next start; "" before the first."""
        try:
            return (self.releases / "CURRENT").read_text().strip()
        except FileNotFoundError:
            return ""

    def fresh_log(self, service: str) -> Path:
        """An empty log for a service; the last few runs' logs stay beside it, numbered."""
        self.logs.mkdir(parents=True, exist_ok=True)
        path = self.logs / f"{service}.log"
        for number in range(_KEPT_LOGS, 0, -1):
            older = path if number == 1 else self.logs / f"{service}.log.{number - 1}"
            if older.exists():
                os.replace(older, self.logs / f"{service}.log.{number}")
        path.touch()
        return path
