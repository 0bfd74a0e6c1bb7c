"""RecJPQ's assignment by truncated SVD: items that the same users have get like codes.

Petrov and Macdonald, "RecJPQ: Training Large-Catalogue Sequential Recommenders", WSDM 2024, section 4.1. The
user-item matrix of interaction counts is factorised with as many factors as there are code books; each factor
orders the items, and equally full bins of that order (256 as published) are the codes of its book.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ml.codes.codes import Codes, check_assignable, described_books, sizes_of
from ml.codes.factors import item_factors
from ml.codes.quality import quality_report
from ml.codes.quantiles import quantise_factors
from ml.data.training_set import TrainingSet
from ml.registry import Registered

REGISTERED = Registered(
    name="svd",
    title="Truncated SVD",
    description="Equally full bins of the factors of a truncated SVD of the training interactions.",
    source="Petrov and Macdonald, RecJPQ: Training Large-Catalogue Sequential Recommenders, WSDM 2024, section 4.1",
    path="ml.codes.svd:SVDSettings",
    needs=("book_sizes",),
    rank=10,
)


@dataclass(frozen=True)
class SVDSettings:
    """Truncated SVD; nothing to set."""

    def assign(
        self, training_set: TrainingSet, book_sizes: tuple[int, ...], seed: int, vectors: np.ndarray | None = None
    ) -> Codes:
        """See :func:`assign_svd_codes`."""
        return assign_svd_codes(training_set, book_sizes, seed)


def assign_svd_codes(training_set: TrainingSet, books: int | Sequence[int] = 8, seed: int = 0) -> Codes:
    """Codes from the training histories alone: held-out targets are not read.

    Bins are those of :func:`ml.codes.quantiles.quantise_factors`. An item in no training history has factors of
    zero and nothing but the noise of the bins. A matrix with fewer users or items than there are books has fewer
    factors: the books beyond them hold noise alone, so their codes are random, and the report says how many
    there are.

    Args:
        training_set: whose histories are factorised.
        books: code books of 256, ``m`` of the paper, or the number of codes of each.
        seed: of the SVD's random start and of the noise.

    Raises:
        ValueError: there is no book, or the training histories are empty.
    """
    book_sizes = sizes_of(books)
    check_assignable(training_set, book_sizes)
    factors = item_factors(training_set.train, training_set.items, len(book_sizes), seed)
    found = len(factors)
    padded = np.concatenate([factors, np.zeros((len(book_sizes) - found, training_set.items))])
    values = quantise_factors(padded, seed, book_sizes)
    report = quality_report(values, training_set.train, book_sizes)
    report |= {"factors": found, "random_books": len(book_sizes) - found}
    return Codes(values, {"name": "truncated SVD", **described_books(book_sizes), "seed": seed}, report)
