"""History: what is stored of the shopper, what this session adds, and the context they give.

Shapes: T past interactions.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from serving.recommend.call import Call
from serving.recommend.fallbacks import or_fallback
from serving.recommend.ports import StoredHistory, StoredSignals
from serving.recommend.request import Ask, Degradation, Stage
from shop import session
from shop.catalogue import Catalogue
from shop.events import NO_SIGNALS, History, Signals
from shop.features import Context


@dataclass(frozen=True, slots=True, eq=False)
class Past:
    """All that is known of the shopper at this moment."""

    history: History
    context: Context  # of the request, completed from the stored profile
    revision: int  # of the stored history, 0 without one


async def read_history(call: Call) -> Past:
    """The stored history and this session's deeds, oldest first. Nobody's history is empty."""
    stored = await _stored(call) if call.ask.shopper else None
    catalogue = call.deps.release.tables.catalogue
    known = History.empty() if stored is None else _rows_of(stored, call.ask, catalogue)
    return Past(
        with_session(known, call.ask, catalogue),
        _completed(call.ask.context, stored),
        0 if stored is None else stored.revision,
    )


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
    return History(
        catalogue.rows_of(list(stored.product_ids)),
        stored.event_codes,
        np.minimum(stored.times_ms, ask.context.now_ms),  # of a client whose clock ran ahead
        _in_session(stored.session_ids, ask.session_id),
        stored.promotions,
        _signals_of(stored.signals, ask) if len(stored.signals) else NO_SIGNALS,
    )


def _signals_of(stored: StoredSignals, ask: Ask) -> Signals:
    return Signals(
        stored.event_codes,
        np.minimum(stored.times_ms, ask.context.now_ms),
        stored.amounts,
        _in_session(stored.session_ids, ask.session_id),
    )


def _in_session(session_ids: tuple[str, ...], session: str) -> NDArray[np.bool_]:
    return np.array([bool(session) and name == session for name in session_ids], dtype=np.bool_)


def with_session(stored: History, ask: Ask, catalogue: Catalogue) -> History:
    """`stored` and what the request tells of this session, see `shop.session`."""
    recent = ask.recent_events
    if not recent and not ask.context_product_ids and not ask.cart_product_ids:
        return stored
    rows = catalogue.rows_of([event.product_id for event in recent]).tolist()
    return session.with_session(
        stored,
        [
            session.Deed(event.event_code, row, event.time_ms, event.promotion, event.amount)
            for row, event in zip(rows, recent, strict=True)
        ],
        context_rows=catalogue.rows_of(list(ask.context_product_ids)),
        cart_rows=catalogue.rows_of(list(ask.cart_product_ids)),
        now_ms=ask.context.now_ms,
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
