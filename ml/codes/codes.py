"""Codes of a catalogue: for each item a short tuple of small integers, one of each code book.

Codes are saved on their own, since many models are built on the same ones, and since they belong to a model as its
weights do: other codes make a trained model meaningless.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ml.codes.trie import Trie
from ml.data.files import sha256_of_file, whole
from ml.extras import require

if TYPE_CHECKING:
    from ml.data.training_set import TrainingSet

CODES_PER_BOOK = 256
LARGEST_BOOK = 1 << 16
FORMAT = "raw2rank-codes-2"
# books of 256 codes alone
_FIRST_FORMAT = "raw2rank-codes-1"
_CENTROIDS = "centroids.safetensors"
# the codes before collisions were resolved
VALUES_BEFORE = "codes_before.npy"


@dataclass(frozen=True)
class Codes:
    """Codes of all items.

    Attributes:
        values: the code of each item in each book, ``[items, books]``: uint8 where no book is larger than 256, else
            uint16.
        method: how they were assigned, with the settings of the method, and ``book_sizes`` where these are not all 256
            (see :func:`described_books`).
        report: quality of the assignment, see :mod:`ml.codes.quality`.
        centroids: of methods that quantise vectors, for each book the vectors of its codes, float32
            ``[codes, dimensions]``, with at most as many codes as the book; there are none for a further book that only
            numbers the items of a collision. ``method["centroids"]`` names how they add up to the vector of an item.
            They do not change the :meth:`digest`.
        last_distances: of methods that quantise vectors, a function from items (int64 ``[n]``) to their squared
            distances from the codes of the last book, float64 ``[n, codes]``; collisions are resolved by it. Not saved.
        values_before: where collisions were resolved, the codes before, ``[items, books]`` with as many books or one
            less; read by the report alone, and no part of the :meth:`digest`.
    """

    values: np.ndarray
    method: dict[str, Any]
    report: dict[str, Any] = field(default_factory=dict)
    centroids: tuple[np.ndarray, ...] = ()
    last_distances: Callable[[np.ndarray], np.ndarray] | None = field(default=None, repr=False, compare=False)
    values_before: np.ndarray | None = field(default=None, repr=False, compare=False)

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
        if self.centroids and len(self.centroids) not in (self.books, self.books - 1):
            raise ValueError(f"centroids of {len(self.centroids)} books for codes of {self.books} books")
        for book, centroids in enumerate(self.centroids):
            if centroids.ndim != 2 or centroids.dtype != np.float32 or len(centroids) > self.book_sizes[book]:
                raise ValueError(
                    f"the centroids of book {book} must be float32 [at most {self.book_sizes[book]}, dimensions], not "
                    f"{centroids.dtype} of shape {list(centroids.shape)}"
                )

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
        """Write ``codes.npy`` and ``codes.json`` into an existing folder, ``centroids.safetensors`` where there are
        any, and ``trie.npz`` (:mod:`ml.codes.trie`) and ``codes_before.npy`` where collisions were resolved.

        Raises:
            MissingExtra: there are centroids, and safetensors is not installed.
        """
        centroids = folder / _CENTROIDS
        if self.centroids:
            require("train", "saving the centroids of codes", ("safetensors",))
            from safetensors.numpy import save_file

            arrays = {str(book): np.ascontiguousarray(array) for book, array in enumerate(self.centroids)}
            save_file(arrays, centroids)
        np.save(folder / "codes.npy", self.values, allow_pickle=False)
        if self.method.get("collisions") == "resolved":
            Trie.of(self.values).save(folder)
        if self.values_before is not None:
            np.save(folder / VALUES_BEFORE, self.values_before, allow_pickle=False)
        description = {
            "format": FORMAT,
            "items": self.items,
            "books": self.books,
            "method": self.method,
            "report": self.report,
            "digest": self.digest(),
        }
        if self.centroids:
            description["centroids"] = {"books": len(self.centroids), "sha256": sha256_of_file(centroids)}
        (folder / "codes.json").write_text(json.dumps(description, indent=2) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> Codes:
        """Read what :meth:`save` wrote.

        Raises:
            DamagedFile: the folder holds another format, or the arrays are not those that were described.
            MissingExtra: there are centroids, and safetensors is not installed.
        """
        if (folder / _CENTROIDS).exists():
            require("train", f"reading {folder / _CENTROIDS}", ("safetensors",))
        with whole(folder):
            description = json.loads((folder / "codes.json").read_text(encoding="utf-8"))
            if description["format"] not in (FORMAT, _FIRST_FORMAT):
                raise ValueError(f"it holds {description['format']}, this version reads {FORMAT} and {_FIRST_FORMAT}")
            values = np.load(folder / "codes.npy", allow_pickle=False)
            centroids = _load_centroids(folder, description["centroids"]) if "centroids" in description else ()
            before = folder / VALUES_BEFORE
            values_before = np.load(before, allow_pickle=False) if before.exists() else None
            codes = cls(values, description["method"], description["report"], centroids, values_before=values_before)
            if codes.digest() != description["digest"]:
                raise ValueError("codes.npy does not hold the codes that codes.json describes")
            return codes


def _load_centroids(folder: Path, described: dict[str, Any]) -> tuple[np.ndarray, ...]:
    from safetensors.numpy import load_file

    if sha256_of_file(folder / _CENTROIDS) != described["sha256"]:
        raise ValueError(f"{_CENTROIDS} does not hold the centroids that codes.json describes")
    arrays = load_file(folder / _CENTROIDS)
    return tuple(arrays[str(book)] for book in range(described["books"]))


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


def check_assignable(training_set: TrainingSet, book_sizes: Sequence[int] | None = None) -> None:
    """Check that codes can be assigned at all.

    Args:
        training_set: whose items get codes.
        book_sizes: codes of each book; ``None`` where the method decides that itself.

    Raises:
        ValueError: there is no book, a book has no code or too many, or the training histories are empty.
    """
    if book_sizes is not None and not book_sizes:
        raise ValueError("books must be at least 1")
    if book_sizes is not None and not all(1 <= size <= LARGEST_BOOK for size in book_sizes):
        raise ValueError(f"books must have from 1 to {LARGEST_BOOK:,} codes, not {list(book_sizes)}")
    if len(training_set.train.items) == 0:
        raise ValueError(f"the training histories of {training_set.dataset} are empty: no codes can be assigned")
