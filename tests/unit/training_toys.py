"""What the tests of training run on: a pattern that can be learnt, and a recipe small enough to learn it at once."""

from __future__ import annotations

import numpy as np

from ml.codes.codes import Codes
from ml.codes.svd import assign_svd_codes
from ml.data.sequences import Sequences
from ml.data.training_set import TrainingSet
from ml.training.recipe import Recipe, recipe_from_tables
from ml.training.runtime import Execution
from ml.training.sequential_recommender import SequentialRecommender

ITEMS = 40
# a model that generates identifiers, as the arguments of toy_recipe
IDENTIFIER_TREE = {
    "codes": "identifiers",
    "objective": {"name": "code_cross_entropy"},
    "model": {
        "architecture": "item_codes",
        "dimensions": 16,
        "blocks": 1,
        "heads": 1,
        "feed_forward_dimensions": 16,
        "dropout": 0.3,
        "max_length": 8,
        "block": "pre_norm",
        "reads": "codes_and_items",
        "head": "tree",
        "beam_width": 0,
        "embedding_deviation": 0.1,
    },
}
# a model that writes lists, as the arguments of toy_recipe
LIST_WRITER = {
    "objective": {"name": "softmax"},
    "model": {
        "architecture": "gptrec",
        "dimensions": 32,
        "blocks": 1,
        "heads": 2,
        "feed_forward_dimensions": 64,
        "dropout": 0.1,
        "max_length": 8,
        "item_embedding": "dense",
        "separate_output_embedding": False,
        "embedding_deviation": 0.1,
        "lists": "next_k",
        "list_length": 4,
        "marks": 0,
    },
}
SAMPLED_SOFTMAX = {"name": "sampled_softmax", "negatives": 16, "log_q_correction": True}
GBCE = {
    "name": "generalised_binary_cross_entropy",
    "negatives": 16,
    "calibration": 0.75,
    "negatives_drawn_for": "batch",
}


def ring_training_set(users: int = 240, seed: int = 0) -> TrainingSet:
    """Each item is always followed by the same other one, in one ring through all items in random order."""
    random = np.random.default_rng(seed)
    ring = random.permutation(ITEMS)
    rows = [ring[(random.integers(ITEMS) + np.arange(random.integers(5, 12))) % ITEMS] for _ in range(users)]
    return TrainingSet(
        dataset="ring",
        item_ids=np.array([b"%04d" % item for item in range(ITEMS)]),
        user_ids=np.array([b"%04d" % user for user in range(users)]),
        train=Sequences.from_lists([row[: -1 - (user % 2 == 0)] for user, row in enumerate(rows)]),
        validation_users=np.arange(0, users, 2, dtype=np.int32),
        validation_targets=np.array([row[-2] for row in rows[::2]], dtype=np.int32),
        test_users=np.arange(users, dtype=np.int32),
        test_targets=np.array([row[-1] for row in rows], dtype=np.int32),
    )


def toy_recipe(
    objective: dict | None = None,
    codes: str | None = None,
    model: dict | None = None,
    optimiser: dict | None = None,
    training: dict | None = None,
    task: dict | None = None,
    contrast: dict | None = None,
) -> Recipe:
    tables = {
        "title": "Toy",
        "source": "none",
        "notes": "",
        "model": model
        if model and "architecture" in model
        else {
            "architecture": "sasrec",
            "dimensions": 32,
            "blocks": 1,
            "heads": 1,
            "feed_forward_dimensions": 32,
            "dropout": 0.1,
            "max_length": 8,
            "block": "pre_norm",
            "item_embedding": "joint_product_quantised" if codes else "dense",
            "separate_output_embedding": False,
            "embedding_deviation": 0.1,
        }
        | (model or {}),
        "set": "quick",
        "task": task or {"name": "next_item"},
        "objective": objective or SAMPLED_SOFTMAX,
        "optimiser": {"learning_rate": 0.01, "betas": [0.9, 0.98], "weight_decay": 0.01, "warm_up_steps": 2}
        | (optimiser or {}),
        "training": {"batch_size": 16, "max_epochs": 12, "patience": 12} | (training or {}),
    }
    if codes:
        tables["codes"] = codes
    if contrast:
        tables["contrast"] = contrast
    return recipe_from_tables("toy", tables, "the test")


def identifiers() -> Codes:
    """Two codes an item, unrelated to the ring."""
    order = np.random.default_rng(1).permutation(ITEMS)
    values = np.stack(np.divmod(order, 8), axis=1).astype(np.uint8)
    return Codes(values, {"name": "toy", "books": 2, "book_sizes": [5, 8]})


def fitted(recipe: Recipe, training_set: TrainingSet, seed: int = 0, **options) -> SequentialRecommender:
    codes = assign_svd_codes(training_set, books=4) if recipe.codes else None
    return SequentialRecommender(recipe, seed, codes, execution=Execution(threads=1), **options).fit(training_set)
