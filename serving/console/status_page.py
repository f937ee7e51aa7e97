"""Status page: whether the doors serve, what runs behind them, and which release answers."""

import time
from dataclasses import dataclass

from starlette.responses import Response

from serving.console.stack import Stack
from serving.console.visits import Visit
from shop.errors import VitrineError

_ANSWER_S = 2.0


@dataclass(frozen=True, slots=True)
class Probe:
    """A question that was just put to the stack, and what came back."""

    asked: str
    answer: str
    is_good: bool
    took_ms: float


async def show_status(visit: Visit) -> Response:
    """Asked anew for every look: nothing on it is older than the page."""
    stack = visit.desk.stack
    state = stack.supervised()
    up_s = 0.0 if state is None else max(0.0, time.time() - state.started_ms / 1_000.0)
    return visit.page(
        "status.html",
        doors=await stack.doors(),
        probes=[await _release(stack), await _queue(stack)],
        state=state,
        up_s=up_s,
        active=stack.folder.active_release(),
    )


async def _release(stack: Stack) -> Probe:
    """Checks a request as any storefront's; no list is made."""
    began, asked = time.perf_counter(), "Which release answers?"
    try:
        reply = await stack.recommendations.recommend(
            placement="home", validate_only=True, timeout_s=_ANSWER_S
        )
    except VitrineError as error:
        return Probe(asked, str(error), False, _ms_since(began))
    return Probe(asked, reply.release, True, _ms_since(began))


async def _queue(stack: Stack) -> Probe:
    began, asked = time.perf_counter(), "How many texts wait for review?"
    try:
        found = await stack.descriptions.reviews(page_size=1)
    except VitrineError as error:
        return Probe(asked, str(error), False, _ms_since(began))
    return Probe(asked, str(found.waiting), True, _ms_since(began))


def _ms_since(began: float) -> float:
    return (time.perf_counter() - began) * 1_000.0
