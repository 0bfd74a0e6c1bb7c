"""ml/training/recipe.py: strict reading, and the recipes that ship."""

from __future__ import annotations

import subprocess
import sys

import pytest

from ml.config import TableError
from ml.training.recipe import load_recipe, load_recipes, recipe_from_tables

TEXT = """
title = "A title"
source = "A paper"
notes = "Some words"
set = "quick"

[model]
architecture = "sasrec"
dimensions = 16
blocks = 1
heads = 2
feed_forward_dimensions = 16
dropout = 0
max_length = 10
block = "pre_norm"
item_embedding = "dense"
separate_output_embedding = false
embedding_deviation = 0.02

[task]
name = "next_item"

[objective]
name = "sampled_softmax"
negatives = 8
log_q_correction = true

[optimiser]
learning_rate = 1e-3
betas = [0.9, 0.98]
weight_decay = 0.0
warm_up_steps = 0

[training]
batch_size = 4
max_epochs = 2
patience = 1
"""


def _read(folder, text):
    path = folder / "one.toml"
    path.write_text(text)
    return load_recipe(path)


def test_a_recipe_is_read_as_written(tmp_path):
    recipe = _read(tmp_path, TEXT)
    assert recipe.name == "one"
    assert recipe.codes is None
    assert recipe.model.dropout == 0.0
    assert isinstance(recipe.model.dropout, float)
    assert recipe.optimiser.betas == (0.9, 0.98)
    assert recipe.objective.negatives == 8
    assert recipe_from_tables("one", recipe.as_tables(), "here") == recipe


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("blocks = 1\n", "", r"one\.toml: the key model\.blocks is missing"),
        ("blocks = 1\n", "blocks = 1\nblcoks = 2\n", r"one\.toml: unknown key model\.blcoks"),
        ("blocks = 1\n", "blocks = 1.0\n", r"one\.toml: model\.blocks must be a whole number, not 1\.0"),
        ("blocks = 1\n", "blocks = true\n", r"one\.toml: model\.blocks must be a whole number, not True"),
        ("blocks = 1\n", "blocks = 0\n", r"one\.toml: model\.blocks must be at least 1, not 0"),
        ("heads = 2\n", "heads = 3\n", r"one\.toml: model\.heads \(3\) must divide"),
        ("dropout = 0\n", 'dropout = "0"\n', r"one\.toml: model\.dropout must be a number, not '0'"),
        ("embedding = false", "embedding = 0", r"model\.separate_output_embedding must be true or false"),
        ("max_length = 10", 'max_length = "all"', r"model\.max_length must be a whole number or \"auto\", not 'all'"),
        ("max_length = 10", "max_length = 0", r'model\.max_length must be at least 1, or "auto", not 0'),
        ("patience = 1", "patience = 1\nmax_steps = -1", r"training\.max_steps must not be negative, not -1"),
        ('"pre_norm"', '"post_norm"', r'model\.block must be one of "sasrec", "pre_norm", .*, not \'post_norm\''),
        ('"sasrec"', '"bert"', r"model\.architecture must be one of alpharec, .*, sasrec.*, not 'bert'"),
        ('architecture = "sasrec"\n', "", r"the key model\.architecture is missing"),
        ('"sampled_softmax"', '"hinge"', r"objective\.name must be one of .*sampled_softmax.*, not 'hinge'"),
        ("negatives = 8\n", "", r"the key objective\.negatives is missing"),
        ("[0.9, 0.98]", "[0.9]", r"optimiser\.betas must be a list of 2 values"),
        ("[0.9, 0.98]", '[0.9, "a"]', r"optimiser\.betas must be a number, not 'a'"),
        ("[0.9, 0.98]", "[0.9, inf]", r"optimiser\.betas must be a finite number, not inf"),
        (
            "negatives = 8\n",
            "negatives = 8\npopularity_power = nan\n",
            r"one\.toml: objective\.popularity_power must be a finite number, not nan",
        ),
        ("[0.9, 0.98]", "[0.9, 1.0]", r"optimiser\.betas must be in \[0, 1\)"),
        ("[training]", "[trainng]", r"the table \[training\] is missing"),
        ('title = "A title"\n', "", r"the key title is missing"),
        ('title = "A title"\n', 'title = "A title"\ncolour = 1\n', r"unknown key colour"),
        (
            'title = "A title"\n',
            'title = "A title"\ncodes = "svd"\n',
            r"codes are named, and this model has no use for them",
        ),
        ('"dense"', '"joint_product_quantised"', r"this model needs codes: name a recipe of codes"),
        ("blocks = 1\n", "blocks = \n", r"one\.toml: not a TOML file"),
    ],
)
def test_a_wrong_recipe_names_file_and_key(tmp_path, old, new, message):
    assert old in TEXT
    with pytest.raises(TableError, match=message):
        _read(tmp_path, TEXT.replace(old, new))


def test_a_maximum_length_may_be_left_open(tmp_path):
    recipe = _read(tmp_path, TEXT.replace("max_length = 10", 'max_length = "auto"'))
    assert recipe.model.max_length == "auto"
    assert recipe_from_tables("one", recipe.as_tables(), "here") == recipe


def test_words_do_not_change_the_digest_and_values_do(tmp_path):
    digest = _read(tmp_path, TEXT).digest()
    assert _read(tmp_path, TEXT.replace("Some words", "Other words")).digest() == digest
    assert _read(tmp_path, TEXT.replace("blocks = 1", "blocks = 2")).digest() != digest


def test_the_default_kind_of_weight_decay_is_not_part_of_the_digest(tmp_path):
    recipe = _read(tmp_path, TEXT)
    assert "decay" not in recipe.as_tables()["optimiser"]
    assert (
        _read(tmp_path, TEXT.replace("weight_decay", 'decay = "decoupled"\nweight_decay')).digest() == recipe.digest()
    )
    other = _read(tmp_path, TEXT.replace("weight_decay", 'decay = "in_gradient"\nweight_decay'))
    assert other.digest() != recipe.digest()
    assert recipe_from_tables("one", other.as_tables(), "here") == other


def test_a_folder_without_recipes(tmp_path):
    with pytest.raises(TableError, match="no recipe"):
        load_recipes(tmp_path)


def test_the_recipes_that_ship():
    recipes = {recipe.name: recipe for recipe in load_recipes()}
    assert {"sasrec_sampled_softmax", "gsasrec", "gsasrec_recjpq"} <= set(recipes)
    assert recipes["sasrec_sampled_softmax"].objective_name == "sampled_softmax"
    for name in ("gsasrec", "gsasrec_recjpq"):
        assert recipes[name].objective_name == "generalised_binary_cross_entropy"
    assert recipes["gsasrec_recjpq"].codes == "svd"
    assert recipes["gsasrec"].codes is None


def test_reading_recipes_imports_no_torch():
    code = "import sys; from ml.training.recipe import load_recipes; load_recipes(); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
