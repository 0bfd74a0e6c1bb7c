"""Scorers and identifiers for the tests of decoding."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import strategies as st
from torch import Tensor, nn

from ml.codes.trie import Trie


class TableScorer:
    """Log-probabilities read from a table: for each row one number for each node of the trie.

    Args:
        tables: for each level, ``[rows, nodes of the level]``.
    """

    def __init__(self, tables: list[np.ndarray]) -> None:
        self.tables = [torch.from_numpy(table) for table in tables]
        self.rows = len(tables[0])

    def log_probabilities(self, level: int, children: Tensor, exists: Tensor, beams: Tensor | None) -> Tensor:
        table = self.tables[level]
        return table.gather(1, children.flatten(1)).view(children.shape)

    def take(self, rows: np.ndarray) -> TableScorer:
        return TableScorer([table.numpy()[rows] for table in self.tables])


def sibling_table(trie: Trie, logits: list[np.ndarray]) -> list[np.ndarray]:
    """Logits ``[rows, nodes of the level]`` of each level as log-probabilities among siblings, float32."""
    tables = []
    for level, of_level in enumerate(logits):
        total = np.logaddexp.reduceat(of_level.astype(np.float64), trie.child_offsets[level][:-1], axis=1)
        tables.append((of_level - total[:, trie.parents[level]]).astype(np.float32))
    return tables


def random_scorer(trie: Trie, rows: int, seed: int, distinct: int | None = None) -> TableScorer:
    """A table of random numbers, normalised among siblings.

    Args:
        trie: identifiers.
        rows: users.
        seed: of the numbers.
        distinct: draw the logits from so many integers, which makes scores equal; by default they are normal.
    """
    random = np.random.default_rng(seed)
    draw = (
        (lambda shape: random.normal(scale=2, size=shape))
        if distinct is None
        else (lambda shape: random.integers(0, distinct, size=shape).astype(np.float64))
    )
    return TableScorer(sibling_table(trie, [draw((rows, nodes)) for nodes in trie.nodes]))


def item_scores(scorer: TableScorer, trie: Trie) -> np.ndarray:
    """Scores of all items, added level by level as the search does it, float32 ``[rows, items]``."""
    scores = np.zeros((scorer.rows, trie.items), dtype=np.float32)
    for level, table in enumerate(scorer.tables):
        scores += table.numpy()[:, trie.paths[:, level]]
    return scores


class PrefixMlp(nn.Module):
    """A tiny autoregressive head: a vector of the user and the codes so far, to logits of the next code."""

    def __init__(self, trie: Trie, dimensions: int = 8, seed: int = 0) -> None:
        super().__init__()
        torch.manual_seed(seed)
        sizes = [int(codes.max()) + 1 for codes in trie.codes]
        self.codes = [torch.from_numpy(codes) for codes in trie.codes]
        self.parents = [torch.from_numpy(parents) for parents in trie.parents]
        self.embeddings = nn.ModuleList(nn.Embedding(size, dimensions) for size in sizes)
        self.mix = nn.ModuleList(nn.Linear(dimensions, dimensions) for _ in sizes)
        self.heads = nn.ModuleList(nn.Linear(dimensions, size) for size in sizes)

    def item_log_probability(self, user: Tensor, codes: list[int]) -> float:
        """Teacher-forced, one item of one user."""
        state, total = user, 0.0
        for level, code in enumerate(codes):
            total += float(self.heads[level](state).log_softmax(-1)[code])
            state = torch.tanh(self.mix[level](state) + self.embeddings[level](torch.tensor(code)))
        return total

    def scorer(self, users: Tensor) -> PrefixMlpScorer:
        return PrefixMlpScorer(self, users)


class PrefixMlpScorer:
    """Keeps the state of each prefix from call to call, re-ordered by the beams: a cache that must not mix them up."""

    def __init__(self, model: PrefixMlp, users: Tensor) -> None:
        self.model, self.users, self.rows = model, users, len(users)
        self.states = users[:, None]

    def log_probabilities(self, level: int, children: Tensor, exists: Tensor, beams: Tensor | None) -> Tensor:
        model = self.model
        if beams is None:
            self.states = self.users[:, None]
        else:
            continued = self.states.gather(1, beams[:, :, None].expand(-1, -1, self.states.shape[2]))
            node = model.parents[level][children[:, :, 0]]
            embedded = model.embeddings[level - 1](model.codes[level - 1][node])
            self.states = torch.tanh(model.mix[level - 1](continued) + embedded)
        logits = model.heads[level](self.states).log_softmax(-1)
        return logits.gather(2, model.codes[level][children])


@st.composite
def identifiers(draw: st.DrawFn, most_items: int = 40) -> np.ndarray:
    """Unique rows of one to four codes, in any order."""
    levels = draw(st.integers(1, 4))
    code = st.integers(0, draw(st.integers(0, 5)))
    rows = draw(st.lists(st.tuples(*[code] * levels), min_size=1, max_size=most_items, unique=True))
    return np.array(rows)
