"""Ranking examples: lists of candidates, what became of each, and when that was certain.

From a log with impressions: the lists that were shown. From one without: what the gateway would
propose at the start of every session (`training.proposals`), and what the shopper then wanted.

An outcome counts for the window in which it became certain. A return may take `RETURN_DAYS`, so
that head learns and is judged on purchases that much older, and never on one still open.

Shapes: Q lists, N longest list, H heads, F candidate values, R catalogue rows.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from shop.events import EVENT_CODES, EventType
from shop.features import CANDIDATE_VALUES, FeatureSchema, candidate_values, log_price_of
from shop.neighbours import REACH, RECENCY_DECAY, Neighbours
from training.data.snapshot import Snapshot
from training.examples import Moments, moments_of_events, wanted_touches
from training.histories import Histories

RETURN_DAYS = 21.0  # a purchase not back by then counts as kept
_MS_PER_DAY = 86_400_000
_CHUNK = 256
_TO_TASTE = CANDIDATE_VALUES.index("price_to_taste")
_IMPRESSION = EVENT_CODES[EventType.IMPRESSION]
_IMPLIED_BY = {"click": ("cart", "purchase")}  # a log may lose the click, but it happened


@dataclass(frozen=True, slots=True, eq=False)
class Lists:
    """Candidates that were or would have been shown together, and what became of them."""

    moments: Moments  # [Q]
    rows: NDArray[np.int32]  # [Q, N] catalogue rows, 0 = padding
    price_minor: NDArray[np.int64]  # [Q, N]
    discounts: NDArray[np.float32]  # [Q, N]
    positions: NDArray[np.int16]  # [Q, N] 1-based, 0 = not in a shown list
    labels: NDArray[np.bool_]  # [Q, N, H]
    is_known: NDArray[np.bool_]  # [Q, N, H] whether the outcome may be learnt from
    certain_ms: NDArray[np.int64]  # [Q, H] when each head's outcome had become certain

    def __len__(self) -> int:
        return int(self.rows.shape[0])

    def at(self, positions: NDArray[np.intp]) -> "Lists":
        """The lists at these positions, in this order."""
        columns = {
            name: getattr(self, name)[positions] for name in Lists.__slots__ if name != "moments"
        }
        return Lists(moments=self.moments.at(positions), **columns)

    def certain_in(self, inside: Callable[[NDArray[np.int64]], NDArray[np.bool_]]) -> "Lists":
        """The lists with an outcome certain `inside` a window; the other outcomes are hidden."""
        counts = inside(self.certain_ms)
        is_known = self.is_known & counts[:, None, :]
        kept = np.flatnonzero(is_known.any(axis=(1, 2)))
        return replace(self, is_known=is_known).at(kept)


def shown_lists(snapshot: Snapshot, schema: FeatureSchema) -> Lists:
    """Every logged list, in order of time, with the outcomes that carry its request."""
    events = snapshot.events
    at = np.flatnonzero((events.codes == _IMPRESSION) & (events.request_ids > 0))
    at = at[np.argsort(events.request_ids[at], kind="stable")]
    requests, firsts, lengths = np.unique(
        events.request_ids[at], return_index=True, return_counts=True
    )
    list_of = np.repeat(np.arange(requests.size), lengths)
    slot_of = np.arange(at.size) - np.repeat(firsts, lengths)
    shape = (requests.size, int(lengths.max(initial=0)))
    rows = _placed(events.product_rows[at], list_of, slot_of, shape, np.int32)
    moments = moments_of_events(snapshot, schema, at[firsts])
    outcomes = _Outcomes(rows, list_of, slot_of, events.product_rows[at].astype(np.int64))
    labels = np.zeros((*shape, len(schema.heads)), dtype=np.bool_)
    for head, name in enumerate(schema.heads):
        happened = np.flatnonzero(
            (events.codes == EVENT_CODES[EventType(name)]) & (events.request_ids > 0)
        )
        question = np.searchsorted(requests, events.request_ids[happened])
        question = np.minimum(question, max(0, requests.size - 1))
        is_ours = requests[question] == events.request_ids[happened]
        if name == "return":
            is_ours &= events.times_ms[happened] <= moments.times_ms[question] + _days(RETURN_DAYS)
        happened, question = happened[is_ours], question[is_ours]
        outcomes.mark(labels[..., head], question, events.product_rows[happened].astype(np.int64))
    lists = Lists(
        moments=moments,
        rows=rows,
        price_minor=_placed(events.price_minor[at], list_of, slot_of, shape, np.int64),
        discounts=_placed(events.discounts[at], list_of, slot_of, shape, np.float32),
        positions=_placed(events.positions[at], list_of, slot_of, shape, np.int16),
        labels=_with_implied(labels, schema.heads),
        is_known=_known(rows, labels, schema.heads),
        certain_ms=_certain_ms(moments.times_ms, schema.heads, horizon_days=0.0),
    )
    return lists.at(np.argsort(moments.times_ms, kind="stable"))


@dataclass(frozen=True, slots=True, eq=False)
class _Outcomes:
    """Finds the place of a product in a list. Shapes: I impressions."""

    rows: NDArray[np.int32]  # [Q, N]
    list_of: NDArray[np.intp]  # [I] ascending
    slot_of: NDArray[np.intp]  # [I]
    product_of: NDArray[np.int64]  # [I]

    def mark(
        self, label: NDArray[np.bool_], question: NDArray[np.intp], products: NDArray[np.int64]
    ) -> None:
        """Set label [Q, N] where these products stand in these lists; absent ones are ignored."""
        if self.product_of.size == 0:
            return
        width = int(max(self.product_of.max(), products.max(initial=0))) + 1
        keys = self.list_of * width + self.product_of
        order = np.argsort(keys)
        wanted = question * width + products
        found = order[np.minimum(np.searchsorted(keys[order], wanted), keys.size - 1)]
        found = found[keys[found] == wanted]
        label[self.list_of[found], self.slot_of[found]] = True


@dataclass(frozen=True, slots=True, eq=False)
class Visits:
    """The starts of sessions in which something was wanted. Shapes: Q visits."""

    moments: Moments  # [Q]
    ends_ms: NDArray[np.int64]  # [Q] the last time that still counts as an outcome

    def at(self, positions: NDArray[np.intp]) -> "Visits":
        """The visits at these positions, in this order."""
        return Visits(self.moments.at(positions), self.ends_ms[positions])


def visits(snapshot: Snapshot, schema: FeatureSchema, *, horizon_days: float) -> Visits:
    """Every session with a wish, in order of time; outcomes count for `horizon_days` from its
    start, and to its end at least."""
    events = snapshot.events
    at = wanted_touches(snapshot).events_at
    sessions = np.stack([events.user_rows[at].astype(np.int64), events.session_ids[at]], axis=1)
    _, firsts, session_of = np.unique(sessions, axis=0, return_index=True, return_inverse=True)
    last_ms = np.zeros(firsts.size, dtype=np.int64)
    np.maximum.at(last_ms, session_of.ravel(), events.times_ms[at])
    moments = moments_of_events(snapshot, schema, at[firsts])
    ends_ms = np.maximum(last_ms, moments.times_ms + _days(horizon_days))
    order = np.argsort(moments.times_ms, kind="stable")
    return Visits(moments.at(order), ends_ms[order])


def judged_lists(
    snapshot: Snapshot,
    schema: FeatureSchema,
    asked: Visits,
    rows: NDArray[np.int32],
    list_price_minor: NDArray[np.int64],
) -> Lists:
    """Proposed candidates [Q, N] and what the shopper then did with each. list_price_minor [R]."""
    labels = np.zeros((*rows.shape, len(schema.heads)), dtype=np.bool_)
    certain_ms = np.repeat(asked.ends_ms[:, None], len(schema.heads), axis=1)
    for head, name in enumerate(schema.heads):
        certain_ms[:, head] += _days(RETURN_DAYS if name == "return" else 0.0)
        labels[..., head] = _happened(
            snapshot, EventType(name), asked.moments, certain_ms[:, head], rows
        )
    return Lists(
        moments=asked.moments,
        rows=rows,
        price_minor=list_price_minor[rows],
        discounts=np.zeros(rows.shape, dtype=np.float32),
        positions=np.zeros(rows.shape, dtype=np.int16),
        labels=_with_implied(labels, schema.heads),
        is_known=_known(rows, labels, schema.heads),
        certain_ms=certain_ms,
    )


def _happened(
    snapshot: Snapshot,
    event: EventType,
    moments: Moments,
    until_ms: NDArray[np.int64],
    rows: NDArray[np.int32],
) -> NDArray[np.bool_]:
    """[Q, N] whether the shopper did this with the product from the moment on until then."""
    events = snapshot.events
    at = np.flatnonzero(events.codes == EVENT_CODES[event])
    row_count = snapshot.products.num_rows + 1
    instants = np.unique(np.concatenate([events.times_ms[at], moments.times_ms]))
    pairs = events.user_rows[at].astype(np.int64) * row_count + events.product_rows[at]
    keys = pairs * instants.size + np.searchsorted(instants, events.times_ms[at])
    order = np.argsort(keys)
    keys, times_ms, pairs = keys[order], events.times_ms[at][order], pairs[order]
    if keys.size == 0:
        return np.zeros(rows.shape, dtype=np.bool_)
    asked_pairs = moments.user_rows[:, None] * row_count + rows
    now = np.searchsorted(instants, moments.times_ms)
    next_at = np.searchsorted(keys, asked_pairs * instants.size + now[:, None])
    next_at = np.minimum(next_at, keys.size - 1)
    is_same = (pairs[next_at] == asked_pairs) & (times_ms[next_at] >= moments.times_ms[:, None])
    return is_same & (times_ms[next_at] <= until_ms[:, None]) & (rows > 0)


def _with_implied(labels: NDArray[np.bool_], heads: tuple[str, ...]) -> NDArray[np.bool_]:
    for implied, deeds in _IMPLIED_BY.items():
        if implied in heads:
            column = heads.index(implied)
            for deed in deeds:
                if deed in heads:
                    labels[..., column] |= labels[..., heads.index(deed)]
    return labels


def _known(
    rows: NDArray[np.int32], labels: NDArray[np.bool_], heads: tuple[str, ...]
) -> NDArray[np.bool_]:
    """[Q, N, H] of padding nothing is known; of returns only where there was a purchase."""
    is_known = np.repeat((rows > 0)[..., None], len(heads), axis=-1)
    if "return" in heads:
        is_known[..., heads.index("return")] &= labels[..., heads.index("purchase")]
    return is_known


def _certain_ms(
    times_ms: NDArray[np.int64], heads: tuple[str, ...], *, horizon_days: float
) -> NDArray[np.int64]:
    waits = [horizon_days + (RETURN_DAYS if head == "return" else 0.0) for head in heads]
    return times_ms[:, None] + np.array([_days(wait) for wait in waits], dtype=np.int64)


def _days(days: float) -> int:
    return int(days * _MS_PER_DAY)


def _placed(
    values: NDArray[np.generic],
    list_of: NDArray[np.intp],
    slot_of: NDArray[np.intp],
    shape: tuple[int, int],
    dtype: type,
) -> NDArray:
    placed = np.zeros(shape, dtype=dtype)
    placed[list_of, slot_of] = values
    return placed


def values_of_lists(
    lists: Lists,
    histories: Histories,
    neighbours: Neighbours,
    list_price_minor: NDArray[np.int64],
    advance: Callable[[float], None] = lambda _: None,
) -> NDArray[np.float32]:
    """[Q, N, F] as `shop.features.candidate_values` gives them; `advance` is told the share done.

    Equal to the gateway's numbers bit for bit; a test keeps that.
    """
    values = np.empty((*lists.rows.shape, len(CANDIDATE_VALUES)), dtype=np.float32)
    for start in range(0, len(lists), _CHUNK):
        part = slice(start, min(start + _CHUNK, len(lists)))
        moments = lists.moments.at(np.arange(part.start, part.stop))
        flat = candidate_values(
            price_minor=lists.price_minor[part].ravel(),
            discount=lists.discounts[part].ravel(),
            item_item=item_item_scores(histories, moments, neighbours, lists.rows[part]).ravel(),
            taste_log_price=None,
        )
        chunk = flat.reshape(*lists.rows[part].shape, -1)
        taste, has_taste = _taste_log_prices(histories, moments, list_price_minor)
        to_taste = chunk[..., 0] - taste[:, None]
        chunk[..., _TO_TASTE] = np.where(has_taste[:, None], to_taste, np.float32(0))
        values[part] = chunk
        advance((part.stop - part.start) / len(lists))
    return values


def item_item_scores(
    histories: Histories, moments: Moments, neighbours: Neighbours, rows: NDArray[np.int32]
) -> NDArray[np.float32]:
    """[B, N] what `shop.neighbours.score_neighbours` gives the candidates `rows` [B, N]."""
    deeds = histories.interactions
    spans = deeds.spans(moments.user_rows, moments.times_ms)
    at = spans.ends[:, None] - 1 - np.arange(REACH)
    if deeds.product_rows.size == 0:
        return np.zeros(rows.shape, dtype=np.float32)
    recent = np.where(at >= spans.starts[:, None], deeds.product_rows[np.maximum(at, 0)], 0)
    weights = (RECENCY_DECAY ** np.arange(REACH)).astype(np.float32)
    row_count = neighbours.rows.shape[0]
    keys = np.arange(len(moments))[:, None, None] * row_count + neighbours.rows[recent]
    scores = neighbours.scores[recent] * weights[:, None]
    # Row 0, "no product", has no neighbours of score above 0: padding adds nothing anywhere.
    summed = np.bincount(keys.ravel(), weights=scores.ravel(), minlength=len(moments) * row_count)
    table = summed.reshape(len(moments), row_count)
    table[:, 0] = 0.0
    return np.take_along_axis(table, rows.astype(np.int64), axis=1).astype(np.float32)


def _taste_log_prices(
    histories: Histories, moments: Moments, list_price_minor: NDArray[np.int64]
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """[B] `shop.features.mean_log_price`, and whether there is one."""
    deeds = histories.interactions
    spans = deeds.spans(moments.user_rows, moments.times_ms)
    log_prices = log_price_of(list_price_minor)
    taste = np.zeros(len(moments), dtype=np.float32)
    for at, (start, end) in enumerate(zip(spans.starts.tolist(), spans.ends.tolist(), strict=True)):
        if end > start:  # one by one: numpy's own summation order, as online
            known = log_prices[deeds.product_rows[start:end]]
            taste[at] = known.mean(dtype=np.float64)
    return taste, spans.ends > spans.starts
