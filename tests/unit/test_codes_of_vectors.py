"""Codes that are made of the item vectors of a trained model: which models may be named, and how they are fitted."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
from recommender_factories import FACTORIES, made_up_training_set
from training_toys import IDENTIFIER_TREE, LIST_WRITER, fitted, ring_training_set, toy_recipe

from ml.baselines.registry import BASELINES
from ml.codes.recipe import CODES_RECIPES, CodesRecipe, load_codes_recipes
from ml.codes.registry import METHODS
from ml.codes.vectors import VectorPart
from ml.data.training_set import FIT_ON_BOTH, FIT_ON_TRAIN
from ml.recommenders.codes_of_vectors import why_no_vectors
from ml.recommenders.fit import Conditions, fit
from ml.recommenders.item_vectors import item_vectors
from ml.recommenders.registry import Registry, library_registry
from ml.reproduction import fit as reproduction
from ml.reproduction.claims import Claim
from ml.training.recipe import load_recipes
from ml.training.sequential_recommender import SequentialRecommender

SHORT = {"max_epochs": 2, "patience": 2}
PLAIN = replace(toy_recipe(training=SHORT), name="plain")
TREE = replace(toy_recipe(**{**IDENTIFIER_TREE, "codes": "codes_a"}, training=SHORT), name="tree")


def codes_of(name: str, *sources: str) -> CodesRecipe:
    method = METHODS["residual_kmeans"].resolve()()
    parts = tuple(VectorPart("recipe", 8, recipe=source) for source in sources)
    return CodesRecipe(name, "Codes", "", "none", "residual_kmeans", method, (8, 8), parts, 0, "resolved")


def test_all_recipes_of_the_library_name_models_with_item_vectors():
    codes, known = load_codes_recipes(), {recipe.name: recipe for recipe in load_recipes()}
    assert {name: why_no_vectors(name, codes, known) for name in codes} == dict.fromkeys(codes, "")
    assert all((CODES_RECIPES / f"{name}.toml").exists() for name in codes)
    registry = library_registry()
    tree = replace(registry.recipes["item_codes_tree"], codes="text_and_sasrec")
    on_vectors = replace(registry, recipes={**registry.recipes, tree.name: tree})
    assert on_vectors.built_on("item_codes_tree") == ("sasrec_sampled_softmax",)
    assert on_vectors.built_on("sasrec_tree_fusion") == ("sasrec_sampled_softmax", "item_codes_tree")
    # none that ships asks for another model
    assert not any(registry.vectors_of_codes(name) for name in registry.recipes)


@pytest.mark.parametrize(
    ("sources", "message"),
    [
        (("plane",), r"there is no model plane \(did you mean plain\?\), and nothing else has item vectors"),
        (("most_popular",), "there is no model most_popular"),
        (("plain", "tree"), "codes_a -> tree -> codes_a is a circle of codes and models"),
        (("on_b",), "codes_a -> on_b -> codes_b -> tree -> codes_a is a circle"),
        (("on_c",), "on_c is built on codes itself"),
        (("student",), "student is taught by another recommender"),
        (("pretrained",), "pretrained is pre-trained on other datasets"),
    ],
)
def test_what_gives_no_item_vectors_is_named_with_what_does(sources, message):
    writer = replace(toy_recipe(**LIST_WRITER), name="writer")
    pretrained = next(factory for factory in FACTORIES if "pretrain" in factory.name).create(0).recipe
    models = {
        "plain": PLAIN,
        "tree": TREE,
        "on_b": replace(TREE, codes="codes_b"),
        "on_c": replace(toy_recipe(codes="codes_c"), name="on_c"),
        "student": replace(writer, teacher_lists="lists"),
        "pretrained": pretrained,
    }
    codes = {one.name: one for one in (codes_of("codes_a", *sources), codes_of("codes_b", "tree"), codes_of("codes_c"))}
    assert re.fullmatch(f"{message}.*; name one of plain", why_no_vectors("codes_a", codes, models))
    assert why_no_vectors("codes_c", codes, models) == ""
    del models["plain"]
    assert why_no_vectors("codes_a", codes, models).endswith(
        "; add the recipe of a model with item vectors, and name that"
    )


@pytest.mark.parametrize("fit_on", [FIT_ON_TRAIN, FIT_ON_BOTH])
def test_a_model_is_fitted_on_codes_of_a_model_that_read_the_training_items_alone(fit_on, tmp_path):
    training_set = ring_training_set(60)
    registry = Registry({"plain": PLAIN, "tree": TREE}, {}, {"codes_a": codes_of("codes_a", "plain")})
    alone = fitted(PLAIN, training_set, seed=3, validate_with_seen_excluded=True)
    expected = registry.codes["codes_a"].assign(training_set, 3, lambda _: item_vectors(alone))
    before: dict = {}
    conditions = Conditions(3, fit_on, exclude_seen=True, threads=1)
    found = fit("tree", training_set, conditions, registry, before, tmp_path / "tree")
    assert isinstance(found, SequentialRecommender)
    assert found.codes.digest() == expected.digest()
    # what reads more is another model than that of this name
    assert set(before) == ({"tree", "plain"} if fit_on == FIT_ON_TRAIN else {"tree"})


def test_the_reproduction_fits_the_model_under_codes_first(monkeypatch, tmp_path):
    registry = Registry({"plain": PLAIN, "tree": TREE}, {}, {"codes_a": codes_of("codes_a", "plain")})
    monkeypatch.setattr(reproduction, "_known", lambda: registry)
    fits = reproduction.needed_fits([Claim("tree", "Tree", "ring", "tree", FIT_ON_BOTH, "none", seeds=1)])
    assert [each.recommender for each in fits] == ["plain", "tree"]
    bench = reproduction.Bench(ring_training_set(40), True, tmp_path, "code", threads=1)
    result = reproduction.measured(bench, fits[1])
    assert reproduction.measured(bench, fits[1]).seconds == result.seconds
    # other codes are another model
    other = replace(registry.codes["codes_a"], book_sizes=(4, 16))
    monkeypatch.setattr(reproduction, "_known", lambda: replace(registry, codes={"codes_a": other}))
    assert reproduction.measured(bench, fits[1]).key != result.key


def test_what_scores_without_item_vectors_gives_none():
    training_set = ring_training_set(20)
    with pytest.raises(ValueError, match=r"MostPopular scores items without item vectors.*under vectors\.recipe"):
        item_vectors(BASELINES["most_popular"].create(0).fit(training_set))
    tree = next(factory for factory in FACTORIES if factory.name == "item_codes_tree").create(0)
    with pytest.raises(ValueError, match="scores items without item vectors"):
        item_vectors(tree.fit(made_up_training_set()))


def test_item_vectors_are_those_that_states_are_scored_with():
    model = fitted(PLAIN, ring_training_set(20))
    vectors = item_vectors(model)
    assert np.array_equal(vectors, model.model.output_embedding.weight.detach().numpy())
