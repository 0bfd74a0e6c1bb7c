"""Losses of policy-gradient methods, means over the places that hold an item."""

from __future__ import annotations

import torch
from torch import Tensor


def mean_of_listed(values: Tensor, listed: Tensor) -> Tensor:
    """Mean over the listed places; 0 where there are none.

    Args:
        values: ``[lists, places]``, finite where listed.
        listed: bool, of the same shape.
    """
    return values.masked_fill(~listed, 0.0).sum() / listed.sum().clamp(min=1)


def clipped_surrogate_loss(
    log_probabilities: Tensor, sampled_log_probabilities: Tensor, advantages: Tensor, listed: Tensor, clip: float
) -> Tensor:
    """PPO's clipped surrogate objective (Schulman et al., 2017, equation 7), negative, since losses are minimised.

    Args:
        log_probabilities: of the choices, by the policy that is trained, ``[lists, places]``.
        sampled_log_probabilities: by the policy that sampled them.
        advantages: of the choices.
        listed: which places hold an item, bool.
        clip: how far the ratio of the probabilities may leave 1 for an advantage to still count.
    """
    ratio = (log_probabilities - sampled_log_probabilities).masked_fill(~listed, 0.0).exp()
    clipped = ratio.clamp(1 - clip, 1 + clip)
    return -mean_of_listed(torch.minimum(ratio * advantages, clipped * advantages), listed)


def reinforce_loss(log_probabilities: Tensor, advantages: Tensor, listed: Tensor) -> Tensor:
    """Its gradient is the negative policy gradient (Williams, 1992).

    Args:
        log_probabilities: of the choices, ``[lists, places]``.
        advantages: of the choices, without a gradient.
        listed: which places hold an item, bool.
    """
    return -mean_of_listed(log_probabilities * advantages, listed)


def value_loss(values: Tensor, returns: Tensor, listed: Tensor) -> Tensor:
    """Half the mean squared error of the values, ``[lists, places]``."""
    return 0.5 * mean_of_listed((values - returns).square(), listed)


def divergence(log_probabilities: Tensor, reference: Tensor) -> Tensor:
    """Kullback-Leibler divergence ``KL(policy || reference)`` of each choice, exact over the catalogue.

    Args:
        log_probabilities: of all items by the policy, ``[..., items]``; ``-inf`` for those that are not allowed.
        reference: by the reference, with the same items allowed.

    Returns:
        ``[...]``.
    """
    # an item that is not allowed adds nothing; 0 * (-inf - -inf) is no number, and neither is its gradient
    allowed = log_probabilities > -torch.inf
    difference = log_probabilities.masked_fill(~allowed, 0.0) - reference.masked_fill(~allowed, 0.0)
    return (log_probabilities.exp() * difference).sum(dim=-1)


def entropy(log_probabilities: Tensor) -> Tensor:
    """Entropy of each choice, in nats: ``[..., items]`` to ``[...]``."""
    allowed = log_probabilities > -torch.inf
    return -(log_probabilities.exp() * log_probabilities.masked_fill(~allowed, 0.0)).sum(dim=-1)
