"""The training-free baselines, fitted: one asset each."""

import json

import dagster as dg

from ml.baselines.registry import BASELINES, Baseline
from ml.recommenders.facts import FIT
from orchestration.assets.training_sets import load_training_set
from orchestration.code_versions import code_version
from orchestration.condition import on_new_data
from orchestration.dataset_settings import chosen_for, read_settings
from orchestration.partitions import datasets
from orchestration.paths import Workspace
from orchestration.reporting import (
    RECOMMENDATION_OWNERS,
    array_schema,
    digest_of_files,
    materialization,
)
from orchestration.resources import Settings
from orchestration.selection import group_of, require_chosen


def _baseline_asset(baseline: Baseline) -> dg.AssetsDefinition:
    deps = [["training_sets", "sequences"], ["settings", "fit"]]
    if baseline.needs_item_text:
        deps.append(["training_sets", "item_text"])
    if baseline.needs_text_vectors:
        deps.append(["training_sets", "text_vectors"])
    if baseline.seeded:
        deps.append(["settings", "training"])

    @dg.asset(
        key=["baselines", baseline.name],
        deps=deps,
        description=f"{baseline.title}. {baseline.description} Source: {baseline.source}.",
        group_name=group_of("baselines", baseline.name),
        kinds={"python", "numpy"},
        owners=RECOMMENDATION_OWNERS,
        partitions_def=datasets,
        automation_condition=on_new_data,
        code_version=code_version(baseline.module),
        metadata={
            "dagster/column_schema": array_schema(
                state=("json, npy or npz", "what the baseline counted, indexed by item"),
                fit=("json", "what it was fitted on, in fit.json"),
            )
        },
    )
    def fitted(context: dg.AssetExecutionContext, settings: Settings) -> dg.MaterializeResult:
        from ml.data.versions import versioned_folder

        dataset = context.partition_key
        paths = Workspace.current().dataset(dataset)
        require_chosen(context.asset_key, chosen_for(settings, dataset), dataset)
        fit_on = read_settings("fit", dataset)["fit_on"]
        loaded = load_training_set(paths, baseline.needs_item_text, baseline.needs_text_vectors)
        training_set = loaded.to_fit_on(fit_on)
        seed = read_settings("training", dataset)["seed"] if baseline.seeded else 0
        recommender = baseline.create(seed).fit(training_set)
        folder = paths.asset("baselines", baseline.name)
        with versioned_folder(folder) as temporary:
            recommender.save(temporary)
            (temporary / FIT).write_text(json.dumps({"fit_on": fit_on}) + "\n")
        return materialization(
            digest_of_files(folder, "**/*"),
            {
                "dagster/row_count": training_set.items,
                "dagster/uri": str(folder),
                "fit_on": fit_on,
                "bytes": sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()),
                **({"seed": seed} if baseline.seeded else {}),
            },
        )

    return fitted


baseline_assets = [_baseline_asset(baseline) for baseline in BASELINES.values()]
