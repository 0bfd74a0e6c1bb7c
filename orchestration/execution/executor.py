"""The executor of every job: all steps in one process, one run per dataset at a time, and no step that was not chosen.

A job and "Materialize all" plan the steps of every recipe that they hold. Those that were not chosen for the dataset
are left out of the plan here, so that nothing is recorded for them.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import dagster as dg

from ml.extras import MissingExtra
from orchestration.dagster_internals import (
    IN_PROC_CONFIG,
    EngineEventData,
    ExecutionPlan,
    IExecutionStep,
    InProcessExecutor,
    PlanOrchestrationContext,
    ResolvedRunConfig,
    RetryMode,
    check_captured_interrupt,
)
from orchestration.dataset_lock import DatasetBusy, DatasetLock
from orchestration.dataset_settings import check_settings, chosen_for, made_of
from orchestration.execution.crash_recovery import clear_up
from orchestration.execution.phases import ONLY_WHAT_CHANGED, PHASES, in_phase, leave
from orchestration.execution.plan import plan
from orchestration.execution.records import Records
from orchestration.execution.run_reasons import Reasons
from orchestration.execution.staleness import asset_graph
from orchestration.partitions import PARTITION_NAME_TAG
from orchestration.paths import Workspace
from orchestration.resources import Settings
from orchestration.selection import EVERYTHING, REPORT, check_extras, is_chosen, not_chosen
from orchestration.settings_file import RegistrationError

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
                "put the files of a dataset into landing/<its name> in the workspace and launch the job register, or "
                "use `make run DATASET=name`.",
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
                raise dg.DagsterExecutionInterruptedError
            time.sleep(_PAUSE)
        try:
            try:
                killed = clear_up(plan_context.instance, paths, lock, run.run_id)
            except DatasetBusy as error:
                yield _event(plan_context, f"This run failed: {error}")
                raise dg.Failure(description=str(error), allow_retries=False) from error
            if killed:
                yield _event(plan_context, f"Cleared up after {killed}.")
            try:
                plan_context, left_out = _of_what_was_chosen(plan_context, dataset)
            except dg.Failure as failure:
                yield _event(plan_context, f"This run failed: {failure.description}")
                raise
            for text in left_out:
                yield _event(plan_context, text)
            reasons = Reasons(paths.home)
            for event in self._in_phases(plan_context, dataset):
                reasons.take(event)
                yield event
            # last, since what Dagster says of a run that failed names the steps and not why
            for text in reasons.told():
                yield _event(plan_context, f"This run failed: {text}")
        finally:
            lock.release()

    def _in_phases(self, context: PlanOrchestrationContext, dataset: str) -> Iterator[dg.DagsterEvent]:
        """The steps of a run; of one that is to make only what has changed, phase by phase, as ``make run`` does.

        A run that schedule or sensor asked for holds all that *may* be out of date. What turns out to be up to date
        once the phases before have been made is left, and its record says so.
        """
        run = context.dagster_run
        if not ONLY_WHAT_CHANGED.items() <= run.tags.items():
            yield from super().execute(context, context.execution_plan)
            return
        graph, settings = asset_graph(), _settings(context)
        assets = {
            step: _assets_of(context.execution_plan.get_step_by_key(step))
            for step in context.execution_plan.step_keys_to_execute
        }
        for groups in PHASES.values():
            in_this = [step for step, keys in assets.items() if any(in_phase(graph, key, groups) for key in keys)]
            steps = {step: assets.pop(step) for step in in_this}
            if not steps:
                continue
            reasons = plan(context.instance, graph, dataset, settings, run_id=run.run_id)
            todo = [step for step, keys in steps.items() if keys & reasons.keys()]
            left = set().union(*(keys for step, keys in steps.items() if step not in todo))
            made = Records(context.instance, dataset, left).made if left else {}
            for key in sorted(left):
                leave(context.instance, run, key, dataset, made[key].version or "")
            if not todo:
                continue
            failed = False
            phase = _of_steps(context, todo)
            for event in super().execute(phase, phase.execution_plan):
                failed |= event.is_step_failure
                yield event
            if failed:
                # what comes after is not made of what has failed, and stays out of date
                return


@dg.executor(name="one_run_a_dataset", config_schema=IN_PROC_CONFIG)
def one_run_a_dataset(context: dg.InitExecutorContext) -> OneRunADataset:
    """All steps in one process, holding the lock of the dataset."""
    retries: Any = context.executor_config["retries"]
    return OneRunADataset(retries=RetryMode.from_config(retries) or RetryMode.ENABLED)


def _of_what_was_chosen(context: PlanOrchestrationContext, dataset: str) -> tuple[PlanOrchestrationContext, list[str]]:
    """The context of a run with the plan of what was chosen for its dataset, and sentences on what was left out.

    Raises:
        dg.Failure: a setting is not possible; nothing is left; the job does not hold what was chosen; or an extra that
            it needs is not installed.
    """
    try:
        settings = _settings(context)
        check_settings(settings)
        chosen = chosen_for(settings, dataset)
    except (ValueError, RegistrationError, MissingExtra) as error:
        raise dg.Failure(description=f"{dataset}: {error}", allow_retries=False) from error
    planned = context.execution_plan
    keys = {step: _asset_of(planned.get_step_by_key(step)) for step in planned.step_keys_to_execute}
    _require_the_chosen(context, {key for key in keys.values() if key}, chosen, dataset)
    left_out = {step: key for step, key in keys.items() if key and not is_chosen(key, chosen)}
    try:
        check_extras({key for key in keys.values() if key} - set(left_out.values()))
    except MissingExtra as error:
        raise dg.Failure(description=f"{dataset}: {error}", allow_retries=False) from error
    if not left_out:
        return context, []
    if len(left_out) == len(keys):
        raise dg.Failure(description=f"{dataset}: {not_chosen(set(left_out.values()))}", allow_retries=False)
    chosen_steps = [step for step in keys if step not in left_out]
    return _of_steps(context, chosen_steps), _on_what_is_left_out(set(left_out.values()))


def _of_steps(context: PlanOrchestrationContext, steps: list[str]) -> PlanOrchestrationContext:
    """The context of a run with the plan of some of its steps."""
    job = context.job.get_definition()
    narrowed = context.execution_plan.build_subset_plan(steps, job, ResolvedRunConfig.build(job, context.run_config))
    return PlanOrchestrationContext(
        plan_data=context.plan_data._replace(execution_plan=narrowed),
        log_manager=context.log,
        executor=context.executor,
        output_capture=context.output_capture,
        resume_from_failure=context.resume_from_failure,
    )


def _on_what_is_left_out(keys: set[dg.AssetKey]) -> list[str]:
    sentences = []
    if names := ", ".join(sorted(key.to_user_string() for key in keys - {REPORT})):
        sentences.append(f"Left out, because they are not among the chosen recipes: {names}.")
    if REPORT in keys:
        sentences.append(f"Left out: {not_chosen([REPORT])}.")
    return sentences


def _settings(context: PlanOrchestrationContext) -> Settings:
    config: Any = context.run_config
    given = config.get("resources", {}).get("settings", {}).get("config", {})
    return made_of(given)


def _asset_of(step: IExecutionStep) -> dg.AssetKey | None:
    """The asset that a step makes or checks; ``None`` where it makes several."""
    keys = _assets_of(step)
    return keys.pop() if len(keys) == 1 else None


def _assets_of(step: IExecutionStep) -> set[dg.AssetKey]:
    """The assets that a step makes or checks."""
    keys = set()
    for output in step.step_outputs:
        check = output.properties.asset_check_key
        key = check.asset_key if check else output.properties.asset_key
        if key is not None:
            keys.add(key)
    return keys


def _require_the_chosen(
    context: PlanOrchestrationContext, planned: set[dg.AssetKey], chosen: list[str], dataset: str
) -> None:
    """Check that the job of the default recipes, launched as a whole, makes everything that is compared."""
    run = context.dagster_run
    if run.job_name != EVERYTHING or run.asset_selection:
        return
    lacking = [name for name in chosen if dg.AssetKey(["models", name]) not in planned]
    if lacking:
        raise dg.Failure(
            description=f"{dataset} compares {', '.join(lacking)}, which the job {EVERYTHING} does not make: launch "
            "the job all_recipes, or name the quick ones in the settings (recipes: [quick]).",
            allow_retries=False,
        )


def _event(context: PlanOrchestrationContext, text: str) -> dg.DagsterEvent:
    """A line in the log of a run."""
    return dg.DagsterEvent.engine_event(context, text, EngineEventData())
