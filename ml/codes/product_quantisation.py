"""Product quantisation: many codes an item that do not build on one another, each of some of the vector's dimensions.

Jegou, Douze and Schmid, "Product Quantization for Nearest Neighbor Search", TPAMI 33 (2011), after a rotation that
balances the blocks, as in Ge, He, Ke and Sun, "Optimized Product Quantization", CVPR 2013: principal components, here
dealt to the blocks in turn, where the paper balances the product of their variances. The unordered codes of RPG (Hou et
al., "Generating Long Semantic IDs in Parallel for Recommendation", KDD 2025) are those of OPQ on whitened principal
components.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ml.codes.clustering import kmeans
from ml.codes.codes import Codes, check_assignable, code_type, described_books
from ml.codes.principal_components import principal_components
from ml.codes.quality import quality_report
from ml.data.training_set import TrainingSet
from ml.registry import Registered

REGISTERED = Registered(
    name="product_quantisation",
    title="Product quantisation",
    description="Clusters of the principal components of the items' vectors, dealt in turn to as many blocks as books.",
    source="Jegou et al., Product Quantization for Nearest Neighbor Search, TPAMI 2011; Hou et al., Generating Long "
    "Semantic IDs in Parallel for Recommendation, KDD 2025",
    path="ml.codes.product_quantisation:ProductQuantisationSettings",
    needs=("book_sizes", "vectors"),
    rank=80,
)
# components with a smaller share of the largest deviation are rounding errors
_LEAST_DEVIATION = 1e-6


@dataclass(frozen=True)
class ProductQuantisationSettings:
    """Product quantisation.

    Attributes:
        whiten: scale the components to equal variance, so that each says as much.
        iterations: of k-means, at most.
    """

    whiten: bool = True
    iterations: int = 20

    def __post_init__(self) -> None:
        if self.iterations < 1:
            raise ValueError(f"iterations must be at least 1, not {self.iterations}")

    def assign(
        self, training_set: TrainingSet, book_sizes: tuple[int, ...], seed: int, vectors: np.ndarray | None
    ) -> Codes:
        """Codes of one book a block. Items may share all of their codes.

        Vectors of fewer components than there are books leave books without a block: their codes are random and equally
        full, and the report says how many there are.

        Args:
            training_set: whose items get codes; its histories are read for the report.
            book_sizes: codes of each book.
            seed: of the start of k-means and of random books.
            vectors: float64 ``[items, dimensions]``.

        Returns:
            Codes whose report says in addition how many ``components`` there are, how many ``random_books``, and the
            share of the variance of the components, whitened or not, that the centres keep (``variance_kept``).

        Raises:
            ValueError: there is no book, there are no vectors, or the training histories are empty.
        """
        check_assignable(training_set, book_sizes)
        if vectors is None:
            raise ValueError("product quantisation is one of vectors, and none were given")
        components = rotated(vectors, self.whiten)
        random = np.random.default_rng(seed)
        values = np.empty((training_set.items, len(book_sizes)), dtype=code_type(book_sizes))
        lost = 0.0
        for book, size in enumerate(book_sizes):
            block = components[:, book :: len(book_sizes)]
            if block.shape[1] == 0:
                values[:, book] = random.permutation(training_set.items) * min(size, training_set.items) // len(values)
                continue
            centres, labels = kmeans(block, size, seed, self.iterations)
            values[:, book] = labels
            lost += float(((block - centres[labels]) ** 2).sum())
        total = float((components**2).sum())
        report = quality_report(values, training_set.train, book_sizes)
        report |= {
            "components": components.shape[1],
            "random_books": max(0, len(book_sizes) - components.shape[1]),
            "variance_kept": 1 - lost / total if total else None,
        }
        method = {"name": "product quantisation", **described_books(book_sizes), "seed": seed}
        method |= {"whitened": self.whiten, "iterations": self.iterations}
        return Codes(values, method, report)


def rotated(vectors: np.ndarray, whiten: bool) -> np.ndarray:
    """All principal components of rows, the one of most variance first, float64 ``[rows, components]``.

    Args:
        vectors: ``[rows, dimensions]``.
        whiten: scale the components to variance 1.
    """
    components = principal_components(vectors, vectors.shape[1]).T
    deviations = components.std(axis=0)
    kept = deviations > _LEAST_DEVIATION * deviations.max(initial=0)
    return components[:, kept] / (deviations[kept] if whiten else 1)
