"""Session: a stored history and what a request itself tells of the visit, put together.

The gateway does it for a call, `training.replay` for the same call from the log.

Shapes: T past interactions, M more, S signals.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shop.events import (
    EVENT_CODES,
    HISTORY_LIMIT,
    SIGNAL_CODES,
    SIGNAL_LIMIT,
    EventType,
    History,
    PromotionSeen,
    Signals,
)

_CLICK, _CART = EVENT_CODES[EventType.CLICK], EVENT_CODES[EventType.CART]
_SIGNALS = frozenset(SIGNAL_CODES.tolist())


@dataclass(frozen=True, slots=True)
class Deed:
    """Something done in this session that no store knows of yet."""

    event_code: int
    product_row: int  # 0 = unknown to the catalogue, or a search
    time_ms: int
    promotion: PromotionSeen = PromotionSeen.NOT_TOLD
    amount: int | None = None  # of a signal, see `shop.events.signal_amount`; None = not told


def with_session(
    stored: History,
    deeds: Sequence[Deed],
    *,
    context_rows: NDArray[np.int64],
    cart_rows: NDArray[np.int64],
    now_ms: int,
) -> History:
    """`stored` with this session's deeds, in order of time, the newest that count.

    The products that the page is about count as clicked now, those in the cart as put there now,
    unless this session's history says so already.
    """
    signals = stored.signals
    more = [deed for deed in deeds if deed.event_code in _SIGNALS]
    if more:
        deeds = [deed for deed in deeds if deed.event_code not in _SIGNALS]
        signals = _with_signals(signals, more, now_ms)
    deeds = [*deeds, *_implied(stored, deeds, context_rows, cart_rows, now_ms)]
    if not deeds and not more:
        return stored
    times = np.minimum(_column([deed.time_ms for deed in deeds]), now_ms)
    times = np.concatenate([stored.times_ms, times])
    order = np.argsort(times, kind="stable")[-HISTORY_LIMIT:]  # as training cuts it
    promotions = np.array([deed.promotion for deed in deeds], dtype=np.int8)
    return History(
        np.concatenate([stored.product_rows, _column([d.product_row for d in deeds])])[order],
        np.concatenate([stored.event_codes, _column([d.event_code for d in deeds])])[order],
        times[order],
        np.concatenate([stored.session_mask, np.ones(len(deeds), dtype=np.bool_)])[order],
        np.concatenate([stored.promotions, promotions])[order],
        signals,
    )


def _implied(
    stored: History,
    deeds: Sequence[Deed],
    context_rows: NDArray[np.int64],
    cart_rows: NDArray[np.int64],
    now_ms: int,
) -> list[Deed]:
    """What the page and the cart say must have been done, each once."""
    if context_rows.size == 0 and cart_rows.size == 0:
        return []
    in_session = stored.session_mask
    done = set(
        zip(
            stored.product_rows[in_session].tolist(),
            stored.event_codes[in_session].tolist(),
            strict=True,
        )
    )
    done.update((deed.product_row, deed.event_code) for deed in deeds)
    found = []
    for rows, code in ((context_rows, _CLICK), (cart_rows, _CART)):
        for row in rows.tolist():
            if row > 0 and (row, code) not in done:
                done.add((row, code))
                found.append(Deed(code, row, now_ms))
    return found


def _with_signals(stored: Signals, deeds: Sequence[Deed], now_ms: int) -> Signals:
    told = [(d, d.amount) for d in deeds if d.amount is not None]
    times = np.minimum(_column([deed.time_ms for deed, _ in told]), now_ms)
    times = np.concatenate([stored.times_ms, times])
    order = np.argsort(times, kind="stable")[-SIGNAL_LIMIT:]
    return Signals(
        np.concatenate([stored.event_codes, _column([d.event_code for d, _ in told])])[order],
        times[order],
        np.concatenate([stored.amounts, _column([amount for _, amount in told])])[order],
        np.concatenate([stored.session_mask, np.ones(len(told), dtype=np.bool_)])[order],
    )


def _column(values: list[int]) -> NDArray[np.int64]:
    return np.array(values, dtype=np.int64)
