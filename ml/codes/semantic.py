"""P5's semantic indexing: the categories of an item, from the widest to the narrowest, and a number within them.

Hua, Xu, Ge and Zhang, "How to Index Item IDs for Recommendation Foundation Models", SIGIR-AP 2023. What differs: the
number of an item among those of its categories is written in digits, where the paper has a token of its own for each
item.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ml.codes.codes import LARGEST_BOOK, Codes, check_assignable, code_type, described_books
from ml.codes.digits import check_base, in_digits, order_of_appearance
from ml.codes.equal_rows import equal_rows, numbers_within
from ml.codes.quality import quality_report
from ml.data.training_set import TrainingSet
from ml.registry import Registered

REGISTERED = Registered(
    name="semantic",
    title="Semantic",
    description="The categories of an item, from the widest to the narrowest, and a number within them.",
    source="Hua et al., How to Index Item IDs for Recommendation Foundation Models, SIGIR-AP 2023",
    path="ml.codes.semantic:SemanticSettings",
    needs=("text",),
    rank=110,
)
# between the names of a path of categories: "Beauty > Hair Care", "Action|Comedy"
_BETWEEN_NAMES = re.compile(r"[>|]")


@dataclass(frozen=True)
class SemanticSettings:
    """Semantic indexing.

    Attributes:
        base: of the digits of the number within the categories.
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
        """Unique codes from the item text and the training histories; nothing is random.

        One book for each step of the longest path of categories, and the digits of a number. Code 0 of a category book
        says that there is no (further) category; categories are numbered from 1 in alphabetical order, below the same
        wider category. Items of the same categories are numbered in the order of their first appearance in the
        training histories, then those of no history by their index.

        Raises:
            ValueError: the training set was loaded without its item text, no text says a category, a book would be too
                large, or the training histories are empty.
        """
        from ml.data.item_text import item_categories

        check_assignable(training_set)
        if training_set.item_text is None:
            raise ValueError(f"{training_set.dataset} was loaded without its item text, and semantic codes need it")
        paths = category_paths(item_categories(training_set.item_text))
        if not any(paths):
            raise ValueError(
                f"semantic codes need categories, and no item text of {training_set.dataset} says one: choose other "
                "codes, or give the items a category in the metadata (an item text by a template says none)"
            )
        categories = _category_codes(paths)
        order = order_of_appearance(training_set.train, training_set.items)
        digits, sizes = in_digits(numbers_within(*equal_rows(categories), order), self.base)
        sizes = (*(int(size) for size in categories.max(axis=0) + 1), *sizes)
        if max(sizes) > LARGEST_BOOK:
            raise ValueError(
                f"{training_set.dataset} has {max(sizes) - 1:,} categories: a book has {LARGEST_BOOK:,} codes"
            )
        values = np.concatenate([categories, digits], axis=1).astype(code_type(sizes))
        report = quality_report(values, training_set.train, sizes)
        report |= {"category_books": categories.shape[1], "items_without_category": sum(not path for path in paths)}
        return Codes(values, {"name": "semantic", **described_books(sizes), "base": self.base}, report)


def category_paths(categories: Sequence[str | None]) -> list[tuple[str, ...]]:
    """The names of each item's categories, the widest first; empty for items without.

    Names are parted by ``>`` or ``|``. White space around them does not count, and neither do empty names.
    """
    parts = (_BETWEEN_NAMES.split(category or "") for category in categories)
    return [tuple(name.strip() for name in names if name.strip()) for names in parts]


def _category_codes(paths: Sequence[tuple[str, ...]]) -> np.ndarray:
    """Codes of the names, int64 ``[items, longest path]``: from 1 below each wider category, 0 behind the last one."""
    longest = max(map(len, paths))
    codes = np.zeros((len(paths), longest), dtype=np.int64)
    for level in range(longest):
        children: dict[tuple[str, ...], set[str]] = {}
        for path in paths:
            if len(path) > level:
                children.setdefault(path[:level], set()).add(path[level])
        numbers = {
            (*parent, name): number
            for parent, names in children.items()
            for number, name in enumerate(sorted(names), start=1)
        }
        codes[:, level] = [numbers[path[: level + 1]] if len(path) > level else 0 for path in paths]
    return codes
