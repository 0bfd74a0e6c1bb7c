"""Console output of ``make run``: one line per asset, failed check and failure."""

from __future__ import annotations

import io
import logging
import sys
import time
import warnings
from collections import Counter
from collections.abc import Mapping
from contextlib import redirect_stdout
from typing import Any, TextIO

import dagster as dg

from orchestration.called_as import as_called
from orchestration.execution.run_reasons import Reasons, what_was_found
from orchestration.exits import Stopped
from orchestration.paths import Workspace


def say(text: str) -> None:
    print(as_called(text), flush=True)


def problem(text: str) -> None:
    print(as_called(f"error: {text}"), file=sys.stderr, flush=True)


def quiet() -> None:
    """Keep Dagster's own log of events off the terminal; the UI has it."""
    for name in ("dagster", "dagster.builtin", "dagster_dbt"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    warnings.filterwarnings("ignore", category=dg.BetaWarning)
    warnings.filterwarnings("ignore", category=dg.PreviewWarning)


def explain(reasons: dict[dg.AssetKey, str]) -> str:
    """Number of assets to make, and the reasons."""
    causes = Counter(reason for reason in reasons.values() if not reason.endswith("is made again"))
    listed = ", ".join(f"{cause} ({count})" if count > 1 else cause for cause, count in causes.most_common(4))
    left = len(causes) - 4
    more = "" if left <= 0 else f" and {left} more {'reason' if left == 1 else 'reasons'}"
    things = "asset" if len(reasons) == 1 else "assets"
    return f"making {len(reasons)} {things}: {listed}{more}"


def run_quietly(
    job: dg.JobDefinition,
    instance: dg.DagsterInstance,
    dataset: str,
    selection: list[dg.AssetKey] | None,
    run_config: dict,
    run_id: str,
    tags: Mapping[str, str] | None = None,
) -> bool:
    """Execute a job, or a selection of its assets, in this process, telling on the console what happens.

    Returns whether it succeeded.

    Raises:
        Stopped: somebody stopped it.
    """
    printer = _Printer(sys.stdout)
    instance.add_event_listener(run_id, printer)
    # dbt tells every test on standard output; the checks say the same
    with redirect_stdout(io.StringIO()):
        result = job.execute_in_process(
            instance=instance,
            partition_key=dataset,
            asset_selection=selection,
            run_config={**run_config, "loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
            run_id=run_id,
            tags=dict(tags or {}),
            raise_on_error=False,
        )
    if printer.reasons.interrupted:
        raise Stopped
    if not result.success:
        printer.conclude(dataset)
    return result.success


class _Printer:
    """Prints events as they are stored, and keeps the reasons of a failure for the end."""

    def __init__(self, terminal: TextIO) -> None:
        self.terminal = terminal
        self.before = time.monotonic()
        self.reasons = Reasons(Workspace.current().home)

    def __call__(self, entry: dg.EventLogEntry) -> None:
        event = entry.dagster_event
        if event is None:
            return
        if event.event_type == dg.DagsterEventType.ASSET_MATERIALIZATION:
            made = event.step_materialization_data.materialization
            self._materialized(made.asset_key, made.metadata)
        elif event.event_type == dg.DagsterEventType.ASSET_CHECK_EVALUATION:
            self._checked(event.asset_check_evaluation_data)
        self.reasons.take(event)

    def _say(self, text: str) -> None:
        print(as_called(text), file=self.terminal, flush=True)

    def _materialized(self, key: dg.AssetKey, metadata: Mapping[str, Any]) -> None:
        now = time.monotonic()
        rows = metadata.get("dagster/row_count")
        count = f"{rows.value:>12,} rows" if rows is not None else " " * 17
        self._say(f"  {key.to_user_string():<48}{count}{now - self.before:>8.1f} s")
        self.before = now

    def _checked(self, evaluation) -> None:
        if evaluation.passed or evaluation.severity == dg.AssetCheckSeverity.ERROR:
            return
        # one line a rule; the examples are in the UI
        for line in what_was_found(evaluation).splitlines():
            self._say(f"  warning: {evaluation.asset_key.to_user_string()}: {line.split(' Examples: ')[0]}")

    def conclude(self, dataset: str) -> None:
        reasons = self.reasons.told()
        for text in reasons:
            problem(text)
        if not reasons:
            problem(f"{dataset}: the run failed; `make ui` shows its log")
