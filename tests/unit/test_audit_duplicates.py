"""What exact duplicates would add to the results."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from audit_data import chains, dataset

from ml.audits.audit import CANNOT_TELL, NO_CONCERN, NOT_APPLICABLE, NOTE, Audit
from ml.audits.duplicates import audit_duplicates
from ml.audits.variant_runs import Candidate, cheap_candidates
from ml.baselines.registry import BASELINES


def doubled(share: float, users: int = 300):
    """Chains with a share of all rows said twice."""
    generator = np.random.default_rng(1)
    return [replace(row, copies=int(generator.random() < share)) for row in chains(users=users)]


def test_fires_where_copies_make_repeating_a_hit():
    made, kept = dataset(doubled(0.2))
    audit = audit_duplicates(made, kept)
    assert audit.concern
    rows = {row[0]: row for row in audit.tables[1].rows}
    title, kept_value, without, change, *_ = rows["Repeat last, then most popular"]
    copied = audit.facts["copied_targets_share"]
    assert copied == pytest.approx(0.2, abs=0.06)
    # the copy stands before the held-out item, so that repeating it is a hit at rank 1
    assert kept_value >= copied
    assert without < 0.5 * kept_value
    assert change == f"−{100 * (1 - without / kept_value):.1f}\u00a0%"
    assert title in audit.verdict
    assert audit.facts["duplicates"] == kept.duplicates.sum()
    assert audit.facts["largest_change"] < -0.5


def test_quiet_without_duplicates():
    audit = audit_duplicates(*dataset(chains()))
    assert audit.outcome == NO_CONCERN
    assert audit.verdict == "None of the 960 kept interactions had an exact duplicate in the dump."
    assert audit.facts["duplicates"] == 0


def test_quiet_where_a_few_copies_change_nothing():
    rows = [replace(row, copies=int(row.line in (10, 401))) for row in chains(users=300)]
    audit = audit_duplicates(*dataset(rows))
    assert audit.facts["duplicates"] == 2
    assert not audit.concern
    assert audit.facts["recommenders_changed"] == 0


def test_many_copies_that_change_nothing_are_a_note():
    made, kept = dataset(doubled(0.2))
    constant = Candidate("most_popular", "Most popular", BASELINES["most_popular"].create().fit)
    kept = replace(kept, duplicates=np.ones_like(kept.duplicates))
    audit = audit_duplicates(made, kept, (constant,))
    assert audit.outcome == NOTE
    assert audit.facts["recommenders_changed"] == 0
    assert audit.facts["duplicates_share"] == 0.5


def test_few_users_cannot_rule_a_change_out():
    rows = [replace(row, copies=int(row.line in (10, 101))) for row in chains(users=60)]
    audit = audit_duplicates(*dataset(rows))
    assert audit.facts["duplicates_share"] < 0.01
    assert audit.outcome == CANNOT_TELL
    assert audit.verdict.endswith("60 test users are too few to tell.")


def test_in_a_global_temporal_split_no_target_is_a_copy():
    made, kept = dataset([replace(row, copies=1) for row in chains(days=30)], split="global-temporal")
    audit = audit_duplicates(made, kept, cheap_candidates(made, names=("repeat_last", "markov_chain")))
    assert audit.facts["copied_targets_share"] == 0
    assert audit.facts["duplicates_share"] == 0.5


def test_does_not_apply_to_what_came_in_order():
    made, kept = dataset(chains(users=20))
    for given in ({"has_given_order": True}, {"has_given_split": True}):
        audit = audit_duplicates(made, replace(kept, **given))
        assert audit.verdict.startswith("This audit does not apply: ")
        assert audit.outcome == NOT_APPLICABLE


def test_is_the_same_each_time_and_survives_json():
    made, kept = dataset(doubled(0.1, users=60))
    first, second = audit_duplicates(made, kept), audit_duplicates(made, kept)
    assert first == second
    assert Audit.from_json(json.loads(json.dumps(first.as_json(), allow_nan=False))) == first
