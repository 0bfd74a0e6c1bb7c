"""Pre-training on other datasets: one asset for each recipe that starts from it.

What is read of the other datasets lies under their partitions, which Dagster does not let an asset of this partition
depend on alone. The settings hold a digest of it instead (:func:`orchestration.dataset_settings.digest_of_source`), so
that the weights are made again where another dataset has changed.
"""

from typing import TYPE_CHECKING, Any

import dagster as dg

from ml.recommenders.modules import modules_of
from ml.recommenders.registry import recipes
from ml.training.recipe import Recipe
from orchestration.assets.left_out import left_out
from orchestration.assets.training_sets import load_training_set
from orchestration.code_versions import code_version
from orchestration.condition import on_new_data
from orchestration.dataset_settings import check_sources, chosen_for, execution_of, read_settings
from orchestration.partitions import datasets
from orchestration.paths import DatasetPaths, Workspace
from orchestration.reporting import RECOMMENDATION_OWNERS, array_schema, as_dagster_failure, materialization
from orchestration.resources import Settings
from orchestration.selection import group_of, require_chosen

if TYPE_CHECKING:
    from ml.data.training_set import TrainingSet
    from ml.transfer.overlap import Overlap


def _pretrained_asset(recipe: Recipe) -> dg.AssetsDefinition:
    @dg.asset(
        key=["pretrained", recipe.name],
        # of the interactions of this dataset nothing is read
        deps=[["training_sets", "item_text"], ["settings", "pretraining"], ["settings", "training"]],
        description=f"{recipe.title}: weights that were trained on the training histories and item texts of the "
        "datasets that `pretrain_on` names, and the space that the texts of all of them are encoded in. Nothing is "
        f"read of this dataset but its item text. Source: {recipe.source}",
        group_name=group_of("pretrained", recipe.name),
        kinds={"pytorch"},
        owners=RECOMMENDATION_OWNERS,
        partitions_def=datasets,
        automation_condition=on_new_data,
        code_version=f"{code_version('ml.transfer.pretrain', *modules_of(recipe.name))}-"
        f"{recipe.pretraining_digest()[:12]}",
        metadata={
            "dagster/column_schema": array_schema(
                weights=("safetensors", "named tensors, in model.safetensors; none is of an item or a user"),
                text=("safetensors", "what texts are encoded by, in text_space.safetensors and text_space.json"),
                sources=("json", "the other datasets with their digests, in pretraining.json"),
            )
        },
    )
    def pretrained(context: dg.AssetExecutionContext, settings: Settings) -> dg.MaterializeResult:
        from ml.data.item_text import load_item_text
        from ml.training.loop import DivergedError
        from ml.training.runtime import Execution
        from ml.transfer.pretrain import pretrain_into

        dataset = context.partition_key
        paths = Workspace.current().dataset(dataset)
        require_chosen(context.asset_key, chosen_for(settings, dataset), dataset)
        if (skipped := left_out(context, settings)) is not None:
            return skipped
        where = execution_of(settings, dataset)
        execution = Execution(
            threads=where["threads"],
            device=where["device"],
            precision=where["precision"],
            tell=lambda record: context.log.info(record.in_words()),
        )
        folder = paths.asset("pretrained", recipe.name)
        with as_dagster_failure(dataset, DivergedError, ValueError):
            made = pretrain_into(
                folder,
                recipe,
                sources_of(paths),
                load_item_text(paths.asset("training_sets", "item_text")),
                read_settings("training", dataset)["seed"],
                execution,
            )
        described = made.described()
        return materialization(
            described["digest"],
            {
                "dagster/row_count": described["sequences"],
                "dagster/uri": str(folder),
                "bytes": sum(path.stat().st_size for path in folder.iterdir()),
                "sources": dg.MetadataValue.json(described["sources"]),
                **{name: described[name] for name in ("items", "text_dimensions", "epochs", "steps", "seed")},
                **({} if described["loss"] is None else {"loss": described["loss"]}),
            },
        )

    return pretrained


def sources_of(paths: DatasetPaths) -> "tuple[TrainingSet, ...]":
    """The training sets, with item text, that the models of a dataset are pre-trained on.

    Raises:
        ValueError: one of them is not there any more.
    """
    names = read_settings("pretraining", paths.dataset)["pretrain_on"]
    check_sources(names, paths.dataset)
    workspace = Workspace.current()
    return tuple(load_training_set(workspace.dataset(name), with_text=True) for name in names)


def overlap_with_sources(paths: DatasetPaths) -> "Overlap":
    """Users and items that a dataset shares with those that its models are pre-trained on.

    Raises:
        ValueError: one of these is not there any more.
    """
    from ml.transfer.overlap import overlap

    return overlap(load_training_set(paths), sources_of(paths))


def shared_with_sources(paths: DatasetPaths) -> dict[str, Any]:
    """:func:`overlap_with_sources` as metadata of a finetuned model."""
    found = overlap_with_sources(paths)
    return {
        "test users with a history in a dataset of the pre-training": found.test_users,
        "users with a history in a dataset of the pre-training": found.users,
        "items that are in a history of a dataset of the pre-training": found.items,
    }


pretrained_assets = [_pretrained_asset(recipe) for recipe in recipes().values() if recipe.pretraining]
