"""Recipes: one TOML file for each model to train, read into frozen, typed settings.

A recipe says everything that decides the weights besides the training set, the codes and the seed. Reading one
imports no torch, so that an asset graph can be built from a folder of recipes in milliseconds.
"""

from __future__ import annotations

import hashlib
import json
import tomllib
from dataclasses import MISSING, asdict, dataclass, fields
from pathlib import Path
from types import NoneType
from typing import Any, Literal, get_args, get_origin, get_type_hints

from ml.models.settings import MODEL_SETTINGS, ModelSettings
from ml.objectives.settings import OBJECTIVE_SETTINGS, ObjectiveSettings

RECIPES = Path(__file__).parents[1] / "recipes"


class RecipeError(ValueError):
    """A recipe that cannot be used; the message names the file and the key."""


@dataclass(frozen=True)
class OptimiserSettings:
    """Adam with decoupled weight decay (AdamW); plain Adam where ``weight_decay`` is 0.

    Attributes:
        learning_rate: after the warm-up.
        betas: decay of the running means of the gradient and of its square.
        weight_decay: on weight matrices and embeddings; biases and layer norms are spared.
        warm_up_steps: steps over which the learning rate rises from 0 in a straight line.
    """

    learning_rate: float
    betas: tuple[float, float]
    weight_decay: float
    warm_up_steps: int

    def __post_init__(self) -> None:
        if self.learning_rate <= 0:
            raise ValueError(f"learning_rate must be above 0, not {self.learning_rate}")
        if not all(0 <= beta < 1 for beta in self.betas):
            raise ValueError(f"betas must be in [0, 1), not {list(self.betas)}")
        if self.weight_decay < 0 or self.warm_up_steps < 0:
            raise ValueError("weight_decay and warm_up_steps must not be negative")


@dataclass(frozen=True)
class TrainingSettings:
    """How long, and in which batches.

    Attributes:
        batch_size: sequences in a batch.
        max_epochs: passes over the training sequences, at most.
        patience: epochs without a better validation nDCG@10 after which training stops.
    """

    batch_size: int
    max_epochs: int
    patience: int

    def __post_init__(self) -> None:
        for field in fields(self):
            if getattr(self, field.name) < 1:
                raise ValueError(f"{field.name} must be at least 1, not {getattr(self, field.name)}")


@dataclass(frozen=True)
class Recipe:
    """What is trained.

    Attributes:
        name: name of the file without its ending; also of the recommender and its folder.
        title: for tables and plots.
        source: the paper, and where values differ from it.
        notes: what to know of the choice of values.
        codes: name of the code assignment that the model is built on, or ``None``.
        architecture: key of ``MODEL_SETTINGS``.
        model: sizes and options of the model.
        objective_name: key of ``OBJECTIVE_SETTINGS``.
        objective: options of the objective.
        optimiser: step sizes.
        training: batches and epochs.
    """

    name: str
    title: str
    source: str
    notes: str
    codes: str | None
    architecture: str
    model: ModelSettings
    objective_name: str
    objective: ObjectiveSettings
    optimiser: OptimiserSettings
    training: TrainingSettings

    def as_tables(self) -> dict[str, Any]:
        """The recipe as the tables of its file, for JSON."""
        tables: dict[str, Any] = {"title": self.title, "source": self.source, "notes": self.notes}
        if self.codes is not None:
            tables["codes"] = self.codes
        tables["model"] = {"architecture": self.architecture, **asdict(self.model)}
        tables["objective"] = {"name": self.objective_name, **asdict(self.objective)}
        tables["optimiser"] = asdict(self.optimiser)
        tables["training"] = asdict(self.training)
        return json.loads(json.dumps(tables))

    def digest(self) -> str:
        """SHA-256 of what decides the weights: a corrected title, source or note changes nothing."""
        tables = self.as_tables()
        for words in ("title", "source", "notes"):
            del tables[words]
        return hashlib.sha256(json.dumps(tables, sort_keys=True).encode()).hexdigest()


def load_recipe(path: Path) -> Recipe:
    """Read and check one recipe file.

    Raises:
        RecipeError: the file is not TOML, or a key is missing, unknown, of the wrong type or out of range.
    """
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise RecipeError(f"{path}: not a TOML file: {error}") from error
    return recipe_from_tables(path.stem, tables, str(path))


def load_recipes(folder: Path = RECIPES) -> list[Recipe]:
    """All recipes of a folder (``*.toml``), in the order of their names.

    Raises:
        RecipeError: the folder holds none, or one of them is wrong.
    """
    paths = sorted(folder.glob("*.toml"))
    if not paths:
        raise RecipeError(f"{folder}: no recipe (*.toml) in this folder")
    return [load_recipe(path) for path in paths]


def recipe_from_tables(name: str, tables: dict[str, Any], where: str) -> Recipe:
    """Check the tables of a recipe; ``where`` is named in errors.

    Raises:
        RecipeError: a key is missing, unknown, of the wrong type or out of range.
    """
    tables = dict(tables)
    model_table = _take_table(tables, "model", where)
    objective_table = _take_table(tables, "objective", where)
    optimiser_table = _take_table(tables, "optimiser", where)
    training_table = _take_table(tables, "training", where)
    words = _read(_Words, tables, where, "")
    architecture = _take_choice(model_table, "architecture", MODEL_SETTINGS, where, "model.")
    objective_name = _take_choice(objective_table, "name", OBJECTIVE_SETTINGS, where, "objective.")
    recipe = Recipe(
        name=name,
        title=words.title,
        source=words.source,
        notes=words.notes,
        codes=words.codes,
        architecture=architecture,
        model=_read(MODEL_SETTINGS[architecture], model_table, where, "model."),
        objective_name=objective_name,
        objective=_read(OBJECTIVE_SETTINGS[objective_name], objective_table, where, "objective."),
        optimiser=_read(OptimiserSettings, optimiser_table, where, "optimiser."),
        training=_read(TrainingSettings, training_table, where, "training."),
    )
    if (recipe.codes is not None) != (recipe.model.item_embedding == "joint_product_quantised"):
        raise RecipeError(
            f'{where}: codes names a code assignment exactly when model.item_embedding is "joint_product_quantised"'
        )
    return recipe


@dataclass(frozen=True)
class _Words:
    """The keys at the top of a recipe."""

    title: str
    source: str
    notes: str
    codes: str | None = None


def _take_table(tables: dict[str, Any], key: str, where: str) -> dict[str, Any]:
    if key not in tables:
        raise RecipeError(f"{where}: the table [{key}] is missing")
    table = tables.pop(key)
    if not isinstance(table, dict):
        raise RecipeError(f"{where}: {key} must be a table")
    return dict(table)


def _take_choice(table: dict[str, Any], key: str, choices: dict[str, Any], where: str, prefix: str) -> str:
    if key not in table:
        raise RecipeError(f"{where}: the key {prefix}{key} is missing")
    value = table.pop(key)
    if not isinstance(value, str) or value not in choices:
        raise RecipeError(f"{where}: {prefix}{key} must be one of {', '.join(sorted(choices))}, not {value!r}")
    return value


def _read(settings: type, table: dict[str, Any], where: str, prefix: str) -> Any:
    """The table as an instance of a dataclass, with every key accounted for."""
    hints = get_type_hints(settings)
    known = {field.name: field for field in fields(settings)}
    for key in table:
        if key not in known:
            raise RecipeError(f"{where}: unknown key {prefix}{key}; known are {', '.join(known) or 'none'}")
    values = {}
    for key, field in known.items():
        if key in table:
            values[key] = _check(table[key], hints[key], f"{where}: {prefix}{key}")
        elif field.default is MISSING:
            raise RecipeError(f"{where}: the key {prefix}{key} is missing")
    try:
        return settings(**values)
    except ValueError as error:
        raise RecipeError(f"{where}: {prefix}{error}") from error


def _check(value: Any, hint: Any, what: str) -> Any:
    """The value as the hint asks, or an error; whole numbers pass for real ones, nothing else is converted."""
    if get_origin(hint) is Literal:
        if value not in get_args(hint):
            choices = ", ".join(f'"{choice}"' for choice in get_args(hint))
            raise RecipeError(f"{what} must be one of {choices}, not {value!r}")
        return value
    if get_origin(hint) is tuple:
        parts = get_args(hint)
        if not isinstance(value, list) or len(value) != len(parts):
            raise RecipeError(f"{what} must be a list of {len(parts)} values, not {value!r}")
        return tuple(_check(part, kind, what) for part, kind in zip(value, parts, strict=True))
    kinds = [kind for kind in (get_args(hint) or (hint,)) if kind is not NoneType]
    if float in kinds and type(value) is int:
        return float(value)
    if type(value) not in kinds:
        names = {int: "a whole number", float: "a number", str: "a text", bool: "true or false"}
        raise RecipeError(f"{what} must be {' or '.join(names[kind] for kind in kinds)}, not {value!r}")
    return value
