"""Temporal folds: the same interactions split at several moments, each later than the one before.

Each fold is a global-temporal split: it trains on everything before its validation window, ranks what its users do
first in its test window, and uses nothing after that. The training part grows from fold to fold. The last fold is the
split that the warehouse made; the earlier ones are made here from the same interactions, so users, items and their
indices stay as they are.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import numpy as np

from ml.data.build_training_set import SPLITS
from ml.data.sequences import Sequences
from ml.data.timed_interactions import Interactions
from ml.data.times import why_not_real
from ml.data.training_set import TrainingSet
from ml.data.variants import GLOBAL_TEMPORAL, moment_at, split_at, temporal_splits

TEMPORAL_FOLDS = "temporal-folds"
# a paired test needs two
_FEWEST_TESTED = 2
_DAY = 86_400
_TEST = SPLITS.index("test")


class FoldError(ValueError):
    """The interactions allow no such folds; the message names the fold and says what to do."""


@dataclass(frozen=True)
class Fold:
    """One fold: when it validates and tests, in seconds since 1970.

    Attributes:
        number: from 1, the earliest first.
        validation_from: first moment of the validation window; everything before it is trained on.
        test_from: first moment of the test window.
        until: first moment after the test window, where the next fold's begins; ``None`` for the last fold, which
            tests to the end of the data.
    """

    number: int
    validation_from: int
    test_from: int
    until: int | None = None

    @property
    def boundaries(self) -> tuple[int, ...]:
        """Where its windows begin, and where the last of them ends if it does."""
        return (self.validation_from, self.test_from, *(() if self.until is None else (self.until,)))

    @property
    def dates(self) -> str:
        """When it validates and tests, in words."""
        end = "the end" if self.until is None else day(self.until)
        return f"validation from {day(self.validation_from)}, test from {day(self.test_from)} until {end}"


@dataclass(frozen=True)
class FoldSizes:
    """How much a fold holds.

    Attributes:
        fold: whose sizes these are.
        trained: interactions that are trained on.
        validated: validation cases.
        tested: test cases.
        new_items: items of the catalogue without an interaction before the test window, which can be recommended all
            the same.
        new_targets: test cases whose target is one of these.
    """

    fold: Fold
    trained: int
    validated: int
    tested: int
    new_items: int
    new_targets: int


def day(seconds: int) -> str:
    """A moment as its day in UTC, with the time of day where it is not midnight."""
    moment = datetime.fromtimestamp(seconds, UTC)
    return f"{moment:%Y-%m-%d}" if seconds % _DAY == 0 else f"{moment:%Y-%m-%d %H:%M}"


def temporal_folds(
    training_set: TrainingSet, interactions: Interactions, last: tuple[str, str], folds: int, days: int = 0
) -> tuple[Fold, ...]:
    """The folds of a dataset, the earliest first, the last of which is the split that it was made with.

    Args:
        training_set: made of the interactions by a global-temporal split.
        interactions: all of them.
        last: where validation and test of the last fold begin, each a share of the interactions, as ``0.9``, or a day
            in UTC, as ``2014-12-31``.
        folds: how many, at least 1.
        days: how long the test windows of the earlier folds are; their validation windows are as long as that of the
            last fold. With 0 each window holds as many interactions as that of the last fold, give or take those that
            share the moment at which a window begins.

    Raises:
        FoldError: the split or the times did not come from the warehouse's own rule, the times are made up, or there
            are too few interactions for so many folds.
    """
    if interactions.has_given_split:
        raise FoldError(f"{_asked(folds)}: the split came with the source; choose another SPLIT, or bring data without")
    if not interactions.has_times:
        raise FoldError(f"{_asked(folds)}: not every interaction has a time; choose SPLIT=leave-one-out")
    seconds = interactions.moments // 1000
    if (reason := why_not_real(_histories(training_set, interactions, seconds))) is not None:
        raise FoldError(f"{_asked(folds)}: {reason}; choose SPLIT=leave-one-out")
    ordered = np.sort(seconds)
    starts = (_moment(last[0], ordered), _moment(last[1], ordered))
    found = _of_days(starts, folds, days) if days else _of_numbers(starts, folds, ordered)
    for fold in found:
        _check_order(fold, int(ordered[0]), folds)
    if not np.array_equal(temporal_splits(training_set, interactions, found[-1].boundaries), interactions.splits):
        raise FoldError(
            f"{_asked(folds)}: the last fold is not the split of the training set, because the split of some users "
            "came with the source; choose another SPLIT, or bring data without"
        )
    return found


def in_fold(training_set: TrainingSet, interactions: Interactions, fold: Fold) -> TrainingSet:
    """The training set of one fold, with the texts of the given one, and with times where it has some."""
    splits = temporal_splits(training_set, interactions, fold.boundaries)
    protocol = {**training_set.protocol, "split": f"{GLOBAL_TEMPORAL}, {fold.dates}"}
    return replace(split_at(training_set, interactions, splits), protocol=protocol)


def fold_sizes(training_set: TrainingSet, interactions: Interactions, fold: Fold) -> FoldSizes:
    """How much a fold holds."""
    splits = temporal_splits(training_set, interactions, fold.boundaries)
    counts = np.bincount(splits, minlength=len(SPLITS))
    seen = np.zeros(training_set.items, dtype=bool)
    seen[interactions.items[interactions.moments // 1000 < fold.test_from]] = True
    trained, validated = (int(counts[SPLITS.index(name)]) for name in ("train", "validation"))
    targets = interactions.items[splits == _TEST]
    return FoldSizes(fold, trained, validated, len(targets), int((~seen).sum()), int((~seen[targets]).sum()))


def check_folds(sizes: Iterable[FoldSizes]) -> None:
    """Check that every fold can be trained, validated and tested.

    Raises:
        FoldError: one cannot; the message names it and its dates.
    """
    for one in sizes:
        for found, fewest, what in (
            (one.trained, 1, "interactions to train on"),
            (one.validated, 1, "users to validate with"),
            (one.tested, _FEWEST_TESTED, "users to test"),
        ):
            if found < fewest:
                raise FoldError(
                    f"fold {one.fold.number} ({one.fold.dates}) has {found} {what}, and needs {fewest} or more: lower "
                    "FOLDS, give longer folds by FOLD_DAYS or an earlier TEST_FROM, or lower K_CORE"
                )


def _of_days(last: tuple[int, int], folds: int, days: int) -> tuple[Fold, ...]:
    starts = [last[1] - back * days * _DAY for back in range(folds - 1, -1, -1)]
    return _with_ends([(start - (last[1] - last[0]), start) for start in starts])


def _moment(boundary: str, ordered: np.ndarray) -> int:
    """A boundary in seconds, as the warehouse takes it: of a share the time of the interaction at it, rounded up."""
    if "-" in boundary:
        return int(datetime.fromisoformat(boundary).replace(tzinfo=UTC).timestamp())
    return moment_at(boundary, ordered)


def _of_numbers(last: tuple[int, int], folds: int, ordered: np.ndarray) -> tuple[Fold, ...]:
    """Folds whose windows hold as many interactions as those of the last."""
    validated_at, tested_at = (int(place) for place in np.searchsorted(ordered, last))
    tested = len(ordered) - tested_at
    starts = []
    for back in range(folds - 1, 0, -1):
        places = (validated_at - back * tested, tested_at - back * tested)
        if places[0] < 1:
            possible = (validated_at - 1) // tested if tested else 0
            raise FoldError(
                f"{_asked(folds)}: with {tested} interactions in each test window, fold {folds - back} has none to "
                f"train on; choose FOLDS={possible + 1} or fewer, a later TEST_FROM, or shorter folds by FOLD_DAYS"
                if possible
                else f"{_asked(folds)}: with {tested} interactions in the last test window, the fold before it has "
                "none to train on; choose a later TEST_FROM, or shorter folds by FOLD_DAYS"
            )
        starts.append((int(ordered[places[0]]), int(ordered[places[1]])))
    return _with_ends([*starts, last])


def _with_ends(starts: Sequence[tuple[int, int]]) -> tuple[Fold, ...]:
    ends: list[int | None] = [start for _, start in starts[1:]]
    return tuple(
        Fold(number, *start, end)
        for number, (start, end) in enumerate(zip(starts, [*ends, None], strict=True), start=1)
    )


def _check_order(fold: Fold, first: int, folds: int) -> None:
    if list(fold.boundaries) != sorted(set(fold.boundaries)):
        raise FoldError(
            f"{_asked(folds)}: too many interactions share one moment for fold {fold.number} ({fold.dates}) to have "
            "windows of its own; lower FOLDS, or give longer folds by FOLD_DAYS"
        )
    if fold.validation_from <= first:
        raise FoldError(
            f"{_asked(folds)}: fold {fold.number} ({fold.dates}) has nothing to train on, since the first interaction "
            f"is of {day(first)}; lower FOLDS or FOLD_DAYS"
        )


def _histories(training_set: TrainingSet, interactions: Interactions, seconds: np.ndarray) -> Sequences:
    """All interactions of each user with their times."""
    lengths = np.bincount(interactions.users, minlength=training_set.users)
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    return Sequences(interactions.items, offsets, times=seconds)


def _asked(folds: int) -> str:
    return f"SPLIT={TEMPORAL_FOLDS} with FOLDS={folds} is not possible"
