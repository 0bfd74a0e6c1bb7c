"""Recipes of codes: what they may hold, and codes from vectors of the items."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from recommender_factories import made_up_training_set

from ml.codes.principal_components import principal_components
from ml.codes.recipe import CODES_RECIPES, CodesRecipe, load_codes_recipe, load_codes_recipes
from ml.codes.registry import METHODS
from ml.codes.vectors import VectorPart, input_vectors
from ml.config import TableError
from ml.models.build import build_model
from ml.models.settings import MODEL_SETTINGS
from ml.text.vectors import text_vectors
from ml.training.recipe import load_recipe

OF_TESTS = Path(__file__).parents[1] / "recipes"
TEXT = (OF_TESTS / "codes" / "tiny_text.toml").read_text()


@pytest.fixture
def recipe() -> CodesRecipe:
    return load_codes_recipe(OF_TESTS / "codes" / "tiny_text.toml")


def test_the_library_has_a_recipe_of_each_published_assignment() -> None:
    found = load_codes_recipes()
    # of RecJPQ
    for name in ("bpr", "random", "svd"):
        assert (found[name].method_name, found[name].book_sizes) == (name, (256,) * 8)
        assert found[name].collisions == "allowed"
        assert not found[name].needs_text
    assert {recipe.method_name for recipe in found.values()} == set(METHODS) - {"principal_components"}
    assert load_codes_recipes(CODES_RECIPES / "nowhere") == {}


def test_the_recipe_of_the_documentation_is_one(tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "recommenders.md").read_text(encoding="utf-8")
    path = tmp_path / "example.toml"
    path.write_text(page[page.index("```toml\n") + 8 :].partition("```")[0])
    found = load_codes_recipe(path)
    assert found.book_sizes == (256, 256, 256, 64)
    assert found.assign(made_up_training_set(items=40)).books == 4


def test_methods_stand_in_the_order_of_their_rank() -> None:
    assert list(METHODS) == [
        "svd",
        "bpr",
        "random",
        "principal_components",
        "residual_kmeans",
        "rq_vae",
        "balanced_tree",
        "product_quantisation",
        "sequential",
        "collaborative",
        "semantic",
        "random_identifiers",
    ]


def test_prose_does_not_count_and_all_else_does(recipe: CodesRecipe) -> None:
    digest = recipe.digest()
    assert replace(recipe, title="Other", description="Other.", source="other", name="other").digest() == digest
    others = [
        replace(recipe, book_sizes=(256, 64, 301)),
        replace(recipe, seed_offset=6),
        replace(recipe, collisions="resolved"),
        replace(recipe, vectors=recipe.vectors[:1]),
        replace(recipe, vectors=recipe.vectors[::-1]),
        load_codes_recipe(OF_TESTS / "codes" / "svd.toml"),
    ]
    assert len({digest, *(other.digest() for other in others)}) == 7


def test_vectors_are_the_parts_end_to_end(recipe: CodesRecipe) -> None:
    training_set = made_up_training_set(items=40)
    assert recipe.vectors == (VectorPart("text", 16), VectorPart("interactions", 8, 0.5))
    vectors = input_vectors(training_set, (VectorPart("text", 6, 2), VectorPart("interactions", 8, 0.5)), 0)
    assert vectors.shape == (40, 14)
    text = text_vectors(training_set)[:, :6].astype(np.float64)
    # in the directions of the text, at the length of its weight
    assert np.allclose(vectors[:, :6] * np.linalg.norm(text, axis=1, keepdims=True), 2 * text)
    assert np.allclose(np.linalg.norm(vectors[:, :6], axis=1), np.where(text.any(axis=1), 2, 0))
    assert np.allclose(np.linalg.norm(vectors[:, 6:], axis=1), 0.5)


def test_the_seed_is_that_of_the_run_and_the_offset(recipe: CodesRecipe) -> None:
    training_set = made_up_training_set(items=40)
    codes = recipe.assign(training_set, seed=2)
    assert codes.method["seed"] == 7
    assert codes.digest() == replace(recipe, seed_offset=0).assign(training_set, seed=7).digest()
    assert codes.book_sizes == (256, 64, 300)
    assert codes.values.dtype == np.uint16


def test_items_of_like_text_get_like_codes(recipe: CodesRecipe) -> None:
    training_set = made_up_training_set(items=40)
    texts = tuple(("garden hose green" if item < 20 else "lipstick rose red") + f" model{item}" for item in range(40))
    of_text = replace(recipe, vectors=(VectorPart("text", 16),), book_sizes=(2, 256))
    first = of_text.assign(training_set.with_text(texts)).values[:, 0]
    assert set(first[:20]) ^ set(first[20:]) == {0, 1}


def test_principal_components_are_those_of_a_decomposition() -> None:
    vectors = np.random.default_rng(0).normal(size=(200, 6)) * np.array([9, 5, 3, 2, 1, 0.5])
    found = principal_components(vectors, 3)
    left, values, _ = np.linalg.svd(vectors - vectors.mean(axis=0), full_matrices=False)
    expected = (left * values)[:, :3].T
    assert np.allclose(np.abs(found), np.abs(expected))
    assert principal_components(vectors, 9).shape == (6, 200)


def test_books_beyond_the_components_are_random_and_the_report_says_so(recipe: CodesRecipe) -> None:
    training_set = made_up_training_set(items=40)
    codes = replace(recipe, vectors=(VectorPart("interactions", 2),), book_sizes=(256,) * 4).assign(training_set)
    assert (codes.report["components"], codes.report["random_books"]) == (2, 2)


def test_held_out_items_do_not_touch_codes_of_vectors(recipe: CodesRecipe) -> None:
    training_set = made_up_training_set(items=40)
    random = np.random.default_rng(1)
    permuted = replace(
        training_set,
        validation_targets=random.permutation(training_set.validation_targets),
        test_targets=random.permutation(training_set.test_targets),
    )
    assert recipe.assign(permuted).digest() == recipe.assign(training_set).digest()


def test_codes_of_text_need_text(recipe: CodesRecipe) -> None:
    with pytest.raises(ValueError, match="loaded without its item text"):
        recipe.assign(replace(made_up_training_set(items=40), item_text=None))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('name = "principal_components"', 'name = "rqvae"', r"method\.name must be one of balanced_tree, bpr, "),
        ('name = "principal_components"', 'name = "svd"', "the method svd takes no vectors; remove them"),
        ('name = "principal_components"', 'name = "principal_components"\nsize = 3', r"unknown key method\.size"),
        ("book_sizes = [256, 64, 300]\n", "", "needs book_sizes, and the recipe gives none"),
        ("[256, 64, 300]", "[256, 0]", "book_sizes must be from 1 to 65,536, not 0"),
        ("[256, 64, 300]", "[256, 65537]", "book_sizes must be from 1 to 65,536, not 65537"),
        ("[256, 64, 300]", "256", "book_sizes must be a list"),
        ("seed_offset = 5", "seed_offset = -1", "seed_offset must not be negative"),
        (
            'of = "text"',
            'of = "images"',
            r'vectors\.of must be one of "text", "interactions", "ppmi", "graph", "recipe"',
        ),
        ('of = "text"', 'of = "recipe"', r'vectors\.recipe must name the trained recipe, since of = "recipe"'),
        (
            'of = "text"',
            'of = "graph"\nwhiten = true',
            r'vectors\.whiten is a key of vectors of = "text", not of "graph"',
        ),
        ("seed_offset = 5", 'collisions = "no"', r'collisions must be one of "allowed", "resolved", not'),
        ("dimensions = 16", "dimensions = 0", r"vectors\.dimensions must be at least 1"),
        ("weight = 0.5", "weight = 0", r"vectors\.weight must be above 0"),
        ('[[vectors]]\nof = "text"\ndimensions = 16\n\n[[vectors]]', "[vectors]", "vectors must be a list of tables"),
        (TEXT[TEXT.index("[[vectors]]") :], "", "needs vectors, and the recipe gives none"),
        ("title", "titel", "unknown key titel"),
    ],
)
def test_what_is_wrong_is_named_with_file_and_key(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert TEXT.count(old) == 1
    path = tmp_path / "wrong.toml"
    path.write_text(TEXT.replace(old, new))
    with pytest.raises(TableError, match=rf"wrong\.toml: .*{message}"):
        load_codes_recipe(path)


def test_a_model_of_quantised_embeddings_refuses_books_of_more_than_a_byte(recipe: CodesRecipe) -> None:
    codes = recipe.assign(made_up_training_set(items=40))
    settings = load_recipe(OF_TESTS / "tiny_recjpq.toml").model
    assert settings.needs_codes
    with pytest.raises(ValueError, match="books of at most 256 codes: choose a recipe of codes with smaller"):
        build_model(replace(settings, dimensions=18), 40, 0, codes.values)


def test_models_say_themselves_that_they_need_codes() -> None:
    of_tables = load_recipe(OF_TESTS / "tiny_softmax.toml").model
    assert not of_tables.needs_codes
    assert not hasattr(MODEL_SETTINGS["fpmc"], "needs_codes")
