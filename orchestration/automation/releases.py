"""Promotion and roll-back by hand: two jobs of the UI, which the commands of these names run too."""

from collections.abc import Callable

import dagster as dg
from pydantic import Field

from orchestration.champion_record import champion_put_in_charge
from orchestration.mlflow_mirror import mirror
from orchestration.partitions import datasets
from orchestration.paths import DatasetPaths, Workspace
from orchestration.release import ReleaseError, State, promote, roll_back
from orchestration.reporting import as_dagster_failure


class PromoteConfig(dg.Config):
    """Configuration of a promotion by hand."""

    version: str = Field(
        default="", description="The first digits of the digest of a release on disk; empty for the present candidate."
    )
    reason: str = Field(default="", description="Why, for the history of the releases.")


class RollBackConfig(dg.Config):
    """Configuration of a roll-back."""

    reason: str = Field(default="", description="Why, for the history of the releases.")


@dg.op(description="Put a release in charge, whatever the gate said.")
def put_in_charge(context: dg.OpExecutionContext, config: PromoteConfig) -> None:
    _change(context, lambda paths: promote(paths, config.version, config.reason, context.run_id))


@dg.op(description="Put the release in charge that was so before the present one.")
def put_the_last_in_charge(context: dg.OpExecutionContext, config: RollBackConfig) -> None:
    _change(context, lambda paths: roll_back(paths, config.reason, context.run_id))


def _change(context: dg.OpExecutionContext, change: Callable[[DatasetPaths], State]) -> None:
    """Change what is in charge of the dataset of a run, and record it as the champion of the lineage."""
    from ml.release.bundle import BundleError
    from ml.release.gate.history import HistoryError

    dataset = context.partition_key
    paths = Workspace.current().dataset(dataset)
    with as_dagster_failure(dataset, ReleaseError, BundleError, HistoryError):
        state = change(paths)
    context.log.info(state.sentence)
    mirror(paths, state, context.log)
    context.log_event(champion_put_in_charge(paths, state))


@dg.job(
    name="promote",
    partitions_def=datasets,
    description="Put a release in charge by hand: the present candidate, which the gate may have refused, or any "
    "release on disk. Choose the dataset under Partitions; the history keeps who, when and why.",
)
def promote_job() -> None:
    put_in_charge()


@dg.job(
    name="rollback",
    partitions_def=datasets,
    description="Put the release in charge that was so before the present one. The present one is not promoted again "
    "unless somebody does it by hand. Choose the dataset under Partitions; the history keeps who, when and why.",
)
def rollback_job() -> None:
    put_the_last_in_charge()


release_jobs = [promote_job, rollback_job]
