"""A supervised Triton in a process of its own, as the stack runs it, over one state folder."""

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import tritonclient.grpc as triton
from numpy.typing import NDArray

from serving.triton.process import shared_memory_prefix
from serving.triton.repository import install_version
from serving.triton.status import STATUS_FILE, TritonStatus, read_status
from serving.triton.supervisor import CLIENT_ARGUMENTS
from tests.contract.small_release import KEY, a_release

DEADLINE_S = 30.0


def a_state(
    folder: Path,
    *,
    versions: tuple[int, ...] = (1,),
    is_slow: bool = False,
    searchable: tuple[int, ...] = (),
) -> Path:
    """A state folder with a key and small releases installed, not running yet."""
    (folder / "keys").mkdir(parents=True)
    key_file = folder / "keys" / "release.key"
    key_file.write_text(KEY.hex())
    key_file.chmod(0o600)
    for version in versions:
        release, manifest = a_release(
            folder / "releases",
            version=version,
            seed=version,
            is_slow=is_slow,
            is_searchable=version in searchable,
        )
        install_version(release, manifest, folder / "model_repository")
    return folder


class RunningTriton:
    """Use as a context: the supervisor is told to stop at the end, and must have."""

    def __init__(self, state: Path) -> None:
        self.state = state
        self._client: triton.InferenceServerClient | None = None

    def __enter__(self) -> "RunningTriton":
        log = (self.state / "supervisor.log").open("ab")
        self.supervisor = subprocess.Popen(
            [sys.executable, "-m", "serving.triton.server", "--state-dir", str(self.state)],
            stdout=log,
            stderr=log,
        )
        log.close()
        self.eventually(lambda: self.has_status())
        return self

    def __exit__(self, *error: object) -> None:
        if self._client is not None:
            self._client.close()
        self.supervisor.send_signal(signal.SIGTERM)
        self.supervisor.wait(DEADLINE_S)

    def has_status(self) -> bool:
        """Whether this supervisor has reported, as opposed to one before it."""
        status = read_status(self.state / "run" / STATUS_FILE)
        assert self.supervisor.poll() is None, (self.state / "supervisor.log").read_text()
        return status is not None and status.supervisor_pid == self.supervisor.pid

    @property
    def status(self) -> TritonStatus:
        status = read_status(self.state / "run" / STATUS_FILE)
        assert status is not None
        return status

    @property
    def client(self) -> triton.InferenceServerClient:
        """One client for the whole life of the stack, as the gateway has it."""
        if self._client is None:
            self._client = triton.InferenceServerClient(
                self.status.grpc_address, channel_args=list(CLIENT_ARGUMENTS)
            )
        return self._client

    def is_ready(self, *versions: int) -> bool:
        return all(self.status.is_ready(version) for version in versions)

    def eventually(self, condition: Callable[[], bool], within_s: float = DEADLINE_S) -> float:
        """Seconds until `condition` held; fails the test after `within_s`."""
        started_s = time.monotonic()
        while not condition():
            passed_s = time.monotonic() - started_s
            assert passed_s < within_s, f"not within {within_s} s; {self.explain()}"
            time.sleep(0.02)
        return time.monotonic() - started_s

    def explain(self) -> str:
        log = self.state / "logs" / "triton.log"
        tail = log.read_text()[-3000:] if log.exists() else "no log"
        return f"{read_status(self.state / 'run' / STATUS_FILE)}\n{tail}"

    def infer(
        self,
        model: str,
        inputs: dict[str, NDArray[np.generic]],
        *,
        version: int = 1,
        timeout_s: float = 5.0,
    ) -> NDArray[np.float32]:
        """The model's one output."""
        answer = self.client.infer(
            model, tensors(inputs), model_version=str(version), client_timeout=timeout_s
        )
        return answer.as_numpy(answer.get_response().outputs[0].name)

    def processes(self) -> dict[int, str]:
        """Server and stubs of this state folder, pid → command line."""
        prefix = shared_memory_prefix(self.state)
        found = {}
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                line = command_line(int(entry.name))
                if prefix in line and "triton" in line:
                    found[int(entry.name)] = line
        return found

    def stubs(self, model: str, version: int = 1) -> list[int]:
        """The process ids of a version's stubs, starting ones among them."""
        file = f"{self.state}/run/triton_models/{model}/{version}/model.onnx"
        return [pid for pid, line in self.processes().items() if file in line]

    def stub(self, model: str, version: int = 1) -> int:
        """The one stub of a version, once those of a load before it are gone."""
        self.eventually(lambda: len(self.stubs(model, version)) == 1)
        (pid,) = self.stubs(model, version)
        return pid


def tensors(inputs: dict[str, NDArray[np.generic]]) -> list[triton.InferInput]:
    """As the client library wants them."""
    made = []
    for name, array in inputs.items():
        datatype = "INT64" if array.dtype == np.int64 else "FP32"
        tensor = triton.InferInput(name, list(array.shape), datatype)
        tensor.set_data_from_numpy(array)
        made.append(tensor)
    return made


def command_line(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    except OSError:
        return ""


def is_alive(pid: int) -> bool:
    """Whether it still runs; a dead child whose parent has not looked yet does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"
