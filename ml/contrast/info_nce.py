"""InfoNCE (van den Oord et al., 2018): which of the other states of a batch is the positive one."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def info_nce(
    first: Tensor, second: Tensor, temperature: float, similarity: str, classes: Tensor | None = None
) -> Tensor:
    """NT-Xent (Chen et al., SimCLR, ICML 2020): each of the ``2 n`` states is to find its partner among all others.

    Args:
        first: ``[n, dimensions]``.
        second: row ``r`` is the partner of row ``r`` of ``first``.
        temperature: that similarities are divided by.
        similarity: ``cosine`` or ``dot``.
        classes: of each pair, int64 ``[n]``. States of pairs of one class are no negatives of each other.

    Returns:
        The mean loss, a scalar, in float32 at least; 0 where there is no pair.
    """
    states = torch.cat([first, second])
    states = states.to(torch.promote_types(states.dtype, torch.float32))
    count = len(first)
    if count == 0:
        return states.sum()
    if similarity == "cosine":
        states = F.normalize(states, dim=1)
    scores = states @ states.T / temperature
    places = torch.arange(2 * count, device=states.device)
    partners = places.roll(count)
    excluded = torch.eye(2 * count, dtype=torch.bool, device=states.device)
    if classes is not None:
        both = classes.repeat(2)
        excluded |= both[:, None] == both
        excluded[places, partners] = False
    return F.cross_entropy(scores.masked_fill(excluded, -torch.inf), partners)


def several_views(views: Tensor, temperature: float, similarity: str) -> Tensor:
    """The mean of :func:`info_nce` over all pairs of views, ``[views, n, dimensions]``."""
    pairs = torch.combinations(torch.arange(len(views)))
    losses = [info_nce(views[a], views[b], temperature, similarity) for a, b in pairs.tolist()]
    return torch.stack(losses).mean()
