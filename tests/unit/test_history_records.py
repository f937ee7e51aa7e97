"""History records: what was stored comes back, and whatever else is met is told apart from it."""

import msgpack
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.adapters.history_records import DamagedHistory, packed, unpacked
from tests.unit.small_shop import a_history

WHOLE = packed(a_history("p1", "p2", segment="new"))


def test_a_history_comes_back() -> None:
    history = unpacked(WHOLE)
    assert history.product_ids == ("p1", "p2")
    assert history.session_ids == ("session-0", "session-0")
    assert history.segment == "new"


def read_or_refuse(raw: bytes) -> None:
    try:
        history = unpacked(raw)
    except DamagedHistory:
        return
    count = len(history.product_ids)
    assert len(history.session_ids) == history.event_codes.size == history.times_ms.size == count
    assert all(isinstance(name, str) for name in (*history.product_ids, *history.session_ids))
    assert isinstance(history.segment + history.country + history.device, str)


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
        (2, ("", "", ""), [], b"", b"", [], b""),  # a later version
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
