"""FAISS shard: one part of a release's index, read without holding the whole of it.

The lists of an index of cells are mapped from its file, and this part's entries copied out of them;
the trained cells are the whole index's, so that every shard visits the very cells that it would. A
flat index is small by its nature and read whole. Vectors are mapped.

Shapes: D vector size, R catalogue rows, L rows of this part.
"""

import os
from pathlib import Path
from typing import Any

import faiss as faiss_library
import numpy as np
from numpy.typing import NDArray

from serving.adapters.faiss_filtering import exact_nearest_of, stored_vectors
from serving.adapters.faiss_order import Found, found_by_faiss, nearest_in_order
from serving.adapters.shard_wire import IndexName, Part, PartWay, Question, part_of
from shop.catalogue import NO_PRODUCT
from shop.errors import ReleaseRejected
from shop.release import INDEX_FILE, TEXT_INDEX_FILE

faiss: Any = faiss_library  # its stubs know neither the search parameters nor the subclasses

faiss.omp_set_num_threads(1)  # as serving.adapters.faiss says; a shard has one thread that searches

FILES = {IndexName.PRODUCTS: INDEX_FILE, IndexName.TEXTS: TEXT_INDEX_FILE}


class ShardIndex:
    """One part of one index. Rows are counted from the part's first. One thread at a time."""

    def __init__(self, index: Any, vectors: NDArray[np.float32] | None, part: Part) -> None:
        """`vectors` [L, D]: None where the index does not hold them, and no file does."""
        self._index = index
        self._in_cells = part.cell_count > 0
        self._vectors = vectors
        self._row_0 = NO_PRODUCT - part.first  # negative where row 0 lies in another part
        self.part = part

    @property
    def row_count(self) -> int:
        """L."""
        return self.part.last - self.part.first

    @property
    def vector_size(self) -> int:
        """D."""
        return int(self._index.d)

    def nearest(self, question: Question) -> Found:
        """Rows and cosines, best first. Raises ValueError if it is about another index."""
        if question.vector.size != self.vector_size:
            raise ValueError(
                f"its vector has {question.vector.size} numbers, needed are {self.vector_size}"
            )
        wanted = min(question.count, self.row_count)
        if wanted == 0:
            return np.zeros(0, np.int64), np.zeros(0, np.float32)
        query = np.ascontiguousarray(question.vector[np.newaxis])
        if question.allowed is None:
            return nearest_in_order(lambda n: self._all(query, n), wanted, self.row_count)
        allowed = question.allowed
        if self._row_0 >= 0:
            allowed[self._row_0] = False
        if question.way is PartWay.EXACT and self._vectors is not None:
            return exact_nearest_of(self._vectors, query, wanted, np.flatnonzero(allowed))
        parameters = self._restricted(allowed, question.cells)
        return nearest_in_order(
            lambda n: self._found(*self._index.search(query, n, params=parameters)),
            wanted,
            self.row_count,
        )

    def _all(self, query: NDArray[np.float32], count: int) -> Found:
        # One more: row 0 may be among them.
        return self._found(*self._index.search(query, min(count + 1, self.row_count)))

    def _found(self, cosines: NDArray[np.float32], rows: NDArray[np.int64]) -> Found:
        return found_by_faiss(cosines, rows, without=self._row_0)

    def _restricted(self, allowed: NDArray[np.bool_], cells: int) -> Any:
        # Its Python wrapper keeps the bits alive.
        selector = faiss.IDSelectorBitmap(np.packbits(allowed, bitorder="little"))
        if not self._in_cells:
            return faiss.SearchParameters(sel=selector)
        visited = min(cells or self.part.probe_count, self.part.cell_count)
        return faiss.SearchParametersIVF(sel=selector, nprobe=visited)


def load_shard_index(
    folder: Path,
    name: IndexName,
    vectors: NDArray[np.float32] | None,
    *,
    shard: int,
    shards: int,
) -> ShardIndex:
    """This shard's part of an index in a folder whose files were checked.

    `vectors` [R, D] of all rows, mapped; None where the release has none of this index.
    Raises ReleaseRejected if the index cannot be read or does not fit them.
    """
    file = folder / FILES[name]
    try:
        index = _mapped_index(file)
    except (OSError, RuntimeError) as error:
        raise ReleaseRejected(f"{folder.name}: {file.name} cannot be read: {error}") from error
    if index.metric_type != faiss.METRIC_INNER_PRODUCT:
        raise ReleaseRejected(f"{folder.name}: {file.name} does not rank by inner product")
    rows, size = int(index.ntotal), int(index.d)
    if vectors is not None and vectors.shape != (rows, size):
        raise ReleaseRejected(
            f"{folder.name}: {file.name} holds {rows} rows of {size} numbers, the vectors are"
            f" {vectors.shape}"
        )
    first, last = part_of(rows, shard, shards)
    if isinstance(index, faiss.IndexIVF):
        part = Part(first, last, rows, int(index.nlist), int(index.nprobe))
        _keep_part(index, first, last)
        return ShardIndex(index, None if vectors is None else vectors[first:last], part)
    held = stored_vectors(index)
    if held is None:
        raise ReleaseRejected(f"{folder.name}: {file.name} is of a kind that cannot be parted")
    own = faiss.IndexFlatIP(size)
    own.add(np.ascontiguousarray(held[first:last]))
    return ShardIndex(own, stored_vectors(own), Part(first, last, rows))


def _mapped_index(file: Path) -> Any:
    """Its lists stay in the file. By the descriptor: the file cannot be exchanged meanwhile."""
    descriptor = os.open(file, os.O_RDONLY)
    try:
        flags = faiss.IO_FLAG_MMAP | faiss.IO_FLAG_READ_ONLY
        return faiss.read_index(f"/proc/self/fd/{descriptor}", flags)
    finally:
        os.close(descriptor)


def _keep_part(index: Any, first: int, last: int) -> None:
    """Copies the entries of these rows out of the mapped lists, renumbered, and lets go of them."""
    mapped, code_size = index.invlists, int(index.code_size)
    own = faiss.ArrayInvertedLists(int(index.nlist), code_size)
    for cell in range(int(index.nlist)):
        size = mapped.list_size(cell)
        if not size:
            continue
        rows = faiss.rev_swig_ptr(mapped.get_ids(cell), size)
        at = np.flatnonzero((rows >= first) & (rows < last))
        if at.size == 0:
            continue
        codes = faiss.rev_swig_ptr(mapped.get_codes(cell), size * code_size).reshape(size, -1)
        numbers, kept = rows[at] - first, np.ascontiguousarray(codes[at])
        own.add_entries(cell, at.size, faiss.swig_ptr(numbers), faiss.swig_ptr(kept))
    own.this.disown()  # it is the index's from here on
    index.replace_invlists(own, True)
    index.ntotal = last - first
