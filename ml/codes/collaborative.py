"""P5's collaborative indexing: the path of an item through clusters of items that the same users have.

Hua, Xu, Ge and Zhang, "How to Index Item IDs for Recommendation Foundation Models", SIGIR-AP 2023. The graph of items
that occur in the same training history is divided by spectral clustering (Ng, Jordan and Weiss, "On Spectral
Clustering", NIPS 2001), and each part again as long as it is large. What differs from the paper: items that share no
history with another item of their part are a cluster of their own, the last one, and parts that no graph can divide are
cut into equal pieces.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ml.codes.clustering import kmeans
from ml.codes.codes import LARGEST_BOOK, Codes, check_assignable, code_type, described_books
from ml.codes.quality import quality_report
from ml.data.sequences import Sequences
from ml.data.training_set import TrainingSet
from ml.registry import Registered

if TYPE_CHECKING:
    from scipy.sparse import csc_matrix

REGISTERED = Registered(
    name="collaborative",
    title="Collaborative",
    description="Paths through spectral clusters of the items that the same users have, and a number in the last one.",
    source="Hua et al., How to Index Item IDs for Recommendation Foundation Models, SIGIR-AP 2023",
    path="ml.codes.collaborative:CollaborativeSettings",
    rank=100,
)
# parts of up to so many items are decomposed exactly, larger ones by the Lanczos method
_DENSE = 400
_LANCZOS_RESTARTS = 1000


@dataclass(frozen=True)
class CollaborativeSettings:
    """Collaborative indexing.

    Attributes:
        clusters: into how many a part is divided, beside the cluster of unconnected items.
        leaf_size: parts of more items are divided again; also the size of the last book.
    """

    clusters: int = 20
    leaf_size: int = 256

    def __post_init__(self) -> None:
        if not 2 <= self.clusters < LARGEST_BOOK:
            raise ValueError(f"clusters must be from 2 to {LARGEST_BOOK - 1:,}, not {self.clusters}")
        if not 1 <= self.leaf_size <= LARGEST_BOOK:
            raise ValueError(f"leaf_size must be from 1 to {LARGEST_BOOK:,}, not {self.leaf_size}")

    def assign(
        self,
        training_set: TrainingSet,
        book_sizes: tuple[int, ...] = (),
        seed: int = 0,
        vectors: np.ndarray | None = None,
    ) -> Codes:
        """Unique codes from the training histories alone: held-out targets are not read.

        One book for each step of the longest path, in which shorter paths have code 0, and one for the number in the
        last cluster: its items with the most training interactions first, then by index.

        Args:
            training_set: whose items get codes.
            book_sizes: not read; the method decides them.
            seed: of the start of k-means and of the Lanczos method.
            vectors: not read.

        Raises:
            ValueError: the training histories are empty.
        """
        check_assignable(training_set)
        histories, items = training_set.train, training_set.items
        popularity = np.bincount(histories.items, minlength=items)
        having = _users_and_items(histories, items)
        leaves = _leaves(having, self.clusters, self.leaf_size, seed)
        depth = max(len(path) for path, _ in leaves)
        values = np.zeros((items, depth + 1), dtype=np.int64)
        for path, members in leaves:
            values[members, : len(path)] = path
            values[members[np.argsort(-popularity[members], kind="stable")], depth] = np.arange(len(members))
        sizes = tuple(int(size) for size in values.max(axis=0) + 1)
        report = quality_report(values, histories, sizes)
        report |= {"leaves": len(leaves), "unconnected_items": int((_degrees(having) == 0).sum())}
        method = {"name": "collaborative", **described_books(sizes), "seed": seed}
        method |= {"clusters": self.clusters, "leaf_size": self.leaf_size}
        return Codes(values.astype(code_type(sizes)), method, report)


def _users_and_items(histories: Sequences, items: int) -> csc_matrix:
    """Which user has which item, of ones, float64 ``[users, items]``."""
    from scipy.sparse import csc_matrix

    rows = histories.row_of_each
    having = csc_matrix((np.ones(len(rows)), (rows, histories.items)), shape=(len(histories), items))
    having.sum_duplicates()
    having.data[:] = 1
    return having


def _leaves(having: csc_matrix, clusters: int, leaf_size: int, seed: int) -> list[tuple[tuple[int, ...], np.ndarray]]:
    """The path to each cluster that is not divided, and the items in it, ascending."""
    leaves = []
    parts: list[tuple[tuple[int, ...], np.ndarray]] = [((), np.arange(having.shape[1]))]
    # the list grows while it is read: wider clusters before the ones within them
    for path, members in parts:
        if len(members) <= leaf_size:
            leaves.append((path, members))
            continue
        labels = divided(having[:, members], clusters, seed)
        parts += [((*path, int(label)), members[labels == label]) for label in np.unique(labels)]
    return leaves


def divided(having: csc_matrix, clusters: int, seed: int) -> np.ndarray:
    """The cluster of each item, int64 ``[items]``: ``clusters`` for items that no user has with another one.

    Where all items would be in one cluster, they are cut into equal pieces in their order.
    """
    items = having.shape[1]
    labels = np.full(items, clusters, dtype=np.int64)
    connected = np.flatnonzero(_degrees(having) > 0)
    if len(connected):
        _, labels[connected] = kmeans(_spectral_vectors(having[:, connected], clusters, seed), clusters, seed)
    if (labels == labels[0]).all():
        return np.arange(items) * min(clusters, items) // items
    return labels


def _degrees(having: csc_matrix) -> np.ndarray:
    """How often each item occurs with another one, summed over users and other items, float64 ``[items]``."""
    others = np.asarray(having.sum(axis=1)).ravel()
    counts = np.asarray(having.sum(axis=0)).ravel()
    return having.T @ others - counts


def _spectral_vectors(having: csc_matrix, count: int, seed: int) -> np.ndarray:
    """The eigenvectors of the smallest eigenvalues of the graph's normalised Laplacian, rows of length 1.

    The graph of items that the same users have, ``having.T @ having`` without its diagonal, is never written out: with
    long histories it is dense.

    Args:
        having: of connected items.
        count: of eigenvectors; there are fewer where there are fewer items.
        seed: of the start of the Lanczos method.

    Returns:
        float64 ``[items, count]``.
    """
    from scipy.linalg import eigh
    from scipy.sparse.linalg import ArpackNoConvergence, LinearOperator, eigsh
    from threadpoolctl import threadpool_limits

    items = having.shape[1]
    counts = np.asarray(having.sum(axis=0)).ravel()
    scale = 1 / np.sqrt(_degrees(having))
    backward = having.T.tocsr()
    forward = having.tocsr()

    def adjacent(vector: np.ndarray) -> np.ndarray:
        scaled = scale * vector.ravel()
        return scale * (backward @ (forward @ scaled) - counts * scaled)

    # the smallest of the Laplacian are the largest of the normalised adjacency matrix; last bits depend on the threads
    with threadpool_limits(limits=1):
        if items <= max(_DENSE, 2 * count):
            matrix = scale[:, None] * ((backward @ forward).toarray() - np.diag(counts)) * scale
            _, vectors = eigh(matrix, subset_by_index=(max(0, items - count), items - 1))
        else:
            start = np.random.default_rng(seed).random(items)
            operator = LinearOperator((items, items), matvec=adjacent, dtype=np.float64)
            try:
                _, vectors = eigsh(operator, k=count, which="LA", v0=start, maxiter=_LANCZOS_RESTARTS)
            except ArpackNoConvergence as stopped:
                # of many small components some eigenvectors do not converge: those that did divide the items as well
                vectors = stopped.eigenvectors
    lengths = np.sqrt((vectors * vectors).sum(axis=1, keepdims=True))
    return np.divide(vectors, lengths, out=np.zeros_like(vectors), where=lengths > 0)
