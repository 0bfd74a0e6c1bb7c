"""A fusion as a recommender: it asks its parts, and fuses what they answer."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Self

from ml.baselines.registry import BASELINES
from ml.data.files import whole
from ml.data.sequences import Sequences
from ml.data.training_set import FIT_ON_TRAIN, TrainingSet
from ml.fusion.fusion import DEPTH, Fusion
from ml.fusion.normalisation import NORMALISATIONS
from ml.fusion.weight_search import ChosenFusion, choose_fusion
from ml.recommender import Recommendations, Recommender

FUSION_FILE = "fusion.json"


class NoValidationLists(ValueError):
    """There are no lists of a fit on the training items alone that are long enough; the message says what to do."""


def validation_lists(
    name: str, fitted: Recommender, training_set: TrainingSet, depth: int, exclude_seen: bool, seed: int
) -> Recommendations:
    """Lists for the validation users by a recommender fitted on the training items only.

    A trained model keeps these lists from before its final fit, and is asked for longer ones where it had no other fit;
    a baseline is fitted anew, which is cheap; a fusion fuses those of its parts.

    Raises:
        NoValidationLists: the lists that a model kept are shorter than ``depth``, and it was finally fitted on the
            validation items too.
    """
    if isinstance(fitted, FusedRecommender):
        return fitted.fuse_validation_lists(training_set, depth, exclude_seen, seed)
    kept = getattr(fitted, "validation_lists", None)
    if kept is not None:
        length = kept.items.shape[1]
        if length >= depth:
            return Recommendations(kept.items[:, :depth], kept.scores[:, :depth])
        if getattr(fitted, "fit_on", FIT_ON_TRAIN) != FIT_ON_TRAIN:
            raise NoValidationLists(
                f"{name} kept the best {length} items of each validation user from before its final fit, and {depth} "
                f"are asked for: lower candidates or depth in the recipe to {length}, or fit on {FIT_ON_TRAIN}"
            )
        return fitted.recommend(training_set.histories("validation"), depth, exclude_seen)
    recommender = BASELINES[name].create(seed).fit(training_set)
    return recommender.recommend(training_set.histories("validation"), depth, exclude_seen)


class FusedRecommender:
    """Several recommenders as one, their lists weighted as suits the validation users best.

    Without validation users the parts have equal weights, on the scale of reciprocal ranks.

    Args:
        parts: recommenders by name, to be fitted or fitted.
        depth: how many items of each list are looked at.
        fit_on: what baselines among the parts are finally fitted on; models know theirs.
        exclude_seen: whether validation lists leave the items of histories out, as the final lists will.
        seed: of baselines that draw.
        fusion: weights, where they were chosen before.
        items: size of the catalogue, where the parts are fitted.
    """

    def __init__(
        self,
        parts: Mapping[str, Recommender],
        depth: int = DEPTH,
        *,
        fit_on: str = FIT_ON_TRAIN,
        exclude_seen: bool = False,
        seed: int = 0,
        fusion: Fusion | None = None,
        items: int = 0,
    ) -> None:
        self.parts = dict(parts)
        self.depth = depth
        self.fit_on = fit_on
        self.exclude_seen = exclude_seen
        self.seed = seed
        self.fusion = fusion
        self.items = items
        # what was reached on the validation users, where the weights were chosen on them
        self.chosen: ChosenFusion | None = None

    def fit(self, training_set: TrainingSet) -> Self:
        """Fit all parts, then choose the weights on the validation users."""
        for name, part in self.parts.items():
            part.fit(training_set.to_fit_on(self.fit_on) if name in BASELINES else training_set)
        return self.choose(training_set)

    def choose(self, training_set: TrainingSet) -> Self:
        """Choose the weights on the validation users; the parts are fitted."""
        self.items = training_set.items
        if len(training_set.validation_users) == 0:
            equal = tuple(1 / len(self.parts) for _ in self.parts)
            self.fusion = Fusion(tuple(self.parts), equal, "reciprocal_rank", self.depth)
            return self
        depth = min(self.depth, self.items)
        lists = {
            name: validation_lists(name, part, training_set, depth, self.exclude_seen, self.seed)
            for name, part in self.parts.items()
        }
        self.chosen = choose_fusion(lists, training_set.validation_targets, self.items, NORMALISATIONS, self.depth)
        self.fusion = self.chosen.fusion
        return self

    def recommend(self, histories: Sequences, k: int, exclude_seen: bool) -> Recommendations:
        """The fused lists; ``depth`` items of each part, or ``k`` where that is more, are candidates."""
        if self.fusion is None:
            raise RuntimeError("this fusion has no weights: call fit or load first")
        depth = min(max(self.depth, k), self.items)
        counted = dict(zip(self.fusion.parts, self.fusion.weights, strict=True))
        lists = {
            name: part.recommend(histories, depth, exclude_seen)
            for name, part in self.parts.items()
            if counted[name] > 0
        }
        return replace(self.fusion, depth=depth).fuse(lists, k, self.items)

    def fuse_validation_lists(
        self, training_set: TrainingSet, depth: int, exclude_seen: bool, seed: int
    ) -> Recommendations:
        """The fused lists of the validation users, of parts fitted on the training items alone."""
        if self.fusion is None:
            raise RuntimeError("this fusion has no weights: call fit or load first")
        of_parts = min(max(self.depth, depth), training_set.items)
        lists = {
            name: validation_lists(name, part, training_set, of_parts, exclude_seen, seed)
            for name, part in self.parts.items()
        }
        return replace(self.fusion, depth=of_parts).fuse(lists, depth, training_set.items)

    def save(self, folder: Path) -> None:
        """Write ``fusion.json``, and each part into a folder of its name."""
        if self.fusion is None:
            raise RuntimeError("this fusion has no weights: call fit or load first")
        described = {"items": self.items, "fit_on": self.fit_on, "exclude_seen": self.exclude_seen, "seed": self.seed}
        text = json.dumps(described | self.fusion.as_json(), indent=2)
        (folder / FUSION_FILE).write_text(text + "\n", encoding="utf-8")
        for name, part in self.parts.items():
            (folder / name).mkdir()
            part.save(folder / name)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what :meth:`save` wrote."""
        with whole(folder):
            described = json.loads((folder / FUSION_FILE).read_text(encoding="utf-8"))
            fusion = Fusion.from_json(described)
            options = {name: described[name] for name in ("fit_on", "exclude_seen", "seed", "items")}
        parts = {name: load_part(name, folder / name) for name in fusion.parts}
        return cls(parts, fusion.depth, fusion=fusion, **options)


def load_part(name: str, folder: Path) -> Recommender:
    """A baseline, or a fusion or a model of any name, from the folder that its ``save`` filled.

    Raises:
        ValueError: the folder does not hold what was saved; the message names it.
    """
    if name in BASELINES:
        return BASELINES[name].load(folder)
    if (folder / FUSION_FILE).exists():
        return FusedRecommender.load(folder)
    from ml.training.sequential_recommender import SequentialRecommender

    return SequentialRecommender.load(folder)
