"""Re-rankings by a language model as assets: from titles to a ranking and what the answers were worth; and without a
model to ask."""

import json
from pathlib import Path

import dagster as dg
import pytest
from language_model_server import Reply, serve
from small_dataset import small_training_set

from ml.baselines.registry import BASELINES
from ml.data.item_text import save_item_text
from ml.data.training_set import FIT_ON_TRAIN, TrainingSet
from ml.language_models.answers import NoModel
from ml.language_models.rerank_recipe import RerankRecipe
from ml.language_models.sources import KEY, MODEL, URL
from ml.recommenders import registry as recommenders
from ml.recommenders.answer_facts import facts_of_json
from ml.recommenders.check_choice import check_recipes
from ml.recommenders.choice import chosen_names
from ml.recommenders.counterparts import counterpart_of
from ml.recommenders.facts import FIT, facts_of
from ml.recommenders.registry import Registry
from orchestration.assets.prompted_rerankings import prompted_reranking_asset
from orchestration.assets.rankings import _ranking_asset, load
from orchestration.paths import DatasetPaths, Workspace
from orchestration.resources import Settings
from orchestration.selection import left_out

RECIPE = RerankRecipe(
    *("tiny_rerank", "Tiny", "none", "for tests", "knowledge", "two_hop_graph"),
    endpoint=True,
    candidates=5,
    shuffles=1,
    users=0,
    retries=0,
)
REGISTRY = Registry({}, {}, language_models={RECIPE.name: RECIPE})


@pytest.fixture(autouse=True)
def known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recommenders, "language_models", lambda: {RECIPE.name: RECIPE})
    for name in (URL, MODEL, KEY, "RAW2RANK_LLM_CACHE"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def lake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[DatasetPaths, TrainingSet]:
    """A workspace that holds what the assets read."""
    monkeypatch.setenv("RAW2RANK_HOME", str(tmp_path))
    for module in ("prompted_rerankings", "rankings"):
        monkeypatch.setattr(f"orchestration.assets.{module}.require_chosen", lambda *_: None)
    training_set = small_training_set()
    paths = Workspace.current().dataset("Small")
    for name in ("sequences", "item_text"):
        paths.asset("training_sets", name).mkdir(parents=True)
    training_set.save(paths.asset("training_sets", "sequences"))
    texts = [f"Title: saw {item} Brand: X Category: Y Price: Unknown" for item in range(training_set.items)]
    save_item_text(paths.asset("training_sets", "item_text"), training_set.item_ids, texts)
    paths.asset("settings").mkdir()
    settings = {"training": {"seed": 3}, "fit": {"fit_on": FIT_ON_TRAIN}, "ranking": {"exclude_seen": True}}
    for name, values in settings.items():
        (paths.asset("settings") / f"{name}.json").write_text(json.dumps(values))
    folder = paths.recommender(RECIPE.of)
    folder.mkdir(parents=True)
    BASELINES[RECIPE.of].create(3).fit(training_set).save(folder)
    (folder / FIT).write_text(json.dumps({"fit_on": FIT_ON_TRAIN}))
    return paths, training_set


def make(asset: dg.AssetsDefinition) -> dg.MaterializeResult:
    return asset(dg.build_asset_context(partition_key="Small"), settings=Settings())


def test_a_ranking_is_made_with_what_its_answers_were_worth(
    lake: tuple[DatasetPaths, TrainingSet], monkeypatch: pytest.MonkeyPatch
) -> None:
    paths, training_set = lake
    with serve() as server:
        for name, value in zip((URL, MODEL, KEY), (server.url, "tiny", "secret-key"), strict=True):
            monkeypatch.setenv(name, value)
        made = make(prompted_reranking_asset(RECIPE))
        assert (made.metadata["of"], made.metadata["model"]) == (RECIPE.of, "tiny")
        assert server.requests == []
        assert make(prompted_reranking_asset(RECIPE)).data_version == made.data_version
        ranked = make(_ranking_asset(RECIPE.name))
        asked = len(server.requests)
        path = paths.asset("rankings") / f"{RECIPE.name}.answers.json"
        facts = facts_of_json(json.loads(path.read_text()))
        assert facts.questions == asked > 0
        assert facts.valid == facts.shown
        # made again, from the answers that are kept in the workspace
        assert make(_ranking_asset(RECIPE.name)).data_version == ranked.data_version
        assert len(server.requests) == asked
    assert (paths.home / "llm_answers.sqlite").exists()
    assert not any(b"secret-key" in file.read_bytes() for file in paths.home.rglob("*") if file.is_file())
    known = facts_of(RECIPE.name, paths.recommender, REGISTRY, training_set.items)
    assert (known["kind"], known["fit_on"]) == ("language_model", FIT_ON_TRAIN)


def test_a_server_that_refuses_is_a_failure_in_one_sentence(
    lake: tuple[DatasetPaths, TrainingSet], monkeypatch: pytest.MonkeyPatch
) -> None:
    paths, training_set = lake
    with serve() as server:
        monkeypatch.setenv(URL, server.url)
        monkeypatch.setenv(MODEL, "tiny")
        make(prompted_reranking_asset(RECIPE))
        server.replies = [Reply({}, 401)] * 10
        with pytest.raises(dg.Failure) as failed:
            make(_ranking_asset(RECIPE.name))
    assert failed.value.description is not None
    assert failed.value.description.startswith(f"Small: {server.url} refused the key (status 401)")
    assert not (paths.asset("rankings") / f"{RECIPE.name}.parquet").exists()
    # without the environment, what was made says what to do
    monkeypatch.delenv(URL)
    with pytest.raises(NoModel, match="set RAW2RANK_LLM_URL"):
        load(paths, RECIPE.name, training_set.items).recommend(training_set.histories("test"), 5, True)


def test_without_a_model_a_set_leaves_it_out_and_a_name_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    assert RECIPE.name not in chosen_names(["knowledge"])
    (told,) = [sentence for sentence in left_out(["knowledge"]) if RECIPE.name in sentence]
    assert told.startswith("tiny_rerank is left out: no language model is configured: set RAW2RANK_LLM_URL and")
    with pytest.raises(NoModel, match="the recipe tiny_rerank: no language model is configured"):
        check_recipes([RECIPE.name])
    monkeypatch.setenv(URL, "http://127.0.0.1:1/v1")
    monkeypatch.setenv(MODEL, "tiny")
    assert RECIPE.name in chosen_names(["knowledge"])
    assert not any(RECIPE.name in sentence for sentence in left_out(["knowledge"]))
    check_recipes([RECIPE.name])


def test_what_it_re_ranks_is_chosen_with_it_or_it_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    of_a_model = RerankRecipe(*("tiny_rerank", "Tiny", "none", "", "slow", "tiny_softmax"), endpoint=True)
    monkeypatch.setattr(recommenders, "language_models", lambda: {of_a_model.name: of_a_model})
    monkeypatch.setenv(URL, "http://127.0.0.1:1/v1")
    monkeypatch.setenv(MODEL, "tiny")
    assert of_a_model.name not in chosen_names(["slow"])
    assert "tiny_rerank is left out: it re-ranks tiny_softmax, which is not chosen" in left_out(["slow"])
    assert of_a_model.name in chosen_names(["slow", "quick"])
    assert of_a_model.name in chosen_names(["tiny_rerank", "tiny_softmax"])
    with pytest.raises(ValueError, match=r"a re-ranking by a language model.*add tiny_softmax to RECIPES"):
        check_recipes(["tiny_rerank"])


def test_it_is_compared_with_what_it_re_ranks() -> None:
    found = counterpart_of(RECIPE.name, REGISTRY)
    assert found is not None
    assert (found.family, found.plain) == ("language_models", "two_hop_graph")
    assert REGISTRY.built_on(RECIPE.name) == ("two_hop_graph",)
