"""Values of a recipe that follow from the training histories: how much of one is read, and how long training lasts.

A recipe that gives plain numbers is taken as it stands. Where it says ``max_length = "auto"``, or gives a limit in
optimiser steps beside the one in epochs, :func:`derive` replaces them by numbers of the same kind that fit the dataset:
training itself only ever sees a recipe without open values.

Why steps: an epoch of a thousand users is sixteen steps, an epoch of twenty thousand is three hundred. A patience of
six epochs means 96 steps for the one and 1,800 for the other, and a model that is still learning is stopped.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ml.models.settings import AUTO
from ml.tasks.settings import EveryPrefixSettings, MaskedThenLastSettings, TeacherListsSettings
from ml.training.recipe import Recipe, TrainingSettings

# candidates for the longest history that is read
LENGTHS = (50, 100, 200)
# the shortest candidate that reads at least this share of the training interactions is taken
SHARE_READ = 0.9


@dataclass(frozen=True)
class Derived:
    """A value that the recipe left open.

    Attributes:
        key: of the recipe, as in ``training.patience``.
        value: that is trained with, a number or a word.
        reason: where it comes from.
    """

    key: str
    value: Any
    reason: str

    @property
    def shown(self) -> str:
        """Value and reason."""
        return f"{self.value if isinstance(self.value, str) else format(self.value, ',')} ({self.reason})"

    def __str__(self) -> str:
        return f"{self.key} = {self.shown}"


def derive(
    recipe: Recipe, lengths: np.ndarray, least_items: int = 2, validated: bool = True
) -> tuple[Recipe, tuple[Derived, ...]]:
    """The recipe with a plain number for every value that depends on the data, and what was put in.

    Args:
        recipe: with or without open values.
        lengths: items of each training history, int64 ``[histories]``.
        least_items: shorter histories are not trained on.
        validated: whether there are validation users; without any, ``max_epochs`` is the length of training and not
            its limit, and is taken as it stands.

    Returns:
        A recipe without open values, equal to the given one where that has none; and the derived values in the order
        in which they were found.
    """
    trained = lengths[lengths >= least_items]
    found: list[Derived] = []
    if getattr(recipe.model, "max_length", None) == AUTO:
        value, reason = max_length_for(trained)
        found.append(Derived("model.max_length", value, reason))
        recipe = replace(recipe, model=replace(recipe.model, max_length=value))
    training = recipe.training
    if training.batch_items:
        value, reason = batch_size_for(training, _items_read(recipe, trained))
        found.append(Derived("training.batch_size", value, reason))
        training = replace(training, batch_size=value)
    steps = max(1, -(-len(trained) // training.batch_size))
    for name, in_steps in (("validate_every", training.validate_every_steps), ("patience", training.patience_steps)):
        if in_steps:
            found.append(_in_epochs("training", training, name, in_steps, steps))
            training = replace(training, **{name: found[-1].value})
    task = recipe.task
    if isinstance(task, MaskedThenLastSettings) and task.pretraining_epochs and task.pretraining_steps:
        found.append(_in_epochs("task", task, "pretraining_epochs", task.pretraining_steps, steps))
        recipe = replace(recipe, task=replace(task, pretraining_epochs=found[-1].value, pretraining_steps=0))
    if training.max_steps and validated:
        found.append(_in_epochs("training", training, "max_epochs", training.max_steps, steps))
        training = replace(training, max_epochs=found[-1].value)
    closed = {"batch_items": 0, "patience_steps": 0, "validate_every_steps": 0, "max_steps": 0}
    return replace(recipe, training=replace(training, **closed)), tuple(found)


def max_length_for(lengths: np.ndarray) -> tuple[int, str]:
    """The shortest of :data:`LENGTHS` at which :data:`SHARE_READ` of the interactions are read, else the longest.

    Of a history longer than that, training reads the latest items, and one more as the last target.

    Returns:
        The length, and the reason in words.
    """
    total = int(lengths.sum())
    for length in LENGTHS:
        read = int(np.minimum(lengths, length + 1).sum())
        if read >= SHARE_READ * total:
            break
    share = read / total if total else 1.0
    return length, f"reads {_percent(share)} of the training interactions; the candidates are {_listed(LENGTHS)}"


def batch_size_for(training: TrainingSettings, lengths: np.ndarray) -> tuple[int, str]:
    """The largest power of two whose batches hold at most ``batch_items`` items on average, or ``batch_size`` if less.

    Args:
        training: gives both limits.
        lengths: items that are read of each history.

    Returns:
        Sequences a batch, at least one, and the reason in words.
    """
    mean = float(lengths.mean()) if len(lengths) else 1.0
    fitting = max(1.0, training.batch_items / max(mean, 1.0))
    size = min(training.batch_size, 2 ** int(np.log2(fitting)))
    limit = f"at most {training.batch_size} sequences and {training.batch_items:,} items on average"
    return size, f"{limit}; {mean:.1f} items are read of a history"


def _items_read(recipe: Recipe, lengths: np.ndarray) -> np.ndarray:
    """Input items of the samples that each history of the given length becomes."""
    if isinstance(recipe.task, EveryPrefixSettings | TeacherListsSettings):
        return recipe.task.items_read(lengths, recipe.model.max_length)
    return np.minimum(lengths, recipe.model.max_length)


def described(derived: tuple[Derived, ...]) -> dict[str, Any]:
    """As JSON, by key."""
    return {each.key: {"value": each.value, "reason": each.reason} for each in derived}


def read_described(known: Mapping[str, Any]) -> tuple[Derived, ...]:
    """Read what :func:`described` wrote."""
    return tuple(Derived(key, entry["value"], entry["reason"]) for key, entry in known.items())


def filled_in(tables: Mapping[str, Any], derived: tuple[Derived, ...]) -> dict[str, Any]:
    """The tables of a recipe with the derived values in their places, and nothing left open."""
    filled = {name: dict(value) if isinstance(value, dict) else value for name, value in tables.items()}
    for each in derived:
        table, _, name = each.key.partition(".")
        filled[table][name] = each.value
    return filled


def _in_epochs(table: str, settings: Any, name: str, in_steps: int, steps: int) -> Derived:
    """The longer of a number of epochs, under ``name`` in a table of the recipe, and a number of steps; in epochs."""
    epochs = getattr(settings, name)
    value = max(epochs, -(-in_steps // steps))
    unit = "epoch" if epochs == 1 else "epochs"
    return Derived(
        f"{table}.{name}", value, f"the longer of {epochs} {unit} and {in_steps:,} steps, {steps:,} steps an epoch"
    )


def _percent(share: float) -> str:
    """Rounded down, so that 100 % means all."""
    return f"{int(share * 1000) / 10:g} %"


def _listed(values: tuple[int, ...]) -> str:
    return ", ".join(map(str, values[:-1])) + f" and {values[-1]}"
