"""Rankings over the whole catalogue: one asset a recommender, one row a user and rank."""

import dagster as dg

from ml.baselines import BASELINES
from orchestration.assets.settings import read_settings
from orchestration.assets.training_sets import load_training_set
from orchestration.automation import on_new_data
from orchestration.code_versions import code_version
from orchestration.partitions import datasets
from orchestration.paths import DatasetPaths, Workspace
from orchestration.recommenders import recommender_names, title_of
from orchestration.reporting import (
    RECOMMENDATION_OWNERS,
    materialization,
    parquet_metadata,
    told_plainly,
)
from orchestration.staleness import NOT_CHOSEN, data_version

COLUMNS = {
    "user_index": "the test user",
    "rank": "1 is best",
    "item_index": "the item at that rank",
    "score": "the recommender's own score of it",
    "recommender": "name of the recommender",
    "seed": "seed it was fitted with",
}


def load_recommender(paths: DatasetPaths, name: str):
    """A fitted recommender as its asset left it."""
    if name in BASELINES:
        return BASELINES[name].load(paths.asset("baselines", name))
    from ml.training.sequential_recommender import SequentialRecommender

    return SequentialRecommender.load(paths.asset("models", name))


def _ranking_asset(name: str) -> dg.AssetsDefinition:
    layer = "baselines" if name in BASELINES else "models"

    @dg.asset(
        key=["rankings", name],
        deps=[
            [layer, name],
            ["training_sets", "sequences"],
            ["settings", "ranking"],
            ["settings", "training"],
        ],
        description=f"{title_of(name)}: the best items of the whole catalogue for each test user.",
        group_name="rankings",
        kinds={"parquet"},
        owners=RECOMMENDATION_OWNERS,
        partitions_def=datasets,
        automation_condition=on_new_data,
        code_version=code_version(
            "ml.evaluation.rankings",
            BASELINES[name].path.split(":")[0] if name in BASELINES else "ml.training.sequential_recommender",
        ),
    )
    def ranking(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
        from ml.data.content_digest import parquet_digest
        from ml.evaluation.rankings import RankingError, rank, write_table

        dataset = context.partition_key
        paths = Workspace.current().dataset(dataset)
        if data_version(context.instance, dg.AssetKey([layer, name]), dataset) == NOT_CHOSEN:
            return materialization(NOT_CHOSEN, {"dagster/row_count": 0})
        path = paths.asset("rankings") / f"{name}.parquet"
        with told_plainly(dataset, RankingError):
            table = rank(
                load_recommender(paths, name),
                load_training_set(paths),
                name,
                seed=read_settings("training", dataset)["seed"],
                exclude_seen=read_settings("ranking", dataset)["exclude_seen"],
            )
        write_table(table, path)
        return materialization(parquet_digest(path), parquet_metadata(path, COLUMNS))

    return ranking


ranking_assets = [_ranking_asset(name) for name in recommender_names()]
