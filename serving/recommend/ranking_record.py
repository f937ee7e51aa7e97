"""Ranking records: what retrieval and ranking found for one state of a shopper, as bytes.

Bytes, so that memory is counted exactly, nobody changes what others share, and a process and Redis
hold the same. Nothing in a record is live: prices are in it only to tell for which price a product
was ranked.

Shapes: N candidates, M of them ranked, D vector size, H heads, S sources, Q of them by a query.
"""

import struct
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shop.candidates import BY_QUERY, SOURCE_COUNT, Candidates, proposed_of

_HEAD = struct.Struct("<BqHHHHB")  # version, made_ms, N, M, D, H, Q
_VERSION = 2
MAX_RECORD_BYTES = 1 << 20
_MAX_PRICE = 10**12  # as `figures` has it
_LITTLE = tuple(np.dtype(each) for each in ("<i4", "<u2", "<f4", "<i8"))
_I4, _U2, _F4, _I8 = _LITTLE


class DamagedRanking(ValueError):
    """The bytes are no ranking of this release."""


@dataclass(frozen=True, slots=True, eq=False)
class Ranking:
    """Candidates as they were found, and the probabilities of those that were ranked."""

    made_ms: int  # Unix ms of the call that retrieved
    rows: NDArray[np.int32]  # [N] catalogue rows in retrieval order
    sources: NDArray[np.uint16]  # [N] a bit for every source that proposed the product
    # [N, Q] how well each fits the query, shop.candidates.BY_QUERY; Q = 0 where there was none
    query_scores: NDArray[np.float32]
    user_vector: NDArray[np.float32]  # [D]
    ranked_rows: NDArray[np.int32]  # [M]
    price_minor: NDArray[np.int64]  # [M] what each was ranked for
    discount: NDArray[np.float32]  # [M]
    probabilities: NDArray[np.float32]  # [M, H]

    def candidates(self) -> Candidates:
        """The candidates, with who proposed them; of the scores only those by a query are known."""
        scores = np.where(proposed_of(self.sources), np.float32(0.0), np.float32(np.nan))
        if self.query_scores.shape[1]:
            scores[:, BY_QUERY] = self.query_scores
        return Candidates(self.rows.astype(np.int64), scores)

    def packed(self) -> bytes:
        """What `unpacked` reads. Raises ValueError if a column is too long to be counted."""
        counts = (self.rows.size, *self.probabilities.shape[:1], self.user_vector.size)
        if max(counts) > 65_535:
            raise ValueError(f"columns of {counts}")
        return b"".join(
            (
                _HEAD.pack(
                    _VERSION,
                    self.made_ms,
                    *counts,
                    self.probabilities.shape[1],
                    self.query_scores.shape[1],
                ),
                self.rows.tobytes(),
                self.sources.tobytes(),
                self.query_scores.tobytes(),
                self.user_vector.tobytes(),
                self.ranked_rows.tobytes(),
                self.price_minor.tobytes(),
                self.discount.tobytes(),
                self.probabilities.tobytes(),
            )
        )


def unpacked(record: bytes) -> Ranking:
    """Read-only views of the record. Raises DamagedRanking if its sizes do not fit."""
    try:
        version, made_ms, n, m, d, h, q = _HEAD.unpack_from(record)
    except struct.error as error:
        raise DamagedRanking("a record without a head") from error
    columns = (
        (_I4, n),
        (_U2, n),
        (_F4, n * q),
        (_F4, d),
        (_I4, m),
        (_I8, m),
        (_F4, m),
        (_F4, m * h),
    )
    at = _HEAD.size
    if version != _VERSION or len(record) != at + sum(t.itemsize * size for t, size in columns):
        raise DamagedRanking(f"version {version}, {len(record)} bytes")
    views = []
    for dtype, size in columns:
        views.append(np.frombuffer(record, dtype, size, at))
        at += dtype.itemsize * size
    rows, sources, by_query, vector, ranked, price, discount, probabilities = views
    return Ranking(
        made_ms,
        rows,
        sources,
        by_query.reshape(n, q),
        vector,
        ranked,
        price,
        discount,
        probabilities.reshape(m, h),
    )


def check(ranking: Ranking, *, row_count: int, vector_size: int, head_count: int) -> None:
    """Raises DamagedRanking unless every later stage can do with it. For what came from outside."""
    rows, ranked, price = ranking.rows, ranking.ranked_rows, ranking.price_minor
    is_sound = (
        ranking.user_vector.size == vector_size
        and ranking.probabilities.shape[1] == head_count
        and rows.size > 0
        and rows.min() > 0
        and rows.max() < row_count
        and np.unique(rows).size == rows.size
        and (ranking.sources < 1 << SOURCE_COUNT).all()
        and ranking.query_scores.shape[1] in (0, len(BY_QUERY))
        and not np.isinf(ranking.query_scores).any()  # NaN: that source did not find it
        and ((ranked > 0) & (ranked < row_count)).all()
        and ((price >= 0) & (price <= _MAX_PRICE)).all()
        and np.isfinite(ranking.user_vector).all()
        and not (ranking.probabilities < 0.0).any()  # NaN: the model gave none
        and not (ranking.probabilities > 1.0).any()
        and ((ranking.discount >= 0.0) & (ranking.discount <= 1.0)).all()
    )
    if not is_sound:
        raise DamagedRanking("it names what this release does not have")
