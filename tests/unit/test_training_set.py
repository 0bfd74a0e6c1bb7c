"""The training set: from labelled interactions to arrays, and what is known of a user when a target is ranked."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ml.data.build_training_set import SplitError, build_training_set
from ml.data.sequences import Sequences
from ml.data.training_set import TrainingSet

LABELS = {"t": "train", "h": "history", "v": "validation", "T": "test", "u": "unused"}


def built(tmp_path, histories: dict[str, list[tuple[str, str]]]) -> TrainingSet:
    """A training set of users' ``(label, item)`` pairs, oldest first."""
    rows = [
        {"user_id": user, "position": position, "item_id": item, "split": LABELS[label]}
        for user, pairs in histories.items()
        for position, (label, item) in enumerate(pairs)
    ]
    pl.DataFrame(rows).sample(fraction=1, shuffle=True, seed=3).write_parquet(tmp_path / "splits.parquet")
    return build_training_set("Small", tmp_path / "splits.parquet", {"split": "given"})


def named(training_set: TrainingSet, sequences: Sequences) -> list[list[str]]:
    return [[training_set.item_ids[item].decode() for item in sequences[row]] for row in range(len(sequences))]


def test_what_is_known_before_a_target_is_everything_of_the_user_before_it(tmp_path):
    training_set = built(
        tmp_path,
        {
            "a": [("t", "i1"), ("t", "i2"), ("h", "i3"), ("v", "i4"), ("h", "i5"), ("T", "i1"), ("u", "i6")],
            "b": [("t", "i2"), ("h", "i5"), ("T", "i3")],
            "c": [("t", "i1"), ("t", "i2")],
            "d": [("h", "i4"), ("T", "i1")],
            "e": [("t", "i3"), ("v", "i2")],
            "f": [("u", "i6")],
        },
    )
    assert named(training_set, training_set.train) == [["i1", "i2"], ["i2"], ["i1", "i2"], [], ["i3"], []]
    assert training_set.validation_users.tolist() == [0, 4]
    assert training_set.test_users.tolist() == [0, 1, 3]
    assert named(training_set, training_set.histories("validation")) == [["i1", "i2", "i3"], ["i3"]]
    assert named(training_set, training_set.histories("test")) == [
        ["i1", "i2", "i3", "i4", "i5"],
        ["i2", "i5"],
        ["i4"],
    ]
    (tmp_path / "saved").mkdir()
    training_set.save(tmp_path / "saved")
    loaded = TrainingSet.load(tmp_path / "saved")
    assert loaded.digest() == training_set.digest()
    assert named(loaded, loaded.histories("test")) == named(training_set, training_set.histories("test"))


@st.composite
def labelled(draw):
    def items(most):
        return draw(st.lists(st.sampled_from("pqrs"), max_size=most))

    histories = {}
    for user in range(draw(st.integers(1, 6))):
        pairs = [("t", item) for item in items(4)] + [("h", item) for item in items(2)]
        if draw(st.booleans()):
            pairs += [("v", "q"), *(("h", item) for item in items(2))]
        if draw(st.booleans()):
            pairs += [("T", "r"), *(("u", item) for item in items(2))]
        histories[f"user{user}"] = pairs
    return histories


@settings(max_examples=40, deadline=None)
@given(labelled())
def test_histories_agree_with_a_walk_through_the_rows(tmp_path_factory, histories):
    histories = {**histories, "always": [("t", "p"), ("T", "q")]}
    training_set = built(tmp_path_factory.mktemp("splits"), histories)
    for split, letter in (("validation", "v"), ("test", "T")):
        expected = []
        for user in sorted(histories):
            letters = [label for label, _ in histories[user]]
            if letter in letters:
                expected.append([item for _, item in histories[user][: letters.index(letter)]])
        assert named(training_set, training_set.histories(split)) == expected


def test_following_needs_as_many_rows():
    one = Sequences.from_lists([[1], [2, 3]])
    assert [one.followed_by(Sequences.from_lists([[], [9]]))[row].tolist() for row in range(2)] == [[1], [2, 3, 9]]
    with pytest.raises(ValueError, match="2 rows cannot be followed by 1"):
        one.followed_by(Sequences.empty(1))


def test_append_takes_its_rows_in_any_order():
    appended = Sequences.from_lists([[1], [2], []]).append(np.array([2, 0]), np.array([7, 8]))
    assert [appended[row].tolist() for row in range(3)] == [[1, 8], [2], [7]]


def test_a_split_without_a_test_target_is_refused(tmp_path):
    with pytest.raises(SplitError, match="0 users to test"):
        built(tmp_path, {"a": [("t", "i1"), ("t", "i2")]})


def test_a_split_by_items_without_a_test_target_says_which_settings_to_change(tmp_path):
    splits = tmp_path / "splits.parquet"
    pl.DataFrame({"user_id": ["a"], "position": [0], "item_id": ["i1"], "split": ["unused"]}).write_parquet(splits)
    protocol = {"split": "cold-items, 0.1 of the items for the test and as many for validation"}
    with pytest.raises(SplitError, match=r"0 interactions to train on and 0 users to test.* change COLD_ITEMS or SEED"):
        build_training_set("tiny", splits, protocol)


def test_the_final_fit_may_read_the_validation_items_and_ranks_for_the_same_histories():
    ours = _training_set_with_everything()
    both = ours.to_fit_on("train+validation")
    case = {user: place for place, user in enumerate(ours.validation_users.tolist())}
    for user in range(ours.users):
        expected = ours.train[user].tolist()
        if user in case:
            expected += [*ours.before_validation[case[user]].tolist(), int(ours.validation_targets[case[user]])]
        assert both.train[user].tolist() == expected
    assert len(both.validation_users) == len(both.histories("validation")) == 0
    one, other = ours.histories("test"), both.histories("test")
    np.testing.assert_array_equal(one.items, other.items)
    np.testing.assert_array_equal(one.offsets, other.offsets)
    np.testing.assert_array_equal(one.users, ours.test_users)
    assert ours.to_fit_on("train") is ours
    with pytest.raises(ValueError, match="fit_on is 'train' or"):
        ours.to_fit_on("everything")


def test_histories_know_whose_they_are():
    ours = _training_set_with_everything()
    for split in ("train", "validation", "test"):
        histories = ours.histories(split)
        expected = np.arange(ours.users) if split == "train" else ours.users_of(split)
        np.testing.assert_array_equal(histories.users, expected)
        np.testing.assert_array_equal(histories.take(np.array([1, 0])).users, expected[[1, 0]])


def _training_set_with_everything() -> TrainingSet:
    rng = np.random.default_rng(0)
    users, items = 12, 30

    def some(rows: int) -> Sequences:
        return Sequences.from_lists([rng.integers(0, items, rng.integers(0, 4)) for _ in range(rows)])

    return TrainingSet(
        dataset="Made_Up",
        item_ids=np.array([b"%02d" % item for item in range(items)]),
        user_ids=np.array([b"%02d" % user for user in range(users)]),
        train=some(users),
        validation_users=np.array([0, 3, 4, 9], dtype=np.int32),
        validation_targets=np.array([5, 6, 7, 8], dtype=np.int32),
        test_users=np.array([0, 1, 3, 9, 11], dtype=np.int32),
        test_targets=np.array([1, 2, 3, 4, 5], dtype=np.int32),
        before_validation=some(4),
        before_test=some(5),
    )


@settings(max_examples=40, deadline=None)
@given(labelled())
def test_everything_is_the_whole_history_of_each_user(tmp_path_factory, histories):
    histories = {**histories, "always": [("t", "p"), ("T", "q")]}
    ours = built(tmp_path_factory.mktemp("splits"), histories)
    everything = ours.with_everything_trained_on()
    assert len(everything.validation_users) == len(everything.test_users) == 0
    assert len(everything.histories("test")) == 0
    # also what came after the target, and what users know of whom nothing is asked
    assert dict(zip([user.decode() for user in ours.user_ids], named(ours, everything.train), strict=True)) == {
        user: [item for _, item in pairs] for user, pairs in histories.items() if pairs
    }
