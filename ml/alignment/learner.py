"""One step of learning from a batch of sampled lists, by PPO or REINFORCE."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from ml.alignment.advantages import discounted_returns, generalised_advantages, normalised
from ml.alignment.losses import (
    clipped_surrogate_loss,
    divergence,
    entropy,
    mean_of_listed,
    reinforce_loss,
    value_loss,
)
from ml.alignment.policy import Prompts, chosen, log_distributions, states_of
from ml.alignment.recipe import PPO, AlignmentRecipe
from ml.alignment.values import value_network
from ml.generation.next_k import GeneratedLists
from ml.models.gptrec import GPTRec
from ml.training.loop import DivergedError

# of all items at all places of some lists; what is more is learned from in parts, whose gradients are added up
_SCORES_AT_ONCE = 1 << 24


@dataclass(frozen=True)
class Choices:
    """What a batch of sampled lists says of each choice.

    Attributes:
        lists: int64 ``[lists, places]``.
        log_probabilities: by the policy that sampled them, ``[lists, places]``.
        advantages: ``[lists, places]``.
        returns: that values are fitted to, ``[lists, places]``; zeros without a value network.
    """

    lists: Tensor
    log_probabilities: Tensor
    advantages: Tensor
    returns: Tensor

    @property
    def listed(self) -> Tensor:
        """Which places hold an item, bool ``[lists, places]``."""
        return self.lists >= 0

    def take(self, rows: Tensor | slice) -> Choices:
        """The choices of the given lists."""
        return Choices(self.lists[rows], self.log_probabilities[rows], self.advantages[rows], self.returns[rows])


class Learner:
    """A policy that is trained, with all that its training changes.

    Args:
        recipe: method, step sizes and weights of the losses.
        policy: is trained in place, without dropout.
        student: what the policy is kept near to, not changed.
    """

    def __init__(self, recipe: AlignmentRecipe, policy: GPTRec, student: GPTRec) -> None:
        self.recipe = recipe
        self.policy = policy.eval()
        self.student = student.eval()
        self.values = value_network(recipe.value, policy) if recipe.method == PPO else None
        self.policy_optimiser = _adam(policy, recipe.policy_learning_rate, recipe.weight_decay)
        self.value_optimiser = (
            None if self.values is None else _adam(self.values, recipe.value_learning_rate, recipe.weight_decay)
        )

    def learn(
        self,
        prompts: Prompts,
        sampled: GeneratedLists,
        rewards: np.ndarray,
        baseline_rewards: np.ndarray | None,
        measure_divergence: bool,
        generator: np.random.Generator,
    ) -> dict[str, float]:
        """Learn from lists that the policy as it is now has written.

        Args:
            prompts: what they were written for.
            sampled: the lists.
            rewards: of each place, float ``[lists, places]``.
            baseline_rewards: of the greedy lists for the same prompts, for REINFORCE.
            measure_divergence: measure the divergence from the student even where no loss needs it.
            generator: draws the minibatches.

        Returns:
            Means over the listed places and over the passes: ``divergence`` where it was measured, ``entropy``,
            ``value_loss`` and ``clipped`` with PPO.

        Raises:
            DivergedError: a loss is no finite number.
        """
        choices = self._choices(prompts, sampled, rewards, baseline_rewards)
        found: list[dict[str, float]] = []
        for _ in range(self.recipe.epochs):
            order = np.arange(len(prompts))
            if self.recipe.minibatches > 1:
                order = generator.permutation(len(prompts))
            for part in np.array_split(order, min(self.recipe.minibatches, len(order))):
                rows = torch.from_numpy(part).to(self.policy.device)
                found.append(self._update(prompts.take(rows), choices.take(rows), measure_divergence))
        return {name: float(np.mean([each[name] for each in found])) for name in found[0]}

    @torch.no_grad()
    def _choices(
        self, prompts: Prompts, sampled: GeneratedLists, rewards: np.ndarray, baseline_rewards: np.ndarray | None
    ) -> Choices:
        recipe, lists = self.recipe, sampled.items
        listed = (lists >= 0).cpu().numpy()
        if self.values is not None:
            values = self.values(prompts, lists, states_of(self.policy, prompts, lists)).cpu().numpy()
            advantages, returns = generalised_advantages(rewards, values, listed, recipe.discount, recipe.gae)
        else:
            assert baseline_rewards is not None
            expected = discounted_returns(baseline_rewards, recipe.discount)
            advantages = discounted_returns(rewards, recipe.discount) - expected
            returns = np.zeros_like(advantages)
        if recipe.normalise_advantages:
            advantages = normalised(advantages, listed)

        def like_policy(array: np.ndarray) -> Tensor:
            return torch.from_numpy(array).to(sampled.log_probabilities)

        return Choices(lists, sampled.log_probabilities, like_policy(advantages), like_policy(returns))

    def _update(self, prompts: Prompts, choices: Choices, measure_divergence: bool) -> dict[str, float]:
        """One step of the optimisers."""
        for network in (self.policy, self.values):
            if network is not None:
                network.zero_grad(set_to_none=True)
        total = choices.listed.sum().clamp(min=1)
        sums: dict[str, Tensor] = {}
        for rows in self._chunks(len(prompts), choices.lists.shape[1]):
            part = choices.take(rows)
            share = part.listed.sum() / total
            loss, found = self.loss(prompts.take(rows), part, measure_divergence)
            (loss * share).backward()
            for name, value in {"loss": loss, **found}.items():
                sums[name] = sums.get(name, torch.zeros_like(share)) + value.detach() * share
        means = dict(zip(sums, torch.stack(list(sums.values())).tolist(), strict=True))
        if not math.isfinite(means.pop("loss")):
            raise DivergedError("the loss is no finite number; lower policy_learning_rate or value_learning_rate")
        for network, optimiser in ((self.policy, self.policy_optimiser), (self.values, self.value_optimiser)):
            if network is not None and optimiser is not None:
                if self.recipe.gradient_norm:
                    nn.utils.clip_grad_norm_(network.parameters(), self.recipe.gradient_norm)
                optimiser.step()
        return means

    def loss(
        self, prompts: Prompts, choices: Choices, measure_divergence: bool = False
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss of some choices, with gradients, and what it is made of."""
        recipe, lists, listed = self.recipe, choices.lists, choices.listed
        states = states_of(self.policy, prompts, lists)
        distributions = log_distributions(self.policy, states, prompts, lists)
        log_probabilities = chosen(distributions, lists)
        found: dict[str, Tensor] = {}
        if self.values is not None:
            surrogate = clipped_surrogate_loss(
                log_probabilities, choices.log_probabilities, choices.advantages, listed, recipe.clip
            )
            found["value_loss"] = value_loss(self.values(prompts, lists, states), choices.returns, listed)
            ratio = (log_probabilities.detach() - choices.log_probabilities).exp()
            found["clipped"] = mean_of_listed(((ratio - 1).abs() > recipe.clip).to(ratio), listed)
            # of networks that share no weights
            loss = surrogate + found["value_loss"]
        else:
            loss = reinforce_loss(log_probabilities, choices.advantages, listed)
        with torch.set_grad_enabled(recipe.entropy > 0):
            found["entropy"] = mean_of_listed(entropy(distributions), listed)
        if recipe.entropy:
            loss = loss - recipe.entropy * found["entropy"]
        if recipe.kl or measure_divergence:
            with torch.no_grad():
                reference = log_distributions(self.student, states_of(self.student, prompts, lists), prompts, lists)
            with torch.set_grad_enabled(recipe.kl > 0):
                found["divergence"] = mean_of_listed(divergence(distributions, reference), listed)
        if recipe.kl:
            loss = loss + recipe.kl * found["divergence"]
        return loss, found

    def _chunks(self, rows: int, places: int) -> Iterator[slice]:
        step = max(1, _SCORES_AT_ONCE // (places * self.policy.items))
        return (slice(start, start + step) for start in range(0, rows, step))


def _adam(network: nn.Module, learning_rate: float, weight_decay: float) -> torch.optim.Optimizer:
    parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
    return torch.optim.AdamW(parameters, lr=learning_rate, weight_decay=weight_decay)
