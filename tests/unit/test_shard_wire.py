"""What gateways and shards say to each other survives the way, and nothing else is believed."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.adapters.shard_wire import (
    IndexName,
    Part,
    PartWay,
    Question,
    encode_answer,
    encode_question,
    read_answer,
    read_question,
    shard_token,
)

ROWS = 70
VECTOR = np.array([0.6, 0.8], np.float32)


def a_question(share: float = 0.5, **changed: object) -> Question:
    allowed = np.random.default_rng(1).random(ROWS) < share
    told = {"release": "r0001-a", "index": IndexName.TEXTS, "way": PartWay.SELECTED, "count": 9}
    told |= {"vector": VECTOR, "allowed": allowed, "cells": 3}
    return Question(**{**told, **changed})  # type: ignore[arg-type]


@pytest.mark.parametrize("share", [0.0, 0.02, 0.5, 1.0])
def test_a_question_arrives_as_it_was_asked(share: float) -> None:
    question = a_question(share)
    read = read_question(encode_question(question), ROWS)
    assert question.allowed is not None
    assert read.allowed is not None
    assert read.allowed.tolist() == question.allowed.tolist()
    assert read.vector.tolist() == VECTOR.tolist()
    kept = ("release", "index", "way", "count", "cells")
    assert [getattr(read, name) for name in kept] == [getattr(question, name) for name in kept]


def test_few_allowed_rows_travel_as_numbers_and_many_as_bits() -> None:
    few, many = np.zeros(100_000, np.bool_), np.ones(100_000, np.bool_)
    few[[3, 99_999]] = True
    assert len(encode_question(a_question(allowed=few))) < 100
    assert len(encode_question(a_question(allowed=many))) < 13_000


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        (b"", "no question"),
        (b"GET / HTTP/1.1 and so on and so on", "no question"),
        (encode_question(a_question())[:-1], "do not add up"),
        (encode_question(a_question()) + b"\0", "do not add up"),
        (encode_question(a_question(vector=VECTOR * np.float32("inf"))), "not finite"),
        (encode_question(a_question(vector=np.zeros(0, np.float32))), "do not add up"),
        (encode_question(a_question(allowed=None)), "restricted"),
        (encode_question(a_question(way=PartWay.NEAREST)), "restricted"),
        (encode_question(a_question(allowed=np.ones(200, np.bool_))), "not of this shard"),
        (encode_question(a_question(allowed=np.arange(9_000) == 8_999)), "does not have"),
    ],
)
def test_what_is_no_question_to_this_shard_is_refused(raw: bytes, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        read_question(raw, ROWS)


@settings(max_examples=60, deadline=None)
@given(at=st.integers(0, 90), bits=st.integers(1, 255))
def test_a_damaged_message_is_read_or_refused_and_never_anything_else(at: int, bits: int) -> None:
    answer = b"".join(encode_answer(np.arange(3), np.ones(3, np.float32), Part(0, ROWS, ROWS)))
    for raw, read in (
        (bytearray(encode_question(a_question())), lambda raw: read_question(raw, ROWS)),
        (bytearray(answer), lambda raw: read_answer(raw, 3)),
    ):
        raw[at % len(raw)] ^= bits
        try:
            read(bytes(raw))
        except ValueError:
            continue


def test_an_answer_counts_rows_in_the_catalogue() -> None:
    rows, cosines = np.array([0, 4], np.int64), np.array([0.5, -0.25], np.float32)
    part = Part(30, 50, ROWS, 8, 2)
    found, of_found, told = read_answer(b"".join(encode_answer(rows, cosines, part)), 2)
    assert found.tolist() == [30, 34]
    assert of_found.tolist() == [0.5, -0.25]
    assert told == part


def test_only_who_has_the_release_key_can_make_the_token() -> None:
    assert shard_token(b"one key") != shard_token(b"another key")
    assert len(shard_token(b"one key")) == 64
