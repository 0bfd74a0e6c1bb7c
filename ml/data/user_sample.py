"""Samples of users, by the md5 of seed and identity: the same for the same users, whatever else a dump holds."""

from __future__ import annotations

import hashlib

import numpy as np

from ml.data.training_set import TrainingSet


def drawn(user_ids: np.ndarray, users: np.ndarray, wanted: int, seed: int, purpose: str = "") -> np.ndarray:
    """So many of the given users, ascending; all of them where there are no more.

    Args:
        user_ids: identity of each user index, bytes ``[users of the training set]``.
        users: user indices to draw from, each once.
        wanted: how many; 0 for all.
        seed: another one draws other users.
        purpose: samples for other purposes are drawn apart. Without one, as the warehouse draws validation users.
    """
    if wanted == 0 or len(users) <= wanted:
        return np.sort(users)
    prefix = f"{purpose}|{seed}|".encode() if purpose else b"%d|" % seed
    ids = user_ids[users].tolist()
    order = sorted(range(len(users)), key=lambda at: (hashlib.md5(prefix + ids[at]).digest(), ids[at]))
    return np.sort(users[order[:wanted]])


def measured_on_sample(training_set: TrainingSet) -> TrainingSet:
    """The training set, measured on as many test users as its protocol says (``test_users``, ``seed``); on all where it
    says nothing."""
    wanted, seed = (int(training_set.protocol.get(name, 0)) for name in ("test_users", "seed"))
    if not wanted:
        return training_set
    every = training_set.with_every_test_case()
    return every.measured_on(drawn(every.user_ids, every.test_users, wanted, seed, "test"))
