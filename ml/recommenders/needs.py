"""What recommenders need to know of a dataset beside its sequences: the items' text, their categories, real times."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ml.models.settings import needs_item_text, needs_text_vectors, reads_categories, reads_text, reads_words
from ml.recommenders.registry import Registry

if TYPE_CHECKING:
    from ml.data.training_set import TrainingSet


def may_be_refused(name: str, registry: Registry) -> bool:
    """Whether there are datasets that a recommender, or one that it is built on, cannot be made for."""
    return any(_reads_text(each, registry) or _reads_times(each, registry) for each in (name, *registry.built_on(name)))


def read_by(name: str, registry: Registry) -> dict[str, bool]:
    """What :func:`why_refused` reads of the training set, as arguments of the function that loads it: ``with_text``,
    ``with_vectors`` and ``with_times``; empty where a recommender is refused for no dataset."""
    recipe = registry.recipes.get(name)
    read = {
        "with_text": _reads_text(name, registry),
        "with_vectors": needs_text_vectors(recipe.model) if recipe else _goals(name, registry) != (),
        "with_times": _reads_times(name, registry),
    }
    return read if any(read.values()) else {}


def why_refused(name: str, registry: Registry, training_set: TrainingSet) -> str | None:
    """What a dataset lacks that a recommender itself cannot be made without; ``None`` where it lacks nothing.

    Args:
        name: of the recommender; those that it is built on are not looked at.
        registry: the recommenders that names stand for.
        training_set: with what :func:`read_by` names.

    Returns:
        What is lacking, to go on "… is left out: ".
    """
    from ml.beyond_accuracy.goals import GoalUnavailable, first_goal
    from ml.data.categories import category_labels
    from ml.data.times import why_not_real
    from ml.language_models.titles import title_of_text
    from ml.text.vectors import texts_known

    dataset = training_set.dataset
    recipe = registry.recipes.get(name)
    of_text = recipe is not None and (reads_text(recipe.model) or reads_words(recipe.model))
    if of_text and not texts_known(training_set).any():
        return f"it reads the text of the items, and no item of {dataset} has a title, brand or category with a word"
    if recipe is not None and reads_categories(recipe.model) and not any(category_labels(training_set)):
        return f"it reads the categories of the items, and no item of {dataset} has one"
    if _reads_times(name, registry) and (reason := why_not_real(training_set.train)) is not None:
        return f"it reads the times of interactions, and those of {dataset} cannot be used: {reason}"
    if name in registry.language_models and not any(map(title_of_text, training_set.item_text or ())):
        return f"it reads the titles of the items, and no item of {dataset} has one"
    if goals := _goals(name, registry):
        try:
            first_goal(goals, training_set)
        except GoalUnavailable as error:
            return str(error)
    return None


def _reads_text(name: str, registry: Registry) -> bool:
    if name in registry.recipes:
        return needs_item_text(registry.recipes[name].model)
    return name in registry.language_models or _goals(name, registry) != ()


def _reads_times(name: str, registry: Registry) -> bool:
    return name in registry.recipes and registry.recipes[name].reads_times


def _goals(name: str, registry: Registry) -> tuple[str, ...]:
    """The goals of a re-ranking or alignment that reads text for one of them; none of any other recommender."""
    recipe = registry.rerankings.get(name) or registry.alignments.get(name)
    return tuple(recipe.goals) if recipe is not None and recipe.reads_text else ()
