"""The reasons of a failed run, in plain words, from the events of its steps."""

from __future__ import annotations

from pathlib import Path

import dagster as dg

from orchestration.faults import interrupted, links_of_step, reason_of_step

_BROKEN_CHECK = "DagsterAssetCheckFailedError"


class Reasons:
    """Takes the events of a run as they come, and keeps what is wrong.

    Attributes:
        interrupted: whether somebody stopped it.
    """

    def __init__(self, home: Path) -> None:
        self.interrupted = False
        self._home = home
        self._failures: list[str] = []
        self._failed_checks: list[str] = []

    def take(self, event: dg.DagsterEvent) -> None:
        """Look at one event."""
        if event.event_type == dg.DagsterEventType.STEP_FAILURE:
            self._take_failure(event.step_key or "", event.step_failure_data)
        elif event.event_type == dg.DagsterEventType.ASSET_CHECK_EVALUATION:
            evaluation = event.asset_check_evaluation_data
            if not evaluation.passed and evaluation.severity == dg.AssetCheckSeverity.ERROR:
                name = f"{evaluation.asset_key.to_user_string()}: check {evaluation.check_name}"
                self._failed_checks.append(f"{name} failed\n{what_was_found(evaluation)}")

    def _take_failure(self, step: str, failure) -> None:
        described = failure.user_failure_data
        if described is not None and described.description:
            self._failures.append(described.description)
        elif failure.error is not None:
            if interrupted(links_of_step(failure.error)):
                self.interrupted = True
            # a blocking check that did not pass is told as such
            elif _BROKEN_CHECK not in (failure.error.cls_name or ""):
                self._failures.append(reason_of_step(step, failure.error, self._home))

    def told(self) -> list[str]:
        """The reasons, each once; none where the run did not fail by a step or a check."""
        # a step that says why it failed has the failed checks in its words
        return list(dict.fromkeys(self._failures or self._failed_checks))


def what_was_found(evaluation: dg.AssetCheckEvaluation) -> str:
    """Finding of a failed check."""
    found = evaluation.metadata.get("dagster_dbt/failed_row_count")
    return evaluation.description or (f"{found.value} rows fail it" if found is not None else "failed")
