"""The one bridge from ``data_contracts/``: a contract becomes a Great Expectations suite and asset checks.

A contract says what an asset promises to whoever reads it (the format: ``data_contracts/README.md``). Its
critical rules are one blocking check named ``contract``; its warnings are shown by ``contract_warnings``,
which blocks nothing. The contract of a view of an asset, such as ``drift``, gives both checks its name. They
are two checks because Dagster's automation conditions know passed and failed, but no severity: a failed
blocking check holds back what is downstream even where it only warns.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg

from orchestration.contracts.files import (
    CRITICAL,
    WARNING,
    Contract,
    ContractError,
    Rule,
    load_contracts,
)
from orchestration.contracts.results import ContractResult, RuleResult, to_markdown, validate
from orchestration.execution.staleness import CHECK_READS, CONTRACT_DIGEST

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "Contract",
    "ContractError",
    "ContractResult",
    "Rule",
    "RuleResult",
    "contract_checks",
    "load_contracts",
    "read_columns",
    "to_markdown",
    "validate",
]

# Contracts of assets that are finished at the same time share a step: where each step is a process of its
# own, each one pays the seconds that Great Expectations takes to import.
_STEP_OF_LAYER = {
    "landing": "landing_contracts",
    "staging": "warehouse_contracts",
    "marts": "warehouse_contracts",
}

Load = Callable[[Contract, str], "pd.DataFrame"]
Keep = Callable[[ContractResult, str], None]


def read_columns(path: Path, columns: Sequence[str]) -> pd.DataFrame:
    """The requested columns that a Parquet file has (the contract reports missing ones).

    Raises:
        FileNotFoundError: naming the file and what to do.
    """
    import pyarrow.parquet as pq

    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist; materialise the asset that writes it")
    stored = pq.read_schema(path).names
    return pq.read_table(path, columns=[c for c in columns if c in stored]).to_pandas()


def contract_checks(
    contracts: Sequence[Contract],
    partitions_def: dg.PartitionsDefinition | None,
    load: Load,
    keep: Keep | None = None,
    reads: Mapping[str, Sequence[str]] | None = None,
) -> list[dg.AssetChecksDefinition]:
    """The contracts as asset checks: one step for ``landing``, one for ``staging`` and ``marts``, one for each
    other layer.

    A broken critical rule fails the step, and so stops what is downstream of any asset of that step in the
    same run; the check of each asset tells later runs.

    Args:
        contracts: as of :func:`load_contracts`.
        partitions_def: the datasets, so that each has a status of its own; ``None`` in unpartitioned use.
        load: reads what a contract is about, of a dataset: at least its columns (see :func:`read_columns`).
        keep: is handed every result, with the dataset.
        reads: by name of a contract, assets that ``load`` reads for it beside its own and that may change alone: the
            contract is held again when one does.
    """
    steps: dict[str, list[Contract]] = {}
    for contract in contracts:
        layer = contract.key.path[0]
        steps.setdefault(_STEP_OF_LAYER.get(layer, f"{layer}_contracts"), []).append(contract)
    return [_step(name, members, partitions_def, load, keep, reads or {}) for name, members in sorted(steps.items())]


def _step(
    name: str,
    members: Sequence[Contract],
    partitions_def: dg.PartitionsDefinition | None,
    load: Load,
    keep: Keep | None,
    reads: Mapping[str, Sequence[str]],
) -> dg.AssetChecksDefinition:
    # The partitions_def of a check is in preview; without it one dataset's verdict would stand for all.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dg.PreviewWarning)
        specs = [spec for contract in members for spec in _specs(contract, partitions_def, reads)]

    @dg.multi_asset_check(name=name, specs=specs, can_subset=True, compute_kind="greatexpectations")
    def step(context):  # Dagster reads its annotation and does not see through a postponed one
        dataset = context.partition_key if context.has_partition_key else ""
        selected = sorted(context.selected_asset_check_keys)
        for contract in members:
            own = (contract.check, warnings_check(contract))
            checks = [key.name for key in selected if key.asset_key == contract.key and key.name in own]
            if not checks:
                continue
            result = validate(contract, load(contract, dataset))
            if keep:
                keep(result, dataset)
            for check in checks:
                outcome = _check_result(result, check)
                if not outcome.passed:
                    log = context.log.error if check == contract.check else context.log.warning
                    log(f"{contract.asset}{f' of {dataset}' if dataset else ''}: {outcome.description}")
                yield outcome

    return step


def warnings_check(contract: Contract) -> str:
    """Name of the check that shows what is unusual."""
    return f"{contract.check}_warnings"


def _specs(
    contract: Contract, partitions_def: dg.PartitionsDefinition | None, reads: Mapping[str, Sequence[str]]
) -> Iterator[dg.AssetCheckSpec]:
    metadata: dict[str, Any] = {
        "contract": f"data_contracts/{contract.name}.yml",
        "rules": len(contract.rules),
        CONTRACT_DIGEST: contract.digest,
    }
    read = list(reads.get(contract.name, ()))
    if read:
        metadata[CHECK_READS] = read
    common: dict[str, Any] = {
        "asset": contract.key,
        "metadata": metadata,
        "partitions_def": partitions_def,
        "additional_deps": [dg.AssetKey.from_user_string(name) for name in read],
    }
    yield dg.AssetCheckSpec(contract.check, description=contract.promise, blocking=True, **common)
    if any(rule.severity == WARNING for rule in contract.rules):
        description = f"{contract.promise} What is unusual, and blocks nothing."
        yield dg.AssetCheckSpec(warnings_check(contract), description=description, **common)


def _check_result(result: ContractResult, check: str) -> dg.AssetCheckResult:
    critical, unusual = result.failed(CRITICAL), result.failed(WARNING)
    blocks = check == result.contract.check
    broken = critical if blocks else unusual
    kept = "Nothing unusual."
    if blocks:
        kept = f"Every critical rule is kept; broken ones that are shown as warnings: {len(unusual)}."
    return dg.AssetCheckResult(
        passed=not broken,
        asset_key=result.contract.key,
        check_name=check,
        severity=dg.AssetCheckSeverity.ERROR if blocks else dg.AssetCheckSeverity.WARN,
        description="\n".join(entry.to_sentence() for entry in broken) or f"{kept} {result.note}".strip(),
        metadata={
            "report": dg.MetadataValue.md(to_markdown(result)),
            "rows_checked": result.rows,
            "rules_checked": len(result.results),
            "note": result.note,
            CONTRACT_DIGEST: result.contract.digest,
            "failed_rules": dg.MetadataValue.json([entry.to_json() for entry in (*critical, *unusual)]),
        },
    )
