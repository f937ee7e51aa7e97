"""Session signals: what each of them means, and what stands in where it is not known."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shop.context_values import MAY_BE_UNTOLD, NAMES, VALUES, finished
from shop.events import (
    EVENT_CODES,
    SIGNAL_LIMIT,
    EventType,
    History,
    PromotionSeen,
    Signals,
)
from shop.features import shopper_features
from shop.local_time import is_time_zone, utc_offset_minutes, utc_offsets_minutes
from shop.session import Deed, with_session
from tests.unit.small_shop import a_context, a_schema
from tests.unit.time_travel import START_MS

_NO_ROWS = np.zeros(0, dtype=np.int64)
SUMMER_MS, WINTER_MS = 1_751_328_000_000, 1_735_689_600_000  # midnight UTC, 1 July, 1 January 2025


def signals(*told: tuple[EventType, int], in_session: bool = True) -> Signals:
    codes = [EVENT_CODES[kind] for kind, _ in told]
    return Signals(
        np.array(codes, dtype=np.int64),
        START_MS - np.arange(len(told), 0, -1, dtype=np.int64),
        np.array([amount for _, amount in told], dtype=np.int64),
        np.full(len(told), in_session),
    )


def deeds(
    *promotions: PromotionSeen, kind: EventType = EventType.CLICK, session: int = 0
) -> History:
    """One an hour, the last an hour ago; the last `session` of them in this session."""
    count = len(promotions)
    return History(
        np.arange(1, count + 1),
        np.full(count, EVENT_CODES[kind]),
        START_MS - 3_600_000 * np.arange(count, 0, -1, dtype=np.int64),
        np.arange(count) >= count - session,
        np.array(promotions, dtype=np.int8),
    )


def raw(history: History, name: str) -> float:
    """The quantity behind a value."""
    found = shopper_features(history, a_context(now_ms=START_MS), a_schema()).context_values
    value = float(found[NAMES.index(name)])
    return float(np.expm1(value)) if VALUES[NAMES.index(name)].is_logged else value


def test_dwell_is_the_mean_of_what_is_told_in_this_session() -> None:
    told = signals((EventType.DWELL, 4_000), (EventType.DWELL, 8_000), (EventType.SEARCH, 3))
    visit = replace(deeds(PromotionSeen.NONE), signals=told)
    assert raw(visit, "dwell_seconds") == pytest.approx(6.0, rel=1e-5)
    assert raw(visit, "dwells") == pytest.approx(2.0, rel=1e-5)


def test_a_page_left_open_counts_as_half_an_hour() -> None:
    visit = replace(History.empty(), signals=signals((EventType.DWELL, 2_000_000_000)))
    assert raw(visit, "dwell_seconds") == pytest.approx(1_800.0, rel=1e-5)


def test_a_search_without_results_is_a_dead_end() -> None:
    told = signals((EventType.SEARCH, 0), (EventType.SEARCH, 9), (EventType.SEARCH, 0))
    visit = replace(History.empty(), signals=told)
    assert raw(visit, "searches") == pytest.approx(3.0, rel=1e-5)
    assert raw(visit, "dead_ends") == pytest.approx(2.0, rel=1e-5)


def test_signals_of_earlier_visits_do_not_count() -> None:
    past = signals((EventType.SEARCH, 0), (EventType.DWELL, 5_000), in_session=False)
    visit = replace(deeds(PromotionSeen.NONE), signals=past)
    assert [raw(visit, name) for name in ("dwells", "dwell_seconds", "searches", "dead_ends")] == [
        0.0
    ] * 4


def test_promotions_are_a_share_of_what_is_told() -> None:
    seen = (PromotionSeen.PROMOTED, PromotionSeen.NOT_TOLD, PromotionSeen.NONE)
    visit = deeds(*seen, PromotionSeen.PROMOTED, session=2)
    assert raw(visit, "promoted_share") == pytest.approx(2 / 3)
    assert raw(visit, "promotions_told") == pytest.approx(3.0, rel=1e-5)
    assert raw(visit, "session_promoted") == pytest.approx(1.0, rel=1e-5)


def test_where_nothing_is_told_of_promotions_all_their_values_are_zero() -> None:
    visit = deeds(PromotionSeen.NOT_TOLD, PromotionSeen.NOT_TOLD)
    assert [raw(visit, name) for name in MAY_BE_UNTOLD] == [0.0] * len(MAY_BE_UNTOLD)


def test_an_abandoned_cart_is_late_for_two_weeks() -> None:
    visit = deeds(*[PromotionSeen.NONE] * 400, kind=EventType.ABANDON)
    assert raw(visit, "abandoned_carts") == pytest.approx(200.0, rel=1e-5)  # clipped
    assert raw(visit, "abandoned_lately") == pytest.approx(200.0, rel=1e-5)
    old = replace(visit, times_ms=visit.times_ms - 15 * 86_400_000)
    assert raw(old, "abandoned_lately") == 0.0
    assert raw(old, "hours_since_abandoned") == pytest.approx(361.0, rel=1e-4)


def test_the_length_of_a_visit_is_from_its_first_deed() -> None:
    assert raw(deeds(*[PromotionSeen.NONE] * 5, session=3), "session_minutes") == pytest.approx(
        180.0, rel=1e-5
    )


def test_what_is_not_known_is_zero_and_says_so() -> None:
    for value in VALUES:
        assert raw(History.empty(), value.name) == pytest.approx(
            {"is_cold": 1.0}.get(value.name, raw(deeds(), value.name))
        )
        if value.known_by:
            assert raw(History.empty(), value.name) == 0.0
            assert raw(History.empty(), value.known_by) == 0.0


@given(st.lists(st.floats(-1e30, 1e30), min_size=len(VALUES), max_size=len(VALUES)))
def test_inputs_are_finite_and_clipped_whatever_is_counted(quantities: list[float]) -> None:
    found = finished(np.array(quantities))
    assert found.dtype == np.float32
    assert np.isfinite(found).all()
    for value, shown in zip(VALUES, found.tolist(), strict=True):
        most = np.log1p(value.most) if value.is_logged else value.most
        assert value.least - 1e-6 <= shown <= most * (1 + 1e-6)


def test_one_moment_and_many_are_finished_alike() -> None:
    quantities = np.random.default_rng(0).random((9, len(VALUES))) * 1e4
    many = finished(quantities)
    for one, row in zip(quantities, many, strict=True):
        assert finished(one).tobytes() == row.tobytes()


def told(stored: History, *more: Deed) -> History:
    return with_session(stored, more, context_rows=_NO_ROWS, cart_rows=_NO_ROWS, now_ms=START_MS)


def test_what_a_request_tells_of_dwell_and_searches_counts_at_once() -> None:
    dwell, search = EVENT_CODES[EventType.DWELL], EVENT_CODES[EventType.SEARCH]
    visit = told(
        deeds(PromotionSeen.NONE),
        Deed(dwell, 7, START_MS - 5, amount=3_000),
        Deed(search, 0, START_MS + 9_000, amount=0),
        Deed(search, 0, START_MS),  # tells nothing
        Deed(EVENT_CODES[EventType.CLICK], 8, START_MS, PromotionSeen.PROMOTED),
    )
    assert visit.product_rows.tolist() == [1, 8]
    assert visit.signals.times_ms.tolist() == [START_MS - 5, START_MS]
    assert raw(visit, "dead_ends") == pytest.approx(1.0, rel=1e-5)
    assert raw(visit, "dwell_seconds") == pytest.approx(3.0, rel=1e-5)
    assert raw(visit, "session_promoted") == pytest.approx(1.0, rel=1e-5)


def test_only_the_newest_signals_are_kept() -> None:
    dwell = EVENT_CODES[EventType.DWELL]
    more = [Deed(dwell, 1, START_MS - at, amount=at + 1) for at in range(SIGNAL_LIMIT + 5)]
    visit = told(History.empty(), *more)
    assert visit.signals.amounts.tolist() == list(range(SIGNAL_LIMIT, 0, -1))


def test_the_shop_s_clock_knows_summer_and_winter() -> None:
    assert utc_offset_minutes("Europe/Berlin", SUMMER_MS) == 120
    assert utc_offset_minutes("Europe/Berlin", WINTER_MS) == 60
    assert utc_offset_minutes("UTC", SUMMER_MS) == 0
    both = utc_offsets_minutes("Asia/Kathmandu", np.array([SUMMER_MS, WINTER_MS]))
    assert both.tolist() == [345, 345]


@pytest.mark.parametrize("name", ["", "Mars/Olympus", "../../etc/passwd", "/etc/passwd", "a\0b"])
def test_what_is_no_time_zone_is_told(name: str) -> None:
    assert not is_time_zone(name)
    assert is_time_zone("Europe/Berlin")
