"""The job that frees disk, as the command ``clean-versions`` does, and its weekly schedule."""

import dagster as dg
from pydantic import Field


class CleanConfig(dg.Config):
    """Configuration of the job ``clean``."""

    dataset: str = Field(default="", description="Name of a dataset; empty for all.")
    dry_run: bool = Field(default=False, description="Say what would be removed, and remove nothing.")


_WHAT = (
    "versions of assets beyond RAW2RANK_KEEP, what killed processes left, and what Dagster remembers of runs beyond "
    "RAW2RANK_KEEP_RUNS"
)


@dg.op(description=f"Remove {_WHAT}.")
def free_disk(context: dg.OpExecutionContext, config: CleanConfig) -> None:
    from ml.data.object_storage.location import StorageError
    from orchestration.cleaning import clean_dataset, datasets_to_clean, forget_runs, in_total
    from orchestration.dataset_lock import DatasetBusy, dataset_lock
    from orchestration.execution.staleness import asset_graph
    from orchestration.paths import Workspace
    from orchestration.versions import pin_released

    workspace = Workspace.current()
    try:
        chosen = datasets_to_clean(workspace, config.dataset)
    except ValueError as error:
        raise dg.Failure(description=str(error), allow_retries=False) from error
    total = 0
    for dataset in chosen:
        paths = workspace.dataset(dataset)
        try:
            # nothing is removed beside a run, and no run is held up
            with dataset_lock(paths, "the job clean", wait=False):
                pin_released(paths)
                total += clean_dataset(paths, config.dry_run, context.log.info)
        except (DatasetBusy, StorageError) as error:
            context.log.warning(f"{dataset} is left for the next time: {error}")
    forgotten = forget_runs(context.instance, asset_graph(), config.dataset, config.dry_run, context.log.info)
    total += forgotten.bytes
    said = in_total(total, config.dry_run)
    context.log.info(said)
    context.add_output_metadata({"bytes": total, "runs": forgotten.runs, "said": said})


@dg.job(
    name="clean",
    description=f"Free disk in the workspace, and say how much: {_WHAT}. A dataset that a run is using is left out.",
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
    description="Every Sunday at five (UTC), free disk as the job clean does. Off until switched on.",
)
