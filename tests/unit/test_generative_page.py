"""docs/generative.md: the recipes of the page can be read, and it names all generative recipes of the library."""

from __future__ import annotations

import re
from pathlib import Path

from ml.codes.recipe import load_codes_recipe
from ml.codes.registry import METHODS
from ml.recommenders.facts import beam_width_of
from ml.recommenders.registry import library_registry
from ml.training.recipe import load_recipe

TEXT = (Path(__file__).parents[2] / "docs" / "generative.md").read_text(encoding="utf-8")


def test_the_recipes_of_the_page_can_be_read(tmp_path):
    vectors_of_a_model, codes, model = re.findall(r"^```toml\n(.*?)^```$", TEXT, re.M | re.S)
    (tmp_path / "text_four_levels.toml").write_text(codes)
    found = load_codes_recipe(tmp_path / "text_four_levels.toml")
    assert (found.collisions, found.book_sizes) == ("resolved", (64, 64, 64, 64))
    (tmp_path / "and_a_model.toml").write_text(f"{codes}\n{vectors_of_a_model}")
    assert load_codes_recipe(tmp_path / "and_a_model.toml").needs_recipes == ("sasrec_sampled_softmax",)
    (tmp_path / "model.toml").write_text(model)
    recipe = load_recipe(tmp_path / "model.toml")
    assert recipe.codes == found.name
    assert beam_width_of(recipe.model) == 0


def test_the_page_names_all_generative_recipes_and_methods():
    recipes = [name for name, recipe in library_registry().recipes.items() if beam_width_of(recipe.model) is not None]
    assert len(recipes) > 5
    named = set(re.findall(r"`(\w+)`", TEXT))
    assert set(recipes) <= named
    assert set(METHODS) <= named
