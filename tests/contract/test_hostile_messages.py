"""Hostile messages: whatever bytes come, values are found in them or they are refused."""

from collections import Counter
from collections.abc import Iterator
from itertools import islice

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest.hostile_messages import METHODS, SERVICE, Hostile, HostileMessages, Kind, Real
from loadtest.malformed import NO_MESSAGE, REFUSED, TAKEN, TOO_LARGE, Edge
from serving.codec import Decoder
from tests.contract.test_gateway_door import Door, open_door, replica_of
from tests.unit.time_travel import START_MS

MESSAGES = 30_000
DOOR_MESSAGES = 2_000
DECODER = Decoder("EUR", bytes(range(32)), lambda: START_MS, lambda: "fresh-id")
SWOLLEN_BYTES = 4 << 20
# One more is what it takes to tell that it is too much; 16 MiB were 2 GB before anybody looked.
MORE_MEMORY_BYTES = 256 << 20


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    with open_door(tmp_path_factory.mktemp("door")) as opened:
        yield opened


def of(method: str, raw: bytes) -> Hostile:
    return Hostile(method, Kind.RANDOM, raw)


def test_whatever_comes_is_decoded_or_refused() -> None:
    edge = Edge(DECODER)
    edge.put(islice(HostileMessages(7), MESSAGES))
    assert edge.fate.examples == []
    assert edge.fate.messages == MESSAGES
    for outcome in (TAKEN, NO_MESSAGE, REFUSED, TOO_LARGE):
        assert edge.fate.count_of(outcome) > 0, outcome
    assert {kind for kind, _ in edge.fate.outcomes} == set(Kind)


def test_the_same_seed_makes_the_same_messages() -> None:
    first, again, other = (list(islice(HostileMessages(seed), 200)) for seed in (1, 1, 2))
    assert first == again
    assert first != other


def test_every_sound_message_is_taken() -> None:
    messages, edge = HostileMessages(3), Edge(DECODER)
    for method in METHODS * 50:
        assert edge.outcome_of(of(method, messages.sound(method))) == TAKEN


@given(method=st.sampled_from(METHODS), raw=st.binary(max_size=300))
def test_any_bytes_are_decoded_or_refused(method: str, raw: bytes) -> None:
    assert Edge(DECODER).outcome_of(of(method, raw)) in (TAKEN, NO_MESSAGE, REFUSED)


@given(
    method=st.sampled_from(METHODS),
    seed=st.integers(0, 1_000),
    cuts=st.lists(st.tuples(st.integers(0, 600), st.binary(max_size=40)), max_size=5),
)
def test_a_sound_message_with_any_bytes_put_over_it_is_decoded_or_refused(
    method: str, seed: int, cuts: list[tuple[int, bytes]]
) -> None:
    raw = HostileMessages(seed).sound(method)
    for at, piece in cuts:
        raw = raw[:at] + piece + raw[at + len(piece) :]
    assert Edge(DECODER).outcome_of(of(method, raw)) in (TAKEN, NO_MESSAGE, REFUSED)


def test_a_decoder_that_raises_anything_else_is_counted_with_the_message() -> None:
    def broken() -> int:
        raise KeyError("a bug")

    edge = Edge(Decoder("EUR", bytes(32), broken, lambda: "fresh-id"))
    edge.put([of("Recommend", b"")])
    assert edge.fate.untyped == edge.fate.messages == 1
    assert edge.fate.examples == [("KeyError: 'a bug'", "Recommend", "")]


@pytest.mark.parametrize(
    ("method", "element"),
    [("LogEvents", b"\x0a\x00"), ("RecommendMany", b"\x0a\x00"), ("Recommend", b"\x32\x00")],
)
def test_a_message_that_swells_a_hundredfold_is_refused_before_it_is_read(
    door: Door, method: str, element: bytes
) -> None:
    replica = replica_of(door)
    before = replica.memory_info().rss
    call = door.channel.unary_stream(f"/{SERVICE.full_name}/{method}")
    with pytest.raises(grpc.RpcError) as refused:
        list(call(element * (SWOLLEN_BYTES // len(element)), timeout=60.0))
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert replica.memory_info().rss - before < MORE_MEMORY_BYTES


def test_hostile_bytes_over_a_channel_are_answered_with_a_type_and_the_door_lives(
    door: Door,
) -> None:
    replica, told = replica_of(door), Counter[str]()
    real = Real(page_tokens=(door.recommend(page_size=5).next_page_token,))
    for each in islice(HostileMessages(11, real), DOOR_MESSAGES):
        told[answer(door.channel, each)] += 1
    assert set(told) <= {"OK", "INVALID_ARGUMENT", "RESOURCE_EXHAUSTED", "DEADLINE_EXCEEDED"}
    assert told["INVALID_ARGUMENT"] > DOOR_MESSAGES / 2
    assert told["OK"] > 0
    assert replica.is_running()
    assert door.recommend().items


def answer(channel: grpc.Channel, each: Hostile, service: str = SERVICE.full_name) -> str:
    """The status of a call with these bytes; a stream is read to its end."""
    try:
        list(channel.unary_stream(f"/{service}/{each.method}")(each.raw, timeout=20.0))
    except grpc.RpcError as error:
        code: grpc.StatusCode = error.code()
        return code.name
    return "OK"
