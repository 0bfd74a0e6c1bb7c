"""Registration of landed datasets: a job and a sensor that add them as partitions."""

from dataclasses import dataclass

import dagster as dg

from orchestration.partitions import datasets
from orchestration.paths import Workspace, check_dataset_name


@dataclass(frozen=True)
class Found:
    """Datasets found in a workspace.

    Attributes:
        datasets: names, sorted: registered by a command, or in a folder of their name under ``landing/``.
        passed_over: a sentence for each other folder under ``landing/``, and for each registration of a name that
            cannot be that of a dataset.
    """

    datasets: tuple[str, ...]
    passed_over: tuple[str, ...]


def find(workspace: Workspace) -> Found:
    """Look through a workspace; nothing is written."""
    from ml.data.landing.file_lines import LandingError
    from ml.data.sources import datasets_in

    names, passed_over = set(), []
    for path in workspace.registrations():
        try:
            names.add(check_dataset_name(path.stem))
        except ValueError as error:
            passed_over.append(f"datasets/{path.name} is passed over: {error}")
    for folder in sorted((workspace.home / "landing").glob("[!.]*/")):
        try:
            check_dataset_name(folder.name)
            if folder.name in names or folder.name in datasets_in(folder):
                names.add(folder.name)
            else:
                passed_over.append(
                    f"landing/{folder.name} holds no files of a dataset {folder.name}: name them after it, as in "
                    f"{folder.name}.json.gz or {folder.name}.csv, or describe them in source.toml"
                )
        except (ValueError, OSError, LandingError) as error:
            passed_over.append(f"landing/{folder.name} is passed over: {error}")
    return Found(tuple(sorted(names)), tuple(passed_over))


@dg.op(description="Make every dataset in the workspace known to Dagster.")
def register_datasets(context: dg.OpExecutionContext) -> None:
    workspace = Workspace.current()
    found = find(workspace)
    for sentence in found.passed_over:
        context.log.warning(sentence)
    if not found.datasets:
        raise dg.Failure(
            description="; ".join(found.passed_over)
            or f"nothing lies in {workspace.home / 'landing'}: put the files of a dataset into a folder with its name "
            "there, or use `make run` for a made-up one",
            allow_retries=False,
        )
    context.instance.add_dynamic_partitions(datasets.name, list(found.datasets))
    context.log.info(
        f"Registered: {', '.join(found.datasets)}. Launch the job everything and choose one under Partitions."
    )


@dg.job(
    description="Make the datasets in landing/<name> of the workspace known, so that they can be chosen under "
    "Partitions. Reads no data and makes nothing.",
    # the executor of the other jobs asks for a dataset
    executor_def=dg.in_process_executor,
)
def register() -> None:
    register_datasets()


@dg.sensor(
    minimum_interval_seconds=30,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Makes the datasets in landing/<name> of the workspace known, so that they can be chosen under "
    "Partitions. Asks for no run.",
)
def register_landed(context: dg.SensorEvaluationContext) -> dg.SensorResult:
    found = find(Workspace.current())
    known = set(context.instance.get_dynamic_partitions(datasets.name))
    new = [name for name in found.datasets if name not in known]
    notes = "; ".join(found.passed_over)
    return dg.SensorResult(
        dynamic_partitions_requests=[datasets.build_add_request(new)] if new else [],
        skip_reason=f"registered {', '.join(new)}" if new else notes or "no new dataset has landed",
    )
