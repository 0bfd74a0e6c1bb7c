"""Whether recommenders keep their order under a split by global time."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from audit_data import DAY, Row, chains, dataset

from ml.audits.audit import CANNOT_TELL, CONCERN, LEAST_USERS, NO_CONCERN, NOT_APPLICABLE, Audit
from ml.audits.temporal import audit_temporal
from ml.audits.variant_runs import cheap_candidates

NAMES = ("most_popular", "markov_chain", "two_hop_graph_decay")


def turned(users: int = 150) -> list[Row]:
    """Items without order on ten early days, then one that all come to, then a walk along a ring of new items.

    Leave-one-out trains on the walks of other users, so that a chain knows the next step. Whoever is asked before the
    walks can know no more than what is popular.
    """
    generator = np.random.default_rng(0)
    rows = []
    for user in range(users):
        early = [f"I{item:03d}" for item in generator.choice(60, 10)]
        early[int(generator.integers(8))] = "POPULAR"
        start = int(generator.integers(30))
        late = ["POPULAR", *(f"N{(start + step) % 30:02d}" for step in range(6))]
        days = [*range(10), *range(100, 107)]
        rows += [(f"A{user:04d}", item, day * DAY) for item, day in zip([*early, *late], days, strict=True)]
    return [Row(*row, line) for line, row in enumerate(rows)]


def test_fires_where_another_wins_without_a_look_at_the_future():
    made, kept = dataset(turned())
    audit = audit_temporal(made, kept, cheap_candidates(made, names=NAMES), quantiles=(0.5, 0.6))
    assert audit.facts["winner_leave_one_out"] == "markov_chain"
    assert audit.facts["winner_global_temporal"] == "most_popular"
    assert audit.facts["test_users_global_temporal"] == 150
    assert audit.facts["winners_p_value"] < 0.05
    assert audit.outcome == CONCERN
    assert audit.verdict.endswith(": a significant difference for 150 test users.")


def test_quiet_where_the_same_recommender_wins_both_ways():
    made, kept = dataset(chains(users=900, days=30))
    audit = audit_temporal(made, kept, cheap_candidates(made, names=NAMES))
    assert audit.outcome == NO_CONCERN
    assert audit.facts["winner_leave_one_out"] == audit.facts["winner_global_temporal"] == "markov_chain"
    assert audit.verdict.startswith("First-order Markov chain wins under leave-one-out and, for ")
    assert audit.facts["kendall_tau"] == pytest.approx(1)


@pytest.mark.parametrize("split", ["leave-one-out", "global-temporal"])
def test_values_do_not_depend_on_which_split_is_the_own_one(split):
    made, kept = dataset(chains(days=30), split=split)
    audit = audit_temporal(made, kept, cheap_candidates(made, names=NAMES))
    made, kept = dataset(chains(days=30), split="leave-one-out")
    other = audit_temporal(made, kept, cheap_candidates(made, names=NAMES))
    assert audit == other


def by_chance(users: int) -> list[Row]:
    generator = np.random.default_rng(5)
    return [
        Row(f"A{user:03d}", f"I{item:02d}", (int(start) + day) * DAY, 10 * user + day)
        for user, start in enumerate(generator.integers(0, 40, users))
        for day, item in enumerate(generator.choice(30, 6, replace=False))
    ]


def test_another_winner_by_chance_is_not_called_one():
    made, kept = dataset(by_chance(1200))
    audit = audit_temporal(made, kept, cheap_candidates(made))
    assert audit.facts["test_users_global_temporal"] >= LEAST_USERS
    assert audit.facts["winner_leave_one_out"] != audit.facts["winner_global_temporal"]
    assert audit.outcome == CANNOT_TELL
    assert audit.verdict.endswith("too few to tell which one wins.")


@pytest.mark.parametrize("rows", [by_chance(100), turned(60)], ids=["by chance", "clear"])
def test_few_users_have_no_winner(rows):
    made, kept = dataset(rows)
    audit = audit_temporal(made, kept, cheap_candidates(made, names=NAMES), quantiles=(0.5, 0.6))
    users = audit.facts["test_users_global_temporal"]
    assert 0 < users < LEAST_USERS
    assert audit.outcome == CANNOT_TELL
    assert audit.verdict.startswith("Too few users to tell")
    assert f" {users} test users" in audit.verdict


def test_does_not_apply_without_times_or_without_a_test_user():
    made, kept = dataset([replace(row, moment=None) for row in chains(users=20)])
    audit = audit_temporal(made, kept)
    assert audit.verdict == "This audit does not apply: not every interaction has a time."
    assert audit.outcome == NOT_APPLICABLE
    # all at one moment: nothing is before the first boundary
    made, kept = dataset([replace(row, moment=0) for row in chains(users=20)])
    assert "does not apply: the other split leaves 0 interactions" in audit_temporal(made, kept).verdict
    made, kept = dataset(chains(users=20))
    given = replace(kept, has_given_split=True)
    assert "does not apply: the split came with the source" in audit_temporal(made, given).verdict


def test_is_the_same_each_time_and_survives_json():
    made, kept = dataset(chains(days=30))
    first, second = audit_temporal(made, kept), audit_temporal(made, kept)
    assert first == second
    assert Audit.from_json(json.loads(json.dumps(first.as_json(), allow_nan=False))) == first
