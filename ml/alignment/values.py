"""Value networks: the reward that is still to come, expected before each place of a list."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod

from torch import Tensor, nn

from ml.alignment.policy import Prompts, states_of
from ml.models.gptrec import GPTRec


class ValueNetwork(nn.Module, ABC):
    """What PPO estimates advantages with."""

    @abstractmethod
    def forward(self, prompts: Prompts, lists: Tensor, policy_states: Tensor) -> Tensor:
        """Expected rewards.

        Args:
            prompts: what the lists are written for.
            lists: item indices, int64 ``[lists, places]``.
            policy_states: the states that the policy chooses each place by, ``[lists, places, dimensions]``.

        Returns:
            ``[lists, places]``.
        """


class LinearValue(ValueNetwork):
    """A linear function of the policy's states, through which no gradient reaches the policy. It starts at 0."""

    def __init__(self, dimensions: int) -> None:
        super().__init__()
        self.head = zero_head(dimensions)

    def forward(self, prompts: Prompts, lists: Tensor, policy_states: Tensor) -> Tensor:
        return self.head(policy_states.detach()).squeeze(-1)


class GPTValue(ValueNetwork):
    """A GPT of its own with a linear head, which starts as a copy of the policy, as in GPTRec-RL. Its values start at
    0."""

    def __init__(self, policy: GPTRec) -> None:
        super().__init__()
        self.trunk = copy.deepcopy(policy)
        self.head = zero_head(policy.output_embedding.dimensions)

    def forward(self, prompts: Prompts, lists: Tensor, policy_states: Tensor) -> Tensor:
        return self.head(states_of(self.trunk, prompts, lists)).squeeze(-1)


def zero_head(dimensions: int) -> nn.Linear:
    """A linear function to one number that starts at 0 everywhere."""
    head = nn.Linear(dimensions, 1)
    nn.init.zeros_(head.weight)
    nn.init.zeros_(head.bias)
    return head


def value_network(kind: str, policy: GPTRec) -> ValueNetwork:
    """A fresh one, on the device of the policy and in its precision.

    Args:
        kind: ``linear`` or ``gpt``.
        policy: gives the width, and the weights that ``gpt`` starts from.
    """
    network = LinearValue(policy.output_embedding.dimensions) if kind == "linear" else GPTValue(policy)
    return network.to(next(policy.parameters()))
