"""Malformed: a million hostile messages, to the decoders here and through a real door."""

import asyncio
import sys
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import grpc.aio
import numpy as np
import psutil

from loadtest.audience import audience_of
from loadtest.benchmarks.adversity import TYPED
from loadtest.benchmarks.result import Check, Grid, Result, at_least, at_most
from loadtest.benchmarks.stack import a_stack
from loadtest.doors import CHANNEL_OPTIONS
from loadtest.hostile_messages import SERVICE, Hostile, HostileMessages, Kind, Real
from loadtest.malformed import NO_MESSAGE, REFUSED, TAKEN, TOO_LARGE, Edge, Fate
from loadtest.victims import replicas_of
from serving.adapters.key_files import read_key
from serving.client import VitrineClient
from serving.codec import Decoder
from serving.stack.folder import StateFolder

MESSAGES = 1_000_000
THROUGH_THE_DOOR = 0.05  # of them
SLOWEST_MS = 250.0  # of CPU; a thousand events with a token each take 130
GROWTH_MB = 64.0
TOKEN_KEY = "token.key"  # of the shop
_WARM = 0.1  # of the messages: allocators and caches have their size by then
_SEED, _DOOR_SEED = 90, 91
_CHANNELS, _AT_ONCE = 8, 24
_PATIENCE_S = 20.0
_CHUNK = 10_000
_OUTCOMES = (TAKEN, REFUSED, NO_MESSAGE, TOO_LARGE)
_DOOR_IS_GONE = "UNAVAILABLE"
_NO_MODEL = "NO_LANGUAGE_MODEL"  # what the door itself calls UNAVAILABLE: a question, and no writer


@dataclass(slots=True)
class Told:
    """What the door answered, by gRPC status name."""

    codes: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0

    @property
    def untyped(self) -> int:
        """Answers without a meaning, and calls after which the door was not there."""
        return sum(
            count
            for code, count in self.codes.items()
            if code != _NO_MODEL and (code not in TYPED or code == _DOOR_IS_GONE)
        )


@dataclass(frozen=True, slots=True)
class Alive:
    """The door after all of it."""

    answers: bool
    same_replicas: bool
    growth_mb: float  # of its replicas' memory


def measure(state_dir: Path, images: Path, messages: int = MESSAGES) -> Result:
    """Outcomes by kind and by status, errors without a type, the slowest, the memory."""
    through = max(1, round(messages * THROUGH_THE_DOOR))
    with a_stack(state_dir) as stack:
        real = _real(state_dir, stack.door)
        key = read_key(StateFolder(state_dir).keys / TOKEN_KEY)
        fate, growth_mb = decoded(real, messages - through, key)
        before = {each.pid: each.memory_info().rss for each in replicas_of(stack.door)}
        sys.stderr.write(f"  {through:,} through the door …\n")
        hostile = islice(HostileMessages(_DOOR_SEED, real), through)
        told = asyncio.run(sent(stack.door, hostile))
        alive = _alive(stack.door, before)
    return result_of(fate, growth_mb, told, alive)


def decoded(real: Real, count: int, token_key: bytes) -> tuple[Fate, float]:
    """What the decoders make of so many, and by how many MB this process grew meanwhile.

    With the shop's own key, so that real tokens are read to their end.
    """
    now_ms = time.time_ns() // 1_000_000
    decoder = Decoder("USD", token_key, lambda: now_ms, lambda: uuid.uuid4().hex)
    edge, hostile, me = Edge(decoder), iter(HostileMessages(_SEED, real)), psutil.Process()
    edge.put(islice(hostile, round(count * _WARM)))
    before = me.memory_info().rss
    while (left := count - edge.fate.messages) > 0:
        edge.put(islice(hostile, min(_CHUNK, left)))
        sys.stderr.write(f"\r  {edge.fate.messages:,} of {count:,} decoded")
    sys.stderr.write("\n")
    return edge.fate, (me.memory_info().rss - before) / 1e6


async def sent(address: str, hostile: Iterator[Hostile]) -> Told:
    """Every one to its method, as raw bytes over real channels, some at a time."""
    told, began = Told(), time.monotonic()
    channels = [
        grpc.aio.insecure_channel(address, options=CHANNEL_OPTIONS) for _ in range(_CHANNELS)
    ]

    async def work(number: int) -> None:
        for each in hostile:  # shared: each takes the next
            told.codes[await _answer(channels[number % _CHANNELS], each)] += 1

    await asyncio.gather(*(work(number) for number in range(_AT_ONCE)))
    for channel in channels:
        await channel.close(None)
    told.seconds = time.monotonic() - began
    return told


async def _answer(channel: grpc.aio.Channel, each: Hostile) -> str:
    path = f"/{SERVICE.full_name}/{each.method}"
    try:
        if SERVICE.methods_by_name[each.method].server_streaming:
            async for _ in channel.unary_stream(path)(each.raw, timeout=_PATIENCE_S):  # type: ignore[call-arg]
                pass
        else:
            await channel.unary_unary(path)(each.raw, timeout=_PATIENCE_S)  # type: ignore[call-arg]
    except grpc.aio.AioRpcError as error:
        code = error.code().name
        is_told = code == _DOOR_IS_GONE and (error.details() or "").startswith("writer: ")
        return _NO_MODEL if is_told else code
    return "OK"


def _real(state_dir: Path, door: str) -> Real:
    """Products and tokens of the very shop."""
    audience = audience_of(state_dir)
    rng = np.random.default_rng(_SEED)
    shoppers = rng.choice(list(audience.shoppers), 20).tolist()
    with VitrineClient(door) as client:
        lists = [client.recommend(user_id=name, placement="home") for name in shoppers]
    return Real(
        products=list(audience.products[:500]),
        page_tokens=[each.next_page_token for each in lists],
        attribution_tokens=[each.attribution_token for each in lists],
    )


def _alive(door: str, before: dict[int, int]) -> Alive:
    after = {each.pid: each.memory_info().rss for each in replicas_of(door)}
    with VitrineClient(door) as client:
        answers = len(client.recommend(placement="home").items) > 0
    grown = sum(after.values()) - sum(before.values())
    return Alive(answers, after.keys() == before.keys(), grown / 1e6)


def result_of(fate: Fate, growth_mb: float, told: Told, alive: Alive) -> Result:
    """Holds if nothing came of any of them but values and refusals, and the door lives."""
    sent_count = told.codes.total()
    return Result(
        name="malformed",
        figures={
            "messages": fate.messages + sent_count,
            "decoded": fate.messages,
            "through_the_door": sent_count,
            "untyped": fate.untyped + told.untyped,
            "slowest_cpu_ms": round(fate.slowest_ms, 2),
            "longest_refusal_bytes": fate.trailer_bytes,
            "growth_mb": round(growth_mb, 1),
            "door_growth_mb": round(alive.growth_mb, 1),
            **{f"door_{code.lower()}": count for code, count in sorted(told.codes.items())},
        },
        checks=(
            at_least("hostile messages", fate.messages + sent_count, 1, ""),
            at_most("errors without a type, decoding", fate.untyped, 0, ""),
            at_most("answers of the door without a type, or none", told.untyped, 0, ""),
            at_most("CPU for the slowest message", fate.slowest_ms, SLOWEST_MS, " ms"),
            at_most(
                "memory gained by decoding, after the first tenth", growth_mb, GROWTH_MB, " MB"
            ),
            Check(
                "the door after it",
                "the same replicas, answering",
                f"{'the same' if alive.same_replicas else 'other'} replicas,"
                f" {'answering' if alive.answers else 'silent'}",
                alive.same_replicas and alive.answers,
            ),
        ),
        grids=(
            Grid(
                "Decoded in process, by how they were made",
                ("", *_OUTCOMES),
                tuple(
                    (kind, *(f"{fate.outcomes[kind, each]:,}" for each in _OUTCOMES))
                    for kind in Kind
                ),
            ),
            Grid(
                f"Through the door as raw bytes, {sent_count / max(told.seconds, 1e-9):.0f}/s",
                tuple(sorted(told.codes)),
                (tuple(f"{told.codes[code]:,}" for code in sorted(told.codes)),),
            ),
        ),
        notes=(
            f"The slowest: {fate.slowest}. Seeds {_SEED} and {_DOOR_SEED}.",
            *(f"{error} by {method} of {raw}" for error, method, raw in fate.examples),
        ),
    )
