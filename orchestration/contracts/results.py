"""Holding a table against its contract with Great Expectations, and what is found, in words and as JSON."""

from __future__ import annotations

import functools
import json
import math
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from orchestration.contracts.files import CRITICAL, Contract, ContractError, Rule, names_in
from orchestration.contracts.findings import filled, is_about_rows, names_of

if TYPE_CHECKING:
    import pandas as pd

EXAMPLES = 5
# in the arguments of a rule: a day after the moment of the check
TOMORROW = "tomorrow"
_DAY = 86_400
# of an example's value; a title may be a whole style sheet
_LONGEST_TEXT = 200


@dataclass(frozen=True)
class RuleResult:
    """Result of one rule.

    Attributes:
        rule: the rule.
        passed: whether it was kept.
        unexpected_rows: how many rows break it; ``None`` for a rule about the table as a whole.
        share: of the rows it looks at, 0 to 1; ``None`` as above.
        observed: what a rule about the table as a whole saw, in words.
        examples: up to five rows that break it: key columns and the column in question.
        error: why it could not be evaluated; such a rule counts as critical.
        said: what was found, in sentences: of the table, or of the first rows that break the rule.
        unsaid: rows that break it and of which nothing is said.
    """

    rule: Rule
    passed: bool
    unexpected_rows: int | None = None
    share: float | None = None
    observed: str = ""
    examples: tuple[Mapping[str, Any], ...] = ()
    error: str = ""
    said: tuple[str, ...] = ()
    unsaid: int = 0

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
        """The finding."""
        if self.error:
            return f"It could not be evaluated: {self.error}"
        return " ".join(self.said) + (f" And {self.unsaid:,} more." if self.unsaid else "")

    def to_json(self) -> dict[str, Any]:
        return {
            "rule": self.rule.id,
            "severity": self.severity,
            "reason": self.rule.reason,
            "remedy": self.rule.remedy,
            "finding": self.finding(),
            "unexpected_rows": self.unexpected_rows,
            "share": self.share,
            "observed": self.observed,
            "examples": [dict(example) for example in self.examples],
            "error": self.error,
        }


@dataclass(frozen=True)
class ContractResult:
    """Result of one contract.

    Attributes:
        contract: the contract.
        rows: of the frame it was held against.
        results: one a rule, in the order of the contract.
        note: what the frame says of itself (``frame.attrs["note"]``), or nothing.
        validation: the result of Great Expectations as JSON.
    """

    contract: Contract
    rows: int
    results: tuple[RuleResult, ...]
    note: str = ""
    validation: Mapping[str, Any] = field(default_factory=dict)

    def failed(self, severity: str) -> tuple[RuleResult, ...]:
        return tuple(r for r in self.results if not r.passed and r.severity == severity)

    @property
    def kept(self) -> bool:
        """Whether every critical rule holds."""
        return not self.failed(CRITICAL)


def validate(contract: Contract, frame: pd.DataFrame, now: float | None = None) -> ContractResult:
    """Hold a frame against a contract.

    Args:
        contract: the contract.
        frame: the asset's rows, with ``contract.columns``; one that is missing breaks the rules that read it.
        now: the moment of the check in seconds since 1970, of which ``tomorrow`` in a rule is a day later; ``None``
            for the present.

    Raises:
        ContractError: an expectation does not exist or does not take its arguments, or a derived column is made
            of columns that are no numbers.
    """
    note = str(frame.attrs.get("note", ""))
    names = set(frame.columns)
    for name, expression in contract.derived.items():
        if names_in(expression) <= names:
            try:
                frame = frame.assign(**{name: frame.eval(expression, engine="python")})
            except TypeError as error:
                raise ContractError(f"{contract.path}: derived column {name} = {expression}: {error}") from error
    applied = [rule for rule in contract.rules if not (rule.needs_values and _has_no_value(rule, frame))]
    now = time.time() if now is None else now
    validation = _run_suite(contract, applied, frame, now)
    found = {result.expectation_config.meta["id"]: result for result in validation.results}
    results = tuple(
        _rule_result(contract, rule, frame, found[rule.id], now) if rule in applied else RuleResult(rule, passed=True)
        for rule in contract.rules
    )
    return ContractResult(contract, len(frame), results, note, validation.to_json_dict())


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


@functools.cache
def _context() -> Any:
    """The Great Expectations context of this process."""
    os.environ["GX_ANALYTICS_ENABLED"] = "false"  # read at import
    import great_expectations as gx
    from great_expectations.data_context.types.base import ProgressBarsConfig

    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = ProgressBarsConfig(globally=False)
    return context


@functools.cache
def _batches(name: str) -> tuple[Any, Any]:
    """Where the frames of a contract are given to Great Expectations, and their batches.

    Made once: the context writes its whole configuration down each time a source is added or deleted, which takes as
    long as holding a small frame against its contract.
    """
    source = _context().data_sources.add_pandas(name)
    return source, source.add_dataframe_asset(name).add_batch_definition_whole_dataframe("all")


def _run_suite(contract: Contract, rules: list[Rule], frame: pd.DataFrame, now: float) -> Any:
    source, batches = _batches(contract.name)
    import great_expectations as gx

    # not add_expectation_configuration: it replaces an expectation of the same type on the same column
    suite = gx.ExpectationSuite(contract.name, expectations=[_expectation(contract, r, now) for r in rules])
    try:
        batch = batches.get_batch({"dataframe": frame})
        # BASIC counts and gives a few values; SUMMARY with index columns takes 40 s a million unexpected rows
        basic = {"result_format": "BASIC", "partial_unexpected_count": EXAMPLES}
        return batch.validate(suite, result_format=basic)
    finally:
        kept = source.get_execution_engine().batch_manager
        kept.reset_batch_cache()
        kept.batch_data_cache.clear()  # of which the frame is one


def _expectation(contract: Contract, rule: Rule, now: float) -> Any:
    from great_expectations.exceptions import GreatExpectationsError
    from great_expectations.expectations.expectation_configuration import ExpectationConfiguration
    from great_expectations.expectations.metadata_types import FailureSeverity
    from great_expectations.expectations.row_conditions import Column

    kwargs = _arguments(rule, now)
    if rule.where:
        conditions = [Column(column) == value for column, value in rule.where.items()]
        kwargs["row_condition"] = functools.reduce(lambda left, right: left & right, conditions)
    configuration = ExpectationConfiguration(
        type=rule.expectation,
        kwargs=kwargs,
        meta={"id": rule.id},
        notes=[f"{rule.id}: {rule.reason}", *([rule.remedy] if rule.remedy else [])],
        severity=FailureSeverity(rule.severity),
    )
    try:
        return configuration.to_domain_obj()
    except (GreatExpectationsError, ValueError, TypeError) as error:
        raise ContractError(f"{contract.path}, rule {rule.id}: {rule.expectation}: {error}") from error


def _arguments(rule: Rule, now: float) -> dict[str, Any]:
    """The arguments of a rule, with ``tomorrow`` as a number of seconds."""
    return {name: int(now) + _DAY if value == TOMORROW else value for name, value in rule.kwargs.items()}


def _rule_result(contract: Contract, rule: Rule, frame: pd.DataFrame, found: Any, now: float) -> RuleResult:
    if found.success:
        return RuleResult(rule, passed=True)
    if not found.result:
        return RuleResult(rule, passed=False, error=error_text(found.exception_info))
    values = _arguments(rule, now)
    if "mostly" in values:
        # 1 - 0.999 is not 0.001
        values["allowed"] = round(1 - values["mostly"], 12)
    count = found.result.get("unexpected_count")
    if count is None:
        values |= {"observed": found.result.get("observed_value"), "missing": found.result.get("partial_missing_list")}
        said, unsaid = _said(rule, _counted(rule, frame), values)
        return RuleResult(rule, passed=False, observed=_observed(found.result), said=said, unsaid=unsaid)
    share = (found.result.get("unexpected_percent") or 0.0) / 100
    unexpected = found.result.get("partial_unexpected_list") or []
    # most expectations pass over missing values
    looked_at = found.result["element_count"] - found.result.get("missing_count", 0)
    rows = _unexpected(rule, frame, unexpected)
    said, unsaid = _said(rule, rows, values | {"broken": count, "looked_at": looked_at, "share": share}, count)
    return RuleResult(
        rule,
        passed=False,
        unexpected_rows=int(count),
        share=share,
        examples=_examples(contract, rule, rows, unexpected),
        said=said,
        unsaid=unsaid,
    )


def _said(
    rule: Rule, rows: pd.DataFrame, values: Mapping[str, Any], count: int | None = None
) -> tuple[tuple[str, ...], int]:
    """Findings of a rule, for the table or the first broken rows, and the number of rows not shown."""
    if not is_about_rows(rule.finding, rule.kwargs):
        return (filled(rule.finding, values),), 0
    named = [name for name in rows.columns if name in names_of(rule.finding)]
    # a table that lacks a column is held against the rules that do without it
    values = dict.fromkeys(names_of(rule.finding)) | dict(values)
    records = rows[named].head(EXAMPLES).to_dict("records")
    said = tuple(filled(rule.finding, {**values, **record}) for record in records)
    return said, (len(rows) if count is None else int(count)) - len(said)


def _unexpected(rule: Rule, frame: pd.DataFrame, values: list) -> pd.DataFrame:
    """The rows that hold one of the unexpected values."""
    frame = _counted(rule, frame)
    column = rule.kwargs.get("column")
    if column is None:
        return frame.iloc[:0]
    present = [value for value in values if _plain(value) is not None]
    unexpected = frame[column].isin(present)
    if len(present) < len(values):
        unexpected |= frame[column].isna()
    return frame[unexpected]


def _has_no_value(rule: Rule, frame: pd.DataFrame) -> bool:
    """Whether the column exists and is empty in the rows that count."""
    if not {rule.kwargs["column"], *rule.where} <= set(frame.columns):
        return False
    return bool(_counted(rule, frame)[rule.kwargs["column"]].isna().all())


def _counted(rule: Rule, frame: pd.DataFrame) -> pd.DataFrame:
    """The rows that a rule looks at."""
    for name, value in rule.where.items():
        frame = frame[frame[name] == value]
    return frame


def _examples(contract: Contract, rule: Rule, rows: pd.DataFrame, values: list) -> tuple[dict[str, Any], ...]:
    """The first of the rows that break a rule, by the columns that name a row."""
    column = rule.kwargs.get("column")
    if column is None:
        return tuple({"values": _plain(value)} for value in values[:EXAMPLES])
    shown = list(dict.fromkeys([*(key for key in contract.keys if key in rows), column]))
    return tuple(
        {name: _plain(value) for name, value in zip(shown, row, strict=True)}
        for row in rows[shown].head(EXAMPLES).itertuples(index=False, name=None)
    )


def _observed(result: Mapping[str, Any]) -> str:
    if missing := result.get("partial_missing_list"):
        return f"missing {', '.join(str(_plain(value)) for value in missing)}"
    return str(_plain(result.get("observed_value")))


def error_text(information: Mapping[str, Any]) -> str:
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


def _in_words(example: Mapping[str, Any]) -> str:
    return ", ".join(
        f"{name} = {json.dumps(value, ensure_ascii=False, default=str)}" for name, value in example.items()
    )
