"""P5's sequential indexing: items are numbered in the order in which the training histories first show them.

Hua, Xu, Ge and Zhang, "How to Index Item IDs for Recommendation Foundation Models", SIGIR-AP 2023. Users are taken in
the order of the training set, so items that a user has one after the other, and that no earlier user has, get
neighbouring numbers. What differs: the published code numbers the items of held-out interactions too, and so tells
which items go together in the test (github.com/Wenyueh/LLM-RecSys-ID, issue 3); numbers are written in digits of one
base, where the published ones are cut into pieces by the tokenizer of T5.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ml.codes.codes import Codes, check_assignable, code_type, described_books
from ml.codes.digits import check_base, in_digits, order_of_appearance
from ml.codes.quality import quality_report
from ml.data.training_set import TrainingSet
from ml.registry import Registered

REGISTERED = Registered(
    name="sequential",
    title="Sequential",
    description="Numbers in the order of first appearance in the training histories, written as digits.",
    source="Hua et al., How to Index Item IDs for Recommendation Foundation Models, SIGIR-AP 2023",
    path="ml.codes.sequential:SequentialSettings",
    rank=90,
)


@dataclass(frozen=True)
class SequentialSettings:
    """Sequential indexing.

    Attributes:
        base: of the digits. All items have as many digits as the catalogue needs.
    """

    base: int = 256

    def __post_init__(self) -> None:
        check_base(self.base)

    def assign(
        self,
        training_set: TrainingSet,
        book_sizes: tuple[int, ...] = (),
        seed: int = 0,
        vectors: np.ndarray | None = None,
    ) -> Codes:
        """Unique codes from the training histories alone; nothing is random.

        Items that are in no training history come after all others, in the order of their index.

        Raises:
            ValueError: the training histories are empty.
        """
        check_assignable(training_set)
        digits, sizes = in_digits(order_of_appearance(training_set.train, training_set.items), self.base)
        values = digits.astype(code_type(sizes))
        method = {"name": "sequential", **described_books(sizes), "base": self.base}
        return Codes(values, method, quality_report(values, training_set.train, sizes))
