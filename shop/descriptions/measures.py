"""Measures: what a number in a text is said to be a measure of, and what a line tells it of."""

import re
from collections.abc import Iterable
from functools import cache

from shop.descriptions.claim_words import MEASURE_WORDS
from shop.descriptions.fact_index import Line
from shop.descriptions.quantities import Quantity
from shop.descriptions.words import Word, stem

# Measures of which no line tells but those that name them: 80 cm of anything else are no length.
OUTER_MEASURES = frozenset(
    ("width", "height", "depth", "length", "thickness", "weight", "diameter", "warranty")
)
# Whoever says these speaks of a line, so there must be one: not "Width – sporty".
_OF_A_LINE = tuple(
    stem(word)
    for word in (
        *("width", "height", "depth", "length", "thickness", "weight", "diameter"),
        *("warranty", "guarantee", "care"),
    )
)
_CLAUSE_ENDS = re.compile(
    r"\.(?!\d)|[;!?·•\n()]|,(?!\d)|\s[–—]\s|\band\b|\bwith\b(?!\s+a\s+(?:width|height|depth|length))"
)
_NAME_BEHIND = re.compile(r"\s*\(([^()\d]*)\)")  # "80 cm (width)"


def measures_named(text: str, said: Quantity, words: tuple[Word, ...]) -> frozenset[str]:
    """What the clause around a number says that it measures."""
    starts = [m.end() for m in _CLAUSE_ENDS.finditer(text, 0, said.start)]
    start = starts[-1] if starts else 0
    bracketed = _NAME_BEHIND.match(text, said.end)
    after = _CLAUSE_ENDS.search(text, bracketed.end(1) if bracketed else said.end)
    end = after.start() if after else len(text)
    inside = (word.stem for word in words if start <= word.start and word.end <= end)
    measures = _measure_stems()
    return frozenset(measures[one] for one in inside if one in measures)


def measures_of(line: Line) -> frozenset[str]:
    """What a line tells the measure of, by its name."""
    measures = _measure_stems()
    return frozenset(measures[one] for one in line.name_stems if one in measures)


def measures_told(line: Line) -> frozenset[str]:
    """The same by its name or in its value: "80 cm wide"."""
    measures = _measure_stems()
    return frozenset(measures[one] for one in (*line.name_stems, *line.stems) if one in measures)


def untold_names(lines: Iterable[Line]) -> frozenset[str]:
    """Stems of words that name a measure, a guarantee or care where no line tells of it."""
    measures, told = _measure_stems(), set[str]()
    for line in lines:
        stems = {*line.name_stems, *line.stems}
        told |= stems | {measures[one] for one in stems if one in measures}
    return frozenset(one for one in _OF_A_LINE if one not in told and measures.get(one) not in told)


@cache
def _measure_stems() -> dict[str, str]:
    return {stem(word): measure for word, measure in MEASURE_WORDS.items()}
