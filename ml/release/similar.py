"""Items that are similar to one: by the vectors of the model, or by the graph of items that stood side by side.

Without vectors the score is that of a short walk, ``P[item] + 0.3 (P P)[item]``, as the baseline ``two_hop_graph``
scores a history of one item: ``P`` are the counts of neighbours in the training histories, rows summing to 1.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from scipy import sparse

from ml.baselines.item_matrix import strongest
from ml.baselines.two_hop_graph import TWO_HOPS
from ml.data.training_set import TrainingSet
from ml.item_graph.graph import graph_arrays, graph_from_arrays, neighbours, places, probabilities
from ml.recommender import Recommender
from ml.retrieval.top_k import tie_break_order, top_k

# neighbours kept of each item, those that it stood beside most often
KEPT = 100
# item vectors that are compared at a time
_AT_ONCE = 1 << 16


def write_item_graph(folder: Path, training_set: TrainingSet) -> None:
    """Write the graph of the training histories as ``.npy`` files, :data:`KEPT` neighbours an item at most."""
    counts = neighbours(training_set)
    # an item beside itself is no neighbour
    counts.setdiag(0)
    counts.eliminate_zeros()
    kept = strongest(counts.astype(np.float64), KEPT, places(tie_break_order(training_set.items)))
    kept.sort_indices()
    for name, array in graph_arrays(kept).items():
        np.save(folder / f"{name}.npy", _narrow(array), allow_pickle=False)


def _narrow(array: np.ndarray) -> np.ndarray:
    return array.astype(np.int32) if len(array) == 0 or array.max() <= np.iinfo(np.int32).max else array


def read_item_graph(folder: Path) -> sparse.csr_matrix:
    """The probability of each neighbour of an item, float64 ``[items, items]``: rows sum to 1, or to 0."""
    names = ("graph_neighbours", "graph_weights", "graph_offsets")
    arrays = {name: np.load(folder / f"{name}.npy", allow_pickle=False) for name in names}
    return probabilities(graph_from_arrays(arrays))


def similar_by_graph(graph: sparse.csr_matrix, item: int, k: int) -> list[tuple[int, float]]:
    """The items that a walk of one or two steps reaches, best first, with their scores; fewer than k where it reaches
    fewer."""
    one = graph[[item]]
    scores = (one + TWO_HOPS * (one @ graph)).toarray()[0].astype(np.float32)
    return _best(np.where(scores > 0, scores, -np.inf), item, k)


def similar_by_vectors(recommender: Recommender, item: int, k: int) -> list[tuple[int, float]] | None:
    """The items whose vectors have the largest cosine with that of the item; ``None`` for a recommender that scores
    items with no vectors."""
    model = getattr(recommender, "model", None)
    if getattr(model, "output_embedding", None) is None:
        return None
    import torch

    assert model is not None  # it has an embedding
    with torch.inference_mode():
        embedding = model.output_embedding
        wanted = torch.nn.functional.normalize(embedding(torch.tensor([item], device=model.device)), dim=-1)[0]
        cosines = [
            torch.nn.functional.normalize(embedding(part), dim=-1) @ wanted
            for part in torch.arange(model.items, device=model.device).split(_AT_ONCE)
        ]
        return _best(torch.cat(cosines).float().cpu().numpy(), item, k)


def _best(scores: np.ndarray, item: int, k: int) -> list[tuple[int, float]]:
    scores = np.array(scores, dtype=np.float32)
    scores[item] = -np.inf
    ranked = top_k(scores[None], k, tie_break_order(len(scores)))
    found = np.isfinite(ranked.scores[0])
    return list(zip(ranked.items[0][found].tolist(), ranked.scores[0][found].tolist(), strict=True))
