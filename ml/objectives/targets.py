"""The targets of states."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Targets:
    """Items to predict from states ``[states, dimensions]``.

    Attributes:
        items: the items, int64 ``[targets]``.
        states: which state each is to be predicted from, int64 ``[targets]``, ascending, every state at least
            once; ``None`` where each state has one target, in the same order.
        importance: weight of each target beside the others, float32 ``[targets]``, with a mean of 1; ``None`` where all
            weigh the same. Read by the objectives whose settings say ``weighs_targets``.
    """

    items: Tensor
    states: Tensor | None = None
    importance: Tensor | None = None

    def __len__(self) -> int:
        return len(self.items)

    @property
    def one_each(self) -> bool:
        """Whether each state has one target, in the same order."""
        return self.states is None

    def to(self, device: torch.device) -> Targets:
        states, importance = (None if part is None else part.to(device) for part in (self.states, self.importance))
        return Targets(self.items.to(device), states, importance)

    def rows(self, states: int) -> Tensor:
        """Index of the state of each target, int64 ``[targets]``."""
        return torch.arange(states, device=self.items.device) if self.states is None else self.states

    def weights(self, states: Tensor) -> Tensor:
        """Weight of each target's loss, ``[targets]``, for the mean over states of the mean over a state's targets:
        they sum to 1. Where targets have an importance, it is multiplied. ``states`` is ``[states, dimensions]`` and
        gives number, type and device."""
        weights = self._even_weights(states)
        return weights if self.importance is None else weights * self.importance.to(weights.dtype)

    def _even_weights(self, states: Tensor) -> Tensor:
        count = len(states)
        kind = torch.promote_types(states.dtype, torch.float32)
        if self.states is None:
            return torch.full((count,), 1 / max(1, count), dtype=kind, device=states.device)
        ones = torch.ones(len(self.items), dtype=kind, device=states.device)
        targets_of_state = torch.zeros(count, dtype=kind, device=states.device).index_add_(0, self.states, ones)
        return 1 / (count * targets_of_state.index_select(0, self.states))
