"""ml/models/bsarec.py: the filter against numpy's Fourier transform, the rest against torch's own transformer."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from ml.config import TableError
from ml.data.sequences import Sequences
from ml.models.bsarec import BSARec, BSARecBlock, FrequencyFilter, causal_mean, fourier_low_pass
from ml.models.catalogue import Catalogue
from ml.models.settings import BSARecSettings
from ml.tasks.build import build_task
from ml.tasks.settings import TASK_SETTINGS, check_task_of_model
from ml.training.recipe import load_recipe, recipe_from_tables

ITEMS, WINDOW = 40, 9
SETTINGS = BSARecSettings(
    dimensions=12,
    dropout=0.2,
    max_length=WINDOW,
    item_embedding="dense",
    separate_output_embedding=False,
    embedding_deviation=0.7,
    blocks=2,
    heads=3,
    feed_forward_dimensions=20,
    attention_dropout=0.1,
    alpha=0.7,
    low_pass="fourier",
    cutoff=5,
)

pytestmark = pytest.mark.usefixtures("one_torch_thread")


def _model(**changes) -> BSARec:
    """In evaluation mode, with norms and biases drawn too, which would hide a mistake as ones and zeros."""
    torch.manual_seed(0)
    model = BSARec(replace(SETTINGS, **changes), Catalogue(ITEMS)).eval()
    for parameter in model.parameters():
        if parameter.dim() == 1:
            nn.init.normal_(parameter, mean=0.3, std=0.5)
    return model


def _low_by_numpy(inputs: np.ndarray, window: int, cutoff: int) -> np.ndarray:
    """The low-pass of ``[length, dimensions]``, padded on the left with zeros to the window, at its own places."""
    padded = np.zeros((window, inputs.shape[1]))
    padded[window - len(inputs) :] = inputs
    spectrum = np.fft.rfft(padded, axis=0)
    spectrum[cutoff // 2 + 1 :] = 0
    return np.fft.irfft(spectrum, n=window, axis=0)[window - len(inputs) :]


@given(window=st.integers(1, 60), pairs=st.integers(0, 40), data=st.data())
def test_the_low_pass_equals_numpys_fourier_transform(window, pairs, data):
    cutoff = min(2 * pairs + 1, window - (window + 1) % 2)
    length = data.draw(st.integers(1, window))
    inputs = np.random.default_rng(length).normal(size=(length, 3))
    expected = _low_by_numpy(inputs, window, cutoff)
    low = fourier_low_pass(window, cutoff)[:length, :length] @ torch.from_numpy(inputs).float()
    np.testing.assert_allclose(low.numpy(), expected, atol=1e-5)


@given(length=st.integers(1, 30))
def test_the_causal_mean_is_the_mean_so_far(length):
    inputs = torch.randn(length, 2, dtype=torch.float64)
    expected = inputs.cumsum(dim=0) / torch.arange(1, length + 1)[:, None]
    torch.testing.assert_close(causal_mean(length).double() @ inputs, expected, rtol=1e-5, atol=1e-6)


def test_the_filter_weighs_high_frequencies():
    torch.manual_seed(0)
    layer = FrequencyFilter(3, 0.5).eval()
    inputs = torch.randn(1, WINDOW, 3)
    low = torch.from_numpy(_low_by_numpy(inputs[0].numpy(), WINDOW, 3)).float()
    filtered = low + layer.high_weight_root**2 * (inputs[0] - low)
    expected = nn.functional.layer_norm(inputs[0] + filtered, (3,), eps=1e-12)
    torch.testing.assert_close(layer(inputs, fourier_low_pass(WINDOW, 3) @ inputs)[0], expected, rtol=1e-5, atol=1e-5)


def _torch_block(block: BSARecBlock) -> nn.TransformerEncoderLayer:
    """Torch's post-norm block with the weights of a block without a filter."""
    theirs = nn.TransformerEncoderLayer(
        SETTINGS.dimensions,
        SETTINGS.heads,
        SETTINGS.feed_forward_dimensions,
        activation="gelu",
        layer_norm_eps=1e-12,
        batch_first=True,
    ).eval()
    attention = block.attention
    with torch.no_grad():
        theirs.self_attn.in_proj_weight.copy_(torch.cat([attention.query.weight, attention.key_value.weight]))
        theirs.self_attn.in_proj_bias.copy_(torch.cat([attention.query.bias, attention.key_value.bias]))
    theirs.self_attn.out_proj.load_state_dict(attention.output.state_dict())
    theirs.linear1.load_state_dict(block.widen.state_dict())
    theirs.linear2.load_state_dict(block.narrow.state_dict())
    theirs.norm1.load_state_dict(block.attention_norm.state_dict())
    theirs.norm2.load_state_dict(block.feed_forward_norm.state_dict())
    return theirs


@pytest.mark.parametrize("low_pass", ["fourier", "causal_mean"])
def test_without_the_frequency_branch_it_is_a_causal_transformer(low_pass):
    """SASRec in post-norm form: embeddings by their formula, two blocks by torch."""
    model = _model(alpha=0.0, low_pass=low_pass, cutoff=5 if low_pass == "fourier" else 0)
    items = torch.randint(ITEMS, (4, WINDOW))
    vectors = model.input_embedding.weight[items] + model.positions
    hidden = nn.functional.layer_norm(vectors, (12,), model.norm.weight, model.norm.bias, 1e-12)
    mask = nn.Transformer.generate_square_subsequent_mask(WINDOW)
    with torch.no_grad():
        for block in model.blocks:
            theirs = _torch_block(block)
            hidden, before = theirs(hidden, src_mask=mask, is_causal=True), hidden
            real = torch.ones(4, WINDOW, 1, dtype=torch.bool)
            torch.testing.assert_close(block(before, before, real, None, None), hidden, rtol=1e-6, atol=2e-6)
        states = model(items, torch.full((4,), WINDOW), torch.full((4,), -1))
    torch.testing.assert_close(states, hidden, rtol=1e-5, atol=5e-6)


def test_states_equal_the_published_formula_on_a_window_padded_on_the_left():
    """Each history by itself: zeros before its first item, numpy's transform over the whole window."""
    model = _model()
    lengths = torch.tensor([4, WINDOW, 1])
    items = torch.randint(ITEMS, (3, WINDOW))
    states = model(items, lengths, torch.full((3,), -1))
    plain = [_torch_block(block) for block in model.blocks]
    for row, length in enumerate(lengths.tolist()):
        vectors = model.input_embedding.weight[items[row, :length]] + model.positions[-length:]
        hidden = nn.functional.layer_norm(vectors, (12,), model.norm.weight, model.norm.bias, 1e-12)
        mask = nn.Transformer.generate_square_subsequent_mask(length)
        for block, theirs in zip(model.blocks, plain, strict=True):
            attended = theirs.norm1(hidden + theirs._sa_block(hidden[None], mask, None)[0])
            low = torch.from_numpy(_low_by_numpy(hidden.detach().numpy(), WINDOW, SETTINGS.cutoff)).float()
            filtered = low + block.filter.high_weight_root**2 * (hidden - low)
            norm = block.filter.norm
            filtered = nn.functional.layer_norm(hidden + filtered, (12,), norm.weight, norm.bias, 1e-12)
            mixed = 0.7 * filtered + 0.3 * attended
            hidden = theirs.norm2(mixed + theirs._ff_block(mixed))
        torch.testing.assert_close(states[row, :length], hidden, rtol=1e-4, atol=1e-5)


_VARIANTS = {
    "fourier": {},
    "attention_alone": {"alpha": 0.0},
    "filter_alone": {"alpha": 1.0},
    "causal_mean": {"low_pass": "causal_mean", "cutoff": 0},
    "causal_mean_alone": {"low_pass": "causal_mean", "cutoff": 0, "alpha": 1.0},
}


@pytest.mark.parametrize("variant", _VARIANTS)
def test_the_last_block_at_some_places_computes_what_it_does_at_all(variant):
    """Also of places inside a row, of a row without any, and of one with two."""
    model = _model(**_VARIANTS[variant])
    items, lengths = torch.randint(ITEMS, (4, WINDOW)), torch.tensor([3, WINDOW, 1, 6])
    every = model(items, lengths, lengths).flatten(0, 1)
    for positions in ([2, 17, 18, 32], [1, 12], [0, 9, 15], [28, 30]):
        found = model.states(items, lengths, lengths, torch.tensor(positions))
        torch.testing.assert_close(found, every[positions], rtol=1e-5, atol=1e-5)


_TASKS = {"next_item": (), "every_prefix": (0,)}


def _allowed() -> list[tuple[str, str]]:
    found = []
    for variant, changes in _VARIANTS.items():
        for task, values in _TASKS.items():
            try:
                check_task_of_model(TASK_SETTINGS[task](*values), replace(SETTINGS, **changes))
            except ValueError:
                continue
            found.append((variant, task))
    return found


def test_the_whole_window_is_filtered_only_where_each_prefix_is_a_sample():
    allowed = _allowed()
    assert {variant for variant, task in allowed if task == "every_prefix"} == set(_VARIANTS)
    assert {variant for variant, task in allowed if task == "next_item"} == {
        "attention_alone",
        "causal_mean",
        "causal_mean_alone",
    }


@pytest.mark.parametrize(("variant", "task_name"), _allowed())
def test_no_state_that_is_trained_sees_its_target_or_what_follows(variant, task_name):
    model = _model(**_VARIANTS[variant])
    task = build_task(TASK_SETTINGS[task_name](*_TASKS[task_name]), ITEMS)
    # items of a row differ, so that a target says its place
    rows = [list(range(7)), list(range(10, 10 + WINDOW + 1)), [30, 31]]

    def states_by_target(shown: list[list[int]]) -> dict[tuple[int, int], torch.Tensor]:
        """By row and place of the target."""
        batch = task.training_batch(Sequences.from_lists(shown), np.arange(3), WINDOW, np.random.default_rng(0))
        plain = task.training_batch(Sequences.from_lists(rows), np.arange(3), WINDOW, np.random.default_rng(0))
        states = model.states(batch.items, batch.lengths, batch.users, batch.positions)
        places = [
            next((number, row.index(target)) for number, row in enumerate(rows) if target in row)
            for target in plain.targets.items.tolist()
        ]
        return dict(zip(places, states, strict=True))

    before = states_by_target(rows)
    assert set(before) == {(number, place) for number, row in enumerate(rows) for place in range(1, len(row))}
    for number, row in enumerate(rows):
        for place in range(1, len(row)):
            changed = [list(other) for other in rows]
            changed[number][place:] = [(item + 5) % ITEMS for item in row[place:]]
            after = states_by_target(changed)
            for earlier in range(1, place + 1):
                torch.testing.assert_close(after[number, earlier], before[number, earlier])
            if place + 1 < len(row):
                assert not torch.allclose(after[number, place + 1], before[number, place + 1])


@pytest.mark.parametrize("alpha", [0.7, 1.0])
def test_the_fourier_transform_does_show_later_items(alpha):
    """Why the task next_item is refused."""
    model = _model(alpha=alpha)
    items = torch.arange(WINDOW)[None]
    changed = items.clone()
    changed[0, -1] = 30
    length, user = torch.tensor([WINDOW]), torch.tensor([-1])
    assert (model(items, length, user)[0, 0] - model(changed, length, user)[0, 0]).abs().max() > 1e-3


def test_a_recipe_that_would_show_the_future_is_refused():
    tables = load_recipe("bsarec").as_tables()
    assert load_recipe("bsarec").model.reads_later_items
    tables["task"] = {"name": "next_item"}
    with pytest.raises(TableError, match=r"here: .*use the task every_prefix"):
        recipe_from_tables("bsarec", tables, "here")
    tables["model"] |= {"low_pass": "causal_mean", "cutoff": 0}
    assert not recipe_from_tables("bsarec", tables, "here").model.reads_later_items


def test_the_control_differs_by_its_alpha_alone():
    published, control = (
        load_recipe("bsarec_beauty").as_tables(),
        load_recipe("bsarec_beauty_without_filter").as_tables(),
    )
    assert control["model"].pop("alpha") == 0.0
    assert published["model"].pop("alpha") == 0.7
    for table in ("model", "task", "objective", "optimiser", "training"):
        assert published[table] == control[table]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"alpha": 1.1}, "alpha must be from 0 to 1, not 1.1"),
        ({"alpha": -0.1}, "alpha must be from 0 to 1"),
        ({"attention_dropout": 1.0}, r"attention_dropout must be in \[0, 1\)"),
        ({"cutoff": 4}, "cutoff must be an odd number above 0, not 4"),
        ({"cutoff": 0}, "cutoff must be an odd number above 0, not 0"),
        ({"cutoff": 11}, r"cutoff must be at most max_length \(9\), not 11"),
        ({"low_pass": "causal_mean"}, 'remove it with low_pass = "causal_mean"'),
        ({"heads": 5}, "heads"),
    ],
)
def test_settings_out_of_range_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        replace(SETTINGS, **changes)
