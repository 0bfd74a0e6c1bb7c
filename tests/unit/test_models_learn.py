"""The recipes of the set ``full``, made small: each learns what there is to learn."""

from __future__ import annotations

import numpy as np
import pytest
from costs import others_slow

from ml.data.sequences import Sequences
from ml.data.training_set import TrainingSet
from ml.training.recipe import load_recipes, recipe_from_tables
from ml.training.runtime import Execution
from ml.training.sequential_recommender import SequentialRecommender

ITEMS = 40
RECIPES = {recipe.name: recipe for recipe in load_recipes() if recipe.set == "full"}
# of a model that reads no order, see below
SEQUENTIAL = sorted(RECIPES.keys() - {"mf_bpr"})
# tasks with a target or two a sequence want more passes, and are not waited for: five items by chance hit .125
EPOCHS = {"cloze": 60, "recency_sampling": 30, "next_item": 12, "every_prefix": 12}
HIT_RATE_AT_5 = {"cloze": 0.5, "recency_sampling": 0.5, "next_item": 0.9, "every_prefix": 0.9}


def _training_set(rows: list[np.ndarray]) -> TrainingSet:
    users = len(rows)
    return TrainingSet(
        dataset="made up",
        item_ids=np.array([b"%04d" % item for item in range(ITEMS)]),
        user_ids=np.array([b"%04d" % user for user in range(users)]),
        train=Sequences.from_lists([row[:-2] for row in rows]),
        validation_users=np.arange(0, users, 2, dtype=np.int32),
        validation_targets=np.array([row[-2] for row in rows[::2]], dtype=np.int32),
        test_users=np.arange(users, dtype=np.int32),
        test_targets=np.array([row[-1] for row in rows], dtype=np.int32),
    )


def _fitted(name: str, training_set: TrainingSet, epochs: int) -> SequentialRecommender:
    tables = RECIPES[name].as_tables()
    tables["model"] |= {"dimensions": 32, "max_length": 10, "embedding_deviation": 0.1}
    if "dropout" in tables["model"]:
        tables["model"]["dropout"] = 0.1
    if "negatives" in tables["objective"]:
        tables["objective"]["negatives"] = min(16, tables["objective"]["negatives"])
    tables["optimiser"]["learning_rate"] = 0.01
    tables["training"] |= {"batch_size": 16, "max_epochs": epochs, "patience": epochs, "max_steps": 0}
    recipe = recipe_from_tables(name, tables, name)
    return SequentialRecommender(recipe, execution=Execution(threads=1)).fit(training_set)


# those that take longest are trained as the others, and BERT4Rec fills in masks in test_contrast.py too
@pytest.mark.parametrize(
    "name", others_slow(SEQUENTIAL, *sorted(set(SEQUENTIAL) - {"bert4rec", "gptrec", "sasrec_recency_sampling"}))
)
def test_a_sequential_model_learns_what_follows(name):
    """Each item is always followed by the same other one, which popularity cannot know."""
    random = np.random.default_rng(0)
    ring = random.permutation(ITEMS)
    rows = [ring[(random.integers(ITEMS) + np.arange(random.integers(6, 11))) % ITEMS] for _ in range(160)]
    training_set = _training_set(rows)
    task = RECIPES[name].task_name
    recommender = _fitted(name, training_set, EPOCHS[task])
    assert recommender.log[-1].loss < 0.8 * recommender.log[0].loss
    found = recommender.recommend(training_set.histories("validation"), 5, exclude_seen=False)
    assert (found.items == training_set.validation_targets[:, None]).any(axis=1).mean() > HIT_RATE_AT_5[task]


def test_matrix_factorisation_learns_what_users_like():
    """Two groups of users, each with items of its own, in no order."""
    random = np.random.default_rng(0)
    rows = [20 * (user % 2) + random.permutation(20)[:10] for user in range(160)]
    training_set = _training_set(rows)
    recommender = _fitted("mf_bpr", training_set, 20)
    found = recommender.recommend(training_set.histories("test"), 5, exclude_seen=True)
    assert (found.items // 20 == np.arange(160)[:, None] % 2).mean() > 0.95
    unknown = recommender.recommend(training_set.train.take(np.arange(3)), 5, exclude_seen=False)
    assert (unknown.items == unknown.items[:1]).all()
