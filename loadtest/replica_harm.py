"""Replica harm: what can go wrong with the gateway's own processes, done to them from outside."""

import contextlib
import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import grpc
import psutil

from loadtest.victims import NothingToHarm, Tally, Victim, beside, code_of, replicas_of
from serving.proto import recommendations_pb2 as pb

_LOG_EVENTS = "/vitrine.v1.Recommendations/LogEvents"
_TELL_EVERY_S = 0.1
_EVENT_S = 3.0  # the door waits for the disk for 2 s
_NO_BYTES = 0  # of any file, new or old


@contextmanager
def replica_killed(victim: Victim) -> Iterator[Tally]:
    """kill -9 of one of the gateway's replicas; Ray Serve starts another."""
    replicas = replicas_of(victim.stack.door)
    if len(replicas) < 2:
        raise NothingToHarm("there is one replica: who kills it closes the door")
    replicas[0].kill()
    yield Tally()


@contextmanager
def disk_full(victim: Victim) -> Iterator[Tally]:
    """No file of the replicas can grow: events are refused while lists go on.

    By the kernel's limit on their file sizes, so that only they are harmed.
    """
    replicas, tally = replicas_of(victim.stack.door), Tally()
    limits = {each: each.rlimit(psutil.RLIMIT_FSIZE) for each in replicas}

    def tell(stop: threading.Event) -> None:
        with grpc.insecure_channel(victim.stack.door) as channel:
            log = channel.unary_unary(_LOG_EVENTS)  # type: ignore[call-arg]
            while not stop.wait(_TELL_EVERY_S):
                tally.count(code_of(log, _an_event(), _EVENT_S))

    try:
        for each, (_, hard) in limits.items():
            each.rlimit(psutil.RLIMIT_FSIZE, (_NO_BYTES, hard))
        with beside(tell):
            yield tally
    finally:
        for each, before in limits.items():
            with contextlib.suppress(psutil.Error):  # it may have been replaced
                each.rlimit(psutil.RLIMIT_FSIZE, before)


def _an_event() -> bytes:
    key = secrets.token_hex(8)
    event = pb.Event(idempotency_key=key, type="dwell", visitor_id="adversity", product_id="none")
    return pb.LogEventsRequest(events=[event]).SerializeToString()
