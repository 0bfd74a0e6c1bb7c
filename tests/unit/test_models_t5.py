"""ml/models/t5.py against Hugging Face's T5, weights copied."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from t5_weights import copied
from torch import Tensor, nn
from transformers.models.t5.configuration_t5 import T5Config
from transformers.models.t5.modeling_t5 import T5Attention, T5Model

from ml.models.t5 import T5, Cache, Memory, T5Sizes, position_buckets

VOCABULARY, LENGTH = 30, 40
LENGTHS = torch.tensor([40, 1, 17, 26])
SIZES = {
    "relu": T5Sizes(24, 3, 10, 40, 2, 3, "relu", 0.1),
    # few buckets and a short distance, so that the last bucket is reached
    "gated": T5Sizes(16, 2, 12, 24, 3, 2, "gated_gelu", 0.1, position_buckets=8, position_distance=20),
}

pytestmark = pytest.mark.usefixtures("one_torch_thread")


@pytest.fixture(params=SIZES)
def sizes(request) -> T5Sizes:
    return SIZES[request.param]


def _ours(sizes: T5Sizes) -> T5:
    """In evaluation mode, norms drawn anew: they start from ones, which would hide a mistake."""
    torch.manual_seed(0)
    model = T5(sizes)
    for module in model.modules():
        if isinstance(module, nn.RMSNorm):
            nn.init.normal_(module.weight, mean=1, std=0.3)
    return model.eval()


def _theirs(sizes: T5Sizes) -> T5Config:
    return T5Config(
        vocab_size=VOCABULARY,
        d_model=sizes.dimensions,
        d_kv=sizes.head_dimensions,
        num_heads=sizes.heads,
        d_ff=sizes.feed_forward_dimensions,
        num_layers=sizes.encoder_blocks,
        num_decoder_layers=sizes.decoder_blocks,
        feed_forward_proj={"relu": "relu", "gated_gelu": "gated-gelu"}[sizes.feed_forward],
        relative_attention_num_buckets=sizes.position_buckets,
        relative_attention_max_distance=sizes.position_distance,
    )


def _inputs(sizes: T5Sizes, tokens: int) -> tuple[Tensor, Tensor, Tensor]:
    torch.manual_seed(1)
    visible = torch.arange(LENGTH) < LENGTHS[:, None]
    return torch.randn(4, LENGTH, sizes.dimensions), visible, torch.randn(4, tokens, sizes.dimensions)


@torch.no_grad()
def test_t5_equals_hugging_face(sizes):
    ours = _ours(sizes)
    theirs = copied(ours, T5Model(_theirs(sizes)))
    history, visible, tokens = _inputs(sizes, 30)
    expected = theirs(inputs_embeds=history, attention_mask=visible.long(), decoder_inputs_embeds=tokens)
    encoded = ours.encoded(history, visible)
    torch.testing.assert_close(encoded[visible], expected.encoder_last_hidden_state[visible], rtol=1e-5, atol=1e-5)
    states = ours.decode(tokens, ours.encode(history, visible))
    torch.testing.assert_close(states, expected.last_hidden_state, rtol=1e-5, atol=1e-5)


@given(
    distances=st.lists(st.integers(-300, 300), min_size=1, max_size=50),
    bidirectional=st.booleans(),
    buckets=st.sampled_from([8, 16, 32]),
    most=st.integers(20, 200),
)
@settings(deadline=None)
def test_buckets_equal_hugging_face(distances, bidirectional, buckets, most):
    distances = torch.tensor(distances)
    expected = T5Attention._relative_position_bucket(distances, bidirectional, buckets, most)
    assert position_buckets(distances, bidirectional, buckets, most).tolist() == expected.tolist()


@torch.no_grad()
def test_padding_is_not_seen(sizes):
    ours = _ours(sizes)
    history, visible, tokens = _inputs(sizes, 3)
    other = torch.where(visible[..., None], history, 7.0)
    expected = ours.decode(tokens, ours.encode(history, visible))
    assert torch.equal(ours.decode(tokens, ours.encode(other, visible)), expected)
    alone = ours.decode(tokens[2:3], ours.encode(history[2:3, :17], visible[2:3, :17]))
    torch.testing.assert_close(alone, expected[2:3], rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_later_tokens_are_not_seen(sizes):
    ours = _ours(sizes)
    history, visible, tokens = _inputs(sizes, 6)
    memory = ours.encode(history, visible)
    changed = tokens.clone()
    changed[:, 4:] = 3.0
    states, others = ours.decode(tokens, memory), ours.decode(changed, memory)
    assert torch.equal(states[:, :4], others[:, :4])
    assert not torch.isclose(states[:, 4:], others[:, 4:]).all(dim=-1).any()


def _prefix_states(ours: T5, memory: Memory, tokens: Tensor) -> Tensor:
    """Token after token of several prefixes a history, ``[rows, prefixes, tokens, dimensions]``, without a cache."""
    return torch.stack([ours.decode(tokens[:, prefix], memory) for prefix in range(tokens.shape[1])], dim=1)


@torch.no_grad()
def test_the_cache_changes_nothing(sizes):
    """Prefixes are continued in another order, twice or not at all, as a beam search does."""
    ours = _ours(sizes)
    history, visible, _ = _inputs(sizes, 1)
    memory, cache = ours.encode(history, visible), Cache()
    read = torch.randn(4, 1, 1, sizes.dimensions)
    states = ours.step(read[:, :, 0], memory, cache)
    for kept in (5, 3, 7):
        prefixes = torch.randint(read.shape[1], (4, kept))
        cache.reorder(prefixes)
        added = torch.randn(4, kept, sizes.dimensions)
        states = ours.step(added, memory, cache)
        read = torch.cat([read[torch.arange(4)[:, None], prefixes], added[:, :, None]], dim=2)
        torch.testing.assert_close(states, _prefix_states(ours, memory, read)[:, :, -1], rtol=1e-5, atol=1e-5)


def test_every_weight_is_trained(sizes):
    torch.manual_seed(0)
    ours = T5(sizes)
    history, visible, tokens = _inputs(sizes, 5)
    ours.decode(tokens, ours.encode(history, visible)).square().sum().backward()
    without = [
        name for name, parameter in ours.named_parameters() if parameter.grad is None or not parameter.grad.any()
    ]
    assert without == []
