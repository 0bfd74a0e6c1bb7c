"""Users whose sets of items are equal, or nearly so: found exactly, without comparing each with each."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ml.data.sequences import Sequences
from ml.data.training_set import FIT_ON_TRAIN, TrainingSet

LIKENESS = 0.9
LEAST_ITEMS = 5
# pairs of sets that share a rare item; beyond this the search for nearly equal ones is given up, and said so
MOST_CANDIDATES = 100_000_000
_PAIRS_AT_ONCE = 1 << 20
_SIGNATURE_WORDS = 4
_LENGTH_BITS = 20


@dataclass(frozen=True)
class NearDuplicates:
    """Users with nearly equal sets of items.

    Users of equal sets are a group; users with fewer items than asked for are in none.

    Attributes:
        groups: group of each user, int64 ``[users]``, -1 for none.
        first: a group of each pair of nearly equal sets, int64 ``[pairs]``.
        second: the other one, above ``first``.
        likeness: their Jaccard coefficients, float64 ``[pairs]``.
        searched: whether the pairs were looked for; where a catalogue is so small or so uniform that there are too
            many candidates, equal sets are all that is known.
    """

    groups: np.ndarray
    first: np.ndarray
    second: np.ndarray
    likeness: np.ndarray
    searched: bool = True

    def sizes(self) -> np.ndarray:
        """Users of each group, int64 ``[groups]``."""
        return np.bincount(self.groups[self.groups >= 0])

    def has_duplicate(self) -> np.ndarray:
        """Which users have an equal or nearly equal one, bool ``[users]``."""
        found = self.sizes() > 1
        found[self.first] = True
        found[self.second] = True
        return np.append(found, False)[self.groups]

    def neighbours(self) -> tuple[np.ndarray, np.ndarray]:
        """Every group beside each group whose users are like its own, itself where it has several users: two int64
        arrays, ordered by the first."""
        several = np.flatnonzero(self.sizes() > 1)
        group = np.concatenate([several, self.first, self.second])
        other = np.concatenate([several, self.second, self.first])
        order = np.lexsort((other, group))
        return group[order], other[order]


def near_duplicates(
    rows: Sequences, items: int, likeness: float = LIKENESS, least_items: int = LEAST_ITEMS
) -> NearDuplicates:
    """Find users whose sets of items have a Jaccard coefficient of at least ``likeness``.

    Equal sets are found by sorting. Sets that are nearly equal share one of their rarest items: of a set of ``n`` items
    at least one of the ``n - ceil(likeness * n) + 1`` rarest (prefix filter; Bayardo, Ma and Srikant, "Scaling up
    all pairs similarity search", WWW 2007). Pairs that do and are of fitting sizes are sifted by 256-bit parities of
    their items, which differ in no more bits than the sets differ in items, and what is left is counted. So the answer
    is exact.

    Args:
        rows: items of each user; repeated ones count once.
        items: size of the catalogue.
        likeness: above 0, at most 1.
        least_items: different items that a user must have.

    Raises:
        ValueError: ``likeness`` is not in (0, 1].
    """
    if not 0 < likeness <= 1:
        raise ValueError(f"likeness must be above 0 and at most 1, not {likeness}")
    groups, sets = _equal_sets(rows, items, least_items)
    candidates = _candidates(sets, items, likeness)
    if candidates is None:
        none = np.empty(0, dtype=np.int64)
        return NearDuplicates(groups, none, none, np.empty(0), searched=False)
    first, second = candidates
    found = _jaccard(sets, items, first, second)
    kept = found >= likeness - 1e-12
    return NearDuplicates(groups, first[kept], second[kept], found[kept])


@dataclass(frozen=True)
class NearDuplicateUsers:
    """Users with nearly equal sets of items, held-out ones included.

    Attributes:
        users: who have an equal or nearly equal one.
        equal_users: who have an equal one.
        largest_group: users of the set that most users have, 0 where no set has two.
        targets_held: test targets, of several of a user the first, that are in the training history of such a user.
        searched: whether nearly equal sets were looked for, or equal ones alone.
    """

    users: int
    equal_users: int
    largest_group: int
    targets_held: int
    searched: bool


def near_duplicate_users(training_set: TrainingSet, fit_on: str = FIT_ON_TRAIN) -> NearDuplicateUsers:
    """Find users with nearly the same items, above all those whose target the other one is trained on."""
    cases, targets = training_set.test_users, np.asarray(training_set.test_targets)
    trained = training_set.to_fit_on(fit_on).train
    whole = _everything(training_set)
    found = near_duplicates(whole, training_set.items)
    sizes = found.sizes()
    grouped = found.groups >= 0
    equal = np.zeros(training_set.users, dtype=bool)
    equal[grouped] = sizes[found.groups[grouped]] > 1

    # which training histories of a group hold an item, and of a user's own
    items = max(1, training_set.items)
    row = trained.row_of_each
    known = np.unique(row * items + np.asarray(trained.items, dtype=np.int64))
    owner, item = np.divmod(known, items)
    inside = found.groups[owner] >= 0
    holders, counts = np.unique(found.groups[owner[inside]] * items + item[inside], return_counts=True)
    asked = np.flatnonzero(found.groups[cases] >= 0)
    group = found.groups[cases[asked]]
    neighbour_of, neighbour = found.neighbours()
    start, stop = np.searchsorted(neighbour_of, group), np.searchsorted(neighbour_of, group, side="right")
    case = np.repeat(np.arange(len(asked)), stop - start)
    other = neighbour[np.repeat(start, stop - start) + _counted_within(stop - start)]
    held = _look_up(holders, counts, other * items + targets[asked][case])
    # a user is not a near-duplicate of itself
    own = _look_up(
        known, np.ones(len(known), dtype=np.int64), cases[asked].astype(np.int64)[case] * items + targets[asked][case]
    )
    held = held - own * (other == group[case])
    targets_held = int((np.bincount(case, weights=held, minlength=len(asked)) > 0).sum())
    largest = int(sizes.max(initial=0))
    return NearDuplicateUsers(
        int(found.has_duplicate().sum()), int(equal.sum()), largest if largest > 1 else 0, targets_held, found.searched
    )


def _everything(training_set: TrainingSet) -> Sequences:
    """The different items of each user, held-out ones included, ascending, ``[users]`` rows."""
    items = max(1, training_set.items)
    row, item = np.divmod(np.unique(training_set.with_everything_trained_on().train.pairs(items)), items)
    lengths = np.bincount(row, minlength=training_set.users)
    return Sequences(item.astype(np.int32), np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64))


def _counted_within(counts: np.ndarray) -> np.ndarray:
    """0, 1, … for each of some runs of these lengths."""
    return np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)


def _look_up(keys: np.ndarray, values: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """The value of each wanted key, 0 for one that is not among the ascending keys."""
    if len(keys) == 0:
        return np.zeros(len(wanted), dtype=np.int64)
    place = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return np.where(keys[place] == wanted, values[place], 0)


def _equal_sets(rows: Sequences, items: int, least_items: int) -> tuple[np.ndarray, Sequences]:
    """The group of each row, and the set of each group, ascending."""
    keys = np.unique(rows.pairs(max(1, items)))
    row, item = np.divmod(keys, max(1, items))
    lengths = np.bincount(row, minlength=len(rows))
    sets = Sequences(item.astype(np.int32), np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64))
    large = np.flatnonzero(lengths >= least_items)
    groups = np.full(len(rows), -1, dtype=np.int64)
    representatives: dict[bytes, int] = {}
    chosen: list[int] = []
    for index in large.tolist():
        content = sets[index].tobytes()
        group = representatives.setdefault(content, len(chosen))
        if group == len(chosen):
            chosen.append(index)
        groups[index] = group
    return groups, sets.take(np.array(chosen, dtype=np.int64))


def _candidates(sets: Sequences, items: int, likeness: float) -> tuple[np.ndarray, np.ndarray] | None:
    """Pairs of sets that may be alike enough, each once; ``None`` where there are too many to look at."""
    lengths = sets.lengths
    row = np.repeat(np.arange(len(sets)), lengths)
    rarity = np.empty(items, dtype=np.int64)
    rarity[np.argsort(np.bincount(sets.items, minlength=items), kind="stable")] = np.arange(items)
    place = rarity[sets.items]
    # rarest first within each set
    order = np.lexsort((place, row))
    within = np.arange(len(row)) - np.repeat(sets.offsets[:-1], lengths)
    prefix = lengths - np.ceil(likeness * lengths - 1e-9).astype(np.int64) + 1
    kept = within < prefix[row]
    token, owner = place[order][kept], row[kept]
    # within a token by ascending size, so that the sets of fitting size lie side by side
    by_size = np.lexsort((owner, lengths[owner], token))
    token, owner = token[by_size], owner[by_size]
    size = lengths[owner]
    largest = np.floor(size / likeness + 1e-9).astype(np.int64)
    keys = (token << _LENGTH_BITS) + np.minimum(size, (1 << _LENGTH_BITS) - 1)
    ends = np.searchsorted(keys, (token << _LENGTH_BITS) + np.minimum(largest, (1 << _LENGTH_BITS) - 1), side="right")
    partners = ends - np.arange(len(owner)) - 1
    if partners.sum() > MOST_CANDIDATES:
        return None
    signatures = _signatures(sets)
    found = []
    totals = np.concatenate([[0], np.cumsum(partners)])
    start = 0
    while start < len(owner):
        stop = max(start + 1, int(np.searchsorted(totals, totals[start] + _PAIRS_AT_ONCE, side="right")) - 1)
        here = partners[start:stop]
        left = np.repeat(np.arange(start, stop), here)
        right = left + 1 + np.arange(len(left)) - np.repeat(np.cumsum(here) - here, here)
        one, other = owner[left], owner[right]
        # two sets of together n items that share a part of 2 l / (1 + l) n / 2 of them differ in the rest
        most = (1 - likeness) / (1 + likeness) * (lengths[one] + lengths[other]) + 1e-9
        difference = np.bitwise_count(signatures[one] ^ signatures[other]).sum(axis=1, dtype=np.int64)
        near = difference <= most
        low, high = np.minimum(one[near], other[near]), np.maximum(one[near], other[near])
        found.append(np.unique(low * max(1, len(sets)) + high))
        start = stop
    pairs = np.unique(np.concatenate(found)) if found else np.empty(0, dtype=np.int64)
    first, second = np.divmod(pairs, max(1, len(sets)))
    return first, second


def _signatures(sets: Sequences) -> np.ndarray:
    """The parity of 256 parts of each set, uint64 ``[sets, 4]``."""
    # a multiplicative hash (Knuth): neighbouring indices fall into different parts
    hashed = (sets.items.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(56)
    signatures = np.zeros((len(sets), _SIGNATURE_WORDS), dtype=np.uint64)
    for word in range(_SIGNATURE_WORDS):
        bits = np.where(hashed >> np.uint64(6) == word, np.uint64(1) << (hashed & np.uint64(63)), np.uint64(0))
        if len(bits):
            signatures[:, word] = np.bitwise_xor.reduceat(bits, sets.offsets[:-1])
    return signatures


def _jaccard(sets: Sequences, items: int, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Jaccard coefficient of each pair of sets, float64 ``[pairs]``."""
    keys = sets.pairs(max(1, items))
    shared = np.empty(len(first), dtype=np.int64)
    at_once = max(1, _PAIRS_AT_ONCE // max(1, int(sets.lengths.max(initial=1))))
    for start in range(0, len(first), at_once):
        one = sets.take(first[start : start + at_once])
        pair = one.row_of_each
        wanted = second[start : start + at_once][pair] * max(1, items) + one.items
        places = np.searchsorted(keys, wanted)
        hit = keys[np.minimum(places, len(keys) - 1)] == wanted
        shared[start : start + at_once] = np.bincount(pair[hit], minlength=len(one))
    return shared / np.maximum(1, sets.lengths[first] + sets.lengths[second] - shared)
