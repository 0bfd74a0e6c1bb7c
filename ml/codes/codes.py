"""A code assignment: for each item of the catalogue a short tuple of integers below 256.

Assignments are artefacts of their own, since many models are built on one, and since they belong to a model
as its weights do: another assignment makes a trained model meaningless.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ml.data.files import whole

if TYPE_CHECKING:
    from ml.data.training_set import Sequences, TrainingSet

CODES_PER_BOOK = 256
FORMAT = "raw2rank-codes-1"


@dataclass(frozen=True)
class Codes:
    """Codes of all items.

    Attributes:
        values: which vector of each book an item uses, uint8 ``[items, books]``.
        method: how they were assigned, with the settings of the method.
        report: quality of the assignment, see :func:`quality_report`.
    """

    values: np.ndarray
    method: dict[str, Any]
    report: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.values.ndim != 2 or self.values.dtype != np.uint8:
            raise ValueError(
                f"codes are uint8 [items, books], not {self.values.dtype} of shape {list(self.values.shape)}"
            )

    @property
    def items(self) -> int:
        return self.values.shape[0]

    @property
    def books(self) -> int:
        return self.values.shape[1]

    def digest(self) -> str:
        """SHA-256 over shape and values: equal codes, equal digest, however they were assigned."""
        digest = hashlib.sha256(f"{FORMAT} {self.values.shape}".encode())
        digest.update(np.ascontiguousarray(self.values).data)
        return digest.hexdigest()

    def save(self, folder: Path) -> None:
        """Write ``codes.npy`` and ``codes.json`` into an existing folder."""
        np.save(folder / "codes.npy", self.values, allow_pickle=False)
        description = {
            "format": FORMAT,
            "items": self.items,
            "books": self.books,
            "method": self.method,
            "report": self.report,
            "digest": self.digest(),
        }
        (folder / "codes.json").write_text(json.dumps(description, indent=2) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> Codes:
        """Read what :meth:`save` wrote.

        Raises:
            DamagedFile: the folder holds another format, or the arrays are not those that were described.
        """
        with whole(folder):
            description = json.loads((folder / "codes.json").read_text(encoding="utf-8"))
            if description["format"] != FORMAT:
                raise ValueError(f"it holds {description['format']}, this version reads {FORMAT}")
            codes = cls(np.load(folder / "codes.npy", allow_pickle=False), description["method"], description["report"])
            if codes.digest() != description["digest"]:
                raise ValueError("codes.npy does not hold the codes that codes.json describes")
            return codes


def check_assignable(training_set: TrainingSet, books: int) -> None:
    """Whether codes can be assigned at all.

    Raises:
        ValueError: books is below 1, or the training histories are empty.
    """
    if books < 1:
        raise ValueError(f"books must be at least 1, not {books}")
    if len(training_set.train.items) == 0:
        raise ValueError(f"the training histories of {training_set.dataset} are empty: no codes can be assigned")


def quality_report(values: np.ndarray, histories: Sequences) -> dict[str, Any]:
    """How well an assignment spreads the items, and what it knows of them.

    Args:
        values: uint8 ``[items, books]``.
        histories: the training histories.

    Returns:
        JSON values.

        ``by_book``, for each book: the codes in use, the share of 256 they are, the entropy of their use in bits (8
        where all are used equally), the items of the fullest code, and Spearman's rank correlation between an item's
        code and its number of training interactions: near 1 or -1 where the book says little but how popular an item
        is; ``None`` where either is constant.

        Of whole tuples: how many are distinct, the items that share theirs with another, and the largest group of
        such items.

        ``items_never_seen_in_training``: items in no training history, about which the assignment knows nothing.

        ``neighbours_sharing_a_code``: of two different items that stand side by side in a history, the share of books
        in which they have the same code; ``sharing_a_code_by_chance`` is what two different items have that are drawn
        as often as they occur. The ratio of the two tells how much of the order the codes know. ``None`` where no
        history holds two different items side by side.
    """
    items, books = values.shape
    training_counts = np.bincount(histories.items, minlength=items)
    by_book = []
    for book in range(books):
        counts = np.bincount(values[:, book], minlength=CODES_PER_BOOK)
        shares = counts[counts > 0] / items
        by_book.append(
            {
                "book": book,
                "codes_used": int((counts > 0).sum()),
                "share_used": float((counts > 0).mean()),
                "entropy_bits": float(-(shares * np.log2(shares)).sum()),
                "largest_code_items": int(counts.max()),
                "popularity_rank_correlation": _rank_correlation(values[:, book], training_counts),
            }
        )
    groups = np.unique(values, axis=0, return_counts=True)[1] if items else np.zeros(0, dtype=np.int64)
    together, by_chance = _sharing(values, histories, training_counts)
    return {
        "items": items,
        "books": books,
        "by_book": by_book,
        "distinct_codes": len(groups),
        "items_in_collisions": int(groups[groups > 1].sum()),
        "largest_collision": int(groups.max(initial=0)),
        "items_never_seen_in_training": int((training_counts == 0).sum()),
        "neighbours_sharing_a_code": together,
        "sharing_a_code_by_chance": by_chance,
    }


def _sharing(values: np.ndarray, histories: Sequences, counts: np.ndarray) -> tuple[float | None, float | None]:
    """Share of books in which two different items have one code: of neighbours, and of items drawn by count."""
    left, right = np.asarray(histories.items[:-1]), np.asarray(histories.items[1:])
    pairs = left != right
    starts = np.asarray(histories.offsets[1:-1])
    starts = starts[(starts > 0) & (starts < len(histories.items))]
    pairs[starts - 1] = False  # the last item of a user and the first of the next
    if not pairs.any():
        return None, None
    together = float((values[left[pairs]] == values[right[pairs]]).mean())
    shares = counts / counts.sum()
    same_item = float((shares**2).sum())
    same_code = [float((np.bincount(book, weights=shares) ** 2).sum()) for book in values.T]
    return together, float((np.mean(same_code) - same_item) / (1 - same_item))


def _rank_correlation(first: np.ndarray, second: np.ndarray) -> float | None:
    """Spearman's, equal values at the mean of their ranks."""
    ranks = []
    for values in (first, second):
        _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
        if len(counts) < 2:
            return None
        ranks.append((np.cumsum(counts) - (counts - 1) / 2)[place])
    return float(np.asarray(np.corrcoef(np.stack(ranks)))[0, 1])
