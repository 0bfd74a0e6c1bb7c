"""Codes by an RQ-VAE: residual quantisation of what a trained autoencoder makes of the vectors.

Lee et al., "Autoregressive Image Generation using Residual Quantization", CVPR 2022; for identifiers of items Rajput et
al., "Recommender Systems with Generative Retrieval" (TIGER), NeurIPS 2023. torch is imported when codes are assigned.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ml.codes.codes import Codes, check_assignable, code_type, described_books
from ml.codes.quality import quality_report
from ml.codes.residuals import last_distances
from ml.data.training_set import TrainingSet
from ml.extras import require
from ml.registry import Registered

REGISTERED = Registered(
    name="rq_vae",
    title="RQ-VAE",
    description="Residual quantisation in the space of an autoencoder that is trained with its code books.",
    source="Rajput et al., Recommender Systems with Generative Retrieval, NeurIPS 2023",
    path="ml.codes.rq_vae:RQVAESettings",
    needs=("book_sizes", "vectors"),
    rank=60,
)
LEAST_SHARE_USED = 0.8


@dataclass(frozen=True)
class RQVAESettings:
    """RQ-VAE.

    Attributes:
        hidden: widths of the layers of the encoder; the decoder has them in reverse.
        dimensions: of the space in which is quantised.
        epochs: passes over the items.
        batch_size: items of a step.
        learning_rate: of Adam.
        commitment: weight of the distance of the encoder's output from its codes, beta of the papers.
    """

    hidden: tuple[int, ...] = (128, 64)
    dimensions: int = 32
    epochs: int = 100
    batch_size: int = 256
    learning_rate: float = 1e-3
    commitment: float = 0.25

    def __post_init__(self) -> None:
        for name in ("dimensions", "epochs", "batch_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, not {getattr(self, name)}")
        if any(width < 1 for width in self.hidden):
            raise ValueError(f"hidden must be widths of at least 1, not {list(self.hidden)}")
        if self.learning_rate <= 0:
            raise ValueError(f"learning_rate must be above 0, not {self.learning_rate}")
        if self.commitment < 0:
            raise ValueError(f"commitment must not be negative, not {self.commitment}")

    def assign(
        self, training_set: TrainingSet, book_sizes: tuple[int, ...], seed: int, vectors: np.ndarray | None
    ) -> Codes:
        """Train the autoencoder and its books, and quantise all items.

        Each dimension of the vectors is standardised first, so the weights of their parts have no effect. A book has at
        most as many codes as there are distinct residuals at the start. It runs on one thread: equal bit for bit for
        equal input and seed.

        Args:
            training_set: whose items get codes; its histories are read for the report.
            book_sizes: codes of each book.
            seed: of weights, order and code books.
            vectors: float64 ``[items, dimensions]``.

        Returns:
            Codes without centroids, since these lie in the space of the encoder, which is not kept. The report has the
            losses of the first and last epoch; ``energy_left``, the share of the variance of the standardised vectors
            that the decoder does not restore; ``codes_drawn_anew``, how often an unused code was replaced; and
            ``underused_books``, the books of which less than 80 % is in use, before collisions are resolved.

        Raises:
            ValueError: there is no book, there are no vectors, the training histories are empty, or training diverged.
            MissingExtra: torch is not installed.
        """
        check_assignable(training_set, book_sizes)
        if vectors is None:
            raise ValueError("an RQ-VAE quantises vectors, and none were given")
        require("train", "an RQ-VAE", ("torch",))
        from ml.codes.rq_vae_network import train

        trained = train(standardised(vectors), self, book_sizes, seed)
        values = trained.values.astype(code_type(book_sizes))
        quality = quality_report(values, training_set.train, book_sizes)
        report: dict[str, Any] = {
            **quality,
            "energy_left": trained.energy_left,
            "first_epoch_loss": trained.losses[0],
            "last_epoch_loss": trained.losses[-1],
            "codes_drawn_anew": trained.drawn_anew,
            "underused_books": [
                book["book"]
                for book, size in zip(quality["by_book"], book_sizes, strict=True)
                if book["codes_used"] < LEAST_SHARE_USED * min(size, len(vectors))
            ],
        }
        method = {"name": "RQ-VAE", **described_books(book_sizes), "seed": seed, **asdict(self)}
        method["hidden"] = list(self.hidden)
        return Codes(values, method, report, last_distances=last_distances(trained.residuals, trained.last_book))


def standardised(vectors: np.ndarray) -> np.ndarray:
    """Each dimension with mean 0 and deviation 1, float32 ``[rows, at least 1]``; constant dimensions are 0."""
    if vectors.shape[1] == 0:
        return np.zeros((len(vectors), 1), dtype=np.float32)
    centred = vectors - vectors.mean(axis=0)
    deviations = centred.std(axis=0)
    scaled = np.divide(centred, deviations, out=np.zeros_like(centred), where=deviations > 1e-9)
    return scaled.astype(np.float32)
