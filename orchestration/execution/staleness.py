"""The asset graph, and materialisations and check results in it."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import dagster as dg

from orchestration.dagster_internals import BaseAssetGraph
from orchestration.execution.records import Records

# the data version that earlier releases gave to what was not chosen
NOT_CHOSEN = "not chosen"
# the data version of what a set names and a dataset cannot have
LEFT_OUT = "left out"
# metadata of a check and of its evaluations: what it asks for
CONTRACT_DIGEST = "contract_digest"
# metadata of a check: assets beside its own for which it is evaluated again when their content changes
CHECK_READS = "reads"
# metadata of an asset that shows what the checks of others found
SHOWS_CHECKS = "shows_checks"
# the check that says whether what an asset shows is out of date; of what it shows it says nothing
UP_TO_DATE = "up_to_date"
# the data, whose blocking checks must pass before anything is fitted on it
CHECKED_LAYERS = ("landing", "staging", "intermediate", "marts")

_resolve_graph: Callable[[], BaseAssetGraph] | None = None


def set_asset_graph(resolve: Callable[[], BaseAssetGraph]) -> None:
    """Set the source of :func:`asset_graph`; called by :func:`orchestration.build.build_defs`."""
    global _resolve_graph
    _resolve_graph = resolve


def asset_graph() -> BaseAssetGraph:
    """The graph of all definitions; a run in this process has no repository to ask for it.

    Raises:
        RuntimeError: there are no definitions yet.
    """
    if _resolve_graph is None:
        raise RuntimeError("there is no asset graph before the definitions are built")
    return _resolve_graph()


def in_order(graph: BaseAssetGraph, keys: Iterable[dg.AssetKey]) -> list[dg.AssetKey]:
    """The given keys, each after what it depends on."""
    keys = set(keys)
    return [key for level in graph.toposorted_asset_keys_by_level for key in sorted(level) if key in keys]


def unpassed_of(records: Records, graph: BaseAssetGraph, key: dg.AssetKey) -> list[dg.AssetCheckKey]:
    """Blocking checks of an asset that have not passed on its latest materialisation; none where there is none."""
    if key not in records.made:
        return []
    found = records.evaluations.get(key, {})
    blocking = [check for check in sorted(graph.get(key).check_keys) if graph.get(check).blocking]
    return [check for check in blocking if check.name not in found or not _passed(found[check.name].evaluation)]


def _passed(evaluation: dg.AssetCheckEvaluation) -> bool:
    return evaluation.passed or evaluation.severity != dg.AssetCheckSeverity.ERROR


def unpassed_checks(
    instance: dg.DagsterInstance, graph: BaseAssetGraph, dataset: str, keys: Iterable[dg.AssetKey]
) -> list[dg.AssetCheckKey]:
    """Blocking checks of assets that have not passed on what was last materialised for a dataset."""
    keys = sorted(keys)
    records = Records(instance, dataset, keys)
    return [check for key in keys for check in unpassed_of(records, graph, key)]


def latest_evaluations(
    instance: dg.DagsterInstance, graph: BaseAssetGraph, dataset: str, keys: Iterable[dg.AssetKey]
) -> dict[dg.AssetCheckKey, dg.AssetCheckEvaluation | None]:
    """Latest result of each check for the latest materialisation; ``None`` if it has not run.

    Assets that were never materialised for the dataset are left out.
    """
    keys = sorted(keys)
    records = Records(instance, dataset, keys)
    return {
        check: found.evaluation if (found := records.evaluations.get(key, {}).get(check.name)) else None
        for key in keys
        if key in records.made
        for check in sorted(graph.get(key).check_keys)
    }


def require_passed_checks(context: dg.AssetExecutionContext) -> None:
    """Refuse to go on while a blocking check on the data of this dataset has not passed.

    Within one run Dagster itself holds back what lies below a failed check; this also holds for an asset that
    is re-made alone, later.

    Raises:
        dg.Failure: naming the checks.
    """
    graph = asset_graph()
    checked = [key for key in graph.materializable_asset_keys if graph.get(key).group_name in CHECKED_LAYERS]
    unpassed = unpassed_checks(context.instance, graph, context.partition_key, checked)
    if unpassed:
        names = ", ".join(f"{check.name} of {check.asset_key.to_user_string()}" for check in unpassed)
        raise dg.Failure(
            description=f"{context.partition_key}: {context.asset_key.to_user_string()} is not made, because these "
            f"blocking checks have not passed on the data that is there now: {names}. Look at them, mend the data or "
            "the rule, and make the checked assets again.",
            allow_retries=False,
        )


def data_versions(instance: dg.DagsterInstance, dataset: str, keys: Iterable[dg.AssetKey]) -> dict[dg.AssetKey, str]:
    """Data version of assets for a dataset, as last materialised or observed, of those that have one."""
    records = Records(instance, dataset, keys)
    return {key: made.version for key, made in records.made.items() if made.version is not None}


def data_version(instance: dg.DagsterInstance, key: dg.AssetKey, dataset: str) -> str | None:
    """Data version of one asset, as :func:`data_versions`."""
    return data_versions(instance, dataset, [key]).get(key)
