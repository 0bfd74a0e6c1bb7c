"""ml/objectives: each loss against torch's own, a published form in float64, finite differences or plain loops."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from ml.models.item_embeddings import DenseItemEmbedding, ItemEmbedding, JointProductQuantisedItemEmbedding
from ml.objectives import chunked_loss as fused
from ml.objectives import lambdarank, softmax
from ml.objectives import per_position_negatives as own_negatives
from ml.objectives.bayesian_personalised_ranking import pairwise_logistic
from ml.objectives.binary_cross_entropy import binary_cross_entropy, positive_weight, score_offset
from ml.objectives.build import build_objective
from ml.objectives.lambdarank import lambda_losses
from ml.objectives.negatives import Popularity, draw_for_each, draw_shared
from ml.objectives.registry import OBJECTIVES
from ml.objectives.sampled_softmax import SampledSoftmax
from ml.objectives.settings import (
    BayesianPersonalisedRankingSettings,
    BinaryCrossEntropySettings,
    CodeCrossEntropySettings,
    GeneralisedBinaryCrossEntropySettings,
    LambdaRankSettings,
    ObjectiveSettings,
    SampledSoftmaxSettings,
    SoftmaxSettings,
    describe,
)
from ml.objectives.targets import Targets

pytestmark = pytest.mark.usefixtures("one_torch_thread")


ITEMS = 30
COUNTS = np.arange(ITEMS, dtype=np.int64) % 7 + 1
CPU = torch.device("cpu")

SAMPLED = [
    SampledSoftmaxSettings(12, True),
    SampledSoftmaxSettings(12, False),
    SampledSoftmaxSettings(1024, True),
    SampledSoftmaxSettings(12, True, "popularity"),
    SampledSoftmaxSettings(12, False, "popularity", 1.0),
    SampledSoftmaxSettings(0, True, "in_batch"),
    SampledSoftmaxSettings(0, False, "in_batch"),
    SampledSoftmaxSettings(12, True, "uniform", negatives_drawn_for="position"),
    SampledSoftmaxSettings(12, True, "popularity", negatives_drawn_for="position"),
]
WITH_OWN_NEGATIVES = [
    BinaryCrossEntropySettings(),
    GeneralisedBinaryCrossEntropySettings(5, 0.75, "position"),
    GeneralisedBinaryCrossEntropySettings(5, 0.75, "position", prior_offset=True),
    BayesianPersonalisedRankingSettings(),
    BayesianPersonalisedRankingSettings(4),
    SampledSoftmaxSettings(12, True, "uniform", negatives_drawn_for="position"),
    SampledSoftmaxSettings(12, True, "popularity", negatives_drawn_for="position"),
]
SMOOTH = [SoftmaxSettings(), *SAMPLED[:-2], *WITH_OWN_NEGATIVES, BinaryCrossEntropySettings(5, "batch")]
EVERY = [*SMOOTH, LambdaRankSettings(1.0, 5, 12)]
names = describe


def _dense(dtype: torch.dtype = torch.float32, dimensions: int = 6) -> DenseItemEmbedding:
    return DenseItemEmbedding(ITEMS, dimensions, 0.7).to(dtype)


def _quantised(dtype: torch.dtype = torch.float32) -> JointProductQuantisedItemEmbedding:
    codes = np.random.default_rng(5).integers(256, size=(ITEMS, 3), dtype=np.uint8)
    return JointProductQuantisedItemEmbedding(codes, 6, 0.7).to(dtype)


def _one_each(states: int) -> Targets:
    return Targets(torch.randint(ITEMS, (states,), generator=torch.Generator().manual_seed(2)))


def _several(states: int) -> Targets:
    """One to four different targets a state."""
    generator = np.random.default_rng(2)
    drawn = [generator.choice(ITEMS, 1 + state % 4, replace=False) for state in range(states)]
    of = np.repeat(np.arange(states), [len(items) for items in drawn])
    return Targets(torch.from_numpy(np.concatenate(drawn)), torch.from_numpy(of))


def _run(
    objective_settings: ObjectiveSettings, states: Tensor, targets: Targets, embedding: ItemEmbedding
) -> tuple[Tensor, list[Tensor]]:
    """Loss and gradients, negatives drawn from a generator that always starts alike."""
    objective = build_objective(objective_settings, COUNTS)
    states = states.detach().requires_grad_()
    loss = objective(states, targets, embedding, np.random.default_rng(3))
    return loss.detach(), list(torch.autograd.grad(loss, (states, *embedding.parameters())))


def _assert_same(one: tuple[Tensor, list[Tensor]], other: tuple[Tensor, list[Tensor]], **tolerance: float) -> None:
    torch.testing.assert_close(one[0], other[0], **tolerance)
    for left, right in zip(one[1], other[1], strict=True):
        torch.testing.assert_close(left, right, **tolerance)


@pytest.fixture
def tiny_chunks(monkeypatch):
    """So few scores at once that every loss needs several chunks, and a full softmax blocks of the catalogue."""
    monkeypatch.setattr(fused, "_SCORES_AT_ONCE", {"cpu": 100})
    monkeypatch.setattr(softmax, "_SCORES_AT_ONCE", {"cpu": 100})
    monkeypatch.setattr(softmax, "_STATES_PER_BLOCK", 10)
    monkeypatch.setattr(lambdarank, "_SCORES_AT_ONCE", {"cpu": 100})
    monkeypatch.setattr(own_negatives, "_FETCHED_AT_ONCE", 40)


# every objective


@pytest.mark.parametrize("targets", [_one_each(9), _several(9)], ids=["one target", "several targets"])
@pytest.mark.parametrize("embedding", [_dense, _quantised])
@pytest.mark.parametrize("objective_settings", SMOOTH, ids=names)
def test_gradients_equal_finite_differences(objective_settings, embedding, targets):
    torch.manual_seed(0)
    table = embedding(torch.float64)
    states = torch.randn(9, 6, dtype=torch.float64, requires_grad=True)
    objective = build_objective(objective_settings, COUNTS)
    for parameter in (states, *table.parameters()):
        # along a random direction: all parameters in two evaluations
        direction = torch.randn_like(parameter)
        loss = objective(states, targets, table, np.random.default_rng(3))
        (gradient,) = torch.autograd.grad(loss, parameter)
        ends = []
        for step in (1e-5, -1e-5):
            with torch.no_grad():
                parameter.add_(direction, alpha=step)
                ends.append(objective(states, targets, table, np.random.default_rng(3)).item())
                parameter.sub_(direction, alpha=step)
        expected = (ends[0] - ends[1]) / 2e-5
        assert (gradient * direction).sum().item() == pytest.approx(expected, rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("objective_settings", [SoftmaxSettings(), SAMPLED[0], *WITH_OWN_NEGATIVES[:3]], ids=names)
def test_gradcheck(objective_settings):
    torch.manual_seed(0)
    table, targets = _dense(torch.float64, 2), _several(3)
    objective = build_objective(objective_settings, COUNTS)
    states = torch.randn(3, 2, dtype=torch.float64, requires_grad=True)
    # the table is perturbed in place
    assert torch.autograd.gradcheck(
        lambda states, weight: objective(states, targets, table, np.random.default_rng(3)), (states, table.weight)
    )


@pytest.mark.parametrize("targets", [_one_each(23), _several(23)], ids=["one target", "several targets"])
@pytest.mark.parametrize("embedding", [_dense, _quantised])
@pytest.mark.parametrize("objective_settings", EVERY, ids=names)
def test_chunks_change_nothing(objective_settings, embedding, targets, request):
    torch.manual_seed(0)
    table, states = embedding(), torch.randn(23, 6)
    whole = _run(objective_settings, states, targets, table)
    request.getfixturevalue("tiny_chunks")
    _assert_same(_run(objective_settings, states, targets, table), whole, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("objective_settings", EVERY, ids=names)
def test_quantised_embeddings_score_as_a_table_of_their_vectors(objective_settings):
    torch.manual_seed(0)
    quantised, table, states = _quantised(), _dense(), torch.randn(23, 6)
    with torch.no_grad():
        table.weight.copy_(quantised(torch.arange(ITEMS)))
    loss, gradients = _run(objective_settings, states, _several(23), quantised)
    expected, expected_gradients = _run(objective_settings, states, _several(23), table)
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(gradients[0], expected_gradients[0], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("objective_settings", EVERY, ids=names)
def test_upstream_gradients_evaluation_and_repetition(objective_settings):
    torch.manual_seed(0)
    table, states, targets = _dense(), torch.randn(23, 6, requires_grad=True), _one_each(23)
    objective = build_objective(objective_settings, COUNTS)
    once = _run(objective_settings, states, targets, table)
    again = _run(objective_settings, states, targets, table)
    assert torch.equal(once[0], again[0])
    assert all(torch.equal(one, other) for one, other in zip(once[1], again[1], strict=True))
    tripled = 3 * objective(states, targets, table, np.random.default_rng(3))
    (gradient,) = torch.autograd.grad(tripled, states)
    torch.testing.assert_close(gradient, 3 * once[1][0])
    with torch.no_grad():
        alone = objective(states, targets, table, np.random.default_rng(3))
    assert torch.equal(alone, once[0])
    assert not alone.requires_grad


@pytest.mark.parametrize("embedding", [_dense, _quantised])
@pytest.mark.parametrize("objective_settings", EVERY, ids=names)
def test_deterministic_algorithms_change_nothing(objective_settings, embedding, monkeypatch):
    torch.manual_seed(0)
    table, states, targets = embedding(), torch.randn(23, 6), _several(23)
    expected = _run(objective_settings, states, targets, table)
    torch.use_deterministic_algorithms(True)
    try:
        ours = _run(objective_settings, states, targets, table)
        monkeypatch.setattr(own_negatives, "_ITEMS_PER_CANDIDATE", {"cpu": 0})
        fetched = _run(objective_settings, states, targets, table)
    finally:
        torch.use_deterministic_algorithms(False)
    _assert_same(ours, expected, rtol=1e-5, atol=1e-6)
    _assert_same(fetched, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("embedding", [_dense, _quantised])
@pytest.mark.parametrize("objective_settings", EVERY, ids=names)
def test_losses_are_in_float32_under_autocast(objective_settings, embedding):
    torch.manual_seed(0)
    table, states, targets = embedding(), torch.randn(23, 6), _several(23)
    expected, expected_gradients = _run(objective_settings, states, targets, table)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss, gradients = _run(objective_settings, states, targets, table)
        half_loss, half_gradients = _run(objective_settings, states.bfloat16(), targets, table)
    assert loss.dtype == half_loss.dtype == torch.float32
    assert gradients[0].dtype == torch.float32
    assert half_gradients[0].dtype == torch.bfloat16
    assert loss.item() == pytest.approx(expected.item(), rel=0.02)
    assert half_loss.item() == pytest.approx(expected.item(), rel=0.02)
    if not isinstance(objective_settings, LambdaRankSettings):  # whose weights jump where ranks change
        assert (gradients[0] - expected_gradients[0]).norm() < 0.03 * expected_gradients[0].norm()


class _LargestTensor(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.numbers = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        for tensor in result if isinstance(result, (tuple, list)) else [result]:
            if isinstance(tensor, Tensor):
                self.numbers = max(self.numbers, tensor.untyped_storage().nbytes() // tensor.element_size())
        return result


@pytest.mark.parametrize(
    "objective_settings",
    [
        SoftmaxSettings(),
        SampledSoftmaxSettings(12, True),
        GeneralisedBinaryCrossEntropySettings(20, 0.75, "position"),
        LambdaRankSettings(1.0, 5, 12),
    ],
    ids=names,
)
def test_all_scores_are_never_held(objective_settings, tiny_chunks):
    """Nothing is larger than a chunk, the table, the states or the draws."""
    torch.manual_seed(0)
    states, table = torch.randn(300, 6, requires_grad=True), _dense()
    objective = build_objective(objective_settings, COUNTS)
    with _LargestTensor() as largest:
        objective(states, _one_each(300), table, np.random.default_rng(0)).backward()
    assert largest.numbers <= 300 * 20
    if not isinstance(objective_settings, GeneralisedBinaryCrossEntropySettings):
        assert largest.numbers <= 300 * 6 + 30 * 6


def test_targets_weigh_the_mean_over_states():
    states = torch.zeros(3, 2)
    weights = Targets(torch.zeros(6, dtype=torch.long), torch.tensor([0, 1, 1, 1, 1, 2])).weights(states)
    torch.testing.assert_close(weights, torch.tensor([4, 1, 1, 1, 1, 4]) / 12)
    assert _one_each(4).weights(torch.zeros(4, 2)).tolist() == [0.25] * 4


def test_every_objective_has_settings_a_name_and_a_builder():
    settings = {objective.resolve() for objective in OBJECTIVES.values()}
    # the loss of codes is of another form: tests/unit/test_models_generating.py
    assert {type(one) for one in EVERY} == settings - {CodeCrossEntropySettings}
    assert len({describe(one) for one in EVERY}) == len(set(EVERY))
    for one in EVERY:
        assert type(build_objective(one, COUNTS)).__name__ == one.objective.partition(":")[2]


# softmax


@pytest.mark.parametrize("embedding", [_dense, _quantised])
def test_softmax_equals_cross_entropy_of_the_whole_product(embedding):
    torch.manual_seed(0)
    table, targets = embedding(), _one_each(200)
    states = torch.randn(200, 6, requires_grad=True)
    expected = F.cross_entropy(table.score_all(states), targets.items)
    gradients = list(torch.autograd.grad(expected, (states, *table.parameters())))
    _assert_same(_run(SoftmaxSettings(), states, targets, table), (expected.detach(), gradients), rtol=1e-5, atol=1e-6)


def test_softmax_of_several_targets_is_cross_entropy_with_their_uniform_distribution():
    torch.manual_seed(0)
    table, targets = _dense(), _several(50)
    states = torch.randn(50, 6, requires_grad=True)
    truth = torch.zeros(50, ITEMS)
    truth[targets.states, targets.items] = 1
    expected = F.cross_entropy(table.score_all(states), truth / truth.sum(dim=1, keepdim=True))
    gradients = list(torch.autograd.grad(expected, (states, table.weight)))
    _assert_same(_run(SoftmaxSettings(), states, targets, table), (expected.detach(), gradients), rtol=1e-5, atol=1e-6)


def test_softmax_stands_large_scores():
    table, states = _dense(), torch.full((4, 6), 1e4)
    expected = F.cross_entropy(table.score_all(states).double(), _one_each(4).items)
    for rows, columns in ((4, ITEMS), (2, 7)):
        by_blocks = softmax.softmax_by_blocks(states, _one_each(4), table, rows, columns)
        assert by_blocks.item() == pytest.approx(expected.item(), rel=1e-5)
    assert softmax.softmax_by_rows(states, _one_each(4), table, 3).item() == pytest.approx(expected.item(), rel=1e-5)


# sampled softmax


def _plain_sampled_softmax(objective: SampledSoftmax, states: Tensor, targets: Targets, table: Tensor) -> Tensor:
    """The formula of ``ml/objectives/sampled_softmax.py`` with all weights spelled out, for one target a state."""
    chosen, generator = objective.settings, np.random.default_rng(3)
    own = chosen.negatives_drawn_for == "position"
    if own:
        drawn = objective.own_negatives(generator, len(states), ITEMS, CPU).items.numpy()
    elif chosen.distribution == "in_batch":
        drawn = np.tile(targets.items.numpy(), (len(states), 1))
    elif chosen.distribution == "popularity":
        drawn = np.tile(objective.popularity.draw(generator, chosen.negatives), (len(states), 1))
    else:
        drawn = np.tile(draw_shared(generator, ITEMS, chosen.negatives, CPU).numpy(), (len(states), 1))
    power = {"uniform": 0.0, "popularity": chosen.popularity_power, "in_batch": 1.0}[chosen.distribution]
    expected_times = drawn.shape[1] * COUNTS**power / (COUNTS**power).sum()
    losses = []
    for state, target, negatives in zip(states, targets.items.tolist(), drawn, strict=True):
        scores = table @ state
        total = scores[target].exp()
        for negative in negatives.tolist():
            if negative != target:
                weight = 1 / expected_times[negative] if chosen.log_q_correction else 1.0
                total = total + weight * scores[negative].exp()
        losses.append(total.log() - scores[target])
    return torch.stack(losses).mean()


@pytest.mark.parametrize("objective_settings", SAMPLED, ids=names)
def test_sampled_softmax_equals_its_formula(objective_settings):
    torch.manual_seed(0)
    table, targets = _dense(torch.float64), _one_each(20)
    states = torch.randn(20, 6, dtype=torch.float64, requires_grad=True)
    expected = _plain_sampled_softmax(SampledSoftmax(objective_settings, COUNTS), states, targets, table.weight)
    gradients = list(torch.autograd.grad(expected, (states, table.weight)))
    ours = _run(objective_settings, states, targets, table)
    _assert_same(ours, (expected.detach(), gradients), rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("log_q_correction", [True, False])
def test_sampled_softmax_over_the_whole_catalogue_is_softmax(log_q_correction):
    torch.manual_seed(0)
    table, states, targets = _dense(), torch.randn(50, 6), _one_each(50)
    ours = _run(SampledSoftmaxSettings(1024, log_q_correction), states, targets, table)
    _assert_same(ours, _run(SoftmaxSettings(), states, targets, table), rtol=1e-5, atol=1e-6)


def test_sampled_softmax_survives_a_catalogue_of_one_item():
    table, states = DenseItemEmbedding(1, 4, 1.0), torch.randn(3, 4, requires_grad=True)
    objective = build_objective(SampledSoftmaxSettings(8, True), np.ones(1, dtype=np.int64))
    loss = objective(states, Targets(torch.zeros(3, dtype=torch.long)), table, np.random.default_rng(0))
    loss.backward()
    assert loss.item() == 0
    assert torch.equal(states.grad, torch.zeros(3, 4))


@pytest.mark.parametrize(
    ("drawn_for", "distribution"),
    [
        *[("batch", "popularity"), ("position", "uniform")],
        *(pytest.param(*pair, marks=pytest.mark.slow) for pair in [("batch", "uniform"), ("position", "popularity")]),
    ],
)
def test_log_q_correction_makes_the_denominator_unbiased(distribution, drawn_for):
    """The mean over draws of ``exp(loss)`` is the softmax's own denominator over the target's numerator."""
    torch.manual_seed(0)
    embedding = DenseItemEmbedding(200, 8, 0.5)
    counts = np.random.default_rng(1).integers(1, 9, size=200)
    state, target = torch.randn(1, 8), torch.tensor([3])
    expected = F.cross_entropy(state @ embedding.weight.T, target).exp().item()
    generator = np.random.default_rng(0)

    def mean_ratio(corrected: bool) -> float:
        chosen = SampledSoftmaxSettings(50, corrected, distribution, negatives_drawn_for=drawn_for)
        objective = build_objective(chosen, counts)
        return float(
            np.mean([objective(state, Targets(target), embedding, generator).exp().item() for _ in range(400)])
        )

    assert mean_ratio(corrected=True) == pytest.approx(expected, rel=0.03)
    assert mean_ratio(corrected=False) < 0.5 * expected


# binary cross-entropy, gBCE and BPR


def _published_gbce(positive: Tensor, negative: Tensor, beta: float) -> Tensor:
    """The transform of equation 22 of the paper in float64, then torch's binary cross-entropy."""
    positive, negative = positive.double(), negative.double()
    probability = torch.sigmoid(positive).clamp(1e-10, 1 - 1e-10)
    transformed = torch.log(1 / (probability.pow(-beta) - 1))
    scores = torch.cat([transformed[:, None], negative], dim=1)
    truth = torch.zeros_like(scores)
    truth[:, 0] = 1
    return F.binary_cross_entropy_with_logits(scores, truth)


def _mean_and_gradient(row_loss, scores: Tensor) -> tuple[Tensor, Tensor]:
    result = row_loss(scores.detach().clone())
    scale = 1.0 if result.scale is None else result.scale[:, None]
    return result.losses.mean(), result.gradient * scale / len(scores)


@pytest.mark.parametrize("beta", [1.0, 0.306, 0.01])
def test_gbce_equals_the_published_transform_in_value_and_gradient(beta):
    generator = torch.Generator().manual_seed(0)
    scores = (torch.rand(200, 33, generator=generator) * 36 - 18).requires_grad_()
    ours, gradient = _mean_and_gradient(lambda scores: binary_cross_entropy(scores, beta), scores)
    published = _published_gbce(scores[:, 0], scores[:, 1:], beta)
    (expected,) = torch.autograd.grad(published, scores)
    assert ours.item() == pytest.approx(published.item(), rel=1e-6)
    torch.testing.assert_close(gradient, expected, rtol=1e-4, atol=1e-9)


def test_gbce_keeps_the_gradient_of_a_positive_scored_very_low():
    """Where the published clamp returns none, so that training may not start."""
    scores = torch.tensor([[-30.0, 0.0]], requires_grad=True)
    _, gradient = _mean_and_gradient(lambda scores: binary_cross_entropy(scores, 0.5), scores)
    (published,) = torch.autograd.grad(_published_gbce(scores[:, 0], scores[:, 1:], 0.5), scores)
    assert published[0, 0].item() == 0
    assert gradient[0, 0].item() == pytest.approx(-0.25)


def test_gbce_without_calibration_is_binary_cross_entropy():
    scores, truth = torch.randn(20, 6), torch.zeros(20, 6)
    truth[:, 0] = 1
    ours, _ = _mean_and_gradient(lambda scores: binary_cross_entropy(scores, positive_weight(1000, 5, 0.0)), scores)
    torch.testing.assert_close(ours, F.binary_cross_entropy_with_logits(scores, truth))
    torch.manual_seed(0)
    table, states = _dense(), torch.randn(20, 6)
    plain = _run(BinaryCrossEntropySettings(5), states, _one_each(20), table)
    generalised = _run(GeneralisedBinaryCrossEntropySettings(5, 0.0, "position"), states, _one_each(20), table)
    _assert_same(plain, generalised, rtol=0, atol=0)


def test_positive_weight():
    # the paper's MovieLens-1M setting: 3,416 items, 256 negatives, t = .75
    assert positive_weight(3416, 256, 0.75) == pytest.approx(0.306, abs=5e-4)
    assert positive_weight(1000, 10, 0.0) == pytest.approx(1)
    assert positive_weight(1000, 10, 1.0) == pytest.approx(10 / 999)
    assert positive_weight(5, 256, 1.0) == 1
    assert positive_weight(1, 256, 0.5) == 1


@pytest.mark.parametrize("beta", [1.0, 0.306, 0.01])
def test_an_offset_is_added_to_all_scores(beta):
    scores, truth = torch.randn(40, 6).requires_grad_(), torch.zeros(40, 6)
    truth[:, 0] = 1
    weights = torch.tensor([beta, 1, 1, 1, 1, 1])
    expected = F.binary_cross_entropy_with_logits(scores - 1.7, truth, weight=weights.expand(40, 6))
    ours, gradient = _mean_and_gradient(lambda scores: binary_cross_entropy(scores, beta, -1.7), scores)
    torch.testing.assert_close(ours, expected)
    torch.testing.assert_close(gradient, torch.autograd.grad(expected, scores)[0])


@pytest.mark.parametrize(
    ("items", "negatives", "drawn_for"), [(200, 20, "position"), (200, 20, "batch"), (9, 20, "batch")]
)
def test_with_the_prior_offset_scores_of_nought_need_not_move(items, negatives, drawn_for):
    """A common shift of all scores then has no gradient, which without the offset it has."""
    embedding, shift = DenseItemEmbedding(items, 4, 0.5), torch.zeros((), requires_grad=True)
    with torch.no_grad():
        embedding.weight.zero_()
        embedding.weight[:, 0] = 1
    targets = Targets(torch.arange(60) % items)
    slopes = {}
    for offset in (True, False):
        chosen = GeneralisedBinaryCrossEntropySettings(negatives, 0.75, drawn_for, prior_offset=offset)
        states = torch.zeros(60, 4) + shift * torch.tensor([1.0, 0, 0, 0])
        loss = build_objective(chosen, COUNTS)(states, targets, embedding, np.random.default_rng(0))
        (slopes[offset],) = torch.autograd.grad(loss, shift)
    assert slopes[True].abs() < 1e-6
    assert slopes[False] > 0.1
    drawn = min(negatives, items) if drawn_for == "batch" else negatives
    beta = positive_weight(items, drawn, 0.75)
    assert score_offset(replace(chosen, prior_offset=True), items) == pytest.approx(np.log(beta / drawn))
    assert score_offset(chosen, items) == 0


def test_bpr_is_the_logistic_loss_of_score_differences():
    scores = torch.randn(20, 5, requires_grad=True)
    expected = -F.logsigmoid(scores[:, :1] - scores[:, 1:]).mean()
    (expected_gradient,) = torch.autograd.grad(expected, scores)
    ours, gradient = _mean_and_gradient(pairwise_logistic, scores)
    torch.testing.assert_close(ours, expected)
    torch.testing.assert_close(gradient, expected_gradient)


@pytest.mark.parametrize("drawn_for", ["position", "batch"])
def test_gbce_objective_has_the_expected_value(drawn_for):
    """Over many draws: positives weighted by beta, negatives at the mean over the catalogue."""
    torch.manual_seed(0)
    embedding = DenseItemEmbedding(100, 8, 0.5)
    states, targets = torch.randn(40, 8), torch.randint(100, (40,))
    chosen = GeneralisedBinaryCrossEntropySettings(20, 0.75, drawn_for)
    objective, generator = build_objective(chosen, COUNTS), np.random.default_rng(0)
    drawn = np.mean([objective(states, Targets(targets), embedding, generator).item() for _ in range(300)])
    scores = (states @ embedding.weight.T).detach()
    positive = F.softplus(-scores.gather(1, targets[:, None])).mean()
    expected = (positive_weight(100, 20, 0.75) * positive + 20 * F.softplus(scores).mean()) / 21
    assert drawn == pytest.approx(expected.item(), rel=0.01)


@pytest.mark.parametrize("objective_settings", WITH_OWN_NEGATIVES, ids=names)
def test_ways_to_score_own_negatives_agree(objective_settings, monkeypatch):
    """Through the product with the whole table, or from the rows that are needed."""
    torch.manual_seed(0)
    table, states, targets = _dense(), torch.randn(23, 6), _several(23)
    by_product = _run(objective_settings, states, targets, table)
    monkeypatch.setattr(own_negatives, "_ITEMS_PER_CANDIDATE", {"cpu": 0})
    _assert_same(_run(objective_settings, states, targets, table), by_product, rtol=1e-5, atol=1e-6)
    quantised = _quantised()
    differentiated = _run(objective_settings, states, targets, quantised)
    monkeypatch.undo()
    _assert_same(_run(objective_settings, states, targets, quantised), differentiated, rtol=1e-5, atol=1e-6)


# LambdaRank


def _plain_lambdas(scores: Tensor, targets: set[int], chosen: LambdaRankSettings) -> tuple[float, np.ndarray]:
    """Loss and gradient of one state by a loop over pairs."""
    order = sorted(range(len(scores)), key=lambda item: -scores[item])[: chosen.truncate_at]
    rank = {item: place + 1 for place, item in enumerate(order)}
    for target in targets:
        rank.setdefault(target, len(order) + 1)
    best = min(len(targets), chosen.ndcg_at)
    ideal = sum(1 / math.log2(place + 1) for place in range(1, best + 1))
    loss, gradient = 0.0, np.zeros(len(scores))
    for target in targets:
        for other in order:
            if other in targets or min(rank[target], rank[other]) > chosen.ndcg_at:
                continue
            distance = scores[target] - scores[other]
            weight = abs(1 / math.log2(rank[target] + 1) - 1 / math.log2(rank[other] + 1)) / ideal
            if chosen.normalised and scores[order[0]] != scores[order[-1]]:
                weight /= abs(distance) + 0.01
            loss += weight * math.log1p(math.exp(-chosen.sigma * distance))
            pull = weight * chosen.sigma / (1 + math.exp(chosen.sigma * distance))
            gradient[target] -= pull
            gradient[other] += pull
    size = np.abs(gradient).sum()
    factor = math.log2(1 + size) / size if chosen.normalised and size > 0 else 1.0
    return loss * factor, gradient * factor


@settings(deadline=None, max_examples=60)
@given(
    seed=st.integers(0, 1000),
    items=st.integers(4, 25),
    ndcg_at=st.integers(1, 8),
    beyond=st.integers(0, 20),
    sigma=st.sampled_from([0.5, 1.0, 3.0]),
    normalised=st.booleans(),
)
def test_lambdas_equal_a_loop_over_pairs(seed, items, ndcg_at, beyond, sigma, normalised):
    generator = np.random.default_rng(seed)
    chosen = LambdaRankSettings(sigma, ndcg_at, ndcg_at + beyond, normalised)
    scores = torch.from_numpy(generator.normal(size=(3, items)))
    targets = [generator.choice(items, generator.integers(1, 4), replace=False) for _ in range(3)]
    rows = torch.from_numpy(np.repeat(np.arange(3), [len(one) for one in targets]))
    result = lambda_losses(scores, rows, torch.from_numpy(np.concatenate(targets)), chosen)
    gradient = result.gradient if result.scale is None else result.gradient * result.scale[:, None]
    for row in range(3):
        loss, expected = _plain_lambdas(scores[row].numpy(), set(targets[row].tolist()), chosen)
        assert result.losses[row].item() == pytest.approx(loss, rel=1e-9, abs=1e-12)
        np.testing.assert_allclose(gradient[row].numpy(), expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    ("scores", "targets", "ndcg_at", "lambdas"),
    [
        ([0.1, 0.3, 1.0, 0.0], [2, 3], 1, [0.175801, 0.190922, -0.366723, 0.0]),
        ([0.1, 0.3, 1.0, 0.0], [2, 3], 2, [0.101338, 0.346829, -0.211393, -0.236774]),
        ([0.1, 0.3, 1.0, 0.0], [2], 1, [0.160353, 0.174145, -0.487562, 0.153063]),
    ],
)
def test_lambdas_equal_those_that_the_published_code_is_tested_with(scores, targets, ndcg_at, lambdas):
    """Figures of the unit tests of the code of Petrov and Macdonald (RecSys 2022)."""
    rows = torch.zeros(len(targets), dtype=torch.long)
    result = lambda_losses(torch.tensor([scores]), rows, torch.tensor(targets), LambdaRankSettings(1.0, ndcg_at))
    torch.testing.assert_close((result.gradient * result.scale[:, None])[0], torch.tensor(lambdas), rtol=0, atol=1e-5)


def test_lambdas_of_equal_scores_and_of_nothing_but_targets_are_finite():
    chosen = LambdaRankSettings()
    equal = lambda_losses(torch.zeros(1, 5), torch.tensor([0]), torch.tensor([1]), chosen)
    assert torch.isfinite(equal.losses).all()
    assert torch.isfinite(equal.gradient * equal.scale[:, None]).all()
    solved = lambda_losses(torch.randn(1, 2), torch.tensor([0, 0]), torch.tensor([0, 1]), chosen)
    assert solved.losses.item() == 0
    assert torch.equal(solved.gradient * solved.scale[:, None], torch.zeros(1, 2))


# draws and settings


def test_draws():
    generator = np.random.default_rng(0)
    shared = draw_shared(generator, 1000, 64, CPU)
    assert len(shared.unique()) == 64
    assert torch.equal(shared, shared.sort().values)
    assert draw_shared(generator, 10, 64, CPU).tolist() == list(range(10))
    each = draw_for_each(generator, 50, 400, 30, CPU)
    assert each.shape == (400, 30)
    assert each.min() == 0
    assert each.max() == 49
    counts = np.bincount(np.concatenate([draw_shared(generator, 40, 10, CPU) for _ in range(2000)]), minlength=40)
    assert counts.min() > 400
    assert counts.max() < 600


def test_draws_by_popularity():
    popularity, generator = Popularity(np.array([0, 8, 1, 0, 27, 0]), 1 / 3), np.random.default_rng(0)
    np.testing.assert_allclose(popularity.probabilities, np.array([0, 2, 1, 0, 3, 0]) / 6)
    drawn = popularity.draw(generator, (200, 300))
    np.testing.assert_allclose(np.bincount(drawn.ravel(), minlength=6) / 60000, popularity.probabilities, atol=0.01)
    shared = popularity.draw_shared(generator, 1200, True, CPU)
    assert shared.items.tolist() == [1, 2, 4]
    np.testing.assert_allclose(shared.log_weights, 0, atol=0.2)
    with pytest.raises(ValueError, match="no training interaction"):
        Popularity(np.zeros(4, dtype=np.int64), 1.0)


def test_shared_draws_do_not_depend_on_the_number_of_states():
    """So that ranks whose batches differ in size can share them."""
    objective = SampledSoftmax(SampledSoftmaxSettings(12, True), COUNTS)
    one, other = (
        objective.shared_negatives(np.random.default_rng(0), _one_each(states), ITEMS).items for states in (5, 50)
    )
    assert torch.equal(one, other)


@pytest.mark.parametrize(
    ("make", "word"),
    [
        (lambda: SampledSoftmaxSettings(0, False), "negatives"),
        (lambda: SampledSoftmaxSettings(5, False, "in_batch"), "negatives"),
        (lambda: SampledSoftmaxSettings(0, False, "in_batch", negatives_drawn_for="position"), "negatives_drawn_for"),
        (lambda: SampledSoftmaxSettings(5, False, "popularity", -1.0), "popularity_power"),
        (lambda: GeneralisedBinaryCrossEntropySettings(1, 1.5, "batch"), "calibration"),
        (lambda: GeneralisedBinaryCrossEntropySettings(0, 0.5, "batch"), "negatives"),
        (lambda: BinaryCrossEntropySettings(0), "negatives"),
        (lambda: BayesianPersonalisedRankingSettings(0), "negatives"),
        (lambda: LambdaRankSettings(sigma=0.0), "sigma"),
        (lambda: LambdaRankSettings(ndcg_at=0), "ndcg_at"),
        (lambda: LambdaRankSettings(ndcg_at=10, truncate_at=5), "truncate_at"),
    ],
)
def test_settings_out_of_range(make, word):
    with pytest.raises(ValueError, match=word):
        make()


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (
            SampledSoftmaxSettings(1024, True),
            "sampled softmax, all 147 items as negatives shared by the batch, logQ corrected",
        ),
        (
            GeneralisedBinaryCrossEntropySettings(256, 0.75, "position"),
            "gBCE, t = 0.75, 256 uniform negatives a position, drawn with replacement from 147 items",
        ),
        (
            GeneralisedBinaryCrossEntropySettings(146, 0.75, "batch"),
            "gBCE, t = 0.75, 146 uniform negatives shared by the batch",
        ),
        (BinaryCrossEntropySettings(), "binary cross-entropy, 1 uniform negative a position"),
    ],
)
def test_negatives_are_described_as_they_are_drawn(settings, said):
    assert describe(settings, 147) == said
    drawn = draw_shared(np.random.default_rng(0), 147, getattr(settings, "negatives", 1), torch.device("cpu"))
    assert ("all 147 items" in said) <= (len(drawn) == 147)


def test_objectives_are_named_in_words():
    assert describe(SampledSoftmaxSettings(1024, True)) == (
        "sampled softmax, 1,024 uniform negatives shared by the batch, logQ corrected"
    )
    assert describe(BinaryCrossEntropySettings()) == "binary cross-entropy, 1 uniform negative a position"
