"""No rule of a contract is one that cannot fire: for each there is an input that breaks it, and nothing before it."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rule_inputs import RULE_INPUTS, Files, RuleInput, files
from warehouse_dbt import CompiledProject
from warehouse_landing import SCHEMAS
from warehouse_reference import Settings

from ml.data.build_training_set import build_training_set
from ml.data.drift import accept
from ml.data.landing.land import INTERACTIONS_SCHEMA, METADATA_SCHEMA, land
from ml.data.sources import find_source
from orchestration.contracts.checks import Contract, load_contracts, validate
from orchestration.contracts.files import CODE, CRITICAL
from orchestration.contracts.frames import load_frame
from orchestration.paths import DatasetPaths, Workspace

CONTRACTS = {contract.name: contract for contract in load_contracts()}
LAYERS = ("landing", "staging", "marts", "training_sets")
NAME = "Shop"


def layer(contract: Contract) -> int:
    return LAYERS.index(contract.key.path[0])


def landed(paths: DatasetPaths, contents: Files) -> None:
    dumps = paths.home / "dumps"
    dumps.mkdir()
    for name, content in contents.items():
        (dumps / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    source = find_source(dumps, NAME)
    for kind, units, schema in (
        ("reviews", source.interactions, INTERACTIONS_SCHEMA),
        ("metadata", source.metadata, METADATA_SCHEMA),
    ):
        land(units, paths.asset("landing", kind), schema, processes=1)


def tables(paths: DatasetPaths) -> dict[str, pa.Table]:
    """The landing folders as the compiled project reads them."""
    found = {}
    for name in SCHEMAS:
        folder = paths.asset("landing", *name.split("/"))
        found[name] = pq.read_table(folder if folder.is_dir() else folder.with_suffix(".parquet"))
    return found


def exported(connection: duckdb.DuckDBPyConnection, paths: DatasetPaths) -> None:
    for schema in ("staging", "marts"):
        paths.asset(schema).mkdir()
        names = connection.execute(
            "select table_name from information_schema.tables where table_schema = ?", [schema]
        ).fetchall()
        for (name,) in names:
            connection.execute(f"copy warehouse.{schema}.{name} to '{paths.table(schema, name)}' (format parquet)")


def carried(compiled: CompiledProject, paths: DatasetPaths, contents: Files, settings: Settings, far: int) -> set[str]:
    """Carry an input as far as a layer; the data tests of dbt that it breaks on the way."""
    landed(paths, contents)
    if far == 0:
        return set()
    with compiled.build(SimpleNamespace(tables=lambda: tables(paths)), settings) as connection:
        failing = compiled.failing_data_tests(connection, settings)
        exported(connection, paths)
    if far == LAYERS.index("training_sets"):
        training_set = build_training_set(NAME, paths.table("marts", "splits"), {})
        paths.asset("training_sets", "sequences").mkdir(parents=True)
        training_set.save(paths.asset("training_sets", "sequences"))
    return failing


def workspace(monkeypatch: pytest.MonkeyPatch, home: Path, exclude_seen: bool) -> DatasetPaths:
    monkeypatch.setenv("RAW2RANK_HOME", str(home))
    paths = Workspace.current().dataset(NAME)
    paths.asset("settings").mkdir(parents=True)
    (paths.asset("settings") / "ranking.json").write_text(json.dumps({"exclude_seen": exclude_seen}))
    return paths


def broken(contract: Contract) -> dict[str, str]:
    """Broken rules and their severity."""
    result = validate(contract, load_frame(contract, NAME))
    assert not [entry.error for entry in result.results if entry.error]
    return {entry.rule.id: entry.severity for entry in result.results if not entry.passed}


@pytest.mark.slow
@pytest.mark.parametrize("name", RULE_INPUTS)
def test_input_breaks_the_rule_and_nothing_before_it(
    compiled: CompiledProject, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str
) -> None:
    case: RuleInput = RULE_INPUTS[name]
    rules = [rule.split(": ") for rule in case.breaks]
    named = {contract for contract, _ in rules}
    far = max(layer(CONTRACTS[contract]) for contract in named)
    accepted = [*case.earlier, case.accepted] if case.accepted else []
    before = [workspace(monkeypatch, tmp_path / f"before-{n}", case.exclude_seen) for n in range(len(accepted))]
    for earlier, contents in zip(before, accepted, strict=True):
        carried(compiled, earlier, contents(), case.settings, far)
    paths = workspace(monkeypatch, tmp_path / "now", case.exclude_seen)
    if accepted:
        for earlier in before:
            for kind in ("reviews", "metadata"):
                accept(kind, earlier.table("staging", f"stg_{kind}"), paths.asset("marts", "accepted") / kind)
        # the export makes the folder
        paths.asset("marts").rename(paths.home / "accepted")
    failing = carried(compiled, paths, case.files(), case.settings, far)
    if accepted:
        (paths.home / "accepted" / "accepted").rename(paths.asset("marts", "accepted"))
    assert failing == set()
    found = {
        contract: broken(CONTRACTS[contract])
        for contract in CONTRACTS
        if contract in named or (layer(CONTRACTS[contract]) < far and CONTRACTS[contract].check == "contract")
    }
    for contract, rule in rules:
        assert rule in found[contract], f"{contract}: {rule} is kept; broken are {found}"
        assert {
            (earlier, other)
            for earlier, others in found.items()
            if layer(CONTRACTS[earlier]) < layer(CONTRACTS[contract])
            for other, severity in others.items()
            if severity == CRITICAL
        } == set()


def test_a_sound_shop_breaks_nothing(
    compiled: CompiledProject, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    paths = workspace(monkeypatch, tmp_path, exclude_seen=False)
    assert carried(compiled, paths, files(), RULE_INPUTS["no times"].settings, LAYERS.index("training_sets")) == set()
    assert {name: broken(contract) for name, contract in CONTRACTS.items()} == {name: {} for name in CONTRACTS}


def test_boundaries_that_cross_are_found_by_their_data_test(compiled: CompiledProject, tmp_path: Path) -> None:
    settings = Settings(k_core=0, split="global-temporal", validation_from="2020-01-01", test_from="0.5")
    paths = DatasetPaths(tmp_path, NAME)
    landed(paths, files())
    with compiled.build(SimpleNamespace(tables=lambda: tables(paths)), settings) as connection:
        assert "assert_split_boundaries_are_in_order" in compiled.failing_data_tests(connection, settings)


def test_every_rule_has_an_input_that_breaks_it_or_guards_our_own_code() -> None:
    broken_by_an_input = {rule for case in RULE_INPUTS.values() for rule in case.breaks}
    of_input = {
        f"{name}: {rule.id}" for name, contract in CONTRACTS.items() for rule in contract.rules if rule.guards != CODE
    }
    assert broken_by_an_input == of_input, "tests/dbt/rule_inputs.py needs an input for each rule"
