"""Codes from vectors of the items: equally full bins of their principal components.

Transform coding with scalar quantisers (Gersho and Gray, "Vector Quantization and Signal Compression", 1992, chapters 6
and 8). The bins are those of RecJPQ, so that books of text vectors and of factorised interactions can be compared.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ml.codes.codes import Codes, check_assignable, described_books
from ml.codes.quality import quality_report
from ml.codes.quantiles import quantise_factors
from ml.data.training_set import TrainingSet
from ml.registry import Registered

REGISTERED = Registered(
    name="principal_components",
    title="Principal components",
    description="Equally full bins of the principal components of the items' vectors.",
    source="Gersho and Gray, Vector Quantization and Signal Compression, 1992; bins as in RecJPQ",
    path="ml.codes.principal_components:PrincipalComponentsSettings",
    needs=("book_sizes", "vectors"),
    rank=40,
)


@dataclass(frozen=True)
class PrincipalComponentsSettings:
    """Principal components; nothing to set."""

    def assign(
        self, training_set: TrainingSet, book_sizes: tuple[int, ...], seed: int, vectors: np.ndarray | None
    ) -> Codes:
        """Codes of one book a component, the ones that vary most first.

        Vectors of fewer dimensions, or items, than there are books have fewer components: the books beyond them hold
        noise alone, so their codes are random, and the report says how many there are.

        Args:
            training_set: whose items get codes; its histories are read for the report.
            book_sizes: codes of each book.
            seed: of the noise of the bins.
            vectors: float64 ``[items, dimensions]``.

        Raises:
            ValueError: there is no book, there are no vectors, or the training histories are empty.
        """
        check_assignable(training_set, book_sizes)
        if vectors is None:
            raise ValueError("principal components are those of vectors, and none were given")
        components = principal_components(vectors, len(book_sizes))
        missing = len(book_sizes) - len(components)
        padded = np.concatenate([components, np.zeros((missing, training_set.items))])
        values = quantise_factors(padded, seed, book_sizes)
        report = quality_report(values, training_set.train, book_sizes)
        report |= {"components": len(components), "random_books": missing}
        return Codes(values, {"name": "principal components", **described_books(book_sizes), "seed": seed}, report)


def principal_components(vectors: np.ndarray, components: int) -> np.ndarray:
    """The first principal components of rows, float64 ``[components, rows]``; fewer where there are fewer directions.

    The largest weight of each direction is positive. Run on one thread, since the number of threads changes last bits.
    """
    from threadpoolctl import threadpool_limits

    if vectors.shape[1] == 0:
        return np.zeros((0, len(vectors)))
    centred = vectors - vectors.mean(axis=0)
    with threadpool_limits(limits=1):
        # of the [dimensions, dimensions] covariance: a catalogue has far more items than its vectors have dimensions
        _, directions = np.linalg.eigh(centred.T @ centred)
        directions = directions[:, ::-1][:, : min(components, *vectors.shape)]
        signs = np.sign(directions[np.abs(directions).argmax(axis=0), np.arange(directions.shape[1])])
        return (centred @ (directions * signs)).T
