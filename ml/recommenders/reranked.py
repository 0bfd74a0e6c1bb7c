"""A re-ranking as a recommender: it asks another one for candidates, and chooses among them with a goal in mind."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np

from ml.baselines.registry import BASELINES
from ml.beyond_accuracy.affordable import most_of_the_goal
from ml.beyond_accuracy.goals import GOALS, GoalOnData, first_goal, goal_on
from ml.beyond_accuracy.measures import ndcg
from ml.data.files import whole
from ml.data.sequences import Sequences
from ml.data.training_set import FIT_ON_TRAIN, TrainingSet
from ml.recommender import NO_ITEM, Recommendations, Recommender
from ml.recommenders.fused import load_part, validation_lists
from ml.reranking.recipe import VALIDATION, WITHOUT_VALIDATION, RerankingRecipe
from ml.reranking.rerank import lists_at, rerank

RERANKING_FILE = "reranking.json"
_VECTORS, _VALUES, _POPULARITY = "vectors.npy", "values.npy", "popularity.npy"
# the tradeoffs that one is chosen among, and the length of the lists that they are judged by
TRADEOFFS = tuple(tenths / 10 for tenths in range(11))
CUT_OFF = 10


@dataclass(frozen=True)
class ChosenTradeoff:
    """A tradeoff, and what it was chosen by.

    Attributes:
        tradeoff: the chosen one.
        validation_ndcg_at_10: of the lists at each tradeoff, in the order of :data:`TRADEOFFS`.
        validation_goal_at_10: mean of the goal over the same lists, those for which it is defined; ``None`` where it is
            defined for none.
    """

    tradeoff: float
    validation_ndcg_at_10: tuple[float, ...]
    validation_goal_at_10: tuple[float | None, ...]


@dataclass(frozen=True)
class Reranking:
    """How lists are re-ranked, once goal and tradeoff are known.

    Attributes:
        of: name of the recommender whose lists are re-ranked.
        method: one of :data:`ml.reranking.methods.METHODS`.
        goal: name of the goal.
        tradeoff: from 0 (accuracy alone) to 1 (the goal alone).
        candidates: how many items of each list are looked at.
    """

    of: str
    method: str
    goal: str
    tradeoff: float
    candidates: int


class Reranked:
    """The candidates of another recommender, re-ranked for a goal.

    Scores are the reciprocal of the rank: what a method weighs changes from place to place, so that only the order
    means something.

    Args:
        recipe: what is re-ranked, how, and for which goals.
        part: the recommender ``recipe.of``, to be fitted or fitted.
        fit_on: what a baseline is finally fitted on; models know theirs.
        exclude_seen: whether validation lists leave the items of histories out, as the final lists will.
        seed: of a baseline that draws.
    """

    def __init__(
        self,
        recipe: RerankingRecipe,
        part: Recommender,
        *,
        fit_on: str = FIT_ON_TRAIN,
        exclude_seen: bool = False,
        seed: int = 0,
    ) -> None:
        self.recipe = recipe
        self.part = part
        self.fit_on = fit_on
        self.exclude_seen = exclude_seen
        self.seed = seed
        self.items = 0
        self.reranking: Reranking | None = None
        self.on: GoalOnData | None = None
        self.popularity: np.ndarray | None = None
        # what was reached on the validation users, where the tradeoff was chosen on them
        self.chosen: ChosenTradeoff | None = None

    def fit(self, training_set: TrainingSet) -> Self:
        """Fit the part, then choose goal and tradeoff.

        Raises:
            GoalUnavailable: the items have what none of the goals needs.
        """
        is_baseline = self.recipe.of in BASELINES
        self.part.fit(training_set.to_fit_on(self.fit_on) if is_baseline else training_set)
        return self.choose(training_set)

    def choose(self, training_set: TrainingSet) -> Self:
        """Take the first goal that the items have what it needs for, and choose the tradeoff on the validation users
        where the recipe says so; the part is fitted. Without validation users the tradeoff is 0.3.

        Raises:
            GoalUnavailable: the items have what none of the goals needs.
        """
        recipe = self.recipe
        self.items = training_set.items
        self.on = first_goal(recipe.goals, training_set)
        self.popularity = goal_on("popularity", training_set).values if recipe.method == "sog" else None
        tradeoff = recipe.tradeoff
        if tradeoff == VALIDATION:
            tradeoff = WITHOUT_VALIDATION
            if len(training_set.validation_users):
                self.chosen = self._choose_tradeoff(training_set)
                tradeoff = self.chosen.tradeoff
        self.reranking = Reranking(recipe.of, recipe.method, self.on.goal.name, float(tradeoff), recipe.candidates)
        return self

    def _choose_tradeoff(self, training_set: TrainingSet) -> ChosenTradeoff:
        assert self.on is not None  # called by choose alone
        depth = min(self.recipe.candidates, self.items)
        lists = validation_lists(self.recipe.of, self.part, training_set, depth, self.exclude_seen, self.seed)
        return choose_tradeoff(
            lists,
            training_set.validation_targets,
            training_set.histories("validation"),
            self.recipe,
            self.on,
            self.popularity,
        )

    def recommend(self, histories: Sequences, k: int, exclude_seen: bool) -> Recommendations:
        """The re-ranked lists. Where ``k`` is more than the number of candidates, the items behind these follow in the
        order of the part."""
        if self.reranking is None or self.on is None:
            raise RuntimeError("this re-ranking has no goal: call fit or load first")
        how = self.reranking
        lists = self.part.recommend(histories, min(max(how.candidates, k), self.items), exclude_seen)
        candidates = Recommendations(lists.items[:, : how.candidates], lists.scores[:, : how.candidates])
        items = np.full((len(histories), k), NO_ITEM, dtype=np.int32)
        ranked = min(k, how.candidates)
        items[:, :ranked] = rerank(
            candidates, ranked, how.method, how.tradeoff, self.on, histories, popularity=self.popularity
        )
        behind = lists.items[:, how.candidates : k]
        items[:, how.candidates : how.candidates + behind.shape[1]] = behind
        scores = np.where(items == NO_ITEM, -np.inf, 1 / np.arange(1, k + 1))
        return Recommendations(items, scores.astype(np.float32))

    def save(self, folder: Path) -> None:
        """Write what :meth:`save_choice` writes, and the part into a folder of its name."""
        self.save_choice(folder)
        (folder / self.recipe.of).mkdir()
        self.part.save(folder / self.recipe.of)

    def save_choice(self, folder: Path) -> None:
        """Write everything but the part: ``reranking.json``, and the goal on the items as ``.npy`` files."""
        if self.reranking is None or self.on is None:
            raise RuntimeError("this re-ranking has no goal: call fit or load first")
        options = {"items": self.items, "fit_on": self.fit_on, "exclude_seen": self.exclude_seen, "seed": self.seed}
        described = {**options, **asdict(self.reranking), "recipe": self.recipe.decisive(), **self.facts()}
        (folder / RERANKING_FILE).write_text(json.dumps(described, indent=2) + "\n", encoding="utf-8")
        for name, array in self._arrays().items():
            np.save(folder / name, array, allow_pickle=False)

    def facts(self) -> dict[str, Any]:
        """What was reached on the validation users, where the tradeoff was chosen on them."""
        if self.chosen is None:
            return {}
        return {
            "tradeoffs": list(TRADEOFFS),
            "validation ndcg@10": list(self.chosen.validation_ndcg_at_10),
            f"validation {self.chosen_goal}@10": list(self.chosen.validation_goal_at_10),
        }

    @property
    def chosen_goal(self) -> str:
        """Name of the goal."""
        assert self.on is not None
        return self.on.goal.name

    def _arrays(self) -> dict[str, np.ndarray]:
        assert self.on is not None  # checked by save
        arrays = {_VECTORS: self.on.vectors, _VALUES: self.on.values, _POPULARITY: self.popularity}
        return {name: array for name, array in arrays.items() if array is not None}

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what :meth:`save` wrote."""
        return cls.load_choice(folder, lambda name: load_part(name, folder / name))

    @classmethod
    def load_choice(cls, folder: Path, load: Callable[[str], Recommender]) -> Self:
        """Read what :meth:`save_choice` wrote.

        Args:
            folder: that it was written to.
            load: gives the part by its name.

        Raises:
            ValueError: the folder does not hold what was saved; the message names it.
        """
        with whole(folder):
            described = json.loads((folder / RERANKING_FILE).read_text(encoding="utf-8"))
            values = described["recipe"]
            # words, which decide nothing, are not kept: others would make another data version
            words: dict[str, Any] = {"name": "", "title": "", "source": "", "notes": "", "set": "quick"}
            recipe = RerankingRecipe(**words, **(values | {"goals": tuple(values["goals"])}))
            arrays = {
                name: np.load(folder / name, allow_pickle=False)
                for name in (_VECTORS, _VALUES, _POPULARITY)
                if (folder / name).exists()
            }
            fields = {name: described[name] for name in Reranking.__dataclass_fields__}
            options = {name: described[name] for name in ("fit_on", "exclude_seen", "seed")}
            items = described["items"]
            reranking = Reranking(**fields)
            on = GoalOnData(GOALS[reranking.goal], arrays.get(_VECTORS), arrays.get(_VALUES))
        loaded = cls(recipe, load(recipe.of), **options)
        loaded.items, loaded.reranking, loaded.on = items, reranking, on
        loaded.popularity = arrays.get(_POPULARITY)
        return loaded


def choose_tradeoff(
    lists: Recommendations,
    targets: np.ndarray,
    histories: Sequences,
    recipe: RerankingRecipe,
    on: GoalOnData,
    popularity: np.ndarray | None = None,
) -> ChosenTradeoff:
    """Of the tradeoffs 0, 0.1, ..., 1 the one with the most of the goal that does not lose too much validation nDCG@10.

    Of equal ones the smallest is taken; so is 0 where the goal is undefined for all lists.

    Args:
        lists: validation lists, of a recommender that was fitted on the training items alone.
        targets: the held-out item of each row, int ``[rows]``.
        histories: of the validation users, ``[rows]``.
        recipe: with method, candidates and the largest loss.
        on: the goal on the items.
        popularity: popularity percentile of each item, for the method ``sog``.
    """
    cut = Recommendations(lists.items[:, : recipe.candidates], lists.scores[:, : recipe.candidates])
    found = lists_at(cut, TRADEOFFS, CUT_OFF, recipe.method, on, histories, popularity=popularity)
    accuracies = [float(ndcg(found[tradeoff], targets).mean()) for tradeoff in TRADEOFFS]
    goals = [_mean(on.measure(found[tradeoff], histories)) for tradeoff in TRADEOFFS]
    measured = [np.nan if goal is None else goal for goal in goals]
    best = most_of_the_goal(accuracies, measured, on.goal.higher_is_better, recipe.largest_loss)
    return ChosenTradeoff(TRADEOFFS[best], tuple(accuracies), tuple(goals))


def _mean(values: np.ndarray) -> float | None:
    defined = values[~np.isnan(values)]
    return float(defined.mean()) if len(defined) else None
