"""Guard: who comes through this process's door, and when it is too full.

Asked for every call before anything else is done for it (`serving.arrival`): what is refused here
has cost a tenth of a list or less. Without a gateway behind it the guard lets nobody in.
"""

import asyncio
import logging
import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from serving.adapters.token_files import read_callers, seen
from serving.admission import PRIORITIES, AdaptiveLimit, Priority, least_limit, priority_of
from serving.audit import AuditLog
from serving.callers import READS, SCOPE_OF_METHOD, Caller, Callers, Scope
from serving.message_sizes import too_large
from serving.rate_limits import RateLimits
from serving.settings import DoorSettings
from shop.errors import (
    DependencyTimeout,
    DependencyUnavailable,
    InvalidRequest,
    Overloaded,
    SettingsRejected,
    VitrineError,
)

logger = logging.getLogger(__name__)

_SERVICE = "/vitrine.v1.Recommendations/"
LISTS = frozenset({f"{_SERVICE}Recommend", f"{_SERVICE}Rerank"})  # what the limit counts
# What nobody at a page loses by waiting for: shed first.
_BEHIND_LISTS = frozenset({f"{_SERVICE}SuggestPrice", f"{_SERVICE}Ask"})
_PRIORITY_KEY = "vitrine-priority"
_LOOK_EVERY_S = 1.0
# By priority: a peak that a page waits out, and one that a batch should leave to others.
_RETRY_AFTER_MS = (150, 200, 1_000, 5_000)
_SPREAD = 0.5  # of the wait is chance, or all who were shed would come back together


class Tells(Protocol):
    """What the guard counts with; `serving.telemetry.Telemetry`."""

    def shed(self, reason: str) -> None:
        """A call was turned away for a reason of `serving.telemetry.SHED`."""

    def finished(self, method: str, code: str, seconds: float) -> None:
        """A call ended with this gRPC status name."""


class Untold:
    """For a door that counts nothing; its log says what came."""

    def shed(self, reason: str) -> None:
        """Not counted."""

    def finished(self, method: str, code: str, seconds: float) -> None:
        """Not counted."""


@dataclass(slots=True)  # not frozen: that costs every call a microsecond
class Admitted:
    """A call that was let in, until `Guard.leave`."""

    method: str
    caller: Caller | None
    counts: bool  # as a list under way
    at_s: float


class Guard:
    """The door's, one per process. `stand` puts it to work."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._door = DoorSettings()
        self._tells: Tells | None = None
        self._callers: Callers | None = None
        self._rates: RateLimits | None = None
        self._audit: AuditLog | None = None
        self._chance = random.Random()
        self.limit = AdaptiveLimit(target_s=1.0, least=1, most=1)

    def stand(self, door: DoorSettings, tells: Tells, audit: AuditLog | None = None) -> None:
        """From now on calls are let in. Raises SettingsRejected if the callers cannot be read."""
        self._callers = read_callers(Path(door.tokens_file)) if door.needs_tokens else None
        admission = door.admission
        if admission.calls_per_s:
            self._rates = RateLimits(
                calls_per_s=admission.calls_per_s,
                burst=float(admission.burst_calls),
                max_callers=admission.max_callers,
            )
        least = least_limit(door.concurrent_calls)
        self.limit = AdaptiveLimit(
            target_s=admission.target_ms / 1000.0,
            least=least,
            most=max(least, door.concurrent_calls + door.queued_calls),
        )
        self._door, self._audit, self._tells = door, audit, tells

    @property
    def acceptors(self) -> int:
        """How many calls the door takes in at once; 0: as gRPC does."""
        return self._door.admission.acceptors

    def is_full(self, method: str) -> bool:
        """Whether there is no room for a call of this method, whoever it is for."""
        return (
            self._tells is not None
            and method in LISTS
            and not self.limit.has_room(Priority.PRODUCT)
        )

    def too_large(self, method: str, raw: bytes) -> str:
        """Why this message is not to be read at all; "" if it may be."""
        return too_large(method, raw, self._door.admission)

    def admit(self, method: str, request: Any, context: Any, at_s: float) -> Admitted:
        """Raises what the caller is to be told: Unauthenticated, Forbidden, InvalidRequest,
        Overloaded, DependencyTimeout or DependencyUnavailable.

        `at_s` is when the call came. Who was admitted must `leave`.
        """
        if self._tells is None:
            raise DependencyUnavailable("door", "this replica is not ready yet")
        authorization, asked = _asked(context)
        caller = None if self._callers is None else self._callers.allow(authorization, method)
        self._check_rate(caller, context)
        counts = method in LISTS
        if counts:
            self._check_room(priority_of(request.placement, asked))
            self.limit.enter()
        elif method in _BEHIND_LISTS:
            self._check_room(Priority.BATCH)
        return Admitted(method, caller, counts, at_s)

    def leave(self, admitted: Admitted, code: str, *, answered: bool) -> None:
        """The call ended; `answered`: with what it asked for, so that its time says something."""
        if admitted.counts:
            now_s = self._clock()
            self.limit.leave(now_s, now_s - admitted.at_s if answered else None)
        elif self._audit is not None and _is_audited(admitted.method):
            who = "anyone" if admitted.caller is None else admitted.caller.name
            self._audit.note_soon(who, admitted.method.rpartition("/")[2], code)

    def too_full(self) -> Overloaded:
        """What a caller is told for whom there was no room."""
        return self._overloaded("full", Priority.PRODUCT)

    def refused(self, method: str, error: VitrineError, code: str, at_s: float) -> None:
        """Counts a call that was not let in."""
        if self._tells is not None:
            name = method.rpartition("/")[2]
            self._tells.finished(name, code, self._clock() - at_s)
            if isinstance(error, DependencyTimeout):
                self._tells.shed("late")

    @contextmanager
    def one_of_a_batch(self) -> Iterator[None]:
        """A list of a RecommendMany, which begins when nobody who waits is held up by it.

        Raises Overloaded while there is no room.
        """
        if self._tells is not None:
            self._check_room(Priority.BATCH)
        self.limit.enter()
        try:
            yield
        finally:
            self.limit.leave(self._clock(), None)

    async def follow_callers(self, look_every_s: float = _LOOK_EVERY_S) -> None:
        """Looks for another file of tokens, for ever; one with faults leaves those before."""
        if self._callers is None:
            await asyncio.Event().wait()
        file, before = Path(self._door.tokens_file), None
        while True:
            now = seen(file)
            if now != before:
                try:
                    self._callers = await asyncio.to_thread(read_callers, file)
                    logger.info("%d callers have a token", len(self._callers))
                except SettingsRejected as error:
                    logger.error("the callers before stay: %s", error)
                before = now
            await asyncio.sleep(look_every_s)

    def _check_rate(self, caller: Caller | None, context: Any) -> None:
        if self._rates is None:
            return
        name = peer_host(context.peer()) if caller is None else caller.id
        own = None if caller is None else caller.calls_per_s
        wait_s = self._rates.wait_s(name, self._clock(), own)
        if wait_s > 0.0:
            self._count("rate")
            raise Overloaded("more calls than this caller may make", int(wait_s * 1000.0) + 1)

    def _check_room(self, priority: Priority) -> None:
        if not self.limit.has_room(priority):
            raise self._overloaded(priority.name.lower(), priority)

    def _overloaded(self, reason: str, priority: Priority) -> Overloaded:
        self._count(reason)
        wait_ms = _RETRY_AFTER_MS[priority] * (1.0 + _SPREAD * self._chance.random())
        return Overloaded(f"{self.limit.under_way} lists are under way already", int(wait_ms))

    def _count(self, reason: str) -> None:
        if self._tells is not None:
            self._tells.shed(reason)


def peer_host(peer: str) -> str:
    """Of gRPC's `ipv4:127.0.0.1:5000` without the port: one machine is one caller.

    Of an IPv6 address only the network: whoever has one has all 2^64 addresses in it.
    """
    host = peer.rpartition(":")[0]
    if not peer.startswith("ipv6:"):
        return host
    address = host.removeprefix("ipv6:").removeprefix("%5B").removesuffix("%5D")
    return "ipv6:" + ":".join(address.strip("[]").split(":")[:4])


def _asked(context: Any) -> tuple[str | None, str | None]:
    """The authorization header, and the priority asked for. Raises InvalidRequest."""
    authorization = priority = None
    for key, value in context.invocation_metadata() or ():
        if key == "authorization":
            authorization = value
        elif key == _PRIORITY_KEY:
            if value not in PRIORITIES:
                raise InvalidRequest(
                    _PRIORITY_KEY, f"is {value[:20]!r}, must be one of {', '.join(PRIORITIES)}"
                )
            priority = value
    return authorization, priority


def _is_audited(method: str) -> bool:
    return SCOPE_OF_METHOD.get(method, Scope.OPERATOR) is not Scope.SHOP and method not in READS


# The server that takes calls in is made by Ray Serve, the gateway too, and neither is handed the
# other.
THIS_DOOR = Guard()
