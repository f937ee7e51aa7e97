"""Shard wire: what a gateway asks a shard of the index, and what it answers, as bytes.

A shard holds the rows `part_of` gives it, of every index of a release. Which way to search is the
asker's decision, because it depends on the whole catalogue. Little-endian; on both sides nothing is
believed before its lengths add up.

Shapes: D vector size, L rows of the shard, M rows found, best first.
"""

import hashlib
import hmac
import struct
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

_QUESTION = struct.Struct("<4sBBBBIIII")  # magic, index, way, form, |release|, M, cells, D, |mask|
_ANSWER = struct.Struct("<4sIIIIII")  # magic, M, first, last, all rows, cells, cells visited
_MAGIC = b"VSH1"
_MOST_NUMBERS = 4_096  # of a vector


class IndexName(IntEnum):
    """Which of a release's indexes."""

    PRODUCTS = 0
    TEXTS = 1


class PartWay(IntEnum):
    """How a shard searches its part; see serving.adapters.faiss_filtering."""

    NEAREST = 0  # everything, as the index does by itself
    EXACT = 1  # the allowed rows' own vectors
    SELECTED = 2  # the index, skipping what is not allowed


class _Form(IntEnum):
    NONE = 0
    BITS = 1
    ROWS = 2


@dataclass(frozen=True, slots=True, eq=False)
class Question:
    """What one shard is asked."""

    release: str
    index: IndexName
    way: PartWay
    count: int
    vector: NDArray[np.float32]  # [D]
    allowed: NDArray[np.bool_] | None = None  # [L]
    cells: int = 0  # to visit if SELECTED; 0: as many as the index does by itself


@dataclass(frozen=True, slots=True)
class Part:
    """Where a shard's rows lie in the catalogue, and how the whole index is made."""

    first: int
    last: int  # exclusive
    row_count: int  # of the catalogue, row 0 included
    cell_count: int = 0  # 0: it compares everything
    probe_count: int = 0  # cells visited by itself

    @property
    def product_count(self) -> int:
        """Rows without row 0, which is no product."""
        return self.last - self.first - (self.first == 0)


def part_of(row_count: int, shard: int, shards: int) -> tuple[int, int]:
    """First and last row (exclusive) of shard 0 to `shards` - 1: in order, equal but for one."""
    return shard * row_count // shards, (shard + 1) * row_count // shards


def shard_token(release_key: bytes) -> str:
    """What a gateway shows to a shard: who can check a release can make it."""
    return hmac.new(release_key, b"vitrine shard calls", hashlib.sha256).hexdigest()


def encode_question(question: Question) -> bytes:
    """Its restriction in the shorter of two forms."""
    form, mask = _Form.NONE, b""
    if question.allowed is not None:
        form, mask = _mask_bytes(question.allowed)
    release = question.release.encode("ascii")
    head = _QUESTION.pack(
        _MAGIC,
        question.index,
        question.way,
        form,
        len(release),
        question.count,
        question.cells,
        question.vector.size,
        len(mask),
    )
    return b"".join((head, release, question.vector.astype("<f4", copy=False).tobytes(), mask))


def _mask_bytes(allowed: NDArray[np.bool_]) -> tuple[_Form, bytes]:
    if 4 * np.count_nonzero(allowed) < allowed.size / 8:
        return _Form.ROWS, np.flatnonzero(allowed).astype("<u4").tobytes()
    return _Form.BITS, np.packbits(allowed, bitorder="little").tobytes()


def release_asked(raw: bytes) -> str:
    """Which release a question is about. Raises ValueError, as `read_question` does."""
    if len(raw) < _QUESTION.size or raw[:4] != _MAGIC:
        raise ValueError("no question to a shard")
    length = raw[7]
    return raw[_QUESTION.size : _QUESTION.size + length].decode("ascii")


def read_question(raw: bytes, row_count: int) -> Question:
    """The question to a shard of `row_count` rows. Raises ValueError for anything else."""
    release = release_asked(raw)
    _, index, way, form, length, count, cells, numbers, mask_bytes = _QUESTION.unpack_from(raw)
    at = _QUESTION.size + length
    if not 0 < numbers <= _MOST_NUMBERS or len(raw) != at + 4 * numbers + mask_bytes:
        raise ValueError("its lengths do not add up")
    vector = np.frombuffer(raw, "<f4", numbers, at).astype(np.float32)
    if not np.isfinite(vector).all():
        raise ValueError("its vector is not finite")
    allowed = _allowed(_Form(form), raw[at + 4 * numbers :], row_count)
    way = PartWay(way)
    if (allowed is None) != (way is PartWay.NEAREST):
        raise ValueError("allowed rows belong to a restricted search, and only to one")
    return Question(release, IndexName(index), way, count, vector, allowed, cells)


def _allowed(form: _Form, raw: bytes, row_count: int) -> NDArray[np.bool_] | None:
    match form:
        case _Form.NONE if not raw:
            return None
        case _Form.BITS if len(raw) == (row_count + 7) // 8:
            bits = np.unpackbits(np.frombuffer(raw, np.uint8), count=row_count, bitorder="little")
            return bits.view(np.bool_)
        case _Form.ROWS if len(raw) % 4 == 0:
            rows = np.frombuffer(raw, "<u4")
            if rows.size and rows.max() >= row_count:
                raise ValueError("it allows rows that this shard does not have")
            allowed = np.zeros(row_count, np.bool_)
            allowed[rows] = True
            return allowed
        case _:
            raise ValueError("its allowed rows are not of this shard")


def encode_answer(
    rows: NDArray[np.int64], cosines: NDArray[np.float32], part: Part
) -> tuple[bytes, bytes, bytes]:
    """Of rows [M] counted from the shard's first; the pieces one after another are the answer."""
    head = _ANSWER.pack(
        _MAGIC,
        rows.size,
        part.first,
        part.last,
        part.row_count,
        part.cell_count,
        part.probe_count,
    )
    return head, rows.astype("<u4").tobytes(), cosines.astype("<f4", copy=False).tobytes()


def read_answer(raw: bytes, most: int) -> tuple[NDArray[np.int64], NDArray[np.float32], Part]:
    """Catalogue rows [M], cosines [M], best first, and where the shard's rows lie.

    Raises ValueError for what is no answer to a question for `most` rows.
    """
    if len(raw) < _ANSWER.size or raw[:4] != _MAGIC:
        raise ValueError("no answer of a shard")
    _, count, *numbers = _ANSWER.unpack_from(raw)
    if count > most or len(raw) != _ANSWER.size + 8 * count:
        raise ValueError("its length does not fit what was asked")
    part = Part(*numbers)
    rows = np.frombuffer(raw, "<u4", count, _ANSWER.size)
    cosines = np.frombuffer(raw, "<f4", count, _ANSWER.size + 4 * count)
    if count and (rows.max() >= part.last - part.first or not np.isfinite(cosines).all()):
        raise ValueError("it found what it does not hold")
    return rows.astype(np.int64) + part.first, cosines, part
