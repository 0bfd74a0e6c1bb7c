"""The public datasets, as they were published: every count is known."""

import os
from pathlib import Path

import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from ml.data.landing.land import land
from ml.data.landing.schema import INTERACTIONS_SCHEMA
from ml.data.sources import datasets_in, find_source

pytestmark = pytest.mark.real_data


@pytest.mark.parametrize(
    ("folder", "dataset", "layout", "lines", "rows", "users", "items", "repeated"),
    [
        ("ml100k", "ml-100k", "table", 100_001, 100_000, 943, 1682, 0),
        ("beauty_2014", "Beauty", "sequence", 22_363, 198_502, 22_363, 12_101, 0),
        ("beauty_2014", "user_sequence", "sequence", 22_363, 198_502, 22_363, 12_101, 0),
        ("toys_2014", "Toys_and_Games", "sequence", 19_412, 167_597, 19_412, 11_924, 0),
        ("video_games_sasrec", "Video", "sequence", 287_107, 287_107, 31_013, 23_715, 0),
        ("ml1m", "ml-1m", "sequence", 999_611, 999_611, 6040, 3416, 0),
        ("ml1m", "ml1m", "given_split", 19_144, 999_611, 6040, 3416, 1_071_855),
    ],
)
def test_public_sources_land_whole(tmp_path, folder, dataset, layout, lines, rows, users, items, repeated):
    data = os.environ.get("RAW2RANK_DATA")
    if not data or not (Path(data) / folder).is_dir():
        pytest.skip(f"RAW2RANK_DATA does not name a folder with {folder}")
    assert dataset in datasets_in(Path(data) / folder)
    source = find_source(Path(data) / folder, dataset)
    assert source.layout == layout
    landed = land(source.interactions, tmp_path / "landed", INTERACTIONS_SCHEMA, processes=1)
    assert (landed.lines_read, landed.rows_kept, landed.rows_rejected, landed.rows_repeated) == (
        lines,
        rows,
        0,
        repeated,
    )

    (path,) = (tmp_path / "landed" / "rows").iterdir()
    table = pq.read_table(path)
    assert len(table) == rows
    assert (len(pc.unique(table["user_id"])), len(pc.unique(table["item_id"]))) == (users, items)
    if layout == "table":
        assert set(table["given_position"].unique().to_pylist()) == {0}
        stamps = pc.min_max(table["timestamp"]).as_py()
        # 1997-09-20 and 1998-04-22, UTC
        assert (stamps["min"] // 86_400, stamps["max"] // 86_400) == (10_124, 10_338)
    else:
        assert table["given_position"].to_pylist() == list(range(1, rows + 1))
        assert table["timestamp"].null_count == rows
    if layout == "given_split":
        counts = {pair["values"]: pair["counts"] for pair in pc.value_counts(table["given_split"]).to_pylist()}
        assert counts == {"train": 987_019, "history": 6040, "validation": 512, "test": 6040}
