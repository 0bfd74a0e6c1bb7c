"""The item vectors of a trained model, for codes that are made of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from ml.training.reproducible import reproducible
from ml.training.sequential_recommender import SequentialRecommender

if TYPE_CHECKING:
    import numpy as np

    from ml.recommender import Recommender

_AT_ONCE = 1 << 16


def item_vectors(recommender: Recommender) -> np.ndarray:
    """What a fitted model scores the items with, float32 ``[items, dimensions]``; a bias of the items is one dimension.

    Raises:
        ValueError: it scores items in another way than by dot products with their vectors.
    """
    model = recommender.model if isinstance(recommender, SequentialRecommender) else None
    embedding = getattr(model, "output_embedding", None)
    if embedding is None:
        raise ValueError(
            f"{type(recommender if model is None else model).__name__} scores items without item vectors, and codes "
            "were to be made of these: name another model in their recipe, under vectors.recipe"
        )
    assert isinstance(recommender, SequentialRecommender)  # it has an embedding
    device = recommender.model.device
    with reproducible(recommender.execution.threads, device), torch.inference_mode():
        items = torch.arange(embedding.items, device=device)
        return torch.cat([embedding(part).float().cpu() for part in items.split(_AT_ONCE)]).numpy()
