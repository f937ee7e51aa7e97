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
        table = self.source.table.select(columns).unify_dictionaries()
        rows = np.flatnonzero(_may_have_a_twin(table))
        keyed = pa.table({str(i): _plain(c) for i, c in enumerate(table.take(rows).columns)})
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
            for at, raw in zip(part, source.table.take(part).to_pylist(), strict=True):
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


def _may_have_a_twin(table: pa.Table) -> NDArray[np.bool_]:
    """[N] could this row have a twin? Exact grouping of millions of rows of text is slow; this
    leaves it only the rows whose 64-bit hash occurs twice."""
    hashes = np.zeros(table.num_rows, dtype=np.uint64)
    for column in table.columns:
        hashes = (hashes ^ _bits(column)) * np.uint64(0x9E3779B97F4A7C15)
        hashes ^= hashes >> np.uint64(29)
    _, inverse, counts = np.unique(hashes, return_inverse=True, return_counts=True)
    twins: NDArray[np.bool_] = counts[inverse] > 1
    return twins


def _bits(column: pa.ChunkedArray) -> NDArray[np.uint64]:
    """[N] equal cells have equal bits."""
    encoded = column.combine_chunks()
    if not pa.types.is_dictionary(encoded.type):
        encoded = encoded.dictionary_encode()
    codes = pc.fill_null(encoded.indices.cast(pa.int64()), -1).to_numpy()
    bits: NDArray[np.uint64] = codes.view(np.uint64)
    return bits


def _plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    if pa.types.is_dictionary(column.type):
        return column.cast(column.type.value_type)
    return column
