"""A bundle answers as the recommender that it holds, and says clearly what it cannot answer."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import bundles
import numpy as np
import pytest
from bundles import bundle_of, ids_and_times
from recommender_factories import FACTORIES, Factory, made_up_training_set

import raw2rank
from ml.data.training_set import TrainingSet
from ml.recommender import NO_ITEM, Recommendations
from ml.release.bundle import Bundle, BundleError

SEED = 3
# their answer to an empty history is not the popular items as they are: drawn, fused of several fits, or re-ranked
NOT_BY_POPULARITY = {"random", "popularity_sampling", "fusion_refit", "reranked_by_mmr", "reranked_by_greedy",
                     "reranked_by_sog"}  # fmt: skip


@pytest.fixture(scope="module")
def training_set() -> TrainingSet:
    return made_up_training_set()


@pytest.fixture(scope="module")
def histories(training_set):
    """Of the test users, as a bundle sees them: it knows no user."""
    return replace(training_set.histories("test"), users=None)


@pytest.fixture(scope="module")
def given(training_set, histories):
    return ids_and_times(training_set, histories)


@pytest.fixture(scope="module")
def released(training_set, tmp_path_factory) -> dict[str, tuple[Path, Recommendations]]:
    """Of each recommender: the folder of its bundle, and the lists that it has to give."""
    histories = replace(training_set.histories("test"), users=None)
    known = {}
    for factory in (one for one in FACTORIES if one.installed):
        folder = tmp_path_factory.mktemp(factory.name)
        (folder / "saved").mkdir()
        recommender = factory.create(SEED).fit(training_set)
        bundle_of(factory, recommender, training_set, folder / "saved", folder / "bundle")
        known[factory.name] = folder / "bundle", recommender.recommend(histories, 10, exclude_seen=True)
    return known


@pytest.fixture(scope="module")
def other_process(released, given, tmp_path_factory):
    """What a process that is given folders of bundles alone answers."""
    asked = tmp_path_factory.mktemp("asked") / "histories.json"
    asked.write_text(json.dumps({"ids": given[0], "times": given[1]}))
    environment = {**os.environ, "PYTHONHASHSEED": "12345"}
    folders = [str(folder) for folder, _ in released.values()]
    command = [sys.executable, bundles.__file__, str(asked), *folders]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module", params=FACTORIES, ids=lambda factory: factory.name)
def factory(request) -> Factory:
    if not request.param.installed:
        needed = request.param.library or f"extra {request.param.extra!r}"
        pytest.skip(f"{needed} is not installed: no {request.param.name} to test")
    return request.param


@pytest.fixture(scope="module")
def bundle(factory, released) -> Bundle:
    return raw2rank.load(released[factory.name][0])


def ids_of(training_set: TrainingSet, items: np.ndarray) -> list[list[str]]:
    return [[training_set.item_ids[item].decode() for item in row if item != NO_ITEM] for row in items]


def test_answers_as_the_recommender_does(factory, bundle, released, given, training_set):
    lists = bundle.recommend(given[0], k=10, exclude_seen=True, times=given[1])
    wanted = released[factory.name][1]
    assert lists.items == ids_of(training_set, wanted.items)
    filled = wanted.items != NO_ITEM
    assert lists.scores == [row[kept].tolist() for row, kept in zip(wanted.scores, filled, strict=True)]
    assert lists.skipped == [0] * len(given[0])


def test_another_process_answers_the_same(factory, bundle, released, given, other_process):
    lists = bundle.recommend(given[0], k=10, exclude_seen=True, times=given[1])
    assert other_process[str(released[factory.name][0])] == [lists.items, lists.scores, lists.skipped]


def test_unknown_ids_are_skipped_and_counted(bundle, training_set):
    lists = bundle.recommend([["nowhere", "I001", "I1"], ["I001"], [""]], times=[[1, 2, 3], [2], [9]])
    assert lists.items[0] == lists.items[1]
    assert lists.skipped == [2, 0, 1]


def test_histories_without_a_known_item_have_the_popular_ones(factory, bundle, training_set, released):
    empty, unknown = bundle.recommend([[], ["X", "Y"]]).items
    assert empty == unknown
    popular = raw2rank.load(released["most_popular"][0]).recommend([[]]).items[0]
    assert (empty == popular) == (factory.name not in NOT_BY_POPULARITY)


def test_lists_hold_allowed_items_alone(bundle, given, training_set):
    allowed = {"I001", "I004", "I030", "I039", "of another shop"}
    some = [row[:20] for row in given[0]], [row[:20] for row in given[1]]
    lists = bundle.recommend(some[0], k=3, exclude_seen=True, allowed=allowed, excluded=["I004"], times=some[1])
    whole = bundle.recommend(some[0], k=training_set.items, exclude_seen=True, times=some[1])
    for items, history, everything in zip(lists.items, some[0], whole.items, strict=True):
        left = allowed - {"I004", "of another shop"} - set(history)
        assert set(items) <= left
        assert len(items) == min(3, len(left))
        assert items == [item for item in everything if item in left][:3]


def test_similar_items_are_others_and_differ(bundle):
    similar = bundle.similar_items("I003", k=7)
    items, scores = [item for item, _ in similar], [score for _, score in similar]
    assert "I003" not in items
    assert len(set(items)) == len(items) == 7
    assert scores == sorted(scores, reverse=True)


def test_writes_the_same_bytes_again(factory, bundle, training_set, tmp_path):
    (tmp_path / "saved").mkdir()
    again = bundle_of(factory, factory.create(SEED).fit(training_set), training_set, tmp_path / "saved", tmp_path / "b")
    files = sorted(path.relative_to(again) for path in again.rglob("*") if path.is_file())
    assert files == sorted(path.relative_to(bundle.folder) for path in bundle.folder.rglob("*") if path.is_file())
    for file in files:
        assert (again / file).read_bytes() == (bundle.folder / file).read_bytes(), file


def test_a_damaged_file_is_named(released, tmp_path):
    folder = tmp_path / "bundle"
    shutil.copytree(released["markov_chain"][0], folder)
    counts = folder / "recommenders" / "markov_chain" / "counts.npy"
    counts.write_bytes(counts.read_bytes()[:-1] + b"\x01")
    with pytest.raises(BundleError, match=r"damaged .*recommenders/markov_chain/counts\.npy.* release .* again"):
        raw2rank.load(folder)
