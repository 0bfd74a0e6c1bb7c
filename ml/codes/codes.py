"""Codes of a catalogue: for each item a short tuple of small integers, one of each code book.

Codes are saved on their own, since many models are built on the same ones, and since they belong to a model as its
weights do: other codes make a trained model meaningless.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ml.data.files import whole

if TYPE_CHECKING:
    from ml.data.training_set import Sequences, TrainingSet

CODES_PER_BOOK = 256
LARGEST_BOOK = 1 << 16
FORMAT = "raw2rank-codes-2"
# books of 256 codes alone
_FIRST_FORMAT = "raw2rank-codes-1"


@dataclass(frozen=True)
class Codes:
    """Codes of all items.

    Attributes:
        values: the code of each item in each book, ``[items, books]``: uint8 where no book is larger than 256, else
            uint16.
        method: how they were assigned, with the settings of the method, and ``book_sizes`` where these are not all 256
            (see :func:`described_books`).
        report: quality of the assignment, see :func:`quality_report`.
    """

    values: np.ndarray
    method: dict[str, Any]
    report: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.values.ndim != 2 or self.values.dtype not in (np.uint8, np.uint16):
            raise ValueError(
                f"codes are uint8 or uint16 [items, books], not {self.values.dtype} of shape {list(self.values.shape)}"
            )
        if len(self.book_sizes) != self.books:
            raise ValueError(f"{len(self.book_sizes)} book_sizes for codes of {self.books} books")
        if self.values.dtype != code_type(self.book_sizes):
            raise ValueError(f"codes of books of {max(self.book_sizes)} are not {self.values.dtype}")
        if self.items and (self.values.max(axis=0) >= np.array(self.book_sizes)).any():
            raise ValueError(f"there are codes that are not below their book_sizes, {list(self.book_sizes)}")

    @property
    def items(self) -> int:
        return self.values.shape[0]

    @property
    def books(self) -> int:
        return self.values.shape[1]

    @property
    def book_sizes(self) -> tuple[int, ...]:
        """Codes of each book; an item's code is below it."""
        return tuple(self.method.get("book_sizes", [CODES_PER_BOOK] * self.books))

    def digest(self) -> str:
        """SHA-256 over shape, book sizes and values: equal codes, equal digest, however they were assigned."""
        # that of books of 256 is the same in both formats, so that models trained on them stay valid
        digest = hashlib.sha256(f"{_FIRST_FORMAT} {self.values.shape}".encode())
        if set(self.book_sizes) - {CODES_PER_BOOK}:
            digest.update(f" {self.book_sizes}".encode())
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
            if description["format"] not in (FORMAT, _FIRST_FORMAT):
                raise ValueError(f"it holds {description['format']}, this version reads {FORMAT} and {_FIRST_FORMAT}")
            codes = cls(np.load(folder / "codes.npy", allow_pickle=False), description["method"], description["report"])
            if codes.digest() != description["digest"]:
                raise ValueError("codes.npy does not hold the codes that codes.json describes")
            return codes


def sizes_of(books: int | Sequence[int]) -> tuple[int, ...]:
    """The number of codes of each book, of a number of books of 256 or of the sizes themselves."""
    return (CODES_PER_BOOK,) * books if isinstance(books, int) else tuple(books)


def code_type(book_sizes: Sequence[int]) -> type[np.uint8] | type[np.uint16]:
    """The type that holds the codes of books of these sizes."""
    return np.uint8 if max(book_sizes, default=0) <= CODES_PER_BOOK else np.uint16


def described_books(book_sizes: Sequence[int]) -> dict[str, Any]:
    """The books as a part of ``Codes.method``: how many, and their sizes where these are not all 256."""
    usual = all(size == CODES_PER_BOOK for size in book_sizes)
    return {"books": len(book_sizes)} | ({} if usual else {"book_sizes": list(book_sizes)})


def check_assignable(training_set: TrainingSet, book_sizes: Sequence[int]) -> None:
    """Check that codes can be assigned at all.

    Raises:
        ValueError: there is no book, a book has no code or too many, or the training histories are empty.
    """
    if not book_sizes:
        raise ValueError("books must be at least 1")
    if not all(1 <= size <= LARGEST_BOOK for size in book_sizes):
        raise ValueError(f"books must have from 1 to {LARGEST_BOOK:,} codes, not {list(book_sizes)}")
    if len(training_set.train.items) == 0:
        raise ValueError(f"the training histories of {training_set.dataset} are empty: no codes can be assigned")


def quality_report(values: np.ndarray, histories: Sequences, book_sizes: Sequence[int] | None = None) -> dict[str, Any]:
    """How well an assignment spreads the items, and what it knows of them.

    Args:
        values: uint8 or uint16 ``[items, books]``.
        histories: the training histories.
        book_sizes: codes of each book; 256 where it is not given.

    Returns:
        JSON values.

        ``by_book``, for each book: the codes in use, the share of the book they are, the entropy of their use in
        bits (8 where all of 256 are used equally), the items of the fullest code, and Spearman's rank correlation
        between an item's code and its number of training interactions: near 1 or -1 where the book says little but how
        popular an item is; ``None`` where either is constant.

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
    for book, size in enumerate(book_sizes or [CODES_PER_BOOK] * books):
        counts = np.bincount(values[:, book], minlength=size)
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
