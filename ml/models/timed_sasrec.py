"""SASRec whose attention has a learned bias for the time between two items.

The cheap form of reading times: one number for each head and each range of the gap, as the relative attention bias of
HSTU (Zhai et al., "Actions Speak Louder than Words", ICML 2024, arXiv 2402.17152, section 3.2) has it. HSTU's public
code measures a gap up to the time of the item that is to be predicted; here it ends with the item that is read last,
since the time of the next one is not known when one recommends.
"""

from __future__ import annotations

from dataclasses import fields

import torch
from torch import Tensor, nn

from ml.models.catalogue import Catalogue
from ml.models.dropout import dropout
from ml.models.sasrec import SASRec
from ml.models.settings import SASRecSettings, TimeGapSASRecSettings
from ml.models.transformer import CausalAttention, PreNormBlock

_BUCKETS_PER_DOUBLING = 2


class TimeGapSASRec(SASRec):
    """Histories and their times to hidden states whose dot products with item vectors are scores.

    A history without times has no bias, as if the model had been trained without.

    Args:
        settings: sizes and number of buckets.
        catalogue: what there are vectors for.
    """

    reads_times = True

    def __init__(self, settings: TimeGapSASRecSettings, catalogue: Catalogue) -> None:
        super().__init__(as_sasrec(settings), catalogue)
        self.buckets = settings.buckets
        for block in self.blocks:
            assert isinstance(block, PreNormBlock)
            block.attention = GapBiasAttention(settings.dimensions, settings.heads, settings.dropout, settings.buckets)

    def forward(self, items: Tensor, lengths: Tensor, users: Tensor, times: Tensor | None = None) -> Tensor:
        gaps = None if times is None else gap_buckets(times, self.buckets)
        return self.encoded(items, lengths, gaps)


def as_sasrec(settings: TimeGapSASRecSettings) -> SASRecSettings:
    """The same sizes as those of a SASRec with pre-norm blocks."""
    names = {field.name for field in fields(SASRecSettings)} - {"block"}
    return SASRecSettings(**{name: getattr(settings, name) for name in names}, block="pre_norm")


def gap_buckets(times: Tensor, buckets: int) -> Tensor:
    """Bucket of the time from each item to each later one: 0 within the same second, 1 for a second, and two for each
    doubling.

    Args:
        times: seconds, int64 ``[batch, length]``.
        buckets: number of them; longer gaps are in the last one.

    Returns:
        int64 ``[batch, length, length]``, later item first; of an item and one that follows it as of the same second.
    """
    gaps = (times[:, :, None] - times[:, None, :]).clamp_(min=0)
    # beyond 2 ** 24 seconds float32 does not tell single seconds apart, which no bucket does
    doublings = (gaps.float() + (gaps == 0) * 0.5).log2()
    return (doublings * _BUCKETS_PER_DOUBLING + 1).floor().clamp(0, buckets - 1).long()


class GapBiasAttention(CausalAttention):
    """Causal attention with a bias that is added to the score of two places, by head and bucket of the time between."""

    def __init__(self, dimensions: int, heads: int, dropout: float, buckets: int) -> None:
        super().__init__(dimensions, heads, dropout, output_projection=True)
        self.gap_bias = nn.Parameter(torch.zeros(heads, buckets))

    def forward(self, queries: Tensor, inputs: Tensor, gaps: Tensor | None = None) -> Tensor:
        """Attend from ``queries`` to ``inputs``, both ``[batch, length, dimensions]``; ``gaps`` as
        :func:`gap_buckets` returns them, ``None`` for no bias."""
        if gaps is None:
            return super().forward(queries, inputs)
        keys, values = self.keys_and_values(inputs)
        rows = self.gap_bias[None, :, None, :].expand(len(gaps), -1, gaps.shape[1], -1)
        bias = by_index(rows, gaps)
        weights = causal_weights(self.split(self.query(queries)), keys, bias)
        return self.joined(dropout(weights, self.dropout, training=self.training) @ values)


def by_index(rows: Tensor, index: Tensor) -> Tensor:
    """Values of rows by their column: ``[batch, heads, length, columns]`` and int64 ``[batch, length, keys]`` to
    ``[batch, heads, length, keys]``."""
    return rows.gather(3, index[:, None].expand(-1, rows.shape[1], -1, -1))


def causal_weights(queries: Tensor, keys: Tensor, added: Tensor) -> Tensor:
    """Attention weights of each place over itself and all earlier ones, ``[batch, heads, length, length]``.

    Args:
        queries: ``[batch, heads, length, dimensions of a head]``, as are the keys.
        keys: what scores are with.
        added: to the scores, after they were divided by the root of the dimensions of a head.
    """
    scores = (queries * queries.shape[-1] ** -0.5) @ keys.transpose(-2, -1) + added
    seen = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).tril()
    return scores.masked_fill(~seen, -torch.inf).softmax(dim=-1)
