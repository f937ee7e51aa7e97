"""Triton's counters are read model by model, all versions together."""

from loadtest.benchmarks.batching import counters_of

TEXT = """\
# HELP nv_inference_count Number of inferences performed
nv_inference_count{model="ranker",version="1"} 10
nv_inference_count{model="ranker",version="2"} 5
nv_inference_count{model="ranker2",version="1"} 99
nv_inference_exec_count{model="ranker",version="1"} 4
nv_inference_queue_duration_us{model="ranker",version="1"} 1.5e3
nv_inference_count{model="user_tower",version="1"} 7
"""


def test_counters_are_of_one_model_and_all_its_versions() -> None:
    assert counters_of(TEXT, "ranker") == {"count": 15.0, "runs": 4.0, "queue_us": 1500.0}


def test_a_model_that_is_not_there_has_counted_nothing() -> None:
    assert set(counters_of(TEXT, "none").values()) == {0.0}
