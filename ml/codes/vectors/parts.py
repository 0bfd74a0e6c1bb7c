"""The parts of the vectors that are quantised, and how they are put together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from ml.codes.vectors.item_text import has_text, whitened_text
from ml.codes.vectors.unseen_items import fill_from_text_neighbours

if TYPE_CHECKING:
    from ml.data.training_set import TrainingSet

TEXT = "text"
DEFAULT_WINDOW = 3

Trained = Callable[[str], np.ndarray]
"""From the name of a recipe to the item vectors of the model trained by it, ``[items, dimensions]``."""


@dataclass(frozen=True)
class VectorPart:
    """One part of the vectors that are quantised.

    Attributes:
        of: what the part is made of:

            - ``text``: the vectors of :mod:`ml.text.vectors`,
            - ``interactions``: the factors of a truncated SVD of the training interactions,
            - ``ppmi``: an SVD of the positive pointwise mutual information of items that stand near one another in
              the training histories (:func:`ml.codes.vectors.co_occurrence.ppmi_vectors`),
            - ``graph``: spectral vectors of the graph of the same neighbours
              (:func:`ml.codes.vectors.co_occurrence.graph_vectors`),
            - ``recipe``: the item vectors of a trained model.
        dimensions: how many of them are taken, the ones that describe most.
        weight: length of each item's part; parts are scaled to it, so that weights say how much each part counts.
        whiten: of ``text``: whether its dimensions are made uncorrelated and of equal variance.
        optional: of ``text``: whether the part is left out where the items have no text; an error otherwise.
        window: of ``ppmi``: the largest distance of two items in a history that counts, 3 by default.
        recipe: of ``recipe``: its name.
    """

    of: Literal["text", "interactions", "ppmi", "graph", "recipe"]
    dimensions: int
    weight: float = 1.0
    whiten: bool = False
    optional: bool = False
    window: int | None = None
    recipe: str = ""

    def __post_init__(self) -> None:
        if self.dimensions < 1:
            raise ValueError(f"dimensions must be at least 1, not {self.dimensions}")
        if self.weight <= 0:
            raise ValueError(f"weight must be above 0, not {self.weight}")
        if self.window is not None and self.window < 1:
            raise ValueError(f"window must be at least 1, not {self.window}")
        for key, given, of in (
            ("whiten", self.whiten, "text"),
            ("optional", self.optional, "text"),
            ("window", self.window is not None, "ppmi"),
            ("recipe", bool(self.recipe), "recipe"),
        ):
            if given and self.of != of:
                raise ValueError(f'{key} is a key of vectors of = "{of}", not of "{self.of}"; remove it')
        if self.of == "recipe" and not self.recipe:
            raise ValueError('recipe must name the trained recipe, since of = "recipe"')


def input_vectors(
    training_set: TrainingSet, parts: Sequence[VectorPart], seed: int, trained: Trained | None = None
) -> np.ndarray:
    """The parts end to end, from training interactions and metadata alone.

    Each item's part has the length of its weight. An item of which a part other than text knows nothing, since no
    training history holds it (or none beside another item), takes the mean of the ten items of nearest text of which
    the part knows something; where it has no text, or no text is like it, the mean of all of them. A text without a
    word is a zero.

    Args:
        training_set: with item text where a part is of text and not optional.
        parts: one or more.
        seed: of the random start of factorisations.
        trained: gives the vectors of trained recipes; needed where a part is of one.

    Returns:
        float64 ``[items, dimensions]``, equal bit for bit for equal input and seed, whatever the number of threads.
        There are fewer dimensions than asked for where the texts or the interactions have fewer.

    Raises:
        ValueError: a part is of text, and there is none; a part is of a recipe whose vectors are not given, or are not
            of this catalogue; or all parts were left out.
    """
    found = [
        _scaled(_vectors(training_set, part, seed, trained), part.weight)
        for part in parts
        if not (part.optional and not has_text(training_set))
    ]
    if not found:
        raise ValueError(
            f"the items of {training_set.dataset} have no text, and codes were to be made from their text alone; "
            "choose a recipe of codes with vectors of the interactions"
        )
    return np.concatenate(found, axis=1)


def _vectors(training_set: TrainingSet, part: VectorPart, seed: int, trained: Trained | None) -> np.ndarray:
    if part.of == TEXT:
        return _text(training_set, part)
    histories, items = training_set.train, training_set.items
    known = np.bincount(histories.items, minlength=items) > 0
    if part.of == "interactions":
        from ml.codes.factors import item_factors

        vectors = item_factors(histories, items, part.dimensions, seed).T
    elif part.of == "ppmi":
        from ml.codes.vectors.co_occurrence import ppmi_vectors

        vectors = ppmi_vectors(histories, items, part.dimensions, part.window or DEFAULT_WINDOW, seed)
    elif part.of == "graph":
        from ml.codes.vectors.co_occurrence import graph_vectors

        vectors = graph_vectors(histories, items, part.dimensions, seed)
    else:
        vectors = _of_recipe(training_set, part, trained)
    vectors = _scaled(vectors, 1.0)
    return fill_from_text_neighbours(vectors, known & vectors.any(axis=1), training_set)


def _text(training_set: TrainingSet, part: VectorPart) -> np.ndarray:
    from ml.text.vectors import text_vectors

    vectors = text_vectors(training_set)[:, : part.dimensions]
    return whitened_text(training_set, vectors) if part.whiten else vectors


def _of_recipe(training_set: TrainingSet, part: VectorPart, trained: Trained | None) -> np.ndarray:
    from ml.codes.principal_components import principal_components

    if trained is None:
        raise ValueError(
            f"codes were to be made from the item vectors of {part.recipe}, and no trained model was given"
        )
    vectors = np.asarray(trained(part.recipe), dtype=np.float64)
    if vectors.ndim != 2 or len(vectors) != training_set.items or not np.isfinite(vectors).all():
        raise ValueError(
            f"the item vectors of {part.recipe} must be finite numbers [{training_set.items} items, dimensions], and "
            f"are {list(vectors.shape)}; train the recipe again on {training_set.dataset}"
        )
    return principal_components(vectors, part.dimensions).T if vectors.shape[1] > part.dimensions else vectors


def _scaled(vectors: np.ndarray, length: float) -> np.ndarray:
    """Rows of the given length; rows of nearly nothing become zero."""
    vectors = np.asarray(vectors, dtype=np.float64)
    lengths = np.sqrt((vectors * vectors).sum(axis=1, keepdims=True))
    return length * np.divide(vectors, lengths, out=np.zeros_like(vectors), where=lengths > 1e-9)
