"""Copying: a start from which a decoder says again what stands before, prior to any training.

A page is mostly values that stand in the prompt. What copies them is an induction head (Olsson et
al. 2022, In-context Learning and Induction Heads, arXiv 2209.11895): a head of the second layer
that looks for the place where the last tokens stood before and takes what followed there, fed by
heads of the first that look one and two tokens back. A small model comes upon that late, if at all
on two cores: after 1,500 steps of pages, 600 of them on nothing but copies, it had not. Written
into the weights (after Trockman & Kolter 2023, Mimetic Initialization, arXiv 2305.09828) it is
there from the first step, and the training only has to learn what to copy when.

Shapes: D width, K width of a head, R rank of what is compared.
"""

import torch
from torch import Tensor

from training.models.describer import Describer, embedding_std

_CONSTANT = 2.0  # of the first number of every token, in standard deviations of the others
_BACK = (1, 2)  # tokens that the heads of the first layer look back
_FAST = 10  # frequencies that tell neighbours apart
_LOOK = 8.0  # how sharply one looks back
_MATCH = 5.0  # how sharply the same tokens are told from others
_WRITTEN = 2.0  # what was found, against the token's own vector
_COPIED = 12.0


@torch.no_grad()
def start_copying(model: Describer) -> None:
    """Sets weights of the first two layers and a number of every token; random ones stay beside.

    The shape needs two layers and two heads at least.
    """
    shape = model.shape
    head = shape.width // shape.heads
    rank = min(head, (shape.width - 1) // (1 + len(_BACK)))
    # All directions but the first, which is the same for every token: heads that look by place
    # alone need something that does not depend on the token. With the matrix that writes tokens
    # tied to the one that reads them, it adds the same to every logit, which changes nothing.
    directions_DD = torch.zeros(shape.width - 1, shape.width)
    directions_DD[:, 1:] = _orthonormal(shape.width - 1)
    read_RD, *noted = directions_DD[: rank * (1 + len(_BACK))].split(rank)
    model.model.embed_tokens.weight[:, 0] = _CONSTANT * embedding_std(shape)
    for at, (back, note_RD) in enumerate(zip(_BACK, noted, strict=True)):
        _look_back(model, at, back, read_RD, note_RD)
        _copy_what_followed(model, at, read_RD, noted)


def _look_back(model: Describer, at: int, back: int, read_RD: Tensor, note_RD: Tensor) -> None:
    """Head `at` of the first layer notes the token `back` places before."""
    shape, layer = model.shape, model.model.layers[0].self_attn
    head = shape.width // shape.heads
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


def _copy_what_followed(model: Describer, at: int, read_RD: Tensor, noted: list[Tensor]) -> None:
    """Head `at` of the second layer finds where the last two tokens stood, and says what followed.

    It compares the token with what a place notes as the one before, and what the token notes as the
    one before with what the place notes as two before, in the numbers that turn slowest.
    """
    shape, layer = model.shape, model.model.layers[1].self_attn
    head = shape.width // shape.heads
    first, half = at * head, head // 2
    slow = torch.arange(half // 2, half)
    compared = min(slow.numel(), read_RD.shape[0] // len(_BACK))
    part = slice(at * compared, (at + 1) * compared)
    last, before = first + slow[:compared], first + half + slow[:compared]
    for projection in (layer.q_proj, layer.k_proj):
        projection.weight[first : first + head] = 0.0
    one_back, two_back = noted
    layer.q_proj.weight[last] = _MATCH * read_RD[part]
    layer.k_proj.weight[last] = _MATCH * one_back[part]
    layer.q_proj.weight[before] = _MATCH * one_back[part]
    layer.k_proj.weight[before] = _MATCH * two_back[part]
    said_KD = torch.zeros(head, shape.width)
    said_KD[:, 1:] = _orthonormal(shape.width - 1)[:head]
    layer.v_proj.weight[first : first + head] = said_KD
    layer.o_proj.weight[:, first : first + head] = _COPIED * embedding_std(shape) * said_KD.T


def _orthonormal(size: int) -> Tensor:
    """Random directions [size, size]."""
    directions: Tensor = torch.linalg.qr(torch.randn(size, size))[0]
    return directions
