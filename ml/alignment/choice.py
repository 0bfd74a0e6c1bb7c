"""The choice among the policies of an alignment, on the validation users. Imports no torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Candidate:
    """A policy, or the student.

    Attributes:
        weight: of the goal; ``None`` for the student.
        ndcg: validation nDCG@10; ``None`` without validation users.
        goal: measure of its validation lists; ``None`` where it is undefined.
    """

    weight: float | None
    ndcg: float | None
    goal: float | None


def choose(student: Candidate, policies: Sequence[Candidate], higher_is_better: bool, largest_loss: float) -> Candidate:
    """The policy with most of the goal, of those that lose little accuracy against the student, and the student itself.

    Among equals the student, then the smallest weight. Without validation users nothing can be compared, and the
    choice is the smallest weight above 0, or 0 where that is the only one.

    Args:
        student: what was aligned.
        policies: by ascending weight, at least one.
        higher_is_better: whether more of the goal is better.
        largest_loss: share of the student's nDCG@10 that may be lost.
    """
    if student.ndcg is None:
        return next((policy for policy in policies if policy.weight), policies[0])
    least = (1 - largest_loss) * student.ndcg
    allowed = [each for each in (student, *policies) if each.ndcg is not None and each.ndcg >= least]
    sign = 1 if higher_is_better else -1
    return max(allowed, key=lambda each: float("-inf") if each.goal is None else sign * each.goal)
