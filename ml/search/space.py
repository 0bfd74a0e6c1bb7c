"""Search spaces: the values of a recipe that a search may change, and their bounds."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from ml.config import TableError, read_table, read_toml
from ml.training.recipe import Recipe, recipe_from_tables

DEFAULT_SPACE = Path(__file__).parent / "default.toml"
_Scalar = int | float | str | bool


class Suggests(Protocol):
    """The part of an Optuna trial that draws values."""

    def suggest_int(self, name: str, low: int, high: int, *, log: bool) -> int: ...

    def suggest_float(self, name: str, low: float, high: float, *, log: bool) -> float: ...

    def suggest_categorical(self, name: str, choices: list) -> Any: ...


@dataclass(frozen=True)
class Dimension:
    """One key of a recipe, and what it may be.

    Attributes:
        key: table and key, ``model.dropout``.
        choices: the values it may take; or
        low: the lowest, and
        high: the highest value; whole numbers for a key of whole numbers.
        logarithmic: whether equal ratios are equally likely.
    """

    key: str
    choices: tuple[_Scalar, ...] = ()
    low: int | float | None = None
    high: int | float | None = None
    logarithmic: bool = False

    def __post_init__(self) -> None:
        if self.key.count(".") != 1:
            raise ValueError(f"key must be a table and a key, as in model.dropout, not {self.key!r}")
        bounded = self.low is not None and self.high is not None
        if bool(self.choices) == bounded or (self.low is None) != (self.high is None):
            raise ValueError(f"{self.key} needs either choices, or low and high")
        if self.low is None or self.high is None:
            return
        if not self.low < self.high:
            raise ValueError(f"low ({self.low}) of {self.key} must be below high ({self.high})")
        if self.logarithmic and self.low <= 0:
            raise ValueError(f"low of {self.key} must be above 0 where it is logarithmic")

    def suggest(self, trial: Suggests) -> Any:
        """A value drawn by the trial."""
        if self.low is None or self.high is None:
            return trial.suggest_categorical(self.key, list(self.choices))
        if isinstance(self.low, int) and isinstance(self.high, int):
            return trial.suggest_int(self.key, self.low, self.high, log=self.logarithmic)
        return trial.suggest_float(self.key, self.low, self.high, log=self.logarithmic)


def load_space(path: Path = DEFAULT_SPACE) -> tuple[Dimension, ...]:
    """The dimensions of a TOML file: one table ``[[dimension]]`` each.

    Raises:
        TableError: the file is wrong; the message names it and the key.
    """
    tables = read_toml(path)
    found = tables.pop("dimension", None)
    if tables or not isinstance(found, list) or not found:
        raise TableError(f"{path}: a search space is one or more tables [[dimension]] and nothing else")
    space = tuple(
        read_table(Dimension, table, str(path), f"dimension {number}: ") for number, table in enumerate(found, start=1)
    )
    keys = [dimension.key for dimension in space]
    if len(set(keys)) < len(keys):
        raise TableError(f"{path}: a key stands twice")
    return space


def within(space: tuple[Dimension, ...], recipe: Recipe) -> tuple[Dimension, ...]:
    """The dimensions whose key the recipe has."""
    tables = recipe.as_tables()
    return tuple(one for one in space if one.key.split(".")[1] in tables.get(one.key.split(".")[0], {}))


def with_values(recipe: Recipe, values: dict[str, Any]) -> Recipe:
    """The recipe with other values, by ``table.key``, checked as its file would be.

    Raises:
        TableError: a value is not possible.
    """
    tables = copy.deepcopy(recipe.as_tables())
    for key, value in values.items():
        table, name = key.split(".")
        tables[table][name] = value
    return recipe_from_tables(recipe.name, tables, f"recipe {recipe.name}")


def as_toml(recipe: Recipe) -> str:
    """The recipe as the text of a recipe file."""
    lines: list[str] = []
    tables = recipe.as_tables()
    for key, value in tables.items():
        if not isinstance(value, dict):
            lines.append(f"{key} = {_toml(value)}")
    for key, value in tables.items():
        if isinstance(value, dict):
            lines += ["", f"[{key}]", *(f"{name} = {_toml(part)}" for name, part in value.items())]
    return "\n".join(lines) + "\n"


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        # a JSON string is a TOML basic string, but for DEL
        import json

        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, list):
        return f"[{', '.join(_toml(part) for part in value)}]"
    return repr(value)
