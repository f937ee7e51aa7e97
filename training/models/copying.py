"""Copying: a start from which a decoder says again what stands before, prior to any training.

A page is mostly values that stand in the prompt. What copies them is an induction head (Olsson et
al. 2022, In-context Learning and Induction Heads, arXiv 2209.11895): a head of the second layer
that looks for the place where the last tokens stood before and takes what followed there, fed by
heads of the first that look some tokens back. A small model comes upon that late, if at all on two
cores: after six rounds, two of them on nothing but copies, it had not. Written into the weights
(after Trockman & Kolter 2023, Mimetic Initialization, arXiv 2305.09828) it is there from the first
step, and the training only has to learn what to copy when.

Shapes: D width, K width of a head, R rank of what is compared.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from training.models.describer import Describer, DescriberShape, embedding_std

_CONSTANT = 2.0  # of the first number of every token, in standard deviations of the others
_MOST_BACK = 4  # tokens that heads of the first layer look back: 1, 2 and so on
_FAST = 10  # frequencies that tell neighbours apart
_LOOK = 8.0  # how sharply one looks back
_MATCH = 6.0  # how sharply the same tokens are told from others
_WRITTEN = 0.7  # what was found, against the token's own vector


@dataclass(frozen=True, slots=True)
class _Find:
    """What a head of the second layer looks for: places that note what this token notes.

    Pairs of how far back: here, and there; 0 is the token itself.
    """

    same: tuple[tuple[int, int], ...]
    copied: float  # how loudly it says what stands there


# The last two tokens stood before: what followed them? Twice, for halves of what a token is.
_FOLLOWED = _Find(((0, 1), (1, 2)), 12.0)
# `Width: ` and `Width is ` here, `width": "80` there: a name, and some tokens on its value.
_FINDS = (_FOLLOWED, _FOLLOWED, _Find(((2, 4),), 6.0), _Find(((3, 4),), 6.0))


@torch.no_grad()
def start_copying(model: Describer) -> None:
    """Sets weights of the first two layers and a number of every token; random ones stay beside.

    The shape needs two layers, and of two heads at least each does what it can.
    """
    shape = model.shape
    backs = min(_MOST_BACK, shape.heads)
    rank = min(_head(shape), (shape.width - 1) // (2 + backs))
    # All directions but the first, which is the same for every token: heads that look by place
    # alone need something that does not depend on the token. With the matrix that writes tokens
    # tied to the one that reads them, it adds the same to every logit, which changes nothing.
    directions_DD = torch.zeros(shape.width - 1, shape.width)
    directions_DD[:, 1:] = _orthonormal(shape.width - 1)
    noted = directions_DD[: rank * (1 + backs)].split(rank)  # [R, D] each: itself, 1 back, …
    tokens_VD = model.model.embed_tokens.weight
    _leave_free(tokens_VD, torch.cat(noted[1:]))
    tokens_VD[:, 0] = _CONSTANT * embedding_std(shape)
    for at in range(backs):
        _look_back(model, at, at + 1, noted[0], noted[at + 1])
    for at, find in enumerate(_FINDS[: shape.heads]):
        if max(max(pair) for pair in find.same) <= backs:
            _copy_from(model, at, find, noted)


def _leave_free(tokens_VD: Tensor, notes_MD: Tensor) -> None:
    """No token has a part where notes of others will stand; each stays about as long as it was."""
    length = tokens_VD.norm()
    tokens_VD -= tokens_VD @ notes_MD.T @ notes_MD
    tokens_VD *= length / tokens_VD.norm()


def _look_back(model: Describer, at: int, back: int, read_RD: Tensor, note_RD: Tensor) -> None:
    """Head `at` of the first layer notes the token `back` places before."""
    shape, layer = model.shape, model.model.layers[0].self_attn
    head = _head(shape)
    first, half, rank = at * head, head // 2, read_RD.shape[0]
    fast = torch.arange(min(_FAST, half))
    angle = back * shape.rope_theta ** (-fast / half)
    for projection in (layer.q_proj, layer.k_proj):
        projection.weight[first : first + head] = 0.0
    strength = _LOOK / _CONSTANT
    layer.q_proj.weight[first + fast, 0] = strength
    # A turned key agrees best with a query that many places on (Su et al. 2021, section 3.4).
    layer.k_proj.weight[first + fast, 0] = strength * angle.cos()
    layer.k_proj.weight[first + half + fast, 0] = strength * angle.sin()
    layer.v_proj.weight[first : first + rank] = read_RD
    written = _WRITTEN * embedding_std(shape)
    layer.o_proj.weight[:, first : first + rank] = written * note_RD.T


def _copy_from(model: Describer, at: int, find: _Find, noted: tuple[Tensor, ...]) -> None:
    """Head `at` of the second layer says what stands at the places that it finds.

    It compares in the numbers that turn slowest, which are nearly the same at all distances.
    """
    shape, layer = model.shape, model.model.layers[1].self_attn
    head = _head(shape)
    first, half = at * head, head // 2
    slow = torch.arange(half // 2, half)
    places = (first + torch.cat((slow, half + slow))).chunk(len(find.same))
    for projection in (layer.q_proj, layer.k_proj):
        projection.weight[first : first + head] = 0.0
    for place, (here, there) in zip(places, find.same, strict=True):
        count = min(place.numel(), noted[0].shape[0])
        part = torch.arange(at * count, (at + 1) * count) % noted[0].shape[0]
        layer.q_proj.weight[place[:count]] = _MATCH * noted[here][part]
        layer.k_proj.weight[place[:count]] = _MATCH * noted[there][part]
    said_KD = torch.zeros(head, shape.width)
    said_KD[:, 1:] = _orthonormal(shape.width - 1)[:head]
    layer.v_proj.weight[first : first + head] = said_KD
    layer.o_proj.weight[:, first : first + head] = find.copied * embedding_std(shape) * said_KD.T


def _head(shape: DescriberShape) -> int:
    """K."""
    return shape.width // shape.heads


def _orthonormal(size: int) -> Tensor:
    """Random directions [size, size]."""
    directions: Tensor = torch.linalg.qr(torch.randn(size, size))[0]
    return directions
