"""Re-rankings by a language model: whose lists change, how, and what the answers were worth."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from alphabetical_model import AlphabeticalModel, candidates_of
from language_model_server import completion, serve
from recommender_factories import made_up_training_set

from ml.baselines.registry import BASELINES
from ml.config import TableError
from ml.data.training_set import TrainingSet
from ml.language_models.answers import KeptAnswers, NoAnswer, NoModel
from ml.language_models.recipe import LANGUAGE_MODELS, load_language_model
from ml.language_models.rerank_recipe import RerankRecipe
from ml.language_models.sources import KEY, MODEL, URL, connect, obstacle
from ml.recommender import NO_ITEM
from ml.recommenders.answer_biases import measure_answers
from ml.recommenders.answer_facts import AnswerFacts, facts_of_json
from ml.recommenders.prompted_reranking import PromptedReranking

RECIPE = RerankRecipe(
    *("tiny_rerank", "Tiny", "none", "for tests", "slow", "two_hop_graph"),
    endpoint=True,
    candidates=6,
    history=3,
    shuffles=2,
    users=0,
    token_budget=0,
)
_ENDPOINT = (URL, MODEL, KEY, "RAW2RANK_LLM_CACHE")


@pytest.fixture(autouse=True)
def nothing_configured(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in _ENDPOINT:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="module")
def training_set() -> TrainingSet:
    return made_up_training_set()


def reranked(
    training_set: TrainingSet, model: AlphabeticalModel, recipe: RerankRecipe = RECIPE, seed: int = 0
) -> PromptedReranking:
    part = BASELINES[recipe.of].create(0)
    return PromptedReranking(recipe, part, seed=seed, client=model, kept=KeptAnswers()).fit(training_set)


def by_item(training_set: TrainingSet, best: list[int]) -> AlphabeticalModel:
    """A model that ranks candidates by a list of items, whatever it is shown first; titles tell items apart."""
    place = {f"item {item}": rank for rank, item in enumerate(best)}

    def says(prompt: str) -> str:
        shown = candidates_of(prompt)
        return "\n".join(f"[{number}]" for number in sorted(shown, key=lambda one: place[shown[one]]))

    return AlphabeticalModel(says)


@pytest.fixture(scope="module")
def numbered(training_set: TrainingSet) -> TrainingSet:
    return training_set.with_text([f"item {item}" for item in range(training_set.items)])


def test_candidates_stand_in_the_order_of_the_model_and_others_behind_them(numbered: TrainingSet) -> None:
    histories = numbered.histories("test")
    model = by_item(numbered, list(range(numbered.items))[::-1])
    recommender = reranked(numbered, model)
    base = recommender.part.recommend(histories, 12, True).items
    found = recommender.recommend(histories, 12, True)
    has_history = histories.lengths > 0
    np.testing.assert_array_equal(found.items[:, 6:], base[:, 6:])
    np.testing.assert_array_equal(found.items[has_history, :6], -np.sort(-base[has_history, :6], axis=1))
    # there is nothing to say of an empty history
    np.testing.assert_array_equal(found.items[~has_history], base[~has_history])
    assert (~has_history).any()
    assert len(model.asked) == len(set(model.asked))


def test_items_without_a_title_keep_their_places(training_set: TrainingSet) -> None:
    histories, model = training_set.histories("test"), AlphabeticalModel()
    # item 0 is popular, and has none
    untitled = training_set.with_text(["!", *(f"item {item}" for item in range(1, training_set.items))])
    recommender = reranked(untitled, model)
    base = recommender.part.recommend(histories, 6, False).items
    found = recommender.recommend(histories, 6, False).items
    assert (base == 0).any()
    np.testing.assert_array_equal(found == 0, base == 0)
    assert (found != base).any()
    assert not any("!" in line for prompt in model.asked for line in prompt.splitlines())
    # histories of that item alone are not asked about
    only = np.flatnonzero([set(histories[row].tolist()) <= {0} for row in range(len(histories))])
    np.testing.assert_array_equal(found[only], base[only])


def test_an_answer_that_says_nothing_changes_nothing(training_set: TrainingSet) -> None:
    histories = training_set.histories("test")
    recommender = reranked(training_set, AlphabeticalModel(lambda _: "1. Golden hammer\n[99]\nI am sorry."))
    base = recommender.part.recommend(histories, 10, False).items
    np.testing.assert_array_equal(recommender.recommend(histories, 10, False).items, base)


def test_shuffles_average_a_bias_for_places_away(numbered: TrainingSet) -> None:
    """A model that repeats the order of the prompt is noise around the order of the part."""
    repeats = AlphabeticalModel(lambda prompt: "\n".join(f"[{number}]" for number in candidates_of(prompt)))
    histories = numbered.histories("test")
    for shuffles in (1, 60):
        recommender = reranked(numbered, repeats, replace(RECIPE, shuffles=shuffles))
        asked = recommender.ask(histories, recommender.candidates(histories, 6, False))
        spread = np.mean([np.std(np.mean([turn.ranks() for turn in each.turns], axis=0)) for each in asked])
        assert spread == pytest.approx(np.std(np.arange(6)) / np.sqrt(shuffles), rel=0.1)


def test_some_users_are_asked_for_and_the_seed_draws_them(training_set: TrainingSet) -> None:
    histories = training_set.histories("test")
    recipe = replace(RECIPE, users=20)

    def rows(seed: int) -> set[int]:
        recommender = reranked(training_set, AlphabeticalModel(), recipe, seed)
        return {each.row for each in recommender.ask(histories, recommender.candidates(histories, 6, False))}

    assert 8 < len(rows(0)) < 32
    assert rows(0) == rows(0) != rows(1)


def test_behind_the_budget_lists_stay_as_they_came(training_set: TrainingSet) -> None:
    histories, model = training_set.histories("test"), AlphabeticalModel()
    recommender = reranked(training_set, model, replace(RECIPE, token_budget=5000))
    base = recommender.part.recommend(histories, 10, False).items
    found = recommender.recommend(histories, 10, False).items
    facts = measure_answers(recommender, training_set, exclude_seen=False)
    assert 0 < facts.asked < facts.asked + facts.behind_budget
    assert facts.tokens_read + facts.tokens_written <= 5000
    # once each: measuring asked nothing new
    assert facts.questions == len(model.asked)
    changed = np.flatnonzero((found != base).any(axis=1))
    assert len(changed) <= facts.asked
    np.testing.assert_array_equal(recommender.recommend(histories, 10, False).items, found)


# what the answers were worth


def test_a_model_that_repeats_the_prompt_has_a_bias_for_places(numbered: TrainingSet) -> None:
    repeats = AlphabeticalModel(lambda prompt: "\n".join(f"[{number}]" for number in candidates_of(prompt)))
    facts = measure_answers(reranked(numbered, repeats), numbered, exclude_seen=False)
    assert facts.position is not None
    assert facts.position.mean == pytest.approx(1)
    assert facts.rank_by_place == (1, 2, 3, 4, 5, 6)
    assert facts.valid == facts.shown == 6 * facts.questions
    assert (facts.missing, facts.hallucinated, facts.wrong_numbers, facts.repeated, facts.unusable) == (0,) * 5


def test_a_model_that_likes_popular_items_has_a_bias_for_them_and_none_for_places(numbered: TrainingSet) -> None:
    counts = np.bincount(numbered.train.items, minlength=numbered.items)
    by_popularity = np.argsort(-counts, kind="stable").tolist()
    facts = measure_answers(reranked(numbered, by_item(numbered, by_popularity)), numbered, exclude_seen=False)
    assert facts.popularity is not None
    assert facts.popularity_of_part is not None
    assert facts.popularity_difference is not None
    assert facts.first is not None
    assert facts.position is not None
    assert facts.popularity.mean > 0.95
    assert facts.popularity.mean - facts.popularity_of_part.mean == pytest.approx(facts.popularity_difference.mean)
    assert facts.first.mean > 0.9
    assert abs(facts.position.mean) < 0.15
    unpopular = measure_answers(reranked(numbered, by_item(numbered, by_popularity[::-1])), numbered, False)
    assert unpopular.popularity is not None
    assert unpopular.popularity.mean < -0.95


def test_nonsense_is_counted_and_leaves_accuracy_as_it_was(training_set: TrainingSet) -> None:
    nonsense = AlphabeticalModel(lambda _: "1. Golden hammer\n[99]")
    facts = measure_answers(reranked(training_set, nonsense), training_set, exclude_seen=False)
    assert (facts.valid, facts.missing) == (0, facts.shown)
    assert facts.unusable == facts.hallucinated == facts.wrong_numbers == facts.questions > 0
    assert facts.position is None
    assert facts.rank_by_place == (None,) * 6
    assert facts.ndcg == facts.ndcg_of_part
    assert facts.p_value == 1


def test_a_model_that_knows_the_targets_is_better(numbered: TrainingSet) -> None:
    """The targets of the model are those that the accuracy is measured by, and only of what was asked for."""
    histories, targets = numbered.histories("test"), numbered.test_targets
    base = BASELINES["two_hop_graph"].create(0).fit(numbered).recommend(histories, 6, False).items
    held = (base == targets[:, None]).any(axis=1)
    recommender = reranked(numbered, AlphabeticalModel())
    asked = recommender.ask(histories, recommender.candidates(histories, 6, False))
    answers = {}
    for each in asked:
        for turn in each.turns:
            shown = each.candidates[turn.shown].tolist()
            target = int(targets[each.row])
            answers[tuple(shown), each.row] = shown.index(target) + 1 if target in shown else 1
    cases = iter(
        [answers[tuple(each.candidates[turn.shown].tolist()), each.row] for each in asked for turn in each.turns]
    )
    recommender = reranked(numbered, AlphabeticalModel(lambda _: f"[{next(cases)}]", identity="oracle"))
    facts = measure_answers(recommender, numbered, exclude_seen=False)
    assert facts.ndcg is not None
    assert facts.ndcg_of_part is not None
    assert facts.ndcg > facts.ndcg_of_part
    assert facts.first_of_targets is not None
    assert facts.first_of_targets.histories == sum(held[each.row] for each in asked)


def test_facts_go_through_json(training_set: TrainingSet) -> None:
    recipe = replace(RECIPE, price_of_a_million_read=2.0, price_of_a_million_written=8.0)
    facts = measure_answers(reranked(training_set, AlphabeticalModel(), recipe), training_set, exclude_seen=True)
    assert facts.cost == pytest.approx((2 * facts.tokens_read + 8 * facts.tokens_written) / 1e6)
    assert facts_of_json(json.loads(json.dumps(facts.as_json()))) == facts
    assert isinstance(facts, AnswerFacts)


# the model that is asked


def test_without_a_model_it_is_refused_with_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "set RAW2RANK_LLM_URL and RAW2RANK_LLM_MODEL" in obstacle(RECIPE, tmp_path)
    monkeypatch.setenv(URL, "http://127.0.0.1:1/v1")
    assert "set RAW2RANK_LLM_MODEL" in obstacle(RECIPE, tmp_path)
    with pytest.raises(NoModel, match="recipe tiny_rerank: no language model is configured"):
        connect(RECIPE, tmp_path)
    local = replace(RECIPE, endpoint=False, model_folder="model")
    with pytest.raises(NoModel, match=r"there is no folder .*model"):
        connect(local, tmp_path)


def test_a_server_is_named_by_the_environment_and_its_key_is_written_nowhere(
    training_set: TrainingSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serve() as server:
        for name, value in zip(_ENDPOINT, (server.url, "tiny", "secret-key", tmp_path / "kept"), strict=True):
            monkeypatch.setenv(name, str(value))
        histories = training_set.histories("test")
        recommender = PromptedReranking(RECIPE, BASELINES[RECIPE.of].create(0)).fit(training_set)
        assert server.requests == []
        found = recommender.recommend(histories, 10, True)
        asked = len(server.requests)
        (tmp_path / "saved").mkdir()
        recommender.save(tmp_path / "saved")
        written = [path for path in tmp_path.rglob("*") if path.is_file()]
        assert not any(b"secret-key" in path.read_bytes() for path in written)
        assert not any(server.url.encode() in path.read_bytes() for path in written)
        # another process finds the answers
        again = PromptedReranking.load(tmp_path / "saved")
        np.testing.assert_array_equal(again.recommend(histories, 10, True).items, found.items)
        assert len(server.requests) == asked
        monkeypatch.setenv(MODEL, "another")
        with pytest.raises(NoModel, match="made with the model tiny, and another is configured now"):
            PromptedReranking.load(tmp_path / "saved").recommend(histories, 10, True)


def test_an_interrupted_ranking_goes_on_where_it_stopped(
    training_set: TrainingSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    histories = training_set.histories("test")
    with serve() as server:
        for name, value in zip(_ENDPOINT, (server.url, "tiny", "", tmp_path / "kept"), strict=True):
            monkeypatch.setenv(name, str(value))
        recipe = replace(RECIPE, concurrency=1, retries=0)
        server.replies = [completion("[1]")] * 10 + [replace(completion(""), status=500)]
        recommender = PromptedReranking(recipe, BASELINES[recipe.of].create(0)).fit(training_set)
        with pytest.raises(NoAnswer, match="answers so far are kept"):
            recommender.recommend(histories, 10, True)
        found = recommender.recommend(histories, 10, True)
        assert (found.items[:, 0] != NO_ITEM).all()
        bodies = [body["messages"][0]["content"] for _, body in server.requests]
        # the refused one alone was asked twice
        assert len(bodies) == len(set(bodies)) + 1


def test_a_local_model_is_asked_without_a_server(
    training_set: TrainingSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch = pytest.importorskip("torch")
    pytest.importorskip("transformers")
    from ml.language_models.generator import fresh_generator
    from ml.language_models.recipe import GeneratorSettings

    torch.manual_seed(0)
    (tmp_path / "model").mkdir()
    assert training_set.item_text is not None
    sizes = GeneratorSettings(vocabulary=290, dimensions=16, layers=1, heads=2)
    fresh_generator(sizes, training_set.item_text, 1200).save(tmp_path / "model")
    monkeypatch.setenv("RAW2RANK_LLM_CACHE", str(tmp_path / "kept"))
    recipe = replace(RECIPE, endpoint=False, model_folder="model", answer_tokens=8, users=5)

    def ranked(recipe: RerankRecipe) -> tuple[np.ndarray, AnswerFacts]:
        recommender = PromptedReranking(recipe, BASELINES[recipe.of].create(0), recipes=tmp_path).fit(training_set)
        facts = measure_answers(recommender, training_set, exclude_seen=False)
        return recommender.recommend(training_set.histories("test"), 10, False).items, facts

    items, facts = ranked(recipe)
    assert facts.model == "model"
    assert facts.questions > 0
    assert facts.tokens_counted
    # the same without the answers that are kept
    (tmp_path / "kept").unlink()
    again, facts_again = ranked(recipe)
    np.testing.assert_array_equal(items, again)
    assert facts_again == facts
    with pytest.raises(NoAnswer, match=r"reads 1200 tokens.*lower candidates"):
        ranked(replace(recipe, answer_tokens=1200))


# recipes


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ("", "name one model to ask"),
        ('endpoint = true\nmodel_folder = "model"', "name one model to ask"),
        ("endpoint = true\ncandidates = 1", "candidates must be at least 2"),
        ("endpoint = true\nshuffles = 0", "shuffles must be at least 1"),
        ("endpoint = true\ntoken_budget = -1", "token_budget must be at least 0"),
        ("endpoint = true\ntimeout_seconds = 0", "timeout_seconds must be above 0"),
        ('endpoint = true\nprompt = "polite"', "prompt must be one of"),
        ('endpoint = true\nkey = "secret"', "unknown key key"),
    ],
)
def test_what_a_recipe_may_not_say_is_refused_by_its_file(tmp_path: Path, changes: str, message: str) -> None:
    path = tmp_path / "wrong.toml"
    words = "\n".join(f'{name} = "slow"' for name in ("title", "source", "notes", "set", "of"))
    path.write_text(f'method = "rerank"\n{words}\n{changes}\n')
    with pytest.raises(TableError, match=rf"wrong\.toml: .*{message}"):
        load_language_model(path)


def test_the_digest_is_of_what_decides_lists() -> None:
    recipe = load_language_model(LANGUAGE_MODELS / "llm_rerank.toml")
    assert isinstance(recipe, RerankRecipe)
    for changes in (
        {"title": "x"},
        {"set": "full"},
        {"concurrency": 1},
        {"retries": 0},
        {"price_of_a_million_read": 1.0},
    ):
        assert replace(recipe, **changes).digest() == recipe.digest()
    for changes in (
        {"of": "two_hop_graph"},
        {"shuffles": 1},
        {"prompt": "sequential"},
        {"token_budget": 5},
        {"users": 7},
    ):
        assert replace(recipe, **changes).digest() != recipe.digest()
