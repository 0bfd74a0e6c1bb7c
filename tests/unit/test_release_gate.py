"""The decision on a release: tests against scipy and by simulation, bounds, verdicts, history."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from ml.recommender import NO_ITEM
from ml.release.gate import measures
from ml.release.gate.bounds import BLOCKING, BROKEN, KEPT, MEASURES, WARNING, Bound, Limit
from ml.release.gate.decision import PROMOTE, REFUSE, Decision, Released, decide
from ml.release.gate.findings import Cases, judge, lower_bound, non_inferiority, p_above
from ml.release.gate.history import (
    PROMOTED,
    PROMOTED_BY_HAND,
    REFUSED,
    ROLLED_BACK,
    Event,
    HistoryError,
    add,
    in_charge,
    read_history,
    rolled_back,
)

OLD = Released("a" * 32, "old", "Old model", "model", 100, "t1", "train")
NEW = Released("b" * 32, "new", "New model", "model", 110, "t2", "train")


def bound(measure: str, limit: Limit, severity: str = BLOCKING, name: str = "it") -> Bound:
    return Bound(name, measure, limit, severity, "A reason.", "A remedy.")


def values(seed: int, users: int = 200, mean: float = 0.1) -> np.ndarray:
    """nDCG-like: zero for most users."""
    generator = np.random.default_rng(seed)
    return np.where(generator.random(users) < 2 * mean, generator.random(users), 0.0)


# the tests


@given(st.integers(0, 10_000), st.floats(-0.1, 0.1), st.integers(2, 300))
@settings(max_examples=60, deadline=None)
def test_the_one_sided_test_is_that_of_scipy(seed: int, limit: float, users: int) -> None:
    candidate, other = values(seed, users), values(seed + 1, users)
    test = non_inferiority(candidate, other, limit)
    if test.error == 0:
        return
    expected = stats.ttest_1samp(candidate - other, popmean=limit, alternative="greater")
    assert p_above(test, limit) == pytest.approx(expected.pvalue, abs=1e-12)
    # the interval says the same as the test
    low = expected.confidence_interval(0.95).low
    assert lower_bound(test, 0.05) == pytest.approx(low, abs=1e-12)


@given(st.integers(0, 10_000), st.floats(-0.5, 0.0))
@settings(max_examples=40, deadline=None)
def test_a_relative_margin_counts_the_uncertainty_of_the_champion(seed: int, limit: float) -> None:
    candidate, other = values(seed), values(seed + 1)
    test = non_inferiority(candidate, other, limit, relative=True)
    expected = stats.ttest_rel(candidate, (1 + limit) * other, alternative="greater")
    assert p_above(test, 0.0) == pytest.approx(expected.pvalue, abs=1e-12)


def test_a_bootstrap_finds_about_the_same_p_value() -> None:
    candidate, other = values(1, 3000, 0.10), values(2, 3000, 0.11)
    limit = -0.005
    shifted = candidate - other - (candidate - other).mean() + limit
    generator = np.random.default_rng(0)
    means = np.array([generator.choice(shifted, len(shifted)).mean() for _ in range(4000)])
    by_bootstrap = (means >= (candidate - other).mean()).mean()
    assert p_above(non_inferiority(candidate, other, limit), limit) == pytest.approx(by_bootstrap, abs=0.02)


@pytest.mark.parametrize("relative", [False, True])
def test_a_candidate_at_the_margin_is_seldom_let_through(relative: bool) -> None:
    """The probability of promoting one that is worse by just the margin is the level."""
    generator = np.random.default_rng(7)
    users, runs, margin, promoted = 600, 2000, 0.2, 0
    for _ in range(runs):
        champion = np.where(generator.random(users) < 0.3, generator.random(users), 0.0)
        # the mean of a uniform variable that is not zero in 30 % of the cases is .15
        if relative:
            candidate = np.where(generator.random(users) < 0.3 * (1 - margin), generator.random(users), 0.0)
            limit = Limit(at_least=-margin, level=0.05)
            measure = "ndcg_change"
        else:
            candidate = champion + generator.normal(-0.02, 0.2, users)
            limit = Limit(at_least=-0.02, level=0.05)
            measure = "ndcg_difference"
        (found,) = judge([bound(measure, limit)], Cases(candidate, {"champion": champion}), {}, True)
        promoted += found.passed
    # the level and three standard errors of the simulation
    assert promoted / runs <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / runs)
    assert promoted / runs > 0.02


def test_an_equal_candidate_passes_at_once() -> None:
    """Retraining that changes nothing has no variance to be unsure about."""
    champion = values(1)
    for measure in ("ndcg_change", "ndcg_difference"):
        (found,) = judge(
            [bound(measure, Limit(at_least=-0.05, level=0.05))], Cases(champion, {"champion": champion}), {}, True
        )
        assert found.passed
        assert found.value == 0


def test_a_worse_candidate_is_refused_and_a_better_one_promoted() -> None:
    champion = values(1, 2000, 0.1)
    not_worse = [bound("ndcg_change", Limit(at_least=-0.05, level=0.05))]
    worse = judge(not_worse, Cases(champion * 0.7, {"champion": champion}), {}, True)
    better = judge(not_worse, Cases(champion * 1.1, {"champion": champion}), {}, True)
    assert decide(NEW, OLD, worse)[0] == REFUSE
    assert decide(NEW, OLD, better) == (PROMOTE, "New model is promoted, in place of Old model.")
    assert "−30.0\u00a0%" in worse[0].sentence


def test_few_users_prove_nothing_and_the_sentence_says_how_many_would() -> None:
    candidate, champion = values(1, 60), values(2, 60)
    candidate += champion.mean() - candidate.mean()
    (found,) = judge(
        [bound("ndcg_change", Limit(at_least=-0.05, level=0.05))], Cases(candidate, {"champion": champion}), {}, True
    )
    assert not found.passed
    needed = int(found.sentence.split("about ")[1].split(" would")[0].replace(",", ""))
    assert needed > 60
    # with so many of the same kind it is shown
    many = -(-needed * 11 // 10 // 60)
    (again,) = judge(
        [bound("ndcg_change", Limit(at_least=-0.05, level=0.05))],
        Cases(np.tile(candidate, many), {"champion": np.tile(champion, many)}),
        {},
        True,
    )
    assert again.passed


def test_a_slice_refuses_only_where_the_loss_is_shown() -> None:
    champion, rows = values(1, 2000, 0.2), np.arange(2000) < 500
    limit = Limit(at_least=-0.1, level=0.05, test=BROKEN)
    of_slice = [bound("ndcg_change_short_histories", limit)]
    slices = {"short_histories": rows}
    lost = np.where(rows, champion * 0.5, champion * 1.3)
    assert not judge(of_slice, Cases(lost, {"champion": champion}, slices), {}, True)[0].passed
    # the same candidate is fine in the mean
    assert judge(
        [bound("ndcg_change", Limit(at_least=-0.05, level=0.05))], Cases(lost, {"champion": champion}), {}, True
    )[0].passed
    few = {"short_histories": np.arange(2000) < 1}
    (found,) = judge(of_slice, Cases(lost, {"champion": champion}, few), {}, True)
    assert found.passed
    assert found.sentence.startswith("1 test users are too few")


def test_a_champion_that_never_hits_leaves_no_share() -> None:
    champion = np.zeros(50)
    (found,) = judge(
        [bound("ndcg_change", Limit(at_least=-0.05, level=0.05))],
        Cases(values(1, 50), {"champion": champion}),
        {},
        True,
    )
    assert found.passed
    assert found.value is None


def test_without_a_champion_nothing_is_compared_with_it() -> None:
    cases = Cases(values(1, 500, 0.2), {"most_popular": values(2, 500, 0.02)})
    bounds = [
        bound("ndcg_change", Limit(at_least=-0.05, level=0.05)),
        bound("ndcg_above_most_popular", Limit(at_least=0, level=0.05)),
    ]
    findings = judge(bounds, cases, {}, False)
    assert [finding.passed for finding in findings] == [True, True]
    assert decide(NEW, None, findings) == (PROMOTE, "New model is promoted, as the first champion.")
    # the most popular items are not better than themselves
    popular = Cases(values(2, 500), {"most_popular": values(2, 500)})
    assert decide(NEW, None, judge(bounds, popular, {}, False))[0] == REFUSE


@pytest.mark.parametrize(
    ("measure", "limit", "value", "passes"),
    [
        ("size", Limit(at_most=1000), 1000, True),
        ("size", Limit(at_most=1000), 1001, False),
        ("coverage_change", Limit(at_least=-0.5), -0.6, False),
        ("latency_ratio", Limit(at_most=5), None, True),
        ("list_overlap", Limit(at_least=0.1), float("nan"), True),
    ],
)
def test_figures_are_held_against_their_limits(measure: str, limit: Limit, value: float | None, passes: bool) -> None:
    (found,) = judge([bound(measure, limit)], Cases(values(1), {}), {measure: value}, True)
    assert found.passed is passes


def test_a_warning_does_not_refuse() -> None:
    cases, figures = Cases(values(1), {}), {"size": 2.0}
    warned = judge([bound("size", Limit(at_most=1), WARNING, "size_is_bounded")], cases, figures, True)
    assert decide(NEW, OLD, warned) == (
        PROMOTE,
        "New model is promoted, in place of Old model, with warnings (size_is_bounded).",
    )
    refused = judge([bound("size", Limit(at_most=1), BLOCKING, "size_is_bounded")], cases, figures, True)
    assert decide(NEW, OLD, refused) == (
        REFUSE,
        "New model is refused (size_is_bounded); Old model stays the champion.",
    )
    assert decide(NEW, OLD, [], "it was rolled back")[0] == REFUSE


def test_a_decision_is_the_same_after_it_was_written() -> None:
    champion = values(1)
    bounds = [
        bound("ndcg_change", Limit(at_least=-0.05, level=0.05, test=KEPT)),
        bound("latency", Limit(at_most=5), name="fast"),
    ]
    findings = judge(bounds, Cases(champion, {"champion": champion}), {"latency": 2.0}, True)
    decision = Decision(
        PROMOTE, "Yes.", NEW, OLD, ("A note.",), findings, {"candidate": {"ndcg@10": 0.1}}, {"": 200}, {"latency": 2.0}
    )
    assert Decision.from_json(json.loads(json.dumps(decision.as_json()))) == decision
    slower = judge(bounds, Cases(champion, {"champion": champion}), {"latency": 2.5}, True)
    other = Decision(
        PROMOTE, "Yes.", NEW, OLD, ("A note.",), slower, {"candidate": {"ndcg@10": 0.1}}, {"": 200}, {"latency": 2.5}
    )
    assert other.timeless() == decision.timeless()
    assert other != decision
    with pytest.raises(ValueError, match="decide again"):
        Decision.from_json({"format": "something else"})


# figures of lists


def test_overlaps_of_small_lists_by_hand() -> None:
    lists = np.array([[0, 1, 2], [0, 1, 2], [0, NO_ITEM, NO_ITEM]])
    others = np.array([[2, 1, 0], [3, 4, 5], [0, NO_ITEM, NO_ITEM]])
    assert measures.list_overlap(lists, others) == pytest.approx((1 + 0 + 1) / 3)
    # agreements of the first row: 0, 1/2, 1
    p = 0.5
    expected = 1 * p**3 + (1 - p) / p * (0 + 0.5 * p**2 + 1 * p**3)
    assert measures.rank_biased_overlap(lists[:1], others[:1], p) == pytest.approx(expected)
    assert measures.coverage(lists, 10) == 0.3


@given(st.integers(0, 1000), st.floats(0.1, 0.95))
@settings(max_examples=50, deadline=None)
def test_overlaps_lie_between_none_and_all(seed: int, persistence: float) -> None:
    generator = np.random.default_rng(seed)
    lists = np.array([generator.permutation(15)[:10] for _ in range(5)])
    others = np.array([generator.permutation(15)[:10] for _ in range(5)])
    for overlap in (
        measures.list_overlap,
        lambda one, two: measures.rank_biased_overlap(one, two, persistence),
    ):
        assert 0 <= overlap(lists, others) <= 1 + 1e-9
        assert overlap(lists, others) == pytest.approx(overlap(others, lists))
        assert overlap(lists, lists) == pytest.approx(1)
        assert overlap(lists, lists + 100) == 0


def test_functions_are_timed_in_turns() -> None:
    calls: list[tuple[str, int]] = []
    timings = measures.time_in_turns({name: lambda case, name=name: calls.append((name, case)) for name in "ab"}, 3)
    assert calls == [("a", 0), ("b", 0), ("a", 0), ("b", 0), ("a", 1), ("b", 1), ("a", 2), ("b", 2)]
    assert len(timings.milliseconds["a"]) == 3
    assert timings.median("b") >= 0


def test_every_measure_describes_itself() -> None:
    assert all(name == measure.name and measure.description.endswith(".") for name, measure in MEASURES.items())


# the history


def event(kind: str, release: str, in_charge: str = "") -> Event:
    return Event("2026-01-01T03:00:00+00:00", kind, release, "sasrec", in_charge, "ann", "because")


def test_two_roll_backs_lead_two_releases_back() -> None:
    events = [event(PROMOTED, "a", "a"), event(REFUSED, "x", "a"), event(PROMOTED, "b", "b"), event(PROMOTED, "c", "c")]
    assert [one.release for one in in_charge(events)] == ["a", "b", "c"]
    events += [event(ROLLED_BACK, "c", "b")]
    assert [one.release for one in in_charge(events)] == ["a", "b"]
    events += [event(ROLLED_BACK, "b", "a")]
    assert [one.release for one in in_charge(events)] == ["a"]


def test_what_was_rolled_back_is_trusted_again_after_a_promotion_by_hand() -> None:
    events = [event(PROMOTED, "b", "b"), event(ROLLED_BACK, "b", "a")]
    assert rolled_back(events, "b") == events[1]
    assert rolled_back(events, "a") is None
    assert rolled_back([*events, event(PROMOTED_BY_HAND, "b", "b")], "b") is None


def test_the_history_is_kept_line_by_line(tmp_path: Path) -> None:
    folder = tmp_path / "release"
    assert read_history(folder) == []
    events = [event(PROMOTED, "a", "a"), event(ROLLED_BACK, "a")]
    for one in events:
        add(folder, one)
    assert read_history(folder) == events
    with (folder / "history.jsonl").open("a") as file:
        file.write('{"when": 3}\n')
    with pytest.raises(HistoryError, match=r"history\.jsonl, line 3: .*mend or delete this line"):
        read_history(folder)
