"""Accuracy against goals: fronts, hypervolumes, and the choice of a tradeoff on the validation users."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pyarrow.parquet as pq
import pytest
from threadpoolctl import threadpool_limits
from trade_off_toys import ITEMS, USERS, MadeUpSeries, lists_of, made_up, training_set

from ml.beyond_accuracy import measures
from ml.beyond_accuracy.fronts import hypervolume
from ml.beyond_accuracy.goals import GoalUnavailable, goal_on
from ml.data.files import DamagedFile
from ml.evaluation.intervals import bootstrap_interval
from ml.evaluation.trade_offs.compare import build_trade_offs
from ml.evaluation.trade_offs.content import TradeOffs
from ml.evaluation.trade_offs.files import JSON_FILE, POINTS_FILE, load_trade_offs, points_table, save_trade_offs
from ml.evaluation.trade_offs.series import measure_series

DATA = training_set()
POPULARITY = goal_on("popularity", DATA)


def measured(*seeds: MadeUpSeries, data=DATA):
    return measure_series(seeds, goal_on(seeds[0].goal, data), POPULARITY, data)


def built(*series: MadeUpSeries | Sequence[MadeUpSeries], **options) -> TradeOffs:
    found = [measured(*one) if isinstance(one, (tuple, list)) else measured(one) for one in series]
    return build_trade_offs(found, USERS, 30, **{"resamples": 400} | options)


def test_points_are_means_over_the_test_users():
    found = built(made_up()).series[0]
    goal, histories = goal_on("category_diversity", DATA), DATA.histories("test")
    for place, (point, hits) in enumerate(zip(found.points, (30, 28, 10), strict=True)):
        lists = lists_of(USERS, hits, 1, (2, 3, 5)[place], place)
        assert point.ndcg.mean == pytest.approx(hits / USERS)
        assert point.value.mean == pytest.approx(goal.measure(lists, histories).mean())
        assert point.popularity == pytest.approx(POPULARITY.measure(lists, histories).mean())
        assert point.coverage == len(np.unique(lists)) / ITEMS
        assert point.ndcg.low < point.ndcg.mean < point.ndcg.high
    assert [point.tradeoff for point in found.points] == [0, 0.5, 1]
    assert (found.seeds, found.start, found.kind) == (1, "Tower", "re-ranking")


def test_intervals_are_those_of_the_bootstrap_over_users():
    series = measured(made_up())
    point = build_trade_offs([series], USERS, 30).series[0].points[1]
    expected = bootstrap_interval(series.ndcg[0, 1], seed=0)
    assert point.ndcg.low == pytest.approx(expected.low, abs=0.02)
    assert point.ndcg.high == pytest.approx(expected.high, abs=0.02)


def test_hypervolume_is_the_area_above_the_worst_start():
    first, second = made_up("mmr"), made_up("sog", test=(20, 20, 20), categories=(3, 4, 5), seed=5)
    found = built(first, second)
    (reference,) = found.references
    starts = [one.points[0].value.mean for one in found.series]
    assert (reference.goal, reference.ndcg, reference.value) == ("category_diversity", 0, min(starts))
    for one in found.series:
        points = np.array([[point.ndcg.mean, point.value.mean] for point in one.points])
        assert one.hypervolume.mean == pytest.approx(hypervolume(points, (0, reference.value)))
        assert one.hypervolume.low < one.hypervolume.mean < one.hypervolume.high


def test_the_front_is_of_all_series_of_a_goal():
    better, worse = made_up("better"), made_up("worse", test=(20, 18, 8))
    pair = [measured(better), measured(worse)]
    pair[1].value[:] = pair[0].value
    found = build_trade_offs(pair, USERS, 30, resamples=50)
    assert [point.on_front for one in found.series for point in one.points] == [True] * 3 + [False] * 3
    # and another goal has a front of its own
    other = made_up("worse", test=(20, 18, 8), goal="category_novelty")
    assert any(point.on_front for point in built(better, other).series[1].points)


def test_popularity_is_better_low():
    # later places draw from more items, and from less popular ones
    series = made_up("unpopular", test=(30, 30, 30), goal="popularity")
    data = DATA
    lists = [np.tile(np.arange(start, start + 10), (USERS, 1)) for start in (2, 12, 25)]
    series.lists = lambda place, split, k: lists[place][: len(data.users_of(split))]
    found = built(series)
    values = [point.value.mean for point in found.series[0].points]
    assert values == sorted(values, reverse=True)
    assert found.references[0].value == values[0]
    assert found.series[0].bought is None, "without a hit there is nothing to lose"
    lists = [np.where(np.arange(10) == 0, 1, one) for one in lists]
    series.lists = lambda place, split, k: np.where(lists[place] == 1, split == "test", lists[place])[
        : len(data.users_of(split))
    ]
    bought = built(series).series[0].bought
    assert bought.tradeoff == 1
    assert bought.gain.mean < 0
    assert bought.gain.high < 0
    assert built(series).series[0].hypervolume.mean == pytest.approx(
        1.0 * (np.array([point.value.mean for point in built(series).series[0].points]) @ [1, 0, -1])
    )


def test_the_tradeoff_is_chosen_on_validation_users_and_reported_on_test_users():
    # on the validation users 0.5 loses 5 %; on the test users a third
    found = built(made_up(test=(30, 20, 30), validation=(20, 19, 5))).series[0]
    assert (found.bought.place, found.bought.tradeoff) == (1, 0.5)
    assert found.bought.validation_loss == pytest.approx(0.05)
    assert found.bought.loss.mean == pytest.approx(1 / 3)
    assert found.bought.loss.low < 1 / 3 < found.bought.loss.high
    gain = found.points[1].value.mean - found.points[0].value.mean
    assert found.bought.gain.mean == pytest.approx(gain)
    assert found.bought.relative_gain.mean == pytest.approx(gain / found.points[0].value.mean)
    assert [point.chosen for point in found.points] == [False, True, False]


def test_a_tradeoff_that_loses_too_much_is_not_chosen():
    found = built(made_up(validation=(20, 18, 5))).series[0]
    assert (found.bought.tradeoff, found.bought.loss.mean, found.bought.gain.mean) == (0, 0, 0)
    assert (found.bought.loss.low, found.bought.loss.high) == (0, 0)


def test_without_lists_for_validation_users_nothing_is_chosen():
    assert built(MadeUpSeries("mmr", {"test": (30, 28, 10)})).series[0].bought is None
    bare = training_set(validation=0)
    found = build_trade_offs([measured(made_up(), data=bare)], USERS, 0, resamples=50)
    assert found.series[0].bought is None


def test_equal_series_do_not_differ_and_a_better_one_does():
    found = built(made_up("one"), made_up("same"), made_up("worse", test=(10, 8, 2), seed=9))
    by_pair = {frozenset((one.series, one.other)): one for one in found.differences}
    assert len(by_pair) == 3
    equal = by_pair[frozenset(("one", "same"))]
    assert (equal.difference.mean, equal.difference.low, equal.difference.high, equal.adjusted) == (0, 0, 0, 1)
    worse = by_pair[frozenset(("one", "worse"))]
    assert worse.series == "one"
    assert worse.difference.low > 0
    assert worse.p_value <= worse.adjusted < 0.05


def test_clear_differences_are_found_among_many_series():
    many = [made_up(f"series {hits}", test=(hits, hits, hits)) for hits in range(0, 56, 5)]
    found = build_trade_offs([measured(one) for one in many], USERS, 30)
    first, last = many[0].name, many[-1].name
    (clearest,) = [one for one in found.differences if {one.series, one.other} == {first, last}]
    assert len(found.differences) == 66
    assert clearest.difference.low > 0
    assert clearest.adjusted < 0.05


def test_chance_is_rarely_significant():
    """Two series with equally many hits at users that are drawn: about one in twenty differs significantly."""
    rng = np.random.default_rng(7)
    small = 0
    for _ in range(60):
        pair = []
        for name in ("one", "other"):
            series = measured(made_up(name, test=(0, 0, 0), tradeoffs=(0,), categories=(5,)))
            series.ndcg[:] = rng.random((1, 1, USERS)) < 0.4
            series.value[:] = 0.5 + 0.1 * rng.normal(size=(1, 1, USERS))
            pair.append(series)
        for one in pair:
            one.value[:] += 0.5
        # a start alone is at the reference; so both are compared above a common, worse one
        worst = measured(made_up("worst", test=(1, 1, 1), tradeoffs=(0,), categories=(1,)))
        worst.value[:] = 0
        found = build_trade_offs([*pair, worst], USERS, 30, resamples=200)
        small += next(one for one in found.differences if "worst" not in (one.series, one.other)).p_value < 0.05
    assert small <= 9


def test_several_seeds_are_averaged_and_resampled():
    seeds = [made_up(test=(hits, hits, hits)) for hits in (10, 30, 50)]
    found = built(seeds).series[0]
    alone = built(seeds[1]).series[0]
    assert found.seeds == 3
    assert found.points[0].ndcg.mean == pytest.approx(0.5)
    goal, reference = measured(*seeds).value.mean(axis=2), built(seeds).references[0].value
    areas = [
        hypervolume(np.stack([np.full(3, hits / USERS), goal[seed]], axis=1), (0, reference))
        for seed, hits in enumerate((10, 30, 50))
    ]
    assert found.hypervolume.mean == pytest.approx(np.mean(areas))
    assert found.hypervolume.high - found.hypervolume.low > 1.5 * (alone.hypervolume.high - alone.hypervolume.low)
    # paired by seed: equal series of as many seeds never differ
    again = [made_up("again", test=one.hits["test"]) for one in seeds]
    assert built(seeds, again).differences[0].difference.high == 0


def test_the_reference_and_results_do_not_depend_on_the_blocks_of_resamples(monkeypatch):
    whole = built(made_up("one"), made_up("other", seed=4))
    monkeypatch.setattr("ml.evaluation.trade_offs.resamples._AT_ONCE", 100)
    blocks = built(made_up("one"), made_up("other", seed=4))
    for one, other in zip(whole.series, blocks.series, strict=True):
        assert one.hypervolume.low == pytest.approx(other.hypervolume.low, rel=1e-12)


def test_results_do_not_depend_on_the_number_of_threads():
    rng = np.random.default_rng(0)
    series = measured(made_up())
    series = replace(series, ndcg=rng.random((1, 3, 500)), value=rng.random((1, 3, 500)))

    def found(threads: int) -> TradeOffs:
        with threadpool_limits(limits=threads):
            return build_trade_offs([series], 500, 30)

    assert found(2) == found(1)


def test_users_without_a_measure_are_left_out_of_its_mean():
    series = measured(made_up())
    series.value[0, 0, ::2] = np.nan
    found = build_trade_offs([series], USERS, 30, resamples=200).series[0]
    assert found.points[0].value.mean == pytest.approx(series.value[0, 0, 1::2].mean())
    assert found.points[0].ndcg.mean == pytest.approx(0.5)


def test_nothing_gives_empty_tables():
    found = build_trade_offs([], USERS, 30, ["no goal", "no goal", "no list"])
    assert (found.series, found.references, found.differences) == ((), (), ())
    assert found.left_out == ("no goal", "no list")
    assert points_table(found).num_rows == 0


def test_what_is_saved_is_read(tmp_path):
    found = built(made_up("one"), made_up("other", seed=4), left_out=["“quoted” – sentence"])
    save_trade_offs(found, tmp_path)
    assert load_trade_offs(tmp_path) == found
    rows = pq.read_table(tmp_path / POINTS_FILE).to_pylist()
    assert [row["series"] for row in rows] == ["one"] * 3 + ["other"] * 3
    assert rows[1]["ndcg@10"] == found.series[0].points[1].ndcg.mean
    bytes_before = (tmp_path / JSON_FILE).read_bytes()
    save_trade_offs(found, tmp_path)
    assert (tmp_path / JSON_FILE).read_bytes() == bytes_before
    (tmp_path / JSON_FILE).write_text("{}")
    with pytest.raises(DamagedFile):
        load_trade_offs(tmp_path)


@pytest.mark.parametrize("tradeoffs", [(), (0.1, 0.5, 1), (0, 0.5, 0.4)])
def test_tradeoffs_ascend_from_0(tradeoffs):
    with pytest.raises(ValueError, match="mmr: trade-offs must ascend from 0"):
        measured(made_up(tradeoffs=tradeoffs))


def test_bad_series_are_refused():
    with pytest.raises(ValueError, match="the trade-offs differ between the seeds"):
        measured(made_up(), made_up(tradeoffs=(0, 0.4, 1)))
    with pytest.raises(ValueError, match="same name and goal"):
        built(made_up(), made_up())
    with pytest.raises(ValueError, match="mmr: not of the same 50 test users"):
        build_trade_offs([measured(made_up())], 50, 30)
    alone = made_up("alone")
    alone.lists = lambda place, split, k: np.full((len(DATA.users_of(split)), 1), 3)
    with pytest.raises(GoalUnavailable, match="Alone: intra-list distance by category is undefined for all lists"):
        measured(alone)


def test_lists_shorter_than_ten_are_measured():
    short = made_up("short")
    short.lists = lambda place, split, k: lists_of(len(DATA.users_of(split)), 5, 1, 5, place)[:, :4]
    found = built(short).series[0]
    expected = measures.ndcg(short.lists(0, "test", 10), np.asarray(DATA.test_targets)).mean()
    assert found.points[0].ndcg.mean == pytest.approx(expected)
