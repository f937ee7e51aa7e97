"""Describer folder: a description model as a Hugging Face folder, and its LoRA adapters as PEFT's.

    config.json  generation_config.json  model.safetensors  tokenizer.json  tokenizer_config.json

What is written here is loaded by vLLM as it is; weights are safetensors, which hold no code.
"""

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer

from shop.errors import NotFound
from training.model_folder import read_json, write_json, write_whole
from training.models.describer import Describer, DescriberShape
from training.texts.tokens import END, END_ID, PAD, PAD_ID, START, START_ID

CONFIG, WEIGHTS, TOKENIZER = "config.json", "model.safetensors", "tokenizer.json"
ADAPTER_CONFIG, ADAPTER_WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
_FIELDS = {
    "vocab_size": "vocabulary",
    "hidden_size": "width",
    "num_hidden_layers": "layers",
    "num_attention_heads": "heads",
    "intermediate_size": "hidden",
    "max_position_embeddings": "positions",
    "rms_norm_eps": "norm_epsilon",
    "rope_theta": "rope_theta",
}
# The model knows one task and needs no words about it: the system's message is left out.
_TEMPLATE = (
    "{% for message in messages %}{% if message['role'] == 'user' %}"
    + START
    + "{{ message['content'] }}{% endif %}{% endfor %}"
)


def write_describer(model: Describer, tokenizer: Tokenizer, folder: Path) -> None:
    """`read_describer` reads it back; so does whoever reads Llama models. Weights come last."""
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / CONFIG, _config(model.shape))
    write_json(
        folder / "generation_config.json",
        {"bos_token_id": START_ID, "eos_token_id": END_ID, "pad_token_id": PAD_ID},
    )
    write_whole(folder / TOKENIZER, lambda part: tokenizer.save(str(part)))
    write_json(
        folder / "tokenizer_config.json",
        {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "bos_token": START,
            "eos_token": END,
            "pad_token": PAD,
            "model_max_length": model.shape.positions,
            "clean_up_tokenization_spaces": False,
            "chat_template": _TEMPLATE,
        },
    )
    write_tensors(folder / WEIGHTS, dict(model.state_dict()))


def read_describer(folder: Path) -> tuple[Describer, Tokenizer]:
    """Raises NotFound if the folder holds no model."""
    raw = read_json(folder / CONFIG)
    if not (folder / WEIGHTS).exists():
        raise NotFound(f"{folder / WEIGHTS} does not exist; train first")
    model = Describer(DescriberShape(**{ours: raw[theirs] for theirs, ours in _FIELDS.items()}))
    model.load_state_dict(load_file(folder / WEIGHTS))
    return model, Tokenizer.from_file(str(folder / TOKENIZER))


def write_adapter(
    tensors: dict[str, torch.Tensor], folder: Path, *, rank: int, alpha: int, base: str
) -> None:
    """LoRA matrices by PEFT's names, as vLLM loads them. The configuration comes last."""
    folder.mkdir(parents=True, exist_ok=True)
    write_tensors(folder / ADAPTER_WEIGHTS, tensors)
    modules = sorted({name.split(".lora_")[0].rsplit(".", 1)[-1] for name in tensors})
    config: dict[str, Any] = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": base,
        "r": rank,
        "lora_alpha": alpha,
        "lora_dropout": 0.0,
        "bias": "none",
        "target_modules": modules,
        "inference_mode": True,
    }
    write_json(folder / ADAPTER_CONFIG, config)


def write_tensors(file: Path, tensors: dict[str, torch.Tensor]) -> None:
    """As safetensors, whole or not at all."""
    plain = {name: each.detach().contiguous() for name, each in tensors.items()}
    write_whole(file, lambda part: save_file(plain, part, metadata={"format": "pt"}))


def _config(shape: DescriberShape) -> dict[str, Any]:
    return {theirs: getattr(shape, ours) for theirs, ours in _FIELDS.items()} | {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "num_key_value_heads": shape.heads,
        "head_dim": shape.width // shape.heads,
        "hidden_act": "silu",
        "tie_word_embeddings": True,
        "attention_bias": False,
        "mlp_bias": False,
        "rope_scaling": None,
        "rope_parameters": {"rope_type": "default", "rope_theta": shape.rope_theta},
        "bos_token_id": START_ID,
        "eos_token_id": END_ID,
        "pad_token_id": PAD_ID,
        "dtype": "float32",
    }
