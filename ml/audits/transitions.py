"""Transitions from one item to the next: how many successors items have, and how similar these are."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from ml.data.training_set import TrainingSet
from ml.item_graph.graph import transitions
from ml.item_graph.histories import last_items
from ml.item_graph.hop_rings import on_a_grid
from ml.recommender import NO_ITEM
from ml.text.registry import DEFAULT_ENCODER, ENCODERS
from ml.text.vectors import text_vectors

PAIRS = 100_000
_CELLS_AT_ONCE = 1 << 22
_DIGITS = 6


@dataclass(frozen=True)
class Branching:
    """Successors of items in the training histories, and the share of the targets among them.

    Attributes:
        items: size of the catalogue.
        cases: test cases looked at that have a history.
        mean_successors: different successors of an item that has any.
        median_successors: the same.
        without_successor: share of the catalogue.
        one_step_share: share of the targets that once followed the last item of their history.
        one_step_items: median number of items that did.
        two_step_share: share of the targets one or two steps from it.
        two_step_items: median number of items there.
    """

    items: int
    cases: int
    mean_successors: float
    median_successors: float
    without_successor: float
    one_step_share: float
    one_step_items: float
    two_step_share: float
    two_step_items: float


def measure_branching(training_set: TrainingSet, rows: np.ndarray) -> Branching:
    """Follow the transitions of the training histories from the last item of some test histories.

    Args:
        training_set: whose held-out items make no transition.
        rows: test cases.
    """
    edges = transitions(training_set)
    successors = np.diff(edges.indptr)
    known = successors[successors > 0]
    last = last_items(training_set.histories("test").take(rows))
    targets = np.asarray(training_set.test_targets, dtype=np.int64)[rows]
    last, targets = last[last != NO_ITEM], targets[last != NO_ITEM]
    step = sparse.csr_matrix((np.ones(edges.nnz, dtype=np.float32), edges.indices, edges.indptr), shape=edges.shape)
    anchors, anchor_of = np.unique(last, return_inverse=True)
    by_anchor = np.argsort(anchor_of, kind="stable")
    within = np.zeros((2, len(last)), dtype=bool)
    sizes = np.zeros((2, len(anchors)), dtype=np.int64)
    at_once = max(1, _CELLS_AT_ONCE // max(1, training_set.items))
    for start in range(0, len(anchors), at_once):
        block = anchors[start : start + at_once]
        one = step[block]
        reached = np.zeros((len(block), training_set.items), dtype=bool)
        for number, found in enumerate((one, one @ step)):
            found = found.tocsr()
            reached[np.repeat(np.arange(len(block)), np.diff(found.indptr)), found.indices] = True
            sizes[number, start : start + len(block)] = reached.sum(axis=1)
            low, high = np.searchsorted(anchor_of[by_anchor], [start, start + len(block)])
            cases = by_anchor[low:high]
            within[number, cases] = reached[anchor_of[cases] - start, targets[cases]]
    return Branching(
        items=training_set.items,
        cases=len(last),
        mean_successors=float(known.mean()) if len(known) else 0.0,
        median_successors=float(np.median(known)) if len(known) else 0.0,
        without_successor=float((successors == 0).mean()) if len(successors) else 0.0,
        one_step_share=float(within[0].mean()) if len(last) else 0.0,
        one_step_items=float(np.median(sizes[0][anchor_of])) if len(last) else 0.0,
        two_step_share=float(within[1].mean()) if len(last) else 0.0,
        two_step_items=float(np.median(sizes[1][anchor_of])) if len(last) else 0.0,
    )


@dataclass(frozen=True)
class Smoothness:
    """How like the text of the next item is to that of the last.

    Attributes:
        encoder: title of what made the vectors.
        pairs: consecutive training items that were compared.
        cases: test cases that have a history.
        transitions: mean cosine of consecutive training items.
        random_pairs: mean cosine of the same items, each beside the successor of another.
        in_ten_most_alike: share of the targets that are among the ten items most like the last one.
        median_place: median over cases of the share of the catalogue that is more like it than the target is.
    """

    encoder: str
    pairs: int
    cases: int
    transitions: float
    random_pairs: float
    in_ten_most_alike: float
    median_place: float


def measure_smoothness(
    training_set: TrainingSet, rows: np.ndarray, seed: int, encoder: str = DEFAULT_ENCODER
) -> Smoothness | None:
    """Compare the text of consecutive items with that of random pairs, and of last items with that of targets.

    The last item itself is no candidate; items that are as like as the target count by half.

    Args:
        training_set: without text nothing is known: ``None``. So too where no text holds a word.
        rows: test cases.
        seed: of the pairs.
        encoder: one of ``ml.text.registry.ENCODERS``.
    """
    if training_set.item_text is None:
        return None
    vectors = text_vectors(training_set, encoder)
    if vectors.shape[1] == 0 or training_set.items < 2:
        return None
    random = np.random.default_rng(seed)
    train = training_set.train
    row = train.row_of_each
    within = np.flatnonzero(row[1:] == row[:-1])
    within = np.sort(random.permutation(within)[:PAIRS])
    left, right = np.asarray(train.items[within]), np.asarray(train.items[within + 1])
    shuffled = random.permutation(right)

    last = last_items(training_set.histories("test").take(rows))
    targets = np.asarray(training_set.test_targets, dtype=np.int64)[rows]
    asked = (last != NO_ITEM) & (last != targets)
    last, targets = last[asked], targets[asked]
    places = np.empty(len(last))
    exact = on_a_grid(vectors)
    at_once = max(1, _CELLS_AT_ONCE // training_set.items)
    for start in range(0, len(last), at_once):
        block, wanted = last[start : start + at_once], targets[start : start + at_once]
        # rounded, so that no tie hangs on the last bits of a sum
        likeness = np.round(exact[block] @ exact.T, _DIGITS)
        own = np.arange(len(block))
        likeness[own, block] = -np.inf
        of_target = likeness[own, wanted][:, None]
        more, as_much = (likeness > of_target).sum(axis=1), (likeness == of_target).sum(axis=1) - 1
        places[start : start + len(block)] = more + as_much / 2
    return Smoothness(
        encoder=ENCODERS[encoder].title,
        pairs=len(left),
        cases=len(last),
        transitions=_mean_cosine(vectors, left, right),
        random_pairs=_mean_cosine(vectors, left, shuffled),
        in_ten_most_alike=float((places < 10).mean()) if len(last) else 0.0,
        median_place=float(np.median(places)) / max(1, training_set.items - 2) if len(last) else 0.0,
    )


def _mean_cosine(vectors: np.ndarray, left: np.ndarray, right: np.ndarray) -> float:
    if len(left) == 0:
        return 0.0
    return float(np.einsum("pd,pd->p", vectors[left], vectors[right], dtype=np.float64).mean())
