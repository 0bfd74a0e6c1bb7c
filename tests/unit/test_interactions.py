"""The kept interactions as the audits read them."""

from pathlib import Path
from types import SimpleNamespace

import pyarrow as pa
import pyarrow.parquet as pq

from ml.data.timed_interactions import read_interactions


def test_lines_are_in_the_order_of_the_source_and_not_by_name(tmp_path: Path):
    rows = [
        # user, position, item, file, place of the file, line
        ("A", 0, "x", "orders_2.csv", 1, 9),
        ("A", 1, "y", "orders_10.csv", 2, 1),
        ("B", 0, "y", "orders_2.csv", 1, 3),
    ]
    interactions = [
        {
            "user_id": user,
            "position": position,
            "item_id": item,
            "timestamp": 86_400,
            "millisecond": 0,
            "rating": None,
            "given_position": 0,
            "given_split": None,
            "source_file": file,
            "file_position": place,
            "line_number": line,
            "duplicate_rows": 0,
        }
        for user, position, item, file, place, line in rows
    ]
    splits = [
        {name: row[name] for name in ("user_id", "position", "item_id")} | {"split": "train"} for row in interactions
    ]
    nulls = {"rating": pa.float64(), "given_split": pa.string()}
    table = pa.Table.from_pylist(interactions)
    for name, kind in nulls.items():
        table = table.set_column(table.schema.get_field_index(name), name, table[name].cast(kind))
    pq.write_table(table, tmp_path / "interactions.parquet")
    pq.write_table(pa.Table.from_pylist(splits), tmp_path / "splits.parquet")
    read = read_interactions(
        tmp_path / "interactions.parquet", tmp_path / "splits.parquet", SimpleNamespace(users=2, items=2)
    )
    assert read.lines.argsort().tolist() == [2, 0, 1]
