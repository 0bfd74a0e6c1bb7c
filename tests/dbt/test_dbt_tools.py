"""What a dbt user expects beside the models: exposures, source freshness, documented macros."""

from __future__ import annotations

import json
import os
import re
from dataclasses import asdict
from pathlib import Path

import pytest
import yaml
from warehouse_dbt import PROJECT, CompiledProject, DbtRun, run_dbt_here
from warehouse_landing import Landing
from warehouse_reference import Settings

# as dbt knows them: https://docs.getdbt.com/reference/resource-properties/arguments
ARGUMENT_TYPE = r"(optional|list)\[\w+\]|string|boolean|integer|float|any|relation|column"
MARTS = {"interactions", "splits", "users", "items", "reconciliation", "statistics"}


@pytest.fixture(scope="module")
def exposures(compiled: CompiledProject) -> list[dict]:
    keys = "name label description type maturity owner config depends_on"
    lines = compiled.listed("--resource-type", "exposure", "--output", "json", "--output-keys", keys)
    return [json.loads(line) for line in lines]


def test_every_exposure_says_what_it_is_and_whose(exposures: list[dict]) -> None:
    for exposure in exposures:
        assert len(exposure["description"]) > 40, exposure["name"]
        assert exposure["label"]
        assert exposure["maturity"] in {"high", "medium", "low"}
        # the teams that own the assets
        assert exposure["owner"]["name"] in {"data", "recommendation"}
        assert exposure["config"]["meta"]["dagster_assets"], exposure["name"]


def test_every_mart_leaves_the_warehouse_by_an_exposure(exposures: list[dict]) -> None:
    read = {node.split(".")[-1] for exposure in exposures for node in exposure["depends_on"]["nodes"]}
    assert read >= MARTS


def test_what_a_change_reaches_can_be_selected(compiled: CompiledProject) -> None:
    above = compiled.listed("--select", "+exposure:report", "--resource-type", "model")
    assert {"raw2rank.marts.reconciliation", "raw2rank.marts.users", "raw2rank.staging.stg_files"} <= set(above)
    assert compiled.listed("--select", "reconciliation+", "--resource-type", "exposure") == ["exposure:raw2rank.report"]


def test_freshness_is_the_time_of_landing(landing: Landing, tmp_path: Path) -> None:
    folder = landing.write(tmp_path / "it's a {lake} [1]")
    os.utime(folder / "landing" / "metadata" / "files.parquet", (0, 0))
    run = run_dbt_here(folder, ["source", "freshness"], Settings())
    # an old landing is a warning and no failure
    assert run.success, run.output
    results = json.loads((folder / "target" / "sources.json").read_text())["results"]
    found = {result["unique_id"].split(".", 2)[2]: result for result in results}
    assert {name: result["status"] for name, result in found.items()} == {
        f"landing_{kind}.{table}": status
        for kind, status in (("reviews", "pass"), ("metadata", "warn"))
        for table in ("rows", "rejects", "files")
    }
    assert found["landing_metadata.files"]["max_loaded_at"] == "1970-01-01T00:00:00+00:00"


def signatures() -> dict[str, list[str]]:
    """The arguments of each macro, materialization and generic test, by the name dbt gives it, read off the SQL."""
    found = {}
    for path in [*PROJECT.glob("macros/**/*.sql"), *PROJECT.glob("tests/generic/*.sql")]:
        heads = re.findall(r"\{%-?\s*(macro|test)\s+(\w+)\((.*?)\)\s*-?%\}", path.read_text(encoding="utf-8"))
        for name, adapter in re.findall(
            r"\{%-?\s*materialization\s+(\w+),\s*adapter='(\w+)'\s*-?%\}", path.read_text(encoding="utf-8")
        ):
            found[f"materialization_{name}_{adapter}"] = []
        for kind, name, arguments in heads:
            names = [argument.split("=")[0].strip() for argument in arguments.split(",") if argument.strip()]
            found[f"test_{name}" if kind == "test" else name] = names
    return found


def test_every_macro_and_argument_is_described(build: DbtRun) -> None:
    macros = {one["name"]: one for one in build.manifest["macros"].values() if one["package_name"] == "raw2rank"}
    expected = signatures()
    assert set(macros) == set(expected)
    # the dialects of a macro are described where it is, and do what dbt's own do where it is one of dbt
    for name in [name for name in macros if name.startswith(("default__", "spark__"))]:
        del macros[name]
    for name, macro in macros.items():
        assert len(macro["description"]) > 20, name
        assert [argument["name"] for argument in macro["arguments"]] == expected[name], name
        for argument in macro["arguments"]:
            assert len(argument["description"]) > 5, (name, argument["name"])
            assert re.fullmatch(ARGUMENT_TYPE, argument["type"]), (name, argument["name"])
        described_in = PROJECT / macro["patch_path"].removeprefix("raw2rank://")
        assert described_in.parent == (PROJECT / macro["original_file_path"]).parent, name


def test_the_reference_implementation_has_the_variables_of_the_project() -> None:
    project = yaml.safe_load((PROJECT / "dbt_project.yml").read_text(encoding="utf-8"))
    assert asdict(Settings()) == project["vars"]
