"""The audit of leakage: against plain re-computations, on data made bad for it, and on data that is good."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
from audit_toys import DAY, Peeking, PeekingPopularity, leave_one_out, random_rows, with_moments
from hypothesis import given, settings
from hypothesis import strategies as st

from ml.audits import near_duplicates as near_duplicates_module
from ml.audits.audit import CANNOT_TELL, CONCERN, NO_CONCERN, NOTE
from ml.audits.leakage import (
    audit_leakage,
    baseline_refits,
    code_refits,
    later_than_targets,
    rankings_refit,
    repeated_targets,
    sees_held_out,
    with_held_out_replaced,
)
from ml.audits.near_duplicates import near_duplicate_users, near_duplicates
from ml.baselines.registry import ALWAYS_RUN, BASELINES
from ml.codes.recipe import load_codes_recipes
from ml.codes.svd import assign_svd_codes
from ml.codes.vectors import VectorPart
from ml.data.sequences import Sequences
from ml.data.training_set import FIT_ON_BOTH

WORDS = ["red", "green", "blue", "small", "large", "soft", "hard", "cold"]


def toy(users: int = 120, items: int = 60, seed: int = 0):
    random = np.random.default_rng(seed)
    texts = [" ".join(random.choice(WORDS, 3)) for _ in range(items)]
    return leave_one_out(random_rows(users, items, seed), items, texts)


def labelled(training_set):
    """With labels in the texts, since some codes are made of the category."""
    texts = [f"Title: {text} Brand: Unknown Category: {text[:3]} Price: Unknown" for text in training_set.item_text]
    return training_set.with_text(tuple(texts))


def in_turn(training_set) -> list:
    """Moments at which every user is done before any held-out item comes."""
    lengths = training_set.histories("test").lengths + 1
    return [[*range(length - 2), 1000, 2000] for length in lengths]


# ---- nearly equal users


def likeness(one, other) -> float:
    one, other = set(one), set(other)
    return len(one & other) / len(one | other)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.lists(st.integers(0, 11), max_size=12), max_size=25),
    st.sampled_from([0.5, 0.75, 0.8, 0.9, 1.0]),
    st.integers(1, 5),
)
def test_near_duplicates_are_those_found_by_comparing_each_with_each(rows, least_likeness, least_items):
    found = near_duplicates(Sequences.from_lists(rows), 12, least_likeness, least_items)
    large = [user for user, row in enumerate(rows) if len(set(row)) >= least_items]
    expected = {
        pair for pair in combinations(large, 2) if likeness(rows[pair[0]], rows[pair[1]]) >= least_likeness - 1e-12
    }
    nearby = set(zip(found.first.tolist(), found.second.tolist(), strict=True))
    pairs = {
        (one, other)
        for one, other in combinations(large, 2)
        if found.groups[one] == found.groups[other]
        or tuple(sorted((int(found.groups[one]), int(found.groups[other])))) in nearby
    }
    assert pairs == expected
    assert np.flatnonzero(found.has_duplicate()).tolist() == sorted({user for pair in expected for user in pair})
    assert [user for user in range(len(rows)) if found.groups[user] >= 0] == large


def test_long_histories_that_differ_in_one_item_are_near_duplicates():
    random = np.random.default_rng(0)
    rows = [random.permutation(3000)[:200] for _ in range(50)]
    rows.append(np.append(rows[7][:-1], next(item for item in range(3000) if item not in rows[7])))
    found = near_duplicates(Sequences.from_lists(rows), 3000)
    assert np.flatnonzero(found.has_duplicate()).tolist() == [7, 50]
    assert found.likeness == pytest.approx([199 / 201])


def test_too_many_candidates_are_not_looked_at_and_it_is_said(monkeypatch):
    rows = [[*range(10), *([10 + user] if user else [])] for user in range(20)] + [list(range(10))]
    assert near_duplicates(Sequences.from_lists(rows), 40).has_duplicate().all()
    monkeypatch.setattr(near_duplicates_module, "MOST_CANDIDATES", 3)
    found = near_duplicates(Sequences.from_lists(rows), 40)
    assert not found.searched
    assert np.flatnonzero(found.has_duplicate()).tolist() == [0, 20]
    audit = audit_leakage(leave_one_out(rows, 40), None, {}, exclude_seen=False)
    assert "only equal sets" in audit.tables[1].note


def test_near_duplicates_ask_for_a_likeness_that_makes_sense():
    with pytest.raises(ValueError, match="above 0 and at most 1"):
        near_duplicates(Sequences.from_lists([[1]]), 2, likeness=0)


# ---- users told twice


def near_duplicates_plainly(rows, fit_on_both: bool) -> int:
    cut = 1 if fit_on_both else 2
    held = 0
    for user, row in enumerate(rows):
        others = [
            other
            for at, other in enumerate(rows)
            if at != user and min(len(set(row)), len(set(other))) >= 5 and likeness(row, other) >= 0.9 - 1e-12
        ]
        held += any(row[-1] in other[:-cut] for other in others)
    return held


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.lists(st.integers(0, 6), min_size=5, max_size=9), min_size=1, max_size=14),
    st.booleans(),
)
def test_targets_that_a_double_holds_are_those_found_by_comparing_each_with_each(rows, both):
    rows = [row if len(row) >= 2 else row * 2 for row in rows]
    found = near_duplicate_users(leave_one_out(rows, 7), FIT_ON_BOTH if both else "train")
    assert found.targets_held == near_duplicates_plainly(rows, both)


def test_a_user_twice_in_another_order_is_a_concern():
    rows = random_rows(60, 60)
    training_set = leave_one_out([*rows, *(row[::-1] for row in rows[:5])], 60)
    audit = audit_leakage(training_set, None, {}, exclude_seen=False)
    assert near_duplicate_users(training_set).targets_held == 10
    assert audit.concern
    assert "nearly the same items" in audit.verdict
    assert audit.facts["targets_held_by_duplicates"] == pytest.approx(10 / 65)


def test_a_target_that_a_nearly_equal_user_was_trained_on_counts():
    one = [*range(10)]
    other = [9, *range(9), 20, 21]  # 10 of 12 items: too unlike
    near = [9, *range(9), 20]  # 10 of 11, and 9 is the target of the first
    assert near_duplicate_users(leave_one_out([one, other], 30)).targets_held == 0
    found = near_duplicate_users(leave_one_out([one, near, *random_rows(5, 30)], 30))
    assert (found.users, found.equal_users, found.largest_group, found.targets_held) == (2, 0, 0, 1)


# ---- later interactions


@settings(max_examples=60, deadline=None)
@given(st.data(), st.booleans())
def test_later_interactions_are_those_counted_one_by_one(data, both):
    rows = data.draw(st.lists(st.lists(st.integers(0, 5), min_size=3, max_size=5), min_size=1, max_size=6))
    moments = [data.draw(st.lists(st.integers(0, 8), min_size=len(row), max_size=len(row))) for row in rows]
    found = later_than_targets(with_moments(leave_one_out(rows, 6), moments), FIT_ON_BOTH if both else "train")
    cut = 1 if both else 2
    shares, affected, days, only = [], [], [], []
    for user, row in enumerate(rows):
        target = moments[user][-1]
        of_others = [moment for other in range(len(rows)) if other != user for moment in moments[other][:-cut]]
        trained = [
            moments[other][place]
            for other in range(len(rows))
            for place in range(len(rows[other]) - cut)
            if rows[other][place] == row[-1]
        ]
        shares.append(sum(moment > target for moment in of_others) / max(1, len(of_others)))
        affected.append(any(moment > target for moment in of_others))
        later = sorted(m for at in range(len(rows)) for m in moments[at][:-cut] if m > target)
        if affected[-1]:
            days.append((later[len(later) // 2] - target) / DAY)
        only.append(bool(trained) and min(trained) > target)
    assert found.share_later == pytest.approx(np.mean(shares))
    assert found.targets_affected == pytest.approx(np.mean(affected))
    assert found.only_later == pytest.approx(np.mean(only))
    assert found.median_days == pytest.approx(np.median(days) if days else 0)


def test_users_who_come_one_after_another_are_a_note_under_leave_one_out():
    training_set = toy()
    lengths = training_set.histories("test").lengths + 1
    moments = [[user * 100 * DAY + place for place in range(length)] for user, length in enumerate(lengths)]
    audit = audit_leakage(training_set, with_moments(training_set, moments), {}, exclude_seen=True)
    assert audit.outcome == NOTE
    assert audit.facts["training_later_than_target"] == pytest.approx(0.5, abs=0.02)
    assert "as usual unless the split is by time" in audit.verdict
    temporal = replace(training_set, protocol={"split": "global-temporal, validation from 0.8"})
    by_time = audit_leakage(temporal, with_moments(training_set, moments), {}, exclude_seen=True)
    assert by_time.outcome == CONCERN
    assert "although the split is by global time" in by_time.verdict
    assert json.loads(json.dumps(audit.as_json(), allow_nan=False))["name"] == "leakage"


def test_a_split_by_global_time_of_different_users_is_none():
    training_set = labelled(toy())
    interactions = with_moments(training_set, in_turn(training_set))
    audit = audit_leakage(
        training_set, interactions, baseline_refits(training_set, True) | code_refits(CODES.values()), exclude_seen=True
    )
    assert audit.outcome == NO_CONCERN
    assert audit.verdict == "No leak was found, and no training interaction is later than a test case."
    assert audit.facts["training_later_than_target"] == 0
    assert audit == audit_leakage(
        training_set, interactions, baseline_refits(training_set, True) | code_refits(CODES.values()), exclude_seen=True
    )


def test_without_times_the_later_ones_are_not_known():
    training_set = toy()
    nothing = [[None] * length for length in training_set.histories("test").lengths + 1]
    for interactions in (None, with_moments(training_set, nothing)):
        audit = audit_leakage(training_set, interactions, {}, exclude_seen=True)
        assert audit.outcome == CANNOT_TELL
        assert audit.verdict.startswith("No leak was found; later interactions are not known")
        assert audit.facts["training_later_than_target"] is None
        assert audit.tables[0].rows == (("Later interactions", "not known"),)
    with pytest.raises(ValueError, match="no times"):
        later_than_targets(with_moments(training_set, nothing))


# ---- repeated targets


def test_targets_in_their_history_are_a_concern_where_seen_items_are_left_out():
    rows = [[*row[:-1], row[0]] if user < 20 else row for user, row in enumerate(random_rows(60, 60))]
    rows[0] = [1, 2, 3, 4, 4]
    training_set = leave_one_out(rows, 60)
    found = repeated_targets(training_set)
    assert (found.any, found.last) == (20, 1)
    audit = audit_leakage(training_set, None, {}, exclude_seen=True)
    assert audit.concern
    assert "never be recommended" in audit.verdict
    assert not audit_leakage(training_set, None, {}, exclude_seen=False).concern


# ---- what sees held-out items


CODES = load_codes_recipes()


@pytest.mark.parametrize("name", [name for name, recipe in CODES.items() if not recipe.needs_recipes])
def test_replaced_held_out_items_change_no_code(name):
    assert not sees_held_out(lambda data: (CODES[name].assign(data).values,), labelled(toy()))


def test_codes_that_take_long_are_left_out():
    names = ("bpr", "graph", "random", "svd", "text", "text_and_graph")
    titles = ["Item graph", "Random", "Truncated SVD", "Text", "Text and item graph"]
    assert list(code_refits(CODES[name] for name in names)) == [f"Codes by {title}" for title in titles]
    of_a_model = replace(CODES["graph"], vectors=(VectorPart("recipe", 8, recipe="sasrec"),))
    assert code_refits([of_a_model]) == {}


@pytest.mark.parametrize("exclude_seen", [False, True])
@pytest.mark.parametrize("name", ALWAYS_RUN)
def test_replaced_held_out_items_change_no_baseline(name, exclude_seen):
    training_set = toy()
    assert not sees_held_out(baseline_refits(training_set, exclude_seen)[BASELINES[name].title], training_set)


def test_codes_of_whole_histories_are_caught():
    def whole(training_set):
        train = training_set.with_validation_trained_on().train
        whole = train.append(np.asarray(training_set.test_users, dtype=np.int64), training_set.test_targets)
        return (assign_svd_codes(leave_one_out([[*row, 0, 0] for row in whole], training_set.items), 4).values,)

    def validated(training_set):
        return (assign_svd_codes(training_set.with_validation_trained_on(), 4).values,)

    for leaking in (whole, validated):
        assert sees_held_out(leaking, toy())
    fitted = labelled(toy())
    audit = audit_leakage(fitted, None, {"Codes of everything": whole} | code_refits(CODES.values()), exclude_seen=True)
    assert audit.concern
    assert audit.verdict.startswith("Held-out items change Codes of everything; ")
    assert audit.tables[-1].rows[0] == ("Codes of everything", "changed")


def test_a_graph_of_whole_histories_is_caught():
    training_set = toy()
    histories = training_set.histories("test")
    assert sees_held_out(rankings_refit(Peeking, histories, exclude_seen=True), training_set)


@pytest.mark.parametrize("exclude_seen", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_a_popularity_that_counts_held_out_items_is_caught(exclude_seen, seed):
    """Exchanged among the users they would be as many of each as before, and the list the same."""
    training_set = toy()
    histories = training_set.histories("test")
    assert sees_held_out(rankings_refit(PeekingPopularity, histories, exclude_seen), training_set, seed)


def test_a_replacement_keeps_training_histories_and_no_held_out_item():
    training_set = toy()
    replaced = with_held_out_replaced(training_set, seed=3)
    assert replaced.train is training_set.train
    assert (replaced.test_targets != training_set.test_targets).all()
    assert (replaced.validation_targets != training_set.validation_targets).all()
    assert sorted(replaced.test_targets) != sorted(training_set.test_targets)
    assert set(replaced.test_targets) <= set(range(training_set.items))
    assert replaced.digest() == with_held_out_replaced(training_set, seed=3).digest()


def test_where_no_item_can_be_replaced_nothing_is_known():
    training_set = leave_one_out([[0, 0, 0], [0, 0, 0]], 1)
    with pytest.raises(ValueError, match="nothing can be found out"):
        sees_held_out(lambda data: (), training_set)
    audit = audit_leakage(training_set, None, baseline_refits(training_set, False), exclude_seen=False)
    assert audit.tables[-1].rows[0][1].startswith("not known")
    assert "no held-out item that can be replaced" in audit.verdict
