"""Pareto fronts and hypervolumes: against their definitions."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from ml.beyond_accuracy.fronts import hypervolume, hypervolumes, pareto_front

# few values, so that there are ties
some_points = st.integers(0, 7).flatmap(
    lambda points: arrays(np.float64, (points, 2), elements=st.sampled_from([-1, 0, 0.25, 0.5, 1]))
)


@given(some_points)
def test_the_front_is_what_nothing_dominates(points):
    def dominates(one, other):
        return (one >= other).all() and (one > other).any()

    expected = [not any(dominates(other, point) for other in points) for point in points]
    assert pareto_front(points).tolist() == expected


def test_hypervolume_by_hand():
    assert hypervolume(np.array([[1, 0.5], [0.5, 1], [0.4, 0.4]]), (0, 0)) == 0.75
    assert hypervolume(np.array([[1, 1]]), (0.5, -1)) == 1
    assert hypervolume(np.array([[1, 1]]), (1, 0)) == hypervolume(np.empty((0, 2)), (0, 0)) == 0
    # a point below the reference in one coordinate adds nothing
    assert hypervolume(np.array([[2, -1], [1, 1]]), (0, 0)) == 1


@given(some_points)
def test_hypervolume_is_the_area_of_the_union(points):
    # cells of a grid that no rectangle cuts through
    edges = np.linspace(0, 1, 5)[:-1] + 0.125
    cells = np.stack(np.meshgrid(edges, edges), axis=-1).reshape(-1, 1, 2)
    covered = (cells < points[None]).all(axis=2).any(axis=1)
    assert hypervolume(points, (0, 0)) == pytest.approx(covered.mean())


@given(some_points)
def test_dominated_points_add_nothing_and_others_something(points):
    front = pareto_front(points)
    whole = hypervolume(points, (-2, -2))
    assert hypervolume(points[front], (-2, -2)) == whole
    for place in np.flatnonzero(front):
        rest = np.delete(points, place, axis=0)
        is_twice = (rest == points[place]).all(axis=1).any()
        assert hypervolume(rest, (-2, -2)) == whole if is_twice else hypervolume(rest, (-2, -2)) < whole


def test_many_sets_at_once():
    sets = np.random.default_rng(0).random((20, 5, 2))
    assert hypervolumes(sets, (0.2, 0.1)) == pytest.approx([hypervolume(each, (0.2, 0.1)) for each in sets])
    assert hypervolumes(np.empty((3, 0, 2)), (0, 0)).tolist() == [0, 0, 0]


@pytest.mark.parametrize("points", [np.zeros(2), np.zeros((2, 3)), np.array([[0, np.nan]])])
def test_points_that_are_none(points):
    with pytest.raises(ValueError, match="points"):
        pareto_front(points)
    with pytest.raises(ValueError, match="points"):
        hypervolume(points, (0, 0))
