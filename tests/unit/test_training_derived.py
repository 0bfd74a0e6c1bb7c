"""ml/training/derived.py: what a recipe leaves open follows from the training histories, and nothing else changes."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from training_toys import fitted, ring_training_set, toy_recipe

from ml.models.build import build_model
from ml.training.derived import LENGTHS, SHARE_READ, derive, described, filled_in, read_described
from ml.training.moving_average import WeightAverage
from ml.training.recipe import load_recipe, load_recipes, recipe_from_tables
from ml.training.sequential_recommender import SequentialRecommender
from ml.training.weights_digest import weights_digest

HISTORIES = st.lists(st.integers(0, 900), min_size=1, max_size=60).map(lambda rows: np.array(rows, dtype=np.int64))
FEW = {"batch_size": 8, "max_epochs": 3, "patience": 2}


def _derived(lengths, model=None, **training):
    recipe, derived = derive(toy_recipe(model=model, training=FEW | training), lengths)
    return recipe, {each.key: each for each in derived}


@given(lengths=HISTORIES)
def test_a_recipe_of_plain_numbers_stays_as_it_is(lengths):
    recipe = toy_recipe(training=FEW | {"weight_averaging": 0.9, "validate_every": 2})
    assert derive(recipe, lengths) == (recipe, ())


@given(lengths=HISTORIES, batch_items=st.integers(0, 900), steps=st.integers(0, 500))
def test_a_derived_recipe_leaves_nothing_open(lengths, batch_items, steps):
    limits = {"max_steps": steps, "patience_steps": steps, "validate_every_steps": steps, "batch_items": batch_items}
    recipe, derived = derive(toy_recipe(model={"max_length": "auto"}, training=limits), lengths)
    assert derive(recipe, lengths) == (recipe, ())
    assert "model.max_length" in {each.key for each in derived}
    tables = toy_recipe(model={"max_length": "auto"}, training=limits).as_tables()
    filled = recipe_from_tables("toy", filled_in(tables, derived), "the test")
    assert filled.model == recipe.model
    for name in ("batch_size", "max_epochs", "patience", "validate_every"):
        assert getattr(filled.training, name) == getattr(recipe.training, name)


@given(lengths=HISTORIES)
def test_the_maximum_length_is_the_shortest_that_reads_enough(lengths):
    recipe, derived = _derived(lengths, model={"max_length": "auto"})
    trained = lengths[lengths >= 2]

    def enough(length: int) -> bool:
        return np.minimum(trained, length + 1).sum() >= SHARE_READ * trained.sum()

    length = recipe.model.max_length
    assert length in LENGTHS
    assert enough(length) or length == LENGTHS[-1]
    assert not any(enough(shorter) for shorter in LENGTHS if shorter < length)
    assert f"{length} (reads " in str(derived["model.max_length"])


@pytest.mark.parametrize(("longest", "expected"), [(5, 50), (51, 50), (80, 100), (150, 200), (2000, 200)])
def test_lengths_of_alike_histories(longest, expected):
    recipe, _ = _derived(np.full(100, longest), model={"max_length": "auto"})
    assert recipe.model.max_length == expected


@given(lengths=HISTORIES, items=st.integers(1, 4000))
def test_a_batch_of_prefixes_counts_the_items_of_all_samples(lengths, items):
    task = {"name": "every_prefix", "prefixes": 3}
    recipe, _ = derive(toy_recipe(task=task, training=FEW | {"batch_items": items}), lengths)
    trained = lengths[lengths >= 2]
    if len(trained):
        mean = recipe.task.items_read(trained, recipe.model.max_length).mean()
        assert recipe.training.batch_size == 1 or recipe.training.batch_size * mean <= items


@pytest.mark.parametrize(("users", "epochs", "expected"), [(64, 3, 10), (640, 3, 3), (64, 0, 0)])
def test_pretraining_lasts_for_the_longer_of_epochs_and_steps(users, epochs, expected):
    """A step an epoch, and ten; none where there is no pre-training."""
    tables = load_recipe("genrec").as_tables()
    tables["task"] |= {"pretraining_epochs": epochs, "pretraining_steps": 10}
    recipe, found = derive(recipe_from_tables("genrec", tables, "the test"), np.full(users, 5))
    assert recipe.task.pretraining_epochs == expected
    filled = recipe_from_tables("genrec", filled_in(tables, found), "the test")
    assert filled.task.pretraining_epochs == expected


@given(lengths=HISTORIES, items=st.integers(1, 4000), more=st.integers(0, 4000))
def test_a_batch_holds_so_many_items_on_average(lengths, items, more):
    recipe, _ = _derived(lengths, batch_items=items)
    size, mean = recipe.training.batch_size, np.minimum(lengths[lengths >= 2], recipe.model.max_length)
    assert 1 <= size <= FEW["batch_size"]
    if len(mean):
        assert size == 1 or size * mean.mean() <= items
    roomier, _ = _derived(lengths, batch_items=items + more)
    assert roomier.training.batch_size >= size


@given(histories=st.integers(1, 400), steps=st.integers(1, 300), more=st.integers(0, 300))
def test_the_longer_of_epochs_and_steps_holds(histories, steps, more):
    lengths = np.full(histories, 6)
    an_epoch = -(-histories // FEW["batch_size"])
    limits = {"patience_steps": steps, "max_steps": steps, "validate_every_steps": steps}
    recipe, derived = _derived(lengths, **limits)
    for name in ("patience", "max_epochs", "validate_every"):
        value, epochs = getattr(recipe.training, name), FEW.get(name, 1)
        assert value >= epochs
        assert value * an_epoch >= steps
        assert value == epochs or (value - 1) * an_epoch < steps
        assert derived[f"training.{name}"].value == value
    longer, _ = _derived(lengths, **dict.fromkeys(limits, steps + more))
    assert longer.training.patience >= recipe.training.patience


def test_without_validation_users_training_is_no_longer_than_its_epochs():
    recipe = toy_recipe(training=FEW | {"max_steps": 500, "patience_steps": 500})
    assert derive(recipe, np.full(9, 6), validated=False)[0].training.max_epochs == FEW["max_epochs"]
    assert derive(recipe, np.full(9, 6), validated=True)[0].training.max_epochs == 250


def test_histories_that_are_not_trained_on_do_not_count():
    recipe, _ = derive(toy_recipe(training=FEW | {"patience_steps": 40}), np.array([1] * 800 + [4] * 8), least_items=2)
    assert recipe.training.patience == 40


def test_derived_values_are_trained_with_and_kept(tmp_path):
    """As if the recipe had named them, bit for bit; and a saved model says what they were."""
    training_set = ring_training_set(60)
    limits = {"batch_size": 16, "max_epochs": 2, "patience": 2}
    left_open = toy_recipe(
        model={"max_length": "auto"}, training=limits | {"max_steps": 12, "validate_every_steps": 8, "batch_items": 64}
    )
    plain = toy_recipe(
        model={"max_length": 50}, training=limits | {"max_epochs": 2, "validate_every": 1, "batch_size": 8}
    )
    found = fitted(left_open, training_set, fit_on="train+validation")
    same = fitted(plain, training_set, fit_on="train+validation")
    assert weights_digest(found.model.state_dict()) == weights_digest(same.model.state_dict())
    assert same.derived == ()
    found.save(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["recipe"]["model"]["max_length"] == "auto"
    assert config["derived"]["model.max_length"]["value"] == 50
    assert config["derived"]["training.batch_size"]["value"] == 8
    loaded = SequentialRecommender.load(tmp_path)
    assert loaded.derived == found.derived
    assert loaded.recipe == left_open
    histories = training_set.histories("test")
    assert np.array_equal(
        loaded.recommend(histories, 5, exclude_seen=False).items, found.recommend(histories, 5, False).items
    )
    assert read_described(described(found.derived)) == found.derived


def test_a_model_without_a_length_is_refused():
    with pytest.raises(ValueError, match=r'max_length is "auto"'):
        build_model(toy_recipe(model={"max_length": "auto"}).model, 10, 0, None)


FOR_ANY_DATASET = [recipe for recipe in load_recipes() if recipe.set != "published"]


@pytest.mark.parametrize("recipe", FOR_ANY_DATASET, ids=lambda recipe: recipe.name)
@pytest.mark.parametrize("users", [40, 1000, 20000])
def test_the_recipes_that_ship_are_patient_with_few_users_too(recipe, users):
    """They stop after some hundreds of steps without a better validation, however few make an epoch."""
    concrete, _ = derive(recipe, np.full(users, 20))
    an_epoch = -(-users // concrete.training.batch_size)
    assert concrete.training.patience * an_epoch >= 300
    assert concrete.training.max_epochs * an_epoch >= 3000
    assert concrete.training.patience >= concrete.training.validate_every


@pytest.mark.parametrize("recipe", FOR_ANY_DATASET, ids=lambda recipe: recipe.name)
def test_short_histories_of_many_users_are_trained_on_as_the_recipe_says(recipe):
    """Sets of the shape of Amazon's, which results are published on: nothing that is derived differs from the epochs,
    the batches and the length of 50 that recipes named before."""
    lengths = np.random.default_rng(0).geometric(1 / 5, size=8442).astype(np.int64) + 1
    concrete, derived = derive(recipe, lengths)
    fixed = recipe.model.max_length != "auto"
    assert concrete.model.max_length == (recipe.model.max_length if fixed else 50)
    for name in ("batch_size", "max_epochs", "patience", "validate_every"):
        assert getattr(concrete.training, name) == getattr(recipe.training, name)
    pretrained = getattr(recipe.task, "pretraining_epochs", None)
    assert getattr(concrete.task, "pretraining_epochs", None) == pretrained
    assert len(derived) == 5 - fixed + (pretrained is not None)


@pytest.mark.parametrize(
    "recipe", [each for each in load_recipes() if each.set == "published"], ids=lambda one: one.name
)
def test_published_sizes_are_fixed(recipe):
    assert derive(recipe, np.array([2, 90, 700])) == (recipe, ())


@given(decay=st.floats(0.01, 0.999), steps=st.integers(20, 60))
def test_the_average_forgets_the_first_weights_within_twenty_steps(decay, steps):
    """However slow its decay, so that an average of few steps is none of weights before training."""
    model = torch.nn.Linear(1, 1, bias=False).double()
    with torch.no_grad():
        model.weight.fill_(0.0)
        average = WeightAverage(model, decay)
        model.weight.fill_(1.0)
        for _ in range(steps):
            average.update(model)
    assert average.averages["weight"].item() == pytest.approx(1.0, abs=1e-6)


@pytest.mark.parametrize("name", ["batch_items", "max_steps", "patience_steps", "validate_every_steps"])
def test_no_limit_is_negative(name):
    with pytest.raises(ValueError, match=f"{name} must not be negative, not -1"):
        replace(toy_recipe().training, **{name: -1})
