"""The same comparison at several dates: everything is fitted and measured again in each temporal fold but the last."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import dagster as dg

from ml.recommenders.choice import needed_pretrained
from ml.recommenders.registry import any_reads_times, recommender_names, registry, title_of
from orchestration.assets.evaluation import RANKINGS, compared_recommenders
from orchestration.assets.pretrained import sources_of
from orchestration.assets.training_sets import load_training_set
from orchestration.code_versions import code_version
from orchestration.condition import on_new_data
from orchestration.dataset_settings import fitted_where, read_settings
from orchestration.partitions import datasets
from orchestration.paths import DatasetPaths, Workspace
from orchestration.reporting import (
    RECOMMENDATION_OWNERS,
    array_schema,
    as_dagster_failure,
    digest_of,
    digest_of_files,
    materialization,
    parquet_metadata,
)
from orchestration.resources import Settings
from orchestration.temporal_folds import asks_for_folds, folds_of

if TYPE_CHECKING:
    from ml.data.timed_interactions import Interactions

# beside the measurements: what each was made of, so that it need not be made again
_MADE_OF = "made_of.json"
_SIZES = "folds.json"
_CODE = ("ml.recommenders.fit", "ml.evaluation.metrics", "ml.evaluation.rankings", "ml.data.folds")


@dg.asset(
    key=["evaluation", "earlier_folds"],
    deps=[
        *RANKINGS,
        *(["training_sets", name] for name in ("sequences", "times", "item_text", "text_vectors")),
        *(["marts", name] for name in ("interactions", "splits")),
        *(["settings", name] for name in ("folds", "training", "fit", "ranking", "comparison")),
    ],
    description="Metrics of every test user of each temporal fold but the last, of every recommender compared, which "
    "is fitted anew for each fold on what was known then. What has the same inputs as before is kept. Empty under "
    "another split than temporal-folds.",
    group_name="evaluation",
    kinds={"pytorch", "parquet"},
    owners=RECOMMENDATION_OWNERS,
    partitions_def=datasets,
    automation_condition=on_new_data,
    code_version=code_version(*_CODE),
    metadata={
        "dagster/column_schema": array_schema(
            user_metrics=("parquet", "as evaluation/user_metrics, one file a recommender and fold"),
            folds=("json", "dates and sizes of all folds"),
        )
    },
)
def earlier_folds(context: dg.AssetExecutionContext, settings: Settings) -> dg.MaterializeResult:
    import pyarrow.parquet as pq

    from ml.data.content_digest import parquet_digest
    from ml.data.folds import FoldError, fold_sizes, in_fold
    from ml.data.versions import versioned_folder
    from ml.evaluation.folds.files import save_sizes
    from ml.evaluation.metrics import user_metrics
    from ml.evaluation.rankings import RankingError, rank, write_table
    from ml.recommenders.fit import Conditions, fit

    dataset = context.partition_key
    paths = Workspace.current().dataset(dataset)
    folder = paths.asset("evaluation", "earlier_folds")
    names = compared_recommenders(dataset)
    seed = read_settings("training", dataset)["seed"]
    fit_on = read_settings("fit", dataset)["fit_on"]
    exclude_seen = read_settings("ranking", dataset)["exclude_seen"]
    known = _made_before(folder)
    made_of: dict[str, str] = {}
    kept = 0
    with as_dagster_failure(dataset, RankingError, FoldError), versioned_folder(folder) as temporary:
        if asks_for_folds(dataset):
            training_set = load_training_set(paths, with_vectors=True, with_times=any_reads_times(names))
            folds, interactions = folds_of(paths, training_set)
            save_sizes([fold_sizes(training_set, interactions, fold) for fold in folds], temporary / _SIZES)
            # no start from the champion, which may have been fitted on what a fold tests
            conditions = Conditions(
                seed,
                fit_on,
                exclude_seen,
                sources=sources_of(paths) if needed_pretrained(names) else (),
                **fitted_where(settings, dataset),
            )
            # another model, another choice gives other rankings of the last fold
            rankings_of = {name: parquet_digest(paths.asset("rankings") / f"{name}.parquet") for name in names}
            read = _read(paths, interactions) | {"seed": seed, "fit_on": fit_on, "exclude_seen": exclude_seen}
            for fold in folds[:-1]:
                own = in_fold(training_set, interactions, fold)
                inputs = {**read, "training_set": own.digest()}
                keys = {
                    name: digest_of({**inputs, "recommender": name, "rankings": rankings_of[name]}) for name in names
                }
                path_of = {name: temporary / f"{name}@{fold.number}.parquet" for name in names}
                made_of |= {path_of[name].name: keys[name] for name in names}
                unchanged = [name for name in names if keys[name] in known]
                for name in unchanged:
                    path_of[name].write_bytes(known[keys[name]].read_bytes())
                kept += len(unchanged)
                # recommenders that are parts of others are fitted once
                fitted: dict = {}
                for name in names:
                    if name not in unchanged:
                        recommender = fit(name, own, conditions, registry(), fitted)
                        rankings = rank(recommender, own, name, seed, exclude_seen=exclude_seen)
                        write_table(user_metrics(rankings, own), path_of[name])
                        context.log.info(f"{name} is measured in fold {fold.number} of {len(folds)} ({fold.dates})")
        (temporary / _MADE_OF).write_text(json.dumps(made_of, indent=2) + "\n", encoding="utf-8")
    rows = sum(pq.read_metadata(path).num_rows for path in folder.glob("*.parquet"))
    return materialization(
        # what it was made of says nothing of what it is
        digest_of_files(folder, "*.parquet", _SIZES),
        {"dagster/row_count": rows, "dagster/uri": str(folder), "fits": len(made_of) - kept, "kept": kept},
    )


def _made_before(folder: Path) -> dict[str, Path]:
    """Measurements that are there, by what they were made of."""
    if not (folder / _MADE_OF).exists():
        return {}
    written = json.loads((folder / _MADE_OF).read_text(encoding="utf-8"))
    return {key: folder / name for name, key in written.items() if (folder / name).exists()}


def _read(paths: DatasetPaths, interactions: "Interactions") -> dict[str, str]:
    """What fits in all folds read beside the histories of each, and by what code."""
    import hashlib

    texts = {name: digest_of_files(paths.asset("training_sets", name), "*") for name in ("item_text", "text_vectors")}
    times = hashlib.sha256(interactions.moments.tobytes()).hexdigest()
    return {**texts, "times": times, "code": code_version(*_CODE)}


@dg.asset(
    key=["evaluation", "folds"],
    deps=[["evaluation", "user_metrics"], ["evaluation", "earlier_folds"], ["settings", "comparison"]],
    description="nDCG@10 and Recall@10 of every recommender in each temporal fold, their mean and spread, and a "
    "comparison with the best over all folds, with users as units. Empty under another split than temporal-folds.",
    group_name="evaluation",
    kinds={"numpy", "parquet"},
    owners=RECOMMENDATION_OWNERS,
    partitions_def=datasets,
    automation_condition=on_new_data,
    # titles are printed, and are no part of what recipes decide
    code_version=code_version("ml.evaluation.folds.comparison", "ml.evaluation.folds.files")
    + f"-{digest_of({name: title_of(name) for name in recommender_names()})[:12]}",
)
def folds(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
    from ml.data.content_digest import parquet_digest
    from ml.evaluation.folds import files
    from ml.evaluation.folds.comparison import over_folds
    from ml.evaluation.folds.content import FoldResults
    from ml.evaluation.rankings import RankingError
    from ml.reports.render.markdown import folds as markdown

    dataset = context.partition_key
    paths = Workspace.current().dataset(dataset)
    sizes = _sizes_of(paths)
    with as_dagster_failure(dataset, RankingError):
        found = FoldResults()
        if sizes:
            names = compared_recommenders(dataset)
            found = over_folds(_measured(paths, names, len(sizes)), {name: title_of(name) for name in names}, sizes)
    path = paths.asset("evaluation") / "folds.parquet"
    files.save_folds(found, path)
    shown = {"folds": dg.MetadataValue.md(markdown.folds(found))} if found.rows else {}
    return materialization(
        # dates and sizes are no part of the rows
        digest_of([parquet_digest(path), [asdict(one) for one in found.folds], found.users_in_several]),
        {**parquet_metadata(path, files.DESCRIPTIONS), **shown},
    )


def _sizes_of(paths: DatasetPaths) -> tuple:
    from ml.evaluation.folds.files import load_sizes

    path = paths.asset("evaluation", "earlier_folds") / _SIZES
    return load_sizes(path) if path.exists() else ()


def _measured(paths: DatasetPaths, names: list[str], folds: int) -> dict[str, list]:
    """User metrics of each recommender in each fold, the earliest first."""
    import pyarrow.parquet as pq

    earlier, last = (paths.asset("evaluation", name) for name in ("earlier_folds", "user_metrics"))
    return {
        name: [
            *(pq.read_table(earlier / f"{name}@{number}.parquet") for number in range(1, folds)),
            pq.read_table(last / f"{name}.parquet"),
        ]
        for name in names
    }


fold_assets = [earlier_folds, folds]
