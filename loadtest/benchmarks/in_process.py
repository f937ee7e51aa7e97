"""In process: a release's models and an exact search without Triton, FAISS or a wire.

For floors (what the arithmetic alone costs) and for judging what the served path gives away.

Shapes: N candidates, D vector size, R catalogue rows, H heads.
"""

from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from shop.catalogue import NO_PRODUCT
from shop.features import ShopperFeatures
from shop.release import RANKER_FILE, TEXT_ENCODER_FILE, USER_TOWER_FILE


def open_model(path: Path) -> onnxruntime.InferenceSession:
    """A session with one thread, as Triton's instances have."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def shopper_inputs(features: ShopperFeatures) -> dict[str, NDArray[np.generic]]:
    """A batch of one, by tensor name."""
    return {
        "history_rows": features.history_rows[None],
        "history_events": features.history_events[None],
        "history_ages": features.history_ages[None],
        "context_codes": features.context_codes[None],
        "context_values": features.context_values[None],
    }


class InProcessModels:
    """A release's user tower and ranker. Is a `UserTower` and a `Ranker`."""

    def __init__(self, release_folder: Path) -> None:
        self._tower = open_model(release_folder / USER_TOWER_FILE)
        self._ranker = open_model(release_folder / RANKER_FILE)

    async def user_vector(
        self, features: ShopperFeatures, *, timeout_s: float
    ) -> NDArray[np.float32]:
        """[D] unit length. Takes what it takes."""
        return self.vector_of(features)

    def vector_of(self, features: ShopperFeatures) -> NDArray[np.float32]:
        """[D] unit length."""
        (vector,) = self._tower.run(["user_vector"], shopper_inputs(features))
        return np.asarray(vector[0])

    async def probabilities(
        self,
        features: ShopperFeatures,
        user_vector: NDArray[np.float32],
        candidate_rows: NDArray[np.int64],
        candidate_values: NDArray[np.float32],
        *,
        timeout_s: float,
    ) -> NDArray[np.float32]:
        """[N, H]. Takes what it takes."""
        return self.ranked(features, user_vector, candidate_rows, candidate_values)

    def ranked(
        self,
        features: ShopperFeatures,
        user_vector: NDArray[np.float32],
        candidate_rows: NDArray[np.int64],
        candidate_values: NDArray[np.float32],
    ) -> NDArray[np.float32]:
        """[N, H]."""
        inputs = shopper_inputs(features) | {
            "user_vector": user_vector[None],
            "candidate_rows": candidate_rows[None],
            "candidate_values": candidate_values[None],
        }
        (found,) = self._ranker.run(["probabilities"], inputs)
        return np.asarray(found[0])


class InProcessText:
    """A release's text encoder. Is a `TextEncoder`."""

    def __init__(self, release_folder: Path) -> None:
        self._encoder = open_model(release_folder / TEXT_ENCODER_FILE)

    async def text_vector(
        self, token_ids: NDArray[np.int64], *, timeout_s: float
    ) -> NDArray[np.float32]:
        """[D] unit length. Takes what it takes."""
        (vector,) = self._encoder.run(["text_vector"], {"token_ids": token_ids[None]})
        return np.asarray(vector[0])


class ExactIndex:
    """Every product compared in float64. Is a `VectorIndex`."""

    def __init__(self, item_vectors: NDArray[np.float32]) -> None:
        self._vectors = item_vectors.astype(np.float64)  # [R, D]

    @staticmethod
    def load(vectors_file: Path) -> "ExactIndex":
        """Over a release's item vectors."""
        return ExactIndex(np.load(vectors_file, allow_pickle=False))

    async def search(
        self,
        user_vector: NDArray[np.float32],
        count: int,
        *,
        allowed: NDArray[np.bool_] | None,
        timeout_s: float,
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Rows and cosines, best first."""
        cosines = self._vectors @ user_vector.astype(np.float64)
        searched = np.ones(cosines.size, np.bool_) if allowed is None else allowed.copy()
        searched[NO_PRODUCT] = False
        rows = np.flatnonzero(searched)
        best = rows[np.lexsort((rows, -cosines[rows]))[:count]]
        return best.astype(np.int64), cosines[best].astype(np.float32)
