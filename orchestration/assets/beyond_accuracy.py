"""Accuracy against goals beyond it: what the chosen re-rankings, students and alignments trade for what."""

import dagster as dg

from ml.recommenders.registry import any_reads_times, registry, title_of
from orchestration.assets.evaluation import RECOMMENDERS, compared_recommenders
from orchestration.assets.rankings import load
from orchestration.assets.training_sets import load_training_set
from orchestration.code_versions import code_version
from orchestration.condition import on_new_data
from orchestration.dataset_settings import read_settings
from orchestration.partitions import datasets
from orchestration.paths import Workspace
from orchestration.reporting import RECOMMENDATION_OWNERS, array_schema, digest_of_files, materialization


@dg.asset(
    key=["evaluation", "beyond_accuracy"],
    deps=[
        *RECOMMENDERS,
        *(["training_sets", name] for name in ("sequences", "item_text", "text_vectors")),
        *(["settings", name] for name in ("comparison", "fit", "ranking", "training")),
    ],
    description="nDCG@10 against diversity, novelty and popularity at several trade-offs of each chosen re-ranking, "
    "student and alignment: fronts, hypervolumes with 95 % intervals, and what is gained at a loss of at most 5 % of "
    "nDCG@10. Empty where none is chosen.",
    group_name="evaluation",
    kinds={"numpy", "parquet"},
    owners=RECOMMENDATION_OWNERS,
    partitions_def=datasets,
    automation_condition=on_new_data,
    code_version=code_version(
        "ml.recommenders.list_series", "ml.evaluation.trade_offs.compare", "ml.evaluation.trade_offs.files"
    ),
    metadata={
        "dagster/column_schema": array_schema(
            points=("parquet", "one row a series and trade-off, on the test users"),
            trade_offs=("json", "the same with hypervolumes, comparisons, chosen trade-offs and example lists"),
        )
    },
)
def beyond_accuracy(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
    from ml.data.versions import versioned_folder
    from ml.evaluation.trade_offs.compare import compare_series
    from ml.evaluation.trade_offs.files import points_table, save_trade_offs
    from ml.recommenders.list_series import Fitted, list_series
    from ml.reports.render.markdown import report as markdown

    dataset = context.partition_key
    paths = Workspace.current().dataset(dataset)
    compared = compared_recommenders(dataset)
    training_set = load_training_set(paths, with_vectors=True, with_times=any_reads_times(compared))
    fitted = Fitted(
        training_set,
        registry(),
        lambda name: load(paths, name, training_set.items),
        title_of,
        fit_on=read_settings("fit", dataset)["fit_on"],
        exclude_seen=read_settings("ranking", dataset)["exclude_seen"],
        seed=read_settings("training", dataset)["seed"],
    )
    found = compare_series([[one] for one in list_series(compared, fitted)], training_set)
    folder = paths.asset("evaluation", "beyond_accuracy")
    with versioned_folder(folder) as temporary:
        save_trade_offs(found, temporary)
    shown = markdown.beyond_accuracy(found)
    return materialization(
        digest_of_files(folder, "*.json", "*.parquet"),
        {
            "dagster/row_count": points_table(found).num_rows,
            "dagster/uri": str(folder),
            "series": len(found.series),
            **({"trade-offs": dg.MetadataValue.md(shown)} if shown else {}),
        },
    )


beyond_accuracy_assets = [beyond_accuracy]
