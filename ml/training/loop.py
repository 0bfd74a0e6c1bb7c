"""The one training loop, for everything that gives a loss for a batch; in one process or several."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ml.data.sequences import Sequences
from ml.tasks.batch import shuffled_batches
from ml.training.checkpoint import Checkpoint, TrainingState
from ml.training.distributed import World
from ml.training.log import EpochRecord, GrowingLog
from ml.training.moving_average import WeightAverage
from ml.training.parallel import parallelize
from ml.training.progress import progress_of, summary
from ml.training.recipe import OptimiserSettings, TrainingSettings
from ml.training.reproducible import generator_for, generators_of_step
from ml.training.runtime import Execution
from ml.training.sharded_tensors import whole
from ml.training.touched_rows import AdamOfTouchedRows, catch_up, reading_rows
from ml.training.trainable import SomeBatch, Trainable

# reading a loss waits for the GPU, so losses are read so many at a time
_LOSSES_READ_TOGETHER = 50


class DivergedError(RuntimeError):
    """The loss is no number any more."""


@dataclass(frozen=True)
class Phase:
    """One pass of the loop: the search for the best epoch, or the final fit.

    Attributes:
        seed: of shuffling, negatives and dropout.
        fit_on: what the sequences hold, for the log.
        title: shown beside the progress bar and in errors.
        known: log of the phase before.
        checkpoint: where this phase keeps its checkpoint; ``None`` for none.
        started_from: names the earlier model whose weights it starts from, for the log; empty for fresh weights.
    """

    seed: int
    fit_on: str
    title: str
    known: tuple[EpochRecord, ...] = ()
    checkpoint: Checkpoint | None = None
    started_from: str = ""


@dataclass(frozen=True)
class Trained:
    """Result of the loop.

    Attributes:
        weights: the best ones.
        best_epoch: theirs, from 1.
        log: one record an epoch.
        share_of_padding: of the places for input items in all batches of this process.
        is_sharded: whether the model that was trained holds a part of these weights, and cannot rank by itself.
    """

    weights: dict[str, Tensor]
    best_epoch: int
    log: list[EpochRecord]
    share_of_padding: float
    is_sharded: bool = False


def train_model(
    trainable: Trainable[SomeBatch],
    sequences: Sequences,
    validate: Callable[[], float] | None,
    optimiser_settings: OptimiserSettings,
    settings: TrainingSettings,
    phase: Phase,
    execution: Execution,
    rows_of_epoch: Callable[[np.random.Generator], np.ndarray] | None = None,
) -> Trained:
    """Train a model in place until it stops getting better on validation users.

    Under torchrun every process calls it with the same arguments, and takes its part of each batch.

    Args:
        trainable: makes batches and gives their loss; its module has the weights to start from and is on its device.
        sequences: training histories; those with fewer than ``trainable.least_items`` items are left out.
        validate: asks the recommender that is being trained for its quality with the weights it has now: nDCG@10, the
            higher the better. ``None`` trains for ``max_epochs`` and keeps the last weights.
        optimiser_settings: step sizes.
        settings: batch size, epochs, patience.
        phase: seed, names, and where checkpoints are kept.
        execution: precision, compilation, progress bar, log.
        rows_of_epoch: draws the sequences that an epoch is to train on, int64, as many each time; ``None`` for all of
            them in every epoch.

    Raises:
        DivergedError: a loss is not finite.
        ValueError: all sequences are too short.
    """
    rows = np.flatnonzero(sequences.lengths >= trainable.least_items)
    if len(rows) == 0:
        raise ValueError(f"no training history has {trainable.least_items} items, so there is nothing to learn from")
    sequences_of_epoch = len(rows) if rows_of_epoch is None else len(rows_of_epoch(np.random.default_rng(0)))
    world = World.current()
    model = trainable.module
    device = next(model.parameters()).device
    parallel = parallelize(trainable, execution.sharding)
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    average = WeightAverage(model, settings.weight_averaging)
    optimiser = build_optimiser(model, optimiser_settings, average)
    checkpoint = phase.checkpoint
    state = (checkpoint and checkpoint.restore(model, optimiser, average)) or TrainingState()
    world.wait()  # for all to have read it, before the first writes the next one
    if execution.compile:
        trainable.compile()
    losses = _Losses(phase.title)
    clock = _Clock()
    bar = progress_of(
        phase.title,
        settings.max_epochs * sequences_of_epoch,
        (state.epoch - 1) * sequences_of_epoch + min(state.batch * settings.batch_size, sequences_of_epoch),
        execution.progress and world.is_first,
    )
    log_to, tell = (execution.log_to, execution.tell) if world.is_first else (None, None)
    with (
        closing(bar),
        GrowingLog(log_to, [*phase.known, *state.log], tell) as growing_log,
        reading_rows(optimiser),
    ):
        while state.epoch <= settings.max_epochs and not _has_stopped(state, settings, trainable.pretraining_epochs):
            trainable.start_epoch(state.epoch)
            generator = generator_for(phase.seed, state.epoch)
            in_epoch = rows if rows_of_epoch is None else rows_of_epoch(generator)
            batches = shuffled_batches(sequences, in_epoch, settings.batch_size, trainable.max_length, generator)
            model.train()
            for batch_rows in batches[state.batch :]:
                for_batch, for_loss = generators_of_step(phase.seed, state.epoch, state.batch, world.rank)
                part, counts = parallel.part_of(batch_rows)
                for parameter in parameters:  # optimiser.zero_grad does it with a tenth of a millisecond of ceremony
                    parameter.grad = None
                batch, predictions = None, 0
                if len(part):
                    batch = trainable.batch(sequences, part, for_batch)
                    if counts:
                        state.items += batch.inputs
                        state.places += batch.places
                        predictions = batch.predictions
                    batch = batch.to(device)
                mean_loss = parallel.backward(batch, predictions, for_loss, execution.precision)
                set_learning_rate(optimiser, optimiser_settings, state.step)
                optimiser.step()
                average.update(model)
                state.step += 1
                state.batch += 1
                losses.add(*mean_loss)
                if len(losses) == _LOSSES_READ_TOGETHER:
                    losses.read_into(state)
                if checkpoint and parallel.agreed(checkpoint.due()):
                    losses.read_into(state)
                    clock.read_into(state)
                    checkpoint.save(state, model, optimiser, average)
                bar.update(len(batch_rows))
            losses.read_into(state)
            clock.read_into(state)
            last = state.epoch == settings.max_epochs
            due = state.epoch % settings.validate_every == 0 or last
            catch_up(optimiser)
            with average.swapped_in(model):
                quality = None
                if validate is not None and due:
                    with parallel.gathered():
                        quality = validate()
                better = quality is not None and (state.best is None or quality > state.best)
                if better or (validate is None and last):
                    state.best, state.best_epoch = quality, state.epoch
                    state.best_weights = {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}
            clock.read_into(state, training=False)
            state.log.append(_record(phase, state, quality, sequences_of_epoch))
            growing_log.add(state.log[-1])
            bar.set_postfix_str(summary(state.log[-1], state.best_epoch))
            state.epoch, state.batch = state.epoch + 1, 0
            state.loss_sum, state.predictions, state.epoch_seconds = 0.0, 0, 0.0
    if checkpoint and checkpoint.at_end and (checkpoint.writes or parallel.is_sharded):
        checkpoint.save(state, model, optimiser, average)
    model.load_state_dict(state.best_weights)
    padding = 1 - state.items / max(1, state.places)
    return Trained(whole(state.best_weights), state.best_epoch, state.log, padding, parallel.is_sharded)


def build_optimiser(
    model: torch.nn.Module, settings: OptimiserSettings, average: WeightAverage | None = None
) -> torch.optim.Optimizer:
    """Adam with weight decay on matrices only, decoupled (AdamW) or in the gradient.

    Where the settings say ``rows = "touched"``, it updates the rows of tables that are read, and their part of the
    average, if there is one.
    """
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    decayed = [parameter for parameter in parameters if parameter.dim() >= 2 and settings.weight_decay]
    spared = [parameter for parameter in parameters if parameter.dim() < 2 or not settings.weight_decay]
    groups = [
        {"params": group, "weight_decay": decay}
        for group, decay in ((decayed, settings.weight_decay), (spared, 0.0))
        if group
    ]
    if settings.rows == "touched":
        return AdamOfTouchedRows(groups, settings, model, average or WeightAverage(model, 0.0))
    kind = torch.optim.AdamW if settings.decay == "decoupled" else torch.optim.Adam
    return kind(groups, lr=settings.learning_rate, betas=settings.betas, fused=True)


def set_learning_rate(optimiser: torch.optim.Optimizer, settings: OptimiserSettings, step: int) -> None:
    """The learning rate of the step numbered ``step`` from 0."""
    rate = settings.learning_rate_of(step)
    for group in optimiser.param_groups:
        group["lr"] = rate


def _has_stopped(state: TrainingState, settings: TrainingSettings, pretraining_epochs: int) -> bool:
    """Whether the last epoch's validation was one too many without a better one."""
    if not state.log or state.log[-1].validation_ndcg_at_10 is None:
        return False
    return state.log[-1].epoch - max(state.best_epoch, pretraining_epochs) >= settings.patience


def _record(phase: Phase, state: TrainingState, quality: float | None, sequences: int) -> EpochRecord:
    return EpochRecord(
        fit_on=phase.fit_on,
        epoch=state.epoch,
        step=state.step,
        loss=state.loss_sum / state.predictions,
        validation_ndcg_at_10=quality,
        seconds=state.seconds,
        sequences_per_second=sequences / state.epoch_seconds,
        started_from=phase.started_from if state.epoch == 1 else "",
    )


class _Losses:
    """Losses on the device, not read yet."""

    def __init__(self, title: str) -> None:
        self.title = title
        self.waiting: list[tuple[Tensor, Tensor | int]] = []

    def __len__(self) -> int:
        return len(self.waiting)

    def add(self, loss: Tensor, predictions: Tensor | int) -> None:
        self.waiting.append((loss, predictions))

    def read_into(self, state: TrainingState) -> None:
        """Add them to the sums of the epoch, in their order.

        Raises:
            DivergedError: one is not finite.
        """
        first = state.step - len(self.waiting) + 1
        for step, (loss, predictions) in enumerate(self.waiting, first):
            value = loss.item()
            if not math.isfinite(value):
                raise DivergedError(
                    f"{self.title}: the loss is {value} at step {step} (epoch {state.epoch}); "
                    "lower optimiser.learning_rate"
                )
            state.loss_sum += value * int(predictions)
            state.predictions += int(predictions)
        self.waiting.clear()


class _Clock:
    """Adds the time since it was read last to what has passed in earlier runs."""

    def __init__(self) -> None:
        self.last = time.perf_counter()

    def read_into(self, state: TrainingState, training: bool = True) -> None:
        now = time.perf_counter()
        state.seconds += now - self.last
        if training:
            state.epoch_seconds += now - self.last
        self.last = now
