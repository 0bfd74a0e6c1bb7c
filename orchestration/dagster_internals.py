"""All of Dagster that this project uses and that is not Dagster's public interface, in one place.

A new release of Dagster may change any of it without a notice: ``tests/orchestration/test_dagster_internals.py`` says
what is relied on, and fails first. Nothing else in the project imports a private module of Dagster. What each is for:

- the asset graph: :mod:`orchestration.execution.plan` asks it for dependencies, checks and groups;
- the tables of events, and their values: :mod:`orchestration.execution.records` reads what was made in three queries
  instead of several hundred, and :mod:`orchestration.execution.old_runs` sees which runs these come from;
- the SQLite storage: :mod:`orchestration.execution.dagster_sqlite` keeps its files open;
- the executor and the plan of a run: :mod:`orchestration.execution.executor` takes the lock of the dataset, and leaves
  out the steps of what was not chosen, which no resource, hook or public option can do;
- the event of an asset that a run leaves as it is: :mod:`orchestration.execution.phases` records it;
- the target of a check's evaluation, and the event of an asset that is about to be made:
  :mod:`orchestration.shared_lake` records what another machine has made and checked;
- processes and contexts of the web server: :mod:`orchestration.commands.ui` serves them behind its guard.
"""

from __future__ import annotations

from dagster._cli.proxy_server_manager import ProxyServerManager
from dagster._core.definitions.asset_checks.asset_check_evaluation import (
    AssetCheckEvaluationTargetMaterializationData,
)
from dagster._core.definitions.assets.graph.base_asset_graph import BaseAssetGraph
from dagster._core.definitions.data_version import DATA_VERSION_TAG
from dagster._core.definitions.executor_definition import IN_PROC_CONFIG
from dagster._core.events import AssetMaterializationPlannedData, AssetObservationData, EngineEventData
from dagster._core.execution.context.system import PlanOrchestrationContext
from dagster._core.execution.plan.plan import ExecutionPlan
from dagster._core.execution.plan.step import IExecutionStep
from dagster._core.execution.retries import RetryMode
from dagster._core.executor.in_process import InProcessExecutor
from dagster._core.instance.config import DAGSTER_CONFIG_YAML_FILENAME
from dagster._core.instance.ref import InstanceRef, _event_logs_directory, _runs_directory, _schedule_directory
from dagster._core.storage.dagster_run import FINISHED_STATUSES, IN_PROGRESS_RUN_STATUSES
from dagster._core.storage.event_log.schema import (
    AssetCheckExecutionsTable,
    AssetEventTagsTable,
    SqlEventLogStorageTable,
)
from dagster._core.storage.event_log.sql_event_log import SqlEventLogStorage
from dagster._core.storage.event_log.sqlite import sqlite_event_log
from dagster._core.storage.event_log.sqlite.sqlite_event_log import SqliteEventLogStorage
from dagster._core.storage.runs.sqlite import sqlite_run_storage
from dagster._core.storage.runs.sqlite.sqlite_run_storage import SqliteRunStorage
from dagster._core.storage.schedules.sqlite import sqlite_schedule_storage
from dagster._core.storage.schedules.sqlite.sqlite_schedule_storage import SqliteScheduleStorage
from dagster._core.storage.sqlite import SQLITE_BUSY_TIMEOUT_SECONDS, create_db_conn_string
from dagster._core.storage.sqlite_storage import DagsterSqliteStorage
from dagster._core.system_config.objects import ResolvedRunConfig
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import ModuleTarget, WorkspaceFileTarget
from dagster._serdes import ConfigurableClassData, deserialize_value
from dagster._utils.error import SerializableErrorInfo
from dagster._utils.interrupts import check_captured_interrupt
from dagster_shared.serdes import serialize_value
from dagster_shared.yaml_utils import load_yaml_from_path

__all__ = [
    "DAGSTER_CONFIG_YAML_FILENAME",
    "DATA_VERSION_TAG",
    "FINISHED_STATUSES",
    "IN_PROC_CONFIG",
    "IN_PROGRESS_RUN_STATUSES",
    "SQLITE_BUSY_TIMEOUT_SECONDS",
    "AssetCheckEvaluationTargetMaterializationData",
    "AssetCheckExecutionsTable",
    "AssetEventTagsTable",
    "AssetMaterializationPlannedData",
    "AssetObservationData",
    "BaseAssetGraph",
    "ConfigurableClassData",
    "DagsterSqliteStorage",
    "EngineEventData",
    "ExecutionPlan",
    "IExecutionStep",
    "InProcessExecutor",
    "InstanceRef",
    "ModuleTarget",
    "PlanOrchestrationContext",
    "ProxyServerManager",
    "ResolvedRunConfig",
    "RetryMode",
    "SerializableErrorInfo",
    "SqlEventLogStorage",
    "SqlEventLogStorageTable",
    "SqliteEventLogStorage",
    "SqliteRunStorage",
    "SqliteScheduleStorage",
    "WorkspaceFileTarget",
    "WorkspaceProcessContext",
    "_event_logs_directory",
    "_runs_directory",
    "_schedule_directory",
    "check_captured_interrupt",
    "create_db_conn_string",
    "deserialize_value",
    "load_yaml_from_path",
    "serialize_value",
    "sqlite_event_log",
    "sqlite_run_storage",
    "sqlite_schedule_storage",
]
