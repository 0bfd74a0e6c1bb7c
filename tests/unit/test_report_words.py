"""What a report says in words: the verdict, what limits it, and how figures are printed."""

from __future__ import annotations

from dataclasses import replace

import pytest
import report_audits
from hypothesis import given
from hypothesis import strategies as st
from report_contents import board, changed, made_up_content, row

from ml.audits.audit import NO_CONCERN
from ml.reports.content.report import Check, Funnel, FunnelStep, ReportContent
from ml.reports.render import html
from ml.reports.render.html import render_html
from ml.reports.render.markdown import report as markdown
from ml.reports.words import evaluation as labels
from ml.reports.words import verdict as verdicts
from ml.reports.words import wording
from ml.reports.words.row_marks import row_marks

pytestmark = pytest.mark.usefixtures("empty_drawings")


@pytest.fixture(scope="module")
def content() -> ReportContent:
    return made_up_content()


def verdict(*rows, **changes) -> tuple[str, ...]:
    test_users = changes.pop("test_users", 4000)
    return verdicts.verdict(ReportContent("X", board(*rows, test_users=test_users), **changes))


def test_the_finding_is_the_leaderboards_and_not_read_from_the_interval():
    corrected = row(
        "tower", True, 0.06, 0.01, finding="not significantly different", p_value=0.03, p_value_adjusted=0.33
    )
    rows = (corrected, row("chain", False, 0.05), *(row(f"other{n}", False, 0.01, -0.04) for n in range(10)))
    _, second, _ = verdict(*rows)
    assert "not significantly different" in second
    assert all(figure in second for figure in ("0.33", "+0.0080 to +0.0120", "11 comparisons"))
    text = render_html(ReportContent("X", board(*rows[:2])))
    assert ">not significantly different<" in text
    assert ">better<" not in text
    with pytest.raises(ValueError, match="a finding is better, worse or not significantly different"):
        row("tower", True, 0.06, finding="good")


def test_the_gravest_audit_stands_in_the_verdict(content):
    audits = report_audits.all_audits()
    ties, leakage = (next(audit for audit in audits if audit.name == name) for name in ("ties", "leakage"))
    assert verdicts.verdict(content)[2] == ties.verdict
    assert verdicts.limit(content) == (ties.verdict, ties)
    # nothing is graver than codes that saw what was held out
    seen = replace(leakage, facts={"sees_held_out": "codes"})
    assert verdicts.limit(replace(content, audits=(ties, seen)))[1] == seen
    assert [audit.name for audit in sorted(audits, key=verdicts.gravity)] == [
        "ties",
        "leakage",
        "calibration",
        "shortcuts",
        "duplicates",
        "temporal",
    ]
    # what an audit says is not said a second time
    said = " ".join(verdicts.further_caveats(content))
    assert "timestamp" not in said
    assert "already in the user's history" not in said
    quiet = replace(content, audits=tuple(replace(audit, outcome=NO_CONCERN) for audit in audits))
    assert verdicts.limit(quiet)[1] is None
    failed = replace(content, checks=(Check("unique", "marts/items", False),))
    sentence, audit = verdicts.limit(failed)
    assert audit is None
    assert "unique on marts/items" in sentence


def test_slices_are_shown_of_the_leader_and_the_best_of_each_kind(content):
    rows = labels.slice_rows(content.leaderboard)
    assert [entry.recommender for entry in rows] == ["tower", "chain"]
    fused = row("blend", True, 0.07, 0.02, fused=True)
    later = row("late", True, 0.005, -0.05, fused=True)
    leaders = board(fused, *content.leaderboard.rows, later)
    assert [entry.recommender for entry in labels.slice_rows(leaders)] == ["blend", "tower", "chain"]
    views = labels.slice_views(content)
    assert [view.name for view in views][:2] == ["history length", "target popularity"]
    assert [bucket for bucket, _, _ in views[1].buckets] == ["head", "middle", "tail"]
    chart = labels.slice_chart(views[1], rows)
    assert [line.title for line in chart.lines] == ["Tower", "Chain"]
    assert chart.lines[0].x == ("head", "middle", "tail")


def test_metrics_by_kind():
    metrics = ["ndcg@10", *(f"{name}@{k}" for name in ("map", "recall", "ndcg") for k in (1, 20, 5))]
    found = row("a", False, 0.5, **dict.fromkeys(metrics, 0.5), **{"mrr@10": None})
    families = labels.families(board(found))
    assert [family.title for family in families] == ["nDCG", "Recall", "MAP"]
    assert families[0].metrics == ("ndcg@1", "ndcg@5", "ndcg@10", "ndcg@20")
    # with one relevant item a user MAP is MRR, and is not printed twice
    both = changed(found, **dict.fromkeys(("mrr@1", "mrr@5", "mrr@20"), 0.5))
    assert [family.title for family in labels.families(board(both))] == ["nDCG", "Recall", "MRR"]
    other = changed(both, **{"mrr@5": 0.4})
    assert "MAP" in [family.title for family in labels.families(board(other))]


def test_a_fusion_is_no_trained_model_of_its_own():
    fused = row("blend", True, 0.045, -0.005, fused=True)
    assert wording.kind(fused) == "fused"
    rows = (row("chain", False, 0.05), fused, row("tower", True, 0.04, -0.01))
    assert "Tower (0.0400)" in verdict(*rows)[1]
    assert board(*rows[:2]).best_trained is None
    assert board(*rows[:2]).best_fused.recommender == "blend"


def test_models_that_give_everyone_one_list_or_lose_to_popularity_are_marked():
    rows = (
        row("tower", True, 0.06, 0.01, beats="most_popular"),
        row("chain", False, 0.05, beats="most_popular"),
        row("small", True, 0.0205, -0.03),
        row("most_popular", False, 0.02, -0.03),
        row("flat", True, 0.01, -0.04),
        row("lost", True, 0.009, -0.041),
    )
    same = {name: {"personalisation@10": 0.0} for name in ("flat", "lost", "most_popular")}
    lists = same | {
        "lost": {"personalisation@10": 0.02},
        "tower": {"personalisation@10": 0.9},
        "small": {"personalisation@10": None},
    }
    content = ReportContent("X", board(*rows), list_metrics=lists)
    # what a baseline is there for is not wrong with it
    assert row_marks(content) == {
        "small": ("not significantly above most popular",),
        "flat": ("one list for everyone", "below most popular"),
        "lost": ("one list for everyone", "below most popular"),
    }
    text = render_html(content)
    assert text.count("⚠ one list for everyone") == text.count("⚠ below most popular") == 2
    card = markdown.report(content)
    assert "Flat (one list for everyone, below most popular)" in card
    # where no pair was tested only the order is known
    untested = replace(content, leaderboard=board(*(changed(one, beats="") for one in rows)))
    assert "small" not in row_marks(untested)
    assert row_marks(ReportContent("X", board(*rows[:3]))) == {}


def test_what_is_harmless_is_no_caveat():
    known = {"test_targets_tied": 4, "test_targets_repeated": 1, "items": 9, "items_with_title": 9}
    content = ReportContent(
        "X", board(row("chain", False, 0.05)), statistics=known, checks=(Check("unique", "items", True),)
    )
    assert tuple(verdicts.caveats(content)) == ()
    for harmful in (
        replace(content, statistics=known | {"test_targets_tied": 400}),
        replace(content, statistics=known | {"test_targets_repeated": 400}),
        replace(content, statistics=known | {"items_with_title": 1}),
        replace(content, statistics={"tied_interactions": 50, "interactions": 100}),
        replace(content, checks=(Check("unique", "items", False, "warning"),)),
        replace(content, leaderboard=replace(content.leaderboard, catalogue=40)),
        replace(content, leaderboard=replace(content.leaderboard, test_users=100)),
    ):
        assert len(tuple(verdicts.caveats(harmful))) == 1


def test_a_split_by_items_says_which_recommenders_can_rank_its_targets(content):
    harmless = replace(content.leaderboard, protocol=(("split", "leave-one-out"),))
    cold = replace(harmless, protocol=(("split", "cold-items, 0.1 of the items for the test"),))
    more = set(verdicts.caveats(replace(content, leaderboard=cold))) - set(
        verdicts.caveats(replace(content, leaderboard=harmless))
    )
    (sentence,) = more
    assert "in no training history" in sentence
    assert "the text graphs choose among items of the training histories and cannot" in sentence


def test_caveats_are_said_gravest_first_and_the_first_in_the_verdict():
    known = {"tie_order": "file", "test_targets_tied": 30, "test_targets_repeated": 2, "items": 9}
    checks = (Check("unique", "marts/items", False), Check("prices", "marts/items", False, "warning"))
    rows = (row("tower", True, 0.06, 0.01), row("chain", False, 0.05))
    content = ReportContent(
        "X", board(*rows, test_users=100), statistics=known | {"items_with_title": 1}, checks=checks
    )
    said = list(verdicts.caveats(content))
    assert verdicts.limit(content) == (said[0], None)
    assert verdicts.verdict(content)[-1] == said[0]
    assert verdicts.further_caveats(content) == tuple(said[1:])
    marks = ("data checks failed", "timestamp", "100 test users", "history", "title", "seed", "gave a warning")
    assert [mark in one for mark, one in zip(marks, said, strict=True)] == [True] * 7


def test_metrics_are_ordered_with_the_headline_first():
    assert wording.metrics_of(made_up_content().leaderboard) == ("ndcg@10", "recall@10", "mrr@10")


@given(st.floats(1e-6, 10))
def test_ticks_are_few_and_inside(full):
    ticks = html._ticks(full)
    assert ticks[0] == (0, "0")
    assert 2 <= len(ticks) <= 5
    assert ticks[-1][0] <= full * (1 + 1e-9)
    assert all(float(label) == pytest.approx(tick) for tick, label in ticks), "no label is rounded"
    assert len({len(label) for _, label in ticks[1:]}) <= 2


@given(
    st.lists(st.lists(st.integers(0, 1000), max_size=4), min_size=1, max_size=5), st.integers(0, 99), st.integers(1, 9)
)
def test_a_funnel_adds_up_or_says_by_how_much_it_does_not(removals, last, lost):
    steps, left = [], last + sum(map(sum, removals))
    for removed in removals:
        steps.append(FunnelStep("stage", left, "stage"))
        steps += [FunnelStep("removed", rows, "removed") for rows in removed]
        left -= sum(removed)
    steps.append(FunnelStep("kept", left, "stage"))
    steps += [FunnelStep("a", left // 3, "part"), FunnelStep("b", left - left // 3, "part")]
    assert Funnel("reviews", "line", tuple(steps)).unexplained == 0
    steps[-1] = FunnelStep("b", steps[-1].rows + lost, "part")
    assert Funnel("reviews", "line", tuple(steps)).unexplained == lost
    del steps[-2:]
    steps[-1] = FunnelStep("kept", left + lost, "stage")
    assert Funnel("reviews", "line", tuple(steps)).unexplained == lost


def test_an_unexplained_row_is_told(content):
    broken = Funnel("reviews", "line", (FunnelStep("Rows read", 10, "stage"), FunnelStep("Kept", 9, "stage")))
    text = render_html(replace(content, funnels=(broken,)))
    assert "1 row unexplained: the steps above do not add up." in text
    assert "none is unexplained" not in text
    assert "| Unexplained | 1 |" in markdown.funnel(broken)
