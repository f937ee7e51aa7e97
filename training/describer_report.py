"""Describer report: how well a description model foretells and covers what it never saw.

Perplexity is of the answers' tokens. Coverage is the share of a product's attributes whose value
stands, as it is, on the page that the model writes (greedily, without constrained generation: what
is measured is the model, not what holds it).

Shapes: B prompts, T tokens, S tokens so far.
"""

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from tokenizers import Tokenizer
from torch import Tensor

from shop.descriptions.facts import Facts
from shop.descriptions.tellings import plain
from training.algorithms.describer import answer_loss
from training.models.describer import Describer, Past
from training.texts.pairs import Pair
from training.texts.tokens import END_ID, PAD_ID, batch_of, batches, encode

_TOKENS_AT_ONCE = 8_192
_PROMPTS_AT_ONCE = 24
_MAX_ANSWER = 420


@dataclass(frozen=True, slots=True)
class Coverage:
    """What the pages of some products tell of them."""

    attributes: float  # share of the values that stand on the page, mean over products
    readable: float  # share of the answers that are the JSON object asked for
    finished: float  # share that ended by themselves


@torch.no_grad()
def perplexity(model: Describer, tokenizer: Tokenizer, pairs: Sequence[Pair]) -> float:
    """exp of the mean negative log-likelihood of an answer's token."""
    total, count = 0.0, 0
    encoded = encode(tokenizer, pairs)
    for group in batches(encoded, _TOKENS_AT_ONCE, model.shape.positions):
        batch = batch_of(group)
        judged = int((batch.targets >= 0).sum())
        total += float(answer_loss(model, batch)) * judged
        count += judged
    return math.exp(total / max(count, 1))


def coverage(
    model: Describer,
    tokenizer: Tokenizer,
    pairs: Sequence[Pair],
    advance: Callable[[float], None] = lambda _: None,
) -> Coverage:
    """Of the pages that the model writes for these prompts."""
    ordered = sorted(encode(tokenizer, pairs), key=lambda each: len(each.prompt))
    facts = {each.prompt: pair.facts for each, pair in zip(encode(tokenizer, pairs), pairs, strict=True)}  # fmt: skip  # noqa: E501
    covered, readable, finished = 0.0, 0, 0
    for start in range(0, len(ordered), _PROMPTS_AT_ONCE):
        prompts = [each.prompt for each in ordered[start : start + _PROMPTS_AT_ONCE]]
        for prompt, answer in zip(prompts, write(model, prompts, _MAX_ANSWER), strict=True):
            text = tokenizer.decode([token for token in answer if token != END_ID])
            covered += covered_share(facts[prompt], text)
            readable += _is_readable(text)
            finished += answer[-1:] == [END_ID]
        advance(start / len(ordered))
    count = max(len(ordered), 1)
    return Coverage(covered / count, readable / count, finished / count)


def covered_share(facts: Facts, page: str) -> float:
    """Share (0..1) of the attributes whose whole value stands on the page; 1 without any."""
    shown = page.casefold()
    told = [plain(each.text).casefold() in shown for each in facts.attributes]
    return sum(told) / len(told) if told else 1.0


@torch.no_grad()
def write(model: Describer, prompts: Sequence[tuple[int, ...]], most: int) -> list[list[int]]:
    """The likeliest continuation of each prompt, with the end if it comes to one."""
    longest = max(map(len, prompts))
    tokens = torch.full((len(prompts), longest), PAD_ID)
    is_real = torch.zeros((len(prompts), longest), dtype=torch.bool)
    for row, prompt in enumerate(prompts):  # padded in front, so that all go on at the same place
        tokens[row, longest - len(prompt) :] = torch.tensor(prompt)
        is_real[row, longest - len(prompt) :] = True
    most = min(most, model.shape.positions - longest)
    past = Past.empty()
    written = torch.full((len(prompts), max(most, 0)), END_ID)
    ended = torch.zeros(len(prompts), dtype=torch.bool)
    for at in range(most):
        count = tokens.shape[1]
        positions = (is_real.long().cumsum(1) - 1).clamp(min=0)[:, -count:]
        states = model(tokens, positions, _visible(is_real, count), past)
        chosen = model.logits(states[:, -1]).argmax(-1)
        written[:, at] = torch.where(ended, END_ID, chosen)
        ended |= chosen == END_ID
        if bool(ended.all()):
            break
        tokens = chosen[:, None]
        is_real = torch.cat((is_real, torch.ones_like(is_real[:, :1])), dim=1)
    return [_until_end(row) for row in written.tolist()]


def _visible(is_real: Tensor, count: int) -> Tensor:
    """[B, T, S] what the last `count` tokens of is_real [B, S] see; padding sees itself."""
    so_far = is_real.shape[1]
    causal = torch.ones(so_far, so_far, dtype=torch.bool).tril()[-count:]
    own = torch.eye(so_far, dtype=torch.bool)[-count:]
    return (causal & is_real[:, None]) | own


def _until_end(tokens: list[int]) -> list[int]:
    return tokens[: tokens.index(END_ID) + 1] if END_ID in tokens else tokens


def _is_readable(text: str) -> bool:
    try:
        raw = json.loads(text)
    except ValueError:
        return False
    return isinstance(raw, dict) and set(raw) == {"opening", "bullets", "close"}
