"""ml/objectives: each loss against torch's own, or against the published form in float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from ml.models.item_embeddings import DenseItemEmbedding
from ml.objectives.build import build_objective
from ml.objectives.generalised_binary_cross_entropy import generalised_binary_cross_entropy, positive_weight
from ml.objectives.negatives import draw_for_each, draw_shared
from ml.objectives.settings import (
    GeneralisedBinaryCrossEntropySettings,
    SampledSoftmaxSettings,
    SoftmaxSettings,
)
from ml.objectives.softmax import sampled_cross_entropy


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    """Small tensors gain nothing from more threads, and a busy machine makes them wait for one another."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def _published_gbce(positive: torch.Tensor, negative: torch.Tensor, beta: float) -> torch.Tensor:
    """The transform of equation 22 of the paper in float64, then torch's binary cross-entropy."""
    positive, negative = positive.double(), negative.double()
    probability = torch.sigmoid(positive).clamp(1e-10, 1 - 1e-10)
    transformed = torch.log(1 / (probability.pow(-beta) - 1))
    scores = torch.cat([transformed[:, None], negative], dim=1)
    truth = torch.zeros_like(scores)
    truth[:, 0] = 1
    return F.binary_cross_entropy_with_logits(scores, truth)


@pytest.mark.parametrize("beta", [1.0, 0.306, 0.01])
def test_gbce_equals_the_published_transform_in_value_and_gradient(beta):
    generator = torch.Generator().manual_seed(0)
    positive = (torch.rand(200, generator=generator) * 36 - 18).requires_grad_()
    negative = (torch.rand(200, 32, generator=generator) * 36 - 18).requires_grad_()
    ours = generalised_binary_cross_entropy(positive, negative, beta)
    ours_gradients = torch.autograd.grad(ours, (positive, negative))
    published = _published_gbce(positive, negative, beta)
    published_gradients = torch.autograd.grad(published, (positive, negative))
    assert ours.item() == pytest.approx(published.item(), rel=1e-6)
    for one, other in zip(ours_gradients, published_gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-9)


def test_gbce_keeps_the_gradient_of_a_positive_scored_very_low():
    """Where the published clamp returns none, so that training may not start."""
    positive = torch.tensor([-30.0], requires_grad=True)
    negative = torch.zeros(1, 1)
    (ours,) = torch.autograd.grad(generalised_binary_cross_entropy(positive, negative, 0.5), positive)
    (published,) = torch.autograd.grad(_published_gbce(positive, negative, 0.5), positive)
    assert published.item() == 0
    assert ours.item() == pytest.approx(-0.25)


def test_gbce_without_calibration_is_binary_cross_entropy():
    positive, negative = torch.randn(20), torch.randn(20, 5)
    truth = torch.zeros(20, 6)
    truth[:, 0] = 1
    expected = F.binary_cross_entropy_with_logits(torch.cat([positive[:, None], negative], dim=1), truth)
    ours = generalised_binary_cross_entropy(positive, negative, positive_weight(1000, 5, 0.0))
    torch.testing.assert_close(ours, expected)


def test_positive_weight():
    # the paper's MovieLens-1M setting: 3,416 items, 256 negatives, t = .75
    assert positive_weight(3416, 256, 0.75) == pytest.approx(0.306, abs=5e-4)
    assert positive_weight(1000, 10, 0.0) == pytest.approx(1)
    assert positive_weight(1000, 10, 1.0) == pytest.approx(10 / 999)
    assert positive_weight(5, 256, 1.0) == 1
    assert positive_weight(1, 256, 0.5) == 1


def test_sampled_cross_entropy_equals_torch_where_hits_are_removed():
    generator = torch.Generator().manual_seed(1)
    candidates = torch.randperm(40, generator=generator)[:15]
    targets = torch.randint(40, (60,), generator=generator)
    scores = torch.randn(60, 15, generator=generator).requires_grad_()
    target_scores = torch.randn(60, generator=generator).requires_grad_()
    hits = candidates == targets[:, None]
    assert 0 < hits.any(dim=1).sum() < 60
    whole = torch.cat([target_scores[:, None], scores.masked_fill(hits, -torch.inf)], dim=1)
    expected = F.cross_entropy(whole, torch.zeros(60, dtype=torch.long))
    ours = sampled_cross_entropy(target_scores, scores, targets, candidates)
    torch.testing.assert_close(ours, expected)
    for one, other in zip(
        torch.autograd.grad(ours, (target_scores, scores)),
        torch.autograd.grad(expected, (target_scores, scores)),
        strict=True,
    ):
        torch.testing.assert_close(one, other)


def test_sampled_cross_entropy_survives_a_catalogue_of_one_item():
    scores = torch.randn(3, 1, requires_grad=True)
    loss = sampled_cross_entropy(scores[:, 0], scores, torch.zeros(3, dtype=torch.long), torch.tensor([0]))
    loss.backward()
    assert loss.item() == 0
    assert torch.equal(scores.grad, torch.zeros(3, 1))


@pytest.mark.parametrize("log_q_correction", [True, False])
def test_sampled_softmax_over_the_whole_catalogue_is_softmax(log_q_correction):
    torch.manual_seed(0)
    embedding = DenseItemEmbedding(30, 8, 1.0)
    states, targets = torch.randn(50, 8), torch.randint(30, (50,))
    sampled = build_objective(SampledSoftmaxSettings(1024, log_q_correction))
    expected = F.cross_entropy(states @ embedding.weight.T, targets)
    generator = np.random.default_rng(0)
    torch.testing.assert_close(sampled(states, targets, embedding, generator), expected)
    torch.testing.assert_close(build_objective(SoftmaxSettings())(states, targets, embedding, generator), expected)


def test_log_q_correction_makes_the_denominator_unbiased():
    """The mean over draws of ``exp(loss)`` is the softmax's own denominator over the target's numerator."""
    torch.manual_seed(0)
    embedding = DenseItemEmbedding(200, 8, 0.5)
    state, target = torch.randn(1, 8), torch.tensor([3])
    expected = F.cross_entropy(state @ embedding.weight.T, target).exp().item()
    generator = np.random.default_rng(0)

    def mean_ratio(corrected: bool) -> float:
        objective = build_objective(SampledSoftmaxSettings(50, corrected))
        return float(np.mean([objective(state, target, embedding, generator).exp().item() for _ in range(500)]))

    assert mean_ratio(corrected=True) == pytest.approx(expected, rel=0.02)
    assert mean_ratio(corrected=False) == pytest.approx(1 + (expected - 1) * 50 / 200, rel=0.02)


@pytest.mark.parametrize("drawn_for", ["position", "batch"])
def test_gbce_objective_has_the_expected_value(drawn_for):
    """Over many draws: positives weighted by beta, negatives at the mean over the catalogue."""
    torch.manual_seed(0)
    embedding = DenseItemEmbedding(100, 8, 0.5)
    states, targets = torch.randn(40, 8), torch.randint(100, (40,))
    settings = GeneralisedBinaryCrossEntropySettings(20, 0.75, drawn_for)
    objective, generator = build_objective(settings), np.random.default_rng(0)
    drawn = np.mean([objective(states, targets, embedding, generator).item() for _ in range(300)])
    scores = states @ embedding.weight.T
    positive = F.softplus(-scores.gather(1, targets[:, None])).mean()
    expected = (positive_weight(100, 20, 0.75) * positive + 20 * F.softplus(scores).mean()) / 21
    assert drawn == pytest.approx(expected.item(), rel=0.01)


def test_draws():
    generator, cpu = np.random.default_rng(0), torch.device("cpu")
    shared = draw_shared(generator, 1000, 64, cpu)
    assert len(shared.unique()) == 64
    assert draw_shared(generator, 10, 64, cpu).tolist() == list(range(10))
    each = draw_for_each(generator, 50, 400, 30, cpu)
    assert each.shape == (400, 30)
    assert each.min() == 0
    assert each.max() == 49
    counts = np.bincount(np.concatenate([draw_shared(generator, 40, 10, cpu) for _ in range(2000)]), minlength=40)
    assert counts.min() > 400
    assert counts.max() < 600


def test_settings_out_of_range():
    with pytest.raises(ValueError, match="negatives"):
        SampledSoftmaxSettings(0, False)
    with pytest.raises(ValueError, match="calibration"):
        GeneralisedBinaryCrossEntropySettings(1, 1.5, "batch")
