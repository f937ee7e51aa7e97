"""Features: the one place where a request becomes numbers, online and in training alike.

Both the gateway and the training set builder call these functions, so a feature cannot differ
between them. Everything is a plain function of its arguments; time is an argument.

Shapes: T history length (padded), C context codes, V context values, N candidates, F values each.
"""

import math
import zlib
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shop import context_values
from shop.events import EVENT_CODES, EventType, History, PromotionSeen, Signals
from shop.local_time import UTC_ZONE, is_time_zone

# Raise on any change of meaning; a release carries the version it was made with.
FEATURE_VERSION = 2

CONTEXT_CODES = ("device", "country", "segment", "placement", "hour", "weekday")
CONTEXT_VALUES = context_values.NAMES  # what each is: `shop.context_values`
CANDIDATE_VALUES = (
    "log_price",  # log1p of the price in major units
    "discount",  # 0..1
    "item_item",  # co-occurrence score with the history, see shop.neighbours
    "price_to_taste",  # log price minus the mean log list price of the history, 0 when cold
)
PLACEMENTS = ("home", "product", "cart", "category", "search", "email")
_MS_PER_HOUR = 3_600_000.0
_MS_PER_MINUTE = 60_000.0
_MS_PER_DAY = 86_400_000
_LATELY_MS = context_values.LATELY_HOURS * _MS_PER_HOUR
_ABANDON, _PURCHASE = EVENT_CODES[EventType.ABANDON], EVENT_CODES[EventType.PURCHASE]
_SEARCH = EVENT_CODES[EventType.SEARCH]
_IS_COLD, _YEAR_SIN, _YEAR_COS = (
    CONTEXT_VALUES.index(name) for name in ("is_cold", "year_sin", "year_cos")
)
_DAYS_PER_YEAR = 365.25


@dataclass(frozen=True, slots=True)
class FeatureSchema:
    """Vocabularies and lengths that one release was trained with. Code 0 is always "unknown"."""

    version: int
    history_length: int  # T
    vector_size: int  # D
    devices: tuple[str, ...]
    countries: tuple[str, ...]
    segments: tuple[str, ...]
    heads: tuple[str, ...]  # in the order of the ranker's output columns, a subset of scoring.HEADS
    time_zone: str = UTC_ZONE  # the shop's: hours and weekdays are by its clock

    def code_counts(self) -> tuple[int, ...]:
        """Embedding rows each context code needs, in the order of CONTEXT_CODES."""
        return (
            len(self.devices) + 1,
            len(self.countries) + 1,
            len(self.segments) + 1,
            len(PLACEMENTS) + 1,
            24 + 1,
            7 + 1,
        )

    def to_json(self) -> dict[str, Any]:
        """A JSON object; `from_json` reads it back."""
        return asdict(self)

    @staticmethod
    def from_json(raw: dict[str, Any]) -> "FeatureSchema":
        """Raises ValueError if the release was made with another meaning of the features."""
        if raw.get("version") != FEATURE_VERSION:
            raise ValueError(
                f"feature schema version {raw.get('version')!r}, this code speaks {FEATURE_VERSION}"
            )
        if not is_time_zone(str(raw["time_zone"])):
            raise ValueError(f"time zone {raw['time_zone']!r} is not installed here")
        return FeatureSchema(
            version=FEATURE_VERSION,
            history_length=int(raw["history_length"]),
            vector_size=int(raw["vector_size"]),
            devices=tuple(raw["devices"]),
            countries=tuple(raw["countries"]),
            segments=tuple(raw["segments"]),
            heads=tuple(raw["heads"]),
            time_zone=str(raw["time_zone"]),
        )


@dataclass(frozen=True, slots=True)
class Context:
    """The circumstances of one call. "" means unknown."""

    now_ms: int  # Unix milliseconds, UTC
    utc_offset_minutes: int  # the shopper's clock against UTC; the shop's where that is not known
    placement: str
    device: str = ""
    country: str = ""
    segment: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class ShopperFeatures:
    """One shopper as the user tower and the ranker read them; padded on the left, newest last."""

    history_rows: NDArray[np.int64]  # [T] 0 = padding or product unknown to the release
    history_events: NDArray[np.int64]  # [T] 0 = padding
    history_ages: NDArray[np.float32]  # [T] log1p hours before now
    context_codes: NDArray[np.int64]  # [C]
    context_values: NDArray[np.float32]  # [V]

    def crc32(self) -> int:
        """CRC-32 over the five tensors' bytes: what the log keeps of them."""
        digest = zlib.crc32(self.history_rows.data)
        for tensor in (
            self.history_events,
            self.history_ages,
            self.context_codes,
            self.context_values,
        ):
            digest = zlib.crc32(tensor.data, digest)
        return digest


def _code(value: str, vocabulary: tuple[str, ...]) -> int:
    return vocabulary.index(value) + 1 if value in vocabulary else 0


def shopper_features(history: History, context: Context, schema: FeatureSchema) -> ShopperFeatures:
    """What the models know of the shopper at `context.now_ms`.

    `history` must hold nothing that happened later.
    """
    length = schema.history_length
    rows = np.zeros(length, dtype=np.int64)
    events = np.zeros(length, dtype=np.int64)
    ages = np.zeros(length, dtype=np.float32)
    kept = min(length, len(history))
    if kept:
        rows[-kept:] = history.product_rows[-kept:]
        events[-kept:] = history.event_codes[-kept:]
        ages[-kept:] = _log_hours(context.now_ms - history.times_ms[-kept:])
    return ShopperFeatures(
        rows, events, ages, _context_codes(context, schema), _context_values(history, context)
    )


def _log_hours(age_ms: NDArray[np.int64]) -> NDArray[np.float32]:
    # A client's clock may run ahead of ours: an age is never negative.
    return np.log1p(np.maximum(age_ms, 0) / _MS_PER_HOUR).astype(np.float32)


def _context_codes(context: Context, schema: FeatureSchema) -> NDArray[np.int64]:
    # Calendar from arithmetic, not datetime: this runs per request. The epoch was a Thursday.
    local_hours = (context.now_ms // 60_000 + context.utc_offset_minutes) // 60
    return np.array(
        [
            _code(context.device, schema.devices),
            _code(context.country, schema.countries),
            _code(context.segment, schema.segments),
            _code(context.placement, PLACEMENTS),
            local_hours % 24 + 1,
            (local_hours // 24 + 3) % 7 + 1,  # Monday = 1
        ],
        dtype=np.int64,
    )


def _context_values(history: History, context: Context) -> NDArray[np.float32]:
    times, codes, in_session = history.times_ms, history.event_codes, history.session_mask
    season = season_of(context.now_ms)
    if times.size == 0:
        raw: list[float] = [0.0] * len(CONTEXT_VALUES)
        raw[_IS_COLD] = 1.0
    else:
        now_ms, of_session = context.now_ms, times[in_session]
        pauses_ms = of_session[1:] - of_session[:-1]
        abandoned = times[codes == _ABANDON]
        promoted = history.promotions == PromotionSeen.PROMOTED
        told = _count(history.promotions)
        raw = [
            of_session.size,
            _median(pauses_ms / 1000.0),
            abandoned.size,
            (now_ms - int(times[-1])) / _MS_PER_HOUR,
            times.size,
            _count(codes == _PURCHASE),
            0.0,
            0.0,
            0.0,
            pauses_ms.size > 0,
            (now_ms - int(of_session[0])) / _MS_PER_MINUTE if of_session.size else 0.0,
            _count(now_ms - abandoned <= _LATELY_MS) if abandoned.size else 0,
            (now_ms - int(abandoned[-1])) / _MS_PER_HOUR if abandoned.size else 0.0,
            _count(promoted) / told if told else 0.0,
            told,
            _count(promoted & in_session),
            0.0,
            0.0,
            0.0,
            0.0,
        ]
    raw[_YEAR_SIN], raw[_YEAR_COS] = season
    if len(history.signals):
        raw[-4:] = _signal_values(history.signals)
    return context_values.finished(np.array(raw, dtype=np.float64))


def _count(mask: NDArray[Any]) -> int:
    return int(np.count_nonzero(mask))


def _median(values: NDArray[np.float64]) -> float:
    """The median as training takes it; 0 of nothing. numpy's own costs 15 µs more."""
    count = values.size
    if count == 0:
        return 0.0
    ordered = np.sort(values)
    low, high = float(ordered[(count - 1) // 2]), float(ordered[count // 2])
    return low if low == high else (low + high) / 2.0


def _signal_values(signals: Signals) -> tuple[float, ...]:
    """Mean dwell in seconds, pages of known dwell, searches, dead ends: all of this session."""
    amounts = signals.amounts[signals.session_mask]
    is_search = signals.event_codes[signals.session_mask] == _SEARCH
    searches = _count(is_search)
    dwells = amounts.size - searches
    dead_ends = _count(is_search & (amounts == 0))
    dwell_ms = np.minimum(amounts, context_values.LONGEST_DWELL_MS)[~is_search].sum()
    return int(dwell_ms) / dwells / 1000.0 if dwells else 0.0, dwells, searches, dead_ends


def season_of(now_ms: int) -> tuple[float, float]:
    """Sine and cosine of the day of the year at `now_ms`, UTC."""
    return _season_of_day(now_ms // _MS_PER_DAY)


@lru_cache(maxsize=4096)  # training passes years of days, the gateway one
def _season_of_day(unix_day: int) -> tuple[float, float]:
    day_of_year = datetime.fromtimestamp(unix_day * 86_400, tz=UTC).timetuple().tm_yday
    angle = 2.0 * math.pi * (day_of_year / _DAYS_PER_YEAR)
    return math.sin(angle), math.cos(angle)


def candidate_values(
    *,
    price_minor: NDArray[np.int64],
    discount: NDArray[np.float32],
    item_item: NDArray[np.float32],
    taste_log_price: float | None,
) -> NDArray[np.float32]:
    """[N, F] what the ranker is told of each candidate beyond its row; see CANDIDATE_VALUES.

    `taste_log_price` comes from `mean_log_price`; None for a shopper without history.
    """
    log_price = log_price_of(price_minor)
    to_taste = np.zeros_like(log_price) if taste_log_price is None else log_price - taste_log_price
    return np.stack(
        [log_price, discount, item_item, to_taste.astype(np.float32)], axis=-1, dtype=np.float32
    )


def log_price_of(price_minor: NDArray[np.int64]) -> NDArray[np.float32]:
    """log1p of the price in major units, same shape."""
    return np.log1p(np.maximum(price_minor, 0) / 100.0).astype(np.float32)


def mean_log_price(history: History, list_price_minor: NDArray[np.int64]) -> float | None:
    """Mean log list price of the known products in `history`; None if there are none.

    list_price_minor [R] is the catalogue's column.
    """
    rows = history.product_rows[history.product_rows > 0]
    if rows.size == 0:
        return None
    return float(log_price_of(list_price_minor[rows]).mean(dtype=np.float64))
