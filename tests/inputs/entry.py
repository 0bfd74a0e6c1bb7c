"""What an input is, and small builders of files."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.parquet as pq

TIME = 1_400_000_000
DAY = 86_400


@dataclass(frozen=True)
class Input:
    """Files of a dataset called ``shop``, and what must happen to them.

    Attributes:
        group: heading of the page.
        title: what is special about the files.
        files: contents by name.
        source: text of ``source.toml``; no such file where it is empty.
        dataset: name of the dataset.
        rows: how many interactions are kept; ``None`` for an input that is refused.
        kept: users, items and times of the rows, where it matters which they are.
        rejects: how many lines are rejected for which reason.
        warns: a part of each warning, of the reading or of a contract.
        stops: rules that stop the run.
        items: rows of metadata that are kept; ``None`` where there is no metadata.
        refused: a part of the sentence of the refusal.
        checked: whether the contracts on what was landed are asked too.
    """

    group: str
    title: str
    files: Mapping[str, str | bytes]
    source: str = ""
    dataset: str = "shop"
    rows: int | None = None
    kept: Sequence[tuple] | None = None
    rejects: Mapping[str, int] = field(default_factory=dict)
    warns: Sequence[str] = ()
    stops: Sequence[str] = ()
    items: int | None = None
    refused: str = ""
    checked: bool = False

    @property
    def id(self) -> str:
        return f"{self.group}: {self.title}"


def table(header: str, *rows: str, end: str = "\n") -> str:
    """Lines of a text table."""
    return "".join(f"{line}{end}" for line in (header, *rows))


def zipped(text: str | bytes) -> bytes:
    """gzip without compression, whose bytes are the same with every version of zlib."""
    return gzip.compress(text.encode() if isinstance(text, str) else text, compresslevel=0, mtime=0)


def tar(name: str, content: str) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        member = tarfile.TarInfo(name)
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content.encode()))
    return buffer.getvalue()


def parquet(columns: Mapping[str, object]) -> bytes:
    """A Parquet file of columns, each a list or an Arrow array."""
    buffer = io.BytesIO()
    pq.write_table(pa.table(dict(columns)), buffer)
    return buffer.getvalue()


def lines(*rows: object) -> str:
    return "".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows)


def review_2018(user: str = "A1", item: str = "B1", **fields: object) -> dict:
    return {"overall": 5.0, "reviewerID": user, "asin": item, "unixReviewTime": TIME, **fields}


def review_2023(user: str = "A1", item: str = "B1", **fields: object) -> dict:
    return {"rating": 5.0, "user_id": user, "parent_asin": item, "asin": "X", "timestamp": TIME * 1000, **fields}


def item_2018(item: str = "B1", **fields: object) -> dict:
    return {"asin": item, "title": "Anvil", "brand": "Acme", "main_cat": "Tools", "price": "$5.00", **fields}


def item_2023(item: str = "B1", **fields: object) -> dict:
    return {"parent_asin": item, "title": "Anvil", "store": "Acme", "main_category": "Tools", "price": 5.0, **fields}
