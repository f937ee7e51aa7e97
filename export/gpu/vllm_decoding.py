"""vLLM decoding: the same shape of language model, decoded by vLLM where it is installed.

In a process of its own, because vLLM keeps the device's memory as long as it lives.

    python -m export.gpu.vllm_decoding SHAPE_JSON SEED [--eager]
"""

import argparse
import importlib.util
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from export.gpu.decoder import DecoderShape
from export.gpu.plan import Plan

_TOKENS, _PROMPT, _ROUNDS = 256, 16, 5
_TIMEOUT_S = 420.0
_MEMORY_SHARE = 0.5
_ANSWER = "us_per_token "


def why_no_vllm(plan: Plan) -> str:
    """Why it cannot be measured here; "" if it can."""
    if not plan.on_gpu:
        return "there is no CUDA device"
    if importlib.util.find_spec("vllm") is None:
        return "vllm is not installed (0.26.0 is the newest for torch 2.11, 0.32.0 for 2.13)"
    return ""


def us_per_token_by_vllm(shape: DecoderShape, *, seed: int, is_eager: bool = False) -> float:
    """The median over rounds. Raises RuntimeError with the end of what vLLM said."""
    command = [sys.executable, "-m", "export.gpu.vllm_decoding", json.dumps(asdict(shape))]
    command += [str(seed), *(["--eager"] if is_eager else [])]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False)
    for line in ran.stdout.splitlines():
        if line.startswith(_ANSWER):
            return float(line.removeprefix(_ANSWER))
    raise RuntimeError(f"vLLM gave no answer: {ran.stderr.strip()[-300:]}")


def configuration(shape: DecoderShape) -> dict[str, Any]:
    """`config.json` of the shape, as vLLM and transformers read it."""
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": shape.embedding,
        "intermediate_size": shape.feed_forward,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.key_heads,
        "num_hidden_layers": shape.layers,
        "vocab_size": shape.vocabulary,
        "max_position_embeddings": shape.places,
        "rms_norm_eps": shape.epsilon,
        "rope_theta": shape.rope_theta,
        "rope_parameters": {"rope_type": "default", "rope_theta": shape.rope_theta},
        "hidden_act": "silu",
        "attention_bias": False,
        "mlp_bias": False,
        "tie_word_embeddings": False,
        "bos_token_id": 0,
        "eos_token_id": 1,
        "torch_dtype": "bfloat16",
    }


def _measured_us(shape: DecoderShape, seed: int, *, is_eager: bool) -> float:
    """Of a long answer less a short one: what the prompt costs is in both."""
    from vllm import LLM, SamplingParams

    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "config.json").write_text(json.dumps(configuration(shape)))
        model = LLM(
            model=folder,
            load_format="dummy",
            skip_tokenizer_init=True,
            dtype="bfloat16",
            max_model_len=shape.places,
            max_num_seqs=1,
            gpu_memory_utilization=_MEMORY_SHARE,
            seed=seed,
            enforce_eager=is_eager,
            enable_prefix_caching=False,
        )
        long = min(_TOKENS, shape.places - _PROMPT - 1)
        times = [_taken_s(model, SamplingParams, long) for _ in range(_ROUNDS + 1)][1:]
        short = [_taken_s(model, SamplingParams, 1) for _ in range(_ROUNDS + 1)][1:]
    median_s = sorted(times)[_ROUNDS // 2] - sorted(short)[_ROUNDS // 2]
    return median_s / (long - 1) * 1e6


def _taken_s(model: Any, parameters: Any, tokens: int) -> float:
    asked = parameters(temperature=0.0, max_tokens=tokens, ignore_eos=True, detokenize=False)
    prompt = {"prompt_token_ids": list(range(2, 2 + _PROMPT))}
    began = time.perf_counter()
    (answer,) = model.generate([prompt], asked, use_tqdm=False)
    taken_s = time.perf_counter() - began
    if len(answer.outputs[0].token_ids) != tokens:
        raise RuntimeError(f"{len(answer.outputs[0].token_ids)} tokens instead of {tokens}")
    return taken_s


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints one line with the answer."""
    parser = argparse.ArgumentParser(prog="python -m export.gpu.vllm_decoding")
    parser.add_argument("shape", type=json.loads)
    parser.add_argument("seed", type=int)
    parser.add_argument("--eager", action="store_true")
    options = parser.parse_args(arguments)
    taken_us = _measured_us(DecoderShape(**options.shape), options.seed, is_eager=options.eager)
    sys.stdout.write(f"{_ANSWER}{taken_us}\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
