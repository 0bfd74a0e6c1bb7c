"""Datasets and a recipe for the tests of pre-training on other datasets."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from training_toys import SAMPLED_SOFTMAX, ring_training_set, toy_recipe

from ml.data.training_set import TrainingSet
from ml.training.recipe import PretrainingSettings, Recipe

_KINDS = ("saw", "hose", "valve", "wire", "tape", "glove", "bolt", "drill")
_COLOURS = ("red", "green", "blue", "black", "white")

PRETRAINING = PretrainingSettings(
    epochs=2, batch_size=16, learning_rate=0.01, sequence_weight=0.001, item_drop=0.2, finetuned="all"
)


def text_ring(dataset: str, users: int = 80, seed: int = 0) -> TrainingSet:
    """A ring of items with texts: with equal seeds equal titles follow one another in all datasets; brands differ."""
    training_set = ring_training_set(users, seed)
    texts = tuple(
        f"Title: {_COLOURS[item % 5]} {_KINDS[item // 5]} Brand: {dataset} Category: Tools Price: Unknown"
        for item in range(training_set.items)
    )
    return replace(training_set, dataset=dataset).with_text(texts)


def pretrained_recipe(name: str = "toy", **changed) -> Recipe:
    """UniSRec in small, pre-trained."""
    model = {
        "architecture": "unisrec",
        "dimensions": 16,
        "blocks": 1,
        "heads": 1,
        "feed_forward_dimensions": 16,
        "dropout": 0.1,
        "max_length": 8,
        "block": "pre_norm",
        "item_embedding": "text_experts_and_id",
        "separate_output_embedding": False,
        "embedding_deviation": 0.1,
        "temperature": 0.07,
    }
    recipe = toy_recipe(SAMPLED_SOFTMAX, model=model, training={"max_epochs": 2})
    return replace(recipe, name=name, pretraining=replace(PRETRAINING, **changed))


def with_other_held_out_items(training_set: TrainingSet) -> TrainingSet:
    """The same training histories, with other validation and test items."""
    random = np.random.default_rng(5)
    return replace(
        training_set,
        validation_targets=random.permutation(training_set.validation_targets),
        test_targets=random.permutation(training_set.test_targets),
    )
