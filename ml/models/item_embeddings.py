"""Item embeddings: items to vectors, and states to item scores.

Two kinds with one interface, so that a model does not know which it holds: a table with a row for each item,
and the joint product quantised form of RecJPQ, whose size does not grow with the width of the vectors.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ml.models.belonging import FROM_CATALOGUE, OF_CODES, OF_ITEMS
from ml.models.row_table import RowTable

CODES_PER_BOOK = 256
_CANDIDATES_AT_ONCE = 1 << 16
_FEW_CANDIDATES = 2 * CODES_PER_BOOK


class ItemEmbedding(nn.Module, ABC):
    """Vectors of ``items`` items, each ``[dimensions]``."""

    def __init__(self, items: int, dimensions: int) -> None:
        super().__init__()
        self.items = items
        self.dimensions = dimensions

    @abstractmethod
    def forward(self, items: Tensor) -> Tensor:
        """Vectors of the given items: int64 ``[...]`` to ``[..., dimensions]``."""

    @abstractmethod
    def score_all(self, states: Tensor) -> Tensor:
        """Dot product of each state with each item: ``[rows, dimensions]`` to ``[rows, items]``."""

    def score_all_into(self, out: Tensor, states: Tensor) -> Tensor:
        """:meth:`score_all` without gradients; ``out``, ``[rows, items]``, may be overwritten and returned."""
        return self.score_all(states)

    def score_shared(self, states: Tensor, candidates: Tensor) -> Tensor:
        """Scores of candidates that all rows share: ``[rows, dimensions]``, int64 ``[candidates]`` to
        ``[rows, candidates]``."""
        return states @ self(candidates).T

    @abstractmethod
    def score_each(self, states: Tensor, candidates: Tensor) -> Tensor:
        """Scores of each row's own candidates: ``[rows, dimensions]``, int64 ``[rows, candidates]`` to
        ``[rows, candidates]``."""

    def score_target(self, states: Tensor, targets: Tensor) -> Tensor:
        """Score of one item a row: ``[rows, dimensions]``, int64 ``[rows]`` to ``[rows]``."""
        return (states * self(targets)).sum(dim=-1)


class DenseItemEmbedding(ItemEmbedding, RowTable):
    """One trained row an item."""

    belongs: ClassVar[dict[str, str]] = {"weight": OF_ITEMS}

    def __init__(self, items: int, dimensions: int, deviation: float) -> None:
        super().__init__(items, dimensions)
        self.weight = nn.Parameter(torch.empty(items, dimensions).normal_(std=deviation))

    def forward(self, items: Tensor) -> Tensor:
        table, rows = self.table_for(items)
        return F.embedding(rows, table)

    def score_all(self, states: Tensor) -> Tensor:
        return states @ self.weight.T

    def score_all_into(self, out: Tensor, states: Tensor) -> Tensor:
        return torch.mm(states, self.weight.T, out=out)

    def score_each(self, states: Tensor, candidates: Tensor) -> Tensor:
        # A product with the whole table costs items * dimensions multiplications a row and runs near the
        # arithmetic limit; fetching the candidates' rows moves candidates * dimensions numbers, several
        # times over in the backward pass. Where the catalogue is small the product is the faster one.
        if self.items <= 32 * candidates.shape[1]:
            return self.score_all(states).gather(1, candidates)
        return torch.einsum("rd,rcd->rc", states, self(candidates))


class JointProductQuantisedItemEmbedding(ItemEmbedding):
    """RecJPQ (Petrov and Macdonald, WSDM 2024): an item is the concatenation of one vector from each book.

    ``codes[item, book]`` says which of the 256 vectors of a book the item uses. Codes are fixed, the books are
    trained. Scores of many items are sums of ``books`` looked-up partial scores (PQTopK, RecSys 2024): the
    ``[items, dimensions]`` table never exists. Scores of few items are the product with their vectors.

    Args:
        codes: uint8 ``[items, books]``.
        dimensions: width of the vectors, a multiple of the number of books.
        deviation: standard deviation of the normal distribution that the books start from.
    """

    belongs: ClassVar[dict[str, str]] = {"centroids": OF_CODES, "codes": FROM_CATALOGUE}
    codes: Tensor
    offsets: Tensor

    def __init__(self, codes: np.ndarray | Tensor, dimensions: int, deviation: float) -> None:
        items, books = codes.shape
        if dimensions % books:
            raise ValueError(f"{books} code books do not divide {dimensions} dimensions evenly")
        if torch.as_tensor(codes).dtype != torch.uint8:
            raise ValueError(
                f"joint product quantised item embeddings need books of at most {CODES_PER_BOOK} codes: choose a "
                "recipe of codes with smaller book_sizes"
            )
        super().__init__(items, dimensions)
        self.books = books
        self.register_buffer("codes", torch.as_tensor(codes).clone())
        self.register_buffer("offsets", torch.arange(books) * CODES_PER_BOOK, persistent=False)
        self.centroids = nn.Parameter(torch.empty(books, CODES_PER_BOOK, dimensions // books).normal_(std=deviation))

    def forward(self, items: Tensor) -> Tensor:
        rows = self.codes[items].long() + self.offsets
        return F.embedding(rows, self.centroids.flatten(0, 1)).flatten(-2)

    def partial_scores(self, states: Tensor) -> Tensor:
        """Scores of all centroids: ``[rows, dimensions]`` to ``[books * 256, rows]``.

        :meth:`score_all` adds those that an item uses in the order of the books.
        """
        split = states.view(len(states), self.books, -1)
        return torch.einsum("rbd,bcd->bcr", split, self.centroids).flatten(0, 1)

    def score_all(self, states: Tensor) -> Tensor:
        return _SumOfPartialScores.apply(self.partial_scores(states), self.codes).T

    def score_shared(self, states: Tensor, candidates: Tensor) -> Tensor:
        # All centroids cost as many multiplications as 256 candidates do, and a candidate then only additions:
        # forward and backward together this pays from some 512 candidates on, at 128 dimensions and above.
        if len(candidates) <= _FEW_CANDIDATES:
            return super().score_shared(states, candidates)
        return _SumOfPartialScores.apply(self.partial_scores(states), self.codes[candidates]).T

    def score_each(self, states: Tensor, candidates: Tensor) -> Tensor:
        rows = (self.codes[candidates].long() + self.offsets).transpose(1, 2).flatten(1)
        looked_up = self.partial_scores(states).T.gather(1, rows)
        return looked_up.view(len(states), self.books, -1).sum(dim=1)


class _SumOfPartialScores(torch.autograd.Function):
    """Scores of items as sums of partial scores: ``[books * 256, rows]``, uint8 codes ``[items, books]`` to
    ``[items, rows]``.

    The gradient of a partial score is the sum over the items that use it: the same kernel, which adds whole
    contiguous rows, over the lists of the items of each code. Autograd's own backward of ``embedding_bag``
    takes up to twice as long, and on a GPU it adds in no fixed order.
    """

    @staticmethod
    def forward(ctx: Any, partial: Tensor, codes: Tensor) -> Tensor:
        ctx.save_for_backward(codes)
        offsets = _book_offsets(codes)
        if len(codes) <= _CANDIDATES_AT_ONCE:
            return F.embedding_bag(codes.int() + offsets, partial, mode="sum")
        scores = partial.new_empty(len(codes), partial.shape[1])
        for start in range(0, len(codes), _CANDIDATES_AT_ONCE):
            chunk = codes[start : start + _CANDIDATES_AT_ONCE].int() + offsets
            scores[start : start + _CANDIDATES_AT_ONCE] = F.embedding_bag(chunk, partial, mode="sum")
        return scores

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (codes,) = ctx.saved_tensors
        items, books = codes.shape
        # book by book, so that the place in the flat array tells the item
        flat = (codes.int() + _book_offsets(codes)).T.flatten()
        ordered, places = torch.sort(flat, stable=True)
        starts = torch.searchsorted(
            ordered, torch.arange(books * CODES_PER_BOOK, dtype=torch.int32, device=flat.device)
        )
        return F.embedding_bag(places % items, gradient.contiguous(), starts, mode="sum"), None


def _book_offsets(codes: Tensor) -> Tensor:
    """Offset of each book among the partial scores, int32 ``[books]``."""
    return torch.arange(codes.shape[1], dtype=torch.int32, device=codes.device) * CODES_PER_BOOK


def embedding_sizes(model: nn.Module) -> dict[str, Any]:
    """Size of a model's item embeddings, compared with dense ones of the same width.

    Args:
        model: holds one :class:`ItemEmbedding` or more; one used for input and output counts once.

    Returns:
        JSON values. Of the item embeddings together: ``embeddings`` (how many), ``embedding_parameters``
        (trained numbers), ``embedding_bytes`` (as stored: parameters and codes), the same two for dense tables
        (``dense_embedding_parameters``, ``dense_embedding_bytes``, in the type of the parameters) and
        ``share_of_dense_bytes``. Of the model: ``model_parameters``, ``checkpoint_bytes`` (its stored tensors
        together) and ``dense_checkpoint_bytes`` (what they would be with dense tables).

    Raises:
        ValueError: the model holds no item embedding.
    """
    embeddings = [module for module in model.modules() if isinstance(module, ItemEmbedding)]
    if not embeddings:
        raise ValueError(f"{type(model).__name__} holds no item embedding whose size could be told")
    own = [parameter for embedding in embeddings for parameter in embedding.parameters()]
    parameters = sum(parameter.numel() for parameter in own)
    stored = sum(tensor.nbytes for embedding in embeddings for tensor in embedding.state_dict().values())
    dense_parameters = sum(embedding.items * embedding.dimensions for embedding in embeddings)
    dense_bytes = dense_parameters * own[0].element_size()
    # a tensor that two names share is stored once
    tensors = {(t.data_ptr(), t.shape): t.nbytes for t in model.state_dict().values()}
    checkpoint = sum(tensors.values())
    return {
        "embeddings": len(embeddings),
        "embedding_parameters": parameters,
        "embedding_bytes": stored,
        "dense_embedding_parameters": dense_parameters,
        "dense_embedding_bytes": dense_bytes,
        "share_of_dense_bytes": stored / dense_bytes,
        "model_parameters": sum(parameter.numel() for parameter in model.parameters()),
        "checkpoint_bytes": checkpoint,
        "dense_checkpoint_bytes": checkpoint - stored + dense_bytes,
    }
