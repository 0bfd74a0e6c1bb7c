"""The choice among the policies of an alignment, on the validation users. Imports no torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ml.beyond_accuracy.affordable import most_of_the_goal


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
    measured = [each for each in (student, *policies) if each.ndcg is not None]
    goals = [float("nan") if each.goal is None else each.goal for each in measured]
    accuracies = [each.ndcg for each in measured if each.ndcg is not None]
    return measured[most_of_the_goal(accuracies, goals, higher_is_better, largest_loss)]
