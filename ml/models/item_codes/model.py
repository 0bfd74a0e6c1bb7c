"""A causal transformer over items that predicts identifiers: one state a position, trained at all positions at once.

Reading items rather than their codes one by one makes sequences as short as SASRec's, and one pass trains every prefix
of a history. The head decides how codes are predicted: :mod:`ml.models.item_codes.tree_head`,
:mod:`ml.models.item_codes.prefix_head`, :mod:`ml.models.item_codes.parallel_head`.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ml.models.belonging import FROM_CATALOGUE
from ml.models.catalogue import Catalogue
from ml.models.dropout import Dropout
from ml.models.generating_model import CodePredictions, GeneratingModel
from ml.models.item_codes.inputs import CodeInputs
from ml.models.item_codes.parallel_head import ParallelHead
from ml.models.item_codes.prefix_head import PrefixHead, PrefixScorer
from ml.models.item_codes.tree_contrast import TreeContrast
from ml.models.item_codes.tree_head import TreeHead
from ml.models.settings import ItemCodesSettings, decided_length
from ml.models.transformer import BLOCKS


class ItemCodes(GeneratingModel):
    """SASRec's encoder on vectors of codes, with a head that predicts the codes of the next item.

    Args:
        settings: sizes and options.
        catalogue: holds the identifiers.
    """

    belongs: ClassVar[dict[str, str]] = GeneratingModel.belongs | {"never_seen": FROM_CATALOGUE}
    never_seen: Tensor

    def __init__(self, settings: ItemCodesSettings, catalogue: Catalogue) -> None:
        assert catalogue.codes is not None
        super().__init__(catalogue.codes, settings.beam_width, settings.widest_beam)
        self.max_length = decided_length(settings.max_length)
        dimensions, deviation = settings.dimensions, settings.embedding_deviation
        sizes = catalogue.sizes_of_books
        self.dense_candidates = settings.dense_candidates
        self.dense_weight, self.dense_temperature = settings.dense_weight, settings.dense_temperature
        if self.dense_candidates:
            self.register_buffer("never_seen", torch.from_numpy(catalogue.never_seen))
        self.inputs = CodeInputs(catalogue.codes, sizes, settings.reads, dimensions, deviation)
        self.positions = nn.Parameter(torch.empty(self.max_length, dimensions).normal_(std=deviation))
        self.dropout = Dropout(settings.dropout)
        self.blocks = nn.ModuleList(
            BLOCKS[settings.block](dimensions, settings.heads, settings.feed_forward_dimensions, settings.dropout)
            for _ in range(settings.blocks)
        )
        self.norm = nn.LayerNorm(dimensions)
        self.head: TreeHead | PrefixHead | ParallelHead
        self.contrast: TreeContrast | None = None
        if settings.head == "tree":
            self.head = TreeHead(self.trie, dimensions, settings.head_deviation)
            if settings.alignment_weight or settings.ranking_weight:
                self.contrast = TreeContrast(
                    self.trie,
                    self.head,
                    settings.alignment_weight,
                    settings.alignment_temperature,
                    settings.ranking_weight,
                )
        elif settings.head == "prefix":
            self.head = PrefixHead(sizes, dimensions, settings.head_dimensions, settings.head_deviation)
        else:
            self.head = ParallelHead(self.codes, sizes, dimensions, settings.temperature)

    def states(self, items: Tensor, lengths: Tensor, positions: Tensor) -> Tensor:
        """States at the given places of ``items`` laid flat, int64 ``[states]`` to ``[states, dimensions]``."""
        places = torch.arange(items.shape[1], device=items.device) - lengths[:, None] + self.max_length
        hidden = self.inputs(items) + F.embedding(places.clamp_(max=self.max_length - 1), self.positions)
        hidden = self.dropout(hidden)
        for block in self.blocks:
            hidden = block(hidden)
        return self.norm(hidden).flatten(0, 1).index_select(0, positions)

    def predictions(
        self, items: Tensor, lengths: Tensor, users: Tensor, positions: Tensor, targets: Tensor
    ) -> list[CodePredictions]:
        states = self.states(items, lengths, positions)
        if isinstance(self.head, TreeHead):
            found = self.head.predictions(states, targets)
            if self.contrast is not None:
                found += self.contrast.predictions(self.head, states, targets)
        else:
            found = self.head.predictions(states, self.codes[targets].long())
        if self.dense_weight:
            distinct, own = targets.unique(return_inverse=True)
            vectors = F.normalize(self.inputs(distinct), dim=-1)
            logits = F.normalize(states, dim=-1) / self.dense_temperature @ vectors.T
            found.append(CodePredictions(0, logits, own, self.dense_weight))
        if self.dense_candidates:
            # the item itself, after the last code
            found.append(CodePredictions(self.codes.shape[1], states @ self.inputs.all_items().T, targets))
        return found

    def prefix_scorer(self, items: Tensor, lengths: Tensor, users: Tensor, positions: Tensor) -> Any:
        states = self.states(items, lengths, positions)
        if isinstance(self.head, PrefixHead):
            return PrefixScorer(self.head, states, self.trie)
        assert isinstance(self.head, TreeHead)  # the settings refuse beams for codes without an order
        return _TreeScorer(self.head, states)

    def score_all(self, items: Tensor, lengths: Tensor, users: Tensor, positions: Tensor) -> Tensor | None:
        if isinstance(self.head, PrefixHead):
            return None
        states = self.states(items, lengths, positions)
        scores = self.head.score_all(states)
        return self._densely_ranked(states, scores) if self.dense_candidates else scores

    def _densely_ranked(self, states: Tensor, scores: Tensor) -> Tensor:
        """Scores by which the candidates, ordered by dot products, come before all other items, ordered by codes.

        Args:
            states: ``[states, dimensions]``.
            scores: log-probabilities by codes, ``[states, items]``.
        """
        dense = states @ self.inputs.all_items().T
        dense = dense - dense.amax(dim=1, keepdim=True)  # at most 0, as log-probabilities are
        chosen = scores.topk(min(self.dense_candidates, scores.shape[1]), dim=1).indices
        candidate = self.never_seen.expand_as(scores).scatter(1, chosen, True)
        lowest = torch.where(candidate, dense, 0.0).amin(dim=1, keepdim=True)
        return torch.where(candidate, dense, lowest - 1 + scores)


class _TreeScorer:
    """:class:`TreeHead` as a :class:`ml.generation.beam_search.PrefixScorer`: a node alone says what its prefix is."""

    def __init__(self, head: TreeHead, states: Tensor) -> None:
        self.head = head
        self.states = states
        self.rows = len(states)

    def log_probabilities(self, level: int, children: Tensor, exists: Tensor, beams: Tensor | None) -> Tensor:
        return self.head.log_probabilities(self.states, level, children, exists)
