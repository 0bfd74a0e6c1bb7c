"""The transformer models: one asset for each recipe."""

import dagster as dg

from ml.training.recipe import Recipe
from orchestration.assets.settings import read_settings
from orchestration.assets.training_sets import load_training_set
from orchestration.automation import on_new_data
from orchestration.code_versions import code_version
from orchestration.partitions import datasets
from orchestration.paths import Workspace
from orchestration.recommenders import recipes
from orchestration.reporting import (
    RECOMMENDATION_OWNERS,
    array_schema,
    materialization,
    told_plainly,
)
from orchestration.resources import Settings
from orchestration.staleness import NOT_CHOSEN, data_version

_CODE = code_version("ml.training.train")


def _model_asset(recipe: Recipe) -> dg.AssetsDefinition:
    deps = [["training_sets", "sequences"], ["settings", "training"]]
    if recipe.codes:
        deps.append(["codes", recipe.codes])

    @dg.asset(
        key=["models", recipe.name],
        deps=deps,
        description=f"{recipe.title}. Trained from the recipe {recipe.name}; the weights of the epoch with the best "
        f"validation nDCG@10. Source: {recipe.source}",
        group_name="models",
        kinds={"pytorch"},
        owners=RECOMMENDATION_OWNERS,
        partitions_def=datasets,
        automation_condition=on_new_data,
        # what decides the weights besides the data: the code and the recipe, not its prose
        code_version=f"{_CODE}-{recipe.digest()[:12]}",
        metadata={
            "dagster/column_schema": array_schema(
                weights=("safetensors", "named tensors, in model.safetensors"),
                configuration=("json", "the recipe and what is needed to load the weights, in config.json"),
                log=("json lines", "loss and validation nDCG@10 of each epoch, in training_log.jsonl"),
            )
        },
    )
    def model(context: dg.AssetExecutionContext, settings: Settings) -> dg.MaterializeResult:
        from ml.codes.codes import Codes
        from ml.training.loop import DivergedError
        from ml.training.train import train

        dataset = context.partition_key
        paths = Workspace.current().dataset(dataset)
        folder = paths.asset("models", recipe.name)
        if settings.recipes and recipe.name not in settings.recipes:
            kept = data_version(context.instance, context.asset_key, dataset) or NOT_CHOSEN
            context.log.info("%s is not among the chosen recipes; it stays as it is (%s)", recipe.name, kept)
            return materialization(kept, {"dagster/row_count": 0, "chosen": False})
        training_set = load_training_set(paths)
        codes = Codes.load(paths.asset("codes", recipe.codes)) if recipe.codes else None
        seed = read_settings("training", dataset)["seed"]
        with told_plainly(dataset, DivergedError):
            result = train(recipe, training_set, folder, seed, codes)
        return materialization(
            result.weights_digest,
            {
                "dagster/row_count": len(training_set.train),
                "dagster/uri": str(folder),
                "best validation ndcg@10": result.best_validation_ndcg_at_10 or "no validation users",
                "best_epoch": result.best_epoch,
                "epochs": result.epochs,
                "parameters": result.parameters,
                "bytes": result.size_in_bytes,
                "seconds": result.seconds,
                "sequences_per_second": result.sequences_per_second,
                "seed": seed,
                "recipe": dg.MetadataValue.json(recipe.as_tables()),
            },
        )

    return model


model_assets = [_model_asset(recipe) for recipe in recipes().values()]
