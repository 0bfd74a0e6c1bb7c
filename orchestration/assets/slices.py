"""Beside the leaderboard: what is recommended, and for which users and items it works."""

from typing import Any

import dagster as dg

from orchestration.assets.evaluation import RANKINGS, compared_recommenders, measured
from orchestration.assets.training_sets import load_training_set
from orchestration.code_versions import code_version
from orchestration.condition import on_new_data
from orchestration.partitions import datasets
from orchestration.paths import Workspace
from orchestration.reporting import RECOMMENDATION_OWNERS, materialization, parquet_metadata

_common: dict[str, Any] = {
    "group_name": "evaluation",
    "kinds": {"numpy", "parquet"},
    "owners": RECOMMENDATION_OWNERS,
    "partitions_def": datasets,
    "automation_condition": on_new_data,
}


@dg.asset(
    key=["evaluation", "list_metrics"],
    deps=[
        *RANKINGS,
        *(["training_sets", name] for name in ("sequences", "item_text", "text_vectors")),
        ["settings", "comparison"],
    ],
    description="What each recommender recommends, whether it hits or not: coverage of the catalogue, concentration, "
    "popularity and the long tail, novelty, diversity and distance to the history by text and by category, "
    "personalisation.",
    code_version=code_version("ml.evaluation.list_metrics"),
    **_common,
)
def list_metrics(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
    from ml.beyond_accuracy.vectors import categories_of, text_vectors_of
    from ml.data.content_digest import parquet_digest
    from ml.evaluation import list_metrics as library
    from ml.evaluation.rankings import read_rankings, write_table

    dataset = context.partition_key
    paths = Workspace.current().dataset(dataset)
    training_set = load_training_set(paths, with_vectors=True)
    vectors, categories = text_vectors_of(training_set), categories_of(training_set)
    rows = {}
    for name in compared_recommenders(dataset):
        rankings = read_rankings(paths.asset("rankings") / f"{name}.parquet", training_set)
        rows[name] = library.list_metrics(rankings, training_set, text_vectors=vectors, categories=categories)
    path = paths.asset("evaluation") / "list_metrics.parquet"
    write_table(library.list_metrics_table(rows), path)
    return materialization(parquet_digest(path), parquet_metadata(path))


@dg.asset(
    key=["evaluation", "slices"],
    deps=[
        ["evaluation", "user_metrics"],
        ["evaluation", "further_seeds"],
        ["training_sets", "sequences"],
        ["marts", "interactions"],
        ["marts", "splits"],
        ["settings", "comparison"],
    ],
    description="nDCG@10 and recall@10 by length of history, popularity of the target, time since the last "
    "interaction, and whether the target is new to the user or to the training data, with users and intervals.",
    code_version=code_version("ml.evaluation.slices", "ml.evaluation.metrics", "ml.data.timed_interactions"),
    **_common,
)
def slices(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
    from ml.data.content_digest import parquet_digest
    from ml.data.timed_interactions import read_interactions
    from ml.evaluation.metrics import seed_values
    from ml.evaluation.rankings import write_table
    from ml.evaluation.slices import METRICS, build_slices

    paths = Workspace.current().dataset(context.partition_key)
    training_set = load_training_set(paths)
    interactions = read_interactions(paths.table("marts", "interactions"), paths.table("marts", "splits"), training_set)
    values = {
        name: {metric: seed_values(tables, metric).mean_by_user for metric in METRICS}
        for name, tables in measured(paths).items()
    }
    path = paths.asset("evaluation") / "slices.parquet"
    write_table(build_slices(training_set, values, interactions), path)
    return materialization(parquet_digest(path), parquet_metadata(path))


slice_assets = [list_metrics, slices]
