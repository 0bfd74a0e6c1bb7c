"""Rewards and advantages of lists, against hand-made lists, measures of whole lists, and plain loops."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml.alignment.advantages import discounted_returns, generalised_advantages, normalised
from ml.alignment.episodes import draw_episodes, episodes_at
from ml.alignment.rewards import accuracy_rewards, rewards_of
from ml.beyond_accuracy.goals import GOALS, GoalOnData
from ml.beyond_accuracy.measures import ndcg
from ml.data.sequences import Sequences
from ml.recommender import NO_ITEM

ITEMS = 12
SEEDS = st.integers(0, 2**32 - 1)
# items 0, 2, 4... are of one category, the others of another one
TWO_CATEGORIES = np.eye(2, dtype=np.float32)[np.arange(ITEMS) % 2]
DIVERSITY = GoalOnData(GOALS["category_diversity"], TWO_CATEGORIES, None)
POPULARITY = GoalOnData(GOALS["popularity"], None, (np.arange(ITEMS, dtype=np.float32) + 0.5) / ITEMS)


def random_lists(generator: np.random.Generator, rows: int, places: int) -> np.ndarray:
    """Lists without repeats, some of which end early."""
    lists = np.stack([generator.permutation(ITEMS)[:places] for _ in range(rows)])
    lengths = generator.integers(0, places + 1, rows)
    return np.where(np.arange(places) < lengths[:, None], lists, NO_ITEM)


def test_a_list_made_by_hand():
    lists = np.array([[0, 2, 1, 3]])
    histories = Sequences.from_lists([[5]])
    found = rewards_of(lists, np.array([[1]]), histories, DIVERSITY)
    assert found.accuracy.tolist() == [[0, 0, 0.5, 0]]  # 1 / log2(4) at the third place
    # the third item differs from two before it, the fourth too: 2 / (4 * 3) for each such pair
    assert found.goal[0] == pytest.approx([0, 0, 2 / 6, 2 / 6])
    assert found.weighted(2.0, 0.5)[0] == pytest.approx([0, 0, 1 + 1 / 6, 1 / 6])


def test_popularity_counts_against_a_list():
    found = rewards_of(np.array([[0, 11]]), np.array([[3]]), Sequences.from_lists([[5]]), POPULARITY)
    assert found.goal[0] == pytest.approx([-0.5 / 24, -11.5 / 24])


def test_several_targets_share_the_ideal():
    lists = np.array([[4, 7, 5, 6]])
    targets = np.array([[7, 4, 4]])
    ideal = 1 + 1 / np.log2(3)
    assert accuracy_rewards(lists, targets)[0] == pytest.approx([1 / ideal, (1 / np.log2(3)) / ideal, 0, 0])
    assert accuracy_rewards(lists, targets).sum() == pytest.approx(1)


def test_no_target_and_no_item_are_no_hit():
    lists = np.array([[NO_ITEM, NO_ITEM], [1, NO_ITEM]])
    targets = np.array([[3, NO_ITEM], [NO_ITEM, NO_ITEM]])
    assert not accuracy_rewards(lists, targets).any()


@given(seed=SEEDS)
def test_rewards_sum_to_the_measures_of_the_lists(seed):
    generator = np.random.default_rng(seed)
    lists = random_lists(generator, 5, 4)
    histories = Sequences.from_lists([generator.integers(0, ITEMS, 3) for _ in range(5)])
    target = generator.integers(0, ITEMS, 5)
    for goal, sign in ((DIVERSITY, 1), (POPULARITY, -1)):
        found = rewards_of(lists, target[:, None], histories, goal)
        assert found.accuracy.sum(axis=1) == pytest.approx(ndcg(lists, target))
        assert found.goal.sum(axis=1) == pytest.approx(sign * np.nan_to_num(goal.measure(lists, histories)))
        assert not found.weighted(1, 1)[lists == NO_ITEM].any()


@given(seed=SEEDS, discount=st.floats(0, 1), decay=st.floats(0, 1))
def test_advantages_equal_a_double_loop(seed, discount, decay):
    generator = np.random.default_rng(seed)
    rows, places = 4, 5
    listed = random_lists(generator, rows, places) != NO_ITEM
    rewards, values = generator.normal(size=(2, rows, places))
    advantages, returns = generalised_advantages(rewards, values, listed, discount, decay)
    for row in range(rows):
        length = int(listed[row].sum())
        for place in range(places):
            expected = 0.0
            for later in range(place, length):
                following = values[row, later + 1] if later + 1 < length else 0.0
                delta = rewards[row, later] + discount * following - values[row, later]
                expected += (discount * decay) ** (later - place) * delta
            assert advantages[row, place] == pytest.approx(expected)
            value = values[row, place] if place < length else 0.0
            assert returns[row, place] == pytest.approx(expected + value)


@given(seed=SEEDS, discount=st.floats(0, 1))
def test_with_decay_one_returns_are_the_discounted_rewards(seed, discount):
    generator = np.random.default_rng(seed)
    rewards, values = generator.normal(size=(2, 3, 6))
    _, returns = generalised_advantages(rewards, values, np.ones((3, 6), dtype=bool), discount, 1.0)
    assert returns == pytest.approx(discounted_returns(rewards, discount))


@given(seed=SEEDS)
def test_normalised_advantages(seed):
    generator = np.random.default_rng(seed)
    listed = random_lists(generator, 6, 5) != NO_ITEM
    advantages = normalised(generator.normal(3, 7, (6, 5)), listed)
    assert not advantages[~listed].any()
    if listed.sum() > 1:
        assert advantages[listed].mean() == pytest.approx(0, abs=1e-9)
        assert advantages[listed].std() == pytest.approx(1)


def test_equal_advantages_are_no_signal():
    listed = np.ones((2, 3), dtype=bool)
    assert not normalised(np.full((2, 3), 0.1), listed).any()
    assert not normalised(np.ones((2, 3)), ~listed).any()


@given(seed=SEEDS, cut=st.sampled_from(["random", "last"]), targets=st.integers(1, 4))
def test_episodes_are_a_history_and_what_follows_it(seed, cut, targets):
    generator = np.random.default_rng(seed)
    # items that say their row and place
    lengths = generator.integers(2, 9, 6)
    rows = Sequences.from_lists([100 * row + np.arange(length) for row, length in enumerate(lengths)])
    episodes = draw_episodes(rows, np.arange(6), 4, cut, targets, generator)
    drawn = []
    for history, targeted in zip(episodes.histories, episodes.targets, strict=True):
        row, length = history[0] // 100, len(history)
        drawn.append(row)
        assert history.tolist() == (100 * row + np.arange(length)).tolist()
        assert 1 <= length < lengths[row]
        if cut == "last":
            assert length == max(1, lengths[row] - targets)
        after = np.arange(length, min(length + targets, lengths[row]))
        assert targeted.tolist() == [*(100 * row + after), *[NO_ITEM] * (targets - len(after))]
    assert len(set(drawn)) == 4


def test_every_cut_is_drawn():
    rows = Sequences.from_lists([np.arange(5)])
    found = {
        len(draw_episodes(rows, np.arange(1), 1, "random", 1, np.random.default_rng(seed)).histories[0])
        for seed in range(60)
    }
    assert found == {1, 2, 3, 4}


def test_more_episodes_than_histories():
    rows = Sequences.from_lists([[1, 2], [3, 4]])
    assert len(draw_episodes(rows, np.arange(2), 9, "random", 1, np.random.default_rng(0)).histories) == 9


def test_histories_keep_their_users():
    rows = Sequences.from_lists([[1, 2, 3], [4, 5]]).of_users(np.array([7, 9]))
    assert episodes_at(rows, np.array([2, 1]), 1).histories.users.tolist() == [7, 9]
