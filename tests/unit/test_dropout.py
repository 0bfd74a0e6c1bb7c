"""ml/models/dropout.py: the share that is asked for, the expectation kept, the gradient that of the mask."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from ml.models.dropout import Dropout, dropout
from ml.models.transformer import CausalAttention


@pytest.mark.parametrize("probability", [0.1, 0.3, 0.5, 0.9])
def test_the_share_and_the_expectation_are_those_of_the_probability(probability):
    torch.manual_seed(0)
    inputs = torch.ones(1000, 401)
    outputs = dropout(inputs, probability, training=True)
    # four standard deviations of a share of so many draws
    tolerance = 4 * (probability * (1 - probability) / inputs.numel()) ** 0.5
    assert (outputs == 0).double().mean().item() == pytest.approx(probability, abs=tolerance)
    assert outputs.double().mean().item() == pytest.approx(1, abs=tolerance / (1 - probability))
    assert len(outputs.unique()) == 2
    assert outputs.max().item() == pytest.approx(1 / (1 - probability), rel=1e-4)


def test_neighbours_are_dropped_independently():
    """Four elements share one draw; none tells of another."""
    torch.manual_seed(0)
    zero = (dropout(torch.ones(400_000), 0.5, training=True) == 0).double().view(-1, 4)
    correlations = torch.corrcoef(zero.T)
    assert (correlations - torch.eye(4)).abs().max() < 0.02


def test_the_gradient_is_that_of_what_was_kept():
    torch.manual_seed(0)
    inputs = torch.randn(7, 5, 3, requires_grad=True)
    outputs = dropout(inputs, 0.4, training=True)
    (gradient,) = torch.autograd.grad(outputs.sum(), inputs)
    torch.testing.assert_close(gradient * inputs, outputs)
    assert (gradient == 0).any()


def test_one_seed_one_mask_and_nothing_without_training():
    inputs = torch.randn(50, 3)
    masks = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        masks.append(dropout(inputs, 0.5, training=True))
    torch.testing.assert_close(masks[0], masks[1], rtol=0, atol=0)
    assert (masks[0] != masks[2]).any()
    assert dropout(inputs, 0.5, training=False) is inputs
    assert Dropout(0.0).train()(inputs) is inputs
    assert dropout(torch.ones(100), 1 - 1e-9, training=True).isfinite().all()


@pytest.mark.parametrize("length", [1, 6])
def test_attention_with_dropout_is_on_average_attention(length):
    torch.manual_seed(0)
    attention = CausalAttention(8, 2, 0.3, output_projection=False)
    inputs = torch.randn(2, length, 8)
    expected = attention.eval()(inputs, inputs)
    attention.train()
    with torch.no_grad():
        many = inputs.repeat(4000, 1, 1)
        mean = attention(many, many).view(4000, *inputs.shape).mean(dim=0)
    torch.testing.assert_close(mean, expected, rtol=0.05, atol=0.05)


def test_attention_with_dropout_of_almost_nothing_is_that_of_torch():
    torch.manual_seed(0)
    attention = CausalAttention(8, 2, 1e-9, output_projection=False).train()
    queries, inputs = torch.randn(2, 5, 8), torch.randn(2, 5, 8, requires_grad=True)
    ours = attention(queries, inputs)
    theirs = attention.eval()(queries, inputs)
    torch.testing.assert_close(ours, theirs)
    gradients = [torch.autograd.grad((outputs * F.gelu(outputs)).sum(), inputs)[0] for outputs in (ours, theirs)]
    torch.testing.assert_close(*gradients)
