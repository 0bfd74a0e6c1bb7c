"""Fitting a recommender again on all interactions, test items included, for a release that is in use.

Nothing can be measured on such a fit. What is measured is the fit before it, from which it takes what validation users
decided: the number of epochs of a model, the weights of a fusion, goal and tradeoff of a re-ranking.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from ml.baselines.registry import BASELINES
from ml.data.training_set import FIT_ON_EVERYTHING, TrainingSet
from ml.recommender import ALIGNMENT, BASELINE, FUSION, LANGUAGE_MODEL, MODEL, RERANKING
from ml.recommenders.load import FolderOf
from ml.recommenders.registry import Registry
from ml.release.contents import BundleError, copy_recommender
from ml.training.summary import source_of_trained

# what cannot be fitted again with what validation decided, for sentences
_NOT_AGAIN = {
    ALIGNMENT: "an alignment learns from lists of training users",
    LANGUAGE_MODEL: "a language model is trained in steps of its own",
}


def can_be_refitted(name: str, registry: Registry, folder_of: FolderOf | None = None) -> str:
    """Why a recommender cannot be fitted on everything, as the beginning of a sentence; empty where it can.

    Args:
        name: of the recommender.
        registry: the recommenders that names stand for.
        folder_of: the folder of its fit and of those of its parts, where there are such: what a model was trained from
            stands there alone.

    Raises:
        KeyError: there is no such recommender.
    """
    for part in (*registry.parts_of(name), name):
        kind = registry.kind_of(part)
        if kind in _NOT_AGAIN:
            return f"{part}: {_NOT_AGAIN[kind]}"
        if kind == MODEL:
            recipe = registry.recipes[part]
            if recipe.reads_times:
                return f"{part}: the model reads times, and a training set holds none of its test items"
            if recipe.teacher_lists is not None:
                return f"{part}: the model is taught lists of training users"
            if recipe.pretraining is not None:
                return f"{part}: its folder does not hold the weights of other datasets that the model starts from"
            if folder_of is not None and (release := source_of_trained(folder_of(part))):
                return (
                    f"{part}: it was trained from the weights of release {release[:12]}, for fewer epochs than fresh "
                    "weights need; WARM_START=off trains it from those"
                )
    return ""


def refit_on_everything(
    name: str,
    folder_of: FolderOf,
    registry: Registry,
    training_set: TrainingSet,
    into: Path,
    seed: int = 0,
    *,
    threads: int | None = None,
    device: str = "cpu",
    precision: str = "float32",
) -> FolderOf:
    """Fit a recommender and its parts again on all interactions, and save them.

    Release the result with ``training_set.with_everything_trained_on()`` and ``fitted_on="everything"``.

    Args:
        name: of the recommender.
        folder_of: the folder of the fit that was measured, by name; those of parts too.
        registry: the recommenders that names stand for.
        training_set: that it was fitted on, with item text where a baseline reads it.
        into: existing and empty; a folder of each recommender is made in it.
        seed: of baselines that draw; models have that of the measured fit.
        threads: of torch, those of the measured fit where ``None``.
        device, precision: see :class:`ml.training.runtime.Execution`.

    Returns:
        The folder of each by name, for :func:`ml.release.write_bundle.write_bundle`.

    Raises:
        BundleError: it cannot be fitted on everything (:func:`can_be_refitted`); the message says why and the remedy.
        KeyError: there is no such recommender.
    """
    if reason := can_be_refitted(name, registry, folder_of):
        raise BundleError(
            f"{name} cannot be fitted on everything ({reason}): release the fit that was measured, or choose another "
            "recommender"
        )
    options = {"threads": threads, "device": device, "precision": precision}
    for part in (*registry.parts_of(name), name):
        if not (into / part).exists():
            (into / part).mkdir()
            _REFITS[registry.kind_of(part)](part, folder_of, registry, training_set, into / part, seed, options)
    return lambda part: into / part


def _baseline(name: str, folder_of: FolderOf, registry: Registry, data: TrainingSet, into: Path, seed: int, _: Any):
    BASELINES[name].create(seed).fit(data.with_everything_trained_on()).save(into)
    _say_everything(into)


def _model(
    name: str, folder_of: FolderOf, registry: Registry, data: TrainingSet, into: Path, seed: int, options: dict
) -> None:
    from ml.training.everything import fitted_on_everything
    from ml.training.sequential_recommender import SequentialRecommender

    measured = SequentialRecommender.load(folder_of(name))
    chosen = {key: value for key, value in options.items() if value is not None}
    fitted_on_everything(measured, data, replace(measured.execution, **chosen)).save(into)


def _made_of_parts(
    name: str, folder_of: FolderOf, registry: Registry, data: TrainingSet, into: Path, seed: int, _: Any
) -> None:
    """Weights, goal and tradeoff are those of the measured fit."""
    copy_recommender(folder_of(name), into, registry.parts_of(name))
    _say_everything(into)


def _say_everything(folder: Path) -> None:
    (folder / "fit.json").write_text(json.dumps({"fit_on": FIT_ON_EVERYTHING}) + "\n", encoding="utf-8")


_REFITS: dict[str, Callable[[str, FolderOf, Registry, TrainingSet, Path, int, dict], None]] = {
    BASELINE: _baseline,
    MODEL: _model,
    FUSION: _made_of_parts,
    RERANKING: _made_of_parts,
}
