"""What the tie rule decides, and files sorted by item instead of time."""

from __future__ import annotations

import gzip
import json
import os
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from audit_data import DAY, Row, chains, dataset
from hypothesis import given, settings
from hypothesis import strategies as st

from ml.audits.audit import CANNOT_TELL, CONCERN, NO_CONCERN, NOT_APPLICABLE, NOTE, Audit
from ml.audits.item_order import (
    BY_ITEM,
    BY_NEITHER,
    BY_TIME,
    NOT_SORTED,
    PARTLY_BY_ITEM,
    PARTLY_SORTED,
    SORTED,
    TOO_FEW,
    ascents_by_moment,
    file_kind,
    file_order,
    in_time_share,
    item_order,
    measured,
)
from ml.audits.ties import audit_ties
from ml.audits.variant_runs import Candidate, cheap_candidates
from ml.baselines.registry import BASELINES
from ml.data.variants import with_tie_order


def column(audit: Audit, title: str, heading: str) -> dict[str, object]:
    """One column of a table of an audit, by its first."""
    table = next(table for table in audit.tables if table.title == title)
    return {row[0]: row[table.columns.index(heading)] for row in table.rows}


def baskets(users: int = 600, seed: int = 0) -> list[Row]:
    """Histories of days with three items of one theme each, sorted by item in the dump.

    Which of the three comes last says nothing, but in the order of items it is always the same.
    """
    generator = np.random.default_rng(seed)
    rows = []
    for user in range(users):
        start = int(generator.integers(1000))
        for day in range(3):
            theme = int(generator.integers(12))
            rows += [(f"A{user:04d}", f"B{theme:02d}{number}", (start + day) * DAY) for number in range(3)]
    return [Row(user, item, moment, line) for line, (user, item, moment) in enumerate(rows)]


def test_fires_where_the_rule_chose_and_order_by_item_helps():
    made, kept = dataset(baskets())
    audit = audit_ties(made, kept, cheap_candidates(made, names=("most_popular", "markov_chain")))
    assert audit.concern
    assert audit.facts["tied_targets_share"] == 1
    chain = "First-order Markov chain"
    assert f"the order by item inflates the nDCG@10 of {chain} by" in audit.verdict.replace("by file", "by item")
    assert "100.0\u00a0% of the test users" in audit.verdict
    values = {rule: column(audit, "nDCG@10 under each tie rule", rule)[chain] for rule in ("item", "hash", "shuffle 0")}
    assert values["item"] > 1.2 * max(values["hash"], values["shuffle 0"])
    effects = next(table for table in audit.tables if "Orders by file" in table.title)
    assert {row[-1] for row in effects.rows if row[0] == chain} == {"inflated"}


def test_quiet_where_no_moment_is_shared():
    made, kept = dataset(chains())
    audit = audit_ties(made, kept)
    assert audit.outcome == NO_CONCERN
    assert "no test user" in audit.verdict
    assert audit.facts["tied_targets_share"] == 0
    assert [table.title for table in audit.tables] == ["How many histories are in ascending order of item ids"]


def without_order(users: int, seed: int) -> list[Row]:
    """Items at random, the first two of each history at one moment, and a dump in no order."""
    generator = np.random.default_rng(seed)
    rows = [
        (f"A{user:04d}", f"B{item:02d}", max(1, day) * DAY)
        for user in range(users)
        for day, item in enumerate(generator.choice(50, 6, replace=False))
    ]
    lines = generator.permutation(len(rows)).tolist()
    return [Row(*row, line) for row, line in zip(rows, lines, strict=True)]


def test_a_rule_that_chose_targets_without_an_effect_is_a_note():
    generator = np.random.default_rng(0)
    rows = [replace(row, moment=row.moment // DAY // 2 * DAY) for row in without_order(users=200, seed=0)]
    # identities drawn anew for every row, so that no order can be learned
    made, kept = dataset([replace(row, item=f"B{int(generator.integers(50)):02d}") for row in rows])
    audit = audit_ties(made, kept, cheap_candidates(made, names=("most_popular", "markov_chain")))
    assert audit.facts["tied_targets_share"] > 0.05
    assert audit.facts["effects"] == 0
    assert audit.outcome == NOTE
    assert audit.facts["effects"] == 0


def test_few_users_cannot_show_an_effect_of_the_rule():
    made, kept = dataset(without_order(users=60, seed=0))
    audit = audit_ties(made, kept, cheap_candidates(made, names=("most_popular", "markov_chain")))
    assert audit.outcome == CANNOT_TELL
    assert "too few test users" in audit.verdict


def test_ties_that_leave_the_target_alone_are_no_concern():
    audit = audit_ties(*dataset(without_order(users=200, seed=0)))
    assert audit.facts["tied_interactions"] == 400
    assert audit.facts["tied_targets_share"] == 0
    assert audit.outcome == NO_CONCERN
    assert audit.facts["effects"] == 0


def test_a_dump_in_no_order_seldom_raises_an_alarm():
    by_file = by_item = 0
    for seed in range(20):
        rows = chains(users=100, items=30, per_moment=2, seed=seed)
        lines = np.random.default_rng(seed).permutation(len(rows)).tolist()
        made, kept = dataset([replace(row, line=line) for row, line in zip(rows, lines, strict=True)])
        audit = audit_ties(made, kept, cheap_candidates(made, names=("markov_chain",)))
        effects = next(table for table in audit.tables if "Orders by file" in table.title)
        by_rule = {row[1]: row[-1] for row in effects.rows}
        by_file += by_rule["file"] != "none"
        by_item += by_rule["item"] == "inflated"
    assert by_file <= 3
    # one order for all users can be learned from the others, however the identities came about
    assert by_item >= 15


def test_without_times_the_rule_chose_every_target():
    made, kept = dataset([replace(row, moment=None) for row in chains(users=50)])
    audit = audit_ties(made, kept, cheap_candidates(made, names=("markov_chain",)))
    assert audit.concern
    assert audit.facts["tied_targets_share"] == 1
    rows = [row[0] for row in audit.tables[-1].rows]
    assert rows == ["histories as split", "histories in the order of the dump"]


def test_counts_of_targets_are_those_of_the_variants():
    made, kept = dataset(baskets(users=50), rule="item")
    audit = audit_ties(made, kept, cheap_candidates(made, names=("most_popular",)))
    shares = column(audit, "What the tie rule decides", "share")
    differ = (with_tie_order(made, kept, "hash").test_targets != made.test_targets).mean()
    assert shares["test users with a different held-out item under hash"] == f"{100 * differ:.1f}\u00a0%"
    assert shares["test users with a different held-out item under item"] == "0.0\u00a0%"
    # the dump is in the order of items, so the rule by file gives the order by item
    assert shares["test users with a different held-out item under file"] == "0.0\u00a0%"


def test_a_target_tied_with_what_follows_it_counts_in_a_global_temporal_split():
    rows = [*chains(users=60, days=20), *(Row(f"A{user:04d}", f"X{n}", 40 * DAY, 900 + n) for user in range(60)
                                          for n in range(2))]  # fmt: skip
    made, kept = dataset(rows, split="global-temporal")
    audit = audit_ties(made, kept, cheap_candidates(made, names=("most_popular",)))
    assert audit.facts["tied_targets_share"] == pytest.approx(
        np.mean([item.startswith(b"X") for item in made.item_ids[made.test_targets]])
    )
    assert audit.facts["tied_targets_share"] > 0.5


def test_a_model_on_request_is_fitted_once_under_each_order():
    made, kept = dataset(baskets(users=40))
    fitted = []

    def fit(training_set):
        fitted.append(training_set.digest())
        return BASELINES["markov_chain"].create().fit(training_set)

    audit = audit_ties(made, kept, (Candidate("model", "A model", fit),))
    # the order by file is that by item here
    assert len(fitted) == len(set(fitted)) == 5
    assert "A model" in column(audit, "nDCG@10 under each tie rule", "hash")
    assert [line.x for line in audit.charts[0].lines] == [("A model",)] * 3


def test_is_the_same_each_time_and_survives_json():
    made, kept = dataset(baskets(users=60))
    first, second = audit_ties(made, kept), audit_ties(made, kept)
    assert first == second
    assert Audit.from_json(json.loads(json.dumps(first.as_json(), allow_nan=False))) == first


def ordered(users: int, order: str, seed: int = 0, numbers: bool = False, length: int = 6) -> list[Row]:
    """Histories of items at random, in the dump by time, by item, or in no order."""
    generator = np.random.default_rng(seed)
    rows = []
    for user in range(users):
        items = [int(item) for item in generator.choice(200, length, replace=False)]
        names = [str(item) if numbers else f"B{item:04d}" for item in items]
        told = [(f"A{user:04d}", name, (user + day) * DAY) for day, name in enumerate(names)]
        by_item = (lambda row: int(row[1])) if numbers else (lambda row: row[1])
        order_of = {"time": None, "item": by_item, "none": lambda row: generator.random()}[order]
        rows += told if order_of is None else sorted(told, key=order_of)
    return [Row(*row, line) for line, row in enumerate(rows)]


@pytest.mark.parametrize("numbers", [False, True])
def test_tells_a_file_by_time_from_a_file_by_item(numbers):
    kinds = {"time": BY_TIME, "item": BY_ITEM, "none": BY_NEITHER}
    for order, kind in kinds.items():
        made, kept = dataset(ordered(300, order, numbers=numbers))
        assert file_kind(made, kept) == kind
        in_file = measured(made, kept, file_order(kept))
        assert in_file.finding == (SORTED if order == "item" else NOT_SORTED)
        assert in_time_share(kept, file_order(kept)) == pytest.approx(1 if order == "time" else 0.5, abs=0.05)
        # sorted by its times, the order is right whatever the file was like
        assert measured(made, kept).finding == NOT_SORTED
        assert not audit_ties(made, kept, ()).concern


@pytest.mark.parametrize("order", ["time", "item"])
def test_tells_them_apart_where_the_order_is_all_there_is(order):
    rows = [replace(row, moment=None) for row in ordered(300, order)]
    made, kept = dataset(rows, "file", given_order=True)
    audit = audit_ties(made, kept)
    assert audit.outcome == (CONCERN if order == "item" else NOT_APPLICABLE)
    assert audit.facts["order_of_items"] == (SORTED if order == "item" else NOT_SORTED)
    assert audit.verdict.startswith("This audit of ties does not apply")
    assert ("not sorted by item" in audit.verdict) == (order == "time")


def test_ties_sorted_by_item_in_part_of_the_histories_are_seen():
    whole_days = ordered(60, "item")
    rows = [*whole_days, *(replace(row, user=f"Z{row.user}") for row in ordered(300, "time", seed=1))]
    rows = [replace(row, moment=None, line=line) for line, row in enumerate(rows)]
    made, kept = dataset(rows, "file", given_order=True)
    order = measured(made, kept)
    assert order.finding == PARTLY_SORTED
    assert order.ascending_share == pytest.approx(60 / 360, abs=0.02)
    assert file_kind(made, kept) == PARTLY_BY_ITEM
    assert audit_ties(made, kept).concern


def test_ascents_within_moments_show_ties_sorted_by_item():
    for rule, expected in (("item", 1.0), ("hash", 0.5)):
        within, across = ascents_by_moment(*dataset(baskets(), rule))
        assert within.ascent_share == pytest.approx(expected, abs=0.04)
        assert within.pairs == 600 * 6
        assert across.ascent_share < 0.75


def test_numbers_given_by_first_appearance_do_not_count_as_sorted():
    generator = np.random.default_rng(3)
    numbers: dict[int, str] = {}
    rows = [
        (f"A{user:03d}", numbers.setdefault(int(item), str(len(numbers) + 1)))
        for user in range(80)
        for item in generator.choice(400, 5, replace=False)
    ]
    made, kept = dataset([Row(*row, None, line) for line, row in enumerate(rows)], "file", given_order=True)
    naive = item_order(kept.users, np.array([int(name) for name in made.item_ids])[kept.items])
    assert naive.finding == PARTLY_SORTED
    assert measured(made, kept).finding in (NOT_SORTED, TOO_FEW)
    assert not audit_ties(made, kept).concern


def test_few_histories_raise_no_alarm():
    rows = [Row("a", name, None, line) for line, name in enumerate("stuv")]
    assert measured(*dataset(rows, "file", given_order=True)).finding == TOO_FEW


@given(st.lists(st.lists(st.integers(0, 9), min_size=1, max_size=7), min_size=1, max_size=8))
@settings(max_examples=100, deadline=None)
def test_order_is_counted_as_plain_python_counts_it(rows):
    users = np.repeat(np.arange(len(rows)), [len(row) for row in rows])
    found = item_order(users, np.array([item for row in rows for item in row]))
    different = [list(dict.fromkeys(row)) for row in rows]
    long = [row for row in different if len(row) >= 4]
    pairs = [pair for row in different for pair in pairwise(row)]
    assert found.users == len(long)
    assert found.ascending_users == sum(row == sorted(row) for row in long)
    assert found.pairs == len(pairs)
    assert found.ascents == sum(one < other for one, other in pairs)
    chance = [1 / np.prod(np.arange(1, len(row) + 1)) for row in long]
    assert found.expected_share == pytest.approx(np.mean(chance) if chance else 0)


@pytest.mark.real_data
def test_a_public_file_in_time_order_is_told_from_the_same_file_sorted_by_item():
    if "RAW2RANK_DATA" not in os.environ:
        pytest.skip("RAW2RANK_DATA is not set: no real data to test on")
    file = Path(os.environ["RAW2RANK_DATA"]) / "beauty_2014" / "user_sequence.txt.gz"
    if not file.exists():
        pytest.skip("RAW2RANK_DATA does not name a folder with beauty_2014")
    with gzip.open(file, "rt") as lines:
        histories = [line.split()[1:] for line in lines]
    users = np.repeat(np.arange(len(histories)), [len(history) for history in histories])
    identities = np.array([item for history in histories for item in history])
    places = np.unique(identities, return_inverse=True)[1]
    in_time = item_order(users, places)
    # its days were ordered by ASIN: 13 % ascend, where chance gives hardly any
    assert in_time.finding == PARTLY_SORTED
    assert 0.12 < in_time.ascending_share < 0.14
    by_item = np.lexsort((places, users))
    assert item_order(users, places[by_item]).finding == SORTED
    shuffled = np.lexsort((np.random.default_rng(0).random(len(users)), users))
    assert item_order(users, places[shuffled]).finding == NOT_SORTED
