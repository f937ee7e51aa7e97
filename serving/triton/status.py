"""Status: what the supervisor tells the rest of the stack, as one small JSON file.

The file is replaced several times a second, each time whole; an old `updated_ms` means that nobody
is looking after the server.
"""

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

STATUS_FILE = "triton.json"  # in the state folder's run/
LOADING = "is being loaded"  # the reason of a version that is not judged yet


@dataclass(frozen=True, slots=True)
class ModelStatus:
    """One version of one model, judged by an inference made within the last seconds."""

    model: str
    version: int
    release: str  # "" while the version could not be attributed to a release
    is_ready: bool
    reason: str  # why not; "" when ready
    reloads: int  # how often it had to be loaded again since the supervisor started


@dataclass(frozen=True, slots=True)
class TritonStatus:
    """The server as last seen. The addresses stay the same when it is started again."""

    grpc_address: str  # host:port
    http_address: str
    metrics_address: str
    supervisor_pid: int
    server_pid: int  # 0 while there is none
    is_live: bool
    restarts: int
    restart_reason: str  # of the last restart, "" if there was none
    models: tuple[ModelStatus, ...]
    updated_ms: int

    def is_ready(self, version: int) -> bool:
        """Whether every model answers in this version."""
        of_version = [model.is_ready for model in self.models if model.version == version]
        return self.is_live and bool(of_version) and all(of_version)


def write_status(path: Path, status: TritonStatus) -> None:
    """Replace the file in one step."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    part.write_text(json.dumps(asdict(status), indent=2) + "\n")
    os.replace(part, path)


def read_status(path: Path) -> TritonStatus | None:
    """None if there is no file, or none that this code can read."""
    try:
        raw = json.loads(path.read_text())
        models = tuple(ModelStatus(**model) for model in raw["models"])
        return TritonStatus(**(raw | {"models": models}))
    except (OSError, ValueError, TypeError, KeyError):
        return None
