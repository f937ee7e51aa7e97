"""History: what is stored of the shopper, what this session adds, and the context they give.

Shapes: T past interactions, M more of this session.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from serving.recommend.call import Call
from serving.recommend.fallbacks import or_fallback
from serving.recommend.ports import StoredHistory
from serving.recommend.request import Ask, Degradation, Stage
from shop.catalogue import Catalogue
from shop.events import EVENT_CODES, HISTORY_LIMIT, EventType, History
from shop.features import Context

_CLICK = EVENT_CODES[EventType.CLICK]
_CART = EVENT_CODES[EventType.CART]


@dataclass(frozen=True, slots=True, eq=False)
class Past:
    """All that is known of the shopper at this moment."""

    history: History
    context: Context  # of the request, completed from the stored profile


async def read_history(call: Call) -> Past:
    """The stored history and this session's deeds, oldest first. Nobody's history is empty."""
    stored = await _stored(call) if call.ask.shopper else None
    catalogue = call.deps.release.tables.catalogue
    known = History.empty() if stored is None else _rows_of(stored, call.ask, catalogue)
    return Past(with_session(known, call.ask, catalogue), _completed(call.ask.context, stored))


async def _stored(call: Call) -> StoredHistory | None:
    within_s = call.within_s(call.deps.settings.budgets.history_ms)
    return await or_fallback(
        call.deps.histories.of(call.ask.shopper, timeout_s=within_s),
        within_s=within_s,
        fallback=None,
        stage=Stage.HISTORY,
        lost=Degradation.NO_HISTORY,
        losses=call.losses,
    )


def _rows_of(stored: StoredHistory, ask: Ask, catalogue: Catalogue) -> History:
    session = ask.session_id
    in_session = [bool(session) and name == session for name in stored.session_ids]
    return History(
        catalogue.rows_of(list(stored.product_ids)),
        stored.event_codes,
        np.minimum(stored.times_ms, ask.context.now_ms),  # of a client whose clock ran ahead
        np.array(in_session, dtype=np.bool_),
    )


def with_session(stored: History, ask: Ask, catalogue: Catalogue) -> History:
    """`stored` and what the request tells of this session, in order of time, the newest that count.

    The products that the page is about count as clicked now, those in the cart as put there now,
    unless this session's history says so already.
    """
    now_ms = ask.context.now_ms
    recent_rows = catalogue.rows_of([event.product_id for event in ask.recent_events])
    recent_codes = [event.event_code for event in ask.recent_events]
    rows, codes = recent_rows.tolist(), list(recent_codes)
    times = [min(event.time_ms, now_ms) for event in ask.recent_events]
    done = set(zip(rows, codes, strict=True)) | _done_in_session(stored)
    for product_ids, code in ((ask.context_product_ids, _CLICK), (ask.cart_product_ids, _CART)):
        for row in catalogue.rows_of(list(product_ids)).tolist():
            if row > 0 and (row, code) not in done:
                done.add((row, code))
                rows.append(row)
                codes.append(code)
                times.append(now_ms)
    if not rows:
        return stored
    return _newest_in_order(
        History(
            np.concatenate([stored.product_rows, _column(rows)]),
            np.concatenate([stored.event_codes, _column(codes)]),
            np.concatenate([stored.times_ms, _column(times)]),
            np.concatenate([stored.session_mask, np.ones(len(rows), dtype=np.bool_)]),
        )
    )


def _done_in_session(stored: History) -> set[tuple[int, int]]:
    rows = stored.product_rows[stored.session_mask].tolist()
    return set(zip(rows, stored.event_codes[stored.session_mask].tolist(), strict=True))


def _column(values: list[int]) -> NDArray[np.int64]:
    return np.array(values, dtype=np.int64)


def _newest_in_order(history: History) -> History:
    order = np.argsort(history.times_ms, kind="stable")[-HISTORY_LIMIT:]  # as training cuts it
    return History(
        history.product_rows[order],
        history.event_codes[order],
        history.times_ms[order],
        history.session_mask[order],
    )


def _completed(context: Context, stored: StoredHistory | None) -> Context:
    """What the request leaves open is taken from the profile."""
    if stored is None:
        return context
    return replace(
        context,
        device=context.device or stored.device,
        country=context.country or stored.country,
        segment=context.segment or stored.segment,
    )
