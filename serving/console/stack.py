"""Stack: what the console asks of the running stack, over its gRPC services and no other way.

Beside them it reads what the supervisor of this machine says of itself, where there is one.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc.aio
from grpc_health.v1 import health_pb2, health_pb2_grpc

from serving.async_client import AsyncVitrineClient
from serving.client_calls import ClientTls, channel_options, read_token
from serving.descriptions_client import AsyncDescriptionsClient
from serving.settings import Settings
from serving.stack.folder import StackState, StateFolder
from shop.errors import DependencyUnavailable, SettingsRejected, VitrineError

_HEALTH_S = 1.0
_ANSWER_S = 5.0
_SERVING = health_pb2.HealthCheckResponse.SERVING


@dataclass(frozen=True, slots=True)
class DoorState:
    """How one gRPC door answered just now."""

    name: str
    address: str
    state: str  # serving, not serving, no answer
    took_ms: float


@dataclass(frozen=True, slots=True, eq=False)
class Stack:
    """The doors, and what is known of the machine behind them."""

    recommendations: AsyncVitrineClient
    health_of: dict[str, tuple[str, health_pb2_grpc.HealthStub]]  # address and stub by door's name
    folder: StateFolder
    described_by: AsyncDescriptionsClient | None  # None: this shop has no descriptions

    @property
    def descriptions(self) -> AsyncDescriptionsClient:
        """Raises DependencyUnavailable where the shop has none."""
        if self.described_by is None:
            raise DependencyUnavailable(
                "descriptions", "this shop has none; see `describe.is_on` in the settings"
            )
        return self.described_by

    async def doors(self) -> list[DoorState]:
        """All doors, asked at once."""
        asked = [_door_state(name, *door) for name, door in self.health_of.items()]
        return list(await asyncio.gather(*asked))

    def supervised(self) -> StackState | None:
        """What the supervisor of this machine says; None if there is none."""
        return self.folder.last_state() if self.folder.is_locked() else None


@asynccontextmanager
async def open_stack(settings: Settings) -> AsyncIterator[Stack]:
    """Clients for the doors that the settings name. SettingsRejected: a file cannot be read."""
    about, tls, token = settings.console, _tls(settings), _token(settings)
    door = about.recommendations or f"127.0.0.1:{settings.door.port}"
    has_texts = bool(about.descriptions) or settings.describe.is_on
    texts = about.descriptions or f"127.0.0.1:{settings.describe.port}"
    async with AsyncExitStack() as stack:
        recommendations = await stack.enter_async_context(
            AsyncVitrineClient(door, tls=tls, token=token)
        )
        described_by = None
        if has_texts:
            described_by = await stack.enter_async_context(
                AsyncDescriptionsClient(texts, timeout_s=_ANSWER_S, tls=tls, token=token)
            )
        named = {"recommendations": door} | ({"descriptions": texts} if has_texts else {})
        health_of = {}
        for name, address in named.items():
            channel = await stack.enter_async_context(_channel(address, tls))
            health_of[name] = (address, health_pb2_grpc.HealthStub(channel))
        yield Stack(recommendations, health_of, StateFolder(settings.state_dir), described_by)


def _channel(address: str, tls: ClientTls | None) -> grpc.aio.Channel:
    options = channel_options(retries=False)
    if tls is None:
        return grpc.aio.insecure_channel(address, options=options)
    return grpc.aio.secure_channel(address, tls.credentials(), options=options)


def _token(settings: Settings) -> str | None:
    file = settings.console.token_file
    try:
        return read_token(Path(file)) if file else None
    except VitrineError as error:
        raise SettingsRejected(f"console.token_file: {error}") from error


def _tls(settings: Settings) -> ClientTls | None:
    about = settings.console
    names = (about.tls_ca, about.tls_certificate, about.tls_key)
    if not any(names):
        return None
    try:
        return ClientTls.of_files(*(Path(name) if name else None for name in names))
    except OSError as error:
        raise SettingsRejected(
            f"console.tls_…: {error.filename} cannot be read: {error.strerror}"
        ) from error


async def _door_state(name: str, address: str, health: health_pb2_grpc.HealthStub) -> DoorState:
    began = time.perf_counter()
    try:
        reply = await health.Check(health_pb2.HealthCheckRequest(), timeout=_HEALTH_S)
        state = "serving" if reply.status == _SERVING else "not serving"
    except grpc.RpcError:
        state = "no answer"
    return DoorState(name, address, state, (time.perf_counter() - began) * 1_000.0)
