"""Measuring on a sample of the test users: who is drawn, and that nothing else depends on it."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from audit_data import chains, dataset
from hypothesis import given, settings
from hypothesis import strategies as st

from ml.audits.leakage import with_held_out_replaced
from ml.data.build_training_set import SPLITS, build_training_set, divided
from ml.data.times import build_times, times_of_everything
from ml.data.training_set import TrainingSet
from ml.data.user_sample import drawn, measured_on_sample
from ml.data.variants import with_duplicates, with_other_split, with_tie_order
from ml.evaluation.slices import slices_of

TRAIN, HISTORY, VALIDATION, TEST, UNUSED = range(len(SPLITS))


@st.composite
def training_sets(draw) -> TrainingSet:
    """Histories with up to three targets, known items before them and unused ones behind."""
    users, splits = [], []
    for user in range(draw(st.integers(1, 8))):
        labels = [TRAIN] * draw(st.integers(0, 3))
        if draw(st.booleans()):
            labels += [HISTORY] * draw(st.integers(0, 1)) + [VALIDATION] + [HISTORY] * draw(st.integers(0, 2))
        labels += [TEST] * draw(st.integers(0, 3)) + [UNUSED] * draw(st.integers(0, 1))
        users += [user] * len(labels)
        splits += labels
    items = draw(st.lists(st.integers(0, 5), min_size=len(users), max_size=len(users)))
    number = max(users, default=0) + 1
    return TrainingSet(
        dataset="Small",
        item_ids=np.array([b"%d" % item for item in range(6)]),
        user_ids=np.array([b"u%d" % user for user in range(number)]),
        **divided(np.array(users, np.int32), np.array(items, np.int32), np.array(splits, int), number),
    )


@settings(deadline=None, max_examples=60)
@given(training_sets(), st.sets(st.integers(0, 8)), st.sets(st.integers(0, 8)))
def test_only_what_is_measured_depends_on_the_sample(tmp_path_factory, whole, users, others):
    part = whole.measured_on(np.array(sorted(users), dtype=np.int64))
    assert set(part.test_users.tolist()) == users & set(whole.test_users.tolist())
    assert (part.unmeasured is None) == (len(part.test_users) == len(whole.test_users))
    assert part.with_every_test_case().digest() == whole.digest()
    assert part.measured_on(np.array(sorted(others))).digest() == whole.measured_on(np.array(sorted(others))).digest()
    assert part.with_everything_trained_on().digest() == whole.with_everything_trained_on().digest()
    assert part.to_fit_on("train+validation").train.items.tolist() == (
        whole.to_fit_on("train+validation").train.items.tolist()
    )
    rows = np.searchsorted(whole.test_users, part.test_users)
    for of in ("held_out", "relevant"):
        assert getattr(part, of)().items.tolist() == getattr(whole, of)(rows).items.tolist()
    assert part.histories("test").items.tolist() == whole.histories("test").take(rows).items.tolist()

    folder = tmp_path_factory.mktemp("saved")
    part.save(folder)
    loaded = TrainingSet.load(folder)
    assert loaded.digest() == part.digest()
    assert (part.digest() == whole.digest()) == (part.unmeasured is None)
    assert loaded.with_every_test_case().digest() == whole.digest()


def test_users_are_drawn_by_seed_and_identity():
    ids = np.array([b"u%03d" % user for user in range(200)])
    everyone = np.arange(200)
    found = drawn(ids, everyone, 20, seed=1)
    assert len(found) == 20
    assert found.tolist() == sorted(set(found.tolist())) == drawn(ids, everyone[::-1], 20, seed=1).tolist()
    assert found.tolist() != drawn(ids, everyone, 20, seed=2).tolist()
    assert found.tolist() != drawn(ids, everyone, 20, seed=1, purpose="test").tolist()
    # of fewer users those stay who are left
    assert set(drawn(ids, everyone[:100], 20, seed=1).tolist()) >= {user for user in found.tolist() if user < 100}
    assert drawn(ids, everyone, 0, seed=1).tolist() == drawn(ids, everyone, 300, seed=1).tolist() == everyone.tolist()


@pytest.fixture
def splits(tmp_path):
    rows = [
        {
            "user_id": f"u{user}",
            "position": place,
            "item_id": f"i{(user + place) % 7}",
            "split": split,
            "timestamp": place,
        }
        for user in range(30)
        for place, split in enumerate(["train", "train", "history", "test", "unused"])
    ]
    pl.DataFrame(rows).write_parquet(tmp_path / "splits.parquet")
    return tmp_path / "splits.parquet"


def test_the_protocol_says_how_many_are_measured(splits):
    whole = build_training_set("Small", splits, {"seed": 5})
    few = build_training_set("Small", splits, {"seed": 5, "test_users": 10})
    assert len(few.test_users) == 10
    assert few.train.items.tolist() == whole.train.items.tolist()
    assert few.with_every_test_case().digest() == whole.digest()
    assert few.digest() != build_training_set("Small", splits, {"seed": 6, "test_users": 10}).digest()
    assert build_training_set("Small", splits, {"seed": 5, "test_users": 30}).digest() == whole.digest()


def test_times_are_those_of_everyone_and_of_the_sample(splits):
    few = build_training_set("Small", splits, {"test_users": 10})
    timed = build_times(splits, few).added_to(few)
    assert timed.digest() == few.digest()
    assert timed.histories("test").times.tolist() == [0, 1, 2] * 10
    # what follows the targets is read by a release too
    of_all = times_of_everything(splits, few)
    assert of_all.tolist() == [0, 1, 2, 3, 4] * 30
    assert timed.with_everything_trained_on(of_all).train.times.tolist() == of_all.tolist()


@pytest.mark.parametrize("split", ["leave-one-out", "global-temporal"])
def test_variants_are_measured_on_the_same_sample(split):
    made, interactions = dataset(chains(days=30), split=split)
    few = measured_on_sample(replace(made, protocol={**made.protocol, "test_users": 6}))
    assert len(few.test_users) == 6 < len(made.test_users)
    rule = str(made.protocol.get("tie_order", "hash"))
    assert with_tie_order(few, interactions, rule).digest() == few.digest()
    assert with_duplicates(few, interactions).test_users.tolist() == few.test_users.tolist()
    assert len(with_other_split(few, interactions).test_users) == 6
    changed = with_held_out_replaced(few)
    assert changed.test_users.tolist() == few.test_users.tolist()
    assert not np.array_equal(changed.unmeasured.targets, few.unmeasured.targets)
    for one, all_of_them in zip(slices_of(few, interactions), slices_of(made, interactions), strict=True):
        rows = np.searchsorted(made.test_users, few.test_users)
        assert len(one.buckets) == 6
        if one.name == "time since the last interaction":
            assert one.buckets.tolist() == all_of_them.buckets[rows].tolist()
