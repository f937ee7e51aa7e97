"""Engine build: a release's models as TensorRT engines for this machine's GPU, proved and kept.

An engine must answer real inputs like the graph it was built from, on every length that calls are
padded to, before `export.engine_files` puts it beside the release.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from export.engine_files import BuiltEngine, put_engines
from export.gpu_config import max_batch_of
from export.quality_gate import Fidelity, check_fidelity, fidelity
from export.quantised_graph import quantised_graph
from export.samples import Inputs
from export.tensorrt import BuildLog, BuildOptions, EnginePrecision, build_engine, profile_at
from shop.engine_record import EngineEntry
from shop.errors import ReleaseRejected
from shop.features import FeatureSchema
from shop.release import Manifest
from shop.tensors import (
    CANDIDATE_BUCKETS,
    RANKER,
    ModelSpec,
    ranker_spec,
    user_tower_spec,
)

_CALIBRATED_ON, _BATCH = 64, 8  # samples; the rest is what parity is measured on

Run = Callable[[bytes, ModelSpec, Inputs, int], NDArray[np.float32]]
"""Answers inputs with an engine, on profile n: `export.engine_run.engine_answer`."""


@dataclass(frozen=True, slots=True)
class EngineJob:
    """What engines are built of, and how."""

    release_folder: Path
    manifest: Manifest
    schema: FeatureSchema
    samples: Inputs  # inputs of both models, batch first, the user vector among them
    timing_cache: Path
    precision: EnginePrecision
    key: bytes


def add_engines(job: EngineJob, run: Run) -> list[EngineEntry]:
    """Engines of both models for this machine's GPU, built, proved, signed and kept.

    Raises DependencyUnavailable without TensorRT or a GPU, ReleaseRejected if an engine's answers
    are too far from those of the graph. Nothing is kept unless both are good.
    """
    built = [
        _proved_engine(job, spec, run)
        for spec in (user_tower_spec(job.schema), ranker_spec(job.schema))
    ]
    put_engines(job.release_folder, job.manifest, job.key, built)
    return [each.entry for each in built]


def _proved_engine(job: EngineJob, spec: ModelSpec, run: Run) -> BuiltEngine:
    graph = (job.release_folder / f"{spec.name}.onnx").read_bytes()
    source = hashlib.sha256(graph).hexdigest()
    if source != job.manifest.files[f"{spec.name}.onnx"].sha256:
        raise ReleaseRejected(f"{job.manifest.release}: {spec.name}.onnx is damaged")
    inputs = {tensor.name: job.samples[tensor.name] for tensor in spec.inputs}
    reference_graph = graph
    if job.precision in ("int8", "fp8"):
        kind = "int8" if job.precision == "int8" else "fp8"
        graph = quantised_graph(graph, _batches(inputs, slice(0, _CALIBRATED_ON)), kind)  # type: ignore[arg-type]
    options = BuildOptions(job.precision, max_batch_of(spec.name))
    plan, log = build_engine(graph, spec, options, timing_cache=job.timing_cache)
    measured = _measured(reference_graph, plan, spec, inputs, run)
    check_fidelity(spec.name, job.precision, measured)
    return BuiltEngine(_entry(log, spec, plan, source, measured), plan, log.to_json())


def _measured(graph: bytes, plan: bytes, spec: ModelSpec, inputs: Inputs, run: Run) -> Fidelity:
    """On samples that calibration has not seen, in every length that calls are padded to."""
    from export.onnx_models import answer_of

    worst_error, worst_loss = 0.0, 0.0
    lengths = CANDIDATE_BUCKETS if spec.name == RANKER else (1,)
    for length in lengths:
        for batch in _batches(inputs, slice(_CALIBRATED_ON, None), length):
            wanted = answer_of(graph, spec, batch)
            found = run(plan, spec, batch, profile_at(spec, length))
            near = fidelity(wanted, found, orders=spec.name == RANKER)
            worst_error = max(worst_error, near.relative_error)
            worst_loss = max(worst_loss, near.ndcg_loss)
    return Fidelity(worst_error, worst_loss)


def _batches(inputs: Inputs, part: slice, length: int | None = None) -> list[Inputs]:
    cut = {
        name: array[part, :length] if name.startswith("candidate_") else array[part]
        for name, array in inputs.items()
    }
    count = len(next(iter(cut.values())))
    return [
        {name: np.ascontiguousarray(array[at : at + _BATCH]) for name, array in cut.items()}
        for at in range(0, count, _BATCH)
    ]


def _entry(
    log: BuildLog, spec: ModelSpec, plan: bytes, source: str, measured: Fidelity
) -> EngineEntry:
    return EngineEntry(
        model=spec.name,
        file=log.key.file_name,
        size_bytes=len(plan),
        sha256=hashlib.sha256(plan).hexdigest(),
        source_sha256=source,
        compute_capability=log.key.compute_capability,
        tensorrt_version=log.key.tensorrt_version,
        precision=log.key.precision,
        lengths=CANDIDATE_BUCKETS if spec.name == RANKER else (),
        relative_error=measured.relative_error,
        ndcg_loss=measured.ndcg_loss,
    )
