"""How the lists of generating models were found: counts beside rankings, and beam width against exactness."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from recommender_factories import FACTORIES, made_up_training_set

from ml.baselines.registry import BASELINES
from ml.evaluation.entry import Entry
from ml.evaluation.leaderboard import build_leaderboard
from ml.evaluation.metrics import user_metrics
from ml.evaluation.protocol_line import protocol
from ml.evaluation.rankings import facts, rank
from ml.generation.lists import ListCounts
from ml.recommender import Recommendations
from ml.training.beam_widths import compare_beam_widths


@pytest.fixture(scope="module")
def training_set():
    return made_up_training_set()


def fitted(name, training_set):
    (factory,) = (one for one in FACTORIES if one.name == name)
    return factory.create(0).fit(training_set)


@pytest.fixture(scope="module")
def searching(training_set):
    return fitted("item_codes_ar", training_set)


def test_the_widest_beam_of_a_small_catalogue_is_exact(searching, training_set):
    found = compare_beam_widths(searching, training_set, exclude_seen=False)
    histories = training_set.histories("test")
    filled = np.flatnonzero(histories.lengths > 0)
    assert (found["users"], found["reference_width"], found["reference_certified"]) == (len(filled), 40, 1)
    assert [each["width"] for each in found["widths"]] == [10, 20, 40]
    assert found["widths"][-1]["equal"] == 1
    # a certified list is the exact one
    assert all(0 <= each["certified"] <= each["equal"] <= 1 for each in found["widths"])
    lists = searching.recommend(histories.take(filled), 10, False).items
    targets = training_set.test_targets[filled]
    gains = [
        1 / np.log2(row.tolist().index(target) + 2) for row, target in zip(lists, targets, strict=True) if target in row
    ]
    assert found["widths"][-1]["ndcg@10"] == pytest.approx(sum(gains) / len(filled))


def test_some_users_stand_for_all(searching, training_set):
    found = compare_beam_widths(searching, training_set, exclude_seen=True, users=7)
    assert found["users"] == 7
    one = compare_beam_widths(searching, training_set, exclude_seen=True, users=1)
    assert one["users"] == 1


def test_nothing_is_compared_where_nothing_is_searched(training_set):
    assert compare_beam_widths(fitted("item_codes_tree", training_set), training_set, False) is None
    baseline = BASELINES["most_popular"].create().fit(training_set)
    assert compare_beam_widths(baseline, training_set, False) is None


def test_without_histories_there_is_nothing_to_compare(searching, training_set):
    nobody = replace(training_set, test_users=training_set.test_users[:0], test_targets=training_set.test_targets[:0])
    assert compare_beam_widths(searching, nobody, False) is None


def test_rankings_say_how_lists_were_found(searching, training_set):
    table = rank(searching, training_set, "item_codes_ar", 0, depth=10)
    searching.recommend(training_set.histories("test"), 10, False)
    counts = searching.list_counts
    assert counts.lists == np.count_nonzero(training_set.histories("test").lengths)
    assert facts(table)["generated"] == vars(counts)
    # the numbers of blocks add up
    assert facts(rank(searching, training_set, "item_codes_ar", 0, depth=10, block=9))["generated"] == vars(counts)
    # and stand in the metadata of what is measured
    assert facts(user_metrics(table, training_set))["generated"] == vars(counts)


class _Counting:
    """Recommends items in order, and says that it searched."""

    def __init__(self, certified):
        self.certified = certified

    def recommend(self, histories, k, exclude_seen):
        rows = len(histories)
        self.list_counts = ListCounts(rows, self.certified, 3, 2)
        return Recommendations(np.tile(np.arange(k, dtype=np.int32), (rows, 1)), np.zeros((rows, k), dtype=np.float32))


def _metrics(recommender, name, seed, training_set) -> pa.Table:
    return user_metrics(rank(recommender, training_set, name, seed, depth=10), training_set)


def test_the_protocol_says_how_lists_were_found(training_set):
    users = len(training_set.test_users)
    baseline = BASELINES["most_popular"].create().fit(training_set)
    entries = [
        Entry("Popular", "baseline", (_metrics(baseline, "most_popular", 0, training_set),)),
        Entry("Tree", "model", (_metrics(baseline, "tree", 0, training_set),), beam=0),
        Entry(
            "Beams",
            "model",
            tuple(
                _metrics(_Counting(certified), "beams", seed, training_set) for seed, certified in enumerate((30, 34))
            ),
            beam=50,
        ),
    ]
    assert entries[0].list_counts is None
    assert entries[1].list_counts is None
    assert entries[2].list_counts == {"lists": 2 * users, "certified": 64, "repeated": 6, "filled": 4}
    choices = protocol(build_leaderboard(entries, training_set))
    assert choices["beam"] == "50 (Beams), scores of all items (Tree)"
    assert choices["lists certified to be exact"] == f"64 of {2 * users} (Beams)"
    assert choices["lists filled by popularity"] == f"4 of {2 * users} (Beams)"
    without = protocol(build_leaderboard(entries[:2], training_set))
    assert "lists certified to be exact" not in without
