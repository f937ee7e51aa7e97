"""Features: the same numbers online and in training, because both call these functions."""

from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shop.events import EVENT_CODES, HISTORY_CODES, HISTORY_TYPES, EventType, History
from shop.features import (
    CANDIDATE_VALUES,
    CONTEXT_CODES,
    CONTEXT_VALUES,
    FEATURE_VERSION,
    PLACEMENTS,
    Context,
    FeatureSchema,
    ShopperFeatures,
    candidate_values,
    log_price_of,
    mean_log_price,
    shopper_features,
)
from tests.unit.small_shop import a_context, a_schema

NOW = datetime(2025, 6, 15, 23, 30, tzinfo=UTC)  # a Sunday
NOW_MS = int(NOW.timestamp() * 1000)
HOUR_MS = 3_600_000


def a_history(*ages_h: float, events: tuple[EventType, ...] = (), session: int = 0) -> History:
    """Products 1, 2, 3 … these hours ago; the last `session` of them in this session."""
    count = len(ages_h)
    kinds = events or (EventType.CLICK,) * count
    return History(
        np.arange(1, count + 1, dtype=np.int64),
        np.array([EVENT_CODES[kind] for kind in kinds], dtype=np.int64),
        np.array([NOW_MS - round(age * HOUR_MS) for age in ages_h], dtype=np.int64),
        np.arange(count) >= count - session,
    )


def features(history: History, **context: str | int) -> ShopperFeatures:
    changes: dict[str, str | int] = {"now_ms": NOW_MS, "utc_offset_minutes": 0} | context
    return shopper_features(history, a_context(**changes), a_schema())


def value(found: ShopperFeatures, name: str) -> float:
    return float(found.context_values[CONTEXT_VALUES.index(name)])


def code(found: ShopperFeatures, name: str) -> int:
    return int(found.context_codes[CONTEXT_CODES.index(name)])


def test_history_is_padded_on_the_left_newest_last() -> None:
    found = features(a_history(3, 2, 1))
    assert found.history_rows.tolist() == [0, 0, 0, 0, 0, 1, 2, 3]
    assert found.history_events.tolist() == [0, 0, 0, 0, 0, 2, 2, 2]
    np.testing.assert_allclose(found.history_ages[-3:], np.log1p([3, 2, 1]), rtol=1e-6)
    assert not found.history_ages[:5].any()


def test_a_longer_history_keeps_its_newest() -> None:
    found = features(a_history(*range(20, 0, -1)))
    assert found.history_rows.tolist() == list(range(13, 21))
    assert value(found, "interactions") == pytest.approx(np.log1p(20))


def test_a_shopper_without_history_is_cold() -> None:
    cold, warm = features(History.empty()), features(a_history(1))
    assert value(cold, "is_cold") == 1.0
    assert value(warm, "is_cold") == 0.0
    assert not cold.history_rows.any()
    assert np.isfinite(cold.context_values).all()


def test_types_and_shapes_are_what_the_models_take() -> None:
    found = features(a_history(1))
    schema = a_schema()
    assert found.history_rows.shape == (schema.history_length,)
    assert found.context_codes.shape == (len(CONTEXT_CODES),)
    assert found.context_values.shape == (len(CONTEXT_VALUES),)
    for array, dtype in (
        (found.history_rows, np.int64),
        (found.history_events, np.int64),
        (found.history_ages, np.float32),
        (found.context_codes, np.int64),
        (found.context_values, np.float32),
    ):
        assert array.dtype == dtype


@pytest.mark.parametrize(
    ("offset", "hour", "weekday"),
    [(0, 23, 7), (30, 0, 1), (120, 1, 1), (-24 * 60, 23, 6), (-600, 13, 7)],
)
def test_hour_and_weekday_are_the_shopper_s(offset: int, hour: int, weekday: int) -> None:
    found = features(History.empty(), utc_offset_minutes=offset)
    assert code(found, "hour") == hour + 1
    assert code(found, "weekday") == weekday


@given(st.integers(0, 4_000_000_000_000), st.integers(-720, 840))
def test_calendar_arithmetic_agrees_with_the_calendar(now_ms: int, offset: int) -> None:
    found = features(History.empty(), now_ms=now_ms, utc_offset_minutes=offset)
    local = datetime.fromtimestamp((now_ms // 60_000 + offset) * 60, tz=UTC)
    assert code(found, "hour") == local.hour + 1
    assert code(found, "weekday") == local.isoweekday()


def test_known_names_have_codes_and_unknown_ones_are_zero() -> None:
    known = features(History.empty(), device="desktop", country="FR", segment="loyal")
    assert (code(known, "device"), code(known, "country"), code(known, "segment")) == (1, 2, 2)
    unknown = features(History.empty(), device="fridge", country="", segment="x", placement="moon")
    assert [code(unknown, n) for n in ("device", "country", "segment", "placement")] == [0] * 4


def test_every_code_fits_its_embedding() -> None:
    counts = a_schema().code_counts()
    for placement in PLACEMENTS:
        found = features(
            History.empty(), placement=placement, device="mobile", country="FR", segment="loyal"
        )
        assert (found.context_codes < counts).all()


def test_browsing_speed_is_the_median_pause_of_this_session() -> None:
    found = features(a_history(9, 3 / 60, 2 / 60, 1.5 / 60, session=3))
    assert value(found, "session_interactions") == pytest.approx(np.log1p(3))
    assert value(found, "seconds_between") == pytest.approx(np.log1p(45), rel=1e-4)


def test_abandoned_carts_and_purchases_are_counted() -> None:
    deeds = (EventType.ABANDON, EventType.PURCHASE, EventType.PURCHASE)
    found = features(a_history(5, 4, 2, events=deeds))
    assert value(found, "abandoned_carts") == pytest.approx(np.log1p(1))
    assert value(found, "purchases") == pytest.approx(np.log1p(2))
    assert value(found, "hours_since_last") == pytest.approx(np.log1p(2))


def test_a_clock_ahead_of_ours_gives_no_negative_age() -> None:
    found = features(a_history(1, -2))
    assert found.history_ages[-1] == 0.0
    assert value(found, "hours_since_last") == 0.0


def test_the_season_goes_round_with_the_year() -> None:
    new_year = features(
        History.empty(), now_ms=int(datetime(2025, 1, 1, tzinfo=UTC).timestamp() * 1000)
    )
    july = features(
        History.empty(), now_ms=int(datetime(2025, 7, 2, tzinfo=UTC).timestamp() * 1000)
    )
    assert value(new_year, "year_cos") > 0.99
    assert value(july, "year_cos") < -0.99


def test_candidate_values_stand_in_their_columns() -> None:
    values = candidate_values(
        price_minor=np.array([9_900, 0]),
        discount=np.array([0.25, 0.0], dtype=np.float32),
        item_item=np.array([1.5, 0.0], dtype=np.float32),
        taste_log_price=1.0,
    )
    assert values.shape == (2, len(CANDIDATE_VALUES))
    assert values.dtype == np.float32
    np.testing.assert_allclose(values[0], [np.log(100), 0.25, 1.5, np.log(100) - 1.0], rtol=1e-6)
    assert values[1].tolist() == [0.0, 0.0, 0.0, -1.0]


def test_without_history_price_to_taste_is_zero() -> None:
    values = candidate_values(
        price_minor=np.array([9_900]),
        discount=np.zeros(1, dtype=np.float32),
        item_item=np.zeros(1, dtype=np.float32),
        taste_log_price=None,
    )
    assert values[0, CANDIDATE_VALUES.index("price_to_taste")] == 0.0


def test_taste_is_the_mean_log_price_of_known_products() -> None:
    history = a_history(3, 2)
    history.product_rows[0] = 0
    prices = np.array([0, 100, 900, 500])
    assert mean_log_price(history, prices) == pytest.approx(float(log_price_of(prices[2:3])[0]))
    history.product_rows[1] = 0
    assert mean_log_price(history, prices) is None


def test_a_schema_comes_back_from_json() -> None:
    schema = a_schema()
    assert FeatureSchema.from_json(schema.to_json()) == schema


def test_a_schema_of_another_meaning_is_refused() -> None:
    raw = replace(a_schema(), version=FEATURE_VERSION + 1).to_json()
    with pytest.raises(ValueError, match="feature schema version"):
        FeatureSchema.from_json(raw)


def test_history_columns_must_be_aligned() -> None:
    with pytest.raises(ValueError, match="differ in shape"):
        History(np.zeros(2), np.zeros(2), np.zeros(1), np.zeros(2))  # type: ignore[arg-type]


def test_event_codes_are_fixed_because_releases_depend_on_them() -> None:
    assert [EVENT_CODES[event] for event in EventType] == list(range(1, 11))
    assert HISTORY_CODES.tolist() == [2, 3, 4, 5, 6, 7, 8]
    assert EventType.IMPRESSION not in HISTORY_TYPES


def test_context_defaults_mean_unknown() -> None:
    context = Context(now_ms=0, utc_offset_minutes=0, placement="home")
    assert (context.device, context.country, context.segment) == ("", "", "")
