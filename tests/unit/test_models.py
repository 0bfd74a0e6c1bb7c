"""ml/models: SASRec's blocks against torch's, causality, padding, quantised scores against the dense product."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from ml.models.build import build_model
from ml.models.catalogue import Catalogue
from ml.models.item_embeddings import DenseItemEmbedding, JointProductQuantisedItemEmbedding
from ml.models.settings import SASRecSettings
from ml.models.transformer import CausalAttention, LiGRBlock, PreNormBlock, SASRecBlock

ITEMS = 50


pytestmark = pytest.mark.usefixtures("one_torch_thread")


# no model here has a vector for each user
NOBODY = torch.empty(0, dtype=torch.int64)


def _settings(**changes) -> SASRecSettings:
    settings = {
        "dimensions": 16,
        "blocks": 2,
        "heads": 2,
        "feed_forward_dimensions": 24,
        "dropout": 0.0,
        "max_length": 12,
        "block": "pre_norm",
        "item_embedding": "dense",
        "separate_output_embedding": False,
        "embedding_deviation": 1.0,
    }
    return SASRecSettings(**(settings | changes))


def _model(**changes) -> nn.Module:
    torch.manual_seed(0)
    settings = _settings(**changes)
    codes = None
    if settings.item_embedding == "joint_product_quantised":
        codes = np.random.default_rng(0).integers(256, size=(ITEMS, 4), dtype=np.uint8)
    return build_model(settings, ITEMS, 0, codes).eval()


def test_a_catalogue_with_codes_makes_quantised_vectors_unless_told_otherwise():
    codes = np.zeros((ITEMS, 4), dtype=np.uint8)
    assert isinstance(Catalogue(ITEMS, codes=codes).item_embedding(16, 1.0), JointProductQuantisedItemEmbedding)
    assert isinstance(Catalogue(ITEMS).item_embedding(16, 1.0), DenseItemEmbedding)
    assert isinstance(Catalogue(ITEMS, codes=codes).item_embedding(16, 1.0, "dense"), DenseItemEmbedding)


KINDS = [
    {"block": block, "item_embedding": kind}
    for block in ("sasrec", "pre_norm", "gpt2", "ligr")
    for kind in ("dense", "joint_product_quantised")
]


def test_pre_norm_block_equals_torch():
    torch.manual_seed(0)
    block = PreNormBlock(16, 4, 24, 0.0)
    theirs = nn.TransformerEncoderLayer(16, 4, 24, dropout=0.0, batch_first=True, norm_first=True)
    with torch.no_grad():
        theirs.self_attn.in_proj_weight.copy_(
            torch.cat([block.attention.query.weight, block.attention.key_value.weight])
        )
        theirs.self_attn.in_proj_bias.copy_(torch.cat([block.attention.query.bias, block.attention.key_value.bias]))
    theirs.self_attn.out_proj.load_state_dict(block.attention.output.state_dict())
    theirs.linear1.load_state_dict(block.feed_forward.widen.state_dict())
    theirs.linear2.load_state_dict(block.feed_forward.narrow.state_dict())
    for norm in (block.attention_norm, block.feed_forward_norm):
        nn.init.normal_(norm.weight)
        nn.init.normal_(norm.bias)
    theirs.norm1.load_state_dict(block.attention_norm.state_dict())
    theirs.norm2.load_state_dict(block.feed_forward_norm.state_dict())
    inputs = torch.randn(3, 7, 16)
    mask = nn.Transformer.generate_square_subsequent_mask(7)
    torch.testing.assert_close(block(inputs), theirs(inputs, src_mask=mask, is_causal=True))


@pytest.mark.parametrize("heads", [1, 4])
def test_sasrec_block_equals_the_published_formula(heads):
    """Written out with explicit matrices, one head at a time."""
    torch.manual_seed(0)
    block = SASRecBlock(16, heads, 16, 0.0)
    x = torch.randn(2, 5, 16)
    queries = block.attention_norm(x)
    attention = block.attention
    keys, values = attention.key_value(x).chunk(2, dim=-1)
    projected = attention.query(queries)
    width = 16 // heads
    mixed = []
    for head in range(heads):
        part = slice(head * width, (head + 1) * width)
        logits = projected[..., part] @ keys[..., part].transpose(1, 2) / width**0.5
        logits = logits.masked_fill(torch.ones(5, 5).triu(1).bool(), -torch.inf)
        mixed.append(logits.softmax(dim=-1) @ values[..., part])
    summed = block.feed_forward_norm(queries + torch.cat(mixed, dim=-1))
    expected = summed + block.feed_forward.narrow(torch.relu(block.feed_forward.widen(summed)))
    torch.testing.assert_close(block(x), expected)


def test_ligr_block_equals_the_formula():
    """Torch's own attention beneath the gates of the paper."""
    torch.manual_seed(0)
    block = LiGRBlock(16, 4, 24, 0.0)
    x = torch.randn(3, 7, 16)
    theirs = nn.MultiheadAttention(16, 4, batch_first=True)
    attention = block.attention
    with torch.no_grad():
        theirs.in_proj_weight.copy_(torch.cat([attention.query.weight, attention.key_value.weight]))
        theirs.in_proj_bias.copy_(torch.cat([attention.query.bias, attention.key_value.bias]))
    theirs.out_proj.load_state_dict(attention.output.state_dict())
    normalised = nn.functional.layer_norm(x, (16,))
    mask = nn.Transformer.generate_square_subsequent_mask(7)
    attended, _ = theirs(normalised, normalised, normalised, attn_mask=mask, is_causal=True)
    attended = x + torch.sigmoid(x @ block.attention_gate.weight.T + block.attention_gate.bias) * attended
    normalised = nn.functional.layer_norm(attended, (16,))
    inner, layers = normalised @ block.feed_forward.gate.weight.T, block.feed_forward
    fed = (inner * torch.sigmoid(inner) * (normalised @ layers.widen.weight.T)) @ layers.narrow.weight.T
    gate = torch.sigmoid(attended @ block.feed_forward_gate.weight.T + block.feed_forward_gate.bias)
    torch.testing.assert_close(block(x), attended + gate * fed)


def test_attention_drops_only_while_training():
    torch.manual_seed(0)
    attention = CausalAttention(8, 2, 0.5, output_projection=True)
    x = torch.randn(1, 6, 8)
    assert not torch.equal(attention(x, x), attention(x, x))
    attention.eval()
    assert torch.equal(attention(x, x), attention(x, x))


@pytest.mark.parametrize("kind", KINDS)
def test_later_items_do_not_change_earlier_states(kind):
    model = _model(**kind)
    items = torch.randint(ITEMS, (1, 9))
    changed = items.clone()
    changed[0, 5:] = (changed[0, 5:] + 1) % ITEMS
    before, after = (model(x, torch.tensor([9]), NOBODY) for x in (items, changed))
    torch.testing.assert_close(before[:, :5], after[:, :5])
    assert not torch.allclose(before[:, 5], after[:, 5])


@pytest.mark.parametrize("kind", KINDS)
def test_a_history_has_the_same_state_alone_and_padded_in_a_batch(kind):
    model = _model(**kind)
    lengths = torch.tensor([3, 12, 1, 7])
    items = torch.randint(ITEMS, (4, 12))
    together = model(items, lengths, NOBODY)
    for row, length in enumerate(lengths.tolist()):
        alone = model(items[row : row + 1, :length], lengths[row : row + 1], NOBODY)
        torch.testing.assert_close(together[row, :length], alone[0], rtol=1e-4, atol=1e-5)


def test_positions_are_counted_from_the_end():
    model = _model(blocks=1)
    with torch.no_grad():
        model.positions[-1] += torch.linspace(-50, 50, 16)
    lengths = torch.tensor([2, 5])
    items = torch.zeros(2, 5, dtype=torch.long)
    changed = model(items, lengths, NOBODY) - _model(blocks=1)(items, lengths, NOBODY)
    per_position = changed.abs().sum(dim=-1)
    assert per_position[0, 0] < 1e-4
    assert per_position[0, 1] > 1
    assert per_position[1, :4].max() < 1e-4
    assert per_position[1, 4] > 1


@pytest.mark.parametrize("items", [7, 300])
def test_quantised_embedding_equals_the_table_it_stands_for(items, monkeypatch):
    torch.manual_seed(0)
    codes = np.random.default_rng(1).integers(256, size=(items, 4), dtype=np.uint8)
    embedding = JointProductQuantisedItemEmbedding(codes, 12, 0.5)
    table = torch.stack(
        [torch.cat([embedding.centroids[book, codes[item, book]] for book in range(4)]) for item in range(items)]
    )
    states = torch.randn(9, 12)
    expected = states @ table.T
    candidates = torch.randint(items, (9, 6))
    torch.testing.assert_close(embedding(torch.arange(items)), table)
    torch.testing.assert_close(embedding.score_all(states), expected)
    torch.testing.assert_close(embedding.score_shared(states, candidates[0]), expected[:, candidates[0]])
    torch.testing.assert_close(embedding.score_each(states, candidates), expected.gather(1, candidates))
    torch.testing.assert_close(
        embedding.score_target(states, candidates[:, 0]), expected.gather(1, candidates[:, :1]).squeeze(1)
    )
    monkeypatch.setattr("ml.models.item_embeddings._CANDIDATES_AT_ONCE", 5)
    torch.testing.assert_close(embedding.score_all(states), expected)


def test_quantised_gradients_equal_those_of_the_table():
    codes = np.random.default_rng(1).integers(256, size=(30, 4), dtype=np.uint8)
    embedding = JointProductQuantisedItemEmbedding(codes, 12, 0.5)
    states, candidates = torch.randn(9, 12), torch.randint(30, (9, 6))
    weights = torch.randn(9, 6)
    ways = {
        "each": lambda: embedding.score_each(states, candidates),
        "all": lambda: embedding.score_all(states).gather(1, candidates),
        "table": lambda: (states @ embedding(torch.arange(30)).T).gather(1, candidates),
    }
    found = {name: torch.autograd.grad((way() * weights).sum(), embedding.centroids)[0] for name, way in ways.items()}
    torch.testing.assert_close(found["each"], found["table"])
    torch.testing.assert_close(found["all"], found["table"])


@pytest.mark.parametrize("items", [20, 1000])
def test_dense_candidate_scores_agree_whichever_way_they_are_taken(items):
    embedding = DenseItemEmbedding(items, 8, 1.0)
    states, candidates = torch.randn(5, 8), torch.randint(items, (5, 4))
    expected = (states @ embedding.weight.T).gather(1, candidates)
    torch.testing.assert_close(embedding.score_each(states, candidates), expected)
    torch.testing.assert_close(
        embedding.score_shared(states, candidates[0]), (states @ embedding.weight.T)[:, candidates[0]]
    )


def test_quantised_size_does_not_grow_with_width_times_items():
    codes = np.zeros((10_000, 8), dtype=np.uint8)
    embedding = JointProductQuantisedItemEmbedding(codes, 64, 0.5)
    assert sum(parameter.numel() for parameter in embedding.parameters()) == 256 * 64
    stored = embedding.state_dict()
    assert sorted(stored) == ["centroids", "codes"]
    assert stored["codes"].dtype == torch.uint8


def test_separate_output_embedding():
    shared, separate = _model(), _model(separate_output_embedding=True)
    assert shared.output_embedding is shared.input_embedding
    assert separate.output_embedding is not separate.input_embedding
    sizes = [sum(parameter.numel() for parameter in model.parameters()) for model in (shared, separate)]
    assert sizes[1] - sizes[0] == ITEMS * 16


def test_errors():
    codes = np.zeros((ITEMS, 4), dtype=np.uint8)
    with pytest.raises(ValueError, match="need codes"):
        build_model(_settings(item_embedding="joint_product_quantised"), ITEMS, 0, None)
    with pytest.raises(ValueError, match="no use for them"):
        build_model(_settings(), ITEMS, 0, codes)
    with pytest.raises(ValueError, match="catalogue has 51"):
        build_model(_settings(item_embedding="joint_product_quantised"), 51, 0, codes)
    with pytest.raises(ValueError, match="evenly"):
        build_model(_settings(item_embedding="joint_product_quantised", dimensions=18), ITEMS, 0, codes)
    with pytest.raises(ValueError, match="divide"):
        _settings(heads=3)
    with pytest.raises(ValueError, match="dropout"):
        _settings(dropout=1.0)
