"""Recipes: one TOML file for each model to train, read into frozen, typed settings.

A recipe says everything that decides the weights besides the training set, the codes and the seed. Reading one
imports no torch, so that an asset graph can be built from a folder of recipes in milliseconds.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal, get_args

from ml.config import TableError, read_table, read_toml, take_choice, take_table
from ml.contrast.settings import CONTRAST_SETTINGS, ContrastSettings, check_contrast_of_model
from ml.models.settings import (
    DEFAULT_TEXT_ENCODER,
    MODEL_SETTINGS,
    ModelSettings,
    UniSRecSettings,
    needs_codes,
    reads_times,
)
from ml.objectives.registry import OBJECTIVES
from ml.objectives.settings import ObjectiveSettings, WeightingSettings, check_objective_of_model, check_weighting
from ml.tasks.settings import TASK_SETTINGS, TaskSettings, TeacherListsSettings, check_task_of_model

RECIPES = Path(__file__).parents[1] / "recipes"
# `quick` is trained by default, `full` holds the quick ones too; `generative` adds models that generate identifiers
# to them, `beyond_accuracy` those that trade accuracy for diversity, novelty or the long tail, and `knowledge` those
# that read more than item ids, or read them otherwise; `slow` ones take an hour or more on two cores; `published` are
# sizes of papers, for a GPU
RecipeSet = Literal["quick", "full", "generative", "beyond_accuracy", "knowledge", "slow", "published"]
RECIPE_SETS: tuple[str, ...] = get_args(RecipeSet)
# what a model of the set `knowledge` adds to the plain one that it is compared with
Family = Literal["text", "time", "attributes", "contrast", "memory", "layers"]
FAMILIES: tuple[str, ...] = get_args(Family)

# the module that encodes the text of all datasets of a pre-training. By name, so that a model that reads no text does
# not depend on its code, and is not trained again where it changes
TEXT_SPACE = "ml.text.shared_space"


@dataclass(frozen=True)
class OptimiserSettings:
    """Adam with weight decay; plain Adam where ``weight_decay`` is 0.

    Attributes:
        learning_rate: after the warm-up.
        betas: decay of the running means of the gradient and of its square.
        weight_decay: on weight matrices and embeddings; biases and layer norms are spared.
        warm_up_steps: steps over which the learning rate rises from 0 in a straight line.
        decay: ``decoupled`` shrinks the weights beside the step (AdamW); ``in_gradient`` adds ``weight_decay`` times
            the weights to the gradient, an L2 penalty, as ``torch.optim.Adam`` does and many public implementations
            with it. What Adam divides by is then smaller for rare items, and they are shrunk more.
        rows: how tables with a row an item or a user are updated. ``touched``: in each step the rows that it reads, and
            the others when they are needed, to the same weights up to rounding; ``all``: all rows in each step;
            ``auto``: the first where it pays and is possible (:mod:`ml.training.row_choice`).
    """

    learning_rate: float
    betas: tuple[float, float]
    weight_decay: float
    warm_up_steps: int
    decay: Literal["decoupled", "in_gradient"] = "decoupled"
    rows: Literal["auto", "all", "touched"] = "auto"

    def __post_init__(self) -> None:
        if self.learning_rate <= 0:
            raise ValueError(f"learning_rate must be above 0, not {self.learning_rate}")
        if not all(0 <= beta < 1 for beta in self.betas):
            raise ValueError(f"betas must be in [0, 1), not {list(self.betas)}")
        if self.weight_decay < 0 or self.warm_up_steps < 0:
            raise ValueError("weight_decay and warm_up_steps must not be negative")

    def learning_rate_of(self, step: int) -> float:
        """Of the step numbered ``step`` from 0: a straight line up over the warm-up, then constant."""
        return self.learning_rate * min(1.0, (step + 1) / (self.warm_up_steps + 1))


@dataclass(frozen=True)
class TrainingSettings:
    """Length of the training, and its batches.

    Limits are in epochs. Those that are given in optimiser steps too hold once both have passed, so that datasets of
    few users, whose epochs are a handful of steps, are trained for as long as others: :mod:`ml.training.derived` turns
    the steps into epochs.

    Attributes:
        batch_size: sequences in a batch, at most.
        max_epochs: passes over the training sequences, at most.
        patience: epochs without a better validation nDCG@10 after which training stops.
        validate_every: epochs between two validations.
        batch_items: items in a batch on average, at most: of long histories a batch holds fewer sequences. 0 for no
            such limit.
        max_steps: ``max_epochs`` in steps, where that is longer; 0 for epochs alone.
        patience_steps: ``patience`` in steps, where that is longer; 0 for epochs alone.
        validate_every_steps: ``validate_every`` in steps, where that is longer; 0 for epochs alone.
        weight_averaging: decay of the exponential moving average of the weights, a step at a time, that is
            validated and kept in place of the weights themselves (Polyak and Juditsky, 1992; as in Adam's paper,
            section 7.2); 0 for none. It looks back ``1 / (1 - decay)`` steps, and early on a ninth of the steps taken.
    """

    batch_size: int
    max_epochs: int
    patience: int
    validate_every: int = 1
    weight_averaging: float = 0.0
    batch_items: int = 0
    max_steps: int = 0
    patience_steps: int = 0
    validate_every_steps: int = 0

    def __post_init__(self) -> None:
        for name in ("batch_size", "max_epochs", "patience", "validate_every"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, not {getattr(self, name)}")
        for name in ("batch_items", "max_steps", "patience_steps", "validate_every_steps"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative, not {getattr(self, name)}")
        if not 0 <= self.weight_averaging < 1:
            raise ValueError(f"weight_averaging must be in [0, 1), not {self.weight_averaging}")


@dataclass(frozen=True)
class PretrainingSettings:
    """Training on other datasets before the one that is recommended for (Hou et al., UniSRec, KDD 2022): see
    :mod:`ml.transfer.pretrain`.

    Attributes:
        epochs: passes over the histories of the other datasets. 0 takes nothing from them but the common space of the
            text, which shows how much of a difference is due to that space.
        batch_size: sequences in a batch, at most; all items that follow in a batch are negatives of one another.
        learning_rate: of the pre-training, after the warm-up of the table ``optimiser``.
        sequence_weight: weight of the contrast between sequences; 0 leaves it out.
        item_drop: share of the items that the second view of a sequence lacks.
        finetuned: what is trained afterwards: ``all``, or ``adaptor``: item vectors alone, with blocks and positions
            as they were pre-trained, as published.
    """

    epochs: int
    batch_size: int
    learning_rate: float
    sequence_weight: float
    item_drop: float
    finetuned: Literal["all", "adaptor"] = "all"

    def __post_init__(self) -> None:
        if self.epochs < 0:
            raise ValueError(f"epochs must not be negative, not {self.epochs}")
        if self.batch_size < 2:
            raise ValueError(f"batch_size must be at least 2, not {self.batch_size}")
        if self.learning_rate <= 0:
            raise ValueError(f"learning_rate must be above 0, not {self.learning_rate}")
        if self.sequence_weight < 0:
            raise ValueError(f"sequence_weight must not be negative, not {self.sequence_weight}")
        if not 0 < self.item_drop < 1:
            raise ValueError(f"item_drop must be above 0 and below 1, not {self.item_drop}")


def check_pretraining(model: ModelSettings) -> None:
    """Check that a model can be pre-trained on other datasets: that all it has for them is made from text.

    Raises:
        ValueError: it cannot.
    """
    if not isinstance(model, UniSRecSettings):
        raise ValueError("pretraining goes with the architecture unisrec alone; remove the table")
    if model.item_embedding not in ("text_experts", "text_experts_and_id") or model.separate_output_embedding:
        raise ValueError(
            'pretraining needs item_embedding = "text_experts" or "text_experts_and_id", and separate_output_embedding '
            "= false"
        )
    if model.text_encoder != DEFAULT_TEXT_ENCODER or not model.whitened_text:
        raise ValueError(
            f"pretraining reads whitened vectors of {DEFAULT_TEXT_ENCODER}, fitted on all datasets; remove "
            "text_encoder and whitened_text"
        )


@dataclass(frozen=True)
class Recipe:
    """A recipe: everything that decides a model's weights, besides data and seed.

    Attributes:
        name: name of the file without its ending; also of the recommender and its folder.
        title: for tables and plots.
        source: the paper, and where values differ from it.
        notes: what to know of the choice of values.
        set: the set that trains it: see :data:`RECIPE_SETS`.
        codes: name of the recipe of the codes that the model is built on, or ``None``.
        teacher_lists: name of the recipe of the lists that the model is taught, or ``None``.
        tradeoff: of a model that is taught lists at several trade-offs, the one that it recommends at: a number, or
            ``validation`` (:mod:`ml.training.tradeoffs`). ``None`` for the lowest.
        family: what the model adds to the recipe ``plain``, one of :data:`FAMILIES`; ``None`` where it is compared with
            none in particular.
        plain: name of the recipe that differs in nothing but what the family adds; ``None`` likewise.
        architecture: key of ``MODEL_SETTINGS``.
        model: sizes and options of the model.
        task_name: key of ``TASK_SETTINGS``.
        task: options of the task.
        objective_name: key of ``ml.objectives.registry.OBJECTIVES``.
        objective: options of the objective.
        optimiser: step sizes.
        training: batches and epochs.
        contrast_name: key of ``ml.contrast.settings.CONTRAST_SETTINGS``, or ``None``.
        contrast: options of the contrastive objective that is added, or ``None``.
        weighting: weights of targets in the loss, or ``None`` where all weigh the same.
        pretraining: how the model is trained on other datasets first, or ``None`` where it is not.
    """

    name: str
    title: str
    source: str
    notes: str
    set: str
    codes: str | None
    teacher_lists: str | None
    tradeoff: float | Literal["validation"] | None
    family: Family | None
    plain: str | None
    architecture: str
    model: ModelSettings
    task_name: str
    task: TaskSettings
    objective_name: str
    objective: ObjectiveSettings
    optimiser: OptimiserSettings
    training: TrainingSettings
    contrast_name: str | None = None
    contrast: ContrastSettings | None = None
    weighting: WeightingSettings | None = None
    pretraining: PretrainingSettings | None = None

    @property
    def reads_times(self) -> bool:
        """Whether the model, or the weighting of its loss, reads when items were interacted with."""
        return reads_times(self.model) or (self.weighting is not None and self.weighting.reads_times)

    def as_tables(self) -> dict[str, Any]:
        """The recipe as the tables of its file, for JSON."""
        tables: dict[str, Any] = {"title": self.title, "source": self.source, "notes": self.notes, "set": self.set}
        if self.codes is not None:
            tables["codes"] = self.codes
        if self.teacher_lists is not None:
            tables["teacher_lists"] = self.teacher_lists
        if self.tradeoff is not None:
            tables["tradeoff"] = self.tradeoff
        if self.family is not None:
            tables |= {"family": self.family, "plain": self.plain}
        tables["model"] = {"architecture": self.architecture, **asdict(self.model)}
        # keys younger than most recipes, whose digests are to stay; each settings class names its own
        younger = {name for kind in type(self.model).__mro__ for name in vars(kind).get("younger", ())}
        for field in fields(self.model):
            if field.name in younger and getattr(self.model, field.name) == field.default:
                del tables["model"][field.name]
        tables["task"] = {"name": self.task_name, **asdict(self.task)}
        tables["objective"] = {"name": self.objective_name, **asdict(self.objective)}
        tables["optimiser"] = asdict(self.optimiser)
        # younger than most recipes, whose digests are to stay
        for name in ("decay", "rows"):
            if getattr(self.optimiser, name) == getattr(OptimiserSettings, name):
                del tables["optimiser"][name]
        tables["training"] = asdict(self.training)
        if self.contrast is not None:
            tables["contrast"] = {"method": self.contrast_name, **asdict(self.contrast)}
        if self.weighting is not None:
            tables["weighting"] = asdict(self.weighting)
        if self.pretraining is not None:
            tables["pretraining"] = asdict(self.pretraining)
        return json.loads(json.dumps(tables))

    def digest(self) -> str:
        """SHA-256 of what decides the weights: a corrected title, source or note, another set, or another recipe to be
        compared with changes nothing."""
        tables = self.as_tables()
        for words in ("title", "source", "notes", "set", "family", "plain"):
            tables.pop(words, None)
        return hashlib.sha256(json.dumps(tables, sort_keys=True).encode()).hexdigest()

    def pretraining_digest(self) -> str:
        """SHA-256 of what the recipe says of the training on other datasets: model, optimiser and the table
        ``pretraining``, except what is finetuned."""
        tables = self.as_tables()
        decisive = {name: tables[name] for name in ("model", "optimiser", "pretraining")}
        del decisive["pretraining"]["finetuned"]
        return hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()


def load_recipe(recipe: str | Path) -> Recipe:
    """Read and check one recipe: that of a file (``.toml``), or one of the library by its name.

    Raises:
        TableError: there is no such recipe; or the file is not TOML, or a key is missing, unknown, of the wrong type
            or out of range.
    """
    path = Path(recipe)
    if path.suffix != ".toml":
        path = RECIPES / f"{recipe}.toml"
        if not path.is_file():
            names = ", ".join(sorted(each.stem for each in RECIPES.glob("*.toml")))
            raise TableError(f"there is no recipe {str(recipe)!r}: give the path of a .toml file, or one of {names}")
    elif not path.is_file():
        raise TableError(f"there is no recipe file {path}")
    return recipe_from_tables(path.stem, read_toml(path), str(path))


def load_recipes(folder: Path = RECIPES) -> list[Recipe]:
    """All recipes of a folder (``*.toml``), in the order of their names.

    Raises:
        TableError: the folder holds none, or one of them is wrong.
    """
    paths = sorted(folder.glob("*.toml"))
    if not paths:
        raise TableError(f"{folder}: no recipe (*.toml) in this folder")
    return [load_recipe(path) for path in paths]


def recipe_from_tables(name: str, tables: dict[str, Any], where: str) -> Recipe:
    """Check the tables of a recipe; ``where`` is named in errors.

    Raises:
        TableError: a key is missing, unknown, of the wrong type or out of range.
    """
    tables = dict(tables)
    model_table = take_table(tables, "model", where)
    task_table = take_table(tables, "task", where)
    objective_table = take_table(tables, "objective", where)
    optimiser_table = take_table(tables, "optimiser", where)
    training_table = take_table(tables, "training", where)
    contrast_name, contrast = _contrast(tables, where)
    weighting = _weighting(tables, where)
    pretraining = _pretraining(tables, where)
    words = read_table(_Words, tables, where, "")
    architecture = take_choice(model_table, "architecture", MODEL_SETTINGS, where, "model.")
    task_name = take_choice(task_table, "name", TASK_SETTINGS, where, "task.")
    objective_name = take_choice(objective_table, "name", OBJECTIVES, where, "objective.")
    recipe = Recipe(
        name=name,
        title=words.title,
        source=words.source,
        notes=words.notes,
        set=words.set,
        codes=words.codes,
        teacher_lists=words.teacher_lists,
        tradeoff=words.tradeoff,
        family=words.family,
        plain=words.plain,
        architecture=architecture,
        model=read_table(MODEL_SETTINGS[architecture], model_table, where, "model."),
        task_name=task_name,
        task=read_table(TASK_SETTINGS[task_name], task_table, where, "task."),
        objective_name=objective_name,
        objective=read_table(OBJECTIVES[objective_name].resolve(), objective_table, where, "objective."),
        optimiser=read_table(OptimiserSettings, optimiser_table, where, "optimiser."),
        training=read_table(TrainingSettings, training_table, where, "training."),
        contrast_name=contrast_name,
        contrast=contrast,
        weighting=weighting,
        pretraining=pretraining,
    )
    if recipe.codes is None and needs_codes(recipe.model):
        raise TableError(f'{where}: this model needs codes: name a recipe of codes, as in codes = "svd"')
    if recipe.codes is not None and not needs_codes(recipe.model):
        raise TableError(f"{where}: codes are named, and this model has no use for them; remove the key codes")
    taught = isinstance(recipe.task, TeacherListsSettings)
    if taught and recipe.teacher_lists is None:
        raise TableError(
            f'{where}: the task teacher_lists needs lists: name a recipe of them, as in teacher_lists = "sasrec_lists"'
        )
    for key in ("teacher_lists", "tradeoff"):
        if not taught and getattr(recipe, key) is not None:
            raise TableError(f"{where}: the key {key} goes with the task teacher_lists alone; remove it")
    try:
        check_task_of_model(recipe.task, recipe.model)
        check_objective_of_model(recipe.objective, recipe.model)
        if recipe.contrast is not None:
            check_contrast_of_model(recipe.contrast, recipe.task, recipe.model)
        if recipe.weighting is not None:
            check_weighting(recipe.weighting, recipe.task, recipe.objective, recipe.model)
        if recipe.pretraining is not None:
            check_pretraining(recipe.model)
    except ValueError as error:
        raise TableError(f"{where}: {error}") from error
    return recipe


def _contrast(tables: dict[str, Any], where: str) -> tuple[str, ContrastSettings] | tuple[None, None]:
    """The table ``contrast``, which most recipes do not have, taken out of the tables."""
    if "contrast" not in tables:
        return None, None
    table = take_table(tables, "contrast", where)
    name = take_choice(table, "method", CONTRAST_SETTINGS, where, "contrast.")
    return name, read_table(CONTRAST_SETTINGS[name], table, where, "contrast.")


def _weighting(tables: dict[str, Any], where: str) -> WeightingSettings | None:
    """The table ``weighting``, which most recipes do not have, taken out of the tables."""
    if "weighting" not in tables:
        return None
    return read_table(WeightingSettings, take_table(tables, "weighting", where), where, "weighting.")


def _pretraining(tables: dict[str, Any], where: str) -> PretrainingSettings | None:
    """The table ``pretraining``, which most recipes do not have, taken out of the tables."""
    if "pretraining" not in tables:
        return None
    return read_table(PretrainingSettings, take_table(tables, "pretraining", where), where, "pretraining.")


@dataclass(frozen=True)
class _Words:
    """The keys at the top of a recipe."""

    title: str
    source: str
    notes: str
    set: RecipeSet
    codes: str | None = None
    teacher_lists: str | None = None
    family: Family | None = None
    plain: str | None = None
    tradeoff: float | Literal["validation"] | None = None

    def __post_init__(self) -> None:
        if isinstance(self.tradeoff, float) and not 0 <= self.tradeoff <= 1:
            raise ValueError(f"tradeoff must be from 0 (accuracy alone) to 1 (the goal alone), not {self.tradeoff}")
        if (self.family is None) != (self.plain is None):
            raise ValueError("family and plain go together: what the model adds, and the recipe it is compared with")
