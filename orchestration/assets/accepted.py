"""The accepted state of a dataset: the last one that has passed every blocking check, for the next to be held against.

What is compared and how is in ``ml/data/drift/``; how far a state may be from the one before, in the
``drift`` contracts of the staging layer.
"""

import dagster as dg

from orchestration.code_versions import code_version
from orchestration.condition import on_new_data
from orchestration.execution.staleness import require_passed_checks
from orchestration.partitions import datasets
from orchestration.paths import Workspace
from orchestration.reporting import DATA_OWNERS, array_schema, as_dagster_failure, digest_of, materialization


@dg.asset(
    key=["marts", "accepted"],
    # the statistics come last of all tables: where they are new, so is everything that was checked
    deps=[["staging", "stg_reviews"], ["staging", "stg_metadata"], ["marts", "statistics"]],
    description="The last state of the dataset that passed every blocking check: counts of its reviews and metadata, "
    "and the identities of its users and items. The next state is compared with it, with the reference (the first "
    "state that was accepted, or one accepted by hand) and with the median of the last ones.",
    group_name="marts",
    kinds={"json", "parquet"},
    owners=DATA_OWNERS,
    partitions_def=datasets,
    automation_condition=on_new_data,
    code_version=code_version("ml.data.drift.acceptance", "ml.reports.render.markdown.drift"),
    metadata={
        "dagster/column_schema": array_schema(
            rows=("integer", "rows of the staged table, for reviews and metadata each"),
            users=("bytes [users]", "identity of each user, in ascending order"),
            items=("bytes [items]", "identity of each item, in ascending order"),
            ratings=("counts", "reviews of each rating"),
            history_lengths=("counts", "users with each number of reviews"),
            popular=("list[string]", "the items with the most reviews, in their order"),
            prices=("counts", "items in each bin of prices"),
            missing=("counts", "rows without a rating, `verified`, a title, a brand or a price"),
        )
    },
)
def accepted(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
    from ml.data import drift as acceptance
    from ml.reports.render.markdown.drift import accepted_states

    dataset = context.partition_key
    paths = Workspace.current().dataset(dataset)
    require_passed_checks(context)
    folder = paths.asset("marts", "accepted")
    with as_dagster_failure(dataset, acceptance.AcceptanceError):
        profiles = {
            kind: acceptance.accept(kind, paths.table("staging", f"stg_{kind}"), folder / kind)
            for kind in acceptance.KINDS
        }
    return materialization(
        digest_of(profiles),
        {
            "dagster/row_count": sum(counts["rows"] for counts in profiles.values()),
            "dagster/uri": str(folder),
            "reviews": dg.MetadataValue.json(profiles["reviews"]),
            "metadata": dg.MetadataValue.json(profiles["metadata"]),
            **{
                f"accepted states of the {kind}": dg.MetadataValue.md(
                    accepted_states(kind, acceptance.states(kind, folder / kind))
                )
                for kind in acceptance.KINDS
            },
        },
    )


accepted_assets = [accepted]
