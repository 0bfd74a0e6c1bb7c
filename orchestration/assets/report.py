"""The report: one folder that people read, mail and compare."""

import json
import shlex
import shutil
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg

from ml.audits.registry import AUDITS
from ml.data.setting_names import by_new_name
from ml.recommenders.choice import needed_codes, needed_pretrained, needed_teacher_lists
from ml.recommenders.registry import (
    alignment_names,
    codes_recipes,
    fusion_names,
    language_model_names,
    recipe_names,
    reranking_names,
)
from ml.reports.content.libraries import LIBRARIES
from orchestration.assets.evaluation import RANKINGS, compared_recommenders
from orchestration.assets.left_out import sentences
from orchestration.assets.training_sets import load_training_set
from orchestration.code_versions import code_version
from orchestration.condition import on_new_data
from orchestration.dataset_settings import SLICES
from orchestration.execution.staleness import SHOWS_CHECKS, UP_TO_DATE, asset_graph, data_versions, latest_evaluations
from orchestration.partitions import datasets
from orchestration.paths import REPOSITORY, DatasetPaths, Workspace
from orchestration.reporting import RECOMMENDATION_OWNERS, array_schema, digest_of, materialization
from orchestration.resources import DEFAULTS

TEMPLATES = REPOSITORY / "ml" / "reports" / "render" / "templates"
# Reports before the current one that can still be compared with it.
REPORTS_KEPT = 4


@dg.asset(
    key=["evaluation", "report"],
    # all that it reads, and the dumps, whose digests are printed: one of other bytes and equal content makes another
    # report
    deps=[
        ["evaluation", "leaderboard"],
        ["evaluation", "list_metrics"],
        ["evaluation", "slices"],
        ["evaluation", "beyond_accuracy"],
        ["evaluation", "what_helps"],
        ["evaluation", "folds"],
        ["evaluation", "history"],
        ["release", "decision"],
        ["release", "progress"],
        *(["audits", name] for name in AUDITS),
        *RANKINGS,
        *(["models", name] for name in (*recipe_names(), *fusion_names(), *reranking_names(), *alignment_names())),
        *(["models", name] for name in language_model_names()),
        *(["codes", name] for name in codes_recipes()),
        ["training_sets", "sequences"],
        ["training_sets", "item_text"],
        *(["marts", name] for name in ("statistics", "reconciliation", "items", "users", "splits")),
        ["landing", "reviews"],
        ["landing", "metadata"],
        ["raw", "reviews"],
        ["raw", "metadata"],
        *(["settings", name] for name in SLICES),
    ],
    description="One self-contained HTML page: verdict, leaderboard, protocol, the way of every row from the dump to "
    "the split, audits, slices, training curves, examples, checks, and where each number comes from. Beside it a model "
    "card in Markdown, and the tables as CSV, Parquet and JSON.",
    group_name="evaluation",
    kinds={"html"},
    owners=RECOMMENDATION_OWNERS,
    partitions_def=datasets,
    automation_condition=on_new_data,
    code_version=code_version(
        "ml.reports.collect.report",
        "ml.reports.render.write",
        "ml.evaluation.sampled_rankings",
        files=TEMPLATES.iterdir(),
        # it prints their versions
        libraries=LIBRARIES,
    ),
    metadata={
        SHOWS_CHECKS: True,
        "dagster/column_schema": array_schema(
            page=("html", "the report, in one file"),
            card=("markdown", "the same in the layout of a model card"),
            tables=("csv, parquet, json", "leaderboard, slices, list metrics, audits, and what a comparison reads"),
        ),
    },
)
def report(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
    from ml.data.versions import versioned_folder
    from ml.reports.collect import report as collect
    from ml.reports.render.markdown import evaluation as markdown_evaluation
    from ml.reports.render.markdown import report as markdown
    from ml.reports.render.plots import report as plots
    from ml.reports.render.write import write_report

    dataset = context.partition_key
    paths = Workspace.current().dataset(dataset)
    graph = asset_graph()
    content = collect.collect(
        paths.lake,
        dataset,
        checks=check_results(context.instance, graph, dataset),
        data_versions=_data_versions(context.instance, graph, dataset, context.asset_key),
        code_version=collect.project_version(REPOSITORY),
        command=_command(paths),
        left_out=sentences(dataset),
    )
    facts = collect.run_facts(
        paths.lake,
        finished=datetime.now(UTC).isoformat(timespec="seconds"),
        made_by={"Dagster run": context.run_id},
    )
    with versioned_folder(paths.report.parent, keep=REPORTS_KEPT) as temporary:
        write_report(content, temporary, paths.leaderboard, facts)
        _write_sample(paths, temporary)
        if paths.decision_page.exists():
            shutil.copyfile(paths.decision_page, temporary / "release.html")
    return materialization(
        # all but the clock and the machine
        digest_of(asdict(content)),
        {
            "dagster/row_count": len(content.leaderboard.rows),
            "dagster/uri": str(paths.report),
            "bytes": paths.report.stat().st_size,
            # from the server of `make ui`; a browser opens no file:// address from a page that came by http
            "open": dg.MetadataValue.url(paths.report_url),
            "data docs": dg.MetadataValue.url(paths.data_docs_url),
            "file": dg.MetadataValue.path(paths.report),
            "first page": dg.MetadataValue.md(markdown.report(content)),
            "audits": dg.MetadataValue.md(markdown_evaluation.audits(content)),
            **{
                f"funnel of {funnel.source}": dg.MetadataValue.md(
                    f"{markdown.funnel(funnel)}\n\n{plots.markdown_image(plots.funnel(funnel))}"
                )
                for funnel in content.funnels
            },
            "what is recommended": dg.MetadataValue.md(markdown_evaluation.list_metrics(content)),
            "slices": dg.MetadataValue.md(markdown_evaluation.slices(content)),
        },
    )


def _command(paths: DatasetPaths) -> str:
    """The command that reproduces the report: the settings that differ from the defaults."""
    written: dict = {}
    for path in sorted(paths.asset("settings").glob("*.json")):
        written |= by_new_name(json.loads(path.read_text(encoding="utf-8")))
    options = {
        name.upper(): ",".join(written[name]) if isinstance(written[name], list) else written[name]
        for name, default in DEFAULTS.items()
        if name in written and written[name] != default
    }
    said = (f"{name}={int(value) if isinstance(value, bool) else value}" for name, value in options.items())
    return " ".join(["make run", f"DATASET={paths.dataset}", *map(shlex.quote, said)])


def _write_sample(paths: DatasetPaths, folder: Path) -> None:
    """The lists of some users, so that two reports can be compared list by list."""
    import pyarrow.parquet as pq

    from ml.evaluation.rankings import write_table
    from ml.evaluation.sampled_rankings import SAMPLE_FILE, sample_rankings, sampled_cases

    training_set = load_training_set(paths)
    users = training_set.test_users[sampled_cases(training_set)].tolist()
    rankings = {
        name: pq.read_table(paths.asset("rankings") / f"{name}.parquet", filters=[("user_index", "in", users)])
        for name in compared_recommenders(paths.dataset)
    }
    write_table(sample_rankings(rankings, training_set), folder / SAMPLE_FILE)


def check_results(instance: dg.DagsterInstance, graph, dataset: str) -> list:
    """Latest results of all checks, for the report; audits have a section of their own."""
    from ml.reports.content.report import Check

    keys = [key for key in graph.materializable_asset_keys if key.path[0] != "audits"]
    results = []
    for check, evaluation in latest_evaluations(instance, graph, dataset, keys).items():
        # whether the numbers are up to date is asked after the report is made
        if evaluation is not None and check.name != UP_TO_DATE:
            # Dagster gives checks that passed the severity of a warning, whatever they block
            grave = evaluation.passed or evaluation.severity == dg.AssetCheckSeverity.ERROR
            error = grave and graph.get(check).blocking
            results.append(
                Check(
                    name=check.name,
                    asset=check.asset_key.to_user_string(),
                    passed=evaluation.passed,
                    severity="error" if error else "warning",
                    detail="" if evaluation.passed else evaluation.description or "",
                )
            )
    return results


def _data_versions(instance: dg.DagsterInstance, graph, dataset: str, of: dg.AssetKey) -> dict[str, str]:
    """Data versions of all inputs of the report, in the order of the lineage; nothing that lies below it."""
    inputs = dg.AssetSelection.assets(of).upstream(include_self=False).resolve(graph)
    names = set(compared_recommenders(dataset))
    shown = dict.fromkeys(("baselines", "models", "rankings"), names)
    shown |= {"codes": needed_codes(names), "teacher_lists": needed_teacher_lists(names)}
    shown["pretrained"] = needed_pretrained(names)
    keys = [
        key
        for key in graph.toposorted_asset_keys
        if key in inputs and key.path[-1] in shown.get(key.path[0], {key.path[-1]})
    ]
    versions = data_versions(instance, dataset, keys)
    return {key.to_user_string(): versions[key] for key in keys if key in versions}


report_assets = [report]
