"""What the training histories lead to from the last items, in the order in which it reads like them."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Self

import numpy as np
from scipy import sparse

from ml.baselines.interleave import Source, lists_by_quotas
from ml.baselines.popularity import fill_by_popularity, item_counts, popularity_order
from ml.baselines.save_load import load_state, save_state
from ml.data.sequences import Sequences
from ml.data.training_set import TrainingSet
from ml.item_graph.graph import graph_arrays, graph_from_arrays, transitions
from ml.item_graph.histories import check_request, in_blocks, last_items
from ml.item_graph.hop_rings import on_a_grid, ranked_rings
from ml.recommender import NO_ITEM, Recommendations
from ml.registry import Registered
from ml.text.registry import DEFAULT_ENCODER
from ml.text.vectors import text_vectors

REGISTERED = (
    Registered(
        name="text_graph_last",
        title="Text and graph, last item",
        description=(
            "Of every ten places seven, two and one for items one, two and three steps from the last item along the "
            "transitions of the training histories, each ranked by how much their text is like that of the last "
            "item; then the most popular items."
        ),
        source=(
            'TGH-1 of "An Embarrassingly Simple Graph Heuristic Reveals Shortcut-Solvable Benchmarks for Sequential '
            'Recommendation" (arXiv 2605.07125), with TF-IDF and SVD for its text vectors and popularity for its '
            "random filling"
        ),
        path="ml.baselines.text_graph:TextGraphLast",
        needs=("item_text", "text_vectors"),
        rank=100,
    ),
    Registered(
        name="text_graph_last_two",
        title="Text and graph, last two items",
        description=(
            "Of every ten places six for items one or two steps from the last item along the transitions of the "
            "training histories and four for those near the item before it, ranked by how much their text is like "
            "that item's; then the most popular items."
        ),
        source=(
            'TGH-2 of "An Embarrassingly Simple Graph Heuristic Reveals Shortcut-Solvable Benchmarks for Sequential '
            'Recommendation" (arXiv 2605.07125), with TF-IDF and SVD for its text vectors and popularity for its '
            "random filling"
        ),
        path="ml.baselines.text_graph:TextGraphLastTwo",
        needs=("item_text", "text_vectors"),
        rank=110,
    ),
)

EDGE_WEIGHT = 0.5
# what the ranked rings of a part of the rows may take: 256 MiB of int32
_CELLS_PER_PART = 1 << 26


class TextGraphLast:
    """Ranks the items of three rings around the last item by their text: seven, two and one of every ten.

    An edge leads from an item to the one that followed it in a training history, however often; ring h is what h
    steps from the last item reach and fewer do not. In a ring, items are ranked by the cosine of their text vector
    with the last item's; in the first ring ``0.5 log(1 + c) / log(1 + largest c)`` is added, c times the edge was
    seen. Equal items stand by popularity.

    A list is made of rounds of ten places: seven of the first ring, two of the second, one of the third. A ring with
    fewer items left gives the places it cannot fill to the rings before it, the nearest to the last item first, and
    what these cannot fill goes to the rings after it, at the end of the round. The next round shares out what is left
    in the same way. Where the rings are empty the most popular items follow. So a shorter list is the start of a
    longer one. The score is 1 / rank: places are shared out, not scored on one scale.

    Source: TGH-1 of "An Embarrassingly Simple Graph Heuristic Reveals Shortcut-Solvable Benchmarks for Sequential
    Recommendation", arXiv 2605.07125. Of it this differs in three things: the vectors (flan-t5-xl there; any encoder
    of :mod:`ml.text` here), what follows where the rings are empty (random items there), and that lists may be longer
    than ten, or leave out the items of the history.

    Args:
        encoder: name of the text encoder, one of ``ml.text.registry.ENCODERS``.
    """

    name = "text_graph_last"
    quotas: ClassVar[tuple[tuple[int, ...], ...]] = ((7, 2, 1),)
    """Places of each ring in a round, for the last item, the one before it, and so on."""

    def __init__(self, encoder: str = DEFAULT_ENCODER) -> None:
        self.encoder = encoder
        self.counts = np.empty(0, dtype=np.int64)
        self.edges = sparse.csr_matrix((0, 0), dtype=np.int64)
        self.text_vectors = np.empty((0, 0), dtype=np.float32)

    def fit(self, training_set: TrainingSet) -> Self:
        """Count the transitions of the training histories and take the text vector of every item.

        Raises:
            ValueError: the training set was loaded without its item text.
        """
        if training_set.item_text is None:
            raise ValueError(
                f"{self.name} needs the item text of {training_set.dataset}: add it with TrainingSet.with_text"
            )
        self.counts = item_counts(training_set)
        self.edges = transitions(training_set)
        self.text_vectors = text_vectors(training_set, self.encoder)
        return self

    def recommend(self, histories: Sequences, k: int, exclude_seen: bool) -> Recommendations:
        """The items of the rings by their quotas, then the most popular others."""
        items = len(self.counts)
        check_request(histories, k, items)
        order = popularity_order(self.counts)
        vectors = on_a_grid(self.text_vectors)
        rings = max(map(len, self.quotas))
        rounds = -(-k // sum(map(sum, self.quotas)))
        longest = int(histories.lengths.max(initial=0)) if exclude_seen else 0
        # of a ring no more than this can be placed or passed over
        width = min(items, rounds * sum(map(sum, self.quotas)) + longest)
        cells = len(self.quotas) * rings * width
        no_scores = np.zeros(items)

        answer = Recommendations(
            np.full((len(histories), k), NO_ITEM, dtype=np.int32),
            np.full((len(histories), k), -np.inf, dtype=np.float32),
        )
        # rows of one last item in one part: the rings around an item are ranked once a part
        by_last = np.argsort(last_items(histories), kind="stable")
        part_rows = max(1024, _CELLS_PER_PART // max(1, cells))
        for start in range(0, len(histories), part_rows):
            rows = by_last[start : start + part_rows]
            part = histories.take(rows)
            anchors = np.unique([last_items(part, place) for place in range(1, len(self.quotas) + 1)])
            ranked = ranked_rings(self.edges, vectors, anchors[anchors != NO_ITEM], rings, width, EDGE_WEIGHT, order)

            def in_order(block: Sequences, ranked=ranked) -> Recommendations:
                sources = [
                    Source(ranked.around(last_items(block, place), len(quotas)), quotas)
                    for place, quotas in enumerate(self.quotas, 1)
                ]
                listed = lists_by_quotas(sources, rounds, items, block if exclude_seen else None)[:, :k]
                return fill_by_popularity(listed, np.zeros(listed.shape), block, k, exclude_seen, order, no_scores)

            answer.items[rows] = in_blocks(part, k, items + 4 * cells + 2 * (k + longest), in_order).items
        np.copyto(answer.scores, np.float32(1) / np.arange(1, k + 1, dtype=np.float32), where=answer.items != NO_ITEM)
        return answer

    def save(self, folder: Path) -> None:
        arrays: dict[str, np.ndarray] = {
            "counts": self.counts,
            "text_vectors": self.text_vectors,
            **graph_arrays(self.edges),
        }
        save_state(folder, self.name, {"encoder": self.encoder}, arrays)

    @classmethod
    def load(cls, folder: Path) -> Self:
        settings, arrays = load_state(folder, cls.name)
        recommender = cls(encoder=settings["encoder"])
        recommender.counts = arrays["counts"]
        recommender.text_vectors = arrays["text_vectors"]
        recommender.edges = graph_from_arrays(arrays)
        return recommender


class TextGraphLastTwo(TextGraphLast):
    """Ranks the items of two rings around each of the last two items by their text.

    Of every ten places five and one are of the rings around the last item, three and one of those around the item
    before it, read against that item's text. An item of both has one place. What the rings of one
    item cannot fill goes to the other item at the end of the round; otherwise as :class:`TextGraphLast`.

    Source: TGH-2 of arXiv 2605.07125, which fills up each item's places at random before it goes on.
    """

    name = "text_graph_last_two"
    quotas: ClassVar[tuple[tuple[int, ...], ...]] = ((5, 1), (3, 1))
