"""House rules of the dbt project, read off its manifest and its folders."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from warehouse_dbt import JUDGED, PROJECT, DbtRun, parsed

LAYERS = {
    "staging": {"stg_reviews", "stg_metadata", "stg_rejects", "stg_files", "stg_review_files"},
    "intermediate": {
        "int_interactions_deduplicated",
        "int_interactions_judged",
        "int_interactions_selected",
        "int_core_nodes",
        "int_interactions_core",
        "int_split_boundaries",
        "int_cold_items",
        "int_metadata_deduplicated",
    },
    "marts": {"interactions", "splits", "users", "items", "reconciliation", "statistics"},
}
MODELS = sorted(name for names in LAYERS.values() for name in names)


@pytest.fixture(scope="module")
def nodes(build: DbtRun) -> dict[str, dict]:
    return {node["name"]: node for node in build.manifest["nodes"].values() if node["resource_type"] == "model"}


def data_tests(build: DbtRun, unique_id: str) -> list[dict]:
    return [
        node
        for node in build.manifest["nodes"].values()
        if node["resource_type"] == "test" and node.get("attached_node") == unique_id
    ]


@pytest.mark.slow
def test_one_model_is_materialized_by_a_setting_and_nothing_else_depends_on_one() -> None:
    """What the tests that go on from one parsed project take for granted."""
    cleaned, plain = (_without_the_clock(parsed(any_rule).to_dict()) for any_rule in (True, False))
    one, other = cleaned["nodes"].pop(JUDGED), plain["nodes"].pop(JUDGED)
    assert one["config"].pop("materialized") == "table"
    assert other["config"].pop("materialized") == "view"
    # the rest are other forms of the same
    forms = {"config_call_dict", "unrendered_config", "depends_on"}
    assert {name: one[name] for name in one.keys() - forms} == {name: other[name] for name in other.keys() - forms}
    for section in ("nodes", "sources", "macros", "exposures", "unit_tests", "groups", "docs"):
        assert cleaned[section] == plain[section], section


def _without_the_clock(value: object):
    if isinstance(value, dict):
        return {name: _without_the_clock(inner) for name, inner in value.items() if name != "created_at"}
    return [_without_the_clock(inner) for inner in value] if isinstance(value, list) else value


def test_every_group_has_an_owner(build: DbtRun) -> None:
    assert {group["name"]: group["owner"]["name"] for group in build.manifest["groups"].values()} == {"data": "data"}


def test_layers_hold_the_models_they_should(nodes: dict[str, dict]) -> None:
    found = {layer: {name for name, node in nodes.items() if node["schema"] == layer} for layer in LAYERS}
    assert found == LAYERS


@pytest.mark.parametrize("model", MODELS)
def test_model_is_described_owned_and_grouped(nodes: dict[str, dict], model: str) -> None:
    node = nodes[model]
    assert len(node["description"]) > 20
    assert node["meta"]["dagster"] == {"group": node["schema"], "owners": ["team:data"]}
    # the same for tools that know dbt alone
    assert node["config"]["group"] == "data"


@pytest.mark.parametrize("model", MODELS)
def test_columns_are_those_of_the_table_described_and_typed(build: DbtRun, nodes: dict[str, dict], model: str) -> None:
    node = nodes[model]
    table = build.rows(
        f"select column_name, data_type from duckdb_columns() where schema_name = '{node['schema']}' "
        f"and table_name = '{model}' order by column_index"
    )
    columns = node["columns"].values()
    assert [(column["name"], column["data_type"].upper()) for column in columns] == table
    assert all(len(column["description"]) > 5 for column in columns)


@pytest.mark.parametrize("model", sorted(LAYERS["marts"]))
def test_marts_enforce_their_contract(nodes: dict[str, dict], model: str) -> None:
    assert nodes[model]["config"]["contract"]["enforced"]
    assert nodes[model]["config"]["materialized"] == "table"


@pytest.mark.parametrize("model", MODELS)
def test_layers_read_only_what_they_may(nodes: dict[str, dict], model: str) -> None:
    read = nodes[model]["depends_on"]["nodes"]
    layer = nodes[model]["schema"]
    layers_read = {nodes[name.split(".")[-1]]["schema"] for name in read if name.startswith("model.")}
    if any(name.startswith("source.") for name in read):
        assert layer == "staging", f"{model} reads a source"
    assert not (layer == "staging" and layers_read), f"{model} reads a model"
    assert not (layer == "intermediate" and "marts" in layers_read), f"{model} reads a mart"


@pytest.mark.parametrize("model", MODELS)
def test_model_has_a_test_of_its_primary_key(build: DbtRun, nodes: dict[str, dict], model: str) -> None:
    tests = {test["name"] for test in data_tests(build, nodes[model]["unique_id"])}
    # the tables of one row have no key to repeat
    of_one_row = model in {"statistics", "int_split_boundaries"}
    assert f"{model}_{'has_one_row' if of_one_row else 'primary_key'}" in tests


@pytest.mark.parametrize("model", MODELS)
def test_model_has_one_yml_of_its_own(nodes: dict[str, dict], model: str) -> None:
    sql = Path(nodes[model]["original_file_path"])
    assert nodes[model]["patch_path"] == f"raw2rank://{sql.with_suffix('.yml')}"
    described = re.findall(r"^  - name: (\S+)$", (PROJECT / sql.with_suffix(".yml")).read_text(), re.MULTILINE)
    assert [name for name in described if name in nodes] == [model]


def test_every_model_file_belongs_to_a_model(nodes: dict[str, dict]) -> None:
    files = {path.stem for path in (PROJECT / "models").rglob("*.yml")} - {"sources", "exposures", "groups"}
    assert files == set(nodes)


def test_data_tests_are_errors_and_those_of_several_models_say_whose_they_are(
    build: DbtRun, nodes: dict[str, dict]
) -> None:
    for node in build.manifest["nodes"].values():
        if node["resource_type"] != "test":
            continue
        assert node["config"]["severity"].lower() == "error", node["name"]
        if node.get("attached_node") is None:
            assert len(node["description"]) > 20, node["name"]
            assert node["config"]["meta"]["dagster"]["ref"]["name"] in nodes, node["name"]


@pytest.mark.parametrize("model", MODELS)
def test_model_has_unit_tests(build: DbtRun, model: str) -> None:
    assert model in {test["model"] for test in build.manifest["unit_tests"].values()}


@pytest.mark.parametrize(
    "path", sorted(PROJECT.glob("m*/**/*.sql")) + sorted(PROJECT.glob("tests/**/*.sql")), ids=lambda path: path.stem
)
def test_sql_is_lowercase_and_does_without_the_unstable_hash(path: Path) -> None:
    without_comments = re.sub(r"\{#.*?#\}|--[^\n]*", "", path.read_text(), flags=re.DOTALL)
    code = re.sub(r"'[^']*'", "''", without_comments)
    assert not re.search(r"\b(SELECT|FROM|WHERE|JOIN|GROUP|ORDER|UNION|CASE|WHEN|AND|OR|AS)\b", code)
    # DuckDB may change what hash() gives at any release
    assert not re.search(r"\bhash\s*\(", code)
