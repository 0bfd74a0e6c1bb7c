"""Lists and validation of models that write lists item by item."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from ml.data.sequences import Sequences
from ml.data.training_set import TrainingSet
from ml.generation.next_k import generate_with_first_step
from ml.generation.next_k_codes import generate_code_lists
from ml.models.gptrec import GPTRec
from ml.models.gptrec_codes import GPTRecCodes
from ml.recommender import NO_ITEM, Recommendations
from ml.retrieval.top_k import tie_break_order, top_k
from ml.tasks.next_item import NextItem
from ml.training.distributed import World
from ml.training.generating import generate, ranks_in_lists
from ml.training.scoring import (
    VALIDATION_DEPTH,
    fallback_chunks,
    hide_seen,
    history_batches,
    ndcg,
    scored_together,
    target_ranks,
)


def written_lists(model: GPTRec, mark: int | None, histories: Sequences, k: int, exclude_seen: bool) -> Recommendations:
    """A list for each history, none of them empty.

    The first ``list_length`` items are written one by one, the most probable item in each place. Their scores are sums
    of log-probabilities: of the list up to there. The places behind them, where k is larger, hold the other items by
    their probabilities in the first step, with the score of the written list plus these log-probabilities, so that
    scores never rise.

    Args:
        model: with ``lists = "next_k"``.
        mark: which mark stands between histories and lists; ``None`` for a model without marks.
        histories: oldest item first.
        k: length of the lists.
        exclude_seen: leave out the items of a history. No item is listed twice in any case.

    Raises:
        ValueError: k is below 1, or a score is not a number.
    """
    if k < 1:
        raise ValueError(f"k must be at least 1, not {k}")
    found = Recommendations(
        np.full((len(histories), k), NO_ITEM, dtype=np.int32), np.full((len(histories), k), -np.inf, dtype=np.float32)
    )
    model.eval()
    # a history is shown as it is: the mark is put behind it where the list is written
    task, filled = NextItem(), np.arange(len(histories))
    for rows, batch in history_batches(model, task, histories, filled, scored_together(model)):
        marks = None if mark is None else torch.full_like(batch.lengths, mark)
        hidden = _seen(histories.take(rows), model) if exclude_seen else None
        written = min(k, model.list_length)
        lists, first = generate_with_first_step(
            model, batch.items, batch.lengths, marks, written, hidden, first_step=k > written
        )
        scores = lists.log_probabilities.cumsum(dim=1)
        none_left = lists.items == NO_ITEM
        found.items[rows, :written] = lists.items.cpu().numpy()
        found.scores[rows, :written] = scores.masked_fill(none_left, -torch.inf).cpu().numpy()
        if first is not None:
            first.scatter_(1, lists.items.clamp(min=0), -torch.inf)
            others = top_k((first + scores[:, -1:]).cpu().numpy(), k - written, tie_break_order(model.items))
            found.items[rows, written:], found.scores[rows, written:] = others.items, others.scores
    return found


def written_code_lists(
    model: GPTRecCodes, histories: Sequences, k: int, exclude_seen: bool, training_counts: np.ndarray
) -> Recommendations:
    """A list for each history, none of them empty, by a model whose tokens are codes.

    As :func:`written_lists`, but a beam search for the next item finds the places behind those that are written.

    Args:
        model: with ``lists = "next_k"``.
        histories: oldest item first.
        k: length of the lists.
        exclude_seen: leave out the items of a history. No item is listed twice in any case.
        training_counts: interactions of each item in training, ``[items]``.

    Raises:
        ValueError: k is below 1.
    """
    if k < 1:
        raise ValueError(f"k must be at least 1, not {k}")
    model.eval()
    task, filled, written = NextItem(), np.arange(len(histories)), min(k, model.list_length)
    items = np.full((len(histories), written), NO_ITEM, dtype=np.int64)
    log_probabilities = np.zeros((len(histories), written), dtype=np.float32)
    for rows, batch in history_batches(model, task, histories, filled, scored_together(model)):
        hidden = _seen(histories.take(rows), model) if exclude_seen else None
        lists = generate_code_lists(model, batch.items, batch.lengths, written, hidden)
        items[rows], log_probabilities[rows] = lists.items.cpu().numpy(), lists.log_probabilities.cpu().numpy()
    scores = log_probabilities.cumsum(axis=1)
    found = Recommendations(
        np.full((len(histories), k), NO_ITEM, dtype=np.int32), np.full((len(histories), k), -np.inf, dtype=np.float32)
    )
    found.items[:, :written] = items
    found.scores[:, :written] = np.where(items == NO_ITEM, -np.inf, scores)
    if k == written:
        return found
    widths = (model.beam_width, model.widest_beam)
    # as many more as are written, which may be among them
    depth = min(k + written, model.items)
    others, _ = generate(model, task, histories, depth, exclude_seen, training_counts, *widths)
    wanted = (others.items != NO_ITEM) & ~(others.items[:, :, None] == items[:, None, :]).any(axis=2)
    place = written + np.cumsum(wanted, axis=1) - 1
    row, column = np.nonzero(wanted & (place < k))
    found.items[row, place[row, column]] = others.items[row, column]
    found.scores[row, place[row, column]] = others.scores[row, column] + scores[row, -1]
    return found


def _seen(histories: Sequences, model: GPTRec | GPTRecCodes) -> Tensor:
    """Which items are in each history, bool ``[rows, items]``."""
    seen = torch.zeros(len(histories), model.items, dtype=torch.bool, device=model.device)
    rows = torch.from_numpy(histories.row_of_each).to(model.device)
    seen[rows, torch.from_numpy(histories.items.astype(np.int64)).to(model.device)] = True
    return seen


def written_validation_ndcg(
    model: GPTRec | GPTRecCodes,
    lists_of: Callable[[Sequences, int], Recommendations],
    training_set: TrainingSet,
    fallback: Tensor,
    exclude_seen: bool,
) -> float:
    """nDCG@10 of the lists that are written for the validation users; under torchrun each process writes a part.

    Args:
        model: as it stands.
        lists_of: writes lists of a length for histories, none of them empty.
        training_set: holds the users, their histories and their targets.
        fallback: scores for empty histories, ``[items]``.
        exclude_seen: write lists without the items of the history.
    """
    world = World.current()
    part = world.part_of(np.arange(len(training_set.validation_users)))
    histories = training_set.histories("validation").take(part)
    targets = np.asarray(training_set.validation_targets, dtype=np.int64)[part]
    ranks = np.zeros(len(training_set.validation_users), dtype=np.int64)
    filled = np.flatnonzero(histories.lengths > 0)
    lists = lists_of(histories.take(filled), VALIDATION_DEPTH)
    ranks[part[filled]] = ranks_in_lists(lists.items, targets[filled])
    order = torch.from_numpy(tie_break_order(training_set.items)).to(model.device)
    for rows, scores in fallback_chunks(model, histories, fallback):
        if exclude_seen:
            hide_seen(scores, histories.take(rows))
        of_rows = torch.from_numpy(targets[rows]).to(model.device)
        ranks[part[rows]] = target_ranks(scores, of_rows, order, VALIDATION_DEPTH).cpu().numpy()
    return ndcg(world.sum(ranks, model.device), VALIDATION_DEPTH)
