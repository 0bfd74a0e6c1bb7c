"""Language models: one asset for each recipe."""

import dagster as dg

from ml.language_models.recipe import LanguageModelRecipe, QueryRecipe
from ml.recommenders.modules import modules_of
from ml.recommenders.registry import language_models, recipes_folder
from orchestration.assets.left_out import left_out
from orchestration.assets.prompted_rerankings import prompted_reranking_asset
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


def _language_model_asset(recipe: LanguageModelRecipe) -> dg.AssetsDefinition:
    if not isinstance(recipe, QueryRecipe):
        return prompted_reranking_asset(recipe)

    @dg.asset(
        key=["models", recipe.name],
        deps=[
            ["training_sets", "sequences"],
            ["training_sets", "item_text"],
            ["settings", "training"],
            ["settings", "fit"],
            ["settings", "ranking"],
        ],
        description=f"{recipe.title}: a language model reads the titles of a history and writes queries for the next "
        f"item, which BM25 looks for in the catalogue. Source: {recipe.source}",
        group_name=group_of("models", recipe.name),
        kinds={"pytorch", "huggingface"},
        owners=RECOMMENDATION_OWNERS,
        partitions_def=datasets,
        automation_condition=on_new_data,
        code_version=code_version(*modules_of(recipe.name)) + f"-{recipe.digest()[:12]}",
        metadata={
            "dagster/column_schema": array_schema(
                generator=("safetensors", "model and tokenizer in the layout of Hugging Face, in generator/"),
                description=("json", "the recipe and the validations, in query_generation.json"),
                log=("json lines", "loss and validation nDCG@10, in finetuning_log.jsonl"),
                weights=("float32, sparse [words, items]", "of the BM25 index, in weights_*.npy"),
            )
        },
    )
    def language_model(context: dg.AssetExecutionContext, settings: Settings) -> dg.MaterializeResult:
        from ml.data.versions import versioned_folder
        from ml.extras import MissingExtra
        from ml.recommenders.query_generation import QueryGeneration
        from ml.training.loop import DivergedError
        from ml.training.runtime import Execution

        dataset = context.partition_key
        paths = Workspace.current().dataset(dataset)
        require_chosen(context.asset_key, chosen_for(settings, dataset), dataset)
        if (skipped := left_out(context, settings)) is not None:
            return skipped
        where = execution_of(settings, dataset)
        recommender = QueryGeneration(
            recipe,
            read_settings("training", dataset)["seed"],
            execution=Execution(threads=where["threads"], device=where["device"], precision=where["precision"]),
            fit_on=read_settings("fit", dataset)["fit_on"],
            exclude_seen=read_settings("ranking", dataset)["exclude_seen"],
            recipes=recipes_folder(),
            tell=lambda record: context.log.info(f"{recipe.name}: {record.in_words()}"),
        )
        with as_dagster_failure(dataset, DivergedError, ValueError, FileNotFoundError, MissingExtra):
            recommender.fit(load_training_set(paths, with_text=True))
        folder = paths.asset("models", recipe.name)
        with versioned_folder(folder) as temporary:
            recommender.save(temporary)
        described = recommender.described()
        return materialization(
            # not of the log, which holds times
            digest_of_files(folder, "**/*.json", "**/*.npy", "**/*.safetensors"),
            {
                "dagster/uri": str(folder),
                "fit_on": described["fit_on"],
                "parameters": described["parameters"],
                "best step": described["best_step"],
                "validation": described["validation"],
                "seed": described["seed"],
                "seconds": recommender.seconds,
                "recipe": described["recipe"],
            },
        )

    return language_model


language_model_assets = [_language_model_asset(recipe) for recipe in language_models().values()]
