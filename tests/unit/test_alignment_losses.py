"""Losses of alignment: values by hand, gradients against finite differences, and distributions of the policy."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from alignment_toys import toy_model, toy_prompts, toy_recipe
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.distributions import Categorical, kl_divergence

from ml.alignment import learner as learning
from ml.alignment.learner import Choices, Learner
from ml.alignment.losses import (
    clipped_surrogate_loss,
    divergence,
    entropy,
    mean_of_listed,
    value_loss,
)
from ml.alignment.policy import Prompts, chosen, log_distributions, states_of, write_lists
from ml.generation.next_k import GeneratedLists, list_log_probabilities
from ml.models.gptrec import GPTRec
from ml.training.loop import DivergedError

SEEDS = st.integers(0, 2**32 - 1)


def test_clipping_by_hand():
    ratio = torch.tensor([[1.5, 0.5, 1.5, 0.5, 1.1]], dtype=torch.float64)
    advantages = torch.tensor([[1.0, 1.0, -1.0, -1.0, 2.0]], dtype=torch.float64)
    listed = torch.ones(1, 5, dtype=torch.bool)
    found = clipped_surrogate_loss(ratio.log(), torch.zeros_like(ratio), advantages, listed, 0.2)
    assert found.item() == pytest.approx(-(1.2 + 0.5 - 1.5 - 0.8 + 2.2) / 5)


def test_places_without_an_item_do_not_count():
    listed = torch.tensor([[True, False]])
    values = torch.tensor([[2.0, torch.nan]])
    assert mean_of_listed(values, listed).item() == 2
    assert mean_of_listed(values, torch.zeros_like(listed)).item() == 0
    assert value_loss(torch.tensor([[1.0, 9.0]]), torch.tensor([[4.0, 0.0]]), listed).item() == 4.5


@given(seed=SEEDS)
def test_divergence_and_entropy_equal_torch(seed):
    generator = torch.Generator().manual_seed(seed)
    scores = torch.randn(2, 3, 7, generator=generator, dtype=torch.float64)
    other = torch.randn(2, 3, 7, generator=generator, dtype=torch.float64)
    hidden = torch.rand(2, 3, 7, generator=generator) < 0.4
    hidden[..., 0] = False
    ours = [each.masked_fill(hidden, -torch.inf).log_softmax(-1) for each in (scores, other)]
    # a score so low that its probability is 0 stands for -inf there
    theirs = [Categorical(logits=each.masked_fill(hidden, -1e9)) for each in (scores, other)]
    assert torch.allclose(divergence(*ours), kl_divergence(*theirs), atol=1e-9)
    assert torch.allclose(entropy(ours[0]), theirs[0].entropy())
    assert divergence(ours[0], ours[0]).abs().max() == 0


def test_divergence_has_gradients_where_items_are_hidden():
    scores = torch.randn(3, 5, dtype=torch.float64, requires_grad=True)
    hidden = torch.zeros(3, 5, dtype=torch.bool)
    hidden[:, 2] = True
    reference = torch.randn(3, 5, dtype=torch.float64).masked_fill(hidden, -torch.inf).log_softmax(-1)

    def total(scores):
        policy = scores.masked_fill(hidden, -torch.inf).log_softmax(-1)
        return (divergence(policy, reference) + entropy(policy)).sum()

    assert torch.autograd.gradcheck(total, scores)
    (gradient,) = torch.autograd.grad(total(scores), scores)
    assert not gradient[:, 2].any()


@given(seed=SEEDS, marks=st.integers(0, 1), hides=st.booleans(), places=st.sampled_from([3, 6]))
@settings(max_examples=15)
def test_distributions_are_those_that_lists_are_drawn_from(seed, marks, hides, places):
    torch.manual_seed(seed)
    # six places in a catalogue of eight items: where four are hidden, lists end early
    model = toy_model(items=8, list_length=6, marks=marks)
    prompts = toy_prompts(model, rows=5, hides=4 if hides else 0)
    written = write_lists(model, prompts, places, torch.Generator().manual_seed(seed))
    listed = written.items >= 0
    assert listed.sum(dim=1).tolist() == [min(places, 4 if hides else 8)] * 5
    for row, allowed in zip(written.items.tolist(), listed.sum(dim=1).tolist(), strict=True):
        assert len(set(row[:allowed])) == allowed
        assert not hides or not prompts.hidden[0, row[:allowed]].any()
    distributions = log_distributions(model, states_of(model, prompts, written.items), prompts, written.items)
    assert torch.allclose(distributions.exp().sum(-1), torch.ones(5, places))
    found = chosen(distributions, written.items)
    assert torch.allclose(found, written.log_probabilities, atol=1e-5)
    expected, entropies = list_log_probabilities(
        model, prompts.items, prompts.lengths, prompts.marks, written.items, prompts.hidden
    )
    assert torch.allclose(found, expected, atol=1e-5)
    assert torch.allclose(entropy(distributions).masked_fill(~listed, 0), entropies, atol=1e-5)


def sampled(model: GPTRec, prompts: Prompts, seed: int = 0) -> GeneratedLists:
    """Lists of a model of any precision: it draws them in float32, and reads them in its own."""
    lists = write_lists(copy.deepcopy(model).float(), prompts, 3, torch.Generator().manual_seed(seed)).items
    with torch.no_grad():
        return GeneratedLists(lists, probabilities_of(model, prompts, lists))


def probabilities_of(model: GPTRec, prompts: Prompts, lists: Tensor) -> Tensor:
    """Log-probabilities of given lists."""
    return chosen(log_distributions(model, states_of(model, prompts, lists), prompts, lists), lists)


def sampled_choices(learner: Learner) -> tuple[Prompts, Choices]:
    """Prompts, and choices of the policy with made-up advantages."""
    prompts = toy_prompts(learner.policy, rows=4, hides=2)
    lists = sampled(learner.policy, prompts)
    advantages, returns = torch.randn(2, 4, 3, dtype=lists.log_probabilities.dtype)
    return prompts, Choices(lists.items, lists.log_probabilities, advantages, returns)


@pytest.mark.parametrize(("method", "value"), [("ppo", "linear"), ("ppo", "gpt"), ("reinforce", "linear")])
def test_gradients_equal_finite_differences(method, value):
    torch.manual_seed(0)
    recipe = toy_recipe(method=method, value=value, entropy=0.1, kl=0.3)
    learner = Learner(recipe, toy_model().double(), toy_model().double())
    if learner.values is not None:
        torch.nn.init.normal_(learner.values.head.weight)
    prompts, choices = sampled_choices(learner)
    # ratios on both sides of the clip, none of them on it
    moved = torch.tensor([[0.0, 0.1, -0.1], [0.5, -0.5, 0.05], [0.0, 0.3, 0.02], [-0.3, 0.01, 0.0]])
    choices = replace(choices, log_probabilities=choices.log_probabilities + moved)

    def losses() -> dict[str, Tensor]:
        loss, found = learner.loss(prompts, choices)
        values = found.get("value_loss", torch.zeros(()))
        # the value network learns from its loss alone, and the policy from the others
        return {"policy": loss - values, "values": values}

    learner.loss(prompts, choices)[0].backward()
    random, step = np.random.default_rng(0), 1e-6
    for name, network in (("policy", learner.policy), ("values", learner.values)):
        for parameter in () if network is None else network.parameters():
            flat = parameter.data.view(-1)
            for place in random.choice(len(flat), min(3, len(flat)), replace=False):
                known, found = flat[place].item(), []
                for moved_to in (known + step, known - step):
                    flat[place] = moved_to
                    found.append(losses()[name].item())
                flat[place] = known
                gradient = 0.0 if parameter.grad is None else parameter.grad.view(-1)[place].item()
                assert gradient == pytest.approx((found[0] - found[1]) / (2 * step), rel=1e-4, abs=1e-7)


def test_the_first_pass_has_ratio_one():
    torch.manual_seed(0)
    learner = Learner(toy_recipe(clip=1e-4), toy_model(), toy_model())
    prompts = toy_prompts(learner.policy, rows=4, hides=2)
    written = write_lists(learner.policy, prompts, 3, torch.Generator().manual_seed(0))
    found = probabilities_of(learner.policy, prompts, written.items)
    assert torch.allclose(found, written.log_probabilities, atol=1e-5)
    means = learner.learn(prompts, written, np.ones((4, 3)), None, False, np.random.default_rng(0))
    assert means["clipped"] == 0


def test_later_passes_are_clipped():
    torch.manual_seed(0)
    learner = Learner(toy_recipe(epochs=8, policy_learning_rate=0.1), toy_model(), toy_model())
    prompts = toy_prompts(learner.policy, rows=4, hides=2)
    rewards = np.random.default_rng(0).normal(size=(4, 3))
    means = learner.learn(prompts, sampled(learner.policy, prompts), rewards, None, False, np.random.default_rng(0))
    assert means["clipped"] > 0.1


def test_ppo_equals_reinforce_in_the_first_pass():
    """Where the ratio is 1, the gradient of the clipped surrogate is the policy gradient."""
    torch.manual_seed(0)
    gradients = []
    model, student = toy_model().double(), toy_model().double()
    for method in ("ppo", "reinforce"):
        learner = Learner(toy_recipe(method=method), copy.deepcopy(model), student)
        torch.manual_seed(1)
        prompts, choices = sampled_choices(learner)
        learner.loss(prompts, choices)[0].backward()
        gradients.append([each.grad for each in learner.policy.parameters() if each.grad is not None])
    for ours, theirs in zip(*gradients, strict=True):
        assert ours.abs().max() > 0
        assert torch.allclose(ours, theirs)


@pytest.mark.parametrize("method", ["ppo", "reinforce"])
def test_a_batch_in_parts_is_one_step(method, monkeypatch):
    torch.manual_seed(0)
    model, student = toy_model().double(), toy_model().double()
    found = []
    for at_once in (1 << 24, 40):
        monkeypatch.setattr(learning, "_SCORES_AT_ONCE", at_once)
        learner = Learner(toy_recipe(method=method, kl=0.1), copy.deepcopy(model), student)
        prompts = toy_prompts(model, rows=5, hides=6)
        rewards = np.random.default_rng(0).normal(size=(5, 3))
        means = learner.learn(prompts, sampled(model, prompts), rewards, 0 * rewards, True, np.random.default_rng(0))
        found.append((means, list(learner.policy.parameters())))
    assert found[0][0] == pytest.approx(found[1][0])
    for whole, parts in zip(found[0][1], found[1][1], strict=True):
        assert torch.allclose(whole, parts, atol=1e-9)


@pytest.mark.parametrize("method", ["ppo", "reinforce"])
def test_a_step_makes_rewarded_lists_more_probable(method):
    torch.manual_seed(0)
    model = toy_model()
    learner = Learner(toy_recipe(method=method, policy_learning_rate=1e-3), copy.deepcopy(model), model)
    prompts = toy_prompts(model, rows=8, hides=0)
    before = sampled(model, prompts)
    rewards = np.zeros((8, 3))
    rewards[:4] = 1
    learner.learn(prompts, before, rewards, np.full((8, 3), 0.5), False, np.random.default_rng(0))
    after = probabilities_of(learner.policy, prompts, before.items)
    change = (after - before.log_probabilities).sum(dim=1)
    assert change[:4].mean() > 0 > change[4:].mean()


def test_a_loss_that_is_no_number_is_reported():
    learner = Learner(toy_recipe(), toy_model(), toy_model())
    prompts = toy_prompts(learner.policy, rows=2, hides=0)
    rewards = np.full((2, 3), np.nan)
    with pytest.raises(DivergedError, match="policy_learning_rate"):
        learner.learn(prompts, sampled(learner.policy, prompts), rewards, None, False, np.random.default_rng(0))
