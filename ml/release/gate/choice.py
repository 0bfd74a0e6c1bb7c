"""Which recommender of a leaderboard is the candidate of a release."""

from __future__ import annotations

from collections.abc import Sequence

from ml.config import nearest
from ml.models.settings import knows_users
from ml.recommender import LANGUAGE_MODEL
from ml.recommenders.registry import Registry

# no release is made
NONE = "none"


class ChoiceError(ValueError):
    """There is no candidate; the message says why and what to do."""


def choose(ranked: Sequence[str], registry: Registry, wanted: str = "") -> str:
    """The name of the candidate.

    Args:
        ranked: names of a leaderboard, the best first.
        registry: the recommenders that names stand for.
        wanted: the one that was asked for; empty for the best that is :func:`fit_to_serve`.

    Raises:
        ChoiceError: the one asked for was not compared, or none can serve.
    """
    if wanted:
        if wanted not in ranked:
            raise ChoiceError(
                f"RELEASE={wanted} is not among the recommenders compared{nearest(wanted, ranked)}: add it to RECIPES, "
                f"or release one of {', '.join(ranked)}"
            )
        return wanted
    for name in ranked:
        if not unfit_to_serve(name, registry):
            return name
    raise ChoiceError("none of the recommenders compared can serve: add another one to RECIPES, or give RELEASE=none")


def unfit_to_serve(name: str, registry: Registry) -> str:
    """Why a recommender is not released unasked, however accurate it is; empty for one that may be."""
    if registry.kind_of(name) == LANGUAGE_MODEL:
        return "a language model needs seconds for a list"
    for part in dict.fromkeys((name, *registry.parts_of(name))):
        recipe = registry.recipes.get(part)
        if recipe is not None and knows_users(recipe.model):
            return f"{part} knows users by their number, and a bundle knows histories alone"
    return ""
