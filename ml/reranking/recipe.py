"""Recipes of re-rankings: one TOML file each, in the folder ``rerankings`` next to the recipes of models."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from ml.beyond_accuracy.goals import GOALS
from ml.config import read_table, read_toml
from ml.reranking.methods import check_method, check_tradeoff
from ml.training.recipe import RECIPES, RecipeSet

RERANKINGS = RECIPES / "rerankings"
# the value of ``tradeoff`` that asks for a choice on the validation users
VALIDATION = "validation"
# what is taken where a tradeoff is to be chosen, and there are no validation users to choose it on
WITHOUT_VALIDATION = 0.3


@dataclass(frozen=True)
class RerankingRecipe:
    """A recommender whose lists are re-ranked, how, and for which goal.

    Attributes:
        name: name of the file without its ending; also of the recommender.
        title: for tables and plots.
        source: where the idea is from.
        notes: what to know of it.
        set: the set that makes it: see :data:`ml.training.recipe.RECIPE_SETS`.
        of: name of the baseline, model or fusion whose lists are re-ranked.
        method: one of :data:`ml.reranking.methods.METHODS`.
        goals: names of goals (:data:`ml.beyond_accuracy.goals.GOALS`) in order of preference: the first one that the
            items of the dataset have what it needs for is taken.
        tradeoff: from 0 (accuracy alone) to 1 (the goal alone), or ``validation``: of 0, 0.1, ..., 1 the one with the
            most of the goal that loses at most ``largest_loss`` of nDCG@10 on the validation users.
        candidates: how many items of each list are looked at.
        largest_loss: share of the validation nDCG@10 that a chosen tradeoff may lose.
    """

    name: str
    title: str
    source: str
    notes: str
    set: RecipeSet
    of: str
    method: str
    goals: tuple[str, ...]
    tradeoff: float | Literal["validation"]
    candidates: int = 200
    largest_loss: float = 0.05

    def __post_init__(self) -> None:
        if not self.goals or len(set(self.goals)) < len(self.goals):
            raise ValueError(f"goals must be one or more different goals, not {', '.join(self.goals) or 'none'}")
        check_method(self.method, self.goals)
        if isinstance(self.tradeoff, float):
            check_tradeoff(self.tradeoff)
        if self.candidates < 20:
            raise ValueError(f"candidates must be at least 20, not {self.candidates}")
        if not 0 <= self.largest_loss <= 1:
            raise ValueError(f"largest_loss must be from 0 to 1, not {self.largest_loss}")

    @property
    def is_chosen(self) -> bool:
        """Whether the tradeoff is chosen on the validation users."""
        return self.tradeoff == VALIDATION

    @property
    def reads_text(self) -> bool:
        """Whether a goal may need the texts of the items."""
        return any(GOALS[goal].basis in ("category", "text") for goal in self.goals)

    def decisive(self) -> dict[str, Any]:
        """What decides its lists besides those of its part, by key."""
        known = asdict(self)
        return {key: known[key] for key in ("of", "method", "goals", "tradeoff", "candidates", "largest_loss")}

    def digest(self) -> str:
        """SHA-256 of what decides its lists besides those of its part."""
        return hashlib.sha256(json.dumps(self.decisive(), sort_keys=True).encode()).hexdigest()


def load_rerankings(folder: Path = RERANKINGS) -> list[RerankingRecipe]:
    """All re-rankings of a folder (``*.toml``), in the order of their names; none where there is no such folder.

    Raises:
        TableError: one of the files is wrong; the message names it and the key.
    """
    return [
        read_table(RerankingRecipe, {"name": path.stem, **read_toml(path)}, str(path), "")
        for path in sorted(folder.glob("*.toml"))
    ]
