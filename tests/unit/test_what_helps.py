"""Recommenders beside their plain counterparts: the tests, their correction, and what is saved."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import ttest_rel
from what_helps_gains import made_up_gains

from ml.data.files import DamagedFile
from ml.data.sequences import Sequences
from ml.data.training_set import TrainingSet
from ml.evaluation.significance import SeedValues, holm
from ml.evaluation.what_helps.comparison import Part, compare, parts_of, what_helps
from ml.evaluation.what_helps.content import ALL_USERS, COLD_TARGETS, SHORT_HISTORIES, TAIL_TARGETS, WhatHelps
from ml.evaluation.what_helps.counterpart import Counterpart
from ml.evaluation.what_helps.files import load_what_helps, save_what_helps
from ml.recommenders.counterparts import counterparts, counterparts_of_run
from ml.recommenders.registry import library_registry

TEXT = Counterpart("text", "text", "plain")


def _everyone(users: int) -> Part:
    return Part(ALL_USERS, np.ones(users, dtype=bool))


def test_differences_are_those_of_scipy_corrected_by_holm():
    random = np.random.default_rng(0)
    plain, text, time = random.random((3, 200)) * random.integers(2, size=(3, 200))
    values = {name: SeedValues.of_one_seed(one) for name, one in (("plain", plain), ("text", text), ("time", time))}
    some = random.random(200) < 0.3
    asked = [TEXT, Counterpart("time", "time", "plain")]
    found = compare(values, asked, [_everyone(200), Part("some", some)])
    assert [(one.counterpart.recommender, one.part, one.users) for one in found] == [
        ("text", ALL_USERS, 200), ("text", "some", some.sum()), ("time", ALL_USERS, 200), ("time", "some", some.sum()),
    ]  # fmt: skip
    expected = [ttest_rel(one[chosen], plain[chosen]) for one in (text, time) for chosen in (slice(None), some)]
    np.testing.assert_allclose([one.compared.p_value for one in found], [test.pvalue for test in expected])
    adjusted = holm([test.pvalue for test in expected])
    np.testing.assert_allclose([one.compared.p_value_adjusted for one in found], adjusted)
    alone = expected[1].confidence_interval(found[1].compared.confidence)
    assert found[1].compared.difference.low == pytest.approx(alone.low)
    assert found[1].value - found[1].plain_value == pytest.approx(found[1].compared.difference.mean)


def test_seeds_make_a_difference_less_sure():
    random = np.random.default_rng(1)
    plain = SeedValues(random.random((3, 100)), (0, 1, 2))
    text = SeedValues(plain.by_seed + np.array([[0.3], [0.0], [-0.1]]) + random.normal(0, 0.01, (3, 100)), (0, 1, 2))
    (one,) = compare({"plain": plain, "text": text}, [TEXT], [_everyone(100)])
    over_users = ttest_rel(text.mean_by_user, plain.mean_by_user).pvalue
    assert over_users < 0.001 < 0.1 < one.compared.p_value


@given(st.lists(st.tuples(st.sampled_from([0.0, 0.5, 1.0]), st.sampled_from([0.0, 0.5, 1.0])), min_size=2, max_size=30))
def test_an_exchange_of_the_two_changes_the_sign_alone(pairs):
    one, other = (SeedValues.of_one_seed(np.array(values)) for values in zip(*pairs, strict=True))
    (there,) = compare({"text": one, "plain": other}, [TEXT], [_everyone(len(pairs))])
    (back,) = compare({"text": other, "plain": one}, [TEXT], [_everyone(len(pairs))])
    assert there.compared.difference.mean == pytest.approx(-back.compared.difference.mean)
    assert there.compared.difference.low == pytest.approx(-back.compared.difference.high)
    assert there.compared.p_value == pytest.approx(back.compared.p_value)


def test_parts_without_two_users_and_parts_of_all_users_are_omitted():
    values = {name: SeedValues.of_one_seed(np.array([0.0, 1.0, 0.5])) for name in ("plain", "text")}
    parts = [_everyone(3), Part("one", np.array([True, False, False])), Part("all again", np.ones(3, dtype=bool))]
    assert [one.part for one in compare(values, [TEXT], parts)] == [ALL_USERS]
    with pytest.raises(ValueError, match="values of 3 users, and 4 test users"):
        compare(values, [TEXT], [_everyone(4)])


def _training_set() -> TrainingSet:
    """Three users: a short history with a cold target, a long one with a popular target, and one with a rare one."""
    users = np.arange(3, dtype=np.int32)
    return TrainingSet(
        dataset="Made_Up",
        item_ids=np.array([f"i{item}" for item in range(12)], dtype="S3"),
        user_ids=np.array(["u0", "u1", "u2"], dtype="S2"),
        train=Sequences.from_lists([[0, 1], [0, 2, 3, 4, 5, 6, 7, 8], [0, 9, 1, 0, 2]]),
        validation_users=users[:0],
        validation_targets=users[:0],
        test_users=users,
        test_targets=np.array([11, 0, 3], dtype=np.int32),
    )


def test_parts_are_short_histories_and_rare_and_cold_targets():
    parts = {part.name: part.chosen.tolist() for part in parts_of(_training_set())}
    assert parts == {
        ALL_USERS: [True, True, True],
        SHORT_HISTORIES: [True, False, False],
        TAIL_TARGETS: [True, False, True],
        COLD_TARGETS: [True, False, False],
    }


def test_what_lacks_its_plain_counterpart_is_left_out_by_name():
    values = {"text": SeedValues.of_one_seed(np.zeros(3))}
    found = what_helps(values, [TEXT], {"text": "Text tower", "plain": "Tower"}, _training_set())
    assert found == WhatHelps(left_out=(("Text tower", "plain"),))


def test_a_comparison_is_saved_and_read(tmp_path):
    path = tmp_path / "what_helps.parquet"
    for found in (made_up_gains(), WhatHelps()):
        save_what_helps(found, path)
        assert load_what_helps(path) == found
    path.write_bytes(b"no table")
    with pytest.raises(DamagedFile, match=r"what_helps\.parquet cannot be used"):
        load_what_helps(path)
    pq.write_table(pq.read_table(_saved(tmp_path)).drop_columns(["family"]), path)
    with pytest.raises(DamagedFile, match="other columns"):
        load_what_helps(path)


def _saved(folder):
    save_what_helps(made_up_gains(), folder / "whole.parquet")
    return folder / "whole.parquet"


def test_what_is_not_known_is_null(tmp_path):
    (first, *_) = made_up_gains().gains
    unknown = replace(first, compared=replace(first.compared, p_value=float("nan"), p_value_adjusted=float("nan")))
    save_what_helps(WhatHelps((unknown,)), tmp_path / "one.parquet")
    (row,) = pq.read_table(tmp_path / "one.parquet").to_pylist()
    assert row["p_value"] is None
    assert np.isnan(load_what_helps(tmp_path / "one.parquet").gains[0].compared.p_value)


def test_counterparts_follow_families():
    known = library_registry()
    names = ["most_popular", "bm25_last_item", "text_graph_last", "two_hop_graph", "sasrec_sampled_softmax"]
    baselines = counterparts(names, known)
    assert baselines == tuple(Counterpart(name, "text", "two_hop_graph") for name in names[1:3])
    assert counterparts_of_run(names, known) == (), "baselines alone make no section"
    recipe = replace(known.recipes["sasrec_sampled_softmax"], family="time", plain="sasrec_sampled_softmax")
    with_one = replace(known, recipes={**known.recipes, "timed": recipe})
    timed = Counterpart("timed", "time", "sasrec_sampled_softmax")
    assert counterparts_of_run(["timed", *names], with_one) == (*baselines, timed)


def test_every_recipe_of_the_set_knowledge_has_a_plain_counterpart():
    known = library_registry()
    recipes = {name: recipe for name, recipe in known.recipes.items() if recipe.set == "knowledge"}
    assert recipes
    assert {one.recommender for one in counterparts(recipes, known)} == set(recipes)
    assert {recipe.plain for recipe in recipes.values()} <= set(known.recipes)
