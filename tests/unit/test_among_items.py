"""Objectives among some items: equal to those of a smaller catalogue, and what they are for, items in no history."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from training_toys import fitted, toy_recipe

from ml.data.sequences import Sequences
from ml.data.training_set import TrainingSet
from ml.models.item_embeddings import DenseItemEmbedding, JointProductQuantisedItemEmbedding
from ml.objectives.among_items import AmongItems, SomeItems
from ml.objectives.build import build_objective
from ml.objectives.settings import (
    BayesianPersonalisedRankingSettings,
    BinaryCrossEntropySettings,
    GeneralisedBinaryCrossEntropySettings,
    LambdaRankSettings,
    SampledSoftmaxSettings,
    SoftmaxSettings,
    describe,
)
from ml.objectives.targets import Targets

ITEMS = 50
SOME = np.array([0, 3, 4, 7, 11, 12, 20, 21, 22, 30, 41, 48])
COUNTS = np.bincount(np.repeat(SOME, np.arange(1, len(SOME) + 1)), minlength=ITEMS)
OBJECTIVES = [
    SoftmaxSettings(),
    SampledSoftmaxSettings(5, True),
    SampledSoftmaxSettings(5, True, "popularity"),
    SampledSoftmaxSettings(0, True, "in_batch"),
    SampledSoftmaxSettings(5, False, negatives_drawn_for="position"),
    BinaryCrossEntropySettings(),
    GeneralisedBinaryCrossEntropySettings(5, 0.75, "batch", prior_offset=True),
    BayesianPersonalisedRankingSettings(3),
    LambdaRankSettings(1.0, 5, 8),
]
GROUPS, IN_GROUP, COLD_IN_GROUP = 12, 8, 2

pytestmark = pytest.mark.usefixtures("one_torch_thread")


def _dense() -> DenseItemEmbedding:
    return DenseItemEmbedding(ITEMS, 6, 0.7)


def _quantised() -> JointProductQuantisedItemEmbedding:
    codes = np.random.default_rng(5).integers(256, size=(ITEMS, 3), dtype=np.uint8)
    return JointProductQuantisedItemEmbedding(codes, 6, 0.7)


@pytest.mark.parametrize("make", [_dense, _quantised])
@pytest.mark.parametrize("settings", OBJECTIVES, ids=describe)
def test_it_is_the_objective_of_a_catalogue_of_these_items(settings, make) -> None:
    torch.manual_seed(0)
    whole = make()
    part = DenseItemEmbedding(len(SOME), 6, 0.7)
    part.weight.data.copy_(whole(torch.from_numpy(SOME)))
    states = torch.randn(9, 6, requires_grad=True)
    places = torch.randint(len(SOME), (9,))

    objective = build_objective(settings, COUNTS[SOME])
    expected = objective(states, Targets(places), part, np.random.default_rng(3))
    gradients = torch.autograd.grad(expected, (states, part.weight))
    among = AmongItems(objective, SOME, ITEMS)
    found = among(states, Targets(torch.from_numpy(SOME)[places]), whole, np.random.default_rng(3))
    torch.testing.assert_close(found, expected)
    of_states, *of_whole = torch.autograd.grad(found, (states, *whole.parameters()))
    torch.testing.assert_close(of_states, gradients[0])
    if isinstance(whole, DenseItemEmbedding):
        torch.testing.assert_close(of_whole[0][SOME], gradients[1])
        assert not np.delete(of_whole[0].numpy(), SOME, axis=0).any()


@pytest.mark.parametrize("make", [_dense, _quantised])
def test_scores_are_those_of_the_whole_catalogue(make) -> None:
    whole, items = make(), torch.from_numpy(SOME)
    part, states = SomeItems(whole, items), torch.randn(4, 6)
    torch.testing.assert_close(part.score_all(states), whole.score_all(states)[:, items])
    candidates = torch.tensor([[0, 5], [11, 1], [2, 2], [7, 3]])
    torch.testing.assert_close(part.score_each(states, candidates), whole.score_each(states, items[candidates]))
    torch.testing.assert_close(
        part.score_shared(states, candidates[0]), whole.score_shared(states, items[candidates[0]])
    )


def cold_training_set(split: str = "cold-items, .2 of the items") -> TrainingSet:
    """Users like the items of one group, whose texts have a word in common; the last items of each group are in no
    history, and each user's target is one of them."""
    random = np.random.default_rng(0)
    users = 20 * GROUPS
    warm = IN_GROUP - COLD_IN_GROUP
    known = [random.choice(warm, 5, replace=False) + user % GROUPS * IN_GROUP for user in range(users)]
    cold = [user % GROUPS * IN_GROUP + IN_GROUP - 1 - random.integers(COLD_IN_GROUP) for user in range(users)]
    items = GROUPS * IN_GROUP
    return TrainingSet(
        dataset="groups",
        item_ids=np.array([b"%04d" % item for item in range(items)]),
        user_ids=np.array([b"%04d" % user for user in range(users)]),
        train=Sequences.from_lists(known),
        validation_users=np.empty(0, dtype=np.int32),
        validation_targets=np.empty(0, dtype=np.int32),
        test_users=np.arange(users, dtype=np.int32),
        test_targets=np.array(cold, dtype=np.int32),
        item_text=tuple(f"Title: group{item // IN_GROUP} name{item}" for item in range(items)),
        protocol={"split": split},
    )


def _cold(training_set: TrainingSet) -> np.ndarray:
    return np.bincount(training_set.train.items, minlength=training_set.items) == 0


def _recall(training_set: TrainingSet) -> float:
    """How often the target is among the first two, of items that are not in the history."""
    recipe = toy_recipe({"name": "softmax"}, model={"item_embedding": "text", "whitened_text": False})
    lists = fitted(recipe, training_set).recommend(training_set.histories("test"), COLD_IN_GROUP, True).items
    return float((lists == np.asarray(training_set.test_targets)[:, None]).any(axis=1).mean())


def test_items_in_no_history_are_not_pushed_away_by_a_model_that_reads_text() -> None:
    assert _recall(cold_training_set()) > 1.3 * _recall(cold_training_set("leave-one-out"))


@pytest.mark.parametrize("objective", [{"name": "softmax"}, {"name": "binary_cross_entropy"}])
def test_rows_of_items_in_no_history_stay_as_they_start(objective: dict) -> None:
    training_set = cold_training_set()
    recipe = toy_recipe(
        objective=objective,
        model={"item_embedding": "text_init"},
        optimiser={"weight_decay": 0.0},
        training={"max_epochs": 2},
    )
    short = fitted(recipe, training_set)
    longer = fitted(replace(recipe, training=replace(recipe.training, max_epochs=1)), training_set)
    rows = [one.model.input_embedding.weight.detach().numpy() for one in (short, longer)]
    cold = _cold(training_set)
    assert np.array_equal(rows[0][cold], rows[1][cold])
    assert not np.array_equal(rows[0][~cold], rows[1][~cold])


def test_models_of_ids_are_trained_as_in_any_other_split() -> None:
    recipe = toy_recipe(training={"max_epochs": 1})
    one, other = (fitted(recipe, cold_training_set(split)) for split in ("cold-items, .2", "leave-one-out"))
    for name, weights in one.model.state_dict().items():
        assert torch.equal(weights, other.model.state_dict()[name])
