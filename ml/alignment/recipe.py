"""Recipes of alignments: one TOML file each, in the folder ``alignments`` next to the recipes. Imports no torch."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Literal

from ml.beyond_accuracy.goals import GOALS, goal_named
from ml.config import TableError, read_table, read_toml
from ml.training.recipe import RECIPES, RecipeSet

ALIGNMENTS = RECIPES / "alignments"
METHODS = ("ppo", "reinforce")
PPO, REINFORCE = METHODS


@dataclass(frozen=True)
class AlignmentRecipe:
    """How a student that writes lists is aligned with a goal, for several weights of it.

    Defaults are sizes for small models on a processor; ``gptrec_ppo_ml1m`` has those of Petrov and Macdonald
    (2024, arXiv 2403.04875).

    Attributes:
        name: name of the file without its ending; also of the recommender.
        title: for tables and plots.
        source: the paper, and where values differ from it.
        notes: what to know of the choice of values.
        set: the set that makes it: see :data:`ml.training.recipe.RECIPE_SETS`.
        student: recipe of the model that is aligned; it generates its lists (``lists = "next_k"``).
        method: ``ppo``, or ``reinforce`` with the greedy list as the baseline (self-critical).
        goals: names of :data:`ml.beyond_accuracy.goals.GOALS`; the first that the dataset has is the goal.
        weights: of the goal in the reward, in ascending order; a policy is trained for each of them.
        tradeoffs: of a student that was taught several, the trade-off that the policy of each weight starts from and is
            kept near to, one for each weight; without any, all start from the one that is in force.
        steps: batches of lists that are generated and learned from, at most.
        batch_size: lists in a batch.
        epochs: passes over a batch (PPO).
        minibatches: parts that a batch is learned from in each pass, an optimiser step each (PPO).
        accuracy_weight: of the accuracy in the reward.
        cut: where a training history is cut into a history and targets: ``random``, anew each time it is drawn, or
            ``last``, before the last ``targets`` items, as published.
        targets: items after the cut that count as hits.
        start: what the policy of a weight starts from: the ``student``, or the ``policy_before``, that of the next
            smaller weight.
        policy_learning_rate: of Adam for the policy.
        value_learning_rate: of Adam for the value network (PPO).
        weight_decay: decoupled, of both.
        gradient_norm: gradients are scaled down to this norm, those of policy and value network apart; 0 for no limit.
        clip: PPO's limit for the ratio of probabilities.
        discount: of a reward a place later.
        gae: decay of the differences in generalised advantage estimation (lambda of Schulman et al., 2016).
        normalise_advantages: to mean 0 and standard deviation 1 in each batch.
        value: the value network: ``linear``, a linear function of the policy's states through which no gradient
            flows, or ``gpt``, a network of its own that starts as a copy of the policy, as published.
        entropy: weight of the entropy bonus.
        kl: weight of the Kullback-Leibler divergence of the policy from the student.
        validate_every: steps between two validations.
        patience: validations without a better one after which training stops.
        validation_users: at most so many are validated with, drawn once; 0 for all.
        largest_loss: share of the student's validation nDCG@10 that the chosen policy may lose.
    """

    name: str
    title: str
    source: str
    notes: str
    set: RecipeSet
    student: str
    method: Literal["ppo", "reinforce"]
    goals: tuple[str, ...]
    weights: tuple[float, ...]
    tradeoffs: tuple[float, ...] = ()
    steps: int = 1000
    batch_size: int = 128
    epochs: int = 1
    minibatches: int = 1
    accuracy_weight: float = 1.0
    cut: Literal["random", "last"] = "random"
    targets: int = 1
    start: Literal["student", "policy_before"] = "student"
    policy_learning_rate: float = 1e-4
    value_learning_rate: float = 1e-3
    weight_decay: float = 0.0
    gradient_norm: float = 1.0
    clip: float = 0.2
    discount: float = 0.99
    gae: float = 0.9
    normalise_advantages: bool = True
    value: Literal["linear", "gpt"] = "linear"
    entropy: float = 0.0
    kl: float = 0.05
    validate_every: int = 50
    patience: int = 10
    validation_users: int = 0
    largest_loss: float = 0.05

    def __post_init__(self) -> None:
        _check_goals(self.goals)
        self._check_weights()
        for name in ("steps", "batch_size", "epochs", "minibatches", "targets", "validate_every", "patience"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, not {getattr(self, name)}")
        for name in (
            "accuracy_weight", "weight_decay", "gradient_norm", "entropy", "kl", "validation_users",
        ):  # fmt: skip
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(f"{name} must not be negative, not {getattr(self, name)}")
        for name in ("policy_learning_rate", "value_learning_rate", "clip"):
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(f"{name} must be above 0, not {getattr(self, name)}")
        for name in ("discount", "gae", "largest_loss"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must be from 0 to 1, not {getattr(self, name)}")
        if self.minibatches > self.batch_size:
            raise ValueError(f"minibatches must be at most batch_size ({self.batch_size}), not {self.minibatches}")
        if self.method == REINFORCE and (self.epochs, self.minibatches) != (1, 1):
            raise ValueError("epochs and minibatches must be 1 with reinforce, which learns from a list once")

    @property
    def reads_text(self) -> bool:
        """Whether a goal may need the texts of the items."""
        return any(GOALS[goal].basis in ("category", "text") for goal in self.goals)

    def _check_weights(self) -> None:
        if not self.weights or any(not math.isfinite(weight) or weight < 0 for weight in self.weights):
            raise ValueError(f"weights must be one or more numbers from 0 up, not {list(self.weights)}")
        if list(self.weights) != sorted(set(self.weights)):
            raise ValueError(f"weights must ascend, each of them once, not {list(self.weights)}")
        if self.tradeoffs and len(self.tradeoffs) != len(self.weights):
            raise ValueError(
                f"tradeoffs must be one for each of the {len(self.weights)} weights, or none, not "
                f"{list(self.tradeoffs)}"
            )
        if self.tradeoffs and self.start != "student":
            raise ValueError('tradeoffs are what policies start from; use start = "student" with them')
        if len({folder_of_weight(weight) for weight in self.weights}) < len(self.weights):
            raise ValueError(f"weights must differ in their first six digits, not {list(self.weights)}")

    def digest(self) -> str:
        """SHA-256 of what decides its policies besides the student; no words, and not the set."""
        decisive = {
            name: value
            for name, value in asdict(self).items()
            if name not in ("name", "title", "source", "notes", "set")
        }
        return hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()

    def settings(self) -> dict[str, object]:
        """All that is no words, by key, for JSON."""
        return {
            field.name: list(value) if isinstance(value := getattr(self, field.name), tuple) else value
            for field in fields(self)
            if field.name not in ("title", "source", "notes", "set")
        }


def folder_of_weight(weight: float) -> str:
    """Name of the folder of the policy of a weight: ``0.5``."""
    return f"{weight:g}"


def load_alignment(path: Path) -> AlignmentRecipe:
    """Read and check one recipe.

    Raises:
        TableError: the file is no TOML, or a key is missing, unknown or wrong; the message names both.
    """
    return read_table(AlignmentRecipe, {"name": path.stem, **read_toml(path)}, str(path), "")


def load_alignments(folder: Path = ALIGNMENTS) -> list[AlignmentRecipe]:
    """All alignments of a folder (``*.toml``), in the order of their names; none where there is no such folder.

    Raises:
        TableError: as :func:`load_alignment`.
    """
    return [load_alignment(path) for path in sorted(folder.glob("*.toml"))]


def check_student(recipe: AlignmentRecipe, student: object, where: str) -> None:
    """Check that a model's settings are those of one that writes lists.

    Args:
        recipe: names the student.
        student: settings of its model.
        where: the file of the alignment, for the message.

    Raises:
        TableError: it does not generate lists item by item.
    """
    if getattr(student, "lists", None) != "next_k":
        raise TableError(
            f"{where}: the student {recipe.student} does not generate its lists item by item; name a recipe of the "
            'architecture gptrec with lists = "next_k"'
        )


def _check_goals(goals: tuple[str, ...]) -> None:
    if not goals or len(set(goals)) < len(goals):
        raise ValueError(f"goals must be one or more different goals, not {list(goals)}")
    for goal in goals:
        goal_named(goal)
