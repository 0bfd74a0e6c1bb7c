"""Which recommenders there are: the baselines of the library and one model for each recipe file."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

from ml.baselines import BASELINES
from ml.training.recipe import RECIPES, Recipe, load_recipes


@cache
def recipes() -> dict[str, Recipe]:
    """Recipes by name: those of ``$RAW2RANK_RECIPES``, a folder of one's own, else those of the library."""
    folder = Path(os.environ.get("RAW2RANK_RECIPES") or RECIPES)
    return {recipe.name: recipe for recipe in load_recipes(folder)}


def recipe_names() -> list[str]:
    return sorted(recipes())


def recommender_names() -> list[str]:
    """Baselines first, then models."""
    return [*BASELINES, *recipe_names()]


def title_of(name: str) -> str:
    return BASELINES[name].title if name in BASELINES else recipes()[name].title


def check_recipes(names: list[str]) -> None:
    """``ValueError`` naming the recipes that do not exist, and those that do."""
    unknown = sorted(set(names) - set(recipe_names()))
    if unknown:
        raise ValueError(f"there is no recipe {', '.join(unknown)}; there are {', '.join(recipe_names())}")


def compared(chosen: list[str]) -> list[str]:
    """Recommenders of a leaderboard: all baselines, and the chosen recipes (all when none is named)."""
    return [*BASELINES, *(name for name in recipe_names() if not chosen or name in chosen)]
