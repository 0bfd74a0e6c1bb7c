"""Codes by residual k-means: each book clusters the residuals that the books before it leave of the vectors.

A multi-stage vector quantiser (Juang and Gray, "Multiple stage vector quantization for speech coding", ICASSP 1982).
It serves the purpose of an RQ-VAE without a network to train, as in Luo et al., "QARM: Quantitative Alignment
Multi-Modal Recommendation at Kuaishou", arXiv 2411.11739.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ml.codes.clustering import kmeans
from ml.codes.codes import Codes, check_assignable, code_type, described_books
from ml.codes.quality import quality_report
from ml.codes.residuals import RESIDUAL, last_distances
from ml.data.training_set import TrainingSet
from ml.registry import Registered

REGISTERED = Registered(
    name="residual_kmeans",
    title="Residual k-means",
    description="k-means of the items' vectors; each further book clusters the residuals of the one before.",
    source="Juang and Gray, Multiple stage vector quantization for speech coding, ICASSP 1982",
    path="ml.codes.residual_kmeans:ResidualKMeansSettings",
    needs=("book_sizes", "vectors"),
    rank=50,
)


@dataclass(frozen=True)
class ResidualKMeansSettings:
    """Residual k-means.

    Attributes:
        iterations: of Lloyd's algorithm, at most.
    """

    iterations: int = 20

    def __post_init__(self) -> None:
        if self.iterations < 1:
            raise ValueError(f"iterations must be at least 1, not {self.iterations}")

    def assign(
        self, training_set: TrainingSet, book_sizes: tuple[int, ...], seed: int, vectors: np.ndarray | None
    ) -> Codes:
        """Codes of one book after another, each a clustering of the residuals of the one before.

        A book has as many clusters as codes, or one for each distinct residual where there are fewer; the codes beyond
        are not used. Equal vectors get equal codes.

        Args:
            training_set: whose items get codes; its histories are read for the report.
            book_sizes: codes of each book.
            seed: of the starts.
            vectors: float64 ``[items, dimensions]``.

        Returns:
            Codes with centroids. ``energy_left`` in the report is the share of the vectors' variance that is left after
            each book.

        Raises:
            ValueError: there is no book, there are no vectors, or the training histories are empty.
        """
        check_assignable(training_set, book_sizes)
        if vectors is None:
            raise ValueError("residual k-means clusters vectors, and none were given")
        values = np.empty((len(vectors), len(book_sizes)), dtype=code_type(book_sizes))
        variance = float(((vectors - vectors.mean(axis=0)) ** 2).sum())
        residuals, centroids, left = vectors, [], []
        for book, size in enumerate(book_sizes):
            before = residuals
            centres, values[:, book] = kmeans(before, size, seed + book, self.iterations)
            residuals = before - centres[values[:, book]]
            centroids.append(centres.astype(np.float32))
            left.append(float((residuals**2).sum()) / variance if variance else 0.0)
        report = quality_report(values, training_set.train, book_sizes) | {"energy_left": left}
        method = {
            "name": "residual k-means",
            **described_books(book_sizes),
            "seed": seed,
            "iterations": self.iterations,
            "centroids": RESIDUAL,
        }
        return Codes(values, method, report, tuple(centroids), last_distances(before, centres))
