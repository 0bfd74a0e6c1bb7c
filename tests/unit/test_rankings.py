"""The table of rankings: what it holds, how it is kept, and what is refused."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from audit_toys import leave_one_out
from recommender_factories import made_up_training_set

from ml.baselines.registry import BASELINES
from ml.evaluation.entry import Entry
from ml.evaluation.leaderboard import build_leaderboard
from ml.evaluation.metrics import user_metrics
from ml.evaluation.protocol_line import protocol
from ml.evaluation.rankings import COLUMNS, RankingError, facts, rank, read_rankings, write_table
from ml.recommender import NO_ITEM


@pytest.fixture(scope="module")
def training_set():
    return made_up_training_set()


@pytest.fixture(scope="module")
def recommender(training_set):
    return BASELINES["markov_chain"].create().fit(training_set)


@pytest.fixture
def rankings(recommender, training_set) -> pa.Table:
    return rank(recommender, training_set, "markov_chain", seed=4, depth=5)


def test_holds_what_was_recommended(recommender, training_set, rankings):
    assert rankings.schema.equals(COLUMNS)
    answer = recommender.recommend(training_set.histories("test"), 5, exclude_seen=False)
    users = len(training_set.test_users)
    assert rankings.num_rows == users * 5
    np.testing.assert_array_equal(rankings["user_index"], np.repeat(training_set.test_users, 5))
    np.testing.assert_array_equal(rankings["rank"], np.tile(np.arange(1, 6), users))
    np.testing.assert_array_equal(rankings["item_index"], answer.items.ravel())
    np.testing.assert_array_equal(rankings["score"], answer.scores.ravel())
    assert rankings["recommender"].unique().to_pylist() == ["markov_chain"]
    assert rankings["seed"].unique().to_pylist() == [4]
    assert facts(rankings) == {
        "dataset": "Made_Up",
        "training_set": training_set.digest(),
        "recommender": "markov_chain",
        "seed": 4,
        "depth": 5,
        "exclude_seen": False,
    }


@pytest.mark.parametrize("name", ["random", "markov_chain"])
def test_does_not_depend_on_the_size_of_blocks(training_set, name):
    recommender = BASELINES[name].create(1).fit(training_set)
    whole = rank(recommender, training_set, name, 1, exclude_seen=True)
    for block in (1, 16):
        assert rank(recommender, training_set, name, 1, exclude_seen=True, block=block).equals(whole)


def test_test_targets_are_not_read(recommender, training_set, rankings):
    changed = replace(training_set, test_targets=np.roll(training_set.test_targets, 1))
    again = rank(recommender, changed, "markov_chain", seed=4, depth=5)
    assert again.equals(rankings)


def test_lists_are_short_where_little_is_left(recommender, training_set, tmp_path):
    table = rank(recommender, training_set, "markov_chain", 0, depth=40, exclude_seen=True)
    seen = training_set.histories("test")
    expected = [40 - len(set(seen[row].tolist())) for row in range(len(seen))]
    counts = table.group_by("user_index", use_threads=False).aggregate([("rank", "max"), ("rank", "count")])
    assert counts["rank_max"].to_pylist() == counts["rank_count"].to_pylist() == expected
    assert pc.min(table["item_index"]).as_py() > NO_ITEM
    write_table(table, tmp_path / "rankings.parquet")
    assert read_rankings(tmp_path / "rankings.parquet", training_set).equals(table)


def test_a_catalogue_below_the_depth_is_refused(recommender, training_set):
    with pytest.raises(RankingError, match="Made_Up has a catalogue of 40 items, and rankings need at least 41"):
        rank(recommender, training_set, "markov_chain", 0, depth=41)
    with pytest.raises(RankingError, match="not 0"):
        rank(recommender, training_set, "markov_chain", 0, depth=0)


def test_is_the_same_after_writing_and_reading(rankings, training_set, tmp_path):
    write_table(rankings, tmp_path / "one" / "rankings.parquet")
    write_table(rankings, tmp_path / "two" / "rankings.parquet")
    table = read_rankings(tmp_path / "one" / "rankings.parquet", training_set)
    assert table.equals(rankings, check_metadata=True)
    one, two = ((tmp_path / folder / "rankings.parquet").read_bytes() for folder in ("one", "two"))
    assert one == two


def test_a_failed_write_leaves_the_old_file(rankings, training_set, tmp_path, monkeypatch):
    path = tmp_path / "rankings.parquet"
    write_table(rankings, path)

    def fail(table, file, **settings):
        file.write_bytes(b"PAR1")
        raise OSError("no space left")

    monkeypatch.setattr(pq, "write_table", fail)
    with pytest.raises(OSError, match="no space left"):
        write_table(rankings.slice(0, 5), path)
    assert read_rankings(path, training_set).equals(rankings)
    assert [file.name for file in tmp_path.iterdir()] == ["rankings.parquet"]


def with_cell(table: pa.Table, column: str, row: int, value: float) -> pa.Table:
    values = table[column].to_pylist()
    values[row] = value
    position = table.schema.get_field_index(column)
    return table.set_column(position, COLUMNS.field(column), pa.array(values, COLUMNS.field(column).type))


def with_fact(table: pa.Table, name: str, value: object) -> pa.Table:
    about = json.loads(table.schema.metadata[b"raw2rank"]) | {name: value}
    return table.replace_schema_metadata({b"raw2rank": json.dumps(about).encode()})


DAMAGES = {
    "column": (
        lambda table: table.drop_columns(["score"]),
        "the columns are user_index int32 not null, rank",
    ),
    "type": (
        lambda table: table.set_column(1, "rank", table["rank"].cast(pa.int64())),
        "the columns are user_index int32 not null, rank int64",
    ),
    "no facts": (lambda table: table.replace_schema_metadata(None), "do not say their dataset, training_set"),
    "training set": (lambda table: with_fact(table, "training_set", "beef" * 16), "beefbeefbeef"),
    "recommender": (lambda table: with_cell(table, "recommender", 3, "bm25"), "recommender holds others"),
    "seed": (lambda table: with_cell(table, "seed", 3, 9), "seed holds others than 4"),
    "user": (lambda table: with_cell(table, "user_index", -1, 69), "not of a test user"),
    "item": (lambda table: with_cell(table, "item_index", 3, 40), "outside the catalogue of 40 items"),
    "no item": (lambda table: with_cell(table, "item_index", 3, -1), "outside the catalogue of 40 items"),
    "gap": (lambda table: table.slice(1), "ranks 1, 2, 3"),
    "lost row": (
        lambda table: table.filter(pa.array(np.arange(table.num_rows) != 7)),
        "ranks 1, 2, 3",
    ),
    "order of users": (
        lambda table: pa.concat_tables([table.slice(5), table.slice(0, 5)]),
        "one user after another",
    ),
    "depth": (lambda table: with_fact(table, "depth", 4), "above the depth of 4"),
    "rising": (lambda table: with_cell(table, "score", 3, 8.0), "scores rise"),
    "not a number": (lambda table: with_cell(table, "score", 0, float("nan")), "scores rise"),
    "twice": (
        lambda table: with_cell(table, "item_index", 1, table["item_index"][0].as_py()),
        "an item stands twice",
    ),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_table_is_refused_by_file_and_reason(damage, rankings, training_set, tmp_path):
    change, reason = DAMAGES[damage]
    path = tmp_path / "rankings.parquet"
    pq.write_table(change(rankings), path)
    with pytest.raises(RankingError, match=reason) as refused:
        read_rankings(path, training_set)
    assert str(path) in str(refused.value)
    assert "rank again" in str(refused.value)


def test_what_is_not_parquet_is_refused(training_set, tmp_path):
    path = tmp_path / "rankings.parquet"
    path.write_text("user_index,rank\n")
    with pytest.raises(RankingError, match=r"rankings\.parquet is not a Parquet file"):
        read_rankings(path, training_set)


def test_a_damaged_page_is_refused_by_file(rankings, training_set, tmp_path):
    path = tmp_path / "rankings.parquet"
    write_table(rankings, path)
    written = path.read_bytes()
    path.write_bytes(written[:4] + bytes(60) + written[64:])
    with pytest.raises(RankingError, match=r"rankings\.parquet is not a Parquet file, or a damaged one") as refused:
        read_rankings(path, training_set)
    assert "rank again" in str(refused.value)


@pytest.mark.parametrize("items", [10, 12, 19])
def test_a_catalogue_smaller_than_a_list_is_ranked_whole(items):
    generator = np.random.default_rng(0)
    rows = [generator.permutation(items)[:5] for _ in range(30)]
    small = leave_one_out(rows, items)
    entries = []
    for name in ("most_popular", "markov_chain"):
        recommender = BASELINES[name].create().fit(small)
        rankings = rank(recommender, small, name, 0)
        assert facts(rankings)["depth"] == items
        assert rankings.num_rows == 30 * items
        entries.append(Entry(name, "baseline", (user_metrics(rankings, small),)))
    board = build_leaderboard(entries, small)
    assert "recall@20" not in board.schema.names
    assert protocol(board)["ranked"] == f"the whole catalogue, {items} items"
