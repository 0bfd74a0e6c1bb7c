"""A selective state space, step by step and as matrix products.

Each head keeps a matrix that fades and takes in one item after the other::

    state_t = exp(log_decay_t) * state_(t-1) + inputs_t x write_t        [head dimensions, state dimensions]
    output_t = state_t read_t                                            [head dimensions]

This is the state-space duality form of Dao and Gu, "Transformers are SSMs", ICML 2024 (Mamba-2), in which a head has
one decay. It needs no step-by-step loop: within a chunk of items the outputs are masked products, as of linear
attention, and from chunk to chunk only the state is handed on (section 6 of the paper). Time and memory grow with the
length, not with its square.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def step_by_step(inputs: Tensor, log_decay: Tensor, write: Tensor, read: Tensor) -> Tensor:
    """The recurrence as it is written: the reference for :func:`in_chunks`, one step an item.

    Args:
        inputs: ``[batch, length, heads, head dimensions]``.
        log_decay: logarithms of the decays, not positive, ``[batch, length, heads]``.
        write: ``[batch, length, state dimensions]``, the same for all heads.
        read: likewise.

    Returns:
        ``[batch, length, heads, head dimensions]``.
    """
    batch, length, heads, dimensions = inputs.shape
    state = inputs.new_zeros(batch, heads, dimensions, write.shape[-1])
    outputs = []
    for place in range(length):
        state = state * log_decay[:, place, :, None, None].exp()
        state = state + inputs[:, place, :, :, None] * write[:, place, None, None, :]
        outputs.append((state * read[:, place, None, None, :]).sum(dim=-1))
    return torch.stack(outputs, dim=1)


def in_chunks(inputs: Tensor, log_decay: Tensor, write: Tensor, read: Tensor, chunk: int) -> Tensor:
    """The same as :func:`step_by_step`, chunk by chunk of ``chunk`` items, as matrix products.

    All exponents are sums of logarithms of decays over a run of items, never positive, so that nothing overflows.
    """
    length = inputs.shape[1]
    chunk = min(chunk, length)
    missing = -length % chunk
    if missing:
        # items that write nothing and fade nothing
        inputs = F.pad(inputs, (0, 0, 0, 0, 0, missing))
        log_decay, write, read = (F.pad(each, (0, 0, 0, missing)) for each in (log_decay, write, read))
    batch, padded, heads, dimensions = inputs.shape
    chunks = padded // chunk
    # [batch, chunks, heads, chunk, ...]
    values = inputs.view(batch, chunks, chunk, heads, dimensions).transpose(2, 3)
    write = write.view(batch, chunks, 1, chunk, -1)
    read = read.view(batch, chunks, 1, chunk, -1)
    # logarithms of what is left of the state before the chunk, after each item
    faded = log_decay.view(batch, chunks, chunk, heads).transpose(2, 3).cumsum(dim=-1)
    between = faded[..., :, None] - faded[..., None, :]
    causal = torch.ones(chunk, chunk, dtype=torch.bool, device=inputs.device).tril()
    weights = (read @ write.transpose(-2, -1)) * between.masked_fill(~causal, -torch.inf).exp()
    outputs = weights @ values
    if chunks > 1:
        # what each chunk adds to the state, and the states before each chunk: [.., head dimensions, state dimensions]
        to_the_end = (faded[..., -1:] - faded).exp()
        added = (values * to_the_end[..., None]).transpose(-2, -1) @ write
        left = faded[..., -1].exp()[..., None, None]
        state = torch.zeros_like(added[:, 0])
        before = [state]
        for each in range(chunks - 1):
            state = state * left[:, each] + added[:, each]
            before.append(state)
        carried = read @ torch.stack(before, dim=1).transpose(-2, -1)
        outputs = outputs + carried * faded.exp()[..., None]
    return outputs.transpose(2, 3).reshape(batch, padded, heads, dimensions)[:, :length]
