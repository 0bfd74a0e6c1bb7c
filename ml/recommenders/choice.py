"""What a choice of recipes stands for: the recommenders that it names, and what these need."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from ml.baselines.registry import ALWAYS_RUN, BASELINES
from ml.extras import missing, remedy
from ml.language_models.recipe import LanguageModelRecipe
from ml.language_models.rerank_recipe import RerankRecipe
from ml.language_models.sources import obstacle
from ml.recommenders import registry as recommenders

# the set that is taken where nothing is named
DEFAULT_SET = "quick"


def chosen_baselines() -> list[str]:
    """Baselines that run only where they are chosen, in the order of tables."""
    return [name for name in BASELINES if name not in ALWAYS_RUN]


def chosen_names(named: Iterable[str]) -> list[str]:
    """Models, fusions, re-rankings, alignments, and baselines that do not always run, that some names of these or of
    sets stand for; those of ``quick`` where none is named.

    Where nothing is named and the extra ``train`` is not installed, there are none.

    Names that do not exist stand for nothing (:mod:`ml.recommenders.check_choice`), and so does a recommender that is
    built on others which are not all chosen. The answer stands for itself.
    """
    wanted = set(named)
    if not wanted:
        if missing("train"):
            return []
        wanted = {DEFAULT_SET}
    sets = {inner for name in wanted & recommenders.SETS.keys() for inner in recommenders.SETS[name]}
    chosen = [
        name
        for name in chosen_baselines()
        if name in wanted or (recommenders.CHOSEN_BASELINES in sets and BASELINES[name].extra is None)
    ]
    chosen += [
        name
        for kind in (
            recommenders.recipes(),
            recommenders.fusions(),
            recommenders.rerankings(),
            recommenders.alignments(),
        )
        for name in sorted(kind)
        if name in wanted or kind[name].set in sets
    ]
    # sets hold no language model that cannot be made here; what is named is refused (ml.recommenders.check_choice)
    chosen += [
        name
        for name, recipe in recommenders.language_models().items()
        if name in wanted or (recipe.set in sets and not _obstacle(recipe))
    ]
    # what one is built on may be left out itself
    while lacking := {name for name in chosen if lacking_parts(name, chosen)}:
        chosen = [name for name in chosen if name not in lacking]
    return chosen


def lacking_parts(name: str, chosen: Collection[str]) -> list[str]:
    """What a recommender is built on and neither always runs nor is chosen."""
    return [part for part in recommenders.registry().built_on(name) if part not in ALWAYS_RUN and part not in chosen]


def left_out_language_models(named: Iterable[str]) -> dict[str, str]:
    """Language models of the chosen sets that are left out, each with the reason: it cannot be made here, or what it
    re-ranks is not chosen."""
    named = set(named)
    sets = {inner for name in named & recommenders.SETS.keys() for inner in recommenders.SETS[name]}
    chosen = chosen_names(named)
    reasons = {}
    for name, recipe in recommenders.language_models().items():
        if recipe.set not in sets or name in named or name in chosen:
            continue
        lacked = ", ".join(lacking_parts(name, chosen))
        reasons[name] = _obstacle(recipe) or f"it re-ranks {lacked}, which is not chosen"
    return reasons


def _obstacle(recipe: LanguageModelRecipe) -> str:
    """Why a language model cannot be made here, as the end of a sentence; empty where it can."""
    if isinstance(recipe, RerankRecipe):
        return obstacle(recipe, recommenders.recipes_folder())
    module = missing("llm", recipe.libraries)
    return remedy("llm", module) if module else ""


def compared(named: Iterable[str]) -> list[str]:
    """Recommenders of a leaderboard: the baselines that always run, and what was chosen."""
    return [*ALWAYS_RUN, *chosen_names(named)]


def needed_codes(chosen: Iterable[str]) -> set[str]:
    """Names of the codes that the chosen models are built on."""
    return {
        codes
        for name in chosen
        if name in recommenders.recipes() and (codes := recommenders.recipes()[name].codes) is not None
    }


def needed_teacher_lists(chosen: Iterable[str]) -> set[str]:
    """Names of the teacher lists that the chosen models are taught."""
    return {
        lists
        for name in chosen
        if name in recommenders.recipes() and (lists := recommenders.recipes()[name].teacher_lists) is not None
    }


def needed_pretrained(chosen: Iterable[str]) -> set[str]:
    """Names of the chosen models that are pre-trained on other datasets."""
    return {
        name
        for name in chosen
        if name in recommenders.recipes() and recommenders.recipes()[name].pretraining is not None
    }
