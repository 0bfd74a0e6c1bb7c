"""TIGER: a transformer that reads the codes of a history and generates the codes of the next item (Rajput et al.,
"Recommender Systems with Generative Retrieval", NeurIPS 2023, arXiv 2305.05065)."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ml.models.belonging import OF_ITEMS, OF_USER_NUMBERS
from ml.models.catalogue import Catalogue
from ml.models.generating_model import CodePredictions, GeneratingModel, NodeCodes
from ml.models.settings import TIGERSettings, decided_length
from ml.models.t5 import T5, Cache, Memory, T5Sizes

# of Fibonacci hashing: 2 ** 32 divided by the golden ratio, and odd
_MULTIPLIER = 2654435769
# of predictions computed together on a CPU
_MOST_GROUPS, _LEAST_IN_GROUP = 4, 32


class TIGER(GeneratingModel):
    """Histories as tokens, one for each code of each item, to distributions over the codes of the item that follows.

    A token stands for a code of one level: equal codes of two levels have different vectors. The encoder reads the
    tokens of all items of a history, behind a token of the user where there are such. The decoder starts from a vector
    of its own and reads the codes generated so far; each level has its own distribution, over the codes of that level
    alone. All items have as many codes as there are levels, so nothing marks the end.

    The encoder sees a history as a whole, so each prediction needs an encoding of its own: a row with predictions from
    several places is read once for each of them, up to there.

    Args:
        settings: sizes and options.
        catalogue: gives the codes, unique for each item.

    Raises:
        ValueError: two items have the same identifier.
    """

    belongs: ClassVar[dict[str, str]] = GeneratingModel.belongs | {"item_vectors": OF_ITEMS, "users": OF_USER_NUMBERS}

    def __init__(self, settings: TIGERSettings, catalogue: Catalogue) -> None:
        assert catalogue.codes is not None
        super().__init__(catalogue.codes, settings.beam_width, settings.widest_beam)
        self.max_length = decided_length(settings.max_length)
        self.levels = self.trie.levels
        ends = np.cumsum(catalogue.sizes_of_books)
        self._levels = [
            slice(int(end - size), int(end)) for end, size in zip(ends, catalogue.sizes_of_books, strict=True)
        ]
        tokens, width, deviation = int(ends[-1]), settings.dimensions, settings.embedding_deviation
        self.tokens = nn.Parameter(torch.empty(tokens, width).normal_(std=deviation))
        self.beginning = nn.Parameter(torch.empty(width).normal_(std=deviation))
        self.users = _normal(settings.user_tokens, width, deviation)
        self.item_vectors = _normal(catalogue.items if settings.reads == "codes_and_items" else 0, width, deviation)
        # states have a norm of about sqrt(dimensions), so that logits start with a variance of about 1
        self.heads = None if settings.tied_heads else nn.Parameter(torch.empty(tokens, width).normal_(std=width**-0.5))
        self.t5 = T5(
            T5Sizes(
                dimensions=width,
                heads=settings.heads,
                head_dimensions=settings.head_dimensions,
                feed_forward_dimensions=settings.feed_forward_dimensions,
                encoder_blocks=settings.encoder_blocks,
                decoder_blocks=settings.decoder_blocks,
                feed_forward=settings.feed_forward,
                dropout=settings.dropout,
            )
        )
        first = torch.tensor([level.start for level in self._levels])
        self.register_buffer("first_tokens", first, persistent=False)

    def predictions(
        self, items: Tensor, lengths: Tensor, users: Tensor, positions: Tensor, targets: Tensor
    ) -> list[CodePredictions]:
        """See :class:`GeneratingModel`; one part for each level and group of histories of like length."""
        read = self._items_read(lengths, positions, items.shape[1])
        return [
            prediction
            for group in _alike(read)
            for prediction in self._predictions(items, lengths, users, positions[group], targets[group])
        ]

    def _predictions(
        self, items: Tensor, lengths: Tensor, users: Tensor, positions: Tensor, targets: Tensor
    ) -> list[CodePredictions]:
        memory = self._read(items, lengths, users, positions)
        codes = self.codes[targets].long()
        states = self.t5.decode(self._shifted(codes), memory)
        return [
            CodePredictions(level, self._logits(states[:, level], level), codes[:, level])
            for level in range(self.levels)
        ]

    def prefix_scorer(self, items: Tensor, lengths: Tensor, users: Tensor, positions: Tensor) -> Prefixes:
        return Prefixes(self, self._read(items, lengths, users, positions))

    def _read(self, items: Tensor, lengths: Tensor, users: Tensor, positions: Tensor) -> Memory:
        """What the decoder attends to, of each of the positions."""
        rows = torch.div(positions, items.shape[1], rounding_mode="floor")
        read = self._items_read(lengths, positions, items.shape[1])
        # elsewhere than on a CPU it would have to be waited for
        width = int(read.max()) if read.device.type == "cpu" else items.shape[1]
        items, users = items[rows, :width], users[rows]
        vectors = self._vectors_of(items).flatten(1, 2)
        visible = torch.arange(items.shape[1], device=items.device) < read[:, None]
        visible = visible.repeat_interleave(self.levels, dim=1)
        if self.users is not None:
            vectors = torch.cat([F.embedding(hashed(users, len(self.users)), self.users)[:, None], vectors], dim=1)
            # a user who is not known has no token
            visible = torch.cat([(users >= 0)[:, None], visible], dim=1)
        return self.t5.encode(vectors, visible)

    def _items_read(self, lengths: Tensor, positions: Tensor, width: int) -> Tensor:
        """How many items of its row are read for each of the positions, int64 ``[states]``."""
        return positions % width + 1

    def _vectors_of(self, items: Tensor) -> Tensor:
        """Vectors of the tokens of items, int64 ``[rows, length]`` to ``[rows, length, levels, dimensions]``."""
        vectors = F.embedding(self._tokens_of(self.codes[items].long()), self.tokens)
        if self.item_vectors is None:
            return vectors
        return vectors + F.embedding(items, self.item_vectors)[:, :, None]

    def _tokens_of(self, codes: Tensor) -> Tensor:
        """Tokens of codes of the first levels, int64 ``[..., levels]`` to the same."""
        return codes + self.get_buffer("first_tokens")[: codes.shape[-1]]

    def _shifted(self, codes: Tensor) -> Tensor:
        """What the decoder reads to predict codes, int64 ``[rows, levels]`` to ``[rows, levels, dimensions]``."""
        read = F.embedding(self._tokens_of(codes[:, :-1]), self.tokens)
        return torch.cat([self.beginning.expand(len(codes), 1, -1), read], dim=1)

    def _logits(self, states: Tensor, level: int) -> Tensor:
        """Of all codes of a level, ``[..., dimensions]`` to ``[..., codes]``."""
        if self.heads is not None:
            return states @ self.heads[self._levels[level]].T
        # as T5 does where the vectors that are read are those that score
        return states * states.shape[-1] ** -0.5 @ self.tokens[self._levels[level]].T


class Prefixes:
    """Scores continuations of prefixes of identifiers: a :class:`ml.generation.beam_search.PrefixScorer`.

    The history of a user is encoded once, and what the decoder attends to of it is computed once and shared by all
    prefixes. Each prefix keeps keys and values of its own codes alone.

    Args:
        model: in evaluation mode.
        memory: of the users' histories.
    """

    def __init__(self, model: TIGER, memory: Memory) -> None:
        self.rows = memory.rows
        self._model = model
        self._memory = memory
        self._cache = Cache()
        self._codes = NodeCodes(model.trie, model.device)

    def log_probabilities(self, level: int, children: Tensor, exists: Tensor, beams: Tensor | None) -> Tensor:
        """See :class:`ml.generation.beam_search.PrefixScorer`. The distribution is over all codes of the level, those
        that do not continue a prefix included, as in training."""
        model = self._model
        if beams is None:
            self._cache = Cache()
            vectors = model.beginning.expand(self.rows, 1, -1)
        else:
            self._cache.reorder(beams)
            tokens = self._codes.before(level, children) + model.get_buffer("first_tokens")[level - 1]
            vectors = F.embedding(tokens, model.tokens)
        logits = model._logits(model.t5.step(vectors, self._memory, self._cache), level)
        return logits.float().log_softmax(dim=-1).gather(2, self._codes.of(level, children))


def _alike(read: Tensor) -> list[Tensor]:
    """Which predictions are computed together, int64 each; ``read`` says how many items each reads.

    The prefixes of a history are of all lengths up to its own, so that half of their places would be padding. On a CPU,
    where padding takes as long as anything else, they are sorted by length and cut into groups.
    """
    groups = min(_MOST_GROUPS, len(read) // _LEAST_IN_GROUP) if read.device.type == "cpu" else 1
    if groups < 2:
        return [torch.arange(len(read), device=read.device)]
    return list(torch.argsort(read, stable=True).tensor_split(groups))


def hashed(users: Tensor, tokens: int) -> Tensor:
    """Which of so many tokens stands for a user, int64 of any shape to the same; any token where the user is -1."""
    return users.clamp(min=0) * _MULTIPLIER % (1 << 32) * tokens >> 32


def _normal(rows: int, width: int, deviation: float) -> nn.Parameter | None:
    """A table that is not there where it has no rows."""
    return nn.Parameter(torch.empty(rows, width).normal_(std=deviation)) if rows else None
