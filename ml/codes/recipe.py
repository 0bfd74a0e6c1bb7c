"""Recipes of codes: one TOML file each, in the folder ``codes`` beside the recipes of models, which name them."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

from ml.codes.codes import LARGEST_BOOK, check_assignable
from ml.codes.collisions import with_unique_codes
from ml.codes.quality import with_identifier_report
from ml.codes.registry import BOOK_SIZES, METHODS, TEXT, VECTORS, Method
from ml.codes.vectors import Trained, VectorPart, input_vectors
from ml.config import TableError, read_table, read_toml, take_choice, take_table

if TYPE_CHECKING:
    from ml.codes.codes import Codes
    from ml.data.training_set import TrainingSet

ALLOWED, RESOLVED = "allowed", "resolved"
CODES_RECIPES = Path(__file__).parents[1] / "recipes" / "codes"


@dataclass(frozen=True)
class CodesRecipe:
    """How the items get their codes.

    Attributes:
        name: name of the file without its ending, by which recipes of models ask for the codes.
        title: for tables.
        description: which items get like codes, in a sentence or two.
        source: the paper, and where values differ from it.
        method_name: key of :data:`ml.codes.registry.METHODS`.
        method: options of the method.
        book_sizes: codes of each book; empty where the method decides that itself.
        vectors: what is quantised, end to end; empty where the method takes no vectors.
        seed_offset: added to the seed of the run, so that recipes of one method can differ.
        collisions: ``allowed``, or ``resolved``: every item has an identifier of its own
            (:mod:`ml.codes.collisions`), for models that generate them.
    """

    name: str
    title: str
    description: str
    source: str
    method_name: str
    method: Method
    book_sizes: tuple[int, ...]
    vectors: tuple[VectorPart, ...]
    seed_offset: int
    collisions: str = ALLOWED

    def as_tables(self) -> dict[str, Any]:
        """The recipe as the tables of its file, for JSON."""
        tables = {
            "title": self.title,
            "description": self.description,
            "source": self.source,
            "book_sizes": self.book_sizes,
            "seed_offset": self.seed_offset,
            "collisions": self.collisions,
            # a method's settings are a dataclass, which a protocol cannot say
            "method": {"name": self.method_name, **asdict(cast(Any, self.method))},
            "vectors": [asdict(part) for part in self.vectors],
        }
        return json.loads(json.dumps(tables))

    def digest(self) -> str:
        """SHA-256 of what decides the codes besides the data and the seed: not of title, description and source."""
        tables = self.as_tables()
        for words in ("title", "description", "source"):
            del tables[words]
        # recipes of before this key was there keep their digest
        if self.collisions == ALLOWED:
            del tables["collisions"]
        return hashlib.sha256(json.dumps(tables, sort_keys=True).encode()).hexdigest()

    @property
    def module(self) -> str:
        """Dotted name of the module that assigns the codes."""
        return METHODS[self.method_name].module

    @property
    def modules(self) -> list[str]:
        """Dotted names of all modules whose code decides the codes, besides what these import."""
        vectors = ["ml.codes.vectors"] if self.vectors else []
        collisions = ["ml.codes.collisions"] if self.collisions == RESOLVED else []
        return ["ml.codes.codes", self.module, *vectors, *collisions]

    @property
    def needs_text(self) -> bool:
        """Whether the item text or the vectors of it are read, where there are any."""
        return TEXT in METHODS[self.method_name].needs or any(part.of == "text" for part in self.vectors)

    @property
    def needs_recipes(self) -> tuple[str, ...]:
        """Recipes of models whose trained item vectors are read."""
        return tuple(dict.fromkeys(part.recipe for part in self.vectors if part.recipe))

    def assign(self, training_set: TrainingSet, seed: int = 0, trained: Trained | None = None) -> Codes:
        """Assign the codes now.

        Args:
            training_set: whose items get codes, with item text where :attr:`needs_text`; otherwise codes are the same
                with and without. Held-out targets are not read.
            seed: of the run.
            trained: from the name of one of :attr:`needs_recipes` to the vectors of its items.

        Raises:
            ValueError: no codes can be assigned: the training histories are empty, the item text or the vectors of a
                trained recipe are missing, or too many items share one identifier.
        """
        check_assignable(training_set)
        seed += self.seed_offset
        # text that others asked for decides nothing of these codes
        read = training_set if self.needs_text else replace(training_set, item_text=None)
        vectors = input_vectors(read, self.vectors, seed, trained) if self.vectors else None
        codes = self.method.assign(training_set, self.book_sizes, seed, vectors)
        if self.collisions == RESOLVED:
            codes = with_unique_codes(codes, training_set)
        # what it holds of the vectors is not needed any more
        codes = replace(codes, last_distances=None)
        return with_identifier_report(codes, training_set, vectors)


@dataclass(frozen=True)
class _Top:
    """The keys at the top of a recipe of codes."""

    title: str
    description: str
    source: str
    book_sizes: tuple[int, ...] = ()
    seed_offset: int = 0
    collisions: Literal["allowed", "resolved"] = "allowed"

    def __post_init__(self) -> None:
        for size in self.book_sizes:
            if not 1 <= size <= LARGEST_BOOK:
                raise ValueError(f"book_sizes must be from 1 to {LARGEST_BOOK:,}, not {size}")
        if self.seed_offset < 0:
            raise ValueError(f"seed_offset must not be negative, not {self.seed_offset}")


def load_codes_recipe(path: Path) -> CodesRecipe:
    """Read and check one recipe of codes.

    Raises:
        TableError: the file is not TOML, or a key is missing, unknown, of the wrong type or out of range.
    """
    where, tables = str(path), read_toml(path)
    method_table = take_table(tables, "method", where)
    method_name = take_choice(method_table, "name", METHODS, where, "method.")
    parts = tables.pop("vectors", [])
    if not isinstance(parts, list) or not all(isinstance(part, dict) for part in parts):
        raise TableError(f"{where}: vectors must be a list of tables, each under [[vectors]]")
    top = read_table(_Top, tables, where, "")
    needs = METHODS[method_name].needs
    for key, given in ((BOOK_SIZES, top.book_sizes), (VECTORS, parts)):
        if given and key not in needs:
            raise TableError(f"{where}: the method {method_name} takes no {key}; remove them")
        if not given and key in needs:
            raise TableError(f"{where}: the method {method_name} needs {key}, and the recipe gives none")
    return CodesRecipe(
        name=path.stem,
        title=top.title,
        description=top.description,
        source=top.source,
        method_name=method_name,
        method=read_table(METHODS[method_name].resolve(), method_table, where, "method."),
        book_sizes=top.book_sizes,
        vectors=tuple(read_table(VectorPart, dict(part), where, "vectors.") for part in parts),
        seed_offset=top.seed_offset,
        collisions=top.collisions,
    )


def load_codes_recipes(folder: Path = CODES_RECIPES) -> dict[str, CodesRecipe]:
    """All recipes of codes of a folder (``*.toml``) by name, in the order of names; none where there is no folder.

    Raises:
        TableError: one of the files is wrong; the message names it and the key.
    """
    return {path.stem: load_codes_recipe(path) for path in sorted(folder.glob("*.toml"))}
