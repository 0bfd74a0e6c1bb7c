"""Weights of targets by the evenness of times and by the frequency of items."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from recommender_factories import made_up_training_set
from training_toys import toy_recipe

from ml.config import TableError
from ml.data.sequences import Sequences
from ml.models.item_embeddings import DenseItemEmbedding
from ml.objectives.build import build_objective
from ml.objectives.registry import OBJECTIVES
from ml.objectives.settings import WeightingSettings
from ml.objectives.targets import Targets
from ml.tasks.batch import next_item_batch
from ml.tasks.build import build_task
from ml.tasks.settings import EveryPrefixSettings, RecencySamplingSettings
from ml.training.recipe import load_recipe, recipe_from_tables
from ml.training.runtime import Execution
from ml.training.sequential_recommender import SequentialRecommender
from ml.training.weighting import LossWeighting, evenness_weights

pytestmark = pytest.mark.usefixtures("one_torch_thread")

WEIGHED = [name for name in OBJECTIVES if getattr(OBJECTIVES[name].resolve(), "weighs_targets", False)]
TABLES = {
    "sampled_softmax": {"negatives": 4, "log_q_correction": True},
    "generalised_binary_cross_entropy": {"negatives": 4, "calibration": 0.5, "negatives_drawn_for": "position"},
    "binary_cross_entropy": {},
    "bayesian_personalised_ranking": {"negatives": 2},
}


@given(st.lists(st.lists(st.integers(0, 500), min_size=1, max_size=7), min_size=1, max_size=5), st.floats(-1, 1))
def test_the_weight_of_a_history_is_one_plus_the_variation_of_its_gaps(rows, exponent):
    lengths = torch.tensor([len(row) for row in rows])
    times = [np.cumsum(row) for row in rows]
    width = int(lengths.max())
    padded = torch.tensor(np.stack([np.pad(row, (0, width - len(row)), mode="edge") for row in times]))
    found = evenness_weights(padded, lengths, exponent)
    gaps = [np.diff(row) for row in times]
    expected = [(1 + gap.std() / gap.mean()) ** -exponent if len(gap) >= 2 and gap.any() else None for gap in gaps]
    known = [weight for weight in expected if weight is not None]
    filled = [np.mean(known) if weight is None and known else 1.0 if weight is None else weight for weight in expected]
    torch.testing.assert_close(found, torch.tensor(filled, dtype=torch.float32), rtol=1e-4, atol=1e-5)


def sequences() -> Sequences:
    histories = Sequences.from_lists([[0, 1, 2, 3], [4, 0, 5, 1, 0], [2, 0]])
    return replace(histories, times=np.array([0, 10, 20, 30, 0, 0, 1, 900, 901, 5, 6]))


def test_targets_weigh_by_their_history_and_by_their_item():
    counts = np.array([4, 2, 1, 1, 0, 1])
    batch = next_item_batch(sequences(), np.arange(3), 10)
    weighted = LossWeighting(WeightingSettings(uniformity=1.0, frequency=0.5), counts).weighted(batch)
    gaps = np.array([0.0, 1.0, 899.0])
    uneven = 1 / (1 + gaps.std() / gaps.mean())
    # an even history, an uneven one, and one of a single gap, of which nothing is known
    of_rows = [1.0] * 3 + [uneven] * 4 + [(1 + uneven) / 2]
    of_items = [1 / np.sqrt(max(counts[item], 1)) for item in batch.targets.items]
    expected = np.array(of_rows) * np.array(of_items)
    np.testing.assert_allclose(weighted.targets.importance, expected / expected.mean(), rtol=1e-5)
    assert torch.equal(weighted.items, batch.items)
    states = torch.zeros(len(expected), 4)
    assert weighted.targets.weights(states).sum().item() == pytest.approx(1)


@pytest.mark.parametrize("settings", [EveryPrefixSettings(0), RecencySamplingSettings(0.3, 0.8)])
def test_each_target_finds_the_history_it_belongs_to(settings):
    task = build_task(settings, 6)
    batch = task.training_batch(sequences(), np.arange(3), 10, np.random.default_rng(0))
    weighted = LossWeighting(WeightingSettings(uniformity=1.0), np.ones(6)).weighted(batch)
    row = batch.positions[batch.targets.rows(len(batch.positions))] // batch.items.shape[1]
    of_rows = evenness_weights(batch.times, batch.lengths, 1.0)[row]
    torch.testing.assert_close(weighted.targets.importance, of_rows / of_rows.mean())


def test_every_objective_that_weighs_is_tested():
    assert set(WEIGHED) == set(TABLES)


@pytest.mark.parametrize("name", TABLES)
def test_an_importance_of_two_counts_as_the_target_twice(name):
    settings = OBJECTIVES[name].resolve()(**TABLES[name])
    torch.manual_seed(0)
    embedding, states = DenseItemEmbedding(30, 8, 0.5), torch.randn(3, 8)
    objective = build_objective(settings, np.ones(30, dtype=np.int64))
    items = torch.tensor([3, 7, 11])

    def loss(importance: torch.Tensor | None) -> float:
        targets = Targets(items, importance=importance)
        return objective(states, targets, embedding, np.random.default_rng(1)).item()

    ones = [loss(3 * torch.nn.functional.one_hot(torch.tensor(place), 3).float()) for place in range(3)]
    assert loss(None) == pytest.approx(sum(ones) / 3, rel=1e-5)
    weights = torch.tensor([0.5, 2.0, 0.5])
    assert loss(weights) == pytest.approx(float((weights * torch.tensor(ones)).sum()) / 3, rel=1e-5)


def test_a_recipe_with_weights_trains_otherwise_and_keeps_its_table():
    training_set = made_up_training_set()
    plain = toy_recipe()
    tables = plain.as_tables()
    tables["objective"] = {"name": "sampled_softmax", "negatives": 4, "log_q_correction": True}
    tables["model"] |= {"max_length": 6}
    tables["training"] |= {"max_epochs": 1}

    def fitted(**more) -> SequentialRecommender:
        recipe = recipe_from_tables("toy", tables | more, "toy.toml")
        return SequentialRecommender(recipe, execution=Execution(threads=1)).fit(training_set)

    weighted = fitted(weighting={"uniformity": 0.5, "frequency": 0.3})
    assert weighted._config()["weights_digest"] != fitted()._config()["weights_digest"]
    assert weighted._config()["recipe"]["weighting"] == {"uniformity": 0.5, "frequency": 0.3}
    assert "times_digest" in weighted._config()
    # rare items alone need no times
    rare = fitted(weighting={"frequency": 0.3})
    assert "times_digest" not in rare._config()


def test_uniformity_without_times_is_refused_by_the_name_of_the_recipe():
    training_set = made_up_training_set()
    without = replace(training_set, train=replace(training_set.train, times=None))
    recipe = load_recipe("sasrec_unirec")
    assert recipe.reads_times
    with pytest.raises(ValueError, match="recipe sasrec_unirec: this model reads the times"):
        SequentialRecommender(recipe, execution=Execution(threads=1)).fit(without)
    batch = next_item_batch(replace(sequences(), times=None), np.arange(3), 10)
    weighting = LossWeighting(WeightingSettings(uniformity=1.0), np.ones(6))
    with pytest.raises(ValueError, match="there are none"):
        weighting.weighted(batch)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"weighting": {}}, "both 0"),
        ({"weighting": {"frequency": 0.5}, "objective": {"name": "softmax"}}, "one weight for all targets"),
        ({"weighting": {"evenness": 0.5}}, "evenness"),
    ],
)
def test_tables_that_weigh_nothing_are_refused(changes, message):
    tables = load_recipe("sasrec_unirec").as_tables() | changes
    with pytest.raises(TableError, match=message):
        recipe_from_tables("odd", tables, "odd.toml")


def test_the_recipe_differs_from_the_plain_one_by_its_table_alone():
    recipe, plain = load_recipe("sasrec_unirec"), load_recipe("sasrec_sampled_softmax")
    assert replace(recipe, weighting=None).digest() == plain.digest()
    assert (recipe.set, recipe.family, recipe.plain) == ("knowledge", "time", plain.name)
