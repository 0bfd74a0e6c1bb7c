"""How much better each choice was than expected."""

from __future__ import annotations

import numpy as np


def generalised_advantages(
    rewards: np.ndarray, values: np.ndarray, listed: np.ndarray, discount: float, decay: float
) -> tuple[np.ndarray, np.ndarray]:
    """Generalised advantage estimation (Schulman et al., ICLR 2016), and the returns that values are fitted to.

    With ``delta_i = r_i + discount * V_(i+1) - V_i``, where the value after the last place is 0, the advantage of place
    ``i`` is the sum of ``(discount * decay)^l * delta_(i+l)`` over the places from ``i`` on.

    Args:
        rewards: float ``[lists, places]``.
        values: what was expected before each place, float ``[lists, places]``.
        listed: which places hold an item, bool ``[lists, places]``; once a list has ended it stays so.
        discount: of a reward a place later, gamma.
        decay: of later differences, lambda: 0 takes the next value for what is to come, 1 the rewards that came.

    Returns:
        Advantages and returns, float64 ``[lists, places]``; 0 where no item is listed.
    """
    rewards, values = np.where(listed, rewards, 0.0), np.where(listed, values, 0.0)
    following = np.concatenate([values[:, 1:], np.zeros((len(values), 1))], axis=1)
    deltas = rewards + discount * following - values
    advantages = np.zeros(rewards.shape)
    later = np.zeros(len(rewards))
    for place in reversed(range(rewards.shape[1])):
        later = np.where(listed[:, place], deltas[:, place] + discount * decay * later, 0.0)
        advantages[:, place] = later
    return advantages, advantages + values


def discounted_returns(rewards: np.ndarray, discount: float) -> np.ndarray:
    """Discounted sum of the rewards from each place on, float64 ``[lists, places]``."""
    returns = np.zeros(rewards.shape)
    later = np.zeros(len(rewards))
    for place in reversed(range(rewards.shape[1])):
        later = rewards[:, place] + discount * later
        returns[:, place] = later
    return returns


def normalised(advantages: np.ndarray, listed: np.ndarray) -> np.ndarray:
    """Shifted and scaled to mean 0 and standard deviation 1 over the listed places; 0 elsewhere, and where all are
    equal."""
    found = advantages[listed]
    if len(found) == 0:
        return np.zeros(advantages.shape)
    deviation = found.std()
    # equal up to rounding is equal: noise is not to be blown up
    if deviation <= 1e-12 * max(1.0, np.abs(found).max()):
        return np.zeros(advantages.shape)
    return np.where(listed, (advantages - found.mean()) / deviation, 0.0)
