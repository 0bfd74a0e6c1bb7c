"""The lists of the release in charge for every user, to be looked up by whoever serves them."""

from typing import TYPE_CHECKING

import dagster as dg

from orchestration.assets.training_sets import load_training_set
from orchestration.code_versions import code_version
from orchestration.condition import on_new_data
from orchestration.dataset_settings import item_file, read_settings
from orchestration.partitions import datasets
from orchestration.paths import DatasetPaths, Workspace
from orchestration.reporting import (
    RECOMMENDATION_OWNERS,
    as_dagster_failure,
    digest_of,
    materialization,
    parquet_metadata,
)

if TYPE_CHECKING:
    from ml.release.bundle import Bundle
    from ml.release.recommendations import Users

FILE = "recommendations.parquet"


@dg.asset(
    key=["release", "recommendations"],
    deps=[
        ["release", "champion"],
        *(["training_sets", name] for name in ("sequences", "times")),
        *(["marts", name] for name in ("items", "splits")),
        ["settings", "recommendations"],
    ],
    description="What the release in charge recommends to each user from the whole history, test items included. "
    "Settings say how many items, and which may be recommended. Without a row before the first release.",
    kinds={"parquet"},
    group_name="release",
    owners=RECOMMENDATION_OWNERS,
    partitions_def=datasets,
    automation_condition=on_new_data,
    code_version=code_version("ml.release.recommendations", "ml.release.candidates"),
)
def recommendations(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
    from ml.data.content_digest import parquet_digest
    from ml.release.bundle import BundleError, load
    from ml.release.recommendations import COLUMNS, write_nothing, write_recommendations

    dataset = context.partition_key
    paths = Workspace.current().dataset(dataset)
    path = paths.asset("release") / FILE
    wanted = read_settings("recommendations", dataset)
    facts = {"release": "none", "users": 0, "users with fewer items": 0}
    if not paths.champion.exists():
        write_nothing(path)
        context.log.info(f"{dataset}: nothing is in charge, so nothing is recommended")
    else:
        with as_dagster_failure(dataset, BundleError):
            bundle = load(paths.champion)
            written = write_recommendations(
                path,
                bundle,
                _users(paths, bundle),
                k=min(wanted["recommend_items"], bundle.items),
                allowed=_allowed(paths, wanted),
                excluded=_ids(wanted["recommend_without"]),
            )
        facts = {"release": bundle.title, "users": written.users, "users with fewer items": written.short}
    return materialization(digest_of([parquet_digest(path)]), {**parquet_metadata(path, COLUMNS), **facts})


def _users(paths: DatasetPaths, bundle: "Bundle") -> "Users":
    from ml.data.times import times_of_everything
    from ml.release.recommendations import Users

    training_set = load_training_set(paths)
    times = times_of_everything(paths.table("marts", "splits"), training_set) if bundle.reads_times else None
    return Users.of(training_set, times)


def _allowed(paths: DatasetPaths, wanted: dict) -> list[str] | None:
    """Ids of the items that may be recommended: those of the file that meet the condition; ``None`` for all."""
    from ml.release.candidates import item_ids_where

    listed = _ids(wanted["recommend_only"])
    if not wanted["recommend_where"]:
        return listed
    meeting = item_ids_where(paths.table("marts", "items"), wanted["recommend_where"])
    return meeting if listed is None else sorted(set(meeting) & set(listed))


def _ids(file: str) -> list[str] | None:
    from ml.release.candidates import read_item_ids

    return read_item_ids(item_file(file)) if file else None


recommendation_assets = [recommendations]
