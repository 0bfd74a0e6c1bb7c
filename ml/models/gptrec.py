"""GPTRec: a decoder-only transformer over items, which ranks the items of one step or writes a list item by item.

Petrov and Macdonald, "Generative Sequential Recommendation with GPTRec", Gen-IR at SIGIR 2023, arXiv 2306.11114; with
a separator between history and list in "Aligning GPTRec with Beyond-Accuracy Goals with Reinforcement Learning",
arXiv 2403.04875. How lists are written is in :mod:`ml.generation.next_k`.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ml.models.catalogue import Catalogue
from ml.models.dropout import Dropout
from ml.models.gpt2 import GPT2
from ml.models.sequential_model import ItemSequenceModel
from ml.models.settings import GPTRecSettings


class GPTRec(ItemSequenceModel):
    """GPT-2 over the items of a history and, with ``lists = "next_k"``, over those of the list that follows it.

    The item indices from ``items`` on are marks: separators between history and list, one for each trade-off that the
    model is taught. A mark has an input vector and no output vector, so it can never be recommended.

    Positions are counted from the end of the history. Of a history of n items, item i has position
    ``max_length - n + i``; the mark has position ``max_length``, and the items of the list follow. Without marks the
    list begins at ``max_length``. So the first place of the list is the same one for all histories. (The authors count
    the history backwards to 0 and let the list follow the largest of these positions: the same places under other
    numbers.)

    While the model is trained on histories without a mark, some of the latest items of each are read at the positions
    of a list, a number drawn for each sequence and each pass. Otherwise these positions would keep their initial
    vectors, and a model that was taught no lists could not write any.

    Args:
        settings: sizes and options.
        catalogue: what there are vectors for.
    """

    def __init__(self, settings: GPTRecSettings, catalogue: Catalogue) -> None:
        super().__init__(settings, catalogue)
        self.writes_lists = settings.writes_lists
        self.list_length = settings.list_length
        dimensions, deviation = settings.dimensions, settings.embedding_deviation
        self.marks = (
            nn.Parameter(torch.empty(settings.marks, dimensions).normal_(std=deviation)) if settings.marks else None
        )
        # the last item of a list is chosen, but never read
        of_list = self.list_length - 1 if self.writes_lists else 0
        self.positions = nn.Parameter(
            torch.empty(self.max_length + bool(settings.marks) + of_list, dimensions).normal_(std=deviation)
        )
        self.dropout = Dropout(settings.dropout)
        self.trunk = GPT2(
            dimensions, settings.blocks, settings.heads, settings.feed_forward_dimensions, settings.dropout
        )

    def forward(self, items: Tensor, lengths: Tensor, users: Tensor) -> Tensor:
        """States at every position, see :class:`ml.models.sequential_model.SequentialModel`.

        A row may hold a mark, with the items of a list behind it: at most ``max_length`` items stand before the mark,
        and fewer than ``list_length`` behind it. ``lengths`` counts them all.
        """
        if self.marks is not None:
            places = torch.arange(items.shape[1], device=items.device)
            is_mark = (items >= self.items) & (places < lengths[:, None])
            marked = is_mark.any(dim=1)
            ends = torch.where(marked, is_mark.int().argmax(dim=1), lengths)
        else:
            ends = lengths
            if self.training and self.writes_lists:
                # at least one item stays in the history
                most = torch.clamp(lengths, max=self.list_length)
                ends = ends - (torch.rand(len(lengths), device=items.device) * most).long()
        return self.trunk(self.embedded(items, ends))

    def embedded(self, items: Tensor, ends: Tensor) -> Tensor:
        """What the transformer reads: vectors of items and marks with those of their positions.

        Args:
            items: int64 ``[batch, length]``, with the indices of marks from ``items`` of the catalogue on.
            ends: how many items of each row belong to the history, int64 ``[batch]``; a mark, if there is one, stands
                right behind these.

        Returns:
            ``[batch, length, dimensions]``.
        """
        places = torch.arange(items.shape[1], device=items.device) - ends[:, None] + self.max_length
        # padding may lie behind the last position
        places = places.clamp(max=len(self.positions) - 1)
        return self.dropout(self.vectors(items) + F.embedding(places, self.positions))

    def vectors(self, items: Tensor) -> Tensor:
        """Input vectors of items and marks: int64 ``[...]`` to ``[..., dimensions]``."""
        if self.marks is None:
            return self.input_embedding(items)
        is_mark = items >= self.items
        marks = F.embedding((items - self.items).clamp(min=0), self.marks)
        return torch.where(is_mark[..., None], marks, self.input_embedding(items.masked_fill(is_mark, 0)))

    def sequences(
        self, items: Tensor, lengths: Tensor, marks: Tensor | None, lists: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Histories, their marks and lists, one behind the other.

        Args:
            items: int64 ``[batch, length]``, padded at the end; of histories longer than ``max_length`` the most recent
                items are read.
            lengths: of the histories, int64 ``[batch]``, at least 1.
            marks: which mark follows each history, int64 ``[batch]`` from 0; ``None`` for a model without marks.
            lists: int64 ``[batch, k]``, of which all but the last item is read; ``None`` for none.

        Returns:
            The sequences, int64 ``[batch, width]`` padded at the end; how many of their items are of the history, int64
            ``[batch]``; and the place of the state that chooses the first item of the list, int64 ``[batch]``.

        Raises:
            ValueError: a history is empty, marks are missing, not wanted or unknown, or the lists are too long.
        """
        self._check(lengths, marks, 1 if lists is None else lists.shape[1])
        items, lengths = _latest(items, lengths, self.max_length)
        parts = [] if marks is None else [marks[:, None] + self.items]
        if lists is not None:
            parts.append(lists[:, :-1])
        first = lengths - 1 if marks is None else lengths
        if not parts:
            return items, lengths, first
        behind = torch.cat(parts, dim=1)
        places = lengths[:, None] + torch.arange(behind.shape[1], device=items.device)
        return F.pad(items, (0, behind.shape[1])).scatter(1, places, behind), lengths, first

    def _check(self, lengths: Tensor, marks: Tensor | None, k: int) -> None:
        if not self.writes_lists:
            raise ValueError('this model ranks the items of one step; lists are written with lists = "next_k"')
        if not 1 <= k <= self.list_length:
            raise ValueError(f"this model writes lists of 1 to {self.list_length} items, not {k}")
        if len(lengths) and int(lengths.min()) < 1:
            raise ValueError("lists follow histories of at least one item, and one of these is empty")
        if (marks is None) != (self.marks is None):
            raise ValueError(
                "this model was built without marks, and some were given"
                if self.marks is None
                else "this model has marks between histories and lists: say which mark follows each history"
            )
        if marks is not None and self.marks is not None and len(marks):
            lowest, highest = int(marks.min()), int(marks.max())
            if lowest < 0 or highest >= len(self.marks):
                raise ValueError(
                    f"the marks of this model are 0 to {len(self.marks) - 1}, not {lowest if lowest < 0 else highest}"
                )


def _latest(items: Tensor, lengths: Tensor, most: int) -> tuple[Tensor, Tensor]:
    """The most recent items of each history, at most ``most``, padded at the end, and how many they are."""
    if items.shape[1] <= most:
        return items, lengths
    places = (lengths - most).clamp(min=0)[:, None] + torch.arange(most, device=items.device)
    return items.gather(1, places), lengths.clamp(max=most)
