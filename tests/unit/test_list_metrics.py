"""Metrics of lists against their definitions, pair by pair, and what must hold of them whatever the lists."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import combinations, pairwise

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from recommender_factories import made_up_training_set

from ml.baselines.registry import BASELINES
from ml.beyond_accuracy import measures as module
from ml.beyond_accuracy.measures import gini
from ml.beyond_accuracy.vectors import categories_of, category_vectors, text_vectors_of
from ml.data.item_text import item_texts
from ml.data.sequences import Sequences
from ml.data.training_set import TrainingSet
from ml.evaluation.list_metrics import list_metrics, list_metrics_table
from ml.evaluation.rankings import RankingError, rank
from ml.recommender import NO_ITEM, Recommendations
from ml.text.encoder import unit_rows

ITEMS = 12
# metrics that no rounded vector goes into
EXACT = {
    "coverage", "gini", "popularity", "popularity_percentile", "long_tail", "novelty", "text_diversity_left_out",
    "category_diversity", "category_diversity_left_out", "text_novelty_left_out", "category_novelty_left_out",
    "personalisation",
}  # fmt: skip


class Told:
    """Recommends the lists that it is told."""

    def __init__(self, lists: list[list[int]], depth: int) -> None:
        self.items = np.array([row + [NO_ITEM] * (depth - len(row)) for row in lists], dtype=np.int32)

    def recommend(self, histories, k, exclude_seen):
        return Recommendations(self.items, np.zeros(self.items.shape, dtype=np.float32))


def training_set_of(users: int, seed: int = 0, items: int = ITEMS) -> TrainingSet:
    """All users are tested; some have no training history, some items are in none."""
    rng = np.random.default_rng(seed)
    histories = [rng.integers(0, items - 2, rng.integers(0, 6)) for _ in range(users)]
    return TrainingSet(
        dataset="Made_Up",
        item_ids=np.array([f"I{item:07d}" for item in range(items)], dtype="S"),
        user_ids=np.array([f"U{user:07d}" for user in range(users)], dtype="S"),
        train=Sequences.from_lists(histories),
        validation_users=np.empty(0, np.int32),
        validation_targets=np.empty(0, np.int32),
        test_users=np.arange(users, dtype=np.int32),
        test_targets=rng.integers(0, items, users).astype(np.int32),
    )


def rankings_of(lists: list[list[int]], training_set: TrainingSet, depth: int) -> pa.Table:
    return rank(Told(lists, depth), training_set, "told", seed=0, depth=depth, block=10_000)


def measured(lists: list[list[int]], k: int = 3, training_set: TrainingSet | None = None, **known) -> dict:
    """Metrics without the number for k in their names."""
    training_set = training_set or training_set_of(len(lists))
    table = rankings_of(lists, training_set, max(k, *map(len, lists)))
    values = list_metrics(table, training_set, k, **known)
    return {name.removesuffix(f"@{k}"): value for name, value in values.items()}


def mean(values) -> float | None:
    values = list(values)
    return math.fsum(values) / len(values) if values else None


def by_definition(
    lists: list[list[int]],
    training_set: TrainingSet,
    vectors: np.ndarray | None = None,
    categories: list[str | None] | None = None,
) -> dict:
    """Every metric straight from its definition: users, pairs and items one by one."""
    items = range(training_set.items)
    users = len(training_set.test_users)
    some = [row for row in lists if row]
    exposures = [sum(item in row for row in some) for item in items]
    histories = [training_set.train[user].tolist() for user in range(training_set.users)]
    interactions = [sum(history.count(item) for history in histories) for item in items]
    trained = sum(1 for history in histories if history)
    holders = [max(1, sum(item in history for history in histories)) for item in items]
    percentiles = [
        mean(1.0 if other < own else 0.5 if other == own else 0.0 for other in interactions) for own in interactions
    ]
    differences = mean(abs(one - other) for one in exposures for other in exposures)

    def diversity(has, distance):
        kept = [[item for item in row if has(item)] for row in lists]
        paired = [row for row in kept if len(row) > 1]
        return mean(mean(distance(*pair) for pair in combinations(row, 2)) for row in paired), 1 - len(paired) / users

    text, text_left_out = (None, None)
    if vectors is not None:
        text, text_left_out = diversity(
            lambda item: vectors[item].any(), lambda one, other: 1 - float(vectors[one] @ vectors[other])
        )
    category, category_left_out = (None, None)
    if categories is not None:
        category, category_left_out = diversity(
            lambda item: bool(categories[item]), lambda one, other: float(categories[one] != categories[other])
        )

    def novelty(has, distance):
        known = [
            ([item for item in row if has(item)], [item for item in history if has(item)])
            for row, history in zip(lists, map(training_set.histories("test").__getitem__, range(users)), strict=True)
        ]
        paired = [both for both in known if all(both)]
        return (
            mean(mean(distance(one, other) for one in row for other in history) for row, history in paired),
            1 - len(paired) / users,
        )

    text_novelty, text_novelty_left_out = (None, None)
    if vectors is not None:
        text_novelty, text_novelty_left_out = novelty(
            lambda item: vectors[item].any(), lambda one, other: 1 - float(vectors[one] @ vectors[other])
        )
    category_novelty, category_novelty_left_out = (None, None)
    if categories is not None:
        category_novelty, category_novelty_left_out = novelty(
            lambda item: bool(categories[item]), lambda one, other: float(categories[one] != categories[other])
        )
    # items with less than a fifth of the interactions below them, but for those with less than a fifth above them
    tail = {
        item
        for item in items
        if interactions[item] == 0
        or 5 * sum(other for other in interactions if other < interactions[item]) < sum(interactions)
    } - {
        item
        for item in items
        if 5 * sum(other for other in interactions if other > interactions[item]) < sum(interactions)
    }
    return {
        "coverage": sum(1 for exposure in exposures if exposure) / len(items),
        "gini": differences / (2 * mean(exposures)) if some else None,
        "popularity": mean(mean(interactions[item] for item in row) for row in some),
        "popularity_percentile": mean(mean(percentiles[item] for item in row) for row in some),
        "long_tail": mean(mean(float(item in tail) for item in row) for row in some),
        "novelty": mean(mean(-math.log2(holders[i] / trained) for i in row) for row in some) if trained else None,
        "text_diversity": text,
        "text_diversity_left_out": text_left_out,
        "category_diversity": category,
        "category_diversity_left_out": category_left_out,
        "text_novelty": text_novelty,
        "text_novelty_left_out": text_novelty_left_out,
        "category_novelty": category_novelty,
        "category_novelty_left_out": category_novelty_left_out,
        "personalisation": mean(
            1 - len(set(one) & set(other)) / math.sqrt(len(one) * len(other)) for one, other in combinations(some, 2)
        ),
    }


def approximately(values: dict) -> dict:
    return {
        # vectors are float32; multi-hot ones of one label are exact, and their means over a history are not
        name: None if value is None else pytest.approx(value, abs=1e-12 if name in EXACT else 2e-6)
        for name, value in values.items()
    }


lists_of_items = st.lists(
    st.lists(st.integers(0, ITEMS - 1), unique=True, max_size=5), min_size=1, max_size=8
)  # of different lengths, some without an item


@given(lists_of_items, st.integers(0, 2**16), st.integers(1, 5))
@settings(max_examples=150, deadline=None)
def test_equal_the_definitions(lists, seed, k):
    rng = np.random.default_rng(seed)
    training_set = training_set_of(len(lists), seed)
    vectors = unit_rows(rng.normal(size=(ITEMS, 4)) * rng.integers(0, 2, (ITEMS, 1)))
    vectors[3] = vectors[7]
    categories = [None if number == 0 else f"Category {number}" for number in rng.integers(0, 4, ITEMS)]
    values = measured(lists, k, training_set, text_vectors=vectors, categories=categories)
    expected = by_definition([row[:k] for row in lists], training_set, vectors, categories)
    assert values == approximately(expected)


def test_a_worked_example():
    training_set = replace(training_set_of(2), train=Sequences.from_lists([[0, 0, 1], [0]]))
    vectors = np.zeros((ITEMS, 2), np.float32)
    vectors[[0, 1]], vectors[2] = (1, 0), (0, 1)
    categories = ["A", "B", "A"] + [None] * (ITEMS - 3)
    values = measured([[0, 1, 2], [0, 5, 6]], 3, training_set, text_vectors=vectors, categories=categories)
    assert values == approximately(
        {
            "coverage": 5 / 12,
            # exposures 0 seven times, 1 four times, 2 once
            "gini": (1 * (-1 + 1) + 4 * 6 + 2 * 11 - 0) / (12 * 6),
            "popularity": ((3 + 1 + 0) / 3 + (3 + 0 + 0) / 3) / 2,
            "popularity_percentile": ((23 / 24 + 21 / 24 + 10 / 24) / 3 + (23 / 24 + 10 / 24 + 10 / 24) / 3) / 2,
            # the tail are the items that nobody has, and item 1, which has a quarter of the interactions
            "long_tail": ((0 + 1 + 1) / 3 + (0 + 1 + 1) / 3) / 2,
            "novelty": ((0 + 1 + 1) / 3 + (0 + 1 + 1) / 3) / 2,
            # of the pairs of items with text, (0, 1) is alike; in the second list only one item has text
            "text_diversity": 2 / 3,
            "text_diversity_left_out": 0.5,
            "category_diversity": 2 / 3,
            "category_diversity_left_out": 0.5,
            # the items 0, 1 and 2 to the history 0, 0, 1; item 0 to the history 0
            "text_novelty": ((0 + 0 + 1) / 3 + 0) / 2,
            "text_novelty_left_out": 0,
            "category_novelty": ((1 / 3 + 2 / 3 + 1 / 3) / 3 + 0) / 2,
            "category_novelty_left_out": 0,
            "personalisation": 2 / 3,
        }
    )


@given(lists_of_items, st.integers(0, 2**16))
@settings(max_examples=50, deadline=None)
def test_are_within_their_bounds(lists, seed):
    vectors = unit_rows(np.random.default_rng(seed).normal(size=(ITEMS, 3)))
    categories = ["A", "B"] * (ITEMS // 2)
    values = measured(lists, 5, training_set_of(len(lists), seed), text_vectors=vectors, categories=categories)
    upper = {"gini": 1 - 1 / ITEMS, "text_diversity": 2, "text_novelty": 2, "popularity": math.inf}
    upper["novelty"] = math.log2(len(lists))
    for name, value in values.items():
        assert value is None or 0 <= value <= upper.get(name, 1) + 1e-9, name


@given(lists_of_items, st.integers(0, 2**16))
@settings(max_examples=50, deadline=None)
def test_do_not_depend_on_whose_list_is_whose(lists, seed):
    rng = np.random.default_rng(seed)
    known = {"text_vectors": unit_rows(rng.normal(size=(ITEMS, 3))), "categories": ["A", "B", None] * (ITEMS // 3)}
    training_set = training_set_of(len(lists), seed)
    shuffled = [lists[user] for user in rng.permutation(len(lists))]

    def without_histories(values: dict) -> dict:
        return {name: value for name, value in values.items() if "_novelty" not in name}

    values = without_histories(measured(lists, 4, training_set, **known))
    assert without_histories(measured(shuffled, 4, training_set, **known)) == approximately(values)


@given(lists_of_items, st.integers(1, 3))
@settings(max_examples=30, deadline=None)
def test_what_stands_deeper_changes_nothing(lists, k):
    training_set = training_set_of(len(lists))
    assert measured(lists, k, training_set) == measured([row[:k] for row in lists], k, training_set)


@pytest.mark.parametrize("length", [1, 3, 7])
def test_one_list_for_all_is_not_personal_at_all(length):
    values = measured([list(range(length))] * 500, length)
    assert values["personalisation"] == pytest.approx(0, abs=1e-12)
    assert values["coverage"] == length / ITEMS
    assert values["gini"] == pytest.approx(1 - length / ITEMS)


def test_lists_that_share_nothing_are_personal_and_equally_spread():
    values = measured([[0, 1, 2], [3, 4, 5], [6, 7, 8], [9, 10, 11]])
    assert values["personalisation"] == 1
    assert values["coverage"] == 1
    assert values["gini"] == 0
    # every item once: the mean percentile of a catalogue is one half
    assert values["popularity_percentile"] == pytest.approx(0.5)


def test_popular_items_are_popular_and_not_novel():
    training_set = made_up_training_set()
    table = {
        name: list_metrics(
            rank(BASELINES[name].create().fit(training_set), training_set, name, 0, depth=10), training_set
        )
        for name in ("most_popular", "random", "markov_chain")
    }
    popular, random, chain = table["most_popular"], table["random"], table["markov_chain"]
    for name in ("popularity@10", "popularity_percentile@10"):
        assert popular[name] > chain[name] > random[name]
    for name in ("novelty@10", "coverage@10", "personalisation@10"):
        assert popular[name] < chain[name] < random[name]
    assert random["popularity_percentile@10"] == pytest.approx(0.5, abs=0.05)


@given(st.lists(st.integers(0, 1000), min_size=1, max_size=30))
def test_gini_is_half_the_relative_mean_difference(amounts):
    value = gini(np.array(amounts))
    if sum(amounts) == 0:
        assert value is None
    else:
        differences = mean(abs(one - other) for one in amounts for other in amounts)
        assert value == pytest.approx(differences / (2 * mean(amounts)), abs=1e-12)
        assert 0 <= value <= 1 - 1 / len(amounts) + 1e-12


@given(st.lists(st.integers(0, 50), min_size=3, max_size=20, unique=True))
def test_gini_rises_when_the_richest_takes_from_the_poorest(amounts):
    amounts = np.sort(amounts)
    taken = min(1, amounts[0])
    after = amounts.copy()
    after[0] -= taken
    after[-1] += taken
    assert gini(after) > gini(amounts) if taken else gini(after) == gini(amounts)


def test_novelty_counts_a_user_once_and_popularity_every_interaction():
    training_set = replace(training_set_of(4), train=Sequences.from_lists([[0, 0, 0], [1], [], [0]]))
    values = measured([[0]] * 4, 1, training_set)
    assert values["popularity"] == 4
    # two of the three users with a history
    assert values["novelty"] == pytest.approx(math.log2(3 / 2))
    # an item that nobody has counts as if one user had it
    assert measured([[11]] * 4, 1, training_set)["novelty"] == pytest.approx(math.log2(3))


def test_categories_of_several_labels_are_as_far_apart_as_the_labels_that_they_do_not_share():
    training_set = replace(training_set_of(2), train=Sequences.from_lists([[3], []]))
    categories = ["Animation|Comedy", "Comedy", "Drama", "Animation", *[None] * (ITEMS - 4)]
    values = measured([[0, 1], [0, 2]], 2, training_set, categories=categories)
    half = 1 - 1 / math.sqrt(2)
    assert values["category_diversity"] == pytest.approx((half + 1) / 2, abs=1e-6)
    # of the first user alone: the other one has no history
    assert values["category_novelty"] == pytest.approx((half + 1) / 2, abs=1e-6)
    assert values["category_novelty_left_out"] == 0.5


@given(lists_of_items, st.integers(0, 2**16))
@settings(max_examples=50, deadline=None)
def test_categories_are_vectors_of_labels(lists, seed):
    labels = np.random.default_rng(seed).integers(0, 3, (ITEMS, 2))
    categories = ["|".join(f"label {label}" for label in row if label) for row in labels]
    training_set = training_set_of(len(lists), seed)
    by_text = measured(lists, 5, training_set, text_vectors=category_vectors(categories))
    by_category = measured(lists, 5, training_set, categories=categories)
    for name in ("diversity", "diversity_left_out", "novelty", "novelty_left_out"):
        assert by_category[f"category_{name}"] == by_text[f"text_{name}"]


def test_what_cannot_be_computed_is_none():
    nothing = measured([[], []], 3, text_vectors=np.eye(ITEMS), categories=["A"] * ITEMS)
    assert nothing["coverage"] == 0
    assert nothing["text_diversity_left_out"] == nothing["category_diversity_left_out"] == 1
    assert nothing["text_novelty_left_out"] == nothing["category_novelty_left_out"] == 1
    assert {name for name, value in nothing.items() if value is None} == {
        "gini", "popularity", "popularity_percentile", "long_tail", "novelty", "text_diversity", "category_diversity",
        "text_novelty", "category_novelty", "personalisation",
    }  # fmt: skip
    one_user = measured([[0, 1]])
    assert one_user["personalisation"] is None
    assert one_user["text_diversity"] is one_user["text_diversity_left_out"] is None
    untrained = replace(training_set_of(2), train=Sequences.empty(2))
    values = measured([[0], [1]], 1, untrained)
    assert (values["popularity"], values["popularity_percentile"], values["novelty"]) == (0, 0.5, None)


@pytest.mark.parametrize("floats_at_once", [1, 64, 4096])
def test_the_size_of_blocks_changes_nothing(monkeypatch, floats_at_once):
    rng = np.random.default_rng(3)
    lists = [rng.permutation(ITEMS)[: rng.integers(0, 6)].tolist() for _ in range(50)]
    vectors = unit_rows(rng.normal(size=(ITEMS, 16)))
    whole = measured(lists, 5, text_vectors=vectors)
    monkeypatch.setattr(module, "_FLOATS_AT_ONCE", floats_at_once)
    assert measured(lists, 5, text_vectors=vectors) == whole


def test_bad_input_is_refused():
    training_set = training_set_of(2)
    table = rankings_of([[0, 1, 2], [3, 4, 5]], training_set, 3)
    for k in (0, 4):
        with pytest.raises(RankingError, match=f"hold 3 items a list, so the first {k} cannot"):
            list_metrics(table, training_set, k)
    with pytest.raises(RankingError, match="not ordered by user"):
        list_metrics(pa.concat_tables([table.slice(3), table.slice(0, 3)]), training_set, 3)
    with pytest.raises(RankingError, match="hold a user who is not tested"):
        list_metrics(table, replace(training_set, test_users=training_set.test_users[:1]), 3)
    with pytest.raises(RankingError, match="outside the catalogue of 5 items"):
        list_metrics(table, replace(training_set, item_ids=training_set.item_ids[:5]), 3)
    with pytest.raises(RankingError, match="rank again"):
        list_metrics(table.replace_schema_metadata(None), training_set, 3)
    with pytest.raises(ValueError, match="one row an item"):
        list_metrics(table, training_set, 3, text_vectors=np.eye(5))
    with pytest.raises(ValueError, match="length 1"):
        list_metrics(table, training_set, 3, text_vectors=2 * np.eye(ITEMS))
    with pytest.raises(ValueError, match="5 categories for 12 items"):
        list_metrics(table, training_set, 3, categories=["A"] * 5)


def with_items(rows: list[dict]) -> TrainingSet:
    training_set = training_set_of(2, items=len(rows))
    ids = [item_id.decode() for item_id in training_set.item_ids]
    columns = {name: [row.get(name) for row in rows] for name in ("title", "brand", "category")}
    price = pa.array([row.get("price") for row in rows], pa.float64())
    strings = {name: pa.array(column, pa.string()) for name, column in columns.items()}
    table = pa.table({"item_id": ids, **strings, "price": price})
    return training_set.with_text(item_texts(table, training_set.item_ids))


SHOP = [
    {"title": "Cordless drill", "brand": "Acme", "category": "Tools > Drills", "price": 80.0},
    {"title": "Cordless drill", "brand": "Acme", "category": "Tools > Drills", "price": 95.0},
    {"title": "Rose shampoo", "brand": "Bloom", "category": "Beauty"},
    {"title": "Lily shampoo", "brand": "Bloom", "category": "Beauty"},
    {"price": 12.5},
    {},
]


def test_text_vectors_hold_what_items_are_called_and_nothing_else():
    vectors = text_vectors_of(with_items(SHOP))
    lengths = np.linalg.norm(vectors, axis=1)
    # a price alone, or nothing at all, does not say what an item is
    np.testing.assert_allclose(lengths, [1, 1, 1, 1, 0, 0], atol=1e-6)
    cosines = vectors @ vectors.T
    # the price makes no difference, and the labels that all texts share make no two items alike
    assert cosines[0, 1] == pytest.approx(1, abs=1e-6)
    assert cosines[0, 2] == pytest.approx(0, abs=1e-6)
    assert 0.1 < cosines[2, 3] < 1


def test_categories_are_those_of_the_texts():
    assert categories_of(with_items(SHOP)) == ["Tools > Drills"] * 2 + ["Beauty"] * 2 + [None] * 2
    # where all are of one, it tells no two lists apart
    assert categories_of(with_items(SHOP[:2] + SHOP[4:])) is None


def test_there_may_be_no_text():
    bare = training_set_of(2)
    assert text_vectors_of(bare) is None
    assert categories_of(bare) is None
    unknown = with_items([{}] * 3)
    assert text_vectors_of(unknown) is None
    assert categories_of(unknown) is None
    # texts of another form are taken as they are, and have no category
    other = bare.with_text(tuple(f"word{item % 3} thing" for item in range(ITEMS)))
    assert len(text_vectors_of(other)) == ITEMS
    assert categories_of(other) is None


def test_the_table_has_a_row_a_recommender():
    rows = {"one": {"coverage@3": 0.5, "text_diversity@3": None}, "two": {"coverage@3": 1.0, "text_diversity@3": None}}
    table = list_metrics_table(rows)
    assert table.schema.names == ["recommender", "coverage@3", "text_diversity@3"]
    assert table.schema.field("text_diversity@3").type == pa.float64()
    assert table.to_pylist() == [{"recommender": name, **values} for name, values in rows.items()]
    with pytest.raises(ValueError, match="there is no recommender"):
        list_metrics_table({})
    with pytest.raises(ValueError, match="two has other list metrics"):
        list_metrics_table({**rows, "two": {"coverage@5": 1.0}})


def test_names_are_those_of_k():
    training_set = training_set_of(2)
    table = rankings_of([[0, 1, 2], [3, 4, 5]], training_set, 3)
    assert {name.split("@")[1] for name in list_metrics(table, training_set, 2)} == {"2"}


def test_longer_lists_never_cover_less():
    training_set = made_up_training_set()
    recommender = BASELINES["markov_chain"].create().fit(training_set)
    table = rank(recommender, training_set, "markov_chain", 0, depth=20)
    coverage = [list_metrics(table, training_set, k)[f"coverage@{k}"] for k in (1, 5, 10, 20)]
    assert all(one <= other for one, other in pairwise(coverage))
