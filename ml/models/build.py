"""From settings to a model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ml.models.item_embeddings import DenseItemEmbedding, ItemEmbedding, JointProductQuantisedItemEmbedding
from ml.models.sasrec import SASRec
from ml.models.settings import ModelSettings

if TYPE_CHECKING:
    import numpy as np


def build_model(settings: ModelSettings, items: int, codes: np.ndarray | None) -> SASRec:
    """A model with fresh weights, drawn from torch's global generator.

    Args:
        settings: which model, and its sizes.
        items: size of the catalogue.
        codes: uint8 ``[items, books]`` for joint product quantised embeddings, else ``None``.

    Raises:
        ValueError: codes are missing, not wanted, or of another catalogue.
    """
    quantised = settings.item_embedding == "joint_product_quantised"
    if quantised and codes is None:
        raise ValueError("joint product quantised item embeddings need codes, and none were given")
    if codes is not None and not quantised:
        raise ValueError("codes were given to a model with dense item embeddings, which has no use for them")
    if codes is not None and len(codes) != items:
        raise ValueError(f"the codes are of {len(codes)} items, the catalogue has {items}")

    def item_embedding() -> ItemEmbedding:
        if codes is not None:
            return JointProductQuantisedItemEmbedding(codes, settings.dimensions, settings.embedding_deviation)
        return DenseItemEmbedding(items, settings.dimensions, settings.embedding_deviation)

    input_embedding = item_embedding()
    return SASRec(settings, input_embedding, item_embedding() if settings.separate_output_embedding else None)
