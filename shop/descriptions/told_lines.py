"""Told lines: places where a text tells a line of the facts by its name, rightly or wrongly.

"Dial colour: beige" is the line itself and needs no further tracing; "dial colour: black" is a
contradiction even where black is the colour of the strap.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

from shop.descriptions.fact_index import FactIndex, Line, Stems, stands_in
from shop.descriptions.negation import is_negated
from shop.descriptions.plain_words import PLAIN_WORDS
from shop.descriptions.quantities import quantities_in
from shop.descriptions.words import Word, stem

_MARKED = re.compile(r"\s*(?::|=|\s[–—-]\s)\s*")  # "name: value", "name – value"
_SEGMENT_END = re.compile(r"[;·•|\n()]|[.,:](?!\d)|\s[–—]\s")
_IS = frozenset(stem(word) for word in ("is", "are"))


@dataclass(frozen=True, slots=True)
class Told:
    """A line's value in a text; `span` is name and value together."""

    line: str
    is_right: bool
    start: int  # of the value
    end: int
    span: tuple[int, int]


def told_lines(text: str, words: tuple[Word, ...], facts: FactIndex) -> tuple[Told, ...]:
    """All of them, in order; none overlaps another."""
    found: list[Told] = []
    by_first: dict[str, list[Line]] = {}
    for line in facts.lines:
        if line.name_stems and line.stems:
            by_first.setdefault(line.name_stems[0], []).append(line)
    for lines in by_first.values():
        lines.sort(key=lambda line: -len(line.name_stems))
    for at, word in enumerate(words):
        if found and word.start < found[-1].span[1]:
            continue
        told = _told_at(text, words, at, by_first.get(word.stem, ()), facts)
        if told is not None:
            found.append(told)
    return tuple(found)


def title_spans(words: tuple[Word, ...], facts: FactIndex) -> list[tuple[int, int]]:
    """Where the product is called by its whole title: what stands there is its name."""
    titles = (line.stems for line in facts.lines if line.name == "title" and len(line.stems) > 1)
    return [
        (words[at].start, words[at + len(title) - 1].end)
        for title in titles
        for at in range(len(words) - len(title) + 1)
        if _stems(words, at, len(title)) == title
    ]


def _told_at(
    text: str, words: tuple[Word, ...], at: int, lines: list[Line] | tuple[()], facts: FactIndex
) -> Told | None:
    named = [each for each in lines if _stems(words, at, len(each.name_stems)) == each.name_stems]
    if not named or is_negated(text, words, at, 1):
        return None
    length = len(named[0].name_stems)
    named = [each for each in named if len(each.name_stems) == length]
    for read in (_after_mark, _after_is, _before_brackets):
        for line in named:
            told = read(text, words, at, line)
            if told is not None:
                return told
    return _mistold(text, words, at, named, facts)


def _after_mark(text: str, words: tuple[Word, ...], at: int, line: Line) -> Told | None:
    value = at + len(line.name_stems)
    if value >= len(words) or not _MARKED.fullmatch(text, words[value - 1].end, words[value].start):
        return None
    return _right(text, words, at, value, line)


def _after_is(text: str, words: tuple[Word, ...], at: int, line: Line) -> Told | None:
    """ "its width is 80 cm", "for width we note 80 cm", "we list its width as 80 cm"."""
    after = at + len(line.name_stems)
    for skipped in (("is",), ("are",), ("we", "note"), ("as",)):
        wanted = tuple(stem(word) for word in skipped)
        value = after + len(wanted)
        if _stems(words, after, len(wanted)) == wanted and value < len(words):
            return _right(text, words, at, value, line)
    return None


def _before_brackets(text: str, words: tuple[Word, ...], at: int, line: Line) -> Told | None:
    """ "80 cm (width)"."""
    last = at + len(line.name_stems) - 1
    if not _is_bracketed(text, words[at], words[last]):
        return None
    first = at - len(line.stems)
    if first < 0 or _stems(words, first, len(line.stems)) != line.stems:
        return None
    span = (words[first].start, words[last].end)
    return Told(line.name, True, words[first].start, words[at - 1].end, span)


def _right(text: str, words: tuple[Word, ...], at: int, value: int, line: Line) -> Told | None:
    """The value as it is, or cut where the text's own part ends."""
    matched = 0
    while (
        matched < len(line.stems)
        and value + matched < len(words)
        and words[value + matched].stem == line.stems[matched]
    ):
        matched += 1
    if matched == 0:
        return None
    last = words[value + matched - 1]
    if matched < len(line.stems):
        end = _SEGMENT_END.search(text, last.end)
        rest = text[last.end : end.start() if end else len(text)]
        if any(character.isalnum() for character in rest):
            return None
    return Told(line.name, True, words[value].start, last.end, (words[at].start, last.end))


def _mistold(
    text: str, words: tuple[Word, ...], at: int, named: list[Line], facts: FactIndex
) -> Told | None:
    """Another value where the name says which was to come."""
    value = at + len(named[0].name_stems)
    last = words[value - 1]
    if value < len(words) and _MARKED.fullmatch(text, last.end, words[value].start):
        found = _SEGMENT_END.search(text, words[value].start)
        end = found.start() if found else len(text)
        said = tuple(word.stem for word in words[value:] if word.end <= end)
        told = text[words[value].start : end].rstrip()
        if not said or any(_says_so(line, said, told) for line in named):
            return None
        if _names_product(said, facts):  # "From the Alba collection: the Alba lamp"
            return None
        return _wrong(named[0], words, at, words[value].start, words[value].start + len(told))
    if _is_bracketed(text, words[at], last) and at > 0:
        start = max((m.end() for m in _SEGMENT_END.finditer(text, 0, words[at - 1].start)), default=0)  # fmt: skip  # noqa: E501
        said = tuple(word.stem for word in words[:at] if word.start >= start)
        told = text[start : words[at - 1].end]
        said = said[-max(len(line.stems) for line in named) :]
        if not said:
            return None
        right = next((line for line in named if _says_so(line, said, told)), None)
        if right is not None:
            first = words[at - len(said)].start
            return Told(right.name, True, first, words[at - 1].end, (first, last.end))
        return _wrong(named[0], words, at, words[at - len(said)].start, words[at - 1].end)
    if value + 1 < len(words) and words[value].stem in _IS:
        end = min(len(words), value + 1 + max(len(line.stems) for line in facts.lines))
        said = tuple(word.stem for word in words[value + 1 : end])
        for other in facts.lines:
            swapped = said[: len(other.stems)] == other.stems and other not in named
            if swapped and not set(other.stems) <= _plain_stems():
                stop = words[value + len(other.stems)].end
                return _wrong(named[0], words, at, words[value + 1].start, stop)
    return None


def _names_product(said: Stems, facts: FactIndex) -> bool:
    named = said[1:] if said[0] in ("the", "a", "an") else said
    titles = (line.stems for line in facts.lines if line.name == "title")
    return any(named[: len(title)] == title or stands_in(named, title) for title in titles)


def _wrong(line: Line, words: tuple[Word, ...], at: int, start: int, end: int) -> Told:
    name = words[at : at + len(line.name_stems)]
    span = (min(start, name[0].start), max(end, name[-1].end))
    return Told(line.name, False, start, end, span)


def _says_so(line: Line, said: Stems, told: str) -> bool:
    """Whether what stands there is part of the value, begins with it, or is the same quantity."""
    if stands_in(said, line.stems) or said[: len(line.stems)] == line.stems:
        return True
    numbers = quantities_in(told)
    return bool(numbers) and all(
        any(number.agrees_with(known) for known in line.quantities) for number in numbers
    )


def _is_bracketed(text: str, first: Word, last: Word) -> bool:
    return text[: first.start].endswith("(") and text[last.end :].startswith(")")


def _stems(words: tuple[Word, ...], at: int, length: int) -> Stems:
    return tuple(word.stem for word in words[at : at + length])


@cache
def _plain_stems() -> frozenset[str]:
    return frozenset(stem(word) for word in PLAIN_WORDS)


def value_stands(line: Line, stems: Iterator[str] | Stems) -> bool:
    """Whether a page with these stems tells the line's value as it is: never by a number alone."""
    is_worded = any(one.isalpha() and one not in ("yes", "no") for one in line.stems)
    return is_worded and stands_in(line.stems, tuple(stems))
