"""TensorRT: an ONNX graph of a release becomes an engine for one GPU architecture.

The named-tensor API only, which TensorRT 8.6 and 10 share. What needs no builder (profiles,
options, the engine's key, the log) is here in plain values; `build_engine` alone imports tensorrt.
An engine belongs to the architecture and the TensorRT version that it was built by, and its key
says both. No engine has been built by this module yet, see docs/operations.md.

int8 and fp8 are read from a graph that says where to quantise (`export.quantised_graph`): builders'
own calibrators are deprecated since 10.1, and fp8 never had one.
"""

import json
import logging
import re
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

from shop.errors import DependencyUnavailable, ReleaseRejected
from shop.tensors import CANDIDATE_BUCKETS, ModelSpec

logger = logging.getLogger(__name__)

EnginePrecision = Literal["fp32", "tf32", "fp16", "bf16", "int8", "fp8"]
# Eight bits are in the graph; what it leaves open is computed in fp16.
_FLAGS: Mapping[str, tuple[str, ...]] = {
    "fp32": (),
    "tf32": ("TF32",),
    "fp16": ("FP16",),
    "bf16": ("BF16",),
    "int8": ("INT8", "FP16"),
    "fp8": ("FP8", "FP16"),
}
_NEEDS = {"bf16": (9, 0), "fp8": (9, 0)}  # TensorRT
_STRONGLY_TYPED = (11, 0)  # from here on a graph's own types decide, and the flags are gone
_OPTIMUM_BATCH_SHARE = 0.25
_WORKSPACE_BYTES = 2 << 30
_MISSING = (
    "the Python package tensorrt is not installed here: build engines on a machine with a GPU and"
    " TensorRT 8.6 or 10 (NVIDIA's Triton and PyTorch images bring it), or serve the ONNX models"
)


@dataclass(frozen=True, slots=True)
class Profile:
    """Shapes of every input, batch first: what an engine must bear, and what it is tuned for."""

    least: dict[str, tuple[int, ...]]
    optimum: dict[str, tuple[int, ...]]
    most: dict[str, tuple[int, ...]]


@dataclass(frozen=True, slots=True)
class EngineKey:
    """What an engine fits; anything else refuses it."""

    model: str
    compute_capability: tuple[int, int]
    tensorrt_version: str
    precision: str

    @property
    def architecture(self) -> str:
        """As NVIDIA names it: sm_90."""
        major, minor = self.compute_capability
        return f"sm_{major}{minor}"

    @property
    def file_name(self) -> str:
        """Of the engine, in the form that a release's file names have."""
        version = re.sub(r"[^0-9a-z.]", "-", self.tensorrt_version.lower())
        return f"{self.model}.{self.architecture}.trt{version}.{self.precision}.plan"


@dataclass(frozen=True, slots=True)
class BuildOptions:
    """How an engine is built."""

    precision: EnginePrecision = "fp16"
    max_batch_size: int = 64
    workspace_bytes: int = _WORKSPACE_BYTES
    effort: int = 3  # TensorRT's builder optimisation level, 0 to 5


@dataclass(slots=True)
class BuildLog:
    """What the builder said and took; kept beside the engine."""

    key: EngineKey
    options: BuildOptions
    seconds: float = 0.0
    plan_bytes: int = 0
    had_timing_cache: bool = False
    messages: list[str] = field(default_factory=list)

    def said(self, severity: str, message: str) -> None:
        """One line of the builder; repeated ones once."""
        line = f"{severity}: {message}"
        if line not in self.messages:
            self.messages.append(line)

    def to_json(self) -> str:
        """For the file `<engine>.log.json`."""
        return json.dumps(asdict(self), indent=1, ensure_ascii=False) + "\n"


def profiles_for(spec: ModelSpec, max_batch_size: int) -> tuple[Profile, ...]:
    """One profile for each candidate length, and a single one for models without such a length.

    A profile per length, because a kernel tuned for 500 candidates is not the one for 64, and calls
    are padded to exactly these lengths. Raises ValueError if no batch is allowed.
    """
    if max_batch_size < 1:
        raise ValueError(f"max_batch_size is {max_batch_size}, at least 1 is needed")
    is_open = any(-1 in tensor.shape for tensor in spec.inputs)
    optimum = max(1, round(max_batch_size * _OPTIMUM_BATCH_SHARE))
    return tuple(
        Profile(
            _shapes(spec, 1, length),
            _shapes(spec, optimum, length),
            _shapes(spec, max_batch_size, length),
        )
        for length in (CANDIDATE_BUCKETS if is_open else (1,))
    )


def _shapes(spec: ModelSpec, batch: int, length: int) -> dict[str, tuple[int, ...]]:
    return {
        tensor.name: (batch, *(length if dim == -1 else dim for dim in tensor.shape))
        for tensor in spec.inputs
    }


def profile_at(spec: ModelSpec, candidates: int) -> int:
    """The number of the profile for calls of this padded length. Raises ValueError for others."""
    if not any(-1 in tensor.shape for tensor in spec.inputs):
        return 0
    try:
        return CANDIDATE_BUCKETS.index(candidates)
    except ValueError:
        raise ValueError(
            f"{candidates} candidates: engines are built for {CANDIDATE_BUCKETS}"
        ) from None


def version_of(text: str) -> tuple[int, int]:
    """Major and minor of "10.13.2.6". Raises ValueError."""
    match = re.match(r"(\d+)\.(\d+)", text)
    if match is None:
        raise ValueError(f"TensorRT version {text!r} cannot be read")
    return int(match[1]), int(match[2])


def builder_flags(precision: EnginePrecision, version: tuple[int, int]) -> tuple[str, ...]:
    """The builder's flags for a precision. Raises ReleaseRejected where this version has none."""
    needed = _NEEDS.get(precision, (8, 6))
    if version < needed:
        raise ReleaseRejected(
            f"{precision} needs TensorRT {needed[0]}.{needed[1]}, here is {version[0]}.{version[1]}"
        )
    if version >= _STRONGLY_TYPED:
        if precision in ("fp16", "bf16"):
            raise ReleaseRejected(
                f"TensorRT {version[0]} takes {precision} from the graph alone: use int8, fp8 or"
                " fp32, or TensorRT 10"
            )
        return ("TF32",) if precision == "tf32" else ()
    return _FLAGS[precision]


def key_for_here(model: str, precision: str) -> EngineKey:
    """The key of engines built on this machine. Raises DependencyUnavailable."""
    import torch

    trt = load_tensorrt()
    if not torch.cuda.is_available():
        raise DependencyUnavailable("tensorrt", "there is no CUDA device to build an engine for")
    major, minor = torch.cuda.get_device_capability()
    return EngineKey(model, (major, minor), str(trt.__version__), precision)


def load_tensorrt() -> Any:
    """The package. Raises DependencyUnavailable, saying where it is to be had."""
    try:
        return import_module("tensorrt")
    except ImportError as error:
        raise DependencyUnavailable("tensorrt", f"{_MISSING} ({error})") from error


def build_engine(
    graph: bytes, spec: ModelSpec, options: BuildOptions, *, timing_cache: Path
) -> tuple[bytes, BuildLog]:
    """The serialised engine and its log; the timing cache is read and written.

    Raises DependencyUnavailable without TensorRT or a GPU, ReleaseRejected if TensorRT refuses the
    graph. Takes minutes without a timing cache.
    """
    key = key_for_here(spec.name, options.precision)
    trt, log = load_tensorrt(), BuildLog(key, options)
    began_s = time.monotonic()
    trt_logger = _logger(trt, log)
    builder = trt.Builder(trt_logger)
    network = builder.create_network(_creation_flags(trt))
    parser = trt.OnnxParser(network, trt_logger)
    if not parser.parse(graph):
        faults = "; ".join(str(parser.get_error(at)) for at in range(parser.num_errors))
        raise ReleaseRejected(f"{spec.name}: TensorRT cannot read the graph: {faults}")
    config = _config(trt, builder, spec, options)
    log.had_timing_cache = _use_timing_cache(config, timing_cache)
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise ReleaseRejected(
            f"{spec.name}: TensorRT built nothing: {'; '.join(log.messages[-3:])}"
        )
    timing_cache.parent.mkdir(parents=True, exist_ok=True)
    timing_cache.write_bytes(bytes(config.get_timing_cache().serialize()))
    engine = bytes(plan)
    log.seconds, log.plan_bytes = round(time.monotonic() - began_s, 1), len(engine)
    logger.info("built %s in %.1f s, %d bytes", key.file_name, log.seconds, log.plan_bytes)
    return engine, log


def _creation_flags(trt: Any) -> int:
    """Explicit batch had to be asked for until 8; strong typing is the only kind from 11 on."""
    version = version_of(trt.__version__)
    if version >= _STRONGLY_TYPED:
        return 0
    if version < (10, 0):
        return 1 << int(trt.NetworkDefinitionCreationFlag.EXPLICIT_BATCH)
    return 0


def _config(trt: Any, builder: Any, spec: ModelSpec, options: BuildOptions) -> Any:
    config = builder.create_builder_config()
    config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, options.workspace_bytes)
    config.builder_optimization_level = options.effort
    # TF32 is on by default: float32 is to mean float32.
    config.clear_flag(trt.BuilderFlag.TF32)
    for flag in builder_flags(options.precision, version_of(trt.__version__)):
        config.set_flag(getattr(trt.BuilderFlag, flag))
    for shapes in profiles_for(spec, options.max_batch_size):
        profile = builder.create_optimization_profile()
        for name in shapes.least:
            profile.set_shape(name, shapes.least[name], shapes.optimum[name], shapes.most[name])
        config.add_optimization_profile(profile)
    return config


def _use_timing_cache(config: Any, file: Path) -> bool:
    """What kernels took in earlier builds; a cache of another GPU is refused, not used."""
    raw = file.read_bytes() if file.is_file() else b""
    if config.set_timing_cache(config.create_timing_cache(raw), False):
        return bool(raw)
    config.set_timing_cache(config.create_timing_cache(b""), False)
    return False


def _logger(trt: Any, log: BuildLog) -> Any:
    class Collected(trt.ILogger):  # type: ignore[misc]
        """Warnings and errors of the builder, into the log."""

        def __init__(self) -> None:
            trt.ILogger.__init__(self)

        def log(self, severity: Any, message: str) -> None:
            """Called by the builder."""
            if severity <= trt.ILogger.Severity.WARNING:
                log.said(str(severity).rpartition(".")[2].lower(), message)

    return Collected()
