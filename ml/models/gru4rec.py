"""GRU4Rec: a recurrent network over the items of a history (Hidasi et al., ICLR 2016)."""

from __future__ import annotations

from torch import Tensor, nn

from ml.models.catalogue import Catalogue
from ml.models.dropout import Dropout
from ml.models.item_embeddings import ItemEmbedding
from ml.models.sequential_model import SequentialModel
from ml.models.settings import GRU4RecSettings


class GRU4Rec(SequentialModel):
    """Item vectors through gated recurrent units, and a linear layer to the width of the item vectors.

    Trained on whole histories, as all models here, not on the published mini-batches of sessions cut short. Padding
    stands at the end of a row, where no state that is read can have passed it.

    Args:
        settings: sizes and options.
        catalogue: what there are vectors for.
    """

    def __init__(self, settings: GRU4RecSettings, catalogue: Catalogue) -> None:
        super().__init__()
        self.max_length = settings.max_length
        sizes = (settings.dimensions, settings.embedding_deviation)
        self.input_embedding = catalogue.item_embedding(*sizes)
        self.separate_output_embedding = (
            catalogue.item_embedding(*sizes) if settings.separate_output_embedding else None
        )
        self.dropout = Dropout(settings.dropout)
        self.units = nn.GRU(
            settings.dimensions,
            settings.hidden_dimensions,
            settings.layers,
            batch_first=True,
            dropout=settings.dropout if settings.layers > 1 else 0.0,
        )
        self.output = nn.Linear(settings.hidden_dimensions, settings.dimensions)

    @property
    def output_embedding(self) -> ItemEmbedding:
        return self.input_embedding if self.separate_output_embedding is None else self.separate_output_embedding

    def forward(self, items: Tensor, lengths: Tensor, users: Tensor) -> Tensor:
        hidden, _ = self.units(self.dropout(self.input_embedding(items)))
        return self.output(self.dropout(hidden))
