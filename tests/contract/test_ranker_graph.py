"""The ranker as ONNX Runtime computes it, for any number of shoppers and candidates."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import onnxruntime
import torch

from tests.learning.test_ranker_model import a_batch, a_ranker
from training.models.ranker import ServingRanker


@contextmanager
def quiet() -> Iterator[None]:
    """The exporter speaks of libraries that we do not use."""
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(logging.NOTSET)


def test_the_exported_graph_ranks_any_number_of_candidates(tmp_path: Path) -> None:
    serving = ServingRanker(a_ranker()).eval()
    names = [
        *("history_rows", "history_events", "history_ages", "context_codes", "context_values"),
        *("user_vector", "candidate_rows", "candidate_values"),
    ]
    lists, candidates = torch.export.Dim("lists", max=64), torch.export.Dim("candidates", max=512)
    path = tmp_path / "ranker.onnx"
    with quiet():
        torch.onnx.export(
            serving,
            a_batch(2, 5).inputs(),
            path,
            dynamo=True,
            input_names=names,
            dynamic_shapes=tuple(
                {0: lists} | ({1: candidates} if at > 5 else {}) for at in range(8)
            ),
            verbose=False,
        )
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    for batch in (a_batch(1, 33), a_batch(3, 7)):
        inputs = {n: t.numpy() for n, t in zip(names, batch.inputs(), strict=True)}
        (found,) = session.run(None, inputs)
        np.testing.assert_allclose(found, serving(*batch.inputs()).detach(), rtol=1e-4, atol=1e-6)
