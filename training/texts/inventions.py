"""Inventions: specifications that no catalogue holds, so that the model learns to copy, not recite.

The world tells five attributes of few values. A shop's own tell hundreds: sizes with units, model
numbers, names nobody has heard. What is drawn here is meaningless on purpose; a model that writes
it down faithfully has learnt where to look.
"""

import numpy as np

from shop.descriptions.facts import Attribute

_SIZES = ("width", "height", "depth", "length", "diameter", "seat height", "cable length")
_MEASURES: tuple[tuple[tuple[str, ...], tuple[str, ...], int, int], ...] = (
    (_SIZES, ("cm", "mm", "m", "inch"), 1, 320),
    (("weight", "net weight", "maximum load"), ("g", "kg", "lb"), 1, 900),
    (("capacity", "volume", "tank"), ("l", "ml"), 1, 950),
    (("power", "operating wattage"), ("W", "kW"), 1, 2400),
    (("voltage", "operating voltage"), ("V",), 3, 240),
    (("brightness",), ("lm",), 80, 5000),
    (("battery", "battery capacity"), ("mAh", "h"), 2, 9000),
    (("warranty", "guarantee"), ("years", "months"), 1, 36),
    (("thread count", "number of pieces", "pockets", "pack of"), ("",), 1, 400),
    (("temperature",), ("°C", "K"), -20, 6500),
)
_CHOICES: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("care", ("machine wash at 30 °C", "hand wash", "wipe with a damp cloth", "dry clean")),
    ("closure", ("zip", "laces", "buckle", "buttons", "hook and loop", "magnet")),
    ("pattern", ("plain", "striped", "checked", "floral print", "dotted", "printed")),
    ("fit", ("regular", "slim", "loose", "tapered")),
    ("sleeve", ("full sleeve", "half sleeve", "sleeveless")),
    ("neck", ("round neck", "v-neck", "collar", "roll neck")),
    ("ideal for", ("women", "men", "girls", "boys", "children", "everybody")),
    ("occasion", ("casual", "formal", "party", "sports", "wedding")),
    ("origin", ("Portugal", "India", "Denmark", "Italy", "Turkey", "Vietnam", "Germany")),
    ("finish", ("matt", "glossy", "brushed", "oiled", "powder-coated")),
    ("connection", ("USB-C", "Bluetooth", "E27", "GU10", "3.5 mm jack")),
    ("assembly", ("comes assembled", "needs to be assembled")),
)
_ONSETS = ("b", "br", "d", "f", "g", "gl", "k", "kr", "l", "m", "n", "p", "r", "s", "st", "t", "v", "z")  # fmt: skip  # noqa: E501
_VOWELS = ("a", "e", "i", "o", "u", "ae", "io", "ea")
_CODAS = ("", "n", "r", "l", "s", "x", "nd", "rt", "m")
_LETTERS = "ABCDEFGHJKLMNPQRSTUVWXYZ0123456789"


def invent_attributes(count: int, rng: np.random.Generator) -> list[Attribute]:
    """`count` of them, no name twice."""
    drawn: dict[str, Attribute] = {}
    while len(drawn) < count:
        attribute = _MAKERS[int(rng.integers(len(_MAKERS)))](rng)
        drawn.setdefault(attribute.name, attribute)
    return list(drawn.values())


def invent_name(rng: np.random.Generator) -> str:
    """A word that is in no dictionary, such as "Braenio"."""
    syllables = int(rng.integers(2, 4))
    word = "".join(_of(_ONSETS, rng) + _of(_VOWELS, rng) for _ in range(syllables))
    return (word + _of(_CODAS, rng)).capitalize()


def _measured(rng: np.random.Generator) -> Attribute:
    names, units, least, most = _MEASURES[int(rng.integers(len(_MEASURES)))]
    number = int(rng.integers(least, most))
    shown = str(number) if rng.random() < 0.75 else f"{number}.{int(rng.integers(1, 10))}"
    if names is _SIZES and rng.random() < 0.2:
        shown = f"{shown} x {int(rng.integers(1, 200))}"
    return Attribute(_of(names, rng), shown, _of(units, rng))


def _chosen(rng: np.random.Generator) -> Attribute:
    name, values = _CHOICES[int(rng.integers(len(_CHOICES)))]
    return Attribute(name, _of(values, rng))


def _named(rng: np.random.Generator) -> Attribute:
    name = _of(("model name", "series", "collection", "designer", "shade", "goes with"), rng)
    words = [invent_name(rng) for _ in range(int(rng.integers(1, 3)))]
    return Attribute(name, " ".join(words))


def _coded(rng: np.random.Generator) -> Attribute:
    name = _of(("model number", "style code", "article number"), rng)
    length = int(rng.integers(4, 11))
    return Attribute(name, "".join(_of(tuple(_LETTERS), rng) for _ in range(length)))


def _unheard_of(rng: np.random.Generator) -> Attribute:
    """Neither name nor value is known to anybody."""
    name = f"{invent_name(rng).lower()} {_of(('type', 'class', 'feature', 'rating'), rng)}"
    return Attribute(name, invent_name(rng).lower())


_MAKERS = (_measured, _measured, _chosen, _chosen, _named, _coded, _unheard_of)


def _of(values: tuple[str, ...], rng: np.random.Generator) -> str:
    return values[int(rng.integers(len(values)))]
