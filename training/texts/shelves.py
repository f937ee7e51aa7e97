"""Shelves: facts of products to write of, from a snapshot's catalogue and from real text sets.

A text set is a Parquet file known by its columns: specifications with a description (the form of
the Flipkart samples), or title, brand and description. Of a real description only sentences are
used that say nothing beyond the facts; the rest would teach the model to invent. A table of
specification lines (product_id, name, value, unit) adds to the catalogue's products.
"""

import ast
import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from shop.catalogue import SPECIFICATION
from shop.descriptions.draft import Draft
from shop.descriptions.facts import Attribute, Facts, facts_of
from shop.descriptions.style import StyleGuide
from shop.descriptions.tellings import plain
from shop.descriptions.validators import Measured, check
from training.texts.grammar import MAX_OPENING

_SPECIFIED = {"uniq_id", "product_name", "product_category_tree", "brand", "description"}
_SPECIFIED_BY = "product_specifications"
_LINES = {"product_id", "name", "value", "unit"}
_TITLED = {"item_id", "title", "brand", "description"}
_HELD_OUT_PARTS = 5  # a fifth of the products, by a hash of their id
_MAX_SPECIFICATION = 20_000  # characters; a longer one is no specification
_MATCHES = "goes with"
_UNKNOWN = {"NA", "N/A", "None", "-"}  # what suppliers write where they know nothing
_MIN_SENTENCE, _MAX_SENTENCE = 20, 300
_STYLE, _FINE = StyleGuide(), Measured(grade=6.0, language="en")  # facts alone are looked at
_SIZE = re.compile(
    r"(?<![\w/.-])(\d+(?:\.\d+)?)[ -]?(oz|inch|mm|cm|ml|kg|lb|ft|yd|watt|volt)\b", re.I
)
_PACK = re.compile(r"\bpack of (\d+)\b", re.I)
_WORD = re.compile(r"[a-z0-9]+")
_PLAIN_WORDS = """
    a an the this that these it its is are was be been of for in on at with by from to and or as
    your you our we all any each can will has have made comes come make makes get gets new more
    also one set out up if so not but when while which who what where into over very use used
    features feature key specifications general details perfect great
"""
MAY_STAND_ALONE = frozenset(_PLAIN_WORDS.split())


@dataclass(frozen=True, slots=True)
class Shelf:
    """One product's facts, which text set they are from, and what people wrote of it."""

    facts: Facts
    source: str
    is_held_out: bool
    opening: str = ""  # sentences of the real description that say nothing beyond the facts


def specifications_in(folder: Path) -> dict[str, list[Attribute]]:
    """By product: what the specification tables (product_id, name, value, unit) below it tell."""
    found: dict[str, list[Attribute]] = {}
    for file in sorted(folder.rglob("*.parquet")):
        if set(pq.read_schema(file).names) == _LINES:
            for line in pq.read_table(file).to_pylist():
                attribute = Attribute(line["name"] or "", line["value"] or "", line["unit"] or "")
                found.setdefault(line["product_id"], []).append(attribute)
    return found


def catalogue_shelves(
    products: pa.Table, specifications: Mapping[str, Sequence[Attribute]] | None = None
) -> list[Shelf]:
    """Of a snapshot's products, those that have a title or an attribute.

    A product's `specifications` stand in for the few attributes that a snapshot tells.
    """
    specifications = specifications or {}
    names = {row["product_id"]: row["category"] or "" for row in products.to_pylist()}
    shelves = []
    for row in products.to_pylist():
        few = [Attribute(name, row.get(name) or "") for name in SPECIFICATION]
        attributes = list(specifications.get(row["product_id"], few))
        matching = sorted({names.get(other, "") for other in row.get("compatible_with") or ()})
        if not any(each.name == _MATCHES for each in attributes):
            attributes.append(Attribute(_MATCHES, ", ".join(filter(None, matching))))
        facts = facts_of(
            row["product_id"], row["title"] or "", row["category"] or "", row["brand"] or "",
            [each for each in attributes if each.value],
        )  # fmt: skip
        if facts.title or facts.attributes:
            shelves.append(Shelf(facts, "catalogue", is_held_out(facts.product_id)))
    return shelves


def text_set_shelves(folder: Path) -> list[Shelf]:
    """Of every text set found below `folder`."""
    found: list[Shelf] = []
    for file in sorted(folder.rglob("*.parquet")):
        columns = set(pq.read_schema(file).names)
        if columns >= {*_SPECIFIED, _SPECIFIED_BY}:
            found += _shelved(_specified(file), file.stem)
        elif columns >= _TITLED:
            found += _shelved(_titled(file), file.stem)
    return found


def is_held_out(product_id: str) -> bool:
    """Whether the product is for judging only: always the same fifth."""
    return hashlib.sha256(product_id.encode()).digest()[0] % _HELD_OUT_PARTS == 0


def is_grounded(sentence: str, facts: Facts) -> bool:
    """Whether every word that is not a plain one, and every number, stands in the facts."""
    known = set(_WORD.findall(" ".join(f"{a.name} {a.text}" for a in facts.lines).lower()))
    words = _WORD.findall(sentence.lower())
    return bool(words) and all(word in known or word in MAY_STAND_ALONE for word in words)


def _shelved(products: Iterator[tuple[Facts, str]], source: str) -> Iterator[Shelf]:
    for facts, description in products:
        if facts.title and facts.attributes:
            opening = _grounded_opening(description, facts)
            yield Shelf(facts, source, is_held_out(facts.product_id), opening)


def _specified(file: Path) -> Iterator[tuple[Facts, str]]:
    for row in pq.read_table(file, columns=[*_SPECIFIED, _SPECIFIED_BY]).to_pylist():
        attributes = _specification(row[_SPECIFIED_BY] or "")
        tree = re.findall(r"'([^']+)'", row["product_category_tree"] or "")
        yield (
            facts_of(
                row["uniq_id"], row["product_name"] or "", tree[0] if tree else "",
                row["brand"] or "", attributes,
            ),
            row["description"] or "",
        )  # fmt: skip


def _specification(written: str) -> list[Attribute]:
    """Of a list of key-value pairs, as Python writes it; nothing of what cannot be read."""
    if len(written) > _MAX_SPECIFICATION:
        return []
    try:
        pairs = ast.literal_eval(written)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return []
    if not isinstance(pairs, list):
        return []
    return [
        Attribute(str(pair["key"]), str(pair["value"]))
        for pair in pairs
        if isinstance(pair, dict) and "key" in pair and str(pair.get("value", "NA")) not in _UNKNOWN
    ]


def _titled(file: Path) -> Iterator[tuple[Facts, str]]:
    """The title's own sizes and pack counts become attributes: nothing else is known for sure."""
    for row in pq.read_table(file, columns=sorted(_TITLED)).to_pylist():
        title = row["title"] or ""
        attributes = [Attribute("size", n, unit.lower()) for n, unit in _SIZE.findall(title)[:1]]
        attributes += [Attribute("pack of", count) for count in _PACK.findall(title)[:1]]
        facts = facts_of(str(row["item_id"]), title, "", row["brand"] or "", attributes)
        yield facts, row["description"] or ""


def _grounded_opening(description: str, facts: Facts) -> str:
    kept = ""
    for raw in re.split(r"(?<=[.!?])\s+", description):
        sentence = plain(raw)
        if not _MIN_SENTENCE <= len(sentence) <= _MAX_SENTENCE or not sentence.endswith("."):
            continue
        if len(kept) + len(sentence) >= MAX_OPENING or not is_grounded(sentence, facts):
            continue
        if not check(Draft(sentence, (), ""), facts, _STYLE, _FINE).is_blocked:
            kept = f"{kept} {sentence}".strip()
    return kept
