"""Describing: how soon a text that is taken back is gone, and what writing costs the lists beside.

Roll back is asked through the descriptions' door, and the page is read until it shows the earlier
text. For the lists, rounds without and with eight texts being written alternate; the figure is of
this machine, where the model shares the cores with the door.
"""

import asyncio
import statistics
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import grpc
import numpy as np

from loadtest.arrivals import Arrivals, schedule
from loadtest.audience import audience_of
from loadtest.benchmarks.result import Check, Figure, Grid, Result, at_most
from loadtest.benchmarks.stack import BenchmarkFailed, a_stack
from loadtest.openloop import LoadPlan, run_apart
from loadtest.traffic import SCENARIOS, make_calls
from loadtest.verdict import summary_of
from serving.adapters.sqlite import SqliteDatabase
from serving.adapters.version_sql import SqlVersions
from serving.describe.settings import DescribeSettings
from serving.describe.versions import Action, Decision, Impact, Scores, Version
from serving.proto import descriptions_pb2 as pb
from serving.proto import descriptions_pb2_grpc as rpc
from shop.descriptions.draft import Draft
from shop.descriptions.facts import Facts

ROLL_BACKS = 50
TEXTS = 8
RATE_PER_S, ROUND_S, ROUNDS = 40.0, 15.0, 3
_LIMIT_S = 1.0
_PATIENCE_S = 10.0
_PRODUCT = "bench-roll-back"  # no product of the shop: nobody's page is touched


def measure(state_dir: Path, images: Path) -> Result:
    """Seconds until a roll back shows; p99 of lists with and without texts being written."""
    with a_stack(state_dir) as stack:
        door = stack.addresses.get("descriptions")
        if door is None:
            raise BenchmarkFailed("the descriptions' door did not open; see `vitrine status`")
        waits_s = _roll_backs(door, state_dir / DescribeSettings().file)
        figures: dict[str, Figure] = {
            "roll_back_p50_ms": round(statistics.median(waits_s) * 1000, 2),
            "roll_back_most_ms": round(max(waits_s) * 1000, 2),
        }
        checks: list[Check] = [
            at_most("roll back to visible, the slowest", max(waits_s), _LIMIT_S, " s")
        ]
        notes = []
        grids: tuple[Grid, ...] = ()
        if stack.addresses.get("writer"):
            figures |= _beside_lists(state_dir, stack.door, door)
            grids = (_grid(figures),)
            notes.append(
                f"Lists at {RATE_PER_S:g}/s in {ROUNDS} rounds of {ROUND_S:g} s each way; the"
                " model runs on the same cores, at a lower priority. What is asked for a GPU, a"
                " p99 that moves by 5 % at most, is not asked of a CPU."
            )
        else:
            notes.append("No language model runs: what writing costs the lists was not measured.")
    return Result("describing", figures, tuple(checks), grids, notes=tuple(notes))


def _grid(figures: dict[str, Figure]) -> Grid:
    return Grid(
        f"Lists beside {TEXTS} texts under way all the time",
        ("p99 of lists, alone", "beside", "ratio, median of the rounds", "texts written"),
        (
            (
                f"{figures['p99_alone_ms']} ms",
                f"{figures['p99_beside_ms']} ms",
                f"{figures['p99_ratio']}",
                f"{figures['texts_written_beside']}",
            ),
        ),
    )


def _roll_backs(door: str, file: Path) -> list[float]:
    """Seconds from each request to the page that shows the other text."""
    with closing(SqliteDatabase(file)) as database:
        store = SqlVersions(database)
        names = [f"bench-{uuid.uuid4().hex[:12]}" for _ in range(2)]
        for name in names:
            asyncio.run(store.add(_version(name), _published(name)))
    waits_s = []
    with grpc.insecure_channel(door) as channel:
        stub = rpc.DescriptionsStub(channel)  # type: ignore[no-untyped-call]
        for at in range(ROLL_BACKS):
            wanted = names[at % 2]
            ask = pb.RollbackRequest(product_id=_PRODUCT, version_id=wanted, actor="bench")
            began = time.perf_counter()
            stub.Rollback(ask, timeout=_PATIENCE_S)
            while _shown(stub) != wanted:
                if time.perf_counter() - began > _PATIENCE_S:
                    raise BenchmarkFailed(f"{wanted} was not shown within {_PATIENCE_S:g} s")
            waits_s.append(time.perf_counter() - began)
    return waits_s


def _shown(stub: rpc.DescriptionsStub) -> str:
    ask = pb.GetDescriptionRequest(product_id=_PRODUCT)
    return str(stub.GetDescription(ask, timeout=_PATIENCE_S).version.version_id)


def _beside_lists(state_dir: Path, door: str, descriptions: str) -> dict[str, Figure]:
    """p99 of lists, alone and beside eight texts, and the median of the rounds' ratios."""
    audience = audience_of(state_dir)
    alone: list[float] = []
    beside: list[float] = []
    texts = 0
    for number in range(ROUNDS + 1):
        rng = np.random.default_rng(number)
        at_s = schedule(Arrivals.POISSON, rate_per_s=RATE_PER_S, duration_s=ROUND_S, rng=rng)
        calls = make_calls(SCENARIOS["browse"], audience, at_s.size, rng)
        plan = LoadPlan(door, at_s, calls, timeout_s=5.0)
        quiet = summary_of(run_apart(plan).result()).latency_ms["p99"]
        with _writing(descriptions, sorted(audience.products)[:400]) as written:
            busy = summary_of(run_apart(plan).result()).latency_ms["p99"]
        if number:  # the first warms up
            alone.append(quiet)
            beside.append(busy)
            texts += written[0]
    return {
        "p99_alone_ms": round(statistics.median(alone), 2),
        "p99_beside_ms": round(statistics.median(beside), 2),
        "p99_ratio": round(statistics.median(b / a for a, b in zip(alone, beside, strict=True)), 3),
        "texts_written_beside": texts,
    }


@contextmanager
def _writing(door: str, products: list[str]) -> Iterator[list[int]]:
    """Eight texts under way all the time; the list's number counts those that ended."""
    ended, done = threading.Event(), [0]

    def write(at: int) -> None:
        with grpc.insecure_channel(door) as channel:
            stub = rpc.DescriptionsStub(channel)  # type: ignore[no-untyped-call]
            while not ended.is_set():
                product = products[at % len(products)]
                at += TEXTS
                ask = pb.GenerateDescriptionRequest(product_id=product, actor="bench", seed=at)
                try:
                    for _ in stub.GenerateDescription(ask, timeout=60.0):
                        if ended.is_set():
                            break
                    else:
                        done[0] += 1
                except grpc.RpcError as error:
                    if not ended.is_set():
                        raise BenchmarkFailed(f"no text of {product}: {error}") from error

    threads = [threading.Thread(target=write, args=(at,)) for at in range(TEXTS)]
    for thread in threads:
        thread.start()
    try:
        yield done
    finally:
        ended.set()
        for thread in threads:
            thread.join()


def _version(name: str) -> Version:
    text = Draft(f"Text {name}.", ("One", "Two"), "That is all.")
    facts = Facts(_PRODUCT, "Text", "", "", ())
    return Version(
        name, _PRODUCT, text, facts, "", "", "", "", 0, 0, Scores(1.0, 1.0, 1.0, 1.0), (),
        Impact(0.0, 0.0, 0.0), "bench", time.time_ns() // 1_000_000,
    )  # fmt: skip


def _published(name: str) -> Decision:
    return Decision(
        name, _PRODUCT, Action.PUBLISHED, "bench", "a benchmark's", time.time_ns() // 1_000_000
    )
