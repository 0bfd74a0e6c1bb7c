"""Codes one after the other, each from the state and the codes before it, by a small network shared by all prefixes.

One state a history and a multilayer perceptron a level, in place of a decoder with attention: SID-MLP
(arXiv 2605.12617) finds that such heads lose nothing. A new item needs no new weights, only codes.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ml.codes.trie import Trie
from ml.models.generating_model import CodePredictions, NodeCodes

_START_DEVIATION = 0.02


class PrefixHead(nn.Module):
    """``q_l = h + C_l relu(B_l [h; p_l])`` with ``p_l`` the sum of the vectors of the codes before level ``l``; the
    logits of the codes of the level are ``q_l . v_c + b_c``, normalised over all codes of the level.

    Args:
        book_sizes: codes of each level.
        dimensions: width of states and vectors.
        hidden_dimensions: inner width of the perceptrons.
        deviation: standard deviation of the normal distribution that the vectors start from.
    """

    def __init__(self, book_sizes: tuple[int, ...], dimensions: int, hidden_dimensions: int, deviation: float) -> None:
        super().__init__()
        self.book_sizes = book_sizes
        self.prefix_vectors = nn.ParameterList(
            torch.empty(size, dimensions).normal_(std=deviation) for size in book_sizes[:-1]
        )
        self.code_vectors = nn.ParameterList(
            torch.empty(size, dimensions).normal_(std=deviation) for size in book_sizes
        )
        self.biases = nn.ParameterList(torch.zeros(size) for size in book_sizes)
        self.widen = nn.ModuleList(nn.Linear(2 * dimensions, hidden_dimensions) for _ in book_sizes)
        self.narrow = nn.ModuleList(nn.Linear(hidden_dimensions, dimensions) for _ in book_sizes)

    def logits(self, level: int, states: Tensor, prefixes: Tensor) -> Tensor:
        """Of all codes of a level: ``[..., dimensions]`` twice to ``[..., codes]``."""
        hidden = F.relu(self.widen[level](torch.cat([states, prefixes], dim=-1)))
        return F.linear(states + self.narrow[level](hidden), self.code_vectors[level], self.biases[level])

    def predictions(self, states: Tensor, codes: Tensor) -> list[CodePredictions]:
        """See :meth:`ml.models.generating_model.GeneratingModel.predictions`.

        Args:
            states: ``[targets, dimensions]``.
            codes: of the targets, int64 ``[targets, levels]``.
        """
        prefixes = torch.zeros_like(states)
        found = []
        for level in range(len(self.book_sizes)):
            found.append(CodePredictions(level, self.logits(level, states, prefixes), codes[:, level]))
            if level < len(self.prefix_vectors):
                prefixes = prefixes + F.embedding(codes[:, level], self.prefix_vectors[level])
        return found


class PrefixScorer:
    """Scores continuations of prefixes; nothing is kept but the sum of the vectors of each prefix.

    Args:
        head: the trained head.
        states: ``[rows, dimensions]``.
        trie: whose node indices are asked for.
    """

    def __init__(self, head: PrefixHead, states: Tensor, trie: Trie) -> None:
        self.head = head
        self.states = states
        self.rows = len(states)
        self._codes = NodeCodes(trie, states.device)
        self._prefixes = states.new_zeros(self.rows, 1, states.shape[1])

    def log_probabilities(self, level: int, children: Tensor, exists: Tensor, beams: Tensor | None) -> Tensor:
        """See :class:`ml.generation.beam_search.PrefixScorer`."""
        if beams is None:
            self._prefixes = self.states.new_zeros(self.rows, 1, self.states.shape[1])
        else:
            width = self.states.shape[1]
            kept = self._prefixes.gather(1, beams[:, :, None].expand(-1, -1, width))
            added = self._codes.before(level, children)
            self._prefixes = kept + F.embedding(added, self.head.prefix_vectors[level - 1])
        states = self.states[:, None, :].expand_as(self._prefixes)
        scores = self.head.logits(level, states, self._prefixes).log_softmax(dim=-1)
        return scores.gather(2, self._codes.of(level, children))
