"""The leaderboard: order, comparisons, protocol, and what it refuses."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from recommender_factories import made_up_training_set

from ml.baselines.registry import ALWAYS_RUN, BASELINES
from ml.data.sequences import Sequences
from ml.evaluation.entry import Entry
from ml.evaluation.leaderboard import build_leaderboard, no_better_than
from ml.evaluation.leaderboard_text import to_text_table
from ml.evaluation.metrics import mean_metrics, metric_values, metrics_of_depth, user_metrics
from ml.evaluation.protocol_line import protocol, protocol_line
from ml.evaluation.rankings import RankingError, rank, write_table
from ml.evaluation.significance import SeedValues, holm, holm_confidence, mean_test, paired_t_tests, paired_test


@pytest.fixture(scope="module")
def training_set():
    return replace(
        made_up_training_set(),
        protocol={
            "split": "leave-one-out",
            "duplicates": "exact ones removed",
            "k_core": 0,
            "tie_order": "hash",
            "validation_users": 17,
        },
    )


def evaluated(name: str, training_set, seed: int = 0, depth: int = 20, exclude_seen: bool = False) -> pa.Table:
    recommender = BASELINES[name].create(seed).fit(training_set)
    rankings = rank(recommender, training_set, name, seed, depth=depth, exclude_seen=exclude_seen)
    return user_metrics(rankings, training_set)


@pytest.fixture(scope="module")
def baselines(training_set) -> list[Entry]:
    return [
        Entry(baseline.title, "baseline", (evaluated(name, training_set),))
        for name, baseline in BASELINES.items()
        if name in ALWAYS_RUN
    ]


def of_ranks(entry: Entry, name: str, ranks: np.ndarray, seed: int = 0) -> pa.Table:
    """User metrics with other ranks of the targets (0: not ranked), under another name and seed."""
    table = entry.user_metrics[0]
    about = json.loads(table.schema.metadata[b"raw2rank"]) | {"recommender": name, "seed": seed}
    columns = {
        "user_index": table["user_index"],
        "recommender": pa.array([name] * len(ranks)),
        "seed": pa.array(np.full(len(ranks), seed, dtype=np.int32)),
        "target_rank": pa.array(ranks.astype(np.int16), mask=ranks == 0),
        "cut_is_tied": table["cut_is_tied"],
    }
    return pa.table(columns).replace_schema_metadata({b"raw2rank": json.dumps(about).encode()})


def other(entry: Entry, name: str, ranks: np.ndarray, **changes) -> Entry:
    return replace(entry, user_metrics=(of_ranks(entry, name, ranks),), **{"title": name.capitalize(), **changes})


def ranks_of(entry: Entry) -> np.ndarray:
    return entry.user_metrics[0]["target_rank"].fill_null(0).to_numpy()


def test_rows_are_ranked_and_hold_the_metrics(baselines, training_set):
    table = build_leaderboard(baselines, training_set)
    records = table.to_pylist()
    assert [record["position"] for record in records] == list(range(1, len(ALWAYS_RUN) + 1))
    ndcg = [record["ndcg@10"] for record in records]
    assert ndcg == sorted(ndcg, reverse=True)
    by_name = {entry.recommender: entry for entry in baselines}
    for record in records:
        entry = by_name[record["recommender"]]
        means = mean_metrics(entry.user_metrics[0])
        assert list(means) == list(metrics_of_depth(20))
        assert {metric: record[metric] for metric in means} == means
        assert record["title"] == entry.title
        assert record["ndcg@10_low"] <= record["ndcg@10"] <= record["ndcg@10_high"]
        assert (record["users"], record["catalogue"]) == (65, 40)
        assert (record["fit_on"], record["loss"], record["parameters"]) == ("train", None, None)
        assert (record["seed"], record["seeds"], record["seed_deviation"]) == (0, 1, None)
        assert record["cut_tied"] == np.mean(entry.user_metrics[0]["cut_is_tied"].to_pylist())
    # the scores of a Markov chain are nearly all 0, those of a random recommender never equal
    tied = {record["recommender"]: record["cut_tied"] for record in records}
    assert tied["random"] == 0 < tied["markov_chain"]


def test_order_of_entries_does_not_matter(baselines, training_set):
    one, other_way = (build_leaderboard(entries, training_set) for entries in (baselines, baselines[::-1]))
    assert one.equals(other_way, check_metadata=True)


def test_rows_change_with_what_stands_beside_them_only_in_what_is_corrected_for_it(baselines, training_set):
    whole = {row["recommender"]: row for row in build_leaderboard(baselines, training_set).to_pylist()}
    best = next(iter(whole))
    some = [one for one in baselines if one.recommender in (best, "random")]
    interval = ("difference_low", "difference_high", "difference_confidence")
    corrected = dict.fromkeys(("position", "p_value_adjusted", "verdict", "finding", "beats", *interval))
    for row in build_leaderboard(some, training_set).to_pylist():
        assert {**row, **corrected} == {**whole[row["recommender"]], **corrected}
        # one comparison needs no correction
        assert row["p_value_adjusted"] == row["p_value"]


def test_comparisons_are_paired_and_with_the_best_baseline(baselines, training_set):
    best = max(baselines, key=lambda entry: mean_metrics(entry.user_metrics[0])["ndcg@10"])
    name, ranks = best.recommender, ranks_of(best)
    generator = np.random.default_rng(0)
    # a few ranks up for many users differ significantly although both intervals overlap widely
    up = np.where((ranks > 1) & (generator.random(65) < 0.9), np.maximum(ranks - 3, 1), ranks)
    down = np.where(ranks > 0, ranks + 1, 0)
    model = {"kind": "model", "parameters": 1234, "model_bytes": 5678, "loss": "sampled softmax"}
    entries = [
        *baselines,
        other(best, "up", up, **model),
        other(best, "down", down, **model),
        other(best, "rolled", np.roll(ranks, 1), **model),
        other(best, "equal", ranks, **model),
    ]
    table = build_leaderboard(entries, training_set)
    rows = {row["recommender"]: row for row in table.to_pylist()}
    reference = metric_values(best.user_metrics[0], "ndcg@10")
    for null in ("difference", "finding", "reference", "verdict", "p_value", "p_value_adjusted"):
        assert rows[name][null] is None
    assert rows["up"]["position"] == 1
    assert rows["up"]["reference"] == name
    assert rows["up"]["ndcg@10_low"] < rows[name]["ndcg@10_high"]
    assert 0 < rows["up"]["difference_low"] < rows["up"]["difference_high"]
    findings = [rows[one]["finding"] for one in ("up", "down", "rolled", "equal")]
    assert findings == ["better", "worse", "not significantly different", "not significantly different"]
    assert rows["up"]["verdict"].startswith(f"better than {best.title} by 0.")
    assert rows["down"]["verdict"].startswith(f"worse than {best.title} by 0.")
    assert rows["rolled"]["verdict"].startswith(
        f"not significantly different from {best.title}: difference 0.0000, interval "
    )
    assert rows["equal"]["p_value"] == rows["equal"]["p_value_adjusted"] == 1
    assert rows["equal"]["verdict"].endswith(f"p\u00a0=\u00a01, both corrected for {len(entries) - 1} comparisons")
    assert (rows["up"]["parameters"], rows["up"]["model_bytes"]) == (1234, 5678)
    # the correction is for all rows but the reference
    values = np.stack([metric_values(entry.user_metrics[0], "ndcg@10") for entry in entries if entry is not best])
    p_values = paired_t_tests(values, reference).p_value
    names = [entry.recommender for entry in entries if entry is not best]
    assert [rows[one]["p_value"] for one in names] == p_values.tolist()
    assert [rows[one]["p_value_adjusted"] for one in names] == holm(p_values).tolist()
    for one in names:
        better_or_worse = "better" if rows[one]["difference"] > 0 else "worse"
        is_found = rows[one]["p_value_adjusted"] < 0.05
        assert rows[one]["finding"] == (better_or_worse if is_found else "not significantly different")
        # the interval is corrected like the test, so it never says otherwise
        assert is_found == (not rows[one]["difference_low"] <= 0 <= rows[one]["difference_high"])
    assert [rows[one]["difference_confidence"] for one in names] == holm_confidence(p_values).tolist()
    rolled = paired_test(*map(SeedValues.of_one_seed, (np.roll(reference, 1), reference)))
    bounds = rolled.interval(rows["rolled"]["difference_confidence"])
    assert (rows["rolled"]["difference_low"], rows["rolled"]["difference_high"]) == (bounds.low, bounds.high)
    assert bounds.low < 0 < bounds.high
    assert {"down", name} <= set(rows["up"]["beats"].split(", "))
    assert "up" not in rows["rolled"]["beats"].split(", ")
    assert protocol(table)["tests"].startswith(f"{len(entries) - 1} two-sided t-tests of nDCG@10")
    assert protocol(table)["compared with"].startswith(f"{best.title}, the best training-free baseline")


def test_the_interval_of_a_difference_is_corrected_like_its_test(baselines, training_set):
    base = replace(baselines[0], title="Base")
    ranks = np.where(np.arange(65) % 2, 2, 0)
    # five of 65 users gain: significant in one test (p .02), not in one of many
    gained = np.where((np.arange(65) < 10) & (ranks == 2), 1, ranks)
    entries = [other(base, "base", ranks), other(base, "gained", gained, kind="model")]
    alone = build_leaderboard(entries, training_set).to_pylist()
    assert alone[0]["finding"] == "better"
    assert alone[0]["difference_low"] > 0
    assert alone[0]["difference_confidence"] == pytest.approx(0.95)
    assert "corrected" not in alone[0]["verdict"]
    entries += [other(base, f"equal_{n}", ranks, kind="model") for n in range(3)]
    row = build_leaderboard(entries, training_set).to_pylist()[0]
    assert row["recommender"] == "gained"
    assert row["p_value"] < 0.05 < row["p_value_adjusted"]
    assert row["difference_low"] < 0
    assert row["difference_confidence"] == pytest.approx(1 - 0.05 / 4)
    assert row["finding"] == "not significantly different"
    assert row["verdict"].endswith(", both corrected for 4 comparisons")


def test_seeds_that_spread_make_a_difference_less_sure(baselines, training_set):
    base = replace(baselines[0], title="Base")
    ranks = np.where(np.arange(65) % 2, 2, 0)
    more = [np.where((np.arange(65) < 2 * gain) & (ranks == 2), 1, ranks) for gain in (3, 8, 25)]

    def of_seeds(ranks_by_seed) -> dict:
        tables = tuple(of_ranks(base, "model", one, seed) for seed, one in enumerate(ranks_by_seed))
        entries = [other(base, "base", ranks), Entry("Model", "model", tables)]
        board = build_leaderboard(entries, training_set)
        assert ("over seeds where" in protocol(board)["tests"]) == (len(tables) > 1)
        return next(row for row in board.to_pylist() if row["recommender"] == "model")

    assert of_seeds(more[1:2])["finding"] == "better"
    row = of_seeds(more)
    assert row["finding"] == "not significantly different"
    assert row["difference_low"] < 0 < row["difference"]
    assert row["ndcg@10_high"] - row["ndcg@10_low"] > 2 * row["seed_deviation"]
    # seeds that all find the same add nothing
    assert of_seeds([more[1]] * 3)["p_value"] == pytest.approx(of_seeds(more[1:2])["p_value"])


def test_several_seeds_are_one_row(baselines, training_set):
    best = max(baselines, key=lambda entry: mean_metrics(entry.user_metrics[0])["ndcg@10"])
    generator = np.random.default_rng(1)
    tables = tuple(of_ranks(best, "sasrec", generator.integers(0, 21, 65), seed) for seed in (2, 0, 1))
    entry = Entry("SASRec", "model", tables, loss="softmax")
    assert entry.seeds == (0, 1, 2)
    board = build_leaderboard([*baselines, entry], training_set)
    row = next(row for row in board.to_pylist() if row["recommender"] == "sasrec")
    by_seed = [metric_values(table, "ndcg@10") for table in tables]
    values = np.mean(by_seed, axis=0)
    np.testing.assert_allclose(entry.values(), values, rtol=0, atol=1e-15)
    assert row["ndcg@10"] == pytest.approx(values.mean(), abs=1e-12)
    assert (row["seed"], row["seeds"]) == (0, 3)
    assert row["seed_deviation"] == pytest.approx(np.std([one.mean() for one in by_seed], ddof=1))
    interval = mean_test(SeedValues(np.stack([by_seed[one] for one in (1, 2, 0)]), (0, 1, 2))).interval()
    assert (row["ndcg@10_low"], row["ndcg@10_high"]) == (interval.low, interval.high)
    reference = next(entry for entry in baselines if entry.recommender == row["reference"])
    assert row["p_value"] == paired_test(entry.seed_values(), reference.seed_values()).p_value
    assert protocol(board)["seeds"] == "0, 1, 2 (SASRec), 0 (all others)"
    assert f"SASRec, 3 seeds, sd {row['seed_deviation']:.4f}" in to_text_table(board)
    again = build_leaderboard([*baselines, replace(entry, user_metrics=tables[::-1])], training_set)
    assert again.equals(board, check_metadata=True)


def test_without_a_baseline_nothing_is_compared(baselines, training_set):
    alone = [replace(entry, kind="model") for entry in baselines]
    table = build_leaderboard(alone, training_set)
    assert table["reference"].null_count == table["verdict"].null_count == len(ALWAYS_RUN)
    assert "tests" not in protocol(table)


def test_a_single_row_and_a_single_user(baselines, training_set):
    only = build_leaderboard(baselines[:1], training_set).to_pylist()
    assert [(row["verdict"], row["beats"]) for row in only] == [(None, "")]
    one = replace(training_set, test_users=training_set.test_users[:1], test_targets=training_set.test_targets[:1])
    entries = [Entry(BASELINES[name].title, "baseline", (evaluated(name, one),)) for name in ("random", "most_popular")]
    row = build_leaderboard(entries, one).to_pylist()[1]
    assert row["p_value"] is row["p_value_adjusted"] is None
    assert row["finding"] == "not significantly different"
    assert row["verdict"].endswith("too few users for a test")


def test_what_is_no_better_than_popularity(baselines):
    popular = next(entry for entry in baselines if entry.recommender == "most_popular")
    ranks = ranks_of(popular)
    always = other(popular, "always", np.ones(65, dtype=int), kind="model")
    worse = other(popular, "worse", np.zeros(65, dtype=int), kind="model")
    equal = other(popular, "equal", ranks, kind="model")
    found = no_better_than([always, worse, popular, equal], "most_popular")
    assert list(found) == ["equal", "worse"]
    assert found["equal"].finding == "not significantly different"
    assert found["equal"].sentence.startswith("not significantly different from Most popular: difference 0.0000")
    assert found["worse"].difference.mean == pytest.approx(-popular.values().mean())
    assert no_better_than([always, popular], "most_popular") == {}
    assert no_better_than([popular], "most_popular") == {}
    with pytest.raises(RankingError, match="there is no recommender tower to compare with; there are most_popular"):
        no_better_than([popular], "tower")


def test_protocol_says_what_the_numbers_depend_on(baselines, training_set):
    model = replace(
        baselines[0], kind="model", title="SASRec", loss="sampled softmax", fit_on="train+validation", maximum_length=50
    )
    table = build_leaderboard([model, *baselines[1:]], training_set)
    choices = protocol(table)
    assert choices["dataset"] == training_set.dataset
    assert choices["dataset digest"] == training_set.digest()[:12]
    assert choices["split"] == "leave-one-out"
    assert choices["duplicates"] == "exact ones removed"
    assert choices["k-core"] == "none"
    assert choices["order of ties in time"] == "hash"
    assert choices["ranked"] == "the whole catalogue, 40 items"
    assert choices["seen items"] == "not excluded"
    assert choices["equal scores"] == "by one seeded permutation of the items"
    assert choices["fit on"] == "train+validation (SASRec), train (all others)"
    assert choices["seeds"] == "0"
    assert choices["losses"] == "SASRec (sampled softmax)"
    assert choices["maximum length"] == "50 items"
    assert choices["test history"].startswith("training items and the validation item")
    assert "beam" not in choices
    assert choices["intervals"].startswith("95 % for each recommender (bootstrap over users, 10,000 resamples)")
    assert protocol_line(table).startswith(f"dataset: {training_set.dataset}; dataset digest: ")
    excluded = Entry("Random", "baseline", (evaluated("random", training_set, exclude_seen=True),))
    assert protocol(build_leaderboard([excluded], training_set))["seen items"] == "excluded"


def test_protocol_tells_lengths_and_beams_of_different_models(baselines, training_set):
    lengths = {"One": (50, None), "Two": (50, 20), "Three": (200, 20)}
    models = [
        replace(baselines[row], kind="model", title=title, maximum_length=length, beam=beam)
        for row, (title, (length, beam)) in enumerate(lengths.items())
    ]
    choices = protocol(build_leaderboard([*models, *baselines[3:]], training_set))
    assert choices["maximum length"] == "200 items (Three), 50 items (all other models)"
    assert choices["beam"] == "20 (Three, Two)"
    derived = replace(models[2], derived_from="reads 92 % of the training interactions")
    choices = protocol(build_leaderboard([*models[:2], derived, *baselines[3:]], training_set))
    assert choices["maximum length"].startswith(
        "200 items, derived: reads 92 % of the training interactions (Three), 50"
    )


def test_protocol_says_which_test_histories_hold_a_validation_item(baselines, training_set):
    def test_history(training_set) -> str:
        entry = Entry("Random", "baseline", (evaluated("random", training_set),))
        return protocol(build_leaderboard([entry], training_set))["test history"]

    both = np.intersect1d(training_set.validation_users, training_set.test_users)
    assert 0 < len(both) < len(training_set.test_users)
    assert test_history(training_set) == f"training items and the validation item of the {len(both)} users who have one"
    nobody = replace(training_set, validation_users=both[:0], validation_targets=both[:0], before_validation=None)
    assert test_history(nobody) == "training items (there is no validation item)"
    temporal = replace(nobody, before_test=Sequences.from_lists([[0]] * len(nobody.test_users)))
    said = "training items (there is no validation item), and the interactions between these and the target"
    assert test_history(temporal) == said
    row = np.isin(training_set.test_users, both)
    validated = replace(
        training_set,
        test_users=training_set.test_users[row],
        test_targets=training_set.test_targets[row],
        before_test=None if training_set.before_test is None else training_set.before_test.take(np.flatnonzero(row)),
    )
    assert test_history(validated) == "training items and the validation item"


def test_what_cannot_be_compared_is_refused(baselines, training_set):
    with pytest.raises(RankingError, match="no recommender"):
        build_leaderboard([], training_set)
    with pytest.raises(RankingError, match="random stands twice among the recommenders: its seeds belong into one"):
        build_leaderboard([baselines[0], baselines[0]], training_set)
    excluded = Entry("R", "model", (evaluated("random", training_set, exclude_seen=True),))
    with pytest.raises(RankingError, match="one exclude_seen"):
        build_leaderboard([baselines[1], excluded], training_set)
    with pytest.raises(RankingError, match="one depth"):
        build_leaderboard(
            [baselines[1], Entry("R", "model", (evaluated("random", training_set, depth=10),))], training_set
        )
    with pytest.raises(RankingError, match=r"too short for ndcg@10"):
        build_leaderboard([Entry("R", "model", (evaluated("random", training_set, depth=9),))], training_set)
    with pytest.raises(RankingError, match="random was evaluated on another training set"):
        build_leaderboard(baselines, replace(training_set, test_targets=np.roll(training_set.test_targets, 1)))
    fewer = replace(baselines[1], user_metrics=(baselines[1].user_metrics[0].slice(1),))
    with pytest.raises(RankingError, match="popularity_sampling was evaluated on other users"):
        build_leaderboard([baselines[0], fewer], training_set)


def test_wrong_entries_are_refused(baselines, training_set):
    one, another = baselines[0].user_metrics[0], baselines[1].user_metrics[0]
    with pytest.raises(ValueError, match=r"one of baseline, .*, language_model, not 'oracle'"):
        Entry("Oracle", "oracle", (one,))
    with pytest.raises(ValueError, match="Random needs a tuple of user metrics, one table a seed"):
        Entry("Random", "baseline", one)
    with pytest.raises(ValueError, match="needs a tuple of user metrics"):
        Entry("Random", "baseline", ())
    with pytest.raises(RankingError, match="of several recommenders: popularity_sampling, random"):
        Entry("Random", "baseline", (one, another))
    with pytest.raises(RankingError, match="hold a seed twice: 0, 0"):
        Entry("Random", "baseline", (one, one))


def test_is_kept_whole_in_a_file_of_equal_bytes(baselines, training_set, tmp_path):
    for name in ("one", "two"):
        write_table(build_leaderboard(baselines, training_set), tmp_path / f"{name}.parquet")
    assert (tmp_path / "one.parquet").read_bytes() == (tmp_path / "two.parquet").read_bytes()
    table = pq.read_table(tmp_path / "one.parquet")
    assert table.equals(build_leaderboard(baselines, training_set), check_metadata=True)
    assert protocol(table)["split"] == "leave-one-out"


def test_the_printed_table_holds_every_row(baselines, training_set):
    long = "A model with a name that is longer than any terminal would like to show"
    model = replace(baselines[0], kind="model", title=long, loss="softmax")
    table = build_leaderboard([model, *baselines[1:]], training_set)
    lines = to_text_table(table, seconds={"random": 12.34}).splitlines()
    assert lines[0].split()[:4] == ["Rank", "Recommender", "Kind", "nDCG@10"]
    for record, line in zip(table.to_pylist(), lines[2 : 2 + len(ALWAYS_RUN)], strict=True):
        assert f"{record['ndcg@10']:.4f}" in line
        assert (record["title"] if record["title"] != long else "A model with a name that is longer ...") in line
        assert ("12.3\u00a0s" in line) == (record["recommender"] == "random")
    assert lines[-1].endswith("corrected like them.")
    assert max(map(len, lines)) < 180
    assert "Fit" not in to_text_table(table).splitlines()[0]


def test_the_protocol_names_the_datasets_that_a_model_was_pre_trained_on(training_set):
    entries = [Entry(name, "model", (evaluated(name, training_set),)) for name in ("most_popular", "repeat_last")]
    assert "pre-trained on" not in protocol(build_leaderboard(entries, training_set))
    entries[1] = replace(entries[1], pretrained_on="Beauty, Toys")
    assert protocol(build_leaderboard(entries, training_set))["pre-trained on"] == "repeat_last (Beauty, Toys)"
