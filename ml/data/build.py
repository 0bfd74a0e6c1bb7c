"""From the split interactions of the warehouse to the arrays of a training set.

One pass of DuckDB over the Parquet file: identities become indices by ascending order, rows come out in the
order of user and position, and numpy takes the columns as they are.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ml.data.database import connect
from ml.data.training_set import Sequences, TrainingSet

SPLITS = ("train", "history", "validation", "test", "unused")


class SplitError(ValueError):
    """The splits cannot make a training set; the message says why and what to do."""


def build_training_set(dataset: str, splits: Path, protocol: dict) -> TrainingSet:
    """Index the splits of a dataset.

    Args:
        dataset: its name.
        splits: Parquet file with ``user_id``, ``position``, ``item_id`` and ``split`` (``train``, ``history``:
            known but not trained on, ``validation``, ``test`` or ``unused``), one row an interaction, at most one
            validation and one test row a user, and per user all of ``train`` first.
        protocol: how the split was made, kept with the training set.

    Raises:
        SplitError: there is nothing to train on or nothing to test with.
    """
    with connect() as connection:
        source = connection.read_parquet(str(splits))
        connection.register("splits", source)
        item_ids = _identities(connection, "item")
        user_ids = _identities(connection, "user")
        columns = connection.execute(
            """
            -- a number each, since a text for every row would be an object in Python
            select user_index, item_index, list_position(?, split)::utinyint as split
            from splits
            join item_indices using (item_id)
            join user_indices using (user_id)
            order by user_index, position
            """,
            [list(SPLITS)],
        ).fetchnumpy()
    users = columns["user_index"].astype(np.int32)
    items = columns["item_index"].astype(np.int32)
    split = np.asarray(columns["split"])
    in_train, in_history, in_validation, in_test = (
        split == SPLITS.index(name) + 1 for name in ("train", "history", "validation", "test")
    )
    if not in_train.any() or not in_test.any():
        raise SplitError(
            f"{int(in_train.sum())} interactions to train on and {int(in_test.sum())} users to test: a dataset needs "
            "users with at least 2 interactions; lower K_CORE or bring a larger dump"
        )
    places = np.arange(len(users))
    validated_at = np.full(len(user_ids), -1)
    validated_at[users[in_validation]] = places[in_validation]
    is_before_validation = in_history & (places < validated_at[users])
    return TrainingSet(
        dataset=dataset,
        item_ids=item_ids,
        user_ids=user_ids,
        train=_rows(users, items, in_train, np.arange(len(user_ids))),
        validation_users=users[in_validation],
        validation_targets=items[in_validation],
        test_users=users[in_test],
        test_targets=items[in_test],
        protocol=protocol,
        before_validation=_rows(users, items, is_before_validation, users[in_validation]),
        before_test=_rows(users, items, in_history & ~is_before_validation, users[in_test]),
    )


def _rows(users: np.ndarray, items: np.ndarray, chosen: np.ndarray, wanted: np.ndarray) -> Sequences:
    """The chosen items of each of the wanted users (ascending), in their order."""
    is_wanted = np.zeros(int(users.max()) + 1, dtype=bool)
    is_wanted[wanted] = True
    chosen = chosen & is_wanted[users]
    lengths = np.bincount(users[chosen], minlength=len(is_wanted))[wanted]
    return Sequences(items[chosen], np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64))


def _identities(connection, kind: str) -> np.ndarray:
    """Ascending identities, bytes ``[users or items]``; leaves their indices in a table of the connection."""
    connection.execute(
        f"""
        create temp table {kind}_indices as
        select {kind}_id, (row_number() over (order by {kind}_id) - 1)::integer as {kind}_index
        from (select distinct {kind}_id from splits)
        """
    )
    rows = connection.execute(f"select {kind}_id from {kind}_indices order by {kind}_index").fetchnumpy()
    return np.char.encode(np.asarray(rows[f"{kind}_id"], dtype=np.str_), "utf-8")
