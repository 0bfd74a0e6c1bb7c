"""The weights of ml/models/t5.py in Hugging Face's T5."""

from __future__ import annotations

import torch
from transformers.models.t5.modeling_t5 import T5Attention, T5ForConditionalGeneration, T5Model

from ml.models.t5 import T5, Attention, EncoderBlock


def _copy_attention(ours: Attention, theirs: T5Attention) -> None:
    keys, values = ours.key_value.weight.chunk(2)
    for source, target in ((ours.query.weight, theirs.q), (keys, theirs.k), (values, theirs.v)):
        target.weight.copy_(source)
    theirs.o.weight.copy_(ours.output.weight)


@torch.no_grad()
def copied(ours: T5, theirs: T5Model | T5ForConditionalGeneration) -> T5Model | T5ForConditionalGeneration:
    """Their model with our weights, all but those of the tokens."""
    for stack, positions, blocks, norm in (
        (theirs.encoder, ours.encoder_positions, ours.encoder_blocks, ours.encoder_norm),
        (theirs.decoder, ours.decoder_positions, ours.decoder_blocks, ours.decoder_norm),
    ):
        stack.block[0].layer[0].SelfAttention.relative_attention_bias.weight.copy_(positions.weight)
        stack.final_layer_norm.weight.copy_(norm.weight)
        for block, layers in zip(blocks, (each.layer for each in stack.block), strict=True):
            _copy_attention(block.attention, layers[0].SelfAttention)
            layers[0].layer_norm.weight.copy_(block.attention_norm.weight)
            if not isinstance(block, EncoderBlock):
                _copy_attention(block.history_attention, layers[1].EncDecAttention)
                layers[1].layer_norm.weight.copy_(block.history_norm.weight)
            layers[-1].layer_norm.weight.copy_(block.feed_forward_norm.weight)
            inner = layers[-1].DenseReluDense
            inner.wo.weight.copy_(block.feed_forward.narrow.weight)
            if block.feed_forward.gate is None:
                inner.wi.weight.copy_(block.feed_forward.widen.weight)
            else:
                inner.wi_0.weight.copy_(block.feed_forward.gate.weight)
                inner.wi_1.weight.copy_(block.feed_forward.widen.weight)
    return theirs.eval()
