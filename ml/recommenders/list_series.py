"""What trades accuracy for a goal, among recommenders of all kinds, as series of :mod:`ml.evaluation.trade_offs`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

import numpy as np

from ml.beyond_accuracy.goals import Goal, GoalOnData, available_goals, goal_on
from ml.data.training_set import FIT_ON_TRAIN, TrainingSet
from ml.evaluation.trade_offs.series import ListSeries
from ml.recommender import RERANKING, Recommendations, Recommender
from ml.recommenders.fused import NoValidationLists, validation_lists
from ml.recommenders.registry import Registry
from ml.recommenders.reranked import TRADEOFFS
from ml.reranking.methods import METHODS
from ml.reranking.recipe import RerankingRecipe
from ml.reranking.rerank import lists_at

# no goal measures how well it does what it does
_WITHOUT_GOAL = ("calibration",)
# users asked for at a time, as for rankings
_BLOCK = 4096


@dataclass(eq=False)
class Fitted:
    """The fitted recommenders of a dataset, and how they are asked for lists.

    Lists, recommenders and goals that several series share are made once and kept.

    Attributes:
        training_set: with its item text, where it has one.
        registry: the recommenders that names stand for.
        load: gives a fitted recommender by its name.
        title_of: gives the title of a recommender by its name.
        fit_on: what the recommenders were finally fitted on.
        exclude_seen: whether lists leave the items of histories out.
        seed: of the recommenders.
    """

    training_set: TrainingSet
    registry: Registry
    load: Callable[[str], Recommender]
    title_of: Callable[[str], str]
    fit_on: str = FIT_ON_TRAIN
    exclude_seen: bool = False
    seed: int = 0
    _recommenders: dict[str, Recommender] = field(default_factory=dict, init=False)
    _goals: dict[str, GoalOnData] = field(default_factory=dict, init=False)
    _candidates: dict[tuple[str, str, int], Recommendations] = field(default_factory=dict, init=False)

    def recommender(self, name: str) -> Recommender:
        if name not in self._recommenders:
            self._recommenders[name] = self.load(name)
        return self._recommenders[name]

    def goal(self, name: str) -> GoalOnData:
        """A goal on the items.

        Raises:
            GoalUnavailable: the items lack what it needs.
        """
        if name not in self._goals:
            self._goals[name] = goal_on(name, self.training_set)
        return self._goals[name]

    def first_goal(self, names: Sequence[str]) -> str:
        """The first of some goals that the items have what it needs for; the very first where there is none."""
        available = available_goals(self.training_set)
        return next((name for name in names if name in available), names[0])

    def candidates(self, name: str, split: str, depth: int) -> Recommendations:
        """The best items of a recommender for each case of a split.

        For validation users they come from a fit on the training items alone, whatever the final fit has read
        (:func:`ml.recommenders.fused.validation_lists`).
        """
        depth = min(depth, self.training_set.items)
        key = (name, split, depth)
        if key not in self._candidates:
            recommender = self.recommender(name)
            if split == "validation":
                found = validation_lists(name, recommender, self.training_set, depth, self.exclude_seen, self.seed)
            else:
                found = _in_blocks(recommender, self.training_set, split, depth, self.exclude_seen)
            self._candidates[key] = found
        return self._candidates[key]


@dataclass(eq=False)
class RerankedLists:
    """The lists of a re-ranking at tradeoffs from 0 to 1, whatever tradeoff its recipe has."""

    recipe: RerankingRecipe
    goal: str
    fitted: Fitted
    kind: str = "re-ranking"
    parameter: str = "tradeoff"
    tradeoffs: tuple[float, ...] = TRADEOFFS
    name: str = field(init=False)
    title: str = field(init=False)
    start: str = field(init=False)
    _lists: dict[tuple[str, int], dict[float, np.ndarray]] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        self.name = self.recipe.name
        self.start = self.fitted.title_of(self.recipe.of)
        self.title = f"{METHODS[self.recipe.method].title} of {self.start}"

    def lists(self, place: int, split: str, k: int) -> np.ndarray | None:
        """See :class:`ml.evaluation.trade_offs.series.ListSeries`; ``None`` for validation users where the recommender
        kept fewer candidates for them than the recipe asks for."""
        if (split, k) not in self._lists:
            recipe, fitted = self.recipe, self.fitted
            try:
                candidates = fitted.candidates(recipe.of, split, recipe.candidates)
            except NoValidationLists:
                return None
            self._lists[split, k] = lists_at(
                candidates,
                self.tradeoffs,
                k,
                recipe.method,
                fitted.goal(self.goal),
                fitted.training_set.histories(split),
                popularity=fitted.goal("popularity").values if recipe.method == "sog" else None,
            )
        return self._lists[split, k][self.tradeoffs[place]]


@dataclass(eq=False)
class ListsOfRecommenders:
    """A series that has a recommender for each of its points.

    Attributes:
        name, title, kind, goal, start, parameter, tradeoffs: see :class:`ml.evaluation.trade_offs.series.ListSeries`.
        recommenders: gives the fitted recommender of a point by its place.
        fitted: how they are asked.
    """

    name: str
    title: str
    kind: str
    goal: str
    start: str
    parameter: str
    tradeoffs: tuple[float, ...]
    recommenders: Sequence[Callable[[], Recommender]]
    fitted: Fitted

    def lists(self, place: int, split: str, k: int) -> np.ndarray | None:
        """See :class:`ml.evaluation.trade_offs.series.ListSeries`; ``None`` for validation users whose held-out items
        the final fit has read."""
        fitted, recommender = self.fitted, self.recommenders[place]()
        if split == "validation" and fitted.fit_on != FIT_ON_TRAIN:
            return None
        return _in_blocks(recommender, fitted.training_set, split, k, fitted.exclude_seen).items


class _Taught(Protocol):
    """A model that was taught lists at several trade-offs."""

    def at_tradeoff(self, tradeoff: float) -> Recommender: ...


class _Aligned(Protocol):
    """A student that was aligned with a goal, and its policies by the weight of it, ascending."""

    @property
    def goal(self) -> Goal: ...

    @property
    def policies(self) -> Mapping[float, Recommender]: ...


def list_series(names: Iterable[str], fitted: Fitted) -> list[ListSeries]:
    """The series that recommenders are made into.

    One for each re-ranking and each goal of its recipe, one for each student that was taught lists at several
    trade-offs, and one for each alignment. Re-rankings that differ in their tradeoff alone are one series.

    Args:
        names: of the recommenders that were chosen.
        fitted: where they are.
    """
    names = list(names)
    return [series for provider in PROVIDERS for series in provider(names, fitted)]


def _rerankings(names: Sequence[str], fitted: Fitted) -> Iterator[ListSeries]:
    recipes = [fitted.registry.rerankings[name] for name in names if fitted.registry.kind_of(name) == RERANKING]
    seen = set()
    # a recipe whose tradeoff is to be chosen gives the series its name
    for recipe in sorted(recipes, key=lambda recipe: (not recipe.is_chosen, recipe.name)):
        for goal in recipe.goals:
            key = (recipe.of, recipe.method, goal, recipe.candidates)
            if key not in seen and recipe.method not in _WITHOUT_GOAL:
                seen.add(key)
                yield RerankedLists(recipe, goal, fitted)


def _students(names: Sequence[str], fitted: Fitted) -> Iterator[ListSeries]:
    for name in names:
        taught = fitted.registry.lists_taught_to(name)
        if taught is not None and taught.reranks and taught.tradeoffs[0] == 0:
            title = fitted.title_of(name)
            recommenders = [partial(_at_tradeoff, name, tradeoff, fitted) for tradeoff in taught.tradeoffs]
            described = (name, title, "student", fitted.first_goal(taught.goals), title, "tradeoff", taught.tradeoffs)
            yield ListsOfRecommenders(*described, recommenders, fitted)


def _at_tradeoff(name: str, tradeoff: float, fitted: Fitted) -> Recommender:
    student: _Taught = fitted.recommender(name)  # type: ignore[assignment] # a student
    return student.at_tradeoff(tradeoff)


def _alignments(names: Sequence[str], fitted: Fitted) -> Iterator[ListSeries]:
    for name in names:
        if name in fitted.registry.alignments:
            aligned: _Aligned = fitted.recommender(name)  # type: ignore[assignment] # an alignment
            recipe = fitted.registry.alignments[name]
            student = recipe.student
            taught = fitted.registry.lists_taught_to(student)
            at_start = partial(fitted.recommender, student)
            if taught is not None and recipe.tradeoffs:
                at_start = partial(_at_tradeoff, student, taught.tradeoffs[0], fitted)
            policies = [partial(_same, policy) for policy in aligned.policies.values()]
            yield ListsOfRecommenders(
                name=name,
                title=fitted.title_of(name),
                kind="alignment",
                goal=aligned.goal.name,
                start=fitted.title_of(student),
                parameter="weight",
                tradeoffs=(0.0, *aligned.policies),
                recommenders=[at_start, *policies],
                fitted=fitted,
            )


def _same(recommender: Recommender) -> Recommender:
    return recommender


PROVIDERS: tuple[Callable[[Sequence[str], Fitted], Iterator[ListSeries]], ...] = (
    _rerankings,
    _students,
    _alignments,
)


def _in_blocks(
    recommender: Recommender, training_set: TrainingSet, split: str, k: int, exclude_seen: bool
) -> Recommendations:
    """Lists for all cases of a split, some users at a time."""
    histories = training_set.histories(split)
    k = min(k, training_set.items)
    items = np.empty((len(histories), k), np.int32)
    scores = np.empty((len(histories), k), np.float32)
    for start in range(0, len(histories), _BLOCK):
        rows = np.arange(start, min(start + _BLOCK, len(histories)))
        found = recommender.recommend(histories.take(rows), k, exclude_seen)
        items[rows], scores[rows] = found.items, found.scores
    return Recommendations(items, scores)
