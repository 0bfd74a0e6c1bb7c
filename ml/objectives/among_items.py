"""Any objective with a part of the catalogue in place of all of it: other items are never negatives.

A model that reads text has a vector for an item that nobody has interacted with. As a negative such an item is only
ever pushed away, since it is never a target. Where the targets of a test are such items, as in the split
``cold-items``, training would teach the model to rank them last. With an objective among the items of the training
histories nothing is learnt of the others but what their text has in common with these.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from ml.models.item_embeddings import ItemEmbedding
from ml.objectives.build import Objective
from ml.objectives.targets import Targets


class SomeItems(ItemEmbedding):
    """The vectors of some items of a catalogue, numbered from 0.

    Args:
        embedding: of the whole catalogue.
        items: the items, int64 ``[some]``.
    """

    def __init__(self, embedding: ItemEmbedding, items: Tensor) -> None:
        super().__init__(len(items), embedding.dimensions)
        self.embedding = embedding
        self._items = items

    def forward(self, items: Tensor) -> Tensor:
        return self.embedding(self._items[items])

    def score_all(self, states: Tensor) -> Tensor:
        return states @ self.embedding(self._items).T

    def score_each(self, states: Tensor, candidates: Tensor) -> Tensor:
        return self.embedding.score_each(states, self._items[candidates])


class AmongItems:
    """An objective whose negatives, or whose softmax, are some items of the catalogue alone.

    Args:
        objective: built for a catalogue of these items.
        items: the items, ascending, int64 ``[some]``. All targets are among them.
        catalogue: number of all items.
    """

    def __init__(self, objective: Objective, items: np.ndarray, catalogue: int) -> None:
        self.objective = objective
        self._items = torch.from_numpy(items)
        self._place = torch.full((catalogue,), -1, dtype=torch.int64)
        self._place[self._items] = torch.arange(len(items))

    def __call__(
        self, states: Tensor, targets: Targets, embedding: ItemEmbedding, generator: np.random.Generator
    ) -> Tensor:
        if self._items.device != targets.items.device:
            self._items, self._place = (part.to(targets.items.device) for part in (self._items, self._place))
        numbered = replace(targets, items=self._place[targets.items])
        return self.objective(states, numbered, SomeItems(embedding, self._items), generator)
