"""Patience: clients that ask again when they were turned away, as the door tells them or at once.

An answer counts whichever attempt brought it, its latency from the first one's intended time; that
it was asked for again is told separately.
"""

import time
from asyncio import sleep
from dataclasses import dataclass, replace
from functools import partial

from loadtest.doors import Call, GrpcDoor, Reply

_TURNED_AWAY = frozenset({"UNAVAILABLE", "RESOURCE_EXHAUSTED"})
_BACKOFF_S = 0.02  # of `service_config.json`, where the door does not say how long
_NEVER = -1  # what the door says to whoever has no time left to come back


@dataclass(frozen=True, slots=True)
class Patience:
    """How often a client asks again, within its own deadline, and whether it waits as told."""

    times: int
    obeys: bool

    def wait_s(self, reply: Reply) -> float | None:
        """How long until it asks again; None if it does not."""
        if reply.code not in _TURNED_AWAY:
            return None
        if not self.obeys:
            return 0.0
        if reply.retry_after_ms is None:
            return _BACKOFF_S
        return None if reply.retry_after_ms == _NEVER else reply.retry_after_ms / 1000.0


OURS = Patience(times=1, obeys=True)  # as `serving.client` does for lists
HASTY = Patience(times=5, obeys=False)


class PatientDoor(GrpcDoor):
    """A door before which callers ask again."""

    def __init__(self, address: str, channels: int, *, patience: Patience) -> None:
        super().__init__(address, channels)
        self._patience = patience

    async def ask(self, number: int, call: Call, timeout_s: float) -> Reply:
        until = time.monotonic() + timeout_s
        reply = await super().ask(number, call, timeout_s)
        for again in range(1, self._patience.times + 1):
            wait_s = self._patience.wait_s(reply)
            if wait_s is None or time.monotonic() + wait_s >= until:
                break
            await sleep(wait_s)
            reply = await super().ask(number, call, max(0.001, until - time.monotonic()))
            reply = replace(reply, asked_again=again)
        return reply

    async def tell(self, number: int, events: bytes, timeout_s: float) -> bool:
        """Asked again, too: with the same keys events count once."""
        until = time.monotonic() + timeout_s
        for _ in range(1 + self._patience.times):
            left_s = until - time.monotonic()
            if left_s > 0 and await super().tell(number, events, left_s):
                return True
            await sleep(_BACKOFF_S if self._patience.obeys else 0.0)
        return False


as_our_client = partial(PatientDoor, patience=OURS)
hastily = partial(PatientDoor, patience=HASTY)
