"""An alignment as a recommender: the policies that a student was aligned to, and the one that was chosen of them."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any, Self

from ml.alignment.align import align
from ml.alignment.log import FILE as LOG_FILE
from ml.alignment.log import AlignmentRecord, read_log, write_log
from ml.alignment.recipe import AlignmentRecipe, folder_of_weight
from ml.alignment.runtime import AlignmentExecution
from ml.alignment.summary import ALIGNMENT_FILE, POLICIES, STUDENT, policy_folder, read_alignment, weights_of
from ml.beyond_accuracy.goals import GOALS, Goal, first_goal
from ml.data.sequences import Sequences
from ml.data.training_set import TrainingSet
from ml.recommender import Recommendations
from ml.training.sequential_recommender import SequentialRecommender


class AlignedRecommender:
    """A student aligned with a goal, as its recipe says; it recommends what the chosen policy does.

    Args:
        recipe: weights of the goal, method and step sizes.
        student: trained, or to be trained by :meth:`fit`.
        seed: of the alignment; the student has its own.
        execution: threads and device; checkpoints are kept by :func:`ml.alignment.align.align` alone.
    """

    def __init__(
        self,
        recipe: AlignmentRecipe | None,
        student: SequentialRecommender | None,
        seed: int = 0,
        execution: AlignmentExecution | None = None,
    ) -> None:
        self.recipe = recipe
        self.student = student
        self.seed = seed
        self.execution = AlignmentExecution(checkpoint_seconds=None) if execution is None else execution
        # by weight, ascending
        self.policies: dict[float, SequentialRecommender] = {}
        self.described: dict[str, Any] = {}
        self.log: list[AlignmentRecord] = []

    def fit(self, training_set: TrainingSet) -> Self:
        """Train the student, then align it.

        Raises:
            GoalUnavailable: the items have what none of the goals needs.
        """
        if self.student is None:
            raise RuntimeError("this alignment was loaded: it has no student to be trained")
        self.student.fit(training_set)
        return self.align(training_set)

    def align(self, training_set: TrainingSet) -> Self:
        """Align the student, which is trained, with the first goal that the items have what it needs for.

        Raises:
            GoalUnavailable: the items have what none of the goals needs.
        """
        if self.student is None or self.recipe is None:
            raise RuntimeError("this alignment was loaded: it has no student to be aligned")
        goal = first_goal(self.recipe.goals, training_set)
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary) / "aligned"
            align(self.recipe, self.student, training_set, goal, folder, self.seed, self.execution)
            self._read(folder)
        return self

    @property
    def goal(self) -> Goal:
        """What the policies were aligned with."""
        return GOALS[self._known()["goal"]["name"]]

    @property
    def weights(self) -> tuple[float, ...]:
        """Weights of the goal that there is a policy for, ascending."""
        return tuple(self.policies)

    @property
    def chosen(self) -> SequentialRecommender:
        """The policy that was chosen on the validation users; the student where every policy lost too much."""
        weight = self._known()["chosen"]
        if weight is not None:
            return self.policies[weight]
        assert self.student is not None  # it is kept where it was chosen
        return self.student

    @property
    def validation_lists(self) -> Recommendations | None:
        """Of the chosen policy, for fusions and re-rankings."""
        return self.chosen.validation_lists

    def recommend(self, histories: Sequences, k: int, exclude_seen: bool) -> Recommendations:
        """The lists of the chosen policy."""
        return self.chosen.recommend(histories, k, exclude_seen)

    def lists(self, weight: float, histories: Sequences, k: int, exclude_seen: bool) -> Recommendations:
        """The lists of the policy of a weight.

        Raises:
            KeyError: there is none.
        """
        if weight not in self.policies:
            known = ", ".join(f"{each:g}" for each in self.policies)
            raise KeyError(f"there is no policy of weight {weight:g}; there are {known}")
        return self.policies[weight].recommend(histories, k, exclude_seen)

    def save(self, folder: Path) -> None:
        """Write ``alignment.json``, the log, and each policy into a folder of its own."""
        described = self._known()
        for weight, policy in self.policies.items():
            place = folder / POLICIES / folder_of_weight(weight)
            place.mkdir(parents=True)
            policy.save(place)
        if described["chosen"] is None:
            (folder / STUDENT).mkdir()
            self.chosen.save(folder / STUDENT)
        write_log(self.log, folder / LOG_FILE)
        (folder / ALIGNMENT_FILE).write_text(json.dumps(described, indent=2) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what :meth:`save` or :func:`ml.alignment.align.align` wrote.

        Raises:
            DamagedFile: the folder does not hold what was saved.
        """
        loaded = cls(None, None)
        loaded._read(folder)
        return loaded

    def _read(self, folder: Path) -> None:
        self.described = read_alignment(folder)
        self.policies = {
            weight: SequentialRecommender.load(policy_folder(folder, weight)) for weight in weights_of(folder)
        }
        if self.described["chosen"] is None:
            self.student = SequentialRecommender.load(policy_folder(folder, None))
        self.log = read_log(folder / LOG_FILE)

    def _known(self) -> dict[str, Any]:
        if not self.described:
            raise RuntimeError("this student is not aligned: call fit or load first")
        return self.described
