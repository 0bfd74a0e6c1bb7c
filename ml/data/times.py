"""The times of a training set's interactions, kept apart from its sequences, which most recommenders read alone.

Needs numpy alone to be loaded, as training sets do.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np

from ml.data.files import whole
from ml.data.sequences import Sequences
from ml.data.training_set import TrainingSet

FORMAT = "raw2rank-times-1"
FILE = "times.json"
# gaps that are the same, of all gaps: so many are found where someone has made the times up from the order
_SAME_GAP = 0.99


@dataclass(frozen=True)
class Times:
    """When each interaction of a training set took place, in seconds since 1970; all arrays are int64.

    Attributes:
        train: of the training histories, users end to end as in ``TrainingSet.train``, ``[train interactions]``.
        validation: of the validation targets, ``[validation cases]``. A model that is tested reads them as a part of
            the test histories.
        before_validation: of ``TrainingSet.before_validation``.
        before_test: of ``TrainingSet.before_test``, of every test case, measured or not.

    Times of test targets are not held, so that no model can read them.
    """

    train: np.ndarray
    validation: np.ndarray
    before_validation: np.ndarray
    before_test: np.ndarray

    def added_to(self, training_set: TrainingSet) -> TrainingSet:
        """The training set with these times in its histories.

        Raises:
            ValueError: they are not of this training set.
        """
        lengths = _lengths_of(training_set)
        for name, expected in lengths.items():
            found = len(getattr(self, name))
            if found != expected:
                raise ValueError(
                    f"{found} times ({name}) for {expected} interactions of {training_set.dataset}: make the times "
                    "again from the same splits as the training set"
                )
        every = training_set.with_every_test_case()
        timed = every.with_times(self.train, self.validation, self.before_validation, self.before_test)
        return timed if every is training_set else timed.measured_on(training_set.test_users)

    def digest(self) -> str:
        """SHA-256 over the arrays."""
        digest = hashlib.sha256(FORMAT.encode())
        for field in fields(self):
            array = np.ascontiguousarray(getattr(self, field.name))
            digest.update(f"{field.name} {array.dtype.str} {array.shape}".encode())
            digest.update(array.data)
        return digest.hexdigest()


def _lengths_of(training_set: TrainingSet) -> dict[str, int]:
    before_test = training_set.with_every_test_case().before_test
    between = {"before_validation": training_set.before_validation, "before_test": before_test}
    return {
        "train": len(training_set.train.items),
        "validation": len(training_set.validation_users),
        **{name: 0 if rows is None else len(rows.items) for name, rows in between.items()},
    }


def build_times(splits: Path, training_set: TrainingSet) -> Times | None:
    """The times of a training set's interactions; ``None`` where the source does not give a time for each.

    Args:
        splits: the Parquet file that the training set was built from, with ``timestamp`` (seconds since 1970 or null).
        training_set: built from it.

    Raises:
        ValueError: the training set was built from other splits.
    """
    # these need DuckDB, which loading does not
    from ml.data.build_training_set import SPLITS, divided
    from ml.data.database import connect

    with connect() as connection:
        connection.register("splits", connection.read_parquet(str(splits), hive_partitioning=False))
        columns = connection.execute(
            """
            select
                (dense_rank() over (order by user_id) - 1)::integer as user_index,
                (list_position(?, split) - 1)::utinyint as split,
                timestamp::bigint as timestamp
            from splits
            order by user_index, position
            """,
            [list(SPLITS)],
        ).fetchnumpy()
    if np.ma.getmaskarray(columns["timestamp"]).any():
        return None
    users, times = np.asarray(columns["user_index"]), np.asarray(columns["timestamp"]).astype(np.int64)
    # the items are the training set's own, and not looked at
    parts = divided(users, np.zeros_like(users), np.asarray(columns["split"]), training_set.users, times)
    found = Times(
        parts["train"].times,
        parts["validation_times"],
        parts["before_validation"].times,
        parts["before_test"].times,
    )
    found.added_to(training_set)
    return found


def times_of_everything(splits: Path, training_set: TrainingSet) -> np.ndarray | None:
    """The times of all interactions, users end to end, int64 ``[interactions]``; ``None`` where one has none.

    For lists of a release alone: those of test targets are among them, which a training set does not hold, so that no
    model that is measured can read them.

    Args:
        splits: the Parquet file that the training set was built from.
        training_set: built from it.

    Raises:
        ValueError: the training set was built from other splits.
    """
    from ml.data.database import connect

    with connect() as connection:
        connection.register("splits", connection.read_parquet(str(splits), hive_partitioning=False))
        times = connection.execute(
            "select timestamp::bigint as timestamp from splits order by user_id, position"
        ).fetchnumpy()["timestamp"]
    if np.ma.getmaskarray(times).any():
        return None
    expected = len(training_set.with_everything_trained_on().train.items)
    if len(times) != expected:
        raise ValueError(
            f"{len(times)} times for {expected} interactions of {training_set.dataset}: make the training set again "
            "from the same splits"
        )
    return np.asarray(times).astype(np.int64)


def save_times(folder: Path, times: Times | None, training_set: TrainingSet) -> None:
    """Write ``times.json`` and one ``.npy`` file an array into an existing folder; the first alone for ``None``."""
    if times is not None:
        for field in fields(times):
            np.save(folder / f"{field.name}.npy", getattr(times, field.name), allow_pickle=False)
    description = {
        "format": FORMAT,
        "training_set": training_set.digest(),
        "digest": None if times is None else times.digest(),
    }
    (folder / FILE).write_text(json.dumps(description, indent=2) + "\n")


def load_times(folder: Path, training_set: TrainingSet) -> TrainingSet:
    """The training set with the times that :func:`save_times` wrote; as it is where the source has none.

    Raises:
        DamagedFile: not all of it is there, or not as it was written, or the times are of another training set.
    """
    with whole(folder):
        description = json.loads((folder / FILE).read_text())
        if description["format"] != FORMAT:
            raise ValueError(f"it holds {description['format']}, this version reads {FORMAT}")
        if description["training_set"] != training_set.digest():
            raise ValueError(f"its times are of another training set than {training_set.dataset}")
        if description["digest"] is None:
            return training_set
        arrays = {
            field.name: np.load(folder / f"{field.name}.npy", mmap_mode="r", allow_pickle=False)
            for field in fields(Times)
        }
        return Times(**arrays).added_to(training_set)


def check_times(training_set: TrainingSet) -> None:
    """Check that a model that reads times can be trained.

    Raises:
        ValueError: there are no times, or they were made up.
    """
    if training_set.train.times is None:
        raise ValueError(
            f"this model reads the times of interactions, and {training_set.dataset} has none, or was loaded without "
            "them: see ml.data.times.load_times, and the option --times of python -m ml.training"
        )
    if (reason := why_not_real(training_set.train)) is not None:
        raise ValueError(
            f"this model reads the times of interactions, and those of {training_set.dataset} say nothing: {reason}"
        )


def times_digest(sequences: Sequences) -> str | None:
    """SHA-256 over the times of some sequences; ``None`` where they have none."""
    if sequences.times is None:
        return None
    return hashlib.sha256(np.ascontiguousarray(sequences.times, dtype=np.int64).data).hexdigest()


def why_not_real(sequences: Sequences) -> str | None:
    """Why the times of some histories say nothing but the order of their items; ``None`` for real times.

    Times of whole days with many ties are real: people rate several items a day. Refused are times that follow from
    the place of an interaction, as they are where someone needed a column of times and had the order alone.

    Returns:
        What is wrong, to go on "… cannot be trained on times: ".
    """
    times = sequences.times
    if times is None:
        return "the interactions have no times"
    lengths = np.asarray(sequences.lengths)
    gaps = np.diff(np.asarray(times))
    starts_a_row = np.zeros(len(times), dtype=bool)
    starts_a_row[np.asarray(sequences.offsets[:-1])[lengths > 0]] = True
    gaps = gaps[~starts_a_row[1:]]
    if len(gaps) == 0:
        return "no user has two interactions, so there are no gaps between times"
    if not gaps.any():
        return "all interactions of each user have the same time"
    values, counts = np.unique(gaps, return_counts=True)
    commonest = int(values[counts.argmax()])
    if commonest != 0 and counts.max() >= _SAME_GAP * len(gaps):
        return (
            f"{counts.max() / len(gaps):.0%} of the gaps between the interactions of a user are {commonest} seconds, "
            "so the times were made up from the order"
        )
    places = np.arange(len(times)) - np.repeat(np.asarray(sequences.offsets[:-1]), lengths)
    first = np.full(int(lengths.max()), np.iinfo(np.int64).min)
    # of several users at a place the last one written is compared with all of them
    first[places] = times
    if np.count_nonzero(lengths) > 1 and np.array_equal(first[places], np.asarray(times)):
        return "the k-th interaction of every user has the same time, so the times were made up from the order"
    return None
