"""From the split interactions of the warehouse to the arrays of a training set.

One pass of DuckDB over the Parquet file: identities become indices by ascending order, rows come out in the
order of user and position, and numpy takes the columns as they are.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ml.data.database import connect
from ml.data.sequences import Sequences
from ml.data.training_set import TrainingSet
from ml.data.user_sample import measured_on_sample

SPLITS = ("train", "history", "validation", "test", "unused")


class SplitError(ValueError):
    """The splits cannot make a training set; the message says why and what to do."""


def build_training_set(dataset: str, splits: Path, protocol: dict) -> TrainingSet:
    """Index the splits of a dataset.

    Args:
        dataset: its name.
        splits: Parquet file with ``user_id``, ``position``, ``item_id`` and ``split`` (``train``, ``history``:
            known but not trained on, ``validation``, ``test`` or ``unused``), one row an interaction, at most one
            validation row a user, and per user all of ``train`` first and all of ``test`` last, but for unused ones.
        protocol: how the split was made, kept with the training set. Its ``test_users``, where given, is how many of
            the test users are measured.

    Raises:
        SplitError: there is nothing to train on or nothing to test with.
    """
    with connect() as connection:
        source = connection.read_parquet(str(splits), hive_partitioning=False)
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
    trained = int(np.count_nonzero(split == SPLITS.index("train") + 1))
    tested = len(np.unique(users[split == SPLITS.index("test") + 1]))
    if not trained or not tested:
        held_out = (
            "a user is tested with an item that is held out and follows one that is not; change COLD_ITEMS or SEED, "
            if str(protocol.get("split", "")).startswith("cold-items")
            else "a user is tested who has more than LAST_ITEMS interactions; lower LAST_ITEMS, "
            if str(protocol.get("split", "")).startswith("leave-last-k")
            else "a dataset needs users with at least 2 interactions; "
        )
        raise SplitError(
            f"{trained} interactions to train on and {tested} users to test: {held_out}lower K_CORE or bring a larger "
            "dump"
        )
    return measured_on_sample(
        TrainingSet(
            dataset=dataset,
            item_ids=item_ids,
            user_ids=user_ids,
            protocol=protocol,
            **divided(users, items, split - 1, len(user_ids)),
        )
    )


def divided(
    users: np.ndarray, items: np.ndarray, splits: np.ndarray, number_of_users: int, times: np.ndarray | None = None
) -> dict[str, Any]:
    """Interactions as the fields of a training set: who is trained on, validated and tested with what.

    Args:
        users: user index of each interaction, ascending, and of each user oldest first, ``[interactions]``.
        items: item index, ``[interactions]``.
        splits: of each interaction, its place in :data:`SPLITS`, ``[interactions]``.
        number_of_users: of the training set.
        times: seconds since 1970 of each interaction, int64 ``[interactions]``; ``None`` where they are not read.
    """
    in_train, in_history, in_validation, of_test = (splits == SPLITS.index(name) for name in SPLITS[:4])
    # of several targets of a user the first, which follows the history
    in_test = np.zeros(len(users), dtype=bool)
    in_test[np.flatnonzero(of_test)[np.unique(users[of_test], return_index=True)[1]]] = True
    is_later = of_test & ~in_test
    places = np.arange(len(users))
    validated_at = np.full(number_of_users, -1)
    validated_at[users[in_validation]] = places[in_validation]
    is_before_validation = in_history & (places < validated_at[users])

    is_before_test = in_history & ~is_before_validation & np.isin(users, users[in_test])
    is_read = in_train | is_before_validation | in_validation | is_before_test | of_test

    def rows(chosen: np.ndarray, wanted: np.ndarray) -> Sequences:
        """The chosen items of each of the wanted users (ascending), in their order."""
        is_wanted = np.zeros(number_of_users, dtype=bool)
        is_wanted[wanted] = True
        chosen = chosen & is_wanted[users]
        lengths = np.bincount(users[chosen], minlength=number_of_users)[wanted]
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        return Sequences(items[chosen].astype(np.int32), offsets, times=None if times is None else times[chosen])

    return {
        "train": rows(in_train, np.arange(number_of_users)),
        "validation_users": users[in_validation].astype(np.int32),
        "validation_targets": items[in_validation].astype(np.int32),
        "test_users": users[in_test].astype(np.int32),
        "test_targets": items[in_test].astype(np.int32),
        "validation_times": None if times is None else times[in_validation],
        "before_validation": rows(is_before_validation, users[in_validation]),
        "before_test": rows(is_before_test, users[in_test]),
        "later_targets": replace(rows(is_later, users[in_test]), times=None) if is_later.any() else None,
        "whole": None
        if is_read.all()
        else replace(rows(np.ones(len(users), dtype=bool), np.arange(number_of_users)), times=None),
    }


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
