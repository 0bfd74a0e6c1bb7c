"""Batch recommendations: lists for every user, as one Parquet file with a row a user and rank.

Users are taken in blocks of a fixed size, so that memory does not grow with their number. A file may be made in parts,
by several processes or one after the other: the parts joined are the same bytes as the file made at once.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ml.data.files import atomic_file
from ml.data.item_index import NOT_HELD, indices_in
from ml.data.sequences import Sequences
from ml.data.training_set import TrainingSet
from ml.recommender import NO_ITEM
from ml.release.bundle import BLOCK, Bundle
from ml.release.contents import BundleError

FORMAT = "raw2rank-recommendations-1"
_ABOUT, _PART = b"raw2rank", b"raw2rank_part"
SCHEMA = pa.schema(
    [
        pa.field("user", pa.string(), nullable=False),
        pa.field("rank", pa.int32(), nullable=False),
        pa.field("item", pa.string(), nullable=False),
        pa.field("score", pa.float32(), nullable=False),
        pa.field("title", pa.string(), nullable=False),
    ]
)
COLUMNS = {
    "user": "the user",
    "rank": "1 is best",
    "item": "the item at that rank",
    "score": "the recommender's own score of it",
    "title": "of the item; empty where it is not known",
}


@dataclass(frozen=True)
class Users:
    """Whom to recommend for.

    Attributes:
        user_ids: bytes ``[users]``.
        histories: one a user, oldest item first, in the indices of ``item_ids``; with times for a bundle that reads
            them.
        item_ids: bytes ``[items]``, ascending. They need not be those of a bundle: items that it does not hold are
            left out of the histories.
    """

    user_ids: np.ndarray
    histories: Sequences
    item_ids: np.ndarray

    def __post_init__(self) -> None:
        if len(self.user_ids) != len(self.histories):
            raise ValueError(f"{len(self.user_ids)} users for {len(self.histories)} histories")

    @classmethod
    def of(cls, training_set: TrainingSet, times: np.ndarray | None = None) -> Self:
        """Every user of a training set with the whole history: all interactions, whatever the split made of them.

        Args:
            training_set: whose users they are.
            times: of all interactions (:func:`ml.data.times.times_of_everything`), for a bundle that reads them.
        """
        whole = training_set.with_everything_trained_on(times).train
        return cls(training_set.user_ids, whole, training_set.item_ids)


@dataclass(frozen=True)
class Written:
    """What a file of recommendations holds.

    Attributes:
        users: asked for.
        rows: of the file.
        short: users with fewer items than asked for.
    """

    users: int
    rows: int
    short: int


def write_recommendations(
    path: Path,
    bundle: Bundle,
    users: Users,
    k: int = 10,
    exclude_seen: bool | None = None,
    allowed: Sequence[str] | None = None,
    excluded: Sequence[str] | None = None,
    *,
    part: int = 0,
    parts: int = 1,
    block: int = BLOCK,
) -> Written:
    """Write the lists of all users, or of one of several parts of them, whole or not at all. Equal input gives equal
    bytes.

    Args:
        path: Parquet file, replaced; columns :data:`SCHEMA`, by user in the order of ``users`` and rank.
        bundle: that recommends.
        users: in this order.
        k, exclude_seen, allowed, excluded: see :meth:`ml.release.bundle.Bundle.recommend`.
        part: which part, from 0.
        parts: that the users are divided into, of whole blocks; see :func:`join_recommendations`.
        block: users asked for at a time, one row group.

    Raises:
        BundleError: the bundle reads times, and the histories have none; none of the allowed items is in the catalogue.
        ValueError: there is no such part, or k is more than the catalogue.
    """
    if not 0 <= part < parts:
        raise ValueError(f"there is no part {part} of {parts}: parts are counted from 0")
    if bundle.reads_times and users.histories.times is None:
        raise BundleError(
            f"{bundle.title} reads when items were interacted with, and the histories have no times: give Sequences "
            "with times, or release a recommender that reads none"
        )
    mask = bundle.mask(allowed, excluded)
    if mask is not None and not mask.any():
        raise BundleError(
            f"none of the items that may be recommended is in the catalogue of {bundle.items} items: check that the "
            "ids are those of the dataset"
        )
    about = {
        "format": FORMAT,
        "bundle": bundle.name,
        "digests": bundle.digests,
        "users": len(users.user_ids),
        "k": k,
        "exclude_seen": bundle.exclude_seen if exclude_seen is None else bool(exclude_seen),
        "allowed_items": bundle.items if mask is None else int(mask.sum()),
        "block": block,
    }
    blocks = -(-len(users.user_ids) // block)
    chosen = range(blocks * part // parts, blocks * (part + 1) // parts)
    count = rows = short = 0
    with atomic_file(path) as file, _writer(file, about, part, parts) as writer:
        for table, asked, lacking in _tables(bundle, users, k, exclude_seen, mask, chosen, block):
            _write_group(writer, table)
            count, rows, short = count + asked, rows + table.num_rows, short + lacking
    return Written(count, rows, short)


def write_nothing(path: Path) -> None:
    """Write a file of recommendations without a row, where there is no release to recommend with."""
    with atomic_file(path) as file:
        pq.write_table(SCHEMA.empty_table(), file, compression="zstd")


def _tables(
    bundle: Bundle,
    users: Users,
    k: int,
    exclude_seen: bool | None,
    mask: np.ndarray | None,
    blocks: range,
    block: int,
) -> Iterator[tuple[pa.Table, int, int]]:
    """The rows of each block, how many users they are of, and how many of these have fewer than k items."""
    to_bundle = indices_in(users.item_ids, bundle.item_ids)
    identities = pa.array([item.decode() for item in bundle.item_ids.tolist()], pa.string())
    titles = pa.array(bundle.titles, pa.string())
    for number in blocks:
        rows = np.arange(number * block, min((number + 1) * block, len(users.user_ids)))
        histories = _translated(users.histories.take(rows), to_bundle)
        answer = bundle.ranked(histories, k, exclude_seen, mask)
        kept = answer.items != NO_ITEM
        items = pa.array(answer.items[kept])
        lengths = kept.sum(axis=1)
        names = pa.array([user.decode() for user in users.user_ids[rows].tolist()], pa.string())
        ranks = np.broadcast_to(np.arange(1, k + 1, dtype=np.int32), kept.shape)
        columns = {
            "user": names.take(pa.array(np.repeat(np.arange(len(rows)), lengths))),
            "rank": ranks[kept],
            "item": identities.take(items),
            "score": answer.scores[kept],
            "title": titles.take(items),
        }
        yield pa.table(columns, schema=SCHEMA), len(rows), int((lengths < k).sum())


def _translated(histories: Sequences, to_bundle: np.ndarray) -> Sequences:
    """Histories in the indices of the bundle, less the items that it does not hold; nobody is known."""
    items = to_bundle[histories.items]
    held = items != NOT_HELD
    offsets = np.concatenate([[0], np.cumsum(held)])[histories.offsets]
    times = None if histories.times is None else histories.times[held]
    return Sequences(items[held].astype(np.int32), offsets.astype(np.int64), times=times)


def join_recommendations(paths: Sequence[Path], path: Path) -> int:
    """Join the parts of :func:`write_recommendations`, whole or not at all.

    Args:
        paths: of all parts, in any order.
        path: Parquet file, replaced: the same bytes as if it were made at once.

    Returns:
        Its rows.

    Raises:
        BundleError: a file is no part, parts are missing or twice there, or they were made from other bundles, users or
            options.
    """
    found = {file: _about(file) for file in paths}
    if not found:
        raise BundleError("there are no parts to join")
    first, (about, (_, parts)) = next(iter(found.items()))
    for file, (other, (_, of)) in found.items():
        if other != about or of != parts:
            raise BundleError(
                f"{file} and {first} are no parts of the same recommendations: make all parts from the same bundle, "
                "users and options"
            )
    by_number = {number: file for file, (_, (number, _)) in found.items()}
    missing = [number for number in range(parts) if number not in by_number]
    if missing or len(paths) != parts:
        lacking = f"part {missing[0]} is missing" if missing else "a part is there twice"
        raise BundleError(f"{len(paths)} files for {parts} parts, {lacking}: give each part once")
    rows = 0
    with atomic_file(path) as joined, _writer(joined, about, 0, 1) as writer:
        for number in range(parts):
            part = pq.ParquetFile(by_number[number])
            for group in range(part.num_row_groups):
                table = part.read_row_group(group)
                _write_group(writer, table.replace_schema_metadata(None))
                rows += table.num_rows
    return rows


def _writer(file: Path, about: dict[str, Any], part: int, parts: int) -> pq.ParquetWriter:
    metadata = {_ABOUT: json.dumps(about).encode()}
    if parts > 1:
        metadata[_PART] = json.dumps([part, parts]).encode()
    return pq.ParquetWriter(file, SCHEMA.with_metadata(metadata), compression="zstd")


def _write_group(writer: pq.ParquetWriter, table: pa.Table) -> None:
    if table.num_rows:
        writer.write_table(table.cast(writer.schema), row_group_size=table.num_rows)


def _about(path: Path) -> tuple[dict[str, Any], tuple[int, int]]:
    """What a part says of all, and which of how many it is."""
    try:
        metadata = pq.read_schema(path).metadata or {}
    except (FileNotFoundError, pa.ArrowInvalid) as error:
        raise BundleError(f"{path} is no part of recommendations ({error}): make it again") from error
    about = json.loads(metadata.get(_ABOUT, b"{}"))
    if about.get("format") != FORMAT:
        raise BundleError(f"{path} is no part of recommendations: give files of write_recommendations")
    number, parts = json.loads(metadata.get(_PART, b"[0, 1]"))
    return about, (number, parts)
