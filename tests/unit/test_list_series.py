"""What is made into series that trade accuracy for a goal: re-rankings, and recommenders of one point each."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from alignment_toys import student_recipe, trained_student, world
from alignment_toys import toy_recipe as aligned_recipe
from teaching_toys import lists_recipe
from trade_off_toys import training_set

from ml.alignment.align import align
from ml.baselines.registry import BASELINES
from ml.beyond_accuracy.goals import goal_on
from ml.data.training_set import FIT_ON_BOTH
from ml.evaluation.trade_offs.compare import compare_series
from ml.recommender import Recommender
from ml.recommenders import list_series as module
from ml.recommenders.aligned import AlignedRecommender
from ml.recommenders.list_series import Fitted, ListsOfRecommenders, list_series
from ml.recommenders.registry import Registry
from ml.recommenders.reranked import Reranked
from ml.reranking.recipe import RerankingRecipe
from ml.training.sequential_recommender import SequentialRecommender

DATA = training_set()
OF = "markov_chain"


def recipe(name: str, **changes) -> RerankingRecipe:
    made = RerankingRecipe(
        name, name, "none", "", "beyond_accuracy", OF, "mmr", ("category_diversity",), "validation", 30
    )  # fmt: skip
    return replace(made, **changes)


class Counted:
    """A baseline that counts how often it is asked, and for how many users."""

    def __init__(self, name: str, data=DATA) -> None:
        self.fitted = BASELINES[name].create().fit(data)
        self.asked: list[int] = []

    def recommend(self, histories, k, exclude_seen):
        self.asked.append(len(histories))
        return self.fitted.recommend(histories, k, exclude_seen)


def fitted_of(*recipes: RerankingRecipe, data=DATA, recommender: Recommender | None = None, **options) -> Fitted:
    registry = Registry({}, {}, {}, {one.name: one for one in recipes})
    made = recommender or BASELINES[OF].create().fit(data)
    return Fitted(data, registry, lambda name: made, lambda name: BASELINES[name].title, **options)


def test_a_re_ranking_is_a_series_for_each_of_its_goals():
    of_two = recipe("mmr", goals=("category_diversity", "co_occurrence_diversity"))
    found = list_series(["mmr", "markov_chain"], fitted_of(of_two))
    assert [(one.name, one.goal, one.kind) for one in found] == [
        ("mmr", "category_diversity", "re-ranking"),
        ("mmr", "co_occurrence_diversity", "re-ranking"),
    ]
    assert found[0].title == f"MMR of {BASELINES[OF].title}"
    assert found[0].start == BASELINES[OF].title
    assert found[0].tradeoffs == tuple(tenths / 10 for tenths in range(11))


def test_re_rankings_that_differ_in_their_tradeoff_are_one_series():
    recipes = [recipe("at_0.3", tradeoff=0.3), recipe("chosen"), recipe("deeper", candidates=40)]
    found = list_series([one.name for one in recipes], fitted_of(*recipes))
    assert [one.name for one in found] == ["chosen", "deeper"]


def test_what_no_goal_measures_is_no_series():
    calibrated = recipe("calibrated", method="calibration")
    assert list_series(["calibrated"], fitted_of(calibrated)) == []
    assert list_series([], fitted_of()) == []


@pytest.mark.parametrize("exclude_seen", [False, True])
@pytest.mark.parametrize("method", ["mmr", "greedy", "sog"])
def test_lists_are_those_of_the_re_ranking_as_a_recommender(method, exclude_seen):
    own = recipe("own", method=method, tradeoff=0.3)
    (series,) = list_series(["own"], fitted_of(own, exclude_seen=exclude_seen))
    reranked = Reranked(own, BASELINES[OF].create(), exclude_seen=exclude_seen).fit(DATA)
    for split in ("test", "validation"):
        expected = reranked.recommend(DATA.histories(split), 10, exclude_seen).items
        np.testing.assert_array_equal(series.lists(3, split, 10), expected)
    # at 0 the list is that of the part
    part = BASELINES[OF].create().fit(DATA).recommend(DATA.histories("test"), 10, exclude_seen).items
    np.testing.assert_array_equal(series.lists(0, "test", 10), part)


def test_candidates_are_asked_for_once():
    counted = Counted(OF)
    recipes = [recipe("mmr", goals=("category_diversity", "text_diversity")), recipe("sog", method="sog")]
    found = list_series(["mmr", "sog"], fitted_of(*recipes, recommender=counted))
    for series in found:
        for place in range(11):
            series.lists(place, "test", 10)
    assert sum(counted.asked) == len(DATA.test_users)


def test_blocks_of_users_change_nothing(monkeypatch):
    own = recipe("own")
    whole = list_series(["own"], fitted_of(own))[0].lists(5, "test", 10)
    monkeypatch.setattr(module, "_BLOCK", 7)
    np.testing.assert_array_equal(list_series(["own"], fitted_of(own))[0].lists(5, "test", 10), whole)


def test_validation_lists_are_of_a_fit_on_the_training_items_alone():
    """A baseline that was finally fitted on the validation items too is fitted anew for the validation users."""
    own = recipe("own")
    both = BASELINES[OF].create().fit(DATA.to_fit_on(FIT_ON_BOTH))
    (series,) = list_series(["own"], fitted_of(own, recommender=both, fit_on=FIT_ON_BOTH))
    alone = BASELINES[OF].create().fit(DATA).recommend(DATA.histories("validation"), 10, False).items
    np.testing.assert_array_equal(series.lists(0, "validation", 10), alone)


def test_recommenders_are_the_points_of_a_series():
    names = ("most_popular", "markov_chain")
    made = [BASELINES[name].create().fit(DATA) for name in names]
    described = ("ppo", "PPO", "aligned policies", "popularity", "Student", "weight", (0.0, 2.5))
    recommenders = [lambda: made[0], lambda: made[1]]
    series = ListsOfRecommenders(*described, recommenders, fitted_of())
    for place, recommender in enumerate(made):
        for split in ("test", "validation"):
            expected = recommender.recommend(DATA.histories(split), 10, False).items
            np.testing.assert_array_equal(series.lists(place, split, 10), expected)
    both = ListsOfRecommenders(*described, recommenders, fitted_of(fit_on=FIT_ON_BOTH))
    assert both.lists(0, "validation", 10) is None, "it was fitted on their held-out items"
    found = compare_series([[both]], DATA, resamples=50)
    assert found.series[0].bought is None
    assert [point.tradeoff for point in found.series[0].points] == [0, 2.5]


class Taught:
    """A student that recommends one or the other baseline."""

    def __init__(self, by_tradeoff) -> None:
        self.by_tradeoff = by_tradeoff

    def at_tradeoff(self, tradeoff):
        return self.by_tradeoff[tradeoff]


def test_a_student_that_was_taught_several_tradeoffs_is_a_series():
    teaching = {
        "front": lists_recipe(tradeoffs=(0.0, 0.4), method="greedy", goals=("category_diversity", "popularity")),
        "plain": lists_recipe(),
        "goal_alone": lists_recipe(tradeoffs=(0.5, 1.0), method="greedy", goals=("popularity",)),
    }
    known = {name: replace(student_recipe(), name=name, teacher_lists=name) for name in teaching}
    known["untaught"] = student_recipe()
    made = {0.0: BASELINES[OF].create().fit(DATA), 0.4: BASELINES["random"].create().fit(DATA)}
    bare = replace(DATA, item_text=None)
    registry = Registry(known, {}, {}, {}, teaching)
    fitted = Fitted(bare, registry, lambda name: Taught(made), str.title)
    (series,) = list_series([*known], fitted)
    assert (series.name, series.kind, series.goal, series.tradeoffs) == ("front", "student", "popularity", (0.0, 0.4))
    for place, tradeoff in enumerate(series.tradeoffs):
        expected = made[tradeoff].recommend(DATA.histories("test"), 10, False).items
        np.testing.assert_array_equal(series.lists(place, "test", 10), expected)


def test_an_alignment_is_a_series_of_its_student_and_its_policies(tmp_path):
    data = world(
        [[user % 6, (user + 1) % 6, (user + 2) % 6] for user in range(12)], 8, [user % 8 for user in range(12)]
    )
    student = trained_student(data, max_epochs=1)
    recipe = aligned_recipe(
        goals=("popularity",), weights=(0.0, 3.0), steps=2, validate_every=1, student=student.recipe.name
    )
    align(recipe, student, data, goal_on("popularity", data), tmp_path / "aligned")
    registry = Registry({}, {}, {}, alignments={"aligned": recipe})
    made = {student.recipe.name: student, "aligned": AlignedRecommender.load(tmp_path / "aligned")}
    fitted = Fitted(data, registry, made.__getitem__, str.title)
    (series,) = list_series(["aligned", "most_popular"], fitted)
    assert (series.title, series.start, series.goal, series.kind) == (
        "Aligned", student.recipe.name.title(), "popularity", "alignment",
    )  # fmt: skip
    assert (series.parameter, series.tradeoffs) == ("weight", (0.0, 0.0, 3.0))
    recommenders = [student, *(SequentialRecommender.load(tmp_path / "aligned" / "policies" / one) for one in "03")]
    for place, recommender in enumerate(recommenders):
        expected = recommender.recommend(data.histories("test"), 4, False).items
        np.testing.assert_array_equal(series.lists(place, "test", 4), expected)
    assert len(compare_series([[series]], data, resamples=50).series[0].points) == 3


def test_goals_that_the_items_cannot_have_are_left_out_and_the_others_compared():
    bare = replace(DATA, item_text=None)
    recipes = [
        recipe("mmr", goals=("category_diversity", "co_occurrence_diversity")),
        recipe("greedy", method="greedy", goals=("category_diversity", "popularity")),
    ]
    fitted = fitted_of(*recipes, data=bare)
    found = compare_series([[one] for one in list_series(["mmr", "greedy"], fitted)], bare, resamples=50)
    assert [(one.name, one.goal) for one in found.series] == [
        ("mmr", "co_occurrence_diversity"),
        ("greedy", "popularity"),
    ]
    (sentence,) = found.left_out
    assert "items of Made_Up have no categories" in sentence
    # at 0 all series of one part start from the same lists
    assert found.series[0].points[0].ndcg == found.series[1].points[0].ndcg
    assert found.examples.series == found.series[0].title
    assert len(found.examples.users) == 2
    assert all(len(user.before) == len(user.after) == 10 for user in found.examples.users)


def test_diversity_rises_and_popularity_falls_along_a_series():
    recipes = [recipe("mmr"), recipe("greedy", method="greedy", goals=("popularity",))]
    found = compare_series([[one] for one in list_series(["mmr", "greedy"], fitted_of(*recipes))], DATA, resamples=50)
    diversity, popularity = ([point.value.mean for point in one.points] for one in found.series)
    # it can be .889 at most: two items of each of five categories
    assert diversity[-1] > diversity[0]
    assert popularity[-1] < popularity[0] - 0.05


def test_a_catalogue_smaller_than_a_list_gives_shorter_lists():
    own = recipe("own")
    small = training_set(users=12, validation=6, items=8)
    (series,) = list_series(["own"], fitted_of(own, data=small))
    found = compare_series([[series]], small, resamples=50)
    assert len(found.series[0].points) == 11
    assert max(len(user.before) for user in found.examples.users) <= 8
