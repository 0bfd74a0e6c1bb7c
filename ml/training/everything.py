"""A recipe trained once more on all interactions, for a release that is in use."""

from __future__ import annotations

import json
from dataclasses import replace

from ml.data.training_set import FIT_ON_EVERYTHING, TrainingSet
from ml.training.derived import filled_in
from ml.training.loop import Phase
from ml.training.recipe import recipe_from_tables
from ml.training.runtime import Execution
from ml.training.sequential_recommender import SequentialRecommender
from ml.training.warm_start import CarriedOver


def fitted_on_everything(
    measured: SequentialRecommender, training_set: TrainingSet, execution: Execution | None = None
) -> SequentialRecommender:
    """The same recipe with fresh weights, trained on all interactions, the test items among them, for as many epochs as
    were best. For a release alone: no item is left to measure it on.

    Codes, what is read of the items, and values derived from the data stay those of the measured fit.

    Args:
        measured: fitted, with validation users who decided when to stop.
        training_set: that it was fitted on.
        execution: threads, device and precision; those of the measured fit where ``None``.

    Raises:
        ValueError: the recipe reads times, which test items have none of; it learns more than the next item; it starts
            from weights of other datasets, and was loaded from its folder without them; or training started warm.
        DivergedError: the loss is no finite number any more.
    """
    recipe = measured.recipe
    if recipe.reads_times:
        raise ValueError(
            f"recipe {recipe.name} reads the times of interactions, and a training set holds none of its test items: "
            "it cannot be fitted on everything"
        )
    if recipe.teacher_lists is not None or measured.aligned is not None:
        raise ValueError(
            f"recipe {recipe.name} learns more than the next item of a history: it cannot be fitted on everything"
        )
    if recipe.pretraining is not None and measured.pretrained is None:
        raise ValueError(
            f"recipe {recipe.name} starts from weights that were trained on other datasets, which its folder does not "
            "hold: it cannot be fitted on everything"
        )
    if isinstance(measured.started_from, CarriedOver):
        raise ValueError(
            f"{recipe.name} was trained from the weights of an earlier release, and for fewer epochs than fresh "
            "weights need: it cannot be fitted on everything; train it with WARM_START=off"
        )
    everything = training_set.with_everything_trained_on()
    again = SequentialRecommender(
        recipe,
        measured.seed,
        measured.codes,
        execution=measured.execution if execution is None else execution,
        fit_on=FIT_ON_EVERYTHING,
        validate_with_seen_excluded=measured.validate_with_seen_excluded,
        pretrained=measured.pretrained,
    )
    again.pretrained_from = measured.pretrained_from
    again.training_set_digest = everything.digest()
    again._features, again.derived = measured._features, measured.derived
    # as JSON, whose lists a recipe is read from
    tables = json.loads(json.dumps(recipe.as_tables()))
    decided = recipe_from_tables(recipe.name, filled_in(tables, measured.derived), recipe.name)
    as_long = replace(decided, training=replace(decided.training, max_epochs=measured.best_epoch))
    found = again._train(everything, as_long, Phase(measured.seed, FIT_ON_EVERYTHING, recipe.title))
    again.log, again.best_epoch, again.share_of_padding = found.log, found.best_epoch, found.share_of_padding
    return again
