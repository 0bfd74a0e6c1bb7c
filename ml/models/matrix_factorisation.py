"""Matrix factorisation: what a user likes, in whatever order (Rendle et al., BPR, UAI 2009, section 4.3.1)."""

from __future__ import annotations

from torch import Tensor

from ml.models.catalogue import Catalogue
from ml.models.item_biases import dense_with_bias, with_one
from ml.models.item_embeddings import ItemEmbedding
from ml.models.sequential_model import SequentialModel
from ml.models.settings import MatrixFactorisationSettings, decided_length
from ml.models.user_vectors import UserVectors


class MatrixFactorisation(SequentialModel):
    """The state is the user's vector at every position, whatever the items are; items have a bias.

    For a user who is not known (-1) it is zeros, and items are ranked by their biases alone: what is popular. Trained
    to predict each next item, all items of a user are targets but the first.

    Args:
        settings: sizes.
        catalogue: what there are vectors for.
    """

    def __init__(self, settings: MatrixFactorisationSettings, catalogue: Catalogue) -> None:
        super().__init__()
        self.max_length = decided_length(settings.max_length)
        self.users = UserVectors(catalogue.users, settings.dimensions, settings.embedding_deviation)
        self.item_vectors = dense_with_bias(catalogue.items, settings.dimensions, settings.embedding_deviation)

    @property
    def output_embedding(self) -> ItemEmbedding:
        return self.item_vectors

    def forward(self, items: Tensor, lengths: Tensor, users: Tensor) -> Tensor:
        return with_one(self.users(users))[:, None].expand(-1, items.shape[1], -1)
