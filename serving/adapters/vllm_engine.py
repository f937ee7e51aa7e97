"""vLLM engine: what the engine is started with, and which model it then serves.

Arguments as vLLM 0.32's `EngineArgs` takes them; environment variables that it reads when it is
imported are in `engine_environment`. What is asked of a running engine is in `vllm`.
"""

import hashlib
import os
from pathlib import Path
from typing import Any

from serving.writer_settings import WriterSettings
from shop.errors import SettingsRejected

_HASHED_BYTES = 1 << 20  # of each end of a weights file: enough to tell two trainings apart
_MEGABYTE = 1 << 20
_TOKENS_AT_ONCE = 4_096  # of prompts read in one step


def engine_environment(settings: WriterSettings) -> dict[str, str]:
    """The variables under which vLLM is to be imported, in this process and its children."""
    variables = {
        "HF_HUB_OFFLINE": "1",
        "TRANSFORMERS_OFFLINE": "1",
        "VLLM_NO_USAGE_STATS": "1",
        "DO_NOT_TRACK": "1",
        "VLLM_LOGGING_LEVEL": "ERROR",
    }
    if settings.device == "cpu":
        variables |= {
            # The model runs in the engine's core instead of a third process: 0.6 GB less.
            "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
            # Threads tied to cores would fight with the door's for exactly those.
            "VLLM_CPU_OMP_THREADS_BIND": "nobind",
            # One core is left to whoever shares the machine: a team of threads waits for its
            # slowest, and one that is not running holds up every layer of every token.
            "OMP_NUM_THREADS": str(settings.threads or max(1, (os.cpu_count() or 2) - 1)),
        }
    return variables


def engine_arguments(settings: WriterSettings, model: Path) -> dict[str, Any]:
    """What vLLM's engine is started with."""
    arguments: dict[str, Any] = {
        "model": str(model),
        "dtype": settings.dtype,
        "max_model_len": settings.max_model_len,
        "max_num_seqs": settings.texts_at_once,
        "enforce_eager": settings.eager,
        "enable_prefix_caching": True,
        "structured_outputs_config": {"backend": "guidance", "disable_any_whitespace": True},
        "generation_config": "vllm",  # what a request does not say is not taken from the folder
        "trust_remote_code": False,
    }
    if settings.device == "cpu":
        arguments |= {
            "kv_cache_memory_bytes": settings.kv_cache_mb * _MEGABYTE,
            # Whole prompts only: for a text with a seed whose prompt is read in parts, vLLM 0.32
            # turns the seed's generator back, which on a CPU ends the engine ("CPU Generator does
            # not use offset").
            "enable_chunked_prefill": False,
            "max_num_batched_tokens": max(settings.max_model_len, _TOKENS_AT_ONCE),
        }
    else:
        arguments["gpu_memory_utilization"] = settings.gpu_memory_share
    if settings.max_adapters:
        arguments |= {
            "enable_lora": True,
            "max_loras": settings.max_adapters,
            "max_lora_rank": settings.max_adapter_rank,
        }
    return arguments


def weights_digest(model: Path) -> str:
    """Twelve hexadecimal digits that change with the weights: of their names, sizes and ends."""
    digest = hashlib.sha256((model / "config.json").read_bytes())
    for file in sorted(model.glob("*.safetensors")):
        size = file.stat().st_size
        digest.update(f"{file.name}:{size}".encode())
        with file.open("rb") as weights:
            digest.update(weights.read(_HASHED_BYTES))
            weights.seek(max(0, size - _HASHED_BYTES))
            digest.update(weights.read(_HASHED_BYTES))
    return digest.hexdigest()[:12]


def check_device(settings: WriterSettings) -> None:
    """Raises SettingsRejected where vLLM is missing, or built for another device than asked for."""
    try:
        from vllm.platforms import current_platform
    except ImportError as error:
        raise SettingsRejected(
            f"vLLM is not installed ({error}); set-up does it, from requirements/writer.lock"
        ) from error
    found = current_platform.device_type
    if found != settings.device:
        raise SettingsRejected(
            f"writer.device = {settings.device}: the vLLM installed here is built for {found};"
            " docs/operations.md says how to install the other"
        )
