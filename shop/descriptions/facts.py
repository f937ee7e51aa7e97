"""Facts: what is known of one product, clean enough to be put into a prompt and to be checked by.

Attributes come from suppliers and are hostile until they went through `facts_of`: control and
invisible characters go, lengths are bounded, and what reads like an instruction or like markup is
left out and named, so that a person looks at the product before its text is shown.
"""

import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass

from shop.descriptions.injection import looks_injected

MAX_NAME_LENGTH = 60
MAX_VALUE_LENGTH = 300
MAX_ATTRIBUTES = 60
# A character of the kept text may have many invisible ones before it; beyond this nobody looks.
_LOOKED_AT = 4
_INVISIBLE = frozenset(("Cc", "Cf", "Cs", "Co", "Cn"))
_BREAKS = frozenset(("Zl", "Zp", "Zs"))


@dataclass(frozen=True, slots=True)
class Attribute:
    """One line of a specification: `width: 80 cm` is ("width", "80", "cm")."""

    name: str
    value: str
    unit: str = ""

    @property
    def text(self) -> str:
        """Value and unit, as people write them."""
        return f"{self.value} {self.unit}".rstrip()


@dataclass(frozen=True, slots=True)
class Facts:
    """All that a text about this product may rely on."""

    product_id: str
    title: str
    category: str
    brand: str
    attributes: tuple[Attribute, ...]
    left_out: tuple[str, ...] = ()  # names of attributes that were refused: injections, empty ones

    @property
    def lines(self) -> tuple[Attribute, ...]:
        """Title, category and brand as attributes, then the others; empty ones left out."""
        first = (
            Attribute("title", self.title),
            Attribute("category", self.category),
            Attribute("brand", self.brand),
        )
        return tuple(each for each in (*first, *self.attributes) if each.value)


def facts_of(
    product_id: str,
    title: str,
    category: str,
    brand: str,
    attributes: Iterable[Attribute],
) -> Facts:
    """Facts from raw strings of any length and content; never raises for what they contain."""
    kept: list[Attribute] = []
    refused: list[str] = []
    told: dict[str, str] = {}  # values by name; the same line again is no news, another is refused
    for raw in attributes:
        each = Attribute(
            clean_text(raw.name, MAX_NAME_LENGTH),
            clean_text(raw.value, MAX_VALUE_LENGTH),
            clean_text(raw.unit, MAX_NAME_LENGTH),
        )
        before = told.get(each.name.casefold())
        if before == each.text:
            continue
        hostile = any(looks_injected(part) for part in (each.name, each.value, each.unit))
        is_line = bool(each.name and each.value) and before is None
        if hostile or not is_line or len(kept) == MAX_ATTRIBUTES:
            refused.append("(unreadable)" if looks_injected(each.name) else each.name)
            continue
        told[each.name.casefold()] = each.text
        kept.append(each)
    heads = [clean_text(each, MAX_VALUE_LENGTH) for each in (title, category, brand)]
    for at, name in enumerate(("title", "category", "brand")):
        if looks_injected(heads[at]):
            refused.append(name)
            heads[at] = ""
    title, category, brand = heads
    return Facts(clean_text(product_id, 128), title, category, brand, tuple(kept), tuple(refused))


def clean_text(raw: str, most: int) -> str:
    """At most `most` visible characters on one line, composed (NFC), single spaces."""
    seen = unicodedata.normalize("NFC", raw[: most * _LOOKED_AT])
    shown = "".join(_shown(character) for character in seen)
    return " ".join(shown.split())[:most].rstrip()


def _shown(character: str) -> str:
    kind = unicodedata.category(character)
    if kind in _BREAKS or character in "\t\n\r\v\f":
        return " "
    return "" if kind in _INVISIBLE else character
