"""Fusion: against a slow reference in plain Python, and what must hold whatever the lists are."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ml.fusion.fusion import Fusion
from ml.fusion.normalisation import NORMALISATIONS, normalised
from ml.fusion.weight_search import choose_fusion
from ml.recommender import NO_ITEM, Recommendations
from ml.retrieval.top_k import tie_break_order

ITEMS = 23


def lists_of(rows: list[list[tuple[int, float]]], depth: int) -> Recommendations:
    """Rows of (item, score), best first, as recommendations of a fixed length."""
    items = np.full((len(rows), depth), NO_ITEM, dtype=np.int32)
    scores = np.full((len(rows), depth), -np.inf, dtype=np.float32)
    for number, row in enumerate(rows):
        for place, (item, score) in enumerate(row):
            items[number, place], scores[number, place] = item, score
    return Recommendations(items, scores)


@st.composite
def part_lists(draw: st.DrawFn, rows: int) -> Recommendations:
    depth = draw(st.integers(1, 9))
    made = []
    for _ in range(rows):
        items = draw(st.lists(st.integers(0, ITEMS - 1), max_size=depth, unique=True))
        scores = draw(st.lists(st.integers(-40, 40), min_size=len(items), max_size=len(items)))
        made.append(list(zip(items, [score / 4 for score in sorted(scores, reverse=True)], strict=True)))
    return lists_of(made, depth)


@st.composite
def fusions(draw: st.DrawFn) -> tuple[dict[str, Recommendations], Fusion, int]:
    """Parts of some rows, with random weights, of which one may be 0."""
    rows = draw(st.integers(1, 4))
    names = draw(st.lists(st.sampled_from("abcdef"), min_size=1, max_size=4, unique=True))
    units = draw(st.lists(st.integers(0, 5), min_size=len(names), max_size=len(names)).filter(any))
    weights = tuple(unit / sum(units) for unit in units)
    how = draw(st.sampled_from(NORMALISATIONS))
    fusion = Fusion(tuple(names), weights, how, draw(st.integers(1, 10)))
    return {name: draw(part_lists(rows)) for name in names}, fusion, draw(st.integers(1, 12))


def slow_normalised(scores: list[float], how: str) -> tuple[list[float], float]:
    if not scores:
        return [], 0.0
    if how == "reciprocal_rank":
        return [1 / (61 + place) for place in range(len(scores))], 0.0
    if how == "min_max":
        spread = max(scores) - min(scores)
        values = [(score - min(scores)) / spread if spread else 0.0 for score in scores]
        return values, min(values)
    mean = sum(scores) / len(scores)
    deviation = math.sqrt(sum((score - mean) ** 2 for score in scores) / len(scores))
    values = [(score - mean) / deviation if deviation else 0.0 for score in scores]
    if how == "softmax":
        total = sum(math.exp(value - max(values)) for value in values)
        values = [math.exp(value - max(values)) / total for value in values]
    return values, min(values)


def slow_scores(lists: dict[str, Recommendations], fusion: Fusion, row: int) -> dict[int, float]:
    """Fused score of each candidate of a row."""
    parts = []
    for name, weight in zip(fusion.parts, fusion.weights, strict=True):
        if weight == 0:
            continue
        listed = [
            (int(item), float(score))
            for item, score in zip(
                lists[name].items[row][: fusion.depth], lists[name].scores[row][: fusion.depth], strict=True
            )
            if item != NO_ITEM
        ]
        values, floor = slow_normalised([score for _, score in listed], fusion.normalisation)
        parts.append((weight, dict(zip([item for item, _ in listed], values, strict=True)), floor))
    candidates = {item for _, values, _ in parts for item in values}
    return {item: sum(weight * values.get(item, floor) for weight, values, floor in parts) for item in candidates}


@settings(max_examples=300, deadline=None)
@given(fusions())
def test_equals_a_slow_reference(given_parts: tuple[dict[str, Recommendations], Fusion, int]) -> None:
    lists, fusion, k = given_parts
    fused = fusion.fuse(lists, k, ITEMS)
    place = {int(item): number for number, item in enumerate(tie_break_order(ITEMS))}
    for row in range(len(fused.items)):
        expected = slow_scores(lists, fusion, row)
        listed = [int(item) for item in fused.items[row] if item != NO_ITEM]
        assert len(listed) == len(set(listed)) == min(k, len(expected))
        assert (fused.items[row][len(listed) :] == NO_ITEM).all()
        assert (fused.scores[row][len(listed) :] == -np.inf).all()
        np.testing.assert_allclose(fused.scores[row][: len(listed)], [expected[item] for item in listed], atol=1e-5)
        best = sorted(expected.values(), reverse=True)[:k]
        np.testing.assert_allclose(fused.scores[row][: len(listed)], best, atol=1e-5)
        for left, right in zip(range(len(listed)), range(1, len(listed)), strict=False):
            assert fused.scores[row][left] >= fused.scores[row][right]
            if fused.scores[row][left] == fused.scores[row][right]:
                assert place[listed[left]] < place[listed[right]]


@settings(max_examples=100, deadline=None)
@given(fusions(), st.randoms())
def test_order_of_parts_changes_no_bit(given_parts: tuple[dict[str, Recommendations], Fusion, int], random) -> None:
    lists, fusion, k = given_parts
    pairs = list(zip(fusion.parts, fusion.weights, strict=True))
    random.shuffle(pairs)
    names, weights = zip(*pairs, strict=True)
    other = Fusion(names, weights, fusion.normalisation, fusion.depth)
    one, two = fusion.fuse(lists, k, ITEMS), other.fuse({name: lists[name] for name in names}, k, ITEMS)
    np.testing.assert_array_equal(one.items, two.items)
    np.testing.assert_array_equal(one.scores, two.scores)


@settings(max_examples=100, deadline=None)
@given(st.data(), st.sampled_from(NORMALISATIONS), st.integers(1, 12))
def test_all_weight_on_one_part_gives_its_order(data: st.DataObject, how: str, k: int) -> None:
    rows = data.draw(st.integers(1, 4))
    lists = {name: data.draw(part_lists(rows)) for name in "abc"}
    # scores without a tie, since each recommender may break its own by another rule
    falling = -np.arange(lists["b"].scores.shape[1], dtype=np.float32)
    lists["b"] = Recommendations(
        lists["b"].items, np.where(lists["b"].items == NO_ITEM, -np.inf, falling).astype(np.float32)
    )
    fused = Fusion(("a", "b", "c"), (0.0, 1.0, 0.0), how).fuse(lists, k, ITEMS)
    own = lists["b"].items[:, :k]
    np.testing.assert_array_equal(fused.items[:, : own.shape[1]], own)
    assert (fused.items[:, own.shape[1] :] == NO_ITEM).all()


def test_an_item_that_both_parts_list_rises_above_one_that_one_lists() -> None:
    lists = {"left": lists_of([[(1, 3.0), (2, 2.0)]], 2), "right": lists_of([[(3, 9.0), (2, 8.0)]], 2)}
    fused = Fusion(("left", "right"), (0.5, 0.5), "reciprocal_rank").fuse(lists, 4, ITEMS)
    assert fused.items[0, 0] == 2
    assert fused.items[0, 3] == NO_ITEM


def test_blocks_of_rows_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    lists, targets = random_parts(60)
    fusion = Fusion(tuple(lists), (0.5, 0.25, 0.25), "min_max")
    whole, chosen = fusion.fuse(lists, 10, ITEMS), choose_fusion(lists, targets, ITEMS)
    monkeypatch.setattr("ml.fusion.fusion._CELLS_AT_ONCE", 100)
    np.testing.assert_array_equal(whole.items, fusion.fuse(lists, 10, ITEMS).items)
    assert chosen.fusion == choose_fusion(lists, targets, ITEMS).fusion


def random_parts(rows: int) -> tuple[dict[str, Recommendations], np.ndarray]:
    """Three parts of which two know something of the target, each on a scale of its own."""
    generator = np.random.default_rng(4)
    targets = generator.integers(ITEMS, size=rows)
    order = np.arange(ITEMS)
    lists = {}
    for name, knowledge, scale in (("good", 2.0, 1.0), ("fair", 1.5, 100.0), ("noise", 0.0, 1e-3)):
        scores = generator.normal(size=(rows, ITEMS)) + knowledge * (order == targets[:, None])
        best = np.argsort(-scores, axis=1)[:, :15]
        lists[name] = Recommendations(
            best.astype(np.int32), (scale * np.take_along_axis(scores, best, axis=1)).astype(np.float32)
        )
    return lists, targets


def ndcg_at_10(lists: Recommendations, targets: np.ndarray) -> float:
    hits = lists.items[:, :10] == targets[:, None]
    return float((hits / np.log2(2 + np.arange(hits.shape[1]))).sum(axis=1).mean())


def test_chosen_weights_reach_what_the_search_says_and_more_than_each_part() -> None:
    lists, targets = random_parts(400)
    chosen = choose_fusion(lists, targets, ITEMS)
    assert ndcg_at_10(chosen.fusion.fuse(lists, 10, ITEMS), targets) == pytest.approx(chosen.validation_ndcg_at_10)
    for name, quality in chosen.of_parts.items():
        assert ndcg_at_10(lists[name], targets) == pytest.approx(quality)
    assert chosen.validation_ndcg_at_10 > max(chosen.of_parts.values()) + 0.01
    assert chosen.validation_ndcg_at_10 == max(chosen.of_normalisations.values())
    weights = chosen.fusion.as_json()["weights"]
    assert weights["good"] > weights["noise"]
    assert weights["fair"] > weights["noise"]
    assert choose_fusion(dict(reversed(lists.items())), targets, ITEMS) == chosen


def test_a_single_part_is_kept_as_it_is() -> None:
    lists, targets = random_parts(50)
    chosen = choose_fusion({"good": lists["good"]}, targets, ITEMS)
    assert chosen.fusion.weights == (1.0,)
    assert chosen.validation_ndcg_at_10 == pytest.approx(ndcg_at_10(lists["good"], targets))


def test_no_target_is_listed() -> None:
    lists = {"a": lists_of([[(1, 1.0)]], 1), "b": lists_of([[(2, 1.0)]], 1)}
    chosen = choose_fusion(lists, np.array([5]), ITEMS)
    assert chosen.validation_ndcg_at_10 == 0
    assert chosen.fusion.weights == (0.5, 0.5)


def test_empty_lists_and_no_rows() -> None:
    fusion = Fusion(("a", "b"), (0.5, 0.5), "softmax")
    fused = fusion.fuse({"a": lists_of([[], []], 3), "b": lists_of([[], [(4, 1.0)]], 0 + 1)}, 2, ITEMS)
    np.testing.assert_array_equal(fused.items, [[NO_ITEM, NO_ITEM], [4, NO_ITEM]])
    nothing = fusion.fuse({"a": lists_of([], 3), "b": lists_of([], 1)}, 2, ITEMS)
    assert nothing.items.shape == (0, 2)


def test_written_and_read_again() -> None:
    fusion = Fusion(("b", "a"), (0.25, 0.75), "standardised", 50)
    assert fusion.parts == ("a", "b")
    assert fusion.weights == (0.75, 0.25)
    assert Fusion.from_json(fusion.as_json()) == fusion


@pytest.mark.parametrize("how", NORMALISATIONS)
def test_normalised_scores_never_rise_and_equal_scores_stay_equal(how: str) -> None:
    values, floor = normalised(lists_of([[(1, 5.0), (2, 5.0)], [(3, 2.0), (4, -7.0)], []], 3), how)
    assert np.isfinite(values).all()
    assert (np.diff(values, axis=1) <= 0).all()
    assert (values >= floor[:, None]).all()
    if how != "reciprocal_rank":
        assert values[0, 0] == values[0, 1]
    assert (values[2] == 0).all() or how == "reciprocal_rank"


def test_errors_say_what_is_wrong() -> None:
    one = lists_of([[(1, 1.0)]], 1)
    with pytest.raises(ValueError, match="sum to 1"):
        Fusion(("a", "b"), (0.5, 0.6), "min_max")
    with pytest.raises(ValueError, match="different names"):
        Fusion(("a", "a"), (0.5, 0.5), "min_max")
    with pytest.raises(ValueError, match="2 weights for 1 parts"):
        Fusion(("a",), (0.5, 0.5), "min_max")
    with pytest.raises(ValueError, match="normalisation must be one of"):
        Fusion(("a",), (1.0,), "no such")
    with pytest.raises(ValueError, match="no normalisation is called"):
        normalised(one, "no such")
    with pytest.raises(ValueError, match="depth"):
        Fusion(("a",), (1.0,), "min_max", 0)
    fusion = Fusion(("a", "b"), (0.5, 0.5), "min_max")
    with pytest.raises(ValueError, match="no lists of b"):
        fusion.fuse({"a": one}, 1, ITEMS)
    with pytest.raises(ValueError, match="different numbers of histories"):
        fusion.fuse({"a": one, "b": lists_of([], 1)}, 1, ITEMS)
    with pytest.raises(ValueError, match="not finite"):
        normalised(lists_of([[(1, float("nan"))]], 1), "softmax")
    with pytest.raises(ValueError, match="1 validation lists for 2 targets"):
        choose_fusion({"a": one}, np.array([1, 2]), ITEMS)
    with pytest.raises(ValueError, match="at least one part"):
        choose_fusion({}, np.array([1]), ITEMS)
