"""The same comparison with further seeds: what is random, fitted and measured again for each of them."""

from functools import partial

import dagster as dg

from ml.recommenders.choice import needed_pretrained
from ml.recommenders.registry import any_reads_times, registry
from orchestration.assets.evaluation import RANKINGS, compared_recommenders
from orchestration.assets.pretrained import sources_of
from orchestration.assets.training_sets import load_training_set
from orchestration.code_versions import code_version
from orchestration.condition import on_new_data
from orchestration.dataset_settings import fitted_where, read_settings
from orchestration.partitions import datasets
from orchestration.paths import Workspace
from orchestration.reporting import (
    RECOMMENDATION_OWNERS,
    array_schema,
    as_dagster_failure,
    digest_of_files,
    materialization,
)
from orchestration.resources import Settings
from orchestration.warm_start import start_of


@dg.asset(
    key=["evaluation", "further_seeds"],
    deps=[
        # another model, another choice: fitted again with all seeds
        *RANKINGS,
        *(["training_sets", name] for name in ("sequences", "item_text", "text_vectors")),
        *(["settings", name] for name in ("seeds", "training", "fit", "ranking", "comparison")),
    ],
    description="Metrics of every test user under each further seed, of every recommender that is random. Models of "
    "further seeds are measured and not kept. Empty where one seed is asked for.",
    group_name="evaluation",
    kinds={"pytorch", "parquet"},
    owners=RECOMMENDATION_OWNERS,
    partitions_def=datasets,
    automation_condition=on_new_data,
    code_version=code_version("ml.recommenders.fit", "ml.evaluation.metrics", "ml.evaluation.rankings"),
    metadata={
        "dagster/column_schema": array_schema(
            user_metrics=("parquet", "as evaluation/user_metrics, one file a recommender and seed")
        )
    },
)
def further_seeds(context: dg.AssetExecutionContext, settings: Settings) -> dg.MaterializeResult:
    from ml.data.versions import versioned_folder
    from ml.evaluation.metrics import user_metrics
    from ml.evaluation.rankings import RankingError, rank, write_table
    from ml.recommenders.fit import Conditions, depends_on_seed, fit

    dataset = context.partition_key
    paths = Workspace.current().dataset(dataset)
    folder = paths.asset("evaluation", "further_seeds")
    first = read_settings("training", dataset)["seed"]
    seeds = range(first + 1, first + read_settings("seeds", dataset)["seeds"])
    names = [name for name in compared_recommenders(dataset) if depends_on_seed(name)]
    exclude_seen = read_settings("ranking", dataset)["exclude_seen"]
    rows = 0
    with as_dagster_failure(dataset, RankingError), versioned_folder(folder) as temporary:
        training_set = None
        for seed in seeds:
            if training_set is None:
                training_set = load_training_set(paths, with_vectors=True, with_times=any_reads_times(names))
            conditions = Conditions(
                seed,
                read_settings("fit", dataset)["fit_on"],
                exclude_seen,
                sources=sources_of(paths) if needed_pretrained(names) else (),
                **fitted_where(settings, dataset),
                start_of=partial(start_of, paths, training_set=training_set),
            )
            fitted: dict = {}
            for name in names:
                recommender = fit(name, training_set, conditions, registry(), fitted)
                rankings = rank(recommender, training_set, name, seed, exclude_seen=exclude_seen)
                measured = user_metrics(rankings, training_set)
                write_table(measured, temporary / f"{name}@{seed}.parquet")
                rows += measured.num_rows
                context.log.info(f"{name} with seed {seed} is measured")
    return materialization(
        digest_of_files(folder, "*.parquet"),
        {"dagster/row_count": rows, "dagster/uri": str(folder), "seeds": [first, *seeds]},
    )


seed_assets = [further_seeds]
