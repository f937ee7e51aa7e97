"""Settings reader: a TOML file, then the environment, once at the start.

`VITRINE_DOOR__PORT=9100` is `port` in `[door]`, and `VITRINE_RECOMMEND__BUDGETS__TOTAL_MS=80` is
`total_ms` in `[recommend.budgets]`. Nothing else in serving reads the environment. An unknown key
or a value that is not allowed stops the start.
"""

import dataclasses
import math
import os
import tomllib
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from serving.settings import Settings
from shop.errors import SettingsRejected

_PREFIX = "VITRINE_"
_SEPARATOR = "__"  # a name without it is no setting: the supervisor marks its processes that way
TOKEN_FILE = "VITRINE_TOKEN_FILE"
_TOP_LEVEL = ("state_dir", "log_level", "clock_offset_ms")
_NOT_SHOWN = "(not shown)"
_BOOLEANS = {"true": True, "1": True, "false": False, "0": False}


def load_settings(file: Path | None, environment: Mapping[str, str] | None = None) -> Settings:
    """Settings from `file` (None: no file), then from the environment (None: this process's).

    Raises SettingsRejected, naming key, value and what is allowed.
    """
    table = {} if file is None else _read_toml(file)
    _merge(table, _from_environment(os.environ if environment is None else environment))
    settings: Settings = _built(Settings(), table, "")
    return settings


def named_token_file() -> Path | None:
    """Where the environment says that our own token for a door is; a command's, not a setting."""
    named = os.environ.get(TOKEN_FILE)
    return Path(named) if named else None


def _read_toml(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text())
    except OSError as error:
        raise SettingsRejected(f"settings file {file} cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsRejected(f"settings file {file} is no TOML: {error}") from error


def _from_environment(environment: Mapping[str, str]) -> dict[str, Any]:
    table: dict[str, Any] = {}
    top_level = {f"{_PREFIX}{name.upper()}": name for name in _TOP_LEVEL}
    for name, value in sorted(environment.items()):
        if name in top_level:
            table[top_level[name]] = value
        elif name.startswith(_PREFIX) and _SEPARATOR in name:
            *sections, key = name.removeprefix(_PREFIX).lower().split(_SEPARATOR)
            inner = table
            for section in sections:
                inner = inner.setdefault(section, {})
                if not isinstance(inner, dict):
                    raise SettingsRejected(f"{name} = {value!r}: {section} holds no settings")
            inner[key] = value
    return table


def _merge(table: dict[str, Any], over: dict[str, Any]) -> None:
    for key, value in over.items():
        if isinstance(value, dict) and isinstance(table.get(key), dict):
            _merge(table[key], value)
        else:
            table[key] = value


def _built(defaults: Any, table: dict[str, Any], path: str) -> Any:
    """`defaults` with what `table` says; `path` is where in the file we are, like `door.`"""
    known = {f.name: getattr(defaults, f.name) for f in dataclasses.fields(defaults)}
    hints = typing.get_type_hints(type(defaults))
    secret = _secrets(defaults)
    values: dict[str, Any] = {}
    for key, raw in table.items():
        if key not in known:
            shown = _NOT_SHOWN if secret else repr(raw)  # it may be the secret under a wrong name
            raise SettingsRejected(
                f"{path}{key} = {shown}: unknown setting; allowed: {', '.join(sorted(known))}"
            )
        if key in secret and not isinstance(raw, str):
            raise SettingsRejected(f"{path}{key} = {_NOT_SHOWN}: must be a text")
        values[key] = _value(hints[key], known[key], raw, f"{path}{key}")
    try:
        return dataclasses.replace(defaults, **values)
    except ValueError as error:  # a bound of the dataclass; names the field first
        name, _, allowed = str(error).partition(":")
        value = _NOT_SHOWN if name in secret else repr(values.get(name, "(default)"))
        raise SettingsRejected(f"{path}{name} = {value}:{allowed}") from error


def _secrets(kind: Any) -> set[str]:
    """Fields whose values no message shows."""
    return {f.name for f in dataclasses.fields(kind) if f.metadata.get("secret")}


def _value(hint: Any, default: Any, raw: Any, path: str) -> Any:
    if dataclasses.is_dataclass(default):
        if not isinstance(raw, dict):
            shown = _NOT_SHOWN if _secrets(default) else repr(raw)
            raise SettingsRejected(f"{path} = {shown}: must be a table [{path}]")
        return _built(default, raw, f"{path}.")
    origin = typing.get_origin(hint)
    if origin is Literal:
        allowed = typing.get_args(hint)
        if raw not in allowed:
            raise SettingsRejected(f"{path} = {raw!r}: must be one of {', '.join(allowed)}")
        return raw
    if origin is tuple:
        return _several(typing.get_args(hint)[0], raw, path)
    return _one(hint, raw, path)


def _several(kind: type, raw: Any, path: str) -> tuple[Any, ...]:
    if isinstance(raw, str):
        raw = [part.strip() for part in raw.split(",") if part.strip()]
    if not isinstance(raw, list):
        raise SettingsRejected(f"{path} = {raw!r}: must be a list")
    return tuple(_one(kind, item, path) for item in raw)


def _one(kind: type, raw: Any, path: str) -> Any:
    """A plain value. The environment has only texts, so a number may come as one."""
    is_bool = isinstance(raw, bool)
    match kind:
        case builtin if builtin is bool:
            found = raw if is_bool else _BOOLEANS.get(str(raw).lower())
            wanted = "true or false"
        case builtin if builtin is int:
            found = None if is_bool or isinstance(raw, float) else _number(int, raw)
            wanted = "a whole number"
        case builtin if builtin is float:
            found = None if is_bool else _number(float, raw)
            wanted = "a number"
        case builtin if builtin is Path:
            found = Path(raw) if isinstance(raw, str) and raw else None
            wanted = "a path"
        case _:
            found = raw if isinstance(raw, str) else None
            wanted = "a text"
    if found is None:
        raise SettingsRejected(f"{path} = {raw!r}: must be {wanted}")
    return found


def _number(kind: type[int] | type[float], raw: Any) -> int | float | None:
    try:
        number = kind(raw)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None
