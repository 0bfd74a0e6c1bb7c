"""What the readers of metadata of several releases share."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import orjson

from ml.data.reading import Added, Reject
from ml.data.records import Metadata


def add_items(read: Callable[[bytes], Metadata | Reject], lines: list[bytes], columns: dict[str, list]) -> Added:
    """Append what can be read of some lines to the columns of :data:`ml.data.reading.METADATA_SCHEMA`."""
    rejected, kept = [], []
    for index, line in enumerate(lines):
        item = read(line)
        if isinstance(item, Reject):
            rejected.append((index, item))
        else:
            kept.append(item)
    if kept:
        for name, values in zip(Metadata._fields, zip(*kept, strict=True), strict=True):
            columns[name].extend(values)
    return Added(rejected)


def read_texts(row: dict, names: Mapping[str, str]) -> tuple[dict[str, str | None], list[str]]:
    """Optional texts of a row, by column, and the keys that hold something else.

    Args:
        row: the object on a line.
        names: key of the row by column; a number counts as its JSON text in the column ``price`` alone.
    """
    texts, invalid = {}, []
    for column, name in names.items():
        value = row.get(name)
        if column == "price" and type(value) in (int, float):
            value = orjson.dumps(value).decode()
        if not (value is None or isinstance(value, str)):
            invalid.append(name)
            value = None
        texts[column] = value
    return texts, invalid
