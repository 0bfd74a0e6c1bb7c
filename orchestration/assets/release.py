"""The release: a candidate, the decision of the gate on it, and the champion that serves.

A refused candidate is not a failed run: the champion stays, and the decision says why. The champion is no input of
anything above it in the lineage, which would be a circle: the gate reads its folder.
"""

import json
import shutil
import tempfile
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg

from ml.baselines.registry import BASELINES
from ml.extras import missing
from ml.recommenders.registry import registry
from ml.reports.collect.release import DECISION_FILE, DECISION_PAGE
from orchestration.assets.evaluation import RANKINGS, RECOMMENDERS
from orchestration.assets.training_sets import load_training_set
from orchestration.champion_record import metadata_of_champion, version_of_champion
from orchestration.code_versions import code_version
from orchestration.condition import on_new_data
from orchestration.contracts.release import bounds_by_name, load_release_contracts, release_files
from orchestration.dataset_settings import fitted_where, read_settings
from orchestration.execution.staleness import require_passed_checks
from orchestration.mlflow_mirror import mirror
from orchestration.partitions import datasets
from orchestration.paths import REPOSITORY, DatasetPaths, Workspace
from orchestration.release import CHAMPIONS_KEPT, ReleaseError, settle
from orchestration.reporting import (
    RECOMMENDATION_OWNERS,
    array_schema,
    as_dagster_failure,
    digest_of,
    materialization,
)
from orchestration.resources import Settings

if TYPE_CHECKING:
    from ml.release.gate.decision import Decision

CASES_FILE, LEADERBOARD_FILE = "cases.parquet", "leaderboard.parquet"
CHAMPION_LEADERBOARD_FILE = "champion_leaderboard.parquet"
# in the folder of the candidate where no release is asked for
NOTHING_FILE = "no_release.json"
TEMPLATES = REPOSITORY / "ml" / "reports" / "render" / "templates"

_common: dict[str, Any] = {
    "group_name": "release",
    "owners": RECOMMENDATION_OWNERS,
    "partitions_def": datasets,
    "automation_condition": on_new_data,
}


@dg.asset(
    key=["release", "candidate"],
    deps=[
        ["evaluation", "leaderboard"],
        *RECOMMENDERS,
        *(["training_sets", name] for name in ("sequences", "protocol", "item_text", "text_vectors")),
        ["marts", "items"],
        *(["settings", name] for name in ("release", "ranking", "training")),
    ],
    description="The recommender that is to be released, as a bundle: the best of the leaderboard that can serve, or "
    "the one that the setting `release` names. It serves nobody before the decision.",
    kinds={"safetensors", "parquet"},
    code_version=code_version(
        "ml.release.bundle", "ml.release.write_bundle", "ml.release.gate.choice", "ml.release.refit"
    ),
    metadata={
        "dagster/column_schema": array_schema(
            bundle=("json", "what it is, with the digest of each file"),
            catalogue=("parquet", "identity and title of each item"),
            recommenders=("folders", "the fitted recommender and its parts"),
            leaderboard=("parquet", "the leaderboard that it was chosen from"),
        )
    },
    **_common,
)
def candidate(context: dg.AssetExecutionContext, settings: Settings) -> dg.MaterializeResult:
    from ml.data.versions import content_name, versioned_folder
    from ml.release.bundle import BundleError, load
    from ml.release.gate.choice import NONE, ChoiceError
    from ml.release.gate.decision import digest_of as release_digest
    from ml.release.gate.measures import size_on_disk

    dataset = context.partition_key
    paths = Workspace.current().dataset(dataset)
    folder = paths.asset("release", "candidate")
    wanted = read_settings("release", dataset)
    with as_dagster_failure(dataset, BundleError, ChoiceError):
        with versioned_folder(folder) as temporary:
            if wanted["release"] == NONE:
                (temporary / NOTHING_FILE).write_text(json.dumps(wanted) + "\n", encoding="utf-8")
            else:
                _write_candidate(paths, wanted, temporary, fitted_where(settings, dataset))
        if wanted["release"] == NONE:
            return materialization(content_name(folder), {"dagster/row_count": 0, "dagster/uri": str(folder)})
        made = load(folder)
    return materialization(
        content_name(folder),
        {
            "dagster/row_count": made.items,
            "dagster/uri": str(folder),
            "bytes": size_on_disk(folder),
            "recommender": made.name,
            "title": made.title,
            "release": release_digest(made),
            "fitted on": made.fitted_on,
        },
    )


def _write_candidate(paths: DatasetPaths, wanted: dict, folder: Path, fitted_where: dict[str, Any]) -> None:
    """Write the bundle of the candidate, and the leaderboard that it was chosen from beside it.

    One that is fitted on everything has the fit that was measured in it, as a bundle of its own: the gate compares that
    one tomorrow, since the other has seen the targets of today.
    """
    import pyarrow.parquet as pq

    from ml.data.training_set import FIT_ON_EVERYTHING
    from ml.release.gate.choice import choose
    from ml.release.gate.run import MEASURED
    from ml.release.refit import refit_on_everything
    from ml.release.write_bundle import write_bundle

    board = pq.read_table(paths.leaderboard)
    rows = {row["recommender"]: row for row in board.to_pylist()}
    name = choose(list(rows), registry(), wanted["release"])
    on_everything = wanted["release_fit_on"] == FIT_ON_EVERYTHING
    training_set = _training_set_of(paths, name) if on_everything else load_training_set(paths)
    described = {
        "exclude_seen": read_settings("ranking", paths.dataset)["exclude_seen"],
        "metrics": {metric: value for metric, value in rows[name].items() if metric in ("ndcg@10", "recall@10")},
    }
    titles = _titles(paths)
    if on_everything:
        seed = read_settings("training", paths.dataset)["seed"]
        with tempfile.TemporaryDirectory(dir=folder.parent) as fits:
            folder_of = refit_on_everything(
                name, paths.recommender, registry(), training_set, Path(fits), seed, **fitted_where
            )
            everything = training_set.with_everything_trained_on()
            facts = described | {"fitted_on": FIT_ON_EVERYTHING}
            write_bundle(folder, name, folder_of, registry(), everything, titles, facts)
        (folder / MEASURED).mkdir()
    measured = folder / MEASURED if on_everything else folder
    write_bundle(measured, name, paths.recommender, registry(), training_set, titles, described)
    shutil.copyfile(paths.leaderboard, folder / LEADERBOARD_FILE)


def _training_set_of(paths: DatasetPaths, name: str) -> Any:
    """The training set with the text that a recommender or a part of it reads when it is fitted."""
    from ml.models.settings import needs_item_text, needs_text_vectors

    parts = dict.fromkeys((*registry().parts_of(name), name))
    counted = [BASELINES[part] for part in parts if part in BASELINES]
    models = [registry().recipes[part].model for part in parts if part in registry().recipes]
    return load_training_set(
        paths,
        with_text=any(one.needs_item_text for one in counted) or any(map(needs_item_text, models)),
        with_vectors=any(one.needs_text_vectors for one in counted) or any(map(needs_text_vectors, models)),
    )


def _titles(paths: DatasetPaths) -> dict[str, str]:
    """Titles of items by identity, of those that have one."""
    import polars as pl

    items = pl.scan_parquet(paths.table("marts", "items")).select("item_id", "title")
    return dict(items.filter(pl.col("title").is_not_null() & (pl.col("title") != "")).collect().rows())


with warnings.catch_warnings():
    # the partitions_def of a check is in preview; without it one dataset's verdict would stand for all
    warnings.simplefilter("ignore", dg.PreviewWarning)
    _bound_checks = [
        dg.AssetCheckSpec(
            name,
            asset=["release", "decision"],
            description=f"{bound.reason} {bound.remedy}",
            partitions_def=datasets,
        )
        for name, bound in bounds_by_name(load_release_contracts()).items()
    ]


@dg.asset(
    key=["release", "decision"],
    deps=[
        ["release", "candidate"],
        ["evaluation", "leaderboard"],
        ["evaluation", "user_metrics"],
        *RANKINGS,
        *(["training_sets", name] for name in ("sequences", "times")),
        *(["settings", name] for name in ("ranking", "training")),
    ],
    description="Whether the candidate replaces the champion, and why: both measured on the same test users, and each "
    "bound of `data_contracts/release/` with what was found. A refused candidate is no failed run: the champion stays.",
    kinds={"json", "html"},
    code_version=code_version(
        "ml.release.gate.run",
        "ml.reports.render.release",
        "ml.reports.render.markdown.release",
        files=[*release_files(), *TEMPLATES.iterdir()],
    ),
    check_specs=_bound_checks,
    metadata={
        "dagster/column_schema": array_schema(
            decision=("json", "verdict, bounds with what was found, and figures of both"),
            page=("html", "the same for people"),
            leaderboard=("parquet", "the leaderboard of the candidate"),
            champion_leaderboard=("parquet", "the one that the champion was chosen from, of earlier data"),
            cases=("parquet", "nDCG@10 of each test user under candidate, champion and the most popular items"),
        )
    },
    **_common,
)
def decision(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
    from ml.data.versions import versioned_folder
    from ml.evaluation.rankings import RankingError, write_table
    from ml.release.bundle import BundleError
    from ml.release.gate.history import HistoryError, now
    from ml.reports.render.markdown.release import decision_text

    dataset = context.partition_key
    paths = Workspace.current().dataset(dataset)
    with as_dagster_failure(dataset, BundleError, RankingError, HistoryError):
        found, cases = _decide(paths)
    folder = paths.asset("release", "decision")
    made = {"when": now(), "run": context.run_id}
    with versioned_folder(folder) as temporary:
        text = json.dumps({**found.as_json(), "made": made}, indent=2, ensure_ascii=False)
        (temporary / DECISION_FILE).write_text(text + "\n", encoding="utf-8")
        if not missing("report"):
            from ml.reports.render.release import decision_page

            page = decision_page(found, dataset, made["when"])
            (temporary / DECISION_PAGE).write_text(page, encoding="utf-8", newline="\n")
        shutil.copyfile(paths.leaderboard, temporary / LEADERBOARD_FILE)
        of_champion = paths.champion / LEADERBOARD_FILE
        if found.champion is not None and of_champion.exists():
            shutil.copyfile(of_champion, temporary / CHAMPION_LEADERBOARD_FILE)
        if cases is not None:
            write_table(cases, temporary / CASES_FILE)
    context.log.info(found.sentence)
    return materialization(
        digest_of(found.timeless().as_json()),
        {
            "dagster/row_count": len(found.findings),
            "dagster/uri": str(folder),
            "verdict": found.verdict,
            "decision": found.sentence,
            "open": dg.MetadataValue.url(paths.decision_url),
            "file": dg.MetadataValue.path(paths.decision_page),
            "bounds": dg.MetadataValue.md(decision_text(found)),
            **{
                f"ndcg@10 of the {name}": metrics["ndcg@10"]
                for name, metrics in found.metrics.items()
                if name != "most_popular"
            },
        },
        _as_checks(found),
    )


def _decide(paths: DatasetPaths) -> tuple["Decision", Any]:
    """The decision on the candidate of a dataset, and the cases that it was made on."""
    import pyarrow.parquet as pq

    from ml.evaluation.rankings import read_rankings
    from ml.release.bundle import load
    from ml.release.gate.decision import NO_RELEASE, Decision
    from ml.release.gate.history import read_history
    from ml.release.gate.run import Today, needs_times, open_champion, run_gate

    folder = paths.asset("release", "candidate")
    if (folder / NOTHING_FILE).exists():
        return Decision(NO_RELEASE, "No release was asked for (RELEASE=none); what is in charge stays."), None
    new, champion = load(folder), open_champion(paths.champion)
    training_set = load_training_set(paths, with_times=needs_times(new, champion))
    metrics = paths.asset("evaluation", "user_metrics")
    today = Today(
        training_set=training_set,
        rankings=read_rankings(paths.asset("rankings") / f"{new.name}.parquet", training_set),
        candidate=pq.read_table(metrics / f"{new.name}.parquet"),
        most_popular=pq.read_table(metrics / "most_popular.parquet"),
        exclude_seen=read_settings("ranking", paths.dataset)["exclude_seen"],
        seed=read_settings("training", paths.dataset)["seed"],
    )
    bounds = {name: contract.bounds for name, contract in load_release_contracts().items()}
    return run_gate(new, champion, today, bounds, read_history(paths.asset("release")))


def _as_checks(found: "Decision") -> list[dg.AssetCheckResult]:
    """One result for each bound; those that did not apply have passed."""
    by_name = {finding.bound.id: finding for finding in found.findings}
    results = []
    for spec in _bound_checks:
        finding = by_name.get(spec.name)
        if finding is None:
            results.append(
                dg.AssetCheckResult(
                    check_name=spec.name, passed=True, description=f"Not asked for in this decision: {found.sentence}"
                )
            )
            continue
        results.append(
            dg.AssetCheckResult(
                check_name=spec.name,
                passed=finding.passed,
                severity=dg.AssetCheckSeverity.WARN,
                description=finding.sentence if finding.passed else f"{finding.sentence} {finding.bound.remedy}",
                metadata={
                    "severity": finding.bound.severity,
                    "measure": finding.bound.measure,
                    **({"value": finding.value} if finding.value is not None else {}),
                    **({"p-value": finding.p_value} if finding.p_value is not None else {}),
                    **({"users": finding.users} if finding.users is not None else {}),
                },
            )
        )
    return results


@dg.asset(
    key=["release", "champion"],
    # the champion is measured on what is new before it is replaced
    deps=[["release", "decision"], ["release", "candidate"], ["release", "progress"]],
    description="The release in charge: the bundle that serves. It is replaced by a candidate only where the decision "
    f"says so, in one step; the {CHAMPIONS_KEPT} before it stay, to roll back to.",
    kinds={"safetensors", "parquet"},
    code_version="1",
    metadata={
        "dagster/column_schema": array_schema(
            champion=("folder", "the bundle in charge; absent before the first release"),
            state=("json", "its digest, beside the folder, in champion.json"),
            history=("jsonl", "who put what in charge, when and why, in history.jsonl"),
        )
    },
    **_common,
)
def champion(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
    from ml.release.bundle import BundleError
    from ml.release.gate.history import HistoryError

    dataset = context.partition_key
    paths = Workspace.current().dataset(dataset)
    require_passed_checks(context)
    with as_dagster_failure(dataset, BundleError, HistoryError, ReleaseError):
        state = settle(paths, context.run_id)
    context.log.info(state.sentence)
    mirror(paths, state, context.log)
    return materialization(version_of_champion(state), metadata_of_champion(paths, state))


release_assets = [candidate, decision, champion]
