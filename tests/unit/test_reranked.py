"""Re-ranking as a recommender: which goal and tradeoff it takes, and what it does with its part."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from recommender_factories import made_up_training_set

from ml.baselines.registry import BASELINES
from ml.beyond_accuracy.goals import GOALS, GoalOnData, GoalUnavailable, goal_on
from ml.data.files import DamagedFile
from ml.data.sequences import Sequences
from ml.data.training_set import FIT_ON_BOTH, FIT_ON_TRAIN, TrainingSet
from ml.fusion.recipe import FusionRecipe
from ml.recommender import NO_ITEM, RERANKING, Recommendations
from ml.recommenders.facts import FIT, facts_of
from ml.recommenders.fit import Conditions, fit
from ml.recommenders.fused import FusedRecommender, NoValidationLists, validation_lists
from ml.recommenders.load import load
from ml.recommenders.registry import Registry
from ml.recommenders.reranked import CUT_OFF, TRADEOFFS, Reranked, choose_tradeoff, first_goal
from ml.reports.content.evaluation import LeaderboardRow
from ml.reports.words.recommenders import described
from ml.reproduction import fit as reproduction
from ml.reranking.recipe import WITHOUT_VALIDATION, RerankingRecipe
from ml.reranking.rerank import rerank

BY_TEXT = RerankingRecipe(
    "by_text", "By text", "none", "", "quick", "bm25_last_item", "mmr", ("text_diversity",), "validation", 20
)


@pytest.fixture(scope="module")
def training_set() -> TrainingSet:
    return made_up_training_set()


def reranked(recipe: RerankingRecipe, training_set: TrainingSet) -> Reranked:
    return Reranked(recipe, BASELINES[recipe.of].create(0)).fit(training_set)


# ---- the choice of a tradeoff


@st.composite
def validations(draw: st.DrawFn) -> tuple[Recommendations, np.ndarray, GoalOnData, RerankingRecipe]:
    """Lists of some validation users, their targets, a goal, and a re-ranking of these lists."""
    random = np.random.default_rng(draw(st.integers(0, 10_000)))
    rows, width, items = draw(st.integers(1, 12)), draw(st.integers(12, 25)), 30
    lists = np.argsort(random.random((rows, items)), axis=1)[:, :width].astype(np.int32)
    scores = -np.sort(-random.random((rows, width)), axis=1).astype(np.float32)
    # targets stand high in most lists
    targets = lists[np.arange(rows), np.minimum(random.geometric(0.3, rows) - 1, width - 1)]
    method, goal = draw(st.sampled_from([("mmr", "category_diversity"), ("greedy", "popularity")]))
    if goal == "popularity":
        on = GoalOnData(GOALS[goal], None, random.random(items).astype(np.float32))
    else:
        on = GoalOnData(GOALS[goal], np.eye(4, dtype=np.float32)[random.integers(0, 4, items)], None)
    loss = draw(st.sampled_from([0.0, 0.05, 0.5, 1.0]))
    return (
        Recommendations(lists, scores),
        targets,
        on,
        replace(BY_TEXT, method=method, goals=(goal,), largest_loss=loss),
    )


def slow_ndcg(lists: np.ndarray, targets: np.ndarray) -> float:
    gains = [
        1 / np.log2(row.tolist().index(target) + 2) if target in row else 0.0
        for row, target in zip(lists, targets, strict=True)
    ]
    return sum(gains) / len(gains)


@settings(max_examples=60, deadline=None)
@given(validations())
def test_the_chosen_tradeoff_has_the_most_of_the_goal_within_the_largest_loss(validation):
    lists, targets, on, recipe = validation
    nobody = Sequences.empty(len(targets))
    chosen = choose_tradeoff(lists, targets, nobody, recipe, on)
    cut = Recommendations(lists.items[:, : recipe.candidates], lists.scores[:, : recipe.candidates])
    found = [rerank(cut, CUT_OFF, recipe.method, tradeoff, on, nobody) for tradeoff in TRADEOFFS]
    accuracy = [slow_ndcg(one, targets) for one in found]
    goal = [float(on.measure(one, nobody).mean()) for one in found]
    np.testing.assert_allclose(chosen.validation_ndcg_at_10, accuracy)
    np.testing.assert_allclose(chosen.validation_goal_at_10, goal)
    sign = 1 if on.goal.higher_is_better else -1
    allowed = [place for place in range(11) if accuracy[place] >= (1 - recipe.largest_loss) * accuracy[0]]
    place = TRADEOFFS.index(chosen.tradeoff)
    assert place in allowed
    assert all(sign * goal[place] >= sign * goal[other] for other in allowed)
    # the smallest of equal ones
    assert all(sign * goal[place] > sign * goal[other] for other in allowed if other < place)


def test_a_goal_that_is_undefined_for_all_lists_gives_no_tradeoff():
    lists = Recommendations(np.arange(12, dtype=np.int32)[None], -np.arange(12, dtype=np.float32)[None])
    on = GoalOnData(GOALS["category_diversity"], np.zeros((12, 2), np.float32), None)
    recipe = replace(BY_TEXT, goals=("category_diversity",), largest_loss=1.0)
    chosen = choose_tradeoff(lists, np.array([0]), Sequences.empty(1), recipe, on)
    assert chosen.tradeoff == 0
    assert set(chosen.validation_goal_at_10) == {None}


def test_without_validation_users_a_fixed_tradeoff_is_taken(training_set):
    nobody = replace(training_set, validation_users=training_set.validation_users[:0],
                     validation_targets=training_set.validation_targets[:0])  # fmt: skip
    made = reranked(BY_TEXT, nobody)
    assert made.reranking.tradeoff == WITHOUT_VALIDATION == 0.3
    assert made.chosen is None
    assert made.facts() == {}
    assert reranked(replace(BY_TEXT, tradeoff=0.8), training_set).reranking.tradeoff == 0.8


def test_validation_lists_are_those_that_a_trained_part_kept(training_set):
    """A part that was fitted on the validation items too has seen the targets: its new lists would not do."""

    class Kept:
        validation_lists = Recommendations(
            np.tile(np.arange(20, dtype=np.int32), (len(training_set.validation_users), 1)),
            np.tile(-np.arange(20, dtype=np.float32), (len(training_set.validation_users), 1)),
        )

        def recommend(self, *_):
            raise AssertionError("the lists that were kept are there")

    recipe = replace(BY_TEXT, of="trained")
    made = Reranked(recipe, Kept()).choose(training_set)
    on = goal_on("text_diversity", training_set)
    histories = training_set.histories("validation")
    expected = choose_tradeoff(Kept.validation_lists, training_set.validation_targets, histories, recipe, on)
    assert made.chosen == expected


def test_more_candidates_than_a_trained_part_kept_are_asked_for_or_refused(training_set):
    users = len(training_set.validation_users)

    class Kept:
        validation_lists = Recommendations(
            np.tile(np.arange(20, dtype=np.int32), (users, 1)), np.tile(-np.arange(20, dtype=np.float32), (users, 1))
        )
        fit_on = FIT_ON_TRAIN

        def recommend(self, histories, k, exclude_seen):
            assert len(histories) == users
            return Recommendations(
                np.tile(np.arange(k, dtype=np.int32), (users, 1)), np.tile(-np.arange(k, dtype=np.float32), (users, 1))
            )

    recipe, part = replace(BY_TEXT, of="trained", candidates=30), Kept()
    made = Reranked(recipe, part).choose(training_set)
    on = goal_on("text_diversity", training_set)
    histories = training_set.histories("validation")
    lists = part.recommend(histories, 30, False)
    assert made.chosen == choose_tradeoff(lists, training_set.validation_targets, histories, recipe, on)
    # of a final fit that has seen the targets there are no others
    part.fit_on = FIT_ON_BOTH
    with pytest.raises(NoValidationLists, match=r"trained kept the best 20 items .* 30 are asked for: lower"):
        Reranked(recipe, part).choose(training_set)


def test_validation_lists_of_a_fusion_are_as_deep_as_those_it_recommends(training_set):
    parts = {name: BASELINES[name].create(0) for name in ("markov_chain", "most_popular")}
    fused = FusedRecommender(parts, 20).fit(training_set)
    found = validation_lists("fused", fused, training_set, 35, False, 0)
    expected = fused.recommend(training_set.histories("validation"), 35, False)
    np.testing.assert_array_equal(found.items, expected.items)
    np.testing.assert_array_equal(found.scores, expected.scores)


# ---- the choice of a goal


def test_the_first_goal_that_the_items_allow_is_taken(training_set):
    goals = ("category_diversity", "text_diversity", "co_occurrence_diversity")
    # the texts name no categories
    assert first_goal(goals, training_set).goal.name == "text_diversity"
    assert first_goal(goals, replace(training_set, item_text=None)).goal.name == "co_occurrence_diversity"
    assert reranked(replace(BY_TEXT, goals=goals), training_set).reranking.goal == "text_diversity"


def test_a_goal_that_the_items_do_not_allow_is_named_with_those_that_they_do(training_set):
    with pytest.raises(GoalUnavailable, match=r"Made_Up have no text, so the goal text_diversity .*co_occurrence_div"):
        reranked(replace(BY_TEXT, of="markov_chain"), replace(training_set, item_text=None))


# ---- lists


@pytest.mark.parametrize("k", [5, 20, 33])
def test_lists_are_those_of_the_method_and_then_of_the_part(training_set, k):
    made = reranked(replace(BY_TEXT, tradeoff=0.7), training_set)
    histories = training_set.histories("test")
    found = made.recommend(histories, k, exclude_seen=False)
    plain = BASELINES["bm25_last_item"].create(0).fit(training_set).recommend(histories, 40, exclude_seen=False)
    first = Recommendations(plain.items[:, :20], plain.scores[:, :20])
    expected = rerank(first, 20, "mmr", 0.7, goal_on("text_diversity", training_set), histories)
    np.testing.assert_array_equal(found.items[:, : min(k, 20)], expected[:, :k])
    np.testing.assert_array_equal(found.items[:, 20:], plain.items[:, 20:k])
    np.testing.assert_array_equal(found.scores[0], (1 / np.arange(1, k + 1)).astype(np.float32))
    assert (found.items != plain.items[:, :k]).any()


def test_with_the_tradeoff_0_lists_are_those_of_the_part(training_set):
    made = reranked(replace(BY_TEXT, tradeoff=0.0), training_set)
    histories = training_set.histories("test")
    plain = BASELINES["bm25_last_item"].create(0).fit(training_set).recommend(histories, 40, exclude_seen=True)
    np.testing.assert_array_equal(made.recommend(histories, 40, exclude_seen=True).items, plain.items)


def test_fewer_candidates_than_asked_for_give_shorter_lists(training_set):
    made = reranked(replace(BY_TEXT, tradeoff=0.5), training_set)
    nearly_all = Sequences.from_lists([np.arange(training_set.items - 3)])
    found = made.recommend(nearly_all, 10, exclude_seen=True).items[0]
    assert sorted(found.tolist()) == [NO_ITEM] * 7 + [37, 38, 39]


def test_nothing_is_recommended_or_saved_before_fit(tmp_path):
    made = Reranked(BY_TEXT, BASELINES["bm25_last_item"].create(0))
    for call in (lambda: made.recommend(Sequences.empty(1), 5, False), lambda: made.save(tmp_path)):
        with pytest.raises(RuntimeError, match="has no goal: call fit or load first"):
            call()


def test_what_was_not_saved_whole_is_named(training_set, tmp_path):
    reranked(BY_TEXT, training_set).save(tmp_path)
    (tmp_path / "vectors.npy").write_bytes(b"nothing")
    with pytest.raises(DamagedFile, match=str(tmp_path)):
        Reranked.load(tmp_path)


# ---- by name

FUSION = FusionRecipe("both", "Both", "none", "", "quick", ("markov_chain", "bm25_last_item"), 20)
OF_FUSION = replace(BY_TEXT, name="mmr_of_both", of="both")


@pytest.fixture(scope="module")
def registry() -> Registry:
    return Registry(recipes={}, fusions={"both": FUSION}, rerankings={"mmr_of_both": OF_FUSION, "by_text": BY_TEXT})


def test_the_parts_of_a_re_ranking_stand_behind_their_own_parts(registry):
    assert registry.kind_of("mmr_of_both") == RERANKING
    assert registry.parts_of("mmr_of_both") == ("markov_chain", "bm25_last_item", "both")
    assert registry.parts_of("by_text") == ("bm25_last_item",)


def test_a_re_ranking_of_a_fusion_is_fitted_loaded_and_described_by_its_name(registry, training_set, tmp_path):
    fitted: dict = {}
    made = fit("mmr_of_both", training_set, Conditions(seed=2), registry, fitted)
    assert set(fitted) == {"markov_chain", "bm25_last_item", "both", "mmr_of_both"}
    for name, one in fitted.items():
        (tmp_path / name).mkdir()
        if name == "mmr_of_both":
            one.save_choice(tmp_path / name)
        else:
            one.save(tmp_path / name)
        (tmp_path / name / FIT).write_text('{"fit_on": "train"}')
    loaded = load("mmr_of_both", tmp_path.joinpath, registry, training_set.items)
    histories = training_set.histories("test")
    expected = made.recommend(histories, 10, exclude_seen=True)
    np.testing.assert_array_equal(loaded.recommend(histories, 10, exclude_seen=True).items, expected.items)
    facts = facts_of("mmr_of_both", tmp_path.joinpath, registry, training_set.items)
    assert facts["kind"] == RERANKING
    of_fusion = facts_of("both", tmp_path.joinpath, registry, training_set.items)
    vectors = (tmp_path / "mmr_of_both" / "vectors.npy").stat().st_size
    assert facts["model_bytes"] == of_fusion["model_bytes"] + vectors


def test_a_re_ranking_is_fitted_after_its_parts(registry, monkeypatch):
    monkeypatch.setattr(reproduction, "_known", lambda: registry)
    fits = [reproduction.Fit(name, "train", 0, "ndcg@10") for name in ("mmr_of_both", "both", "markov_chain")]
    assert [one.recommender for one in sorted(fits, key=reproduction._stage)] == ["markov_chain", "both", "mmr_of_both"]


# ---- in the report


def test_the_report_says_what_is_re_ranked_how_and_for_which_goal(training_set, tmp_path):
    folder = tmp_path / "models" / "by_text"
    folder.mkdir(parents=True)
    made = reranked(BY_TEXT, training_set)
    made.save_choice(folder)
    row = LeaderboardRow({"recommender": "by_text", "title": "By text", "kind": RERANKING, "finding": None})
    assert row.trained
    assert row.reranked
    assert not row.fused
    assert not row.is_model
    (found,) = described(tmp_path, (row,))
    assert found.text.startswith("Re-ranks the lists of bm25_last_item. Each place goes to")
    assert found.text.endswith("Goal: intra-list distance by text.")
    assert found.source == "Carbonell and Goldstein, SIGIR 1998"
    assert dict(found.settings) == {
        "of": "bm25_last_item",
        "method": "mmr",
        "goal": "text_diversity",
        "tradeoff": f"{made.reranking.tradeoff:g}, chosen on the validation users",
        "candidates": "20",
        "seed": "0",
    }
    # a folder that is not there is no reason to fail
    assert described(tmp_path / "elsewhere", (row,))[0].text == ""


def test_what_is_saved_is_readable(training_set, tmp_path: Path):
    made = reranked(BY_TEXT, training_set)
    made.save_choice(tmp_path)
    written = json.loads((tmp_path / "reranking.json").read_text())
    assert written["tradeoffs"] == list(TRADEOFFS)
    assert len(written["validation ndcg@10"]) == len(written["validation text_diversity@10"]) == 11
    assert written["recipe"]["goals"] == ["text_diversity"]
