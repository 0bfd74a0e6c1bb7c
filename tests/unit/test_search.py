"""ml/search: it proposes what a recipe can be, goes on where it stopped, and finds what is better."""

from __future__ import annotations

import json
import tomllib
from dataclasses import replace

import pytest
from recommender_factories import made_up_training_set
from teaching_toys import ring_lists, student_recipe
from training_toys import ring_training_set

from ml.config import TableError
from ml.search.search import search
from ml.search.space import Dimension, as_toml, load_space, with_values, within
from ml.training.recipe import load_recipes, recipe_from_tables

SPACE = (
    Dimension("optimiser.learning_rate", low=1e-4, high=1e-1, logarithmic=True),
    Dimension("model.dropout", low=0.0, high=0.5),
    Dimension("model.dimensions", choices=(8, 16)),
    Dimension("training.batch_size", low=8, high=32),
    Dimension("objective.nothing_of_the_kind", choices=(1, 2)),
)


@pytest.fixture(scope="module")
def recipe():
    quick = {recipe.name: recipe for recipe in load_recipes()}["sasrec_sampled_softmax"]
    small = {
        "model.dimensions": 8,
        "model.max_length": 6,
        "objective.negatives": 8,
        "training.batch_size": 16,
        "training.max_epochs": 2,
        "training.max_steps": 0,
        "model.feed_forward_dimensions": 8,
    }
    return with_values(quick, small)


@pytest.fixture(scope="module")
def training_set():
    return made_up_training_set()


def values_of(found) -> list[tuple]:
    return [tuple(row[key] for key in ("value", *(one.key for one in SPACE[:4]))) for row in found.table]


def test_a_broken_search_goes_on_as_if_nothing_had_been(recipe, training_set, tmp_path, monkeypatch):
    whole = search(recipe, training_set, tmp_path / "whole", 5, SPACE, seed=1)
    assert whole.trials == 5
    search(recipe, training_set, tmp_path / "broken", 2, SPACE, seed=1)
    # killed in the middle of the third trial: what it proposed is in the journal, without a value
    monkeypatch.setattr("ml.search.search.train", _killed)
    with pytest.raises(KeyboardInterrupt):
        search(recipe, training_set, tmp_path / "broken", 5, SPACE, seed=1)
    monkeypatch.undo()
    again = search(recipe, training_set, tmp_path / "broken", 5, SPACE, seed=1)
    assert values_of(again) == values_of(whole)


def _killed(*arguments, **options):
    raise KeyboardInterrupt


def test_the_first_trial_is_the_recipe_and_the_best_is_never_below(recipe, training_set, tmp_path):
    said = []
    found = search(recipe, training_set, tmp_path, 3, SPACE, tell=said.append)
    first = found.table[0]
    assert first["optimiser.learning_rate"] == recipe.optimiser.learning_rate
    assert first["model.dropout"] == recipe.model.dropout
    assert found.value == max(row["value"] for row in found.table) >= found.first == first["value"]
    assert len(said) == 3
    best = tomllib.loads((tmp_path / "best.toml").read_text())
    assert recipe_from_tables(recipe.name, best, "best.toml").digest() == found.recipe.digest()
    assert json.loads((tmp_path / "search.json").read_text())["value"] == found.value


def test_more_trials_keep_those_that_were(recipe, training_set, tmp_path):
    two = search(recipe, training_set, tmp_path, 2, SPACE)
    three = search(recipe, training_set, tmp_path, 3, SPACE)
    assert values_of(three)[:2] == values_of(two)


def test_a_training_that_diverges_is_worth_nothing(recipe, training_set, tmp_path, monkeypatch):
    from ml.training.loop import DivergedError

    def diverges(*arguments, **options):
        raise DivergedError("the loss is nan")

    monkeypatch.setattr("ml.search.search.train", diverges)
    found = search(recipe, training_set, tmp_path, 2, SPACE)
    assert [row["value"] for row in found.table] == [0.0, 0.0]
    assert found.table[0]["diverged"] == "the loss is nan"


def test_refuses_what_it_cannot_do(recipe, training_set, tmp_path):
    search(recipe, training_set, tmp_path, 1, SPACE)
    with pytest.raises(ValueError, match="a search with another seed"):
        search(recipe, training_set, tmp_path, 2, SPACE, seed=5)
    with pytest.raises(ValueError, match="no key of the search space"):
        search(recipe, training_set, tmp_path / "other", 1, SPACE[-1:])
    nobody = replace(
        training_set,
        validation_users=training_set.validation_users[:0],
        validation_targets=training_set.validation_targets[:0],
    )
    with pytest.raises(ValueError, match="no validation users"):
        search(recipe, nobody, tmp_path / "other", 1, SPACE)


def test_a_length_that_follows_the_data_may_be_searched(recipe, training_set, tmp_path):
    """Its own value lies between no bounds, so the first trial draws one."""
    left_open = with_values(recipe, {"model.max_length": "auto"})
    found = search(left_open, training_set, tmp_path / "open", 1, (Dimension("model.max_length", low=3, high=9),))
    assert 3 <= found.table[0]["model.max_length"] <= 9


def test_the_space_that_ships_fits_every_recipe():
    space = load_space()
    for recipe in load_recipes():
        assert within(space, recipe)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "one or more tables"),
        ("[[dimension]]\nkey = 'dropout'\nlow = 0.1\nhigh = 0.2", "a table and a key"),
        ("[[dimension]]\nkey = 'model.dropout'\nlow = 0.1", "either choices, or low and high"),
        ("[[dimension]]\nkey = 'model.dropout'\nlow = 0.3\nhigh = 0.2", "must be below high"),
        ("[[dimension]]\nkey = 'model.dropout'\nlow = 0\nhigh = 0.2\nlogarithmic = true", "must be above 0"),
        ("[[dimension]]\nkey = 'model.dropout'\nlo = 0\nhigh = 0.2", "unknown key"),
        ("[[dimension]]\nkey = 'a.b'\nchoices = [1]\n[[dimension]]\nkey = 'a.b'\nchoices = [2]", "stands twice"),
    ],
)
def test_a_wrong_space_is_refused(tmp_path, text, message):
    path = tmp_path / "space.toml"
    path.write_text(text)
    with pytest.raises(TableError, match=message):
        load_space(path)


def test_recipes_survive_being_written():
    for recipe in load_recipes():
        read = recipe_from_tables(recipe.name, tomllib.loads(as_toml(recipe)), recipe.name)
        assert read == recipe


def test_a_student_is_searched_on_its_lists(tmp_path):
    ring = ring_training_set(60)
    recipe = student_recipe(training={"max_epochs": 2, "patience": 2})
    found = search(recipe, ring, tmp_path, 1, SPACE[:1], teacher_lists=ring_lists(ring))
    assert found.recipe == recipe
    assert found.value > 0
