"""Graphs in eight bits, run by the real ONNX Runtime: as near as the gate asks, and marked so."""

import numpy as np
import onnx
import pytest
import torch

from export.gpu.drawn import draw_inputs, draw_shop
from export.onnx_models import answer_of, write_onnx
from export.quality_gate import check_fidelity, fidelity
from export.quantised_graph import is_quantised, quantised_graph
from export.samples import Inputs

SHOP = draw_shop(300, torch.device("cpu"), seed=8)


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("graph") / "ranker.onnx"
    write_onnx(SHOP.ranker, SHOP.ranker_spec, path)
    return path.read_bytes()


def some_inputs(seed: int) -> Inputs:
    rng = np.random.default_rng(seed)
    return draw_inputs(
        SHOP.ranker_spec, SHOP.schema, batch=4, candidates=64, row_count=300, rng=rng
    )


def test_int8_answers_stay_within_the_gate_on_inputs_not_seen_before(graph: bytes) -> None:
    quantised = quantised_graph(graph, [some_inputs(seed) for seed in range(4)], "int8")
    assert is_quantised(quantised)
    assert not is_quantised(graph)
    unseen = some_inputs(99)
    wanted = answer_of(graph, SHOP.ranker_spec, unseen)
    measured = fidelity(wanted, answer_of(quantised, SHOP.ranker_spec, unseen))
    check_fidelity("ranker", "int8", measured)
    assert measured.relative_error > 0.0, "eight bits cannot be exact: nothing was quantised"


def test_fp8_graphs_hold_e4m3_scales_that_reach_the_same_values(graph: bytes) -> None:
    samples = [some_inputs(0)]
    eight, float8 = (quantised_graph(graph, samples, kind) for kind in ("int8", "fp8"))
    scales = [
        {
            node.input[1]: onnx.numpy_helper.to_array(held[node.input[1]])
            for node in model.graph.node
            if node.op_type == "QuantizeLinear"
        }
        for model in map(onnx.load_from_string, (eight, float8))
        for held in ({tensor.name: tensor for tensor in model.graph.initializer},)
    ]
    assert scales[0].keys() == scales[1].keys()
    for name, scale in scales[0].items():
        np.testing.assert_allclose(scales[1][name] * 448.0, scale * 127.0, rtol=1e-6)
    answer = answer_of(float8, SHOP.ranker_spec, some_inputs(7))
    assert np.isfinite(answer).all()
