"""RecJPQ's assignment by BPR: items that the same users prefer to other items get like codes.

A matrix factorisation ``user . item + item bias`` with as many factors as there are code books is trained with
BPR (Rendle et al., "BPR: Bayesian Personalized Ranking from Implicit Feedback", UAI 2009), and each item factor
orders the items, as for the SVD (Petrov and Macdonald, "RecJPQ", WSDM 2024, section 4). The bias takes no part
in the codes. The published assignment trains with LightFM's defaults, kept here where they are a choice: 20
epochs, Adagrad with a step of 0.05, no regularisation, start uniform within half of ``1 / factors``, negatives
drawn as often as they occur in the training histories and never from the user's own history. What differs: the
interactions of a batch are one step, where LightFM takes them one by one on threads that race.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ml.codes.codes import Codes, check_assignable, described_books, sizes_of
from ml.codes.quality import quality_report
from ml.codes.quantiles import quantise_factors
from ml.data.sequences import Sequences
from ml.data.training_set import TrainingSet
from ml.registry import Registered

REGISTERED = Registered(
    name="bpr",
    title="BPR matrix factorisation",
    description="Equally full bins of the item factors of a matrix factorisation trained with BPR.",
    source="Petrov and Macdonald, RecJPQ, WSDM 2024, section 4; Rendle et al., UAI 2009",
    path="ml.codes.bpr:BPRSettings",
    needs=("book_sizes",),
    rank=20,
)
EPOCHS = 20
LEARNING_RATE = 0.05
BATCH_SIZE = 1024
_DRAWS_PER_NEGATIVE = 10


@dataclass(frozen=True)
class Factors:
    """What is trained: vectors ``[users, factors]`` and ``[items, factors]``, item biases ``[items]``."""

    users: np.ndarray
    items: np.ndarray
    biases: np.ndarray


@dataclass(frozen=True)
class Triples:
    """Who prefers which item to which: int64 ``[triples]`` each."""

    users: np.ndarray
    preferred: np.ndarray
    others: np.ndarray


@dataclass(frozen=True)
class BPRSettings:
    """BPR matrix factorisation; nothing to set: the published settings are constants of this module."""

    def assign(
        self, training_set: TrainingSet, book_sizes: tuple[int, ...], seed: int, vectors: np.ndarray | None = None
    ) -> Codes:
        """See :func:`assign_bpr_codes`."""
        return assign_bpr_codes(training_set, book_sizes, seed)


def assign_bpr_codes(training_set: TrainingSet, books: int | Sequence[int] = 8, seed: int = 0) -> Codes:
    """Codes from the training histories alone: held-out targets are not read.

    Bins are those of :func:`ml.codes.quantiles.quantise_factors`. An item in no training history is neither
    preferred nor drawn, and keeps the random factors it started with, which lie near zero. Equal bit for bit for
    equal input and seed: no sum depends on threads.

    Args:
        training_set: whose histories are factorised.
        books: code books of 256, ``m`` of the paper, each of which is a factor, or the number of codes of each.
        seed: of the start, of the order, of the negatives and of the noise.

    Raises:
        ValueError: there is no book, or the training histories are empty.
    """
    book_sizes = sizes_of(books)
    check_assignable(training_set, book_sizes)
    factors, losses = train_factors(training_set.train, training_set.items, len(book_sizes), seed)
    values = quantise_factors(factors.items.T, seed, book_sizes)
    report = quality_report(values, training_set.train, book_sizes)
    report |= {"first_epoch_loss": losses[0], "last_epoch_loss": losses[-1]}
    method = {
        "name": "BPR",
        **described_books(book_sizes),
        "seed": seed,
        "epochs": EPOCHS,
        "learning_rate": LEARNING_RATE,
        "batch_size": BATCH_SIZE,
    }
    return Codes(values, method, report)


def train_factors(histories: Sequences, items: int, factors: int, seed: int) -> tuple[Factors, list[float]]:
    """Train on every interaction once an epoch, a repeated one as often as it occurs.

    Returns:
        The factors, and the mean loss of each epoch (of its triples before their step).
    """
    random = np.random.default_rng(seed)
    users = histories.row_of_each
    preferred = np.asarray(histories.items, dtype=np.int64)
    known = np.unique(users * items + preferred)
    trained = Factors(
        (random.random((len(histories), factors)) - 0.5) / factors,
        (random.random((items, factors)) - 0.5) / factors,
        np.zeros(items),
    )
    squares = Factors(np.ones_like(trained.users), np.ones_like(trained.items), np.ones(items))
    losses = []
    for _ in range(EPOCHS):
        order = random.permutation(len(preferred))
        loss_sum, count = 0.0, 0
        for start in range(0, len(order), BATCH_SIZE):
            rows = order[start : start + BATCH_SIZE]
            triples = _draw_others(users[rows], preferred[rows], preferred, known, items, random)
            loss_sum += _step(trained, squares, triples)
            count += len(triples.users)
        losses.append(loss_sum / max(1, count))
    return trained, losses


def bpr_loss(factors: Factors, triples: Triples) -> float:
    """Sum over triples of ``-log(sigmoid(score of the preferred - score of the other))``."""
    return float(np.logaddexp(0, -_margins(factors, triples)).sum())


def bpr_gradients(factors: Factors, triples: Triples) -> Factors:
    """Gradient of :func:`bpr_loss` by triple, before those of one row are summed.

    Returns:
        For the user of each triple ``[triples, factors]``; for its two items, all preferred ones before all
        others, vectors ``[2 * triples, factors]`` and biases ``[2 * triples]``.
    """
    # d softplus(-x) / dx = -sigmoid(-x), in the form that does not overflow
    slope = -np.exp(-np.logaddexp(0, _margins(factors, triples)))
    difference = factors.items[triples.preferred] - factors.items[triples.others]
    item = slope[:, None] * factors.users[triples.users]
    return Factors(slope[:, None] * difference, np.concatenate([item, -item]), np.concatenate([slope, -slope]))


def _margins(factors: Factors, triples: Triples) -> np.ndarray:
    difference = factors.items[triples.preferred] - factors.items[triples.others]
    biases = factors.biases[triples.preferred] - factors.biases[triples.others]
    # no matrix product: its last bits would depend on the number of threads
    return (factors.users[triples.users] * difference).sum(axis=1) + biases


def _step(factors: Factors, squares: Factors, triples: Triples) -> float:
    """One Adagrad step in place; the loss before it."""
    loss = bpr_loss(factors, triples)
    gradients = bpr_gradients(factors, triples)
    both = np.concatenate([triples.preferred, triples.others])
    _descend(factors.users, squares.users, triples.users, gradients.users)
    _descend(factors.items, squares.items, both, gradients.items)
    _descend(factors.biases, squares.biases, both, gradients.biases)
    return loss


def _descend(values: np.ndarray, squares: np.ndarray, rows: np.ndarray, gradients: np.ndarray) -> None:
    """Adagrad on the given rows alone, in place; gradients of equal rows are summed first."""
    if len(rows) == 0:
        return
    order = np.argsort(rows, kind="stable")
    ordered = rows[order]
    starts = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]]))
    touched, summed = ordered[starts], np.add.reduceat(gradients[order], starts, axis=0)
    # the step before the square is added, as LightFM does: its sums start at one
    values[touched] -= LEARNING_RATE * summed / np.sqrt(squares[touched])
    squares[touched] += summed**2


def _draw_others(
    users: np.ndarray,
    preferred: np.ndarray,
    interactions: np.ndarray,
    known: np.ndarray,
    items: int,
    random: np.random.Generator,
) -> Triples:
    """An item that is not in the user's history for each; where ten draws found none the triple is left out."""
    others = interactions[random.integers(len(interactions), size=len(users))]
    wrong = np.flatnonzero(_among(users * items + others, known))
    for _ in range(_DRAWS_PER_NEGATIVE - 1):
        if len(wrong) == 0:
            break
        others[wrong] = interactions[random.integers(len(interactions), size=len(wrong))]
        wrong = wrong[_among(users[wrong] * items + others[wrong], known)]
    kept = np.ones(len(users), dtype=bool)
    kept[wrong] = False
    return Triples(users[kept], preferred[kept], others[kept])


def _among(keys: np.ndarray, ordered: np.ndarray) -> np.ndarray:
    """Which keys are among the ordered ones, bool ``[keys]``."""
    places = np.searchsorted(ordered, keys)
    places[places == len(ordered)] = 0
    return ordered[places] == keys
