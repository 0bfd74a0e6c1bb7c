"""What the tests of alignment run on: tiny students, and worlds whose best list is known."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from ml.alignment.policy import Prompts
from ml.alignment.recipe import AlignmentRecipe
from ml.data.sequences import Sequences
from ml.data.training_set import TrainingSet
from ml.models.build import build_model
from ml.models.gptrec import GPTRec
from ml.models.settings import GPTRecSettings
from ml.training.recipe import Recipe, recipe_from_tables
from ml.training.runtime import Execution
from ml.training.sequential_recommender import SequentialRecommender

MODEL: dict[str, Any] = {
    "architecture": "gptrec",
    "dimensions": 16,
    "blocks": 1,
    "heads": 2,
    "feed_forward_dimensions": 16,
    "dropout": 0.1,
    "max_length": 6,
    "item_embedding": "dense",
    "separate_output_embedding": False,
    "embedding_deviation": 0.3,
    "lists": "next_k",
    "list_length": 4,
    "marks": 0,
}


def toy_recipe(**changed: Any) -> AlignmentRecipe:
    """An alignment of seconds."""
    known: dict[str, Any] = {
        "name": "toy",
        "title": "Toy",
        "source": "none",
        "notes": "for tests",
        "set": "quick",
        "student": "toy_student",
        "method": "ppo",
        "goals": ("category_diversity",),
        "weights": (1.0,),
        "steps": 60,
        "batch_size": 32,
        "policy_learning_rate": 3e-3,
        "value_learning_rate": 1e-2,
        "validate_every": 20,
        "kl": 0.0,
    }
    return AlignmentRecipe(**known | changed)


def toy_model(items: int = 8, **changed: Any) -> GPTRec:
    """A model with random weights, in evaluation mode."""
    settings = {name: value for name, value in MODEL.items() if name != "architecture"}
    model = build_model(GPTRecSettings(**settings | changed), items, 0, None)
    assert isinstance(model, GPTRec)
    return model.eval()


def toy_prompts(model: GPTRec, rows: int, hides: int) -> Prompts:
    """Histories of different lengths, with the first items of the catalogue hidden."""
    random = np.random.default_rng(0)
    lengths = torch.from_numpy(random.integers(1, model.max_length + 1, rows))
    items = torch.from_numpy(random.integers(0, model.items, (rows, model.max_length)))
    hidden = None
    if hides:
        hidden = torch.zeros(rows, model.items, dtype=torch.bool)
        hidden[:, :hides] = True
    return Prompts(items, lengths, None if model.marks is None else torch.zeros_like(lengths), hidden)


def world(
    histories: list[list[int]], items: int, targets: list[int] | None = None, text: list[str] | None = None
) -> TrainingSet:
    """Training histories, and the same users with their targets as validation users."""
    users = np.arange(len(histories), dtype=np.int32)
    validated = users if targets is not None else users[:0]
    return TrainingSet(
        dataset="world",
        item_ids=np.array([b"%03d" % item for item in range(items)]),
        user_ids=np.array([b"%03d" % user for user in users]),
        train=Sequences.from_lists(histories),
        validation_users=validated,
        validation_targets=np.array(targets if targets is not None else [], dtype=np.int32),
        test_users=users,
        test_targets=np.zeros(len(users), dtype=np.int32),
        item_text=None if text is None else tuple(text),
    )


def student_recipe(max_epochs: int = 8, **model: Any) -> Recipe:
    """A recipe of a student that writes lists of four items."""
    tables = {
        "title": "Toy student",
        "source": "none",
        "notes": "for tests",
        "set": "quick",
        "model": MODEL | model,
        "task": {"name": "next_item"},
        "objective": {"name": "softmax"},
        "optimiser": {"learning_rate": 0.01, "betas": [0.9, 0.98], "weight_decay": 0.0, "warm_up_steps": 0},
        "training": {"batch_size": 64, "max_epochs": max_epochs, "patience": 8},
    }
    return recipe_from_tables("toy_student", tables, "toy_student")


def trained_student(training_set: TrainingSet, **changed: Any) -> SequentialRecommender:
    """A student trained on a world for a second."""
    return SequentialRecommender(student_recipe(**changed), execution=Execution(threads=1)).fit(training_set)
