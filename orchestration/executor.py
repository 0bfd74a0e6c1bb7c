"""The executor of every job: all steps in one process, one run a dataset at a time."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import dagster as dg
from dagster._core.definitions.executor_definition import IN_PROC_CONFIG
from dagster._core.errors import DagsterExecutionInterruptedError
from dagster._core.events import EngineEventData
from dagster._core.execution.context.system import PlanOrchestrationContext
from dagster._core.execution.plan.plan import ExecutionPlan
from dagster._core.execution.retries import RetryMode
from dagster._core.executor.in_process import InProcessExecutor
from dagster._core.storage.tags import PARTITION_NAME_TAG
from dagster._utils.interrupts import check_captured_interrupt

from orchestration.locking import DatasetLock
from orchestration.paths import Workspace
from orchestration.recovery import clear_up
from orchestration.run_reasons import Reasons

# Seconds between two looks at a lock that another run holds.
_PAUSE = 0.5


class OneRunADataset(InProcessExecutor):
    """Waits for the lock of the run's dataset and holds it to the end of the run.

    One process, because the steps are short and each child process would spend seconds on imports. ``make run`` holds
    the lock itself and does not come here: Dagster executes runs of the calling process with an executor of its own.
    """

    def execute(
        self, plan_context: PlanOrchestrationContext, execution_plan: ExecutionPlan
    ) -> Iterator[dg.DagsterEvent]:
        run = plan_context.dagster_run
        dataset = run.tags.get(PARTITION_NAME_TAG)
        if dataset is None:
            raise dg.Failure(
                description="no dataset was chosen: launch again with one under Partitions. Where the list is empty, "
                "put the files of a dataset into landing/<its name> in the workspace and switch the sensor new_dumps "
                "on, or use `make run DATASET=name`.",
                allow_retries=False,
            )
        paths = Workspace.current().dataset(dataset)
        lock = DatasetLock(paths)
        command = f"run {run.run_id[:8]} of Dagster"
        told = False
        while not lock.take(command):
            if not told:
                holder = lock.holder() or "another process"
                yield _event(plan_context, f"Waiting for dataset {dataset}, in use by {holder}.")
                told = True
            if check_captured_interrupt():
                raise DagsterExecutionInterruptedError
            time.sleep(_PAUSE)
        try:
            killed = clear_up(plan_context.instance, paths, lock, run.run_id)
            if killed:
                yield _event(plan_context, f"Cleared up after {killed}.")
            reasons = Reasons(paths.home)
            for event in super().execute(plan_context, execution_plan):
                reasons.take(event)
                yield event
            # last, since what Dagster says of a run that failed names the steps and not why
            for text in reasons.told():
                yield _event(plan_context, f"This run failed: {text}")
        finally:
            lock.release()


@dg.executor(name="one_run_a_dataset", config_schema=IN_PROC_CONFIG)
def one_run_a_dataset(context: dg.InitExecutorContext) -> OneRunADataset:
    """All steps in one process, holding the lock of the dataset."""
    retries: Any = context.executor_config["retries"]
    return OneRunADataset(retries=RetryMode.from_config(retries) or RetryMode.ENABLED)


def _event(context: PlanOrchestrationContext, text: str) -> dg.DagsterEvent:
    """A line in the log of a run."""
    return dg.DagsterEvent.engine_event(context, text, EngineEventData())
