"""The same interactions under another tie rule, with duplicates, or by another split."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from audit_data import DAY, Row, chains, dataset, histories
from hypothesis import given, settings
from hypothesis import strategies as st

from ml.audits.variant_runs import CHEAP, Measured, cheap_candidates, differences, measure
from ml.baselines.registry import BASELINES
from ml.data.variants import (
    TIE_RULES,
    VariantError,
    is_tied_with_previous,
    with_duplicates,
    with_leave_one_out,
    with_other_split,
    with_temporal_split,
    with_tie_order,
)
from ml.evaluation.metrics import user_metrics
from ml.evaluation.rankings import rank

MOMENTS = st.one_of(st.integers(0, 4).map(lambda day: day * DAY), st.integers(-3000, 3000))
NO_COPIES = st.just(0)


@st.composite
def made_up_rows(draw, moments=MOMENTS, copies=NO_COPIES) -> list[Row]:
    """Few users, items and moments, so that ties abound; ratings that tell equal rows apart, places at random."""
    told = draw(
        st.lists(
            st.tuples(st.integers(0, 5), st.integers(0, 6), moments, st.sampled_from([None, 1.0, 5.0])),
            unique=True,
            min_size=8,
            max_size=40,
        )
    )
    lines = draw(st.permutations(range(len(told))))
    rows = [
        Row(f"Ü{user}", f"i{item}", moment, line, rating, draw(copies))
        for (user, item, moment, rating), line in zip(told, lines, strict=True)
    ]
    return [*rows, Row("last", "i0", 0, 90), Row("last", "i1", 9 * DAY, 91), Row("last", "i2", 10 * DAY, 92)]


@given(made_up_rows(), st.sampled_from(TIE_RULES), st.sampled_from(TIE_RULES), st.integers(0, 3))
@settings(max_examples=60, deadline=None)
def test_another_tie_rule_gives_what_plain_python_gives(rows, own, other, seed):
    made, kept = dataset(rows, own, seed, validation_users=3)
    expected, _ = dataset(rows, other, seed, validation_users=3)
    assert with_tie_order(made, kept, other, seed).digest() == expected.digest()
    assert with_tie_order(made, kept, own, seed).digest() == made.digest()


@given(made_up_rows(moments=st.just(None)), st.sampled_from(TIE_RULES))
@settings(max_examples=20, deadline=None)
def test_without_times_the_rule_decides_the_whole_order(rows, other):
    rows = [replace(row, moment=None) for row in rows]
    made, kept = dataset(rows, "file")
    assert with_tie_order(made, kept, other).digest() == dataset(rows, other)[0].digest()


@given(made_up_rows(), st.sampled_from(TIE_RULES), st.integers(0, 4))
@settings(max_examples=60, deadline=None)
def test_the_other_split_is_what_plain_python_gives(rows, rule, wanted):
    by_user, by_user_kept = dataset(rows, rule, 5, validation_users=wanted)
    by_time, by_time_kept = dataset(rows, rule, 5, "global-temporal", validation_users=wanted)
    if len(by_time.train.items) and len(by_time.test_users):
        assert with_other_split(by_user, by_user_kept).digest() == by_time.digest()
    else:
        with pytest.raises(VariantError, match="leaves"):
            with_other_split(by_user, by_user_kept)
    assert with_other_split(by_time, by_time_kept).digest() == by_user.digest()
    # ties are ordered within the time windows of the split that is there
    assert with_tie_order(by_time, by_time_kept, rule, 5).digest() == by_time.digest()


@given(made_up_rows(copies=st.integers(0, 2)), st.sampled_from(["leave-one-out", "global-temporal"]))
@settings(max_examples=40, deadline=None)
def test_duplicates_stand_beside_their_original(rows, split):
    made, kept = dataset(rows, "hash", 1, split, validation_users=3)
    with_copies = with_duplicates(made, kept)
    for name in ("user_ids", "item_ids", "validation_users", "test_users"):
        assert np.array_equal(getattr(with_copies, name), getattr(made, name))
    place = {item.decode(): index for index, item in enumerate(made.item_ids.tolist())}
    expected = [
        [place[row.item] for row in own for _ in range(1 + row.copies)] for own in histories(rows, "hash", 1).values()
    ]
    known = dict(zip(made.test_users.tolist(), range(len(made.test_users)), strict=True))
    tested = with_copies.histories("test")
    for user, items in enumerate(expected):
        if user not in known:
            continue
        history, target = tested[known[user]].tolist(), with_copies.test_targets[known[user]]
        assert [*history, target] == items[: len(history) + 1]
        if split == "leave-one-out":
            assert len(history) + 1 == len(items)
        else:
            assert target == made.test_targets[known[user]]
    none = with_duplicates(made, replace(kept, duplicates=np.zeros_like(kept.duplicates)))
    assert none.digest() == made.digest()


def test_a_copy_becomes_the_target_of_its_original():
    rows = [Row("a", "x", 0, 0), Row("a", "y", DAY, 1), Row("a", "z", 2 * DAY, 2, copies=1), Row("b", "x", 0, 3)]
    made, kept = dataset([*rows, Row("b", "y", DAY, 4)], validation_users=0)
    assert made.histories("test")[0].tolist() == [0, 1]
    assert with_duplicates(made, kept).histories("test")[0].tolist() == [0, 1, 2]
    assert with_duplicates(made, kept).test_targets.tolist() == made.test_targets.tolist() == [2, 1]


def test_ties_are_within_a_user():
    rows = [Row("a", "x", 0, 0), Row("a", "y", 0, 1), Row("b", "x", 0, 2), Row("b", "y", 1, 3), Row("b", "z", None, 4)]
    _, kept = dataset([*rows, Row("b", "w", None, 5)])
    assert is_tied_with_previous(kept).tolist() == [False, True, False, False, False, True]


def test_what_cannot_be_made_is_refused():
    made, kept = dataset(chains(users=10))
    with pytest.raises(ValueError, match="no tie rule 'random'"):
        with_tie_order(made, kept, "random")
    with pytest.raises(VariantError, match="came with the source"):
        with_tie_order(made, replace(kept, has_given_order=True), "hash")
    given_split = replace(kept, has_given_split=True)
    for variant in (with_duplicates, with_leave_one_out, with_temporal_split):
        with pytest.raises(VariantError, match="split came with the source"):
            variant(made, given_split)
    with pytest.raises(VariantError, match="has a time"):
        with_temporal_split(*dataset([replace(row, moment=None) for row in chains(users=10)]))


@pytest.mark.parametrize("exclude_seen", [False, True])
def test_measured_values_are_those_of_the_leaderboard(exclude_seen):
    made, _ = dataset(chains())
    candidates = cheap_candidates(made, "train+validation")
    assert [candidate.name for candidate in candidates] == [name for name in CHEAP if name != "bm25_last_item"]
    results = measure(made, candidates, exclude_seen)
    for name, one in results.items():
        fitted = BASELINES[name].create().fit(made.to_fit_on("train+validation"))
        rankings = rank(fitted, made, name, 0, depth=10, exclude_seen=exclude_seen)
        targets = dict(zip(made.test_users.tolist(), made.test_targets.tolist(), strict=True))
        found = {
            row["user_index"]: row["rank"]
            for row in rankings.to_pylist()
            if row["item_index"] == targets[row["user_index"]]
        }
        assert one.ranks.tolist() == [found.get(user, 0) for user in made.test_users.tolist()]
        assert np.array_equal(user_metrics(rankings, made)["user_index"].to_numpy(), one.users)
    assert results["markov_chain"].mean > 0.9


def test_values_of_ranks():
    one = Measured(np.arange(4), np.array([0, 1, 3, 10], dtype=np.int16))
    assert one.ndcg.tolist() == pytest.approx([0, 1, 0.5, 1 / np.log2(11)])
    assert one.recall.tolist() == [0, 1, 1, 1]


def test_baselines_that_read_text_need_it():
    made, _ = dataset(chains(users=10))
    with_text = made.with_text(tuple(f"text {number}" for number in range(made.items)))
    assert "bm25_last_item" not in [candidate.name for candidate in cheap_candidates(made)]
    assert "bm25_last_item" in [candidate.name for candidate in cheap_candidates(with_text)]


def test_a_sample_of_test_users_is_ranked_as_they_are_among_all(monkeypatch):
    made, _ = dataset(chains(days=30), split="global-temporal")
    candidates = cheap_candidates(made, names=("markov_chain", "two_hop_graph_decay"))
    everyone = measure(made, candidates)
    monkeypatch.setattr("ml.audits.variant_runs.MOST_USERS", 5)
    few, again = (measure(made, candidates, seed=3) for _ in range(2))
    for name, one in few.items():
        assert len(one.users) == 5
        assert np.array_equal(one.users, again[name].users)
        where = np.searchsorted(everyone[name].users, one.users)
        assert np.array_equal(one.ranks, everyone[name].ranks[where])
    part = made.measured_on(made.test_users[[0, 2]])
    assert [row.tolist() for row in (part.histories("test")[0], part.histories("test")[1])] == [
        made.histories("test")[0].tolist(),
        made.histories("test")[2].tolist(),
    ]


def test_differences_tell_what_is_there_and_only_that():
    generator = np.random.default_rng(0)
    noise = {(f"noise {number}",): generator.normal(0, 1, 400) for number in range(20)}
    tested = differences({**noise, ("real",): generator.normal(0.3, 1, 400), ("none",): np.zeros(400)})
    assert [key for key, one in tested.items() if one.is_significant] == [("real",)]
    assert tested["real",].interval.low > 0
    assert tested["none",].p_value == 1
    assert differences({}) == {}
