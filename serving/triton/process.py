"""Process: one run of Triton's server, from start to the last trace of it.

Starting, stopping and cleaning up; when to do which is the supervisor's business. The server
listens on the loopback only (its version predates several security fixes), and administration asks
for a secret that is new at every start.
"""

import asyncio
import contextlib
import hashlib
import os
import secrets
import signal
from dataclasses import dataclass
from pathlib import Path

from serving.stack.ports import LOOPBACK
from serving.stack.processes import tied_to_parent
from serving.triton.environments import EnvironmentFolders
from serving.triton.runtime import TritonRuntime, server_environment

_ADMIN_PROTOCOLS = "model-repository,shared-memory,trace,logging"
_HTTP_THREADS = 2  # they only take in and hand out; the models run in their stubs
_ADMIN_HEADER = "vitrine"
_SHARED_MEMORY = Path("/dev/shm")
_STARTED_FILE = "triton.started"  # in run/


@dataclass(frozen=True, slots=True)
class Ports:
    """Where the server listens, all on the loopback."""

    grpc: int  # the supervisor and administrators
    http: int  # the gateway
    metrics: int


@dataclass(frozen=True, slots=True)
class ServerPlan:
    """Everything that stays the same when the server is started again."""

    runtime: TritonRuntime
    repository: Path  # what promotion puts in
    model_folder: Path  # what the server loads, see serving.triton.served
    key_file: Path
    log_file: Path
    ports: Ports
    shared_memory_prefix: str  # of every segment this stack's servers make


def shared_memory_prefix(state_folder: Path) -> str:
    """Different for every stack on the machine, the same whenever this one is started."""
    return f"vitrine_{hashlib.sha256(str(state_folder.resolve()).encode()).hexdigest()[:12]}_"


class ServerProcess:
    """One running server with its stubs. Make it with `start`; end it with `stop` or `kill`."""

    def __init__(
        self, process: asyncio.subprocess.Process, plan: ServerPlan, admin_secret: str
    ) -> None:
        self._process = process
        self._plan = plan
        self.admin_headers = {f"triton-grpc-protocol-{_ADMIN_HEADER}": admin_secret}

    @staticmethod
    async def start(plan: ServerPlan) -> "ServerProcess":
        """Returns before the server listens. Call from the main thread, see `tied_to_parent`."""
        _kill_leftovers(plan.shared_memory_prefix)
        remove_shared_memory(plan.shared_memory_prefix)
        environments = EnvironmentFolders(plan.model_folder.parent / _STARTED_FILE)
        environments.remove()  # of a run whose supervisor was killed, too
        environments.server_starts()
        admin_secret = secrets.token_hex(16)
        plan.log_file.parent.mkdir(parents=True, exist_ok=True)
        plan.model_folder.mkdir(parents=True, exist_ok=True)
        with plan.log_file.open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                *tied_to_parent(_command(plan, admin_secret), signal.SIGKILL),
                env=server_environment(plan.runtime, plan.key_file),
                cwd=plan.runtime.backends_folder.parent,  # stubs import from it first
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # stubs join the group, so that one signal reaches all
            )
        return ServerProcess(process, plan, admin_secret)

    @property
    def pid(self) -> int:
        """The server's process id, which is its group's too."""
        return self._process.pid

    @property
    def model_folder(self) -> Path:
        """What the server loads from."""
        return self._plan.model_folder

    @property
    def exit_code(self) -> int | None:
        """None while it runs; negative for a signal."""
        return self._process.returncode

    async def wait(self) -> int:
        """Returns the exit code once the server is gone."""
        return await self._process.wait()

    def cpu_ticks(self) -> int:
        """Processor time used, in clock ticks; a frozen server uses none. 0 once gone."""
        fields = _proc_stat(self._process.pid)
        return int(fields[11]) + int(fields[12]) if fields else 0

    def are_running(self, pids: frozenset[int]) -> bool:
        """Whether none of these processes ended or was stopped."""
        return all((_proc_stat(pid) or ["X"])[0] not in "XZTt" for pid in pids)

    def stubs_below(self, folder: Path) -> frozenset[int]:
        """Process ids of the stubs that serve a model file below this folder."""
        prefix = f"{folder}/".encode()
        return frozenset(
            pid
            for pid in _processes_with(self._plan.shared_memory_prefix)
            if any(argument.startswith(prefix) for argument in _command_line(pid))
        )

    def kill_stubs(self, pids: frozenset[int]) -> None:
        """End those of the stubs that are still there."""
        for pid in pids & _processes_with(self._plan.shared_memory_prefix):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    async def stop(self, timeout_s: float) -> None:
        """Let running inferences finish, then end; killed if that takes longer than `timeout_s`."""
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGTERM)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._process.wait(), timeout_s)
        await self.kill()

    async def kill(self) -> None:
        """End server and stubs at once, frozen ones too, and remove their shared memory."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        await self._process.wait()
        remove_shared_memory(self._plan.shared_memory_prefix)
        EnvironmentFolders(self._plan.model_folder.parent / _STARTED_FILE).remove()


def remove_shared_memory(prefix: str) -> int:
    """Remove the segments that killed servers left behind; returns how many there were."""
    removed = 0
    for segment in _SHARED_MEMORY.glob(f"{prefix}*"):
        segment.unlink(missing_ok=True)
        removed += 1
    return removed


def _kill_leftovers(prefix: str) -> None:
    """End what outlived a killed supervisor; a frozen stub would stay for ever."""
    for pid in _processes_with(prefix):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)


def _processes_with(prefix: str) -> frozenset[int]:
    """Servers and stubs of one stack: its shared memory's name is an argument of each."""
    pids = (int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit())
    return frozenset(pid for pid in pids if _is_ours(_command_line(pid), prefix.encode()))


def _is_ours(command_line: list[bytes], prefix: bytes) -> bool:
    program = command_line[0].rsplit(b"/", 1)[-1] if command_line else b""
    return program in (b"tritonserver", b"triton_python_backend_stub") and any(
        prefix in argument for argument in command_line
    )


def _command_line(pid: int) -> list[bytes]:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:  # it ended meanwhile, or is another user's
        return []


def _proc_stat(pid: int) -> list[str]:
    """The fields after the program's name, the first being the state."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def _command(plan: ServerPlan, admin_secret: str) -> list[str]:
    return [
        str(plan.runtime.server_file),
        f"--model-repository={plan.model_folder}",
        "--model-control-mode=explicit",
        "--exit-on-error=false",
        # Configurations are complete; completing them would start every stub twice.
        "--disable-auto-complete-config",
        f"--backend-directory={plan.runtime.backends_folder}",
        f"--cache-directory={plan.runtime.caches_folder}",
        f"--backend-config=python,shm-region-prefix-name={plan.shared_memory_prefix}",
        "--pinned-memory-pool-byte-size=0",
        "--exit-timeout-secs=3",
        f"--http-address={LOOPBACK}",
        f"--http-port={plan.ports.http}",
        f"--http-thread-count={_HTTP_THREADS}",
        f"--http-restricted-api={_ADMIN_PROTOCOLS}:{_ADMIN_HEADER}={admin_secret}",
        f"--grpc-address={LOOPBACK}",
        f"--grpc-port={plan.ports.grpc}",
        f"--grpc-restricted-protocol={_ADMIN_PROTOCOLS}:{_ADMIN_HEADER}={admin_secret}",
        f"--metrics-address={LOOPBACK}",
        f"--metrics-port={plan.ports.metrics}",
        "--allow-gpu-metrics=false",
        "--log-format=ISO8601",
    ]
