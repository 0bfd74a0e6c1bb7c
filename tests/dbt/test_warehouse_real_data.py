"""Counts known of public dumps (folder ``RAW2RANK_DATA``), from the raw files to the marts."""

from __future__ import annotations

import gzip
import os
from dataclasses import replace
from pathlib import Path

import duckdb
import numpy as np
import pytest
from warehouse_dbt import NO_LAKE, CompiledProject, empty_warehouse
from warehouse_reference import Settings

from ml.data.build_training_set import build_training_set
from ml.data.sequences import Sequences
from ml.data.training_set import TrainingSet

pytestmark = pytest.mark.real_data

MAGAZINES = ("magazine_subscriptions_2018", "Magazine_Subscriptions")
BEAUTY = ("all_beauty_2018", "All_Beauty")
INDUSTRIAL = ("derived_raw", "Industrial_and_Scientific")
MOVIES_100K = ("ml100k", "ml-100k")
MOVIES_1M = ("ml1m", "ml1m")
BEAUTY_2014 = ("beauty_2014", "Beauty")
TOYS_2014 = ("toys_2014", "Toys_and_Games")
VIDEO_GAMES = ("video_games_sasrec", "Video")


@pytest.fixture(scope="module")
def lakes(tmp_path_factory: pytest.TempPathFactory):
    """Lands a dump of the data folder once; gives the lake folder."""
    folder = os.environ.get("RAW2RANK_DATA")
    if not folder:
        pytest.skip("RAW2RANK_DATA is not set to the folder of the public datasets")
    made: dict[tuple[str, str], Path] = {}

    def lake(dump: tuple[str, str]) -> Path:
        from ml.data.landing.land import INTERACTIONS_SCHEMA, METADATA_SCHEMA, land
        from ml.data.sources import find_source

        if dump not in made:
            if not Path(folder, dump[0]).is_dir():
                pytest.skip(f"{folder} holds no {dump[0]}")
            source = find_source(Path(folder, dump[0]), dump[1])
            made[dump] = tmp_path_factory.mktemp(dump[1])
            land(source.interactions, made[dump] / "landing" / "reviews", INTERACTIONS_SCHEMA)
            land(source.metadata, made[dump] / "landing" / "metadata", METADATA_SCHEMA)
        return made[dump]

    return lake


def built(compiled: CompiledProject, lake: Path, settings: Settings) -> duckdb.DuckDBPyConnection:
    connection = empty_warehouse()
    for name, code in compiled.models(settings).items():
        connection.execute(f"create table warehouse.{name} as {code.replace(NO_LAKE, str(lake))}")
    return connection


@pytest.mark.parametrize(
    ("dump", "k", "interactions", "users", "items"),
    [
        (MAGAZINES, 0, 2328, 348, 157),
        (MAGAZINES, 3, 2318, 348, 149),
        (MAGAZINES, 5, 2095, 304, 134),
        (BEAUTY, 0, 4166, 991, 85),
        (BEAUTY, 3, 4109, 976, 58),
        (BEAUTY, 5, 770, 151, 28),
        (INDUSTRIAL, 5, 59427, 8442, 4385),
        (MOVIES_100K, 0, 100_000, 943, 1682),
        (BEAUTY_2014, 5, 198_502, 22_363, 12_101),
        (TOYS_2014, 5, 167_597, 19_412, 11_924),
        (VIDEO_GAMES, 0, 287_107, 31_013, 23_715),
        (MOVIES_1M, 5, 999_611, 6040, 3416),
    ],
)
def test_k_cores_have_their_known_size(
    compiled: CompiledProject, lakes, dump: tuple[str, str], k: int, interactions: int, users: int, items: int
) -> None:
    with built(compiled, lakes(dump), Settings(k_core=k)) as connection:
        [counts] = connection.execute("select interactions, users, items from warehouse.marts.statistics").fetchall()
        unexplained = connection.execute(
            "select count(*) from warehouse.marts.reconciliation where unexplained <> 0"
        ).fetchall()
    assert counts == (interactions, users, items)
    assert unexplained == [(0,)]


def test_magazines_are_as_dirty_as_known(compiled: CompiledProject, lakes) -> None:
    with built(compiled, lakes(MAGAZINES), Settings(k_core=0)) as connection:
        funnel = connection.execute(
            """
            select source, rows_read, rejected, duplicates, byte_identical_duplicates, kept
            from warehouse.marts.reconciliation
            order by source
            """
        ).fetchall()
        [items] = connection.execute(
            """
            select metadata_rows, metadata_asins, items_with_metadata, items_with_title, items_with_price,
                tied_interactions, repeated_interactions
            from warehouse.marts.statistics
            """
        ).fetchall()
        [metadata] = connection.execute(
            """
            select count(*), count(price), count(price_text), count(*) filter (where conflicting)
            from warehouse.intermediate.int_metadata_deduplicated
            """
        ).fetchall()
    assert funnel == [("metadata", 3385, 0, 1065, 1065, 151), ("reviews", 2375, 0, 47, 42, 2328)]
    assert items == (3385, 2320, 151, 3, 0, 1585, 26)
    assert metadata == (2320, 0, 16, 0)


def test_validation_sample_of_a_large_dataset_has_its_size(compiled: CompiledProject, lakes) -> None:
    for asked, users in ((512, 512), (0, 8442)):
        settings = replace(Settings(), validation_users=asked)
        with built(compiled, lakes(INDUSTRIAL), settings) as connection:
            [found] = connection.execute(
                "select users_with_validation, users_with_test from warehouse.marts.statistics"
            ).fetchall()
        assert found == (users, 8442)


def test_users_of_one_interaction_are_kept_for_training(compiled: CompiledProject, lakes) -> None:
    with built(compiled, lakes(VIDEO_GAMES), Settings(k_core=0)) as connection:
        [(shortest, alone)] = connection.execute(
            "select min(interactions), count(*) filter (where interactions = 1) from warehouse.marts.users"
        ).fetchall()
        [(too_short, tested)] = connection.execute(
            "select users_too_short, users_with_test from warehouse.marts.statistics"
        ).fetchall()
        [(trained,)] = connection.execute(
            """
            select count(*) from warehouse.marts.splits
            semi join (from warehouse.marts.users where interactions = 1) using (user_id)
            where split = 'train'
            """
        ).fetchall()
    assert shortest == 1
    assert alone == too_short == trained == 31_013 - tested > 0


def test_ties_of_films_are_those_counted(compiled: CompiledProject, lakes) -> None:
    with built(compiled, lakes(MOVIES_100K), Settings(k_core=0)) as connection:
        [(tied,)] = connection.execute("select tied_interactions from warehouse.marts.statistics").fetchall()
    assert tied == 75_772


def test_a_published_split_is_taken_as_it_is(compiled: CompiledProject, lakes, tmp_path: Path) -> None:
    """The digest of the training set is that of one made of the published files without anything of this project."""
    with built(compiled, lakes(MOVIES_1M), Settings()) as connection:
        connection.execute(f"copy warehouse.marts.splits to '{tmp_path}/splits.parquet'")
    found = build_training_set("ml1m", tmp_path / "splits.parquet", {})

    def lines(name: str) -> list[list[str]]:
        path = Path(os.environ["RAW2RANK_DATA"], "ml1m", name)
        text = gzip.decompress(path.read_bytes()) if name.endswith(".gz") else path.read_bytes()
        return [line.split() for line in text.decode().splitlines()]

    train, known, targets = lines("train/input.txt.gz"), lines("test/input.txt.gz"), lines("test/output.txt")
    validation = dict(
        zip(map(tuple, lines("val/input.txt.gz")), [item for [item] in lines("val/output.txt")], strict=True)
    )
    user_ids = sorted(str(number) for number in range(1, len(train) + 1))
    item_ids = sorted({item for rows in (train, known, targets) for row in rows for item in row})
    index = {item: place for place, item in enumerate(item_ids)}

    def indices(items: list[str]) -> list[int]:
        return [index[item] for item in items]

    validated, before_validation, before_test = {}, [], []
    for place, user in enumerate(user_ids):
        row, history = train[int(user) - 1], known[int(user) - 1]
        between = history[len(row) :]
        if tuple(history[:-1]) in validation:
            assert validation[tuple(history[:-1])] == history[-1]
            validated[place] = index[history[-1]]
            before_validation.append(indices(between[:-1]))
            before_test.append([])
        else:
            before_test.append(indices(between))
    assert len(validated) == 512
    expected = TrainingSet(
        dataset="ml1m",
        item_ids=np.array(item_ids, dtype="S"),
        user_ids=np.array(user_ids, dtype="S"),
        train=Sequences.from_lists([indices(train[int(user) - 1]) for user in user_ids]),
        validation_users=np.array(list(validated), dtype=np.int32),
        validation_targets=np.array(list(validated.values()), dtype=np.int32),
        test_users=np.arange(len(user_ids), dtype=np.int32),
        test_targets=np.array([index[targets[int(user) - 1][0]] for user in user_ids], dtype=np.int32),
        before_validation=Sequences.from_lists(before_validation),
        before_test=Sequences.from_lists(before_test),
    )
    assert found.digest() == expected.digest()
