"""SEATER's balanced tree: similar items on neighbouring leaves, with as many items below each node of a level.

Si et al., "Generative Retrieval with Semantic Tree-Structured Identifiers and Contrastive Learning", SIGIR-AP 2024:
items are divided into equally large clusters, and each of these again, until every item is a cluster of its own. The
assignment is the hybrid one of "Efficient Optimization of Hierarchical Identifiers for Generative Recommendation"
(arXiv:2512.18434), which costs far less than constrained k-means: ordinary k-means, after which clusters that are too
large give items away. Where several items compete for the room of a cluster, it takes those that would lose most by
their next choice.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ml.codes.clustering import kmeans
from ml.codes.codes import LARGEST_BOOK, Codes, check_assignable, code_type, described_books
from ml.codes.quality import quality_report
from ml.data.training_set import TrainingSet
from ml.registry import Registered

REGISTERED = Registered(
    name="balanced_tree",
    title="Balanced tree",
    description="Paths in a tree of equally large clusters of the items' vectors, in which each item is a leaf.",
    source="Si et al., Generative Retrieval with Semantic Tree-Structured Identifiers and Contrastive Learning, "
    "SIGIR-AP 2024; arXiv:2512.18434",
    path="ml.codes.balanced_tree:BalancedTreeSettings",
    needs=("vectors",),
    rank=70,
)


@dataclass(frozen=True)
class BalancedTreeSettings:
    """A balanced tree.

    Attributes:
        branches: children of a node, which is also the size of every book.
        iterations: of k-means, at most.
    """

    branches: int = 16
    iterations: int = 20

    def __post_init__(self) -> None:
        if not 2 <= self.branches <= LARGEST_BOOK:
            raise ValueError(f"branches must be from 2 to {LARGEST_BOOK:,}, not {self.branches}")
        if self.iterations < 1:
            raise ValueError(f"iterations must be at least 1, not {self.iterations}")

    def assign(
        self, training_set: TrainingSet, book_sizes: tuple[int, ...], seed: int, vectors: np.ndarray | None
    ) -> Codes:
        """Unique codes, one book for each level of the tree: as few as have a leaf for every item.

        Below the nodes of one level there are equally many items, or one more. The items of the last inner node are
        numbered by their training interactions, the most popular first, then by index.

        Args:
            training_set: whose items get codes; of its histories the popularity of the items is read.
            book_sizes: not read; the method decides them.
            seed: of the start of k-means.
            vectors: float64 ``[items, dimensions]``.

        Raises:
            ValueError: there are no vectors, or the training histories are empty.
        """
        check_assignable(training_set)
        if vectors is None:
            raise ValueError("a balanced tree is one of vectors, and none were given")
        popularity = np.bincount(training_set.train.items, minlength=training_set.items)
        values = tree_paths(vectors, popularity, self.branches, seed, self.iterations)
        sizes = (self.branches,) * values.shape[1]
        method = {"name": "balanced tree", **described_books(sizes), "seed": seed}
        method |= {"branches": self.branches, "iterations": self.iterations}
        return Codes(values.astype(code_type(sizes)), method, quality_report(values, training_set.train, sizes))


def tree_paths(
    vectors: np.ndarray, popularity: np.ndarray, branches: int, seed: int, iterations: int = 20
) -> np.ndarray:
    """The child of each level that leads to each item, int64 ``[items, levels]``.

    Args:
        vectors: ``[items, dimensions]``.
        popularity: of the items, which orders those of the last inner nodes, ``[items]``.
        branches: children of a node, at most.
        seed: of the start of k-means.
        iterations: of k-means, at most.
    """
    items = len(vectors)
    if vectors.shape[1] == 0:
        # nothing is known of any item
        vectors = np.zeros((items, 1))
    levels = 1
    while branches**levels < items:
        levels += 1
    paths = np.zeros((items, levels), dtype=np.int64)
    nodes = [np.arange(items)]
    for level in range(levels - 1):
        children = []
        for members in nodes:
            child = balanced_clusters(vectors[members], branches, seed, iterations)
            paths[members, level] = child
            children += np.split(members[np.argsort(child, kind="stable")], np.cumsum(np.bincount(child))[:-1])
        nodes = children
    for members in nodes:
        paths[members[np.argsort(-popularity[members], kind="stable")], -1] = np.arange(len(members))
    return paths


def balanced_clusters(vectors: np.ndarray, clusters: int, seed: int, iterations: int = 20) -> np.ndarray:
    """Equally large clusters of at least as many vectors, int64 ``[vectors]``; sizes differ by at most one.

    k-means, then rounds: each vector without a cluster asks for the nearest centre that has room, and a centre that is
    asked by too many takes those that are farthest from their next choice, compared with this one. The clusters that
    k-means makes largest are those that are larger by one.
    """
    from scipy.spatial.distance import cdist

    centres, nearest = kmeans(vectors, clusters, seed, iterations)
    distances = cdist(vectors, centres)
    # where there are fewer distinct vectors than clusters, the clusters without a centre are nobody's choice
    missing = clusters - len(centres)
    distances = np.pad(distances, ((0, 0), (0, missing)), constant_values=distances.max() + 1)
    room = np.full(clusters, len(vectors) // clusters)
    larger = np.argsort(-np.bincount(nearest, minlength=clusters), kind="stable")[: len(vectors) % clusters]
    room[larger] += 1
    assigned = np.full(len(vectors), -1)
    while len(waiting := np.flatnonzero(assigned < 0)):
        offered = np.where(room > 0, distances[waiting], np.inf)
        choice = offered.argmin(axis=1)
        first = offered[np.arange(len(waiting)), choice]
        offered[np.arange(len(waiting)), choice] = np.inf
        second = offered.min(axis=1)
        # by choice, those first that lose most; the place of each among those of its choice
        order = np.lexsort((first - second, choice))
        asked = np.bincount(choice, minlength=clusters)
        place = np.arange(len(waiting)) - np.repeat(np.cumsum(asked) - asked, asked)
        taken = order[place < room[choice[order]]]
        assigned[waiting[taken]] = choice[taken]
        room -= np.bincount(choice[taken], minlength=clusters)
    return assigned
