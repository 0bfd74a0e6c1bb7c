"""One whole ``dbt build``, against the same worked out in plain Python."""

from __future__ import annotations

from pathlib import Path

import pytest
from warehouse_dbt import DbtRun, run_dbt
from warehouse_landing import SCHEMAS, Landing
from warehouse_reference import Settings, reference_marts

from ml.data.landing import land as landing_step

PRIMARY_KEYS = {
    "interactions": ["user_id", "position"],
    "splits": ["user_id", "position"],
    "users": ["user_id"],
    "items": ["item_id"],
    "reconciliation": ["source", "source_file"],
    "statistics": [],
}


def assert_passed(build: DbtRun, *parts: str) -> None:
    """Assert that all nodes in these parts of the manifest were built, or have passed."""
    assert build.success, build.output
    ran = [node for part in parts for node in build.manifest[part]]
    assert len(build.statuses) == len(ran)
    assert build.named("no-op") == {exposure["name"] for exposure in build.manifest["exposures"].values()}
    assert set(build.statuses.values()) == {"success", "pass", "no-op"}


def test_build_passes_with_every_model_and_data_test(build: DbtRun) -> None:
    assert_passed(build, "nodes", "exposures")


# what unit tests say of single rows, the marts and the properties here say of whole dumps
@pytest.mark.slow
def test_a_user_builds_with_unit_tests_too(landing: Landing, build_settings: Settings, tmp_path: Path) -> None:
    # a name that would break a careless path
    folder = landing.write(tmp_path / "it's a {lake} [1]")
    build = run_dbt(folder, ["build"], build_settings)
    assert_passed(build, "nodes", "unit_tests", "exposures")
    kinds = {result["unique_id"].split(".")[0] for result in build.results}
    assert kinds == {"model", "test", "unit_test", "exposure"}


@pytest.mark.parametrize("mart", PRIMARY_KEYS)
def test_marts_hold_what_the_dump_says_in_the_order_of_their_key(
    build: DbtRun, landing: Landing, build_settings: Settings, mart: str
) -> None:
    rows = build.table(f"marts.{mart}")
    expected = reference_marts(landing, build_settings)[mart]
    assert [set(row) for row in expected] == [set(row) for row in rows]
    for row, expected_row in zip(rows, expected, strict=True):
        assert row == pytest.approx(expected_row, nan_ok=False)
    assert rows == sorted(rows, key=lambda row: [row[name] for name in PRIMARY_KEYS[mart]])


def test_fixture_holds_the_dirt_it_is_made_for(build: DbtRun) -> None:
    [counts] = build.rows(
        """
        select
            (select count(*) from intermediate.int_interactions_deduplicated where duplicate_rows > 0) > 0,
            (select sum(byte_identical_duplicates) from marts.reconciliation where source = 'reviews') > 0,
            (select sum(duplicates - byte_identical_duplicates) from marts.reconciliation
             where source = 'reviews') > 0,
            (select count(*) from intermediate.int_metadata_deduplicated where conflicting) > 0,
            (select count(*) from intermediate.int_metadata_deduplicated
             where source_rows > 1 and not conflicting) > 0,
            (select count(distinct dropped_by) from intermediate.int_interactions_judged) = 5,
            (select sum(dropped_by_k_core) from marts.reconciliation) > 0,
            (select count(*) from intermediate.int_interactions_core where rating is null) = 0,
            (select count(*) from marts.items where not has_metadata) > 0,
            (select count(distinct split) from marts.splits) = 3,
            (select count(distinct role) from marts.users) >= 2,
            (select count(*) from staging.stg_rejects) = 3
        """
    )
    assert all(counts), counts


def test_rejects_keep_the_line(build: DbtRun) -> None:
    lines = build.rows("select source, reason, line from staging.stg_rejects order by all")
    assert lines == [
        ("metadata", "not an object", "[]"),
        ("reviews", "invalid UTF-8", r"\xFF"),
        ("reviews", "malformed JSON", "{"),
    ]


def test_schemas_are_called_as_the_layers(build: DbtRun) -> None:
    schemas = build.rows(
        "select schema_name from duckdb_tables() union select schema_name from duckdb_views() where not internal"
    )
    assert {name for (name,) in schemas} == {"staging", "intermediate", "marts"}


def test_landing_writes_the_tables_that_the_fixture_makes_up() -> None:
    written = {
        "reviews/rows": landing_step.INTERACTIONS_SCHEMA,
        "metadata/rows": landing_step.METADATA_SCHEMA,
        **{f"{kind}/rejects": landing_step.REJECTS_SCHEMA for kind in ("reviews", "metadata")},
        **{f"{kind}/files": landing_step.FILES_SCHEMA for kind in ("reviews", "metadata")},
    }
    for name, schema in SCHEMAS.items():
        assert {field.name: field.type for field in written[name]} == {field.name: field.type for field in schema}
