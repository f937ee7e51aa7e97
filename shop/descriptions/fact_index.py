"""Fact index: what a product's facts grant to a text, and what they deny it.

A line grants the phrases of its name and value, and denies those that it negates itself: "compass:
No", "no PVC". A name that only identifies a product (its brand, its model) grants what it says to
who quotes it: a "Canvas Engage" is of no canvas.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from shop.descriptions.facts import Facts
from shop.descriptions.negation import is_negated, says_none
from shop.descriptions.quantities import Quantity, codes_in, quantities_in
from shop.descriptions.words import Word, stem, stems_of, words_of

Stems = tuple[str, ...]
_LABEL_WORDS = frozenset(stems_of(word) for word in ("certified", "certificate", "certification"))
_IDENTITIES = frozenset(
    stem(word) for word in ("brand", "model", "series", "id", "code", "sku", "isbn", "article")
)
_NAMING = frozenset(stem(word) for word in ("by", "from", "brand", "presents", "model"))
_HEADS = ("title", "category", "brand")  # these name the product; they deny nothing
_SOLD_WITH = frozenset({stems_of("sales package"), stems_of("number of contents in sales package")})
_UNTOLD = frozenset(
    stem(word)
    for word in ("included", "includes", "include", "with", "present", "available", "feature")
)


@dataclass(frozen=True, slots=True)
class Grant:
    """What the facts say of a phrase: who grants it, who says otherwise; nobody may."""

    attribute: str | None = None
    contradicts: str | None = None


@dataclass(frozen=True)
class Line:
    """One line of the facts, taken apart once."""

    name: str
    value: str
    stems: Stems  # of the value
    name_stems: Stems
    quantities: tuple[Quantity, ...]
    codes: frozenset[str]

    @cached_property
    def denies(self) -> bool:
        """Whether it says that there is none of what it names."""
        return self.name not in _HEADS and says_none(self.value)

    @cached_property
    def identifies(self) -> bool:
        """Whether it is a name or a number by which the product is known."""
        return bool(set(self.name_stems) & _IDENTITIES) and not self.quantities_are_all

    @cached_property
    def quantities_are_all(self) -> bool:
        """Whether the value is one number: "number of pockets: 3" identifies nothing."""
        return len(self.quantities) == 1 and len(self.stems) <= 2

    @cached_property
    def denied_core(self) -> Stems:
        """Of a line that denies: the words of its name that say what there is none of."""
        return tuple(one for one in self.name_stems if one not in _UNTOLD) if self.denies else ()

    @cached_property
    def _words(self) -> tuple[tuple[Word, ...], tuple[Word, ...]]:
        return words_of(self.name), words_of(self.value)

    def says(self, phrase: Stems) -> Iterator[bool]:
        """For each place where it stands: whether it is granted there (else denied)."""
        if self.name_stems not in _SOLD_WITH:
            for at in _places(phrase, self.name_stems):
                is_no = is_negated(self.name, self._words[0], at, len(phrase))
                yield is_no == self.denies
        for at in _places(phrase, self.stems):
            is_head = self.name in _HEADS
            yield is_head or not is_negated(self.value, self._words[1], at, len(phrase))
        if len(phrase) > 1 and not self.denies:
            both = self.name_stems + self.stems
            if any(at < len(self.name_stems) < at + len(phrase) for at in _places(phrase, both)):
                yield True


@dataclass(frozen=True)
class FactIndex:
    """A product's facts, ready to be compared with many texts."""

    lines: tuple[Line, ...]
    stems: frozenset[str]  # of all names and values, but for those only ever denied
    denied: dict[str, str]  # stems that are only ever denied, and by which attribute
    own_names: tuple[Stems, ...]  # brand and model names: what stands in them describes nothing

    @staticmethod
    def of(facts: Facts) -> "FactIndex":
        """Attributes before the title, so that a claim is traced to what is most precise."""
        ordered = sorted(facts.lines, key=lambda each: each.name == "title")
        lines = tuple(
            Line(
                each.name,
                each.text,
                stems_of(each.text),
                stems_of(each.name),
                quantities_in(each.text),
                frozenset(code for code, _, _ in codes_in(each.text)),
            )
            for each in ordered
        )
        granted: set[str] = set()
        denied: dict[str, str] = {}
        for line in lines:
            for one in {*line.stems, *line.name_stems}:
                if any(line.says((one,))) or line.name_stems in _SOLD_WITH:
                    granted.add(one)
                else:
                    denied.setdefault(one, line.name)
        names = tuple(line.stems for line in lines if line.identifies and line.stems)
        denied = {one: name for one, name in denied.items() if one not in granted}
        return FactIndex(lines, frozenset(granted), denied, names)

    def granting(
        self, phrase: Stems, *, is_denied: bool = False, before: str = "", after: str = ""
    ) -> Grant:
        """What the facts say of a phrase that stands between two other words of a text."""
        against: str | None = None
        for line in self.lines:
            if phrase in _LABEL_WORDS and line.name.casefold() == "certification" and not is_denied:
                return Grant(line.name)
            said = tuple(line.says(phrase))
            if said and not self._describes(line, phrase) and not _is_quoted(line, phrase, before, after):  # fmt: skip  # noqa: E501
                continue
            if (not is_denied) in said:
                return Grant(line.name)
            if said and against is None and line.name != "title":
                against = line.name
        return Grant(against, against)

    def _describes(self, line: Line, phrase: Stems) -> bool:
        """Whether the phrase stands in this line as more than a part of a name."""
        if line.identifies:
            return False
        if line.name != "title":
            return True
        named = sum(len(_places(phrase, name)) for name in set(self.own_names))
        return len(_places(phrase, line.stems)) > named or named == 0


def stands_in(phrase: Stems, line: Stems) -> bool:
    """Whether these stems stand in the line one after the other."""
    return bool(_places(phrase, line))


def _is_quoted(line: Line, phrase: Stems, before: str, after: str) -> bool:
    """Whether the text goes on, or comes from, where the name does: then the name is told."""
    if line.stems == phrase and (len(phrase) > 1 or {before, after} & _NAMING):
        return True
    together = ((before, *phrase), (*phrase, after))
    return any(stands_in(each, line.stems) for each in together if "" not in each)


def _places(phrase: Stems, line: Stems) -> tuple[int, ...]:
    length = len(phrase)
    if length == 0 or phrase[0] not in line:
        return ()
    return tuple(at for at in range(len(line) - length + 1) if line[at : at + length] == phrase)
