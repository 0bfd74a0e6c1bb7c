"""The methods that assign codes, by the name that recipes use.

A method is one module of this package with a ``REGISTERED`` (:mod:`ml.registry`) whose path leads to its settings: a
frozen dataclass of what a recipe's table ``[method]`` may hold, with the function of :class:`Method`. Recipes are read
wherever the graph of assets is loaded, so the module imports nothing heavier than numpy at its top.

What a method needs is in ``needs``: ``book_sizes`` where the recipe decides how many codes each book has, ``vectors``
where vectors of the items are quantised, ``text`` where the method reads the item text itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from ml.registry import Registered, registered

if TYPE_CHECKING:
    import numpy as np

    from ml.codes.codes import Codes
    from ml.data.training_set import TrainingSet

BOOK_SIZES = "book_sizes"
VECTORS = "vectors"
TEXT = "text"

METHODS = registered("ml.codes", Registered)


class Method(Protocol):
    """Settings of a method, and how it assigns codes with them."""

    def assign(
        self, training_set: TrainingSet, book_sizes: tuple[int, ...], seed: int, vectors: np.ndarray | None
    ) -> Codes:
        """Codes from the training histories alone: held-out targets are not read.

        Args:
            training_set: whose items get codes.
            book_sizes: codes of each book, empty where the method decides that itself.
            seed: of everything random.
            vectors: what is quantised, float64 ``[items, dimensions]``; ``None`` where the method takes none.

        Raises:
            ValueError: no codes can be assigned, in words for a reader.
        """
