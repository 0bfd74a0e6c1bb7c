"""From histories to scores of the whole catalogue, and the place of a target among them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from ml.data.sequences import Sequences
from ml.data.training_set import TrainingSet
from ml.generation.beam_search import TrieTensors
from ml.generation.exact import exact_log_probabilities
from ml.models.generating_model import GeneratingModel
from ml.models.sequential_model import SequentialModel
from ml.retrieval.top_k import tie_break_order
from ml.tasks.batch import Batch
from ml.tasks.build import Task
from ml.training.distributed import World

# scores are read several times, so on a processor they are few enough to stay in its caches: 4 MiB of float32
_SCORES_AT_ONCE = {"cpu": 1 << 20, "cuda": 1 << 27}
# of a catalogue so large that these would be few histories: a product with fewer rows would wait for memory
_LEAST_ROWS = 32
_POSITIONS_AT_ONCE = 1 << 14
# of the metric that training stops by
VALIDATION_DEPTH = 10
# float32 counts to here
_MOST_COUNTED = 1 << 24


def history_batches(
    model: SequentialModel | GeneratingModel,
    task: Task,
    histories: Sequences,
    rows: np.ndarray,
    most_rows: int | None = None,
) -> Iterator[tuple[np.ndarray, Batch]]:
    """The given rows, none of them empty, in batches of histories of like length.

    Args:
        model: gives device and maximum length.
        task: shows it a history as it was trained to read one.
        histories: oldest item first.
        rows: int64 ``[rows]``.
        most_rows: of a batch; ``None`` for as many as fit.

    Yields:
        Which of the rows, indices into them, int64 ``[batch]``, and their batch, on the device of the model.
    """
    order = np.argsort(histories.lengths[rows], kind="stable")
    start = 0
    while start < len(rows):
        # ordered by length, so the width of a batch is that of its last row
        length = min(int(histories.lengths[rows[order[start]]]), model.max_length)
        most = max(1, _POSITIONS_AT_ONCE // length)
        chunk = order[start : start + (most if most_rows is None else min(most, most_rows))]
        width = min(int(histories.lengths[rows[chunk[-1]]]), model.max_length)
        chunk = chunk[: max(1, _POSITIONS_AT_ONCE // width)]
        yield chunk, task.history_batch(histories, rows[chunk], model.max_length).to(model.device)
        start += len(chunk)


@torch.inference_mode()
def final_states(model: SequentialModel, task: Task, histories: Sequences, rows: np.ndarray) -> Tensor:
    """The state that each of the given rows is ranked by, none of them empty, ``[rows, dimensions]``.

    A state does not depend on the rows it is computed with, up to rounding.
    """
    if model.training:
        # of each module, which takes a tenth of the time of one history
        model.eval()
    states = torch.empty(len(rows), model.output_embedding.dimensions, device=model.device)
    for chunk, batch in history_batches(model, task, histories, rows):
        found = model.states(batch.items, batch.lengths, batch.users, batch.positions, batch.times)
        states[torch.from_numpy(chunk).to(model.device)] = found
    return states


def chunks_of_states(model: SequentialModel, task: Task, histories: Sequences) -> Iterator[tuple[np.ndarray, Tensor]]:
    """States of all histories but the empty ones, as many at a time as are scored together.

    Yields:
        Which histories, int64 ``[rows]``, and their states, ``[rows, dimensions]``.
    """
    step = scored_together(model)
    filled = np.flatnonzero(histories.lengths > 0)
    states = final_states(model, task, histories, filled)
    for start in range(0, len(filled), step):
        yield filled[start : start + step], states[start : start + step]


def fallback_chunks(
    model: SequentialModel | GeneratingModel, histories: Sequences, fallback: Tensor
) -> Iterator[tuple[np.ndarray, Tensor]]:
    """Scores for the empty histories, as :func:`scored_chunks` yields them."""
    step = scored_together(model)
    empty = np.flatnonzero(histories.lengths == 0)
    for start in range(0, len(empty), step):
        rows = empty[start : start + step]
        yield rows, fallback.to(model.device).repeat(len(rows), 1)


@torch.inference_mode()
def scored_chunks(
    model: SequentialModel | GeneratingModel, task: Task, histories: Sequences, fallback: Tensor
) -> Iterator[tuple[np.ndarray, Tensor]]:
    """Scores of the whole catalogue for every history, some histories at a time.

    Args:
        model: scores the histories that hold an item.
        task: shows it a history as it was trained to read one.
        histories: oldest item first.
        fallback: scores for empty histories, ``[items]``.

    Yields:
        Which histories, int64 ``[rows]``, and their scores, float32 ``[rows, items]``, to do with as one likes until
        the next are asked for; each history once, in no stated order.
    """
    if isinstance(model, GeneratingModel):
        yield from _log_probability_chunks(model, task, histories)
        yield from fallback_chunks(model, histories, fallback)
        return
    # fresh memory for every product would cost as much as the product
    buffer = None
    for rows, states in chunks_of_states(model, task, histories):
        if buffer is None:
            buffer = states.new_empty(len(states), model.output_embedding.items)
        yield rows, model.output_embedding.score_all_into(buffer[: len(states)], states)
    yield from fallback_chunks(model, histories, fallback)


def _log_probability_chunks(
    model: GeneratingModel, task: Task, histories: Sequences
) -> Iterator[tuple[np.ndarray, Tensor]]:
    """Log-probabilities of the whole catalogue for every history but the empty ones."""
    model.eval()
    filled = np.flatnonzero(histories.lengths > 0)
    trie = None
    for chunk, batch in history_batches(model, task, histories, filled, scored_together(model)):
        inputs = (batch.items, batch.lengths, batch.users, batch.positions)
        scores = model.score_all(*inputs)
        if scores is None:
            trie = TrieTensors.of(model.trie, model.device) if trie is None else trie
            scores = exact_log_probabilities(model.prefix_scorer(*inputs), trie)
        yield filled[chunk], scores


def scored_together(model: SequentialModel | GeneratingModel) -> int:
    """Number of histories in a chunk."""
    return max(_LEAST_ROWS, _SCORES_AT_ONCE[model.device.type] // model.items)


@torch.inference_mode()
def hide_seen(scores: Tensor, histories: Sequences) -> None:
    """Set the score of every item of a row's own history to ``-inf``, in place: ``[rows, items]``, a history a row."""
    rows = histories.row_of_each
    items = histories.items.astype(np.int64)
    places = (torch.from_numpy(part).to(scores.device) for part in (rows, items))
    scores.index_put_(tuple(places), scores.new_tensor(-torch.inf))


@torch.inference_mode()
def target_ranks(
    scores: Tensor, targets: Tensor, order: Tensor, depth: int | None = None, memory: Tensor | None = None
) -> Tensor:
    """Rank of each row's target over the whole catalogue, from 1: what ``ml.retrieval.top_k.top_k`` would give it.

    A target whose score is no number comes after the last rank.

    Args:
        scores: ``[rows, items]``.
        targets: int64 ``[rows]``.
        order: the tie order of ``ml.retrieval.top_k.tie_break_order``, int64 ``[items]``.
        depth: how far ranks must be exact; one beyond it is some number beyond it. ``None``: all.
        memory: of at least the shape of the scores, to be overwritten: fresh memory takes longer than the count.

    Returns:
        int64 ``[rows]``.
    """
    rows, items = scores.shape
    target_scores = scores.gather(1, targets[:, None])
    counted = torch.float32 if items <= _MOST_COUNTED else torch.float64
    # a comparison into numbers is summed several times faster than one into truth values
    found = torch.empty_like(scores, dtype=counted) if memory is None or memory.dtype != counted else memory[:rows]
    not_ahead = torch.le(scores, target_scores, out=found).sum(dim=1)
    ranks = items - not_ahead.long() + 1
    # ties move a target down alone, so they matter where it may still be within the depth
    near = torch.arange(rows, device=scores.device) if depth is None else torch.nonzero(ranks <= depth).squeeze(1)
    equal = scores[near] == target_scores[near]
    tied = near[equal.sum(dim=1, dtype=torch.int32) > 1]
    if len(tied):
        place = torch.empty_like(order)
        place[order] = torch.arange(items, device=order.device)
        ahead = place < place[targets[tied]][:, None]
        ranks[tied] += (ahead & (scores[tied] == target_scores[tied])).sum(dim=1)
    return ranks


def validation_ndcg(
    model: SequentialModel | GeneratingModel,
    task: Task,
    training_set: TrainingSet,
    fallback: Tensor,
    exclude_seen: bool,
) -> float:
    """nDCG@10 of the model's rankings for the validation users; under torchrun each process ranks a part of them.

    Args:
        model: as it stands.
        task: shows it a history as it was trained to read one.
        training_set: holds the users, their histories and their targets.
        fallback: scores for empty histories, ``[items]``.
        exclude_seen: rank without the items of the history.
    """
    world = World.current()
    part = world.part_of(np.arange(len(training_set.validation_users)))
    histories = training_set.histories("validation").take(part)
    targets = np.asarray(training_set.validation_targets, dtype=np.int64)[part]
    order = torch.from_numpy(tie_break_order(training_set.items)).to(model.device)
    ranks = np.zeros(len(training_set.validation_users), dtype=np.int64)
    memory = None
    for rows, scores in scored_chunks(model, task, histories, fallback):
        if exclude_seen:
            hide_seen(scores, histories.take(rows))
        if memory is None or len(memory) < len(scores):
            memory = torch.empty_like(scores)
        found = target_ranks(scores, torch.from_numpy(targets[rows]).to(model.device), order, VALIDATION_DEPTH, memory)
        ranks[part[rows]] = found.cpu().numpy()
    return ndcg(world.sum(ranks, model.device), VALIDATION_DEPTH)


def ndcg(ranks: np.ndarray, k: int) -> float:
    """Mean nDCG@k of cases with one target each: ``1 / log2(1 + rank)`` within the first k, else 0."""
    return float(np.where(ranks <= k, 1 / np.log2(1 + ranks), 0).mean())
