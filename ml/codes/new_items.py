"""Codes for new items that leave the codes of all other items as they are.

A model that generates codes has learned what the codes of its items mean. A new item gets the codes of the centroids
nearest to its vector, and so can be generated at once; reassigning all codes would make the model worthless.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ml.codes.codes import LARGEST_BOOK, Codes, code_type, described_books
from ml.codes.equal_rows import equal_rows
from ml.codes.quality import quality_report
from ml.codes.residuals import RESIDUAL
from ml.data.training_set import TrainingSet


def with_new_items(codes: Codes, vectors: np.ndarray) -> Codes:
    """The codes of the old items, followed by those of new ones.

    Each book gives a new item the code whose centroid is nearest to the residual. Where the codes are unique, the last
    code is one that no item has under the same prefix, with the smallest possible sum of squared distances over the
    new items of the prefix. Where all are taken, the new item has the nearest last code and the next number in the
    further book; if there was no such book, there is one now, in which all other items have 0.

    Args:
        codes: with the centroids of a residual quantiser, as of :mod:`ml.codes.residual_kmeans`.
        vectors: of the new items, made in the same way and in the same space as those that were quantised,
            ``[new items, dimensions]``.

    Returns:
        Codes ``[old items + new items, books]``. The report holds only the number of new items.

    Raises:
        ValueError: the codes have no such centroids, the vectors have other dimensions, or more items share their
            codes than a book can number.
    """
    if not codes.centroids or codes.method.get("centroids") != RESIDUAL:
        raise ValueError(
            f"codes by {codes.method.get('name', 'this method')} have no centroids to place new items by; assign the "
            "codes of the whole catalogue again, or use a recipe with residual_kmeans"
        )
    dimensions = codes.centroids[0].shape[1]
    if vectors.ndim != 2 or vectors.shape[1] != dimensions:
        raise ValueError(
            f"the vectors of new items must be [new items, {dimensions}], as the centroids, not {list(vectors.shape)}"
        )
    books = [_Book(centroids.astype(np.float64), np.arange(len(centroids))) for centroids in codes.centroids]
    values, sizes = _extended(codes, books, vectors)
    return replace(
        codes,
        values=values,
        method=_described(codes, sizes),
        report={"items_new": len(vectors)},
        last_distances=None,
        values_before=None,
    )


def carry_over(codes: Codes, item_ids: np.ndarray, training_set: TrainingSet, vectors: np.ndarray) -> Codes:
    """Codes for a catalogue with new and lost items, from those of an earlier one.

    An item of both catalogues keeps its codes. New items are placed as by :func:`with_new_items`, but the centroids are
    the means of the items that both have, since vectors made from another dump lie in another space. The codes of a
    lost item are not given to a new one, about which a model trained on them has learned nothing.

    Args:
        codes: of the earlier catalogue, by a residual quantiser.
        item_ids: identities of its items, in the order of ``codes.values``.
        training_set: of the new catalogue; its histories are read for the report.
        vectors: of all items of the new catalogue, ``[items, dimensions]``.

    Returns:
        Codes in the order of the new catalogue, without centroids. The report counts the items that were kept, are new
        and were lost.

    Raises:
        ValueError: the codes are not of a residual quantiser or not of ``item_ids``, the vectors are not of the new
            catalogue, the catalogues have no item in common, or more items share their codes than a book can number.
    """
    if len(item_ids) != codes.items:
        raise ValueError(f"codes of {codes.items} items cannot be those of {len(item_ids)} item ids")
    if len(vectors) != training_set.items:
        raise ValueError(f"{len(vectors)} vectors for the {training_set.items} items of {training_set.dataset}")
    if codes.method.get("centroids") != RESIDUAL:
        raise ValueError(
            f"codes by {codes.method.get('name', 'this method')} are not sums of centroids, so new items have no place "
            "among them; assign the codes of the whole catalogue again"
        )
    _, new_rows, old_rows = np.intersect1d(training_set.item_ids, item_ids, assume_unique=True, return_indices=True)
    if not len(old_rows):
        raise ValueError(
            f"the codes are of another catalogue: none of their {len(item_ids)} items is in {training_set.dataset}; "
            "assign its codes anew"
        )
    quantised = codes.books - bool(codes.method.get("numbering_book"))
    books = _estimated(codes.values[old_rows, :quantised], codes.book_sizes, vectors[new_rows])
    fresh = np.setdiff1d(np.arange(training_set.items), new_rows)
    extended, sizes = _extended(codes, books, vectors[fresh])
    values = np.empty((training_set.items, len(sizes)), dtype=extended.dtype)
    values[new_rows], values[fresh] = extended[old_rows], extended[codes.items :]
    report: dict[str, Any] = {
        **quality_report(values, training_set.train, sizes),
        "items_kept": len(old_rows),
        "items_new": len(fresh),
        "items_lost": codes.items - len(old_rows),
    }
    return Codes(values, _described(codes, sizes), report)


@dataclass(frozen=True)
class _Book:
    """Centroids ``[codes, dimensions]`` and the code of each, ascending."""

    centroids: np.ndarray
    codes: np.ndarray

    def distances(self, residuals: np.ndarray) -> np.ndarray:
        from scipy.spatial.distance import cdist

        return cdist(residuals, self.centroids, "sqeuclidean")


def _estimated(values: np.ndarray, book_sizes: Sequence[int], vectors: np.ndarray) -> list[_Book]:
    """Centroids of the codes in use: the means of what the books before leave of the vectors."""
    residuals, books = np.asarray(vectors, dtype=np.float64), []
    for book in range(values.shape[1]):
        counts = np.bincount(values[:, book], minlength=book_sizes[book])
        used = np.flatnonzero(counts)
        sums = np.zeros((len(counts), residuals.shape[1]))
        np.add.at(sums, values[:, book], residuals)
        means = sums[used] / counts[used, None]
        books.append(_Book(means, used))
        residuals = residuals - means[np.searchsorted(used, values[:, book])]
    return books


def _extended(codes: Codes, books: list[_Book], vectors: np.ndarray) -> tuple[np.ndarray, tuple[int, ...]]:
    """Old values followed by new ones, and the sizes of the books."""
    residuals = np.asarray(vectors, dtype=np.float64)
    new = np.empty((len(vectors), len(books)), dtype=np.int64)
    for level, book in enumerate(books):
        distances = book.distances(residuals)
        nearest = distances.argmin(axis=1)
        new[:, level] = book.codes[nearest]
        residuals = residuals - book.centroids[nearest]
    sizes = codes.book_sizes
    if codes.method.get("collisions") != "resolved":
        return np.concatenate([codes.values, new]).astype(codes.values.dtype), sizes
    old = codes.values[:, : len(books)].astype(np.int64)
    _take_free_codes(new, old, books[-1].codes, distances)
    numbering = bool(codes.method.get("numbering_book"))
    numbers = _next_numbers(new, old, codes.values[:, -1] if numbering else np.zeros(len(old), dtype=np.int64))
    values = np.concatenate([old, new])
    if numbering or numbers.any():
        old_numbers = codes.values[:, -1].astype(np.int64) if numbering else np.zeros(len(old), dtype=np.int64)
        values = np.column_stack([values, np.concatenate([old_numbers, numbers])])
        largest = max(int(values[:, -1].max(initial=0)) + 1, sizes[-1] if numbering else 1)
        if largest > LARGEST_BOOK:
            raise ValueError(
                f"{largest:,} items would share all of their codes, and a further book can number at most "
                f"{LARGEST_BOOK:,}; assign the codes of the whole catalogue again"
            )
        sizes = (*sizes[: len(books)], largest)
    return values.astype(code_type(sizes)), sizes


def _take_free_codes(new: np.ndarray, old: np.ndarray, codes: np.ndarray, distances: np.ndarray) -> None:
    """Give the new items of each prefix last codes that no item has under it, in place, as far as there are any."""
    from scipy.optimize import linear_sum_assignment

    prefix, _ = equal_rows(np.concatenate([old[:, :-1], new[:, :-1]]))
    old_prefix, new_prefix = prefix[: len(old)], prefix[len(old) :]
    taken: dict[int, set[int]] = {}
    for group, code in zip(old_prefix.tolist(), old[:, -1].tolist(), strict=True):
        taken.setdefault(group, set()).add(code)
    for group in np.unique(new_prefix):
        items = np.flatnonzero(new_prefix == group)
        free = np.flatnonzero(~np.isin(codes, list(taken.get(int(group), ()))))
        rows, columns = linear_sum_assignment(distances[np.ix_(items, free)])
        new[items[rows], -1] = codes[free[columns]]


def _next_numbers(new: np.ndarray, old: np.ndarray, old_numbers: np.ndarray) -> np.ndarray:
    """The number of each new item among those with equal codes: above those of old ones, in the order of the items."""
    following: dict[tuple[int, ...], int] = {}
    for row, number in zip(old.tolist(), old_numbers.tolist(), strict=True):
        following[tuple(row)] = max(following.get(tuple(row), 0), number + 1)
    numbers = np.zeros(len(new), dtype=np.int64)
    for item, row in enumerate(new.tolist()):
        numbers[item] = following.get(tuple(row), 0)
        following[tuple(row)] = int(numbers[item]) + 1
    return numbers


def _described(codes: Codes, sizes: tuple[int, ...]) -> dict[str, Any]:
    method = {key: value for key, value in codes.method.items() if key not in ("books", "book_sizes")}
    if len(sizes) > codes.books:
        method["numbering_book"] = True
    return method | described_books(sizes)
