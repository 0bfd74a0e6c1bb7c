"""From histories to scores of the whole catalogue, and the place of a target among them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from ml.data.training_set import Sequences
from ml.models.sasrec import SASRec
from ml.training.batches import history_batch

_SCORES_AT_ONCE = 1 << 23  # 32 MiB of float32
_POSITIONS_AT_ONCE = 1 << 14


@torch.inference_mode()
def final_states(model: SASRec, histories: Sequences, rows: np.ndarray) -> Tensor:
    """Hidden state after the last item of each of the given rows, none of them empty, ``[rows, dimensions]``.

    A state does not depend on the rows it is computed with, up to rounding.
    """
    model.eval()
    device = model.positions.device
    order = np.argsort(histories.lengths[rows], kind="stable")
    states = torch.empty(len(rows), model.positions.shape[1], device=device)
    start = 0
    while start < len(rows):
        # ordered by length, so the width of a batch is that of its last row
        length = min(int(histories.lengths[rows[order[start]]]), model.max_length)
        chunk = order[start : start + max(1, _POSITIONS_AT_ONCE // length)]
        width = min(int(histories.lengths[rows[chunk[-1]]]), model.max_length)
        chunk = chunk[: max(1, _POSITIONS_AT_ONCE // width)]
        batch = history_batch(histories, rows[chunk], model.max_length).to(device)
        hidden = model(batch.items, batch.lengths)
        states[torch.from_numpy(chunk).to(device)] = hidden[torch.arange(len(chunk), device=device), batch.lengths - 1]
        start += len(chunk)
    return states


@torch.inference_mode()
def scored_chunks(model: SASRec, histories: Sequences, fallback: Tensor) -> Iterator[tuple[np.ndarray, Tensor]]:
    """Scores of the whole catalogue for every history, some histories at a time.

    Args:
        model: scores the histories that hold an item.
        histories: oldest item first.
        fallback: scores for empty histories, ``[items]``.

    Yields:
        Which histories, int64 ``[rows]``, and their scores, ``[rows, items]``; each history once, in no
        stated order.
    """
    step = max(1, _SCORES_AT_ONCE // model.output_embedding.items)
    filled = np.flatnonzero(histories.lengths > 0)
    states = final_states(model, histories, filled)
    for start in range(0, len(filled), step):
        yield filled[start : start + step], model.output_embedding.score_all(states[start : start + step])
    empty = np.flatnonzero(histories.lengths == 0)
    for start in range(0, len(empty), step):
        rows = empty[start : start + step]
        yield rows, fallback.expand(len(rows), -1)


def target_ranks(scores: Tensor, targets: Tensor, order: Tensor) -> Tensor:
    """Rank of each row's target over the whole catalogue, from 1: what ``ml.ranking.top_k`` would give it.

    Args:
        scores: ``[rows, items]``.
        targets: int64 ``[rows]``.
        order: the tie order of ``ml.ranking.tie_break_order``, int64 ``[items]``.

    Returns:
        int64 ``[rows]``.
    """
    target_scores = scores.gather(1, targets[:, None])
    ranks = (scores > target_scores).sum(dim=1) + 1
    tied = torch.nonzero((scores == target_scores).sum(dim=1) > 1).squeeze(1)
    if len(tied):
        place = torch.empty_like(order)
        place[order] = torch.arange(len(order), device=order.device)
        ahead = place < place[targets[tied]][:, None]
        ranks[tied] += (ahead & (scores[tied] == target_scores[tied])).sum(dim=1)
    return ranks


def ndcg(ranks: np.ndarray, k: int) -> float:
    """Mean nDCG@k of cases with one target each: ``1 / log2(1 + rank)`` within the first k, else 0."""
    return float(np.where(ranks <= k, 1 / np.log2(1 + ranks), 0).mean())
