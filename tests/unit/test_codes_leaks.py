"""No recipe of codes sees held-out items: whatever they are, every code stays the same bit for bit."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from recommender_factories import made_up_training_set

from ml.codes.factors import item_factors
from ml.codes.recipe import CodesRecipe, load_codes_recipes
from ml.data.training_set import TrainingSet

RECIPES = load_codes_recipes()


def _outcome(recipe: CodesRecipe, training_set: TrainingSet) -> tuple[str, ...]:
    """Digest of the codes and bytes of their centroids, or why there are none; in place of the vectors of a trained
    model stand factors of the training interactions."""
    try:
        codes = recipe.assign(training_set, 1, lambda _: item_factors(training_set.train, training_set.items, 8, 1).T)
    except ValueError as error:
        return (str(error),)
    return (codes.digest(), *(centroids.tobytes().hex() for centroids in codes.centroids))


def _shorter(recipe: CodesRecipe) -> CodesRecipe:
    """With fewer epochs, where a network is trained: what it reads does not depend on them."""
    fewer = {"epochs": 3} if hasattr(recipe.method, "epochs") else {}
    return replace(recipe, method=replace(recipe.method, **fewer))


@pytest.mark.parametrize("name", RECIPES)
def test_permuted_and_replaced_held_out_items_change_no_code(name: str):
    training_set, recipe = made_up_training_set(), _shorter(RECIPES[name])
    labelled = (f"{text} Category: {text[-5:]} Price: Unknown" for text in training_set.item_text)
    training_set = training_set.with_text(tuple(labelled))
    random = np.random.default_rng(1)
    permuted = replace(
        training_set,
        validation_targets=random.permutation(training_set.validation_targets),
        test_targets=random.permutation(training_set.test_targets),
    )
    replaced = replace(
        training_set,
        validation_targets=random.integers(40, size=len(training_set.validation_targets)).astype(np.int32),
        test_targets=random.integers(40, size=len(training_set.test_targets)).astype(np.int32),
    )
    assert len({data.digest() for data in (training_set, permuted, replaced)}) == 3
    for text in (training_set.item_text, None):
        outcomes = {_outcome(recipe, replace(data, item_text=text)) for data in (training_set, permuted, replaced)}
        assert len(outcomes) == 1
        if text is not None:
            assert len(next(iter(outcomes))[0]) == 64, "codes were assigned"
