"""Supervisor: keeps one Triton server answering, whatever happens to it.

Once a second: does the server react, do all models answer? And ten times a second: are the
processes there and running? A dead or frozen server is killed and started again on the same ports,
so that clients find it where it was; a dead or frozen model is loaded again
(`serving.triton.models`). What it sees is in the status file.
"""

import asyncio
import logging
import time
from collections import Counter
from pathlib import Path

import tritonclient.grpc.aio as triton
from tritonclient.utils import InferenceServerException

from serving.stack.ports import LOOPBACK
from serving.triton.models import ModelKeeper
from serving.triton.process import ServerPlan, ServerProcess
from serving.triton.status import ModelStatus, TritonStatus, write_status
from shop.errors import DependencyUnavailable

_log = logging.getLogger(__name__)

_ROUND_S = 1.0
_LOOK_S = 0.1  # at processes, between rounds: a few small reads
_REPORT_S = 0.25
_LIVE_TIMEOUT_S = 1.0
_START_TIMEOUT_S = 30.0
_STOP_TIMEOUT_S = 6.0  # the stack allows 8
_FROZEN_LIMIT = 2  # unanswered rounds of a server that used no processor time between
_UNRESPONSIVE_LIMIT = 8  # unanswered rounds of one that did: starved perhaps, but of no use
_BACKOFF_S = (0.0, 0.5, 1.0, 2.0, 5.0, 10.0)  # between servers that never came to answer

# For clients of a server that can be started again on the loopback.
CLIENT_ARGUMENTS: tuple[tuple[str, int], ...] = (
    (
        "grpc.initial_reconnect_backoff_ms",
        100,
    ),  # gRPC would wait up to two minutes between attempts
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 500),
    ("grpc.enable_http_proxy", 0),  # a machine's proxy must not stand before its own loopback
)


class Supervisor:
    """Runs the server of one plan until told to stop."""

    def __init__(self, plan: ServerPlan, key: bytes, status_file: Path, pid: int) -> None:
        self._plan = plan
        self._key = key
        self._status_file = status_file
        self._pid = pid
        self._reloads: Counter[tuple[str, int]] = Counter()
        self._restarts = 0
        self._restart_reason = ""
        self._is_live = False
        self._has_served = False

    async def run(self, stop: asyncio.Event) -> None:
        """Returns once `stop` is set and the server has ended."""
        failures = 0
        while not stop.is_set():
            self._has_served = False
            reason = await self._one_life(stop)
            if stop.is_set():
                break
            failures = 0 if self._has_served else failures
            pause_s = _BACKOFF_S[min(failures, len(_BACKOFF_S) - 1)]
            failures += 1
            self._restarts += 1
            self._restart_reason = reason
            _log.warning("triton %s; starting it again in %.1f s", reason, pause_s)
            self._report(server_pid=0, models=())
            await _sleep(stop, pause_s)
        self._report(server_pid=0, models=())

    async def _one_life(self, stop: asyncio.Event) -> str:
        """From start to end of one server; returns why it ended."""
        server = await ServerProcess.start(self._plan)
        client = triton.InferenceServerClient(
            f"{LOOPBACK}:{self._plan.ports.grpc}", channel_args=list(CLIENT_ARGUMENTS)
        )
        keeper = ModelKeeper(server, client, self._plan.repository, self._key, self._reloads)
        rounds = asyncio.create_task(self._rounds(server, client, keeper))
        ends = [rounds, asyncio.create_task(server.wait()), asyncio.create_task(stop.wait())]
        reporting = asyncio.create_task(self._keep_reporting(server, keeper))
        try:
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            if server.exit_code is not None:
                return f"ended with code {server.exit_code}, see {self._plan.log_file}"
            return rounds.result() if rounds.done() else "stopped"
        finally:
            for task in (*ends, reporting):
                task.cancel()
            await asyncio.gather(*ends, reporting, return_exceptions=True)
            self._is_live = False
            await client.close()
            if stop.is_set():
                await server.stop(_STOP_TIMEOUT_S)
            else:
                await server.kill()

    async def _rounds(
        self, server: ServerProcess, client: triton.InferenceServerClient, keeper: ModelKeeper
    ) -> str:
        """Look after the server until it is of no more use; returns the reason."""
        if not await self._comes_up(client):
            return f"did not start within {_START_TIMEOUT_S:.0f} s, see {self._plan.log_file}"
        silent, ticks = 0, 0
        while True:
            round_ends_s = time.monotonic() + _ROUND_S
            self._is_live = await _is_live(client)
            if self._is_live:
                silent = 0
                try:
                    await keeper.attend()
                except DependencyUnavailable as error:
                    return error.reason
            else:
                used, ticks = server.cpu_ticks() - ticks, server.cpu_ticks()
                silent += 1
                if silent >= (_UNRESPONSIVE_LIMIT if used else _FROZEN_LIMIT):
                    return "was frozen"
            while time.monotonic() < round_ends_s and keeper.has_all_stubs():
                if not server.are_running(frozenset({server.pid})):
                    return "was frozen"
                await asyncio.sleep(_LOOK_S)

    async def _comes_up(self, client: triton.InferenceServerClient) -> bool:
        give_up_s = time.monotonic() + _START_TIMEOUT_S
        while time.monotonic() < give_up_s:
            if await _is_live(client):
                return True
            await asyncio.sleep(0.05)
        return False

    async def _keep_reporting(self, server: ServerProcess, keeper: ModelKeeper) -> None:
        """Apart from the rounds: loading takes seconds, and readers want to know meanwhile."""
        while True:
            models = keeper.statuses()
            self._has_served |= any(model.is_ready for model in models)
            self._report(server_pid=server.pid, models=models)
            await asyncio.sleep(_REPORT_S)

    def _report(self, *, server_pid: int, models: tuple[ModelStatus, ...]) -> None:
        ports = self._plan.ports
        write_status(
            self._status_file,
            TritonStatus(
                grpc_address=f"{LOOPBACK}:{ports.grpc}",
                http_address=f"{LOOPBACK}:{ports.http}",
                metrics_address=f"{LOOPBACK}:{ports.metrics}",
                supervisor_pid=self._pid,
                server_pid=server_pid,
                is_live=self._is_live,
                restarts=self._restarts,
                restart_reason=self._restart_reason,
                models=models,
                updated_ms=time.time_ns() // 1_000_000,
            ),
        )


async def _is_live(client: triton.InferenceServerClient) -> bool:
    try:
        return bool(await client.is_server_live(client_timeout=_LIVE_TIMEOUT_S))
    except InferenceServerException:
        return False


async def _sleep(stop: asyncio.Event, seconds: float) -> None:
    try:
        await asyncio.wait_for(stop.wait(), seconds)
    except TimeoutError:
        return
