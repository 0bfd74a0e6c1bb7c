"""Exact top-k of a catalogue whose items are scored by their codes, without a table of item vectors.

An item's score is the sum of one partial score from each book (PQTopK: Petrov, Macdonald and Tonellotto, "Efficient
Inference of Sub-Item Id-based Sequential Recommendation Models with Millions of Items", RecSys 2024), so a query
costs ``256 * dimensions`` multiplications whatever the number of items, and some additions for each item. Two books
are joined here where their two codes make one number below 65,536: their two partial scores are then one looked-up sum,
which halves what is read for an item. The other method visits only the items that can be among the best, see
``ml.retrieval.pruning``.

Partial scores are those of joint product quantised vectors (:class:`QuantisedCatalogue`), or any others
(:class:`CodeCatalogue`), such as the log-probabilities of codes that a model predicts independently of one another.

Needs numpy alone and runs on one core.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Literal

import numpy as np

from ml.recommender import NO_ITEM, Recommendations
from ml.retrieval.pruning import InvertedIndex, could_be_best
from ml.retrieval.top_k import tie_break_order

if TYPE_CHECKING:
    from ml.data.sequences import Sequences
    from ml.models.item_embeddings import JointProductQuantisedItemEmbedding

Method = Literal["pqtopk", "pruned"]

_ITEMS_AT_ONCE = 1 << 16  # a chunk's scores and one table of sums stay in a core's own cache
_MOST_SUMS = 1 << 16  # that a column of codes can look up
_NOTHING = np.empty(0, dtype=np.int64)


@dataclass(frozen=True)
class CatalogueMemory:
    """Bytes that a catalogue takes.

    Attributes:
        codes: of the items, two books to a 16-bit number.
        tie_order: the order of ties, and each item's place in it.
        centroids: the books.
        inverted_index: from codes to items, which pruning needs; 0 before it was first used.
        dense: what a float32 table of the items' vectors takes.
    """

    codes: int
    tie_order: int
    centroids: int
    inverted_index: int
    dense: int

    @property
    def total(self) -> int:
        return self.codes + self.tie_order + self.centroids + self.inverted_index

    @property
    def share_of_dense(self) -> float:
        return self.total / self.dense


class CodeCatalogue:
    """Scores and ranks a catalogue by sums of one partial score from each book.

    Scores are float32 and do not depend on the method, on the other rows of a call or on k: from left to right, the
    partial scores of two books are added where the product of their sizes is at most 65,536 (a book without such a
    partner stands alone), and then the sums from left to right. Both methods give exactly the items and scores of a
    full sort of these scores.

    Args:
        codes: uint8 or uint16 ``[items, books]``.
        book_sizes: codes of each book, at most 65,536.
        order: equal scores are ranked by their place in this permutation of the items, int64 ``[items]``; by
            default that of ``ml.retrieval.top_k.tie_break_order``.

    Raises:
        ValueError: shapes or types do not fit, or a code is not below the size of its book.
    """

    def __init__(self, codes: np.ndarray, book_sizes: Sequence[int], order: np.ndarray | None = None) -> None:
        if codes.ndim != 2 or codes.dtype not in (np.uint8, np.uint16) or codes.shape[1] < 1:
            raise ValueError(f"codes are uint8 or uint16 [items, books], not {codes.dtype} {list(codes.shape)}")
        items, books = codes.shape
        if len(book_sizes) != books or not all(1 <= size <= _MOST_SUMS for size in book_sizes):
            raise ValueError(f"{books} books have as many sizes, from 1 to {_MOST_SUMS:,}, not {list(book_sizes)}")
        if items and (codes.max(axis=0) >= np.array(book_sizes)).any():
            raise ValueError(f"there are codes that are not below the sizes of their books, {list(book_sizes)}")
        order = tie_break_order(items) if order is None else np.asarray(order)
        if items == 0 or order.shape != (items,):
            raise ValueError(
                f"the codes are of {items} items, the tie order of {len(order)}; there must be one at least"
            )
        if not np.array_equal(np.sort(order), np.arange(items)):
            raise ValueError("the tie order is no permutation of the items: see ml.retrieval.top_k.tie_break_order")
        self.items = items
        self.books = books
        self.book_sizes = tuple(book_sizes)
        # Items lie in the order of ties, so that of two equal scores the first one wins.
        self._order = order.astype(np.int32)
        self._place = np.empty(items, dtype=np.int32)
        self._place[self._order] = np.arange(items, dtype=np.int32)
        joined = _joined(self.book_sizes)
        self._columns = np.empty((len(joined), items), dtype=np.uint16)
        for column, together in zip(self._columns, joined, strict=True):
            number = np.zeros(items, dtype=np.int64)
            for book in together:
                number = number * self.book_sizes[book] + codes[self._order, book]
            column[:] = number

    def scores_by_partial_scores(self, partial: Sequence[np.ndarray]) -> np.ndarray:
        """Scores of all items, float32 ``[rows, items]``.

        Args:
            partial: scores of the codes of each book, float32 ``[rows, codes of the book]``.
        """
        self._check(partial)
        out = np.empty((len(partial[0]), self.items), dtype=np.float32)
        for row in range(len(out)):
            out[row, self._order] = _add_up(_sums([of_book[row] for of_book in partial]), self._columns)
        return out

    def top_k_by_partial_scores(
        self, partial: Sequence[np.ndarray], k: int, method: Method = "pqtopk", excluded: Sequences | None = None
    ) -> Recommendations:
        """The k best items of each row, exactly; lists that run out of items end in ``NO_ITEM``.

        Args:
            partial: scores of the codes of each book, float32 ``[rows, codes of the book]``.
            k: length of the lists, at least 1.
            method: ``pqtopk`` scores every item; ``pruned`` visits items by their best partial scores until no
                other can be among the k best, which is the faster the more the scores of a state differ, and scores
                every item where that would save nothing.
            excluded: items that a row must not get, one row each.

        Raises:
            ValueError: shapes do not fit, k is below 1, the method is unknown, or a score is not finite.
        """
        self._check(partial)
        rows = len(partial[0])
        if k < 1:
            raise ValueError(f"k must be at least 1, not {k}")
        if method not in ("pqtopk", "pruned"):
            raise ValueError(f'the method is "pqtopk" or "pruned", not {method!r}')
        if excluded is not None and len(excluded) != rows:
            raise ValueError(f"{rows} states but {len(excluded)} rows of excluded items")
        if excluded is not None and len(excluded.items):
            lowest, highest = excluded.items.min(), excluded.items.max()
            if lowest < 0 or highest >= self.items:
                raise ValueError(f"excluded items must be of this catalogue, 0 to {self.items - 1}")
        top_items = np.full((rows, k), NO_ITEM, dtype=np.int32)
        top_scores = np.full((rows, k), -np.inf, dtype=np.float32)
        for row in range(rows):
            sums = _sums([of_book[row] for of_book in partial])
            barred = _NOTHING if excluded is None else np.unique(self._place[excluded[row]]).astype(np.int64)
            visited = could_be_best(sums, self._columns, self._index, k, barred) if method == "pruned" else None
            if visited is None:
                scores, places = _best_of_all(sums, self._columns, k, barred)
            else:
                scores, places = _best(_add_up(sums, self._columns, visited), visited, k)
            ranked = np.argsort(-scores, kind="stable")
            top_items[row, : len(ranked)] = self._order[places[ranked]]
            top_scores[row, : len(ranked)] = scores[ranked] + np.float32(0)  # -0.0 becomes 0.0
        return Recommendations(top_items, top_scores)

    def _check(self, partial: Sequence[np.ndarray]) -> None:
        """Refuse partial scores of other books."""
        shapes = [list(of_book.shape) for of_book in partial]
        rows = shapes[0][0] if shapes and shapes[0] else 0
        if shapes != [[rows, size] for size in self.book_sizes]:
            raise ValueError(
                f"partial scores are [rows, codes] of books of {list(self.book_sizes)}, not of shapes {shapes}"
            )

    @cached_property
    def _index(self) -> InvertedIndex:
        return InvertedIndex(self._columns)


class QuantisedCatalogue(CodeCatalogue):
    """Scores and ranks a catalogue of joint product quantised items: partial scores are products of a state's parts
    with the vectors of the books.

    Scores differ from those of a dense product by rounding alone.

    Args:
        codes: uint8 ``[items, books]``.
        centroids: vectors of the books, ``[books, 256, dimensions / books]``, used as float32.
        order: see :class:`CodeCatalogue`.

    Raises:
        ValueError: shapes or types do not fit.
    """

    def __init__(self, codes: np.ndarray, centroids: np.ndarray, order: np.ndarray | None = None) -> None:
        if codes.ndim != 2 or codes.dtype != np.uint8 or codes.shape[1] < 1:
            raise ValueError(f"codes are uint8 [items, books], not {codes.dtype} of shape {list(codes.shape)}")
        books = codes.shape[1]
        if centroids.ndim != 3 or centroids.shape[:2] != (books, 256):
            raise ValueError(f"centroids are [{books}, 256, width] for {books} books, not {list(centroids.shape)}")
        super().__init__(codes, [256] * books, order)
        self.centroids = np.ascontiguousarray(centroids, dtype=np.float32)

    @classmethod
    def from_embedding(
        cls, embedding: JointProductQuantisedItemEmbedding, order: np.ndarray | None = None
    ) -> QuantisedCatalogue:
        """The catalogue of a trained embedding, with the weights it has now."""
        centroids = embedding.centroids.detach().float().cpu().numpy()
        return cls(embedding.codes.cpu().numpy(), centroids, order)

    @property
    def dimensions(self) -> int:
        return self.books * self.centroids.shape[2]

    @property
    def memory(self) -> CatalogueMemory:
        """Size in bytes, and that of a dense table."""
        index = self.__dict__.get("_index")
        return CatalogueMemory(
            codes=self._columns.nbytes,
            tie_order=self._order.nbytes + self._place.nbytes,
            centroids=self.centroids.nbytes,
            inverted_index=0 if index is None else index.nbytes,
            dense=4 * self.items * self.dimensions,
        )

    def scores(self, states: np.ndarray) -> np.ndarray:
        """Scores of all items, float32 ``[rows, items]``, for states ``[rows, dimensions]``."""
        return self.scores_by_partial_scores(self._partial_scores(states))

    def top_k(
        self, states: np.ndarray, k: int, method: Method = "pqtopk", excluded: Sequences | None = None
    ) -> Recommendations:
        """:meth:`top_k_by_partial_scores` of hidden states, ``[rows, dimensions]``, used as float32.

        Raises:
            ValueError: see there.
        """
        return self.top_k_by_partial_scores(self._partial_scores(states), k, method, excluded)

    def _partial_scores(self, states: np.ndarray) -> list[np.ndarray]:
        """Scores of the centroids of each book, float32 ``[rows, 256]``, for states ``[rows, dimensions]``."""
        if states.ndim != 2 or states.shape[1] != self.dimensions:
            raise ValueError(f"states are [rows, {self.dimensions}] for this catalogue, not {list(states.shape)}")
        partial = np.empty((len(states), self.books, 256), dtype=np.float32)
        for row, state in enumerate(np.asarray(states, dtype=np.float32)):
            # einsum adds in a fixed order, whatever the number of threads
            np.einsum("bw,bcw->bc", state.reshape(self.books, -1), self.centroids, out=partial[row])
        return list(partial.transpose(1, 0, 2))


def _joined(book_sizes: Sequence[int]) -> list[tuple[int, ...]]:
    """Which books make a column of codes: one, or two whose codes are one number below 65,536."""
    joined, book = [], 0
    while book < len(book_sizes):
        pair = book_sizes[book : book + 2]
        together = 2 if len(pair) == 2 and pair[0] * pair[1] <= _MOST_SUMS else 1
        joined.append(tuple(range(book, book + together)))
        book += together
    return joined


def _sums(partial: Sequence[np.ndarray]) -> list[np.ndarray]:
    """What each column of codes looks up: sums of the partial scores of two books, or the partial scores of one.

    Args:
        partial: scores of the codes of each book, ``[codes of the book]``.
    """
    if not np.isfinite(np.array([np.abs(of_book).max() for of_book in partial]).sum()):
        raise ValueError("a score is not finite: the state or the weights have diverged")
    return [
        (partial[books[0]][:, None] + partial[books[1]]).ravel() if len(books) == 2 else partial[books[0]]
        for books in _joined([len(of_book) for of_book in partial])
    ]


def _add_up(sums: list[np.ndarray], columns: np.ndarray, places: np.ndarray | slice = slice(None)) -> np.ndarray:
    """Scores at the given places, float32."""
    scores = sums[0].take(columns[0][places], mode="clip")
    for looked_up, column in zip(sums[1:], columns[1:], strict=True):
        scores += looked_up.take(column[places], mode="clip")
    return scores


def _best_of_all(
    sums: list[np.ndarray], columns: np.ndarray, k: int, barred: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Scores and places of the k best that are not barred, in the order of places.

    Chunk by chunk; of a chunk only what is above the k-th best so far is looked at again. An equal score further on
    loses the tie.
    """
    items = columns.shape[1]
    size = min(_ITEMS_AT_ONCE, items)
    buffer, looked_up = np.empty(size, dtype=np.float32), np.empty(size, dtype=np.float32)
    best_scores, best_places = np.empty(0, dtype=np.float32), _NOTHING
    threshold = np.float32(-np.inf)
    for start in range(0, items, size):
        end = min(start + size, items)
        scores, other = buffer[: end - start], looked_up[: end - start]
        np.take(sums[0], columns[0, start:end], out=scores, mode="clip")
        for column in range(1, len(sums)):
            np.take(sums[column], columns[column, start:end], out=other, mode="clip")
            scores += other
        if len(barred):
            first, last = np.searchsorted(barred, (start, end))
            scores[barred[first:last] - start] = -np.inf
        found = np.flatnonzero(scores > threshold)
        if len(found):
            best_scores, best_places = _best(
                np.concatenate([best_scores, scores[found]]), np.concatenate([best_places, found + start]), k
            )
            if len(best_scores) == k:
                threshold = best_scores.min()
    return best_scores, best_places


def _best(scores: np.ndarray, places: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The k best of the given, of equal scores the first; in the order given."""
    if len(scores) <= k:
        return scores, places
    kth = np.partition(scores, len(scores) - k)[len(scores) - k]
    kept = scores > kth
    kept[np.flatnonzero(scores == kth)[: k - int(kept.sum())]] = True
    return scores[kept], places[kept]
