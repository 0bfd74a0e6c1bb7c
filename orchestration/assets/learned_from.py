"""Recommenders that an asset learns from, fitted on what it needs: the teachers of lists, the models under codes."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from ml.baselines.registry import BASELINES
from ml.models.settings import needs_item_text
from ml.recommenders.registry import any_reads_times, codes_recipes, recipes, registry
from orchestration.assets.rankings import load
from orchestration.dataset_settings import fitted_where, read_settings
from orchestration.paths import DatasetPaths
from orchestration.reporting import as_dagster_failure
from orchestration.resources import Settings

if TYPE_CHECKING:
    from ml.data.training_set import TrainingSet
    from ml.recommender import Recommender

# what decides a fit besides the training set
SETTINGS = tuple(["settings", name] for name in ("training", "fit", "ranking"))


def reads_text_to_fit(name: str) -> bool:
    """Whether fitting a recommender, with all that it is built on, reads item text or the vectors of it."""
    return any(_reads_text(part) for part in (*registry().built_on(name), name))


def reads_times_to_fit(name: str) -> bool:
    """Whether fitting a recommender, with all that it is built on, reads when items were interacted with."""
    return any_reads_times((*registry().built_on(name), name))


def learned_from(
    name: str,
    on: str,
    training_set: TrainingSet,
    paths: DatasetPaths,
    settings: Settings,
    tell: Callable[[str], None],
    purpose: str,
) -> Recommender:
    """A recommender fitted on ``on``: as its asset left it, or fitted now where its asset keeps another fit.

    Args:
        name: of the recommender.
        on: ``train`` or ``train+validation``.
        training_set: with what fitting it reads.
        paths: of the dataset.
        settings: of the run.
        tell: is given a line where the recommender is fitted now.
        purpose: what for, as the end of that line.

    Raises:
        dg.Failure: it is fitted now, and its loss is no finite number any more.
    """
    from ml.recommenders.fit import Conditions, fit
    from ml.training.loop import DivergedError

    if on == read_settings("fit", paths.dataset)["fit_on"]:
        return load(paths, name, training_set.items)
    # its asset keeps the final fit alone, which has read the validation items
    tell(f"{name} is fitted on the training items alone, for {purpose}")
    conditions = Conditions(
        read_settings("training", paths.dataset)["seed"],
        on,
        read_settings("ranking", paths.dataset)["exclude_seen"],
        **fitted_where(settings, paths.dataset),
    )
    with as_dagster_failure(paths.dataset, DivergedError):
        return fit(name, training_set, conditions, registry())


def _reads_text(name: str) -> bool:
    """Whether fitting a baseline or a model reads item text, for itself or for its codes."""
    if name in BASELINES:
        return BASELINES[name].needs_item_text or BASELINES[name].needs_text_vectors
    if name not in recipes():
        return False
    codes = recipes()[name].codes
    return needs_item_text(recipes()[name].model) or (codes is not None and codes_recipes()[codes].needs_text)
