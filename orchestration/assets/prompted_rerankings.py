"""Re-rankings by a language model that is asked: one asset for each. Nothing is asked before the ranking is made."""

import json

import dagster as dg

from ml.language_models.rerank_recipe import RerankRecipe
from ml.recommenders.facts import FIT
from ml.recommenders.registry import parts_of, recipes_folder, title_of
from orchestration.assets.left_out import left_out
from orchestration.assets.parts import inputs_of
from orchestration.assets.rankings import load
from orchestration.assets.training_sets import load_training_set
from orchestration.code_versions import code_version
from orchestration.condition import on_new_data
from orchestration.dataset_settings import chosen_for, execution_of, read_settings
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


def prompted_reranking_asset(recipe: RerankRecipe) -> dg.AssetsDefinition:
    """The asset of a recipe: titles and popularity of the items, and what is to be asked."""
    inputs = inputs_of(dict.fromkeys((recipe.of, *parts_of(recipe.of))), reads_text=True)

    @dg.asset(
        key=["models", recipe.name],
        deps=[key for key in inputs.deps if key != ["training_sets", "text_vectors"]],
        description=f"{recipe.title}: a language model that reads titles is asked to rank the first "
        f"{recipe.candidates} items of {title_of(recipe.of)}. Source: {recipe.source}",
        group_name=group_of("models", recipe.name),
        kinds={"python", "huggingface" if recipe.model_folder else "openai"},
        owners=RECOMMENDATION_OWNERS,
        partitions_def=datasets,
        automation_condition=on_new_data,
        code_version=code_version("ml.recommenders.prompted_reranking", *inputs.modules) + f"-{recipe.digest()[:12]}",
        metadata={
            "dagster/column_schema": array_schema(
                description=("json", "the recipe and the name of the model, in prompted_reranking.json"),
                titles=("json", "title of each item, in titles.json"),
                popularity=("int64 [items]", "training interactions of each item, in counts.npy"),
            )
        },
    )
    def prompted_reranking(context: dg.AssetExecutionContext, settings: Settings) -> dg.MaterializeResult:
        from ml.data.versions import versioned_folder
        from ml.extras import MissingExtra
        from ml.recommenders.prompted_reranking import PromptedReranking

        dataset = context.partition_key
        paths = Workspace.current().dataset(dataset)
        require_chosen(context.asset_key, chosen_for(settings, dataset), dataset)
        if (skipped := left_out(context, settings)) is not None:
            return skipped
        training_set = load_training_set(paths, with_text=True)
        recommender = PromptedReranking(
            recipe,
            load(paths, recipe.of, training_set.items),
            fit_on=read_settings("fit", dataset)["fit_on"],
            seed=read_settings("training", dataset)["seed"],
            recipes=recipes_folder(),
            device=execution_of(settings, dataset)["device"],
        )
        with as_dagster_failure(dataset, ValueError, FileNotFoundError, MissingExtra):
            recommender.prepare(training_set)
        folder = paths.asset("models", recipe.name)
        with versioned_folder(folder) as temporary:
            recommender.save_prepared(temporary)
            (temporary / FIT).write_text(json.dumps({"fit_on": recommender.fit_on}) + "\n")
        return materialization(
            digest_of_files(folder, "*.json", "*.npy"),
            {
                "dagster/uri": str(folder),
                "of": recipe.of,
                "model": recommender.model,
                "fit_on": recommender.fit_on,
                "seed": recommender.seed,
                "recipe": recipe.settings(),
            },
        )

    return prompted_reranking
