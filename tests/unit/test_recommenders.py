"""What every recommender promises, whatever it learns from."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import recommender_factories
from costs import others_slow
from recommender_factories import FACTORIES, OF_EVERY_KIND, Factory, digest_of, digest_of_files, made_up_training_set

from ml.data.item_index import translate
from ml.data.sequences import Sequences
from ml.data.training_set import TrainingSet
from ml.recommender import NO_ITEM, Recommendations, Recommender

SEED = 3
SAFE_FORMATS = {".json", ".jsonl", ".npy", ".npz", ".safetensors", ".toml"}


@pytest.fixture(scope="module")
def training_set() -> TrainingSet:
    return made_up_training_set()


@pytest.fixture(scope="module")
def histories(training_set) -> Sequences:
    return training_set.histories("test")


# another one differs in a part that is tested by itself: how lists are merged, how a policy is trained
ONCE_MORE = ("llm_query_in_turns", "aligned_by_reinforce")


@pytest.fixture(
    scope="module",
    params=others_slow(
        {one.name: one for one in FACTORIES}, *(one.name for one in FACTORIES if one.name not in ONCE_MORE)
    ),
)
def factory(request) -> Factory:
    if not request.param.installed:
        needed = request.param.library or f"extra {request.param.extra!r}"
        pytest.skip(f"{needed} is not installed: no {request.param.name} to test")
    return request.param


@pytest.fixture(scope="module")
def recommender(factory, training_set) -> Recommender:
    recommender = factory.create(SEED)
    assert recommender.fit(training_set) is recommender
    return recommender


@pytest.fixture(scope="module")
def other_process() -> dict[str, list[str]]:
    """What a process with other hashes of strings makes of the same input."""
    environment = {**os.environ, "PYTHONHASHSEED": "12345"}
    script = Path(recommender_factories.__file__)
    done = subprocess.run([sys.executable, str(script)], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_the_made_up_training_set_holds_the_rare_cases(training_set, histories):
    assert (histories.lengths == 0).any()
    assert (histories.lengths == 1).any()
    assert any(len(set(histories[row].tolist())) < len(histories[row]) for row in range(len(histories)))
    assert (np.bincount(training_set.train.items, minlength=training_set.items) == 0).any()


def assert_equal(one: Recommendations, other: Recommendations, tolerance: float = 0.0) -> None:
    """Equal lists; with a tolerance, items may have changed places where their scores are that close."""
    if tolerance == 0:
        np.testing.assert_array_equal(one.items, other.items)
        np.testing.assert_array_equal(one.scores, other.scores)
        return
    np.testing.assert_allclose(one.scores, other.scores, rtol=tolerance, atol=tolerance)
    for row, place in zip(*np.nonzero(one.items != other.items), strict=True):
        close = np.isclose(one.scores[row], other.scores[row, place], rtol=2 * tolerance, atol=2 * tolerance)
        assert close.sum() > 1


def test_keeps_the_protocol(factory):
    assert isinstance(factory.create(SEED), Recommender)


@pytest.mark.parametrize(
    ("k", "exclude_seen"),
    [
        *[(1, True), (10, False), (37, True)],
        *(pytest.param(*pair, marks=pytest.mark.slow) for pair in [(1, False), (10, True), (37, False)]),
    ],
)
def test_lists_are_sound(recommender, training_set, histories, k, exclude_seen):
    answer = recommender.recommend(histories, k, exclude_seen)
    assert answer.items.shape == answer.scores.shape == (len(histories), k)
    assert answer.items.dtype == np.int32
    assert answer.scores.dtype == np.float32
    filled = answer.items != NO_ITEM
    assert (answer.items[filled] >= 0).all()
    assert (answer.items[filled] < training_set.items).all()
    np.testing.assert_array_equal(answer.scores[~filled], -np.inf)
    assert np.isfinite(answer.scores[filled]).all()
    # what is missing is missing at the end
    assert (filled[:, 1:] <= filled[:, :-1]).all()
    assert (answer.scores[:, 1:] <= answer.scores[:, :-1]).all()
    for row, kept in zip(answer.items, filled, strict=True):
        assert len(set(row[kept].tolist())) == kept.sum()


def test_more_than_the_catalogue_is_the_catalogue(recommender, training_set, histories):
    answer = recommender.recommend(histories, training_set.items + 7, exclude_seen=False)
    catalogue = np.tile(np.arange(training_set.items), (len(histories), 1))
    np.testing.assert_array_equal(np.sort(answer.items[:, :-7], axis=1), catalogue)
    assert (answer.items[:, -7:] == NO_ITEM).all()


def test_excludes_what_was_seen_and_nothing_else(recommender, training_set, histories):
    answer = recommender.recommend(histories, training_set.items, exclude_seen=True)
    for row in range(len(histories)):
        unseen = set(range(training_set.items)) - set(histories[row].tolist())
        kept = answer.items[row][answer.items[row] != NO_ITEM]
        assert set(kept.tolist()) == unseen


def test_a_whole_catalogue_of_seen_items_leaves_nothing(recommender, training_set):
    everything = Sequences.from_lists([np.arange(training_set.items)])
    answer = recommender.recommend(everything, 5, exclude_seen=True)
    assert (answer.items == NO_ITEM).all()


@pytest.mark.parametrize("exclude_seen", [False, True])
def test_an_empty_history_has_a_full_list(recommender, exclude_seen):
    answer = recommender.recommend(Sequences.from_lists([[]]), 10, exclude_seen)
    assert (answer.items != NO_ITEM).all()


@pytest.mark.parametrize("exclude_seen", [False, True])
def test_a_history_of_items_never_trained_on_has_a_full_list(recommender, training_set, exclude_seen):
    untrained = np.flatnonzero(np.bincount(training_set.train.items, minlength=training_set.items) == 0)
    assert len(untrained) >= 3
    unknown = Sequences.from_lists([untrained[:1], untrained[:3], untrained[[0, 0]]])
    answer = recommender.recommend(unknown, 10, exclude_seen)
    assert (answer.items != NO_ITEM).all()
    if exclude_seen:
        for row in range(len(unknown)):
            assert not set(answer.items[row].tolist()) & set(unknown[row].tolist())


@pytest.mark.parametrize("place", [0, 1, 2])
@pytest.mark.parametrize("item", [-1, 40])
def test_an_item_added_after_training_is_refused_with_what_to_do(recommender, training_set, item, place):
    assert training_set.items == 40
    history = [3, 3, 3]
    history[place] = item
    with pytest.raises(ValueError, match=r"outside the catalogue of 40 items.* fit it again .*item_index\.translate"):
        recommender.recommend(Sequences.from_lists([[1], history]), 5, exclude_seen=False)


def test_answers_for_a_newer_catalogue_once_translated(recommender, training_set):
    """The way that the message of the test before points out."""
    newer_ids = np.sort(np.append(training_set.item_ids, [b"I0005", b"I020a", b"Z"]))
    newer = Sequences.from_lists([[0, 2, 1], [22, 42], [42, 5, 22]])
    assert newer_ids[[1, 22, 42]].tolist() == [b"I0005", b"I020a", b"Z"]
    older = translate(newer, newer_ids, training_set.item_ids)
    answer = recommender.recommend(older, 10, exclude_seen=True)
    assert (answer.items != NO_ITEM).all()
    assert_equal(answer, recommender.recommend(Sequences.from_lists([[0, 1], [], [4]]), 10, exclude_seen=True))


def test_no_histories_have_no_lists(recommender):
    assert recommender.recommend(Sequences.from_lists([]), 10, exclude_seen=True).items.shape == (0, 10)


def test_refuses_a_list_of_nothing(recommender, histories):
    with pytest.raises(ValueError, match="k must be at least 1"):
        recommender.recommend(histories, 0, exclude_seen=False)


def test_a_shorter_list_is_the_start_of_a_longer_one(recommender, histories):
    longer = recommender.recommend(histories, 12, exclude_seen=False)
    shorter = recommender.recommend(histories, 4, exclude_seen=False)
    assert_equal(Recommendations(longer.items[:, :4], longer.scores[:, :4]), shorter)


@pytest.mark.parametrize(
    ("block", "exclude_seen"),
    [
        *[(7, True), (64, False)],
        *(pytest.param(*pair, marks=pytest.mark.slow) for pair in [(1, False), (1, True), (7, False), (64, True)]),
    ],
)
def test_a_row_does_not_depend_on_the_rows_beside_it(factory, recommender, histories, block, exclude_seen):
    whole = recommender.recommend(histories, 10, exclude_seen)
    rng = np.random.default_rng(block)
    rows = rng.permutation(len(histories))[: 3 * block]
    for start in range(0, len(rows), block):
        some = rows[start : start + block]
        answer = recommender.recommend(histories.take(some), 10, exclude_seen)
        assert_equal(Recommendations(whole.items[some], whole.scores[some]), answer, factory.score_tolerance)


def test_answers_the_same_twice(recommender, histories):
    before = histories.items.copy()
    first = recommender.recommend(histories, 10, exclude_seen=True)
    assert_equal(first, recommender.recommend(histories, 10, exclude_seen=True))
    np.testing.assert_array_equal(histories.items, before)


# a fit with other held-out targets, below, is also a second fit
@pytest.mark.slow
def test_fits_the_same_twice(factory, recommender, training_set, histories):
    again = factory.create(SEED).fit(training_set)
    assert_equal(
        recommender.recommend(histories, 10, exclude_seen=False),
        again.recommend(histories, 10, exclude_seen=False),
    )


@pytest.mark.slow
def test_another_process_recommends_and_saves_the_same(factory, recommender, histories, tmp_path, other_process):
    recommender.save(tmp_path)
    answer = recommender.recommend(histories, 10, exclude_seen=True)
    assert other_process[factory.name] == [digest_of(answer), digest_of_files(tmp_path)]


def test_held_out_targets_never_matter(factory, recommender, training_set, histories):
    changed = replace(training_set, test_targets=np.roll(training_set.test_targets, 1))
    assert (changed.test_targets != training_set.test_targets).any()
    if not factory.reads_validation_targets:
        changed = replace(changed, validation_targets=(changed.validation_targets + 1) % changed.items)
    again = factory.create(SEED).fit(changed)
    assert_equal(
        recommender.recommend(histories, 10, exclude_seen=False),
        again.recommend(histories, 10, exclude_seen=False),
    )


def test_is_the_same_after_saving_and_loading(factory, recommender, histories, tmp_path):
    recommender.save(tmp_path)
    loaded = factory.load(tmp_path)
    for exclude_seen in (False, True):
        assert_equal(
            recommender.recommend(histories, 10, exclude_seen),
            loaded.recommend(histories, 10, exclude_seen),
        )
    saved_again = tmp_path / "again"
    saved_again.mkdir()
    loaded.save(saved_again)
    for path in saved_again.rglob("*.npy"):
        assert path.read_bytes() == (tmp_path / path.relative_to(saved_again)).read_bytes()


def test_saves_no_pickle(recommender, tmp_path):
    recommender.save(tmp_path)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert files
    assert {path.suffix for path in files} <= SAFE_FORMATS
    for path in files:
        if path.suffix in (".npy", ".npz"):
            np.load(path, allow_pickle=False)


# models that differ in their network or their loss alone are trained by the same loop
@pytest.mark.parametrize("factory", others_slow({one.name: one for one in FACTORIES}, *OF_EVERY_KIND), indirect=True)
def test_lists_change_with_the_training_histories(factory, recommender, training_set, histories):
    """No recommender ignores what it was fitted on, but the random one, which is to."""
    renamed = replace(
        training_set,
        train=replace(training_set.train, items=(training_set.train.items + 11) % training_set.items),
        item_text=tuple(np.roll(training_set.item_text, 5).tolist()),
    )
    one = recommender.recommend(histories, 10, exclude_seen=False)
    other = factory.create(SEED).fit(renamed).recommend(histories, 10, exclude_seen=False)
    assert (one.items != other.items).any() == (factory.name != "random")
