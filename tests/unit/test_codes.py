"""ml/codes: bins against scikit-learn, determinism, blindness to held-out items, small catalogues."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ml.codes.codes import Codes, quality_report
from ml.codes.svd import assign_svd_codes, item_factors, quantile_bins
from ml.data.training_set import Sequences, TrainingSet


def _training_set(users: int = 400, items: int = 600, groups: int = 6, seed: int = 0) -> TrainingSet:
    """Users buy within one group of items: what a factorisation can find."""
    random = np.random.default_rng(seed)
    size = items // groups
    rows = [random.integers(size, size=random.integers(3, 9)) + size * (user % groups) for user in range(users)]
    return TrainingSet(
        dataset="made_up",
        item_ids=np.array([b"%04d" % item for item in range(items)]),
        user_ids=np.array([b"%04d" % user for user in range(users)]),
        train=Sequences.from_lists([row[:-2] for row in rows]),
        validation_users=np.arange(users, dtype=np.int32),
        validation_targets=np.array([row[-2] for row in rows], dtype=np.int32),
        test_users=np.arange(users, dtype=np.int32),
        test_targets=np.array([row[-1] for row in rows], dtype=np.int32),
    )


def test_bins_equal_scikit_learn():
    from sklearn.preprocessing import KBinsDiscretizer

    random = np.random.default_rng(0)
    for values in (random.normal(size=5000), random.exponential(size=777), random.normal(size=256)):
        theirs = KBinsDiscretizer(256, encode="ordinal", strategy="quantile", quantile_method="linear", subsample=None)
        expected = theirs.fit_transform(values[:, None])[:, 0]
        assert np.array_equal(quantile_bins(values, 256), expected)


@pytest.mark.parametrize("count", [1, 2, 10, 255])
def test_fewer_values_than_bins_get_a_bin_each(count):
    values = np.random.default_rng(0).permutation(count).astype(float)
    assert np.array_equal(quantile_bins(values, 256), values.astype(int))


def test_factors_equal_the_exact_decomposition():
    training_set = _training_set(users=60, items=40, groups=2)
    dense = np.zeros((60, 40))
    for user in range(60):
        np.add.at(dense[user], training_set.train[user], 1)
    found = item_factors(training_set.train, 40, 3, seed=0)
    _, values, exact = np.linalg.svd(dense)
    assert np.all(values[:3] / values[1:4] > 1.02), "the made-up matrix has factors too close to tell apart"
    assert np.abs(np.abs(found @ exact[:3].T) - np.eye(3)).max() < 0.05


def test_codes_are_equal_for_equal_input_and_seed():
    training_set = _training_set()
    first, again, other = (assign_svd_codes(training_set, 8, seed) for seed in (0, 0, 1))
    assert first.values.shape == (600, 8)
    assert first.digest() == again.digest()
    assert first.digest() != other.digest()


def test_held_out_targets_do_not_touch_the_codes():
    training_set = _training_set()
    random = np.random.default_rng(3)
    permuted = replace(
        training_set,
        validation_targets=random.permutation(training_set.validation_targets),
        test_targets=random.permutation(training_set.test_targets),
    )
    assert permuted.digest() != training_set.digest()
    assert assign_svd_codes(permuted).digest() == assign_svd_codes(training_set).digest()
    histories = training_set.train
    changed = replace(training_set, train=Sequences(histories.items[::-1].copy(), histories.offsets))
    assert assign_svd_codes(changed).digest() != assign_svd_codes(training_set).digest()


def test_items_of_a_group_get_like_codes():
    """The leading factors tell groups apart, so the codes of two items differ less within a group."""
    training_set = _training_set(users=3000)
    seen = np.bincount(training_set.train.items, minlength=600) > 0
    values = assign_svd_codes(training_set, books=6).values.astype(int)
    group = np.arange(600) // 100
    distance = np.abs(values[:, None, :] - values[None, :, :]).sum(axis=-1)
    both = seen[:, None] & seen[None, :]
    within = distance[both & (group[:, None] == group[None, :])].mean()
    across = distance[both & (group[:, None] != group[None, :])].mean()
    assert within < 0.8 * across


def test_books_are_used_evenly_and_reported():
    codes = assign_svd_codes(_training_set(items=1536))
    report = codes.report
    assert report["items"] == 1536
    assert report["factors"] == 8
    assert report["random_books"] == 0
    for book in report["by_book"]:
        assert book["codes_used"] == 256
        assert book["entropy_bits"] == pytest.approx(8, abs=0.01)
        assert book["largest_code_items"] <= 7


def test_report_counts_collisions_and_unseen_items():
    values = np.array([[0, 1], [0, 1], [0, 2], [3, 2], [0, 1], [3, 2]], dtype=np.uint8)
    report = quality_report(values, np.array([1, 0, 2, 0, 5, 1]))
    assert report["distinct_codes"] == 3
    assert report["items_in_collisions"] == 5
    assert report["largest_collision"] == 3
    assert report["items_never_seen_in_training"] == 2
    assert report["by_book"][0]["codes_used"] == 2
    assert report["by_book"][0]["entropy_bits"] == pytest.approx(-(4 / 6 * np.log2(4 / 6) + 2 / 6 * np.log2(2 / 6)))
    assert report["by_book"][0]["largest_code_items"] == 4


def test_fewer_users_than_books_leave_random_books_and_say_so():
    training_set = _training_set(users=3, items=90, groups=3)
    codes = assign_svd_codes(training_set, books=8)
    assert codes.report["factors"] == 3
    assert codes.report["random_books"] == 5
    assert codes.values.max() == 89
    assert all(book["codes_used"] == 90 for book in codes.report["by_book"])
    assert codes.digest() == assign_svd_codes(training_set, books=8).digest()


def test_one_item():
    training_set = replace(
        _training_set(users=2, items=6),
        item_ids=np.array([b"only"]),
        train=Sequences.from_lists([[0], [0]]),
    )
    assert assign_svd_codes(training_set, books=2).values.tolist() == [[0, 0]]


def test_save_and_load(tmp_path):
    codes = assign_svd_codes(_training_set(), books=4)
    codes.save(tmp_path)
    loaded = Codes.load(tmp_path)
    assert np.array_equal(loaded.values, codes.values)
    assert loaded.method == codes.method
    assert loaded.report == codes.report
    assert loaded.digest() == codes.digest()
    np.save(tmp_path / "codes.npy", codes.values + np.uint8(1))
    with pytest.raises(ValueError, match=r"codes\.npy"):
        Codes.load(tmp_path)


def test_errors():
    training_set = _training_set(users=6)
    with pytest.raises(ValueError, match="books"):
        assign_svd_codes(training_set, books=0)
    with pytest.raises(ValueError, match="empty"):
        assign_svd_codes(replace(training_set, train=Sequences.from_lists([[]] * 6)))
    with pytest.raises(ValueError, match="uint8"):
        Codes(np.zeros((3, 2), dtype=np.int64), {})
