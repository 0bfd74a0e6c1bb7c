"""Unique identifiers: collisions of codes are resolved in the last book, or in a further one.

Items with similar vectors are quantised to the same tuple of codes. A model that generates codes cannot distinguish
them, and metrics that compare tuples of codes count each of them as a hit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ml.codes.codes import LARGEST_BOOK, Codes, code_type, described_books
from ml.codes.equal_rows import collisions_of, equal_rows, numbers_within
from ml.codes.quality import quality_report
from ml.data.training_set import TrainingSet

Costs = Callable[[np.ndarray], np.ndarray]
"""From items (int64 ``[n]``) to the cost of giving them each code of the last book, float64 ``[n, codes]``."""

# of one assignment problem: 128 MiB of costs, which take seconds
_MOST_CELLS = 1 << 24


@dataclass(frozen=True)
class Resolved:
    """Codes without collisions.

    Attributes:
        values: ``[items, books]``, of which no two rows are equal; as many books as before, or one more.
        book_sizes: codes of each book.
        before: the collisions of the given codes, see :func:`collisions_of`.
        items_moved: how many items have another code in the last book than before.
        items_numbered: how many items differ from another one in the further book alone.
    """

    values: np.ndarray
    book_sizes: tuple[int, ...]
    before: dict[str, int]
    items_moved: int
    items_numbered: int


def resolve_collisions(
    values: np.ndarray, book_sizes: Sequence[int], popularity: np.ndarray, costs: Costs | None
) -> Resolved:
    """Give every item an identifier of its own, and leave all codes but the last as they are.

    Take the items that share all codes but the last, a prefix. If two of them also share the last code, all of them are
    given different last codes, such that the sum of the costs is as small as possible (an assignment problem; Kuhn,
    "The Hungarian Method for the Assignment Problem", Naval Research Logistics Quarterly 2, 1955).

    Where a prefix has more items than the last book has codes, or no costs are given, items with equal codes are
    numbered in a further book, as in TIGER (Rajput et al., "Recommender Systems with Generative Retrieval", NeurIPS
    2023), but by popularity: the item with the most training interactions gets 0. Items without a collision have 0
    in that book. It exists only where it is needed.

    Args:
        values: codes, whole numbers ``[items, books]``, with one book or more.
        book_sizes: codes of each book.
        popularity: training interactions of each item, ``[items]``; equal ones count in the order of the items.
        costs: of the codes of the last book, as many as it has or fewer; the others are not given out.

    Raises:
        ValueError: more items share all of their codes than a book may have codes.
    """
    resolved = np.array(values, dtype=np.int64)
    before = collisions_of(values)
    if costs is not None:
        for group in _crowded_prefixes(resolved):
            _assign(resolved, group, costs)
    moved = int((resolved[:, -1] != values[:, -1]).sum())
    group, copies = equal_rows(resolved)
    numbers = numbers_within(group, copies, -np.asarray(popularity))
    numbered = int(copies[copies > 1].sum())
    sizes = tuple(book_sizes)
    if numbered:
        further = int(numbers.max()) + 1
        if further > LARGEST_BOOK:
            raise ValueError(
                f"{further:,} items share all of their codes, and a further book can number at most {LARGEST_BOOK:,}; "
                "use vectors that differ between these items, or larger books"
            )
        resolved = np.column_stack([resolved, numbers])
        sizes = (*sizes, further)
    return Resolved(resolved.astype(code_type(sizes)), sizes, before, moved, numbered)


def with_unique_codes(codes: Codes, training_set: TrainingSet) -> Codes:
    """The same codes after :func:`resolve_collisions`, with its outcome in method and report.

    Args:
        codes: with ``last_distances``, or without.
        training_set: its training histories are read for the popularity of items and for the report.

    Raises:
        ValueError: see :func:`resolve_collisions`.
    """
    popularity = np.bincount(training_set.train.items, minlength=codes.items)
    found = resolve_collisions(codes.values, codes.book_sizes, popularity, codes.last_distances)
    method = {key: value for key, value in codes.method.items() if key not in ("books", "book_sizes")}
    method |= {
        **described_books(found.book_sizes),
        "collisions": "resolved",
        "numbering_book": len(found.book_sizes) > codes.books,
    }
    report: dict[str, Any] = {
        **codes.report,
        **quality_report(found.values, training_set.train, found.book_sizes),
        "before_collisions_were_resolved": found.before,
        "items_moved": found.items_moved,
        "items_numbered": found.items_numbered,
    }
    return replace(
        codes, values=found.values, method=method, report=report, last_distances=None, values_before=codes.values
    )


def _crowded_prefixes(values: np.ndarray) -> list[np.ndarray]:
    """The items of each prefix (all codes but the last) under which two items share their last code, ascending."""
    prefix, sizes = equal_rows(values[:, :-1])
    whole, copies = equal_rows(values)
    crowded = np.zeros(len(sizes), dtype=bool)
    crowded[prefix[copies[whole] > 1]] = True
    order = np.argsort(prefix, kind="stable")
    return [items for items, wanted in zip(np.split(order, np.cumsum(sizes)[:-1]), crowded, strict=True) if wanted]


def _assign(values: np.ndarray, items: np.ndarray, costs: Costs) -> None:
    """Give items of one prefix different last codes, in place; nothing where there are too few codes."""
    from scipy.optimize import linear_sum_assignment

    if len(items) ** 2 > _MOST_CELLS:
        return
    of_items = costs(items)
    if len(items) > of_items.shape[1] or of_items.size > _MOST_CELLS:
        return
    rows, chosen = linear_sum_assignment(of_items)
    values[items[rows], -1] = chosen
