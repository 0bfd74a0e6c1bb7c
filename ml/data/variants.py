"""The same interactions under another choice of tie rule, of duplicates, or of split.

Users, items and their indices stay, so that what is measured on a variant and on the training set itself differs by
that choice alone. The rules are those of the warehouse (``tie_order``, ``splits``), repeated here in numpy, so that
an audit needs neither the dump nor a second warehouse.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction

import numpy as np

from ml.data.build_training_set import SPLITS, divided
from ml.data.timed_interactions import NO_TIME, Interactions
from ml.data.training_set import TrainingSet
from ml.data.user_sample import drawn, measured_on_sample

TIE_RULES = ("file", "item", "hash", "shuffle")
LEAVE_ONE_OUT, GLOBAL_TEMPORAL, COLD_ITEMS = "leave-one-out", "global-temporal", "cold-items"
LEAVE_LAST_K = "leave-last-k"
QUANTILES = (0.8, 0.9)
"""Shares of all interactions before the validation and before the test boundary of a global-temporal split."""

_TRAIN, _HISTORY, _VALIDATION, _TEST, _UNUSED = range(len(SPLITS))


class VariantError(ValueError):
    """The interactions allow no such variant; the message says why."""


def split_of(training_set: TrainingSet) -> str:
    """The kind of split, from its protocol: :data:`LEAVE_ONE_OUT`, :data:`LEAVE_LAST_K`, :data:`GLOBAL_TEMPORAL` or
    :data:`COLD_ITEMS`."""
    named = str(training_set.protocol.get("split", LEAVE_ONE_OUT))
    return next((kind for kind in (LEAVE_LAST_K, GLOBAL_TEMPORAL, COLD_ITEMS) if named.startswith(kind)), LEAVE_ONE_OUT)


def is_tied_with_previous(interactions: Interactions) -> np.ndarray:
    """Which interactions share user and moment with the one before them, bool ``[interactions]``.

    Interactions without a time share theirs: nothing but a rule orders them.
    """
    tied = np.zeros(len(interactions), dtype=bool)
    tied[1:] = (np.diff(interactions.users) == 0) & (interactions.moments[1:] == interactions.moments[:-1])
    return tied


def with_tie_order(training_set: TrainingSet, interactions: Interactions, rule: str, seed: int = 0) -> TrainingSet:
    """The training set that results from the same interactions under another tie rule.

    Time comes first; only interactions of one user at one moment change places. Which places are trained on,
    validated and tested stays as it is, so under the rule of the training set itself it comes out unchanged.

    Args:
        training_set: made of the interactions.
        interactions: all of them.
        rule: ``file`` (place in the dump), ``item`` (identity), ``hash`` (md5 of user, item and time in whole
            seconds) or ``shuffle`` (the same with the seed before it).
        seed: of ``shuffle``.

    Raises:
        VariantError: the order came with the source, so no rule decided it.
        ValueError: there is no such rule.
    """
    if rule not in TIE_RULES:
        raise ValueError(f"there is no tie rule {rule!r}; it is one of {', '.join(TIE_RULES)}")
    if interactions.has_given_order or interactions.has_given_split:
        raise VariantError("the order came with the source, and no tie rule decided it")
    _check_one_place_is_split(training_set)
    tied = is_tied_with_previous(interactions)
    in_group = tied | np.append(tied[1:], False)
    rows = np.flatnonzero(in_group)
    group = np.cumsum(~tied)[rows]
    keys = [interactions.ratings[rows], interactions.items[rows]]
    if rule == "file":
        keys.append(interactions.lines[rows])
    elif rule != "item":
        keys.extend(_hashes(training_set, interactions, rows, () if rule == "hash" else (seed,)))
    items = interactions.items.copy()
    items[rows] = items[rows[np.lexsort((*keys, group))]]
    return _divided(training_set, interactions.users, items, interactions.splits, interactions.moments)


def with_duplicates(training_set: TrainingSet, interactions: Interactions) -> TrainingSet:
    """The training set with duplicates kept: each interaction as often as in the dump, copies next to each other.

    Users and items stay those of the training set (no second k-core), and so do the users of validation and test.

    Raises:
        VariantError: the split came with the source, so the place of a copy in it is not ours to choose.
    """
    if interactions.has_given_split:
        raise VariantError("the split came with the source")
    _check_one_place_is_split(training_set)
    rows = np.repeat(np.arange(len(interactions)), 1 + interactions.duplicates)
    users, splits = interactions.users[rows], interactions.splits[rows]
    if split_of(training_set) == GLOBAL_TEMPORAL:
        # the first of its window is the target; what follows in the window is only known, or not used
        is_copy = np.append(False, rows[1:] == rows[:-1])
        splits = np.where(is_copy & (splits == _VALIDATION), _HISTORY, splits)
        splits = np.where(is_copy & (splits == _TEST), _UNUSED, splits)
    else:
        tested = training_set.with_every_test_case().test_users
        splits = _leave_one_out(users, training_set.validation_users, tested)
    return _divided(training_set, users, interactions.items[rows], splits, interactions.moments[rows])


def with_other_split(
    training_set: TrainingSet, interactions: Interactions, quantiles: tuple[float, float] = QUANTILES
) -> TrainingSet:
    """The same interactions by the other of the two splits: global-temporal for leave-one-out, and the reverse.

    Raises:
        VariantError: the split is neither.
    """
    _check_one_place_is_split(training_set)
    if split_of(training_set) == GLOBAL_TEMPORAL:
        return with_leave_one_out(training_set, interactions)
    return with_temporal_split(training_set, interactions, quantiles)


def why_no_variant(training_set: TrainingSet) -> str:
    """Why another order or another split of the same interactions cannot be compared with a training set; empty where
    it can.

    A split by items would train on items that are held out, and one with several targets a user asks another question
    than one with a single target.
    """
    if split_of(training_set) == COLD_ITEMS:
        return "the split holds out items and not places of a history"
    if split_of(training_set) == LEAVE_LAST_K or training_set.later_targets is not None:
        return "the split holds out several items of a user, and what it compares has one target a user"
    return ""


def _check_one_place_is_split(training_set: TrainingSet) -> None:
    """Check that the split is by one place in a history or by time.

    Raises:
        VariantError: it is by items, or by several places.
    """
    if reason := why_no_variant(training_set):
        raise VariantError(reason)


def with_leave_one_out(training_set: TrainingSet, interactions: Interactions) -> TrainingSet:
    """The same interactions with the last of each user held out, and the last but one of a sample of users.

    The sample is drawn by the protocol of the training set (``seed``, ``validation_users``).

    Raises:
        VariantError: the split came with the source, or no user has two interactions.
    """
    _check_own_split(interactions)
    lengths = np.bincount(interactions.users, minlength=training_set.users)
    validated = _sample(training_set, np.flatnonzero(lengths >= 3))
    splits = _leave_one_out(interactions.users, validated, np.flatnonzero(lengths >= 2))
    protocol = {**training_set.protocol, "split": LEAVE_ONE_OUT}
    variant = _divided(training_set, interactions.users, interactions.items, splits, interactions.moments)
    return replace(_checked(variant), protocol=protocol)


def with_temporal_split(
    training_set: TrainingSet, interactions: Interactions, quantiles: tuple[float, float] = QUANTILES
) -> TrainingSet:
    """The same interactions split at two moments of global time.

    What lies before the first boundary is trained on. The first interaction of a user from the second boundary on
    is its target, everything before it is known when it is ranked, and what follows it is not used. Of users with
    an interaction between the boundaries and one before them, a sample by the protocol of the training set
    (``seed``, ``validation_users``) is validated on the first of these.

    Args:
        training_set: made of the interactions.
        interactions: all of them, with times.
        quantiles: shares of all interactions before the boundaries; a boundary is the time in whole seconds of the
            interaction at that share, rounded up.

    Raises:
        VariantError: the split came with the source, a time is missing, or nothing is left to train on or to test.
    """
    _check_own_split(interactions)
    if not interactions.has_times:
        raise VariantError("not every interaction has a time")
    ordered = np.sort(interactions.moments // 1000)
    boundaries = [moment_at(str(share), ordered) for share in quantiles]
    variant = split_at(training_set, interactions, temporal_splits(training_set, interactions, boundaries))
    protocol = {
        **training_set.protocol,
        "split": f"{GLOBAL_TEMPORAL}, validation from {quantiles[0]}, test from {quantiles[1]}",
    }
    return replace(_checked(variant), protocol=protocol)


def moment_at(share: str, ordered: np.ndarray) -> int:
    """The time at a share of the interactions, as ``0.9``, in seconds, as the warehouse takes it.

    Args:
        share: in decimals, so that 0.9 of 10 interactions is exactly 9.
        ordered: times of all interactions in seconds, ascending.
    """
    return int(ordered[math.ceil(Fraction(share) * len(ordered)) - 1])


def temporal_splits(training_set: TrainingSet, interactions: Interactions, boundaries: Sequence[int]) -> np.ndarray:
    """What each interaction is for in a global-temporal split, as numbers of ``SPLITS``, ``[interactions]``.

    Args:
        training_set: made of the interactions.
        interactions: all of them, with times.
        boundaries: ascending, in seconds since 1970: where validation begins, where the test begins and, if it ends
            before the data do, where it ends. What comes after the end is not used.
    """
    users, seconds = interactions.users, interactions.moments // 1000
    window = np.searchsorted(boundaries, seconds, side="right")
    first = np.zeros(len(users), dtype=bool)
    first[np.unique(users.astype(np.int64) * 4 + window, return_index=True)[1]] = True
    starts = np.append(True, np.diff(users) != 0)
    splits = np.array([_TRAIN, _HISTORY, _UNUSED, _UNUSED])[window]
    splits[first & (window == 2) & ~starts] = _TEST
    trained = np.isin(users, users[window == 0])
    may_validate = first & (window == 1) & trained
    splits[may_validate & np.isin(users, _sample(training_set, users[may_validate]))] = _VALIDATION
    return splits


def split_at(training_set: TrainingSet, interactions: Interactions, splits: np.ndarray) -> TrainingSet:
    """The training set of the same interactions under another split.

    Args:
        training_set: made of the interactions.
        interactions: all of them.
        splits: what each is for, as numbers of ``SPLITS``, ``[interactions]``.
    """
    return _divided(training_set, interactions.users, interactions.items, splits, interactions.moments)


def _hashes(
    training_set: TrainingSet, interactions: Interactions, rows: np.ndarray, before: Sequence[int]
) -> tuple[np.ndarray, np.ndarray]:
    """The md5 of each interaction as the warehouse takes it, as two halves for a sort: the later key first."""
    user_ids, item_ids = training_set.user_ids.tolist(), training_set.item_ids.tolist()
    prefix = b"".join(b"%d|" % number for number in before)
    moments = interactions.moments[rows]
    times = [b"" if moment == NO_TIME else b"|%d" % (moment // 1000) for moment in moments.tolist()]
    cases = zip(interactions.users[rows].tolist(), interactions.items[rows].tolist(), times, strict=True)
    digests = b"".join(
        hashlib.md5(b"%s%s|%s%s" % (prefix, user_ids[user], item_ids[item], time)).digest()
        for user, item, time in cases
    )
    halves = np.frombuffer(digests, dtype=">u8").reshape(-1, 2).astype(np.uint64)
    return halves[:, 1], halves[:, 0]


def _sample(training_set: TrainingSet, users: np.ndarray) -> np.ndarray:
    """The users to validate on among those who can be, by the md5 of seed and identity as in the warehouse."""
    wanted = int(training_set.protocol.get("validation_users", len(training_set.validation_users)))
    return drawn(training_set.user_ids, np.unique(users), wanted, int(training_set.protocol.get("seed", 0)))


def _leave_one_out(users: np.ndarray, validated: np.ndarray, tested: np.ndarray) -> np.ndarray:
    """Split of each interaction, the users' last held out."""
    last = np.flatnonzero(np.append(np.diff(users) != 0, True))
    splits = np.full(len(users), _TRAIN)
    splits[last[np.isin(users[last], tested)]] = _TEST
    splits[last[np.isin(users[last], validated)] - 1] = _VALIDATION
    return splits


def _check_own_split(interactions: Interactions) -> None:
    if interactions.has_given_split:
        raise VariantError("the split came with the source")


def _checked(variant: TrainingSet) -> TrainingSet:
    if not len(variant.train.items) or not len(variant.test_users):
        raise VariantError(
            f"the other split leaves {len(variant.train.items)} interactions to train on and "
            f"{len(variant.test_users)} users to test"
        )
    return variant


def _divided(
    training_set: TrainingSet, users: np.ndarray, items: np.ndarray, splits: np.ndarray, moments: np.ndarray
) -> TrainingSet:
    """The training set of these interactions, which come user by user in their order; with times where it has some."""
    times = None if training_set.train.times is None else moments // 1000
    made = replace(training_set, unmeasured=None, **divided(users, items, splits, training_set.users, times))
    return measured_on_sample(made)
