"""Tables of a TOML file as frozen, typed dataclasses: what recipes, fusions and claims are read with."""

from __future__ import annotations

import difflib
import math
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, fields
from functools import cache
from pathlib import Path
from types import NoneType
from typing import Any, Literal, get_args, get_origin, get_type_hints


class TableError(ValueError):
    """A file that cannot be used; the message names the file and the key."""


def read_toml(path: Path) -> dict[str, Any]:
    """The tables of a TOML file.

    Raises:
        TableError: it is none.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise TableError(f"{path}: not a TOML file: {error}") from error


def take_table(tables: dict[str, Any], key: str, where: str) -> dict[str, Any]:
    """Take the table of a key out of the tables; ``where`` is named in errors."""
    if key not in tables:
        raise TableError(f"{where}: the table [{key}] is missing")
    table = tables.pop(key)
    if not isinstance(table, dict):
        raise TableError(f"{where}: {key} must be a table")
    return dict(table)


def take_choice(table: dict[str, Any], key: str, choices: Mapping[str, Any], where: str, prefix: str) -> str:
    """Take a key out of a table whose value is one of the choices."""
    if key not in table:
        raise TableError(f"{where}: the key {prefix}{key} is missing")
    value = table.pop(key)
    if not isinstance(value, str) or value not in choices:
        raise TableError(f"{where}: {prefix}{key} must be one of {', '.join(sorted(choices))}, not {value!r}")
    return value


def read_table(settings: type, table: dict[str, Any], where: str, prefix: str) -> Any:
    """The table as an instance of a dataclass, with every key accounted for.

    Raises:
        TableError: a key is missing, unknown, of the wrong type, or out of the range the dataclass allows.
    """
    hints = _hints(settings)
    known = {field.name: field for field in fields(settings)}
    for key in table:
        if key not in known:
            raise TableError(f"{where}: unknown key {prefix}{key}; known are {', '.join(known) or 'none'}")
    values = {}
    for key, field in known.items():
        if key in table:
            values[key] = _check(table[key], hints[key], f"{where}: {prefix}{key}")
        elif field.default is MISSING:
            raise TableError(f"{where}: the key {prefix}{key} is missing")
    try:
        return settings(**values)
    except ValueError as error:
        raise TableError(f"{where}: {prefix}{error}") from error


@cache
def _hints(settings: type) -> dict[str, Any]:
    """Types of the fields; remembered, since a folder of recipes asks for the same ones some hundred times."""
    return get_type_hints(settings)


def _check(value: Any, hint: Any, what: str) -> Any:
    """The value as the hint asks, or an error; whole numbers pass for real ones, nothing else is converted."""
    if get_origin(hint) is Literal:
        if value not in get_args(hint):
            choices = ", ".join(f'"{choice}"' for choice in get_args(hint))
            raise TableError(f"{what} must be one of {choices}, not {value!r}")
        return value
    if get_origin(hint) is tuple:
        parts = get_args(hint)
        if parts[-1] is Ellipsis:
            if not isinstance(value, list):
                raise TableError(f"{what} must be a list, not {value!r}")
            return tuple(_check(part, parts[0], what) for part in value)
        if not isinstance(value, list) or len(value) != len(parts):
            raise TableError(f"{what} must be a list of {len(parts)} values, not {value!r}")
        return tuple(_check(part, kind, what) for part, kind in zip(value, parts, strict=True))
    kinds = [kind for kind in (get_args(hint) or (hint,)) if kind is not NoneType]
    words = [word for kind in kinds if get_origin(kind) is Literal for word in get_args(kind)]
    kinds = [kind for kind in kinds if get_origin(kind) is not Literal]
    if words and type(value) is str and value in words:
        return value
    if float in kinds and int not in kinds and type(value) is int:
        return float(value)
    if type(value) not in kinds:
        names = {int: "a whole number", float: "a number", str: "a text", bool: "true or false"}
        allowed = [names[kind] for kind in kinds] + [f'"{word}"' for word in words]
        raise TableError(f"{what} must be {' or '.join(allowed)}, not {value!r}")
    if isinstance(value, float) and not math.isfinite(value):
        # nan passes every check of a range that asks whether a value is too small or too large
        raise TableError(f"{what} must be a finite number, not {value}")
    return value


def nearest(name: str, known: Iterable[str]) -> str:
    """`` (did you mean X?)`` for the known name that resembles ``name`` most, or nothing."""
    by_lower = {candidate.lower(): candidate for candidate in known}
    found = difflib.get_close_matches(name.lower(), by_lower, 1)
    return f" (did you mean {by_lower[found[0]]}?)" if found else ""
