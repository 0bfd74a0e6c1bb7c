"""GPTRec on codes: a decoder-only transformer over the codes of a history, which generates those of the next item.

Petrov and Macdonald, "Generative Sequential Recommendation with GPTRec", Gen-IR at SIGIR 2023, arXiv 2306.11114, whose
sub-identifiers come from a truncated SVD; any codes that are unique for each item serve as well. The tokens of a
history are the codes of its items, one item after the other, so a sequence is as many times longer than SASRec's as
identifiers have levels. GPTRec with items as tokens is the architecture ``sasrec`` with ``block = "gpt2"``.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ml.models.catalogue import Catalogue
from ml.models.dropout import Dropout
from ml.models.generating_model import CodePredictions, GeneratingModel, NodeCodes
from ml.models.gpt2 import GPT2, Continuations, KeysAndValues
from ml.models.settings import GPTRecCodesSettings, decided_length


class GPTRecCodes(GeneratingModel):
    """GPT-2 over codes; the vectors of a level's codes are its output vectors too, as the tokens of GPT-2 are.

    Each level has vectors of its own: equal codes of different levels are unrelated. A state predicts a code of the
    level that follows, normalised over all codes of that level. Positions are counted so that the first code of the
    item after a history has the same one for all histories, as they are where histories are padded on the left.

    It is trained at all places at once, so the target of a state is the next item that the model reads: the tasks
    ``next_item`` and ``every_prefix`` have such targets.

    With ``lists = "next_k"`` there are positions for the items of a list behind the history, and in training some of
    the latest items are read there, as :class:`ml.models.gptrec.GPTRec` explains.

    Args:
        settings: sizes and options.
        catalogue: holds the identifiers.

    Raises:
        ValueError: two items have the same identifier.
    """

    offsets: Tensor

    def __init__(self, settings: GPTRecCodesSettings, catalogue: Catalogue) -> None:
        assert catalogue.codes is not None
        super().__init__(catalogue.codes, settings.beam_width, settings.widest_beam)
        self.max_length = decided_length(settings.max_length)
        self.levels = self.trie.levels
        self.writes_lists, self.list_length = settings.writes_lists, settings.list_length
        sizes = catalogue.sizes_of_books
        dimensions, deviation = settings.dimensions, settings.embedding_deviation
        self.tokens = nn.ParameterList(torch.empty(size, dimensions).normal_(std=deviation) for size in sizes)
        # of the codes of the items of a history and of those after it, the last code of which is never read
        after = self.list_length if self.writes_lists else 1
        self.positions = nn.Parameter(
            torch.empty((self.max_length + after) * self.levels - 1, dimensions).normal_(std=deviation)
        )
        self.dropout = Dropout(settings.dropout)
        self.trunk = GPT2(
            dimensions, settings.blocks, settings.heads, settings.feed_forward_dimensions, settings.dropout
        )

    def embedded(self, items: Tensor, lengths: Tensor) -> Tensor:
        """The tokens of items with their positions, item after item.

        Args:
            items: int64 ``[batch, length]``.
            lengths: of each history, int64 ``[batch]``; ``items`` may hold one item more than the longest, and all
                items behind a history are read at the positions that follow it.

        Returns:
            ``[batch, length * levels, dimensions]``.
        """
        codes = self.codes[items].long()
        vectors = torch.stack([F.embedding(codes[..., level], self.tokens[level]) for level in range(self.levels)], 2)
        tokens = torch.arange(items.shape[1] * self.levels, device=items.device)
        places = tokens + (self.max_length - lengths[:, None]) * self.levels
        # those of padding, and the last code of the item after a history
        places = places.clamp(max=len(self.positions) - 1)
        return self.dropout(vectors.flatten(1, 2) + F.embedding(places, self.positions))

    def predictions(
        self, items: Tensor, lengths: Tensor, users: Tensor, positions: Tensor, targets: Tensor
    ) -> list[CodePredictions]:
        rows, places = self._rows_and_places(items, positions)
        # targets inside a row are there already; that of the last item is written behind it
        shown = F.pad(items, (0, 1)).index_put((rows, places + 1), targets)
        ends = lengths
        if self.training and self.writes_lists:
            # some of the latest items are read at the positions of a list, as in ml.models.gptrec
            most = torch.clamp(lengths, max=self.list_length)
            ends = ends - (torch.rand(len(lengths), device=items.device) * most).long()
        states = self.trunk(self.embedded(shown, ends)[:, :-1])
        width = states.shape[1]
        after = rows * width + (places + 1) * self.levels - 1
        flat, codes = states.flatten(0, 1), self.codes[targets].long()
        return [
            CodePredictions(level, F.linear(flat.index_select(0, after + level), self.tokens[level]), codes[:, level])
            for level in range(self.levels)
        ]

    def prefix_scorer(self, items: Tensor, lengths: Tensor, users: Tensor, positions: Tensor) -> CodesScorer:
        rows, places = self._rows_and_places(items, positions)
        states, cache = self.trunk.read(self.embedded(items, lengths))
        ends = (places + 1) * self.levels
        last = states.flatten(0, 1).index_select(0, rows * states.shape[1] + ends - 1)
        visible = torch.arange(states.shape[1], device=items.device) < ends[:, None]
        following = ends + (self.max_length - lengths[rows]) * self.levels
        return CodesScorer(self, [each.take(rows) for each in cache], visible, last, following)

    @staticmethod
    def _rows_and_places(items: Tensor, positions: Tensor) -> tuple[Tensor, Tensor]:
        rows = torch.div(positions, items.shape[1], rounding_mode="floor")
        return rows, positions - rows * items.shape[1]


class CodesScorer:
    """Scores continuations of prefixes, as :class:`ml.generation.beam_search.PrefixScorer` asks for them.

    Args:
        model: in evaluation mode.
        histories: keys and values of each block, of one history a row.
        visible: which tokens of a history are no padding, bool ``[rows, tokens]``.
        states: after the last token of each history, ``[rows, dimensions]``.
        following: position of the first code of the next item, int64 ``[rows]``.
    """

    def __init__(
        self,
        model: GPTRecCodes,
        histories: list[KeysAndValues],
        visible: Tensor,
        states: Tensor,
        following: Tensor,
    ) -> None:
        self.model = model
        self.rows = len(states)
        self._histories, self._visible, self._states, self._following = histories, visible, states, following
        self._codes = NodeCodes(model.trie, states.device)
        self._continuations = self._start()

    def _start(self) -> Continuations:
        return Continuations(self.model.trunk, self._histories, self._visible)

    def log_probabilities(self, level: int, children: Tensor, exists: Tensor, beams: Tensor | None) -> Tensor:
        """See :class:`ml.generation.beam_search.PrefixScorer`."""
        model = self.model
        if beams is None:
            self._continuations = self._start()
            states = self._states[:, None]
        else:
            self._continuations.reorder(beams)
            chosen = self._codes.before(level, children)
            places = F.embedding(self._following + level - 1, model.positions)[:, None]
            states = self._continuations.extend(F.embedding(chosen, model.tokens[level - 1]) + places)
        scores = F.linear(states, model.tokens[level]).log_softmax(dim=-1)
        return scores.gather(2, self._codes.of(level, children))
