"""Rankings of the test cases: the one table that every metric of a recommender is computed from."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ml.data.files import atomic_file
from ml.data.training_set import TrainingSet
from ml.recommender import NO_ITEM, Recommender

# enough for metrics at 100
DEPTH = 100
# test users that a recommender is asked for at a time
BLOCK = 4096
_LEAST_DEPTH = 10
COLUMNS = pa.schema(
    [
        pa.field("user_index", pa.int32(), nullable=False),
        pa.field("rank", pa.int16(), nullable=False),
        pa.field("item_index", pa.int32(), nullable=False),
        pa.field("score", pa.float32(), nullable=False),
        # one name for millions of rows
        pa.field("recommender", pa.dictionary(pa.int8(), pa.string()), nullable=False),
        pa.field("seed", pa.int32(), nullable=False),
    ]
)
# what a table of rankings says of itself, in the metadata of its schema
_ABOUT = b"raw2rank"
_FACTS = ("dataset", "training_set", "recommender", "seed", "depth", "exclude_seen")


def rank_depth(items: int) -> int:
    """How deep a catalogue of so many items is ranked: :data:`DEPTH`, or whole; never less than the ten that a metric
    needs, which :func:`rank` refuses where there are fewer items."""
    return max(_LEAST_DEPTH, min(DEPTH, items))


class RankingError(ValueError):
    """Rankings that cannot be made or read; the message says why and what to do."""


def rank(
    recommender: Recommender,
    training_set: TrainingSet,
    name: str,
    seed: int,
    depth: int | None = None,
    exclude_seen: bool = False,
    block: int = BLOCK,
) -> pa.Table:
    """Rank the whole catalogue for every test user, and keep the best ``depth`` items.

    Args:
        recommender: fitted on ``training_set``.
        training_set: whose test histories are ranked for; test targets are not read.
        name: of the recommender, kept in the table.
        seed: it was fitted or draws with, kept in the table.
        depth: ranks kept of each list; as many as :func:`rank_depth` says where ``None``.
        exclude_seen: whether the items of a user's own history are left out.
        block: users asked for at a time.

    Returns:
        Columns :data:`COLUMNS`, by ascending ``user_index`` and ``rank`` (1-based). A user has fewer than
        ``depth`` rows only where seen items are excluded and few others are left. :func:`facts` reads what
        else is known of the table.

    Raises:
        RankingError: the catalogue holds fewer items than ``depth``.
    """
    depth = rank_depth(training_set.items) if depth is None else depth
    if not 1 <= depth <= np.iinfo(np.int16).max:
        raise RankingError(f"rankings are of 1 to {np.iinfo(np.int16).max} items, not {depth}")
    if training_set.items < depth:
        raise RankingError(
            f"{training_set.dataset} has a catalogue of {training_set.items} items, and rankings need at "
            f"least {depth}: lower the k-core, rank fewer items, or bring a larger dump"
        )
    histories = training_set.histories("test")
    cases = len(histories)
    items = np.empty((cases, depth), dtype=np.int32)
    scores = np.empty((cases, depth), dtype=np.float32)
    # of recommenders that generate their lists: ml.generation.lists.ListCounts of each call
    counts = None
    for start in range(0, cases, block):
        rows = np.arange(start, min(start + block, cases))
        answer = recommender.recommend(histories.take(rows), depth, exclude_seen)
        items[rows], scores[rows] = answer.items, answer.scores
        of_block = getattr(recommender, "list_counts", None)
        if of_block is not None:
            counts = of_block if counts is None else counts + of_block
    kept = items != NO_ITEM
    length = int(kept.sum())
    named = pa.DictionaryArray.from_arrays(np.zeros(length, dtype=np.int8), pa.array([name], pa.string()))
    ranks = np.broadcast_to(np.arange(1, depth + 1, dtype=np.int16), items.shape)
    users = np.broadcast_to(training_set.test_users[:, None], items.shape)
    about = {
        "dataset": training_set.dataset,
        "training_set": training_set.digest(),
        "recommender": name,
        "seed": seed,
        "depth": depth,
        "exclude_seen": exclude_seen,
    }
    if counts is not None:
        about["generated"] = asdict(counts)
    return pa.table(
        {
            "user_index": users[kept],
            "rank": ranks[kept],
            "item_index": items[kept],
            "score": scores[kept],
            "recommender": named,
            "seed": np.full(length, seed, dtype=np.int32),
        },
        schema=COLUMNS.with_metadata({_ABOUT: json.dumps(about, sort_keys=True).encode()}),
    )


def facts(rankings: pa.Table) -> dict:
    """Metadata of a table of rankings.

    ``dataset``, ``training_set`` (digest), ``recommender``, ``seed``, ``depth`` and ``exclude_seen``; and
    ``generated``, the fields of :class:`ml.generation.lists.ListCounts`, where the lists come from a beam search.

    Raises:
        RankingError: the table says nothing, so it was not made by :func:`rank`.
    """
    about = (rankings.schema.metadata or {}).get(_ABOUT)
    known = json.loads(about) if about else {}
    missing = [name for name in _FACTS if name not in known]
    if missing:
        raise RankingError(f"these rankings do not say their {', '.join(missing)}: rank again")
    return known


def write_table(table: pa.Table, path: Path) -> None:
    """Write a Parquet file whole or not at all; equal tables give equal bytes."""
    with atomic_file(path) as file:
        pq.write_table(table, file, compression="zstd")


def read_rankings(path: Path, training_set: TrainingSet) -> pa.Table:
    """Read and check what :func:`rank` and :func:`write_table` made.

    Raises:
        RankingError: the file is not of rankings for the test users of ``training_set``, or breaks a rule
            of them: one list a user, ranks 1, 2, 3, ..., no item twice, scores that never rise. The message
            names the file.
    """
    try:
        table = pq.read_table(path)
        _check(table, training_set)
    except RankingError as error:
        raise RankingError(f"{path}: {error}") from error
    except (pa.ArrowException, OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            # the file is missing, or the disk is at fault
            raise
        reason = " ".join(str(error).split())
        raise RankingError(
            f"{path} is not a Parquet file, or a damaged one ({reason}): delete it and rank again"
        ) from error
    return table


def _check(table: pa.Table, training_set: TrainingSet) -> None:
    if not table.schema.equals(COLUMNS, check_metadata=False):
        raise RankingError(f"the columns are {_columns(table.schema)}, not {_columns(COLUMNS)}: rank again")
    known = facts(table)
    if known["training_set"] != training_set.digest():
        raise RankingError(
            f"ranked on another training set ({known['dataset']}, {known['training_set'][:12]}) than "
            f"{training_set.dataset} ({training_set.digest()[:12]}): rank again"
        )
    for name in ("recommender", "seed"):
        if table[name].unique().to_pylist() not in ([], [known[name]]):
            raise RankingError(f"the column {name} holds others than {known[name]!r}: rank again")
    user, ranks, item = (table[name].to_numpy() for name in ("user_index", "rank", "item_index"))
    score = table["score"].to_numpy()
    if not np.isin(user, training_set.test_users).all():
        raise RankingError("a user_index is not of a test user: rank again")
    if len(item) and not (item.min() >= 0 and item.max() < training_set.items):
        raise RankingError(f"an item_index is outside the catalogue of {training_set.items} items: rank again")
    same_user = user[1:] == user[:-1]
    expected = np.where(np.concatenate([[False], same_user]), np.concatenate([[0], ranks[:-1]]) + 1, 1)
    if (user[1:] < user[:-1]).any() or (ranks != expected[: len(ranks)]).any():
        raise RankingError("the rows are not the ranks 1, 2, 3, ... of one user after another: rank again")
    if len(ranks) and ranks.max() > known["depth"]:
        raise RankingError(f"a rank is above the depth of {known['depth']}: rank again")
    if (same_user & ~(score[1:] <= score[:-1])).any() or not np.isfinite(score).all():
        raise RankingError("scores rise within a list, or are not finite: rank again")
    # a row a user; what a list lacks is filled with numbers that are no items, each once
    rows = np.cumsum(np.concatenate([[True], ~same_user])) - 1
    width = int(ranks.max(initial=0))
    lists = np.tile(-1 - np.arange(width, dtype=np.int32), (int(rows[-1]) + 1 if len(ranks) else 0, 1))
    lists[rows[: len(ranks)], ranks - 1] = item
    lists.sort(axis=1)
    if (lists[:, 1:] == lists[:, :-1]).any():
        raise RankingError("an item stands twice in one list: rank again")


def _columns(schema: pa.Schema) -> str:
    return ", ".join(f"{field.name} {field.type}{'' if field.nullable else ' not null'}" for field in schema)
