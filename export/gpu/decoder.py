"""Decoder: a language model of Llama's architecture, made to read its weights once per token.

At batch 1 a decoded token costs what it takes to read every weight: that is the floor, and the form
here is for staying near it. Products that read the same input are one matrix (query, key, value;
gate, up), the cache of keys and values has a fixed place, and the position is a tensor, so that a
whole step can be recorded as one CUDA graph and the next token stays on the device.

RMSNorm (Zhang & Sennrich 2019), rotary positions (Su 2021), grouped queries (Ainslie 2023), SwiGLU
(Shazeer 2020), composed as in Llama 3 (Grattafiori 2024). Weights are drawn, not learnt.

Shapes: E embedding, H query heads, G key heads, D of a head, F feed-forward, V vocabulary, T places
of the cache, L layers. Batch 1 throughout.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

Product = Callable[[Tensor, Tensor], Tensor]
"""[1, O] of an input [1, I] and weights [O, I]: `torch.nn.functional.linear`, or quicker."""


@dataclass(frozen=True, slots=True)
class DecoderShape:
    """How large it is."""

    layers: int
    embedding: int
    heads: int
    key_heads: int
    feed_forward: int
    vocabulary: int
    places: int  # of the cache
    rope_theta: float = 500_000.0
    epsilon: float = 1e-5

    @property
    def head_size(self) -> int:
        """D."""
        return self.embedding // self.heads


EIGHT_B = DecoderShape(  # Llama 3.1 8B
    layers=32,
    embedding=4_096,
    heads=32,
    key_heads=8,
    feed_forward=14_336,
    vocabulary=128_256,
    places=1_024,
)
TINY = DecoderShape(
    layers=3,
    embedding=64,
    heads=8,
    key_heads=2,
    feed_forward=160,
    vocabulary=96,
    places=24,
)


class _Layer(nn.Module):
    """One block. `weights` are drawn in the type and on the device of the whole."""

    def __init__(self, shape: DecoderShape, drawn: "Drawn", product: Product) -> None:
        super().__init__()
        self.shape, self.product = shape, product
        kept = shape.key_heads * shape.head_size
        self.before_attention_E, self.before_feed_forward_E = drawn.ones(), drawn.ones()
        self.qkv_OE = drawn.matrix(shape.embedding + 2 * kept, shape.embedding)
        self.out_EE = drawn.matrix(shape.embedding, shape.embedding)
        self.gate_up_OE = drawn.matrix(2 * shape.feed_forward, shape.embedding)
        self.down_EF = drawn.matrix(shape.embedding, shape.feed_forward)
        places = (shape.key_heads, shape.places, shape.head_size)
        self.keys_GTD: Tensor
        self.values_GTD: Tensor
        self.register_buffer("keys_GTD", drawn.zeros(*places))
        self.register_buffer("values_GTD", drawn.zeros(*places))

    def forward(
        self, state_1E: Tensor, place_1: Tensor, turn_2D: Tensor, unseen_T: Tensor
    ) -> Tensor:
        """The state after this block; the cache holds this place's key and value from here on."""
        shape = self.shape
        kept = shape.key_heads * shape.head_size
        normed = rms_norm(state_1E, self.before_attention_E, shape.epsilon)
        query, key, value = self.product(normed, self.qkv_OE).split(
            (shape.embedding, kept, kept), dim=-1
        )
        query_HD = turned(query.view(shape.heads, shape.head_size), turn_2D)
        key_G1D = turned(key.view(shape.key_heads, shape.head_size), turn_2D)[:, None]
        self.keys_GTD.index_copy_(1, place_1, key_G1D)
        self.values_GTD.index_copy_(1, place_1, value.view(shape.key_heads, 1, shape.head_size))
        attended = self._attended(query_HD, unseen_T)
        state_1E = state_1E + self.product(attended, self.out_EE)
        normed = rms_norm(state_1E, self.before_feed_forward_E, shape.epsilon)
        gate, up = self.product(normed, self.gate_up_OE).chunk(2, dim=-1)
        return state_1E + self.product(nn.functional.silu(gate) * up, self.down_EF)

    def _attended(self, query_HD: Tensor, unseen_T: Tensor) -> Tensor:
        """[1, E]. Plain products: the cache is megabytes to read, the weights are gigabytes."""
        shape = self.shape
        query_GRD = query_HD.view(shape.key_heads, -1, shape.head_size)
        scores = query_GRD @ self.keys_GTD.transpose(1, 2) * shape.head_size**-0.5
        shares = torch.softmax((scores + unseen_T).to(_wide(scores)), dim=-1).to(scores.dtype)
        return (shares @ self.values_GTD).reshape(1, shape.embedding)


class _Head(nn.Module):
    """From the last state to logits."""

    def __init__(self, shape: DecoderShape, drawn: "Drawn", product: Product) -> None:
        super().__init__()
        self.shape, self.product = shape, product
        self.last_E = drawn.ones()
        self.logits_VE = drawn.matrix(shape.vocabulary, shape.embedding)

    def forward(self, state_1E: Tensor) -> Tensor:
        """Logits [1, V], float32 at least."""
        normed = rms_norm(state_1E, self.last_E, self.shape.epsilon)
        logits = self.product(normed, self.logits_VE)
        return logits.to(_wide(logits))


class Decoder(nn.Module):
    """A token at a place in, the logits of the next one out."""

    def __init__(
        self,
        shape: DecoderShape,
        *,
        dtype: torch.dtype,
        device: torch.device,
        seed: int,
        product: Product = nn.functional.linear,
    ) -> None:
        super().__init__()
        self.shape = shape
        drawn = Drawn(shape, dtype, device, seed)
        self.embedding_VE = drawn.matrix(shape.vocabulary, shape.embedding)
        self.layers = nn.ModuleList(_Layer(shape, drawn, product) for _ in range(shape.layers))
        self.head = _Head(shape, drawn, product)
        cosines, sines = rotary_table(shape, device)
        self.turns_T2D: Tensor
        self.places_T: Tensor
        self.register_buffer("turns_T2D", torch.stack([cosines, sines], dim=1).to(dtype))
        self.register_buffer("places_T", torch.arange(shape.places, device=device))

    @property
    def read_bytes(self) -> int:
        """What one token must read: every weight but the embeddings of the other tokens."""
        weights = sum(each.numel() * each.element_size() for each in self.parameters())
        return weights - self.embedding_VE.numel() * self.embedding_VE.element_size()

    def forward(self, token_1: Tensor, place_1: Tensor) -> Tensor:
        """Logits [1, V], float32 at least, after `token_1` at `place_1` (int64, both [1]).

        Places are taken one after the other from 0; what lies beyond is not looked at.
        """
        state_1E = self.embedding_VE[token_1]
        turn_2D = self.turns_T2D[place_1][0]
        unseen_T = torch.where(self.places_T > place_1, -torch.inf, 0.0).to(state_1E.dtype)
        for layer in self.layers:
            state_1E = layer(state_1E, place_1, turn_2D, unseen_T)
        logits: Tensor = self.head(state_1E)
        return logits

    def parts(self) -> "list[_Layer | _Head]":
        """What reads weights: each may be compiled by itself, and all layers are alike."""
        return [*(cast(_Layer, layer) for layer in self.layers), self.head]


class Greedy(nn.Module):
    """Tokens one after the other, each the likeliest; token and place stay on the device."""

    def __init__(self, decoder: Decoder, *, first: int = 1) -> None:
        super().__init__()
        self.decoder = decoder
        device = decoder.places_T.device
        self.token_1: Tensor
        self.place_1: Tensor
        self.register_buffer("token_1", torch.tensor([first], device=device))
        self.register_buffer("place_1", torch.zeros(1, dtype=torch.int64, device=device))

    def forward(self) -> Tensor:
        """Logits [1, V] after the present token, which is followed by the likeliest; after the
        last place comes the first again, as if nothing had been said."""
        logits: Tensor = self.decoder(self.token_1, self.place_1)
        self.token_1.copy_(logits.argmax(dim=-1))
        self.place_1.copy_((self.place_1 + 1) % self.decoder.shape.places)
        return logits


class Drawn:
    """Weights at random, of a size that keeps every state near unit length."""

    def __init__(
        self, shape: DecoderShape, dtype: torch.dtype, device: torch.device, seed: int
    ) -> None:
        self._shape, self._dtype, self._device = shape, dtype, device
        self._generator = torch.Generator(device).manual_seed(seed)

    def matrix(self, rows: int, columns: int) -> nn.Parameter:
        """[rows, columns], normal, with variance 1/columns."""
        drawn = self.zeros(rows, columns)
        drawn.normal_(std=columns**-0.5, generator=self._generator)
        return nn.Parameter(drawn, requires_grad=False)

    def ones(self) -> nn.Parameter:
        """[E] about one: ones would not tell a norm that forgets its weights."""
        drawn = self.zeros(self._shape.embedding)
        return nn.Parameter(
            drawn.uniform_(0.5, 1.5, generator=self._generator), requires_grad=False
        )

    def zeros(self, *shape: int) -> Tensor:
        """Of the type and on the device of the whole."""
        return torch.zeros(shape, dtype=self._dtype, device=self._device)


def rms_norm(state_1E: Tensor, weight_E: Tensor, epsilon: float) -> Tensor:
    """To unit mean square, computed in float32 at least."""
    wide = state_1E.to(_wide(state_1E))
    normed = wide * torch.rsqrt(wide.square().mean(dim=-1, keepdim=True) + epsilon)
    return normed.to(state_1E.dtype) * weight_E


def rotary_table(shape: DecoderShape, device: torch.device) -> tuple[Tensor, Tensor]:
    """Cosines and sines [T, D] in float64; the second half repeats the first."""
    half = torch.arange(0, shape.head_size, 2, device=device, dtype=torch.float64)
    speed = shape.rope_theta ** (-half / shape.head_size)
    places = torch.arange(shape.places, device=device, dtype=torch.float64)
    angle = torch.outer(places, speed).repeat(1, 2)
    return angle.cos(), angle.sin()


def turned(heads_HD: Tensor, turn_2D: Tensor) -> Tensor:
    """Each pair (i, i + D/2) turned by its place's angle."""
    first, second = heads_HD.chunk(2, dim=-1)
    return heads_HD * turn_2D[0] + torch.cat([-second, first], dim=-1) * turn_2D[1]


def _wide(tensor: Tensor) -> torch.dtype:
    """What sums and exponentials are computed in."""
    return torch.float64 if tensor.dtype == torch.float64 else torch.float32
