"""Tantivy: products by the words that they are described with, BM25, in this process.

The index lives in memory and is built from the signed catalogue when a release is loaded (6,000
products take 0.1 s of CPU, 120,000 take 2 s), so there are no index files to trust. Words are
stemmed as English; what is no English stays as it is. Queries are built from terms, never parsed:
tantivy's query language is not for shoppers.

Shapes: R catalogue rows, M found.
"""

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import tantivy
from numpy.typing import NDArray

from shop.catalogue import NO_PRODUCT
from shop.errors import DependencyTimeout, DependencyUnavailable
from shop.words import words_of

_DEPENDENCY = "lexical"
_TEXT, _ROW, _ANALYSER = "text", "row", "words"
_HEAP_BYTES = 64 << 20
# Up to so many allowed rows, or this share of all, are made part of the query; with more it is
# quicker to find some more and drop what is not allowed. Three words, 300 wanted, busy machine:
# 6,000 products with 500 allowed 0.8 ms either way, 2,000 allowed 1.8 against 0.4 ms; 120,000
# products with 2,000 allowed 21 against 69 ms.
_PUSHED_DOWN_ROWS = 500
_PUSHED_DOWN_SHARE = 0.04
_SPARE = 4  # times as many as asked for are found, for those that are not allowed


class TantivyIndex:
    """A `LexicalIndex` over texts. Whoever makes it closes it."""

    def __init__(self, texts: Sequence[str], *, pushed_down_rows: int | None = None) -> None:
        """texts [R]: row r of the catalogue; row 0 is no product and never found."""
        if pushed_down_rows is None:
            pushed_down_rows = max(_PUSHED_DOWN_ROWS, int(len(texts) * _PUSHED_DOWN_SHARE))
        self._pushed_down_rows = pushed_down_rows
        self._analyser = _analyser()
        schema = (
            tantivy.SchemaBuilder()
            .add_text_field(_TEXT, tokenizer_name=_ANALYSER, index_option="freq")
            # Signed: `term_set_query` makes signed terms of Python's numbers, whatever the field.
            .add_integer_field(_ROW, stored=True, indexed=True)
            .build()
        )
        self._schema = schema
        index = tantivy.Index(schema)
        index.register_tokenizer(_ANALYSER, self._analyser)
        writer = index.writer(_HEAP_BYTES, 1)
        for row in range(NO_PRODUCT + 1, len(texts)):
            document = tantivy.Document()
            document.add_text(_TEXT, " ".join(words_of(texts[row])))
            document.add_integer(_ROW, row)
            writer.add_document(document)
        writer.commit()
        writer.wait_merging_threads()
        index.reload()
        self._searcher = index.searcher()
        self._row_count = len(texts)
        self._row_of = self._rows_by_address()
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="lexical")

    def close(self) -> None:
        """Lets a running search end; the index cannot be asked any more."""
        self._executor.shutdown(wait=True)

    async def search(
        self,
        words: Sequence[str],
        count: int,
        *,
        allowed: NDArray[np.bool_] | None,
        timeout_s: float,
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Rows and BM25 scores, best first; of equal ones the lower row. In a thread of its own."""
        if allowed is not None and allowed.shape != (self._row_count,):
            raise DependencyUnavailable(
                _DEPENDENCY, f"allowed has {allowed.size} rows, the index {self._row_count}"
            )
        loop = asyncio.get_running_loop()
        try:
            searching = loop.run_in_executor(self._executor, self._search, words, count, allowed)
            return await asyncio.wait_for(searching, timeout_s)
        except TimeoutError as error:
            raise DependencyTimeout(
                _DEPENDENCY, f"no answer within {timeout_s * 1000.0:.0f} ms"
            ) from error
        except RuntimeError as error:  # closed meanwhile
            raise DependencyUnavailable(_DEPENDENCY, str(error)) from error

    def _search(
        self, words: Sequence[str], count: int, allowed: NDArray[np.bool_] | None
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        terms = list(dict.fromkeys(self._analyser.analyze(" ".join(words))))
        if not terms or count <= 0:
            return np.zeros(0, np.int64), np.zeros(0, np.float32)
        wanted = tantivy.Query.boolean_query(
            [
                (tantivy.Occur.Should, tantivy.Query.term_query(self._schema, _TEXT, term, "freq"))
                for term in terms
            ]
        )
        if allowed is None:
            return self._found(wanted, count)
        rows = np.flatnonzero(allowed)
        if rows.size <= self._pushed_down_rows:
            return self._found(self._among(wanted, rows), count)
        found, scores = self._found(wanted, _SPARE * count)
        if np.count_nonzero(allowed[found]) < count and found.size == _SPARE * count:
            found, scores = self._found(wanted, self._row_count)
        kept = np.flatnonzero(allowed[found])[:count]
        return found[kept], scores[kept]

    def _among(self, wanted: tantivy.Query, rows: NDArray[np.int64]) -> tantivy.Query:
        """The same, restricted to these rows, which add nothing to the score."""
        inside = tantivy.Query.term_set_query(self._schema, _ROW, rows.tolist())
        unscored = tantivy.Query.const_score_query(inside, 0.0)
        return tantivy.Query.boolean_query(
            [(tantivy.Occur.Must, wanted), (tantivy.Occur.Must, unscored)]
        )

    def _found(
        self, wanted: tantivy.Query, limit: int
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        hits = self._searcher.search(wanted, limit, count=False).hits
        rows = [self._row_of[address.segment_ord][address.doc] for _, address in hits]
        scores = np.array([score for score, _ in hits], dtype=np.float32)
        return np.array(rows, dtype=np.int64), scores

    def _rows_by_address(self) -> list[dict[int, int]]:
        """Segment → document → row: reading the row of every hit from its document is slower."""
        if self._searcher.num_docs == 0:
            return []
        hits = self._searcher.search(tantivy.Query.all_query(), self._searcher.num_docs).hits
        rows: list[dict[int, int]] = [{} for _ in range(self._searcher.num_segments)]
        for _, address in hits:
            rows[address.segment_ord][address.doc] = self._searcher.doc(address)[_ROW][0]
        return rows


def _analyser() -> tantivy.TextAnalyzer:
    """For texts that `words_of` has made plain already."""
    return (
        tantivy.TextAnalyzerBuilder(tantivy.Tokenizer.whitespace())
        .filter(tantivy.Filter.stemmer("english"))
        .build()
    )
