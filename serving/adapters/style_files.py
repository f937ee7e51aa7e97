"""Style files: a shop's house style, and its categories' own, from TOML.

    banned = ["cheap", "bargain"]
    publish_above = 0.85
    [terms]
    utilise = "use"
    [category.sofas]
    keywords = ["sofa"]
    least_opening = 20

A category starts from the house style and says what differs. Names are those of `StyleGuide`.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from shop.descriptions.style import StyleGuide
from shop.errors import SettingsRejected

_MOST_BYTES = 1 << 20


def read_styles(file: Path) -> tuple[StyleGuide, Mapping[str, StyleGuide]]:
    """House style and those of categories. Raises SettingsRejected, naming the key."""
    try:
        raw = file.read_bytes()
        if len(raw) > _MOST_BYTES:
            raise SettingsRejected(f"{file} has {len(raw)} bytes, at most {_MOST_BYTES}")
        table = tomllib.loads(raw.decode())
    except OSError as error:
        raise SettingsRejected(f"style {file} cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsRejected(f"style {file} is no TOML: {error}") from error
    categories = table.pop("category", {})
    house = _styled(StyleGuide(), table, str(file))
    if not isinstance(categories, dict):
        raise SettingsRejected(f"{file}: category must be tables [category.NAME]")
    own = {
        name: _styled(house, each, f"{file}: category.{name}") for name, each in categories.items()
    }
    return house, own


def _styled(style: StyleGuide, table: Any, where: str) -> StyleGuide:
    if not isinstance(table, dict):
        raise SettingsRejected(f"{where}: must be a table")
    known = {field.name: getattr(style, field.name) for field in fields(style)}
    values: dict[str, Any] = {}
    for key, value in table.items():
        if key not in known:
            allowed = ", ".join(sorted(known))
            raise SettingsRejected(f"{where}: {key} is unknown; allowed: {allowed}")
        values[key] = _fitting(known[key], value, f"{where}: {key}")
    return replace(style, **values)


def _fitting(default: object, value: Any, where: str) -> Any:
    """`value` in the kind of the default."""
    match default:
        case bool():
            fits, wanted = isinstance(value, bool), "true or false"
        case int():
            fits, wanted = isinstance(value, int) and not isinstance(value, bool), "a whole number"
        case float():
            fits = isinstance(value, (int, float)) and not isinstance(value, bool)
            wanted = "a number"
            value = float(value) if fits else value
        case tuple():
            fits = isinstance(value, list) and all(isinstance(each, str) for each in value)
            wanted = "a list of texts"
            value = tuple(value) if fits else value
        case str():
            fits, wanted = isinstance(value, str), "a text"
        case _:
            fits = isinstance(value, dict) and all(isinstance(e, str) for e in value.values())
            wanted = "a table of texts"
    if not fits:
        raise SettingsRejected(f"{where} = {value!r}: must be {wanted}")
    return value
