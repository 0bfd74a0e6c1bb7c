"""gSASRec trained in the form it was published in: the loop that ``benchmarks/training.py gbce`` measures ours against.

Written from the equations of Petrov and Macdonald, "gSASRec: Reducing Overconfidence in Sequential Recommendation
Trained with Negative Sampling", RecSys 2023, and from what is known of the authors' runs: every sequence padded on the
left to the full length, negatives drawn for every position, padding included, their vectors fetched one by one, and
the positive score transformed in float64 so that plain binary cross-entropy gives gBCE. Nothing is made slow on
purpose; nothing is done here that the published form does not do.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

_SMALLEST = 1e-10


@dataclass(frozen=True)
class Sizes:
    """Of the model and its batches.

    Attributes:
        items: size of the catalogue; item ``items`` is padding.
        length: items of an input.
        dimensions: of vectors.
        blocks: transformer blocks.
        heads: of attention.
        dropout: share of values set to 0.
        negatives: for each position, ``k`` of the paper.
        calibration: ``t`` of the paper.
        batch_size: sequences a step.
    """

    items: int
    length: int
    dimensions: int
    blocks: int
    heads: int
    dropout: float
    negatives: int
    calibration: float
    batch_size: int

    @property
    def beta(self) -> float:
        """Power of the positive probability: equations 15 and 16 of the paper."""
        rate = self.negatives / (self.items - 1)
        return rate * (self.calibration * (1 - 1 / rate) + 1 / rate)


class Block(nn.Module):
    """A block of SASRec as its authors run it: queries are normalised, and are what attention is added to."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        width = sizes.dimensions
        self.query_norm = nn.LayerNorm(width)
        self.attention = nn.MultiheadAttention(width, sizes.heads, sizes.dropout, batch_first=True)
        self.norm = nn.LayerNorm(width)
        self.widen, self.narrow = nn.Linear(width, width), nn.Linear(width, width)
        self.dropout = nn.Dropout(sizes.dropout)

    def forward(self, inputs: Tensor, later: Tensor) -> Tensor:
        """``[batch, length, dimensions]`` to the same; ``later`` is true where attention must not look."""
        queries = self.query_norm(inputs)
        attended, _ = self.attention(queries, inputs, inputs, attn_mask=later, need_weights=False)
        hidden = self.norm(queries + attended)
        return hidden + self.dropout(self.narrow(self.dropout(F.relu(self.widen(hidden)))))


class PublishedSASRec(nn.Module):
    """Padded inputs to states, with vectors of their own for scoring."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.input_embedding = nn.Embedding(sizes.items + 1, sizes.dimensions)
        self.output_embedding = nn.Embedding(sizes.items + 1, sizes.dimensions)
        self.positions = nn.Embedding(sizes.length, sizes.dimensions)
        for table in (self.input_embedding, self.output_embedding, self.positions):
            nn.init.normal_(table.weight, std=0.02)
        self.padding = sizes.items
        self.dropout = nn.Dropout(sizes.dropout)
        self.blocks = nn.ModuleList(Block(sizes) for _ in range(sizes.blocks))
        self.norm = nn.LayerNorm(sizes.dimensions)
        self.register_buffer("later", torch.ones(sizes.length, sizes.length, dtype=torch.bool).triu(1))

    def forward(self, items: Tensor) -> Tensor:
        """States at every position: int64 ``[batch, length]`` to ``[batch, length, dimensions]``."""
        real = (items != self.padding).unsqueeze(-1)
        hidden = self.dropout(self.input_embedding(items) + self.positions.weight) * real
        for block in self.blocks:
            hidden = block(hidden, self.later) * real
        return self.norm(hidden)


def generalised_binary_cross_entropy(scores: Tensor, beta: float, real: Tensor) -> Tensor:
    """gBCE through the transform of the positive score, in float64.

    With ``s' = log(1 / (sigmoid(s) ** -beta - 1))`` is ``sigmoid(s') = sigmoid(s) ** beta``.

    Args:
        scores: of the positive, and then of the negatives, ``[batch, length, 1 + negatives]``.
        beta: power of the positive probability.
        real: positions that are no padding, bool ``[batch, length]``.
    """
    positive, negative = scores[..., :1].double(), scores[..., 1:].double()
    largest = torch.finfo(torch.float64).max
    probability = torch.clamp(torch.sigmoid(positive), _SMALLEST, 1 - _SMALLEST)
    raised = torch.clamp(probability.pow(-beta), 1 + _SMALLEST, largest)
    transformed = torch.log(torch.clamp(1 / (raised - 1), _SMALLEST, largest))
    logits = torch.cat([transformed, negative], dim=-1)
    truth = torch.zeros_like(logits)
    truth[..., 0] = 1
    losses = F.binary_cross_entropy_with_logits(logits, truth, reduction="none").mean(dim=-1)
    return (losses * real).sum() / real.sum()


def padded_on_the_left(rows: list[np.ndarray], length: int, padding: int) -> np.ndarray:
    """The most recent items of each row, int64 ``[rows, length]``."""
    out = np.full((len(rows), length), padding, dtype=np.int64)
    for number, row in enumerate(rows):
        recent = row[-length:]
        out[number, length - len(recent) :] = recent
    return out


def train_epoch(rows: list[np.ndarray], sizes: Sizes, seed: int) -> list[float]:
    """One pass over the sequences, from fresh weights; the loss of each step."""
    torch.manual_seed(seed)
    model = PublishedSASRec(sizes)
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-3, betas=(0.9, 0.98))
    order, losses = np.random.default_rng(seed).permutation(len(rows)), []
    for start in range(0, len(rows), sizes.batch_size):
        taken = order[start : start + sizes.batch_size]
        batch = padded_on_the_left([rows[row] for row in taken], sizes.length + 1, sizes.items)
        inputs, targets = torch.from_numpy(batch[:, :-1]), torch.from_numpy(batch[:, 1:])
        negatives = torch.randint(sizes.items, (*targets.shape, sizes.negatives))
        candidates = torch.cat([targets.unsqueeze(-1), negatives], dim=-1)
        states = model(inputs)
        scores = torch.einsum("bld,blcd->blc", states, model.output_embedding(candidates))
        real = (targets != sizes.items) & (inputs != sizes.items)
        loss = generalised_binary_cross_entropy(scores, sizes.beta, real)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    return losses
