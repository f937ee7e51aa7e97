"""Coded: a text column as small numbers, so that work on text is done once per distinct text.

Shapes: N rows, V distinct names.
"""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, eq=False)
class Coded:
    """A text column: codes into its distinct names."""

    codes: NDArray[np.int32]  # [N]
    names: pa.Array  # [V] text, no nulls, no name twice

    def __len__(self) -> int:
        return int(self.codes.size)

    @staticmethod
    def of(cells: pa.Array) -> "Coded":
        """Codes of a text or dictionary column, names in order of appearance; null becomes ""."""
        encoded = cells if pa.types.is_dictionary(cells.type) else cells.dictionary_encode()
        names = pc.fill_null(encoded.dictionary.cast(pa.string()), "")
        nothing = len(names)
        codes = pc.fill_null(encoded.indices.cast(pa.int64()), nothing).to_numpy()
        return _merged(codes, pa.concat_arrays([names, pa.array([""], pa.string())]))

    @staticmethod
    def constant(value: str, count: int) -> "Coded":
        """The same value `count` times."""
        return Coded(np.zeros(count, dtype=np.int32), pa.array([value]))

    def renamed(self, names: pa.Array) -> "Coded":
        """The same column with other names [V]; equal ones become one."""
        return _merged(self.codes, names.cast(pa.string()))

    def rows_where(self, names: pa.Array) -> NDArray[np.bool_]:
        """[N] the answer given per name [V] (null = no), per row."""
        answers = pc.fill_null(names, False).to_numpy(zero_copy_only=False).astype(np.bool_)
        rows: NDArray[np.bool_] = np.append(answers, False)[self.codes]
        return rows

    def take(self, rows: NDArray[np.int64]) -> "Coded":
        """The given rows; names in order of appearance, none unused."""
        seen = pa.array(self.codes[rows]).dictionary_encode()
        return Coded(seen.indices.to_numpy().astype(np.int32), self.names.take(seen.dictionary))

    def text(self) -> list[str]:
        """The column row by row."""
        names = self.names.to_pylist()
        return [names[code] for code in self.codes.tolist()]

    def column(self) -> pa.DictionaryArray:
        """The dictionary column that a snapshot holds."""
        return pa.DictionaryArray.from_arrays(pa.array(self.codes, pa.int32()), self.names)


def _merged(codes: NDArray[np.int64] | NDArray[np.int32], names: pa.Array) -> Coded:
    distinct = names.dictionary_encode()
    return Coded(distinct.indices.to_numpy().astype(np.int32)[codes], distinct.dictionary)
