"""The modules whose code decides what recommenders are, for what is made again when code changes.

Registries and settings name them by a string, so the imports of a module do not lead there.
"""

from __future__ import annotations

from ml.baselines.registry import BASELINES
from ml.codes.registry import METHODS
from ml.language_models.rerank_recipe import RerankRecipe
from ml.recommender import ALIGNMENT, BASELINE, FUSION, LANGUAGE_MODEL, MODEL, RERANKING
from ml.recommenders import registry as recommenders
from ml.training.item_features import modules_of_features
from ml.training.recipe import TEXT_SPACE


def modules_of(name: str) -> list[str]:
    """Modules whose code decides what a recommender ranks, once it is fitted."""
    return _MODULES[recommenders.kind_of(name)](name)


def _modules_of_baseline(name: str) -> list[str]:
    return [BASELINES[name].module]


def _modules_of_model(name: str) -> list[str]:
    recipe = recommenders.recipes()[name]
    settings = recipe.model
    built_from = getattr(settings, "model", f"{type(settings).__module__}:Model")
    paths = [built_from, recipe.objective.objective, *([] if recipe.contrast is None else [recipe.contrast.contrast])]
    named = [path.split(":")[0] for path in paths]
    if recipe.pretraining is not None:
        named.append(TEXT_SPACE)
    return ["ml.training.sequential_recommender", *named, *modules_of_features(settings)]


def _modules_of_fusion(name: str) -> list[str]:
    return [
        "ml.recommenders.fused",
        *sorted({module for part in recommenders.parts_of(name) for module in modules_of(part)}),
    ]


def _modules_of_reranking(name: str) -> list[str]:
    return sorted({"ml.recommenders.reranked", *modules_of(recommenders.rerankings()[name].of)})


def _modules_of_alignment(name: str) -> list[str]:
    return sorted({"ml.recommenders.aligned", *modules_of(recommenders.alignments()[name].student)})


def _modules_of_language_model(name: str) -> list[str]:
    recipe = recommenders.language_models()[name]
    if isinstance(recipe, RerankRecipe):
        # the clients are imported where they are used
        clients = ["ml.language_models.endpoint", "ml.language_models.local_model"]
        return sorted({"ml.recommenders.prompted_reranking", *clients, *modules_of(recipe.of)})
    return ["ml.recommenders.query_generation"]


_MODULES = {
    BASELINE: _modules_of_baseline,
    MODEL: _modules_of_model,
    FUSION: _modules_of_fusion,
    RERANKING: _modules_of_reranking,
    ALIGNMENT: _modules_of_alignment,
    LANGUAGE_MODEL: _modules_of_language_model,
}


def modules_by_name() -> list[str]:
    """Modules of all baselines and methods of codes, which registries name and imports do not lead to."""
    return sorted({one.module for one in (*BASELINES.values(), *METHODS.values())})
