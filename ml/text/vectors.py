"""The vectors of a catalogue's item text: computed once, kept with the texts, saved and loaded with their digest.

There are two kinds, by what is encoded: the whole text of an item, which recommenders and audits compare items by, and
its title, brand and category alone, which the diversity of lists is measured by.
"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np

from ml.data.files import whole
from ml.data.item_text import item_text_digest, text_fields
from ml.data.training_set import ItemTexts, TrainingSet
from ml.text.registry import DEFAULT_ENCODER, create_encoder
from ml.text.tf_idf_svd import TfIdfSvd
from ml.text.whitening import whitened_components

FORMAT = "raw2rank-text-vectors-1"
DESCRIPTION = "text_vectors.json"
NAMES = "names"
NAME_DIMENSIONS = 64
# of vectors that are to be whitened, at least
ITEMS_PER_DIMENSION = 10


def text_vectors(training_set: TrainingSet, encoder: str = DEFAULT_ENCODER) -> np.ndarray:
    """A vector for the text of each item, computed on the first call and kept with the texts.

    Args:
        training_set: with its item text.
        encoder: name of an encoder of :mod:`ml.text.registry`.

    Returns:
        float32 ``[items, dimensions]``, rows of length 1, zero rows for texts without a word.

    Raises:
        ValueError: the training set was loaded without its item text, or there is no such encoder.
        ModuleNotFoundError: the encoder needs an extra that is not installed.
    """
    texts = _texts_of(training_set)
    if encoder not in texts.vectors:
        texts.vectors[encoder] = create_encoder(encoder).encode(texts)
    return texts.vectors[encoder]


def vectors_for_models(training_set: TrainingSet, encoder: str = DEFAULT_ENCODER, whitened: bool = True) -> np.ndarray:
    """The vectors that a model reads of the items: :func:`text_vectors`, whitened or as they are.

    Whitened vectors have one dimension for every ten texts at most, the first ones: with as many dimensions as texts
    all whitened vectors are equally far from one another.

    Args:
        training_set: with its item text.
        encoder: name of an encoder of :mod:`ml.text.registry`.
        whitened: see :func:`ml.text.whitening.whitened_components`; the result is kept with the texts.

    Returns:
        float32 ``[items, dimensions]``; zero rows for items whose text says nothing (:func:`texts_known`).

    Raises:
        ValueError: the training set was loaded without its item text, or no text says anything.
        ModuleNotFoundError: the encoder needs an extra that is not installed.
    """
    kept, name = _texts_of(training_set).vectors, f"{encoder}, for models" + (", whitened" if whitened else "")
    if name in kept:
        return kept[name]
    vectors = text_vectors(training_set, encoder)
    known = texts_known(training_set) & vectors.any(axis=1)
    if not known.any():
        raise ValueError(
            f"this model reads the text of the items, and no item of {training_set.dataset} has a title, brand or "
            f"category with a word that the encoder {encoder} can read"
        )
    found = np.zeros_like(vectors)
    found[known] = vectors[known]
    if whitened:
        found = found[:, : max(2, int(known.sum()) // ITEMS_PER_DIMENSION)]
        found[known] = whitened_components(found[known])
    kept[name] = found
    return found


def usefulness_of_text(training_set: TrainingSet) -> str:
    """A sentence on how much the item text can tell a model of the items: how many have a text that says something, and
    how many have one that no other item has.

    Raises:
        ValueError: the training set was loaded without its item text.
    """
    texts = _texts_of(training_set)
    known = np.flatnonzero(texts_known(training_set))
    if not len(known):
        return "no item has a title, brand or category with a word: recipes that read text are refused"
    times = Counter(texts[item] for item in known)
    if len(times) == 1 and len(known) == len(texts) > 1:
        return "all items have the same text: text tells a model nothing"
    alone = sum(count == 1 for count in times.values())
    return (
        f"{len(known):,} of {len(texts):,} items have a text that says something, and {alone:,} one that no other item "
        "has; items without a text, and items of equal text, look the same to a model that reads text alone"
    )


def texts_known(training_set: TrainingSet) -> np.ndarray:
    """Which items have a text that says something of them, bool ``[items]``.

    The labels of fields and "Unknown" say nothing: a catalogue without metadata has texts of these alone. No item has a
    text where the training set was loaded without.
    """
    if training_set.item_text is None:
        return np.zeros(training_set.items, dtype=bool)
    return np.any(name_vectors(training_set), axis=1)


def name_vectors(training_set: TrainingSet) -> np.ndarray:
    """Vectors of the items' names: TF-IDF of title, brand and category, reduced to 64 dimensions by SVD.

    The labels of the fields, fields that are unknown, and the price say nothing about an item and are left out:
    with them all items would be alike. Computed on the first call and kept with the texts.

    Returns:
        float32 ``[items, at most 64]``, rows of length 1, zero rows for items without a word.

    Raises:
        ValueError: the training set was loaded without its item text.
    """
    texts = _texts_of(training_set)
    if NAMES not in texts.vectors:
        named = [" ".join(field for field in text_fields(text) if field) for text in texts]
        texts.vectors[NAMES] = TfIdfSvd(NAME_DIMENSIONS).encode(named)
    return texts.vectors[NAMES]


def save_text_vectors(folder: Path, training_set: TrainingSet, encoder: str = DEFAULT_ENCODER) -> dict[str, np.ndarray]:
    """Write the vectors of both kinds into an existing folder: one ``.npy`` file each, and ``text_vectors.json``.

    Returns:
        The vectors, by the name of what made them.

    Raises:
        ValueError: the training set was loaded without its item text.
    """
    vectors = {encoder: text_vectors(training_set, encoder), NAMES: name_vectors(training_set)}
    for name, array in vectors.items():
        np.save(folder / f"{name}.npy", array, allow_pickle=False)
    description = {
        "format": FORMAT,
        "item_text": item_text_digest(training_set.item_ids, _texts_of(training_set)),
        "vectors": {name: list(array.shape) for name, array in vectors.items()},
    }
    (folder / DESCRIPTION).write_text(json.dumps(description, indent=2) + "\n", encoding="utf-8")
    return vectors


def load_text_vectors(folder: Path, training_set: TrainingSet) -> TrainingSet:
    """The same training set, its texts with the vectors that :func:`save_text_vectors` wrote, memory-mapped.

    Raises:
        DamagedFile: not all of it is there, or it was made from other texts.
        ValueError: the training set was loaded without its item text.
    """
    texts = _texts_of(training_set)
    with whole(folder):
        description = json.loads((folder / DESCRIPTION).read_text(encoding="utf-8"))
        if description["format"] != FORMAT:
            raise ValueError(f"it holds {description['format']}, this version reads {FORMAT}")
        if description["item_text"] != item_text_digest(training_set.item_ids, texts):
            raise ValueError("it was made from other item texts")
        vectors = {}
        for name, shape in description["vectors"].items():
            array = np.load(folder / f"{name}.npy", mmap_mode="r" if shape[1] else None, allow_pickle=False)
            if list(array.shape) != shape:
                raise ValueError(f"{name}.npy has the shape {list(array.shape)}, {DESCRIPTION} says {shape}")
            vectors[name] = array
    texts.vectors.update(vectors)
    return training_set


def _texts_of(training_set: TrainingSet) -> ItemTexts:
    if training_set.item_text is None:
        raise ValueError(f"{training_set.dataset} was loaded without its item text: add it with TrainingSet.with_text")
    # TrainingSet holds its texts in no other form
    assert isinstance(training_set.item_text, ItemTexts)
    return training_set.item_text
