"""What is out of date, and whether what lies above has passed its checks. For ``make run`` and for the bodies.

Dagster's own resolver decides, the one behind the badges of the UI: an asset is stale when its code or the data
version of something it reads has changed since it was made.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache

import dagster as dg
from dagster._core.definitions.assets.graph.base_asset_graph import BaseAssetGraph
from dagster._core.definitions.data_version import (
    CachingStaleStatusResolver,
    StaleStatus,
    extract_data_version_from_entry,
)
from dagster._core.loader import LoadingContext

from orchestration.paths import Workspace
from orchestration.recovery import missing, unfinished

# the data version that earlier releases gave to what was not chosen
NOT_CHOSEN = "not chosen"
# the data, whose blocking checks must pass before anything is fitted on it
CHECKED_LAYERS = ("landing", "staging", "intermediate", "marts")


class _Loading(LoadingContext):
    """What the resolver asks for to batch its queries."""

    def __init__(self, instance: dg.DagsterInstance):
        self._instance = instance
        self._loaders: dict = {}

    @property
    def instance(self) -> dg.DagsterInstance:
        return self._instance

    @property
    def loaders(self) -> dict:
        return self._loaders


@cache
def asset_graph() -> BaseAssetGraph:
    """The graph of all definitions; a run in this process has no repository to ask for it."""
    from orchestration.definitions import defs

    return defs.resolve_asset_graph()


def out_of_date(
    instance: dg.DagsterInstance, graph: BaseAssetGraph, dataset: str, keys: Iterable[dg.AssetKey]
) -> dict[dg.AssetKey, str]:
    """Which of the given assets have to be made again for a dataset, each with the reason.

    Missing or stale ones, those that a run set out to make and did not, those whose blocking checks have not passed
    on what is there now, and everything among the given that lies below one of these.
    """
    keys = set(keys)
    left = unfinished(instance, dataset, keys)
    lost = missing(Workspace.current().dataset(dataset), keys)
    resolver = CachingStaleStatusResolver(instance, graph, _Loading(instance))
    reasons: dict[dg.AssetKey, str] = {}
    for key in _in_order(graph, keys):
        above = sorted(parent for parent in graph.get(key).parent_keys if parent in reasons)
        status = resolver.get_status(key, dataset)
        if status == StaleStatus.MISSING or resolver.get_current_data_version(key, dataset).value == NOT_CHOSEN:
            reasons[key] = "not made yet"
        elif status == StaleStatus.STALE:
            cause = resolver.get_stale_causes(key, dataset)[0]
            what = cause.dependency_asset_key.to_user_string() if cause.dependency_asset_key else "its code"
            reasons[key] = f"{what} changed" if cause.dependency_asset_key else "its code changed"
        elif key in left:
            reasons[key] = "a run ended before it was made"
        elif key in lost:
            reasons[key] = "its files are missing"
        elif above:
            reasons[key] = f"{above[0].to_user_string()} is made again"
        elif unpassed := unpassed_checks(instance, graph, dataset, key):
            reasons[key] = f"check {unpassed[0].name} has not passed"
    return reasons


def under_another_contract(
    instance: dg.DagsterInstance, graph: BaseAssetGraph, dataset: str, keys: Iterable[dg.AssetKey]
) -> set[dg.AssetKey]:
    """Which of the given assets were last held against another version of their contract.

    Such an asset is made again so that it is checked again; what lies below follows only where its content changes.
    """
    from orchestration.contracts import changed_contracts, load_contracts

    contracts = load_contracts()
    held = set(keys) & {contract.key for contract in contracts}
    evaluations = {
        check: said for key in held for check, said in latest_evaluations(instance, graph, dataset, key).items()
    }
    return changed_contracts(contracts, evaluations) & held


def unpassed_checks(
    instance: dg.DagsterInstance, graph: BaseAssetGraph, dataset: str, key: dg.AssetKey
) -> list[dg.AssetCheckKey]:
    """Blocking checks of an asset that have not passed on its latest materialisation for a dataset."""
    evaluations = latest_evaluations(instance, graph, dataset, key)
    return [
        check
        for check, evaluation in evaluations.items()
        if graph.get(check).blocking
        and (evaluation is None or (not evaluation.passed and evaluation.severity == dg.AssetCheckSeverity.ERROR))
    ]


def latest_evaluations(
    instance: dg.DagsterInstance, graph: BaseAssetGraph, dataset: str, key: dg.AssetKey
) -> dict[dg.AssetCheckKey, dg.AssetCheckEvaluation | None]:
    """What each check of an asset last said of its latest materialisation for a dataset; ``None``: nothing yet."""
    records = instance.fetch_materializations(
        dg.AssetRecordsFilter(asset_key=key, asset_partitions=[dataset]), limit=1
    ).records
    if not records:
        return {}
    return {check: _evaluation(instance, check, records[0].storage_id) for check in sorted(graph.get(key).check_keys)}


def _evaluation(
    instance: dg.DagsterInstance, check: dg.AssetCheckKey, materialization: int
) -> dg.AssetCheckEvaluation | None:
    """The latest evaluation of a check on one materialisation."""
    cursor = None
    while True:
        page = instance.event_log_storage.get_asset_check_execution_history(check, limit=50, cursor=cursor)
        for record in page:
            evaluation = record.evaluation
            # a check that is planned or under way has said nothing yet
            if isinstance(evaluation, dg.AssetCheckEvaluation):
                target = evaluation.target_materialization_data
                if target and target.storage_id == materialization:
                    return evaluation
        if len(page) < 50:
            return None
        cursor = page[-1].id


def require_passed_checks(context: dg.AssetExecutionContext) -> None:
    """Refuse to go on while a blocking check on the data of this dataset has not passed.

    Within one run Dagster itself holds back what lies below a failed check; this also holds for an asset that
    is re-made alone, later.

    Raises:
        dg.Failure: naming the checks.
    """
    graph = asset_graph()
    unpassed = [
        check
        for key in sorted(graph.materializable_asset_keys)
        if graph.get(key).group_name in CHECKED_LAYERS
        for check in unpassed_checks(context.instance, graph, context.partition_key, key)
    ]
    if unpassed:
        names = ", ".join(f"{check.name} of {check.asset_key.to_user_string()}" for check in unpassed)
        raise dg.Failure(
            description=f"{context.partition_key}: {context.asset_key.to_user_string()} is not made, because these "
            f"blocking checks have not passed on the data that is there now: {names}. Look at them, mend the data or "
            "the rule, and make the checked assets again.",
            allow_retries=False,
        )


def data_version(instance: dg.DagsterInstance, key: dg.AssetKey, dataset: str) -> str | None:
    """Data version of an asset for a dataset, as last materialised or observed."""
    record = instance.get_latest_data_version_record(key, is_source=None, partition_key=dataset)
    version = extract_data_version_from_entry(record.event_log_entry) if record else None
    return version.value if version else None


def _in_order(graph: BaseAssetGraph, keys: set[dg.AssetKey]) -> list[dg.AssetKey]:
    """The given keys, each after what it depends on."""
    return [key for level in graph.toposorted_asset_keys_by_level for key in sorted(level) if key in keys]
