"""Codes that are made of the item vectors of trained models: which models their recipes may name."""

from __future__ import annotations

from collections.abc import Mapping

from ml.codes.recipe import CodesRecipe
from ml.config import nearest
from ml.models.settings import needs_codes
from ml.training.recipe import Recipe


def why_no_vectors(name: str, codes: Mapping[str, CodesRecipe], recipes: Mapping[str, Recipe]) -> str:
    """Why codes cannot be made of the item vectors of the models that their recipe names, and what to name; empty where
    they can, or are made of no such vectors.

    Args:
        name: of the recipe of codes.
        codes: recipes of codes by name.
        recipes: recipes of models by name.
    """
    if way := _way_back(name, codes, recipes):
        return f"{' -> '.join(way)} is a circle of codes and models that are built on one another; {_remedy(recipes)}"
    for source in codes[name].needs_recipes:
        if source not in recipes:
            return (
                f"there is no model {source}{nearest(source, recipes)}, and nothing else has item vectors; "
                f"{_remedy(recipes)}"
            )
        if reason := _why_unsuitable(recipes[source]):
            return f"{source} {reason}; {_remedy(recipes)}"
    return ""


def _way_back(start: str, codes: Mapping[str, CodesRecipe], recipes: Mapping[str, Recipe]) -> tuple[str, ...]:
    """Codes and models in turn from a recipe of codes back to it; empty where no way leads back."""
    waiting: list[tuple[str, ...]] = [(start,)]
    while waiting:
        way = waiting.pop()
        for source in codes[way[-1]].needs_recipes:
            below = (recipes[source].codes if source in recipes else None) or ""
            if below == start:
                return (*way, source, below)
            if below in codes and below not in way:
                waiting.append((*way, source, below))
    return ()


def _why_unsuitable(recipe: Recipe) -> str:
    """Why codes are not made of the vectors of a model, as the end of a sentence; empty where they can be."""
    if needs_codes(recipe.model):
        return "is built on codes itself, whose vectors are not of items"
    if recipe.teacher_lists is not None:
        return "is taught by another recommender, and vectors are taken of models that learn from interactions alone"
    if recipe.pretraining is not None:
        return "is pre-trained on other datasets, and vectors are taken of models that learn from this one alone"
    return ""


def _remedy(recipes: Mapping[str, Recipe]) -> str:
    possible = ", ".join(name for name, recipe in recipes.items() if not _why_unsuitable(recipe))
    return f"name one of {possible}" if possible else "add the recipe of a model with item vectors, and name that"
