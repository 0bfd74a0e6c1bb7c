"""Selection of assets by recipes: their groups, what a run omits, and the refusal of what was not chosen."""

from __future__ import annotations

from collections.abc import Iterable

import dagster as dg

from ml.baselines.registry import ALWAYS_RUN, BASELINES
from ml.extras import missing, remedy, require
from ml.recommenders.choice import (
    chosen_names,
    compared,
    left_out_language_models,
    needed_codes,
    needed_pretrained,
    needed_teacher_lists,
)
from orchestration.dagster_internals import BaseAssetGraph

# the group of assets that no run makes unasked
ON_DEMAND = "searches"
# the job of the default recipes
EVERYTHING = "everything"
# what needs the extra `report`
REPORT = dg.AssetKey(["evaluation", "report"])
# the group of models, rankings and codes that are made only where their recipes are named
MORE_RECIPES = "more_recipes"

# layers of assets that are made where a chosen model needs them
_NEEDED = {"codes": needed_codes, "teacher_lists": needed_teacher_lists, "pretrained": needed_pretrained}


def group_of(layer: str, name: str) -> str:
    """The group of an asset of a recommender or of codes: its layer, or apart where the default recipes do not need it.

    Args:
        layer: ``baselines``, ``models``, ``rankings``, ``codes``, ``teacher_lists`` or ``pretrained``.
        name: of the recommender, of the code assignment or of the teacher lists.
    """
    needed = _NEEDED[layer](chosen_names([])) if layer in _NEEDED else compared([])
    return layer if name in needed else MORE_RECIPES


def unwanted(graph: BaseAssetGraph, named: Iterable[str]) -> set[dg.AssetKey]:
    """Assets that were not chosen (:func:`is_chosen`), and those that are made only on demand."""
    chosen = chosen_names(named)
    return {
        key
        for key in graph.materializable_asset_keys
        if not is_chosen(key, chosen) or graph.get(key).group_name == ON_DEMAND
    }


def is_chosen(key: dg.AssetKey, chosen: Iterable[str]) -> bool:
    """Whether an asset is made under a choice: all but the recommenders that run only where they are chosen, their
    rankings; code assignments, teacher lists and pre-trained weights that no chosen model needs; and the report where
    the extra for it is not installed.

    Args:
        chosen: models, fusions and re-rankings, as :func:`chosen_names` returns them.
    """
    layer, name = key.path[0], key.path[-1]
    if layer in _NEEDED:
        return name in _NEEDED[layer](chosen)
    if key == REPORT:
        return not missing("report")
    return layer not in ("baselines", "models", "rankings") or name in ALWAYS_RUN or name in chosen


def left_out(named: Iterable[str]) -> list[str]:
    """What a run under a choice does not make because an extra or a language model is missing, one sentence each."""
    sentences = []
    if not set(named) and (module := missing("train")):
        sentences.append(f"models are left out: {remedy('train', module)}")
    for name, reason in left_out_language_models(named).items():
        sentences.append(f"{name} is left out: {reason}")
    if module := missing("report"):
        sentences.append(f"the report is left out: {remedy('report', module)}")
    return sentences


def check_extras(keys: Iterable[dg.AssetKey]) -> None:
    """That what is chosen can be made here, whoever chose it: a workspace may come from another environment.

    Raises:
        MissingExtra: there are models, fusions, re-rankings or rankings of these, and the extra ``train`` is not
            installed.
    """
    trained = sorted(key for key in keys if key.path[0] in ("models", "rankings") and key.path[-1] not in BASELINES)
    if trained:
        require("train", trained[0].to_user_string())


def require_chosen(key: dg.AssetKey, chosen: Iterable[str], dataset: str) -> None:
    """Refuse to make an asset that was not chosen.

    Raises:
        dg.Failure: with what to do.
    """
    if not is_chosen(key, chosen):
        raise dg.Failure(description=f"{dataset}: {not_chosen([key])}", allow_retries=False)


def not_chosen(keys: Iterable[dg.AssetKey]) -> str:
    """Message: why the given assets are not made, and how to make them."""
    keys = set(keys)
    if keys == {REPORT}:
        return f"{REPORT.to_user_string()}: {remedy('report', missing('report'))}"
    names = ", ".join(sorted(key.to_user_string() for key in keys))
    return (
        f"{names}: not among the recipes chosen for this dataset. Name the recipe under `recipes` in the launchpad of "
        "the job all_recipes, or in RECIPES of `make run`, with the others that are to be compared."
    )
