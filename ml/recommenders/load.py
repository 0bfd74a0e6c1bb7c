"""Loading any recommender of the project by its name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ml.data.files import read_json
from ml.fusion.fusion import Fusion
from ml.recommender import FUSION, Recommender
from ml.recommenders.fused import FUSION_FILE, FusedRecommender, load_part
from ml.recommenders.registry import Registry

FolderOf = Callable[[str], Path]


def load(name: str, folder_of: FolderOf, registry: Registry, items: int) -> Recommender:
    """A fitted recommender from the folder that its ``save`` filled; a fusion with its parts.

    Args:
        name: name of the recommender.
        folder_of: the folder of a recommender by its name; the parts of a fusion are recommenders of their own.
        registry: the recommenders that names stand for.
        items: size of the catalogue.

    Raises:
        KeyError: there is no such recommender.
        ValueError: a folder does not hold what was saved; the message names it.
    """
    if registry.kind_of(name) != FUSION:
        return load_part(name, folder_of(name))
    fusion = Fusion.from_json(read_json(folder_of(name), FUSION_FILE))
    parts = {part: load(part, folder_of, registry, items) for part in fusion.parts}
    return FusedRecommender(parts, fusion.depth, fusion=fusion, items=items)
