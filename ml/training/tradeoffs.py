"""Models that are taught lists at several trade-offs: which mark asks for which list, and at which they recommend."""

from __future__ import annotations

from typing import Any

from ml.training.recipe import Recipe


def check_lists_of_recipe(recipe: Recipe, tradeoffs: tuple[float, ...], depth: int) -> None:
    """Check that a model can be taught lists.

    Args:
        recipe: of the model.
        tradeoffs: that there are lists at.
        depth: items of a list.

    Raises:
        ValueError: the model has another number of marks or writes shorter lists, or its recipe asks for a trade-off
            that there are no lists at.
    """
    model: Any = recipe.model
    listed = ", ".join(f"{tradeoff:g}" for tradeoff in tradeoffs)
    if model.marks != len(tradeoffs):
        raise ValueError(
            f"model.marks is {model.marks}, and the lists {recipe.teacher_lists} are at {len(tradeoffs)} trade-offs "
            f"({listed}): it must be {len(tradeoffs)}, one mark each"
        )
    if model.list_length < depth:
        raise ValueError(
            f"model.list_length is {model.list_length}, and the lists {recipe.teacher_lists} hold {depth} items: it "
            f"must be at least {depth}"
        )
    if isinstance(recipe.tradeoff, float):
        mark_of(recipe.tradeoff, tradeoffs)


def mark_of(tradeoff: float, tradeoffs: tuple[float, ...]) -> int:
    """The mark that asks for lists at a trade-off.

    Raises:
        ValueError: nothing was taught at this trade-off.
    """
    if tradeoff not in tradeoffs:
        listed = ", ".join(f"{each:g}" for each in tradeoffs)
        raise ValueError(f"there are no lists at the trade-off {tradeoff:g}; there are some at {listed}")
    return tradeoffs.index(tradeoff)
