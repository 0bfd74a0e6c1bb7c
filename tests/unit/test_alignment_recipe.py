"""Recipes of alignments: those of the library, and what is wrong with others."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import pytest
from alignment_toys import toy_recipe

from ml.alignment.recipe import AlignmentRecipe, check_student, folder_of_weight, load_alignment, load_alignments
from ml.config import TableError
from ml.training.recipe import load_recipe

SHIPPED = {recipe.name: recipe for recipe in load_alignments()}
MINIMAL = """
title = "Aligned"
source = "none"
notes = "none"
set = "quick"
student = "some_student"
method = "ppo"
goals = ["category_diversity"]
weights = [0, 0.5]
"""


def test_recipes_of_the_library():
    assert set(SHIPPED) == {
        "gptrec_ppo", "gptrec_ppo_distilled", "gptrec_ppo_ml1m", "gptrec_ppo_popularity", "gptrec_reinforce",
    }  # fmt: skip
    assert {recipe.set for recipe in SHIPPED.values()} == {"beyond_accuracy", "published"}


def test_the_published_setting():
    """Of the authors' code (github.com/asash/gptrec_rl, configurations of MovieLens-1M)."""
    published = SHIPPED["gptrec_ppo_ml1m"]
    assert (published.set, published.method, published.value, published.cut) == ("published", "ppo", "gpt", "last")
    assert (published.batch_size, published.steps) == (128, 64_000)
    assert (published.policy_learning_rate, published.value_learning_rate) == (1e-5, 1e-4)
    assert (published.clip, published.discount, published.gae, published.validation_users) == (0.2, 0.99, 0.9, 512)
    assert (published.normalise_advantages, published.gradient_norm, published.weight_decay) == (False, 0, 0)
    # training does not stop early
    assert published.validate_every * published.patience >= published.steps
    assert (published.kl, published.entropy) == (0, 0)


def test_reinforce_is_compared_on_equal_terms():
    ppo, reinforce = SHIPPED["gptrec_ppo"], SHIPPED["gptrec_reinforce"]
    words = {name: getattr(ppo, name) for name in ("name", "title", "source", "notes", "method")}
    # REINFORCE learns from a list once
    assert replace(reinforce, **words, epochs=ppo.epochs) == ppo


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"tradeoffs": (0.0,), "start": "student"}, r"one for each of the 2 weights, or none, not \[0.0\]"),
        ({"tradeoffs": (0.0, 0.5), "start": "policy_before"}, 'use start = "student" with them'),
    ],
)
def test_wrong_tradeoffs_are_refused(changed, message):
    with pytest.raises(ValueError, match=message):
        replace(SHIPPED["gptrec_ppo"], weights=(0.0, 1.0), **changed)


def test_defaults_and_types(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(MINIMAL)
    recipe = load_alignment(path)
    assert (recipe.name, recipe.weights, recipe.kl) == ("mine", (0.0, 0.5), AlignmentRecipe.kl)


def test_no_folder_no_recipes(tmp_path):
    assert load_alignments(tmp_path / "alignments") == []


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("weights = [-0.5]", r"weights must be one or more numbers from 0 up, not \[-0.5\]"),
        ("weights = []", "weights must be one or more numbers"),
        ("weights = [inf]", "weights must be a finite number, not inf"),
        ("weights = [1, 0]", "weights must ascend"),
        ("weights = [1, 1]", "weights must ascend"),
        ("weights = [1, 1.0000000001]", "must differ in their first six digits"),
        ('goals = ["category_diversty"]', r"there is no goal category_diversty \(did you mean category_diversity"),
        ("goals = []", "goals must be one or more different goals"),
        ('method = "dpo"', 'method must be one of "ppo", "reinforce"'),
        ("steps = 0", "steps must be at least 1, not 0"),
        ("clip = 0", "clip must be above 0"),
        ("gae = 1.5", "gae must be from 0 to 1"),
        ("kl = -1", "kl must not be negative"),
        ("largest_loss = 2", "largest_loss must be from 0 to 1"),
        ("minibatches = 200", "minibatches must be at most batch_size"),
        ('method = "reinforce"\nepochs = 2', "epochs and minibatches must be 1 with reinforce"),
        ("lambda = 3", "unknown key lambda"),
        ("weights = 0.5", "weights must be a list"),
    ],
)
def test_bad_recipes_name_file_and_key(line, message, tmp_path):
    path = tmp_path / "mine.toml"
    keys = {part.split(" = ")[0] for part in line.split("\n")}
    kept = [each for each in MINIMAL.splitlines() if each.split(" = ")[0] not in keys]
    path.write_text("\n".join([*kept, line]))
    with pytest.raises(TableError, match=message) as caught:
        load_alignment(path)
    assert str(caught.value).startswith(f"{path}: ")


def test_a_missing_key(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(MINIMAL.replace('student = "some_student"', ""))
    with pytest.raises(TableError, match="the key student is missing"):
        load_alignment(path)


def test_students_write_lists():
    with pytest.raises(TableError, match=r"mine\.toml: the student some_student does not generate its lists"):
        check_student(replace(toy_recipe(), student="some_student"), load_recipe("sasrec_softmax").model, "mine.toml")


def test_the_digest_is_of_what_decides():
    recipe = toy_recipe()
    assert replace(recipe, title="Other", notes="Other", set="slow", name="other").digest() == recipe.digest()
    assert replace(recipe, kl=0.5).digest() != recipe.digest()
    assert replace(recipe, weights=(2.0,)).digest() != recipe.digest()


@pytest.mark.parametrize(("weight", "name"), [(0.0, "0"), (0.1, "0.1"), (1.0, "1"), (2.5, "2.5")])
def test_folders_of_weights(weight, name):
    assert folder_of_weight(weight) == name


def test_reading_recipes_imports_no_torch():
    code = "import sys, ml.alignment.recipe as r; r.load_alignments(); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
