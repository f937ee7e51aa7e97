"""Quantities: numbers with their units in a text, comparable across spellings and scales.

"80 cm", "0.8 m" and "800 millimetres" are one quantity; "80 kg" is another.
"""

import math
import re
from dataclasses import dataclass

_SCALES: dict[str, tuple[str, float, tuple[str, ...]]] = {
    # canonical unit: dimension, factor to the dimension's own, spellings
    "mm": ("length", 0.001, ("mm", "millimetre", "millimetres", "millimeter", "millimeters")),
    "cm": ("length", 0.01, ("cm", "cms", "centimetre", "centimetres", "centimeter", "centimeters")),
    "m": ("length", 1.0, ("m", "metre", "metres", "meter", "meters")),
    "in": ("length", 0.0254, ("inch", "inches", "″", '"')),
    "ft": ("length", 0.3048, ("ft", "foot", "feet")),
    "g": ("mass", 0.001, ("g", "gm", "gms", "gram", "grams")),
    "mg": ("mass", 0.000001, ("mg", "milligram", "milligrams")),
    "kg": ("mass", 1.0, ("kg", "kgs", "kilo", "kilos", "kilogram", "kilograms")),
    "oz": ("mass", 0.028349523, ("oz", "ounce", "ounces")),
    "lb": ("mass", 0.45359237, ("lb", "lbs", "pound", "pounds")),
    "ml": ("volume", 0.001, ("ml", "millilitre", "millilitres", "milliliter", "milliliters")),
    "cl": ("volume", 0.01, ("cl", "centilitre", "centilitres")),
    "l": ("volume", 1.0, ("l", "litre", "litres", "liter", "liters", "ltr")),
    "s": ("time", 1.0, ("s", "sec", "secs", "second", "seconds")),
    "min": ("time", 60.0, ("min", "mins", "minute", "minutes")),
    "h": ("time", 3600.0, ("h", "hr", "hrs", "hour", "hours")),
    "day": ("days", 1.0, ("day", "days")),
    "week": ("days", 7.0, ("week", "weeks")),
    "month": ("months", 1.0, ("month", "months")),
    "year": ("months", 12.0, ("year", "years", "yr", "yrs")),
    "mw": ("power", 0.001, ("mw", "milliwatt")),
    "w": ("power", 1.0, ("w", "watt", "watts")),
    "kw": ("power", 1000.0, ("kw", "kilowatt", "kilowatts")),
    "v": ("voltage", 1.0, ("v", "volt", "volts")),
    "a": ("current", 1.0, ("amp", "amps", "ampere")),
    "mah": ("charge", 1.0, ("mah",)),
    "hz": ("frequency", 1.0, ("hz", "hertz")),
    "khz": ("frequency", 1e3, ("khz",)),
    "mhz": ("frequency", 1e6, ("mhz",)),
    "ghz": ("frequency", 1e9, ("ghz",)),
    "mb": ("memory", 1.0, ("mb", "megabyte", "megabytes")),
    "gb": ("memory", 1024.0, ("gb", "gigabyte", "gigabytes")),
    "tb": ("memory", 1048576.0, ("tb", "terabyte", "terabytes")),
    "mp": ("pixels", 1.0, ("mp", "megapixel", "megapixels")),
    "°c": ("celsius", 1.0, ("°c", "℃", "celsius", "degrees celsius", "degrees")),
    "°f": ("fahrenheit", 1.0, ("°f", "℉", "fahrenheit", "degrees fahrenheit")),
    "%": ("share", 1.0, ("%", "percent", "per cent")),
    "g/m²": ("areal mass", 1.0, ("g/m²", "g/m2", "gsm", "grams per square metre")),
    "m²": ("area", 1.0, ("m²", "m2", "sqm", "square metres", "square metre", "square meters")),
    "lm": ("light", 1.0, ("lm", "lumen", "lumens")),
    "k": ("colour temperature", 1.0, ("kelvin",)),
    "db": ("loudness", 1.0, ("db", "decibel", "decibels")),
    "bar": ("pressure", 1.0, ("bar",)),
    "rpm": ("speed", 1.0, ("rpm",)),
    "ppm": ("parts", 1.0, ("ppm",)),
    "den": ("denier", 1.0, ("den", "denier")),
    "ct": ("carat", 1.0, ("ct", "carat", "carats", "kt", "karat")),
    "money": ("money", 1.0, ("€", "$", "£", "eur", "usd", "euro", "euros", "dollars", "rs")),
}
_UNIT_OF = {spelling: unit for unit, (_, _, spellings) in _SCALES.items() for spelling in spellings}
_UNITS = "|".join(sorted((re.escape(each) for each in _UNIT_OF), key=len, reverse=True))
_FROM_TWO = (
    *("two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"),
    *("thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen", "twenty"),
)
_NUMBER_WORDS = {word: number for number, word in enumerate(_FROM_TWO, start=2)} | {
    "one": 1,
    "thirty": 30,
    "forty": 40,
    "fifty": 50,
    "sixty": 60,
    "hundred": 100,
    "thousand": 1000,
}
_QUANTITY = re.compile(
    rf"(?<![\w.,])(?:(?P<money>[€$£])\s?)?"
    rf"(?P<number>[-−–]?\d+(?:,\d{{3}})+(?:\.\d+)?|[-−–]?\d+(?:[.,]\d+)?|\b(?:{'|'.join(_NUMBER_WORDS)})\b)"
    rf"(?:[\s\u00a0-]{{0,2}}(?P<unit>{_UNITS})(?![\w²]))?(?!\w)",
    re.IGNORECASE,
)
# Model names and sizes such as E27, GU10, IP67, 4K: letters and digits that belong together.
_CODE = re.compile(r"\b(?=[A-Za-z]*\d)(?=\d*[A-Za-z])[A-Za-z\d]{2,}\b")
_CONVERTED = 0.02  # people round when they change units


@dataclass(frozen=True, slots=True)
class Quantity:
    """A number, with a unit or without, and where it stands. `dimension` is "" without a unit."""

    number: float  # as written
    unit: str  # canonical; "" if none
    start: int
    end: int

    @property
    def dimension(self) -> str:
        """What the unit measures; "" without one."""
        return _SCALES[self.unit][0] if self.unit else ""

    def agrees_with(self, fact: "Quantity") -> bool:
        """Whether a text may say this where `fact` is known. A bare number may leave a unit out."""
        if not self.unit:
            return math.isclose(self.number, fact.number, rel_tol=1e-9)
        if self.dimension != fact.dimension:
            return False
        if self.unit == fact.unit:
            return math.isclose(self.number, fact.number, rel_tol=1e-9)
        mine, known = (each.number * _SCALES[each.unit][1] for each in (self, fact))
        is_rounding = {self.unit, fact.unit} & {"in", "ft", "oz", "lb"}
        return math.isclose(mine, known, rel_tol=_CONVERTED if is_rounding else 1e-9)


def quantities_in(text: str) -> tuple[Quantity, ...]:
    """All numbers of a text, in order. "one" counts only with a unit."""
    found = []
    for match in _QUANTITY.finditer(text):
        written = match["number"].casefold()
        unit = match["unit"] or match["money"] or ""
        if written == "one" and not unit:
            continue
        canonical = _UNIT_OF[unit.casefold()] if unit else ""
        found.append(Quantity(_number(written), canonical, match.start(), match.end()))
    return tuple(found)


def codes_in(text: str) -> tuple[tuple[str, int, int], ...]:
    """Model names, sizes and sockets, as (casefolded code, start, end); not numbers with units."""
    taken = [(each.start, each.end) for each in quantities_in(text)]
    return tuple(
        (match.group().casefold(), match.start(), match.end())
        for match in _CODE.finditer(text)
        if not any(start < match.end() and match.start() < end for start, end in taken)
    )


def _number(written: str) -> float:
    if written in _NUMBER_WORDS:
        return float(_NUMBER_WORDS[written])
    plain = written.replace("−", "-").replace("–", "-")
    if re.fullmatch(r"-?\d{1,3}(?:,\d{3})+(?:\.\d+)?", plain):
        return float(plain.replace(",", ""))
    return float(plain.replace(",", "."))
