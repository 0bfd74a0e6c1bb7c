"""The lists of a trained model: scored, found by PQTopK or by beam search, or written item by item.

Which of these follows from the model. An empty history is answered with the most popular items in all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor

from ml.data.sequences import Sequences
from ml.data.training_set import TrainingSet
from ml.generation.lists import ListCounts
from ml.models.generating_model import GeneratingModel
from ml.models.gptrec import GPTRec
from ml.models.gptrec_codes import GPTRecCodes
from ml.models.sequential_model import SequentialModel
from ml.recommender import NO_ITEM, Recommendations
from ml.retrieval.quantised_top_k import QuantisedTopK
from ml.retrieval.top_k import kept_tie_break_order, top_k
from ml.tasks.build import Task
from ml.training.generating import generate, generated_validation_ndcg
from ml.training.list_generating import written_code_lists, written_lists, written_validation_ndcg
from ml.training.scoring import chunks_of_states, fallback_chunks, hide_seen, scored_chunks, validation_ndcg


@dataclass
class TrainedLists:
    """Lists of a model with the weights that it has now.

    Attributes:
        model: that is trained.
        task: shows it a history as it was trained to read one.
        training_counts: interactions of each item in training, int64 ``[items]``.
        mark: behind a history that a list is written for; ``None`` for a model without marks.
        quantised: gives what ranks the quantised items of a model for so many histories; ``None`` where scoring every
            item is as fast.
        counts: how the last lists were found, where that was beam search.
    """

    model: SequentialModel | GeneratingModel
    task: Task
    training_counts: np.ndarray
    mark: int | None
    quantised: Callable[[SequentialModel, int], QuantisedTopK | None]
    counts: ListCounts | None = None

    def recommend(self, histories: Sequences, k: int, exclude_seen: bool) -> Recommendations:
        """The k best items of the whole catalogue for each history; lists that run out of items end in ``NO_ITEM``."""
        top_items = np.full((len(histories), k), NO_ITEM, dtype=np.int32)
        top_scores = np.full((len(histories), k), -np.inf, dtype=np.float32)
        for rows, ranked in self._chunks(histories, k, exclude_seen):
            top_items[rows], top_scores[rows] = ranked.items, ranked.scores
        return Recommendations(top_items, top_scores)

    def validation_ndcg(self, training_set: TrainingSet, exclude_seen: bool) -> float:
        """nDCG@10 for the validation users. Under torchrun all processes call it, and each ranks a part of them."""
        model = self.model
        if isinstance(model, GPTRec | GPTRecCodes) and model.writes_lists:
            lists_of = partial(self._written, model, exclude_seen=exclude_seen)
            return written_validation_ndcg(model, lists_of, training_set, self._popularity(), exclude_seen)
        if isinstance(model, GeneratingModel) and model.beam_width:
            return generated_validation_ndcg(model, self.task, training_set, self.training_counts, exclude_seen)
        return validation_ndcg(model, self.task, training_set, self._popularity(), exclude_seen)

    def _chunks(self, histories: Sequences, k: int, exclude_seen: bool) -> Iterator[tuple[np.ndarray, Recommendations]]:
        """Which histories, int64 ``[rows]``, and their lists; each history once, in no stated order."""
        model, task = self.model, self.task
        filled = np.flatnonzero(histories.lengths > 0)
        # of a large catalogue it takes as long as ranking one history
        popularity = torch.empty(0) if len(filled) == len(histories) else self._popularity()
        if isinstance(model, GPTRec | GPTRecCodes) and model.writes_lists:
            yield filled, self._written(model, histories.take(filled), k, exclude_seen)
            chunks = fallback_chunks(model, histories, popularity)
        elif isinstance(model, GeneratingModel) and model.beam_width:
            yield filled, self._generated(model, histories.take(filled), k, exclude_seen)
            chunks = fallback_chunks(model, histories, popularity)
        elif isinstance(model, GeneratingModel) or (quantised := self.quantised(model, len(filled))) is None:
            chunks = scored_chunks(model, task, histories, popularity)
        else:
            for rows, states in chunks_of_states(model, task, histories):
                yield rows, quantised.top_k(states, k, histories.take(rows) if exclude_seen else None)
            chunks = fallback_chunks(model, histories, popularity)
        for rows, scores in chunks:
            if exclude_seen:
                hide_seen(scores, histories.take(rows))
            yield rows, top_k(scores.cpu().numpy(), k, kept_tie_break_order(model.items))

    def _generated(self, model: GeneratingModel, histories: Sequences, k: int, exclude_seen: bool) -> Recommendations:
        """Lists by beam search for histories that are not empty."""
        widths = (model.beam_width, model.widest_beam)
        lists, self.counts = generate(model, self.task, histories, k, exclude_seen, self.training_counts, *widths)
        return lists

    def _written(
        self, model: GPTRec | GPTRecCodes, histories: Sequences, k: int, exclude_seen: bool
    ) -> Recommendations:
        """Lists written item by item for histories that are not empty."""
        if isinstance(model, GPTRec):
            return written_lists(model, self.mark, histories, k, exclude_seen)
        return written_code_lists(model, histories, k, exclude_seen, self.training_counts)

    def _popularity(self) -> Tensor:
        """Scores for an empty history, ``[items]``."""
        return torch.from_numpy(self.training_counts.astype(np.float32))
