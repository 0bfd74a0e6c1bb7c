"""Recipes of fusions: one TOML file each, in the folder ``fusions`` next to the recipes."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path

from ml.config import read_table, read_toml
from ml.training.recipe import RECIPES, RecipeSet

FUSIONS = RECIPES / "fusions"


@dataclass(frozen=True)
class FusionRecipe:
    """The parts of a fusion; weights and normalisation are chosen on the validation users.

    Attributes:
        name: name of the file without its ending; also of the recommender.
        title: for tables and plots.
        source: where the idea is from.
        notes: what to know of the choice of parts.
        set: the set that makes it: see :data:`ml.training.recipe.RECIPE_SETS`.
        parts: names of baselines and recipes, two or more.
        depth: how many items of each part's list are looked at.
    """

    name: str
    title: str
    source: str
    notes: str
    set: RecipeSet
    parts: tuple[str, ...]
    depth: int = 200

    def __post_init__(self) -> None:
        if len(self.parts) < 2 or len(set(self.parts)) < len(self.parts):
            raise ValueError(f"parts must be two or more different recommenders, not {', '.join(self.parts) or 'none'}")
        if self.depth < 20:
            raise ValueError(f"depth must be at least 20, not {self.depth}")

    def digest(self) -> str:
        """SHA-256 of what decides its lists besides those of its parts."""
        known = asdict(self)
        decisive = {"parts": sorted(known["parts"]), "depth": known["depth"]}
        return hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()


def load_fusions(folder: Path = FUSIONS) -> list[FusionRecipe]:
    """All fusions of a folder (``*.toml``), in the order of their names; none where there is no such folder.

    Raises:
        TableError: one of the files is wrong; the message names it and the key.
    """
    return [
        read_table(FusionRecipe, {"name": path.stem, **read_toml(path)}, str(path), "")
        for path in sorted(folder.glob("*.toml"))
    ]
