"""What language models read of an item: its title."""

from __future__ import annotations

from collections.abc import Sequence

from ml.data.item_text import text_fields
from ml.data.training_set import TrainingSet


def titles_of(training_set: TrainingSet, recipe: str) -> tuple[str, ...]:
    """The title of each item, empty where it is unknown; texts of a form of their own are taken whole.

    Raises:
        ValueError: the training set has no item text, or no item has a title; the message names the recipe.
    """
    if training_set.item_text is None:
        raise ValueError(
            f"recipe {recipe}: a language model reads the titles of the items, and the training set of "
            f"{training_set.dataset} has no item text: add it with TrainingSet.with_text"
        )
    titles = tuple(title_of_text(text) for text in training_set.item_text)
    if not any(titles):
        raise ValueError(
            f"recipe {recipe}: a language model reads the titles of the items, and no item of {training_set.dataset} "
            "has one: leave this recipe out, or land the metadata of the items"
        )
    return titles


def title_of_text(text: str) -> str:
    """The title in an item text, in one line; empty where it is unknown or holds neither a letter nor a digit."""
    title = text_fields(text)[0] or ""
    return " ".join(title.split()) if any(character.isalnum() for character in title) else ""


def shortened(titles: Sequence[str], characters: int) -> list[str]:
    """Titles cut to a number of characters, with an ellipsis in place of the last one where something is cut."""
    return [title if len(title) <= characters else f"{title[: characters - 1]}…" for title in titles]
