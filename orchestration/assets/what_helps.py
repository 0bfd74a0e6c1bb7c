"""What helps on a dataset: each chosen recommender that adds something, compared with its plain counterpart."""

import dagster as dg

from ml.recommenders.counterparts import counterparts, counterparts_of_run
from ml.recommenders.registry import recommender_names, registry, title_of
from orchestration.assets.evaluation import compared_recommenders, measured
from orchestration.assets.training_sets import load_training_set
from orchestration.code_versions import code_version
from orchestration.condition import on_new_data
from orchestration.partitions import datasets
from orchestration.paths import Workspace
from orchestration.reporting import RECOMMENDATION_OWNERS, digest_of, materialization, parquet_metadata


def _compared() -> list[tuple[str, ...]]:
    """What decides the comparison and no data version knows: the families, counterparts and titles of recommenders."""
    return [
        (one.family, *(text for name in (one.recommender, one.plain) for text in (name, title_of(name))))
        for one in counterparts(recommender_names(), registry())
    ]


@dg.asset(
    key=["evaluation", "what_helps"],
    deps=[
        ["evaluation", "user_metrics"],
        ["evaluation", "further_seeds"],
        ["training_sets", "sequences"],
        ["settings", "comparison"],
    ],
    description="Paired differences of nDCG@10 between recommenders that add something (text, times, attributes, "
    "contrast, memory) and their plain counterparts, for all test users, short histories, rare targets and targets in "
    "no training history, corrected for their number. Empty where no such recommender is chosen.",
    group_name="evaluation",
    kinds={"numpy", "parquet"},
    owners=RECOMMENDATION_OWNERS,
    partitions_def=datasets,
    automation_condition=on_new_data,
    code_version=code_version(
        "ml.evaluation.what_helps.comparison", "ml.evaluation.what_helps.files", "ml.recommenders.counterparts"
    )
    + f"-{digest_of(_compared())[:12]}",
)
def what_helps(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
    from ml.data.content_digest import parquet_digest
    from ml.evaluation.metrics import seed_values
    from ml.evaluation.what_helps import comparison, files
    from ml.reports.render.markdown import report as markdown

    dataset = context.partition_key
    paths = Workspace.current().dataset(dataset)
    asked = counterparts_of_run(compared_recommenders(dataset), registry())
    wanted = {name for one in asked for name in (one.recommender, one.plain)}
    values = {name: seed_values(tables) for name, tables in measured(paths).items() if name in wanted}
    titles = {name: title_of(name) for name in wanted}
    found = comparison.what_helps(values, asked, titles, load_training_set(paths))
    path = paths.asset("evaluation") / "what_helps.parquet"
    files.save_what_helps(found, path)
    shown = markdown.what_helps(found)
    return materialization(
        # what was left out is no part of the rows
        digest_of([parquet_digest(path), found.left_out]),
        {**parquet_metadata(path), **({"what helps": dg.MetadataValue.md(shown)} if shown else {})},
    )


what_helps_assets = [what_helps]
