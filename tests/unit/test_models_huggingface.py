"""ml/models/transformer.py and ml/models/bert4rec.py: blocks against those of Hugging Face, weights copied."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from transformers.models.albert.configuration_albert import AlbertConfig
from transformers.models.albert.modeling_albert import AlbertTransformer
from transformers.models.bert.configuration_bert import BertConfig
from transformers.models.bert.modeling_bert import BertEncoder, BertLayer
from transformers.models.deberta.configuration_deberta import DebertaConfig
from transformers.models.deberta.modeling_deberta import DebertaEncoder
from transformers.models.gpt2.configuration_gpt2 import GPT2Config
from transformers.models.gpt2.modeling_gpt2 import GPT2Block as TheirGPT2Block
from transformers.models.gpt2.modeling_gpt2 import GPT2Model

from ml.models.bert4rec import BERT4Rec
from ml.models.catalogue import Catalogue
from ml.models.gpt2 import GPT2
from ml.models.gptrec_codes import GPTRecCodes
from ml.models.settings import BERT4RecSettings, GPTRecCodesSettings
from ml.models.transformer import BERTBlock, GPT2Block

DIMENSIONS, HEADS, INNER, LENGTH = 24, 4, 40, 9
LENGTHS = torch.tensor([9, 1, 4, 7])


pytestmark = pytest.mark.usefixtures("one_torch_thread")


def _drawn_anew(module: nn.Module) -> nn.Module:
    """Norms and biases too, which start from ones and zeros and would hide a mistake; in evaluation mode."""
    torch.manual_seed(0)
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=0.4)
    return module.eval()


def _bert_config(layers: int) -> BertConfig:
    return BertConfig(
        hidden_size=DIMENSIONS,
        num_hidden_layers=layers,
        num_attention_heads=HEADS,
        intermediate_size=INNER,
        attn_implementation="eager",
    )


def _copy(source: nn.Linear | nn.LayerNorm, target: nn.Module) -> None:
    with torch.no_grad():
        target.weight.copy_(source.weight)
        target.bias.copy_(source.bias)


def _copy_bert_block(ours: BERTBlock, theirs: BertLayer) -> None:
    own = theirs.attention.self
    with torch.no_grad():
        for source, name in ((ours.attention.key_value.weight, "weight"), (ours.attention.key_value.bias, "bias")):
            keys, values = source.chunk(2)
            getattr(own.key, name).copy_(keys)
            getattr(own.value, name).copy_(values)
    _copy(ours.attention.query, own.query)
    _copy(ours.attention.output, theirs.attention.output.dense)
    _copy(ours.attention_norm, theirs.attention.output.LayerNorm)
    _copy(ours.widen, theirs.intermediate.dense)
    _copy(ours.narrow, theirs.output.dense)
    _copy(ours.feed_forward_norm, theirs.output.LayerNorm)


def _visible() -> torch.Tensor:
    return torch.arange(LENGTH) < LENGTHS[:, None]


def _additive(visible: torch.Tensor) -> torch.Tensor:
    return torch.zeros(visible.shape).masked_fill(~visible, torch.finfo(torch.float32).min)[:, None, None]


def test_bert_block_equals_hugging_face():
    ours = _drawn_anew(BERTBlock(DIMENSIONS, HEADS, INNER, 0.1))
    theirs = BertLayer(_bert_config(1)).eval()
    _copy_bert_block(ours, theirs)
    inputs, visible = torch.randn(4, LENGTH, DIMENSIONS), _visible()
    expected = theirs(inputs, attention_mask=_additive(visible))
    expected = expected[0] if isinstance(expected, tuple) else expected
    torch.testing.assert_close(ours(inputs, visible)[visible], expected[visible], rtol=1e-4, atol=1e-5)


def test_bert4rec_equals_hugging_face_encoder():
    """The whole model: embeddings by their formula, two blocks by Hugging Face, the projection by its formula."""
    items = 30
    settings = BERT4RecSettings(
        dimensions=DIMENSIONS,
        dropout=0.1,
        max_length=LENGTH + 2,
        item_embedding="dense",
        separate_output_embedding=False,
        embedding_deviation=0.1,
        blocks=2,
        heads=HEADS,
        feed_forward_dimensions=INNER,
        item_biases=True,
    )
    ours = _drawn_anew(BERT4Rec(settings, Catalogue(items)))
    encoder = BertEncoder(_bert_config(2)).eval()
    for block, layer in zip(ours.blocks, encoder.layer, strict=True):
        _copy_bert_block(block, layer)
    histories, visible = torch.randint(items, (4, LENGTH)), _visible()
    histories[0, 3] = histories[2, 3] = items  # masks
    table = torch.cat([ours.input_embedding.weight, ours.mask[None]])
    vectors = table[histories]
    for row, length in enumerate(LENGTHS.tolist()):
        vectors[row, :length] += ours.positions[-length:]
    embedded = nn.functional.layer_norm(vectors, (DIMENSIONS,), ours.norm.weight, ours.norm.bias, 1e-12)
    hidden = encoder(embedded, attention_mask=_additive(visible)).last_hidden_state
    hidden = nn.functional.gelu(hidden @ ours.projection.weight.T + ours.projection.bias)
    norm = ours.projection_norm
    hidden = nn.functional.layer_norm(hidden, (DIMENSIONS,), norm.weight, norm.bias, 1e-12)
    expected = hidden[visible] @ ours.input_embedding.weight.T + ours.item_biases
    states = ours(histories, LENGTHS, torch.full((4,), -1))
    scores = ours.output_embedding.score_all(states[visible])
    assert scores.shape == (LENGTHS.sum(), items)
    torch.testing.assert_close(scores, expected, rtol=1e-4, atol=1e-4)


def _bert4rec(block: str) -> BERT4Rec:
    settings = BERT4RecSettings(
        dimensions=DIMENSIONS,
        dropout=0.1,
        max_length=LENGTH + 2,
        item_embedding="dense",
        separate_output_embedding=False,
        embedding_deviation=0.1,
        blocks=3,
        heads=HEADS,
        feed_forward_dimensions=INNER,
        item_biases=False,
        block=block,
    )
    model = BERT4Rec(settings, Catalogue(30))
    model.projection, model.projection_norm = nn.Identity(), nn.Identity()
    return _drawn_anew(model)


def _equal_to_encoder(ours: BERT4Rec, embedded: torch.Tensor, encoded: torch.Tensor, histories: torch.Tensor) -> None:
    """States of the whole model, less the projection at its end, against what an encoder makes of its inputs."""
    visible = _visible()
    found = ours(histories, LENGTHS, torch.full((4,), -1))
    assert not torch.allclose(encoded[visible], embedded[visible], atol=0.1)
    expected = nn.functional.gelu(encoded[visible])
    torch.testing.assert_close(found[visible], expected, rtol=1e-5, atol=1e-5)


def test_albert_layers_equal_hugging_face():
    ours = _bert4rec("albert")
    (block,) = ours.blocks
    config = AlbertConfig(
        embedding_size=DIMENSIONS,
        hidden_size=DIMENSIONS,
        num_hidden_layers=3,
        num_attention_heads=HEADS,
        intermediate_size=INNER,
        hidden_act="gelu",
        attn_implementation="eager",
    )
    theirs = AlbertTransformer(config).eval()
    with torch.no_grad():
        theirs.embedding_hidden_mapping_in.weight.copy_(torch.eye(DIMENSIONS))
        theirs.embedding_hidden_mapping_in.bias.zero_()
    layer = theirs.albert_layer_groups[0].albert_layers[0]
    attention = layer.attention
    key, value = attention.key, attention.value
    with torch.no_grad():
        for name in ("weight", "bias"):
            keys, values = getattr(block.attention.key_value, name).chunk(2)
            getattr(key, name).copy_(keys)
            getattr(value, name).copy_(values)
    _copy(block.attention.query, attention.query)
    _copy(block.attention.output, attention.dense)
    _copy(block.attention_norm, attention.LayerNorm)
    _copy(block.widen, layer.ffn)
    _copy(block.narrow, layer.ffn_output)
    _copy(block.feed_forward_norm, layer.full_layer_layer_norm)
    histories = torch.randint(30, (4, LENGTH))
    vectors = ours.input_embedding(histories)
    for row, length in enumerate(LENGTHS.tolist()):
        vectors[row, :length] += ours.positions[-length:]
    embedded = ours.norm(vectors)
    _equal_to_encoder(ours, embedded, theirs(embedded, _additive(_visible())).last_hidden_state, histories)


def test_deberta_layers_equal_hugging_face():
    ours = _bert4rec("deberta")
    config = DebertaConfig(
        hidden_size=DIMENSIONS,
        num_hidden_layers=3,
        num_attention_heads=HEADS,
        intermediate_size=INNER,
        layer_norm_eps=1e-12,
        relative_attention=True,
        max_position_embeddings=LENGTH + 2,
        pos_att_type=["c2p", "p2c"],
        position_biased_input=False,
    )
    theirs = DebertaEncoder(config).eval()
    with torch.no_grad():
        # their first row is of a distance that no two places have
        theirs.rel_embeddings.weight[1:] = ours.positions
    for block, layer in zip(ours.blocks, theirs.layer, strict=True):
        attention, own = block.attention, layer.attention.self
        with torch.no_grad():
            # their rows go by heads, and within a head by query, key and value
            of_heads = [
                each.weight.unflatten(0, (HEADS, -1)) for each in (attention.query, attention.key, attention.value)
            ]
            own.in_proj.weight.copy_(torch.cat(of_heads, dim=1).flatten(0, 1))
            own.q_bias.copy_(attention.query.bias)
            own.v_bias.copy_(attention.value.bias)
            own.pos_proj.weight.copy_(attention.distance_key.weight)
        _copy(attention.distance_query, own.pos_q_proj)
        _copy(attention.output, layer.attention.output.dense)
        _copy(block.attention_norm, layer.attention.output.LayerNorm)
        _copy(block.widen, layer.intermediate.dense)
        _copy(block.narrow, layer.output.dense)
        _copy(block.feed_forward_norm, layer.output.LayerNorm)
    histories = torch.randint(30, (4, LENGTH))
    embedded = ours.norm(ours.input_embedding(histories))
    _equal_to_encoder(ours, embedded, theirs(embedded, _visible().float()).last_hidden_state, histories)


def _copy_gpt2_block(ours: GPT2Block, theirs: TheirGPT2Block) -> None:
    attention = ours.attention
    with torch.no_grad():
        # their linear layers hold the transposed matrix
        theirs.attn.c_attn.weight.copy_(torch.cat([attention.query.weight, attention.key_value.weight]).T)
        theirs.attn.c_attn.bias.copy_(torch.cat([attention.query.bias, attention.key_value.bias]))
        for source, target in (
            (attention.output, theirs.attn.c_proj),
            (ours.feed_forward.widen, theirs.mlp.c_fc),
            (ours.feed_forward.narrow, theirs.mlp.c_proj),
        ):
            target.weight.copy_(source.weight.T)
            target.bias.copy_(source.bias)
    _copy(ours.attention_norm, theirs.ln_1)
    _copy(ours.feed_forward_norm, theirs.ln_2)


def test_gpt2_block_equals_hugging_face():
    ours = _drawn_anew(GPT2Block(DIMENSIONS, HEADS, INNER, 0.1))
    config = GPT2Config(n_embd=DIMENSIONS, n_head=HEADS, n_inner=INNER, attn_implementation="eager")
    theirs = TheirGPT2Block(config, layer_idx=0).eval()
    _copy_gpt2_block(ours, theirs)
    inputs = torch.randn(4, LENGTH, DIMENSIONS)
    causal = torch.full((LENGTH, LENGTH), torch.finfo(torch.float32).min).triu(1)[None, None]
    expected = theirs(inputs, attention_mask=causal)
    expected = expected[0] if isinstance(expected, tuple) else expected
    torch.testing.assert_close(ours(inputs), expected, rtol=1e-4, atol=1e-5)


def _hugging_face_gpt2(ours: GPT2, positions: torch.Tensor) -> GPT2Model:
    """Their model with the weights of our trunk, and the given position vectors."""
    config = GPT2Config(
        n_embd=DIMENSIONS,
        n_head=HEADS,
        n_inner=INNER,
        n_layer=len(ours.blocks),
        n_positions=len(positions),
        vocab_size=1,
        attn_implementation="eager",
    )
    theirs = GPT2Model(config).eval()
    for block, their_block in zip(ours.blocks, theirs.h, strict=True):
        _copy_gpt2_block(block, their_block)
    _copy(ours.norm, theirs.ln_f)
    with torch.no_grad():
        theirs.wpe.weight.copy_(positions)
    return theirs


@torch.no_grad()
def test_gpt2_equals_hugging_face():
    ours = _drawn_anew(GPT2(DIMENSIONS, 3, HEADS, INNER, 0.1))
    positions = torch.randn(LENGTH, DIMENSIONS)
    inputs = torch.randn(4, LENGTH, DIMENSIONS)
    expected = _hugging_face_gpt2(ours, positions)(inputs_embeds=inputs).last_hidden_state
    torch.testing.assert_close(ours(inputs + positions), expected, rtol=1e-5, atol=1e-5)
    states, cache = ours.read(inputs + positions)
    torch.testing.assert_close(states, expected, rtol=1e-5, atol=1e-5)
    assert len(cache) == 3


@torch.no_grad()
def test_gptrec_on_codes_equals_hugging_face():
    """The whole model: each history padded on the left, its tokens by hand, the transformer by Hugging Face."""
    sizes, longest = (5, 7, 4), 6
    codes = np.stack(np.unravel_index(np.random.default_rng(0).permutation(140)[:30], sizes), axis=1).astype(np.uint8)
    settings = GPTRecCodesSettings(
        dimensions=DIMENSIONS,
        blocks=2,
        heads=HEADS,
        feed_forward_dimensions=INNER,
        dropout=0.1,
        max_length=longest,
        beam_width=0,
        embedding_deviation=0.1,
    )
    ours = _drawn_anew(GPTRecCodes(settings, Catalogue(30, codes=codes, book_sizes=sizes)))
    theirs = _hugging_face_gpt2(ours.trunk, ours.positions)
    lengths, targets = torch.tensor([6, 1, 4]), torch.tensor([3, 29, 11])
    items = torch.randint(30, (3, longest))
    predictions = ours.predictions(items, lengths, lengths, torch.arange(3) * longest + lengths - 1, targets)
    for row, length in enumerate(lengths.tolist()):
        tokens = [
            ours.tokens[level][code]
            for item in [*items[row, :length].tolist(), targets[row].item()]
            for level, code in enumerate(codes[item].tolist())
        ][:-1]
        padding = (longest - length) * 3
        inputs = torch.stack([torch.zeros(DIMENSIONS)] * padding + tokens)[None]
        mask = (torch.arange(inputs.shape[1]) >= padding)[None]
        hidden = theirs(inputs_embeds=inputs, attention_mask=mask).last_hidden_state[0]
        for level, state in enumerate(hidden[-3:]):
            logits = predictions[level].logits[row]
            torch.testing.assert_close(logits, ours.tokens[level] @ state, rtol=1e-5, atol=1e-5)
            assert predictions[level].targets[row] == codes[targets[row], level]
