"""Brand: how much a text sounds like the shop, by logistic regression on hashed words.

Features are single words, pairs of words and the ways of shouting, hashed into a fixed number of
columns (Weinberger et al. 2009, feature hashing); names, numbers and the product's own words are
left out, so that the score is of the voice and not of the product.
Shapes: F feature columns.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from shop.descriptions.facts import Facts
from shop.descriptions.words import words_of

COLUMNS = 1 << 14
_SHOUTED = re.compile(r"\b[A-Z]{4,}\b")
_LINKED = re.compile(r"(?<=\w)\s+(?=\w)")


@dataclass(frozen=True, slots=True, eq=False)
class BrandModel:
    """A trained voice."""

    weights: NDArray[np.float32]  # [F]
    bias: float
    version: str

    def score(self, text: str, facts: Facts) -> float:
        """Probability, 0 to 1, that the shop's own writers wrote this."""
        columns = brand_columns(text, facts)
        if columns.size == 0:
            return 0.5
        logit = float(self.weights[columns].sum()) / float(np.sqrt(columns.size)) + self.bias
        return float(1.0 / (1.0 + np.exp(-np.clip(logit, -30.0, 30.0))))


def brand_columns(text: str, facts: Facts) -> NDArray[np.int64]:
    """[n] distinct columns of one text's features, ascending."""
    own = {
        word.stem
        for attribute in facts.lines
        for part in (attribute.name, attribute.text)
        for word in words_of(part)
    }
    stems = [
        "<own>" if word.stem in own or word.stem.isdigit() else word.stem for word in words_of(text)
    ]
    features = [*stems, *(f"{a} {b}" for a, b in pairwise(stems))]
    features += _manners(text)
    return np.unique(np.array([crc32(each.encode()) % COLUMNS for each in features], np.int64))


def _manners(text: str) -> list[str]:
    words = max(len(_LINKED.findall(text)), 1)
    found = []
    if text.count("!"):
        found.append(f"<bangs {min(text.count('!'), 3)}>")
    if "!!" in text or "?!" in text:
        found.append("<shouting marks>")
    if _SHOUTED.search(text):
        found.append(f"<shouted {min(len(_SHOUTED.findall(text)), 3)}>")
    if re.search(r"[\U0001F300-\U0001FAFF\u2600-\u27BF]", text):
        found.append("<pictures>")
    if words > 4 and text == text.lower():
        found.append("<no capitals>")
    if "..." in text or "…" in text:
        found.append("<trailing off>")
    return found


def fit_brand(
    texts: Sequence[NDArray[np.int64]],
    is_ours: NDArray[np.bool_],
    *,
    version: str,
    rounds: int = 300,
    step: float = 0.5,
    shrink: float = 1e-4,
) -> BrandModel:
    """Weights by full-batch gradient descent on the logistic loss, each class weighing half.

    `texts` are `brand_columns` of each text. A few thousand texts take a second.
    """
    rows = np.repeat(np.arange(len(texts)), [each.size for each in texts])
    columns = np.concatenate(list(texts)) if texts else np.zeros(0, np.int64)
    value = 1.0 / np.sqrt(np.array([max(each.size, 1) for each in texts], np.float64))
    target = is_ours.astype(np.float64)
    share = np.where(is_ours, 0.5 / max(target.sum(), 1), 0.5 / max((1 - target).sum(), 1))
    weights, bias = np.zeros(COLUMNS), 0.0
    for _ in range(rounds):
        logits = value * np.bincount(rows, weights[columns], minlength=len(texts)) + bias
        error = share * (1.0 / (1.0 + np.exp(-logits)) - target)
        slope = np.bincount(columns, (error * value)[rows], minlength=COLUMNS)
        weights -= step * len(texts) ** 0.5 * (slope + shrink * weights)
        bias -= step * float(error.sum())
    return BrandModel(weights.astype(np.float32), bias, version)


def auc(scores: NDArray[np.float64], is_ours: NDArray[np.bool_]) -> float:
    """Probability that one of ours scores above one of the others; ties count half."""
    ours, others = scores[is_ours], scores[~is_ours]
    ordered = np.sort(others)
    below = np.searchsorted(ordered, ours, side="left")
    ties = np.searchsorted(ordered, ours, side="right") - below
    return float((below + 0.5 * ties).sum() / (ours.size * others.size))
