"""The network of an RQ-VAE, and its training."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn

from ml.codes.clustering import kmeans


class Settings(Protocol):
    """What is read of :class:`ml.codes.rq_vae.RQVAESettings`, which imports this module."""

    @property
    def hidden(self) -> tuple[int, ...]: ...
    @property
    def dimensions(self) -> int: ...
    @property
    def epochs(self) -> int: ...
    @property
    def batch_size(self) -> int: ...
    @property
    def learning_rate(self) -> float: ...
    @property
    def commitment(self) -> float: ...


@dataclass(frozen=True)
class Quantised:
    """What the books make of encoded items.

    Attributes:
        codes: int64 ``[items, books]``.
        vectors: the sums of the vectors of the codes, ``[items, dimensions]``.
        residuals: what is left before each book, ``[items, dimensions]`` each.
        loss: distances of residuals and codes from one another, ``[items]``; see :class:`RQVAE`.
    """

    codes: Tensor
    vectors: Tensor
    residuals: list[Tensor]
    loss: Tensor


@dataclass(frozen=True)
class Trained:
    """Outcome of the training.

    Attributes:
        values: code of each item in each book, int64 ``[items, books]``.
        residuals: what is left of the encoded items before the last book, float64 ``[items, dimensions]``.
        last_book: vectors of the codes of the last book, float64 ``[codes, dimensions]``.
        losses: mean loss of each epoch, of its batches before their step.
        energy_left: share of the input's squared length that the decoder does not restore.
        drawn_anew: how often an unused code was replaced.
    """

    values: np.ndarray
    residuals: np.ndarray
    last_book: np.ndarray
    losses: list[float]
    energy_left: float
    drawn_anew: int


class RQVAE(nn.Module):
    """Encoder, code books and decoder.

    With encoder ``z``, codes ``e_l`` and residuals ``r_0 = z(x)``, ``r_l = r_(l-1) - e_l``, the loss of an item is

    ``|x - decoder(sum_l e_l)|^2 + sum_l (|sg[r_(l-1)] - e_l|^2 + commitment |r_(l-1) - sg[e_l]|^2)``,

    where ``sg`` stops the gradient, and the decoder's gradient reaches the encoder as if nothing were quantised
    (straight-through). Squares are summed over dimensions: with their mean the reconstruction would count so little
    that all items end up at a few codes.

    Args:
        width: dimensions of the input.
        settings: of the layers and the loss.
        sizes: codes of each book.
    """

    def __init__(self, width: int, settings: Settings, sizes: Sequence[int]) -> None:
        super().__init__()
        widths = [width, *settings.hidden, settings.dimensions]
        self.encoder = _layers(widths)
        self.decoder = _layers(widths[::-1])
        self.books = nn.ParameterList(nn.Parameter(torch.zeros(size, settings.dimensions)) for size in sizes)
        self.commitment = settings.commitment

    def quantise(self, encoded: Tensor) -> Quantised:
        """Nearest codes of encoded items ``[items, dimensions]``, book after book."""
        residual, total, loss = encoded, torch.zeros_like(encoded), encoded.new_zeros(len(encoded))
        codes, residuals = [], []
        for book in self.books:
            residuals.append(residual)
            code = _nearest(residual.detach(), book.detach())
            chosen = book[code]
            loss = loss + (residual.detach() - chosen).square().sum(dim=1)
            loss = loss + self.commitment * (residual - chosen.detach()).square().sum(dim=1)
            total = total + chosen
            residual = residual - chosen.detach()
            codes.append(code)
        return Quantised(torch.stack(codes, dim=1), total, residuals, loss)

    def forward(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """The loss of each item, ``[items]``, and its codes, int64 ``[items, books]``."""
        encoded = self.encoder(inputs)
        found = self.quantise(encoded)
        through = encoded + (found.vectors - encoded).detach()
        return (inputs - self.decoder(through)).square().sum(dim=1) + found.loss, found.codes


def train(inputs: np.ndarray, settings: Settings, book_sizes: Sequence[int], seed: int) -> Trained:
    """Train an RQ-VAE on all items, and quantise them.

    The books start at k-means centres of the residuals of all items, after a first pass of the encoder. A code that no
    item had in an epoch is moved to the residual of a random item, except after the last epoch.

    Args:
        inputs: float32 ``[items, width]``, standardised.
        settings: of layers, loss and optimiser.
        book_sizes: codes of each book, at most.
        seed: of weights, order and codes.

    Raises:
        ValueError: the loss is no longer finite.
    """
    data = torch.from_numpy(np.ascontiguousarray(inputs))
    with _one_thread(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = RQVAE(data.shape[1], settings, book_sizes)
        _start_books(model, data, book_sizes, seed)
        optimiser = torch.optim.Adam(model.parameters(), lr=settings.learning_rate)
        losses, drawn_anew = [], 0
        for epoch in range(settings.epochs):
            used = [torch.zeros(len(book), dtype=torch.bool) for book in model.books]
            total = 0.0
            for rows in torch.randperm(len(data)).split(settings.batch_size):
                loss, codes = model(data[rows])
                optimiser.zero_grad(set_to_none=True)
                loss.mean().backward()
                optimiser.step()
                total += loss.detach().sum().item()
                for level, level_used in enumerate(used):
                    level_used[codes[:, level]] = True
            losses.append(total / max(1, len(data)))
            if not math.isfinite(losses[-1]):
                raise ValueError(
                    f"the loss of the RQ-VAE is {losses[-1]} in epoch {epoch + 1}: lower its learning_rate"
                )
            if epoch + 1 < settings.epochs:
                drawn_anew += _draw_anew(model, data, used, optimiser)
        return _outcome(model, data, losses, drawn_anew)


@torch.no_grad()
def _start_books(model: RQVAE, data: Tensor, book_sizes: Sequence[int], seed: int) -> None:
    residuals = model.encoder(data).double().numpy()
    for level, size in enumerate(book_sizes):
        centres, labels = kmeans(residuals, size, seed + level)
        residuals = residuals - centres[labels]
        # fewer codes than the book has where there are fewer distinct items
        model.books[level] = nn.Parameter(torch.from_numpy(centres).float())


@torch.no_grad()
def _draw_anew(model: RQVAE, data: Tensor, used: list[Tensor], optimiser: torch.optim.Optimizer) -> int:
    """Move unused codes to residuals of random items, with a fresh state of the optimiser; how many there were."""
    unused = [torch.nonzero(~level_used).flatten() for level_used in used]
    if not any(len(rows) for rows in unused):
        return 0
    residuals = model.quantise(model.encoder(data)).residuals
    for book, rows, residual in zip(model.books, unused, residuals, strict=True):
        book[rows] = residual[torch.randint(len(data), (len(rows),))]
        for moment in ("exp_avg", "exp_avg_sq"):
            optimiser.state[book][moment][rows] = 0
    return sum(len(rows) for rows in unused)


@torch.no_grad()
def _outcome(model: RQVAE, data: Tensor, losses: list[float], drawn_anew: int) -> Trained:
    found = model.quantise(model.encoder(data))
    energy = data.square().sum().item()
    left = (data - model.decoder(found.vectors)).square().sum().item()
    return Trained(
        values=found.codes.numpy(),
        residuals=found.residuals[-1].double().numpy(),
        last_book=model.books[-1].detach().double().numpy(),
        losses=losses,
        energy_left=left / energy if energy else 0.0,
        drawn_anew=drawn_anew,
    )


def _layers(widths: Sequence[int]) -> nn.Sequential:
    layers: list[nn.Module] = []
    for before, after in pairwise(widths):
        layers += [nn.Linear(before, after), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def _nearest(vectors: Tensor, book: Tensor) -> Tensor:
    # the squared length of the vectors is the same for all codes
    return (book.square().sum(dim=1) - 2 * vectors @ book.T).argmin(dim=1)


@contextmanager
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
