"""The files of ``data_contracts/``, read and checked; their format is in ``data_contracts/README.md``."""

from __future__ import annotations

import ast
import hashlib
import json
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dagster as dg
import yaml

from ml.syntax import parse
from orchestration.contracts.findings import check_template

FOLDER = Path(__file__).resolve().parents[2] / "data_contracts"
CRITICAL, WARNING = "critical", "warning"
CONTRACT = "contract"
# folder of the bounds of a release, which are no rules about an asset (orchestration/contracts/release.py)
RELEASE = "release"

_CONTRACT_FIELDS = {"asset", "promise", "keys", "rules"}, {"derived"}
_RULE_FIELDS = (
    {"id", "reason", "severity", "expectation", "kwargs", "columns", "finding"},
    {"where", "remedy", "needs_values", "guards"},
)
INPUT, CODE = "input", "code"
# set by the bridge from the other fields of a rule
_RESERVED_KWARGS = {"row_condition", "condition_parser", "severity", "meta", "id", "result_format"}
_ARITHMETIC = (
    ast.Expression,
    ast.BinOp,
    ast.UnaryOp,
    ast.Name,
    ast.Load,
    ast.Constant,
    ast.operator,
    ast.unaryop,
)


class ContractError(ValueError):
    """A contract file that cannot be used; the message names the file, the rule and what is wrong."""


@dataclass(frozen=True)
class Rule:
    """One promise.

    Attributes:
        id: its name, unique within the contract.
        reason: why it matters, one sentence.
        severity: ``critical`` (stops what is downstream) or ``warning`` (is shown).
        expectation: type of the Great Expectations expectation.
        kwargs: its arguments.
        columns: the stored columns it reads.
        where: values that columns must have for a row to count; empty for all rows.
        remedy: what to do when it is broken; every critical rule has one.
        needs_values: whether a column without any value, among the rows that count, keeps the rule.
        finding: what to say where it is broken (see :mod:`orchestration.contracts.findings`).
        guards: ``input`` (an input can break it) or ``code`` (only a fault of this project can).
    """

    id: str
    reason: str
    severity: str
    expectation: str
    kwargs: Mapping[str, Any]
    columns: tuple[str, ...]
    finding: str
    where: Mapping[str, Any] = field(default_factory=dict)
    remedy: str = ""
    needs_values: bool = False
    guards: str = INPUT


@dataclass(frozen=True)
class Contract:
    """The contract of one asset.

    Attributes:
        asset: its key, ``layer/name``.
        check: name of the check that it becomes: ``contract``, or the view of the asset that it is about.
        path: the contract file.
        promise: what the contract is about, one sentence.
        keys: columns that name a row, shown with the examples.
        derived: columns made from stored ones before the rules are applied: name to arithmetic expression.
        rules: in the order of the file.
    """

    asset: str
    check: str
    path: Path
    promise: str
    keys: tuple[str, ...]
    derived: Mapping[str, str]
    rules: tuple[Rule, ...]

    @property
    def key(self) -> dg.AssetKey:
        return dg.AssetKey(self.asset.split("/"))

    @property
    def name(self) -> str:
        """The place of its file, ``layer/name`` or ``layer/name.view``."""
        return self.asset if self.check == CONTRACT else f"{self.asset}.{self.check}"

    @property
    def digest(self) -> str:
        """SHA-256 of what is asked for, in hexadecimal: another reason or remedy is not another contract."""
        rules = [
            (rule.id, rule.severity, rule.expectation, dict(rule.kwargs), dict(rule.where), rule.needs_values)
            for rule in self.rules
        ]
        asked = json.dumps([self.name, dict(self.derived), rules], sort_keys=True, default=str)
        return hashlib.sha256(asked.encode()).hexdigest()

    @property
    def columns(self) -> tuple[str, ...]:
        """Every stored column that the rules and their examples read."""
        return tuple(dict.fromkeys([*self.keys, *(name for rule in self.rules for name in rule.columns)]))


def load_contracts(folder: Path = FOLDER) -> tuple[Contract, ...]:
    """Every contract of a folder (``<layer>/<name>.yml``, ``<layer>/<name>.<view>.yml``), in the order of their files.

    Raises:
        ContractError: naming the file and the rule.
    """
    found = (path for pattern in ("*/*.yml", "*/*.yaml") for path in folder.glob(pattern))
    paths = sorted(path for path in found if path.parent.name != RELEASE)
    if not paths:
        raise ContractError(f"{folder} holds no contract; there is one file for each asset, <layer>/<name>.yml")
    return tuple(_read_contract(path) for path in paths)


def names_in(expression: str) -> set[str]:
    """The columns that a derived column is computed from.

    Raises:
        ValueError: it is more than arithmetic on columns.
    """
    try:
        nodes = list(ast.walk(parse(expression, mode="eval")))
    except SyntaxError as error:
        raise ValueError(f"{expression!r} is not an expression") from error
    if not all(isinstance(node, _ARITHMETIC) for node in nodes):
        raise ValueError(f"{expression!r} is more than arithmetic on columns")
    return {node.id for node in nodes if isinstance(node, ast.Name)}


def _read_contract(path: Path) -> Contract:
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), Loader=StrictLoader)
    except yaml.YAMLError as error:
        raise ContractError(f"{path}: not YAML: {' '.join(str(error).split())}") from error
    _check_fields(content, _CONTRACT_FIELDS, str(path))
    name, _, view = path.stem.partition(".")
    asset = f"{path.parent.name}/{name}"
    if content["asset"] != asset:
        raise ContractError(f"{path}: is about asset {content['asset']!r}, but its place says {asset!r}")
    derived = _mapping(content.get("derived", {}), f"{path}: derived")
    for name, expression in derived.items():
        try:
            names_in(str(expression))
        except ValueError as error:
            raise ContractError(f"{path}: derived column {name}: {error}") from error
    if not isinstance(content["rules"], list) or not content["rules"]:
        raise ContractError(f"{path}: rules must be a list of at least one rule")
    keys = _texts(content["keys"], f"{path}: keys")
    rules = tuple(_read_rule(path, number, entry, derived, keys) for number, entry in enumerate(content["rules"], 1))
    ids = [rule.id for rule in rules]
    if repeated := sorted({rule_id for rule_id in ids if ids.count(rule_id) > 1}):
        raise ContractError(f"{path}: more than one rule is called {repeated[0]}")
    return Contract(
        asset=asset,
        check=view or CONTRACT,
        path=path,
        promise=_text(content["promise"], f"{path}: promise"),
        keys=keys,
        derived=derived,
        rules=rules,
    )


def _read_rule(path: Path, number: int, entry: Any, derived: Mapping[str, str], keys: tuple[str, ...]) -> Rule:
    name = entry["id"] if isinstance(entry, dict) and isinstance(entry.get("id"), str) else f"number {number}"
    where = f"{path}, rule {name}"
    _check_fields(entry, _RULE_FIELDS, where)
    rule = Rule(
        id=_text(entry["id"], f"{where}: id"),
        reason=_text(entry["reason"], f"{where}: reason"),
        severity=entry["severity"],
        expectation=_text(entry["expectation"], f"{where}: expectation"),
        kwargs=_mapping(entry["kwargs"], f"{where}: kwargs"),
        columns=_texts(entry["columns"], f"{where}: columns"),
        where=_mapping(entry.get("where", {}), f"{where}: where"),
        remedy=_text(entry["remedy"], f"{where}: remedy") if "remedy" in entry else "",
        needs_values=entry.get("needs_values", False),
        finding=_text(entry["finding"], f"{where}: finding"),
        guards=entry.get("guards", INPUT),
    )
    if rule.guards not in (INPUT, CODE):
        raise ContractError(f"{where}: guards is {rule.guards!r}; it is 'input' or 'code'")
    if not isinstance(rule.needs_values, bool):
        raise ContractError(f"{where}: needs_values is {rule.needs_values!r}; it is true or false")
    if rule.needs_values and "column" not in rule.kwargs:
        raise ContractError(f"{where}: needs_values is for a rule about one column")
    if rule.severity not in (CRITICAL, WARNING):
        raise ContractError(f"{where}: severity is {rule.severity!r}; it is 'critical' or 'warning'")
    if rule.severity == CRITICAL and not rule.remedy:
        raise ContractError(f"{where}: a critical rule needs a remedy: what to do when it stops a run")
    if not rule.expectation.startswith("expect_"):
        raise ContractError(f"{where}: {rule.expectation!r} does not name an expectation (expect_…)")
    if reserved := sorted(_RESERVED_KWARGS & rule.kwargs.keys()):
        raise ContractError(f"{where}: kwargs may not hold {', '.join(reserved)}")
    if not rule.columns:
        raise ContractError(f"{where}: names no column that it reads")
    for column in sorted(_columns_of(rule)):
        unread = names_in(derived[column]) - set(rule.columns) if column in derived else {column} - set(rule.columns)
        if unread:
            raise ContractError(f"{where}: reads {', '.join(sorted(unread))}, which its columns do not list")
    readable = {*keys, *rule.columns, *(name for name in derived if names_in(derived[name]) <= set(rule.columns))}
    try:
        check_template(rule.finding, rule.kwargs, readable)
    except ValueError as error:
        raise ContractError(f"{where}: finding: {error}") from error
    return rule


def _columns_of(rule: Rule) -> set[str]:
    """The columns, stored or derived, that the arguments of a rule name."""
    names = {rule.kwargs[name] for name in ("column", "column_A", "column_B") if name in rule.kwargs}
    for name in ("column_list", "column_set"):
        names.update(rule.kwargs.get(name, ()))
    return {*names, *rule.where}


def _check_fields(entry: Any, fields: tuple[set[str], set[str]], where: str) -> None:
    required, optional = fields
    if not isinstance(entry, dict):
        raise ContractError(f"{where}: is not a mapping of fields")
    if missing := sorted(required - entry.keys()):
        raise ContractError(f"{where}: lacks {', '.join(missing)}")
    if unknown := sorted(str(name) for name in entry.keys() - required - optional):
        raise ContractError(f"{where}: has unknown field {', '.join(unknown)}")


def _text(value: Any, where: str) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ContractError(f"{where}: must be text")
    return " ".join(value.split())


def _texts(value: Any, where: str) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(entry, str) for entry in value):
        raise ContractError(f"{where}: must be a list of column names")
    return tuple(value)


def _mapping(value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, dict) or not all(isinstance(name, str) for name in value):
        raise ContractError(f"{where}: must be a mapping with names as keys")
    return value


_SafeLoader: Any = yaml.CSafeLoader if yaml.__with_libyaml__ else yaml.SafeLoader


class StrictLoader(_SafeLoader):
    """Safe, and refuses a key that is given twice (PyYAML keeps the last one without a word)."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        mapping = super().construct_mapping(node, deep=deep)
        if len(mapping) != len(node.value):
            raise yaml.constructor.ConstructorError(None, None, "a key is given twice", node.start_mark)
        return mapping
