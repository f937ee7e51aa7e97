"""SLO: what a load test is held to, read from `slo.toml` as settings are: whole, or not at all."""

import dataclasses
import math
import tomllib
from collections.abc import Collection
from pathlib import Path
from typing import Any

from loadtest.verdict import Limits
from shop.errors import SettingsRejected

DEFAULT_SLO = Path(__file__).with_name("slo.toml")
_FOR_ALL = "default"
_NAMES = tuple(each.name for each in dataclasses.fields(Limits))
_SHARES = tuple(name for name in _NAMES if name.endswith("_share"))


def read_limits(file: Path, scenario: str, scenarios: Collection[str]) -> Limits:
    """What `scenario` is held to: its own table, and [default] for what that does not name.

    Raises SettingsRejected, naming file, key and what is allowed, whichever table is wrong.
    """
    try:
        tables = tomllib.loads(file.read_text())
    except OSError as error:
        raise SettingsRejected(f"{file} cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsRejected(f"{file} is no TOML: {error}") from error
    allowed = (_FOR_ALL, *sorted(scenarios))
    for name, table in tables.items():
        if name not in allowed or not isinstance(table, dict):
            raise SettingsRejected(
                f"{file}: {name} is no scenario; tables are {', '.join(allowed)}"
            )
        for key, value in table.items():
            _check(f"{file}: {name}.{key}", key, value)
    return Limits(**(tables.get(_FOR_ALL, {}) | tables.get(scenario, {})))


def _check(where: str, key: str, value: Any) -> None:
    if key not in _NAMES:
        raise SettingsRejected(f"{where}: unknown limit; allowed: {', '.join(_NAMES)}")
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if key in _SHARES:
        if not is_number or not 0 <= value <= 1:
            raise SettingsRejected(f"{where} = {value!r}: must be a share from 0 to 1")
    elif not is_number or not value > 0 or math.isinf(value):
        raise SettingsRejected(f"{where} = {value!r}: must be a number above 0")
