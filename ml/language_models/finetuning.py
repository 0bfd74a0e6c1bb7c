"""Training a causal language model to write the next title, with early stopping on validation users."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ml.language_models.generator import Generator, quiet
from ml.language_models.recipe import FinetuningSettings
from ml.language_models.sequences import IGNORED, padded
from ml.training.devices import autocast
from ml.training.loop import DivergedError
from ml.training.reproducible import generator_for

# batches whose sequences are sorted by length together, so that little of a batch is padding
_SORTED_TOGETHER = 16
# what the random numbers of an epoch are drawn for; those before training are at (0,), as in ml.training
_EPOCH = 0x6C6C6D


@dataclass(frozen=True)
class FinetuningRecord:
    """One validation.

    Attributes:
        step: of the optimiser, so far.
        loss: mean cross-entropy of a token in nats since the record before; ``None`` before the first step.
        validation_ndcg_at_10: of the lists of the validation users; ``None`` where there are none.
        seconds: since training began.
    """

    step: int
    loss: float | None
    validation_ndcg_at_10: float | None
    seconds: float

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    def in_words(self) -> str:
        """One line for a log that people read."""
        loss = "" if self.loss is None else f", loss {self.loss:.4f}"
        reached = "" if self.validation_ndcg_at_10 is None else f", nDCG@10 {self.validation_ndcg_at_10:.4f}"
        return f"step {self.step}{loss}{reached} ({self.seconds:.0f} s)"


@dataclass(frozen=True)
class Finetuned:
    """Result of a training.

    Attributes:
        best_step: whose weights were kept: the best on the validation users, or the last where there are none.
        log: a record for each validation.
    """

    best_step: int
    log: tuple[FinetuningRecord, ...]


def finetune(
    generator: Generator,
    windows: list[tuple[list[int], list[int]]],
    settings: FinetuningSettings,
    seed: int,
    validate: Callable[[], float] | None,
    *,
    stop_at: int | None = None,
    precision: str = "float32",
    tell: Callable[[FinetuningRecord], None] | None = None,
) -> Finetuned:
    """Train the weights of a generator that require gradients, in place.

    Args:
        generator: on the device that it is trained on.
        windows: training sequences, tokens and labels (:meth:`ml.language_models.sequences.TitleTokens.windows`).
        settings: of the optimiser, and when to stop.
        seed: of the order of the sequences and of dropout.
        validate: gives the nDCG@10 of the validation users; ``None`` where there are none: all steps are made.
        stop_at: train for so many steps and keep the last weights, at the learning rates of ``settings``.
        precision: of the products of a step, ``float32`` or ``bfloat16``.
        tell: called with each record.

    Raises:
        ValueError: there is no sequence to train on.
        DivergedError: the loss is no finite number any more.
    """
    if not windows:
        raise ValueError("no training history has two items with a title, so there is no next title to learn")
    model, steps = generator.model, settings.steps if stop_at is None else stop_at
    trained = [each for each in model.parameters() if each.requires_grad]
    optimiser = _optimiser(trained, settings)
    batches = _batches(windows, settings.batch_size, seed)
    log: list[FinetuningRecord] = []
    best: dict[str, Tensor] | None = None
    best_step, best_reached, without_better, began = 0, -1.0, 0, time.perf_counter()
    losses: list[float] = []
    model.train()
    for step in range(1, steps + 1):
        for group in optimiser.param_groups:
            group["lr"] = settings.learning_rate * _share(step, settings)
        losses.append(_step(generator, next(batches), optimiser, trained, settings, precision))
        if not np.isfinite(losses[-1]):
            raise DivergedError(f"the loss of step {step} is {losses[-1]}: use a smaller learning rate")
        if step % settings.validate_every and step < steps:
            continue
        model.eval()
        reached = None if validate is None else validate()
        model.train()
        log.append(FinetuningRecord(step, float(np.mean(losses)), reached, time.perf_counter() - began))
        losses = []
        if tell is not None:
            tell(log[-1])
        if reached is None or reached > best_reached:
            best_step, best_reached, without_better = step, -1.0 if reached is None else reached, 0
            best = None if step == steps else _copied(model)
        else:
            without_better += 1
            if without_better >= settings.patience:
                break
    if best is not None and best_step < log[-1].step:
        model.load_state_dict(best, strict=False)
    model.eval()
    return Finetuned(best_step, tuple(log))


def _copied(model: torch.nn.Module) -> dict[str, Tensor]:
    """The weights that are trained."""
    return {name: each.detach().clone() for name, each in model.named_parameters() if each.requires_grad}


def _optimiser(trained: list[torch.nn.Parameter], settings: FinetuningSettings) -> torch.optim.Optimizer:
    """AdamW; biases and layer norms are not decayed."""
    groups = [
        {"params": [each for each in trained if each.ndim > 1], "weight_decay": settings.weight_decay},
        {"params": [each for each in trained if each.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=settings.learning_rate, betas=(0.9, 0.98))


def _share(step: int, settings: FinetuningSettings) -> float:
    """Share of the learning rate at a step: rising over the warm-up, then falling to 0 over all steps."""
    warm_up = step / settings.warm_up_steps if step < settings.warm_up_steps else 1.0
    return min(warm_up, (settings.steps + 1 - step) / settings.steps)


def _step(
    generator: Generator,
    batch: list[tuple[list[int], list[int]]],
    optimiser: torch.optim.Optimizer,
    trained: list[torch.nn.Parameter],
    settings: FinetuningSettings,
    precision: str,
) -> float:
    """One step of the optimiser; the loss of a token."""
    model: Any = generator.model
    # what fills a row stands behind it, where no token of a causal model looks, and has no label
    tokens = torch.from_numpy(padded([tokens for tokens, _ in batch], generator.end)).to(model.device)
    labels = torch.from_numpy(padded([labels for _, labels in batch], IGNORED)).to(model.device)
    # without an attention mask, which transformers would warn of, attention takes its fast form
    with autocast(model.device, precision) if precision != "float32" else nullcontext(), quiet():
        loss = model(input_ids=tokens, labels=labels, use_cache=False).loss
    optimiser.zero_grad(set_to_none=True)
    loss.backward()
    if settings.gradient_norm:
        torch.nn.utils.clip_grad_norm_(trained, settings.gradient_norm)
    optimiser.step()
    return float(loss.detach())


def _batches(
    windows: list[tuple[list[int], list[int]]], size: int, seed: int
) -> Iterator[list[tuple[list[int], list[int]]]]:
    """Batches without end: all sequences in a new order each epoch, those of like length together."""
    epoch = 0
    while True:
        epoch += 1
        rng = generator_for(seed, _EPOCH, epoch)
        order = rng.permutation(len(windows))
        lengths = np.array([len(windows[place][0]) for place in order])
        batches = []
        for start in range(0, len(order), size * _SORTED_TOGETHER):
            chunk = slice(start, start + size * _SORTED_TOGETHER)
            by_length = order[chunk][np.argsort(lengths[chunk], kind="stable")]
            batches += [by_length[at : at + size] for at in range(0, len(by_length), size)]
        for place in rng.permutation(len(batches)):
            yield [windows[row] for row in batches[place]]
