"""Running the dbt project: as a user does, in its own process; and its compiled SQL, straight in DuckDB."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cache, cached_property
from graphlib import TopologicalSorter
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb
import pytest
from warehouse_landing import SCHEMAS, Landing
from warehouse_reference import Settings

from orchestration.dataset_lock import exclusive_lock

if TYPE_CHECKING:
    from dbt.contracts.graph.manifest import Manifest

REPOSITORY = Path(__file__).resolve().parents[2]
PROJECT = REPOSITORY / "dbt_project"
# stands in the compiled SQL where the folder of a dataset would
NO_LAKE = "/lake-of-no-dataset"
JUDGED = "model.raw2rank.int_interactions_judged"
# where the processes of a test run keep what dbt has parsed; the fixture `shared` says where
PARSED: list[Path] = []
# links to the folders of datasets
_LINKS = tempfile.TemporaryDirectory(prefix="raw2rank-")


@dataclass(frozen=True)
class DbtRun:
    """A finished run of dbt: the folder it worked in, whether all went well, what it printed, its artifacts.

    ``told`` are the results of a run in this process, which need not be written.
    """

    folder: Path
    success: bool
    output: str
    told: list[dict] | None = None

    @cached_property
    def results(self) -> list[dict]:
        """What dbt says of each node it ran."""
        if self.told is not None:
            return self.told
        return json.loads((self.folder / "target" / "run_results.json").read_text())["results"]

    @cached_property
    def statuses(self) -> dict[str, str]:
        """Status of each node (``success``, ``pass``, ``fail``, ``error``, ``skipped``) by its plain name."""
        return {_plain_name(result["unique_id"]): result["status"] for result in self.results}

    def named(self, *statuses: str) -> set[str]:
        """Names of the nodes with one of these statuses."""
        return {name for name, status in self.statuses.items() if status in statuses}

    @cached_property
    def manifest(self) -> dict:
        return json.loads((self.folder / "target" / "manifest.json").read_text())

    def rows(self, query: str) -> list[tuple]:
        """Rows of a query on the warehouse."""
        with duckdb.connect(str(self.folder / "warehouse.duckdb"), read_only=True) as connection:
            return connection.execute(query).fetchall()

    def table(self, name: str) -> list[dict]:
        """Rows of a table of the warehouse, in the order they lie in."""
        with duckdb.connect(str(self.folder / "warehouse.duckdb"), read_only=True) as connection:
            return connection.sql(f"select * from {name}").to_arrow_table().to_pylist()


def _plain_name(unique_id: str) -> str:
    # test.<project>.<name>.<hash>, but unit_test.<project>.<model>.<name>
    parts = unique_id.split(".")
    return parts[3] if parts[0] == "unit_test" else parts[2]


def _arguments(folder: Path, command: list[str], settings: Settings) -> list[str]:
    return [*command, *_places(folder), "--vars", json.dumps(asdict(settings))]


def _places(folder: Path) -> list[str]:
    project, target, logs = str(PROJECT), str(folder / "target"), str(folder / "logs")
    return ["--project-dir", project, "--profiles-dir", project, "--target-path", target, "--log-path", logs]


def _environment(folder: Path) -> dict[str, str]:
    return {
        "RAW2RANK_LAKE": str(folder),
        "RAW2RANK_WAREHOUSE": str(folder / "warehouse.duckdb"),
        "RAW2RANK_DUCKDB_THREADS": "2",
        "RAW2RANK_DBT_THREADS": "2",
    }


def run_dbt(folder: Path, command: list[str], settings: Settings) -> DbtRun:
    """Run the dbt of this environment as a user does; lake, warehouse, target and logs lie in ``folder``."""
    completed = subprocess.run(
        [Path(sys.executable).with_name("dbt"), *_arguments(folder, command, settings)],
        cwd=folder,
        env=os.environ | _environment(folder),
        capture_output=True,
        text=True,
        check=False,
    )
    return DbtRun(folder, completed.returncode == 0, completed.stdout + completed.stderr)


@contextmanager
def _here(environment: dict[str, str]) -> Iterator[None]:
    """For dbt in this process: its environment, and what it works out in each run remembered."""
    from dbt_common.behavior_flags import BehaviorFlagRendered
    from dbt_common.tests import enable_test_caching

    enable_test_caching()
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        # it looks for its caller among all modules, of which pytest has thousands
        patch.setattr(BehaviorFlagRendered, "_default_source", staticmethod(lambda: "dbt"))
        yield


@cache
def parsed(any_cleaning_rule: bool = True) -> Manifest:
    """The project as dbt parses it; once, since that takes longer than building a small dataset.

    Settings are read when SQL is compiled. Only whether any cleaning rule is on is read here: it decides how
    ``int_interactions_judged`` is materialized, and nothing else, which a slow test of the manifest sees. Of several
    test processes one parses, and dbt finds in the others that nothing has changed since.
    """
    from dbt.cli.main import dbtRunner

    variables = json.dumps({"verified_only": any_cleaning_rule})
    folder = PARSED[-1] / ("cleaned" if any_cleaning_rule else "as it is")
    environment = _environment(folder) | {"RAW2RANK_LAKE": NO_LAKE}
    with exclusive_lock(folder), _here(environment):
        parsed = dbtRunner().invoke(["parse", *_places(folder), "--vars", variables, "--quiet"])
    assert parsed.success, parsed.exception
    return parsed.result


def _any_cleaning_rule(settings: Settings) -> bool:
    rules = ("from_date", "until_date", "verified_only", "min_rating", "first_interaction_only", "min_history")
    return any(getattr(settings, rule) for rule in rules)


def _manifest_of(folder: Path, settings: Settings) -> Manifest:
    """The parsed project, with sources in a folder; a copy, since dbt writes compiled SQL into it."""
    # in a pattern of file names or a format the name of the folder would have to be quoted, unlike that of a link to it
    lake = Path(_LINKS.name) / hashlib.sha256(str(folder).encode()).hexdigest()
    if not lake.is_symlink():
        lake.symlink_to(folder, target_is_directory=True)
    manifest = parsed().deepcopy()
    if not _any_cleaning_rule(settings):
        manifest.nodes[JUDGED].config.materialized = "view"
    for source in manifest.sources.values():
        source.config["external_location"] = source.config["external_location"].replace(NO_LAKE, str(lake))
        source.loaded_at_query = source.loaded_at_query.replace(NO_LAKE, str(lake))
    return manifest


def run_dbt_here(folder: Path, command: list[str], settings: Settings) -> DbtRun:
    """The same in this process, with what was parsed before: it spares the start of another one, and the parsing."""
    from dbt.adapters.duckdb.connections import DuckDBConnectionManager
    from dbt.cli.main import dbtRunner

    runner = dbtRunner(manifest=_manifest_of(folder, settings))
    with _here(_environment(folder)):
        try:
            done = runner.invoke([*_arguments(folder, command, settings), "--quiet"])
        finally:
            # it would keep the file open until the process ends
            DuckDBConnectionManager.close_all_connections()
    told = [
        {
            "unique_id": result.node.unique_id,
            "status": str(result.status),
            "message": result.message,
            "compiled_code": getattr(result.node, "compiled_code", None),
        }
        for result in (done.result.results if done.result else [])
    ]
    return DbtRun(folder, done.success, str(done.exception or ""), told)


class CompiledProject:
    """The models' SQL as dbt compiles it, for any settings; parsed once, by dbt itself."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._compiled: dict[Settings, dict[str, str]] = {}
        self._data_tests: dict[Settings, dict[str, str]] = {}
        self._manifest = parsed()

    def _invoke(self, runner, command: list[str]):
        with _here({"RAW2RANK_LAKE": NO_LAKE, "RAW2RANK_WAREHOUSE": str(self._folder / "warehouse.duckdb")}):
            return runner.invoke([*command, *_places(self._folder), "--quiet"])

    def listed(self, *options: str) -> list[str]:
        """The lines that ``dbt ls`` prints."""
        from dbt.cli.main import dbtRunner

        done = self._invoke(dbtRunner(manifest=self._manifest.deepcopy()), ["ls", *options])
        assert done.success, done.exception
        return done.result

    def models(self, settings: Settings) -> dict[str, str]:
        """SQL of each model by ``<schema>.<name>``, each after those it reads."""
        if settings not in self._compiled:
            nodes = self._compile(settings, "model")
            order = TopologicalSorter(
                {name: set(node.depends_on.nodes) & set(nodes) for name, node in nodes.items()}
            ).static_order()
            self._compiled[settings] = {
                f"{nodes[name].schema}.{nodes[name].name}": nodes[name].compiled_code for name in order
            }
        return self._compiled[settings]

    def _compile(self, settings: Settings, resource_type: str) -> dict:
        """Nodes of a type by their ids."""
        from dbt.cli.main import dbtRunner

        only = ["--select", f"resource_type:{resource_type}", "--indirect-selection", "empty"]
        quick = ["--no-write-json", "--no-populate-cache", "--no-introspect"]
        compiled = self._invoke(
            dbtRunner(manifest=self._manifest.deepcopy()),
            ["compile", *only, *quick, "--vars", json.dumps(asdict(settings))],
        )
        assert compiled.success, compiled.exception
        return {result.node.unique_id: result.node for result in compiled.result.results}

    def failing_data_tests(self, connection: duckdb.DuckDBPyConnection, settings: Settings) -> set[str]:
        """Names of the data tests that find something in a database that :meth:`build` has made."""
        if settings not in self._data_tests:
            nodes = self._compile(settings, "test").values()
            self._data_tests[settings] = {node.name: node.compiled_code for node in nodes}
        return {name for name, code in self._data_tests[settings].items() if connection.execute(code).fetchall()}

    def build(self, landing: Landing, settings: Settings, path: str = ":memory:") -> duckdb.DuckDBPyConnection:
        """A database, in memory or a new file, with every model built from a landing, as dbt would from Parquet."""
        connection = empty_warehouse(path)
        for name, table in landing.tables().items():
            connection.register(f"landing_{name.replace('/', '_')}", table)
        for name, code in self.models(settings).items():
            for table in SCHEMAS:
                files = table if table.endswith("/files") else f"{table}/*"
                code = code.replace(
                    f"read_parquet('{NO_LAKE}/landing/{files}.parquet', hive_partitioning = false)",
                    f"landing_{table.replace('/', '_')}",
                )
            connection.execute(f"create table warehouse.{name} as {code}")
        return connection


def empty_warehouse(path: str = ":memory:") -> duckdb.DuckDBPyConnection:
    """A database with the schemas of the project, under the name that compiled SQL uses."""
    connection = duckdb.connect(config={"threads": 1})
    connection.execute(f"attach '{path}' as warehouse")
    for schema in ("staging", "intermediate", "marts"):
        connection.execute(f"create schema warehouse.{schema}")
    return connection


def table_rows(connection: duckdb.DuckDBPyConnection, name: str, leave_out: tuple[str, ...] = ()) -> list[dict]:
    """Rows of a table of the warehouse, in the order they lie in."""
    table = connection.sql(f"select * from warehouse.{name}").to_arrow_table()
    return table.drop_columns([column for column in leave_out if column in table.column_names]).to_pylist()
