"""Features: the one place where a request becomes numbers, online and in training alike.

Both the gateway and the training set builder call these functions, so a feature cannot differ
between them. Everything is a plain function of its arguments; time is an argument.

Shapes: T history length (padded), C context codes, V context values, N candidates, F values each.
"""

from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shop.events import EVENT_CODES, EventType, History

FEATURE_VERSION = (
    1  # raise on any change of meaning; a release carries the version it was made with
)

CONTEXT_CODES = ("device", "country", "segment", "placement", "hour", "weekday")
CONTEXT_VALUES = (
    "session_interactions",  # log1p
    "seconds_between",  # log1p of the median pause in this session: browsing speed
    "abandoned_carts",  # log1p
    "hours_since_last",  # log1p
    "interactions",  # log1p
    "purchases",  # log1p
    "is_cold",  # 1 for a shopper without history
    "year_sin",  # season, from the day of the year
    "year_cos",
)
CANDIDATE_VALUES = (
    "log_price",  # log1p of the price in major units
    "discount",  # 0..1
    "item_item",  # co-occurrence score with the history, see shop.neighbours
    "price_to_taste",  # log price minus the mean log list price of the history, 0 when cold
)
PLACEMENTS = ("home", "product", "cart", "category", "search", "email")
_MS_PER_HOUR = 3_600_000.0
_MS_PER_DAY = 86_400_000
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
        return FeatureSchema(
            version=FEATURE_VERSION,
            history_length=int(raw["history_length"]),
            vector_size=int(raw["vector_size"]),
            devices=tuple(raw["devices"]),
            countries=tuple(raw["countries"]),
            segments=tuple(raw["segments"]),
            heads=tuple(raw["heads"]),
        )


@dataclass(frozen=True, slots=True)
class Context:
    """The circumstances of one call. "" means unknown."""

    now_ms: int  # Unix milliseconds, UTC
    utc_offset_minutes: int  # the shopper's clock against UTC
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
    times = history.times_ms
    in_session = times[history.session_mask]
    pauses_s = np.diff(in_session) / 1000.0
    angle = 2.0 * np.pi * (_day_of_year(context.now_ms // _MS_PER_DAY) / _DAYS_PER_YEAR)
    values = (
        np.log1p(in_session.size),
        np.log1p(max(0.0, float(np.median(pauses_s)))) if pauses_s.size else 0.0,
        np.log1p(np.count_nonzero(history.event_codes == EVENT_CODES[EventType.ABANDON])),
        np.log1p(max(0, context.now_ms - int(times[-1])) / _MS_PER_HOUR) if times.size else 0.0,
        np.log1p(times.size),
        np.log1p(np.count_nonzero(history.event_codes == EVENT_CODES[EventType.PURCHASE])),
        0.0 if times.size else 1.0,
        np.sin(angle),
        np.cos(angle),
    )
    return np.array(values, dtype=np.float32)


@lru_cache(maxsize=4096)  # training passes years of days, the gateway one
def _day_of_year(unix_day: int) -> float:
    return float(datetime.fromtimestamp(unix_day * 86_400, tz=UTC).timetuple().tm_yday)


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
