"""The category of each item as a number, for models that read it."""

from __future__ import annotations

import numpy as np

from ml.data.item_text import item_categories
from ml.data.training_set import TrainingSet

_LABEL_SEPARATOR = "|"


def category_numbers(training_set: TrainingSet) -> np.ndarray:
    """The category of each item as its text gives it, int64 ``[items]``: 0 where it is not known, from 1 on the labels
    in ascending order. Of several labels, as in ``Animation|Comedy``, the first is taken.

    Args:
        training_set: with its item text.

    Raises:
        ValueError: the training set has no item text, or no item has a category.
    """
    if training_set.item_text is None:
        raise ValueError(f"{training_set.dataset} was loaded without its item text: add it with TrainingSet.with_text")
    first = category_labels(training_set)
    number = {label: place for place, label in enumerate(sorted({*first} - {""}), start=1)}
    if not number:
        raise ValueError(f"this model reads the categories of the items, and no item of {training_set.dataset} has one")
    return np.array([number.get(label, 0) for label in first], dtype=np.int64)


def category_labels(training_set: TrainingSet) -> list[str]:
    """The first category of each item, empty where it is not known.

    Args:
        training_set: with its item text.
    """
    assert training_set.item_text is not None
    categories = item_categories(training_set.item_text)
    return [(category or "").split(_LABEL_SEPARATOR)[0].strip() for category in categories]
