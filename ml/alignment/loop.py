"""The loop that aligns a policy for one weight: sample lists, learn from them, validate."""

from __future__ import annotations

import copy
import time
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from ml.alignment.checkpoint import AlignmentCheckpoint, AlignmentState
from ml.alignment.episodes import LEAST_ITEMS, draw_episodes
from ml.alignment.learner import Learner
from ml.alignment.log import AlignmentRecord, GrowingLog
from ml.alignment.policy import prompts_of, write_lists
from ml.alignment.recipe import REINFORCE, AlignmentRecipe
from ml.alignment.rewards import Rewards, rewards_of
from ml.alignment.validation import PLACE, Quality, Validation
from ml.beyond_accuracy.goals import GoalOnData
from ml.data.sequences import Sequences
from ml.models.gptrec import GPTRec
from ml.training.loop import DivergedError
from ml.training.reproducible import generator_for
from ml.training.sequential_recommender import SequentialRecommender


@dataclass(frozen=True)
class Surroundings:
    """What a policy is aligned with, the same for all weights.

    Attributes:
        recipe: how.
        student: with weights on the device of the alignment.
        training: the training histories.
        goal: what lists are measured with.
        validation: users to stop by; ``None`` for none.
        exclude_seen: whether lists leave the items of the histories out.
        seed: of everything random.
    """

    recipe: AlignmentRecipe
    student: SequentialRecommender
    training: Sequences
    goal: GoalOnData
    validation: Validation | None
    exclude_seen: bool
    seed: int

    @property
    def mark(self) -> int | None:
        """The mark between history and list; ``None`` for a model without marks."""
        return self.student.mark

    def of_weight(self, weight: float) -> Surroundings:
        """The same with the student at the trade-off that the policy of this weight starts from."""
        if not self.recipe.tradeoffs:
            return self
        tradeoff = self.recipe.tradeoffs[self.recipe.weights.index(weight)]
        return replace(self, student=self.student.at_tradeoff(tradeoff))

    @property
    def student_model(self) -> GPTRec:
        model = self.student.model
        assert isinstance(model, GPTRec)
        return model


@dataclass(frozen=True)
class AlignedPolicy:
    """The policy of one weight.

    Attributes:
        weight: of the goal.
        weights: of the model with the best validated reward; the last ones without validation users.
        best_step: theirs; 0 where nothing was better than what training started from.
        log: a record for each validation.
    """

    weight: float
    weights: dict[str, Tensor]
    best_step: int
    log: list[AlignmentRecord]

    @property
    def best(self) -> AlignmentRecord:
        """The record of the best step."""
        return next(record for record in self.log if record.step == self.best_step)


def align_policy(
    surroundings: Surroundings,
    weight: float,
    start: GPTRec,
    checkpoint: AlignmentCheckpoint | None,
    log: GrowingLog,
) -> AlignedPolicy:
    """Align a policy with a goal of some weight.

    Args:
        surroundings: data, goal, student and recipe.
        weight: of the goal in the reward.
        start: what the policy starts from, not changed.
        checkpoint: resumes and keeps the training; ``None`` keeps none.
        log: takes the records.

    Raises:
        ValueError: no training history has two items.
        DivergedError: a loss is no finite number.
    """
    recipe = surroundings.recipe
    rows = np.flatnonzero(surroundings.training.lengths >= LEAST_ITEMS)
    if len(rows) == 0:
        raise ValueError(f"no training history has {LEAST_ITEMS} items, so there is nothing to write lists for")
    policy = copy.deepcopy(start).requires_grad_(True)
    learner = Learner(recipe, policy, surroundings.student_model)
    state = (checkpoint and checkpoint.restore(learner)) or AlignmentState()
    for record in state.log:
        log.keep(record)
    if not state.log:
        _record(surroundings, weight, state, learner, log)
    while state.step < recipe.steps and not _has_stopped(state, recipe.patience):
        began = time.perf_counter()
        state.step += 1
        validates = state.step % recipe.validate_every == 0 or state.step == recipe.steps
        try:
            state.add(_step(surroundings, weight, learner, rows, state.step, validates))
        except DivergedError as error:
            raise DivergedError(f"{recipe.title}, weight {weight:g}, step {state.step}: {error}") from error
        took = time.perf_counter() - began
        state.seconds, state.learning_seconds = state.seconds + took, state.learning_seconds + took
        state.lists += recipe.batch_size
        if validates:
            _record(surroundings, weight, state, learner, log)
        if checkpoint and checkpoint.due():
            checkpoint.save(state, learner)
    if checkpoint:
        # found again by an alignment that is killed while it trains the next policy
        checkpoint.save(state, learner)
    return AlignedPolicy(weight, state.best_weights, state.best_step, state.log)


def _step(
    surroundings: Surroundings, weight: float, learner: Learner, rows: np.ndarray, step: int, measure_divergence: bool
) -> dict[str, float]:
    """Sample a batch of lists and learn from it. All weights draw the same histories in the same step."""
    recipe, policy = surroundings.recipe, learner.policy
    generator = generator_for(surroundings.seed, PLACE, step)
    episodes = draw_episodes(surroundings.training, rows, recipe.batch_size, recipe.cut, recipe.targets, generator)
    prompts = prompts_of(policy, episodes.histories, surroundings.mark, surroundings.exclude_seen)
    draws = torch.Generator().manual_seed(int(generator.integers(2**63)))
    sampled = write_lists(policy, prompts, policy.list_length, draws)

    def judged(lists: Tensor) -> Rewards:
        return rewards_of(lists.cpu().numpy(), episodes.targets, episodes.histories, surroundings.goal)

    rewards = judged(sampled.items)
    weighted = rewards.weighted(recipe.accuracy_weight, weight)
    baseline = None
    if recipe.method == REINFORCE:
        greedy = write_lists(policy, prompts, policy.list_length)
        baseline = judged(greedy.items).weighted(recipe.accuracy_weight, weight)
    sign = 1 if surroundings.goal.goal.higher_is_better else -1
    return {
        "reward": float(weighted.sum(axis=1).mean()),
        "accuracy": float(rewards.accuracy.sum(axis=1).mean()),
        "goal": sign * float(rewards.goal.sum(axis=1).mean()),
        **learner.learn(prompts, sampled, weighted, baseline, measure_divergence, generator),
    }


def _record(
    surroundings: Surroundings, weight: float, state: AlignmentState, learner: Learner, log: GrowingLog
) -> None:
    """Validate, keep the weights if they are the best ones, and begin a new record."""
    began = time.perf_counter()
    recipe, quality = surroundings.recipe, None
    if surroundings.validation is not None:
        quality = surroundings.validation.quality(surroundings.student.with_model(learner.policy))
    reward = None if quality is None else quality.reward(recipe.accuracy_weight, weight)
    if reward is None or state.best is None or reward > state.best:
        state.best, state.best_step = reward, state.step
        state.best_weights = {name: tensor.detach().clone() for name, tensor in learner.policy.state_dict().items()}
    state.seconds += time.perf_counter() - began
    state.log.append(_as_record(weight, state, quality, reward))
    log.add(state.log[-1])
    state.sums, state.counts, state.lists, state.learning_seconds = {}, {}, 0, 0.0


def _as_record(weight: float, state: AlignmentState, quality: Quality | None, reward: float | None) -> AlignmentRecord:
    return AlignmentRecord(
        weight=weight,
        step=state.step,
        reward=state.mean("reward"),
        accuracy=state.mean("accuracy"),
        goal=state.mean("goal"),
        divergence=state.mean("divergence"),
        entropy=state.mean("entropy"),
        value_loss=state.mean("value_loss"),
        clipped=state.mean("clipped"),
        validation_ndcg_at_10=None if quality is None else quality.ndcg,
        validation_goal=None if quality is None else quality.goal,
        validation_reward=reward,
        seconds=state.seconds,
        lists_per_second=state.lists / state.learning_seconds if state.lists else None,
    )


def _has_stopped(state: AlignmentState, patience: int) -> bool:
    """Whether so many validations in a row found nothing better."""
    if state.best is None:
        return False
    return sum(record.step > state.best_step for record in state.log) >= patience
