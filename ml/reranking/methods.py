"""The methods of re-ranking by name, and the goals that each of them can serve."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from ml.beyond_accuracy.goals import GOALS
from ml.config import nearest

_DIVERSITY = tuple(name for name, goal in GOALS.items() if goal.kind == "diversity")
_NOVELTY = tuple(name for name, goal in GOALS.items() if goal.kind == "novelty")
_LABELS = tuple(name for name, goal in GOALS.items() if goal.basis in ("category", "popularity"))


@dataclass(frozen=True)
class Method:
    """A method of re-ranking.

    Attributes:
        name: key of :data:`METHODS`.
        title: for tables and plots.
        description: what it does, in a sentence.
        source: where it comes from.
        goals: names of the goals that it can serve.
    """

    name: str
    title: str
    description: str
    source: str
    goals: tuple[str, ...]


METHODS: Mapping[str, Method] = MappingProxyType(
    {
        method.name: method
        for method in (
            Method(
                "mmr",
                "MMR",
                "Each place goes to the item with the best balance of its relevance and its largest similarity to an "
                "item above it.",
                "Carbonell and Goldstein, SIGIR 1998",
                _DIVERSITY,
            ),
            Method(
                "greedy",
                "Greedy",
                "Each place goes to the item with the best weighted sum of its relevance and of what it adds to the "
                "goal.",
                "Ziegler et al., WWW 2005; Zhang and Hurley, RecSys 2008",
                tuple(GOALS),
            ),
            Method(
                "sog",
                "SOG",
                "Serendipity-oriented greedy: each place goes to the item with the best weighted sum of its relevance, "
                "its distance to the list above, its distance to the history, and its unpopularity.",
                "Kotkov, Veijalainen and Wang, WEBIST 2017 and Computing 102, 2020",
                (*_DIVERSITY, *_NOVELTY),
            ),
            Method(
                "calibration",
                "Calibration",
                "Each place goes to the item that best balances its relevance and how closely the labels of the list "
                "follow those of the history.",
                "Steck, RecSys 2018; by popularity: Abdollahpouri et al., UMAP 2021",
                _LABELS,
            ),
        )
    }
)


def check_method(method: str, goals: tuple[str, ...]) -> None:
    """Check that a method exists and can serve some goals.

    Raises:
        ValueError: it does not, or one of the goals does not exist.
    """
    if method not in METHODS:
        raise ValueError(f"there is no method {method}{nearest(method, METHODS)}; there are {', '.join(METHODS)}")
    for goal in goals:
        if goal not in GOALS:
            raise ValueError(f"there is no goal {goal}{nearest(goal, GOALS)}; there are {', '.join(GOALS)}")
        if goal not in METHODS[method].goals:
            raise ValueError(
                f"the method {method} cannot serve the goal {goal}; it can serve {', '.join(METHODS[method].goals)}"
            )


def check_tradeoff(tradeoff: float) -> None:
    """Check that a tradeoff is from 0 (accuracy alone) to 1 (the goal alone).

    Raises:
        ValueError: it is not.
    """
    if not 0 <= tradeoff <= 1:
        raise ValueError(f"tradeoff must be from 0 (accuracy alone) to 1 (the goal alone), not {tradeoff}")
