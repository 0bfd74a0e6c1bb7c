"""docs/adding_a_model.md: the model of the page, from the page, as one file and one recipe."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import ml.models
from ml.config import TableError
from ml.data.sequences import Sequences
from ml.data.training_set import TrainingSet
from ml.models.build import build_model
from ml.models.settings import MODEL_SETTINGS
from ml.training.recipe import load_recipe
from ml.training.runtime import Execution
from ml.training.sequential_recommender import SequentialRecommender

PAGE = Path(__file__).parents[2] / "docs" / "adding_a_model.md"
ITEMS = 40


def _block(language: str) -> tuple[str, str]:
    """The name that the page gives to the only block of a language, and the block."""
    found = re.findall(rf"^## [^\n]*`([^\n`]*)`\n\n```{language}\n(.*?)^```$", PAGE.read_text(), re.M | re.S)
    assert len(found) == 1
    return found[0]


@pytest.fixture
def recipe_path(tmp_path, monkeypatch) -> Path:
    """The recipe of the page in a folder of its own, and the file of the page among the models."""
    for language in ("python", "toml"):
        name, text = _block(language)
        (tmp_path / Path(name).name).write_text(text)
    name, _ = _block("python")
    assert name == "ml/models/decayed_mean.py"
    monkeypatch.setattr(ml.models, "__path__", [*ml.models.__path__, str(tmp_path)])
    yield tmp_path / Path(_block("toml")[0]).name
    sys.modules.pop("ml.models.decayed_mean", None)
    if hasattr(ml.models, "decayed_mean"):
        del ml.models.decayed_mean


def _ring(users: int = 200) -> TrainingSet:
    """Each item is always followed by the same other one."""
    random = np.random.default_rng(0)
    ring = random.permutation(ITEMS)
    rows = [ring[(random.integers(ITEMS) + np.arange(random.integers(5, 9))) % ITEMS] for _ in range(users)]
    return TrainingSet(
        dataset="ring",
        item_ids=np.array([b"%04d" % item for item in range(ITEMS)]),
        user_ids=np.array([b"%04d" % user for user in range(users)]),
        train=Sequences.from_lists([row[:-2] for row in rows]),
        validation_users=np.arange(users, dtype=np.int32),
        validation_targets=np.array([row[-2] for row in rows], dtype=np.int32),
        test_users=np.arange(users, dtype=np.int32),
        test_targets=np.array([row[-1] for row in rows], dtype=np.int32),
    )


def test_one_file_and_one_recipe_make_a_recommender(recipe_path, tmp_path):
    training_set = _ring()
    recommender = SequentialRecommender(load_recipe(recipe_path), execution=Execution(threads=1)).fit(training_set)
    histories = training_set.histories("test")
    found = recommender.recommend(histories, 1, exclude_seen=False)
    assert (found.items[:, 0] == training_set.test_targets).mean() > 0.9
    saved = tmp_path / "saved"
    saved.mkdir()
    recommender.save(saved)
    again = SequentialRecommender.load(saved).recommend(histories, 1, exclude_seen=False)
    assert np.array_equal(found.items, again.items)
    assert np.array_equal(found.scores, again.scores)


def test_no_state_of_the_example_sees_the_future(recipe_path):
    model = build_model(load_recipe(recipe_path).model, ITEMS, 0, None)
    items = torch.randint(ITEMS, (2, 7))
    changed = items.clone()
    changed[:, 4:] = (changed[:, 4:] + 1) % ITEMS
    lengths, users = torch.tensor([7, 7]), torch.tensor([-1, -1])
    before, after = model(items, lengths, users), model(changed, lengths, users)
    torch.testing.assert_close(before[:, :4], after[:, :4])
    assert not torch.allclose(before[:, 4:], after[:, 4:])


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("decay = 0.5\n", "", r"the key model\.decay is missing"),
        ("decay = 0.5\n", 'decay = "much"\n', r"model\.decay must be a number, not 'much'"),
        ("decay = 0.5\n", "decay = 2.0\n", r"model\.decay must be above 0 and at most 1, not 2\.0"),
        ("decay = 0.5\n", "decay = 0.5\nheads = 2\n", r"unknown key model\.heads"),
        ('"next_item"', '"cloze"\nmasked_share = 0.2\nlast_item_share = 0.1', "no vector for a mask"),
        ('"decayed_mean"', '"decayed_sum"', "architecture must be one of .*, not 'decayed_sum'"),
    ],
)
def test_a_wrong_recipe_of_ones_own_model_names_file_and_key(recipe_path, old, new, message):
    text = recipe_path.read_text()
    assert old in text
    recipe_path.write_text(text.replace(old, new))
    with pytest.raises(TableError, match=rf"decayed_mean\.toml: .*{message}"):
        load_recipe(recipe_path)


@pytest.mark.parametrize("name", ["transformer", "item_embeddings", "settings", "no_such_file", "a-b", "os.path", ""])
def test_other_modules_are_no_architecture(name):
    assert name not in MODEL_SETTINGS
    with pytest.raises(KeyError):
        MODEL_SETTINGS[name]


def test_reading_the_shipped_settings_needs_no_file_of_a_model():
    assert all(MODEL_SETTINGS[name].__module__.startswith("ml.models.settings.") for name in MODEL_SETTINGS)
    assert len(MODEL_SETTINGS) == len(list(MODEL_SETTINGS))
