"""The common space of several catalogues' texts against scikit-learn, and against the vectors of a single catalogue."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.feature_extraction.text import TfidfVectorizer
from training_toys import ring_training_set

from ml.text.shared_space import ARRAYS, DESCRIPTION, TextSpace
from ml.text.tf_idf_svd import words_of
from ml.text.vectors import vectors_for_models

WORDS = ("saw", "hose", "valve", "wire", "Tape", "glove", "bolt", "drill", "naïve", "x9")


def _texts(count: int, seed: int = 0) -> list[str]:
    generator = np.random.default_rng(seed)
    return [f"Title: {' '.join(generator.choice(WORDS, 3))} number{row} Brand: b{row % 3}" for row in range(count)]


def test_weights_are_those_of_scikit_learn():
    texts = _texts(30)
    space = TextSpace.fit(texts, dimensions=1000)
    vectoriser = TfidfVectorizer(sublinear_tf=True, strip_accents="unicode", stop_words="english").fit(sorted(texts))
    assert list(space.words) == vectoriser.get_feature_names_out().tolist()
    np.testing.assert_allclose(space.weights, vectoriser.idf_)
    # with all directions inner products are those of the weights themselves
    other = ["naïve saw saw unheard", "hose Brand: b1", "unheard alone"]
    projected = space._projected(words_of([*texts, *other]))
    expected = vectoriser.transform([*texts, *other]).toarray()
    inside = expected @ space.directions.T
    inside /= np.maximum(np.linalg.norm(inside, axis=1, keepdims=True), 1e-12)
    np.testing.assert_allclose(projected, inside, atol=1e-5)
    assert not projected[-1].any()


def test_of_one_catalogue_the_vectors_are_those_that_models_read():
    training_set = ring_training_set(20).with_text(tuple(_texts(40)))
    found = TextSpace.fit(training_set.item_text).vectors(training_set.item_text)
    expected = vectors_for_models(training_set)
    assert found.shape == expected.shape
    # randomised directions of the same texts in another order: equal up to signs
    signs = np.sign((found * expected).sum(axis=0))
    np.testing.assert_allclose(found, expected * signs, atol=0.05)


@given(st.lists(st.text(max_size=12), max_size=12), st.integers(0, 50))
@settings(max_examples=40, deadline=None)
def test_any_text_has_a_finite_vector_that_does_not_depend_on_the_others(texts, seed):
    space = TextSpace.fit(_texts(25, seed))
    found = space.vectors(["Title: saw", *texts, "Title: saw"])
    assert np.isfinite(found).all()
    np.testing.assert_array_equal(found[0], found[-1])
    alone = [space.vectors([text])[0] for text in texts]
    if texts:
        np.testing.assert_allclose(found[1:-1], alone, atol=1e-4)


def test_order_and_repetition_of_the_texts_do_not_matter():
    texts = _texts(30)
    assert TextSpace.fit(texts).digest() == TextSpace.fit([*texts[::-1], *texts[:7]]).digest()
    assert TextSpace.fit(texts).digest() != TextSpace.fit(texts[:-1]).digest()


def test_labels_and_prices_say_nothing():
    unknown = "Title: Unknown Brand: Unknown Category: Unknown Price: $5.00"
    space = TextSpace.fit([*_texts(30), unknown])
    found = space.vectors([unknown, "Title: saw Brand: Unknown Category: Unknown Price: Unknown", "!", "", "unheard"])
    assert found.any(axis=1).tolist() == [False, True, False, False, False]


def test_no_word_at_all_is_refused():
    for texts in (["!", ""], ["Title: Unknown Brand: Unknown Category: Unknown Price: $5.00"]):
        with pytest.raises(ValueError, match="no item of any dataset has a title, brand or category with a word"):
            TextSpace.fit(texts)


def test_it_is_saved_without_pickle_and_read_again(tmp_path):
    space = TextSpace.fit(_texts(30))
    space.save(tmp_path)
    loaded = TextSpace.load(tmp_path)
    assert loaded.digest() == space.digest()
    np.testing.assert_array_equal(loaded.vectors(_texts(30)), space.vectors(_texts(30)))
    assert {path.suffix for path in tmp_path.iterdir()} == {".json", ".safetensors"}
    described = json.loads((tmp_path / DESCRIPTION).read_text())
    (tmp_path / DESCRIPTION).write_text(json.dumps(described | {"words": [*described["words"][:-1], "zebra"]}))
    with pytest.raises(ValueError, match=rf"{ARRAYS} does not hold the space"):
        TextSpace.load(tmp_path)
    (tmp_path / DESCRIPTION).write_text(json.dumps(described | {"format": "other"}))
    with pytest.raises(ValueError, match="this version reads raw2rank-text-space-1"):
        TextSpace.load(tmp_path)
