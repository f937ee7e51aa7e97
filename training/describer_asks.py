"""Describer asks: how well a description model answers questions about products it never saw.

Answers are written greedily, without constrained generation, and read and judged as the door does.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from tokenizers import Tokenizer

from shop.asking.judging import judge
from shop.asking.sentences import SentenceReader
from shop.descriptions.style import StyleGuide
from training.describer_report import write
from training.models.describer import Describer
from training.texts.asks import MOST_PRODUCTS, Asked, draw_ask
from training.texts.shelves import Shelf
from training.texts.tokens import END_ID, START_ID

_PROMPTS_AT_ONCE = 24
_MAX_ANSWER = 240  # tokens, as answers get
_STYLE = StyleGuide()


@dataclass(frozen=True, slots=True)
class Answered:
    """What became of some questions; all are shares, 0 to 1."""

    told: float  # of the products that tell what is asked, that standing sentences tell it of
    silent: float  # of the questions that nothing answers, those without a standing sentence
    stands: float  # of the sentences written, those that would be said


@dataclass(frozen=True, slots=True)
class Counts:
    """Of one answer."""

    wanted: int
    told: int
    written: int
    standing: int


def held_out_asks(shelves: Sequence[Shelf], source: str, count: int, seed: int) -> list[Asked]:
    """Questions about products of the source that are never learnt from."""
    rng = np.random.default_rng([seed, 11])
    held_out = [each for each in shelves if each.source == source and each.is_held_out]
    if not held_out:
        return []
    most = min(MOST_PRODUCTS, len(held_out))
    drawn = (rng.choice(len(held_out), 1 + at % most, replace=False) for at in range(count))
    return [draw_ask([held_out[at] for at in chosen.tolist()], rng) for chosen in drawn]


def answered(model: Describer, tokenizer: Tokenizer, asks: Sequence[Asked]) -> Answered:
    """By what the model writes; prompts that it has no room for are left out."""
    encoded = [
        (START_ID, *tokenizer.encode(each.prompt, add_special_tokens=False).ids) for each in asks
    ]
    fit = [at for at, ids in enumerate(encoded) if len(ids) + _MAX_ANSWER <= model.shape.positions]
    counts = []
    for start in range(0, len(fit), _PROMPTS_AT_ONCE):
        chosen = fit[start : start + _PROMPTS_AT_ONCE]
        for at, tokens in zip(
            chosen, write(model, [encoded[at] for at in chosen], _MAX_ANSWER), strict=True
        ):
            text = tokenizer.decode([token for token in tokens if token != END_ID])
            counts.append(count(asks[at], text))
    return shares(counts)


def count(asked: Asked, written: str) -> Counts:
    """What an answer says of what it was to say."""
    said = SentenceReader().feed(written)
    judged = [(each.product, judge(each, asked.products, _STYLE)) for each in said]
    standing = [(number, each) for number, each in judged if each.stands]
    wanted = {each.product for each in asked.sentences}
    told = {number for number, each in standing if asked.name in each.told}
    return Counts(len(wanted), len(wanted & told), len(said), len(standing))


def shares(counts: Sequence[Counts]) -> Answered:
    """Of all answers together; 1 where there was nothing to be wrong about."""
    wanted = sum(each.wanted for each in counts)
    written = sum(each.written for each in counts)
    unanswerable = [each for each in counts if not each.wanted]
    return Answered(
        told=sum(each.told for each in counts) / wanted if wanted else 1.0,
        silent=(
            sum(not each.standing for each in unanswerable) / len(unanswerable)
            if unanswerable
            else 1.0
        ),
        stands=sum(each.standing for each in counts) / written if written else 1.0,
    )
