"""Made-up series of lists that trade nDCG for a goal."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from ml.data.sequences import Sequences
from ml.data.training_set import TrainingSet

ITEMS = 40
USERS = 60
CATEGORIES = tuple(f"kind {item % 5}" for item in range(ITEMS))


def training_set(users: int = USERS, validation: int = 30, items: int = ITEMS) -> TrainingSet:
    """The target of every case is item 0 in validation and item 1 in test; items above are ever less popular."""
    rng = np.random.default_rng(0)
    histories = [np.minimum(2 + rng.geometric(0.1, 8), items - 1) for _ in range(users)]
    titles = [
        f"Title: thing {item} Brand: Unknown Category: {CATEGORIES[item]} Price: Unknown" for item in range(items)
    ]
    return TrainingSet(
        dataset="Made_Up",
        item_ids=np.array([f"I{item:03d}" for item in range(items)], dtype="S"),
        user_ids=np.array([f"U{user:03d}" for user in range(users)], dtype="S"),
        train=Sequences.from_lists(histories),
        validation_users=np.arange(validation, dtype=np.int32),
        validation_targets=np.zeros(validation, np.int32),
        test_users=np.arange(users, dtype=np.int32),
        test_targets=np.ones(users, np.int32),
        item_text=tuple(titles),
    )


def lists_of(rows: int, hits: int, target: int, categories: int, seed: int = 0) -> np.ndarray:
    """Lists of ten: the first ``hits`` begin with the target, and all draw from so many categories."""
    rng = np.random.default_rng(seed)
    pool = [item for item in range(2, ITEMS) if item % 5 < categories]
    lists = np.array([rng.permutation(pool)[:10] for _ in range(rows)], dtype=np.int32)
    lists[:hits, 0] = target
    return lists


@dataclass
class MadeUpSeries:
    """Hits by place and split; each place draws from one category more."""

    name: str
    hits: Mapping[str, tuple[int, ...]]
    goal: str = "category_diversity"
    title: str = ""
    kind: str = "re-ranking"
    start: str = "Tower"
    parameter: str = "tradeoff"
    tradeoffs: tuple[float, ...] = (0, 0.5, 1)
    categories: tuple[int, ...] = (2, 3, 5)
    seed: int = 0
    rows: Mapping[str, int] = field(default_factory=lambda: {"test": USERS, "validation": 30})

    def __post_init__(self) -> None:
        self.title = self.title or self.name.title()

    def lists(self, place: int, split: str, k: int) -> np.ndarray | None:
        if split not in self.hits:
            return None
        target = {"test": 1, "validation": 0}[split]
        found = lists_of(self.rows[split], self.hits[split][place], target, self.categories[place], self.seed + place)
        return found[:, :k]


def made_up(name: str = "mmr", test=(30, 28, 10), validation=(20, 19, 5), **options) -> MadeUpSeries:
    return MadeUpSeries(name, {"test": test, "validation": validation}, **options)
