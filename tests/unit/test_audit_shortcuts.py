"""The audit of shortcuts: its figures against plain re-computations, and its verdict on data that is bad and good."""

from __future__ import annotations

import json
from itertools import pairwise

import numpy as np
import pytest
from audit_toys import KnowsTheFirst, leave_one_out, random_rows
from hypothesis import given, settings
from hypothesis import strategies as st

from ml.audits.audit import CANNOT_TELL, CONCERN, NOTE
from ml.audits.history_dependence import last_of, measure_dependence
from ml.audits.shortcuts import audit_shortcuts, graph_against_trained
from ml.audits.transitions import measure_branching, measure_smoothness
from ml.baselines.registry import BASELINES
from ml.data.sequences import Sequences
from ml.evaluation.power import different_neighbours, smallest_difference
from ml.evaluation.significance import SeedValues, compare_with_reference
from ml.text.registry import create_encoder

ITEMS = 40


one_seed = SeedValues.of_one_seed


def ndcg(recommender, training_set, exclude_seen: bool) -> np.ndarray:
    lists = recommender.recommend(training_set.histories("test"), 10, exclude_seen).items.tolist()
    targets = training_set.test_targets.tolist()
    return np.array(
        [
            1 / np.log2(2 + one.index(target)) if target in one else 0.0
            for one, target in zip(lists, targets, strict=True)
        ]
    )


def board(recommenders: dict, training_set, exclude_seen: bool) -> tuple[list, dict]:
    """Records and values of recommenders by name: title, kind, and the recommender itself."""
    values = {name: one_seed(ndcg(one, training_set, exclude_seen)) for name, (_, _, one) in recommenders.items()}
    records = [
        {"recommender": name, "title": title, "kind": kind, "ndcg@10": float(values[name].by_seed.mean())}
        for name, (title, kind, _) in recommenders.items()
    ]
    return sorted(records, key=lambda record: -record["ndcg@10"]), values


def ring_rows(users: int, seed: int = 0) -> list:
    """Each item is followed by the same other one."""
    random = np.random.default_rng(seed)
    return [(random.integers(ITEMS) + np.arange(random.integers(6, 10))) % ITEMS for _ in range(users)]


def far_rows(users: int, answers: np.ndarray, back: int, seed: int = 0) -> list:
    """Items in random order, but for the last one, which follows from that ``back`` places before it."""
    random = np.random.default_rng(seed)
    rows = []
    for _ in range(users):
        row = random.permutation(ITEMS)[: back + random.integers(1, 3)].tolist()
        rows.append([*row, answers[row[-back]]])
    return rows


# ---- verdicts


@pytest.mark.parametrize("exclude_seen", [False, True])
def test_a_dataset_that_a_chain_solves_is_a_concern(exclude_seen):
    training_set = leave_one_out(ring_rows(300), ITEMS)
    chain = BASELINES["markov_chain"].create().fit(training_set)
    model = KnowsTheFirst(np.roll(np.arange(ITEMS), -1), 1)
    records, values = board(
        {"markov_chain": ("Markov", "baseline", chain), "model": ("Model", "model", model)}, training_set, exclude_seen
    )
    audit = audit_shortcuts(training_set, {"Model": model, "Markov": chain}, records, values, exclude_seen=exclude_seen)
    assert audit.concern
    assert audit.verdict.startswith("This dataset says little about sequence models: Markov, a graph without training")
    assert "Model keeps all of its nDCG@10" in audit.verdict
    assert audit.facts["targets_within_one_step"] == 1
    assert audit.facts["median_successors"] == 1
    assert audit.facts["cosine_of_transitions"] is None
    assert json.loads(json.dumps(audit.as_json(), allow_nan=False))["concern"] is True


@pytest.mark.parametrize("exclude_seen", [False, True])
def test_a_dataset_that_asks_for_a_long_memory_is_none(exclude_seen):
    answers = np.random.default_rng(1).permutation(ITEMS)
    training_set = leave_one_out(far_rows(400, answers, back=6), ITEMS)
    chain = BASELINES["markov_chain"].create().fit(training_set)
    popular = BASELINES["most_popular"].create().fit(training_set)
    model = KnowsTheFirst(answers, 6)
    recommenders = {
        "model": ("Model", "model", model),
        "markov_chain": ("Markov", "baseline", chain),
        "most_popular": ("Popular", "baseline", popular),
    }
    records, values = board(recommenders, training_set, exclude_seen)
    given = {"Model": model, "Markov": chain}
    audit = audit_shortcuts(training_set, given, records, values, exclude_seen=exclude_seen, users=300)
    assert not audit.concern
    assert audit.verdict.startswith("This dataset can show which models are better")
    assert audit.facts["kept_with_last_two_items"] < 0.5
    assert audit.facts["graph_over_trained"] < 0.5
    assert "A seeded sample of 300 of 400" in audit.tables[2].note
    assert audit == audit_shortcuts(training_set, given, records, values, exclude_seen=exclude_seen, users=300)


def test_a_dataset_with_too_few_users_is_a_concern():
    training_set = leave_one_out(random_rows(30, ITEMS), ITEMS)
    random = np.random.default_rng(0)
    values = {"model": one_seed(random.random(30)), "other": one_seed(random.random(30))}
    records = [
        {"recommender": name, "title": name, "kind": "model", "ndcg@10": float(one.by_seed.mean())}
        for name, one in values.items()
    ]
    audit = audit_shortcuts(training_set, {}, records, values, exclude_seen=True)
    assert audit.concern
    assert audit.verdict.startswith("This dataset is too small to compare models: with 30 users")
    assert audit.facts["neighbours_significantly_different"] == 0


class HurtByHistory:
    """Knows the answer to the last item, and loses it where a history is longer than two."""

    def __init__(self, answers: np.ndarray) -> None:
        self.short, self.long = KnowsTheFirst(answers, 1), KnowsTheFirst(np.zeros(len(answers), dtype=int), 1)

    def recommend(self, histories, k, exclude_seen):
        by = [self.short if length <= 2 else self.long for length in histories.lengths]
        lists = [one.recommend(histories.take(np.array([row])), k, exclude_seen) for row, one in enumerate(by)]
        return type(lists[0])(*(np.concatenate([getattr(one, part) for one in lists]) for part in ("items", "scores")))


def test_a_model_that_long_histories_hurt_is_a_note_about_the_model():
    training_set = leave_one_out(ring_rows(300), ITEMS)
    model = HurtByHistory(np.roll(np.arange(ITEMS), -1))
    popular = BASELINES["most_popular"].create().fit(training_set)
    records, values = board(
        {"model": ("Model", "model", model), "most_popular": ("Popular", "baseline", popular)}, training_set, False
    )
    audit = audit_shortcuts(training_set, {"Model": model}, records, values, exclude_seen=False)
    kept = audit.facts["kept_with_last_two_items"]
    assert kept > 1
    assert "keeps" not in audit.verdict
    assert f"Model is {100 * (kept - 1):.1f}\u00a0% better with the last two items of each history" in audit.verdict
    assert "hurt this model" in audit.verdict
    # the few hits leave a coarse measure here; of one that is fine this alone is a note
    assert audit.outcome in (NOTE, CONCERN)
    assert "says little about sequence models" not in audit.verdict


def seeded_board(gain: float) -> tuple[list, dict]:
    random = np.random.default_rng(0)
    base = random.random(2000)
    values = {
        "graph": one_seed(base),
        "model": SeedValues(base + gain + random.normal(0, 0.01, (3, 2000)) + [[0.02], [0.0], [-0.02]], (0, 1, 2)),
        **{f"other{n}": one_seed(base - 0.1) for n in range(5)},
    }
    kinds = {"model": "model"}
    records = [
        {"recommender": name, "title": name, "kind": kinds.get(name, "baseline"), "ndcg@10": float(one.by_seed.mean())}
        for name, one in values.items()
    ]
    return records, values


def test_graph_and_model_are_compared_as_on_the_leaderboard():
    records, values = seeded_board(0.03)
    found = graph_against_trained(records, values, ["graph"])
    assert found.compared == compare_with_reference(values, "graph")["model"]
    # the users alone would find it
    assert found.compared.p_value > 0.05
    assert not found.is_different
    assert graph_against_trained(*seeded_board(0.3), ["graph"]).is_different
    training_set = leave_one_out(random_rows(30, ITEMS), ITEMS)
    records, values = seeded_board(0.03)
    records = [row | {"ndcg@10": 0.3 if row["recommender"] == "graph" else row["ndcg@10"]} for row in records]
    audit = audit_shortcuts(training_set, {}, records, values, exclude_seen=True, graphs=["graph"])
    assert audit.outcome == CONCERN
    assert "the best trained model, model, is not significantly better than graph, a graph without" in audit.verdict


def test_without_recommenders_nothing_is_known():
    audit = audit_shortcuts(leave_one_out(random_rows(30, ITEMS), ITEMS), {}, [], {}, exclude_seen=True)
    assert audit.outcome == CANNOT_TELL
    assert audit.verdict.startswith("Not known")


def test_a_model_that_hits_nothing_breaks_nothing():
    training_set = leave_one_out(random_rows(30, ITEMS), ITEMS)
    values = {"model": one_seed(np.zeros(30)), "markov_chain": one_seed(np.zeros(30))}
    records = [
        {"recommender": name, "title": name, "kind": kind, "ndcg@10": 0.0}
        for name, kind in (("model", "model"), ("markov_chain", "baseline"))
    ]
    audit = audit_shortcuts(training_set, {}, records, values, exclude_seen=True)
    assert audit.concern
    json.dumps(audit.as_json(), allow_nan=False)


def test_values_are_of_the_same_users():
    training_set = leave_one_out(random_rows(30, ITEMS), ITEMS)
    with pytest.raises(ValueError, match="different numbers of users"):
        audit_shortcuts(
            training_set, {}, [], {"one": one_seed(np.zeros(30)), "other": one_seed(np.zeros(29))}, exclude_seen=True
        )


# ---- branching


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(st.integers(0, 7), min_size=2, max_size=7), min_size=1, max_size=10))
def test_steps_are_those_of_the_transitions(rows):
    training_set = leave_one_out(rows, 8)
    found = measure_branching(training_set, np.arange(len(rows)))
    following: dict[int, set[int]] = {item: set() for item in range(8)}
    for row in rows:
        for one, other in pairwise(row[:-2]):
            following[one].add(other)
    sizes = [len(after) for after in following.values() if after]
    ones = [following[row[-2]] for row in rows]
    twos = [one | {item for middle in one for item in following[middle]} for one in ones]
    assert found.mean_successors == pytest.approx(np.mean(sizes) if sizes else 0)
    assert found.median_successors == (np.median(sizes) if sizes else 0)
    assert found.without_successor == pytest.approx(1 - len(sizes) / 8)
    assert found.one_step_share == pytest.approx(np.mean([row[-1] in one for row, one in zip(rows, ones, strict=True)]))
    assert found.two_step_share == pytest.approx(np.mean([row[-1] in two for row, two in zip(rows, twos, strict=True)]))
    assert found.one_step_items == np.median([len(one) for one in ones])
    assert found.two_step_items == np.median([len(two) for two in twos])


# ---- likeness of text


def test_transitions_between_items_of_like_text_are_seen():
    random = np.random.default_rng(0)
    kinds = ["wooden spoon", "steel pan", "cotton shirt", "leather boot"]
    texts = [f"{kinds[item % 4]} number{item}" for item in range(ITEMS)]
    alike = [4 * random.permutation(ITEMS // 4)[:8] + random.integers(4) for _ in range(200)]
    smooth = measure_smoothness(leave_one_out(alike, ITEMS, texts), np.arange(200), 0)
    rough = measure_smoothness(leave_one_out(random_rows(200, ITEMS), ITEMS, texts), np.arange(200), 0)
    assert smooth.transitions > 2 * smooth.random_pairs > 0
    assert rough.transitions == pytest.approx(rough.random_pairs, abs=0.05)
    assert smooth.in_ten_most_alike > 0.9
    assert smooth.median_place < 0.2 < 0.35 < rough.median_place < 0.65


def test_places_by_likeness_are_those_of_the_sorted_cosines():
    texts = [f"{word} {other}" for word in ("red", "green", "blue", "pink") for other in ("hat", "coat", "sock")]
    rows = random_rows(50, 12)
    found = measure_smoothness(leave_one_out(rows, 12, texts), np.arange(50), 0)
    vectors = create_encoder().encode(texts)
    places = []
    for row in rows:
        likeness = vectors @ vectors[row[-2]]
        others = [item for item in range(12) if item not in (row[-1], row[-2])]
        ahead = [float(np.sign(np.round(likeness[item] - likeness[row[-1]], 5))) for item in others]
        places.append(sum((one + 1) / 2 for one in ahead))
    assert found.median_place == pytest.approx(np.median(places) / 10)
    assert found.cases == 50


def test_without_text_likeness_is_not_known():
    rows = random_rows(20, ITEMS)
    assert measure_smoothness(leave_one_out(rows, ITEMS), np.arange(20), 0) is None
    assert measure_smoothness(leave_one_out(rows, ITEMS, ["the"] * ITEMS), np.arange(20), 0) is None
    audit = audit_shortcuts(leave_one_out(rows, ITEMS), {}, [], {}, exclude_seen=True)
    assert audit.tables[1].rows == (("Text similarity", "not known"),)


# ---- cut histories


@given(st.lists(st.lists(st.integers(0, 9), max_size=6), max_size=8), st.integers(1, 7))
def test_a_cut_history_is_its_last_items(rows, count):
    cut = last_of(Sequences.from_lists(rows), count)
    assert [row.tolist() for row in (cut[at] for at in range(len(cut)))] == [row[-count:] for row in rows]


@pytest.mark.parametrize("exclude_seen", [False, True])
def test_cutting_takes_nothing_from_what_reads_the_last_item_alone(exclude_seen):
    training_set = leave_one_out(random_rows(150, 25, longest=20), 25)
    chain = BASELINES["markov_chain"].create().fit(training_set)
    found = measure_dependence("Markov", chain, training_set, np.arange(150), exclude_seen, 0)
    assert found.whole.mean == pytest.approx(ndcg(chain, training_set, exclude_seen).mean())
    assert found.whole.mean > 0
    for value, difference in zip(found.values, found.differences, strict=True):
        assert value == found.whole
        assert (difference.mean, difference.low, difference.high) == (0, 0, 0)


@pytest.mark.parametrize("exclude_seen", [False, True])
def test_cutting_takes_what_a_recommender_needs(exclude_seen):
    answers = np.random.default_rng(1).permutation(ITEMS)
    training_set = leave_one_out(far_rows(200, answers, back=4), ITEMS)
    found = measure_dependence("Model", KnowsTheFirst(answers, 4), training_set, np.arange(200), exclude_seen, 0)
    assert found.values[2].mean == found.whole.mean > 0.8
    assert found.differences[1].high < 0
    # the answer is lost, and the rest of the list is the items in their order: seen ones still leave it
    lists = []
    for row in range(200):
        history = training_set.histories("test")[row]
        lists.append([item for item in range(ITEMS) if not exclude_seen or item not in history][:10])
    hits = [
        1 / np.log2(2 + one.index(target)) if target in one else 0.0
        for one, target in zip(lists, training_set.test_targets, strict=True)
    ]
    assert found.values[1].mean == pytest.approx(np.mean(hits))


# ---- graph against trained, and telling apart


def test_the_best_graph_stands_beside_the_best_trained_model():
    records = [
        {"recommender": "mix", "title": "Mix", "kind": "fusion", "ndcg@10": 0.5},
        {"recommender": "bad", "title": "Bad", "kind": "model", "ndcg@10": 0.1},
        {"recommender": "good", "title": "Good", "kind": "model", "ndcg@10": 0.2},
        {"recommender": "graph", "title": "Graph", "kind": "baseline", "ndcg@10": 0.15},
        {"recommender": "popular", "title": "Popular", "kind": "baseline", "ndcg@10": 0.3},
    ]
    found = graph_against_trained(records, {}, ["graph"])
    assert (found.graph, found.trained, found.ratio, found.compared) == ("Graph", "Good", pytest.approx(0.75), None)
    assert graph_against_trained(records, {}, ["other"]) is None


def test_the_smallest_difference_is_found_four_times_of_five():
    random = np.random.default_rng(0)
    users = 200
    noise = random.normal(size=users)
    noise = (noise - noise.mean()) / noise.std(ddof=1)
    base = random.random(users)
    # of differences with a standard deviation of 1
    smallest = smallest_difference([one_seed(base + noise), one_seed(base)]).difference
    draws = random.normal(smallest, 1, size=(4000, users))
    statistic = np.abs(draws.mean(axis=1)) / draws.std(axis=1, ddof=1) * np.sqrt(users)
    assert (statistic > 1.972).mean() == pytest.approx(0.8, abs=0.025)
    assert smallest_difference([one_seed(base + noise), one_seed(base)]).relative == pytest.approx(
        smallest / base.mean()
    )


def test_a_difference_needs_two_recommenders():
    with pytest.raises(ValueError, match="two recommenders"):
        smallest_difference([one_seed(np.zeros(5))])


def test_neighbours_that_differ_are_counted_and_equal_ones_are_not():
    random = np.random.default_rng(0)
    base = random.random(500)
    values = [base + 1 + random.random(500), base, base, base + random.normal(size=500) * 0.1]
    found = different_neighbours([one_seed(one) for one in values])
    assert (found.different, found.pairs) == (1, 3)
    assert different_neighbours([one_seed(base)]).pairs == 0
