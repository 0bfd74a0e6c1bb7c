"""Checks of a choice of recipes before anything is made: what does not exist, what lacks parts, what lacks an extra."""

from __future__ import annotations

from ml.baselines.registry import BASELINES
from ml.config import nearest
from ml.extras import require
from ml.language_models.answers import NoModel
from ml.language_models.rerank_recipe import RerankRecipe
from ml.language_models.sources import obstacle
from ml.recommender import ALIGNMENT, FUSION, LANGUAGE_MODEL, MODEL, RERANKING
from ml.recommenders import choice
from ml.recommenders import registry as recommenders
from ml.training.recipe import RECIPE_SETS

_IN_WORDS = {
    MODEL: "taught by another recommender, which is not",
    FUSION: "a fusion, and not all of its parts are",
    RERANKING: "a re-ranking, and not all of its parts are",
    ALIGNMENT: "an alignment, and not all that its student needs is",
    LANGUAGE_MODEL: "a re-ranking by a language model, and not all that it re-ranks is",
}


def check_recipes(named: list[str]) -> None:
    """Check that a choice of recipes is possible.

    Raises:
        ValueError: naming the recipes that do not exist, and those that do; or the parts that a fusion or re-ranking
            lacks.
        MissingExtra: the extra ``train``, or one that a named baseline or language model needs, is not installed.
        NoModel: a named re-ranking by a language model has no model to ask.
    """
    known = [
        *choice.chosen_baselines(),
        *(name for name in recommenders.recommender_names() if name not in BASELINES),
    ]
    unknown = sorted(set(named) - {*known, *RECIPE_SETS})
    if unknown:
        meant = nearest(unknown[0], [*known, *RECIPE_SETS])
        raise ValueError(
            f"there is no recipe {', '.join(unknown)}{meant}; there are {', '.join(known)}, and the sets "
            f"{', '.join(RECIPE_SETS)}"
        )
    chosen = choice.chosen_names(named)
    for name in sorted(set(named) & set(known) - set(chosen)):
        lacking = choice.lacking_parts(name, chosen)
        words = _IN_WORDS[recommenders.kind_of(name)]
        if set(lacking) & set(recommenders.registry().vectors_of_codes(name)):
            words = "built on codes of the item vectors of another model, which is not"
        raise ValueError(f"{name} is {words} chosen: add {','.join(lacking)} to RECIPES")
    for name in choice.chosen_baselines():
        extra = BASELINES[name].extra
        if name in named and extra is not None:
            require(extra, f"RECIPES={','.join(named)}")
    if set(named) - set(choice.chosen_baselines()):
        require("train", f"RECIPES={','.join(named)}")
    for name in sorted(set(named) & recommenders.language_models().keys()):
        recipe = recommenders.language_models()[name]
        require("llm", f"the recipe {name}", recipe.libraries)
        if isinstance(recipe, RerankRecipe) and (reason := obstacle(recipe, recommenders.recipes_folder())):
            raise NoModel(f"the recipe {name}: {reason}")


def check_audit_model(name: str) -> None:
    """Check that the audits can train a recipe.

    Raises:
        ValueError: there is no such recipe.
        MissingExtra: the extra ``train`` is not installed.
    """
    if name and name not in recommenders.recipes():
        raise ValueError(
            f"there is no recipe {name} for AUDIT_MODEL{nearest(name, recommenders.recipes())}; "
            f"there are {', '.join(recommenders.recipe_names())}"
        )
    if name and recommenders.recipes()[name].pretraining is not None:
        raise ValueError(
            f"AUDIT_MODEL={name} is not possible: it is pre-trained on other datasets, which the audits do not read; "
            f"name {recommenders.recipes()[name].plain or 'another recipe'}"
        )
    if name:
        require("train", f"AUDIT_MODEL={name}")
