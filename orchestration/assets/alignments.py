"""Alignments: one asset for each, a policy for each weight of the goal and the one that the validation users chose."""

import os
import sys
from typing import TYPE_CHECKING

import dagster as dg

from ml.alignment.recipe import AlignmentRecipe
from ml.alignment.summary import facts_of_aligned, version_of_aligned
from ml.recommenders.modules import modules_of
from ml.recommenders.registry import alignments, layer_of, title_of
from orchestration.assets.left_out import left_out
from orchestration.assets.rankings import load
from orchestration.assets.training_sets import load_training_set
from orchestration.code_versions import code_version
from orchestration.condition import on_new_data
from orchestration.dataset_settings import chosen_for, execution_of, read_settings
from orchestration.partitions import datasets
from orchestration.paths import Workspace
from orchestration.reporting import RECOMMENDATION_OWNERS, array_schema, as_dagster_failure, materialization
from orchestration.resources import Settings
from orchestration.selection import group_of, require_chosen

if TYPE_CHECKING:
    from ml.alignment.log import AlignmentRecord


def _alignment_asset(recipe: AlignmentRecipe) -> dg.AssetsDefinition:
    deps = [
        [layer_of(recipe.student), recipe.student],
        ["training_sets", "sequences"],
        ["settings", "training"],
    ]
    deps += [["training_sets", "item_text"], ["training_sets", "text_vectors"]] if recipe.reads_text else []

    @dg.asset(
        key=["models", recipe.name],
        deps=deps,
        description=f"{recipe.title}: {title_of(recipe.student)}, aligned by {recipe.method} with the first of "
        f"{', '.join(recipe.goals)} that the dataset allows, for the weights "
        f"{', '.join(f'{weight:g}' for weight in recipe.weights)}. Source: {recipe.source}",
        group_name=group_of("models", recipe.name),
        kinds={"pytorch"},
        owners=RECOMMENDATION_OWNERS,
        partitions_def=datasets,
        automation_condition=on_new_data,
        code_version=code_version("ml.alignment.align", *modules_of(recipe.name)) + f"-{recipe.digest()[:12]}",
        metadata={
            "dagster/column_schema": array_schema(
                alignment=("json", "goal, policies, what they reach on the validation users, in alignment.json"),
                policies=("safetensors", "a model for each weight, in policies/<weight>/"),
                log=("json lines", "parts of the reward at each validation, in alignment_log.jsonl"),
            )
        },
    )
    def alignment(context: dg.AssetExecutionContext, settings: Settings) -> dg.MaterializeResult:
        from ml.alignment.align import align
        from ml.alignment.runtime import AlignmentExecution
        from ml.beyond_accuracy.goals import first_goal
        from ml.training.loop import DivergedError
        from ml.training.sequential_recommender import SequentialRecommender

        dataset = context.partition_key
        paths = Workspace.current().dataset(dataset)
        require_chosen(context.asset_key, chosen_for(settings, dataset), dataset)
        if (skipped := left_out(context, settings)) is not None:
            return skipped
        training_set = load_training_set(paths, recipe.reads_text, recipe.reads_text)
        folder = paths.asset("models", recipe.name)

        def tell(record: "AlignmentRecord") -> None:
            context.log.info(record.in_words())
            # an alignment takes minutes, and Dagster's own log is not on the console
            print(f"{recipe.title}: {record.in_words()}", file=sys.stderr, flush=True)

        where = execution_of(settings, dataset)
        execution = AlignmentExecution(
            threads=where["threads"],
            device=where["device"],
            checkpoint_seconds=float(os.environ.get("RAW2RANK_CHECKPOINT_SECONDS", "60")),
            tell=tell,
        )
        with as_dagster_failure(dataset, DivergedError, ValueError):
            goal = first_goal(recipe.goals, training_set)
            student = load(paths, recipe.student, training_set.items)
            assert isinstance(student, SequentialRecommender)  # the registry checked it
            align(recipe, student, training_set, goal, folder, read_settings("training", dataset)["seed"], execution)
        if goal.goal.name != recipe.goals[0]:
            context.log.warning(
                f"the items of {dataset} do not have what the goal {recipe.goals[0]} needs: {recipe.name} is aligned "
                f"with {goal.goal.name}"
            )
        return materialization(version_of_aligned(folder), facts_of_aligned(folder))

    return alignment


alignment_assets = [_alignment_asset(recipe) for recipe in alignments().values()]
