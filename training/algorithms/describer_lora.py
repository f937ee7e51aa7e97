"""Describer LoRA: a small addition to a description model, learnt from a shop's best pages.

Low-rank adaptation (Hu et al. 2021, arXiv 2106.09685): beside each frozen projection W a product
B A of rank r, scaled by alpha / r; B begins at zero, so training begins at the model as it is.

Shapes: r rank, I inputs, O outputs of a projection.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor, nn

from training.algorithms.describer import answer_loss, optimizer_of, rate_at, step
from training.models.describer import Describer
from training.texts.pairs import Pair
from training.texts.tokens import batch_of, batches, encode

_ADAPTED = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
_PREFIX = "base_model.model."  # PEFT's, before the model's own names


@dataclass(frozen=True, slots=True)
class LoraSettings:
    """How much an adapter may change, and how long it is taught."""

    rank: int = 8  # one of vLLM's sizes: 8, 16, 32, …
    alpha: int = 16
    rounds: int = 6  # over all pages
    tokens_at_once: int = 2_048
    rate: float = 1e-3
    warm_up: float = 0.05


class LoraLinear(nn.Module):
    """A frozen projection, and what is learnt beside it."""

    def __init__(self, frozen: nn.Linear, settings: LoraSettings) -> None:
        super().__init__()
        self.frozen = frozen
        self.lora_A = nn.Parameter(torch.empty(settings.rank, frozen.in_features))  # [r, I]
        self.lora_B = nn.Parameter(torch.zeros(frozen.out_features, settings.rank))  # [O, r]
        self.scale = settings.alpha / settings.rank
        nn.init.kaiming_uniform_(self.lora_A, a=5**0.5)

    def forward(self, inputs: Tensor) -> Tensor:
        """As the projection would, plus what was learnt."""
        return self.frozen(inputs) + self.scale * (inputs @ self.lora_A.T) @ self.lora_B.T


def adapt_describer(
    model: Describer,
    tokenizer: Tokenizer,
    pairs: Sequence[Pair],
    settings: LoraSettings,
    *,
    seed: int,
    advance: Callable[[float], None] = lambda _: None,
) -> dict[str, Tensor]:
    """The learnt matrices by PEFT's names; `model` is left with them in place."""
    torch.manual_seed(seed)
    _insert(model, settings)
    optimizer = optimizer_of(model, settings.rate, decay=0.0)
    found = batches(encode(tokenizer, pairs), settings.tokens_at_once, model.shape.positions)
    total = settings.rounds * len(found)
    rng = np.random.default_rng([seed, 9])
    for at in range(total):
        if at % len(found) == 0:
            order = rng.permutation(len(found)).tolist()
        loss = answer_loss(model, batch_of(found[order[at % len(found)]]))
        step(optimizer, loss, rate_at(at / total, settings.rate, settings.warm_up))
        advance(at / total)
    return _learnt(model)


def _insert(model: Describer, settings: LoraSettings) -> None:
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if name in _ADAPTED and isinstance(child, nn.Linear):
                setattr(parent, name, LoraLinear(child, settings))


def _learnt(model: Describer) -> dict[str, Tensor]:
    return {
        f"{_PREFIX}{path}.{which}.weight": getattr(module, which).detach()
        for path, module in model.named_modules()
        if isinstance(module, LoraLinear)
        for which in ("lora_A", "lora_B")
    }
