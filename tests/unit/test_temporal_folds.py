"""Temporal folds: what each trains on and tests, and what is refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from audit_data import DAY, Row, chains, dataset
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from ml.data.build_training_set import SPLITS
from ml.data.folds import Fold, FoldError, FoldSizes, check_folds, day, fold_sizes, in_fold, temporal_folds
from ml.data.timed_interactions import NO_TIME
from ml.data.variants import temporal_splits

TRAIN, HISTORY, VALIDATION, TEST, UNUSED = range(len(SPLITS))


LAST = ("0.8", "0.9")


@st.composite
def rows_over_time(draw) -> list[Row]:
    told = draw(
        st.lists(
            st.tuples(st.integers(0, 6), st.integers(0, 6), st.integers(0, 400)), unique=True, min_size=30, max_size=70
        )
    )
    return [Row(f"u{user}", f"i{item}", hour * DAY // 4, line) for line, (user, item, hour) in enumerate(told)]


@given(rows_over_time(), st.integers(2, 5), st.sampled_from([0, 1, 7]), st.integers(0, 3))
@settings(max_examples=80, deadline=None)
def test_folds_part_the_known_from_the_unknown(rows, number, days, wanted):
    made, kept = dataset(rows, split="global-temporal", validation_users=wanted)
    try:
        folds = temporal_folds(made, kept, LAST, number, days)
    except FoldError:
        # too few interactions for so many folds
        assume(False)
    assert [fold.number for fold in folds] == list(range(1, number + 1))
    seconds = kept.moments // 1000
    tested = np.zeros(len(kept), dtype=int)
    for fold, after in zip(folds, [*folds[1:], None], strict=True):
        assert fold.until == (after and after.test_from)
        splits = temporal_splits(made, kept, fold.boundaries)
        assert (seconds[splits == TRAIN] < fold.validation_from).all()
        assert (seconds[np.isin(splits, [HISTORY, VALIDATION])] < fold.test_from).all()
        assert (seconds[np.isin(splits, [HISTORY, VALIDATION])] >= fold.validation_from).all()
        of_test = splits == TEST
        assert (seconds[of_test] >= fold.test_from).all()
        assert fold.until is None or (seconds[of_test] < fold.until).all()
        # nothing before the test is left out, and one target a user
        assert not (splits[seconds < fold.test_from] == UNUSED).any()
        assert len(np.unique(kept.users[of_test])) == of_test.sum()
        tested += of_test
        own = in_fold(made, kept, fold)
        assert len(own.train.items) == (splits == TRAIN).sum()
        assert np.array_equal(own.test_users, kept.users[of_test])
        assert np.array_equal(own.test_targets, kept.items[of_test])
        # what is ranked from is everything before the test window
        known = [(kept.items[(kept.users == user) & (seconds < fold.test_from)]).tolist() for user in own.test_users]
        assert [row.tolist() for row in own.histories("test")] == known
        sizes = fold_sizes(made, kept, fold)
        assert (sizes.trained, sizes.validated, sizes.tested) == (
            len(own.train.items),
            len(own.validation_users),
            len(own.test_users),
        )
        before = set(kept.items[seconds < fold.test_from].tolist())
        assert sizes.new_items == made.items - len(before)
        assert sizes.new_targets == sum(item not in before for item in own.test_targets.tolist())
    assert tested.max() <= 1
    last = in_fold(made, kept, folds[-1])
    assert last.digest() == made.digest()


def several_a_day(users: int = 60, days: int = 300, seed: int = 0) -> list[Row]:
    """Users who come back now and then, at times that nobody made up."""
    generator = np.random.default_rng(seed)
    hours = np.sort(generator.integers(0, days * 24, size=(users, 12)), axis=1)
    items = generator.integers(0, 30, size=hours.shape)
    return [
        Row(f"u{user:03}", f"i{items[user, at]:02}", int(hours[user, at]) * DAY // 24, user * 12 + at)
        for user in range(users)
        for at in range(12)
    ]


def test_folds_hold_as_many_interactions_or_last_as_many_days_as_is_asked():
    made, kept = dataset(several_a_day(), split="global-temporal")
    folds = temporal_folds(made, kept, LAST, 4)
    seconds = kept.moments // 1000
    windows = [((seconds >= one.test_from) & (seconds < (one.until or 2**40))).sum() for one in folds]
    # those of one moment stay together
    assert max(windows) - min(windows) <= 2
    assert windows[-1] == pytest.approx(0.1 * len(kept), abs=2)
    weekly = temporal_folds(made, kept, LAST, 4, days=7)
    assert np.diff([one.test_from for one in weekly]).tolist() == [7 * DAY // 1000] * 3
    assert len({one.test_from - one.validation_from for one in weekly}) == 1
    assert weekly[-1] == replace(folds[-1], number=4)
    # at days as at quantiles
    dated = temporal_folds(made, kept, (day(weekly[-1].validation_from)[:10], "0.9"), 1)
    assert dated[0].validation_from % (DAY // 1000) == 0


@pytest.mark.parametrize(
    ("change", "folds", "days", "says"),
    [
        ({"has_given_split": True}, 3, 0, "FOLDS=3 is not possible: the split came with the source"),
        ({"moments": NO_TIME}, 3, 0, "not every interaction has a time; choose SPLIT=leave-one-out"),
        ({}, 12, 0, r"fold 1 has none to train on; choose FOLDS=8 or fewer, a later TEST_FROM, or shorter folds"),
        ({}, 4, 100, r"fold 1 \(.*\) has nothing to train on, since the first interaction is of 1970-01-01"),
        ({"splits": TRAIN}, 3, 0, "the split of some users came with the source"),
    ],
)
def test_folds_that_cannot_be_are_refused(change, folds, days, says):
    made, kept = dataset(several_a_day(), split="global-temporal")
    changed = {
        name: value if isinstance(value, bool) else np.full_like(getattr(kept, name), value)
        for name, value in change.items()
    }
    with pytest.raises(FoldError, match=says):
        temporal_folds(made, replace(kept, **changed), LAST, folds, days)


def test_times_that_were_made_up_from_the_order_are_refused():
    made, kept = dataset(chains(), split="global-temporal")
    with pytest.raises(FoldError, match=r"are 86400 seconds, so the times were made up from the order; choose SPLIT"):
        temporal_folds(made, kept, LAST, 3)


def test_a_fold_without_users_is_named_with_its_dates():
    fold = Fold(1, 86_400, 2 * 86_400, 3 * 86_400 + 60)
    check_folds([FoldSizes(fold, 5, 1, 2, 0, 0)])
    dates = r"fold 1 \(validation from 1970-01-02, test from 1970-01-03 until 1970-01-04 00:01\)"
    for sizes, says in (
        ((0, 1, 2), "0 interactions to train on, and needs 1"),
        ((5, 0, 2), "0 users to validate with, and needs 1"),
        ((5, 1, 1), "1 users to test, and needs 2"),
    ):
        with pytest.raises(FoldError, match=f"{dates} has {says} or more: lower FOLDS"):
            check_folds([FoldSizes(fold, *sizes, 0, 0)])
