"""History records: what was stored comes back, and whatever else is met is told apart from it."""

import msgpack
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.adapters.history_records import (
    DamagedHistory,
    extended,
    is_remembered,
    packed,
    unpacked,
)
from shop.events import EVENT_CODES, EventType, PromotionSeen
from tests.unit.feedback_writer import an_event
from tests.unit.small_shop import a_history

WHOLE = packed(
    extended(
        a_history("p1", "p2", segment="new"),
        [an_event("s", type=EventType.SEARCH, product_id="", result_count=3, time_ms=2**41)],
    )
)


def test_a_history_comes_back() -> None:
    history = unpacked(WHOLE)
    assert history.product_ids == ("p1", "p2")
    assert history.session_ids == ("session-0", "session-0")
    assert history.segment == "new"


def test_a_record_of_the_first_version_is_still_read() -> None:
    click, dwell = EVENT_CODES[EventType.CLICK], EVENT_CODES[EventType.DWELL]
    times = np.array([5, 6, 7], dtype="<i8").tobytes()
    kinds, sessions = bytes([click, dwell, click]), b"\0\0\0"
    old = (1, ("new", "DE", ""), ["a", "b", "c"], kinds, times, ["s"], sessions)
    history = unpacked(msgpack.packb(old))
    assert history.product_ids == ("a", "c")  # a dwell without a measure tells nothing
    assert history.times_ms.tolist() == [5, 7]
    assert history.promotions.tolist() == [PromotionSeen.NOT_TOLD] * 2
    assert (len(history.signals), history.revision) == (0, 0)
    more = extended(history, [an_event("k", time_ms=9, discount=0.2)])
    again = unpacked(packed(more))
    assert again.promotions.tolist() == [0, 0, PromotionSeen.PROMOTED]
    assert again.revision == 1


def test_signals_stand_beside_the_deeds() -> None:
    events = [
        an_event("a", time_ms=3, discount=0.0),
        an_event("b", time_ms=2, type=EventType.DWELL, dwell_ms=900, session_id="sunday"),
        an_event("c", time_ms=1, type=EventType.SEARCH, product_id="", result_count=0),
    ]
    history = unpacked(packed(extended(None, events)))
    assert history.product_ids == ("lamp-1",)
    assert history.promotions.tolist() == [PromotionSeen.NONE]
    assert history.signals.event_codes.tolist() == [10, 9]
    assert history.signals.amounts.tolist() == [0, 900]
    assert history.signals.session_ids == ("monday", "sunday")
    assert history.revision == 3


@pytest.mark.parametrize(
    ("changes", "kept"),
    [
        ({"type": EventType.CLICK}, True),
        ({"type": EventType.IMPRESSION}, False),
        ({"type": EventType.DWELL}, False),
        ({"type": EventType.DWELL, "dwell_ms": 1}, True),
        ({"type": EventType.SEARCH}, False),
        ({"type": EventType.SEARCH, "result_count": 0}, True),
    ],
)
def test_what_tells_nothing_is_not_remembered(changes: dict[str, object], kept: bool) -> None:
    assert is_remembered(an_event("k", **changes)) is kept


def test_as_many_visits_as_a_history_can_hold_fit_a_record() -> None:
    dwells = [
        an_event(str(at), time_ms=at, type=EventType.DWELL, dwell_ms=at + 1, session_id=f"d{at}")
        for at in range(300)
    ]
    clicks = [an_event(str(at), time_ms=at, session_id=f"c{at}") for at in range(300)]
    history = unpacked(packed(extended(None, [*dwells, *clicks])))
    assert history.session_ids[0] == "c100"
    assert history.signals.session_ids[0] == "d200"
    assert history.revision == 600


def read_or_refuse(raw: bytes) -> None:
    try:
        history = unpacked(raw)
    except DamagedHistory:
        return
    count = len(history.product_ids)
    assert len(history.session_ids) == history.event_codes.size == history.times_ms.size == count
    assert all(isinstance(name, str) for name in (*history.product_ids, *history.session_ids))
    assert isinstance(history.segment + history.country + history.device, str)
    assert history.promotions.size == count
    signals = history.signals
    assert len(signals) == signals.event_codes.size == signals.times_ms.size == signals.amounts.size


@given(st.binary(max_size=200))
def test_any_bytes_are_a_history_or_damaged(raw: bytes) -> None:
    read_or_refuse(raw)


@given(st.integers(0, len(WHOLE) - 1), st.integers(0, 255))
def test_a_changed_byte_raises_nothing_else(at: int, value: int) -> None:
    read_or_refuse(WHOLE[:at] + bytes([value]) + WHOLE[at + 1 :])


TIMES = np.zeros(1, dtype="<i8").tobytes()


@pytest.mark.parametrize(
    "fields",
    [
        (3, ("", "", ""), [], b"", b"", [], b""),  # a later version
        (2, ("", "", ""), [], b"", b"", [], b""),
        (2, ("", "", ""), [], b"", b"", [], b"", b"\0", (), 0),
        (2, ("", "", ""), [], b"", b"", [], b"", b"", (), "many"),
        (2, ("", "", ""), [], b"", b"", [], b"", b"", (b"\x0a", TIMES, b"\0" * 4, [], b""), 1),
        (2, ("", "", ""), [], b"", b"", [], b"", b"", (b"\x0a", b"", b"", [], b""), 1),
        (2, ("", "", ""), [], b"", b"", [], b"", b"", 5, 1),
        (1, ("", "", ""), ["p"], b"\2", TIMES, ["s"], b"\1"),  # session 1 of 1
        (1, ("", "", ""), ["p"], b"\2", TIMES[:-1], ["s"], b"\0"),
        (1, ("", "", ""), ["p"], b"\2\2", TIMES, ["s"], b"\0"),
        (1, ("", "", ""), ["p", "q"], b"\2", TIMES, ["s"], b"\0"),
        (1, ("", "", ""), [1], b"\2", TIMES, ["s"], b"\0"),
        (1, ("", "", ""), ["p"], b"\2", TIMES, [None], b"\0"),
        (1, ("", 7, ""), [], b"", b"", [], b""),
        (1, "abc", 5, b"", b"", [], b""),
        (1, ("", "", ""), ["p"], "\2", TIMES, ["s"], b"\0"),
        (1, ("", "", ""), ["p"], b"\2", TIMES, {"s": 1}, b"\0"),
        (1, ("", "", ""), ["p"], b"\2", TIMES, ["s"], [0.5]),
    ],
)
def test_fields_that_do_not_fit_are_damage(fields: tuple[object, ...]) -> None:
    with pytest.raises(DamagedHistory):
        unpacked(msgpack.packb(fields))
