"""Models on texts that are missing, equal, long or in another language: they work, or are refused by name."""

from __future__ import annotations

import re

import numpy as np
import pytest
from training_toys import ITEMS, ring_training_set, toy_recipe

from ml.data.training_set import TrainingSet
from ml.recommender import NO_ITEM
from ml.text.vectors import usefulness_of_text, vectors_for_models
from ml.training.runtime import Execution
from ml.training.sequential_recommender import SequentialRecommender

pytestmark = pytest.mark.usefixtures("one_torch_thread")

_WORDS = {
    "chinese": ["花园", "软管", "钢锯", "手套", "黄铜阀门"],
    "arabic": ["خرطوم", "حديقة", "منشار", "قفاز", "صمام"],
    "emoji_beside_words": ["🎸 guitar", "🎻 violin", "🥁 drum", "🎺 trumpet", "🎹 piano"],
}


def _of_words(words: list[str]) -> tuple[str, ...]:
    return tuple(
        f"Title: {words[item % 5]} {words[item // 5 % 5]}{item} Brand: Unknown Category: Unknown Price: $1"
        for item in range(ITEMS)
    )


TEXTS = {
    **{name: _of_words(words) for name, words in _WORDS.items()},
    "mostly_empty_titles": tuple("" if item % 4 else f"thing number{item}" for item in range(ITEMS)),
    "one_item_with_a_word": ("lonely", *[""] * (ITEMS - 1)),
    "long_titles": tuple(f"word{item} " * 1_500 + "x" * 10_000 for item in range(ITEMS)),
    "one_title": ("the same thing",) * ITEMS,
}
KINDS = {
    kind: toy_recipe(model={"item_embedding": kind}, training={"max_epochs": 1})
    for kind in ("text", "text_init", "text_experts_and_id")
}


def _training_set(texts: tuple[str, ...]) -> TrainingSet:
    return ring_training_set(40).with_text(texts)


# the others are made of the same parts
@pytest.mark.parametrize("kind", ["text_init", "text_experts_and_id"])
@pytest.mark.parametrize("name", TEXTS)
def test_any_text_with_a_word_is_trained_on(kind, name):
    training_set = _training_set(TEXTS[name])
    recommender = SequentialRecommender(KINDS[kind], execution=Execution(threads=1)).fit(training_set)
    answer = recommender.recommend(training_set.histories("test"), 10, exclude_seen=True)
    assert np.isfinite(answer.scores).all()
    assert (answer.items != NO_ITEM).all()


@pytest.mark.parametrize("name", _WORDS)
def test_words_of_any_language_have_vectors(name):
    vectors = vectors_for_models(_training_set(TEXTS[name]))
    assert vectors.any(axis=1).all()
    assert len(np.unique(vectors.round(4), axis=0)) > 1


def test_one_text_for_all_items_ranks_all_alike_by_text_alone():
    training_set = _training_set(TEXTS["one_title"])
    assert not vectors_for_models(training_set).any()
    recommender = SequentialRecommender(KINDS["text"], execution=Execution(threads=1)).fit(training_set)
    scores = recommender.recommend(training_set.histories("test"), ITEMS, exclude_seen=False).scores
    np.testing.assert_allclose(scores, scores[:, :1].repeat(ITEMS, axis=1), atol=1e-5)


@pytest.mark.parametrize(
    ("texts", "sentence"),
    [
        (("",) * ITEMS, "no item has a title, brand or category with a word: recipes that read text are refused"),
        (("🎸",) * ITEMS, "no item has a title, brand or category with a word: recipes that read text are refused"),
        (TEXTS["one_title"], "all items have the same text: text tells a model nothing"),
        (TEXTS["mostly_empty_titles"], "10 of 40 items have a text that says something, and 10 one that no other"),
        (("one thing", "one thing", *TEXTS["chinese"][2:]), "40 of 40 items .* and 38 one that no other item has"),
    ],
)
def test_what_a_text_is_worth_is_said_in_a_sentence(texts, sentence):
    assert re.match(sentence, usefulness_of_text(_training_set(texts)))
