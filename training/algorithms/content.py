"""Content: products alike in specification and title, by TF-IDF (Salton & Buckley 1988).

A product is a document whose terms are its attributes (`colour=sand`), its price bucket and the
words of its title. A term weighs (1 + ln tf) · ln(P / df), documents have unit length, and
similarity is the cosine. No interaction is looked at, so a product added a minute ago has
neighbours.

Shapes: P products, R = P + 1 catalogue rows, K neighbours, V terms.
"""

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from shop.neighbours import Neighbours
from training.algorithms.nearest import best_of_rows
from training.data.snapshot import Snapshot
from training.product_tokens import single_tokens

_BLOCK_CELLS = 4_000_000  # of the similarity matrix at once: 16 MB of float32
_WORD = re.compile(r"\w+")  # in any script


@dataclass(frozen=True, slots=True)
class ContentSettings:
    """How many neighbours are kept."""

    # 50 cost a call 50 µs with the last 50 views; 100 find 5 % more of the truth for twice that.
    neighbour_count: int = 50


def fit_content(snapshot: Snapshot, *, settings: ContentSettings | None = None) -> Neighbours:
    """The products most alike of every product; one that shares no term has none."""
    settings = settings or ContentSettings()
    documents = _documents(snapshot)  # [R, V] sparse
    row_count = documents.shape[0]
    rows = np.zeros((row_count, settings.neighbour_count), dtype=np.int32)
    scores = np.zeros((row_count, settings.neighbour_count), dtype=np.float32)
    step = max(1, _BLOCK_CELLS // row_count)
    for start in range(1, row_count, step):
        block = np.arange(start, min(start + step, row_count))
        chosen = documents.index_select(0, torch.from_numpy(block)).to_dense()  # [block, V]
        similarity = (
            torch.sparse.mm(documents, chosen.T.contiguous()).numpy().T.copy()
        )  # [block, R]
        similarity[np.arange(block.size), block] = 0.0  # alike is another
        rows[block], scores[block] = best_of_rows(similarity, settings.neighbour_count)
    return Neighbours(rows, scores)


def _documents(snapshot: Snapshot) -> torch.Tensor:
    """[R, V] sparse, every row but 0 of unit length."""
    terms: dict[str, int] = {}
    at_row: list[int] = []
    at_term: list[int] = []
    counts: list[int] = []
    products = snapshot.products.to_pylist()
    for row, product in enumerate(products, start=1):
        for term, count in _terms(product).items():
            at_row.append(row)
            at_term.append(terms.setdefault(term, len(terms)))
            counts.append(count)
    where = np.array([at_row, at_term], dtype=np.int64)
    rarity = np.log(len(products) / np.maximum(1, np.bincount(where[1], minlength=len(terms))))
    weights = (1.0 + np.log(np.array(counts, dtype=np.float64))) * rarity[where[1]]
    lengths = np.sqrt(np.bincount(where[0], weights=weights**2, minlength=len(products) + 1))
    weights /= np.maximum(lengths[where[0]], 1e-12)  # only terms that everything has: no length
    return torch.sparse_coo_tensor(
        torch.from_numpy(where),
        torch.from_numpy(weights.astype(np.float32)),
        (len(products) + 1, max(1, len(terms))),
        check_invariants=True,
    ).coalesce()


def _terms(product: Mapping[str, Any]) -> Counter[str]:
    words = _WORD.findall(str(product["title"]).lower())
    return Counter([*single_tokens(product), *(f"title={word}" for word in words)])
