"""What the tests of audits run on: data made good or bad for one of them, and recommenders that know what they should
not."""

from __future__ import annotations

import numpy as np

from ml.baselines.markov_chain import MarkovChain
from ml.baselines.most_popular import MostPopular
from ml.data.sequences import Sequences
from ml.data.timed_interactions import NO_TIME, SPLITS, Interactions
from ml.data.training_set import TrainingSet
from ml.recommender import NO_ITEM, Recommendations

DAY = 24 * 60 * 60 * 1000


def leave_one_out(rows: list, items: int, texts: list[str] | None = None) -> TrainingSet:
    """The last item of each row is its test target, the one before it that of validation."""
    users = np.arange(len(rows), dtype=np.int32)
    return TrainingSet(
        dataset="Made_Up",
        item_ids=np.array([b"I%05d" % item for item in range(items)], dtype="S6"),
        user_ids=np.array([b"U%05d" % user for user in range(len(rows))], dtype="S6"),
        train=Sequences.from_lists([row[:-2] for row in rows]),
        validation_users=users,
        validation_targets=np.array([row[-2] for row in rows], dtype=np.int32),
        test_users=users,
        test_targets=np.array([row[-1] for row in rows], dtype=np.int32),
        item_text=None if texts is None else tuple(texts),
    )


def with_moments(training_set: TrainingSet, moments: list) -> Interactions:
    """The interactions of a :func:`leave_one_out` set, each user's at the given moments; ``None`` for no time."""
    histories, targets = training_set.histories("test"), training_set.test_targets
    rows = [[*histories[user], targets[user]] for user in range(training_set.users)]
    lengths = [len(row) for row in rows]
    total = sum(lengths)
    splits = [SPLITS.index(name) for row in rows for name in ["train"] * (len(row) - 2) + ["validation", "test"]]
    flat = [NO_TIME if one is None else one for row in moments for one in row]
    assert len(flat) == total
    return Interactions(
        users=np.repeat(np.arange(len(rows)), lengths).astype(np.int32),
        items=np.concatenate(rows).astype(np.int32),
        splits=np.array(splits, dtype=np.uint8),
        moments=np.array(flat, dtype=np.int64),
        lines=np.arange(total),
        ratings=np.full(total, 5, dtype=np.float32),
        duplicates=np.zeros(total, dtype=np.int64),
    )


def random_rows(users: int, items: int, seed: int = 0, shortest: int = 5, longest: int = 9) -> list[np.ndarray]:
    """Different items in random order."""
    random = np.random.default_rng(seed)
    return [random.permutation(items)[: random.integers(shortest, longest + 1)] for _ in range(users)]


class Peeking:
    """A Markov chain that was fitted on the held-out items too."""

    kind = MarkovChain

    def fit(self, training_set: TrainingSet) -> Peeking:
        known = training_set.with_validation_trained_on()
        whole = known.train.append(np.asarray(known.test_users, dtype=np.int64), known.test_targets)
        self.fitted = self.kind().fit(leave_nothing_out(known, whole))
        return self

    def recommend(self, histories: Sequences, k: int, exclude_seen: bool) -> Recommendations:
        return self.fitted.recommend(histories, k, exclude_seen)


class PeekingPopularity(Peeking):
    """The most popular items, held-out ones counted too: all that it knows of these is how often each occurs."""

    kind = MostPopular


def leave_nothing_out(training_set: TrainingSet, train: Sequences) -> TrainingSet:
    nobody = np.empty(0, dtype=np.int32)
    return TrainingSet(
        training_set.dataset, training_set.item_ids, training_set.user_ids, train, nobody, nobody, nobody, nobody
    )


class KnowsTheFirst:
    """Recommends what the item ``back`` places from the end of a history says; chance where there is none."""

    def __init__(self, answers: np.ndarray, back: int) -> None:
        self.answers, self.back = answers, back

    def recommend(self, histories: Sequences, k: int, exclude_seen: bool) -> Recommendations:
        items = np.full((len(histories), k), NO_ITEM, dtype=np.int32)
        for row in range(len(histories)):
            history = histories[row]
            first = [self.answers[history[-self.back]]] if len(history) >= self.back else []
            seen = set(history.tolist()) if exclude_seen else set()
            rest = [item for item in range(len(self.answers)) if item not in first]
            listed = [item for item in [*first, *rest] if item not in seen][:k]
            items[row, : len(listed)] = listed
        scores = np.where(items == NO_ITEM, -np.inf, -np.arange(k)).astype(np.float32)
        return Recommendations(items, scores)
