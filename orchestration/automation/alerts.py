"""Alerts: where ``RAW2RANK_WEBHOOK`` is set, a run that failed is posted there as JSON."""

import http.client
import json
import os
import urllib.error
import urllib.request
from typing import Any
from urllib.parse import urlsplit

import dagster as dg

from orchestration.execution.run_reasons import Reasons
from orchestration.partitions import PARTITION_NAME_TAG
from orchestration.paths import Workspace

WEBHOOK = "RAW2RANK_WEBHOOK"
_SECONDS = 10
_CHARACTERS = 2000
_LOOKED_AT = {dg.DagsterEventType.STEP_FAILURE, dg.DagsterEventType.ASSET_CHECK_EVALUATION}


class AlertError(RuntimeError):
    """An alert could not be sent; the message names only the host, since the rest of an address may be secret."""


def reason_of(instance: dg.DagsterInstance, run_id: str, failure: dg.DagsterEvent) -> str:
    """Why a run failed, in plain words.

    Args:
        instance: that has the events of the run.
        run_id: of the run.
        failure: the event that ended it.
    """
    reasons = Reasons(Workspace.current().home)
    for entry in instance.all_logs(run_id, of_type=_LOOKED_AT):
        if entry.dagster_event is not None:
            reasons.take(entry.dagster_event)
    told = "; ".join(reasons.told())
    if not told and reasons.interrupted:
        told = "it was stopped"
    error = getattr(failure.event_specific_data, "error", None)
    if not told and error is not None and error.cls_name == "Failure":
        # of the executor, before the first step; behind the name of its class
        told = error.message.partition(": ")[2].strip()
    told = told or failure.message or "the log of the run says more"
    return told if len(told) <= _CHARACTERS else f"{told[:_CHARACTERS]}…"


def alert_of(run: dg.DagsterRun, reason: str) -> dict[str, Any]:
    """The posted message; Slack, Mattermost and Teams show ``text``."""
    dataset = run.tags.get(PARTITION_NAME_TAG)
    return {
        "text": f"raw2rank: {dataset or 'a run without a dataset'}: {run.job_name} failed: {reason} (run {run.run_id})",
        "dataset": dataset,
        "job": run.job_name,
        "reason": reason,
        "run_id": run.run_id,
    }


def post(address: str, content: dict[str, Any]) -> None:
    """Post JSON to an address, following no redirect.

    Raises:
        AlertError: it is no http or https address, or it does not take it.
    """
    parts = urlsplit(address)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise AlertError(f"{WEBHOOK} is no address of a webhook: give one that begins with https:// or http://")
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(),
        urllib.request.HTTPErrorProcessor(),
        urllib.request.HTTPDefaultErrorHandler(),
    ):
        opener.add_handler(handler)
    body = json.dumps(content).encode()
    request = urllib.request.Request(address, body, {"Content-Type": "application/json"}, method="POST")
    try:
        with opener.open(request, timeout=_SECONDS):
            pass
    except urllib.error.HTTPError as error:
        raise AlertError(f"the webhook at {parts.hostname} answered with {error.code} {error.reason}") from None
    except (OSError, http.client.HTTPException) as error:
        raise AlertError(f"the webhook at {parts.hostname} cannot be reached: {error}") from None


@dg.run_failure_sensor(
    name="alert_on_failure",
    # runs of make run have no code location
    monitor_all_code_locations=True,
    minimum_interval_seconds=30,
    default_status=dg.DefaultSensorStatus.RUNNING if os.environ.get(WEBHOOK) else dg.DefaultSensorStatus.STOPPED,
    description=f"Posts dataset, reason and id of a run that failed as JSON to the address in {WEBHOOK}. On where that "
    "is set.",
)
def alert_on_failure(context: dg.RunFailureSensorContext) -> dg.SkipReason | None:
    address = os.environ.get(WEBHOOK)
    if not address:
        return dg.SkipReason(f"{WEBHOOK} is not set")
    run = context.dagster_run
    post(address, alert_of(run, reason_of(context.instance, run.run_id, context.failure_event)))
    return None
