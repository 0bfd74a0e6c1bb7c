"""Loading any recommender of the project by its name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ml.baselines.registry import BASELINES
from ml.data.files import read_json
from ml.recommender import BASELINE, FUSION, MODEL, Recommender
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
    return _LOADS[registry.kind_of(name)](name, folder_of, registry, items)


def _baseline(name: str, folder_of: FolderOf, registry: Registry, items: int) -> Recommender:
    return BASELINES[name].load(folder_of(name))


def _model(name: str, folder_of: FolderOf, registry: Registry, items: int) -> Recommender:
    from ml.training.sequential_recommender import SequentialRecommender

    return SequentialRecommender.load(folder_of(name))


def _fusion(name: str, folder_of: FolderOf, registry: Registry, items: int) -> Recommender:
    from ml.fusion.fusion import Fusion
    from ml.recommenders.fused import FUSION_FILE, FusedRecommender

    fusion = Fusion.from_json(read_json(folder_of(name), FUSION_FILE))
    parts = {part: load(part, folder_of, registry, items) for part in fusion.parts}
    return FusedRecommender(parts, fusion.depth, fusion=fusion, items=items)


_LOADS: dict[str, Callable[[str, FolderOf, Registry, int], Recommender]] = {
    BASELINE: _baseline,
    MODEL: _model,
    FUSION: _fusion,
}
