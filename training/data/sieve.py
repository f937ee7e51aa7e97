"""Sieve: the rows of one source file and the first thing wrong with each; sound rows pass.

Two ways not to pass: a *fault* (the row is wrong, it goes to the quarantine with its place) and
being *left out* (the row is right but no interaction of a known shopper with a product; counted).
Shapes: N rows of the file.
"""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from training.data.snapshot import SnapshotWriter
from training.data.tabular import SourceTable

_SOUND = 0
_SHOWN_CHARACTERS = 200
_SHOWN_ITEMS = 50


class Sieve:
    """Collects verdicts on the rows of `source`; the first verdict on a row stands."""

    def __init__(self, source: SourceTable) -> None:
        self.source = source
        self._verdict = np.zeros(len(source), dtype=np.int16)  # [N] 0 = sound, else 1-based
        self._faults: dict[int, str] = {}
        self._left_out: dict[int, str] = {}

    @property
    def sound(self) -> NDArray[np.bool_]:
        """[N] True where nothing is wrong so far."""
        is_sound: NDArray[np.bool_] = self._verdict == _SOUND
        return is_sound

    def fault(self, mask: "NDArray[np.bool_] | pa.Array", fault: str) -> None:
        """The rows where `mask` [N] holds are wrong in this way."""
        self._mark(mask, fault, self._faults)

    def leave_out(self, mask: "NDArray[np.bool_] | pa.Array", reason: str) -> None:
        """The rows where `mask` [N] holds are not wrong, but of no use for this reason."""
        self._mark(mask, reason, self._left_out)

    def fault_duplicates(self, columns: list[str]) -> None:
        """Every row that repeats an earlier one in all `columns` is a duplicate."""
        table = self.source.table.select(columns)
        rows = np.flatnonzero(_may_have_a_twin(table))
        twins = table.take(rows)
        keyed = pa.table({str(at): _codes(column) for at, column in enumerate(twins.columns)})
        groups = keyed.append_column("row", pa.array(rows)).group_by(keyed.column_names)
        first = groups.aggregate([("row", "min")])["row_min"].to_numpy()
        repeated = np.zeros(len(self.source), dtype=np.bool_)
        repeated[rows] = True
        repeated[first] = False
        self.fault(repeated, "duplicate line")

    def hand_over(self, writer: SnapshotWriter) -> None:
        """Tell the writer of every row that did not pass."""
        source = self.source
        for line in source.broken:
            raw = {"line": line.text}
            writer.quarantine(file=source.file, row=line.row, fault=line.fault, raw=raw)
        for verdict, reason in self._left_out.items():
            writer.leave_out(reason, int(np.count_nonzero(self._verdict == verdict)))
        faulty = np.flatnonzero(np.isin(self._verdict, list(self._faults)))
        for start in range(0, faulty.size, 10_000):
            part = faulty[start : start + 10_000]
            for at, raw in zip(part, _shortened(source.table.take(part)).to_pylist(), strict=True):
                writer.quarantine(
                    file=source.file,
                    row=int(source.rows[at]),
                    fault=self._faults[int(self._verdict[at])],
                    raw=raw,
                )

    def _mark(self, mask: "NDArray[np.bool_] | pa.Array", text: str, texts: dict[int, str]) -> None:
        if not isinstance(mask, np.ndarray):
            mask = pc.fill_null(mask, False).to_numpy(zero_copy_only=False)
        hit = mask & self.sound
        if not hit.any():
            return
        known = [verdict for verdict, known_text in texts.items() if known_text == text]
        verdict = known[0] if known else len(self._faults) + len(self._left_out) + 1
        texts[verdict] = text
        self._verdict[hit] = verdict


def _codes(column: pa.ChunkedArray) -> NDArray[np.int64]:
    """[N] equal cells have equal codes, and only they."""
    cells = pa.table({"cells": column}).unify_dictionaries()["cells"].combine_chunks()
    if not pa.types.is_dictionary(cells.type):
        cells = cells.dictionary_encode()  # whole: chunk by chunk takes quadratic time
    codes: NDArray[np.int64] = pc.fill_null(cells.indices.cast(pa.int64()), -1).to_numpy()
    return codes


def _may_have_a_twin(table: pa.Table) -> NDArray[np.bool_]:
    """[N] could this row have a twin? Exact grouping of millions of rows is slow; this leaves it
    only the rows whose 64-bit hash occurs twice."""
    hashes = np.zeros(table.num_rows, dtype=np.uint64)
    for column in table.columns:
        hashes = (hashes ^ _codes(column).view(np.uint64)) * np.uint64(0x9E3779B97F4A7C15)
        hashes ^= hashes >> np.uint64(29)
    _, inverse, counts = np.unique(hashes, return_inverse=True, return_counts=True)
    twins: NDArray[np.bool_] = counts[inverse] > 1
    return twins


def _shortened(table: pa.Table) -> pa.Table:
    """The same rows with every cell cut to what a quarantine shows."""
    columns = [pa.chunked_array([_short(c) for c in column.chunks]) for column in table.columns]
    return pa.table(columns, names=table.column_names)


def _short(cells: pa.Array) -> pa.Array:
    kind = cells.type
    if pa.types.is_dictionary(kind):
        return _short(cells.dictionary).take(cells.indices)
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return pc.utf8_slice_codeunits(cells, 0, _SHOWN_CHARACTERS).cast(pa.string())
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return pc.list_slice(cells, 0, _SHOWN_ITEMS, return_fixed_size_list=False)
    if pa.types.is_timestamp(kind):  # as text: Python has no dates for all that 64 bits hold
        return cells.cast(pa.timestamp(kind.unit)).cast(pa.string())
    if pa.types.is_duration(kind):
        return cells.cast(pa.int64())
    if pa.types.is_temporal(kind):
        return cells.cast(pa.string())
    return cells
