"""The jobs: the whole way for one dataset, its data alone, and the fingerprints of its dumps."""

import dagster as dg

from orchestration.recommenders import ASKED_FOR
from orchestration.staleness import CHECKED_LAYERS

DATA_GROUPS = (*CHECKED_LAYERS, "training_sets")

everything = dg.define_asset_job(
    "everything",
    selection=dg.AssetSelection.all() - dg.AssetSelection.groups("raw", ASKED_FOR),
    description="From the dumps of one dataset to its leaderboard and report.",
)
data = dg.define_asset_job(
    "data",
    selection=dg.AssetSelection.groups(*DATA_GROUPS) | dg.AssetSelection.assets(["settings", "dataset"]),
    description="From the dumps of one dataset to its training set, with all checks, training nothing.",
)
fingerprint = dg.define_asset_job(
    "fingerprint",
    selection=dg.AssetSelection.groups("raw"),
    description="Look at the dumps of one dataset and record their content version.",
)
search = dg.define_asset_job(
    "search",
    selection=dg.AssetSelection.groups(ASKED_FOR),
    description="Look for better values of one recipe on one dataset.",
)
jobs = [everything, data, fingerprint, search]


@dg.schedule(
    job=everything,
    cron_schedule="0 3 * * *",
    default_status=dg.DefaultScheduleStatus.STOPPED,
    description="Every night at three, make again what has gone out of date of every dataset. Off until switched on.",
)
def nightly(context: dg.ScheduleEvaluationContext):
    from orchestration.requests import run_requests

    at = context.scheduled_execution_time.isoformat()
    requests, problems = run_requests(context.instance, context.repository_def.asset_graph, at)
    for problem in problems:
        context.log.warning(problem)
    return requests or dg.SkipReason("; ".join(problems) or "every dataset is up to date")
