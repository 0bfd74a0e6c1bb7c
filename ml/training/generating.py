"""Lists and validation of models that generate identifiers by beam search."""

from __future__ import annotations

import numpy as np
import torch

from ml.data.sequences import Sequences
from ml.data.training_set import TrainingSet
from ml.generation.beam_search import PrefixScorer, TrieTensors
from ml.generation.lists import ListCounts, generated_lists
from ml.models.generating_model import GeneratingModel
from ml.recommender import Recommendations
from ml.tasks.build import Task
from ml.training.distributed import World
from ml.training.scoring import VALIDATION_DEPTH, ndcg

# validated with narrow beams, since only the first places count there and training asks often
_VALIDATION_WIDTH = 20


@torch.inference_mode()
def generate(
    model: GeneratingModel,
    task: Task,
    histories: Sequences,
    k: int,
    exclude_seen: bool,
    training_counts: np.ndarray,
    width: int,
    widest: int,
) -> tuple[Recommendations, ListCounts]:
    """The k best items of each history, none of them empty, and how the lists were found.

    Args:
        model: generates the items.
        task: shows it a history as it was trained to read one.
        histories: oldest item first.
        k: length of the lists.
        exclude_seen: leave out the items of a history.
        training_counts: interactions of each item in training, ``[items]``.
        width: of the beam, see :func:`ml.generation.lists.generated_lists`.
        widest: of the beam where a list is not certified.
    """
    model.eval()
    # histories of like length are searched together
    order = np.argsort(histories.lengths, kind="stable")
    ordered = histories.take(order)

    def scorer_of(rows: np.ndarray) -> PrefixScorer:
        batch = task.history_batch(ordered, rows, model.max_length).to(model.device)
        return model.prefix_scorer(batch.items, batch.lengths, batch.users, batch.positions)

    trie = TrieTensors.of(model.trie, model.device)
    lists, counts = generated_lists(scorer_of, trie, ordered, k, exclude_seen, training_counts, width, widest)
    back = np.argsort(order)
    return Recommendations(lists.items[back], lists.scores[back]), counts


def generated_validation_ndcg(
    model: GeneratingModel, task: Task, training_set: TrainingSet, training_counts: np.ndarray, exclude_seen: bool
) -> float:
    """nDCG@10 of the lists that a narrow beam finds for the validation users; under torchrun each process ranks a part.

    An empty history counts as a miss.

    Args:
        model: as it stands.
        task: shows it a history as it was trained to read one.
        training_set: holds the users, their histories and their targets.
        training_counts: interactions of each item in training, ``[items]``.
        exclude_seen: rank without the items of the history.
    """
    world = World.current()
    users = len(training_set.validation_users)
    part = world.part_of(np.arange(users))
    histories = training_set.histories("validation").take(part)
    filled = np.flatnonzero(histories.lengths > 0)
    width = min(_VALIDATION_WIDTH, model.beam_width)
    lists, _ = generate(
        model, task, histories.take(filled), VALIDATION_DEPTH, exclude_seen, training_counts, width, width
    )
    targets = np.asarray(training_set.validation_targets)[part[filled]]
    ranks = np.zeros(users, dtype=np.int64)
    ranks[part] = VALIDATION_DEPTH + 1
    ranks[part[filled]] = ranks_in_lists(lists.items, targets)
    return ndcg(world.sum(ranks, model.device), VALIDATION_DEPTH)


def ranks_in_lists(items: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Rank of the target of each list, int64 ``[rows]`` from 1; behind the last one where it is not in the list.

    Args:
        items: the lists, ``[rows, k]``.
        targets: one item a list, ``[rows]``.
    """
    hits = items == targets[:, None]
    return np.where(hits.any(axis=1), hits.argmax(axis=1), items.shape[1]) + 1
