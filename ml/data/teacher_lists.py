"""Teacher lists: what a fitted recommender lists for sub-histories of the training users, for a student to learn from.

A sub-history is the start of a user's training history, written down as places in the flat items of the training
histories. Lists may come at several trade-offs: the teacher's own list at 0, and the same candidates re-ranked towards
a goal above that. :mod:`ml.teaching` makes them, and the task ``teacher_lists`` trains on them.

Making and reading them in memory needs numpy alone; the files are Parquet and need pyarrow.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from ml.data.files import whole
from ml.data.sequences import Sequences
from ml.data.training_set import FIT_ON_BOTH, FIT_ON_TRAIN, TrainingSet

FORMAT = "raw2rank-teacher-lists-1"
_DESCRIPTION = "teacher_lists.json"
# a teacher that was fitted on the validation items too teaches the final fit of its student alone
_FILES = {FIT_ON_TRAIN: "lists.parquet", FIT_ON_BOTH: "lists_of_final_fit.parquet"}


@dataclass(frozen=True)
class ListTable:
    """The lists of one fit of the teacher.

    Attributes:
        users: user index of each sub-history, int32 ``[rows]``, ascending.
        starts: where it starts in the flat items of the training histories, int64 ``[rows]``.
        ends: where it ends, the place after its last item, int64 ``[rows]``.
        tradeoffs: the trade-offs of the lists of each sub-history, ascending.
        items: the lists, int32 ``[rows, trade-offs, depth]``; -1 (``ml.recommender.NO_ITEM``) fills those of a
            small catalogue.
        scores: the teacher's own scores of the listed items, float32, of the same shape; ``-inf`` beside -1.
        histories_digest: :func:`histories_digest` of the training histories.

    Raises:
        ValueError: the arrays do not fit together.
    """

    users: np.ndarray
    starts: np.ndarray
    ends: np.ndarray
    tradeoffs: tuple[float, ...]
    items: np.ndarray
    scores: np.ndarray
    histories_digest: str

    def __post_init__(self) -> None:
        rows = len(self.users)
        if not len(self.starts) == len(self.ends) == len(self.items) == len(self.scores) == rows:
            raise ValueError("users, places, items and scores differ in their number of rows")
        if self.items.ndim != 3 or self.items.shape[1] != len(self.tradeoffs) or self.items.shape != self.scores.shape:
            raise ValueError(
                f"{len(self.tradeoffs)} tradeoffs, items of shape {list(self.items.shape)} and scores of shape "
                f"{list(self.scores.shape)} do not fit together"
            )
        if (np.diff(self.users) < 0).any():
            raise ValueError("the rows are not in the order of their users")
        if not (self.starts < self.ends).all():
            raise ValueError("there is a sub-history without an item")

    def __len__(self) -> int:
        return len(self.users)

    @property
    def depth(self) -> int:
        """Items of a list, at most."""
        return self.items.shape[2]

    def histories(self, training_set: TrainingSet) -> Sequences:
        """The sub-histories, a row each.

        Args:
            training_set: as the teacher was fitted on it (``TrainingSet.to_fit_on``).

        Raises:
            ValueError: the lists were made for other training histories.
        """
        if self.histories_digest != histories_digest(training_set):
            raise ValueError(
                f"these teacher lists were made for other training histories than those of {training_set.dataset}: "
                "make them again for this training set"
            )
        return sub_histories(training_set.train, self.users, self.starts, self.ends)

    def rows_of_epoch(self, generator: np.random.Generator) -> np.ndarray:
        """One sub-history of each user that has any, each with the same probability; int64, ascending."""
        _, first, counts = np.unique(self.users, return_index=True, return_counts=True)
        return first + (generator.random(len(first)) * counts).astype(np.int64)

    def digest(self) -> str:
        """SHA-256 over all arrays and trade-offs."""
        digest = hashlib.sha256(json.dumps([FORMAT, self.tradeoffs, list(self.items.shape)]).encode())
        for array in (self.users, self.starts, self.ends, self.items, self.scores):
            digest.update(f"{array.dtype.str} {array.shape}".encode())
            digest.update(np.ascontiguousarray(array).data)
        return digest.hexdigest()

    def save(self, path: Path) -> None:
        """Write a Parquet file of one row a sub-history and trade-off: ``user_index``, ``start``, ``end``,
        ``tradeoff``, ``items`` and ``scores``."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        levels = len(self.tradeoffs)
        flat = {
            "user_index": np.repeat(self.users, levels),
            "start": np.repeat(self.starts, levels),
            "end": np.repeat(self.ends, levels),
            "tradeoff": np.tile(np.array(self.tradeoffs, dtype=np.float64), len(self)),
        }
        columns = {name: pa.array(values) for name, values in flat.items()}
        for name, values in (("items", self.items), ("scores", self.scores)):
            columns[name] = pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), self.depth)
        pq.write_table(pa.table(columns), path, compression="zstd")

    @classmethod
    def load(cls, path: Path, tradeoffs: tuple[float, ...], digest_of_histories: str) -> ListTable:
        """Read what :meth:`save` wrote.

        Raises:
            ValueError: the file holds other columns, other trade-offs or lists without a value.
        """
        import pyarrow.parquet as pq

        table = pq.read_table(path)
        wanted = {"user_index": "int32", "start": "int64", "end": "int64", "tradeoff": "double"}
        wanted |= dict.fromkeys(("items", "scores"), "")
        found = {field.name: str(field.type) for field in table.schema}
        if found.keys() != wanted.keys() or any(kind and found[name] != kind for name, kind in wanted.items()):
            raise ValueError(f"its columns are {found}, and those of teacher lists are {', '.join(wanted)}")
        if any(column.null_count for column in table.columns):
            raise ValueError("there are values missing")
        levels = len(tradeoffs)
        if not levels or len(table) % levels:
            raise ValueError(f"{len(table)} rows are no multiple of {levels} trade-offs")
        column = {name: table[name].combine_chunks() for name in wanted}
        if not np.array_equal(column["tradeoff"].to_numpy(), np.tile(tradeoffs, len(table) // levels)):
            raise ValueError(f"its trade-offs are not {list(tradeoffs)} for each sub-history")
        lists = {}
        for name, kind in (("items", np.int32), ("scores", np.float32)):
            values = column[name].flatten().to_numpy()
            if values.dtype != kind:
                raise ValueError(f"{name} must be lists of {kind.__name__}, not of {values.dtype}")
            depth = column[name].type.list_size
            lists[name] = values.reshape(len(table) // levels, levels, depth)
        once = {name: column[name].to_numpy()[::levels] for name in ("user_index", "start", "end")}
        return cls(
            once["user_index"], once["start"], once["end"], tradeoffs, lists["items"], lists["scores"],
            digest_of_histories,
        )  # fmt: skip


@dataclass(frozen=True)
class TeacherLists:
    """The lists that a student is trained on.

    Attributes:
        name: of their recipe.
        teacher: name of the recommender that made them.
        goal: name of the goal that lists at a trade-off above 0 are re-ranked towards; ``None`` where there are none.
        exclude_seen: whether the lists leave out the items of their sub-histories.
        seed: of the sub-histories.
        tables: the lists by what the teacher was fitted on: of ``train``, for choosing when to stop; and of
            ``train+validation``, for a final fit on both, where there is one.
        goal_vectors: of the items, float32 ``[items, dimensions]``: what the goal is measured by on the training items,
            for the choice of a trade-off; ``None`` without a goal, and for one that is measured by values.
        goal_values: the same as values, float32 ``[items]``.
        teacher_validation_ndcg_at_10: of the teacher fitted on the training items alone, to compare the student with;
            ``None`` without validation users. It decides nothing.
    """

    name: str
    teacher: str
    goal: str | None
    exclude_seen: bool
    seed: int
    tables: Mapping[str, ListTable]
    goal_vectors: np.ndarray | None = None
    goal_values: np.ndarray | None = None
    teacher_validation_ndcg_at_10: float | None = None

    @property
    def tradeoffs(self) -> tuple[float, ...]:
        """The trade-offs of the lists of each sub-history, ascending."""
        return self.tables[FIT_ON_TRAIN].tradeoffs

    @property
    def depth(self) -> int:
        """Items of a list, at most."""
        return self.tables[FIT_ON_TRAIN].depth

    def of(self, fit_on: str) -> ListTable:
        """The lists of the teacher that was fitted on ``train`` or on ``train+validation``.

        Raises:
            ValueError: there are none.
        """
        if fit_on not in self.tables:
            raise ValueError(
                f"the teacher lists {self.name} are of a teacher fitted on {', '.join(self.tables)} alone, and the "
                f"final fit is on {fit_on}: make them again under the same setting"
            )
        return self.tables[fit_on]

    def digest(self) -> str:
        """SHA-256 of all lists, and of what the goal is measured by."""
        digest = hashlib.sha256(" ".join(self.tables[name].digest() for name in sorted(self.tables)).encode())
        for array in self._goal_arrays().values():
            digest.update(f"{array.dtype.str} {array.shape}".encode())
            digest.update(np.ascontiguousarray(array).data)
        return digest.hexdigest()

    def _goal_arrays(self) -> dict[str, np.ndarray]:
        arrays = {"goal_vectors": self.goal_vectors, "goal_values": self.goal_values}
        return {name: array for name, array in arrays.items() if array is not None}

    def described(self) -> dict[str, Any]:
        """As JSON, without the lists."""
        return {
            "name": self.name,
            "teacher": self.teacher,
            "tradeoffs": list(self.tradeoffs),
            "goal": self.goal,
            "exclude_seen": self.exclude_seen,
            "seed": self.seed,
            "teacher_validation_ndcg_at_10": self.teacher_validation_ndcg_at_10,
        }

    def save(self, folder: Path) -> None:
        """Write ``teacher_lists.json``, a Parquet file for each fit of the teacher, and what the goal is measured by as
        an ``.npy`` file, into an existing folder."""
        for name, array in self._goal_arrays().items():
            np.save(folder / f"{name}.npy", array, allow_pickle=False)
        for fit_on, table in self.tables.items():
            table.save(folder / _FILES[fit_on])
        fits = {
            fit_on: {"digest": table.digest(), "histories_digest": table.histories_digest}
            for fit_on, table in self.tables.items()
        }
        description = {"format": FORMAT, **self.described(), "fits": fits, "digest": self.digest()}
        (folder / _DESCRIPTION).write_text(json.dumps(description, indent=2) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> TeacherLists:
        """Read what :meth:`save` wrote.

        Raises:
            DamagedFile: a file is missing or damaged, or does not hold the lists that were described.
            ModuleNotFoundError: pyarrow is not installed, as on a host that trains alone.
        """
        if find_spec("pyarrow") is None:
            raise ModuleNotFoundError(f"{folder}: reading teacher lists needs pyarrow: pip install pyarrow")
        with whole(folder):
            description = json.loads((folder / _DESCRIPTION).read_text(encoding="utf-8"))
            if description["format"] != FORMAT:
                raise ValueError(f"it holds {description['format']}, this version reads {FORMAT}")
            tradeoffs = tuple(description["tradeoffs"])
            tables = {}
            for fit_on, known in description["fits"].items():
                tables[fit_on] = ListTable.load(folder / _FILES[fit_on], tradeoffs, known["histories_digest"])
                if tables[fit_on].digest() != known["digest"]:
                    raise ValueError(f"{_FILES[fit_on]} does not hold the lists that {_DESCRIPTION} describes")
            arrays = {
                name: np.load(folder / f"{name}.npy", allow_pickle=False)
                for name in ("goal_vectors", "goal_values")
                if (folder / f"{name}.npy").exists()
            }
            loaded = cls(
                **arrays,
                name=description["name"],
                teacher=description["teacher"],
                goal=description["goal"],
                exclude_seen=description["exclude_seen"],
                seed=description["seed"],
                tables=tables,
                teacher_validation_ndcg_at_10=description["teacher_validation_ndcg_at_10"],
            )
            if loaded.digest() != description["digest"]:
                raise ValueError(f"the files of the goal are not those that {_DESCRIPTION} describes")
            return loaded


def file_of(fit_on: str) -> str:
    """Name of the Parquet file with the lists of the teacher that was fitted on ``train`` or ``train+validation``."""
    return _FILES[fit_on]


def is_teacher_lists(folder: Path) -> bool:
    """Whether a folder holds teacher lists."""
    return (folder / _DESCRIPTION).is_file()


def histories_digest(training_set: TrainingSet) -> str:
    """SHA-256 of the catalogue and of the training histories; held-out targets are not part of it."""
    digest = hashlib.sha256()
    for array in (training_set.item_ids, training_set.train.items, training_set.train.offsets):
        digest.update(f"{array.dtype.str} {array.shape}".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def sub_histories(train: Sequences, users: np.ndarray, starts: np.ndarray, ends: np.ndarray) -> Sequences:
    """Parts of the training histories, a row each, with times where the histories have them.

    Args:
        train: the training histories.
        users: user index of each part, int ``[rows]``.
        starts: where each part starts in the flat items, int64 ``[rows]``.
        ends: the place after its last item, int64 ``[rows]``.
    """
    lengths = ends - starts
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    places = np.repeat(starts - offsets[:-1], lengths) + np.arange(offsets[-1])
    times = None if train.times is None else np.asarray(train.times[places], dtype=np.int64)
    return Sequences(np.asarray(train.items[places], dtype=np.int32), offsets, np.asarray(users, dtype=np.int32), times)
