"""What describes a state of a dataset: counts of a staged table, and the identities in it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ml.data.database import connect, one_row, quoted

if TYPE_CHECKING:
    import duckdb

KINDS = ("reviews", "metadata")
# columns whose share of missing values is compared, and those that hold identities
OPTIONAL = {"reviews": ("rating", "verified"), "metadata": ("title", "brand", "price")}
IDENTITIES = {"reviews": {"users": "user_id", "items": "item_id"}, "metadata": {"items": "item_id"}}
# the length of a history from which on they are counted together
LONGEST = 50
# how many of the most popular items are kept, in their order
POPULAR = 100
# bins of prices, in each of which the highest is the square root of 2 times the lowest
_PRICE_BIN = "floor(2 * log2(price))::integer"
_TEXT = ("title", "brand", "category", "item_text")


def profile(kind: str, table: Path) -> dict[str, Any]:
    """Counts that describe a staged table; equal for equal tables and, in all likelihood, for no others.

    Args:
        kind: ``reviews`` or ``metadata``.
        table: its Parquet file as the staging layer leaves it.

    Returns:
        ``rows``, ``<column>_missing``, ``users`` and ``items`` (distinct identities) with a digest of each. Of reviews
        also ``ratings`` (rows of each rating, by the rating as text), ``history_lengths`` (users with each number of
        rows, by the number as text; :data:`LONGEST` and more together) and ``popular`` (the items with the most
        rows, the most popular first, of equal ones by identity). Of metadata also ``prices`` (items in each bin of
        half an octave, by its number as text) and ``described_digest`` (of texts and prices of all items).
    """
    with staged(table) as connection:
        columns = OPTIONAL[kind]
        counts = ", ".join(f"count(*) - count({column})" for column in columns)
        rows, *missing = one_row(connection, f"select count(*), {counts} from staged")
        found: dict[str, Any] = {"rows": rows}
        found |= {f"{column}_missing": count for column, count in zip(columns, missing, strict=True)}
        for name in IDENTITIES[kind]:
            # of the identities as a set: their order is not part of it
            count, digest = one_row(
                connection,
                f"select count(*), bit_xor(md5_number_lower(id)) from ({identities(kind, name, connection)})",
            )
            found |= {name: count, f"{name}_digest": str(digest or 0)}
        of_kind = {"reviews": _of_reviews, "metadata": _of_metadata}
        return found | of_kind[kind](connection)


def _of_reviews(connection: duckdb.DuckDBPyConnection) -> dict[str, Any]:
    ratings = connection.execute(
        "select rating::double::varchar, count(*) from staged where rating is not null group by all order by 1"
    ).fetchall()
    lengths = connection.execute(
        f"select least(rows, {LONGEST})::varchar, count(*) from "
        "(select count(*) as rows from staged group by user_id) group by all order by 1"
    ).fetchall()
    popular = connection.execute(
        f"select item_id::varchar as id from staged group by id order by count(*) desc, id limit {POPULAR}"
    ).fetchall()
    return {"ratings": dict(ratings), "history_lengths": dict(lengths), "popular": [item for (item,) in popular]}


def _of_metadata(connection: duckdb.DuckDBPyConnection) -> dict[str, Any]:
    described = identities("metadata", "items", connection)
    prices = connection.execute(
        f"select ({_PRICE_BIN})::varchar, count(*) from ({described}) where price > 0 group by all order by 1"
    ).fetchall()
    (digest,) = one_row(
        connection, f"select bit_xor(md5_number_lower(concat_ws(chr(31), id, text, price))) from ({described})"
    )
    return {"prices": dict(prices), "described_digest": str(digest or 0)}


def identities(kind: str, name: str, connection: duckdb.DuckDBPyConnection) -> str:
    """SQL of the distinct users or items of the staged table: their identity as the text ``id``.

    Of described items also ``text``, a digest of all that is said of an item, however many rows say it, and ``price``,
    the lowest.
    """
    column = IDENTITIES[kind][name]
    if kind == "reviews":
        return f"select distinct {column}::varchar as id from staged"
    there = {column for column, *_ in connection.execute("describe staged").fetchall()}
    text = ", ".join(f"coalesce({column}, '')" for column in _TEXT if column in there)
    # md5, since the own hash of DuckDB is another in another version
    return (
        f"select {column}::varchar as id, min(price) as price, "
        f"bit_xor(distinct md5_number_lower(concat_ws(chr(31), {text})))::varchar as text from staged group by {column}"
    )


@contextmanager
def staged(table: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection of its own with a staged table as the view ``staged``."""
    with connect() as connection:
        connection.execute(
            f"create view staged as select * from read_parquet('{quoted(table)}', hive_partitioning = false)"
        )
        yield connection
