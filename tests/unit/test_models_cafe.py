"""CaFe: what it adds to the items' own scores."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from recommender_factories import made_up_training_set
from training_toys import toy_recipe

from ml.models.build import build_model
from ml.models.settings import CaFeSettings
from ml.training.recipe import load_recipe
from ml.training.runtime import Execution
from ml.training.sequential_recommender import SequentialRecommender

pytestmark = pytest.mark.usefixtures("one_torch_thread")

ITEMS = 12
SETTINGS = CaFeSettings(
    dimensions=8,
    dropout=0.0,
    max_length=6,
    item_embedding="dense",
    separate_output_embedding=False,
    embedding_deviation=0.5,
    blocks=1,
    heads=2,
    feed_forward_dimensions=8,
    category_dimensions=4,
)
HISTORIES = (torch.tensor([[3, 1, 4, 1, 5, 9], [2, 6, 5, 0, 0, 0]]), torch.tensor([6, 3]), torch.tensor([-1, -1]))


def model_of(categories: np.ndarray):
    torch.manual_seed(0)
    return build_model(SETTINGS, ITEMS, 0, None, categories=categories).eval()


@torch.no_grad()
def test_a_score_is_that_of_the_item_and_that_of_its_category():
    categories = np.arange(ITEMS) % 3
    model = model_of(categories)
    states = model(*HISTORIES)[:, 2]
    fine = states[:, :8] @ model.input_embedding.weight.T
    coarse = states[:, 8:] @ model.category_vectors.T
    torch.testing.assert_close(model.output_embedding.score_all(states), fine + coarse[:, categories])


@torch.no_grad()
def test_items_of_a_category_are_read_alike_by_the_coarse_encoder_alone():
    model = model_of(np.arange(ITEMS) % 3)
    items, lengths, users = HISTORIES
    # another item of the same category in the place of each
    before, after = model(items, lengths, users), model((items + 3) % ITEMS, lengths, users)
    torch.testing.assert_close(before[..., 8:], after[..., 8:])
    assert not torch.allclose(before[..., :8], after[..., :8])
    # the categories are read: other ones, other states of both encoders
    other = model_of((np.arange(ITEMS) + 1) % 3)(items, lengths, users)
    assert not torch.allclose(before[..., 8:], other[..., 8:])
    assert not torch.allclose(before[..., :8], other[..., :8])


def test_data_without_categories_are_refused_by_the_name_of_the_recipe():
    toy = toy_recipe()
    recipe = replace(toy, name="coarse", architecture="cafe", model=SETTINGS)
    training_set = made_up_training_set()
    without = training_set.with_text(("words alone",) * training_set.items)
    with pytest.raises(ValueError, match=r"recipe coarse: .* no item of Made_Up has one"):
        SequentialRecommender(recipe, execution=Execution(threads=1)).fit(without)
    with pytest.raises(ValueError, match="recipe coarse: this model reads the text"):
        SequentialRecommender(recipe, execution=Execution(threads=1)).fit(replace(training_set, item_text=None))


def test_the_recipe_differs_from_the_plain_one_by_its_categories_alone():
    recipe, plain = load_recipe("cafe"), load_recipe("sasrec_sampled_softmax")
    assert (recipe.set, recipe.family, recipe.plain) == ("knowledge", "attributes", plain.name)
    for part in ("task", "objective", "optimiser", "training"):
        assert getattr(recipe, part) == getattr(plain, part)
    for key in ("dimensions", "blocks", "heads", "feed_forward_dimensions", "dropout", "max_length"):
        assert getattr(recipe.model, key) == getattr(plain.model, key)
