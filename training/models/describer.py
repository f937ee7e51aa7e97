"""Describer: a small decoder of the Llama architecture (Touvron et al. 2023, arXiv 2302.13971).

Its weights carry the names and layout of LlamaForCausalLM, so that vLLM and any other reader of
Hugging Face folders load them: RMS norm before each block, rotary positions in halves, SwiGLU, and
one matrix for reading and for writing tokens.

Shapes: B texts, T tokens of them, S tokens with those before, H heads, K width of a head,
D = H * K, V vocabulary.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@dataclass(frozen=True, slots=True)
class DescriberShape:
    """What fixes the model's parameters."""

    vocabulary: int = 4096
    width: int = 256
    layers: int = 4
    heads: int = 4  # vLLM's kernels on CPUs want 32, 64, 80, 96, 112, 128, 192 or 256 for D / H
    hidden: int = 704
    positions: int = 2048
    rope_theta: float = 10_000.0
    norm_epsilon: float = 1e-5


@dataclass(slots=True, eq=False)
class Past:
    """Keys and values of the tokens before, per layer; grows with every call."""

    keys: list[Tensor]  # each [B, H, S, K]
    values: list[Tensor]

    @staticmethod
    def empty() -> "Past":
        """Before the first token."""
        return Past([], [])

    def extended(self, layer: int, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """All keys and values [B, H, S, K] of a layer, with these [B, H, T, K] at the end."""
        if layer == len(self.keys):
            self.keys.append(key)
            self.values.append(value)
        else:
            self.keys[layer] = torch.cat((self.keys[layer], key), dim=2)
            self.values[layer] = torch.cat((self.values[layer], value), dim=2)
        return self.keys[layer], self.values[layer]


class _Attention(nn.Module):
    def __init__(self, shape: DescriberShape) -> None:
        super().__init__()
        self.heads = shape.heads
        self.q_proj = nn.Linear(shape.width, shape.width, bias=False)
        self.k_proj = nn.Linear(shape.width, shape.width, bias=False)
        self.v_proj = nn.Linear(shape.width, shape.width, bias=False)
        self.o_proj = nn.Linear(shape.width, shape.width, bias=False)

    def forward(
        self,
        x_BTD: Tensor,
        turns: tuple[Tensor, Tensor],
        mask_BTS: Tensor | None,
        past: Past | None,
        layer: int,
    ) -> Tensor:
        query = _turned(self._split(self.q_proj(x_BTD)), turns)
        key = _turned(self._split(self.k_proj(x_BTD)), turns)
        value = self._split(self.v_proj(x_BTD))
        if past is not None:
            key, value = past.extended(layer, key, value)
        mask = mask_BTS[:, None] if mask_BTS is not None else None
        mixed = F.scaled_dot_product_attention(
            query, key, value, attn_mask=mask, is_causal=mask is None
        )
        return self.o_proj(mixed.transpose(1, 2).flatten(2))

    def _split(self, x_BTD: Tensor) -> Tensor:
        return x_BTD.unflatten(-1, (self.heads, -1)).transpose(1, 2)


class _Gated(nn.Module):
    def __init__(self, shape: DescriberShape) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(shape.width, shape.hidden, bias=False)
        self.up_proj = nn.Linear(shape.width, shape.hidden, bias=False)
        self.down_proj = nn.Linear(shape.hidden, shape.width, bias=False)

    def forward(self, x_BTD: Tensor) -> Tensor:
        return self.down_proj(F.silu(self.gate_proj(x_BTD)) * self.up_proj(x_BTD))


class _Layer(nn.Module):
    def __init__(self, shape: DescriberShape) -> None:
        super().__init__()
        self.input_layernorm = nn.RMSNorm(shape.width, shape.norm_epsilon)
        self.self_attn = _Attention(shape)
        self.post_attention_layernorm = nn.RMSNorm(shape.width, shape.norm_epsilon)
        self.mlp = _Gated(shape)

    def forward(
        self,
        x_BTD: Tensor,
        turns: tuple[Tensor, Tensor],
        mask_BTS: Tensor | None,
        past: Past | None,
        layer: int,
    ) -> Tensor:
        x_BTD = x_BTD + self.self_attn(self.input_layernorm(x_BTD), turns, mask_BTS, past, layer)
        return x_BTD + self.mlp(self.post_attention_layernorm(x_BTD))


class _Stem(nn.Module):
    def __init__(self, shape: DescriberShape) -> None:
        super().__init__()
        self.embed_tokens = nn.Embedding(shape.vocabulary, shape.width)
        self.layers = nn.ModuleList(_Layer(shape) for _ in range(shape.layers))
        self.norm = nn.RMSNorm(shape.width, shape.norm_epsilon)


class Describer(nn.Module):
    """Tokens in, the next token's logits out."""

    def __init__(self, shape: DescriberShape) -> None:
        super().__init__()
        self.shape = shape
        self.model = _Stem(shape)
        head = shape.width // shape.heads
        speed = shape.rope_theta ** (-torch.arange(0, head, 2, dtype=torch.float32) / head)
        angle = torch.arange(shape.positions)[:, None] * torch.cat((speed, speed))
        self.register_buffer("_cos_PK", angle.cos(), persistent=False)
        self.register_buffer("_sin_PK", angle.sin(), persistent=False)
        self.apply(_initialised)
        nn.init.normal_(self.model.embed_tokens.weight, std=embedding_std(shape))
        for layer in self.model.layers:  # what flows on stays of one size whatever the depth
            for module in (layer.self_attn.o_proj, layer.mlp.down_proj):
                nn.init.normal_(module.weight, std=0.02 / (2 * shape.layers) ** 0.5)

    def forward(
        self,
        tokens_BT: Tensor,
        positions_BT: Tensor | None = None,
        mask_BTS: Tensor | None = None,
        past: Past | None = None,
    ) -> Tensor:
        """[B, T, D] states before the head. Without a mask every token sees those before it."""
        count = tokens_BT.shape[1]
        if positions_BT is None:
            turns = (self._cos_PK[:count][None, None], self._sin_PK[:count][None, None])
        else:
            turns = (self._cos_PK[positions_BT][:, None], self._sin_PK[positions_BT][:, None])
        x_BTD = self.model.embed_tokens(tokens_BT)
        for at, layer in enumerate(self.model.layers):
            x_BTD = layer(x_BTD, turns, mask_BTS, past, at)
        return self.model.norm(x_BTD)

    def logits(self, x_D: Tensor) -> Tensor:
        """[..., V] of states [..., D]."""
        return F.linear(x_D, self.model.embed_tokens.weight)


def _turned(x_BHTK: Tensor, turns: tuple[Tensor, Tensor]) -> Tensor:
    """Rotary positions (Su et al. 2021), the two halves of a head as real and imaginary parts."""
    cos, sin = turns
    left, right = x_BHTK.chunk(2, dim=-1)
    return x_BHTK * cos + torch.cat((-right, left), dim=-1) * sin


def embedding_std(shape: DescriberShape) -> float:
    """Of a token's numbers at the start: large enough for a copied token to win at once.

    One that is found again adds its own square to its logit, and must outweigh the vocabulary.
    """
    return 1.92 / shape.width**0.5


def _initialised(module: nn.Module) -> None:
    if isinstance(module, nn.Linear):
        nn.init.normal_(module.weight, std=0.02)
