"""Loading any recommender of the project by its name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from ml.data.files import read_json
from ml.fusion.fusion import Fusion
from ml.recommender import ALIGNMENT, BASELINE, FUSION, LANGUAGE_MODEL, MODEL, RERANKING, Recommender
from ml.recommenders.fused import FUSION_FILE, FusedRecommender, load_part

FolderOf = Callable[[str], Path]


class Kinds(Protocol):
    """What is known of recommenders where they are loaded, as :class:`ml.recommenders.registry.Registry` knows it."""

    def kind_of(self, name: str) -> str:
        """One of :data:`ml.recommender.KINDS`."""


def load(name: str, folder_of: FolderOf, registry: Kinds, items: int) -> Recommender:
    """A fitted recommender from the folder that its ``save`` filled; fusions and re-rankings with their parts.

    Args:
        name: name of the recommender.
        folder_of: the folder of a recommender by its name; parts are recommenders of their own.
        registry: the kind of each recommender.
        items: size of the catalogue.

    Raises:
        KeyError: there is no such recommender.
        ValueError: a folder does not hold what was saved; the message names it.
    """
    return _LOADS[registry.kind_of(name)](name, folder_of, registry, items)


def _alone(name: str, folder_of: FolderOf, registry: Kinds, items: int) -> Recommender:
    return load_part(name, folder_of(name))


def _fusion(name: str, folder_of: FolderOf, registry: Kinds, items: int) -> Recommender:
    fusion = Fusion.from_json(read_json(folder_of(name), FUSION_FILE))
    parts = {part: load(part, folder_of, registry, items) for part in fusion.parts}
    return FusedRecommender(parts, fusion.depth, fusion=fusion, items=items)


def _reranking(name: str, folder_of: FolderOf, registry: Kinds, items: int) -> Recommender:
    from ml.recommenders.reranked import Reranked

    return Reranked.load_choice(folder_of(name), lambda part: load(part, folder_of, registry, items))


def _alignment(name: str, folder_of: FolderOf, registry: Kinds, items: int) -> Recommender:
    from ml.recommenders.aligned import AlignedRecommender

    return AlignedRecommender.load(folder_of(name))


def _language_model(name: str, folder_of: FolderOf, registry: Kinds, items: int) -> Recommender:
    # not at the top: it leads to pyarrow, which the asset graph is loaded without
    from ml.recommenders.prompted_reranking import PROMPTED_FILE, PromptedReranking

    if (folder_of(name) / PROMPTED_FILE).exists():
        from ml.recommenders.registry import recipes_folder

        return PromptedReranking.load_prepared(
            folder_of(name), lambda part: load(part, folder_of, registry, items), recipes=recipes_folder()
        )
    from ml.recommenders.query_generation import QueryGeneration

    return QueryGeneration.load(folder_of(name))


_LOADS: dict[str, Callable[[str, FolderOf, Kinds, int], Recommender]] = {
    BASELINE: _alone,
    MODEL: _alone,
    FUSION: _fusion,
    RERANKING: _reranking,
    ALIGNMENT: _alignment,
    LANGUAGE_MODEL: _language_model,
}
