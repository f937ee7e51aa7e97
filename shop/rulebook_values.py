"""Rule book values: what a field may hold, what to write instead, and the same as JSON Schema."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

_FIRST_YEAR, _LAST_YEAR = 2000, 2100  # a window outside is a typing error
_SHOWN_CHARS = 40


@dataclass(frozen=True, slots=True)
class Text:
    """A text that a pattern matches whole."""

    pattern: str
    fix: str

    def problem(self, value: object) -> str:
        """What is wrong with the value; "" if nothing is."""
        if isinstance(value, str) and re.fullmatch(self.pattern, value):
            return ""
        return f"is {shown(value)}"

    def schema(self) -> dict[str, Any]:
        """As JSON Schema."""
        return {"type": "string", "pattern": f"^(?:{self.pattern})$"}


@dataclass(frozen=True, slots=True)
class Choice:
    """One of these texts."""

    values: tuple[str, ...]
    hint: str = ""  # instead of the values, where they are many
    defined_as: str = ""  # where the schema lists them once

    @property
    def fix(self) -> str:
        """What to write."""
        return self.hint or f"write {' or '.join(self.values)}"

    def problem(self, value: object) -> str:
        """What is wrong with the value; "" if nothing is."""
        return "" if value in self.values else f"is {shown(value)}"

    def schema(self) -> dict[str, Any]:
        """As JSON Schema."""
        if self.defined_as:
            return {"$ref": f"#/$defs/{self.defined_as}"}
        return {"enum": list(self.values)}


@dataclass(frozen=True, slots=True)
class Whole:
    """A whole number between two, both allowed."""

    low: int
    high: int

    @property
    def fix(self) -> str:
        """What to write."""
        only = f"{self.low}" if self.low == self.high else f"{self.low} to {self.high}"
        return f"write {only}"

    def problem(self, value: object) -> str:
        """What is wrong with the value; "" if nothing is."""
        is_whole = isinstance(value, int) and not isinstance(value, bool)
        return "" if is_whole and self.low <= value <= self.high else f"is {shown(value)}"  # type: ignore[operator]

    def schema(self) -> dict[str, Any]:
        """As JSON Schema."""
        return {"type": "integer", "minimum": self.low, "maximum": self.high}


@dataclass(frozen=True, slots=True)
class Real:
    """A number between two; `open_low` and `open_high` say which of them are not allowed."""

    low: float
    high: float
    open_low: bool = False
    open_high: bool = False

    @property
    def fix(self) -> str:
        """What to write."""
        low = f"above {self.low:g}" if self.open_low else f"at least {self.low:g}"
        high = f"below {self.high:g}" if self.open_high else f"at most {self.high:g}"
        return f"write a number {low} and {high}"

    def problem(self, value: object) -> str:
        """What is wrong with the value; "" if nothing is."""
        if not isinstance(value, int | float) or isinstance(value, bool):
            return f"is {shown(value)}"
        above = value > self.low if self.open_low else value >= self.low
        below = value < self.high if self.open_high else value <= self.high
        return "" if above and below else f"is {shown(value)}"  # NaN is neither

    def schema(self) -> dict[str, Any]:
        """As JSON Schema."""
        return {
            "type": "number",
            "exclusiveMinimum" if self.open_low else "minimum": self.low,
            "exclusiveMaximum" if self.open_high else "maximum": self.high,
        }


@dataclass(frozen=True, slots=True)
class Listed:
    """A list of different texts."""

    each: Text | Choice
    most: int

    @property
    def fix(self) -> str:
        """What to write."""
        return f"write a list of 1 to {self.most} different texts; each: {self.each.fix}"

    def problem(self, value: object) -> str:
        """What is wrong with the value; "" if nothing is."""
        if not isinstance(value, list):
            return f"is {shown(value)}"
        if not 1 <= len(value) <= self.most:
            return f"has {len(value)} elements"
        for at, element in enumerate(value):
            if problem := self.each.problem(element):
                return f"element {at + 1} {problem}"
        return "" if len(set(value)) == len(value) else "names one twice"

    def schema(self) -> dict[str, Any]:
        """As JSON Schema."""
        return {
            "type": "array",
            "items": self.each.schema(),
            "minItems": 1,
            "maxItems": self.most,
            "uniqueItems": True,
        }


@dataclass(frozen=True, slots=True)
class OneOrMore:
    """A text, or a list of different ones."""

    each: Text | Choice
    most: int

    @property
    def fix(self) -> str:
        """What to write."""
        return f"{self.each.fix}, or a list of at most {self.most} of them"

    def problem(self, value: object) -> str:
        """What is wrong with the value; "" if nothing is."""
        if isinstance(value, str):
            return self.each.problem(value)
        return Listed(self.each, self.most).problem(value)

    def schema(self) -> dict[str, Any]:
        """As JSON Schema."""
        return {"anyOf": [self.each.schema(), Listed(self.each, self.most).schema()]}


@dataclass(frozen=True, slots=True)
class Fields:
    """A table of at least one of these fields."""

    fields: Mapping[str, "OneOrMore"]

    @property
    def fix(self) -> str:
        """What to write."""
        told = "; ".join(f"{name}: {each.fix}" for name, each in self.fields.items())
        return f"write a table of {' or '.join(self.fields)}, or both; {told}"

    def problem(self, value: object) -> str:
        """What is wrong with the value; "" if nothing is."""
        if not isinstance(value, dict) or not value:
            return f"is {shown(value)}"
        for name, inner in value.items():
            if name not in self.fields:
                return f"has {shown(name)}, which is not known here"
            if problem := self.fields[name].problem(inner):
                return f"{name} {problem}"
        return ""

    def schema(self) -> dict[str, Any]:
        """As JSON Schema."""
        return {
            "type": "object",
            "properties": {name: each.schema() for name, each in self.fields.items()},
            "minProperties": 1,
            "additionalProperties": False,
        }


@dataclass(frozen=True, slots=True)
class Yes:
    """Only `true`: to say no, leave the field out."""

    fix: str = "write true, or leave it out"

    def problem(self, value: object) -> str:
        """What is wrong with the value; "" if nothing is."""
        return "" if value is True else f"is {shown(value)}"

    def schema(self) -> dict[str, Any]:
        """As JSON Schema."""
        return {"const": True}


@dataclass(frozen=True, slots=True)
class Moment:
    """A date, or a date and time, as TOML writes it."""

    fix: str = f"write 2026-11-27 or 2026-11-27T08:00:00, years {_FIRST_YEAR} to {_LAST_YEAR}"

    def problem(self, value: object) -> str:
        """What is wrong with the value; "" if nothing is."""
        is_moment = isinstance(value, date)  # a datetime is one, too
        sensible = is_moment and _FIRST_YEAR <= value.year <= _LAST_YEAR  # type: ignore[attr-defined]
        return "" if sensible else f"is {shown(value)}"

    def schema(self) -> dict[str, Any]:
        """As JSON Schema, in which editors show TOML's dates as texts."""
        moment = r"^2[01]\d\d-\d\d-\d\d([T ]\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)?)?$"
        return {"type": "string", "pattern": moment}


FieldKind = Text | Choice | Whole | Real | Listed | OneOrMore | Fields | Yes | Moment


def shown(value: object) -> str:
    """A value in a message: short, on one line."""
    if isinstance(value, datetime | date):
        return value.isoformat()
    text = repr(value)
    return text if len(text) <= _SHOWN_CHARS else f"{text[:_SHOWN_CHARS]}…"
