"""Server: `python -m serving.triton.server` runs Triton for one state folder until SIGTERM.

Everything has its place there: the repository, the release key, the log, the status file with the
ports. The ports of the last run are taken again if they are free.
"""

import argparse
import asyncio
import contextlib
import fcntl
import logging
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from serving.adapters.key_files import read_key
from serving.stack.ports import free_port
from serving.triton.process import Ports, ServerPlan, shared_memory_prefix
from serving.triton.runtime import find_runtime
from serving.triton.status import STATUS_FILE, read_status
from serving.triton.supervisor import Supervisor
from shop.errors import DependencyUnavailable, VitrineError

_PARENT_CHECK_S = 0.5


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code 0 after a clean stop, 1 if Triton cannot be run here."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    state: Path = options.state_dir.absolute()
    try:
        with only_supervisor(state / "run"):
            status_file = options.ports_file or state / "run" / STATUS_FILE
            plan = make_plan(
                state,
                repository=options.repository or state / "model_repository",
                key_file=options.key_file or state / "keys" / "release.key",
                status_file=status_file,
                runtime_root=options.runtime,
            )
            supervisor = Supervisor(plan, read_key(plan.key_file), status_file, os.getpid())
            asyncio.run(_run(supervisor, die_with_parent=options.die_with_parent))
    except VitrineError as error:
        sys.stderr.write(f"triton: {error}\n")
        return 1
    return 0


def make_plan(
    state: Path, *, repository: Path, key_file: Path, status_file: Path, runtime_root: Path | None
) -> ServerPlan:
    """A plan with checked runtime and free ports. Raises DependencyUnavailable."""
    runtime = find_runtime() if runtime_root is None else find_runtime(runtime_root)
    repository.mkdir(parents=True, exist_ok=True)
    return ServerPlan(
        runtime=runtime,
        repository=repository.absolute(),
        model_folder=state / "run" / "triton_models",
        key_file=key_file.absolute(),
        log_file=state / "logs" / "triton.log",
        ports=_ports(status_file),
        shared_memory_prefix=shared_memory_prefix(state),
    )


@contextlib.contextmanager
def only_supervisor(run_folder: Path) -> Iterator[None]:
    """Holds the state folder's lock. Raises DependencyUnavailable if another supervisor has it."""
    run_folder.mkdir(parents=True, exist_ok=True)
    with (run_folder / "triton.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise DependencyUnavailable(
                "triton", f"another supervisor looks after {run_folder}; stop it first"
            ) from error
        yield


def _ports(status_file: Path) -> Ports:
    before = read_status(status_file)
    addresses = (
        ("", "", "")
        if before is None
        else (before.grpc_address, before.http_address, before.metrics_address)
    )
    ports: list[int] = []
    try:
        for address in addresses:
            port = free_port(int(address.rpartition(":")[2]) if address else None)
            while port in ports:
                port = free_port()
            ports.append(port)
    except OSError as error:
        raise DependencyUnavailable("triton", str(error)) from error
    return Ports(*ports)


async def _run(supervisor: Supervisor, *, die_with_parent: bool) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    watch = asyncio.create_task(_stop_with_parent(stop)) if die_with_parent else None
    try:
        await supervisor.run(stop)
    finally:
        if watch is not None:
            watch.cancel()


async def _stop_with_parent(stop: asyncio.Event) -> None:
    """By looking: a signal from the kernel would mean the parent's thread, not the parent."""
    parent = os.getppid()
    while os.getppid() == parent:  # noqa: ASYNC110 - nothing tells us of it
        await asyncio.sleep(_PARENT_CHECK_S)
    stop.set()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m serving.triton.server",
        description="Run Triton for one state folder, supervised, until SIGTERM.",
    )
    parser.add_argument(
        "--state-dir", type=Path, default=Path(".vitrine"), help="folder of the running stack"
    )
    parser.add_argument("--repository", type=Path, help="models to serve (STATE/model_repository)")
    parser.add_argument("--key-file", type=Path, help="release key (STATE/keys/release.key)")
    parser.add_argument(
        "--ports-file", type=Path, help=f"where the status is written (STATE/run/{STATUS_FILE})"
    )
    parser.add_argument(
        "--runtime", type=Path, help="folder with the server and its stub (.triton)"
    )
    parser.add_argument(
        "--die-with-parent", action="store_true", help="stop when the starting process ends"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
