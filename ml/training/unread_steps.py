"""What Adam does to a row of a table in the steps that do not read it, in one go.

A row that a step does not read has a gradient of zero in it. Adam moves it all the same: with ``k`` the number of
steps since ``s``, the last step that the row took part in,

    w  <-  rho_t w  -  m a_k / (c_k sqrt(v) + epsilon)        rho_t = 1 - rate_t decay
    a_k = rate_t beta1^k / (1 - beta1^t)                      c_k = beta2^(k/2) / sqrt(1 - beta2^t)

where ``m`` and ``v`` are the row's means as they were at ``s``. They appear in every step alike, so that the sum over
all steps that were missed is ``m`` times a function of ``q = sqrt(v)`` alone, ``R(q) = sum_k a_k / (c_k q + epsilon)``,
the same for all rows with the same ``s``. With ``x_k = 1 / c_k`` it is an integral of ``x / (q + epsilon x)`` with the
weights ``a_k``, and is taken by the Gaussian quadrature of two nodes, which follows from the sums ``sum_k a_k x_k^p``
for ``p`` from 0 to 3. It is exact where ``q`` is far above ``epsilon`` or far below it, and where one step was missed.
Between, where ``q`` is about ``epsilon``, it differs by less than 1e-4 of the movement after the first hundred steps,
and by less than 1 % in the first ten, with betas of .9 and .98; less with .999.

The moving average of the weights is linear in ``w``, in itself and in another such function, with weights that say how
much of each ``a_k`` has reached the average.

The steps after which ``m`` is gone add nothing, so the sums of a last step ``s`` are complete some two hundred steps
later, and what follows is the decay of ``w`` and of the average: a step costs the same however many are behind.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

# what is left of a row's movement where its sums are said to be complete
_NEGLIGIBLE = 1e-10
# of a variance beside the squared mean, where it is rounding
_NO_SPREAD = 1e-12
_FIRST_CAPACITY = 1024


@dataclass(frozen=True)
class MissedSteps:
    """What the steps that rows have missed do to them, float64 ``[rows]`` each.

    Attributes:
        weight: the weights are multiplied by it.
        mean: likewise the mean of the gradient.
        square: likewise the mean of its square.
        movement: numbers of ``R``, ``[4, rows]``: ``(r0 q + r1) / (q^2 + r2 q + r3)`` with ``q = sqrt(v)``.
        moved: the weights are reduced by ``moved * m * R(q)``.
        drawn: how far the average is drawn to the weights as they were before, from 0 to 1.
        average: it is multiplied by this then.
        average_movement: numbers of another ``R``.
        average_moved: the average is reduced by this times ``m`` times that ``R(q)``.
        average_moved_late: and by this times ``m`` times the ``R(q)`` of the weights.
    """

    weight: np.ndarray
    mean: np.ndarray
    square: np.ndarray
    movement: np.ndarray
    moved: np.ndarray
    drawn: np.ndarray
    average: np.ndarray
    average_movement: np.ndarray
    average_moved: np.ndarray
    average_moved_late: np.ndarray


class UnreadSteps:
    """The sums for every step that may be the last one of a row.

    Args:
        betas: decay of Adam's means, which :func:`suits`.
        epsilon: of Adam.
        weight_decay: decoupled.
        start: steps that were taken before; rows are as of this step or a later one.
    """

    def __init__(self, betas: tuple[float, float], epsilon: float, weight_decay: float, start: int = 0) -> None:
        self.betas, self.epsilon, self.weight_decay = betas, epsilon, weight_decay
        of_mean, of_square = betas
        ratio = of_mean / math.sqrt(of_square) if of_mean else 0.0
        self.window = max(1, math.ceil(math.log(_NEGLIGIBLE) / math.log(ratio))) if ratio else 1
        missed = np.arange(1, self.window + 1)
        # of a_k x_k^p without what is the same for all k
        self._powers = np.stack([of_mean**missed * of_square ** (-power * missed / 2) for power in range(4)])
        self.restart(start)

    def restart(self, step: int) -> None:
        """Forget all steps: rows are as of this one or a later one."""
        self.start = self.step = step
        capacity = _FIRST_CAPACITY
        self._sums, self._average_sums = np.zeros((4, capacity)), np.zeros((4, capacity))
        self._movement, self._average_movement = _no_movement(capacity), _no_movement(capacity)
        # logarithms of the products of rho and of the average's decay since the start, and how much of a weight that
        # decays has reached the average since, divided by the first product
        self._shrunk, self._decayed, self._reached = np.zeros(capacity), np.zeros(capacity), np.zeros(capacity)

    def advance(self, rate: float, average_decay: float) -> None:
        """Count a step.

        Args:
            rate: its learning rate.
            average_decay: what the average was multiplied by; 1 where there is none.
        """
        place = self.step - self.start
        if place + 2 > self._sums.shape[1]:
            self._grow()
        self.step += 1
        of_mean, of_square = self.betas
        shrunk = 1 - rate * self.weight_decay
        first = max(0, place + 1 - self.window)
        those = slice(first, place + 1)
        # the last step of the first of these rows is furthest behind
        powers = self._powers[:, place - first :: -1]
        scales = rate / (1 - of_mean**self.step) * (1 - of_square**self.step) ** (np.arange(4)[:, None] / 2)
        sums, averaged = self._sums[:, those], self._average_sums[:, those]
        if shrunk != 1:
            sums *= shrunk
        sums += scales * powers
        self._movement[:, those] = _of_two_nodes(sums, self.epsilon)
        if average_decay < 1:
            averaged *= average_decay
            averaged += (1 - average_decay) * sums
            self._average_movement[:, those] = _of_two_nodes(averaged, self.epsilon)
        self._shrunk[place + 1] = self._shrunk[place] + math.log(shrunk)
        self._decayed[place + 1] = self._decayed[place] + math.log(average_decay)
        self._reached[place + 1] = average_decay / shrunk * self._reached[place] + 1 - average_decay

    def since(self, last: np.ndarray) -> MissedSteps:
        """What the steps after ``last`` do to rows, int64 ``[rows]``; none are missed where it is the latest step."""
        now, then = self.step - self.start, last - self.start
        complete = np.minimum(then + self.window, now)
        missed = (now - then).astype(np.float64)
        weight, kept, reached = self._of_weight_and_average(then)
        late_weight, late_kept, late_reached = self._of_weight_and_average(complete)
        return MissedSteps(
            weight=weight,
            mean=self.betas[0] ** missed,
            square=self.betas[1] ** missed,
            movement=self._movement[:, then],
            moved=late_weight,
            drawn=reached / (kept + reached),
            average=kept + reached,
            average_movement=self._average_movement[:, then],
            average_moved=late_kept,
            average_moved_late=late_reached,
        )

    def _of_weight_and_average(self, places: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """What is left of a weight and of an average that were so at the given places, and how much of the weight has
        reached the average."""
        now = self.step - self.start
        weight, kept = (np.exp(total[now] - total[places]) for total in (self._shrunk, self._decayed))
        return weight, kept, weight * self._reached[now] - kept * self._reached[places]

    def _grow(self) -> None:
        more = self._sums.shape[1]
        for name in ("_sums", "_average_sums", "_shrunk", "_decayed", "_reached"):
            known = getattr(self, name)
            setattr(self, name, np.concatenate([known, np.zeros((*known.shape[:-1], more))], axis=-1))
        for name in ("_movement", "_average_movement"):
            setattr(self, name, np.concatenate([getattr(self, name), _no_movement(more)], axis=1))


def suits(betas: tuple[float, float]) -> bool:
    """Whether two nodes are enough: the mean of the square decays at most a quarter as fast as that of the gradient,
    as with Adam's usual betas, and the latter is gone after a few hundred steps."""
    return betas[0] <= 0.95 and 1 - betas[1] <= (1 - betas[0]) / 4


def _no_movement(columns: int) -> np.ndarray:
    numbers = np.zeros((4, columns))
    numbers[3] = 1
    return numbers


def _of_two_nodes(sums: np.ndarray, epsilon: float) -> np.ndarray:
    """Numbers of ``R`` from sums of ``a x^p``, ``[4, columns]`` both.

    ``R(q)`` is the sum of ``weight x / (q + epsilon x)`` over both nodes. Written as one fraction it takes the sum of
    the nodes and their product, for which no root is needed.
    """
    if not sums[0].all():
        numbers = _no_movement(sums.shape[1])
        some = sums[0] > 0
        numbers[:, some] = _of_two_nodes(sums[:, some], epsilon) if some.any() else 0
        return numbers
    mean, square, cube = sums[1:] / sums[0]
    variance = square - mean * mean
    third = cube - mean * (3 * square - 2 * mean * mean)
    spread = variance > _NO_SPREAD * mean * mean
    skew = np.divide(third, variance, out=np.zeros_like(third), where=spread)
    product = mean * (mean + skew) - np.where(spread, variance, 0)
    return np.stack([sums[1], epsilon * product * sums[0], epsilon * (2 * mean + skew), epsilon * epsilon * product])
