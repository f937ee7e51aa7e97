"""Locust users over the real gRPC door, one class for each scenario.

    locust -f loadtest/users/locustfile.py --host 127.0.0.1:9000 --rate 150 BrowsingShopper

Every user is an independent source of calls, a Poisson process: it sends when a call is due,
whatever became of the one before, so the load stays open when the server is slow, and a response
time counts from the intended send time. The shape moves the number of users, and so the rate.
Locust is imported first and in a process of its own: gevent replaces sockets and threads.
"""

import random
import sys
import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

import gevent
import grpc
import numpy as np
from gevent.pool import Group
from grpc.experimental.gevent import init_gevent
from locust import LoadTestShape, User, events, runners, task
from locust.runners import MasterRunner, WorkerRunner

from loadtest.arrivals import Shape, factors_at
from loadtest.audience import lifelike_audience_of
from loadtest.call_log import OK, save_log
from loadtest.doors import CHANNEL_OPTIONS, SERVICE, BatchReply, Call, Reply, read_reply
from loadtest.openloop import click_on_first
from loadtest.traffic import SCENARIOS, Audience, endless_calls
from loadtest.users.recording import REPORT_KEY, Recorder

init_gevent()
runners.HEARTBEAT_LIVENESS = 60  # seconds: reading who shops here keeps a worker busy at first
RECORDER = Recorder()
_HOST = "127.0.0.1:9000"
_SPAWN_PER_S = 1_000.0  # a user costs a greenlet; the shape alone sets the pace


@cache
def _audience(state_dir: str) -> Audience:
    return lifelike_audience_of(Path(state_dir))


class _CallFailed(Exception):
    """Shown in locust's own statistics under its gRPC status."""


class _Caller(User):
    """One source of calls at `--calls-per-user` a second."""

    abstract = True
    scenario: ClassVar[str]

    def __init__(self, environment: Any) -> None:
        super().__init__(environment)
        options = environment.parsed_options
        self._rate_per_s: float = options.calls_per_user
        self._timeout_s: float = options.call_timeout
        self._sending = Group()
        seed = [options.seed, random.getrandbits(64)]  # two users, or workers, never walk alike
        self._calls: Iterator[Call] = endless_calls(
            SCENARIOS[self.scenario],
            _audience(options.state_dir),
            np.random.default_rng(seed),
            open_sessions=1,
        )
        self._due_s = 0.0
        channel = _channel(environment.host or _HOST, id(self) % options.channels)
        self._one = channel.unary_unary(f"{SERVICE}/Recommend")  # type: ignore[call-arg]
        self._many = channel.unary_stream(f"{SERVICE}/RecommendMany")  # type: ignore[call-arg]
        self._events = channel.unary_unary(f"{SERVICE}/LogEvents")  # type: ignore[call-arg]

    def on_start(self) -> None:
        self._due_s = time.monotonic()

    def on_stop(self) -> None:
        self._sending.join(timeout=self._timeout_s)  # what is under way still counts

    @task
    def next_call(self) -> None:
        """Waits until the next call is due, and sends it without waiting for its answer."""
        self._due_s += random.expovariate(self._rate_per_s)
        call = next(self._calls)
        gevent.sleep(max(0.0, self._due_s - time.monotonic()))
        self._sending.spawn(self._send, call, self._due_s)

    def _send(self, call: Call, due_s: float) -> None:
        late_ms = (time.monotonic() - due_s) * 1e3
        reply = self._ask(call)
        latency_ms = (time.monotonic() - due_s) * 1e3
        at_s = RECORDER.at_s(due_s)
        RECORDER.add(reply.outcome(call.kind, at_s, latency_ms, late_ms))
        self._tell_locust(call.kind, latency_ms, reply.code)
        if call.clicks and reply.products:
            self._click(call, reply, at_s)

    def _ask(self, call: Call) -> Reply:
        try:
            if not call.many:
                return read_reply(self._one(call.body, timeout=self._timeout_s))
            batch = BatchReply()
            for raw in self._many(call.body, timeout=self._timeout_s):
                batch.add(raw)
            return batch.reply()
        except grpc.RpcError as error:
            return Reply(error.code().name)

    def _click(self, call: Call, reply: Reply, at_s: float) -> None:
        began_s, code = time.monotonic(), OK
        try:
            self._events(click_on_first(call, reply), timeout=self._timeout_s)
        except grpc.RpcError as error:
            code = error.code().name
        latency_ms = (time.monotonic() - began_s) * 1e3
        RECORDER.add_event(latency_ms, logged=code == OK, at_s=at_s)
        self._tell_locust("click", latency_ms, code)

    def _tell_locust(self, name: str, latency_ms: float, code: str) -> None:
        self.environment.events.request.fire(
            request_type="gRPC",
            name=name,
            response_time=latency_ms,
            response_length=0,
            exception=None if code == OK else _CallFailed(code),
            context={},
        )


@cache
def _channel(address: str, number: int) -> grpc.Channel:
    """One connection of a few: a single one would reach one replica only."""
    return grpc.insecure_channel(address, options=CHANNEL_OPTIONS)


class BrowsingShopper(_Caller):
    """Walks through the shop as sessions of the log did."""

    scenario, weight = "browse", 60


class SearchingShopper(_Caller):
    """Types queries."""

    scenario, weight = "search", 15


class ProductPage(_Caller):
    """Looks at products, one after the other."""

    scenario, weight = "product", 15


class CartPage(_Caller):
    """Looks at a cart of a few products."""

    scenario, weight = "cart", 10


class FlashSaleShopper(_Caller):
    """After the same few products as everybody. Alone: `locust … FlashSaleShopper`."""

    scenario, weight = "flash-sale", 0.01


class EmailBatch(_Caller):
    """A campaign: 25 lists a call. Alone: `locust … EmailBatch`."""

    scenario, weight = "email", 0.01


class ArrivalShape(LoadTestShape):
    """As many users as make the rate of the moment, then the end.

    The clock starts with the first users: before, workers read who shops here.
    """

    def __init__(self) -> None:
        super().__init__()
        self._began_s: float | None = None

    def tick(self) -> tuple[int, float] | None:
        options = self.runner.environment.parsed_options if self.runner else None
        if options is None:
            return None
        if self._began_s is None and self.get_current_user_count() > 0:
            self._began_s = self.get_run_time()
        began_s = self.get_run_time() if self._began_s is None else self._began_s
        at_s = self.get_run_time() - began_s - options.warm_up
        if at_s >= options.duration:
            return None
        share = np.array([max(0.0, at_s) / options.duration])
        factor = float(factors_at(Shape(options.shape), share, peak=options.peak)[0])
        return max(1, round(options.rate * factor / options.calls_per_user)), _SPAWN_PER_S


@events.init_command_line_parser.add_listener
def _add_options(parser: Any) -> None:
    group = parser.add_argument_group("vitrine")
    shapes = [str(shape) for shape in Shape]
    group.add_argument("--rate", type=float, default=150.0, help="calls a second of all users")
    group.add_argument("--shape", choices=shapes, default="constant", help="how the rate moves")
    group.add_argument("--peak", type=float, default=3.0, help="of a spike, times the rate")
    group.add_argument("--duration", type=float, default=60.0, help="seconds")
    group.add_argument("--warm-up", type=float, default=5.0, help="unrecorded seconds before")
    group.add_argument(
        "--calls-per-user", type=float, default=0.5, help="of one user a second, as a mean"
    )
    group.add_argument("--call-timeout", type=float, default=5.0, help="seconds")
    group.add_argument("--channels", type=int, default=4, help="connections of each process")
    group.add_argument("--seed", type=int, default=1, help="of the traffic")
    group.add_argument("--state-dir", default=".vitrine", help="whose release names the shoppers")
    group.add_argument(
        "--calls-file", default="", help="where every call is written, for `vitrine loadtest`"
    )


@events.test_start.add_listener
def _begin(environment: Any, **_: Any) -> None:
    if not isinstance(environment.runner, MasterRunner):
        _audience(environment.parsed_options.state_dir)  # before the first call, not during it
    RECORDER.begin(warm_up_s=environment.parsed_options.warm_up)


@events.report_to_master.add_listener
def _report(client_id: str, data: dict[str, Any]) -> None:
    data[REPORT_KEY] = RECORDER.report()


@events.worker_report.add_listener
def _take_report(client_id: str, data: dict[str, Any]) -> None:
    RECORDER.take_report(data[REPORT_KEY])


@events.quitting.add_listener
def _write(environment: Any, **_: Any) -> None:
    file = environment.parsed_options.calls_file
    if file and not isinstance(environment.runner, WorkerRunner):
        save_log(RECORDER.whole(), Path(file))
        sys.stderr.write(f"calls: {file}\n")
