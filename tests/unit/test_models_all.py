"""Every architecture of ml/models that scores items: what all promise, and what each computes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from ml.models.build import build_model
from ml.models.item_biases import BiasedItemEmbedding, dense_with_bias
from ml.models.item_embeddings import DenseItemEmbedding
from ml.models.sasrec import SASRec
from ml.models.sequential_model import SequentialModel
from ml.models.settings import MODEL_SETTINGS, generates, reads_categories, reads_text, reads_words
from ml.models.user_vectors import UserVectors

ITEMS, USERS, MAX_LENGTH = 30, 5, 8

_VECTORS = {
    "dimensions": 12,
    "dropout": 0.3,
    "max_length": MAX_LENGTH,
    "item_embedding": "dense",
    "separate_output_embedding": False,
    "embedding_deviation": 0.7,
}
_TRANSFORMER = _VECTORS | {"blocks": 2, "heads": 3, "feed_forward_dimensions": 20}
_PLAIN = {"dimensions": 12, "max_length": MAX_LENGTH, "embedding_deviation": 0.7}
_CASER = _PLAIN | {"dropout": 0.3, "window": 4, "horizontal_filters": 3, "vertical_filters": 2, "user_vectors": False}
_BSAREC = _TRANSFORMER | {"attention_dropout": 0.2, "alpha": 0.6, "low_pass": "fourier", "cutoff": 3}
_GPTREC = _TRANSFORMER | {"lists": "next_k", "list_length": 4}
_MAMBA = {
    "blocks": 2,
    "feed_forward_dimensions": 20,
    "expansion": 2,
    "head_dimensions": 8,
    "state_dimensions": 5,
    "convolution_width": 3,
}
_CAFE = {"category_dimensions": 6, "category_blocks": 1, "category_heads": 2}
_RECFORMER = {
    "dimensions": 12,
    "blocks": 2,
    "heads": 2,
    "feed_forward_dimensions": 20,
    "dropout": 0.2,
    "max_length": MAX_LENGTH,
    "embedding_deviation": 0.5,
    "temperature": 0.2,
    "vocabulary": 20,
    "words_of_key": 3,
}
_QUANTISED = {"item_embedding": "joint_product_quantised"}

MODELS: dict[str, tuple[str, dict]] = {
    "sasrec": ("sasrec", _TRANSFORMER | {"block": "sasrec"}),
    "sasrec_text": ("sasrec", _TRANSFORMER | {"block": "sasrec", "item_embedding": "text"}),
    "sasrec_text_init": ("sasrec", _TRANSFORMER | {"block": "pre_norm", "item_embedding": "text_init"}),
    "sasrec_text_experts": ("sasrec", _TRANSFORMER | {"block": "pre_norm", "item_embedding": "text_experts"}),
    "unisrec": (
        "unisrec",
        _TRANSFORMER | {"block": "pre_norm", "item_embedding": "text_experts_and_id", "temperature": 0.07},
    ),
    "alpharec": ("alpharec", _PLAIN | {"hidden_dimensions": 10, "temperature": 0.2}),
    "recformer": ("recformer", _RECFORMER),
    "gru4rec_text_and_id": (
        "gru4rec",
        _VECTORS | {"layers": 1, "hidden_dimensions": 10, "item_embedding": "text_and_id"},
    ),
    "bert4rec_text_and_id": (
        "bert4rec",
        _TRANSFORMER | {"item_biases": True, "item_embedding": "text_and_id", "separate_output_embedding": True},
    ),
    "pre_norm": ("sasrec", _TRANSFORMER | {"block": "pre_norm"}),
    "gpt2": ("sasrec", _TRANSFORMER | {"block": "gpt2", "separate_output_embedding": True}),
    "esasrec": ("sasrec", _TRANSFORMER | {"block": "ligr"}),
    "esasrec_quantised": ("sasrec", _TRANSFORMER | {"block": "ligr"} | _QUANTISED),
    "bert4rec": ("bert4rec", _TRANSFORMER | {"item_biases": True}),
    "bert4rec_without_biases": ("bert4rec", _TRANSFORMER | {"item_biases": False, "separate_output_embedding": True}),
    "bert4rec_albert": ("bert4rec", _TRANSFORMER | {"item_biases": True, "block": "albert", "blocks": 2}),
    "bert4rec_deberta": ("bert4rec", _TRANSFORMER | {"item_biases": True, "block": "deberta"}),
    "bert4rec_quantised": ("bert4rec", _TRANSFORMER | {"item_biases": True} | _QUANTISED),
    "bsarec": ("bsarec", _BSAREC),
    "bsarec_quantised": ("bsarec", _BSAREC | _QUANTISED),
    "bsarec_causal": ("bsarec", _BSAREC | {"low_pass": "causal_mean", "cutoff": 0}),
    "bsarec_attention_alone": ("bsarec", _BSAREC | {"alpha": 0.0}),
    "bsarec_filter_alone": ("bsarec", _BSAREC | {"alpha": 1.0, "separate_output_embedding": True}),
    "gptrec": ("gptrec", _GPTREC | {"marks": 0}),
    "gptrec_marks": ("gptrec", _GPTREC | {"marks": 2, "separate_output_embedding": True}),
    "gptrec_quantised": ("gptrec", _GPTREC | {"marks": 1} | _QUANTISED),
    "gptrec_top_k": ("gptrec", _TRANSFORMER | {"lists": "top_k"}),
    "gru4rec": ("gru4rec", _VECTORS | {"layers": 1, "hidden_dimensions": 10}),
    "gru4rec_two_layers": ("gru4rec", _VECTORS | {"layers": 2, "hidden_dimensions": 10} | _QUANTISED),
    "cafe": ("cafe", _TRANSFORMER | _CAFE),
    "cafe_quantised": ("cafe", _TRANSFORMER | _CAFE | {"separate_output_embedding": True} | _QUANTISED),
    "caser": ("caser", _CASER),
    "caser_with_users": ("caser", _CASER | {"user_vectors": True}),
    "caser_with_a_window_of_one": ("caser", _CASER | {"window": 1}),
    "nextitnet": ("nextitnet", _VECTORS | {"filter_width": 3, "dilations": (1, 2)}),
    "nextitnet_quantised": ("nextitnet", _VECTORS | {"filter_width": 2, "dilations": (1,)} | _QUANTISED),
    "time_gap_sasrec": ("time_gap_sasrec", _TRANSFORMER | {"buckets": 40}),
    "tisasrec": ("tisasrec", _TRANSFORMER | {"longest_interval": 5}),
    "tisasrec_quantised": ("tisasrec", _TRANSFORMER | {"longest_interval": 5} | _QUANTISED),
    "mamba": ("mamba", _VECTORS | _MAMBA),
    "mamba_in_small_chunks": ("mamba", _VECTORS | _MAMBA | {"chunk": 2} | _QUANTISED),
    "sasrec_reasoning": (
        "sasrec_reasoning",
        _TRANSFORMER | {"block": "pre_norm", "reasoning_steps": 2, "reasoning_temperature": 1.5},
    ),
    "sasrec_reasoning_quantised": (
        "sasrec_reasoning",
        _TRANSFORMER | {"block": "gpt2", "reasoning_steps": 1, "reasoning_temperature": 1.0} | _QUANTISED,
    ),
    "sigma": ("sigma", _VECTORS | _MAMBA | {"unflipped": 2}),
    "sigma_quantised": ("sigma", _VECTORS | _MAMBA | {"unflipped": 3, "chunk": 2} | _QUANTISED),
    "hstu": ("hstu", _VECTORS | {"blocks": 2, "heads": 3}),
    "fpmc": ("fpmc", _PLAIN),
    "matrix_factorisation": ("matrix_factorisation", _PLAIN),
}
_NOT_CAUSAL = ("bsarec", "bsarec_quantised", "bsarec_filter_alone", "sigma", "sigma_quantised")
CAUSAL = [name for name in MODELS if not name.startswith("bert4rec") and name not in _NOT_CAUSAL]
WITH_USERS = ["caser_with_users", "fpmc", "matrix_factorisation"]


pytestmark = pytest.mark.usefixtures("one_torch_thread")


def _model(name: str, users: int = USERS) -> SequentialModel:
    architecture, table = MODELS[name]
    settings = MODEL_SETTINGS[architecture](**table)
    codes = None
    if getattr(settings, "item_embedding", "dense") == "joint_product_quantised":
        codes = np.random.default_rng(0).integers(256, size=(ITEMS, 4), dtype=np.uint8)
    categories = np.arange(ITEMS) % 4 if reads_categories(settings) else None
    text = np.random.default_rng(0).normal(size=(ITEMS, 7)).astype(np.float32) if reads_text(settings) else None
    words = _words() if reads_words(settings) else None
    torch.manual_seed(0)
    return build_model(settings, ITEMS, users, codes, text=text, categories=categories, words=words)


def _words() -> np.ndarray:
    """Up to four words an item, some items without any."""
    random = np.random.default_rng(0)
    found = np.stack([random.integers(1, 21, (ITEMS, 4)), np.sort(random.integers(1, 4, (ITEMS, 4)))], axis=2)
    found[np.arange(4) >= random.integers(5, size=ITEMS)[:, None]] = 0
    return found.astype(np.int32)


def _histories(rows: int = 4) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    lengths = torch.tensor([3, MAX_LENGTH, 1, 6])[:rows]
    items = torch.randint(ITEMS, (rows, MAX_LENGTH), generator=generator)
    return items, lengths, torch.tensor([0, 4, -1, 2])[:rows]


def test_all_that_ship_are_here():
    scoring = {name for name, settings in MODEL_SETTINGS.items() if not generates(settings)}
    assert {architecture for architecture, _ in MODELS.values()} == scoring


@pytest.mark.parametrize("name", CAUSAL)
def test_later_items_do_not_change_earlier_states(name):
    model = _model(name).eval()
    items, _, users = _histories(2)
    whole = torch.full((2,), MAX_LENGTH)
    changed = items.clone()
    changed[:, 5:] = (changed[:, 5:] + 1) % ITEMS
    before, after = model(items, whole, users), model(changed, whole, users)
    torch.testing.assert_close(before[:, :5], after[:, :5])
    assert torch.allclose(before[:, 5], after[:, 5]) == (name == "matrix_factorisation")


def test_bert4rec_reads_in_both_directions():
    model = _model("bert4rec").eval()
    items, _, users = _histories(2)
    whole = torch.full((2,), MAX_LENGTH)
    for place in (0, MAX_LENGTH - 1):
        changed = items.clone()
        changed[:, place] = (changed[:, place] + 1) % ITEMS
        before, after = model(items, whole, users), model(changed, whole, users)
        assert not torch.isclose(before[:, 4, :12], after[:, 4, :12]).all(dim=1).any()


@pytest.mark.parametrize("name", MODELS)
def test_a_history_has_the_same_state_alone_and_padded_in_a_batch(name):
    """Whatever stands in the padding."""
    model = _model(name).eval()
    items, lengths, users = _histories()
    together = model(items, lengths, users)
    padding = torch.arange(MAX_LENGTH) >= lengths[:, None]
    other = model(torch.where(padding, (items + 7) % ITEMS, items), lengths, users)
    torch.testing.assert_close(other[~padding], together[~padding], rtol=1e-4, atol=1e-5)
    for row, length in enumerate(lengths.tolist()):
        alone = model(items[row : row + 1, :length], lengths[row : row + 1], users[row : row + 1])
        torch.testing.assert_close(together[row, :length], alone[0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", MODELS)
def test_states_are_as_wide_as_the_vectors_they_are_scored_against(name):
    model = _model(name).eval()
    items, lengths, users = _histories()
    states = model.states(items, lengths, users, torch.tensor([0, 9, 16]))
    embedding = model.output_embedding
    assert embedding.items == ITEMS
    assert states.shape == (3, embedding.dimensions)
    expected = states @ embedding(torch.arange(ITEMS)).T
    torch.testing.assert_close(embedding.score_all(states), expected)
    candidates = torch.randint(ITEMS, (3, 4))
    torch.testing.assert_close(embedding.score_each(states, candidates), expected.gather(1, candidates))
    torch.testing.assert_close(embedding.score_shared(states, candidates[0]), expected[:, candidates[0]])
    of_targets = embedding.score_target(states, candidates[:, 0])
    torch.testing.assert_close(of_targets, expected.gather(1, candidates[:, :1]).squeeze(1))


@pytest.mark.parametrize("name", MODELS)
def test_every_weight_is_learnt(name):
    """None is left out of the graph, none stands twice among the weights that are stored."""
    model = _model(name)
    items, lengths, users = _histories()
    if name.startswith("bert4rec"):
        items[:, 0] = ITEMS
    if name in ("gptrec_marks", "gptrec_quantised"):
        items[:, 2] = ITEMS + torch.arange(4) % MODELS[name][1]["marks"]
    real = torch.arange(MAX_LENGTH) < lengths[:, None]
    times = (torch.arange(MAX_LENGTH) ** 3).expand(len(items), -1)
    for _ in range(3):  # dropout may hit the whole of something small
        states = model.states(items, lengths, users, real.flatten().nonzero()[:, 0], times)
        nn.functional.cross_entropy(model.output_embedding.score_all(states), torch.arange(len(states))).backward()
    parameters = dict(model.named_parameters())
    for parameter_name, parameter in parameters.items():
        assert parameter.grad is not None, parameter_name
        # what a softmax gives to a bias that all keys share is zero up to rounding
        assert parameter.grad.abs().max() > 0, parameter_name
    stored = model.state_dict()
    assert len({tensor.data_ptr() for tensor in stored.values()}) == len(stored)


@pytest.mark.parametrize("name", MODELS)
def test_same_seed_same_bits(name):
    one, other = _model(name), _model(name)
    assert all(torch.equal(*pair) for pair in zip(one.state_dict().values(), other.state_dict().values(), strict=True))
    histories = _histories()
    torch.manual_seed(3)
    first, different = one(*histories), one(*histories)
    torch.manual_seed(3)
    assert torch.equal(first, other(*histories))
    drops = name not in ("alpharec", "fpmc", "matrix_factorisation")
    assert torch.equal(first, different) != drops


@pytest.mark.parametrize("name", MODELS)
def test_only_models_with_user_vectors_read_users(name):
    model = _model(name).eval()
    items, lengths, users = _histories()
    same = torch.equal(model(items, lengths, users), model(items, lengths, (users + 1) % USERS))
    assert same == (name not in WITH_USERS)


@pytest.mark.parametrize("name", WITH_USERS)
def test_an_unknown_user_has_a_vector_of_zeros(name):
    """In a model that knows users, and in one that knows none."""
    for model in (_model(name).eval(), _model(name, users=0).eval()):
        items, lengths, _ = _histories()
        states = model(items, lengths, torch.full((4,), -1))
        width = states.shape[2]
        part = {
            "caser_with_users": slice(12, 24),
            "fpmc": slice(0, 12),
            "matrix_factorisation": slice(0, 12),
        }[name]
        assert torch.equal(states[..., part], torch.zeros(4, MAX_LENGTH, 12))
        assert states.abs().sum() > 0
        assert width == model.output_embedding.dimensions


def test_an_unknown_user_leaves_the_vectors_of_others_alone():
    vectors = UserVectors(3, 4, 1.0)
    vectors(torch.tensor([-1, 2])).sum().backward()
    assert vectors.weight.grad.tolist() == [[0.0] * 4, [0.0] * 4, [1.0] * 4]


def test_matrix_factorisation_is_the_dot_product_and_the_bias():
    model = _model("matrix_factorisation")
    with torch.no_grad():
        model.item_vectors.weight[:, -1] = torch.randn(ITEMS)
    items, lengths, users = _histories()
    scores = model.output_embedding.score_all(model(items, lengths, users)[:, 3])
    vectors, biases = model.item_vectors.weight.split([12, 1], dim=1)
    for row, user in enumerate(users.tolist()):
        own = torch.zeros(12) if user < 0 else model.users.weight[user]
        torch.testing.assert_close(scores[row], vectors @ own + biases[:, 0])


def test_fpmc_is_the_sum_of_its_two_factorisations():
    model = _model("fpmc")
    items, lengths, users = _histories()
    scores = model.output_embedding.score_all(model(items, lengths, users).flatten(0, 1)).view(4, MAX_LENGTH, ITEMS)
    of_users, of_last = model.next_items.weight.split(12, dim=1)
    for row, user in enumerate(users.tolist()):
        for place in range(MAX_LENGTH):
            expected = of_last @ model.last_items.weight[items[row, place]]
            if user >= 0:
                expected = expected + of_users @ model.users.weight[user]
            torch.testing.assert_close(scores[row, place], expected)


def test_gru4rec_equals_the_cell_one_step_at_a_time():
    model = _model("gru4rec").eval()
    cell = nn.GRUCell(12, 10)
    with torch.no_grad():
        for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
            getattr(cell, name).copy_(getattr(model.units, f"{name}_l0"))
    items, lengths, users = _histories()
    states, hidden = model(items, lengths, users), torch.zeros(4, 10)
    for place in range(MAX_LENGTH):
        hidden = cell(model.input_embedding(items[:, place]), hidden)
        torch.testing.assert_close(states[:, place], hidden @ model.output.weight.T + model.output.bias)


@pytest.mark.parametrize("name", ["caser", "caser_with_users", "caser_with_a_window_of_one"])
def test_caser_equals_the_published_formula(name):
    """Each position by itself: its window written out, each filter at each of its places."""
    model = _model(name).eval()
    items, lengths, users = _histories(2)
    states = model(items, lengths, users)
    window = model.window
    for row in range(2):
        for place in range(MAX_LENGTH):
            picture = torch.zeros(window, 12)
            seen = items[row, max(0, place + 1 - window) : place + 1]
            picture[window - len(seen) :] = model.input_embedding(seen)
            horizontal = []
            for height, filters in enumerate(model.horizontal, start=1):
                for weight, bias in zip(filters.weight, filters.bias, strict=True):
                    values = [
                        torch.relu((picture[top : top + height].T * weight).sum() + bias)
                        for top in range(window - height + 1)
                    ]
                    horizontal.append(torch.stack(values).max())
            vertical = (model.vertical.weight @ picture).flatten()
            filtered = torch.cat([torch.stack(horizontal), vertical])
            expected = torch.relu(model.joined.weight @ filtered + model.joined.bias)
            torch.testing.assert_close(states[row, place, :12], expected, rtol=1e-4, atol=1e-5)
    if name == "caser_with_users":
        torch.testing.assert_close(states[:, 3, 12:24], model.users.weight[users])


def test_nextitnet_equals_the_published_block():
    """Each filter at each place written out: zeros before the first item, the second dilation twice the first."""
    model = _model("nextitnet").eval()
    items, lengths, users = _histories()
    hidden = model.input_embedding(items)
    for block, dilation in zip(model.blocks, (1, 2), strict=True):
        before = hidden
        for convolution, norm, distance in zip(block.convolutions, block.norms, (dilation, 2 * dilation), strict=True):
            filtered = torch.zeros_like(hidden) + convolution.filters.bias
            for place in range(MAX_LENGTH):
                for step in range(3):
                    source = place - (2 - step) * distance
                    if source >= 0:
                        filtered[:, place] += hidden[:, source] @ convolution.filters.weight[:, :, step].T
            hidden = torch.relu(norm(filtered))
        hidden = before + hidden
    torch.testing.assert_close(model(items, lengths, users), hidden, rtol=1e-4, atol=1e-5)


def test_hstu_equals_the_published_layer():
    """Each weight written out: no softmax, nothing of later items, a bias of the distance."""
    model = _model("hstu").eval()
    block = model.blocks[0]
    inputs = torch.randn(2, MAX_LENGTH, 12)
    gate, values, queries, keys = torch.nn.functional.silu(block.inputs(block.norm(inputs))).split(12, dim=-1)
    mixed = torch.zeros_like(inputs)
    for head in range(3):
        part = slice(4 * head, 4 * head + 4)
        for query in range(MAX_LENGTH):
            for key in range(query + 1):
                score = (queries[:, query, part] * keys[:, key, part]).sum(dim=-1) + block.bias[query - key]
                weight = torch.nn.functional.silu(score) / MAX_LENGTH
                mixed[:, query, part] += weight[:, None] * values[:, key, part]
    expected = inputs + block.output(block.mixed_norm(mixed) * gate)
    torch.testing.assert_close(block(inputs), expected, rtol=1e-4, atol=1e-5)


def test_scores_of_unisrec_are_those_of_sasrec_as_cosines_over_the_temperature():
    model = _model("unisrec").eval()
    items, lengths, users = _histories()
    states = SASRec.forward(model, items, lengths, users)[:, 0]
    vectors = model.input_embedding(torch.arange(ITEMS))
    expected = torch.cosine_similarity(states[:, None], vectors[None], dim=2) / 0.07
    scores = model.output_embedding.score_all(model(items, lengths, users)[:, 0])
    torch.testing.assert_close(scores, expected, rtol=1e-4, atol=1e-4)


def test_a_state_of_alpharec_is_the_perceptron_of_the_mean_text_of_the_history():
    model = _model("alpharec").eval()
    items, lengths, users = _histories()
    text, perceptron = model.item_vectors.text, model.item_vectors.projection
    states = model(items, lengths, users)
    for place in (0, 3):
        own = perceptron(torch.stack([text[row[: place + 1]].mean(dim=0) for row in items]))
        expected = torch.cosine_similarity(own[:, None], perceptron(text)[None], dim=2) / 0.2
        torch.testing.assert_close(model.output_embedding.score_all(states[:, place]), expected, rtol=1e-4, atol=1e-4)
    # the order of a history means nothing
    backwards = model(items.flip(1), lengths, users)
    torch.testing.assert_close(states[:, -1], backwards[:, -1], rtol=1e-4, atol=1e-4)


def test_neither_mask_nor_padding_can_be_recommended():
    model = _model("bert4rec").eval()
    assert model.output_embedding.score_all(torch.randn(2, 13)).shape == (2, ITEMS)
    items, lengths, users = _histories()
    masked = items.clone()
    masked[:, 0] = ITEMS
    assert not torch.allclose(model(items, lengths, users)[:, 0], model(masked, lengths, users)[:, 0])


def test_biases_start_at_zero_and_add_to_the_score():
    table = dense_with_bias(6, 4, 1.0)
    assert table.dimensions == 5
    assert (table.weight[:, -1] == 0).all()
    vectors, biases = DenseItemEmbedding(6, 4, 1.0), nn.Parameter(torch.randn(6))
    states = torch.randn(3, 4)
    expected = vectors.score_all(states) + biases
    with_one = torch.cat([states, torch.ones(3, 1)], dim=1)
    torch.testing.assert_close(BiasedItemEmbedding(vectors, biases).score_all(with_one), expected)


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("bert4rec", {"max_length": 1}, "max_length must be at least 2"),
        ("unisrec", {"temperature": 0.0}, "temperature must be above 0"),
        ("alpharec", {"temperature": -1.0}, "temperature must be above 0"),
        ("alpharec", {"hidden_dimensions": 0}, "hidden_dimensions must be at least 1"),
        ("gru4rec", {"layers": 0}, "layers must be at least 1"),
        ("gru4rec", {"dropout": 1.0}, "dropout must be in"),
        ("cafe", {"category_dimensions": 0}, "category_dimensions must be at least 1"),
        ("cafe", {"category_heads": 4}, "category_heads .4. must divide category_dimensions"),
        ("caser", {"window": 0}, "window must be at least 1"),
        ("caser", {"embedding_deviation": 0.0}, "embedding_deviation must be above 0"),
        ("nextitnet", {"filter_width": 0}, "filter_width must be at least 1"),
        ("nextitnet", {"dilations": ()}, "dilations must be numbers of at least 1"),
        ("nextitnet", {"dilations": (1, 0)}, "dilations must be numbers of at least 1"),
        ("time_gap_sasrec", {"buckets": 0}, "buckets must be at least 1"),
        ("tisasrec", {"longest_interval": 0}, "longest_interval must be at least 1"),
        ("mamba", {"head_dimensions": 7}, "must divide expansion"),
        ("mamba", {"state_dimensions": 0}, "state_dimensions must be at least 1"),
        ("sasrec_reasoning", {"reasoning_steps": 0}, "reasoning_steps must be at least 1"),
        ("sasrec_reasoning", {"reasoning_temperature": 0.9}, "reasoning_temperature must be at least 1"),
        ("sasrec_reasoning", {"block": "sasrec"}, "block must be .pre_norm. or .gpt2."),
        ("sigma", {"unflipped": 0}, "unflipped must be at least 1"),
        ("hstu", {"heads": 5}, "heads .5. must divide dimensions"),
        ("fpmc", {"dimensions": 0}, "dimensions must be at least 1"),
        ("matrix_factorisation", {"embedding_deviation": -1.0}, "embedding_deviation must be above 0"),
    ],
)
def test_settings_out_of_range_are_refused(name, changes, message):
    architecture, table = MODELS[name]
    with pytest.raises(ValueError, match=message):
        MODEL_SETTINGS[architecture](**(table | changes))
