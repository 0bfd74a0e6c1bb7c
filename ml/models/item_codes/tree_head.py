"""A vector for each node of the prefix tree, and at each node a softmax over its siblings.

The balanced tree of SEATER (arXiv 2309.13375) and the tree-based deep models before it (Zhu et al., KDD 2018) predict
paths in this way. Every step is normalised over the continuations that exist, so the probabilities of the items sum to
1, and the scores of all items cost one product with the table of nodes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ml.codes.trie import Trie
from ml.models.belonging import OF_NODES
from ml.models.generating_model import CodePredictions

# parents with similar numbers of children are handled together: at most twice the least of a group
_GROUPS = (2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)
_START_DEVIATION = 0.02


class TreeHead(nn.Module):
    """Log-probabilities of paths: ``sum_l log softmax over siblings (H_l h . v_node + b_node)``.

    ``H_l`` starts as the identity with noise. A node without siblings is certain and has no vector.

    Args:
        trie: the identifiers.
        dimensions: width of states and vectors.
        deviation: standard deviation of the normal distribution that the vectors start from.
    """

    belongs: ClassVar[dict[str, str]] = {"vectors": OF_NODES, "biases": OF_NODES}
    paths: Tensor
    leaf_of_item: Tensor

    def __init__(self, trie: Trie, dimensions: int, deviation: float) -> None:
        super().__init__()
        self.levels = len(trie.codes)
        self.projections = nn.Parameter(
            torch.eye(dimensions).repeat(self.levels, 1, 1)
            + torch.empty(self.levels, dimensions, dimensions).normal_(std=_START_DEVIATION)
        )
        # of nodes with siblings: their vectors are rows of one table, the children of a node side by side
        first, self._starts, self._ends = 0, [], []
        for level in range(self.levels):
            offsets, parents = torch.from_numpy(trie.child_offsets[level]), torch.from_numpy(trie.parents[level])
            counts = offsets.diff()
            fewest = 1 if level == 0 else 2  # the first level always has vectors, so that there is a loss
            shared = torch.nonzero(counts[parents] >= fewest).squeeze(1)
            row = torch.full((len(parents),), -1, dtype=torch.int64)
            row[shared] = torch.arange(len(shared)) + first
            self._buffer(f"parents_{level}", parents)
            self._buffer(f"offsets_{level}", offsets)
            self._buffer(f"shared_{level}", shared)
            # row of the first child of each parent that has several
            several = torch.nonzero(counts >= fewest).squeeze(1)
            first_row = torch.full((len(counts),), -1, dtype=torch.int64)
            first_row[several] = row[offsets[several]]
            self._buffer(f"first_row_{level}", first_row)
            self._buffer(f"segments_{level}", torch.cat([torch.zeros(1, dtype=torch.int64), counts[several].cumsum(0)]))
            self._buffer(f"segment_of_{level}", torch.repeat_interleave(torch.arange(len(several)), counts[several]))
            self._starts.append(first)
            first += len(shared)
            self._ends.append(first)
        self._buffer("paths", torch.from_numpy(trie.paths))
        self._buffer("leaf_of_item", torch.from_numpy(trie.paths[:, -1].copy()))
        self.vectors = nn.Parameter(torch.empty(first, dimensions).normal_(std=deviation))
        self.biases = nn.Parameter(torch.zeros(first))

    def _buffer(self, name: str, values: Tensor) -> None:
        self.register_buffer(name, values, persistent=False)

    def _of(self, name: str, level: int) -> Tensor:
        """A table of a level."""
        return getattr(self, f"{name}_{level}")

    def rows_of(self, paths: Tensor) -> Tensor:
        """The row of ``vectors`` of each node, -1 where it has no siblings and thus no vector.

        Args:
            paths: nodes of each level, int64 ``[items, levels]``.
        """
        found = []
        for level in range(self.levels):
            nodes = paths[:, level]
            parents = self._of("parents", level)[nodes]
            first_rows = self._of("first_row", level)[parents]
            found.append(torch.where(first_rows >= 0, first_rows + nodes - self._of("offsets", level)[parents], -1))
        return torch.stack(found, dim=1)

    def queries(self, states: Tensor, level: int) -> Tensor:
        """``[rows, dimensions]`` to the same: what the nodes of a level are scored against."""
        return states @ self.projections[level]

    def predictions(self, states: Tensor, targets: Tensor) -> list[CodePredictions]:
        """See :meth:`ml.models.generating_model.GeneratingModel.predictions`; states are ``[targets, dimensions]``."""
        paths = self.paths[targets]
        table = slice(0, self._ends[0])
        first = F.linear(self.queries(states, 0), self.vectors[table], self.biases[table])
        found = [CodePredictions(0, first, paths[:, 0])]
        if self.levels == 1:
            return found
        # the siblings of every node below the first level on every path, all in one list: of each target in turn
        parents = [self._of("parents", level)[paths[:, level]] for level in range(1, self.levels)]
        first_rows = [self._of("first_row", level)[above] for level, above in enumerate(parents, 1)]
        counts = [
            torch.where(rows >= 0, self._of("offsets", level)[above + 1] - self._of("offsets", level)[above], 0)
            for level, (above, rows) in enumerate(zip(parents, first_rows, strict=True), 1)
        ]
        queries = torch.cat([self.queries(states, level) for level in range(1, self.levels)])
        of_query = torch.cat(counts)
        query_of_edge = torch.repeat_interleave(torch.arange(len(of_query), device=states.device), of_query)
        starts = of_query.cumsum(0) - of_query
        place = torch.arange(len(query_of_edge), device=states.device) - starts[query_of_edge]
        row_of_edge = torch.cat(first_rows)[query_of_edge] + place
        edges = Edges(query_of_edge, row_of_edge, starts)
        logits = edge_products(queries, self.vectors, edges) + self.biases[row_of_edge]
        for level in range(1, self.levels):
            choices = paths[:, level] - self._of("offsets", level)[parents[level - 1]]
            here = slice((level - 1) * len(targets), level * len(targets))
            found += _padded_groups(level, logits, starts[here], counts[level - 1], choices)
        return found

    def score_all(self, states: Tensor) -> Tensor:
        """Log-probabilities of all items: ``[rows, dimensions]`` to ``[rows, items]``."""
        scores = states.new_zeros(1, len(states))  # of the root, [nodes, rows] so that nodes are whole rows
        for level in range(self.levels):
            scores = scores.index_select(0, self._of("parents", level))
            start, end = self._starts[level], self._ends[level]
            if end == start:
                continue
            logits = torch.addmm(self.biases[start:end, None], self.vectors[start:end], self.queries(states, level).T)
            logits = logits - segment_log_sum_exp(logits, self._of("segments", level))[self._of("segment_of", level)]
            scores.index_add_(0, self._of("shared", level), logits)
        return scores.index_select(0, self.leaf_of_item).T

    def log_probabilities(self, states: Tensor, level: int, children: Tensor, exists: Tensor) -> Tensor:
        """Of the children of some prefixes, each normalised over its siblings.

        Args:
            states: ``[rows, dimensions]``.
            level: of the children.
            children: nodes of the level, int64 ``[rows, beams, choices]``; any where there is none.
            exists: bool, of the same shape.
        """
        parents = self._of("parents", level)[children[..., 0]]
        offsets = self._of("offsets", level)
        counts = offsets[parents + 1] - offsets[parents]
        first_rows = self._of("first_row", level)[parents]
        rows = torch.where(first_rows >= 0, first_rows, 0)[..., None] + (children - offsets[parents][..., None])
        rows = torch.where(exists & (counts > 1)[..., None], rows, 0)
        queries = self.queries(states, level)[:, None, None, :]
        logits = (F.embedding(rows, self.vectors) * queries).sum(dim=-1) + self.biases[rows]
        logits = logits.masked_fill(~exists, -torch.inf).log_softmax(dim=-1)
        return torch.where((counts > 1)[..., None], logits, torch.where(exists, 0.0, -torch.inf))


def _padded_groups(
    level: int, logits: Tensor, starts: Tensor, counts: Tensor, choices: Tensor
) -> list[CodePredictions]:
    """Predictions of a level from the list of the logits of all siblings.

    Args:
        level: of the predictions.
        logits: of all siblings of all targets, ``[edges]``.
        starts: where the siblings of each target begin, int64 ``[targets]``.
        counts: how many each target has, 0 where its code is certain, int64 ``[targets]``.
        choices: which of its siblings each target's node is, int64 ``[targets]``.
    """
    found = []
    for least, most in zip(_GROUPS, (*_GROUPS[1:], 1 << 62), strict=True):
        chosen = torch.nonzero((counts >= least) & (counts < most)).squeeze(1)
        if len(chosen):
            widths = counts[chosen]
            places = torch.arange(int(widths.max()), device=logits.device)
            exists = places < widths[:, None]
            edges = torch.where(exists, starts[chosen, None] + places, 0)
            found.append(CodePredictions(level, logits[edges].masked_fill(~exists, -torch.inf), choices[chosen]))
    return found


@dataclass(frozen=True)
class Edges:
    """Pairs of a query and a row of a table, in the order of the queries.

    Attributes:
        queries: int64 ``[edges]``, ascending.
        rows: int64 ``[edges]``.
        starts: the first edge of each query, int64 ``[queries]``.
    """

    queries: Tensor
    rows: Tensor
    starts: Tensor


def edge_products(queries: Tensor, table: Tensor, edges: Edges) -> Tensor:
    """The dot product of each pair: ``[queries, dimensions]`` and ``[rows, dimensions]`` to ``[edges]``.

    The gradients are sums of whole rows over sorted lists; autograd's own would scatter a row for each edge and take
    several times as long.
    """
    return _EdgeProducts.apply(queries, table, edges.queries, edges.rows, edges.starts)


class _EdgeProducts(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, queries: Tensor, table: Tensor, query_of_edge: Tensor, row_of_edge: Tensor, starts: Tensor
    ) -> Tensor:
        ctx.save_for_backward(queries, table, query_of_edge, row_of_edge, starts)
        return (queries.index_select(0, query_of_edge) * table.index_select(0, row_of_edge)).sum(dim=1)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None, None, None]:
        queries, table, query_of_edge, row_of_edge, starts = ctx.saved_tensors
        gradient = gradient.to(table.dtype)
        of_queries = F.embedding_bag(row_of_edge, table, starts, mode="sum", per_sample_weights=gradient)
        rows, order = torch.sort(row_of_edge, stable=True)
        bounds = torch.searchsorted(rows, torch.arange(len(table), device=rows.device))
        of_table = F.embedding_bag(
            query_of_edge[order], queries.to(table.dtype), bounds, mode="sum", per_sample_weights=gradient[order]
        )
        return of_queries.to(queries.dtype), of_table, None, None, None


def segment_log_sum_exp(values: Tensor, segments: Tensor) -> Tensor:
    """Logarithm of the sum of exponentials of consecutive rows.

    Args:
        values: ``[rows, columns]``.
        segments: first row of each segment, and the number of rows at the end, int64 ``[segments + 1]``.

    Returns:
        ``[segments, columns]``.
    """
    highest = torch.segment_reduce(values, "max", offsets=segments, axis=0)
    lengths = segments.diff()
    shifted = values - torch.repeat_interleave(highest, lengths, dim=0)
    return highest + torch.segment_reduce(shifted.exp_(), "sum", offsets=segments, axis=0).log_()
