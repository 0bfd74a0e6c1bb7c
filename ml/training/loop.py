"""The one training loop: every sequential model, every objective."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass

import torch
from torch import Tensor

from ml.data.training_set import Sequences
from ml.models.sasrec import SASRec
from ml.objectives.build import Objective
from ml.training.batches import shuffled_batches, trainable_rows, training_batch
from ml.training.recipe import OptimiserSettings, TrainingSettings
from ml.training.reproducible import generator_for


class DivergedError(RuntimeError):
    """The loss is no number any more."""


@dataclass(frozen=True)
class EpochRecord:
    """One line of the training log.

    Attributes:
        epoch: from 1.
        step: optimiser steps taken so far.
        loss: mean training loss over the epoch's positions.
        validation_ndcg_at_10: over the whole catalogue; ``None`` where there are no validation users.
        seconds: since training began.
        sequences_per_second: trained in this epoch, validation not counted.
    """

    epoch: int
    step: int
    loss: float
    validation_ndcg_at_10: float | None
    seconds: float
    sequences_per_second: float

    def as_json(self) -> dict[str, float | int | None]:
        return asdict(self)


@dataclass(frozen=True)
class Trained:
    """What the loop hands back: the best weights, their epoch, and the log."""

    weights: dict[str, Tensor]
    best_epoch: int
    log: list[EpochRecord]


def train_model(
    model: SASRec,
    objective: Objective,
    sequences: Sequences,
    validate: Callable[[], float] | None,
    optimiser_settings: OptimiserSettings,
    settings: TrainingSettings,
    seed: int,
    title: str,
    progress: bool,
) -> Trained:
    """Train a model in place until it stops getting better on validation users.

    Args:
        model: fresh.
        objective: mean loss over positions.
        sequences: training histories; those of fewer than two items have nothing to predict.
        validate: nDCG@10 of the model as it stands; ``None`` trains for ``max_epochs`` and keeps the last.
        optimiser_settings: step sizes.
        settings: batch size, epochs, patience.
        seed: of shuffling, negatives and dropout.
        title: shown beside the progress bar.
        progress: whether to show one.

    Raises:
        DivergedError: a loss is not finite.
        ValueError: no sequence has two items.
    """
    rows = trainable_rows(sequences)
    if len(rows) == 0:
        raise ValueError("no training history has two items, so there is nothing to learn an order from")
    optimiser = build_optimiser(model, optimiser_settings)
    warm_up = optimiser_settings.warm_up_steps
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: min(1.0, (step + 1) / (warm_up + 1)))
    log: list[EpochRecord] = []
    best, best_epoch, best_weights = -math.inf, 0, {}
    step, began = 0, time.perf_counter()
    with _progress_bar(title, settings.max_epochs * len(rows), progress) as bar:
        for epoch in range(1, settings.max_epochs + 1):
            generator = generator_for(seed, epoch)
            batches = shuffled_batches(sequences, rows, settings.batch_size, model.max_length, generator)
            loss_sum, positions, epoch_began = 0.0, 0, time.perf_counter()
            model.train()
            for batch_rows in batches:
                batch = training_batch(sequences, batch_rows, model.max_length).to(model.positions.device)
                hidden = model(batch.items, batch.lengths)
                states = hidden.flatten(0, 1).index_select(0, batch.positions)
                loss = objective(states, batch.targets, model.output_embedding, generator)
                optimiser.zero_grad(set_to_none=True)
                loss.backward()
                optimiser.step()
                schedule.step()
                step += 1
                value = loss.item()
                if not math.isfinite(value):
                    raise DivergedError(
                        f"{title}: the loss is {value} at step {step} (epoch {epoch}); lower optimiser.learning_rate"
                    )
                loss_sum += value * len(batch.targets)
                positions += len(batch.targets)
                bar.update(len(batch_rows))
            epoch_seconds = time.perf_counter() - epoch_began
            quality = validate() if validate else None
            log.append(
                EpochRecord(
                    epoch=epoch,
                    step=step,
                    loss=loss_sum / positions,
                    validation_ndcg_at_10=quality,
                    seconds=time.perf_counter() - began,
                    sequences_per_second=len(rows) / epoch_seconds,
                )
            )
            bar.set_postfix_str(_summary(log[-1], best_epoch))
            if quality is None or quality > best:
                best, best_epoch = quality if quality is not None else best, epoch
                best_weights = {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}
            elif epoch - best_epoch >= settings.patience:
                break
    model.load_state_dict(best_weights)
    return Trained(best_weights, best_epoch, log)


def build_optimiser(model: torch.nn.Module, settings: OptimiserSettings) -> torch.optim.Optimizer:
    """AdamW, with weight decay on matrices alone."""
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    groups = [
        {"params": [p for p in parameters if p.dim() >= 2], "weight_decay": settings.weight_decay},
        {"params": [p for p in parameters if p.dim() < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=settings.learning_rate, betas=settings.betas, fused=True)


def _progress_bar(title: str, sequences: int, show: bool):
    """A bar over all sequences of all epochs, so that its rate is the throughput."""
    from tqdm import tqdm

    return tqdm(total=sequences, desc=title, unit=" sequences", unit_scale=True, disable=not show)


def _summary(record: EpochRecord, best_epoch: int) -> str:
    quality = record.validation_ndcg_at_10
    shown = "" if quality is None else f", validation nDCG@10 {quality:.4f}"
    return f"epoch {record.epoch}, loss {record.loss:.3f}{shown}, best epoch so far {best_epoch or 1}"
