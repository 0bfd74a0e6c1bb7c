"""Results over time: an entry for each leaderboard, with what was in charge after it."""

import dagster as dg

from orchestration.code_versions import code_version
from orchestration.condition import on_new_data
from orchestration.partitions import datasets
from orchestration.paths import REPOSITORY, Workspace
from orchestration.reporting import (
    RECOMMENDATION_OWNERS,
    array_schema,
    as_dagster_failure,
    digest_of,
    materialization,
)


@dg.asset(
    key=["evaluation", "history"],
    # the champion is no input: which one is in charge follows from the decision
    deps=[["evaluation", "leaderboard"], ["release", "decision"], ["marts", "interactions"]],
    description="Results over time: for each leaderboard its best recommender and the release that was in charge after "
    "it, with nDCG@10, the digest of the data, the version of the code and the run. Figures of different data or "
    "protocols are not comparable; a change of the protocol is marked.",
    group_name="evaluation",
    kinds={"json"},
    owners=RECOMMENDATION_OWNERS,
    partitions_def=datasets,
    automation_condition=on_new_data,
    code_version=code_version("ml.release.over_time", "ml.reports.render.markdown.over_time"),
    metadata={
        "dagster/column_schema": array_schema(
            over_time=("json", "one entry for each leaderboard: digests, code, run, and figures with intervals"),
        )
    },
)
def history(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
    from dataclasses import replace
    from datetime import UTC, datetime

    import pyarrow.parquet as pq

    from ml.data.content_digest import parquet_digest
    from ml.data.files import DamagedFile
    from ml.data.versions import versioned_folder, versions_of
    from ml.release.over_time import OverTimeError, advance, read_cases, standing_of
    from ml.reports.collect.release import read_decision
    from ml.reports.collect.report import project_version
    from ml.reports.render.markdown.over_time import over_time as shown
    from orchestration.assets.release import CASES_FILE

    dataset = context.partition_key
    paths = Workspace.current().dataset(dataset)
    folder = paths.asset("evaluation", "history")
    with as_dagster_failure(dataset, OverTimeError, DamagedFile):
        present = standing_of(
            pq.read_table(paths.leaderboard),
            # the name of its version, by which it is found among those that are kept
            next((one.digest for one in versions_of(paths.leaderboard) if one.is_current), "")
            or parquet_digest(paths.leaderboard),
            read_decision(paths.lake),
            read_cases(paths.asset("release", "decision") / CASES_FILE),
            pq.ParquetFile(paths.table("marts", "interactions")).metadata.num_rows,
            project_version(REPOSITORY),
        )
        made = replace(present, when=datetime.now(UTC).isoformat(timespec="seconds"), run=context.run_id)
        with versioned_folder(folder) as temporary:
            entries = advance(folder, made, temporary)
    last = entries[-1]
    figures = {"ndcg@10 of the best": last.best.ndcg, "ndcg@10 in charge": last.in_charge and last.in_charge.ndcg}
    return materialization(
        digest_of([str(entry.timeless()) for entry in entries]),
        {
            "dagster/row_count": len(entries),
            "dagster/uri": str(folder),
            "open": dg.MetadataValue.url(f"{paths.report_url}#over-time"),
            # numbers are drawn over time in the UI
            **{name: value for name, value in figures.items() if value is not None},
            "results over time": dg.MetadataValue.md(shown(entries, [(entry.when, entry.run) for entry in entries])),
        },
    )


history_assets = [history]
