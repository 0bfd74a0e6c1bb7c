"""GRU4Rec: a recurrent network over the items of a history (Hidasi et al., ICLR 2016)."""

from __future__ import annotations

from torch import Tensor, nn

from ml.models.catalogue import Catalogue
from ml.models.dropout import Dropout
from ml.models.sequential_model import ItemSequenceModel
from ml.models.settings import GRU4RecSettings


class GRU4Rec(ItemSequenceModel):
    """Item vectors through gated recurrent units, and a linear layer to the width of the item vectors.

    Trained on whole histories, as all models here, not on the published mini-batches of sessions cut short. Padding
    stands at the end of a row, where no state that is read can have passed it.

    Args:
        settings: sizes and options.
        catalogue: what there are vectors for.
    """

    def __init__(self, settings: GRU4RecSettings, catalogue: Catalogue) -> None:
        super().__init__(settings, catalogue)
        self.dropout = Dropout(settings.dropout)
        self.units = nn.GRU(
            settings.dimensions,
            settings.hidden_dimensions,
            settings.layers,
            batch_first=True,
            dropout=settings.dropout if settings.layers > 1 else 0.0,
        )
        self.output = nn.Linear(settings.hidden_dimensions, settings.dimensions)

    def forward(self, items: Tensor, lengths: Tensor, users: Tensor) -> Tensor:
        hidden, _ = self.units(self.dropout(self.input_embedding(items)))
        return self.output(self.dropout(hidden))
