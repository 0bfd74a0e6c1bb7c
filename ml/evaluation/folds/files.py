"""The table that results in temporal folds are saved as."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from ml.data.files import read_json, whole
from ml.data.folds import Fold, FoldSizes
from ml.evaluation.compared_columns import compared_cells, compared_of, known, number
from ml.evaluation.folds.content import FoldResults, OverFolds
from ml.evaluation.rankings import write_table

_ABOUT = b"folds"
# name, type, whether it may be null, and what it holds
_COLUMNS = (
    ("recommender", pa.string(), False, "name of the recommender"),
    ("title", pa.string(), False, "its title"),
    ("fold", pa.int32(), False, "from 1, the earliest first"),
    ("test_from", pa.int64(), False, "first moment of the fold's test window, seconds since 1970"),
    ("test_users", pa.int64(), False, "users tested in the fold"),
    ("ndcg@10", pa.float64(), False, "mean over the users of the fold"),
    ("recall@10", pa.float64(), False, "mean over the users of the fold"),
    ("place", pa.int32(), False, "by nDCG@10 in the fold, the best 1"),
    ("mean_ndcg@10", pa.float64(), False, "mean of nDCG@10 over the folds"),
    ("deviation_ndcg@10", pa.float64(), True, "standard deviation of nDCG@10 between the folds"),
    ("difference", pa.float64(), True, "mean difference of nDCG@10 to the leader over the folds"),
    ("difference_low", pa.float64(), True, "lower bound of its interval"),
    ("difference_high", pa.float64(), True, "upper bound of its interval"),
    ("confidence", pa.float64(), True, "of the interval, which agrees with the corrected test"),
    ("p_value", pa.float64(), True, "two-sided, users as units"),
    ("p_value_adjusted", pa.float64(), True, "the same corrected by Holm's method"),
)
COLUMNS = pa.schema([pa.field(name, kind, nullable) for name, kind, nullable, _ in _COLUMNS])
DESCRIPTIONS = {name: text for name, _, _, text in _COLUMNS}


def save_sizes(folds: Sequence[FoldSizes], path: Path) -> None:
    """Write the dates and sizes of folds as JSON."""
    path.write_text(json.dumps([asdict(one) for one in folds], indent=2) + "\n", encoding="utf-8")


def load_sizes(path: Path) -> tuple[FoldSizes, ...]:
    """Read what :func:`save_sizes` wrote.

    Raises:
        DamagedFile: it is not there, or not as it was written.
    """
    with whole(path):
        return _sizes(read_json(path))


def folds_table(found: FoldResults) -> pa.Table:
    """One row a recommender and fold, columns :data:`COLUMNS`; the schema's metadata hold dates and sizes."""
    rows = [
        {
            "recommender": row.recommender,
            "title": row.title,
            "fold": one.fold.number,
            "test_from": one.fold.test_from,
            "test_users": one.tested,
            "ndcg@10": row.ndcg[at],
            "recall@10": row.recall[at],
            "place": row.places[at],
            "mean_ndcg@10": row.mean,
            "deviation_ndcg@10": known(row.deviation),
            # null in the rows of the leader
            **compared_cells(row.compared),
        }
        for row in found.rows
        for at, one in enumerate(found.folds)
    ]
    about = {
        "folds": [asdict(one) for one in found.folds],
        "users": found.users,
        "users_in_several": found.users_in_several,
    }
    return pa.Table.from_pylist(rows, COLUMNS.with_metadata({_ABOUT: json.dumps(about).encode()}))


def save_folds(found: FoldResults, path: Path) -> None:
    """Write the table of :func:`folds_table` as Parquet, whole or not at all."""
    write_table(folds_table(found), path)


def load_folds(path: Path) -> FoldResults:
    """Read what :func:`save_folds` wrote.

    Raises:
        DamagedFile: it is not there, or not as it was written.
    """
    with whole(path):
        table = pq.read_table(path)
        if not table.schema.equals(COLUMNS, check_metadata=False):
            raise ValueError("it has other columns")
        about = json.loads((table.schema.metadata or {})[_ABOUT])
        folds = _sizes(about["folds"])
        by_name: dict[str, list[dict]] = {}
        for row in table.to_pylist():
            by_name.setdefault(row["recommender"], []).append(row)
        if any([row["fold"] for row in rows] != [one.fold.number for one in folds] for rows in by_name.values()):
            raise ValueError("a recommender does not have every fold once")
        rows = tuple(map(_row, by_name.values()))
        return FoldResults(folds, rows, about["users"], about["users_in_several"])


def _sizes(values: list[dict]) -> tuple[FoldSizes, ...]:
    return tuple(FoldSizes(**{**one, "fold": Fold(**one["fold"])}) for one in values)


def _row(rows: list[dict]) -> OverFolds:
    first = rows[0]
    return OverFolds(
        recommender=first["recommender"],
        title=first["title"],
        ndcg=tuple(row["ndcg@10"] for row in rows),
        recall=tuple(row["recall@10"] for row in rows),
        places=tuple(row["place"] for row in rows),
        mean=first["mean_ndcg@10"],
        deviation=number(first["deviation_ndcg@10"]),
        compared=compared_of(first),
    )
