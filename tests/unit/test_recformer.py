"""Recformer in the small: the words that it reads, and that items and histories pass one encoder."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from small_dataset import small_training_set
from torch.nn import functional as F
from training_toys import toy_recipe

from ml.models.build import build_model
from ml.models.settings import RecformerSettings, needs_item_text, needs_text_vectors, reads_words
from ml.text.words import KEYS, item_words
from ml.training.recipe import load_recipe
from ml.training.runtime import Execution
from ml.training.sequential_recommender import SequentialRecommender

SETTINGS = RecformerSettings(
    dimensions=8,
    blocks=2,
    heads=2,
    feed_forward_dimensions=12,
    dropout=0.3,
    max_length=4,
    embedding_deviation=0.5,
    temperature=0.1,
    vocabulary=30,
    words_of_key=3,
)
ITEMS = 12

pytestmark = pytest.mark.usefixtures("one_torch_thread")


def _text(title: str = "Unknown", brand: str = "Unknown", category: str = "Unknown") -> str:
    return f"Title: {title} Brand: {brand} Category: {category} Price: $3.00"


def _set(*texts: str):
    training_set = small_training_set()
    return training_set.with_text(texts + (_text(),) * (training_set.items - len(texts)))


def _words(seed: int = 0, padding: int = 0) -> np.ndarray:
    random = np.random.default_rng(seed)
    found = np.stack([random.integers(1, 31, (ITEMS, 5)), np.sort(random.integers(1, 4, (ITEMS, 5)))], axis=2)
    found[np.arange(5) >= random.integers(6, size=ITEMS)[:, None]] = 0
    return np.concatenate([found, np.zeros((ITEMS, padding, 2))], axis=1).astype(np.int32)


def _model(words: np.ndarray):
    torch.manual_seed(0)
    return build_model(SETTINGS, ITEMS, 0, None, words=words).eval()


def test_words_are_numbered_by_the_items_that_have_them_and_carry_their_keys() -> None:
    training_set = _set(
        _text("Garden hose", "Acme", "Tools|Hoses"), _text("hose, red hose", "Acme"), _text("Hose"), "pipe of no form"
    )
    found = item_words(training_set, vocabulary=100, words_of_key=3)
    # hose in three items, acme in two, the others in one, in alphabetical order
    order = ["hose", "acme", "form", "garden", "hoses", "pipe", "red", "tools"]
    number = {word: place for place, word in enumerate(order, start=1)}

    def row(*words: tuple[str, int]) -> list[list[int]]:
        read = [[number[word], key] for word, key in words]
        return read + [[0, 0]] * (found.shape[1] - len(read))

    assert found.dtype == np.int32
    assert found[:4].tolist() == [
        row(("garden", 1), ("hose", 1), ("acme", 2), ("tools", 3), ("hoses", 3)),
        row(("hose", 1), ("red", 1), ("hose", 1), ("acme", 2)),
        row(("hose", 1)),
        row(("pipe", 1), ("form", 1)),
    ]
    assert not found[4:].any()
    # of a title the first words, of a category the last
    cut = item_words(training_set, vocabulary=100, words_of_key=1)
    assert cut[0].tolist() == [[number["garden"], 1], [number["acme"], 2], [number["hoses"], 3]]
    assert item_words(training_set, vocabulary=2, words_of_key=3).max() == KEYS - 1
    assert (item_words(training_set, vocabulary=2, words_of_key=3)[..., 0] <= 2).all()


@given(st.lists(st.text(max_size=30), min_size=1, max_size=8), st.integers(1, 5), st.integers(1, 4))
def test_any_text_has_words_within_the_bounds_or_is_refused(titles: list[str], vocabulary: int, words: int) -> None:
    training_set = _set(*map(_text, titles), _text("always", "some", "words"))
    found = item_words(training_set, vocabulary, words)
    read = found[..., 0] > 0
    assert found[..., 0].max() <= vocabulary
    assert found.shape[1] <= KEYS * words
    assert np.array_equal(read, found[..., 1] > 0)
    # padding is at the end
    assert np.array_equal(np.sort(read, axis=1)[:, ::-1], read)


def test_an_item_is_the_history_of_that_item_alone() -> None:
    model = _model(_words())
    items = torch.arange(ITEMS)
    states = model(items[:, None], torch.ones(ITEMS, dtype=torch.int64), torch.full((ITEMS,), -1))[:, 0]
    with torch.no_grad():
        vectors = model.output_embedding(items)
    torch.testing.assert_close(F.normalize(states, dim=-1), vectors)
    torch.testing.assert_close(states.norm(dim=-1), torch.full((ITEMS,), 1 / SETTINGS.temperature))


def test_padding_of_words_changes_nothing_and_words_do() -> None:
    history, lengths = torch.tensor([[3, 1, 7, 2], [5, 0, 9, 9]]), torch.tensor([4, 2])
    users = torch.full((2,), -1)
    model, padded = _model(_words()), _model(_words(padding=3))
    weights = model.state_dict()
    # the padding has places of its own, which nothing may read; the mark keeps its place
    of_places = torch.randn(9, SETTINGS.dimensions)
    of_places[:5], of_places[-1] = (
        weights["item_vectors.encoder.places_in_item"][:5],
        (weights["item_vectors.encoder.places_in_item"][-1]),
    )
    padded.load_state_dict(weights | {"item_vectors.encoder.places_in_item": of_places})
    with torch.no_grad():
        states = model(history, lengths, users)
        torch.testing.assert_close(padded(history, lengths, users), states)
        # a word of the first item reaches all later states
        changed = _words()
        changed[3, 0] = (30, 1) if changed[3, 0, 0] != 30 else (29, 1)
        other = _model(changed)
        other.load_state_dict(weights)
        assert ((other(history, lengths, users) - states).abs().amax(dim=-1)[0] > 1e-4).all()
        torch.testing.assert_close(other(history, lengths, users)[1], states[1])


def test_all_items_are_encoded_as_a_few_are(monkeypatch: pytest.MonkeyPatch) -> None:
    model = _model(_words())
    with torch.no_grad():
        table = model.item_vectors.compute(torch.arange(ITEMS))
        monkeypatch.setattr("ml.models.recformer._ITEMS_AT_ONCE", 5)
        torch.testing.assert_close(model.item_vectors.compute(torch.arange(ITEMS)), table)


def test_data_without_words_are_refused_by_the_name_of_the_recipe() -> None:
    recipe = replace(toy_recipe(), name="words", architecture="recformer", model=SETTINGS)
    assert reads_words(SETTINGS)
    assert needs_item_text(SETTINGS)
    assert not needs_text_vectors(SETTINGS)
    for texts, said in (
        (("",) * small_training_set().items, "no item of Small has a title, brand or category with a word"),
        (None, "was loaded without it"),
    ):
        training_set = small_training_set() if texts is None else small_training_set().with_text(texts)
        with pytest.raises(ValueError, match=f"recipe words: this model reads .*{said}"):
            SequentialRecommender(recipe, execution=Execution(threads=1)).fit(training_set)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"temperature": 0.0}, "temperature must be above 0"),
        ({"vocabulary": 0}, "vocabulary must be at least 1"),
        ({"words_of_key": 0}, "words_of_key must be at least 1"),
        ({"heads": 3}, "heads"),
    ],
)
def test_settings_out_of_range(change: dict, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        replace(SETTINGS, **change)


def test_the_recipe_is_in_the_set_of_slow_ones() -> None:
    recipe = load_recipe("recformer_small")
    assert recipe.set == "slow"
    assert "slow" in recipe.notes
