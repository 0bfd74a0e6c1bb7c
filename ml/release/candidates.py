"""Which items may be recommended: a list of ids (a stock, a price list), or a condition on the catalogue."""

from __future__ import annotations

from pathlib import Path

from ml.release.contents import BundleError


def read_item_ids(path: Path) -> list[str]:
    """Item ids from a text file, one a line; blank lines and white space around an id are passed over.

    Raises:
        BundleError: the file is missing, no UTF-8 text, or holds no id.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except FileNotFoundError as error:
        raise BundleError(f"{path} does not exist: give a text file with one item id a line") from error
    except IsADirectoryError as error:
        raise BundleError(f"{path} is a folder: give a text file with one item id a line") from error
    except UnicodeDecodeError as error:
        raise BundleError(f"{path} is no UTF-8 text: give a text file with one item id a line") from error
    found = [line.strip() for line in lines if line.strip()]
    if not found:
        raise BundleError(f"{path} holds no item id: give one a line, or no file to allow all items")
    return found


def item_ids_where(items: Path, condition: str) -> list[str]:
    """Ids of the items for which a condition holds, in the order of the file.

    Args:
        items: Parquet file with ``item_id`` and the columns that the condition names, as ``marts/items.parquet`` with
            ``title``, ``brand``, ``category``, ``price`` and ``interactions``.
        condition: of SQL, as in ``category like '%Saws%' and price < 20``. It holds for no item without a value that it
            compares.

    Raises:
        BundleError: the file is missing, the condition is none, or it holds for no item.
    """
    import polars as pl

    if not items.is_file():
        raise BundleError(f"{items} does not exist: give the Parquet file of the items, with a row for each")
    table = pl.scan_parquet(items)
    try:
        found = table.filter(pl.sql_expr(condition)).select(pl.col("item_id").cast(pl.String)).collect()
    except pl.exceptions.PolarsError as error:
        reason = str(error).splitlines()[0]
        columns = ", ".join(table.collect_schema().names())
        raise BundleError(
            f"{condition!r} is no condition on {items} ({reason}): give one like price < 20 and category like "
            f"'%Saws%'; the columns are {columns}"
        ) from error
    identities = found["item_id"].to_list()
    if not identities:
        raise BundleError(f"{condition!r} holds for no item of {items}, so nothing could be recommended: widen it")
    return identities
