"""Soak: half a million lists, one after another as fast as they come; does anything grow?"""

import asyncio
import itertools
import json
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from loadtest.audience import audience_of
from loadtest.benchmarks.result import Check, Grid, Result, at_least, at_most
from loadtest.benchmarks.stack import a_stack
from loadtest.doors import Call
from loadtest.growth_plot import draw_growth
from loadtest.openloop import click_on_first
from loadtest.patience import OURS, PatientDoor
from loadtest.resources import (
    ALL,
    Sampled,
    gained_descriptors,
    growth_mb,
    growth_of_descriptors,
)
from loadtest.traffic import SCENARIOS, make_calls
from serving.proto import recommendations_pb2 as pb
from serving.stack.folder import StateFolder

CALLS = 500_000
SLOPE_MB = 1.0  # per 100,000 calls
GAINED_DESCRIPTORS = 3.0  # a log that turns over has two open for a moment
WARM_SHARE = 0.2
_SAMPLES = 400
_CHANNELS, _AT_ONCE = 32, 12
_DIFFERENT = 40_000  # calls that are made; then they come again, as shoppers do
_BATCH_SHARE = 0.1  # of the lists come by RecommendMany, 25 a call
_TIMEOUT_S = 30.0


@dataclass(slots=True)
class Sent:
    """What became of the calls so far."""

    lists: int = 0
    streams: int = 0
    events: int = 0
    codes: Counter[str] = field(default_factory=Counter)
    degraded: int = 0
    asked_again: int = 0

    @property
    def failed(self) -> int:
        """Calls that got no answer."""
        return sum(count for code, count in self.codes.items() if code != "OK")


def measure(state_dir: Path, images: Path, calls: int = CALLS) -> Result:
    """The slope of memory and descriptors over the calls after the warm-up."""
    with a_stack(state_dir) as stack:
        sampled, sent, seconds = asyncio.run(_soaked(state_dir, stack.door, calls))
    images.joinpath("soak.json").write_text(json.dumps(as_points(sampled)) + "\n")
    picture = "soak.png"
    draw_growth(images / picture, sampled, warm=round(calls * WARM_SHARE))
    return result_of(sampled, sent, seconds, asked=calls, pictures=(picture,))


async def _soaked(state_dir: Path, door: str, calls: int) -> tuple[Sampled, Sent, float]:
    sampled, sent, began = Sampled(), Sent(), time.monotonic()
    supply = _calls(state_dir)

    async def work(number: int) -> None:
        while sent.lists < calls:
            await _one(reached, number, next(supply), sent)

    async def look() -> None:
        next_at = 0.0
        while sent.lists < calls:
            if sent.lists >= next_at:
                next_at = sent.lists + calls / _SAMPLES
                after_s = time.monotonic() - began
                # Off the loop: walking all processes takes tens of milliseconds.
                state = StateFolder(state_dir).running()
                await asyncio.to_thread(sampled.take, state, calls=sent.lists, seconds=after_s)
                sys.stderr.write(f"\r  {sent.lists:,} of {calls:,} lists")
            await asyncio.sleep(0.2)

    async with PatientDoor(door, _CHANNELS, patience=OURS) as reached:
        await asyncio.gather(look(), *(work(number) for number in range(_AT_ONCE)))
    sys.stderr.write("\n")
    return sampled, sent, time.monotonic() - began


def _calls(state_dir: Path) -> Iterator[Call]:
    """Pages and batches of e-mails, for ever."""
    audience, rng = audience_of(state_dir), np.random.default_rng(50)
    pages = make_calls(SCENARIOS["browse"], audience, _DIFFERENT, rng)
    batches = make_calls(SCENARIOS["email"], audience, _DIFFERENT // 25, rng)
    page, batch = itertools.cycle(pages), itertools.cycle(batches)
    chance = _BATCH_SHARE / 25.0
    while True:
        yield next(batch) if rng.random() < chance else next(page)


async def _one(door: PatientDoor, number: int, call: Call, sent: Sent) -> None:
    reply = await door.ask(number, call, _TIMEOUT_S)
    sent.codes[reply.code] += 1
    sent.streams += call.many
    sent.degraded += bool(reply.degraded)
    sent.asked_again += bool(reply.asked_again)
    size = len(pb.RecommendManyRequest.FromString(call.body).requests) if call.many else 1
    sent.lists += size if reply.code == "OK" else 0
    if call.clicks and reply.products:
        told = await door.tell(number, click_on_first(call, reply), _TIMEOUT_S)
        sent.events += told
        if not told:
            sent.codes["event failed"] += 1


def as_points(sampled: Sampled) -> dict[str, object]:
    """What the plot is drawn from."""
    return {
        "lists": sampled.calls,
        "seconds": [round(each, 1) for each in sampled.seconds],
        **{
            f"{service} {what}": sampled.column(service, what).tolist()
            for service in sampled.services
            for what in ("rss_bytes", "own_bytes", "descriptors")
        },
    }


def result_of(
    sampled: Sampled, sent: Sent, seconds: float, *, asked: int, pictures: tuple[str, ...] = ()
) -> Result:
    """Holds if nothing grew, nothing was started again, and every list came."""
    warm = sampled.after(round(asked * WARM_SHARE))
    slope = growth_mb(warm, ALL)
    gained = gained_descriptors(warm, ALL)
    restarted = len(frozenset.union(*warm.pids) - warm.pids[0])
    return Result(
        name="soak",
        figures={
            "lists": sent.lists,
            "streams": sent.streams,
            "events": sent.events,
            "failed": sent.failed,
            "degraded": sent.degraded,
            "asked_again": sent.asked_again,
            "lists_per_s": round(sent.lists / seconds, 1),
            "rss_mb_per_100000": round(slope, 3),
            "own_mb_per_100000": round(growth_mb(warm, ALL, "own_bytes"), 3),
            "descriptors_per_100000": round(growth_of_descriptors(warm, ALL), 3),
            "descriptors_gained": gained,
            "samples": len(warm.calls),
        },
        checks=(
            at_least("lists", sent.lists, asked, ""),
            at_most("memory gained per 100,000 lists (RSS, after warm-up)", slope, SLOPE_MB, " MB"),
            at_most("descriptors gained", gained, GAINED_DESCRIPTORS, ""),
            at_most("failed calls, events included", sent.failed, 0, ""),
            Check("processes that came after the warm-up", "none", str(restarted), restarted == 0),
        ),
        grids=(
            Grid(
                f"After the first {WARM_SHARE:.0%}, {len(warm.calls)} samples",
                (
                    "service",
                    "RSS at the end",
                    "RSS per 100,000",
                    "of it not mapped files",
                    "descriptors",
                    "gained",
                ),
                tuple(_row(warm, service) for service in warm.services),
            ),
        ),
        pictures=pictures,
        notes=(
            f"Closed loop, {_AT_ONCE} callers, {sent.lists / seconds:.0f} lists/s for"
            f" {seconds / 60:.1f} minutes. {sent.streams} of the calls were streams of 25 lists"
            f" (RecommendMany), each list counted; {_DIFFERENT:,} different pages come again and"
            f" again; {sent.events} clicks were logged between them.",
        ),
    )


def _row(warm: Sampled, service: str) -> tuple[str, ...]:
    descriptors = warm.column(service, "descriptors")
    return (
        service,
        f"{warm.column(service, 'rss_bytes')[-1] / 1e6:.0f} MB",
        f"{growth_mb(warm, service):+.2f} MB",
        f"{growth_mb(warm, service, 'own_bytes'):+.2f} MB",
        f"{descriptors[-1]:.0f}",
        f"{gained_descriptors(warm, service):+.0f}",
    )
