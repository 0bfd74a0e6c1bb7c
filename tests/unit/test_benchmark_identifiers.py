"""The benchmark of identifiers: what is removed, what is measured again, and what the tables say."""

import importlib.util
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from recommender_factories import FACTORIES, made_up_training_set

from ml.baselines.registry import BASELINES
from ml.codes.recipe import load_codes_recipes
from ml.data.sequences import Sequences

# the folder is no installed package
_FILE = Path(__file__).parents[2] / "benchmarks" / "identifiers.py"
_SPEC = importlib.util.spec_from_file_location("benchmark_of_identifiers", _FILE)
bench = sys.modules[_SPEC.name] = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(bench)


@given(st.integers(0, 5), st.floats(0.05, 0.95))
def test_no_cold_item_is_left_in_histories_or_validation_targets(seed, share):
    given_set = made_up_training_set()
    cold = bench.is_cold(given_set.item_ids, share, seed)
    warm = bench.without_cold(given_set, cold)
    for split in ("train", "validation", "test"):
        assert not cold[warm.histories(split).items].any()
    assert not cold[warm.validation_targets].any()
    assert (warm.test_targets == given_set.test_targets).all()
    assert warm.items == given_set.items
    for row in range(given_set.users):
        assert list(warm.train[row]) == [item for item in given_set.train[row] if not cold[item]]


def test_a_user_with_a_cold_validation_target_keeps_the_items_before_it():
    given_set = made_up_training_set()
    user = int(given_set.validation_users[1])
    between = Sequences.from_lists([[case % 7, 8] for case in range(len(given_set.validation_users))])
    given_set = replace(given_set, before_validation=between)
    cold = np.zeros(given_set.items, dtype=bool)
    cold[given_set.validation_targets[1]] = True
    warm = bench.without_cold(given_set, cold)
    assert user not in warm.validation_users
    case = list(given_set.test_users).index(user)
    expected = [item for item in given_set.histories("test")[case] if not cold[item]]
    assert list(warm.histories("test")[case]) == expected


def test_whether_an_item_is_cold_depends_on_itself_alone():
    ids = np.array([f"I{number}" for number in range(20_000)], dtype="S")
    cold = bench.is_cold(ids, 0.05)
    assert (bench.is_cold(ids[::3], 0.05) == cold[::3]).all()
    assert abs(cold.mean() - 0.05) < 0.01
    assert (bench.is_cold(ids, 0.2) >= cold).all()
    assert (bench.is_cold(ids, 0.05, seed=1) != cold).any()


@pytest.mark.parametrize("share", [0, 1, -0.1, float("nan")])
def test_a_share_must_leave_items_on_both_sides(share):
    with pytest.raises(ValueError, match="--cold must be above 0 and below 1"):
        bench.is_cold(np.array([b"a"]), share)


def test_a_result_is_made_again_only_where_its_key_differs(tmp_path):
    made = []

    def make():
        made.append(1)
        return {"ndcg@10": len(made)}

    file = tmp_path / "below" / "fit.json"
    key = bench.key_of(recipe="a", seed=0)
    assert bench.kept(file, key, make) == bench.kept(file, key, make) == {"ndcg@10": 1}
    assert bench.kept(file, bench.key_of(recipe="a", seed=1), make) == {"ndcg@10": 2}
    assert [path.name for path in file.parent.iterdir()] == ["fit.json"]


def test_spearman_of_known_pairs():
    assert bench.spearman([1, 2, 3, None], [10, 30, 20, 5]) == pytest.approx(0.5)
    assert bench.spearman([1, 2, None], [1, 2, 3]) is None
    assert bench.spearman([1, 1, 1], [1, 2, 3]) is None


def test_chance_is_the_mean_over_all_places_of_the_target():
    gains = [1 / np.log2(place + 2) if place < 10 else 0 for place in range(40)]
    assert bench.chance(40)["ndcg@10"] == pytest.approx(np.mean(gains))
    assert bench.chance(40)["recall@10"] == pytest.approx(0.25)
    assert bench.chance(4)["recall@10"] == 1


def test_quality_is_of_the_first_level_and_of_collisions_before_the_repair():
    training_set = made_up_training_set()
    codes = load_codes_recipes()["svd_identifiers"].assign(training_set)
    quality = bench.quality_of(codes)
    level = codes.report["by_level"][0]
    assert quality.neighbours == level["neighbours_sharing_prefix"]
    assert quality.over_chance == pytest.approx(quality.neighbours / level["sharing_prefix_by_chance"])
    assert codes.report["items_in_collisions"] == 0
    assert quality.collisions == codes.report["before_collisions_were_resolved"]["items_in_collisions"]


def test_recipes_without_codes_of_their_own_are_left_out_with_the_reason():
    training_set = replace(made_up_training_set(), item_text=None)
    recipes = load_codes_recipes()
    shared = replace(recipes["random"], name="shared", book_sizes=(4,))
    named = [recipes[name] for name in ("graph", "text_and_graph", "p5_semantic", "random_identifiers")]
    codes, left_out = bench.assigned([*named, shared], training_set, 0)
    assert list(codes) == ["graph", "random_identifiers"]
    reasons = dict(sentence.split(" is left out: ") for sentence in left_out)
    assert list(reasons) == ["text_and_graph", "p5_semantic", "shared"]
    assert "those of graph" in reasons["text_and_graph"]
    assert "item text" in reasons["p5_semantic"]
    assert "not unique" in reasons["shared"]


def test_metrics_of_cold_and_warm_targets_make_up_those_of_all():
    training_set = made_up_training_set()
    cold = bench.is_cold(training_set.item_ids, 0.3)
    warm = bench.without_cold(training_set, cold)
    fitted = BASELINES["bm25_last_item"].create(0).fit(warm)
    together = bench.metrics_of(fitted, warm, exclude_seen=False)
    apart = bench.metrics_of(fitted, warm, exclude_seen=False, cold=cold)
    share = cold[warm.test_targets].mean()
    for metric in bench.METRICS:
        mean = share * apart["cold"][metric] + (1 - share) * apart["warm"][metric]
        assert mean == pytest.approx(together[metric])


def test_models_are_trained_on_each_codes_once_and_tabulated(tmp_path, monkeypatch):
    pytest.importorskip("torch")
    training_set = made_up_training_set()
    small = next(one for one in FACTORIES if one.name == "item_codes_tree").create(0).recipe
    recipes = load_codes_recipes()
    named = ("random_identifiers", "p5_sequential", "graph", "text_and_sasrec")
    chosen = [recipes[name] for name in named]
    setting = bench.Setting(tmp_path, exclude_seen=False)
    under_codes = {"sasrec_sampled_softmax": next(one for one in FACTORIES if one.name == "sasrec").create(0).recipe}
    lines = bench.books(training_set, chosen, [small], 1, setting, under_codes)
    assert [line.split(" | ")[0].removeprefix("| ") for line in lines[2:6]] == list(named)
    assert lines[-1].startswith("| item_codes_tree | 4 | ")
    assert len(list(tmp_path.glob("*.json"))) == 4
    assert len(list(tmp_path.glob("vectors-sasrec_sampled_softmax-seed-0-*.npy"))) == 1

    def trained(*_):
        raise AssertionError("nothing has changed, so nothing is trained again")

    monkeypatch.setattr(bench, "trained", trained)
    assert bench.books(training_set, chosen, [small], 1, setting, under_codes) == lines
    # without the model there are no codes of its vectors
    reason = "there is no recipe sasrec_sampled_softmax whose item vectors they could be made of"
    without = bench.books(training_set, chosen, [small], 1, setting)
    assert without[-1] == f"text_and_sasrec is left out: {reason}."


def test_cold_items_are_compared_for_all_recommenders(tmp_path):
    pytest.importorskip("torch")
    by_name = {one.name: one for one in FACTORIES}
    tree = by_name["item_codes_tree"].create(0).recipe
    recipes = {
        "item_codes_tree": tree,
        "item_codes_ar": by_name["item_codes_ar"].create(0).recipe,
        "item_codes_liger": bench.with_values(tree, {"model.dense_candidates": 10}),
        "sasrec_sampled_softmax": by_name["sasrec"].create(0).recipe,
    }
    setting = bench.Setting(tmp_path, exclude_seen=False)
    lines = bench.cold_items(made_up_training_set(), 0.3, 0, recipes, 1, setting)
    titles = [line.split(" | ")[0].removeprefix("| ") for line in lines[4:]]
    assert titles == [
        "tree, text_and_graph",
        "tree, text_and_graph, reads codes alone",
        "SASRec, items alone",
        "code by code, text_and_graph, reads codes alone",
        "tree, text_and_graph, ranked densely, reads codes alone",
        "BM25 on text",
        "two-hop graph",
        "chance",
    ]


def test_cold_items_need_text(tmp_path):
    training_set = replace(made_up_training_set(), item_text=None)
    with pytest.raises(ValueError, match="needs item text, and Made_Up has none"):
        bench.cold_items(training_set, 0.3, 0, {}, 1, bench.Setting(tmp_path, exclude_seen=False))
