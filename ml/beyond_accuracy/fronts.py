"""Pareto fronts of points of two goals, and the hypervolume that they dominate."""

from __future__ import annotations

import numpy as np


def pareto_front(points: np.ndarray) -> np.ndarray:
    """Which points no other point dominates, bool ``[points]``.

    A point dominates another one if it is at least as high in both coordinates and higher in one. Equal points do not
    dominate each other.

    Args:
        points: of two goals that are to be high, float ``[points, 2]``; negate what is to be low.

    Raises:
        ValueError: they are not points of two finite coordinates.
    """
    points = _checked(points)
    # from the highest first coordinate down, of equal ones from the highest second
    order = np.lexsort((-points[:, 1], -points[:, 0]))
    first, second = points[order].T
    best = np.maximum.accumulate(second) if len(second) else second
    # highest second coordinate among the points with a higher first one
    starts = np.searchsorted(-first, -first, side="left")
    above = np.concatenate([[-np.inf], best])[starts]
    # and among those with the same first one
    front = np.empty(len(points), bool)
    front[order] = (second > above) & (second == second[starts])
    return front


def hypervolume(points: np.ndarray, reference: np.ndarray | tuple[float, float]) -> float:
    """Area that points dominate above a reference point (Zitzler and Thiele, IEEE TEC 3, 1999), exactly.

    The area of the union of the rectangles between the reference point and each point. Points that are not above the
    reference in both coordinates add nothing.

    Args:
        points: of two goals that are to be high, float ``[points, 2]``.
        reference: the worst point that counts, ``[2]``.

    Raises:
        ValueError: they are not points of two finite coordinates.
    """
    return float(hypervolumes(_checked(points)[None], reference)[0])


def hypervolumes(points: np.ndarray, reference: np.ndarray | tuple[float, float]) -> np.ndarray:
    """:func:`hypervolume` of many sets of equally many points, float64 ``[sets]``.

    Args:
        points: float ``[sets, points, 2]``.
        reference: the worst point that counts, ``[2]``.

    Raises:
        ValueError: they are not points of two finite coordinates.
    """
    points = np.asarray(points, dtype=np.float64)
    if points.ndim != 3:
        raise ValueError(f"points of shape {points.shape}: give sets of points of two coordinates")
    _checked(points.reshape(-1, points.shape[2]))
    (lowest,) = _checked(np.asarray(reference, dtype=np.float64)[None])
    above = np.maximum(points - lowest, 0)
    order = np.argsort(-above[..., 0], axis=1, kind="stable")
    first, second = np.take_along_axis(above, order[..., None], axis=1).transpose(2, 0, 1)
    # between the first coordinate of a point and that of the next lower one, the area is as high as the highest so far
    widths = first - np.concatenate([first[:, 1:], np.zeros((len(first), 1))], axis=1)[:, : first.shape[1]]
    return (widths * np.maximum.accumulate(second, axis=1)).sum(axis=1) if first.size else np.zeros(len(first))


def _checked(points: np.ndarray) -> np.ndarray:
    points = np.asarray(points, dtype=np.float64)
    if points.ndim != 2 or points.shape[1] != 2:
        raise ValueError(f"points of shape {points.shape}: give two coordinates a point")
    if not np.isfinite(points).all():
        raise ValueError("points must be finite")
    return points
