"""Fusions: one asset for each, whose weights are chosen on the lists that its parts have for the validation users."""

import json

import dagster as dg

from ml.fusion.recipe import FusionRecipe
from ml.recommenders.facts import FIT
from ml.recommenders.registry import fusions, title_of
from orchestration.assets.left_out import left_out
from orchestration.assets.parts import inputs_of
from orchestration.assets.rankings import load
from orchestration.assets.training_sets import load_training_set
from orchestration.code_versions import code_version
from orchestration.condition import on_new_data
from orchestration.dataset_settings import chosen_for, read_settings
from orchestration.partitions import datasets
from orchestration.paths import DatasetPaths, Workspace
from orchestration.reporting import (
    RECOMMENDATION_OWNERS,
    array_schema,
    as_dagster_failure,
    digest_of_files,
    materialization,
)
from orchestration.resources import Settings
from orchestration.selection import group_of, require_chosen


def _fusion_asset(recipe: FusionRecipe) -> dg.AssetsDefinition:
    inputs = inputs_of(recipe.parts)
    parts = ", ".join(title_of(part) for part in recipe.parts)

    @dg.asset(
        key=["models", recipe.name],
        deps=inputs.deps,
        description=f"{recipe.title}: one ranking from the lists of {parts}. Weights with the best validation nDCG@10 "
        f"of parts fitted on the training items alone. Source: {recipe.source}",
        group_name=group_of("models", recipe.name),
        kinds={"python", "numpy"},
        owners=RECOMMENDATION_OWNERS,
        partitions_def=datasets,
        automation_condition=on_new_data,
        code_version=code_version("ml.recommenders.fused", *inputs.modules) + f"-{recipe.digest()[:12]}",
        metadata={
            "dagster/column_schema": array_schema(
                weights=("json", "weight of each part, normalisation and depth, in fusion.json"),
                fit=("json", "what the parts were fitted on, in fit.json"),
            )
        },
    )
    def fusion(context: dg.AssetExecutionContext, settings: Settings) -> dg.MaterializeResult:
        from ml.data.versions import versioned_folder
        from ml.recommenders.fused import FUSION_FILE, NoValidationLists

        dataset = context.partition_key
        paths = Workspace.current().dataset(dataset)
        require_chosen(context.asset_key, chosen_for(settings, dataset), dataset)
        if (skipped := left_out(context, settings)) is not None:
            return skipped
        training_set = load_training_set(paths, inputs.with_text, inputs.with_vectors, inputs.with_times)
        exclude_seen = read_settings("ranking", dataset)["exclude_seen"]
        with as_dagster_failure(dataset, NoValidationLists):
            chosen = _choose(recipe, paths, training_set, exclude_seen)
        fit_on = read_settings("fit", dataset)["fit_on"]
        folder = paths.asset("models", recipe.name)
        with versioned_folder(folder) as temporary:
            (temporary / FUSION_FILE).write_text(json.dumps(chosen, indent=2) + "\n")
            (temporary / FIT).write_text(json.dumps({"fit_on": fit_on}) + "\n")
        return materialization(
            digest_of_files(folder, "*.json"),
            {
                "dagster/row_count": len(training_set.validation_users),
                "dagster/uri": str(folder),
                "fit_on": fit_on,
                **chosen,
            },
        )

    return fusion


def _choose(recipe: FusionRecipe, paths: DatasetPaths, training_set, exclude_seen: bool) -> dict:
    """The fusion, and what it and its parts reached on the validation users, where there are any."""
    from ml.recommenders.fused import FusedRecommender

    parts = {part: load(paths, part, training_set.items) for part in recipe.parts}
    seed = read_settings("training", paths.dataset)["seed"]
    fused = FusedRecommender(parts, recipe.depth, exclude_seen=exclude_seen, seed=seed).choose(training_set)
    assert fused.fusion is not None  # it was chosen just now
    if fused.chosen is None:
        return fused.fusion.as_json()
    return {
        **fused.fusion.as_json(),
        "validation ndcg@10": fused.chosen.validation_ndcg_at_10,
        "validation ndcg@10 of parts": fused.chosen.of_parts,
        "validation ndcg@10 of normalisations": fused.chosen.of_normalisations,
    }


fusion_assets = [_fusion_asset(recipe) for recipe in fusions().values()]
