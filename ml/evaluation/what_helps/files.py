"""The table that a comparison of recommenders with their plain counterparts is saved as."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from ml.data.files import whole
from ml.evaluation.compared_columns import COMPARED, compared_cells, compared_of, known, number
from ml.evaluation.rankings import write_table
from ml.evaluation.what_helps.content import Gain, WhatHelps

_LEFT_OUT = b"left_out"
_TEXTS = ("recommender", "title", "family", "plain", "plain_title", "part")
_COUNTS = ("seeds", "plain_seeds", "users")
_NUMBERS = ("ndcg@10", "plain_ndcg@10", "difference")
# not known where nothing varies
_OPEN = (*(name for name in COMPARED if name not in _NUMBERS), "detectable_difference")
COLUMNS = pa.schema(
    [
        *(pa.field(name, pa.string(), nullable=False) for name in _TEXTS),
        *(pa.field(name, pa.int64(), nullable=False) for name in _COUNTS),
        *(pa.field(name, pa.float64(), nullable=False) for name in _NUMBERS),
        *(pa.field(name, pa.float64()) for name in _OPEN),
    ]
)


def gains_table(found: WhatHelps) -> pa.Table:
    """One row a recommender and part, columns :data:`COLUMNS`; the schema's metadata say what was left out."""
    rows = [
        {
            **{name: getattr(gain, name) for name in (*_TEXTS, *_COUNTS)},
            "ndcg@10": gain.value,
            "plain_ndcg@10": gain.plain_value,
            **compared_cells(gain.compared),
            "detectable_difference": known(gain.detectable),
        }
        for gain in found.gains
    ]
    left_out = json.dumps(found.left_out, ensure_ascii=False).encode()
    return pa.Table.from_pylist(rows, COLUMNS.with_metadata({_LEFT_OUT: left_out}))


def save_what_helps(found: WhatHelps, path: Path) -> None:
    """Write the table of :func:`gains_table` as Parquet, whole or not at all."""
    write_table(gains_table(found), path)


def load_what_helps(path: Path) -> WhatHelps:
    """Read what :func:`save_what_helps` wrote.

    Raises:
        DamagedFile: it is not there, or not as it was written.
    """
    with whole(path):
        table = pq.read_table(path)
        if not table.schema.equals(COLUMNS, check_metadata=False):
            raise ValueError("it has other columns")
        left_out = json.loads((table.schema.metadata or {})[_LEFT_OUT])
        return WhatHelps(tuple(map(_gain, table.to_pylist())), tuple((title, plain) for title, plain in left_out))


def _gain(row: dict) -> Gain:
    compared = compared_of(row)
    assert compared is not None
    return Gain(
        **{name: row[name] for name in (*_TEXTS, *_COUNTS)},
        value=row["ndcg@10"],
        plain_value=row["plain_ndcg@10"],
        compared=compared,
        detectable=number(row["detectable_difference"]),
    )
