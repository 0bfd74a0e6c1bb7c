"""The check ``up_to_date``: whether leaderboard, audits and report match the present data.

Dagster shows no staleness on the pages of partitioned assets. So the leaderboard and the report have a check that
passes when they are made. A sensor has it evaluated again when a setting, a dump, a contract or code has changed since:
by a run of seconds, because Dagster stores one evaluation for each check, dataset and run.
"""

import json
import warnings
from collections import Counter
from collections.abc import Mapping

import dagster as dg

from orchestration.dagster_internals import IN_PROGRESS_RUN_STATUSES, BaseAssetGraph
from orchestration.execution.staleness import UP_TO_DATE, asset_graph, latest_evaluations
from orchestration.partitions import PARTITION_NAME_TAG, datasets
from orchestration.reporting import collect_problems

CURRENT = "made of what is there now"
WATCHED = (dg.AssetKey(["evaluation", "leaderboard"]), dg.AssetKey(["evaluation", "report"]))
_SHOWN = 6


def in_words(reasons: Mapping[dg.AssetKey, str]) -> str:
    """Causes for being out of date, the most frequent first."""
    causes = Counter(reason for reason in reasons.values() if not reason.endswith("is made again"))
    shown = [f"{cause} ({count} assets)" if count > 1 else cause for cause, count in causes.most_common(_SHOWN)]
    more = f"; and {len(causes) - _SHOWN} more" if len(causes) > _SHOWN else ""
    return "; ".join(shown) + more


def finding(graph: BaseAssetGraph, key: dg.AssetKey, reasons: Mapping[dg.AssetKey, str]) -> str:
    """Finding of the check of an asset: :data:`CURRENT`, or why it or one of its inputs is out of date."""
    above = dg.AssetSelection.assets(key).upstream().resolve(graph)
    stale = {asset: reason for asset, reason in reasons.items() if asset in above}
    return f"out of date, make it again: {in_words(stale)}" if stale else CURRENT


def _check(key: dg.AssetKey) -> dg.AssetChecksDefinition:
    with warnings.catch_warnings():
        # the partitions_def of a check is in preview; without it one dataset's result would stand for all
        warnings.simplefilter("ignore", dg.PreviewWarning)

        @dg.asset_check(
            asset=key,
            name=UP_TO_DATE,
            partitions_def=datasets,
            description="Made of the settings, dumps, contracts and code that are there now. Blocks nothing.",
        )
        def up_to_date(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
            dataset, graph = context.partition_key, asset_graph()
            made = _made(context.instance, key, dataset)
            # what this run has made is made of what is there now
            is_new = made is not None and made.run_id == context.run.run_id
            said = CURRENT if is_new else finding(graph, key, reasons_now(context.instance, graph, dataset))
            return dg.AssetCheckResult(passed=said == CURRENT, severity=dg.AssetCheckSeverity.WARN, description=said)

    return up_to_date


staleness_checks = [_check(key) for key in WATCHED]
up_to_date = dg.define_asset_job(
    "up_to_date",
    selection=dg.AssetSelection.checks(*staleness_checks),
    description="Whether leaderboard and report of one dataset are up to date, and if not, why. Makes nothing. "
    "Launched by the sensor show_staleness.",
)


@dg.sensor(
    job=up_to_date,
    minimum_interval_seconds=60,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Has the check up_to_date of leaderboard and report evaluated again where a setting, a dump, a "
    "contract or code has changed since they were made. Makes nothing.",
)
def show_staleness(context: dg.SensorEvaluationContext) -> dg.SensorResult:
    graph = asset_graph()
    # what was asked for; a run that failed is not asked for again at every tick
    asked: dict[str, list] = json.loads(context.cursor) if context.cursor else {}
    requests: list[dg.RunRequest] = []
    problems: list[str] = []
    for dataset in context.instance.get_dynamic_partitions(datasets.name):
        if _under_way(context.instance, dataset):
            continue
        with collect_problems(dataset, problems):
            state = _to_say(context.instance, graph, dataset)
            if state and state != asked.get(dataset):
                # by its tag: a job of checks alone has no partitions to Dagster
                requests.append(dg.RunRequest(tags={PARTITION_NAME_TAG: dataset}))
            asked[dataset] = state
    for problem in problems:
        context.log.warning(problem)
    return dg.SensorResult(
        run_requests=requests,
        cursor=json.dumps(asked, sort_keys=True),
        skip_reason=None if requests else "; ".join(problems) or "nothing has changed",
    )


def _to_say(instance: dg.DagsterInstance, graph: BaseAssetGraph, dataset: str) -> list[list]:
    """Findings that have not been reported yet: storage id of the materialisation and finding."""
    made = {key: record for key in WATCHED if (record := _made(instance, key, dataset)) is not None}
    if not made:
        return []
    reasons = reasons_now(instance, graph, dataset)
    told = latest_evaluations(instance, graph, dataset, made)
    found = []
    for key, record in made.items():
        said = finding(graph, key, reasons)
        before = told[dg.AssetCheckKey(key, UP_TO_DATE)]
        # what was made before there was this check need not be said to be current
        if said != (before.description if before else CURRENT):
            found.append([record.storage_id, said])
    return found


def _made(instance: dg.DagsterInstance, key: dg.AssetKey, dataset: str) -> dg.EventLogRecord | None:
    """The latest materialisation of an asset for a dataset."""
    records = instance.fetch_materializations(dg.AssetRecordsFilter(key, asset_partitions=[dataset]), limit=1).records
    return records[0] if records else None


def _under_way(instance: dg.DagsterInstance, dataset: str) -> bool:
    """Whether a run of a dataset has not ended; what it makes is out of date until then."""
    filters = dg.RunsFilter(tags={PARTITION_NAME_TAG: dataset}, statuses=list(IN_PROGRESS_RUN_STATUSES))
    return bool(instance.get_run_ids(filters=filters, limit=1))


def reasons_now(instance: dg.DagsterInstance, graph: BaseAssetGraph, dataset: str) -> dict[dg.AssetKey, str]:
    """Assets of a dataset that are out of date, with reasons, for its last choice of recipes and its present dumps."""
    from orchestration.assets.raw import dump_versions, version_by_key
    from orchestration.execution.plan import plan

    return plan(instance, graph, dataset, dumps=version_by_key(dump_versions(dataset)))
