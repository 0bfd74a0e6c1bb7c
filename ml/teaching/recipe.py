"""Recipes of teacher lists: one TOML file each, in the folder ``teacher_lists`` beside the recipes of models, which
name them."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from ml.beyond_accuracy.goals import GOALS
from ml.config import read_table, read_toml
from ml.reranking.methods import check_method, check_tradeoff
from ml.training.recipe import RECIPES

TEACHER_LISTS = RECIPES / "teacher_lists"
_WORDS = ("name", "title", "source", "notes")


@dataclass(frozen=True)
class TeacherListsRecipe:
    """Which lists a student learns from.

    Attributes:
        name: name of the file without its ending, by which recipes of models ask for the lists.
        title: for tables.
        source: where the idea is from.
        notes: what to know of the choice of values.
        teacher: name of the baseline, model or fusion that makes the lists.
        depth: items of a list.
        candidates: items of the teacher that are re-ranked for a trade-off above 0.
        histories_per_user: sub-histories of a user, at most: the whole training history, and starts of it that are
            drawn without repetition.
        tradeoffs: ascending, each in [0, 1]: 0 for the teacher's own lists, 1 for the goal alone.
        method: how lists at a trade-off above 0 are re-ranked.
        goals: what they are re-ranked towards: names of :data:`ml.beyond_accuracy.goals.GOALS`, of which the first one
            is taken that the items of a dataset allow.
    """

    name: str
    title: str
    source: str
    notes: str
    teacher: str
    histories_per_user: int
    depth: int = 10
    candidates: int = 200
    tradeoffs: tuple[float, ...] = (0.0,)
    method: Literal["mmr", "greedy"] | None = None
    goals: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.depth < 1 or self.histories_per_user < 1:
            raise ValueError(
                f"depth ({self.depth}) and histories_per_user ({self.histories_per_user}) must be at least 1"
            )
        if self.candidates < self.depth:
            raise ValueError(f"candidates ({self.candidates}) must be at least depth ({self.depth})")
        for tradeoff in self.tradeoffs:
            check_tradeoff(tradeoff)
        if not self.tradeoffs or list(self.tradeoffs) != sorted(set(self.tradeoffs)):
            raise ValueError(f"tradeoffs must be one or more different numbers, ascending, not {list(self.tradeoffs)}")
        if not self.reranks and (self.method or self.goals):
            raise ValueError("without a tradeoff above 0 there is nothing to re-rank: remove method and goals")
        if self.reranks and not (self.method and self.goals):
            raise ValueError("tradeoffs above 0 need a method and goals, and one of them is missing")
        if self.method:
            check_method(self.method, self.goals)

    @property
    def reranks(self) -> bool:
        """Whether there are lists at a trade-off above 0."""
        return any(tradeoff > 0 for tradeoff in self.tradeoffs)

    @property
    def needs_text(self) -> bool:
        """Whether the item text or the vectors of it are read."""
        return any(GOALS[goal].basis in ("category", "text") for goal in self.goals)

    def digest(self) -> str:
        """SHA-256 of what decides the lists besides the teacher itself, the data and the seed."""
        decisive = {name: value for name, value in asdict(self).items() if name not in _WORDS}
        return hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()


def load_teacher_lists_recipes(folder: Path = TEACHER_LISTS) -> dict[str, TeacherListsRecipe]:
    """All recipes of a folder (``*.toml``) by name, in the order of names; none where there is no such folder.

    Raises:
        TableError: one of the files is wrong; the message names it and the key.
    """
    return {
        path.stem: read_table(TeacherListsRecipe, {"name": path.stem, **read_toml(path)}, str(path), "")
        for path in sorted(folder.glob("*.toml"))
    }
