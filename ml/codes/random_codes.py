"""RecJPQ's random assignment: codes that know nothing of the interactions, to compare the others with.

Petrov and Macdonald, "RecJPQ: Training Large-Catalogue Sequential Recommenders", WSDM 2024, section 4.
"""

from __future__ import annotations

import numpy as np

from ml.codes.codes import CODES_PER_BOOK, Codes, check_assignable, quality_report
from ml.data.training_set import TrainingSet


def assign_random_codes(training_set: TrainingSet, books: int = 8, seed: int = 0) -> Codes:
    """Codes in random order, those of a book equally full, books independent of one another.

    The authors draw each code independently; balanced codes have the size of bins that the other assignments
    have, so a comparison with them is one of what the codes know alone. Of the training set the number of items
    decides, and nothing else. A catalogue of fewer than 256 items uses as many codes a book as it has items.

    Args:
        training_set: whose items get codes; its histories are read for the report.
        books: code books, ``m`` of the paper.
        seed: of the order.

    Raises:
        ValueError: books is below 1, or the training histories are empty.
    """
    check_assignable(training_set, books)
    items = training_set.items
    random = np.random.default_rng(seed)
    values = np.empty((items, books), dtype=np.uint8)
    for book in range(books):
        values[:, book] = random.permutation(items) * min(CODES_PER_BOOK, items) // items
    report = quality_report(values, training_set.train)
    return Codes(values, {"name": "random", "books": books, "seed": seed}, report)
