"""From rankings to what people read: metrics of each user, the leaderboard, the report."""

import hashlib
import json
from datetime import UTC, datetime

import dagster as dg

from ml.baselines import BASELINES
from ml.codes import ASSIGNMENTS
from ml.objectives.settings import describe
from orchestration.assets.baselines import FIT
from orchestration.assets.settings import read_settings
from orchestration.assets.training_sets import load_training_set
from orchestration.automation import on_new_data
from orchestration.code_versions import code_version
from orchestration.partitions import datasets
from orchestration.paths import REPOSITORY, DatasetPaths, Workspace
from orchestration.recommenders import compared, fusions, needed_codes, recipes, recommender_names, title_of
from orchestration.reporting import (
    RECOMMENDATION_OWNERS,
    array_schema,
    digest_of_files,
    materialization,
    parquet_metadata,
    told_plainly,
)
from orchestration.staleness import asset_graph, data_version, latest_evaluations
from orchestration.trained import fit_on_of_trained

TEMPLATES = REPOSITORY / "ml" / "reports" / "templates"
RANKINGS = [["rankings", name] for name in recommender_names()]

COLUMNS = {
    "position": "1 is the best nDCG@10",
    "recommender": "its name",
    "title": "its name for readers",
    "kind": "baseline (training-free), model, or fusion of the lists of several of these",
    "ndcg@10_low": "lower end of the 95 % interval over users",
    "ndcg@10_high": "upper end of the 95 % interval over users",
    "reference": "the best training-free recommender",
    "difference": "paired difference in nDCG@10 to the reference",
    "difference_low": "lower end of its 95 % interval",
    "difference_high": "upper end of its 95 % interval",
    "finding": "better, worse or not told apart",
    "verdict": "the finding as a sentence",
    "users": "test users",
    "catalogue": "items ranked for each of them",
    "seed": "seed it was fitted with",
    "fit_on": "splits that its final fit saw",
    "loss": "objective of a model",
    "parameters": "trained numbers of a model",
    "model_bytes": "size of what is needed to rank",
}

_common = {
    "group_name": "evaluation",
    "owners": RECOMMENDATION_OWNERS,
    "partitions_def": datasets,
    "automation_condition": on_new_data,
}


def compared_for(dataset: str) -> list[str]:
    """Recommenders that the settings of a dataset compare."""
    return compared(read_settings("comparison", dataset)["recipes"])


@dg.asset(
    key=["evaluation", "user_metrics"],
    deps=[*RANKINGS, ["training_sets", "sequences"], ["settings", "comparison"]],
    description="Recall, nDCG and MRR of every test user under every recommender compared, by ranx.",
    kinds={"ranx", "parquet"},
    code_version=code_version("ml.evaluation.metrics"),
    **_common,
)
def user_metrics(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
    from ml.data.files import atomic_folder
    from ml.evaluation.metrics import user_metrics as measure
    from ml.evaluation.rankings import RankingError, read_rankings, write_table

    dataset = context.partition_key
    paths = Workspace.current().dataset(dataset)
    training_set = load_training_set(paths)
    folder = paths.asset("evaluation", "user_metrics")
    names = compared_for(dataset)
    with told_plainly(dataset, RankingError), atomic_folder(folder) as temporary:
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


@dg.asset(
    key=["evaluation", "leaderboard"],
    deps=[
        ["evaluation", "user_metrics"],
        ["training_sets", "sequences"],
        ["settings", "comparison"],
        # equal rankings may be of another fit
        ["settings", "fit"],
    ],
    description="All recommenders under one protocol, best nDCG@10 first, with 95 % intervals over users and a paired "
    "comparison with the best training-free one. The table and the plots of the report are in its metadata.",
    kinds={"parquet"},
    code_version=code_version("ml.evaluation.leaderboard", "ml.reports.plots", "ml.reports.markdown"),
    **_common,
)
def leaderboard(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
    import pyarrow.parquet as pq

    from ml.data.content_digest import parquet_digest
    from ml.evaluation.leaderboard import Entry, build_leaderboard
    from ml.evaluation.rankings import RankingError, write_table

    dataset = context.partition_key
    paths = Workspace.current().dataset(dataset)
    measured = paths.asset("evaluation", "user_metrics")
    entries = [
        Entry(
            title=title_of(name),
            user_metrics=pq.read_table(measured / f"{name}.parquet"),
            **_facts(paths, name),
        )
        for name in compared_for(dataset)
    ]
    with told_plainly(dataset, RankingError):
        table = build_leaderboard(entries, load_training_set(paths))
    write_table(table, paths.leaderboard)
    return materialization(
        parquet_digest(paths.leaderboard),
        {**parquet_metadata(paths.leaderboard, COLUMNS), **_shown(paths)},
    )


def _facts(paths: DatasetPaths, name: str) -> dict:
    """Kind, fit, objective and sizes of a recommender, as far as it has them."""
    from ml.evaluation.leaderboard import BASELINE, FUSION, MODEL

    if name in BASELINES:
        folder = paths.asset("baselines", name)
        return {
            "kind": BASELINE,
            "fit_on": json.loads((folder / FIT).read_text())["fit_on"],
            "model_bytes": sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()),
        }
    folder = paths.asset("models", name)
    if name in fusions():
        parts = [_facts(paths, part) for part in fusions()[name].parts]
        return {
            "kind": FUSION,
            "fit_on": json.loads((folder / FIT).read_text())["fit_on"],
            "parameters": sum(part.get("parameters", 0) for part in parts) or None,
            "model_bytes": sum(part["model_bytes"] for part in parts),
            "codes": ", ".join(sorted({part["codes"] for part in parts if part.get("codes")})),
        }
    result = json.loads((folder / "training_run.json").read_text())["result"]
    return {
        "kind": MODEL,
        "fit_on": fit_on_of_trained(folder),
        "loss": describe(recipes()[name].objective),
        "parameters": result["parameters"],
        "model_bytes": result["size_in_bytes"],
        "codes": recipes()[name].codes or "",
    }


def _shown(paths: DatasetPaths) -> dict:
    """Tables and plots of the report, as metadata."""
    from ml.reports import collect, markdown, plots

    content = collect.collect(paths.lake, paths.dataset)
    seconds = collect.run_facts(paths.lake).fit_seconds
    best = content.leaderboard.rows[0]
    tables = {
        "table": markdown.leaderboard(content.leaderboard, seconds),
        "plot": plots.markdown_image(plots.leaderboard(content.leaderboard)),
        "training": markdown.training(content.training),
        **{f"funnel of {funnel.source}": markdown.funnel(funnel) for funnel in content.funnels},
        **{
            f"plot of the funnel of {funnel.source}": plots.markdown_image(plots.funnel(funnel))
            for funnel in content.funnels
        },
    }
    if content.training:
        tables["validation curves"] = plots.markdown_image(plots.validation_curves(content.training))
        tables["loss curves"] = plots.markdown_image(plots.loss_curves(content.training))
    return {
        "best": best.title,
        "best ndcg@10": best.metrics["ndcg@10"].value,
        **{name: dg.MetadataValue.md(text) for name, text in tables.items()},
    }


@dg.asset(
    key=["evaluation", "report"],
    # the digests of the dumps are printed, so a dump of other bytes and equal content makes another report
    deps=[
        ["evaluation", "leaderboard"],
        ["raw", "reviews"],
        ["raw", "metadata"],
        ["marts", "statistics"],
        ["marts", "reconciliation"],
        ["marts", "items"],
        *(["codes", name] for name in ASSIGNMENTS),
    ],
    description="One self-contained HTML page: verdict, leaderboard, protocol, the way of every row from the dump to "
    "the split, statistics, training curves, checks, examples, and where each number comes from.",
    kinds={"html"},
    code_version=code_version("ml.reports.collect", "ml.reports.html", files=TEMPLATES.iterdir()),
    metadata={"dagster/column_schema": array_schema(page=("html", "the report, in one file"))},
    **_common,
)
def report(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
    from ml.data.files import atomic_folder
    from ml.reports import collect, markdown
    from ml.reports.html import render_html, write_html

    dataset = context.partition_key
    paths = Workspace.current().dataset(dataset)
    graph = asset_graph()
    content = collect.collect(
        paths.lake,
        dataset,
        checks=check_results(context.instance, graph, dataset),
        data_versions=_data_versions(context.instance, graph, dataset, context.asset_key),
    )
    facts = collect.run_facts(paths.lake, finished=datetime.now(UTC).isoformat(timespec="seconds"))
    with atomic_folder(paths.report.parent) as temporary:
        write_html(content, temporary / paths.report.name, facts)
    # the page without the clock and the machine
    version = hashlib.sha256(render_html(content).encode()).hexdigest()
    return materialization(
        version,
        {
            "dagster/row_count": len(content.leaderboard.rows),
            "dagster/uri": str(paths.report),
            "bytes": paths.report.stat().st_size,
            "open": dg.MetadataValue.url(paths.report.as_uri()),
            "first page": dg.MetadataValue.md(markdown.report(content)),
        },
    )


def check_results(instance: dg.DagsterInstance, graph, dataset: str) -> list:
    """What every check last said of what is there now, for the report."""
    from ml.reports.content import Check

    results = []
    for key in sorted(graph.materializable_asset_keys):
        for check, evaluation in latest_evaluations(instance, graph, dataset, key).items():
            if evaluation is not None:
                error = evaluation.severity == dg.AssetCheckSeverity.ERROR and graph.get(check).blocking
                results.append(
                    Check(
                        name=check.name,
                        asset=key.to_user_string(),
                        passed=evaluation.passed,
                        severity="error" if error else "warning",
                        detail="" if evaluation.passed else evaluation.description or "",
                    )
                )
    return results


def _data_versions(instance: dg.DagsterInstance, graph, dataset: str, but: dg.AssetKey) -> dict[str, str]:
    """Content version of everything the report stands on, in the order it is made."""
    names = set(compared_for(dataset))
    shown = dict.fromkeys(("baselines", "models", "rankings"), names) | {"codes": needed_codes(names)}
    versions = {}
    for key in graph.toposorted_asset_keys:
        if key == but or key.path[-1] not in shown.get(key.path[0], {key.path[-1]}):
            continue
        version = data_version(instance, key, dataset)
        if version:
            versions[key.to_user_string()] = version
    return versions


evaluation_assets = [user_metrics, leaderboard, report]
