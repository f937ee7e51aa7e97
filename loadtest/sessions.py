"""Sessions: how shoppers of the log walked through the shop, to be walked again under load.

The log is the simulated world's, or any with the same columns. Of its last day every session
becomes its lists in order: the page, the product looked at last before it, and what was in the cart
by then. Shoppers who came most often stand first, so that drawing by Zipf draws them most.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from shop.events import EventType

_COLUMNS = (
    "time_ms",
    "user_id",
    "session_id",
    "request_id",
    "product_id",
    "type",
    "placement",
    "device",
)
_MOST_EVENTS = 200_000  # of the end of the log: a day of the world, half a second to read
_MOST_IN_CART = 20


@dataclass(frozen=True, slots=True)
class Step:
    """One list of a session."""

    placement: str
    product: str = ""  # what the page is about
    cart: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class LoggedSession:
    """Who came, and what they were shown where, first to last. At least one step."""

    shopper: str
    device: str
    steps: tuple[Step, ...]


def sessions_of(events_file: Path) -> list[LoggedSession]:
    """Sessions of the log's last events; none where there is no such log."""
    if not events_file.is_file():
        return []
    log = pq.ParquetFile(events_file)
    if not set(_COLUMNS) <= set(log.schema_arrow.names):
        return []
    groups: list[pa.Table] = []
    for number in reversed(range(log.num_row_groups)):
        groups.append(log.read_row_group(number, columns=list(_COLUMNS)))
        if sum(group.num_rows for group in groups) >= _MOST_EVENTS:
            break
    if not groups:
        return []
    recent = pa.concat_tables(groups[::-1])
    recent = recent.slice(max(0, recent.num_rows - _MOST_EVENTS))
    return _often_first(_walked(recent))


@dataclass(slots=True)
class _Walk:
    shopper: str
    device: str
    steps: list[Step]
    looked_at: str = ""
    request: int = 0


def _walked(events: pa.Table) -> Iterable[LoggedSession]:
    """In time order, event by event; impressions of one list are one step."""
    walks: dict[int, _Walk] = {}
    carts: dict[int, dict[str, None]] = {}
    columns = [events.sort_by("time_ms")[name].to_pylist() for name in _COLUMNS]
    for _, shopper, session, request, product, kind, placement, device in zip(
        *columns, strict=True
    ):
        if session is None or shopper is None:
            continue
        walk = walks.setdefault(session, _Walk(shopper, device or "", []))
        cart = carts.setdefault(session, {})
        match kind:
            case EventType.IMPRESSION if placement and request != walk.request:
                walk.request = request
                walk.steps.append(_step(placement, walk.looked_at, tuple(cart)))
            case EventType.CLICK:
                walk.looked_at = product
            case EventType.CART:
                cart[product] = None
            case EventType.REMOVE | EventType.PURCHASE:
                cart.pop(product, None)
    return (LoggedSession(w.shopper, w.device, tuple(w.steps)) for w in walks.values() if w.steps)


def _step(placement: str, looked_at: str, cart: tuple[str, ...]) -> Step:
    about = looked_at if placement == "product" else ""
    return Step(placement, about, cart[:_MOST_IN_CART] if placement == "cart" else ())


def _often_first(sessions: Iterable[LoggedSession]) -> list[LoggedSession]:
    found = list(sessions)
    visits = Counter(session.shopper for session in found)
    return sorted(found, key=lambda session: (-visits[session.shopper], session.shopper))
