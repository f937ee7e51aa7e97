"""Shoppers at past moments: what training sees must be what the gateway would have computed."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shop.events import (
    EVENT_CODES,
    HISTORY_CODES,
    HISTORY_LIMIT,
    SIGNAL_CODES,
    SIGNAL_LIMIT,
    EventType,
)
from shop.features import FEATURE_VERSION, FeatureSchema, shopper_features
from training.data.snapshot import Events, Snapshot, SnapshotManifest
from training.examples import Moments, context_of, moments_at, moments_of_events, shopper_batch
from training.histories import NO_SESSION, Histories, build_histories

_NOON_MS = 1_700_000_000_000
_DEVICES, _COUNTRIES = ("", "desktop", "phone"), ("", "DE", "FR")


def a_schema(history_length: int = 7) -> FeatureSchema:
    return FeatureSchema(
        FEATURE_VERSION,
        history_length,
        8,
        ("desktop", "phone"),
        ("DE", "FR"),
        ("new", "regular"),
        ("purchase",),
    )


def a_snapshot(
    times_ms: list[int],
    users: list[int],
    codes: list[int],
    *,
    sessions: list[int] | None = None,
    products: list[int] | None = None,
    amounts: list[int] | None = None,
    user_count: int = 3,
) -> Snapshot:
    count = len(times_ms)
    order = np.argsort(np.array(times_ms, dtype=np.int64), kind="stable")
    zeros = np.zeros(count, dtype=np.int64)

    def column(values: list[int] | None, dtype: type) -> np.ndarray:
        return (zeros if values is None else np.array(values, dtype=np.int64))[order].astype(dtype)

    events = Events(
        times_ms=column(times_ms, np.int64),
        user_rows=column(users, np.int32),
        session_ids=column(sessions, np.int64),
        request_ids=zeros,
        product_rows=column(products or [at % 5 + 1 for at in range(count)], np.int32),
        codes=column(codes, np.int8),
        placements=(zeros + np.arange(count) % 2).astype(np.int8),
        positions=zeros.astype(np.int16),
        quantities=zeros.astype(np.int32),
        price_minor=zeros,
        discounts=(np.arange(count) % 3 * 0.1).astype(np.float32),
        amounts=column(amounts, np.int32),
        devices=(np.arange(count) % 3).astype(np.int8),
        countries=(np.arange(count) % 3).astype(np.int16),
    )
    shoppers = pa.table(
        {
            "user_id": [f"u{i}" for i in range(user_count)],
            "segment": ["", "new", "regular"][:user_count] + [""] * (user_count - 3),
            "country": ["DE"] * user_count,
            "device": ["phone"] * user_count,
        }
    )
    manifest = SnapshotManifest("s", 1, "test", "EUR", {}, 0, 0, True, True, {})
    return Snapshot(
        Path(),
        manifest,
        pa.table({"product_id": [f"p{i}" for i in range(5)]}),
        shoppers,
        np.array(shoppers["user_id"].to_pylist()),
        ("home", "unheard-of"),
        _DEVICES,
        _COUNTRIES,
        events,
    )


_event = st.tuples(
    st.integers(0, 40 * 86_400_000),
    st.integers(0, 2),
    st.sampled_from([int(code) for code in EVENT_CODES.values()]),
    st.integers(1, 3),
    st.sampled_from([0, 0, 1, 17, 90_000, 2_000_000_000]),
)


def assert_batch_equals_single(
    histories: Histories, moments: Moments, schema: FeatureSchema
) -> None:
    batch = shopper_batch(histories, moments, schema)
    for at in range(len(moments)):
        history = histories.history_at(
            int(moments.user_rows[at]), int(moments.times_ms[at]), int(moments.session_ids[at])
        )
        single = shopper_features(history, context_of(moments, at, schema), schema)
        for name in type(single).__slots__:
            ours, theirs = getattr(batch, name)[at], getattr(single, name)
            assert ours.dtype == theirs.dtype, name
            np.testing.assert_array_equal(ours, theirs, err_msg=name)


@settings(max_examples=60, deadline=None)
@given(st.lists(_event, min_size=1, max_size=60), st.integers(1, 12))
def test_batch_equals_the_online_features_bit_for_bit(
    rows: list[tuple[int, int, int, int, int]], length: int
) -> None:
    times, users, codes, sessions, amounts = (list(column) for column in zip(*rows, strict=True))
    snapshot = a_snapshot(
        [_NOON_MS + t for t in times], users, codes, sessions=sessions, amounts=amounts
    )
    schema = replace(a_schema(length), time_zone="Europe/Berlin")
    moments = moments_of_events(snapshot, schema, np.arange(len(rows)))
    assert_batch_equals_single(build_histories(snapshot), moments, schema)


def test_long_visits_equal_the_online_features_beyond_the_limit() -> None:
    random = np.random.default_rng(1)
    count = 4 * SIGNAL_LIMIT
    snapshot = a_snapshot(
        (_NOON_MS + np.sort(random.integers(0, 10**7, count))).tolist(),
        [0] * count,
        random.choice(SIGNAL_CODES, count).tolist(),
        sessions=random.integers(1, 3, count).tolist(),
        amounts=random.integers(0, 3_000_000, count).tolist(),
    )
    schema, histories = a_schema(5), build_histories(snapshot)
    moments = moments_of_events(snapshot, schema, np.arange(0, count, 7))
    assert_batch_equals_single(histories, moments, schema)
    late = _NOON_MS + 10**8
    assert len(histories.history_at(0, late).signals) == SIGNAL_LIMIT


def test_what_happens_later_changes_no_example() -> None:
    random = np.random.default_rng(2)
    kinds = [int(code) for code in EVENT_CODES.values()]

    def shopped(count: int) -> tuple[Histories, Moments]:
        drawn = np.random.default_rng(3)
        snapshot = a_snapshot(
            [_NOON_MS + 60_000 * at for at in range(count)],
            [at % 3 for at in range(count)],
            drawn.choice(kinds, 400)[:count].tolist(),
            sessions=[at // 40 for at in range(count)],
            amounts=drawn.integers(0, 9, 400)[:count].tolist(),
        )
        return build_histories(snapshot), moments_of_events(snapshot, a_schema(), at)

    at = np.sort(random.choice(200, 50, replace=False))
    known, all_of_it = (shopper_batch(*shopped(count), a_schema()) for count in (200, 400))
    for name in type(known).__slots__:
        np.testing.assert_array_equal(getattr(known, name), getattr(all_of_it, name), err_msg=name)


def test_hours_are_by_the_shop_s_clock_in_summer_and_winter() -> None:
    winter, summer = 1_767_225_600_000, 1_782_864_000_000  # midnight UTC of 1 January, 1 July 2026
    snapshot = a_snapshot([winter, summer], [0, 0], [EVENT_CODES[EventType.CLICK]] * 2)
    schema = replace(a_schema(), time_zone="Europe/Berlin")
    moments = moments_of_events(snapshot, schema, np.arange(2))
    batch = shopper_batch(build_histories(snapshot), moments, schema)
    assert batch.context_codes[:, 4].tolist() == [1 + 1, 2 + 1]  # code 0 is unknown


def test_long_histories_equal_the_online_features_beyond_the_limit() -> None:
    random = np.random.default_rng(0)
    count = 2 * HISTORY_LIMIT + 37
    snapshot = a_snapshot(
        (_NOON_MS + np.sort(random.integers(0, 10**10, count))).tolist(),
        [0] * count,
        random.choice(HISTORY_CODES, count).tolist(),
        sessions=random.integers(1, 4, count).tolist(),
    )
    schema = a_schema(50)
    histories = build_histories(snapshot)
    moments = moments_of_events(snapshot, schema, np.arange(0, count, 7))
    assert_batch_equals_single(histories, moments, schema)
    assert len(histories.history_at(0, _NOON_MS + 10**11)) == HISTORY_LIMIT


def test_history_holds_only_what_came_strictly_before() -> None:
    click = EVENT_CODES[EventType.CLICK]
    snapshot = a_snapshot([10, 20, 20, 30], [0, 0, 0, 0], [click] * 4, products=[1, 2, 3, 4])
    history = build_histories(snapshot).history_at(0, 20)
    assert history.product_rows.tolist() == [1]


def test_impressions_and_searches_are_not_in_a_history() -> None:
    codes = [EVENT_CODES[t] for t in (EventType.IMPRESSION, EventType.SEARCH, EventType.CART)]
    snapshot = a_snapshot([1, 2, 3], [0, 0, 0], codes)
    assert build_histories(snapshot).history_at(0, 9).event_codes.tolist() == [codes[2]]


def test_other_shoppers_do_not_leak_into_a_history() -> None:
    click = EVENT_CODES[EventType.CLICK]
    snapshot = a_snapshot([1, 2, 3], [0, 1, 2], [click] * 3)
    histories = build_histories(snapshot)
    assert [len(histories.history_at(user, 9)) for user in range(3)] == [1, 1, 1]


def test_an_arriving_shopper_has_a_profile_and_no_session() -> None:
    snapshot = a_snapshot([1], [0], [EVENT_CODES[EventType.CLICK]])
    schema = a_schema()
    moments = moments_at(snapshot, schema, np.array([0, 1, 2]), 50, placement="email")
    context = context_of(moments, 1, schema)
    assert (context.device, context.country, context.segment, context.placement) == (
        "phone",
        "DE",
        "new",
        "email",
    )
    assert moments.session_ids.tolist() == [NO_SESSION] * 3


@pytest.mark.parametrize("history_length", [1, 50])
def test_a_shopper_nobody_has_seen_is_all_padding(history_length: int) -> None:
    snapshot = a_snapshot([1], [0], [EVENT_CODES[EventType.CLICK]])
    schema = a_schema(history_length)
    batch = shopper_batch(
        build_histories(snapshot), moments_at(snapshot, schema, np.array([2]), 50), schema
    )
    assert not batch.history_rows.any()
    assert batch.context_values[0, 6] == 1.0
