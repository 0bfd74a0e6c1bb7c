"""Rankings over the whole catalogue: one asset a recommender, one row a user and rank."""

import dagster as dg

from ml.recommenders.registry import fusions, layer_of, modules_of, recommender_names, title_of
from orchestration.assets.settings import chosen_for, read_settings
from orchestration.assets.training_sets import load_training_set
from orchestration.automation.condition import on_new_data
from orchestration.code_versions import code_version
from orchestration.partitions import datasets
from orchestration.paths import DatasetPaths, Workspace
from orchestration.reporting import RECOMMENDATION_OWNERS, digest_of, materialization, parquet_metadata, told_plainly
from orchestration.resources import Settings
from orchestration.selection import group_of, require_chosen

COLUMNS = {
    "user_index": "the test user",
    "rank": "1 is best",
    "item_index": "the item at that rank",
    "score": "the recommender's own score of it",
    "recommender": "name of the recommender",
    "seed": "seed it was fitted with",
}


def load(paths: DatasetPaths, name: str, items: int):
    """A fitted recommender as its asset left it; a fusion with its parts."""
    from ml.data.files import read_json
    from ml.fusion.fused_recommender import FUSION_FILE, FusedRecommender, load_recommender
    from ml.fusion.fusion import Fusion

    folder = paths.asset(layer_of(name), name)
    if name not in fusions():
        return load_recommender(name, folder)
    fusion = Fusion.from_json(read_json(folder, FUSION_FILE))
    parts = {part: load(paths, part, items) for part in fusion.parts}
    return FusedRecommender(parts, fusion.depth, fusion=fusion, items=items)


def _ranking_asset(name: str) -> dg.AssetsDefinition:
    layer = layer_of(name)
    parts = fusions()[name].parts if name in fusions() else ()
    modules = {module for part in (parts or [name]) for module in modules_of(part)}
    modules |= {"ml.fusion.fused_recommender"} if parts else set()

    @dg.asset(
        key=["rankings", name],
        deps=[
            [layer, name],
            *([layer_of(part), part] for part in parts),
            ["training_sets", "sequences"],
            ["settings", "ranking"],
            ["settings", "training"],
        ],
        description=f"{title_of(name)}: the best items of the whole catalogue for each test user.",
        group_name=group_of("rankings", name),
        kinds={"parquet"},
        owners=RECOMMENDATION_OWNERS,
        partitions_def=datasets,
        automation_condition=on_new_data,
        code_version=code_version(
            "ml.evaluation.rankings", *(["ml.fusion.fused_recommender"] if parts else []), *sorted(modules)
        ),
    )
    def ranking(context: dg.AssetExecutionContext, settings: Settings) -> dg.MaterializeResult:
        from ml.data.content_digest import parquet_digest
        from ml.evaluation.rankings import RankingError, facts, rank, write_table

        dataset = context.partition_key
        paths = Workspace.current().dataset(dataset)
        # what there is of a model that was not chosen may be of another catalogue
        require_chosen(context.asset_key, chosen_for(settings, dataset), dataset)
        path = paths.asset("rankings") / f"{name}.parquet"
        training_set = load_training_set(paths)
        with told_plainly(dataset, RankingError):
            table = rank(
                load(paths, name, training_set.items),
                training_set,
                name,
                seed=read_settings("training", dataset)["seed"],
                exclude_seen=read_settings("ranking", dataset)["exclude_seen"],
            )
        write_table(table, path)
        # equal lists under another rule (seen items, seed) are told apart: the protocol line states the rule
        return materialization(digest_of([parquet_digest(path), facts(table)]), parquet_metadata(path, COLUMNS))

    return ranking


ranking_assets = [_ranking_asset(name) for name in recommender_names()]
