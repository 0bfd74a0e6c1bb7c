"""ml/models/sigma.py: the reversed order, the published layer step by step, and what a trained state may see."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from ml.config import TableError
from ml.models.catalogue import Catalogue
from ml.models.settings import SIGMASettings
from ml.models.sigma import SIGMA, partially_flipped
from ml.training.recipe import load_recipe, recipe_from_tables

ITEMS, WINDOW = 30, 9
SETTINGS = SIGMASettings(
    dimensions=12,
    dropout=0.2,
    max_length=WINDOW,
    item_embedding="dense",
    separate_output_embedding=False,
    embedding_deviation=0.7,
    blocks=1,
    feed_forward_dimensions=20,
    expansion=2,
    head_dimensions=8,
    state_dimensions=5,
    convolution_width=3,
    unflipped=3,
)

pytestmark = pytest.mark.usefixtures("one_torch_thread")


def _model() -> SIGMA:
    torch.manual_seed(0)
    return SIGMA(SETTINGS, Catalogue(ITEMS)).eval()


@given(st.lists(st.integers(1, 12), min_size=1, max_size=4), st.integers(1, 14))
def test_all_but_the_latest_items_are_reversed(lengths, unflipped):
    order = partially_flipped(torch.tensor(lengths), 12, unflipped).tolist()
    for places, length in zip(order, lengths, strict=True):
        older = max(length - unflipped, 0)
        assert places == [*reversed(range(older)), *range(older, 12)]


def test_a_layer_equals_the_published_one_row_by_row():
    """Each history alone and without padding, each part by its formula."""
    layer = _model().blocks[0].layer
    for length in (1, 3, 4, WINDOW):
        inputs = torch.randn(1, length, 12)
        older = max(length - 3, 0)
        flipped = torch.cat([inputs[:, :older].flip(1), inputs[:, older:]], dim=1)
        parts = []
        for read, gate in ((flipped, layer.flipped_gate), (inputs, layer.gate)):
            dense = read @ gate.dense.weight.T + gate.dense.bias + read
            opened = dense * torch.sigmoid(dense) @ gate.smooth.weight.T + gate.smooth.bias
            opened = opened + torch.sigmoid(dense) @ gate.bounded.weight.T
            read_by_state_space = layer.state_space(read)
            parts.append(read_by_state_space * opened + read_by_state_space)
        before = torch.cat([torch.zeros(1, 2, 12), inputs], dim=1)
        recent = sum(before[:, at : at + length] @ layer.convolution.weight[:, :, at].T for at in range(3))
        short_term, _ = layer.units(recent + layer.convolution.bias)
        mixed = 0.1 * short_term + 0.1 * parts[0] + 0.8 * parts[1]
        expected = mixed @ layer.output.weight.T + layer.output.bias
        order = partially_flipped(torch.tensor([length]), length, 3)
        torch.testing.assert_close(layer(inputs, order), expected, rtol=1e-4, atol=1e-5)
        if length <= 3:
            torch.testing.assert_close(layer(inputs, None), expected, rtol=1e-4, atol=1e-5)


def test_the_reversed_order_reaches_the_state_of_the_last_item():
    """The same weights give another state where the items before the latest are reversed, and only there."""
    model = _model()
    nn.init.constant_(model.blocks[0].layer.weights, 1.0)
    items, length = torch.arange(WINDOW)[None], torch.tensor([WINDOW])
    reversed_in_part = model(items, length, length)[0, -1]
    short = model(items[:, :3], torch.tensor([3]), length)[0, -1]
    model.unflipped = WINDOW
    assert (reversed_in_part - model(items, length, length)[0, -1]).abs().max() > 1e-4
    torch.testing.assert_close(short, model(items[:, :3], torch.tensor([3]), length)[0, -1])


def test_an_earlier_state_does_see_later_items():
    """Why the task next_item is refused."""
    model = _model()
    items, length = torch.arange(WINDOW)[None], torch.tensor([WINDOW])
    changed = items.clone()
    changed[0, 4] = 20
    assert (model(items, length, length)[0, 1] - model(changed, length, length)[0, 1]).abs().max() > 1e-3


def test_a_recipe_that_would_show_the_future_is_refused():
    tables = load_recipe("sigma").as_tables()
    assert load_recipe("sigma").model.reads_later_items
    tables["task"] = {"name": "next_item"}
    with pytest.raises(TableError, match=r"here: .*use the task every_prefix"):
        recipe_from_tables("sigma", tables, "here")
