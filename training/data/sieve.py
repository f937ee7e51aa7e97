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
        return self._verdict == _SOUND

    def fault(self, mask: "NDArray[np.bool_] | pa.Array", fault: str) -> None:
        """The rows where `mask` [N] holds are wrong in this way."""
        self._mark(mask, fault, self._faults)

    def leave_out(self, mask: "NDArray[np.bool_] | pa.Array", reason: str) -> None:
        """The rows where `mask` [N] holds are not wrong, but of no use for this reason."""
        self._mark(mask, reason, self._left_out)

    def fault_duplicates(self, columns: list[str]) -> None:
        """Every later row that repeats a sound row in all `columns` is a duplicate."""
        rows = np.flatnonzero(self.sound)
        table = self.source.table.select(columns).take(rows)
        keyed = pa.table({str(i): _groupable(column) for i, column in enumerate(table.columns)})
        keys = keyed.column_names
        first = keyed.append_column("row", pa.array(rows)).group_by(keys, use_threads=False)
        kept = first.aggregate([("row", "min")])["row_min"].to_numpy()
        repeated = np.zeros(len(self.source), dtype=np.bool_)
        repeated[rows] = True
        repeated[kept] = False
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


def _groupable(column: pa.ChunkedArray) -> pa.ChunkedArray:
    # Group keys must be plain; NaN keys are faults before this is asked.
    if pa.types.is_dictionary(column.type):
        return column.cast(column.type.value_type)
    return column
