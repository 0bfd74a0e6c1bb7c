"""Item text: one line for each item of the catalogue, for recommenders that read text.

Where the source has a template (``item_text`` of the marts' items), its text is taken. Otherwise the form is
``Title: … Brand: … Category: … Price: …``, with "Unknown" for what the metadata does not say and prices as ``$12.99``;
it is that of the published text baselines on these data.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ml.data.files import atomic_file, whole

UNKNOWN = "Unknown"
FILE = "item_text.parquet"
_FIELDS = ("title", "brand", "category", "price")
_TEMPLATED = "item_text"
_SHOWN = 5
_WITH_LABELS = re.compile(r"Title: (.*) Brand: (.*) Category: (.*) Price: (?:.*)", re.DOTALL)


def item_texts(items: Path | pa.Table, item_ids: np.ndarray) -> tuple[str, ...]:
    """The text of each item.

    Args:
        items: the marts' items, as a table or the Parquet file of one: ``item_id``, ``title``, ``brand``,
            ``category`` (text or null) and ``price`` (US dollars or null), and perhaps ``item_text`` (the text by a
            template, or null). More items than asked for are allowed.
        item_ids: identities in the order of the item indices, bytes ``[items]``.

    Returns:
        ``[items]`` texts, in the order of ``item_ids``; each is one line, white space within it collapsed.

    Raises:
        ValueError: a column is missing, an item is missing or is there twice; the message names the file.
    """
    where = "the table of items" if isinstance(items, pa.Table) else str(items)
    table = _read(items, where)
    identities = table["item_id"].cast(pa.string())
    if len(identities.unique()) != len(identities):
        counts = identities.value_counts()
        repeated = [entry["values"].as_py() for entry in counts if entry["counts"].as_py() > 1]
        raise ValueError(f"{where}: more than one row for item {_some(repeated)}; there must be one row an item")
    wanted = pa.array([item_id.decode() for item_id in item_ids.tolist()], pa.string())
    rows = pc.index_in(wanted, value_set=identities)
    if rows.null_count:
        missing = wanted.filter(rows.is_null()).to_pylist()
        raise ValueError(
            f"{where}: {len(missing)} items of the training set are not in it: {_some(missing)}; "
            "make the marts and the training set again from the same interactions"
        )
    columns = [table[name].take(rows).to_pylist() for name in table.schema.names if name != "item_id"]
    return tuple(_text(*row) for row in zip(*columns, strict=True))


def save_item_text(folder: Path, item_ids: np.ndarray, texts: Sequence[str]) -> None:
    """Write ``item_text.parquet`` (``item_id``, ``text``, in the order of the item indices) into a folder."""
    if len(item_ids) != len(texts):
        raise ValueError(f"{len(texts)} texts for {len(item_ids)} items")
    identities = [item_id.decode() for item_id in item_ids.tolist()]
    table = pa.table({"item_id": pa.array(identities, pa.string()), "text": pa.array(texts, pa.string())})
    with atomic_file(folder / FILE) as file:
        pq.write_table(table, file, compression="zstd")


def load_item_text(folder: Path, item_ids: np.ndarray | None = None) -> tuple[str, ...]:
    """Read what :func:`save_item_text` wrote.

    Args:
        folder: where it was written.
        item_ids: the identities that the texts are expected to belong to, bytes ``[items]``; not checked when
            ``None``.

    Raises:
        FileNotFoundError: there is none.
        ValueError: the texts belong to other items, or to the same in another order.
    """
    path = folder / FILE
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist; make the item text first")
    with whole(folder):
        table = pq.read_table(path, columns=["item_id", "text"])
    if item_ids is not None and table["item_id"].to_pylist() != [i.decode() for i in item_ids.tolist()]:
        raise ValueError(f"{path} was made for another catalogue; make the item text again")
    return tuple(table["text"].to_pylist())


def item_text_digest(item_ids: np.ndarray, texts: Sequence[str]) -> str:
    """SHA-256 over identities and texts, in hexadecimal: equal for equal texts of equal items in equal order."""
    digest = hashlib.sha256(b"raw2rank-item-text-1")
    for item_id, text in zip(item_ids.tolist(), texts, strict=True):
        for part in (item_id, text.encode()):
            # with its length, so that no two lists run together to the same bytes
            digest.update(len(part).to_bytes(8, "little"))
            digest.update(part)
    return digest.hexdigest()


def text_fields(text: str) -> list[str | None]:
    """Title, brand and category of a text of the usual form, ``None`` for what is unknown; a text of another form as it
    is, alone."""
    fields = _WITH_LABELS.fullmatch(text)
    if fields is None:
        return [text]
    return [None if field == UNKNOWN else field for field in fields.groups()]


def item_categories(texts: Sequence[str]) -> list[str | None]:
    """The category that each text of the usual form says, ``None`` for items without."""
    fields = map(text_fields, texts)
    return [known[2] if len(known) == 3 else None for known in fields]


def _read(items: Path | pa.Table, where: str) -> pa.Table:
    columns = ["item_id", *_FIELDS]
    stored = items.schema.names if isinstance(items, pa.Table) else pq.read_schema(items).names
    if missing := [name for name in columns if name not in stored]:
        raise ValueError(f"{where}: lacks column {', '.join(missing)}")
    if _TEMPLATED in stored:
        columns.append(_TEMPLATED)
    return items.select(columns) if isinstance(items, pa.Table) else pq.read_table(items, columns=columns)


def _text(
    title: str | None, brand: str | None, category: str | None, price: float | None, templated: str | None = None
) -> str:
    if templated and (text := " ".join(templated.split())):
        return text
    amount = UNKNOWN if price is None or not math.isfinite(price) else f"${price:.2f}"
    return f"Title: {_known(title)} Brand: {_known(brand)} Category: {_known(category)} Price: {amount}"


def _known(value: str | None) -> str:
    return " ".join(value.split()) or UNKNOWN if value else UNKNOWN


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(map(str, names[:_SHOWN])) + more
