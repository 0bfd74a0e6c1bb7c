"""Residual k-means: what each book leaves, determinism, and catalogues that have little to cluster."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from recommender_factories import made_up_training_set

from ml.codes.codes import Codes
from ml.codes.recipe import CodesRecipe, load_codes_recipes
from ml.codes.residual_kmeans import ResidualKMeansSettings
from ml.codes.trie import Trie
from ml.data.sequences import Sequences
from ml.data.training_set import TrainingSet


def _assign(vectors: np.ndarray, sizes: tuple[int, ...] = (8, 8, 8), seed: int = 0) -> Codes:
    return ResidualKMeansSettings().assign(_with_items(len(vectors)), sizes, seed, vectors)


def _with_items(items: int) -> TrainingSet:
    training_set = made_up_training_set()
    return replace(
        training_set,
        item_ids=np.array([b"%06d" % item for item in range(items)]),
        train=Sequences.from_lists([[0] * 3]),
        item_text=None,
    )


def _vectors(items: int = 400, dimensions: int = 6) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(items, dimensions))


def test_codes_are_sums_of_centroids_and_each_book_leaves_less():
    vectors = _vectors()
    codes = _assign(vectors)
    assert [centroids.shape for centroids in codes.centroids] == [(8, 6)] * 3
    rebuilt, variance = np.zeros_like(vectors), ((vectors - vectors.mean(axis=0)) ** 2).sum()
    for book in range(3):
        left = vectors - rebuilt
        distances = ((left[:, None] - codes.centroids[book]) ** 2).sum(axis=-1)
        assert np.allclose(distances.min(axis=1), distances[np.arange(400), codes.values[:, book]], atol=1e-5)
        rebuilt += codes.centroids[book][codes.values[:, book]]
        energy = ((vectors - rebuilt) ** 2).sum() / variance
        assert codes.report["energy_left"][book] == pytest.approx(energy, abs=1e-5)
    assert 1 > codes.report["energy_left"][0] > codes.report["energy_left"][1] > codes.report["energy_left"][2] > 0
    assert all(book["codes_used"] == 8 for book in codes.report["by_book"])
    last = vectors - codes.centroids[0][codes.values[:, 0]] - codes.centroids[1][codes.values[:, 1]]
    expected = ((last[[3, 5], None] - codes.centroids[2]) ** 2).sum(axis=-1)
    assert np.allclose(codes.last_distances(np.array([3, 5])), expected, atol=1e-5)


def test_equal_for_equal_input_and_seed_whatever_the_number_of_threads():
    from threadpoolctl import threadpool_limits

    vectors = _vectors(1200, 12)
    digests = []
    for threads in (1, 2):
        with threadpool_limits(limits=threads):
            digests.append(_assign(vectors, (32, 32)).digest())
    assert digests[0] == digests[1] != _assign(vectors, (32, 32), seed=1).digest()


def test_equal_vectors_get_equal_codes():
    vectors = np.repeat(_vectors(30), 3, axis=0)
    values = _assign(vectors).values
    assert np.array_equal(values[::3], values[1::3])
    assert np.array_equal(values[::3], values[2::3])


def test_fewer_items_than_codes_have_a_code_each_and_nothing_is_left():
    codes = _assign(_vectors(5))
    assert sorted(codes.values[:, 0]) == list(range(5))
    assert not codes.values[:, 1:].any()
    assert codes.report["energy_left"][-1] == pytest.approx(0, abs=1e-12)
    assert [len(centroids) for centroids in codes.centroids] == [5, 1, 1]


@pytest.mark.parametrize("vectors", [np.ones((1, 4)), np.zeros((1, 0)), np.zeros((6, 0)), np.ones((6, 3))])
def test_vectors_that_do_not_differ_have_one_tuple_of_codes(vectors):
    codes = _assign(vectors)
    assert not codes.values.any()
    assert codes.report["energy_left"] == [0, 0, 0]


def test_books_may_differ_in_size():
    codes = _assign(_vectors(900), (300, 4))
    assert codes.values.dtype == np.uint16
    assert codes.book_sizes == (300, 4)


def test_without_vectors_or_iterations_there_are_no_codes():
    with pytest.raises(ValueError, match="residual k-means clusters vectors, and none were given"):
        ResidualKMeansSettings().assign(_with_items(4), (4,), 0, None)
    with pytest.raises(ValueError, match="iterations must be at least 1"):
        ResidualKMeansSettings(iterations=0)


# ---- the recipes of the library

IDENTIFIERS = {name: recipe for name, recipe in load_codes_recipes().items() if recipe.collisions == "resolved"}


def test_the_library_has_identifiers_of_text_of_the_graph_and_of_both():
    parts = {name: tuple(part.of for part in recipe.vectors) for name, recipe in IDENTIFIERS.items()}
    assert parts["text_and_graph"] == ("text", "graph")
    assert parts["text"] == ("text",)
    assert parts["graph"] == ("graph",)
    assert parts["text_and_sasrec"] == ("text", "recipe")
    assert [name for name in parts if not IDENTIFIERS[name].needs_text and IDENTIFIERS[name].vectors] == ["graph"]
    assert {name: recipe.needs_recipes for name, recipe in IDENTIFIERS.items() if recipe.needs_recipes} == {
        "text_and_sasrec": ("sasrec_sampled_softmax",)
    }


@pytest.mark.parametrize("recipe", IDENTIFIERS.values(), ids=IDENTIFIERS)
def test_every_item_has_an_identifier_of_its_own(recipe: CodesRecipe):
    training_set = made_up_training_set(items=60)
    codes = recipe.assign(training_set, trained=lambda _: np.random.default_rng(0).normal(size=(60, 8)))
    Trie.of(codes.values)
    # two items have equal texts, and some have no interactions
    assert codes.items == 60
    assert codes.report["distinct_codes"] == 60


def test_text_decides_nothing_where_the_recipe_asks_for_none():
    """The asset of such codes loads no text; a fit by name, as of further seeds, may have loaded it for others."""
    training_set = made_up_training_set()
    rows = [row[row > 4] for row in map(training_set.train.__getitem__, range(training_set.users))]
    training_set = replace(training_set, train=Sequences.from_lists(rows))
    assert training_set.item_text is not None
    codes = [IDENTIFIERS["graph"].assign(data) for data in (training_set, replace(training_set, item_text=None))]
    np.testing.assert_array_equal(codes[0].values, codes[1].values)


def test_similar_items_share_the_first_code():
    random = np.random.default_rng(0)
    rows = [random.integers(20, size=8) + 20 * (user % 2) for user in range(90)]
    texts = tuple(("garden hose green" if item < 20 else "lipstick rose red") + f" model{item}" for item in range(40))
    training_set = replace(made_up_training_set(), train=Sequences.from_lists(rows), item_text=texts)
    recipe = replace(load_codes_recipes()["text_and_graph"], book_sizes=(2, 32))
    for data in (training_set, replace(training_set, item_text=None)):
        first = recipe.assign(data).values[:, 0]
        assert set(first[:20]) ^ set(first[20:]) == {0, 1}


def _almost_nothing_known(items: int = 300) -> TrainingSet:
    """No text, and no interactions but with the first three items."""
    training_set = _with_items(items)
    return replace(training_set, train=Sequences.from_lists([[0, 1, 2], [1, 0, 2], [2, 1]]))


def test_items_of_which_nothing_is_known_are_numbered_by_popularity():
    recipe = load_codes_recipes()["text_and_graph"]
    codes = recipe.assign(_almost_nothing_known())
    Trie.of(codes.values)
    assert codes.books == 4
    assert codes.report["before_collisions_were_resolved"]["largest_collision"] == 297
    # the codes of the first books have no more to offer: there is one residual
    assert sorted(codes.values[3:, 3]) == list(range(297))
    assert not codes.values[:3, 3].any()


@pytest.mark.parametrize("items", [1, 2, 5])
def test_tiny_catalogues(items):
    training_set = replace(_with_items(items), train=Sequences.from_lists([[0]]))
    for data in (training_set, training_set.with_text(tuple(f"hose{item}" for item in range(items)))):
        codes = load_codes_recipes()["text_and_graph"].assign(data)
        Trie.of(codes.values)
        assert codes.items == items


def test_a_catalogue_without_interactions_has_no_codes():
    training_set = replace(_with_items(4), train=Sequences.from_lists([[], []]))
    with pytest.raises(ValueError, match="the training histories of Made_Up are empty"):
        load_codes_recipes()["graph"].assign(training_set)


def test_text_alone_needs_text():
    with pytest.raises(ValueError, match="loaded without its item text"):
        load_codes_recipes()["text"].assign(_almost_nothing_known())
