"""RecJPQ's random assignment: codes that know nothing of the interactions, to compare the others with.

Petrov and Macdonald, "RecJPQ: Training Large-Catalogue Sequential Recommenders", WSDM 2024, section 4.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ml.codes.codes import Codes, check_assignable, code_type, described_books, sizes_of
from ml.codes.quality import quality_report
from ml.data.training_set import TrainingSet
from ml.registry import Registered

REGISTERED = Registered(
    name="random",
    title="Random",
    description="Equally full codes in random order.",
    source="Petrov and Macdonald, RecJPQ: Training Large-Catalogue Sequential Recommenders, WSDM 2024, section 4",
    path="ml.codes.random_codes:RandomSettings",
    needs=("book_sizes",),
    rank=30,
)


@dataclass(frozen=True)
class RandomSettings:
    """Random codes; nothing to set."""

    def assign(
        self, training_set: TrainingSet, book_sizes: tuple[int, ...], seed: int, vectors: np.ndarray | None = None
    ) -> Codes:
        """See :func:`assign_random_codes`."""
        return assign_random_codes(training_set, book_sizes, seed)


def assign_random_codes(training_set: TrainingSet, books: int | Sequence[int] = 8, seed: int = 0) -> Codes:
    """Codes in random order, those of a book equally full, books independent of one another.

    The authors draw each code independently; balanced codes have the size of bins that the other assignments
    have, so a comparison with them is one of what the codes know alone. Of the training set the number of items
    decides, and nothing else. A catalogue of fewer items than a book has codes uses as many codes as it has items.

    Args:
        training_set: whose items get codes; its histories are read for the report.
        books: code books of 256, ``m`` of the paper, or the number of codes of each.
        seed: of the order.

    Raises:
        ValueError: there is no book, or the training histories are empty.
    """
    book_sizes = sizes_of(books)
    check_assignable(training_set, book_sizes)
    items = training_set.items
    random = np.random.default_rng(seed)
    values = np.empty((items, len(book_sizes)), dtype=code_type(book_sizes))
    for book, size in enumerate(book_sizes):
        values[:, book] = random.permutation(items) * min(size, items) // items
    report = quality_report(values, training_set.train, book_sizes)
    return Codes(values, {"name": "random", **described_books(book_sizes), "seed": seed}, report)
