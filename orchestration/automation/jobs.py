"""The jobs: everything for one dataset, its data only, and the fingerprints of its dumps."""

from typing import Any

import dagster as dg

from orchestration.automation.cleaning import clean_job
from orchestration.automation.registration import register
from orchestration.automation.releases import release_jobs
from orchestration.automation.shown_staleness import up_to_date
from orchestration.execution.staleness import CHECKED_LAYERS
from orchestration.resources import DEFAULTS
from orchestration.selection import EVERYTHING, MORE_RECIPES, ON_DEMAND

DATA_GROUPS = (*CHECKED_LAYERS, "training_sets")
# what the data and the checks of the training set are made by
DATA_SETTINGS = ("dataset", "folds", "ranking")

# every setting with no choice, so that the launchpad shows them all and a run as shown changes none
_CONFIG = {"resources": {"settings": {"config": dict.fromkeys(DEFAULTS)}}}
_HOW = (
    "Choose the dataset under Partitions; where the list is empty, put the files of a dataset into "
    "landing/<its name> in the workspace and launch the job register first. A setting that is null stays as it is for "
    "the dataset."
)
_ALL = dg.AssetSelection.all() - dg.AssetSelection.groups("raw", ON_DEMAND)

everything = dg.define_asset_job(
    EVERYTHING,
    selection=_ALL - dg.AssetSelection.groups(MORE_RECIPES),
    description="From the dumps of one dataset to its leaderboard and report, with the baselines and the quick "
    f"recipes; for others there is all_recipes. {_HOW}",
    config=_CONFIG,
)
all_recipes = dg.define_asset_job(
    "all_recipes",
    selection=_ALL,
    description="As everything, with any recipes: `recipes` in the settings names those that are trained, and the "
    f"others are left out. {_HOW}",
    config=_CONFIG,
)
data = dg.define_asset_job(
    "data",
    selection=dg.AssetSelection.groups(*DATA_GROUPS)
    | dg.AssetSelection.assets(*(["settings", name] for name in DATA_SETTINGS)),
    description=f"From the dumps of one dataset to its training set, with all checks, training nothing. {_HOW}",
    config=_CONFIG,
)
fingerprint = dg.define_asset_job(
    "fingerprint",
    selection=dg.AssetSelection.groups("raw"),
    description="Look at the dumps of one dataset and record their content version.",
)
search = dg.define_asset_job(
    "search",
    selection=dg.AssetSelection.groups(ON_DEMAND),
    description="Look for better values of one recipe on one dataset.",
)
jobs: list[Any] = [everything, all_recipes, data, fingerprint, search, register, up_to_date, clean_job, *release_jobs]


@dg.schedule(
    job=all_recipes,
    cron_schedule="0 3 * * *",
    default_status=dg.DefaultScheduleStatus.STOPPED,
    description="Every night at three (UTC), make again what has gone out of date of every dataset. Off until switched "
    "on.",
)
def nightly(context: dg.ScheduleEvaluationContext):
    from orchestration.automation.run_requests import run_requests

    at = context.scheduled_execution_time.isoformat()
    requests, problems = run_requests(context.instance, context.repository_def.asset_graph, at)
    for problem in problems:
        context.log.warning(problem)
    return requests or dg.SkipReason("; ".join(problems) or "every dataset is up to date")
