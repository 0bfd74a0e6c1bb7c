"""ml/codes: bins against scikit-learn, BPR against finite differences and torch, blindness to held-out items."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from ml.codes.bpr import BATCH_SIZE, Factors, Triples, _draw_others, bpr_gradients, bpr_loss, train_factors
from ml.codes.codes import Codes
from ml.codes.factors import item_factors
from ml.codes.quality import quality_report
from ml.codes.quantiles import quantile_bins, quantise_factors
from ml.codes.random_codes import assign_random_codes
from ml.codes.recipe import load_codes_recipes
from ml.codes.svd import assign_svd_codes
from ml.data.sequences import Sequences
from ml.data.training_set import TrainingSet


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


NAMES = ("svd", "bpr", "random")


def assign_codes(name: str, training_set: TrainingSet, books: int = 8, seed: int = 0) -> Codes:
    """By the recipe of the library, with another number of books."""
    return replace(load_codes_recipes()[name], book_sizes=(256,) * books).assign(training_set, seed)


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


@pytest.mark.parametrize("name", NAMES)
def test_codes_are_equal_for_equal_input_and_seed(name):
    training_set, assign = _training_set(), partial(assign_codes, name)
    first, again, other = (assign(training_set, 8, seed) for seed in (0, 0, 1))
    assert first.values.shape == (600, 8)
    assert first.digest() == again.digest()
    assert first.digest() != other.digest()
    assert assign(training_set, 3).values.shape == (600, 3)
    assert first.method["seed"] == 0
    assert first.method["books"] == 8


def test_bpr_codes_do_not_depend_on_the_number_of_threads():
    from threadpoolctl import threadpool_limits

    training_set = _training_set()
    digests = set()
    for threads in (1, 2):
        with threadpool_limits(limits=threads):
            digests.add(assign_codes("bpr", training_set).digest())
    assert len(digests) == 1


@pytest.mark.parametrize("name", NAMES)
def test_held_out_targets_do_not_touch_the_codes(name):
    training_set, assign = _training_set(), partial(assign_codes, name)
    random = np.random.default_rng(3)
    permuted = replace(
        training_set,
        validation_targets=random.permutation(training_set.validation_targets),
        test_targets=random.permutation(training_set.test_targets),
    )
    assert permuted.digest() != training_set.digest()
    assert assign(permuted).digest() == assign(training_set).digest()
    histories = training_set.train
    changed = replace(training_set, train=Sequences(histories.items[::-1].copy(), histories.offsets))
    # random codes know the number of items alone
    assert (assign(changed).digest() == assign(training_set).digest()) == (name == "random")


@pytest.mark.parametrize("name", ["svd", "bpr"])
def test_items_of_a_group_get_like_codes(name):
    """The leading factors tell groups apart, so the codes of two items differ less within a group."""
    training_set = _training_set(users=3000)
    seen = np.bincount(training_set.train.items, minlength=600) > 0
    codes = assign_codes(name, training_set, books=6)
    values = codes.values.astype(int)
    group = np.arange(600) // 100
    distance = np.abs(values[:, None, :] - values[None, :, :]).sum(axis=-1)
    both = seen[:, None] & seen[None, :]
    within = distance[both & (group[:, None] == group[None, :])].mean()
    across = distance[both & (group[:, None] != group[None, :])].mean()
    assert within < 0.8 * across
    assert codes.report["neighbours_sharing_a_code"] > 1.3 * codes.report["sharing_a_code_by_chance"]


def _factors(seed: int = 0) -> Factors:
    random = np.random.default_rng(seed)
    return Factors(random.normal(size=(5, 3)), random.normal(size=(7, 3)), random.normal(size=7))


# users and items that occur twice, and an item that is preferred here and not there
_TRIPLES = Triples(np.array([0, 4, 4, 2]), np.array([6, 1, 1, 3]), np.array([1, 5, 0, 6]))


def _summed_gradients(factors: Factors) -> Factors:
    found = bpr_gradients(factors, _TRIPLES)
    summed = Factors(*(np.zeros_like(values) for values in (factors.users, factors.items, factors.biases)))
    both = np.concatenate([_TRIPLES.preferred, _TRIPLES.others])
    np.add.at(summed.users, _TRIPLES.users, found.users)
    np.add.at(summed.items, both, found.items)
    np.add.at(summed.biases, both, found.biases)
    return summed


@pytest.mark.parametrize("name", ["users", "items", "biases"])
def test_bpr_gradients_equal_finite_differences(name):
    factors = _factors()
    gradient = getattr(_summed_gradients(factors), name)
    values = getattr(factors, name)
    for place in np.ndindex(values.shape):
        losses = []
        for step in (1e-5, -1e-5):
            moved = values.copy()
            moved[place] += step
            losses.append(bpr_loss(replace(factors, **{name: moved}), _TRIPLES))
        assert gradient[place] == pytest.approx((losses[0] - losses[1]) / 2e-5, abs=1e-7)


def test_bpr_gradients_equal_torch():
    torch = pytest.importorskip("torch")
    factors = _factors(1)
    users, items, biases = (
        torch.from_numpy(values).requires_grad_() for values in (factors.users, factors.items, factors.biases)
    )
    who, preferred, others = (torch.from_numpy(part) for part in (_TRIPLES.users, _TRIPLES.preferred, _TRIPLES.others))
    margin = (users[who] * (items[preferred] - items[others])).sum(dim=1) + biases[preferred] - biases[others]
    loss = -torch.nn.functional.logsigmoid(margin).sum()
    assert bpr_loss(factors, _TRIPLES) == pytest.approx(loss.item())
    summed = _summed_gradients(factors)
    for ours, theirs in zip(
        (summed.users, summed.items, summed.biases), torch.autograd.grad(loss, (users, items, biases)), strict=True
    ):
        np.testing.assert_allclose(ours, theirs.numpy(), atol=1e-12)


def test_bpr_gradients_do_not_overflow():
    factors = Factors(np.full((1, 1), 1e3), np.array([[-1e3], [1e3]]), np.zeros(2))
    for preferred, slope in ((0, -1.0), (1, 0.0)):
        triples = Triples(np.array([0]), np.array([preferred]), np.array([1 - preferred]))
        assert np.isfinite(bpr_loss(factors, triples))
        assert bpr_gradients(factors, triples).biases.tolist() == [slope, -slope]


def test_bpr_learns_to_rank_and_leaves_unseen_items_where_they_started():
    training_set = _training_set(users=1500, items=300)
    kept = training_set.train.items % 100 != 7
    owner = np.repeat(np.arange(1500), training_set.train.lengths)[kept]
    histories = Sequences(training_set.train.items[kept], np.searchsorted(owner, np.arange(1501)).astype(np.int64))
    trained, losses = train_factors(histories, 300, 6, seed=0)
    assert losses[-1] < 0.92 * losses[0]
    unseen, seen = trained.items[7::100], np.delete(trained.items, np.s_[7::100], axis=0)
    assert np.abs(unseen).max() <= 0.5 / 6
    assert np.array_equal(trained.biases[7::100], np.zeros(3))
    assert np.abs(seen).mean() > 2 * np.abs(unseen).mean()
    codes = assign_codes("bpr", replace(training_set, train=histories), 6)
    assert codes.report["items_never_seen_in_training"] == 3
    assert codes.report["last_epoch_loss"] == losses[-1]


def test_bpr_never_draws_an_item_of_the_user():
    random = np.random.default_rng(0)
    interactions = random.integers(20, size=400)
    users = random.integers(30, size=400)
    known = np.unique(users * 20 + interactions)
    triples = _draw_others(users, interactions, interactions, known, 20, random)
    assert 100 < len(triples.users) <= 400
    assert not np.isin(triples.users * 20 + triples.others, known).any()
    assert np.isin(triples.users * 20 + triples.preferred, known).all()
    # who has everything prefers nothing
    everything = np.zeros(20, dtype=np.int64)
    assert len(_draw_others(everything, np.arange(20), np.arange(20), np.arange(20), 20, random).users) == 0


def test_bpr_of_users_who_have_everything():
    training_set = replace(
        _training_set(users=2, items=6), train=Sequences.from_lists([[0, 1, 2, 3, 4, 5], [5, 4, 3, 2, 1, 0]])
    )
    codes = assign_codes("bpr", training_set, 2)
    assert sorted(codes.values[:, 0]) == list(range(6))
    assert codes.report["last_epoch_loss"] == 0


def test_bpr_takes_several_batches():
    """The fixtures above fit into one or two: with more the last one is not full."""
    training_set = _training_set(users=1000)
    assert len(training_set.train.items) > 2 * BATCH_SIZE
    assert len(training_set.train.items) % BATCH_SIZE


@pytest.mark.parametrize("items", [1, 100, 256, 1000])
def test_random_codes_are_balanced(items):
    training_set = replace(
        _training_set(users=2, items=6),
        item_ids=np.array([b"%04d" % item for item in range(items)]),
        train=Sequences.from_lists([[0], [0]]),
    )
    codes = assign_random_codes(training_set, books=4)
    for book in range(4):
        used = np.bincount(codes.values[:, book], minlength=256)
        assert (used > 0).sum() == min(items, 256)
        assert used[used > 0].max() - used[used > 0].min() <= 1
    if items > 1:
        assert not np.array_equal(codes.values[:, 0], codes.values[:, 1])


def test_random_codes_know_nothing_of_neighbours():
    report = assign_random_codes(_training_set(users=8000)).report
    assert report["neighbours_sharing_a_code"] == pytest.approx(report["sharing_a_code_by_chance"], rel=0.1)
    assert all(abs(book["popularity_rank_correlation"]) < 0.2 for book in report["by_book"])


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
    # neighbours: 0-2, 2-4, 4-4 (not two items), and 4-5 of another user; not 4-4 across the users, nor the empty one
    report = quality_report(values, Sequences.from_lists([[0, 2, 4, 4], [], [4, 5], [4], [2]]))
    assert report["distinct_codes"] == 3
    assert report["items_in_collisions"] == 5
    assert report["largest_collision"] == 3
    assert report["items_never_seen_in_training"] == 2
    assert report["by_book"][0]["codes_used"] == 2
    assert report["by_book"][0]["entropy_bits"] == pytest.approx(-(4 / 6 * np.log2(4 / 6) + 2 / 6 * np.log2(2 / 6)))
    assert report["by_book"][0]["largest_code_items"] == 4
    # first book: shared, shared, not; second book: not, not, not
    assert report["neighbours_sharing_a_code"] == pytest.approx(2 / 6)
    # counts 1, 0, 2, 0, 4, 1 of 8: all ordered pairs of different items that could be drawn
    shares = np.array([1, 0, 2, 0, 4, 1]) / 8
    pairs = [(a, b) for a in range(6) for b in range(6) if a != b]
    drawn = sum(shares[a] * shares[b] for a, b in pairs)
    same = sum(shares[a] * shares[b] * (values[a] == values[b]).mean() for a, b in pairs)
    assert report["sharing_a_code_by_chance"] == pytest.approx(same / drawn)


def test_rank_correlation_equals_scipy():
    from scipy.stats import spearmanr

    random = np.random.default_rng(0)
    values = random.integers(256, size=(500, 2)).astype(np.uint8)
    values[:, 1] = 4
    items = np.repeat(np.arange(500), random.poisson(values[:, 0] / 40))
    report = quality_report(values, Sequences(items.astype(np.int32), np.array([0, len(items)])))
    expected = spearmanr(values[:, 0], np.bincount(items, minlength=500)).statistic
    assert report["by_book"][0]["popularity_rank_correlation"] == pytest.approx(expected)
    assert report["by_book"][1]["popularity_rank_correlation"] is None


def test_report_of_histories_without_neighbours():
    report = quality_report(np.zeros((3, 2), dtype=np.uint8), Sequences.from_lists([[0], [1, 1]]))
    assert report["neighbours_sharing_a_code"] is None
    assert report["sharing_a_code_by_chance"] is None


def test_quantised_factors_are_the_bins_of_each_factor():
    factors = np.random.default_rng(0).normal(size=(3, 2000))
    values = quantise_factors(factors, seed=4)
    for book in range(3):
        # the noise is far below what separates most values
        assert (np.abs(values[:, book].astype(int) - quantile_bins(factors[book], 256)) > 1).sum() == 0
        assert np.array_equal(np.bincount(values[:, book]), np.bincount(quantile_bins(factors[book], 256)))


def test_fewer_users_than_books_leave_random_books_and_say_so():
    training_set = _training_set(users=3, items=90, groups=3)
    codes = assign_svd_codes(training_set, books=8)
    assert codes.report["factors"] == 3
    assert codes.report["random_books"] == 5
    assert codes.values.max() == 89
    assert all(book["codes_used"] == 90 for book in codes.report["by_book"])
    assert codes.digest() == assign_svd_codes(training_set, books=8).digest()


@pytest.mark.parametrize("name", NAMES)
def test_one_item(name):
    training_set = replace(
        _training_set(users=2, items=6),
        item_ids=np.array([b"only"]),
        train=Sequences.from_lists([[0], [0]]),
    )
    assert assign_codes(name, training_set, books=2).values.tolist() == [[0, 0]]


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


@pytest.mark.parametrize("name", NAMES)
def test_assignment_errors(name):
    training_set, assign = _training_set(users=6), partial(assign_codes, name)
    with pytest.raises(ValueError, match="books"):
        assign(training_set, books=0)
    with pytest.raises(ValueError, match="empty"):
        assign(replace(training_set, train=Sequences.from_lists([[]] * 6)))


def test_codes_of_another_type_are_an_error():
    with pytest.raises(ValueError, match="uint8"):
        Codes(np.zeros((3, 2), dtype=np.int64), {})


def test_codes_of_the_library_are_what_they_were():
    """Digests of before codes were recipes: models trained on these codes stay valid."""
    training_set = _training_set()
    first = {name: assign_codes(name, training_set).digest()[:16] for name in NAMES}
    other = {name: assign_codes(name, training_set, seed=3).digest()[:16] for name in NAMES}
    assert first == {"svd": "bd919f9e7a2261b9", "bpr": "c25db47512324d6e", "random": "63ce0cd41c9474b4"}
    assert other == {"svd": "5b60185738d90b37", "bpr": "1ca3308383ab5a9f", "random": "82daab565303f3d8"}


@pytest.mark.parametrize("name", NAMES)
def test_books_may_differ_in_size(name, tmp_path):
    training_set = _training_set()
    sizes = (256, 7, 300, 1)
    codes = replace(load_codes_recipes()[name], book_sizes=sizes).assign(training_set)
    assert codes.values.dtype == np.uint16
    assert codes.book_sizes == sizes
    for book, size in enumerate(sizes):
        counts = np.bincount(codes.values[:, book], minlength=size)
        assert len(counts) == size
        # equally full, as far as 600 items can be
        assert counts.max() - counts.min() <= 1
        assert codes.report["by_book"][book]["share_used"] == 1
    codes.save(tmp_path)
    loaded = Codes.load(tmp_path)
    assert loaded.book_sizes == sizes
    assert loaded.digest() == codes.digest()
    # each book is the one it would be among books of 256
    assert np.array_equal(codes.values[:, 0], assign_codes(name, training_set, 4).values[:, 0])


def test_smaller_books_are_other_codes_and_one_byte_each():
    values = np.zeros((3, 2), dtype=np.uint8)
    assert Codes(values, {}).digest() != Codes(values, {"book_sizes": [16, 16]}).digest()
    assert Codes(values, {"book_sizes": [256, 256]}).digest() == Codes(values, {}).digest()


def test_codes_saved_by_the_first_version_are_read(tmp_path):
    codes = assign_svd_codes(_training_set(), books=4)
    codes.save(tmp_path)
    described = json.loads((tmp_path / "codes.json").read_text())
    (tmp_path / "codes.json").write_text(json.dumps(described | {"format": "raw2rank-codes-1"}))
    assert Codes.load(tmp_path).digest() == codes.digest()
    (tmp_path / "codes.json").write_text(json.dumps(described | {"format": "raw2rank-codes-9"}))
    with pytest.raises(ValueError, match=r"holds raw2rank-codes-9, this version reads raw2rank-codes-2 and"):
        Codes.load(tmp_path)


@pytest.mark.parametrize(
    ("values", "sizes", "message"),
    [
        (np.full((3, 2), 16, dtype=np.uint8), [16, 17], "codes that are not below their book_sizes"),
        (np.zeros((3, 2), dtype=np.uint8), [16], "1 book_sizes for codes of 2 books"),
        (np.zeros((3, 2), dtype=np.uint8), [16, 300], "codes of books of 300 are not uint8"),
        (np.zeros((3, 2), dtype=np.uint16), [16, 16], "codes of books of 16 are not uint16"),
    ],
)
def test_codes_that_are_not_of_their_books_are_an_error(values, sizes, message):
    with pytest.raises(ValueError, match=message):
        Codes(values, {"book_sizes": sizes})


def _with_centroids(books: int = 2) -> Codes:
    random = np.random.default_rng(0)
    centroids = tuple(random.normal(size=(4 + book, 3)).astype(np.float32) for book in range(books))
    return Codes(random.integers(4, size=(9, 2)).astype(np.uint8), {"centroids": "residual"}, {}, centroids)


@pytest.mark.parametrize("books", [1, 2])
def test_centroids_are_saved_with_the_codes(tmp_path, books):
    codes = _with_centroids(books)
    codes.save(tmp_path)
    loaded = Codes.load(tmp_path)
    assert len(loaded.centroids) == books
    for one, other in zip(codes.centroids, loaded.centroids, strict=True):
        assert other.dtype == np.float32
        assert np.array_equal(one, other)
    without = replace(codes, centroids=())
    assert loaded.digest() == codes.digest() == without.digest()
    described = json.loads((tmp_path / "codes.json").read_text())
    assert described["format"] == "raw2rank-codes-2"
    (tmp_path / "plain").mkdir()
    without.save(tmp_path / "plain")
    assert sorted(path.name for path in (tmp_path / "plain").iterdir()) == ["codes.json", "codes.npy"]
    assert Codes.load(tmp_path / "plain").centroids == ()


@pytest.mark.parametrize("harm", ["changed", "gone", "cut short"])
def test_centroids_that_are_not_those_described_are_an_error(tmp_path, harm):
    codes = _with_centroids()
    codes.save(tmp_path)
    path = tmp_path / "centroids.safetensors"
    if harm == "gone":
        path.unlink()
    elif harm == "cut short":
        path.write_bytes(path.read_bytes()[:-4])
    else:
        (tmp_path / "other").mkdir()
        replace(codes, centroids=tuple(2 * centroids for centroids in codes.centroids)).save(tmp_path / "other")
        (tmp_path / "other" / "centroids.safetensors").rename(path)
    with pytest.raises(ValueError, match=r"centroids\.safetensors"):
        Codes.load(tmp_path)


def test_centroids_need_safetensors_before_anything_is_written(tmp_path, monkeypatch):
    monkeypatch.setattr("ml.extras.find_spec", lambda name: None)
    with pytest.raises(
        ModuleNotFoundError, match=r"saving the centroids of codes needs safetensors.*raw2rank\[train\]"
    ):
        _with_centroids().save(tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("centroids", "message"),
    [
        ((np.zeros((4, 3), np.float32),) * 3, "centroids of 3 books for codes of 2 books"),
        ((np.zeros((4, 3)),) * 2, r"the centroids of book 0 must be float32 \[at most 256, dimensions\]"),
        ((np.zeros((4, 3), np.float32), np.zeros((257, 3), np.float32)), "the centroids of book 1 must be"),
    ],
)
def test_centroids_that_do_not_belong_to_the_codes_are_an_error(centroids, message):
    with pytest.raises(ValueError, match=message):
        Codes(np.zeros((9, 2), dtype=np.uint8), {}, {}, centroids)
