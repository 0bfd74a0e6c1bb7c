"""Histories as tokens: titles one after the other, each followed by the token that ends it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ml.data.sequences import Sequences
from ml.language_models.generator import Generator

# a label that the loss passes over, as torch has it
IGNORED = -100


@dataclass(frozen=True)
class TitleTokens:
    """Titles as tokens.

    Attributes:
        tokens: of each title, without the one that ends it; empty for items without a title.
        start: the token before the first title.
        end: the token behind each title.
    """

    tokens: tuple[tuple[int, ...], ...]
    start: int
    end: int

    def prompt(self, items: Sequence[int], history: int) -> list[int]:
        """The tokens of the last items of a history; empty where none of its items has a title.

        Args:
            items: oldest first. Items without a title are passed over.
            history: so many items at most.
        """
        read = self._titled(items)[-history:]
        return [self.start, *(token for item in read for token in (*self.tokens[item], self.end))] if read else []

    def windows(self, histories: Sequences, history: int) -> list[tuple[list[int], list[int]]]:
        """Training sequences, tokens with their labels: every title of a history but the first is learned from the
        titles before it.

        Histories that are longer than ``history + 1`` items are cut into windows from their end; each starts with the
        last title of the one before it, which is read there and not learned again.
        """
        found = []
        for row in range(len(histories)):
            items = self._titled(histories[row].tolist())
            stop = len(items)
            while stop > 1:
                start = max(0, stop - history - 1)
                found.append(self._window(items[start:stop]))
                stop = start + 1
        return found

    def _titled(self, items: Sequence[int]) -> list[int]:
        return [item for item in items if self.tokens[item]]

    def _window(self, items: list[int]) -> tuple[list[int], list[int]]:
        tokens, labels = [self.start], [IGNORED]
        for place, item in enumerate(items):
            title = [*self.tokens[item], self.end]
            tokens += title
            labels += title if place else [IGNORED] * len(title)
        return tokens, labels


def tokens_of_titles(titles: Sequence[str], generator: Generator, longest: int) -> TitleTokens:
    """Titles as the tokens of a generator, each cut to ``longest`` of them."""
    # an empty batch is no batch to a tokenizer
    encoded = generator.tokenizer(list(titles), add_special_tokens=False)["input_ids"] if titles else []
    return TitleTokens(tuple(tuple(ids[:longest]) for ids in encoded), generator.start, generator.end)


def padded(rows: Sequence[Sequence[int]], filling: int) -> np.ndarray:
    """Rows of different lengths as one array, filled behind each, int64 ``[rows, longest]``."""
    array = np.full((len(rows), max(map(len, rows), default=0)), filling, dtype=np.int64)
    for place, row in enumerate(rows):
        array[place, : len(row)] = row
    return array
