"""Rankings over the whole catalogue: one asset a recommender, one row a user and rank."""

import json
from typing import TYPE_CHECKING, Any

import dagster as dg

from ml.data.files import atomic_file
from ml.language_models.answers import NoAnswer
from ml.models.settings import writes_lists
from ml.recommender import LANGUAGE_MODEL
from ml.recommenders.facts import beam_width_of
from ml.recommenders.modules import modules_of
from ml.recommenders.registry import any_reads_times, kind_of, layer_of, parts_of, recommender_names, registry, title_of
from orchestration.assets.left_out import left_out
from orchestration.assets.training_sets import load_training_set
from orchestration.code_versions import code_version
from orchestration.condition import on_new_data
from orchestration.dataset_settings import chosen_for, read_settings
from orchestration.partitions import datasets
from orchestration.paths import DatasetPaths, Workspace
from orchestration.reporting import (
    RECOMMENDATION_OWNERS,
    as_dagster_failure,
    digest_of,
    materialization,
    parquet_metadata,
)
from orchestration.resources import Settings
from orchestration.selection import group_of, require_chosen

if TYPE_CHECKING:
    from ml.data.training_set import TrainingSet
    from ml.recommender import Recommender

# ending of the file beside the rankings of a model that searches with beams: ml.training.beam_widths
BEAM_WIDTHS = ".beam_widths.json"
# and of a re-ranking by a language model: ml.recommenders.answer_biases
ANSWERS = ".answers.json"
COLUMNS = {
    "user_index": "the test user",
    "rank": "1 is best",
    "item_index": "the item at that rank",
    "score": "the recommender's own score of it",
    "recommender": "name of the recommender",
    "seed": "seed it was fitted with",
}


def load(paths: DatasetPaths, name: str, items: int) -> "Recommender":
    """A fitted recommender as its asset left it; a fusion or re-ranking with its parts."""
    from ml.recommenders.load import load as load_by_name

    return load_by_name(name, paths.recommender, registry(), items)


def _searches(name: str) -> bool:
    """Whether the lists come from a beam search: of a model that generates identifiers, and neither scores all items
    nor writes lists item by item."""
    recipe = registry().recipes.get(name)
    return recipe is not None and bool(beam_width_of(recipe.model)) and not writes_lists(recipe.model)


def _beam_widths(
    name: str, recommender: "Recommender", training_set: "TrainingSet", exclude_seen: bool
) -> dict[str, Any] | None:
    """What narrower and wider beams would give; ``None`` where nothing is searched."""
    if not _searches(name):
        return None
    from ml.training.beam_widths import compare_beam_widths

    return compare_beam_widths(recommender, training_set, exclude_seen)


def _answers(
    name: str, recommender: "Recommender", training_set: "TrainingSet", exclude_seen: bool, seed: int
) -> dict[str, Any] | None:
    """What the answers of a language model were worth; ``None`` where none was asked to re-rank."""
    if not _asks(name):
        return None
    from ml.recommenders.answer_biases import measure_answers
    from ml.recommenders.prompted_reranking import PromptedReranking

    assert isinstance(recommender, PromptedReranking)  # its recipe says so
    return measure_answers(recommender, training_set, exclude_seen, seed).as_json()


def _asks(name: str) -> bool:
    return kind_of(name) == LANGUAGE_MODEL and registry().reranked_by(name) is not None


def _ranking_asset(name: str) -> dg.AssetsDefinition:
    @dg.asset(
        key=["rankings", name],
        deps=[
            *([layer_of(part), part] for part in dict.fromkeys((name, *parts_of(name)))),
            ["training_sets", "sequences"],
            *([["training_sets", "times"]] if any_reads_times([name]) else []),
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
            "ml.evaluation.rankings",
            *modules_of(name),
            *(["ml.training.beam_widths"] if _searches(name) else []),
            *(["ml.recommenders.answer_biases"] if _asks(name) else []),
        ),
    )
    def ranking(context: dg.AssetExecutionContext, settings: Settings) -> dg.MaterializeResult:
        from ml.data.content_digest import parquet_digest
        from ml.evaluation.rankings import RankingError, facts, rank, write_table

        dataset = context.partition_key
        paths = Workspace.current().dataset(dataset)
        # what there is of a model that was not chosen may be of another catalogue
        require_chosen(context.asset_key, chosen_for(settings, dataset), dataset)
        if (skipped := left_out(context, settings)) is not None:
            return skipped
        path = paths.asset("rankings") / f"{name}.parquet"
        training_set = load_training_set(paths, with_times=any_reads_times([name]))
        seed = read_settings("training", dataset)["seed"]
        exclude_seen = read_settings("ranking", dataset)["exclude_seen"]
        recommender = load(paths, name, training_set.items)
        with as_dagster_failure(dataset, RankingError, NoAnswer):
            table = rank(recommender, training_set, name, seed=seed, exclude_seen=exclude_seen)
            answers = _answers(name, recommender, training_set, exclude_seen, seed)
        widths = _beam_widths(name, recommender, training_set, exclude_seen)
        write_table(table, path)
        beside = {ending: found for ending, found in ((BEAM_WIDTHS, widths), (ANSWERS, answers)) if found is not None}
        for ending, found in beside.items():
            with atomic_file(path.with_name(f"{name}{ending}")) as file:
                file.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
        # equal lists under another rule (seen items, seed) have another version: the protocol line states the rule
        known = facts(table)
        made = [parquet_digest(path), known, *beside.values()]
        metadata = parquet_metadata(path, COLUMNS)
        if answers is not None:
            shown = ("model", "asked", "behind_budget", "questions", "tokens_read", "tokens_written", "cost")
            metadata |= {name.replace("_", " "): answers[name] for name in shown if answers[name] is not None}
            if answers["behind_budget"]:
                context.log.warning(
                    f"the token budget of {name} was spent: {answers['behind_budget']} test users that were to be "
                    f"asked about keep the lists of {answers['of']}"
                )
        if generated := known.get("generated"):
            metadata |= {f"{outcome}_lists": number for outcome, number in generated.items() if outcome != "lists"}
        return materialization(digest_of(made), metadata)

    return ranking


ranking_assets = [_ranking_asset(name) for name in recommender_names()]
