"""What a tree's vectors are taught besides paths: which node is whose child, and which items are closer relatives.

SEATER (Si et al., arXiv 2309.13375) trains its identifiers by two further, contrastive losses. Both are written here as
choices, whose cross-entropy the objective adds:

- *Alignment*, InfoNCE: each node on the paths of a batch chooses its parent among the parents of that batch, by the
  cosine of their vectors.
- *Ranking*: of two items that share prefixes of different lengths with the target, the one that shares the longer has
  the higher score. SEATER compares what its decoder gives for the identifiers, by a triplet loss with a margin. This
  head has no decoder: scores are the sums of the products along the paths, and the loss is logistic.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ml.codes.trie import Trie
from ml.models.generating_model import CodePredictions
from ml.models.item_codes.tree_head import TreeHead


class TreeContrast(nn.Module):
    """Further predictions for a tree head; it has no weights of its own.

    Args:
        trie: the identifiers.
        head: whose vectors are taught; it is given again with each batch, and not kept.
        alignment_weight: of the first loss; 0 for none.
        alignment_temperature: of its cosines.
        ranking_weight: of the second; 0 for none.
    """

    rows: Tensor
    leaf_items: Tensor

    def __init__(
        self,
        trie: Trie,
        head: TreeHead,
        alignment_weight: float,
        alignment_temperature: float,
        ranking_weight: float,
    ) -> None:
        super().__init__()
        self.alignment_weight = alignment_weight
        self.alignment_temperature = alignment_temperature
        self.ranking_weight = ranking_weight
        self.register_buffer("rows", head.rows_of(head.paths), persistent=False)
        self.register_buffer("leaf_items", torch.from_numpy(trie.leaf_items), persistent=False)
        # leaves are in the order of their paths, so those below a node follow one another
        for level in range(trie.levels - 1):
            ordered = head.paths[self.leaf_items, level].contiguous()
            bounds = torch.searchsorted(ordered, torch.arange(trie.nodes[level] + 1))
            self.register_buffer(f"leaves_{level}", bounds, persistent=False)

    def predictions(self, head: TreeHead, states: Tensor, targets: Tensor) -> list[CodePredictions]:
        """Choices that follow from the targets of a batch.

        Args:
            head: whose vectors are taught.
            states: ``[targets, dimensions]``.
            targets: items, int64 ``[targets]``.
        """
        found = self._alignment(head, targets) if self.alignment_weight else []
        return found + (self._ranking(head, states, targets) if self.ranking_weight else [])

    def _alignment(self, head: TreeHead, targets: Tensor) -> list[CodePredictions]:
        found = []
        rows = self.rows[targets.unique()]
        for level in range(1, rows.shape[1]):
            # pairs of parent and child; an only child has no vector
            pairs = rows[:, level - 1 : level + 1]
            pairs = pairs[(pairs >= 0).all(dim=1)].unique(dim=0)
            parents, own = pairs[:, 0].unique(return_inverse=True)
            if len(parents) < 2:
                continue
            children = F.normalize(F.embedding(pairs[:, 1], head.vectors), dim=-1) / self.alignment_temperature
            logits = children @ F.normalize(F.embedding(parents, head.vectors), dim=-1).T
            found.append(CodePredictions(level, logits, own, self.alignment_weight))
        return found

    def _ranking(self, head: TreeHead, states: Tensor, targets: Tensor) -> list[CodePredictions]:
        levels = head.levels
        of_target = head.paths[targets]
        # an item anywhere, and one below each node on the path of the target
        firsts, ends = [torch.zeros_like(targets)], [torch.full_like(targets, len(self.leaf_items))]
        for level in range(levels - 1):
            bounds = getattr(self, f"leaves_{level}")
            firsts.append(bounds[of_target[:, level]])
            ends.append(bounds[of_target[:, level] + 1])
        first, end = torch.stack(firsts, dim=1), torch.stack(ends, dim=1)
        leaves = first + (torch.rand(first.shape, device=first.device) * (end - first)).long()
        items = self.leaf_items[torch.minimum(leaves, end - 1)]
        shared = (head.paths[items] == of_target[:, None]).sum(dim=2)
        rows = self.rows[items]
        queries = torch.stack([head.queries(states, level) for level in range(levels)], dim=1)
        known = rows >= 0
        rows = rows.clamp(min=0)
        products = (F.embedding(rows, head.vectors) * queries[:, None]).sum(dim=-1) + head.biases[rows]
        scores = (products * known).sum(dim=2)
        # the target itself is what the paths teach
        ordered = (shared[:, 1:] > shared[:, :-1]) & (shared[:, 1:] < levels)
        logits = torch.stack([scores[:, 1:][ordered], scores[:, :-1][ordered]], dim=1)
        if not len(logits):
            return []
        return [CodePredictions(0, logits, logits.new_zeros(len(logits), dtype=torch.int64), self.ranking_weight)]
