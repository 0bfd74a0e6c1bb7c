"""The quality of codes as identifiers, against plain loops, SciPy, scikit-learn and a Monte Carlo simulation."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from recommender_factories import made_up_training_set
from scipy.stats import entropy
from sklearn.metrics import normalized_mutual_info_score
from sklearn.metrics.cluster import contingency_matrix

from ml.codes.quality import category_agreement, identifier_report, quality_report, tuple_metrics
from ml.codes.recipe import load_codes_recipe, load_codes_recipes
from ml.codes.vectors import VectorPart
from ml.data.popularity import GROUPS, popularity_groups
from ml.data.sequences import Sequences

VALUES = np.array([[0, 1, 0], [0, 1, 0], [0, 2, 1], [3, 2, 0], [0, 1, 1], [3, 2, 0]], dtype=np.uint8)
HISTORIES = Sequences.from_lists([[0, 2, 4, 4], [], [4, 5], [4], [2, 0, 1]])


def test_entropy_and_perplexity_are_those_of_scipy() -> None:
    values = np.random.default_rng(0).integers(40, size=(500, 2)).astype(np.uint8) ** 2 % 64
    report = quality_report(values, Sequences.from_lists([[0]]), (64, 256))
    for book, size in enumerate((64, 256)):
        counts = np.bincount(values[:, book])
        expected = entropy(counts[counts > 0], base=2)
        assert report["by_book"][book]["entropy_bits"] == pytest.approx(expected)
        assert report["by_book"][book]["perplexity_share"] == pytest.approx(2**expected / size)


def test_books_that_are_used_equally_have_all_of_their_perplexity() -> None:
    values = np.repeat(np.arange(16, dtype=np.uint8), 3)[:, None]
    report = quality_report(values, Sequences.from_lists([[0]]), (16,))
    assert report["by_book"][0]["perplexity_share"] == pytest.approx(1)


def test_prefixes_and_what_continues_them() -> None:
    levels = identifier_report(VALUES, HISTORIES)["by_level"]
    # 0, 3; 01, 02, 32; 010, 011, 021, 320
    assert [level["prefixes"] for level in levels] == [2, 3, 4]
    assert [level["mean_children"] for level in levels] == pytest.approx([2, 3 / 2, 4 / 3])
    assert [level["largest_children"] for level in levels] == [2, 2, 2]
    assert [level["level"] for level in levels] == [1, 2, 3]


def test_neighbours_with_equal_prefixes_beside_chance() -> None:
    levels = identifier_report(VALUES, HISTORIES)["by_level"]
    pairs = [(0, 2), (2, 4), (4, 5), (2, 0), (0, 1)]
    counts = np.bincount(HISTORIES.items, minlength=6)
    drawn = [(a, b) for a in range(6) for b in range(6) if a != b]
    weights = np.array([counts[a] * counts[b] for a, b in drawn])
    for length, level in enumerate(levels, start=1):

        def same(a: int, b: int, length: int = length) -> bool:
            return VALUES[a, :length].tolist() == VALUES[b, :length].tolist()

        assert level["neighbours_sharing_prefix"] == pytest.approx(np.mean([same(*pair) for pair in pairs]))
        chance = np.average([same(*pair) for pair in drawn], weights=weights)
        assert level["sharing_prefix_by_chance"] == pytest.approx(chance)


def test_random_identifiers_share_prefixes_as_chance_would() -> None:
    random = np.random.default_rng(0)
    values = random.integers(4, size=(400, 2)).astype(np.uint8)
    histories = Sequences.from_lists([random.integers(400, size=20).tolist() for _ in range(2000)])
    for level in identifier_report(values, histories)["by_level"]:
        assert level["neighbours_sharing_prefix"] == pytest.approx(level["sharing_prefix_by_chance"], rel=0.05)


@given(
    codes=st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), min_size=1, max_size=12),
    seen=st.lists(st.integers(0, 11), max_size=30),
)
@settings(deadline=None)
def test_codes_of_head_middle_and_tail_are_counted_as_a_loop_counts_them(codes: list, seen: list[int]) -> None:
    values = np.array(codes, dtype=np.uint8)
    histories = Sequences.from_lists([[item for item in seen if item < len(codes)]])
    report = identifier_report(values, histories)
    group_of = popularity_groups(np.bincount(histories.items, minlength=len(codes)))
    copies = Counter(codes)
    for group, name in enumerate(GROUPS):
        members = [code for code, of in zip(codes, group_of, strict=True) if of == group]
        assert report["by_popularity"][name] == {
            "items": len(members),
            "prefixes": [len({code[:1] for code in members}), len(set(members))],
            "items_in_collisions": sum(copies[code] > 1 for code in members),
        }
    assert report["by_level"][-1]["prefixes"] == len(copies)
    assert json.loads(json.dumps(report)) == report


def test_purity_and_mutual_information_are_those_of_scikit_learn() -> None:
    random = np.random.default_rng(3)
    category = random.integers(5, size=300)
    code = np.where(random.random(300) < 0.6, category * 3, random.integers(20, size=300))
    names = [f" {number} " if number else None for number in category]
    found = category_agreement(code, names)
    assert found is not None
    known = category > 0
    table = contingency_matrix(code[known], category[known])
    assert found["items"] == known.sum()
    assert found["categories"] == 4
    assert found["purity"] == pytest.approx(table.max(axis=1).sum() / known.sum())
    assert found["largest_category"] == pytest.approx(table.sum(axis=0).max() / known.sum())
    expected = normalized_mutual_info_score(category[known], code[known])
    assert found["normalised_mutual_information"] == pytest.approx(expected)


def test_categories_that_the_codes_are_or_know_nothing_of() -> None:
    categories = ["a"] * 4 + ["b"] * 4
    assert category_agreement(np.array([3] * 4 + [9] * 4), categories)["normalised_mutual_information"] == 1
    blind = category_agreement(np.array([0, 1] * 4), categories)
    assert blind["normalised_mutual_information"] == pytest.approx(0)
    assert blind["purity"] == blind["largest_category"] == 0.5
    assert category_agreement(np.zeros(8), categories)["normalised_mutual_information"] == 0
    # nothing to compare
    for none in (["a"] * 8, [None] * 8, [" "] * 7 + ["a"]):
        assert category_agreement(np.arange(8), none) is None


def test_codes_of_a_recipe_carry_the_report() -> None:
    texts = tuple(f"Title: t{item} Brand: b Category: c{item % 3} Price: $1.00" for item in range(40))
    training_set = replace(made_up_training_set(), item_text=texts)
    recipe = load_codes_recipe(Path(__file__).parents[1] / "recipes" / "codes" / "tiny_text.toml")
    report = replace(recipe, vectors=(VectorPart("interactions", 8),)).assign(training_set).report
    assert report["by_level"][0]["prefixes"] == 40
    assert report["category"]["categories"] == 3
    # items in no training history have vectors of items with similar text
    assert (report["items_without_vector"], report["items_never_seen_in_training"]) == (0, 6)
    # one text holds no word
    report = replace(recipe, vectors=(VectorPart("text", 8),)).assign(made_up_training_set()).report
    assert report["items_without_vector"] == 1
    report = load_codes_recipes()["svd"].assign(replace(training_set, item_text=None)).report
    assert report["category"] is None
    assert report["items_without_vector"] is None


# metrics of tuples


def simulated(values: np.ndarray, ranked: np.ndarray, target: int, k: int, draws: int) -> tuple[float, float]:
    """Mean hit and nDCG of lists in which the items of a tuple stand in random order."""
    random = np.random.default_rng(0)
    tuples = [tuple(row) for row in values.tolist()]
    shown = list(dict.fromkeys(tuples[item] for item in ranked))
    hits, gains = 0, 0.0
    for _ in range(draws):
        items: list[int] = []
        for one in shown:
            items += random.permutation([item for item, of in enumerate(tuples) if of == one]).tolist()
        if target in items[:k]:
            hits += 1
            gains += 1 / np.log2(items.index(target) + 2)
    return hits / draws, gains / draws


@pytest.mark.parametrize("target", [0, 5, 9])
def test_metrics_of_items_are_the_mean_over_orders_within_a_tuple(target: int) -> None:
    random = np.random.default_rng(4)
    values = random.integers(2, size=(12, 2)).astype(np.uint8)
    ranked = random.permutation(12)[:6]
    found = tuple_metrics(values, ranked[None], np.array([target]), 5)
    hit, ndcg = simulated(values, ranked, target, 5, 20_000)
    assert found.hit[0] == pytest.approx(hit, abs=0.015)
    assert found.ndcg[0] == pytest.approx(ndcg, abs=0.015)


def test_a_target_that_shares_its_codes_is_half_a_hit() -> None:
    values = np.array([[0], [0], [1]], dtype=np.uint8)
    found = tuple_metrics(values, np.array([[1, -1], [2, 1], [2, 1]]), np.array([0, 0, 2]), 1)
    assert found.hit_of_tuples.tolist() == [1, 0, 1]
    assert found.hit.tolist() == [0.5, 0, 1]
    assert found.ndcg_of_tuples.tolist() == [1, 0, 1]
    assert found.ndcg.tolist() == [0.5, 0, 1]
    found = tuple_metrics(values, np.array([[2, 1]]), np.array([0]), 2)
    # second of the list as a tuple; second or third as an item
    assert (found.hit_of_tuples[0], found.hit[0]) == (1, 0.5)
    assert found.ndcg_of_tuples[0] == pytest.approx(1 / np.log2(3))
    assert found.ndcg[0] == pytest.approx(0.5 / np.log2(3))


@given(seed=st.integers(0, 1000), k=st.integers(1, 8), different=st.integers(1, 15))
@settings(deadline=None)
def test_metrics_of_tuples_are_never_lower_and_equal_where_codes_are_unique(seed: int, k: int, different: int) -> None:
    random = np.random.default_rng(seed)
    ranked = np.stack([random.permutation(15)[:8] for _ in range(6)])
    targets = random.integers(15, size=6)
    shared = tuple_metrics(random.integers(different, size=(15, 1)), ranked, targets, k)
    assert (shared.hit_of_tuples >= shared.hit - 1e-12).all()
    assert (shared.ndcg_of_tuples >= shared.ndcg - 1e-12).all()
    unique = tuple_metrics(np.arange(15)[:, None], ranked, targets, k)
    places = ranked[:, :k] == targets[:, None]
    assert unique.hit.tolist() == unique.hit_of_tuples.tolist() == places.any(axis=1).tolist()
    expected = (places / np.log2(np.arange(places.shape[1]) + 2)).sum(axis=1)
    assert unique.ndcg == pytest.approx(expected)
    assert unique.ndcg_of_tuples == pytest.approx(expected)


def test_lists_and_targets_must_fit() -> None:
    with pytest.raises(ValueError, match="k must be at least 1"):
        tuple_metrics(VALUES, np.zeros((1, 2), dtype=int), np.zeros(1, dtype=int), 0)
    with pytest.raises(ValueError, match="2 targets for 1 lists"):
        tuple_metrics(VALUES, np.zeros((1, 2), dtype=int), np.zeros(2, dtype=int), 5)
