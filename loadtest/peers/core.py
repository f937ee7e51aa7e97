"""Core: the work that all peers do, in process: shopper → tower → index → ranker → best products.

Needs NumPy, ONNX Runtime and FAISS alone, so that it runs in every peer's environment. Each peer
has the release's own files, by their digests. What the product does beyond it (histories, live
offers, rules, exploration, the log) no peer does. Shapes: B shoppers, N candidates, D vector size.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import faiss
import numpy as np
import onnxruntime
from numpy.typing import NDArray

from shop.features import CANDIDATE_VALUES, log_price_of

TASK_FILE, SHOPPERS_FILE = "task.json", "shoppers.npz"
FEATURES = ("history_rows", "history_events", "history_ages", "context_codes", "context_values")


@dataclass(frozen=True, slots=True)
class Task:
    """What every peer is given. Written by `loadtest.peers.task`."""

    tower: str  # paths
    ranker: str
    index: str
    digests: dict[str, str]  # SHA-256 by path
    heads: list[str]
    candidates: int

    @staticmethod
    def read(folder: Path) -> "Task":
        """Raises ValueError if a file is not the one that all others have."""
        task = Task(**json.loads((folder / TASK_FILE).read_text()))
        for path, digest in task.digests.items():
            if hashlib.sha256(Path(path).read_bytes()).hexdigest() != digest:
                raise ValueError(f"{path} is not the file that the contest began with")
        return task


@dataclass(frozen=True, slots=True)
class Found:
    """One shopper's list, best first."""

    product_ids: list[str]
    scores: list[float]
    scored: int

    def to_json(self) -> dict[str, object]:
        """As HTTP peers answer."""
        return {"product_ids": self.product_ids, "scores": self.scores, "scored": self.scored}


class Core:
    """Models, index and shoppers in this process. Thread-safe: nothing is kept between calls."""

    def __init__(self, folder: Path) -> None:
        task = Task.read(folder)
        self._tower, self._ranker = _session(task.tower), _session(task.ranker)
        self._index = faiss.read_index(task.index)
        self._candidates = task.candidates
        self._purchase = task.heads.index("purchase")
        faiss.omp_set_num_threads(1)  # a request is the parallelism, as ours has it
        with np.load(folder / SHOPPERS_FILE, allow_pickle=False) as kept:
            self._features = {name: kept[name] for name in FEATURES}
            self._taste_log_price = kept["taste_log_price"]  # [B]
            self._row_of = {str(name): at for at, name in enumerate(kept["shoppers"])}
            self._product_ids = kept["product_ids"]  # [R]
            self._price_minor = kept["price_minor"]  # [R]

    def recommend(self, shopper: str, count: int) -> Found:
        """The best `count`. Raises KeyError for a shopper nobody knows."""
        return self.recommend_many([shopper], count)[0]

    def recommend_many(self, shoppers: Sequence[str], count: int) -> list[Found]:
        """One list for each, all of them in one run of either model."""
        at = np.array([self._row_of[shopper] for shopper in shoppers])
        inputs = {name: column[at] for name, column in self._features.items()}
        (vectors,) = self._tower.run(["user_vector"], inputs)  # [B, D]
        rows = self._nearest(vectors)
        price = self._price_minor[rows]
        values = np.zeros((*rows.shape, len(CANDIDATE_VALUES)), np.float32)
        values[..., 0] = log_price_of(price)
        values[..., 3] = values[..., 0] - self._taste_log_price[at, None]
        inputs |= {"user_vector": vectors, "candidate_rows": rows, "candidate_values": values}
        (probabilities,) = self._ranker.run(["probabilities"], inputs)  # [B, N, H]
        worth = probabilities[..., self._purchase] * price
        return [self._best(*each, count) for each in zip(rows, worth, strict=True)]

    def _nearest(self, vectors: NDArray[np.float32]) -> NDArray[np.int64]:
        """[B, N] rows; row 0 is no product, so one more is asked for."""
        _, found = self._index.search(vectors, self._candidates + 1)
        rows = np.empty((len(vectors), self._candidates), np.int64)
        for at, each in enumerate(found):
            rows[at] = each[each > 0][: self._candidates]
        return rows

    def _best(self, rows: NDArray[np.int64], worth: NDArray[np.float32], count: int) -> Found:
        order = np.lexsort((rows, -worth))[:count]
        return Found(self._product_ids[rows[order]].tolist(), worth[order].tolist(), rows.size)


def _session(path: str) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
