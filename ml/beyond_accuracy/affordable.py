"""The trade-off with the most of a goal that costs little accuracy."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def most_of_the_goal(
    ndcg: Sequence[float], goal: Sequence[float], higher_is_better: bool, largest_loss: float = 0.05
) -> int:
    """The place of the trade-off that has the most of the goal, of those that lose little accuracy against the first.

    Args:
        ndcg: mean nDCG of each trade-off; that of accuracy alone comes first.
        goal: mean measure of each trade-off, ``nan`` where it is undefined.
        higher_is_better: whether more of the measure is better.
        largest_loss: share of the first nDCG that may be lost.

    Returns:
        The first of equally good places; 0 where the measure is defined for none.
    """
    worth = np.asarray(goal, dtype=np.float64) * (1 if higher_is_better else -1)
    allowed = np.asarray(ndcg, dtype=np.float64) >= (1 - largest_loss) * ndcg[0]
    return int(np.where(allowed & ~np.isnan(worth), worth, -np.inf).argmax())
