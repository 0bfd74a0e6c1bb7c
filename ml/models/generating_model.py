"""Models that generate the identifier of the next item, code by code, instead of scoring every item by a dot product.

The identifiers of a catalogue are the paths of a prefix tree (:mod:`ml.codes.trie`). A model gives a distribution over
the codes that continue a prefix; the probability of an item is the product along its path.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from ml.codes.trie import Trie
from ml.models.belonging import FROM_CATALOGUE


@dataclass(frozen=True)
class CodePredictions:
    """Predictions of one level of the identifiers for some targets, given the true codes of the levels before.

    A level may come in several parts, and targets whose code is certain (a prefix with one continuation) need not be in
    any: their loss is 0.

    Attributes:
        level: of the identifiers, from 0.
        logits: unnormalised, ``[targets, choices]``; ``-inf`` where a target has fewer choices than others.
        targets: which choice is the true one, int64 ``[targets]``.
        weight: of their loss, besides that of the level.
    """

    level: int
    logits: Tensor
    targets: Tensor
    weight: float = 1.0


class NodeCodes:
    """The codes of the nodes of a prefix tree, for scorers of prefixes, which are asked for nodes.

    Args:
        trie: the identifiers.
        device: of the nodes that are asked for.
    """

    def __init__(self, trie: Trie, device: torch.device) -> None:
        self._codes = [torch.from_numpy(codes).to(device) for codes in trie.codes]
        self._parents = [torch.from_numpy(parents).to(device) for parents in trie.parents]

    def of(self, level: int, nodes: Tensor) -> Tensor:
        """The last code of each node of a level, int64 ``[...]`` to the same."""
        return self._codes[level][nodes]

    def before(self, level: int, children: Tensor) -> Tensor:
        """The last code of the prefixes that children of a level continue, int64 ``[rows, beams, choices]`` to
        ``[rows, beams]``: that of the parent of the first child."""
        return self._codes[level - 1][self._parents[level][children[..., 0]]]


class GeneratingModel(nn.Module, ABC):
    """From histories to distributions over identifiers.

    The four tensors of a method's arguments are those of a :class:`ml.tasks.batch.Batch`:

    - ``items``: int64 ``[batch, length]``, oldest first, padded at the end with any item index.
    - ``lengths``: items in each row without the padding, int64 ``[batch]``.
    - ``users``: user index of each row, -1 where it is not known, int64 ``[batch]``.
    - ``positions``: places of the states that are read, in ``items`` laid flat, int64 ``[states]``. Each stands for one
      history: the items of its row up to there.

    Args:
        codes: the identifiers, ``[items, levels]``; where they are generated as prefixes they are unique.
        beam_width: prefixes that are kept at each level when items are generated; 0 scores all items instead.
        widest_beam: where a list is not certain to be the exact one, the beam is widened up to this.

    Attributes:
        max_length: longest history that is read, in items; of a longer one the most recent are read.
        codes: the identifiers, int32 ``[items, levels]``; saved with the weights.
    """

    belongs: ClassVar[dict[str, str]] = {"codes": FROM_CATALOGUE}
    max_length: int
    codes: Tensor

    def __init__(self, codes: np.ndarray, beam_width: int, widest_beam: int = 0) -> None:
        super().__init__()
        self.register_buffer("codes", torch.from_numpy(codes.astype(np.int32)))
        self.beam_width = beam_width
        self.widest_beam = max(beam_width, widest_beam)
        self._trie: Trie | None = None

    @property
    def trie(self) -> Trie:
        """The identifiers as a prefix tree.

        Raises:
            ValueError: two items have the same identifier.
        """
        if self._trie is None:
            self._trie = Trie.of(self.codes.cpu().numpy())
        return self._trie

    @property
    def items(self) -> int:
        """Size of the catalogue."""
        return len(self.codes)

    @property
    def device(self) -> torch.device:
        return next(self.parameters()).device

    @abstractmethod
    def predictions(
        self, items: Tensor, lengths: Tensor, users: Tensor, positions: Tensor, targets: Tensor
    ) -> list[CodePredictions]:
        """Predictions of the identifiers of ``targets``, int64 ``[states]``: one item for each of ``positions``."""

    @abstractmethod
    def prefix_scorer(self, items: Tensor, lengths: Tensor, users: Tensor, positions: Tensor) -> Any:
        """What scores continuations of prefixes for each of ``positions``: a
        :class:`ml.generation.beam_search.PrefixScorer`."""

    def score_all(self, items: Tensor, lengths: Tensor, users: Tensor, positions: Tensor) -> Tensor | None:
        """Log-probabilities of all items for each of ``positions``, ``[states, items]``, where the model computes them
        without walking through the prefix tree; else ``None``."""
        return None
