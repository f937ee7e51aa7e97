"""TensorRT without a builder: profiles, keys, flags, records, configurations and the gate."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from export.gpu.drawn import a_schema
from export.gpu_config import gpu_model_config
from export.quality_gate import check_fidelity, fidelity, ndcg
from export.tensorrt import (
    BuildLog,
    BuildOptions,
    EngineKey,
    build_engine,
    builder_flags,
    profile_at,
    profiles_for,
    version_of,
)
from serving.triton.model_requests import equal_shapes, within_batch
from serving.triton.named_engine import NamedEngine, profile_of
from shop.engine_record import EngineEntry, EngineRecord, read_record
from shop.errors import DependencyUnavailable, ReleaseRejected
from shop.tensors import CANDIDATE_BUCKETS, RANKER, USER_TOWER, ranker_spec, user_tower_spec

SCHEMA = a_schema()
KEY = b"k" * 32
ENTRY = EngineEntry(
    model=RANKER,
    file="ranker.sm_90.trt10.13.2.fp16.plan",
    size_bytes=4,
    sha256="ab",
    source_sha256="cd",
    compute_capability=(9, 0),
    tensorrt_version="10.13.2",
    precision="fp16",
    lengths=CANDIDATE_BUCKETS,
    relative_error=1e-3,
    ndcg_loss=1e-4,
)


def test_the_ranker_has_a_profile_for_every_length_that_calls_are_padded_to() -> None:
    profiles = profiles_for(ranker_spec(SCHEMA), 64)
    assert [p.most["candidate_rows"] for p in profiles] == [(64, n) for n in CANDIDATE_BUCKETS]
    for profile, length in zip(profiles, CANDIDATE_BUCKETS, strict=True):
        assert profile.least["candidate_values"] == (1, length, 4)
        assert profile.optimum["history_rows"] == (16, 50)
        assert profile_at(ranker_spec(SCHEMA), length) == CANDIDATE_BUCKETS.index(length)


def test_the_tower_has_one_profile_and_covers_every_input() -> None:
    spec = user_tower_spec(SCHEMA)
    (profile,) = profiles_for(spec, 8)
    assert set(profile.most) == {tensor.name for tensor in spec.inputs}
    assert profile.most["context_values"] == (8, 20)
    assert profile_at(spec, 500) == 0


def test_lengths_and_batches_without_a_profile_are_refused() -> None:
    with pytest.raises(ValueError, match="501"):
        profile_at(ranker_spec(SCHEMA), 501)
    with pytest.raises(ValueError, match="max_batch_size"):
        profiles_for(ranker_spec(SCHEMA), 0)
    with pytest.raises(ReleaseRejected, match="77 candidates"):
        profile_of(CANDIDATE_BUCKETS, {"candidate_rows": (2, 77)})
    assert profile_of(CANDIDATE_BUCKETS, {"candidate_rows": (2, 256)}) == 2
    assert profile_of((), {"history_rows": (2, 50)}) == 0


def test_an_engines_file_names_model_architecture_version_and_precision() -> None:
    key = EngineKey(RANKER, (9, 0), "10.13.2.6", "fp16")
    assert key.architecture == "sm_90"
    assert key.file_name == "ranker.sm_90.trt10.13.2.6.fp16.plan"
    names = {
        replace(key, compute_capability=(8, 0)).file_name,
        replace(key, tensorrt_version="8.6.0").file_name,
        replace(key, precision="bf16").file_name,
        key.file_name,
    }
    assert len(names) == 4


@pytest.mark.parametrize(
    ("precision", "version", "flags"),
    [
        ("fp32", (8, 6), ()),
        ("fp16", (8, 6), ("FP16",)),
        ("bf16", (10, 0), ("BF16",)),
        ("int8", (10, 13), ("INT8", "FP16")),
        ("int8", (11, 0), ()),
        ("tf32", (11, 0), ("TF32",)),
    ],
)
def test_flags_follow_precision_and_version(
    precision: str, version: tuple[int, int], flags: tuple[str, ...]
) -> None:
    assert builder_flags(precision, version) == flags  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("precision", "version"), [("bf16", (8, 6)), ("fp8", (8, 6)), ("fp16", (11, 0))]
)
def test_what_a_version_cannot_build_is_refused(precision: str, version: tuple[int, int]) -> None:
    with pytest.raises(ReleaseRejected, match=r"TensorRT|needs"):
        builder_flags(precision, version)  # type: ignore[arg-type]


def test_versions_are_read_or_refused() -> None:
    assert version_of("10.13.2.6") == (10, 13)
    with pytest.raises(ValueError, match="cannot be read"):
        version_of("ten")


def _has_tensorrt() -> bool:
    try:
        import tensorrt  # noqa: F401
    except ImportError:
        return False
    return True


@pytest.mark.skipif(_has_tensorrt(), reason="TensorRT is installed here")
def test_without_tensorrt_nothing_pretends_to_be_an_engine(tmp_path: Path) -> None:
    spec = user_tower_spec(SCHEMA)
    with pytest.raises(DependencyUnavailable, match="not installed"):
        build_engine(b"", spec, BuildOptions(), timing_cache=tmp_path / "cache")
    with pytest.raises(DependencyUnavailable, match="not installed"):
        NamedEngine(b"plan")
    assert list(tmp_path.iterdir()) == []


def test_the_log_keeps_each_remark_once() -> None:
    log = BuildLog(EngineKey(RANKER, (9, 0), "10.0", "fp16"), BuildOptions())
    for _ in range(3):
        log.said("warning", "subnormal weights")
    assert log.messages == ["warning: subnormal weights"]
    assert '"precision": "fp16"' in log.to_json()


def test_a_record_is_read_back_and_finds_the_engine_of_a_gpu() -> None:
    record = EngineRecord("r0001-x", 1, (ENTRY,)).signed(KEY)
    again = read_record(record.to_json(), KEY)
    assert again == record
    assert again.engine_for(RANKER, 1, (9, 0)) == ENTRY
    ENTRY.check("r0001-x", 4, "ab")
    with pytest.raises(ReleaseRejected, match=r"sm_80.*sm_90"):
        again.engine_for(RANKER, 1, (8, 0))
    with pytest.raises(ReleaseRejected, match="folder 2"):
        again.engine_for(RANKER, 2, (9, 0))
    with pytest.raises(ReleaseRejected, match="damaged"):
        ENTRY.check("r0001-x", 5, "ab")


@pytest.mark.parametrize(
    "spoil",
    [
        lambda text: text.replace("r0001-x", "r0001-y"),
        lambda text: text.replace('"sha256": "ab"', '"sha256": "ac"'),
        lambda text: text.replace('"format": 1', '"format": 2'),
        lambda text: text.replace("ranker.sm_90", "../ranker.sm_90"),
        lambda text: text[:-20],
        lambda text: "[]",
        lambda text: text.replace('"signature": "', '"signature": "é'),
    ],
)
def test_a_record_that_was_changed_is_refused(spoil: object) -> None:
    text = EngineRecord("r0001-x", 1, (ENTRY,)).signed(KEY).to_json()
    with pytest.raises(ReleaseRejected):
        read_record(spoil(text), KEY)  # type: ignore[operator]
    with pytest.raises(ReleaseRejected, match="signature"):
        read_record(text, b"another")


@pytest.mark.parametrize("model", [USER_TOWER, RANKER])
def test_gpu_configuration_is_one_that_triton_reads(model: str) -> None:
    entries = (
        replace(ENTRY, model=model),
        replace(ENTRY, model=model, compute_capability=(8, 0), file=f"{model}.sm_80.plan"),
    )
    text = gpu_model_config(model, SCHEMA, entries)
    config = text_format.Parse(text, model_config_pb2.ModelConfig())
    assert config.platform == "tensorrt_plan"
    assert dict(config.cc_model_filenames) == {"9.0": ENTRY.file, "8.0": f"{model}.sm_80.plan"}
    group = config.instance_group[0]
    assert group.kind == group.KIND_GPU
    lengths = CANDIDATE_BUCKETS if model == RANKER else (1,)
    assert list(group.profile) == [str(at) for at in range(len(lengths))]
    cuda = config.optimization.cuda
    assert cuda.graphs
    assert {spec.batch_size for spec in cuda.graph_spec} == {1, 2, 4, 8}
    assert len(cuda.graph_spec) == 4 * len(lengths)
    assert len(config.model_warmup) == len(lengths)
    assert not config.dynamic_batching.HasField("default_queue_policy")
    assert config.max_batch_size == profiles_for(ranker_spec(SCHEMA), 64)[0].most["history_rows"][0]


def test_no_engine_means_no_configuration() -> None:
    with pytest.raises(ValueError, match="no engine"):
        gpu_model_config(RANKER, SCHEMA, ())


def test_requests_are_grouped_by_shape_and_never_beyond_what_an_engine_bears() -> None:
    lengths = (64, 500, 64, 64)
    feeds = [{"candidate_rows": np.zeros((2, n))} for n in lengths]
    assert equal_shapes(feeds) == [[0, 2, 3], [1]]
    assert within_batch([0, 2, 3], feeds, 4) == [[0, 2], [3]]
    assert within_batch([0, 2, 3], feeds, 2) == [[0], [2], [3]]


def test_ndcg_is_one_for_the_right_order_and_falls_with_disorder() -> None:
    gains = np.random.default_rng(1).random((5, 100))
    assert ndcg(gains, gains * 3 + 1) == pytest.approx(1.0)
    assert ndcg(gains, -gains) < 0.3
    assert ndcg(np.ones((2, 30)), np.random.default_rng(2).random((2, 30))) == 1.0


def test_the_gate_refuses_large_errors_disorder_and_nan() -> None:
    rng = np.random.default_rng(3)
    reference = rng.random((4, 100, 4))
    check_fidelity("ranker", "fp16", fidelity(reference, reference + 1e-4))
    with pytest.raises(ReleaseRejected, match="ref"):
        check_fidelity("ranker", "fp16", fidelity(reference, reference * 1.1))
    common = 100.0 + reference  # an error that is small beside what all share, and disorders all
    with pytest.raises(ReleaseRejected, match="NDCG"):
        check_fidelity("ranker", "fp16", fidelity(common, 100.0 + rng.random(reference.shape)))
    with pytest.raises(ReleaseRejected, match="finite"):
        fidelity(reference, reference * np.nan)
    with pytest.raises(ReleaseRejected, match="finite"):
        fidelity(reference, reference[:2])
