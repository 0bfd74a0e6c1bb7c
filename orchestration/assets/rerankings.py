"""Re-rankings: one asset for each. The goal is the first of the recipe that the items of the dataset allow, and the
tradeoff is chosen on the part's lists for the validation users where the recipe says so.
"""

import json

import dagster as dg

from ml.recommenders.facts import FIT
from ml.recommenders.registry import parts_of, rerankings, title_of
from ml.reranking.recipe import RerankingRecipe
from orchestration.assets.left_out import left_out
from orchestration.assets.parts import inputs_of
from orchestration.assets.rankings import load
from orchestration.assets.training_sets import load_training_set
from orchestration.code_versions import code_version
from orchestration.condition import on_new_data
from orchestration.dataset_settings import chosen_for, read_settings
from orchestration.partitions import datasets
from orchestration.paths import Workspace
from orchestration.reporting import (
    RECOMMENDATION_OWNERS,
    array_schema,
    as_dagster_failure,
    digest_of_files,
    materialization,
)
from orchestration.resources import Settings
from orchestration.selection import group_of, require_chosen


def _reranking_asset(recipe: RerankingRecipe) -> dg.AssetsDefinition:
    inputs = inputs_of(dict.fromkeys((recipe.of, *parts_of(recipe.of))), recipe.reads_text)
    how = "Tradeoff chosen on the validation users" if recipe.is_chosen else f"Tradeoff {recipe.tradeoff:g}"

    @dg.asset(
        key=["models", recipe.name],
        deps=inputs.deps,
        description=f"{recipe.title}: the lists of {title_of(recipe.of)}, re-ranked by {recipe.method} for the first "
        f"of {', '.join(recipe.goals)} that the dataset allows. {how}. Source: {recipe.source}",
        group_name=group_of("models", recipe.name),
        kinds={"python", "numpy"},
        owners=RECOMMENDATION_OWNERS,
        partitions_def=datasets,
        automation_condition=on_new_data,
        code_version=code_version("ml.recommenders.reranked", *inputs.modules) + f"-{recipe.digest()[:12]}",
        metadata={
            "dagster/column_schema": array_schema(
                reranking=("json", "method, goal, tradeoff and what it was chosen by, in reranking.json"),
                vectors=("float32 [items, dimensions]", "of a goal that is a distance; rows of length 1 or 0"),
                values=("float32 [items]", "of a goal that is no distance"),
                popularity=("float32 [items]", "popularity percentiles, for the method sog"),
                fit=("json", "what the part was fitted on, in fit.json"),
            )
        },
    )
    def reranking(context: dg.AssetExecutionContext, settings: Settings) -> dg.MaterializeResult:
        from ml.beyond_accuracy.goals import GoalUnavailable
        from ml.data.versions import versioned_folder
        from ml.recommenders.fused import NoValidationLists
        from ml.recommenders.reranked import Reranked

        dataset = context.partition_key
        paths = Workspace.current().dataset(dataset)
        require_chosen(context.asset_key, chosen_for(settings, dataset), dataset)
        if (skipped := left_out(context, settings)) is not None:
            return skipped
        training_set = load_training_set(paths, inputs.with_text, inputs.with_vectors, inputs.with_times)
        part = load(paths, recipe.of, training_set.items)
        reranked = Reranked(
            recipe,
            part,
            fit_on=read_settings("fit", dataset)["fit_on"],
            exclude_seen=read_settings("ranking", dataset)["exclude_seen"],
            seed=read_settings("training", dataset)["seed"],
        )
        with as_dagster_failure(dataset, GoalUnavailable, NoValidationLists):
            reranked.choose(training_set)
        assert reranked.reranking is not None  # it was chosen just now
        if recipe.is_chosen and reranked.chosen is None:
            context.log.warning(
                f"{dataset} has no validation users to choose the tradeoff of {recipe.name} on: it is "
                f"{reranked.reranking.tradeoff:g}"
            )
        if reranked.reranking.goal != recipe.goals[0]:
            context.log.warning(
                f"the items of {dataset} do not have what the goal {recipe.goals[0]} needs: {recipe.name} is re-ranked "
                f"for {reranked.reranking.goal}"
            )
        folder = paths.asset("models", recipe.name)
        with versioned_folder(folder) as temporary:
            reranked.save_choice(temporary)
            (temporary / FIT).write_text(json.dumps({"fit_on": reranked.fit_on}) + "\n")
        return materialization(
            digest_of_files(folder, "*.json", "*.npy"),
            {
                "dagster/row_count": len(training_set.validation_users),
                "dagster/uri": str(folder),
                "of": recipe.of,
                "method": recipe.method,
                "goal": reranked.reranking.goal,
                "tradeoff": reranked.reranking.tradeoff,
                "fit_on": reranked.fit_on,
                **reranked.facts(),
            },
        )

    return reranking


reranking_assets = [_reranking_asset(recipe) for recipe in rerankings().values()]
