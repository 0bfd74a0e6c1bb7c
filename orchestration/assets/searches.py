"""Hyperparameter searches: asked for one at a time, by name of a recipe; nothing depends on them."""

from collections.abc import Iterator

import dagster as dg
from pydantic import Field

from ml.config import nearest
from orchestration.assets.training_sets import load_training_set
from orchestration.dataset_settings import execution_of, read_settings
from orchestration.partitions import datasets
from orchestration.paths import DatasetPaths, Workspace
from orchestration.reporting import RECOMMENDATION_OWNERS, array_schema, as_dagster_failure, digest_of, materialization
from orchestration.resources import Settings


class SearchConfig(dg.Config):
    """Configuration of a search."""

    recipe: str = Field(default="", description="Name of the recipe whose values are changed; empty searches nothing.")
    trials: int = Field(default=20, ge=1, description="Finished trials to reach; those of earlier runs count.")
    threads: int | None = Field(
        default=None, ge=1, description="Torch threads of a training; as in the file of the dataset, else one."
    )
    space: str = Field(default="", description="TOML file of the search space; empty for the one that comes along.")


def search_folder(paths: DatasetPaths, recipe: str):
    """Folder of a search: its journal, ``best.toml`` and ``search.json``."""
    return paths.asset("searches", recipe)


@dg.asset(
    key=["searches", "hyperparameters"],
    deps=[["training_sets", "sequences"], ["settings", "training"], ["settings", "ranking"]],
    description="Search of a recipe's values by Optuna, by nDCG@10 on the validation users. Runs only where it is "
    "asked for, goes on where it was broken off, and leaves the best recipe as a file.",
    group_name="searches",
    kinds={"optuna"},
    owners=RECOMMENDATION_OWNERS,
    partitions_def=datasets,
    # nothing is materialised where no recipe is named, as under "Materialize all"
    output_required=False,
    metadata={
        "dagster/column_schema": array_schema(
            best=("toml", "the best recipe, in best.toml"),
            trials=("json", "values and validation nDCG@10 of each trial, in search.json"),
        )
    },
)
def hyperparameters(context: dg.AssetExecutionContext, config: SearchConfig) -> Iterator[dg.MaterializeResult]:
    from pathlib import Path

    from ml.codes.codes import Codes
    from ml.data.teacher_lists import TeacherLists
    from ml.extras import require
    from ml.models.settings import needs_item_text, needs_text_vectors
    from ml.recommenders.registry import recipes
    from ml.search.space import DEFAULT_SPACE, load_space

    dataset = context.partition_key
    paths = Workspace.current().dataset(dataset)
    if not config.recipe:
        context.log.info("no search: name a recipe in the configuration of searches__hyperparameters")
        return
    if config.recipe not in recipes():
        raise dg.Failure(
            f"there is no recipe {config.recipe}{nearest(config.recipe, recipes())}; there are {', '.join(recipes())}",
            allow_retries=False,
        )
    if recipes()[config.recipe].pretraining is not None:
        raise dg.Failure(
            f"{config.recipe} is pre-trained on other datasets, and a search would need other weights for each trial: "
            f"search {recipes()[config.recipe].plain or 'another recipe'}",
            allow_retries=False,
        )
    require("train", f"a search of {config.recipe}")
    from ml.search.search import search

    recipe = recipes()[config.recipe]
    with_text, with_vectors = needs_item_text(recipe.model), needs_text_vectors(recipe.model)
    with_times = recipe.reads_times
    named = {
        "codes": [recipe.codes],
        "teacher_lists": [recipe.teacher_lists],
        "training_sets": [
            "item_text" if with_text else None,
            "text_vectors" if with_vectors else None,
            "times" if with_times else None,
        ],
    }
    for layer, name in ((layer, name) for layer, names in named.items() for name in names):
        if name and not paths.asset(layer, name).exists():
            raise dg.Failure(f"{dataset}: make {layer}/{name} first", allow_retries=False)
    codes = Codes.load(paths.asset("codes", recipe.codes)) if recipe.codes else None
    lists = TeacherLists.load(paths.asset("teacher_lists", recipe.teacher_lists)) if recipe.teacher_lists else None
    folder = search_folder(paths, recipe.name)
    with as_dagster_failure(dataset, ValueError):
        found = search(
            recipe,
            load_training_set(paths, with_text, with_vectors, with_times),
            folder,
            config.trials,
            load_space(Path(config.space) if config.space else DEFAULT_SPACE),
            read_settings("training", dataset)["seed"],
            codes,
            teacher_lists=lists,
            threads=config.threads or execution_of(Settings(), dataset)["threads"],
            validate_with_seen_excluded=read_settings("ranking", dataset)["exclude_seen"],
            tell=context.log.info,
        )
    yield materialization(
        digest_of([found.recipe.digest(), found.trials]),
        {
            "dagster/row_count": found.trials,
            "dagster/uri": str(folder),
            "recipe": recipe.name,
            "best validation ndcg@10": found.value,
            "validation ndcg@10 of the recipe": found.first,
            "best values": dg.MetadataValue.json(found.recipe.as_tables()),
            "trials": dg.MetadataValue.md(_table(found.table)),
        },
    )


def _table(trials: tuple[dict, ...]) -> str:
    best_first = sorted(trials, key=lambda trial: -trial["value"])
    columns = list(dict.fromkeys(key for trial in best_first for key in trial))
    lines = ["| " + " | ".join(columns) + " |", "|" + " --- |" * len(columns)]
    lines += ["| " + " | ".join(_cell(trial.get(column, "")) for column in columns) + " |" for trial in best_first]
    return "\n".join(lines)


def _cell(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


search_assets = [hyperparameters]
