"""Any recommender of the project fitted anew, in memory: with another seed, or on another training set."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ml.baselines import BASELINES
from ml.codes import ASSIGNMENTS
from ml.data.training_set import FIT_ON_TRAIN, TrainingSet
from ml.fusion.recipe import FusionRecipe
from ml.recommender import Recommender
from ml.training.recipe import Recipe


@dataclass(frozen=True)
class Conditions:
    """What a fit depends on besides the data.

    Attributes:
        seed: of everything random.
        fit_on: what the final fit reads, ``train`` or ``train+validation``.
        exclude_seen: whether validation users are ranked without the items of their histories.
        device: ``cpu``, ``cuda`` or ``auto``.
        precision: of training steps.
    """

    seed: int = 0
    fit_on: str = FIT_ON_TRAIN
    exclude_seen: bool = False
    device: str = "cpu"
    precision: str = "float32"


def depends_on_seed(name: str) -> bool:
    """Whether another seed makes another recommender of it: all but the baselines that only count."""
    return name not in BASELINES or BASELINES[name].seeded


def refit(
    name: str,
    training_set: TrainingSet,
    conditions: Conditions,
    recipes: Mapping[str, Recipe],
    fusions: Mapping[str, FusionRecipe] | None = None,
    fitted: dict[str, Recommender] | None = None,
) -> Recommender:
    """A baseline, a model with its codes, or a fusion with its parts, fitted now; nothing is written.

    Args:
        name: of the recommender.
        training_set: with item text where the recommender reads it.
        conditions: seed and protocol.
        recipes: of models, by name.
        fusions: recipes of fusions, by name.
        fitted: recommenders that were fitted before under the same conditions, by name; what is fitted is put there.

    Raises:
        KeyError: there is no such recommender.
    """
    fitted = {} if fitted is None else fitted
    if name not in fitted:
        fitted[name] = _fit(name, training_set, conditions, recipes, fusions or {}, fitted)
    return fitted[name]


def _fit(
    name: str,
    training_set: TrainingSet,
    conditions: Conditions,
    recipes: Mapping[str, Recipe],
    fusions: Mapping[str, FusionRecipe],
    fitted: dict[str, Recommender],
) -> Recommender:
    if name in BASELINES:
        return BASELINES[name].create(conditions.seed).fit(training_set.to_fit_on(conditions.fit_on))
    if name in fusions:
        from ml.fusion.fused_recommender import FusedRecommender

        parts = {part: refit(part, training_set, conditions, recipes, fusions, fitted) for part in fusions[name].parts}
        options: dict[str, Any] = {
            "fit_on": conditions.fit_on,
            "exclude_seen": conditions.exclude_seen,
            "seed": conditions.seed,
        }
        return FusedRecommender(parts, fusions[name].depth, **options).choose(training_set)
    from ml.training.runtime import Execution
    from ml.training.sequential_recommender import SequentialRecommender

    recipe = recipes[name]
    codes = ASSIGNMENTS[recipe.codes].assign(training_set, seed=conditions.seed) if recipe.codes else None
    return SequentialRecommender(
        recipe,
        conditions.seed,
        codes,
        execution=Execution(device=conditions.device, precision=conditions.precision),
        fit_on=conditions.fit_on,
        validate_with_seen_excluded=conditions.exclude_seen,
    ).fit(training_set)
