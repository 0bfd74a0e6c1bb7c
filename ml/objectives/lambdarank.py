"""LambdaRank towards nDCG, for states with one or several targets.

Burges, "From RankNet to LambdaRank to LambdaMART: An Overview", 2010, section 4; over the items scored highest, as in
Petrov and Macdonald, "Effective and Efficient Training for Sequential Recommendation using Recency Sampling", RecSys
2022. Of a target ``t`` and another item ``n``, ranked ``r_t`` and ``r_n`` from 1::

    w     = |1 / log2(r_t + 1) - 1 / log2(r_n + 1)| / ideal DCG
    loss  = sum over pairs  w * log(1 + exp(-sigma * (s_t - s_n)))

with the weights held fixed, so that the gradient is the paper's lambda. Pairs count where one of the two is among the
``ndcg_at`` highest. Compared are the ``truncate_at`` highest scored items and the targets; a target outside is taken to
stand right behind them (in the published code it gets no gradient). ``normalised`` divides ``w`` by
``|s_t - s_n| + .01`` unless the highest scored items all score alike, and multiplies a state's loss by
``log2(1 + g) / g``, where ``g`` is the sum over items of the absolute gradient: the published code's form of what
LightGBM does.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ml.models.item_embeddings import ItemEmbedding
from ml.objectives.chunked_loss import RowLosses, chunks, loss_over_all
from ml.objectives.settings import LambdaRankSettings
from ml.objectives.softmax import chunk_bounds
from ml.objectives.targets import Targets
from ml.registry import Registered

REGISTERED = Registered(
    name="lambdarank",
    title="LambdaRank",
    description="Pairs weighed by what their exchange would change in nDCG.",
    source="Burges, From RankNet to LambdaRank to LambdaMART, 2010; Petrov and Macdonald, RecSys 2022",
    path="ml.objectives.settings:LambdaRankSettings",
    rank=60,
)

# scores held at once; pairs are several times as many
_SCORES_AT_ONCE = {"cpu": 1 << 20}
_SCORES_AT_ONCE_ELSEWHERE = 1 << 25


class LambdaRank:
    """LambdaRank towards nDCG."""

    def __init__(self, settings: LambdaRankSettings, counts: np.ndarray) -> None:
        self.settings = settings

    def __call__(
        self, states: Tensor, targets: Targets, embedding: ItemEmbedding, generator: np.random.Generator
    ) -> Tensor:
        at_once = _SCORES_AT_ONCE.get(states.device.type, _SCORES_AT_ONCE_ELSEWHERE)
        rows = max(1, at_once // embedding.items)
        state_of_target = targets.rows(len(states))
        bounds = chunk_bounds(targets, [start for start, _ in chunks(len(states), rows)])

        def row_loss(scores: Tensor, start: int, end: int) -> RowLosses:
            these = slice(*bounds[start])
            return lambda_losses(scores, state_of_target[these] - start, targets.items[these], self.settings)

        return loss_over_all(row_loss, states, embedding, rows)


def lambda_losses(scores: Tensor, rows: Tensor, items: Tensor, settings: LambdaRankSettings) -> RowLosses:
    """Losses of each row and their gradient, which is the lambdas.

    Args:
        scores: ``[rows, items]``.
        rows: the row of each target, int64 ``[targets]``.
        items: the targets, int64 ``[targets]``, different within a row.
        settings: options.
    """
    kind, device = scores.dtype, scores.device
    compared = min(settings.truncate_at, scores.shape[1])
    values, listed = scores.topk(compared, dim=1)
    here = listed[rows] == items[:, None]
    places = torch.where(here.any(dim=1), here.byte().argmax(dim=1), compared)
    targets_here = torch.zeros(len(scores), compared + 1, dtype=torch.bool, device=device)
    targets_here[rows, places] = True
    # made on the CPU: a running sum on a GPU is not reproducible
    discounts = 1 / torch.log2(torch.arange(compared + 1, dtype=kind) + 2)
    ideals = discounts[: settings.ndcg_at].cumsum(0).to(device)
    discounts = discounts.to(device)
    counts = torch.zeros(len(scores), dtype=torch.int64, device=device).index_add_(0, rows, torch.ones_like(rows))
    ideal = ideals[counts.clamp(1, len(ideals)) - 1]
    target_scores = scores[rows, items]
    distances = target_scores[:, None] - values[rows]
    weights = (discounts[places][:, None] - discounts[:compared]).abs_() / ideal[rows][:, None]
    near_top = (places < settings.ndcg_at)[:, None] | (torch.arange(compared, device=device) < settings.ndcg_at)
    weights = weights * (near_top & ~targets_here[rows, :compared])
    if settings.normalised:
        distinct = (values[:, 0] != values[:, -1])[rows][:, None]
        weights = torch.where(distinct, weights / (distances.abs() + 0.01), weights)
    distances = distances.mul_(-settings.sigma)
    losses = torch.zeros(len(scores), dtype=kind, device=device)
    losses.index_add_(0, rows, (weights * F.softplus(distances)).sum(dim=1))
    pulls = weights.mul_(settings.sigma).mul_(torch.sigmoid(distances))
    pushed = torch.zeros_like(values).index_add_(0, rows, pulls)
    gradient = torch.zeros_like(scores).scatter_(1, listed, pushed)
    gradient.index_put_((rows, items), -pulls.sum(dim=1), accumulate=True)
    if not settings.normalised:
        return RowLosses(losses, gradient)
    size = gradient.abs().sum(dim=1)
    factor = torch.where(size > 0, torch.log2(1 + size) / size.clamp(min=torch.finfo(kind).tiny), 0.0)
    return RowLosses(losses * factor, gradient, factor)
