"""What the tests of teachers and students run on: a teacher whose lists are known, and a student small enough to learn
them at once."""

from __future__ import annotations

from typing import Any

import numpy as np
from training_toys import ITEMS, toy_recipe

from ml.data.sequences import Sequences
from ml.data.teacher_lists import TeacherLists
from ml.data.training_set import FIT_ON_TRAIN, TrainingSet
from ml.recommender import NO_ITEM, Recommendations
from ml.retrieval.top_k import tie_break_order, top_k
from ml.teaching.make_lists import make_teacher_lists
from ml.teaching.recipe import TeacherListsRecipe
from ml.training.recipe import Recipe, recipe_from_tables

DEPTH = 4


class RingTeacher:
    """Lists the items that follow the last one in the ring of ``ring_training_set``, nearest first; for an empty
    history those behind item 0."""

    def __init__(self, training_set: TrainingSet) -> None:
        self.follower = np.zeros(ITEMS, dtype=np.int64)
        for row in range(len(training_set.train)):
            history = training_set.train[row]
            self.follower[history[:-1]] = history[1:]

    def scores(self, histories: Sequences) -> np.ndarray:
        at = np.array([row[-1] if len(row) else 0 for row in (histories[n] for n in range(len(histories)))], dtype=int)
        scores = np.full((len(histories), ITEMS), -float(ITEMS), dtype=np.float32)
        for place in range(1, ITEMS):
            at = self.follower[at]
            scores[np.arange(len(at)), at] = -place
        return scores

    def recommend(self, histories: Sequences, k: int, exclude_seen: bool) -> Recommendations:
        scores = self.scores(histories)
        if exclude_seen:
            for row in range(len(histories)):
                scores[row, histories[row]] = -np.inf
        found = top_k(scores, k, tie_break_order(ITEMS))
        return Recommendations(np.where(np.isfinite(found.scores), found.items, NO_ITEM).astype(np.int32), found.scores)


def lists_recipe(**changed: Any) -> TeacherListsRecipe:
    values: dict[str, Any] = {
        "name": "ring_lists", "title": "Ring", "source": "none", "notes": "", "teacher": "ring",
        "histories_per_user": 3, "depth": DEPTH, "candidates": 10,
    }  # fmt: skip
    return TeacherListsRecipe(**values | changed)


def two_tradeoffs() -> TeacherListsRecipe:
    """The teacher's own lists, and the same candidates from the least to the most popular."""
    return lists_recipe(tradeoffs=(0.0, 1.0), method="greedy", goals=("popularity",))


def ring_lists(
    training_set: TrainingSet,
    recipe: TeacherListsRecipe | None = None,
    fits: tuple[str, ...] = (FIT_ON_TRAIN,),
    seed: int = 0,
) -> TeacherLists:
    """What the teacher lists in the ring."""
    teachers = {fit_on: RingTeacher(training_set) for fit_on in fits}
    return make_teacher_lists(recipe or lists_recipe(), teachers, training_set, seed, exclude_seen=True)


def student_recipe(marks: int = 1, training: dict | None = None, model: dict | None = None, **keys: Any) -> Recipe:
    model = {
        "architecture": "gptrec", "dimensions": 32, "blocks": 1, "heads": 2, "feed_forward_dimensions": 64,
        "dropout": 0.0, "max_length": 8, "item_embedding": "dense", "separate_output_embedding": False,
        "embedding_deviation": 0.1, "lists": "next_k", "list_length": DEPTH, "marks": marks,
    } | (model or {})  # fmt: skip
    tables = toy_recipe(
        objective={"name": "softmax"},
        optimiser={"weight_decay": 0.0},
        training={"batch_size": 32, "max_epochs": 30, "patience": 30} | (training or {}),
    ).as_tables()
    tables |= {"model": model, "task": {"name": "teacher_lists"}, "teacher_lists": "ring_lists", **keys}
    return recipe_from_tables("student", tables, "the test")
