"""From settings to a model."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import TYPE_CHECKING

from ml.models.catalogue import Catalogue
from ml.models.generating_model import GeneratingModel
from ml.models.sequential_model import SequentialModel
from ml.models.settings import AUTO, ModelSettings, needs_codes, reads_categories, reads_text, reads_times, reads_words

if TYPE_CHECKING:
    import numpy as np


def build_model(
    settings: ModelSettings,
    items: int,
    users: int,
    codes: np.ndarray | None,
    book_sizes: tuple[int, ...] | None = None,
    training_counts: np.ndarray | None = None,
    text: np.ndarray | None = None,
    categories: np.ndarray | None = None,
    words: np.ndarray | None = None,
) -> SequentialModel | GeneratingModel:
    """A model with fresh weights, drawn from torch's global generator.

    Args:
        settings: which model, and its sizes.
        items: size of the catalogue.
        users: of the training set, for models with a vector for each.
        codes: uint8 or uint16 ``[items, books]`` for models that need codes, else ``None``.
        book_sizes: codes of each book; by default those in use.
        training_counts: training interactions of each item, int64 ``[items]``; by default all items count as seen.
        text: vectors of the items' text, float32 ``[items, text dimensions]``, for models that read them, else
            ``None``.
        categories: category of each item, int64 ``[items]``, for models that read them, else ``None``.
        words: words of each item and their keys, int32 ``[items, words, 2]``, for models that read them, else ``None``.

    Raises:
        ValueError: codes, text, categories or words are missing, not wanted, or of another catalogue; or the maximum
            length is still open.
    """
    if getattr(settings, "max_length", None) == AUTO:
        raise ValueError(f'max_length is "{AUTO}": ml.training.derived.derive gives it a number for a dataset')
    if needs_codes(settings) and codes is None:
        raise ValueError("the settings of this model need codes, and none were given")
    if codes is not None and not needs_codes(settings):
        raise ValueError("codes were given to a model that has no use for them")
    if codes is not None and len(codes) != items:
        raise ValueError(f"the codes are of {len(codes)} items, the catalogue has {items}")
    _check_feature("text vectors", text, reads_text(settings), items)
    _check_feature("categories", categories, reads_categories(settings), items)
    _check_feature("words", words, reads_words(settings), items)
    catalogue = Catalogue(items, users, codes, book_sizes, training_counts, text, categories, words)
    model = _model_class(type(settings))(settings, catalogue)
    if isinstance(model, SequentialModel) and model.reads_times != reads_times(settings):
        raise ValueError("reads_times must be the same in the class of a model and in that of its settings")
    return model


def _check_feature(name: str, values: np.ndarray | None, read: bool, items: int) -> None:
    if read and values is None:
        raise ValueError(f"the settings of this model need {name} of the items, and none were given")
    if values is not None and not read:
        raise ValueError(f"{name} of the items were given to a model that does not read them")
    if values is not None and len(values) != items:
        raise ValueError(f"the {name} are of {len(values)} items, the catalogue has {items}")


def _model_class(settings: type) -> Callable[[ModelSettings, Catalogue], SequentialModel | GeneratingModel]:
    """The class that settings name, else ``Model`` of the file that they stand in."""
    module, _, name = getattr(settings, "model", f"{settings.__module__}:Model").partition(":")
    return getattr(importlib.import_module(module), name)
