"""The job that frees disk, as the command ``clean-versions`` does, and its weekly schedule."""

import dagster as dg
from pydantic import Field


class CleanConfig(dg.Config):
    """Configuration of the job ``clean``."""

    dataset: str = Field(default="", description="Name of a dataset; empty for all.")
    dry_run: bool = Field(default=False, description="Say what would be removed, and remove nothing.")


@dg.op(description="Remove old versions, what killed processes left, and what Dagster remembers of old runs.")
def free_disk(context: dg.OpExecutionContext, config: CleanConfig) -> None:
    from ml.number_format import size
    from orchestration.dataset_lock import DatasetBusy, dataset_lock
    from orchestration.execution.old_runs import forget_old_runs, in_words
    from orchestration.execution.staleness import asset_graph
    from orchestration.paths import Workspace
    from orchestration.versions import clean, pin_released

    workspace = Workspace.current()
    known = sorted(workspace.registered())
    if config.dataset and config.dataset not in known:
        raise dg.Failure(
            description=f"there is no dataset {config.dataset}; known are {', '.join(known) or 'none'}",
            allow_retries=False,
        )
    total = 0
    for dataset in [config.dataset] if config.dataset else known:
        paths = workspace.dataset(dataset)
        try:
            # nothing is removed beside a run, and no run is held up
            with dataset_lock(paths, "the job clean", wait=False):
                pin_released(paths)
                freed = list(clean(paths, config.dry_run))
        except DatasetBusy as error:
            context.log.warning(f"{dataset} is left for the next time: {error}")
            continue
        for one in freed:
            context.log.info(f"{dataset}: {one.what}, {size(one.bytes)}")
            total += one.bytes
    forgotten = forget_old_runs(context.instance, asset_graph(), config.dataset, config.dry_run)
    for sentence in in_words(forgotten):
        context.log.info(sentence)
    total += forgotten.bytes
    said = f"{size(total) if total else 'nothing'} {'would be freed' if config.dry_run else 'freed'}"
    context.log.info(said)
    context.add_output_metadata({"bytes": total, "runs": forgotten.runs, "said": said})


@dg.job(
    name="clean",
    description="Free disk in the workspace, and say how much: versions of assets beyond RAW2RANK_KEEP, what killed "
    "processes left, and what Dagster remembers of runs beyond RAW2RANK_KEEP_RUNS. A dataset that a run is using is "
    "left out.",
    # the executor of the other jobs asks for a dataset
    executor_def=dg.in_process_executor,
)
def clean_job() -> None:
    free_disk()


weekly = dg.ScheduleDefinition(
    name="weekly_clean",
    job=clean_job,
    cron_schedule="0 5 * * 0",
    default_status=dg.DefaultScheduleStatus.STOPPED,
    description="Every Sunday at five, free disk as the job clean does. Off until switched on.",
)
