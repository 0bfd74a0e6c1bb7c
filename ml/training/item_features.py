"""What models read of items beside their ids: vectors of their text, their words, and their categories.

Computed from the item text of a training set before anything is trained, and saved beside the weights of a model, so
that its folder stands alone.
"""

from __future__ import annotations

import hashlib
import importlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ml.data.training_set import TrainingSet
from ml.models.settings import ModelSettings, reads_categories, reads_text, reads_words

FILE = "item_features.safetensors"
# what makes each feature. By name, so that a model that reads none does not depend on their code, and is not trained
# again where it changes
_MAKERS = {
    "text": "ml.text.vectors:vectors_for_models",
    "categories": "ml.data.categories:category_numbers",
    "words": "ml.text.words:item_words",
}


def item_features(settings: ModelSettings, training_set: TrainingSet) -> dict[str, np.ndarray]:
    """What a model reads of the items, by the argument of ``build_model`` that takes it; empty for most models.

    Args:
        settings: of the model.
        training_set: with its item text, where the model reads it.

    Raises:
        ValueError: the training set has no item text, or no item has a word or a category.
        ModuleNotFoundError: the text encoder needs an extra that is not installed.
    """
    read = _features_read(settings)
    if read and training_set.item_text is None:
        raise ValueError(
            f"this model reads the text of the items, and {training_set.dataset} was loaded without it: add it by "
            "TrainingSet.with_text, or by the option --item-text of python -m ml.training"
        )
    return {name: _maker(name)(training_set, **arguments) for name, arguments in read.items()}


def modules_of_features(settings: ModelSettings) -> list[str]:
    """Modules whose code decides what a model reads of the items; none for most models."""
    modules = [_MAKERS[name].partition(":")[0] for name in _features_read(settings)]
    if reads_text(settings):
        modules.append(importlib.import_module("ml.text.registry").ENCODERS[settings.text_encoder].module)
    return modules


def _features_read(settings: ModelSettings) -> dict[str, dict[str, Any]]:
    """The features that a model reads, with further arguments of what makes them."""
    read: dict[str, dict[str, Any]] = {}
    if reads_text(settings):
        read["text"] = {"encoder": settings.text_encoder, "whitened": settings.whitened_text}
    if reads_categories(settings):
        read["categories"] = {}
    if reads_words(settings):
        read["words"] = {"vocabulary": settings.vocabulary, "words_of_key": settings.words_of_key}
    return read


def _maker(name: str) -> Callable[..., np.ndarray]:
    module, _, function = _MAKERS[name].partition(":")
    return getattr(importlib.import_module(module), function)


def features_digest(features: Mapping[str, np.ndarray]) -> str:
    """SHA-256 over names, types, shapes and values."""
    digest = hashlib.sha256(b"raw2rank-item-features-1")
    for name, values in sorted(features.items()):
        digest.update(f"{name} {values.dtype.str} {values.shape}".encode())
        digest.update(np.ascontiguousarray(values).data)
    return digest.hexdigest()


def save_features(folder: Path, features: Mapping[str, np.ndarray]) -> None:
    """Write ``item_features.safetensors`` into an existing folder; no file where there are none."""
    from safetensors.numpy import save_file

    if features:
        save_file({name: np.ascontiguousarray(values) for name, values in features.items()}, folder / FILE)


def load_features(folder: Path, digest: str) -> dict[str, np.ndarray]:
    """Read what :func:`save_features` wrote.

    Raises:
        FileNotFoundError: there is none.
        ValueError: it is not what the digest is of.
    """
    from safetensors.numpy import load_file

    features = load_file(folder / FILE)
    if features_digest(features) != digest:
        raise ValueError(f"{FILE} does not hold the features that config.json describes")
    return features
