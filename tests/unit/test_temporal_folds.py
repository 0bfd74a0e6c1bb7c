"""Temporal folds: what each trains on and tests, and what is refused."""

from __future__ import annotations

import numpy as np
from audit_data import DAY, Row, dataset
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from ml.data.build_training_set import SPLITS
from ml.data.folds import FoldError, fold_sizes, in_fold, temporal_folds
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
