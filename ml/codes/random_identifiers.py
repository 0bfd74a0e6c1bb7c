"""Random identifiers: unique tuples that know nothing of the items, to compare other identifiers with.

The random indexing of Hua, Xu, Ge and Zhang, "How to Index Item IDs for Recommendation Foundation Models", SIGIR-AP
2023, and "Random ID" of Rajput et al., "Recommender Systems with Generative Retrieval", NeurIPS 2023.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ml.codes.codes import Codes, check_assignable, code_type, described_books
from ml.codes.quality import quality_report
from ml.data.training_set import TrainingSet
from ml.registry import Registered

REGISTERED = Registered(
    name="random_identifiers",
    title="Random identifiers",
    description="Random tuples of codes, each of which one item has at most.",
    source="Hua et al., How to Index Item IDs for Recommendation Foundation Models, SIGIR-AP 2023",
    path="ml.codes.random_identifiers:RandomIdentifiersSettings",
    needs=("book_sizes",),
    rank=120,
)


@dataclass(frozen=True)
class RandomIdentifiersSettings:
    """Random identifiers; nothing to set."""

    def assign(
        self, training_set: TrainingSet, book_sizes: tuple[int, ...], seed: int, vectors: np.ndarray | None = None
    ) -> Codes:
        """Unique codes, all equally likely. Of the training set the number of items decides, and nothing else.

        Args:
            training_set: whose items get codes; its histories are read for the report.
            book_sizes: codes of each book.
            seed: of the draws.

        Raises:
            ValueError: there is no book, there are fewer tuples than items, or the training histories are empty.
        """
        check_assignable(training_set, book_sizes)
        values = unique_tuples(training_set.items, book_sizes, seed).astype(code_type(book_sizes))
        report = quality_report(values, training_set.train, book_sizes)
        return Codes(values, {"name": "random identifiers", **described_books(book_sizes), "seed": seed}, report)


def unique_tuples(count: int, sizes: tuple[int, ...], seed: int) -> np.ndarray:
    """Different random tuples, int64 ``[count, books]``.

    Raises:
        ValueError: there are not as many different tuples.
    """
    different = math.prod(sizes)
    if different < count:
        raise ValueError(
            f"book_sizes of {list(sizes)} have {different:,} different tuples, and there are {count:,} items: "
            "choose more or larger books"
        )
    random = np.random.default_rng(seed)
    if different <= 4 * count:
        # repeated draws would rarely hit what is left
        chosen = random.permutation(different)[:count]
        return np.stack(np.unravel_index(chosen, sizes), axis=1).astype(np.int64)
    tuples = random.integers(sizes, size=(count, len(sizes)))
    while True:
        # the first of equal tuples stays
        _, kept = np.unique(tuples, axis=0, return_index=True)
        repeated = np.setdiff1d(np.arange(count), kept)
        if len(repeated) == 0:
            return tuples
        tuples[repeated] = random.integers(sizes, size=(len(repeated), len(sizes)))
