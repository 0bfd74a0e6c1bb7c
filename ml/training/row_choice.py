"""Which rows of its tables a step updates: all, or those that it reads (:mod:`ml.training.touched_rows`).

The weights are the same up to rounding, so this is a matter of cost alone. A recipe that says ``rows = "auto"`` is
trained by the rows that are read where a table has :data:`LEAST_ROWS` or more and nothing is in the way. Smaller tables
are updated whole: it is as fast, and keeps results what they were to the last bit.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

import torch

from ml.models.item_embeddings import DenseItemEmbedding
from ml.objectives.among_items import AmongItems
from ml.training.contrasted import ContrastedSequences
from ml.training.derived import Derived
from ml.training.distributed import World
from ml.training.recipe import OptimiserSettings, Recipe
from ml.training.touched_rows import tables_of
from ml.training.trainable import ScoredSequences, Trainable
from ml.training.unread_steps import suits

# on a processor both ways take as long at some 20,000 to 30,000 rows (benchmarks/large_tables.py)
LEAST_ROWS = 50_000
KEY = "optimiser.rows"


def choose_rows(
    recipe: Recipe, trainable: Trainable[Any], device: torch.device, compiled: bool
) -> tuple[Recipe, tuple[Derived, ...]]:
    """The recipe with ``all`` or ``touched``, and why; the recipe as it is and nothing where its tables are small.

    Args:
        recipe: with or without an open value.
        trainable: its model with all that it is trained on.
        device: that it is trained on.
        compiled: whether ``torch.compile`` is to be used.

    Raises:
        ValueError: the recipe says ``touched``, and its model, objective or optimiser cannot be trained so.
    """
    largest = max((len(module.weight) for module in tables_of(trainable.module).values()), default=0)
    asked = recipe.optimiser.rows
    if asked == "all" or (asked == "auto" and largest < LEAST_ROWS):
        return recipe, ()
    obstacle = _of_optimiser(recipe.optimiser) or _of_model(recipe, trainable)
    if obstacle and asked == "touched":
        raise ValueError(
            f'the rows of the optimiser cannot be "touched", since {obstacle}; choose "all" or "auto", or leave it out'
        )
    obstacle = obstacle or _of_execution(device, compiled)
    if obstacle:
        return _with(recipe, "all", f"a table has {largest:,} rows, which each step updates, since {obstacle}")
    why = "the recipe says so" if asked == "touched" else f"a table has {largest:,} rows, {LEAST_ROWS:,} or more"
    return _with(recipe, "touched", why)


def _with(recipe: Recipe, rows: Literal["all", "touched"], reason: str) -> tuple[Recipe, tuple[Derived, ...]]:
    return replace(recipe, optimiser=replace(recipe.optimiser, rows=rows)), (Derived(KEY, rows, reason),)


def _of_optimiser(settings: OptimiserSettings) -> str:
    """What is in the way; empty for nothing, as below."""
    if settings.weight_decay and settings.decay == "in_gradient":
        return "weight decay in the gradient makes a gradient of every row"
    if settings.learning_rate * settings.weight_decay >= 1:
        return "learning_rate times weight_decay is not below 1"
    if not suits(settings.betas):
        return (
            f"betas are {list(settings.betas)}, of which the first has to be at most 0.95, and the second four times "
            "as close to 1"
        )
    return ""


def _of_model(recipe: Recipe, trainable: Trainable[Any]) -> str:
    scored = trainable.scored if isinstance(trainable, ContrastedSequences) else trainable
    if not isinstance(scored, ScoredSequences):
        return "the model generates identifiers or lists"
    if not tables_of(scored.module):
        return "the model has no table with a row an item or a user"
    if not getattr(recipe.objective, "reads_some_items", False):
        return f"the objective {recipe.objective_name} reads all items"
    if type(scored.module.output_embedding) is not DenseItemEmbedding or isinstance(scored.objective, AmongItems):
        return "the model is not scored against the rows of a table alone"
    return ""


def _of_execution(device: torch.device, compiled: bool) -> str:
    if World.current().size > 1:
        return "several processes exchange gradients of all weights"
    if device.type != "cpu":
        return "on a GPU it has not been tried"
    return "torch.compile does not go with it" if compiled else ""
