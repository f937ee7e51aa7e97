"""Engine repository: a release's models as TensorRT engines, laid out as Triton loads them.

`<state>/engines/<model>/config.pbtxt`, and in `<model>/<version>/` one engine for each architecture
and `engines.json`, the signed record. A Triton with its TensorRT backend loads it as it is; engines
of another architecture are added to the same folder by exporting there, and Triton picks by
compute capability. The release itself stays as it was, portable and complete without engines.
"""

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from export.gpu_config import gpu_model_config, max_batch_of
from export.quality_gate import Fidelity, check_fidelity, fidelity
from export.quantised_graph import quantised_graph
from export.samples import Inputs
from export.tensorrt import BuildLog, BuildOptions, EnginePrecision, build_engine, profile_at
from serving.triton.repository import CONFIG, MODEL
from shop.engine_record import RECORD, EngineEntry, EngineRecord, read_record
from shop.errors import ReleaseRejected
from shop.features import FeatureSchema
from shop.release import TEXT_ENCODER_CONFIG_FILE, TEXT_ENCODER_FILE, Manifest, check_file
from shop.tensors import (
    CANDIDATE_BUCKETS,
    RANKER,
    TEXT_ENCODER,
    ModelSpec,
    ranker_spec,
    user_tower_spec,
)

TIMING_CACHE = "timing.cache"
_CALIBRATED_ON, _BATCH = 64, 8  # samples; the rest is what parity is measured on

Run = Callable[[bytes, ModelSpec, Inputs, int], NDArray[np.float32]]
"""Answers inputs with an engine, on profile n: `export.engine_run.engine_answer`."""


@dataclass(frozen=True, slots=True)
class EngineJob:
    """What engines are built of, and into which repository."""

    release_folder: Path
    manifest: Manifest
    schema: FeatureSchema
    samples: Inputs  # inputs of both models, batch first, the user vector among them
    repository: Path
    precision: EnginePrecision
    key: bytes


def add_engines(job: EngineJob, run: Run) -> list[EngineEntry]:
    """Engines of both models for this machine's GPU, built, proved, signed and put in place.

    Raises DependencyUnavailable without TensorRT or a GPU, ReleaseRejected if an engine's answers
    are too far from those of the graph. Nothing is put in place unless both are good.
    """
    built = [
        _proved_engine(job, spec, run)
        for spec in (user_tower_spec(job.schema), ranker_spec(job.schema))
    ]
    for entry, plan, log in built:
        put_engine(job, entry, plan, log)
    put_text_encoder(job)
    return [entry for entry, _, _ in built]


def put_engine(job: EngineJob, entry: EngineEntry, plan: bytes, log: str) -> None:
    """One engine into the repository, its record signed anew; the configuration comes last."""
    folder = job.repository / entry.model / str(job.manifest.version)
    folder.mkdir(parents=True, exist_ok=True)
    _write(folder / entry.file, plan)
    _write(folder / f"{entry.file}.log.json", log.encode())
    others = tuple(
        other for other in _engines_there(job, folder) if not _is_replaced_by(other, entry)
    )
    record = EngineRecord(job.manifest.release, job.manifest.version, (*others, entry))
    _write(folder / RECORD, record.signed(job.key).to_json().encode())
    config = gpu_model_config(entry.model, job.schema, (*others, entry))
    _write(job.repository / entry.model / CONFIG, config.encode())


def put_text_encoder(job: EngineJob) -> None:
    """A searchable release's text encoder as it is, in ONNX: 0.1 ms of CPU is worth no engine."""
    if not job.manifest.has_model(TEXT_ENCODER):
        return
    folder = job.repository / TEXT_ENCODER / str(job.manifest.version)
    folder.mkdir(parents=True, exist_ok=True)
    for name, target in (
        (TEXT_ENCODER_FILE, folder / MODEL),
        (TEXT_ENCODER_CONFIG_FILE, job.repository / TEXT_ENCODER / CONFIG),
    ):
        content = (job.release_folder / name).read_bytes()
        check_file(job.manifest, name, len(content), hashlib.sha256(content).hexdigest())
        _write(target, content)


def _engines_there(job: EngineJob, folder: Path) -> tuple[EngineEntry, ...]:
    if not (folder / RECORD).is_file():
        return ()
    record = read_record((folder / RECORD).read_text(), job.key)
    if record.release != job.manifest.release:
        raise ReleaseRejected(f"{folder} holds engines of {record.release}; delete it first")
    return record.engines


def _is_replaced_by(other: EngineEntry, entry: EngineEntry) -> bool:
    """One engine for an architecture: Triton chooses by that alone."""
    return (other.model, other.compute_capability) == (entry.model, entry.compute_capability)


def _proved_engine(job: EngineJob, spec: ModelSpec, run: Run) -> tuple[EngineEntry, bytes, str]:
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
    plan, log = build_engine(graph, spec, options, timing_cache=job.repository / TIMING_CACHE)
    measured = _measured(reference_graph, plan, spec, inputs, run)
    check_fidelity(spec.name, job.precision, measured)
    return _entry(log, spec, plan, source, measured), plan, log.to_json()


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


def _write(path: Path, content: bytes) -> None:
    part = path.with_name(f"{path.name}.part")
    part.write_bytes(content)
    os.replace(part, path)
