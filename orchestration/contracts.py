"""The one bridge from ``data_contracts/``: a contract becomes a Great Expectations suite and asset checks.

A contract says what an asset promises to whoever reads it (the format: ``data_contracts/README.md``). Its
critical rules are one blocking check named ``contract``; its warnings are shown by ``contract_warnings``,
which blocks nothing. They are two checks because Dagster's automation conditions know passed and failed, but
no severity: a failed blocking check holds back what is downstream even where it only warns.
"""

from __future__ import annotations

import functools
import json
import math
import os
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg

from orchestration.contract_files import (
    CRITICAL,
    WARNING,
    Contract,
    ContractError,
    Rule,
    load_contracts,
    names_in,
)

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

CHECK = "contract"
WARNINGS_CHECK = "contract_warnings"
EXAMPLES = 5
# of an example's value; a title may be a whole style sheet
_LONGEST_TEXT = 200
# Contracts of assets that are finished at the same time share a step: where each step is a process of its
# own, each one pays the seconds that Great Expectations takes to import.
_STEP_OF_LAYER = {
    "landing": "landing_contracts",
    "staging": "warehouse_contracts",
    "marts": "warehouse_contracts",
}

Load = Callable[[dg.AssetKey, str, Sequence[str]], "pd.DataFrame"]


@dataclass(frozen=True)
class RuleResult:
    """What became of one rule.

    Attributes:
        rule: the rule.
        passed: whether it was kept.
        unexpected_rows: how many rows break it; ``None`` for a rule about the table as a whole.
        share: of the rows it looks at, 0 to 1; ``None`` as above.
        observed: what a rule about the table as a whole saw, in words.
        examples: up to five rows that break it: key columns and the column in question.
        error: why it could not be evaluated; such a rule counts as critical.
    """

    rule: Rule
    passed: bool
    unexpected_rows: int | None = None
    share: float | None = None
    observed: str = ""
    examples: tuple[Mapping[str, Any], ...] = ()
    error: str = ""

    @property
    def severity(self) -> str:
        return CRITICAL if self.error else self.rule.severity

    def to_sentence(self) -> str:
        """The rule, how many rows break it, examples and what to do, in one line."""
        parts = [f"{self.rule.id} ({self.severity}): {self.rule.reason}", self.finding()]
        if self.examples:
            parts.append("Examples: " + "; ".join(_in_words(example) for example in self.examples) + ".")
        if self.rule.remedy:
            parts.append(self.rule.remedy)
        return " ".join(parts)

    def finding(self) -> str:
        """What was found, and what the rule asks for."""
        if self.error:
            return f"It could not be evaluated: {self.error}"
        asked = _in_words({name: value for name, value in self.rule.kwargs.items() if name != "column"})
        asked = f" (the rule: {asked})." if asked else "."
        if self.unexpected_rows is None:
            return f"Found: {self.observed}{asked}"
        rows = "1 row breaks" if self.unexpected_rows == 1 else f"{self.unexpected_rows:,} rows break"
        return f"{rows} it, {_percent(self.share or 0.0)} of those it looks at{asked}"

    def to_json(self) -> dict[str, Any]:
        return {
            "rule": self.rule.id,
            "severity": self.severity,
            "reason": self.rule.reason,
            "remedy": self.rule.remedy,
            "unexpected_rows": self.unexpected_rows,
            "share": self.share,
            "observed": self.observed,
            "examples": [dict(example) for example in self.examples],
            "error": self.error,
        }


@dataclass(frozen=True)
class ContractResult:
    """What became of one contract on a frame of ``rows`` rows."""

    contract: Contract
    rows: int
    results: tuple[RuleResult, ...]

    def failed(self, severity: str) -> tuple[RuleResult, ...]:
        return tuple(r for r in self.results if not r.passed and r.severity == severity)

    @property
    def kept(self) -> bool:
        """Whether every critical rule was kept."""
        return not self.failed(CRITICAL)


def validate(contract: Contract, frame: pd.DataFrame) -> ContractResult:
    """Hold a frame against a contract.

    Args:
        contract: the contract.
        frame: the asset's rows, with ``contract.columns``; one that is missing breaks the rules that read it.

    Raises:
        ContractError: an expectation does not exist or does not take its arguments, or a derived column is made
            of columns that are no numbers.
    """
    names = set(frame.columns)
    for name, expression in contract.derived.items():
        if names_in(expression) <= names:
            try:
                frame = frame.assign(**{name: frame.eval(expression, engine="python")})
            except TypeError as error:
                raise ContractError(f"{contract.path}: derived column {name} = {expression}: {error}") from error
    found = {result.expectation_config.meta["id"]: result for result in _run_suite(contract, frame)}
    results = tuple(_rule_result(contract, rule, frame, found[rule.id]) for rule in contract.rules)
    return ContractResult(contract, len(frame), results)


def to_markdown(result: ContractResult) -> str:
    """One table line a rule, broken ones first."""
    lines = ["| | rule | severity | finding | examples |", "|---|---|---|---|---|"]
    for entry in sorted(result.results, key=lambda entry: (entry.passed, entry.severity)):
        mark = "✅" if entry.passed else "❌" if entry.severity == CRITICAL else "⚠️"
        finding = "" if entry.passed else entry.finding()
        cells = [mark, f"{entry.rule.id}: {entry.rule.reason}", entry.severity, finding]
        cells.append("; ".join(_in_words(example) for example in entry.examples))
        lines.append("| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |")
    return "\n".join(lines)


def read_columns(path: Path, columns: Sequence[str]) -> pd.DataFrame:
    """Those of the columns that a Parquet file has (the contract reports the ones it lacks).

    Raises:
        FileNotFoundError: naming the file and what to do.
    """
    import pyarrow.parquet as pq

    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist; materialise the asset that writes it")
    stored = pq.read_schema(path).names
    return pq.read_table(path, columns=[c for c in columns if c in stored]).to_pandas()


def contract_checks(
    contracts: Sequence[Contract], partitions_def: dg.PartitionsDefinition | None, load: Load
) -> list[dg.AssetChecksDefinition]:
    """The contracts as asset checks: one step for ``landing``, one for ``staging`` and ``marts``.

    A broken critical rule fails the step, and so stops what is downstream of any asset of that step in the
    same run; the check of each asset tells later runs.

    Args:
        contracts: as of :func:`load_contracts`.
        partitions_def: the datasets, so that each has a status of its own; ``None`` in unpartitioned use.
        load: reads the given columns of an asset of a dataset (see :func:`read_columns`).
    """
    steps: dict[str, list[Contract]] = {}
    for contract in contracts:
        layer = contract.key.path[0]
        steps.setdefault(_STEP_OF_LAYER.get(layer, f"{layer}_contracts"), []).append(contract)
    return [_step(name, members, partitions_def, load) for name, members in sorted(steps.items())]


def _step(
    name: str,
    members: Sequence[Contract],
    partitions_def: dg.PartitionsDefinition | None,
    load: Load,
) -> dg.AssetChecksDefinition:
    # The partitions_def of a check is in preview; without it one dataset's verdict would stand for all.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dg.PreviewWarning)
        specs = [spec for contract in members for spec in _specs(contract, partitions_def)]

    @dg.multi_asset_check(name=name, specs=specs, can_subset=True, compute_kind="greatexpectations")
    def step(context):  # Dagster reads its annotation and does not see through a postponed one
        dataset = context.partition_key if context.has_partition_key else ""
        selected = sorted(context.selected_asset_check_keys)
        for contract in members:
            checks = [key.name for key in selected if key.asset_key == contract.key]
            if not checks:
                continue
            result = validate(contract, load(contract.key, dataset, contract.columns))
            for check in checks:
                outcome = _check_result(result, check)
                if not outcome.passed:
                    log = context.log.error if check == CHECK else context.log.warning
                    log(f"{contract.asset}{f' of {dataset}' if dataset else ''}: {outcome.description}")
                yield outcome

    return step


def _specs(contract: Contract, partitions_def: dg.PartitionsDefinition | None) -> Iterator[dg.AssetCheckSpec]:
    metadata = {"contract": f"data_contracts/{contract.asset}.yml", "rules": len(contract.rules)}
    common = {"asset": contract.key, "metadata": metadata, "partitions_def": partitions_def}
    yield dg.AssetCheckSpec(CHECK, description=contract.promise, blocking=True, **common)
    if any(rule.severity == WARNING for rule in contract.rules):
        description = f"{contract.promise} What is unusual, and blocks nothing."
        yield dg.AssetCheckSpec(WARNINGS_CHECK, description=description, **common)


def _check_result(result: ContractResult, check: str) -> dg.AssetCheckResult:
    critical, unusual = result.failed(CRITICAL), result.failed(WARNING)
    broken = critical if check == CHECK else unusual
    kept = "Nothing unusual."
    if check == CHECK:
        kept = f"Every critical rule is kept; broken ones that are shown as warnings: {len(unusual)}."
    return dg.AssetCheckResult(
        passed=not broken,
        asset_key=result.contract.key,
        check_name=check,
        severity=dg.AssetCheckSeverity.ERROR if check == CHECK and critical else dg.AssetCheckSeverity.WARN,
        description="\n".join(entry.to_sentence() for entry in broken) or kept,
        metadata={
            "report": dg.MetadataValue.md(to_markdown(result)),
            "rows_checked": result.rows,
            "rules_checked": len(result.results),
            "failed_rules": dg.MetadataValue.json([entry.to_json() for entry in (*critical, *unusual)]),
        },
    )


@functools.cache
def _context() -> Any:
    """The Great Expectations context of this process."""
    os.environ["GX_ANALYTICS_ENABLED"] = "false"  # read at import
    import great_expectations as gx
    from great_expectations.data_context.types.base import ProgressBarsConfig

    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = ProgressBarsConfig(globally=False)
    return context


def _run_suite(contract: Contract, frame: pd.DataFrame) -> list[Any]:
    context = _context()
    import great_expectations as gx

    # not add_expectation_configuration: it replaces an expectation of the same type on the same column
    suite = gx.ExpectationSuite(contract.asset, expectations=[_expectation(contract, r) for r in contract.rules])
    source = context.data_sources.add_pandas(contract.asset)
    try:
        batches = source.add_dataframe_asset(contract.asset).add_batch_definition_whole_dataframe("all")
        batch = batches.get_batch({"dataframe": frame})
        # BASIC counts and gives a few values; SUMMARY with index columns takes 40 s a million unexpected rows
        basic = {"result_format": "BASIC", "partial_unexpected_count": EXAMPLES}
        return batch.validate(suite, result_format=basic).results
    finally:
        context.data_sources.delete(contract.asset)  # or the context would keep the frame


def _expectation(contract: Contract, rule: Rule) -> Any:
    from great_expectations.exceptions import GreatExpectationsError
    from great_expectations.expectations.expectation_configuration import ExpectationConfiguration
    from great_expectations.expectations.row_conditions import Column

    kwargs = dict(rule.kwargs)
    if rule.where:
        conditions = [Column(column) == value for column, value in rule.where.items()]
        kwargs["row_condition"] = functools.reduce(lambda left, right: left & right, conditions)
    configuration = ExpectationConfiguration(
        type=rule.expectation, kwargs=kwargs, meta={"id": rule.id}, severity=rule.severity
    )
    try:
        return configuration.to_domain_obj()
    except (GreatExpectationsError, ValueError, TypeError) as error:
        raise ContractError(f"{contract.path}, rule {rule.id}: {rule.expectation}: {error}") from error


def _rule_result(contract: Contract, rule: Rule, frame: pd.DataFrame, found: Any) -> RuleResult:
    if found.success:
        return RuleResult(rule, passed=True)
    if not found.result:
        return RuleResult(rule, passed=False, error=_error(found.exception_info))
    count = found.result.get("unexpected_count")
    if count is None:
        return RuleResult(rule, passed=False, observed=_observed(found.result))
    share = (found.result.get("unexpected_percent") or 0.0) / 100
    examples = _examples(contract, rule, frame, found.result.get("partial_unexpected_list") or [])
    return RuleResult(rule, passed=False, unexpected_rows=int(count), share=share, examples=examples)


def _examples(contract: Contract, rule: Rule, frame: pd.DataFrame, values: list) -> tuple[dict[str, Any], ...]:
    """The first rows with one of the unexpected values, by the columns that name a row."""
    column = rule.kwargs.get("column")
    if column is None:
        return tuple({"values": _plain(value)} for value in values[:EXAMPLES])
    for name, value in rule.where.items():
        frame = frame[frame[name] == value]
    present = [value for value in values if _plain(value) is not None]
    unexpected = frame[column].isin(present)
    if len(present) < len(values):
        unexpected |= frame[column].isna()
    shown = list(dict.fromkeys([*(key for key in contract.keys if key in frame), column]))
    rows = frame.loc[unexpected, shown].head(EXAMPLES)
    return tuple(
        {name: _plain(value) for name, value in zip(shown, row, strict=True)}
        for row in rows.itertuples(index=False, name=None)
    )


def _observed(result: Mapping[str, Any]) -> str:
    missing = result.get("partial_missing_list") or result.get("details", {}).get("mismatched", {}).get("missing")
    if missing:
        return f"missing {', '.join(str(_plain(value)) for value in missing)}"
    return str(_plain(result.get("observed_value")))


def _error(information: Mapping[str, Any]) -> str:
    """The first message of an exception record: one record, or one for each metric that failed."""
    records = [information, *(value for value in information.values() if isinstance(value, Mapping))]
    messages = [str(record["exception_message"]) for record in records if record.get("exception_message")]
    return messages[0].removeprefix("Error: ") if messages else "no reason given"


def _plain(value: Any) -> Any:
    """A value that JSON can hold; missing values of any kind become ``None``."""
    if hasattr(value, "item"):
        value = value.item()
    if value is None or type(value).__name__ in ("NAType", "NaTType") or value != value:
        return None
    if isinstance(value, float) and math.isinf(value):
        return str(value)
    if isinstance(value, bool | int | float):
        return value
    text = str(value)
    return text if len(text) <= _LONGEST_TEXT else f"{text[:_LONGEST_TEXT]}…"


def _percent(share: float) -> str:
    """Never 0 % for some rows, nor 100 % for all but some."""
    if 0 < share < 0.0001:
        return "under 0.01 %"
    return "over 99.99 %" if 0.9999 < share < 1 else f"{round(share * 100, 2):g} %"


def _in_words(example: Mapping[str, Any]) -> str:
    return ", ".join(
        f"{name} = {json.dumps(value, ensure_ascii=False, default=str)}" for name, value in example.items()
    )
