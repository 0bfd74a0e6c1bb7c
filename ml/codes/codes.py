"""A code assignment: for each item of the catalogue a short tuple of integers below 256.

Assignments are artefacts of their own, since many models are built on one, and since they belong to a model
as its weights do: another assignment makes a trained model meaningless.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

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
            ValueError: the folder holds another format, or the arrays are not those that were described.
        """
        description = json.loads((folder / "codes.json").read_text(encoding="utf-8"))
        if description["format"] != FORMAT:
            raise ValueError(f"{folder} holds {description['format']}, this version reads {FORMAT}")
        codes = cls(np.load(folder / "codes.npy", allow_pickle=False), description["method"], description["report"])
        if codes.digest() != description["digest"]:
            raise ValueError(f"{folder / 'codes.npy'} does not hold the codes that codes.json describes")
        return codes


def quality_report(values: np.ndarray, training_counts: np.ndarray) -> dict[str, Any]:
    """How well an assignment spreads the items.

    Args:
        values: uint8 ``[items, books]``.
        training_counts: interactions of each item in the training histories, int64 ``[items]``.

    Returns:
        JSON values: for each book the codes in use, the share of 256 they are, the entropy of their use in
        bits (8 where all are used equally) and the items of the fullest code; the number of distinct tuples,
        of items that share their tuple with another, the largest group of such items, and of items that are
        in no training history, about which the assignment knows nothing.
    """
    items, books = values.shape
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
            }
        )
    groups = np.unique(values, axis=0, return_counts=True)[1] if items else np.zeros(0, dtype=np.int64)
    return {
        "items": items,
        "books": books,
        "by_book": by_book,
        "distinct_codes": len(groups),
        "items_in_collisions": int(groups[groups > 1].sum()),
        "largest_collision": int(groups.max(initial=0)),
        "items_never_seen_in_training": int((training_counts == 0).sum()),
    }
