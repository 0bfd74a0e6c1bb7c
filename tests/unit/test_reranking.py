"""Re-ranking: against a slow reference in plain Python, and what must hold whatever the candidates are."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ml.beyond_accuracy.goals import GOALS, GoalOnData
from ml.config import TableError
from ml.data.sequences import Sequences
from ml.recommender import NO_ITEM, Recommendations
from ml.reranking import rerank as module
from ml.reranking.methods import METHODS
from ml.reranking.recipe import RERANKINGS, RerankingRecipe, load_rerankings
from ml.reranking.rerank import lists_at, rerank

ITEMS = 14
PAIRS = [(method.name, goal) for method in METHODS.values() for goal in method.goals]


@dataclass(frozen=True)
class Case:
    """Candidates of some users, and everything that is known of items and users."""

    candidates: Recommendations
    histories: Sequences
    on: GoalOnData
    popularity: np.ndarray
    method: str

    @property
    def rows(self) -> int:
        return len(self.candidates.items)

    def rerank(self, k: int, tradeoff: float, **options) -> np.ndarray:
        return rerank(
            self.candidates, k, self.method, tradeoff, self.on, self.histories, popularity=self.popularity, **options
        )


def vectors_of(labels: list[set[int]], number: int) -> np.ndarray:
    """Multi-hot vectors of length 1, or 0 for items without a label."""
    vectors = np.zeros((len(labels), number), np.float32)
    for item, own in enumerate(labels):
        for label in own:
            vectors[item, label] = 1 / math.sqrt(len(own))
    return vectors


def on_data(goal: str, vectors: np.ndarray, popularity: np.ndarray) -> GoalOnData:
    if goal == "popularity":
        return GoalOnData(GOALS[goal], None, popularity)
    return GoalOnData(GOALS[goal], vectors, None)


@st.composite
def cases(draw: st.DrawFn, pairs: list[tuple[str, str]] = PAIRS, dense: bool | None = None) -> Case:
    """Rows of different lengths; items without labels; one or several labels, few or many of them; dense vectors."""
    method, goal = draw(st.sampled_from(pairs))
    rows, width = draw(st.integers(1, 4)), draw(st.integers(0, 9))
    items = np.full((rows, width), NO_ITEM, dtype=np.int32)
    scores = np.full((rows, width), -np.inf, dtype=np.float32)
    for row in range(rows):
        own = draw(st.lists(st.integers(0, ITEMS - 1), max_size=width, unique=True))
        items[row, : len(own)] = own
        drawn = draw(st.lists(st.integers(-20, 20), min_size=len(own), max_size=len(own)))
        scores[row, : len(own)] = sorted((score / 4 for score in drawn), reverse=True)
    histories = Sequences.from_lists(
        [draw(st.lists(st.integers(0, ITEMS - 1), max_size=5)) for _ in range(rows)]
    )  # fmt: skip
    numbers = st.integers(0, draw(st.sampled_from([2, 17])))
    labels = [draw(st.sets(numbers, max_size=3)) for _ in range(ITEMS)]
    vectors = vectors_of(labels, 18)
    if dense if dense is not None else goal.startswith("text") and draw(st.booleans()):
        vectors = np.random.default_rng(draw(st.integers(0, 9))).normal(size=(ITEMS, 5)).astype(np.float32)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        vectors[sorted(draw(st.sets(st.integers(0, ITEMS - 1), max_size=4)))] = 0
    popularity = np.array(draw(st.permutations(range(ITEMS))), dtype=np.float32) / ITEMS
    on = on_data(goal, vectors, popularity)
    return Case(Recommendations(items, scores), histories, on, popularity, method)


# ---- the reference: obviously right, and slow


def slow_relevance(scores: list[float]) -> list[float]:
    spread = max(scores) - min(scores)
    return [(score - min(scores)) / spread if spread else 0.0 for score in scores]


def slow_gain(case: Case, history: list[int], above: list[int], item: int) -> float:
    """What an item adds to the goal below the items above it, by the formulas of docs/reranking.md."""
    vectors = None if case.on.vectors is None else case.on.vectors.astype(float)
    if case.method == "calibration":
        return slow_calibration(case, history, above, item)
    if vectors is None:
        return 1 - float(case.on.values[item])

    def known(one: int) -> bool:
        return bool(vectors[one].any())

    similar = [float(vectors[item] @ vectors[other]) for other in above if known(other)]
    if case.method == "mmr":
        if not known(item):
            return -1.0 if above else 0.0
        return -max(similar) if similar else 0.0
    to_list = 1 - sum(similar) / len(similar) if similar and known(item) else 0.0
    past = [float(vectors[item] @ vectors[other]) for other in history if known(other)]
    to_history = 1 - sum(past) / len(past) if past and known(item) else 0.0
    if case.method == "sog":
        return (to_list + to_history + 1 - float(case.popularity[item])) / 3
    return to_history if case.on.goal.name.endswith("novelty") else to_list


def slow_shares(case: Case, item: int) -> dict[int, float]:
    if case.on.vectors is None:
        return {min(9, int(case.on.values[item] * 10)): 1.0}
    found = np.flatnonzero(case.on.vectors[item])
    return {int(label): 1 / len(found) for label in found}


def slow_distribution(case: Case, items: list[int]) -> dict[int, float]:
    labelled = [shares for item in items if (shares := slow_shares(case, item))]
    total: dict[int, float] = {}
    for shares in labelled:
        for label, share in shares.items():
            total[label] = total.get(label, 0) + share / len(labelled)
    return total


def divergence(wanted: dict[int, float], given: dict[int, float]) -> float:
    """Kullback-Leibler, smoothed as in Steck's paper."""
    return sum(p * math.log(p / (0.99 * given.get(label, 0.0) + 0.01 * p)) for label, p in wanted.items())


def slow_calibration(case: Case, history: list[int], above: list[int], item: int) -> float:
    """By how much the divergence is lower than with an item that shares no label with the history."""
    wanted = slow_distribution(case, history)
    labelled = sum(1 for other in above if slow_shares(case, other))
    before = {label: p * labelled / (labelled + 1) for label, p in slow_distribution(case, above).items()}
    own = slow_shares(case, item)
    after = {label: before.get(label, 0) + own.get(label, 0) / (labelled + 1) for label in {*before, *own}}
    return divergence(wanted, before) - divergence(wanted, after)


def slow_objectives(case: Case, row: int, tradeoff: float, above: list[int]) -> dict[int, float]:
    """The objective of each candidate that is not in the list yet, in the order of the candidates."""
    filled = case.candidates.items[row] != NO_ITEM
    items = case.candidates.items[row][filled].tolist()
    if not items:
        return {}
    relevance = dict(zip(items, slow_relevance(case.candidates.scores[row][filled].tolist()), strict=True))
    history = case.histories[row].tolist()
    return {
        item: (1 - tradeoff) * relevance[item] + tradeoff * slow_gain(case, history, above, item)
        for item in items
        if item not in above
    }


@settings(max_examples=400, deadline=None)
@given(cases(), st.sampled_from([0.0, 0.25, 0.3, 0.5, 0.9, 1.0]), st.integers(1, 11))
def test_each_place_goes_to_the_best_candidate_of_the_reference(case, tradeoff, k):
    found = case.rerank(k, tradeoff)
    assert found.dtype == np.int32
    assert found.shape == (case.rows, k)
    for row in range(case.rows):
        above: list[int] = []
        for item in found[row].tolist():
            objectives = slow_objectives(case, row, tradeoff, above)
            if item == NO_ITEM:
                assert not objectives
                continue
            assert objectives[item] == pytest.approx(max(objectives.values()), abs=1e-5)
            above.append(item)


@settings(max_examples=100, deadline=None)
@given(cases(dense=False), st.sampled_from([0.25, 0.5, 1.0]))
def test_ties_go_to_the_candidate_that_stands_first(case, tradeoff):
    """With all scores equal, and one label an item, whole rows tie exactly."""
    equal = np.where(case.candidates.items == NO_ITEM, -np.inf, 1).astype(np.float32)
    tied = replace(case, candidates=Recommendations(case.candidates.items, equal))
    found = tied.rerank(6, tradeoff)
    for row in range(tied.rows):
        above: list[int] = []
        for item in found[row][found[row] != NO_ITEM].tolist():
            objectives = slow_objectives(tied, row, tradeoff, above)
            best = max(objectives.values())
            as_good = [other for other, value in objectives.items() if value > best - 1e-9]
            # others that come so close may win by rounding
            close = [other for other, value in objectives.items() if value > best - 1e-5]
            assert item == as_good[0] or (close != as_good and item in close)
            above.append(item)


@settings(max_examples=200, deadline=None)
@given(cases(), st.sampled_from([0.0, 0.1, 0.7, 1.0]))
def test_lists_are_permutations_of_the_candidates(case, tradeoff):
    found = case.rerank(9 + 2, tradeoff)
    for row in range(case.rows):
        own = case.candidates.items[row]
        assert sorted(found[row].tolist()) == sorted([*own.tolist(), *[NO_ITEM] * (11 - len(own))])
        # what is missing is missing at the end
        filled = found[row] != NO_ITEM
        assert (filled[1:] <= filled[:-1]).all()


@settings(max_examples=200, deadline=None)
@given(cases(), st.integers(1, 9))
def test_without_a_tradeoff_the_order_of_the_candidates_stays(case, k):
    expected = np.full((case.rows, k), NO_ITEM)
    own = case.candidates.items[:, :k]
    expected[:, : own.shape[1]] = own
    np.testing.assert_array_equal(case.rerank(k, 0.0), expected)


@settings(max_examples=100, deadline=None)
@given(cases(), st.sampled_from([0.2, 0.8, 1.0]), st.integers(1, 8))
def test_a_shorter_list_is_the_beginning_of_a_longer_one(case, tradeoff, k):
    np.testing.assert_array_equal(case.rerank(k, tradeoff), case.rerank(k + 3, tradeoff)[:, :k])


@settings(max_examples=60, deadline=None)
@given(cases())
def test_lists_at_many_tradeoffs_are_those_at_each(case):
    tradeoffs = [0.0, 0.4, 1.0, 0.4]
    found = lists_at(
        case.candidates, tradeoffs, 5, case.method, case.on, case.histories, popularity=case.popularity
    )  # fmt: skip
    assert list(found) == [0.0, 0.4, 1.0]
    for tradeoff, lists in found.items():
        np.testing.assert_array_equal(lists, case.rerank(5, tradeoff))


@settings(max_examples=60, deadline=None)
@given(cases(), st.sampled_from([0.25, 4.0, 64.0]), st.integers(-8, 8))
def test_the_scale_of_scores_changes_nothing(case, scale, shift):
    """Relevance is scaled in each row; with such numbers nothing is rounded."""
    scores = case.candidates.scores * np.float32(scale) + np.float32(shift)
    scaled = replace(case, candidates=Recommendations(case.candidates.items, scores))
    np.testing.assert_array_equal(scaled.rerank(5, 0.5), case.rerank(5, 0.5))


def made_up(rows: int = 120, width: int = 30, items: int = 200, dimensions: int = 24) -> dict:
    rng = np.random.default_rng(3)
    chosen = np.argsort(rng.random((rows, items)), axis=1)[:, :width].astype(np.int32)
    scores = -np.sort(-rng.normal(size=(rows, width)), axis=1).astype(np.float32)
    vectors = rng.normal(size=(items, dimensions)).astype(np.float32)
    return {
        "candidates": Recommendations(chosen, scores),
        "histories": Sequences.from_lists([rng.integers(0, items, rng.integers(0, 9)) for _ in range(rows)]),
        "vectors": vectors / np.linalg.norm(vectors, axis=1, keepdims=True),
        "popularity": rng.random(items).astype(np.float32),
    }


@pytest.mark.parametrize(("method", "goal"), PAIRS)
def test_threads_blocks_and_neighbours_change_no_bit(method, goal, monkeypatch):
    given_ = made_up()
    vectors = given_["vectors"]
    if goal.startswith("category"):
        vectors = vectors_of([{item % 7, item % 3} if item % 11 else set() for item in range(200)], 7)
    on = on_data(goal, vectors, given_["popularity"])
    candidates, histories = given_["candidates"], given_["histories"]
    options = {"popularity": given_["popularity"]}
    whole = rerank(candidates, 10, method, 0.6, on, histories, threads=1, **options)
    monkeypatch.setattr(module, "_BYTES_AT_ONCE", 1 << 14)
    np.testing.assert_array_equal(rerank(candidates, 10, method, 0.6, on, histories, threads=3, **options), whole)
    for row in (0, 17):
        alone = Recommendations(candidates.items[[row]], candidates.scores[[row]])
        own = rerank(alone, 10, method, 0.6, on, histories.take(np.array([row])), **options)
        np.testing.assert_array_equal(own[0], whole[row])


def one_row(items: list[int], scores: list[float]) -> Recommendations:
    return Recommendations(np.array([items], np.int32), np.array([scores], np.float32))


def diversity(vectors: np.ndarray) -> GoalOnData:
    return GoalOnData(GOALS["category_diversity"], vectors, None)


def test_mmr_by_hand():
    """Two items of one label and one of another: the most relevant is first at every tradeoff."""
    vectors = vectors_of([{0}, {0}, {1}], 2)
    candidates, nobody = one_row([0, 1, 2], [3, 2, 1]), Sequences.empty(1)
    # relevance 1, .5, 0; below item 0, item 1 has .5 (1 - t) - t and item 2 has 0
    for tradeoff, expected in ((0.0, [0, 1, 2]), (0.3, [0, 1, 2]), (0.4, [0, 2, 1]), (1.0, [0, 2, 1])):
        assert rerank(candidates, 3, "mmr", tradeoff, diversity(vectors), nobody).tolist() == [expected]


def test_greedy_by_hand_takes_the_unpopular():
    on = GoalOnData(GOALS["popularity"], None, np.array([0.9, 0.5, 0.1], np.float32))
    candidates, nobody = one_row([0, 1, 2], [3, 2, 1]), Sequences.empty(1)
    assert rerank(candidates, 3, "greedy", 1.0, on, nobody).tolist() == [[2, 1, 0]]
    assert rerank(candidates, 3, "greedy", 0.0, on, nobody).tolist() == [[0, 1, 2]]


def test_calibration_by_hand_keeps_the_proportions_of_the_history():
    """A history of two thirds and one third: so is the list, whatever the order of the candidates."""
    vectors = vectors_of([{0}] * 6 + [{1}] * 6, 2)
    candidates = one_row([0, 1, 2, 3, 4, 5, 6, 7, 8], list(range(9, 0, -1)))
    histories = Sequences.from_lists([[0, 1, 6, 2, 3, 7]])
    found = rerank(candidates, 6, "calibration", 0.95, diversity(vectors), histories)
    assert sum(item >= 6 for item in found[0]) == 2
    # who has no history has nothing to be calibrated to
    assert rerank(candidates, 6, "calibration", 1.0, diversity(vectors), Sequences.empty(1)).tolist() == [
        [0, 1, 2, 3, 4, 5]
    ]


@pytest.mark.parametrize("method", ["mmr", "greedy"])
def test_an_item_of_which_nothing_is_known_wins_nothing_for_it(method):
    vectors = vectors_of([{0}, set(), {1}], 2)
    candidates = one_row([0, 1, 2], [3, 2, 1])
    assert rerank(candidates, 3, method, 1.0, diversity(vectors), Sequences.empty(1)).tolist() == [[0, 2, 1]]
    # and what stands below it is not compared with it
    first = one_row([1, 0, 2], [3, 2, 1])
    assert rerank(first, 3, method, 0.1, diversity(vectors), Sequences.empty(1)).tolist() == [[1, 0, 2]]


def test_no_row_and_no_candidate():
    on = diversity(vectors_of([{0}], 2))
    empty = Recommendations(np.empty((0, 4), np.int32), np.empty((0, 4), np.float32))
    assert rerank(empty, 3, "mmr", 0.5, on, Sequences.empty(0)).shape == (0, 3)
    none = Recommendations(np.empty((2, 0), np.int32), np.empty((2, 0), np.float32))
    assert (rerank(none, 3, "mmr", 0.5, on, Sequences.empty(2)) == NO_ITEM).all()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tradeoff": 1.5}, r"tradeoff must be from 0 \(accuracy alone\) to 1 \(the goal alone\), not 1.5"),
        ({"tradeoff": math.nan}, "tradeoff must be from 0"),
        ({"method": "mrr"}, r"no method mrr \(did you mean mmr\?\); there are mmr, greedy, sog, calibration"),
        ({"method": "sog"}, "sog needs the popularity percentile"),
        ({"k": 0}, "k must be at least 1"),
        ({"histories": Sequences.empty(3)}, "3 histories for 1 rows"),
    ],
)
def test_what_cannot_be_re_ranked_says_why(changes, message):
    asked = {
        "candidates": one_row([0], [1.0]), "k": 1, "method": "mmr", "tradeoff": 0.5,
        "on": diversity(vectors_of([{0}, {1}], 2)), "histories": Sequences.empty(1),
    } | changes  # fmt: skip
    with pytest.raises(ValueError, match=message):
        rerank(**asked)


def test_a_method_refuses_goals_that_it_cannot_serve():
    on = GoalOnData(GOALS["popularity"], None, np.array([0.5], np.float32))
    with pytest.raises(ValueError, match="the method mmr cannot serve the goal popularity; it can serve category_div"):
        rerank(one_row([0], [1.0]), 1, "mmr", 0.5, on, Sequences.empty(1))


# ---- recipes

GOOD = {
    "title": '"T"', "source": '"S"', "notes": '"N"', "set": '"beyond_accuracy"', "of": '"markov_chain"',
    "method": '"mmr"', "goals": '["category_diversity"]', "tradeoff": "0.5",
}  # fmt: skip


def written(folder: Path, **changes: str) -> Path:
    (folder / "some.toml").write_text("\n".join(f"{key} = {value}" for key, value in {**GOOD, **changes}.items()))
    return folder


def test_a_recipe_is_read(tmp_path):
    (recipe,) = load_rerankings(written(tmp_path))
    assert recipe == RerankingRecipe(
        "some", "T", "S", "N", "beyond_accuracy", "markov_chain", "mmr", ("category_diversity",), 0.5, 200, 0.05
    )
    assert not recipe.is_chosen
    assert load_rerankings(tmp_path / "none") == []


def test_every_key_that_decides_lists_is_in_the_digest(tmp_path):
    (recipe,) = load_rerankings(written(tmp_path))
    changes = {
        "of": '"most_popular"', "method": '"greedy"', "goals": '["text_diversity"]', "tradeoff": '"validation"',
        "candidates": "100", "largest_loss": "0.1",
    }  # fmt: skip
    digests = {load_rerankings(written(tmp_path, **{key: value}))[0].digest() for key, value in changes.items()}
    assert len(digests | {recipe.digest()}) == 1 + len(changes)
    assert load_rerankings(written(tmp_path, title='"Another"'))[0].digest() == recipe.digest()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tradeoff": "1.5"}, r"some\.toml: tradeoff must be from 0 .* not 1\.5"),
        ({"tradeoff": "-0.1"}, r"some\.toml: tradeoff must be from 0"),
        ({"tradeoff": '"validate"'}, r'some\.toml: tradeoff must be a number or "validation", not \'validate\''),
        ({"method": '"mrr"'}, r"some\.toml: there is no method mrr \(did you mean mmr\?\)"),
        (
            {"goals": '["category_diversty"]'},
            r"there is no goal category_diversty \(did you mean category_diversity",
        ),
        ({"goals": '["popularity"]'}, r"some\.toml: the method mmr cannot serve the goal popularity"),
        ({"goals": "[]"}, r"some\.toml: goals must be one or more different goals, not none"),
        ({"goals": '"category_diversity"'}, r"some\.toml: goals must be a list"),
        ({"candidates": "5"}, r"some\.toml: candidates must be at least 20"),
        ({"largest_loss": "2"}, r"some\.toml: largest_loss must be from 0 to 1"),
        ({"goal": '"popularity"'}, r"some\.toml: unknown key goal; known are .*goals"),
    ],
)
def test_a_recipe_that_is_wrong_names_file_and_key(tmp_path, changes, message):
    with pytest.raises(TableError, match=message):
        load_rerankings(written(tmp_path, **changes))


def test_the_recipes_of_the_library_are_read_and_always_have_a_goal():
    """A run on any dataset goes on: co-occurrence and popularity are in every training set."""
    recipes = load_rerankings(RERANKINGS)
    assert {recipe.method for recipe in recipes} == set(METHODS)
    assert all(recipe.goals[-1] in ("co_occurrence_diversity", "popularity") for recipe in recipes)
