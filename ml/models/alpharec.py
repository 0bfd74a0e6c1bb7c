"""AlphaRec: a perceptron on vectors of text, and nothing else (Sheng et al., "Language Representations Can be What
Recommenders Need: Findings and Potentials", ICLR 2025, arXiv 2407.05441)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ml.models.catalogue import Catalogue
from ml.models.cosine import UnitItemEmbedding, unit_states
from ml.models.item_embeddings import ItemEmbedding
from ml.models.sequential_model import SequentialModel
from ml.models.settings import AlphaRecSettings, decided_length
from ml.models.text_embeddings import TextItemEmbedding


class AlphaRec(SequentialModel):
    """A user is the mean of the text vectors of the history; users and items pass the same perceptron, and the cosine
    of both, divided by a temperature, is the score.

    At each position the history are the items up to there, whose order means nothing. There are no weights for items or
    users, so new ones of either need no training. The paper's graph convolution between users and items is left out.

    Args:
        settings: sizes and options.
        catalogue: with the text of the items.
    """

    def __init__(self, settings: AlphaRecSettings, catalogue: Catalogue) -> None:
        super().__init__()
        assert catalogue.text is not None  # build_model checked it
        self.max_length = decided_length(settings.max_length)
        self.temperature = settings.temperature
        perceptron = nn.Sequential(
            nn.Linear(catalogue.text.shape[1], settings.hidden_dimensions),
            nn.LeakyReLU(),
            nn.Linear(settings.hidden_dimensions, settings.dimensions),
        )
        self.item_vectors = TextItemEmbedding(
            catalogue.text, settings.dimensions, settings.embedding_deviation, perceptron
        )

    @property
    def output_embedding(self) -> ItemEmbedding:
        return UnitItemEmbedding(self.item_vectors)

    def forward(self, items: Tensor, lengths: Tensor, users: Tensor) -> Tensor:
        read = torch.arange(1, items.shape[1] + 1, device=items.device)
        means = F.embedding(items, self.item_vectors.text).cumsum(dim=1) / read[:, None]
        return unit_states(self.item_vectors.projection(means), self.temperature)
