"""Times: carried by sequences and batches, saved beside the training set, and refused where they are made up."""

import re
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ml.audits.history_dependence import last_of
from ml.data.build_training_set import build_training_set, divided
from ml.data.files import DamagedFile
from ml.data.item_index import translate
from ml.data.sequences import Sequences
from ml.data.timed_interactions import Interactions
from ml.data.times import build_times, load_times, save_times, times_digest, why_not_real
from ml.data.training_set import TrainingSet
from ml.data.variants import _leave_one_out, with_duplicates, with_other_split, with_tie_order
from ml.tasks.build import build_task
from ml.tasks.settings import EveryPrefixSettings, NextItemSettings, RecencySamplingSettings

ROWS = st.lists(st.lists(st.integers(0, 9), max_size=6), min_size=1, max_size=6)


def timed(rows: list[list[int]]) -> Sequences:
    """Sequences in which the time of an interaction says its item: 100 times the item, and 7."""
    sequences = Sequences.from_lists(rows)
    return replace(sequences, times=times_of_items(sequences.items))


def times_of_items(items: np.ndarray) -> np.ndarray:
    return np.asarray(items, dtype=np.int64) * 100 + 7


def agrees(sequences: Sequences) -> bool:
    return sequences.times is not None and np.array_equal(sequences.times, times_of_items(sequences.items))


@given(ROWS, st.data())
def test_whatever_is_made_of_sequences_carries_the_times(rows, data):
    sequences = timed(rows)
    taken = sequences.take(np.array(data.draw(st.lists(st.integers(0, len(rows) - 1), max_size=5)), dtype=np.int64))
    assert agrees(taken)
    chosen = np.array(data.draw(st.lists(st.sampled_from(range(len(rows))), unique=True)), dtype=np.int64)
    items = np.array([data.draw(st.integers(0, 9)) for _ in chosen], dtype=np.int32)
    longer = sequences.append(chosen, items, times_of_items(items))
    assert agrees(longer)
    assert len(longer.items) == len(sequences.items) + len(chosen)
    assert agrees(sequences.followed_by(longer).of_users(np.arange(len(rows))))
    assert agrees(sequences.followed_by(Sequences.empty(len(rows))))
    assert agrees(last_of(sequences, 2))
    if len(chosen):
        assert sequences.append(chosen, items).times is None


def test_times_follow_the_items_of_another_catalogue():
    names = np.array([b"a", b"b", b"c"])
    histories = replace(Sequences.from_lists([[0, 1, 2], [1, 2]]), times=np.array([1, 2, 3, 4, 5]))
    found = translate(histories, names, np.array([b"a", b"c"]))
    assert (found.items.tolist(), found.times.tolist()) == ([0, 1, 1], [1, 3, 5])


def test_there_is_a_time_for_each_interaction():
    with pytest.raises(ValueError, match="2 times for 3 interactions"):
        Sequences(np.array([1, 2, 3], dtype=np.int32), np.array([0, 3]), times=np.array([1, 2]))


@pytest.mark.parametrize(
    "settings",
    [NextItemSettings(), EveryPrefixSettings(0), RecencySamplingSettings(0.3, 0.8)],
    ids=lambda s: type(s).__name__,
)
@given(rows=st.lists(st.lists(st.integers(0, 9), min_size=2, max_size=9), min_size=1, max_size=5))
def test_a_batch_has_the_times_of_its_inputs_alone(settings, rows):
    sequences, task = timed(rows), build_task(settings, 10)
    of_rows = np.arange(len(rows))
    trained = task.training_batch(sequences, of_rows, 4, np.random.default_rng(0))
    for batch in (trained, task.history_batch(sequences, of_rows, 4)):
        column = torch.arange(batch.items.shape[1]).minimum(batch.lengths[:, None] - 1)
        # of a padded place the time of the last item
        assert torch.equal(batch.times, batch.items.gather(1, column) * 100 + 7)
    untimed = task.training_batch(replace(sequences, times=None), of_rows, 4, np.random.default_rng(0))
    assert untimed.times is None
    assert torch.equal(untimed.items, trained.items)


def splits(path, rows: list[tuple[str, str, str, int | None]]):
    """The mart of some interactions, each user, split, item and time, in the order of each user."""
    places: dict[str, int] = {}
    pl.DataFrame(
        [
            {
                "user_id": user,
                "position": places.setdefault(user, 0) + sum(other[0] == user for other in rows[:number]),
                "item_id": item,
                "split": split,
                "timestamp": time,
            }
            for number, (user, split, item, time) in enumerate(rows)
        ],
        schema_overrides={"timestamp": pl.Int64},
    ).sample(fraction=1, shuffle=True, seed=1).write_parquet(path)
    return path


INTERACTIONS = [
    ("b", "train", "i1", 10),
    ("b", "train", "i2", 30),
    ("b", "history", "i3", 35),
    ("b", "validation", "i1", 40),
    ("b", "history", "i2", 45),
    ("b", "test", "i3", 50),
    ("a", "train", "i3", 5),
    ("a", "train", "i1", 6),
    ("a", "test", "i2", 60),
]


def test_times_of_a_training_set_are_those_of_its_splits(tmp_path):
    source = splits(tmp_path / "splits.parquet", INTERACTIONS)
    training_set = build_training_set("Small", source, {})
    (tmp_path / "times").mkdir()
    save_times(tmp_path / "times", build_times(source, training_set), training_set)
    found = load_times(tmp_path / "times", training_set)
    assert found.digest() == training_set.digest()
    assert found.histories("train").times.tolist() == [5, 6, 10, 30]
    assert found.histories("validation").times.tolist() == [10, 30, 35]
    assert found.histories("test").times.tolist() == [5, 6, 10, 30, 35, 40, 45]
    both = found.with_validation_trained_on()
    assert both.train.times.tolist() == [5, 6, 10, 30, 35, 40]
    assert both.histories("test").times.tolist() == [5, 6, 10, 30, 35, 40, 45]
    assert times_digest(found.train) != times_digest(both.train)


def test_times_of_another_training_set_are_not_loaded(tmp_path):
    source = splits(tmp_path / "splits.parquet", INTERACTIONS)
    training_set = build_training_set("Small", source, {})
    (tmp_path / "times").mkdir()
    save_times(tmp_path / "times", build_times(source, training_set), training_set)
    other = build_training_set("Small", splits(tmp_path / "other.parquet", INTERACTIONS[:6]), {})
    with pytest.raises(DamagedFile, match="of another training set"):
        load_times(tmp_path / "times", other)


def test_a_source_in_which_a_time_is_missing_has_none(tmp_path):
    source = splits(tmp_path / "splits.parquet", [*INTERACTIONS, ("c", "train", "i1", None)])
    training_set = build_training_set("Small", source, {})
    assert build_times(source, training_set) is None
    (tmp_path / "times").mkdir()
    save_times(tmp_path / "times", None, training_set)
    assert why_not_real(load_times(tmp_path / "times", training_set).train) == "the interactions have no times"


@pytest.mark.parametrize("split", ["leave-one-out", "global-temporal"])
def test_variants_of_a_training_set_carry_its_times(split):
    """Audits fit recommenders that read times on them."""
    rng = np.random.default_rng(2)
    users = np.repeat(np.arange(30, dtype=np.int32), rng.integers(3, 9, 30))
    seconds = rng.integers(1_500_000_000, 1_500_900_000, len(users))
    seconds = seconds[np.lexsort((seconds, users))]
    # the time of an interaction says its item, so that each can be found again
    items = (seconds % 25).astype(np.int32)
    interactions = Interactions(
        users,
        items,
        _leave_one_out(users, np.arange(20), np.arange(30)).astype(np.uint8),
        seconds * 1000,
        np.arange(len(users)),
        np.ones(len(users), dtype=np.float32),
        rng.integers(0, 2, len(users)),
    )
    training_set = TrainingSet(
        dataset="Variants",
        item_ids=np.array([f"I{item:02d}" for item in range(25)], dtype="S"),
        user_ids=np.array([f"U{user:02d}" for user in range(30)], dtype="S"),
        protocol={"split": split, "validation_users": 7},
        **divided(users, items, interactions.splits, 30, seconds),
    )
    without = replace(training_set, train=replace(training_set.train, times=None))
    for variant in (
        with_tie_order(training_set, interactions, "file"),
        with_duplicates(training_set, interactions),
        with_other_split(training_set, interactions),
    ):
        for name in ("train", "validation", "test"):
            histories = variant.histories(name)
            assert np.array_equal(histories.times % 25, histories.items)
        assert len(variant.histories("test").items)
    assert with_duplicates(without, interactions).histories("train").times is None
    assert with_duplicates(without, interactions).histories("test").times is None


def of_times(*rows: list[int]) -> Sequences:
    times = np.concatenate([np.array(row, dtype=np.int64) for row in rows])
    return replace(Sequences.from_lists([[0] * len(row) for row in rows]), times=times)


DAY = 86_400


@pytest.mark.parametrize(
    ("times", "reason"),
    [
        (of_times([5], [9]), "no user has two interactions"),
        (of_times([5, 5], [9, 9, 9]), "all interactions of each user have the same time"),
        (of_times([0, DAY, 2 * DAY], [7, 7 + DAY]), "100% of the gaps .* are 86400 seconds, so the times were made up"),
        (of_times(*[[user, user + DAY] for user in range(99)], [0, 5]), "99% of the gaps"),
        (of_times([1, 5, 6], [1, 5], [1, 5, 6, 7]), "the k-th interaction of every user has the same time"),
    ],
)
def test_times_that_follow_from_the_order_are_refused(times, reason):
    assert re.search(reason, why_not_real(times))


@pytest.mark.parametrize(
    "times",
    [
        # whole days, most of them the same
        of_times([0, 0, 0, DAY], [DAY, DAY, DAY], [0, 0]),
        of_times([1, 5, 6], [1, 5], [2, 5, 6, 7]),
        # a single user
        of_times([1, 5, 6]),
    ],
)
def test_real_times_are_not_refused(times):
    assert why_not_real(times) is None
