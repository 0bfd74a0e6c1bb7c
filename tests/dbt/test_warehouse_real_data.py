"""Counts known of public dumps (folder ``RAW2RANK_DATA``), from the raw files to the marts."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import duckdb
import pytest
from warehouse_dbt import NO_LAKE, CompiledProject, empty_warehouse
from warehouse_reference import Settings

pytestmark = pytest.mark.real_data

MAGAZINES = ("magazine_subscriptions_2018", "Magazine_Subscriptions")
BEAUTY = ("all_beauty_2018", "All_Beauty")
INDUSTRIAL = ("derived_raw", "Industrial_and_Scientific")


@pytest.fixture(scope="module")
def lakes(tmp_path_factory: pytest.TempPathFactory):
    """Lands a dump of the data folder once; gives the lake folder."""
    folder = os.environ.get("RAW2RANK_DATA")
    if not folder:
        pytest.skip("RAW2RANK_DATA is not set to the folder of the public datasets")
    made: dict[tuple[str, str], Path] = {}

    def lake(dump: tuple[str, str]) -> Path:
        from ml.data.landing import land_metadata, land_reviews

        if dump not in made:
            reviews = Path(folder, dump[0], f"{dump[1]}_5.json.gz")
            metadata = Path(folder, dump[0], f"meta_{dump[1]}.json.gz")
            if not reviews.exists():
                pytest.skip(f"{reviews} is absent")
            made[dump] = tmp_path_factory.mktemp(dump[1])
            land_reviews([reviews], made[dump] / "landing" / "reviews")
            land_metadata([metadata] if metadata.exists() else [], made[dump] / "landing" / "metadata")
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
            select source, lines_read, rejected, duplicates, byte_identical_duplicates, kept
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
