"""The recipes tiger and genrec, made small: they can learn some histories by heart, and two fits are equal."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from training_toys import ITEMS, ring_training_set

from ml.codes.codes import Codes
from ml.data.sequences import Sequences
from ml.data.training_set import TrainingSet
from ml.training.recipe import Recipe, load_recipe, recipe_from_tables
from ml.training.runtime import Execution
from ml.training.sequential_recommender import SequentialRecommender

USERS, LENGTH = 32, 4
_SMALL = {
    "dimensions": 64,
    "heads": 2,
    "head_dimensions": 16,
    "feed_forward_dimensions": 128,
    "encoder_blocks": 1,
    "decoder_blocks": 1,
    "dropout": 0.0,
    "max_length": LENGTH,
    "beam_width": 10,
    "embedding_deviation": 0.3,
}


def _codes() -> Codes:
    sizes = (5, 4, 2)
    order = np.random.default_rng(0).permutation(ITEMS)
    values = np.stack(np.unravel_index(order, sizes), axis=1).astype(np.uint8)
    return Codes(values, {"name": "unique", "books": 3, "book_sizes": list(sizes)})


def _recipe(name: str, epochs: int) -> Recipe:
    tables = load_recipe(name).as_tables()
    tables["model"] |= _SMALL
    tables["task"]["prefixes"] = 0
    if "pretraining_epochs" in tables["task"]:
        tables["task"] |= {"pretraining_epochs": epochs // 4, "pretraining_steps": 0}
    tables["optimiser"] |= {"learning_rate": 2e-3, "warm_up_steps": 10}
    tables["training"] = {"batch_size": 16, "max_epochs": epochs, "patience": epochs, "weight_averaging": 0.95}
    return recipe_from_tables(name, tables, name)


def _fitted(name: str, training_set: TrainingSet, epochs: int) -> SequentialRecommender:
    recommender = SequentialRecommender(_recipe(name, epochs), 0, _codes(), execution=Execution(threads=1))
    return recommender.fit(training_set)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["tiger", "genrec"])
def test_histories_without_a_pattern_are_learnt_by_heart(name):
    random = np.random.default_rng(0)
    rows = [random.permutation(ITEMS)[:LENGTH] for _ in range(USERS)]
    training_set = TrainingSet(
        dataset="no pattern",
        item_ids=np.array([b"%04d" % item for item in range(ITEMS)]),
        user_ids=np.array([b"%04d" % user for user in range(USERS)]),
        train=Sequences.from_lists(rows),
        validation_users=np.zeros(0, dtype=np.int32),
        validation_targets=np.zeros(0, dtype=np.int32),
        test_users=np.zeros(0, dtype=np.int32),
        test_targets=np.zeros(0, dtype=np.int32),
    )
    recommender = _fitted(name, training_set, 200)
    found = recommender.recommend(Sequences.from_lists([row[:-1] for row in rows]), 1, exclude_seen=True)
    assert (found.items[:, 0] == [row[-1] for row in rows]).mean() > 0.95


@pytest.mark.parametrize("name", ["tiger", "genrec"])
def test_two_fits_have_the_same_weights_and_lists(name):
    training_set = ring_training_set(40)
    first, second = (_fitted(name, training_set, 2) for _ in range(2))
    weights = second.model.state_dict()
    assert all(torch.equal(weight, weights[key]) for key, weight in first.model.state_dict().items())
    lists = [each.recommend(training_set.histories("test"), 5, exclude_seen=True) for each in (first, second)]
    assert np.array_equal(lists[0].items, lists[1].items)
    assert np.array_equal(lists[0].scores, lists[1].scores)
