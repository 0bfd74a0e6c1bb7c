"""Drift: statistics of a dataset when it was last accepted, and the distance of the present data from them.

A state is described by counts of its staged table and by the identities in it. Of the accepted state is kept
besides how it compared with the one accepted before it: holding the same state against its contract once more
then finds what it found at first, and does not compare the state with itself.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ml.data.database import connect, one_row, quoted
from ml.data.versions import versioned_folder

if TYPE_CHECKING:
    import duckdb

KINDS = ("reviews", "metadata")
FORMAT = "raw2rank-accepted-1"
# columns whose share of missing values is compared, and those that hold identities
_OPTIONAL = {"reviews": ("rating", "verified"), "metadata": ("title", "brand", "price")}
_IDENTITIES = {"reviews": {"users": "user_id", "items": "item_id"}, "metadata": {"items": "item_id"}}
_FIRST = "Nothing to compare with: no earlier state of this dataset was accepted."


class AcceptanceError(ValueError):
    """The record of the accepted state cannot be read; the message says where it is and what to do."""


@dataclass(frozen=True)
class Comparison:
    """The present statistics of one kind of data and the accepted ones.

    Attributes:
        row: figures of both and the distances between them, by name; ``None`` where there is nothing to compare.
        note: with what it was compared, in one sentence.
    """

    row: dict[str, float | int | None]
    note: str


def profile(kind: str, table: Path) -> dict[str, Any]:
    """Counts that describe a staged table; equal for equal tables and, in all likelihood, for no others.

    Args:
        kind: ``reviews`` or ``metadata``.
        table: its Parquet file as the staging layer leaves it.

    Returns:
        ``rows``, ``<column>_missing``, ``users`` and ``items`` (distinct identities) with a digest of each, and
        ``ratings`` (reviews: rows of each rating, by the rating as text).
    """
    with _connection(table) as connection:
        columns = _OPTIONAL[kind]
        counts = ", ".join(f"count(*) - count({column})" for column in columns)
        rows, *missing = one_row(connection, f"select count(*), {counts} from staged")
        found: dict[str, Any] = {"rows": rows}
        found |= {f"{column}_missing": count for column, count in zip(columns, missing, strict=True)}
        for name, column in _IDENTITIES[kind].items():
            # of the identities as a set: their order is not part of it
            count, digest = one_row(
                connection, f"select count(*), bit_xor(md5_number_lower(id)) from {_distinct(column)}"
            )
            found |= {name: count, f"{name}_digest": str(digest or 0)}
        if kind == "reviews":
            ratings = connection.execute(
                "select rating::double::varchar, count(*) from staged where rating is not null group by all order by 1"
            ).fetchall()
            found["ratings"] = dict(ratings)
    return found


def compare(kind: str, table: Path, accepted: Path) -> Comparison:
    """Compare the staged table of a kind with its accepted statistics.

    Args:
        kind: ``reviews`` or ``metadata``.
        table: its Parquet file.
        accepted: folder that :func:`accept` writes; need not exist.

    Returns:
        ``rows`` and ``accepted_rows`` and their quotient ``rows_ratio``; for each optional column
        ``<column>_missing_change`` (share of missing values less the accepted share, -1 to 1); for users and
        items ``new_<users>_share`` (of the present ones, 0 to 1) and ``lost_<users>_share`` (of the accepted
        ones); ``rating_distance``, the total variation distance of the distributions of ratings (half the sum of
        the absolute differences of their shares, 0 to 1).

    Raises:
        AcceptanceError: the accepted state cannot be read.
    """
    return _compare(kind, table, accepted, profile(kind, table))


def accept(kind: str, table: Path, accepted: Path, by_hand: bool = False) -> dict[str, Any]:
    """Make the state of a staged table the accepted one, and give its profile.

    The state that is accepted already stays as it is, with what it was compared with.

    Args:
        kind: ``reviews`` or ``metadata``.
        table: its Parquet file.
        accepted: folder to write: ``accepted.json`` and a Parquet file of each kind of identity.
        by_hand: accept it however far it is from the one before, and as the first of a new line of states.

    Raises:
        AcceptanceError: the accepted state cannot be read.
    """
    present = profile(kind, table)
    stored = None if by_hand else _stored(accepted)
    if stored and stored["profile"] == present:
        return present
    row = _row(kind, present, None, {}) if by_hand else _compare(kind, table, accepted, present).row
    record = {
        "format": FORMAT,
        "by_hand": by_hand,
        "profile": present,
        "comparison": row,
    }
    with versioned_folder(accepted, keep=0) as folder, _connection(table) as connection:
        for name, column in _IDENTITIES[kind].items():
            connection.execute(
                f"copy (from {_distinct(column)} order by id) to '{quoted(folder / name)}.parquet' "
                "(format parquet, compression zstd)"
            )
        (folder / "accepted.json").write_text(json.dumps(record, indent=2) + "\n")
    return present


def _compare(kind: str, table: Path, accepted: Path, present: Mapping[str, Any]) -> Comparison:
    stored = _stored(accepted)
    if stored is None:
        return Comparison(_row(kind, present, None, {}), _FIRST)
    if stored["profile"] == present:
        note = f"This state was accepted at {_written_at(accepted)}; shown is what it was compared with then."
        if stored["by_hand"]:
            note = f"This state was accepted by hand at {_written_at(accepted)}; it was compared with nothing."
        return Comparison(stored["comparison"], note)
    common = {}
    with _connection(table) as connection:
        for name, column in _IDENTITIES[kind].items():
            earlier = f"read_parquet('{quoted(accepted / name)}.parquet', hive_partitioning = false)"
            (common[name],) = one_row(
                connection, f"select count(*) from {_distinct(column)} semi join {earlier} using (id)"
            )
    note = f"Compared with the state that was accepted at {_written_at(accepted)}."
    return Comparison(_row(kind, present, stored["profile"], common), note)


def _row(
    kind: str, present: Mapping[str, Any], accepted: Mapping[str, Any] | None, common: Mapping[str, int]
) -> dict[str, float | int | None]:
    earlier = accepted or {}
    row: dict[str, float | int | None] = {
        "rows": present["rows"],
        "accepted_rows": earlier.get("rows"),
        "rows_ratio": _share(present["rows"], earlier.get("rows")),
    }
    for column in _OPTIONAL[kind]:
        now = _share(present[f"{column}_missing"], present["rows"])
        before = _share(earlier.get(f"{column}_missing"), earlier.get("rows"))
        row[f"{column}_missing_change"] = None if now is None or before is None else now - before
    for name in _IDENTITIES[kind]:
        kept = common.get(name)
        row[f"new_{name}_share"] = None if kept is None else _share(present[name] - kept, present[name])
        row[f"lost_{name}_share"] = None if kept is None else _share(earlier[name] - kept, earlier[name])
    if kind == "reviews":
        row["rating_distance"] = _distance(present["ratings"], earlier.get("ratings", {}))
    return row


def _share(part: int | None, whole: int | None) -> float | None:
    return part / whole if part is not None and whole else None


def _distance(present: Mapping[str, int], accepted: Mapping[str, int]) -> float | None:
    """Total variation distance of two distributions; ``None`` where one of them is empty."""
    rows, earlier_rows = sum(present.values()), sum(accepted.values())
    if not rows or not earlier_rows:
        return None
    values = present.keys() | accepted.keys()
    return sum(abs(present.get(v, 0) / rows - accepted.get(v, 0) / earlier_rows) for v in sorted(values)) / 2


def _written_at(accepted: Path) -> str:
    """Time at which a state was accepted: that of its file, so that equal states are equal bytes."""
    return datetime.fromtimestamp((accepted / "accepted.json").stat().st_mtime, UTC).isoformat(timespec="seconds")


def _stored(accepted: Path) -> dict[str, Any] | None:
    path = accepted / "accepted.json"
    try:
        record = json.loads(path.read_text())
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise AcceptanceError(f"{path} is not JSON ({error}); remove {accepted} to begin anew") from error
    if not isinstance(record, dict) or record.get("format") != FORMAT:
        raise AcceptanceError(f"{path} was written by another version; remove {accepted} to begin anew")
    return record


def _distinct(column: str) -> str:
    """SQL of the identities of the staged table, as text in a column ``id``."""
    return f"(select distinct {column}::varchar as id from staged)"


@contextmanager
def _connection(table: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection of its own with the staged table as the view ``staged``."""
    with connect() as connection:
        connection.execute(
            f"create view staged as select * from read_parquet('{quoted(table)}', hive_partitioning = false)"
        )
        yield connection
