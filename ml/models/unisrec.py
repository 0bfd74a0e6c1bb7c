"""UniSRec: SASRec on text that a mixture of experts adapts (Hou et al., "Towards Universal Sequence Representation
Learning for Recommender Systems", KDD 2022)."""

from __future__ import annotations

from torch import Tensor

from ml.models.catalogue import Catalogue
from ml.models.cosine import UnitItemEmbedding, unit_states
from ml.models.item_embeddings import ItemEmbedding
from ml.models.sasrec import SASRec
from ml.models.settings import UniSRecSettings


class UniSRec(SASRec):
    """SASRec whose scores are cosines of states and item vectors, divided by a temperature.

    The item vectors are those of :class:`ml.models.text_embeddings.TextExpertsItemEmbedding`, alone or with a trained
    row of the item. Pre-training on other datasets is in :mod:`ml.transfer`.

    Args:
        settings: sizes and options.
        catalogue: what there are vectors for, with the text of the items.
    """

    def __init__(self, settings: UniSRecSettings, catalogue: Catalogue) -> None:
        super().__init__(settings, catalogue)
        self.temperature = settings.temperature

    @property
    def output_embedding(self) -> ItemEmbedding:
        return UnitItemEmbedding(super().output_embedding)

    def forward(self, items: Tensor, lengths: Tensor, users: Tensor) -> Tensor:
        return unit_states(super().forward(items, lengths, users), self.temperature)
