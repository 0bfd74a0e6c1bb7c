"""Progressive evaluation: what the release in charge was worth for the interactions that came after it."""

import dagster as dg

from orchestration.code_versions import code_version
from orchestration.condition import on_new_data
from orchestration.partitions import datasets
from orchestration.paths import Workspace
from orchestration.reporting import (
    RECOMMENDATION_OWNERS,
    array_schema,
    as_dagster_failure,
    digest_of,
    materialization,
)


@dg.asset(
    key=["release", "progress"],
    # the champion is read as it lies there before this run replaces it, and is no input: that would be a circle
    deps=[["marts", "interactions"]],
    description="What the release in charge was worth for the interactions that are new since the last dump: of each "
    "user who was known the first new one is ranked. Each interaction is used once, so the series looks forward.",
    group_name="release",
    kinds={"json", "parquet"},
    owners=RECOMMENDATION_OWNERS,
    partitions_def=datasets,
    automation_condition=on_new_data,
    code_version=code_version("ml.release.progress", "ml.reports.render.markdown.progress"),
    metadata={
        "dagster/column_schema": array_schema(
            series=("json", "one result for each dump that brought new interactions while a release was in charge"),
            known=("parquet", "a digest of each interaction that was there when the last result was made"),
        )
    },
)
def progress(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
    from ml.data.content_digest import parquet_digest
    from ml.data.versions import versioned_folder
    from ml.release.gate.decision import digest_of as release_digest
    from ml.release.gate.run import open_champion
    from ml.release.progress import KNOWN_FILE, ProgressError, advance, read_series
    from ml.reports.render.markdown.progress import progress as shown

    dataset = context.partition_key
    paths = Workspace.current().dataset(dataset)
    folder = paths.asset("release", "progress")
    with as_dagster_failure(dataset, ProgressError):
        release = open_champion(paths.champion).bundle
        digest = release_digest(release) if release is not None else ""
        with versioned_folder(folder) as temporary:
            advance(paths.table("marts", "interactions"), folder, release, digest, temporary)
        series = read_series(folder)
    last = series[-1] if series else None
    return materialization(
        digest_of([parquet_digest(folder / KNOWN_FILE), [str(one) for one in series]]),
        {
            "dagster/row_count": len(series),
            "dagster/uri": str(folder),
            **({"ndcg@10": last.ndcg} if last is not None and last.ndcg is not None else {}),
            "series": dg.MetadataValue.md(shown(series)),
        },
    )


progress_assets = [progress]
