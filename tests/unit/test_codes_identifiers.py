"""Methods that give every item an identifier of its own, and product quantisation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from recommender_factories import made_up_training_set
from scipy.optimize import linear_sum_assignment
from scipy.sparse import csc_matrix, csgraph
from scipy.spatial.distance import cdist
from sklearn.cluster import SpectralClustering
from sklearn.metrics import adjusted_rand_score

from ml.codes import collaborative
from ml.codes.balanced_tree import BalancedTreeSettings, balanced_clusters, tree_paths
from ml.codes.clustering import kmeans
from ml.codes.codes import Codes
from ml.codes.collaborative import CollaborativeSettings, divided
from ml.codes.digits import in_digits, order_of_appearance
from ml.codes.product_quantisation import ProductQuantisationSettings, rotated
from ml.codes.random_identifiers import RandomIdentifiersSettings, unique_tuples
from ml.codes.recipe import load_codes_recipes
from ml.codes.semantic import SemanticSettings, category_paths
from ml.codes.sequential import SequentialSettings
from ml.data.sequences import Sequences
from ml.data.training_set import TrainingSet

CATEGORIES = ("Beauty > Hair Care > Shampoo", "Beauty > Hair Care", "Beauty > Skin", "Toys", "Toys > Games")
UNIQUE = ("balanced_tree", "p5_sequential", "p5_collaborative", "p5_semantic", "random_identifiers")
NAMES = (*UNIQUE, "product_16")


@pytest.fixture
def training_set() -> TrainingSet:
    """Sixty items with categories, which the same users have."""
    random = np.random.default_rng(2)
    lengths = random.integers(3, 9, size=300)
    rows = [[*random.integers(12, size=lengths[user]) + 12 * (user % 5), random.integers(60)] for user in range(300)]
    texts = [f"Title: {item} Brand: Unknown Category: {CATEGORIES[item // 12]} Price: $1.00" for item in range(60)]
    texts[7] = "Title: 7 Brand: Unknown Category: Unknown Price: $1.00"
    return replace(made_up_training_set(users=300, items=60), train=Sequences.from_lists(rows), item_text=tuple(texts))


def assign(name: str, training_set: TrainingSet, seed: int = 0) -> Codes:
    """By the recipe of the library, with parts so small that 60 items are divided."""
    recipe = load_codes_recipes()[name]
    if name == "p5_collaborative":
        recipe = replace(recipe, method=CollaborativeSettings(clusters=3, leaf_size=8))
    elif name == "product_16":
        recipe = replace(recipe, book_sizes=(8,) * 16)
    return recipe.assign(training_set, seed)


@pytest.mark.parametrize("name", UNIQUE)
def test_every_item_has_an_identifier_of_its_own(name: str, training_set: TrainingSet) -> None:
    codes = assign(name, training_set)
    assert len(np.unique(codes.values, axis=0)) == codes.items == 60
    assert codes.report["items_in_collisions"] == 0
    # smaller parts, so that all levels of the methods that divide are reached
    smaller = {
        "balanced_tree": BalancedTreeSettings(branches=3),
        "p5_collaborative": CollaborativeSettings(clusters=3, leaf_size=4),
        "p5_sequential": SequentialSettings(base=4),
        "p5_semantic": SemanticSettings(base=4),
        "random_identifiers": RandomIdentifiersSettings(),
    }
    recipe = replace(load_codes_recipes()[name], method=smaller[name])
    codes = (replace(recipe, book_sizes=(4, 4, 4)) if recipe.book_sizes else recipe).assign(training_set)
    assert len(np.unique(codes.values, axis=0)) == 60
    assert codes.books >= 3


@pytest.mark.parametrize("name", NAMES)
def test_held_out_items_do_not_touch_identifiers(name: str, training_set: TrainingSet) -> None:
    random = np.random.default_rng(1)
    permuted = replace(
        training_set,
        validation_targets=random.permutation(training_set.validation_targets),
        test_targets=random.permutation(training_set.test_targets),
    )
    assert permuted.digest() != training_set.digest()
    assert assign(name, permuted).digest() == assign(name, training_set).digest()
    histories = training_set.train
    changed = replace(training_set, train=Sequences(histories.items[::-1].copy(), histories.offsets))
    same = assign(name, changed).digest() == assign(name, training_set).digest()
    assert same == (name == "random_identifiers")


@pytest.mark.parametrize("name", NAMES)
def test_identifiers_are_equal_for_equal_input_and_seed(name: str, training_set: TrainingSet) -> None:
    first, again, other = (assign(name, training_set, seed) for seed in (0, 0, 1))
    assert first.digest() == again.digest()
    assert first.report == again.report
    # P5's sequential and semantic indexing draw nothing
    assert (first.digest() == other.digest()) == (name in ("p5_sequential", "p5_semantic"))


@pytest.mark.parametrize("name", NAMES)
def test_identifiers_do_not_depend_on_the_number_of_threads(name: str, training_set: TrainingSet) -> None:
    from threadpoolctl import threadpool_limits

    digests = set()
    for threads in (1, 2):
        with threadpool_limits(limits=threads):
            digests.add(assign(name, training_set).digest())
    assert len(digests) == 1


@pytest.mark.parametrize("name", NAMES)
def test_identifiers_of_one_item(name: str, training_set: TrainingSet) -> None:
    alone = replace(
        training_set,
        item_ids=np.array([b"only"]),
        train=Sequences.from_lists([[0], [0]]),
        item_text=("Title: a Brand: b Category: c Price: $1.00",),
    )
    codes = assign(name, alone)
    assert codes.items == 1
    assert len(codes.report["by_level"]) == codes.books


@pytest.mark.parametrize("name", NAMES)
def test_identifiers_need_training_histories(name: str, training_set: TrainingSet) -> None:
    with pytest.raises(ValueError, match="the training histories of Made_Up are empty"):
        assign(name, replace(training_set, train=Sequences.from_lists([[]] * 300)))


@pytest.mark.parametrize("settings_of", [BalancedTreeSettings, ProductQuantisationSettings])
def test_methods_that_quantise_vectors_need_some(settings_of: Callable, training_set: TrainingSet) -> None:
    with pytest.raises(ValueError, match="one of vectors, and none were given"):
        settings_of().assign(training_set, (16, 16), 0, None)


# balanced tree


@given(
    items=st.integers(1, 40),
    branches=st.integers(2, 9),
    different=st.integers(1, 40),
    seed=st.integers(0, 5),
)
@settings(max_examples=25, deadline=None)
def test_a_tree_is_balanced_at_every_level(items: int, branches: int, different: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    vectors = random.normal(size=(different, 3))[random.integers(different, size=items)]
    popularity = random.integers(4, size=items)
    paths = tree_paths(vectors, popularity, branches, seed)
    levels = paths.shape[1]
    assert branches**levels >= items
    assert levels == 1 or branches ** (levels - 1) < items
    for level in range(1, levels + 1):
        below = np.unique(paths[:, :level], axis=0, return_counts=True)[1]
        assert below.max() - below.min() <= 1
        assert len(below) == min(items, branches**level)
    assert (paths >= 0).all() & (paths < branches).all()
    assert np.array_equal(paths, tree_paths(vectors, popularity, branches, seed))


def test_vectors_without_a_dimension_are_a_tree_too() -> None:
    paths = tree_paths(np.zeros((11, 0)), np.zeros(11), 3, 0)
    assert len(np.unique(paths, axis=0)) == 11


def test_items_of_the_last_node_are_numbered_by_popularity() -> None:
    paths = tree_paths(np.zeros((5, 2)), np.array([1, 7, 0, 7, 2]), 5, 0)
    assert paths.tolist() == [[3], [0], [4], [1], [2]]


@pytest.mark.parametrize("seed", range(5))
def test_balanced_clusters_cost_little_more_than_the_best_assignment(seed: int) -> None:
    """The best assignment to the same centres, with as much room, by SciPy."""
    random = np.random.default_rng(seed)
    vectors = random.normal(size=(203, 4)) + 3 * random.normal(size=(3, 4))[random.integers(3, size=203)]
    found = balanced_clusters(vectors, 8, seed)
    sizes = np.bincount(found)
    assert sorted(sizes) == [25] * 5 + [26] * 3
    distances = cdist(vectors, kmeans(vectors, 8, seed)[0])
    rows, places = linear_sum_assignment(np.repeat(distances, sizes, axis=1))
    best = np.repeat(distances, sizes, axis=1)[rows, places].sum()
    unbalanced, cost = distances.min(axis=1).sum(), distances[np.arange(203), found].sum()
    assert unbalanced <= best <= cost <= 1.1 * best


def test_clusters_that_are_balanced_already_stay_as_they_are() -> None:
    random = np.random.default_rng(0)
    group = np.repeat(np.arange(4), 10)
    vectors = 100 * np.eye(4)[group] + random.normal(size=(40, 4))
    assert adjusted_rand_score(balanced_clusters(vectors, 4, 0), group) == 1


# P5's indexings


@given(numbers=st.lists(st.integers(0, 5000), min_size=1, max_size=20), base=st.integers(2, 300))
def test_digits_add_up_to_the_number(numbers: list[int], base: int) -> None:
    digits, sizes = in_digits(np.array(numbers), base)
    powers = base ** np.arange(digits.shape[1])[::-1]
    assert (digits @ powers).tolist() == numbers
    assert (digits < np.array(sizes)).all()
    assert sizes[0] == digits[:, 0].max() + 1
    assert digits.shape[1] == 1 or sizes[0] > 1


def test_items_are_numbered_as_they_appear() -> None:
    histories = Sequences.from_lists([[4, 4, 2], [], [2, 0, 5]])
    # items 1 and 3 are in no history
    assert order_of_appearance(histories, 6).tolist() == [2, 4, 1, 5, 0, 3]
    items = np.array([b"%d" % item for item in range(6)])
    training_set = replace(made_up_training_set(), train=histories, item_ids=items, item_text=None)
    codes = SequentialSettings(base=2).assign(training_set)
    assert codes.values.tolist() == [[0, 1, 0], [1, 0, 0], [0, 0, 1], [1, 0, 1], [0, 0, 0], [0, 1, 1]]
    assert codes.book_sizes == (2, 2, 2)


def test_paths_of_categories() -> None:
    texts = ["Beauty > Hair Care", "Action|Comedy", " Toys ", " > ", None]
    assert category_paths(texts) == [("Beauty", "Hair Care"), ("Action", "Comedy"), ("Toys",), (), ()]


def test_semantic_codes_are_the_categories_and_a_number(training_set: TrainingSet) -> None:
    codes = SemanticSettings(base=4).assign(training_set)
    values = codes.values.astype(int)
    # two wide categories and none; three below; four below these; twelve items: two digits of base 4
    assert codes.book_sizes == (3, 3, 2, 3, 4)
    assert codes.report["category_books"] == 3
    assert codes.report["items_without_category"] == 1
    expected = {0: [1, 1, 1], 1: [1, 1, 0], 2: [1, 2, 0], 3: [2, 0, 0], 4: [2, 1, 0]}
    for item in range(60):
        assert values[item, :3].tolist() == ([0, 0, 0] if item == 7 else expected[item // 12])
    # numbered by first appearance
    number = values[:, 3] * 4 + values[:, 4]
    order = order_of_appearance(training_set.train, 60)
    for group in range(1, 5):
        members = np.arange(12 * group, 12 * group + 12)
        assert number[members[np.argsort(order[members])]].tolist() == list(range(12))


def test_semantic_codes_need_categories(training_set: TrainingSet) -> None:
    recipe = load_codes_recipes()["p5_semantic"]
    assert recipe.needs_text
    assert not load_codes_recipes()["p5_sequential"].needs_text
    with pytest.raises(ValueError, match="loaded without its item text"):
        recipe.assign(replace(training_set, item_text=None))
    for text in ("a thing", "Title: a Brand: b Category: Unknown Price: $1.00"):
        with pytest.raises(ValueError, match="no item text of Made_Up says one: choose other codes"):
            recipe.assign(replace(training_set, item_text=(text,) * 60))


def test_spectral_clusters_are_those_of_scikit_learn() -> None:
    """Planted groups, found from the graph that is never written out."""
    random = np.random.default_rng(0)
    group = np.repeat(np.arange(4), 150)
    rows = [random.choice(np.flatnonzero(group == user % 4), 8, replace=False) for user in range(900)]
    for row in rows[:300]:
        row[0] = random.integers(600)
    having = collaborative._users_and_items(Sequences.from_lists(rows), 600)
    graph = (having.T @ having).toarray()
    np.fill_diagonal(graph, 0)
    assert np.allclose(collaborative._degrees(having), graph.sum(axis=1))
    theirs = SpectralClustering(4, affinity="precomputed", assign_labels="kmeans", random_state=0).fit_predict(graph)
    assert adjusted_rand_score(divided(having, 4, 0), theirs) > 0.97
    assert adjusted_rand_score(divided(having, 4, 0), group) > 0.97


@pytest.mark.parametrize("dense", [400, 100])
def test_spectral_vectors_are_eigenvectors_of_the_laplacian(dense: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exactly decomposed, and by the Lanczos method."""
    monkeypatch.setattr(collaborative, "_DENSE", dense)
    items = 150
    random = np.random.default_rng(1)
    size = items // 4
    rows = [[*random.integers(size, size=5) + size * (user % 4), random.integers(items)] for user in range(3 * items)]
    having = collaborative._users_and_items(Sequences.from_lists(rows), items)
    graph = (having.T @ having).toarray()
    np.fill_diagonal(graph, 0)
    values, vectors = np.linalg.eigh(csgraph.laplacian(graph, normed=True))
    # four groups: the fifth eigenvalue is far from the fourth
    assert values[4] - values[3] > 0.1
    expected = vectors[:, :4]
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    found = collaborative._spectral_vectors(having, 4, 0)
    # the same inner products, whatever the signs of the eigenvectors
    assert np.allclose(found @ found.T, expected @ expected.T, atol=1e-6)


def test_unconnected_items_are_a_cluster_of_their_own() -> None:
    random = np.random.default_rng(0)
    rows = [random.integers(30, size=5).tolist() for _ in range(100)] + [[30], [31, 31]]
    training_set = replace(made_up_training_set(items=45), train=Sequences.from_lists(rows))
    codes = CollaborativeSettings(clusters=3, leaf_size=8).assign(training_set)
    # those with a history of their own, and those with none
    assert codes.report["unconnected_items"] == 15
    assert (codes.values[30:, 0] == 3).all()
    assert (codes.values[:30, 0] < 3).all()
    # more than a leaf: cut into equal pieces
    assert np.bincount(codes.values[30:, 1]).tolist() == [5, 5, 5]
    # the most popular first, then by index
    last = codes.values[30:35, -1].tolist()
    assert last == [1, 0, 2, 3, 4]
    assert codes.book_sizes[-1] <= 8


def test_items_that_no_two_users_share_are_still_divided() -> None:
    """Components of two items, of which the Lanczos method finds few eigenvectors, or none in one step."""
    having = csc_matrix((np.ones(1000), (np.arange(1000) // 2, np.arange(1000))), shape=(500, 1000))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(collaborative, "_LANCZOS_RESTARTS", 1)
        labels = divided(having, 4, 0)
    assert len(np.unique(labels)) > 1
    # both items of a component together
    assert (labels[::2] == labels[1::2]).all()


@pytest.mark.parametrize(
    ("settings_of", "values", "message"),
    [
        (CollaborativeSettings, {"clusters": 1}, "clusters must be from 2"),
        (CollaborativeSettings, {"leaf_size": 0}, "leaf_size must be from 1"),
        (SequentialSettings, {"base": 1}, "base must be from 2"),
        (SemanticSettings, {"base": 1 << 17}, "base must be from 2 to 65,536"),
        (BalancedTreeSettings, {"branches": 1}, "branches must be from 2"),
        (BalancedTreeSettings, {"iterations": 0}, "iterations must be at least 1"),
        (ProductQuantisationSettings, {"iterations": 0}, "iterations must be at least 1"),
    ],
)
def test_settings_out_of_range_are_an_error(settings_of: Callable, values: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        settings_of(**values)


# random identifiers


@given(count=st.integers(1, 60), sizes=st.lists(st.integers(1, 9), min_size=1, max_size=4), seed=st.integers(0, 9))
def test_random_tuples_are_unique_and_of_their_books(count: int, sizes: list[int], seed: int) -> None:
    if np.prod(sizes) < count:
        with pytest.raises(ValueError, match="different tuples, and there are"):
            unique_tuples(count, tuple(sizes), seed)
        return
    tuples = unique_tuples(count, tuple(sizes), seed)
    assert tuples.shape == (count, len(sizes))
    assert (tuples < np.array(sizes)).all()
    assert len(np.unique(tuples, axis=0)) == count


@pytest.mark.parametrize("sizes", [(16, 8), (16, 16, 16)])
def test_all_codes_are_equally_likely(sizes: tuple[int, ...]) -> None:
    drawn = np.concatenate([unique_tuples(100, sizes, seed)[:, 0] for seed in range(100)])
    assert np.bincount(drawn, minlength=16) == pytest.approx(np.full(16, 625), rel=0.15)


# product quantisation


def test_rotated_vectors_are_a_rotation() -> None:
    vectors = np.random.default_rng(0).normal(size=(300, 6)) * np.array([9, 5, 3, 2, 1, 0.5])
    turned = rotated(vectors, whiten=False)
    assert np.allclose(cdist(turned, turned), cdist(vectors, vectors))
    white = rotated(vectors, whiten=True)
    assert np.allclose(np.cov(white.T, bias=True), np.eye(6))
    # directions of rounding errors are none
    flat = np.concatenate([vectors, vectors[:, :2]], axis=1)
    assert rotated(flat, whiten=True).shape == (300, 6)
    assert rotated(np.ones((5, 3)), whiten=True).shape == (5, 0)
    assert rotated(np.ones((5, 0)), whiten=True).shape == (5, 0)


def test_codes_of_products_are_the_nearest_centres_of_their_blocks(training_set: TrainingSet) -> None:
    vectors = np.random.default_rng(0).normal(size=(60, 7))
    codes = ProductQuantisationSettings().assign(training_set, (8, 8, 8), 0, vectors)
    components = rotated(vectors, whiten=True)
    lost = 0.0
    for book in range(3):
        block = components[:, book::3]
        centres = np.stack([block[codes.values[:, book] == code].mean(axis=0) for code in range(8)])
        lost += (cdist(block, centres).min(axis=1) ** 2).sum()
        assert np.array_equal(cdist(block, centres).argmin(axis=1), codes.values[:, book])
    assert codes.report["variance_kept"] == pytest.approx(1 - lost / (components**2).sum())
    assert codes.report["random_books"] == 0
    assert codes.report["components"] == 7


def test_books_without_a_component_are_random_and_balanced(training_set: TrainingSet) -> None:
    vectors = np.random.default_rng(0).normal(size=(60, 2))
    codes = ProductQuantisationSettings().assign(training_set, (8, 8, 8, 6), 0, vectors)
    assert codes.report["random_books"] == 2
    assert np.bincount(codes.values[:, 2]).tolist() in ([8] * 4 + [7] * 4, [8, 7] * 4, [7, 8] * 4)
    assert set(np.bincount(codes.values[:, 3])) == {10}
    # vectors that do not differ have no component at all
    same = ProductQuantisationSettings().assign(training_set, (8, 8), 0, np.ones((60, 3)))
    assert same.report["random_books"] == 2
    assert same.report["variance_kept"] is None


def test_equal_vectors_collide_and_the_report_counts_them(training_set: TrainingSet, tmp_path: Path) -> None:
    vectors = np.repeat(np.random.default_rng(0).normal(size=(20, 6)), 3, axis=0)
    codes = ProductQuantisationSettings().assign(training_set, (256,) * 3, 0, vectors)
    assert codes.report["distinct_codes"] == 20
    assert codes.report["items_in_collisions"] == 60
    codes.save(tmp_path)
    assert Codes.load(tmp_path).report == codes.report
