"""Bad data is stopped by the right test, and there is no test that cannot fail."""

from __future__ import annotations

import math
import shutil
from dataclasses import replace
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest
from warehouse_dbt import CompiledProject, DbtRun, run_dbt_here, table_rows
from warehouse_landing import Landing
from warehouse_reference import Settings

# For each table, what makes all of its tests fail: rows twice, nulls, values out of range, rows moved.
DAMAGE = {
    "staging.stg_files": "insert into {t} select * replace (rows_read + 1 as rows_read) from {t}",
    "staging.stg_review_files": "insert into {t} from {t}",
    "staging.stg_rejects": "insert into {t} from {t}; update {t} set source = 'other', reason = null",
    "staging.stg_reviews": "insert into {t} select * replace (null as user_id, 1e999 as rating, -1 as millisecond, "
    "-1 as given_position, 'other' as given_split) from {t}; insert into {t} from {t} limit 1",
    "staging.stg_metadata": "insert into {t} select * replace (null as item_id, -1 as price) from {t}",
    "intermediate.int_interactions_deduplicated": "insert into {t} select * replace (-1 as duplicate_rows) from {t}",
    "intermediate.int_metadata_deduplicated": "insert into {t} from {t}",
    "intermediate.int_interactions_judged": "insert into {t} select * replace ('other' as dropped_by) from {t}",
    "intermediate.int_interactions_selected": "insert into {t} from {t}",
    "intermediate.int_split_boundaries": "insert into {t} values (2, 1, 0)",
    "intermediate.int_cold_items": "insert into {t} values ('twice', 'other'), ('twice', 'other')",
    "intermediate.int_core_nodes": "insert into {t} select * replace ('other' as side) from {t}; "
    "insert into {t} from {t}",
    "intermediate.int_interactions_core": "insert into {t} select * replace ('alone' as user_id) from {t} limit 1; "
    "insert into {t} from {t} limit 2",
    # all positions one later, a row twice, and items nobody knows
    "marts.interactions": "update {t} set position = case position when 0 then 2 when 2 then 0 else position end; "
    "insert into {t} from {t} limit 1; update {t} set item_id = 'unknown' where position = 1",
    # targets swapped, nothing to train on, users and items nobody knows
    "marts.splits": "update {t} set split = case split when 'test' then 'validation' when 'validation' then 'test' "
    "else 'other' end; "
    "insert into {t} select * replace ('unknown' as user_id, null as item_id) from {t}; "
    "insert into {t} from {t} limit 1",
    "marts.users": "insert into {t} select * replace (0 as interactions, 'none' as role) from {t}",
    "marts.items": "insert into {t} select * replace (-1 as price, null as has_metadata) from {t}",
    "marts.reconciliation": "insert into {t} select * replace (-1 as kept, 1 as unexplained) from {t}",
    "marts.statistics": "insert into {t} select * replace (users + 1 as users, null as k_core) from {t}",
}


@pytest.fixture(scope="module")
def damaged(build: DbtRun, build_settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> DbtRun:
    """All data tests on the warehouse of the good build, after every table of it has been damaged."""
    folder = tmp_path_factory.mktemp("damaged")
    warehouse = shutil.copy(build.folder / "warehouse.duckdb", folder)
    with duckdb.connect(str(warehouse)) as connection:
        views = connection.execute("select schema_name, view_name from duckdb_views() where not internal")
        for schema, view in views.fetchall():
            connection.execute(f"create table {schema}.copy as from {schema}.{view}")
            connection.execute(f"drop view {schema}.{view}; alter table {schema}.copy rename to {view}")
        for table, code in DAMAGE.items():
            connection.execute(code.format(t=table))
    return run_dbt_here(folder, ["test", "--exclude-resource-type", "unit_test"], build_settings)


def built(folder: Path, landing: Landing, settings: Settings) -> DbtRun:
    landing.write(folder)
    return run_dbt_here(folder, ["build", "--exclude-resource-type", "unit_test"], settings)


@pytest.fixture(scope="module")
def emptied(landing: Landing, build_settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> DbtRun:
    return built(tmp_path_factory.mktemp("emptied"), landing, replace(build_settings, k_core=1000))


@pytest.mark.slow
def test_no_data_test_is_unable_to_fail(damaged: DbtRun, emptied: DbtRun) -> None:
    assert not damaged.named("error"), damaged.output
    assert set(damaged.statuses) == damaged.named("pass", "fail")
    assert damaged.named("pass") - emptied.named("fail") == set()


def test_k_core_that_leaves_nothing_stops_the_build_by_name(emptied: DbtRun) -> None:
    assert not emptied.success
    assert emptied.named("fail", "error") == {"assert_interactions_are_left"}
    assert {"splits", "users", "items", "statistics", "reconciliation"} <= emptied.named("skipped")


class LandingThatLosesARow(Landing):
    def tables(self) -> dict[str, pa.Table]:
        tables = super().tables()
        return tables | {"reviews/rows": tables["reviews/rows"].slice(1)}


def test_lost_row_is_found_by_the_reconciliation(
    compiled: CompiledProject, landing: Landing, build_settings: Settings
) -> None:
    lost = next(line for line in landing.reviews if "reason" not in line)
    losing = LandingThatLosesARow(landing.reviews, landing.metadata, landing.repeated)
    with compiled.build(losing, build_settings) as connection:
        assert compiled.failing_data_tests(connection, build_settings) == {"assert_no_row_is_unexplained"}
        rows = table_rows(connection, "marts.reconciliation")
    unexplained = [(row["source"], row["source_file"], row["unexplained"]) for row in rows if row["unexplained"]]
    assert unexplained == [("reviews", lost["source_file"], 1)]


def test_rating_that_is_no_number_stops_everything_that_reads_it(
    landing: Landing, build_settings: Settings, tmp_path: Path
) -> None:
    wrong = [line | {"rating": math.inf} if "reason" not in line else line for line in landing.reviews]
    run = built(tmp_path, replace(landing, reviews=wrong), build_settings)
    assert not run.success
    assert run.named("fail", "error") == {"stg_reviews_rating_is_finite"}
    assert {"int_interactions_deduplicated", "interactions", "splits"} <= run.named("skipped")
