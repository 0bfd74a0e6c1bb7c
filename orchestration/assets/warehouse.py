"""dbt on DuckDB or Spark, model by model, and the Parquet files that leave it.

This step alone opens the dataset's DuckDB file. Once dbt has ended, every model it built is written as
Parquet into the lake and read from there by everyone else. What Spark has made is read through views in that file.
"""

import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import dagster as dg
from dagster_dbt import DagsterDbtTranslator, DagsterDbtTranslatorSettings, dbt_assets

from orchestration.code_versions import library_version
from orchestration.condition import on_new_data
from orchestration.dataset_lock import shared_with_children
from orchestration.dataset_settings import read_settings
from orchestration.dbt import ensure_manifest
from orchestration.engine import EngineError, check_spark, engine, spark_dbt, spark_versions
from orchestration.execution.crash_recovery import WarehouseBusy, usable_warehouse
from orchestration.execution.staleness import CONTRACT_DIGEST
from orchestration.partitions import datasets
from orchestration.paths import DatasetPaths, Workspace
from orchestration.reporting import as_dagster_failure, digest_of, parquet_metadata
from orchestration.resources import Dbt
from orchestration.warehouse.dbt_process import left_no_model_half_made, places, why
from orchestration.warehouse.spark_tables import finished, show_tables, spark_places, usable_tables

# what turns the SQL into tables
_LIBRARIES = ("dbt-core", "dbt-duckdb", "duckdb")
# key in the metadata of an exported file: version of the content that it was written from
_CONTENT = "raw2rank_content"
project = ensure_manifest()


class WarehouseTranslator(DagsterDbtTranslator):
    """Keys ``[layer, model]``; groups by layer; code versions that see macros; settings as dependencies."""

    def get_asset_spec(self, manifest: Mapping[str, Any], unique_id: str, project: Any) -> dg.AssetSpec:
        spec = super().get_asset_spec(manifest, unique_id, project)
        node = manifest["nodes"].get(unique_id) or manifest["sources"][unique_id]
        if node["resource_type"] != "model":
            return spec
        code = "\n".join([*_code(manifest, node), *_code_of_engine(manifest)])
        deps = [*spec.deps, dg.AssetDep(["settings", "dataset"])] if re.search(r"\bvar\(", code) else spec.deps
        return spec.replace_attributes(
            deps=deps,
            group_name=node["schema"],
            code_version=hashlib.sha256(code.encode()).hexdigest()[:16],
            automation_condition=on_new_data,
        )

    def get_asset_check_spec(
        self, asset_spec: dg.AssetSpec, manifest: Mapping[str, Any], unique_id: str, project: Any
    ) -> dg.AssetCheckSpec | None:
        spec = super().get_asset_check_spec(asset_spec, manifest, unique_id, project)
        if spec is None:
            return None
        # without it one dataset's failure would stand for all of them
        node = manifest["nodes"][unique_id]
        asked = [*_code(manifest, node), node.get("test_metadata"), node["config"]["severity"]]
        return spec._replace(
            partitions_def=datasets,
            description=node.get("description") or spec.description,
            metadata={**(spec.metadata or {}), CONTRACT_DIGEST: digest_of(asked)},
        )

    def get_asset_key(self, dbt_resource_props: Mapping[str, Any]) -> dg.AssetKey:
        if dbt_resource_props["resource_type"] == "source":
            return dg.AssetKey(["landing", dbt_resource_props["source_name"].removeprefix("landing_")])
        return dg.AssetKey([dbt_resource_props["schema"], dbt_resource_props["name"]])


def _code(manifest: Mapping[str, Any], node: Mapping[str, Any]) -> Iterator[str]:
    """SQL of a model or a test, and of every macro of this project that it calls, however deep."""
    yield node["raw_code"]
    waiting, seen = list(node["depends_on"]["macros"]), set()
    # found only if the materialization belongs to this project
    waiting.append(f"macro.{node['package_name']}.materialization_{node['config'].get('materialized')}_duckdb")
    while waiting:
        name = waiting.pop()
        macro = manifest["macros"].get(name)
        if name in seen or macro is None or macro["package_name"] != node["package_name"]:
            continue
        seen.add(name)
        waiting.extend(macro["depends_on"]["macros"])
    for name in sorted(seen):
        yield manifest["macros"][name]["macro_sql"]


def _code_of_engine(manifest: Mapping[str, Any]) -> Iterator[str]:
    """Versions of what turns the SQL into tables, and the dialect of another engine than that of the manifest."""
    try:
        if engine() == "duckdb":
            yield from (f"{name} {library_version(name)}" for name in _LIBRARIES)
            return
        yield from (f"{name} {version}" for name, version in spark_versions().items())
    except EngineError as error:
        # the step itself says so, before anything is made
        yield str(error)
        return
    ours = f"macro.{manifest['metadata']['project_name']}."
    for name in sorted(manifest["macros"]):
        if name.startswith(ours) and "spark" in name:
            yield manifest["macros"][name]["macro_sql"]


@dbt_assets(
    manifest=project.manifest_path,
    project=project,
    name="warehouse",
    # rows, rejects and files of one landing are three sources and one asset
    dagster_dbt_translator=WarehouseTranslator(DagsterDbtTranslatorSettings(enable_duplicate_source_asset_keys=True)),
    partitions_def=datasets,
)
def warehouse(context: dg.AssetExecutionContext, dbt: Dbt) -> Iterator[Any]:
    from ml.data.database import memory_limit, thread_limit

    dataset = context.partition_key
    paths = Workspace.current().dataset(dataset)
    settings = read_settings("dataset", dataset)
    paths.warehouse.parent.mkdir(parents=True, exist_ok=True)
    arguments = ["--vars", json.dumps(settings)]
    target = paths.dbt_target
    with as_dagster_failure(dataset, WarehouseBusy, EngineError):
        on_spark = engine() == "spark"
        usable = usable_warehouse(paths)
        if on_spark:
            check_spark(paths.spark)
            usable = usable_tables(paths) and usable
            dbt = Dbt(project_dir=dbt.project_dir, profiles_dir=dbt.profiles_dir, dbt_executable=str(spark_dbt()))
            arguments += ["--target", "spark"]
    limits = {"RAW2RANK_DUCKDB_THREADS": thread_limit(), "RAW2RANK_DUCKDB_MEMORY": memory_limit()}
    with ExitStack() as stack:
        where = stack.enter_context(places(paths))
        if on_spark:
            where |= stack.enter_context(spark_places(paths))
        stack.enter_context(_environment(**where, **limits))
        stack.enter_context(shared_with_children(paths))
        # tables that are up to date in the lake, and that what is selected or its tests may read
        if not usable and (lost := _exported_models(paths)) - {tuple(key.path) for key in context.selected_asset_keys}:
            names = " ".join(sorted(name for _, name in lost))
            restored = dbt.cli(["run", "--select", names, *arguments], raise_on_error=False, target_path=target)
            if not restored.is_successful():
                raise dg.Failure(description=why(paths, settings, restored), allow_retries=False)
        invocation = dbt.cli(
            ["build", "--exclude-resource-type", "unit_test", *arguments],
            context=context,
            raise_on_error=False,
            target_path=target,
        )
        events = list(invocation.stream())
    if on_spark:
        if left_no_model_half_made(paths, invocation):
            finished(paths)
        show_tables(paths, _models())
    keys = {key.to_python_identifier(): key for key in context.selected_asset_keys}
    built = [keys[event.output_name] for event in events if isinstance(event, dg.Output)]
    exported = export(paths, [tuple(key.path) for key in built])
    asked = {spec.key: spec.metadata[CONTRACT_DIGEST] for spec in context.assets_def.check_specs}
    for event in events:
        if isinstance(event, dg.AssetCheckResult):
            # of one of several assets and checks, so that it names both
            assert event.asset_key is not None
            assert event.check_name is not None
            digest = asked[dg.AssetCheckKey(event.asset_key, event.check_name)]
            yield event._replace(metadata={**event.metadata, CONTRACT_DIGEST: dg.TextMetadataValue(digest)})
        elif isinstance(event, dg.Output):
            version, metadata = exported[tuple(keys[event.output_name].path)]
            yield dg.Output(
                value=None,
                output_name=event.output_name,
                metadata={**event.metadata, **metadata},
                data_version=dg.DataVersion(version[:32]),
            )
        else:
            yield event
    if not invocation.is_successful():
        raise dg.Failure(description=why(paths, settings, invocation), allow_retries=False)


def _exported_models(paths: DatasetPaths) -> set[tuple[str, str]]:
    """Models (schema, name) that have been built for a dataset: they, or what is built upon them, are in the lake."""
    models = set(_models())
    built = {(schema, name) for schema, name in models if paths.table(schema, name).exists()}
    return built | {(schema, name) for schema, name in models if built and schema == "intermediate"}


@cache
def _models() -> dict[tuple[str, str], dict[str, Any]]:
    """Nodes of the models by schema and name."""
    nodes = json.loads(project.manifest_path.read_text())["nodes"].values()
    return {(node["schema"], node["name"]): node for node in nodes if node["resource_type"] == "model"}


def export(paths: DatasetPaths, models: list[tuple[str, str]]) -> dict[tuple[str, str], tuple[str, dict]]:
    """Write the given models (schema, name) as Parquet, except intermediate ones; their content versions and metadata.

    Equal content gives equal files: staged rows are in the order of the dumps, the rows of marts are ordered by all
    columns. A file that holds the content already is left as it is. Intermediate models are read by dbt alone and stay
    in the database.
    """
    from ml.data.content_digest import parquet_digest
    from ml.data.database import connect, quoted
    from ml.data.files import atomic_file

    result: dict[tuple[str, str], tuple[str, dict]] = {}
    if not models:
        return result
    described = _column_descriptions()
    with connect(paths.warehouse, read_only=True) as connection:
        for schema, name in models:
            fields, rows, content = _content(connection, schema, name)
            if schema == "intermediate":
                result[schema, name] = content, _in_the_database(fields, rows, described.get(name, {}))
                continue
            target = paths.table(schema, name)
            version = _digest_of_export(target, content)
            if version is None:
                target.parent.mkdir(parents=True, exist_ok=True)
                with atomic_file(target) as temporary:
                    connection.execute(
                        f"copy (select * from {schema}.{name} {_order(schema, name, fields)}) to '{quoted(temporary)}' "
                        f"(format parquet, compression zstd, kv_metadata {{{_CONTENT}: '{content}'}})"
                    )
                version = parquet_digest(target)
            result[schema, name] = version, parquet_metadata(target, described.get(name))
    return result


def _content(connection: Any, schema: str, name: str) -> tuple[list[tuple[str, str]], int, str]:
    """Columns of a model (name, type), its number of rows, and a version of its content, whatever their order."""
    columns = connection.execute(f"describe {schema}.{name}").fetchall()
    rows, content = connection.execute(
        f"select count(*), coalesce(sum(hash(model)::hugeint), 0) from {schema}.{name} as model"
    ).fetchone()
    fields = [(column, kind) for column, kind, *_ in columns]
    return fields, rows, digest_of([fields, rows, str(content)])


def _digest_of_export(path: Path, content: str) -> str | None:
    """Digest of an exported file that holds this content; ``None`` if the file has to be written."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from ml.data.content_digest import parquet_digest

    try:
        noted = (pq.read_metadata(path).metadata or {}).get(_CONTENT.encode())
        return parquet_digest(path) if noted == content.encode() else None
    except (OSError, pa.ArrowException):
        # missing or damaged
        return None


def _order(schema: str, name: str, fields: list[tuple[str, str]]) -> str:
    """Clause that orders the rows of an exported file; empty if they are in order already."""
    if schema == "marts":
        return "order by all"
    if engine() == "spark":
        columns = [column for column, _ in fields]
        # reviews in front of metadata, and each in the order of the dumps
        first = [name for name in ("source", "file_position", "line_number", "given_position") if name in columns]
        keys = [*first, *(column for column in columns if column not in first)]
        return "order by " + ", ".join("source desc" if key == "source" else key for key in keys)
    return "order by file_position, line_number" if name in _kept_by_file() else ""


def _in_the_database(fields: list[tuple[str, str]], rows: int, described: Mapping[str, str]) -> dict:
    """Metadata of a model that is not exported."""
    return {
        "dagster/row_count": rows,
        "dagster/column_schema": dg.TableSchema(
            columns=[dg.TableColumn(column, kind, description=described.get(column)) for column, kind in fields]
        ),
    }


@cache
def _kept_by_file() -> set[str]:
    """Models whose rows are replaced file by file, so that their order depends on the history of the files."""
    nodes = json.loads(project.manifest_path.read_text())["nodes"].values()
    return {node["name"] for node in nodes if node["config"]["materialized"] == "by_file"}


@cache
def _column_descriptions() -> dict[str, dict[str, str]]:
    """Column descriptions of each model, from its yml file."""
    nodes = json.loads(project.manifest_path.read_text())["nodes"].values()
    return {
        node["name"]: {name: column["description"] for name, column in node["columns"].items()}
        for node in nodes
        if node["resource_type"] == "model"
    }


@contextmanager
def _environment(**values: str) -> Iterator[None]:
    """Set environment variables for a while: dbt reads places from the environment only."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
