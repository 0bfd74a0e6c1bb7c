"""The log of an alignment: a line of JSON for each validation, with the parts of the reward."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from ml.training.json_lines import GrowingFile, read_lines, write_lines

FILE = "alignment_log.jsonl"


@dataclass(frozen=True)
class AlignmentRecord:
    """One line. Values of training are means over the steps since the line before, over lists or listed places; there
    are none in the first line, which holds the validation of what training starts from.

    Attributes:
        weight: of the goal.
        step: batches learned from so far.
        reward: of the sampled lists, both parts weighted and added up.
        accuracy: nDCG of the sampled lists, not weighted.
        goal: measure of the sampled lists, not weighted; 0 where it is undefined.
        divergence: Kullback-Leibler divergence of the policy from the student, in nats a place.
        entropy: of the policy, in nats a place.
        value_loss: of the value network; ``None`` without one.
        clipped: share of the places whose ratio of probabilities was clipped; ``None`` without PPO.
        validation_ndcg_at_10: of the greedy lists of validation users.
        validation_goal: mean measure of these lists.
        validation_reward: both of them weighted, what the best policy has most of.
        seconds: since training began, in all runs of one that was killed and started again.
        lists_per_second: sampled and learned from, validation not counted.
    """

    weight: float
    step: int
    reward: float | None
    accuracy: float | None
    goal: float | None
    divergence: float | None
    entropy: float | None
    value_loss: float | None
    clipped: float | None
    validation_ndcg_at_10: float | None
    validation_goal: float | None
    validation_reward: float | None
    seconds: float
    lists_per_second: float | None

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    def in_words(self) -> str:
        """One line for a log that people read."""
        parts = [f"weight {self.weight:g}, step {self.step}"]
        for name, value in (
            ("reward", self.reward), ("accuracy", self.accuracy), ("goal", self.goal), ("KL", self.divergence),
            ("entropy", self.entropy), ("validation nDCG@10", self.validation_ndcg_at_10),
            ("validation goal", self.validation_goal),
        ):  # fmt: skip
            if value is not None:
                parts.append(f"{name} {value:.4f}")
        if self.lists_per_second is not None:
            parts.append(f"{self.lists_per_second:,.0f} lists/s")
        return ", ".join(parts)


def write_log(records: Iterable[AlignmentRecord], file: Path) -> None:
    """One line of JSON a record."""
    write_lines(records, file)


def read_log(file: Path) -> list[AlignmentRecord]:
    """Read what :func:`write_log` wrote."""
    return [AlignmentRecord(**line) for line in read_lines(file)]


class GrowingLog:
    """The log in a folder, a line as soon as there is one.

    Args:
        folder: made where there is none; ``None`` writes nothing.
        tell: called with each record that is added.
    """

    def __init__(
        self,
        folder: Path | None,
        tell: Callable[[AlignmentRecord], None] | None = None,
    ) -> None:
        self.file, self.tell = GrowingFile(None if folder is None else folder / FILE), tell

    def add(self, record: AlignmentRecord) -> None:
        """One more line."""
        self.keep(record)
        if self.tell is not None:
            self.tell(record)

    def keep(self, record: AlignmentRecord) -> None:
        """A line that is known already: ``tell`` was called with it by the run that is resumed."""
        self.file.add(record)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()
