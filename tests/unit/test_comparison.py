"""What changed between two reports, on report folders written by hand."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from recommender_factories import made_up_training_set
from report_contents import made_up_content, made_up_run, write_made_up_report
from scipy import stats

from ml.audits.audit import CONCERN, NO_CONCERN, NOTE, Audit
from ml.data.list_overlap import overlaps, rank_biased_overlap
from ml.data.training_set import TrainingSet
from ml.data.versions import versioned_folder, versions_of
from ml.evaluation.intervals import bootstrap_interval
from ml.evaluation.rankings import RankingError, rank
from ml.evaluation.sampled_rankings import (
    COLUMNS,
    SAMPLE_FILE,
    check_sample,
    sample_rankings,
    sampled_cases,
)
from ml.recommender import NO_ITEM, Recommendations
from ml.reports.compare.comparison import Change, compare
from ml.reports.compare.text import (
    rankings_sentence,
    to_markdown,
    to_text,
)
from ml.reports.compare.written_report import FORMAT, ReportError, read_report
from orchestration.commands.compare import main
from orchestration.paths import Workspace

HOSTILE = '<script>alert("x")</script> | [a](javascript:x) \x1b[31mred\u202e `*_'
PROTOCOL = {
    "split": "leave-one-out",
    "k_core": 5,
    "order of ties in time": "hash",
    "seed": "0",
    "test users": "65",
    "seen items": "not excluded",
    "fit on": "train",
}


class Told:
    """Recommends what it is told, in the order of the rows asked for."""

    def __init__(self, items: np.ndarray) -> None:
        scores = np.where(items == NO_ITEM, -np.inf, -np.arange(items.shape[1], dtype=np.float32))
        self.answer = Recommendations(items.astype(np.int32), scores.astype(np.float32))

    def recommend(self, histories, k, exclude_seen):
        return self.answer


def lists_with_targets_at(ranks: Sequence[int], training_set: TrainingSet, seed: int = 0) -> np.ndarray:
    """Random lists of 20 items, the target of each user at the given rank (1-based; 0 for nowhere)."""
    rng = np.random.default_rng(seed)
    lists = np.empty((len(ranks), 20), dtype=np.int64)
    for row, (place, target) in enumerate(zip(ranks, training_set.test_targets, strict=True)):
        others = rng.permutation([item for item in range(training_set.items) if item != target])
        lists[row] = np.insert(others, place - 1, target)[:20] if place else others[:20]
    return lists


def random_ranks(seed: int, users: int = 65, best: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).integers(best, 16, users)


def ndcg(ranks: np.ndarray) -> np.ndarray:
    return np.array([1 / np.log2(place + 1) if 1 <= place <= 10 else 0.0 for place in ranks])


def write_report(
    folder: Path,
    ranks: dict[str, np.ndarray],
    training_set: TrainingSet | None = None,
    users: int = 2000,
    rows: dict[str, dict] | None = None,
    audits: Sequence[Audit] = (),
    **changes,
) -> Path:
    """A report folder whose recommenders have their targets at the given ranks."""
    training_set = training_set or made_up_training_set()
    rankings = {
        name: rank(Told(lists_with_targets_at(places, training_set)), training_set, name, 0, depth=20)
        for name, places in ranks.items()
    }
    board = []
    for name, places in sorted(ranks.items(), key=lambda pair: -ndcg(pair[1]).mean()):
        interval = bootstrap_interval(ndcg(places), seed=0)
        row = {"position": len(board) + 1, "recommender": name, "title": name.capitalize(), "kind": "model"}
        row |= {"ndcg@10": interval.mean, "ndcg@10_low": interval.low, "ndcg@10_high": interval.high}
        row |= {"users": len(places), "fit_on": "train", "loss": "softmax", "seed": 0}
        board.append(row | (rows or {}).get(name, {}))
    said = {
        "dataset": "Made_Up",
        "training_set": training_set.digest(),
        "protocol": PROTOCOL,
        "data_versions": {"marts/interactions": "ab" * 32},
        "versions": {"numpy": "2.4.0"},
        "code_version": "0.1.0",
        "files": [{"name": "Made_Up.json.gz", "sha256": "ef" * 32, "rows_read": 400}],
        "statistics": {"users": 70, "density": 0.25, "from_date": None},
    }
    folder.mkdir(parents=True)
    (folder / "report.json").write_text(json.dumps(said | changes))
    (folder / "audits.json").write_text(json.dumps([audit.as_json() for audit in audits]))
    pq.write_table(pa.Table.from_pylist(board), folder / "leaderboard.parquet")
    pq.write_table(sample_rankings(rankings, training_set, users), folder / "sampled_users.parquet")
    return folder


@pytest.fixture
def compared(tmp_path: Path) -> Callable:
    """Writes two reports, each from ranks and keywords, and compares them."""

    def compare_two(before: tuple[dict, dict], after: tuple[dict, dict]):
        folders = [
            write_report(tmp_path / name, ranks, **others)
            for name, (ranks, others) in (("before", before), ("after", after))
        ]
        return compare(*map(read_report, folders))

    return compare_two


RANKS = {"sasrec": random_ranks(1), "popular": random_ranks(2), "graph": random_ranks(3)}


# --- the sample


def test_a_sample_holds_lists_and_ranks_by_identity(tmp_path):
    training_set = made_up_training_set()
    places = random_ranks(5, best=0)
    lists = lists_with_targets_at(places, training_set)
    # a list that ends early, and one without an item
    lists[3, 4:] = lists[7] = NO_ITEM
    rankings = {
        "b": rank(Told(lists), training_set, "b", 0, depth=20),
        "a": rank(Told(lists_with_targets_at(places, training_set, 9)), training_set, "a", 0, depth=20),
    }
    table = sample_rankings(rankings, training_set)
    assert table.equals(sample_rankings(dict(reversed(rankings.items())), training_set), check_metadata=True)
    rows = {(row["user_id"], row["recommender"]): row for row in table.to_pylist()}
    assert list(rows) == sorted(rows)
    assert len(rows) == 65 * 2
    for case, user in enumerate(training_set.test_users):
        row = rows[training_set.user_ids[user].decode(), "b"]
        kept = [item for item in lists[case] if item != NO_ITEM]
        target = training_set.test_targets[case]
        assert row["target"] == training_set.item_ids[target].decode()
        assert row["items"] == [training_set.item_ids[item].decode() for item in kept[:10]]
        assert row["target_rank"] == (kept.index(target) + 1 if target in kept else None)
    pq.write_table(table, tmp_path / "sample.parquet")
    read = pq.read_table(tmp_path / "sample.parquet")
    check_sample(read)
    assert read.schema.equals(COLUMNS)
    with pytest.raises(RankingError, match="another version"):
        check_sample(read.replace_schema_metadata(None))
    with pytest.raises(RankingError, match="another version"):
        check_sample(read.drop_columns("target"))


def test_nearly_equal_data_sample_nearly_equal_users():
    whole = made_up_training_set()
    gone = np.isin(np.arange(65), [0, 8, 30])
    fewer = replace(whole, test_users=whole.test_users[~gone], test_targets=whole.test_targets[~gone])
    chosen, others = ({*one.test_users[sampled_cases(one, 20)].tolist()} for one in (whole, fewer))
    assert len(chosen) == len(others) == 20
    assert chosen - {*whole.test_users[gone].tolist()} <= others
    # neither the first of them, nor chosen by place
    assert chosen != set(range(20))
    assert len(sampled_cases(whole, 2000)) == 65


def test_a_sample_of_another_training_set_is_refused():
    training_set = made_up_training_set()
    rankings = {"told": rank(Told(lists_with_targets_at(random_ranks(1), training_set)), training_set, "told", 0, 20)}
    with pytest.raises(RankingError, match="told was ranked on another training set"):
        sample_rankings(rankings, made_up_training_set(1))


def naive_rank_biased_overlap(one: list[int], other: list[int], p: float) -> float:
    """Equation 32 of the paper, term by term."""
    short, long = sorted((one, other), key=len)
    s, length = len(short), len(long)
    if not s:
        return float(not length)

    def common(depth: int) -> int:
        return len(set(short[:depth]) & set(long[:depth]))

    first = sum(common(d) / d * p**d for d in range(1, length + 1))
    second = sum(common(s) * (d - s) / (s * d) * p**d for d in range(s + 1, length + 1))
    last = ((common(length) - common(s)) / length + common(s) / s) * p**length
    return (1 - p) / p * (first + second) + last


@settings(max_examples=100, deadline=None)
@given(
    one=st.lists(st.integers(0, 14), max_size=10, unique=True),
    other=st.lists(st.integers(0, 14), max_size=10, unique=True),
    p=st.sampled_from([0.5, 0.9, 0.98]),
)
def test_overlaps_equal_their_definitions(one, other, p):
    arrays = [np.array([items + [NO_ITEM] * (10 - len(items))]) for items in (one, other)]
    found = rank_biased_overlap(*arrays, p)[0]
    assert found == pytest.approx(naive_rank_biased_overlap(one, other, p), abs=1e-12)
    assert found == pytest.approx(rank_biased_overlap(*arrays[::-1], p)[0], abs=1e-12)
    assert 0 <= found <= 1
    assert rank_biased_overlap(arrays[0], arrays[0], p)[0] == pytest.approx(1)
    longer = max(len(one), len(other))
    assert overlaps(*arrays)[0] == (len({*one} & {*other}) / longer if longer else 1)


def test_rank_biased_overlap_of_an_example_by_hand():
    found = rank_biased_overlap(np.array([[1, 2, 3]]), np.array([[1, 3, 2]]))[0]
    assert found == pytest.approx((0.9 * 1 + 0.81 / 2 + 0.729 * 1) / 9 + 0.729)


# --- what changed


def test_equal_reports_say_that_nothing_changed(compared):
    found = compared((RANKS, {}), (RANKS, {}))
    assert found.same_training_set
    assert [file.state for file in found.files] == ["same"]
    for nothing in (found.incomparable, found.protocol, found.statistics, found.data_versions, found.versions):
        assert nothing == ()
    assert found.code is None
    assert found.audits == found.new == found.gone == ()
    assert [(one.equal, one.overlap, one.users) for one in found.lists] == [(1, 1, 65)] * 3
    assert all(one.rank_biased_overlap == pytest.approx(1) for one in found.lists)
    assert {(one.finding, one.p_value_adjusted, one.difference.mean) for one in found.metrics} == {("equal", 1, 0)}


def test_one_changed_recommender_is_found_and_tested_as_scipy_does(compared):
    better = np.maximum(1, RANKS["sasrec"] - np.arange(65) % 4)
    found = compared((RANKS, {}), (RANKS | {"sasrec": better}, {}))
    by_name = {one.recommender: one for one in found.metrics}
    changed = by_name.pop("sasrec")
    assert {one.finding for one in by_name.values()} == {"equal"}
    values = ndcg(RANKS["sasrec"]), ndcg(better)
    expected = stats.ttest_rel(values[1], values[0])
    assert changed.method == "paired"
    assert changed.users == (65, 65)
    assert changed.p_value == pytest.approx(expected.pvalue, rel=1e-9)
    # the others do not count among the comparisons
    assert changed.p_value_adjusted == changed.p_value < 0.05
    assert changed.finding == "better"
    assert changed.difference.mean == pytest.approx(values[1].mean() - values[0].mean())
    assert 0 < changed.difference.low < changed.difference.high
    lists = {one.recommender: one for one in found.lists}
    assert lists["popular"].equal == 1
    same = (better == RANKS["sasrec"]) | ((better > 10) & (RANKS["sasrec"] > 10))
    assert lists["sasrec"].equal == pytest.approx(same.mean())
    assert lists["sasrec"].equal < 0.6
    assert lists["sasrec"].rank_biased_overlap < 1
    # nothing recorded says why
    assert "the reports record no reason" in rankings_sentence(found)


def test_the_reverse_is_worse_and_explained_by_another_version(compared):
    better = np.maximum(1, RANKS["sasrec"] - np.arange(65) % 4)
    found = compared(
        (RANKS | {"sasrec": better}, {}), (RANKS, {"code_version": "0.2.0", "versions": {"numpy": "2.5.0"}})
    )
    assert {one.recommender: one.finding for one in found.metrics}["sasrec"] == "worse"
    assert found.code == Change("raw2rank", "0.1.0", "0.2.0")
    assert found.versions == (Change("numpy", "2.4.0", "2.5.0"),)
    assert "the reports record no reason" not in rankings_sentence(found)


def test_several_changes_are_corrected_by_holm(compared):
    after = {name: np.maximum(1, ranks - (np.arange(65) % 9 == 0)) for name, ranks in RANKS.items()}
    found = compared((RANKS, {}), (after, {}))
    p_values = sorted(stats.ttest_rel(ndcg(after[name]), ndcg(RANKS[name])).pvalue for name in RANKS)
    steps = np.minimum(1, np.maximum.accumulate([3 * p_values[0], 2 * p_values[1], p_values[2]]))
    assert sorted(one.p_value for one in found.metrics) == pytest.approx(p_values)
    assert sorted(one.p_value_adjusted for one in found.metrics) == pytest.approx(steps)
    for one in found.metrics:
        assert one.finding == ("better" if one.p_value_adjusted < 0.05 else "not significantly different")


def test_users_who_kept_their_target_are_paired_and_the_others_left_out(compared):
    before = made_up_training_set()
    targets = before.test_targets.copy()
    targets[:20] = (targets[:20] + 1) % before.items
    after = np.where(np.arange(65) < 20, 1, random_ranks(9))
    found = compared(
        ({"sasrec": RANKS["sasrec"]}, {}), ({"sasrec": after}, {"training_set": replace(before, test_targets=targets)})
    )
    assert found.sampled == (65, 65, 65, 45)
    (changed,) = found.metrics
    assert changed.method == "paired"
    assert changed.users == (45, 45)
    assert changed.p_value == pytest.approx(stats.ttest_rel(ndcg(after[20:]), ndcg(RANKS["sasrec"][20:])).pvalue)
    assert found.lists[0].users == 65


def test_other_users_are_compared_unpaired_as_scipy_does(compared):
    before = made_up_training_set()
    others = replace(before, user_ids=np.array([f"V{user:03d}" for user in range(70)], dtype="S"))
    ranks = np.maximum(1, RANKS["sasrec"] - 3)
    files = [{"name": "Made_Up.json.gz", "sha256": "00" * 32, "rows_read": 500}]
    statistics = {"users": 71, "density": 0.25, "from_date": None}
    found = compared(
        ({"sasrec": RANKS["sasrec"]}, {}),
        ({"sasrec": ranks}, {"training_set": others, "files": files, "statistics": statistics}),
    )
    assert found.sampled == (65, 65, 0, 0)
    assert found.lists == ()
    (changed,) = found.metrics
    assert changed.method == "unpaired"
    moments = []
    for report in (found.before, found.after):
        row = report.board["sasrec"]
        error = (row["ndcg@10_high"] - row["ndcg@10_low"]) / (2 * stats.norm.ppf(0.975))
        moments += [row["ndcg@10"], error * np.sqrt(65), 65]
    expected = stats.ttest_ind_from_stats(*moments[3:], *moments[:3], equal_var=False)
    assert changed.p_value == pytest.approx(expected.pvalue)
    direct = stats.ttest_ind(ndcg(ranks), ndcg(RANKS["sasrec"]), equal_var=False)
    # near that of the values themselves, which a report does not keep
    assert np.log(changed.p_value) == pytest.approx(np.log(direct.pvalue), rel=0.05)
    interval = direct.confidence_interval()
    assert changed.difference.low == pytest.approx(interval.low, abs=0.01)
    assert changed.difference.high == pytest.approx(interval.high, abs=0.01)


@pytest.mark.parametrize(
    ("label", "value"),
    [
        ("split", "global-temporal"),
        ("k_core", 0),
        ("seen items", "excluded"),
        ("order of ties in time", "file"),
        ("new rule", "x"),
    ],
)
def test_another_protocol_is_not_comparable_and_shown(compared, label, value):
    better = np.maximum(1, RANKS["sasrec"] - 3)
    found = compared((RANKS, {}), (RANKS | {"sasrec": better}, {"protocol": PROTOCOL | {label: value}}))
    shown = label.replace("k_core", "k-core")
    assert [change.name for change in found.incomparable] == [shown]
    assert {one.finding for one in found.metrics} == {"not comparable"}
    text = to_text(found)
    assert f"{ndcg(better).mean():.4f}" in text
    assert str(value) in text


def test_another_fit_is_not_comparable_for_those_it_is_of(compared):
    better = {name: np.maximum(1, ranks - 3) for name, ranks in RANKS.items()}
    others = {"rows": {"sasrec": {"fit_on": "train+validation"}}, "protocol": PROTOCOL | {"fit on": "several"}}
    found = compared((RANKS, {}), (better, others))
    assert found.incomparable == ()
    findings = {one.recommender: one.finding for one in found.metrics}
    assert findings == {"sasrec": "not comparable", "popular": "better", "graph": "better"}
    # and is none of the comparisons that are corrected for
    p_values = [one.p_value for one in found.metrics if one.recommender != "sasrec"]
    assert min(one.p_value_adjusted for one in found.metrics if one.recommender != "sasrec") == 2 * min(p_values)


def test_entries_that_follow_from_the_data_do_not_forbid_a_comparison(compared):
    follows = {"test users": "64", "validation users": "3", "ranked": "41 items", "dataset digest": "ab", "losses": "x"}
    follows |= {"test history": "items of the 7 users"}
    found = compared(
        (RANKS, {"protocol": PROTOCOL | {"test history": "items of the 1,234 users"}}),
        (RANKS, {"protocol": PROTOCOL | follows | {"seed": "1"}}),
    )
    assert found.incomparable == ()
    assert {one.finding for one in found.metrics} == {"equal"}
    # the seed decides ties in time and the validation users, where the training sets differ
    others = replace(made_up_training_set(), test_users=np.arange(1, 66, dtype=np.int32))
    found = compare(
        found.before, replace(found.after, training_set=others.digest(), protocol=found.before.protocol | {"seed": "1"})
    )
    assert found.incomparable == (Change("seed", "0", "1"),)
    named = compare(found.before, replace(found.before, dataset="Other", training_set=others.digest()))
    assert named.incomparable == (Change("dataset", "Made_Up", "Other"),)
    # equal files, another share of validation users
    share = replace(found.before, training_set=others.digest(), protocol=PROTOCOL | {"validation users": "3"})
    assert [one.name for one in compare(replace(found.before, protocol=PROTOCOL), share).incomparable] == [
        "validation users"
    ]


def test_files_places_audits_and_recommenders_that_come_and_go(compared):
    def file(name: str, digest: str, rows: int) -> dict:
        return {"name": name, "sha256": digest * 32, "rows_read": rows}

    def audit(name: str, outcome: str, **facts) -> Audit:
        return Audit(name, name.capitalize(), f"{name} says {facts}", outcome, "", facts=facts)

    before = {
        "files": [file("a", "01", 1), file("b", "02", 2), file("c", "03", 3), file("d", "04", 4)],
        "audits": [audit("ties", NO_CONCERN, share=0.25), audit("leakage", CONCERN), audit("duplicates", CONCERN)],
    }
    after = {
        "files": [file("a", "01", 1), file("b", "22", 7), file("e", "03", 3), file("f", "06", 6)],
        "audits": [audit("ties", CONCERN, share=0.5), audit("leakage", CONCERN), audit("calibration", NOTE)],
    }
    ranks = {"sasrec": RANKS["sasrec"], "graph": RANKS["graph"]}
    swapped = {"sasrec": RANKS["graph"], "graph": RANKS["sasrec"], "new": RANKS["popular"]}
    found = compared((ranks | {"old": RANKS["popular"]}, before), (swapped, after))
    assert [(one.name, one.state, one.rows_before, one.rows_after) for one in found.files] == [
        ("a", "same", 1, 1),
        ("b", "changed", 2, 7),
        ("e", "renamed", 3, 3),
        ("f", "added", None, 6),
        ("d", "gone", 4, None),
    ]
    assert [(one.title, one.outcome_before, one.outcome_after) for one in found.audits] == [
        ("Ties", NO_CONCERN, CONCERN),
        ("Duplicates", CONCERN, None),
        ("Calibration", None, NOTE),
    ]
    assert found.audits[0].facts == (Change("share", 0.25, 0.5),)
    assert (found.new, found.gone) == (("New",), ("Old",))
    places = {one.recommender: (one.rank_before, one.rank_after) for one in found.metrics}
    assert places["sasrec"] == places["graph"][::-1]
    assert places["sasrec"][0] != places["sasrec"][1]


def test_a_file_that_is_read_twice_is_two(compared):
    file = {"name": "ratings", "sha256": "01" * 32, "rows_read": 5}
    both = [file | {"source": "reviews"}, file | {"source": "metadata"}]
    found = compared((RANKS, {"files": both}), (RANKS, {"files": both[:1]}))
    assert [one.state for one in found.files] == ["same", "gone"]


def test_other_settings_explain_other_lists(compared):
    other = RANKS | {"graph": RANKS["popular"]}
    found = compared((RANKS, {"settings": {"device": "cpu"}}), (other, {"settings": {"device": "cuda"}}))
    assert found.settings == (Change("device", "cpu", "cuda"),)
    assert "the reports record no reason" not in rankings_sentence(found)
    assert "Settings:" in to_text(found)


def test_without_intervals_and_users_in_common_nothing_is_significant(compared):
    before = made_up_training_set()
    others = replace(before, user_ids=np.array([f"V{user:03d}" for user in range(70)], dtype="S"))
    bare = {"rows": {name: {"ndcg@10_low": None, "ndcg@10_high": None} for name in RANKS}}
    better = {name: np.maximum(1, ranks - 5) for name, ranks in RANKS.items()}
    found = compared((RANKS, bare), (better, {"training_set": others}))
    assert {one.finding for one in found.metrics} == {"not significantly different"}
    assert "nan" not in to_text(found)


@pytest.mark.usefixtures("empty_drawings")
def test_whole_reports_are_read(tmp_path):
    folders = []
    for name in ("before", "after"):
        content = made_up_content()
        provenance = replace(content.provenance, training_set=made_up_training_set().digest())
        (tmp_path / name).mkdir()
        write_made_up_report(replace(content, provenance=provenance), tmp_path / name, made_up_run())
        sample = sample_rankings({}, made_up_training_set())
        pq.write_table(sample, tmp_path / name / SAMPLE_FILE)
        folders.append(tmp_path / name)
    before, after = map(read_report, folders)
    assert before.settings == {"k core": "5"}
    assert json.loads((folders[0] / "report.json").read_text())["format"] == FORMAT
    assert len(before.audits) == len(made_up_content().audits) > 2
    found = compare(before, after)
    assert [file.state for file in found.files] == ["same"]
    assert [change.method for change in found.metrics] == ["unpaired"] * 4
    assert found.audits == found.protocol == found.statistics == found.settings == ()


def test_nothing_in_common_is_said(compared):
    found = compared(({"one": RANKS["graph"]}, {}), ({"other": RANKS["graph"]}, {}))
    assert found.metrics == found.lists == ()
    assert (found.new, found.gone) == (("Other",), ("One",))


def test_a_recommender_that_one_sample_lacks_is_compared_unpaired(compared):
    found = compared((RANKS, {}), (RANKS, {}))
    sample = found.before.sample
    without = sample.filter(pa.compute.not_equal(sample["recommender"], "graph"))
    found = compare(replace(found.before, sample=without), found.after)
    assert {one.recommender: one.method for one in found.metrics} == {
        "graph": "unpaired",
        "sasrec": "paired",
        "popular": "paired",
    }
    assert {one.recommender for one in found.lists} == {"sasrec", "popular"}


def test_one_seed_of_several_is_said(compared):
    other = RANKS | {"graph": RANKS["popular"]}
    found = compared((RANKS, {}), (other, {"rows": {name: {"seeds": 3, "seed": 1} for name in RANKS}}))
    assert {one.made for one in found.metrics} == {(Change("seed", 0, 1), Change("seeds", None, 3))}


def test_the_spread_of_seeds_makes_a_change_less_sure(compared):
    better = np.maximum(1, RANKS["sasrec"] - np.arange(65) % 4)
    spread = {"rows": {name: {"seeds": 3, "seed_deviation": 0.05} for name in RANKS}}
    found = compared((RANKS, spread), (RANKS | {"sasrec": better}, spread))
    of_one_seed = [
        replace(report, board={name: row | {"seeds": 1} for name, row in report.board.items()})
        for report in (found.before, found.after)
    ]
    alone, changed = (
        next(one for one in both.metrics if one.recommender == "sasrec") for both in (compare(*of_one_seed), found)
    )
    assert alone.finding == "better"
    assert changed.finding == "not significantly different"
    assert changed.test.error == pytest.approx(np.sqrt(alone.test.error**2 + 2 * 0.05**2))
    assert changed.difference.low < 0 < alone.difference.low
    # of equal lists nothing differs, whatever the spread
    assert {one.finding for one in found.metrics if one is not changed} == {"equal"}


# --- how it is said


def test_hostile_text_stays_text(compared):
    files = [{"name": HOSTILE, "sha256": "00" * 32, "rows_read": 5}]
    audit = Audit("ties", HOSTILE, HOSTILE, CONCERN, "", facts={HOSTILE: 0.5})
    better = np.maximum(1, RANKS["sasrec"] - 3)
    found = compared(
        (RANKS, {}),
        (
            RANKS | {"sasrec": better, HOSTILE: RANKS["graph"]},
            {
                "files": files,
                "rows": {"sasrec": {"title": HOSTILE, "loss": HOSTILE}},
                "statistics": {HOSTILE: HOSTILE},
                "versions": {HOSTILE: HOSTILE},
                "protocol": PROTOCOL | {HOSTILE: HOSTILE},
                "audits": [audit],
                "dataset": HOSTILE,
                "data_versions": {HOSTILE: HOSTILE},
            },
        ),
    )
    markdown, text = to_markdown(found), to_text(found)
    assert "<script" not in markdown
    assert "&lt;script&gt;" in markdown
    assert "[a](" not in markdown
    for shown in (markdown, text):
        assert not any(sign in shown for sign in "\x1b\u202e")
        assert "\\x1b" in shown
    # no row of a table was broken or got a cell more
    for line in markdown.splitlines():
        if line.startswith("|"):
            assert line.endswith("|")
    tables = [block.splitlines() for block in markdown.split("\n\n") if block.startswith("|")]
    assert tables
    for rows in tables:
        cells = {len(row.replace("\\|", "").split("|")) for row in rows}
        assert len(cells) == 1


def test_terminal_tables_are_aligned(compared):
    lines = to_text(compared((RANKS, {}), (RANKS, {}))).splitlines()
    start = next(row for row, line in enumerate(lines) if line.startswith("Recommender  Rank"))
    assert lines[start + 1].startswith("-----------  ----")
    assert {len(line.rsplit("  ", 1)[0]) for line in lines[start + 1 : start + 5]} == {
        len(lines[start + 1].rsplit("  ", 1)[0])
    }


# --- folders that hold no report


@pytest.mark.parametrize("name", ["report.json", "leaderboard.parquet", "audits.json", "sampled_users.parquet"])
def test_a_missing_or_damaged_file_is_named(tmp_path, name):
    folder = write_report(tmp_path / "report", RANKS)
    read_report(folder)
    whole = (folder / name).read_bytes()
    (folder / name).write_bytes(b"\xff" + whole[: len(whole) // 2])
    with pytest.raises(ReportError, match=f"{name} is damaged.*make the report again"):
        read_report(folder)
    (folder / name).unlink()
    with pytest.raises(ReportError, match=f"holds no {name}.*report.html"):
        read_report(folder)
    with pytest.raises(ReportError, match="not a folder"):
        read_report(folder / "nowhere")


def test_reports_of_another_version_are_told(tmp_path):
    folder = write_report(tmp_path / "report", RANKS)
    said = json.loads((folder / "report.json").read_text())

    def write(name: str, value: object) -> None:
        (folder / name).write_text(json.dumps(value))

    for changed, match in (
        (said | {"format": "raw2rank-report-9"}, "its format is raw2rank-report-9"),
        ({key: value for key, value in said.items() if key != "training_set"}, "does not say its training_set"),
        (said | {"training_set": ""}, "does not say its training_set"),
        (said | {"files": [{"name": "a"}]}, "an entry has no sha256, rows_read"),
        (said | {"files": ["a"]}, "an entry has no name"),
        ([], "holds no JSON object"),
    ):
        write("report.json", changed)
        with pytest.raises(ReportError, match=rf"report.json was written by another version \(.*{match}.*again"):
            read_report(folder)
    write("report.json", said)
    write("audits.json", [{"name": "ties"}])
    with pytest.raises(ReportError, match=r"audits.json was written by another version"):
        read_report(folder)
    write("audits.json", [])
    board = pq.read_table(folder / "leaderboard.parquet")
    for table, match in ((board.drop_columns("title"), "no column title"), (pa.concat_tables([board] * 2), "twice")):
        pq.write_table(table, folder / "leaderboard.parquet")
        with pytest.raises(ReportError, match=f"leaderboard.parquet was written by another version .*{match}"):
            read_report(folder)
    pq.write_table(board, folder / "leaderboard.parquet")
    read_report(folder)
    pq.write_table(board, folder / "sampled_users.parquet")
    with pytest.raises(ReportError, match=r"sampled_users.parquet was written by another version"):
        read_report(folder)


def test_the_command(tmp_path, capsys):
    before = write_report(tmp_path / "lake" / "Made_Up" / "evaluation" / "report", RANKS)
    after = write_report(tmp_path / "after", RANKS | {"sasrec": np.maximum(1, RANKS["sasrec"] - 3)})
    page = tmp_path / "comparison.md"
    # a dataset's folder in the lake will do
    assert main([str(tmp_path / "lake" / "Made_Up"), str(after), "--markdown", str(page)]) == 0
    printed = capsys.readouterr().out
    assert ") is better; " in printed
    assert str(before) in printed
    assert page.read_text().startswith("# Two reports on Made\\_Up")
    (after / "audits.json").unlink()
    assert main([str(before), str(after)]) == 1
    assert "holds no audits.json" in capsys.readouterr().err


def test_the_command_compares_the_last_two_reports_of_a_dataset(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("RAW2RANK_HOME", str(tmp_path / "workspace"))
    place = Workspace.current().dataset("Made_Up").report.parent
    made = iter([RANKS, RANKS | {"sasrec": np.maximum(1, RANKS["sasrec"] - 3)}])

    def run_once() -> None:
        with versioned_folder(place, keep=4) as folder:
            folder.rmdir()
            write_report(folder, next(made))

    assert main(["--dataset", "Made_Up"]) == 1
    assert "Made_Up has no report: make run DATASET=Made_Up makes one" in capsys.readouterr().err
    run_once()
    assert main(["--dataset=Made_Up"]) == 1
    assert "Made_Up has only one report, made at 2" in capsys.readouterr().err
    run_once()
    current, previous = versions_of(place)
    capsys.readouterr()
    assert main(["--dataset=Made_Up", f"--versions={current.digest[:8]},{previous.digest[:8]}"]) == 0
    backwards = capsys.readouterr().out
    assert main(["--dataset=Made_Up", "VERSIONS="]) == 0
    assert capsys.readouterr().out != backwards
    assert main(["--dataset=Made_Up", "--versions=nothing,this"]) == 1
    assert f"no report whose digest begins with nothing; there are: {current.digest[:12]}" in capsys.readouterr().err
    # an empty variable of make is none
    assert main(["--dataset=Made_Up", "--a=", "--b="]) == 0
    found = capsys.readouterr().out
    assert f"before in {previous.path}, after in {current.path}" in found
    assert ") is better; " in found
    # the plain path is that of the current one, and an earlier one can be named
    assert main([str(previous.path), str(place)]) == 0
    assert ") is better; " in capsys.readouterr().out
    place.unlink()
    assert main(["--dataset=Made_Up"]) == 1
    assert "has no report" in capsys.readouterr().err
    assert main(["--dataset=a/b"]) == 1
    assert "cannot name a dataset" in capsys.readouterr().err
