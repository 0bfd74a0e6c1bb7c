"""Bundles of the recommenders of the shared suite, for tests of releases.

Run as a script with a file of histories and folders of bundles it prints what each of them recommends, so that a test
can ask a process that has nothing but the folders.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from recommender_factories import Factory

from ml.baselines.registry import BASELINES
from ml.data.sequences import Sequences
from ml.data.training_set import TrainingSet
from ml.recommender import ALIGNMENT, BASELINE, FUSION, LANGUAGE_MODEL, MODEL, RERANKING, Recommender
from ml.release.write_bundle import write_bundle

TITLES = {"I000": "Steel saw", "I003": "A | pipe", "I777": "of no item"}


@dataclass(frozen=True)
class MadeUpRegistry:
    """What a bundle is written from knows of the recommenders of the suite: kinds, parts and titles."""

    kinds: Mapping[str, str]

    def kind_of(self, name: str) -> str:
        return self.kinds[name]

    def title_of(self, name: str) -> str:
        return f"Title of {name}"

    def parts_of(self, name: str) -> tuple[str, ...]:
        return tuple(part for part in self.kinds if part != name) or (name,)


def kinds_of(factory: Factory, recommender: Recommender) -> dict[str, str]:
    """The kind of the recommender and of its parts, parts first, by name."""
    if factory.name in BASELINES:
        return {factory.name: BASELINE}
    for beginning, kind in (("aligned_by_", ALIGNMENT), ("llm_query_", LANGUAGE_MODEL)):
        if factory.name.startswith(beginning):
            return {factory.name: kind}
    if factory.name.startswith("reranked_by_"):
        of = recommender.recipe.of  # type: ignore[attr-defined]
        parts = dict.fromkeys(recommender.part.parts, BASELINE) if of == "fusion" else {}  # type: ignore[attr-defined]
        return {**parts, of: FUSION if parts else BASELINE, factory.name: RERANKING}
    if factory.name.startswith("fusion"):
        return {**dict.fromkeys(recommender.parts, BASELINE), factory.name: FUSION}  # type: ignore[attr-defined]
    return {factory.name: MODEL}


def bundle_of(
    factory: Factory, recommender: Recommender, training_set: TrainingSet, saved: Path, folder: Path, **described: Any
) -> Path:
    """Save a recommender and release it.

    Args:
        saved: existing and empty, for what the recommender saves.
        folder: of the bundle, made here.
    """
    recommender.save(saved)
    kinds = kinds_of(factory, recommender)

    def folder_of(name: str) -> Path:
        if name == factory.name:
            return saved
        of = getattr(recommender, "recipe", None)
        inside_fusion = kinds[name] == BASELINE and FUSION in kinds.values() and factory.name.startswith("reranked_by_")
        return saved / of.of / name if inside_fusion else saved / name  # type: ignore[union-attr]

    folder.mkdir()
    write_bundle(folder, factory.name, folder_of, MadeUpRegistry(kinds), training_set, TITLES, described)  # type: ignore[arg-type]
    return folder


def ids_and_times(training_set: TrainingSet, histories: Sequences) -> tuple[list[list[str]], list[list[int]]]:
    """Histories as a bundle takes them."""
    ids = [[training_set.item_ids[item].decode() for item in histories[row]] for row in range(len(histories))]
    assert histories.times is not None
    ends = np.asarray(histories.offsets)
    times = [histories.times[ends[row] : ends[row + 1]].tolist() for row in range(len(histories))]
    return ids, times


if __name__ == "__main__":
    # what a bundle must not need
    for module in ("dagster", "dbt", "great_expectations", "orchestration"):
        sys.modules[module] = None  # type: ignore[assignment]
    import raw2rank

    given = json.loads(Path(sys.argv[1]).read_text())
    answers = {}
    for path in sys.argv[2:]:
        lists = raw2rank.load(Path(path)).recommend(given["ids"], k=10, exclude_seen=True, times=given["times"])
        answers[path] = [lists.items, lists.scores, lists.skipped]
    print(json.dumps(answers))
