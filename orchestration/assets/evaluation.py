"""From rankings to numbers: metrics of each user, the leaderboard, what is recommended, and for whom it works."""

import warnings
from typing import Any

import dagster as dg

from ml.recommenders.choice import compared
from ml.recommenders.registry import layer_of, recommender_names, registry, title_of
from orchestration.assets.left_out import sentence_on
from orchestration.assets.training_sets import load_training_set
from orchestration.code_versions import code_version
from orchestration.condition import on_new_data
from orchestration.dataset_settings import read_settings
from orchestration.partitions import datasets
from orchestration.paths import DatasetPaths, Workspace
from orchestration.reporting import (
    RECOMMENDATION_OWNERS,
    as_dagster_failure,
    digest_of,
    digest_of_files,
    materialization,
    parquet_metadata,
)

RANKINGS = [["rankings", name] for name in recommender_names()]
# before the current one: a few kilobytes each, by which one sees how figures went
LEADERBOARDS_KEPT = 100
RECOMMENDERS = [[layer_of(name), name] for name in recommender_names()]

_common: dict[str, Any] = {
    "group_name": "evaluation",
    "owners": RECOMMENDATION_OWNERS,
    "partitions_def": datasets,
    "automation_condition": on_new_data,
}


def compared_recommenders(dataset: str) -> list[str]:
    """Recommenders that the settings of a dataset compare, but those that are left out."""
    paths = Workspace.current().dataset(dataset)
    names = compared(read_settings("comparison", dataset)["recipes"])
    return [name for name in names if sentence_on(name, paths) is None]


@dg.asset(
    key=["evaluation", "user_metrics"],
    deps=[*RANKINGS, ["training_sets", "sequences"], ["settings", "comparison"]],
    description="Where the held-out items of every test user stand in the ranking of every recommender compared: all "
    "that metrics of accuracy need.",
    kinds={"numpy", "parquet"},
    code_version=code_version("ml.evaluation.metrics"),
    **_common,
)
def user_metrics(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
    from ml.data.versions import versioned_folder
    from ml.evaluation.metrics import user_metrics as measure
    from ml.evaluation.rankings import RankingError, read_rankings, write_table

    dataset = context.partition_key
    paths = Workspace.current().dataset(dataset)
    training_set = load_training_set(paths)
    folder = paths.asset("evaluation", "user_metrics")
    names = compared_recommenders(dataset)
    with as_dagster_failure(dataset, RankingError), versioned_folder(folder) as temporary:
        for name in names:
            rankings = read_rankings(paths.asset("rankings") / f"{name}.parquet", training_set)
            write_table(measure(rankings, training_set), temporary / f"{name}.parquet")
    parts = [parquet_metadata(folder / f"{name}.parquet") for name in names]
    return materialization(
        digest_of_files(folder, "*.parquet"),
        {
            **parts[0],
            "dagster/uri": str(folder),
            "dagster/row_count": sum(part["dagster/row_count"] for part in parts),
            "bytes": sum(part["bytes"] for part in parts),
            "recommenders": len(names),
        },
    )


with warnings.catch_warnings():
    # the partitions_def of a check is in preview; without it one dataset's verdict would stand for all
    warnings.simplefilter("ignore", dg.PreviewWarning)
    _better_than_popularity = dg.AssetCheckSpec(
        "better_than_popularity",
        asset=["evaluation", "leaderboard"],
        description="Every trained model is found better than the most popular items; one that is not has learnt "
        "nothing, or the data hold nothing to learn.",
        partitions_def=datasets,
    )


@dg.asset(
    key=["evaluation", "leaderboard"],
    deps=[
        ["evaluation", "user_metrics"],
        ["evaluation", "further_seeds"],
        ["training_sets", "sequences"],
        ["training_sets", "protocol"],
        ["settings", "comparison"],
        # what they were fitted on, their sizes, and how training went
        *RECOMMENDERS,
    ],
    description="All recommenders under one protocol, best nDCG@10 first, with 95 % intervals over users and a paired "
    "comparison with the best training-free one, corrected for their number. The table and the plots of the report are "
    "in its metadata.",
    kinds={"parquet"},
    # titles are printed, and are no part of what recipes decide
    code_version=code_version(
        "ml.evaluation.leaderboard", "ml.reports.render.plots.report", "ml.reports.render.markdown.report"
    )
    + f"-{digest_of({name: title_of(name) for name in recommender_names()})[:12]}",
    check_specs=[_better_than_popularity],
    **_common,
)
def leaderboard(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
    from ml.data.content_digest import parquet_digest
    from ml.data.versions import keep_file
    from ml.evaluation.columns import descriptions
    from ml.evaluation.leaderboard import build_leaderboard
    from ml.evaluation.protocol_line import protocol
    from ml.evaluation.rankings import RankingError, write_table

    dataset = context.partition_key
    paths = Workspace.current().dataset(dataset)
    with as_dagster_failure(dataset, RankingError):
        entries = entries_of(paths)
        table = build_leaderboard(entries, load_training_set(paths))
    write_table(table, paths.leaderboard)
    keep_file(paths.leaderboard, LEADERBOARDS_KEPT)
    return materialization(
        # what the protocol line says is no part of the rows
        digest_of([parquet_digest(paths.leaderboard), protocol(table)]),
        {**parquet_metadata(paths.leaderboard, descriptions()), **_shown(paths)},
        [_compared_with_popularity(entries)],
    )


def entries_of(paths: DatasetPaths) -> list:
    """The entries of the leaderboard, with metrics under all seeds."""
    from ml.evaluation.entry import Entry
    from ml.recommenders.facts import facts_of

    items, known = load_training_set(paths).items, registry()
    return [
        Entry(title=title_of(name), user_metrics=tables, **facts_of(name, paths.recommender, known, items))
        for name, tables in measured(paths).items()
    ]


def measured(paths: DatasetPaths) -> dict[str, tuple]:
    """Metrics of every test user, one table a seed, of each recommender that the settings compare."""
    import pyarrow.parquet as pq

    first, further = (paths.asset("evaluation", name) for name in ("user_metrics", "further_seeds"))
    return {
        name: tuple(
            pq.read_table(path) for path in (first / f"{name}.parquet", *sorted(further.glob(f"{name}@*.parquet")))
        )
        for name in compared_recommenders(paths.dataset)
    }


def _compared_with_popularity(entries: list) -> dg.AssetCheckResult:
    from ml.evaluation.leaderboard import no_better_than
    from ml.recommender import ALIGNMENT, BASELINE, RERANKING

    found = no_better_than(entries, "most_popular")
    # the others give accuracy away on purpose
    of_accuracy = [entry for entry in entries if entry.kind not in (BASELINE, RERANKING, ALIGNMENT)]
    trained = {entry.recommender: entry.title for entry in of_accuracy}
    sentences = [f"{title}: {found[name].sentence}" for name, title in trained.items() if name in found]
    return dg.AssetCheckResult(
        check_name="better_than_popularity",
        passed=not sentences,
        severity=dg.AssetCheckSeverity.WARN,
        description="\n".join(sentences)
        or (f"all {len(trained)} models are better than the most popular items" if trained else "no model is compared"),
    )


def _shown(paths: DatasetPaths) -> dict:
    """Tables and plots of the report, as metadata."""
    from ml.reports.collect import report as collect
    from ml.reports.collect.evaluation import leaderboard_content, read_leaderboard
    from ml.reports.render.markdown import report as markdown
    from ml.reports.render.plots import report as plots

    table = read_leaderboard(paths.lake)
    board, curves = leaderboard_content(table), collect.training_curves(paths.lake, table)
    seconds = collect.run_facts(paths.lake).fit_seconds
    tables = {
        "table": markdown.leaderboard(board, seconds),
        "plot": plots.markdown_image(plots.leaderboard(board)),
        "training": markdown.training(curves),
    }
    if curves:
        tables["validation curves"] = plots.markdown_image(plots.validation_curves(curves))
        tables["loss curves"] = plots.markdown_image(plots.loss_curves(curves))
    return {
        "best": board.rows[0].title,
        "best ndcg@10": board.rows[0]["ndcg@10"],
        # numbers are drawn over time in the UI
        **{f"ndcg@10 of {row.recommender}": row["ndcg@10"] for row in board.rows},
        **{name: dg.MetadataValue.md(text) for name, text in tables.items()},
    }


evaluation_assets = [user_metrics, leaderboard]
