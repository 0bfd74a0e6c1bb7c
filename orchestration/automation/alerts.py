"""Alerts on runs: those that failed, and those that ended well with a failed check or a refused candidate."""

from __future__ import annotations

import dagster as dg

from orchestration.automation.messages import SMTP_URL, WEBHOOK, Alert, configured, shortened
from orchestration.automation.outbox import tell
from orchestration.contracts.files import load_contracts
from orchestration.execution.run_reasons import Reasons, what_was_found
from orchestration.execution.staleness import UP_TO_DATE
from orchestration.partitions import PARTITION_NAME_TAG
from orchestration.paths import Workspace

FAILED_RUN, BROKEN_CONTRACT = "failed run", "broken contract"
FAILED_CHECK, REFUSED_CANDIDATE = "failed check", "refused candidate"
NOT_CONFIGURED = f"neither {WEBHOOK} nor {SMTP_URL} is set"
STATUS = dg.DefaultSensorStatus.RUNNING if configured() else dg.DefaultSensorStatus.STOPPED
_SHOWN = 10
_DECISION = dg.AssetKey(["release", "decision"])
_LOOKED_AT = {
    dg.DagsterEventType.STEP_FAILURE,
    dg.DagsterEventType.ASSET_CHECK_EVALUATION,
    dg.DagsterEventType.ASSET_MATERIALIZATION,
}


def reason_of(instance: dg.DagsterInstance, run_id: str, failure: dg.DagsterEvent) -> str:
    """Why a run failed, in plain words.

    Args:
        instance: that has the events of the run.
        run_id: of the run.
        failure: the event that ended it.
    """
    reasons = Reasons(Workspace.current().home)
    for event in _events(instance, run_id):
        reasons.take(event)
    told = "; ".join(reasons.told())
    if not told and reasons.interrupted:
        told = "it was stopped"
    error = getattr(failure.event_specific_data, "error", None)
    if not told and error is not None and error.cls_name == "Failure":
        # of the executor, before the first step; behind the name of its class
        told = error.message.partition(": ")[2].strip()
    return shortened(told or failure.message or "the log of the run says more")


def alert_of(run: dg.DagsterRun, reason: str, failed: list[dg.AssetCheckEvaluation]) -> Alert:
    """The alert on a failed run.

    Args:
        run: that failed.
        reason: as of :func:`reason_of`.
        failed: its failed checks, as of :func:`failed_checks`.
    """
    dataset = run.tags.get(PARTITION_NAME_TAG)
    contracts = {dg.AssetCheckKey(contract.key, contract.check) for contract in load_contracts()}
    broken = any(each.asset_check_key in contracts for each in failed)
    return Alert(
        BROKEN_CONTRACT if broken else FAILED_RUN,
        f"raw2rank: {dataset or 'a run without a dataset'}: {run.job_name} failed: {reason} (run {run.run_id})",
        dataset,
        {"job": run.job_name, "reason": reason, "run_id": run.run_id, "checks": _named(failed)},
    )


def alert_on_checks(run: dg.DagsterRun, failed: list[dg.AssetCheckEvaluation], refusal: str | None) -> Alert | None:
    """The alert on a run that ended well, ``None`` where there is nothing to tell.

    Args:
        run: the run.
        failed: its failed checks, as of :func:`failed_checks`.
        refusal: as of :func:`refusal_of`.
    """
    if not failed and refusal is None:
        return None
    dataset = run.tags.get(PARTITION_NAME_TAG)
    found = [f"{_name(each)}: {what_was_found(each)}" for each in failed[:_SHOWN]]
    if len(failed) > _SHOWN:
        found.append(f"and {len(failed) - _SHOWN} more")
    if refusal is not None:
        kind, what = REFUSED_CANDIDATE, f"the candidate was refused: {refusal}"
    else:
        kind, what = FAILED_CHECK, f"{len(failed)} {'check' if len(failed) == 1 else 'checks'} failed"
    reason = shortened(". ".join([what.rstrip("."), *found]))
    return Alert(
        kind,
        f"raw2rank: {dataset or 'a run without a dataset'}: {reason} (run {run.run_id})",
        dataset,
        {"job": run.job_name, "reason": reason, "run_id": run.run_id, "checks": _named(failed)},
    )


def failed_checks(instance: dg.DagsterInstance, run_id: str) -> list[dg.AssetCheckEvaluation]:
    """The failed checks of a run, of each the last evaluation.

    ``up_to_date`` is left out: it fails whenever something has changed, which is no fault.
    """
    last: dict[dg.AssetCheckKey, dg.AssetCheckEvaluation] = {}
    for event in _events(instance, run_id):
        if event.event_type == dg.DagsterEventType.ASSET_CHECK_EVALUATION:
            evaluation = event.asset_check_evaluation_data
            last[evaluation.asset_check_key] = evaluation
    return [each for key, each in last.items() if not each.passed and key.name != UP_TO_DATE]


def refusal_of(instance: dg.DagsterInstance, run_id: str) -> str | None:
    """Why the gate refused the candidate in a run; ``None`` where it did not."""
    from ml.release.gate import REFUSE

    for event in _events(instance, run_id):
        if event.event_type == dg.DagsterEventType.ASSET_MATERIALIZATION and event.asset_key == _DECISION:
            metadata = event.step_materialization_data.materialization.metadata
            if metadata["verdict"].value == REFUSE:
                return str(metadata["decision"].value)
    return None


def _events(instance: dg.DagsterInstance, run_id: str) -> list[dg.DagsterEvent]:
    entries = instance.all_logs(run_id, of_type=_LOOKED_AT)
    return [entry.dagster_event for entry in entries if entry.dagster_event is not None]


def _name(evaluation: dg.AssetCheckEvaluation) -> str:
    return f"{evaluation.asset_key.to_user_string()}: check {evaluation.check_name}"


def _named(failed: list[dg.AssetCheckEvaluation]) -> list[str]:
    return [f"{each.asset_key.to_user_string()}: {each.check_name}" for each in failed]


@dg.run_failure_sensor(
    name="alert_on_failure",
    # runs of make run have no code location
    monitor_all_code_locations=True,
    minimum_interval_seconds=30,
    default_status=STATUS,
    description=f"Tells of a run that failed: dataset, reason and id, to {WEBHOOK} and by e-mail. On where one of them "
    "is configured.",
)
def alert_on_failure(context: dg.RunFailureSensorContext) -> dg.SkipReason | None:
    if not configured():
        return dg.SkipReason(NOT_CONFIGURED)
    run, instance = context.dagster_run, context.instance
    failed = failed_checks(instance, run.run_id)
    tell(alert_of(run, reason_of(instance, run.run_id, context.failure_event), failed))
    return None


@dg.run_status_sensor(
    name="alert_on_failed_checks",
    run_status=dg.DagsterRunStatus.SUCCESS,
    monitor_all_code_locations=True,
    minimum_interval_seconds=30,
    default_status=STATUS,
    description="Tells of the failed checks of a run that ended well, and of a candidate that the gate refused, which "
    "fail no run. On where a webhook or e-mail is configured.",
)
def alert_on_failed_checks(context: dg.RunStatusSensorContext) -> dg.SkipReason | None:
    if not configured():
        return dg.SkipReason(NOT_CONFIGURED)
    run, instance = context.dagster_run, context.instance
    alert = alert_on_checks(run, failed_checks(instance, run.run_id), refusal_of(instance, run.run_id))
    if alert is not None:
        tell(alert)
    return None
