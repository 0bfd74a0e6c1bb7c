"""Item text as words with their keys, for models that read the words themselves.

A key is what a word says of an item: its title, brand or category. Price is left out, as in the vectors of names.
"""

from __future__ import annotations

from collections import Counter

import numpy as np

from ml.data.item_text import text_fields
from ml.data.training_set import TrainingSet
from ml.text.tf_idf_svd import words_of

# title, brand and category; texts of another form are taken as titles
KEYS = 3


def item_words(training_set: TrainingSet, vocabulary: int, words_of_key: int) -> np.ndarray:
    """The words of each item and their keys, int32 ``[items, words, 2]``, padded with zeros at the end.

    Words are those of :class:`ml.text.tf_idf_svd.TfIdfSvd`. They are numbered from 1, those that most items have first,
    in alphabetical order where as many have them; words beyond the vocabulary are left out. Keys are numbered from 1
    too. Of a long title or brand the first words are taken, of a category the last, which say the most. Held-out
    interactions are not read.

    Args:
        training_set: with its item text.
        vocabulary: different words, at most.
        words_of_key: words of each key of an item, at most.

    Raises:
        ValueError: the training set was loaded without its item text, or no text has a word.
    """
    if training_set.item_text is None:
        raise ValueError(f"{training_set.dataset} was loaded without its item text: add it with TrainingSet.with_text")
    named = [text_fields(text)[:KEYS] for text in training_set.item_text]
    read = iter(words_of([field or "" for fields in named for field in fields]))
    items = [[next(read) for _ in fields] for fields in named]
    having = Counter(word for fields in items for word in {word for field in fields for word in field})
    if not having:
        raise ValueError(
            f"this model reads the words of the items, and no item of {training_set.dataset} has a title, brand or "
            "category with a word"
        )
    kept = sorted(having, key=lambda word: (-having[word], word))[:vocabulary]
    number = {word: place for place, word in enumerate(kept, start=1)}
    rows = []
    for fields in items:
        row: list[tuple[int, int]] = []
        for key, field in enumerate(fields, start=1):
            known = [number[word] for word in field if word in number]
            row += [(word, key) for word in (known[-words_of_key:] if key == KEYS else known[:words_of_key])]
        rows.append(row)
    found = np.zeros((len(rows), max(map(len, rows)), 2), dtype=np.int32)
    for item, row in enumerate(rows):
        found[item, : len(row)] = np.array(row, dtype=np.int32).reshape(-1, 2)
    return found
