"""The kept interactions with time, source line and number of copies, which the training set does not hold."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ml.data.build_training_set import SPLITS
from ml.data.database import connect
from ml.data.training_set import TrainingSet


@dataclass(frozen=True)
class Interactions:
    """Every interaction of a dataset, user by user in the order of its split; all arrays ``[interactions]``.

    Attributes:
        users: user index, int32, ascending.
        items: item index, int32.
        splits: ``train``, ``history``, ``validation``, ``test`` or ``unused``, as numbers of :data:`SPLITS`, uint8.
        moments: milliseconds since 1970, int64; :data:`NO_TIME` where the source has no time.
        lines: place in the dump, files in the order in which the source names them, int64.
        ratings: float32, NaN where there is none.
        duplicates: further rows of the dump that said exactly the same, int64.
        has_given_order: whether the order came with the source, so that no rule of ours decided a tie.
        has_given_split: whether the split came with the source.
    """

    users: np.ndarray
    items: np.ndarray
    splits: np.ndarray
    moments: np.ndarray
    lines: np.ndarray
    ratings: np.ndarray
    duplicates: np.ndarray
    has_given_order: bool = False
    has_given_split: bool = False

    def __len__(self) -> int:
        return len(self.users)

    @property
    def has_times(self) -> bool:
        """Whether every interaction has a time."""
        return bool(len(self.moments)) and bool((self.moments != NO_TIME).all())

    def split_is(self, name: str) -> np.ndarray:
        """Which interactions are of a split, bool ``[interactions]``."""
        return self.splits == SPLITS.index(name)


NO_TIME = np.iinfo(np.int64).min


def read_interactions(interactions: Path, splits: Path, training_set: TrainingSet) -> Interactions:
    """Read the marts of a dataset, indexed as its training set is.

    Args:
        interactions: Parquet file of the mart ``interactions``.
        splits: of the mart ``splits``.
        training_set: made of these.

    Raises:
        ValueError: the marts are of other users or items than the training set.
    """
    with connect() as connection:
        columns = connection.execute(
            """
            with user_indices as (
                select user_id, (row_number() over (order by user_id) - 1)::integer as user_index
                from (select distinct user_id from read_parquet($splits, hive_partitioning = false))
            ),

            item_indices as (
                select item_id, (row_number() over (order by item_id) - 1)::integer as item_index
                from (select distinct item_id from read_parquet($splits, hive_partitioning = false))
            )

            select
                user_index,
                item_index,
                (list_position($names, splits.split) - 1)::utinyint as split,
                coalesce(interactions.timestamp * 1000 + interactions.millisecond, $no_time)::bigint as moment,
                (interactions.file_position * (1::bigint << 40) + interactions.line_number)::bigint as line,
                coalesce(interactions.rating, 'nan')::float as rating,
                interactions.duplicate_rows::bigint as duplicates,
                (interactions.given_position > 0) as is_ordered,
                (interactions.given_split is not null) as is_split
            from read_parquet($interactions, hive_partitioning = false) as interactions
            join read_parquet($splits, hive_partitioning = false) as splits using (user_id, position)
            join user_indices using (user_id)
            join item_indices on item_indices.item_id = interactions.item_id
            order by user_index, interactions.position
            """,
            {
                "interactions": str(interactions),
                "splits": str(splits),
                "names": list(SPLITS),
                "no_time": int(NO_TIME),
            },
        ).fetchnumpy()
    arrays = {name: np.asarray(values) for name, values in columns.items()}
    known = (int(arrays["user_index"].max(initial=-1)) + 1, int(arrays["item_index"].max(initial=-1)) + 1)
    if known != (training_set.users, training_set.items):
        raise ValueError(
            f"{interactions} holds {known[0]} users and {known[1]} items, the training set {training_set.users} and "
            f"{training_set.items}: materialise the training set again"
        )
    return Interactions(
        users=arrays["user_index"].astype(np.int32),
        items=arrays["item_index"].astype(np.int32),
        splits=arrays["split"].astype(np.uint8),
        moments=arrays["moment"].astype(np.int64),
        lines=arrays["line"].astype(np.int64),
        ratings=arrays["rating"].astype(np.float32),
        duplicates=arrays["duplicates"].astype(np.int64),
        has_given_order=bool(arrays["is_ordered"].all()),
        has_given_split=bool(arrays["is_split"].all()),
    )
