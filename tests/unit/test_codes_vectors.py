"""The vectors that are quantised: against dense computations, and for items of which a part knows nothing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from recommender_factories import made_up_training_set

from ml.codes.vectors import VectorPart, input_vectors
from ml.codes.vectors.co_occurrence import (
    co_occurrences,
    graph_vectors,
    positive_mutual_information,
    ppmi_vectors,
)
from ml.codes.vectors.unseen_items import fill_from_text_neighbours
from ml.data.sequences import Sequences
from ml.data.training_set import TrainingSet
from ml.text.vectors import text_vectors, texts_known
from ml.text.whitening import whitened

HISTORIES = st.lists(st.lists(st.integers(0, 7), max_size=6), min_size=1, max_size=6)
WITHOUT_METADATA = "Title: Unknown Brand: Unknown Category: Unknown Price: Unknown"
ALL_PARTS = (
    VectorPart("text", 8, whiten=True),
    VectorPart("interactions", 8),
    VectorPart("ppmi", 8, 0.5),
    VectorPart("graph", 8),
)


def _counted(histories: list[list[int]], distance: int) -> np.ndarray:
    counts = np.zeros((8, 8))
    for history in histories:
        for first, second in zip(history, history[distance:], strict=False):
            if first != second:
                counts[first, second] += 1
                counts[second, first] += 1
    return counts


@given(HISTORIES, st.integers(1, 3))
def test_pairs_at_a_distance_are_counted_within_histories(histories, distance):
    found = co_occurrences(Sequences.from_lists(histories), 8, distance)
    assert np.array_equal(found.toarray(), _counted(histories, distance))


@settings(deadline=None)
@given(HISTORIES, st.integers(1, 3))
def test_mutual_information_is_that_of_the_counts(histories, window):
    counts = sum(_counted(histories, distance) for distance in range(1, window + 1))
    expected = np.zeros((8, 8))
    for row, column in zip(*np.nonzero(counts), strict=True):
        share = counts[row, column] * counts.sum() / (counts[row].sum() * counts[column].sum())
        expected[row, column] = max(0, np.log(share))
    found = positive_mutual_information(Sequences.from_lists(histories), 8, window)
    assert np.allclose(found.toarray(), expected)


def _gram(matrix: np.ndarray, dimensions: int, power: float) -> np.ndarray:
    """Inner products of left singular vectors times powers of singular values: they do not depend on signs."""
    left, values, _ = np.linalg.svd(matrix)
    vectors = left[:, :dimensions] * values[:dimensions] ** power
    return vectors @ vectors.T


def test_graph_vectors_are_those_of_a_dense_decomposition():
    training_set = made_up_training_set()
    counts = (co_occurrences(training_set.train, 40, 1) + 0.5 * co_occurrences(training_set.train, 40, 2)).toarray()
    degrees = counts.sum(axis=1)
    assert (degrees == 0).any()
    scale = np.where(degrees > 0, 1 / np.sqrt(np.maximum(degrees, 1e-9)), 0)
    matrix = scale[:, None] * counts * scale + 0.5 * np.diag(degrees > 0)
    found = graph_vectors(training_set.train, 40, 12, seed=0)
    assert np.allclose(found @ found.T, _gram(matrix, 12, 1), atol=1e-4)
    assert not found[degrees == 0].any()


def test_ppmi_vectors_are_those_of_a_dense_decomposition():
    training_set = made_up_training_set()
    found = ppmi_vectors(training_set.train, 40, 12, 3, seed=0)
    matrix = positive_mutual_information(training_set.train, 40, 3).toarray()
    assert np.allclose(found @ found.T, _gram(matrix, 12, 0.5), atol=1e-4)


@pytest.mark.parametrize("of", ["ppmi", "graph"])
def test_items_with_the_same_neighbours_lie_near_one_another(of):
    random = np.random.default_rng(0)
    rows = [random.integers(10, size=8) + 10 * (user % 3) for user in range(90)]
    training_set = replace(made_up_training_set(items=30), train=Sequences.from_lists(rows))
    vectors = input_vectors(training_set, (VectorPart(of, 8),), 0)
    cosines, group = vectors @ vectors.T, np.arange(30) // 10
    same = group[:, None] == group
    np.fill_diagonal(cosines, np.nan)
    assert np.nanmean(cosines[same]) > np.nanmean(cosines[~same]) + 0.3


def test_whitened_vectors_are_uncorrelated_and_turned_as_little_as_possible():
    random = np.random.default_rng(0)
    vectors = random.normal(size=(4000, 5)) @ random.normal(size=(5, 5)) + 3
    found = whitened(vectors)
    assert np.allclose(found.mean(axis=0), 0)
    # of variance 1, but for the shrinkage
    before = np.linalg.eigvalsh(np.cov(vectors.T, bias=True))
    after = before / (0.99 * before + 0.01 * before.mean())
    assert np.allclose(np.linalg.eigvalsh(np.cov(found.T, bias=True)), np.sort(after))
    assert after.max() < 1.02 * after[before > before.mean() / 3].min()
    # ZCA: the transformation is symmetric and positive
    matrix = np.linalg.lstsq(vectors - vectors.mean(axis=0), found, rcond=None)[0]
    assert np.allclose(matrix, matrix.T)
    assert (np.linalg.eigvalsh(matrix) > 0).all()


@pytest.mark.parametrize("vectors", [np.ones((4, 3)), np.ones((1, 3)), np.ones((4, 0))])
def test_equal_vectors_are_zero_when_whitened(vectors):
    assert np.array_equal(whitened(vectors), np.zeros(vectors.shape))


def test_a_whitened_text_without_a_word_is_zero():
    training_set = made_up_training_set()
    vectors = input_vectors(training_set, (VectorPart("text", 8, 2.0, whiten=True),), 0)
    known = texts_known(training_set)
    assert not known[5]
    assert np.allclose(np.linalg.norm(vectors, axis=1), 2.0 * known)
    assert np.array_equal(vectors[3], vectors[7])


@pytest.mark.parametrize("of", ["interactions", "ppmi", "graph"])
def test_no_part_is_zero_for_an_item_without_interactions(of):
    training_set = made_up_training_set()
    unseen = np.bincount(training_set.train.items, minlength=40) == 0
    assert unseen.sum() >= 6
    for data in (training_set, replace(training_set, item_text=None)):
        vectors = input_vectors(data, (VectorPart(of, 8, 0.5),), 0)
        assert np.allclose(np.linalg.norm(vectors, axis=1), 0.5)


def test_an_item_without_interactions_takes_the_mean_of_its_ten_text_neighbours():
    training_set = made_up_training_set()
    vectors = np.random.default_rng(0).normal(size=(40, 6))
    known = np.arange(40) % 3 > 0
    found = fill_from_text_neighbours(vectors, known, training_set)
    assert np.array_equal(found[known], vectors[known])
    texts = text_vectors(training_set).astype(np.float64)
    for item in np.flatnonzero(~known):
        others = sorted(np.flatnonzero(known), key=lambda other: (-round(texts[item] @ texts[other], 9), other))
        nearest = [other for other in others[:10] if texts[item] @ texts[other] > 1e-9]
        assert np.allclose(found[item], vectors[nearest or known].mean(axis=0))
    assert (~known & ~texts_known(training_set)).sum() == 0
    without = fill_from_text_neighbours(vectors, np.arange(40) != 5, training_set)
    assert np.allclose(without[5], vectors[np.arange(40) != 5].mean(axis=0)), "its text has no word"


def test_vectors_that_cancel_out_leave_the_first_and_none_leave_zero():
    training_set = replace(made_up_training_set(items=8), item_text=None)
    vectors = np.array([[-1.0], [1.0]] * 3 + [[0.0]] * 2)
    assert fill_from_text_neighbours(vectors, np.arange(8) < 6, training_set)[6:].tolist() == [[-1], [-1]]
    assert not fill_from_text_neighbours(vectors, np.zeros(8, dtype=bool), training_set).any()


def test_equal_bit_for_bit_whatever_the_number_of_threads():
    from threadpoolctl import threadpool_limits

    training_set = made_up_training_set()
    found = []
    for threads in (1, 2):
        with threadpool_limits(limits=threads):
            found.append(input_vectors(training_set, ALL_PARTS, 3))
    assert np.array_equal(*found)
    # the whitened text has a dimension for every ten texts
    assert found[0].shape == (40, 3 + 3 * 8)


def _without_metadata(training_set: TrainingSet) -> TrainingSet:
    return training_set.with_text((WITHOUT_METADATA,) * training_set.items)


@pytest.mark.parametrize("strip", [_without_metadata, lambda data: replace(data, item_text=None)])
def test_an_optional_text_that_is_not_there_is_left_out(strip):
    training_set = made_up_training_set()
    parts = (VectorPart("text", 8, whiten=True, optional=True), VectorPart("graph", 8))
    assert input_vectors(training_set, parts, 0).shape == (40, 3 + 8)
    alone = input_vectors(strip(training_set), parts, 0)
    assert np.array_equal(alone, input_vectors(strip(training_set), parts[1:], 0))
    with pytest.raises(ValueError, match="the items of Made_Up have no text"):
        input_vectors(strip(training_set), parts[:1], 0)


def test_a_text_that_is_not_there_and_not_optional_is_an_error():
    training_set = made_up_training_set()
    parts = (VectorPart("text", 8, whiten=True), VectorPart("graph", 8))
    with pytest.raises(ValueError, match="have no text; set optional = true for its vectors, or choose"):
        input_vectors(_without_metadata(training_set), parts, 0)
    with pytest.raises(ValueError, match="loaded without its item text"):
        input_vectors(replace(training_set, item_text=None), parts, 0)


def test_vectors_of_a_trained_recipe():
    training_set = made_up_training_set()
    unseen = np.bincount(training_set.train.items, minlength=40) == 0
    trained = np.random.default_rng(0).normal(size=(40, 6)).astype(np.float32)
    asked = []

    def vectors_of(name: str) -> np.ndarray:
        asked.append(name)
        return trained

    (found,) = (input_vectors(training_set, (VectorPart("recipe", 6, recipe="sasrec"),), 0, vectors_of),)
    assert asked == ["sasrec"]
    lengths = np.linalg.norm(trained, axis=1, keepdims=True)
    assert np.allclose(found[~unseen], (trained / lengths)[~unseen])
    assert not np.allclose(found[unseen], (trained / lengths)[unseen]), "they are still where training started"
    assert input_vectors(training_set, (VectorPart("recipe", 2, recipe="sasrec"),), 0, vectors_of).shape == (40, 2)


@pytest.mark.parametrize(
    ("trained", "message"),
    [
        (None, "the item vectors of sasrec, and no trained model was given"),
        (lambda _: np.zeros((39, 4)), r"sasrec must be finite numbers \[40 items, dimensions\], and are \[39, 4\]"),
        (lambda _: np.full((40, 4), np.nan), "must be finite numbers"),
    ],
)
def test_vectors_of_a_trained_recipe_that_cannot_be_used(trained, message):
    with pytest.raises(ValueError, match=message):
        input_vectors(made_up_training_set(), (VectorPart("recipe", 4, recipe="sasrec"),), 0, trained)


def test_histories_without_neighbours_have_no_graph():
    training_set = replace(made_up_training_set(items=8), train=Sequences.from_lists([[0], [1], [2, 2]]))
    for of in ("graph", "ppmi"):
        assert input_vectors(training_set, (VectorPart(of, 4),), 0).shape == (8, 0)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"of": "graph", "whiten": True}, 'whiten is a key of vectors of = "text", not of "graph"; remove it'),
        ({"of": "ppmi", "optional": True}, 'optional is a key of vectors of = "text"'),
        ({"of": "graph", "window": 3}, 'window is a key of vectors of = "ppmi"'),
        ({"of": "text", "recipe": "sasrec"}, 'recipe is a key of vectors of = "recipe"'),
        ({"of": "recipe"}, "recipe must name the trained recipe"),
        ({"of": "ppmi", "window": 0}, "window must be at least 1, not 0"),
    ],
)
def test_keys_that_do_not_belong_to_a_part_are_refused(keys, message):
    with pytest.raises(ValueError, match=message):
        VectorPart(**{"dimensions": 4, **keys})
