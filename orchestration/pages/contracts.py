"""``docs/contracts.md``, made from the contracts: ``python -m orchestration.pages.contracts``."""

from __future__ import annotations

from ml.release.gate.bounds import MEASURES, Bound, limit_text
from orchestration.contracts.files import CODE, CONTRACT, Contract, Rule, load_contracts
from orchestration.contracts.release import ReleaseContract, load_release_contracts
from orchestration.paths import REPOSITORY

PAGE = "docs/contracts.md"
_INTRODUCTION = """# Contracts

This page is made from `data_contracts/`: `python -m orchestration.pages.contracts`.

Each contract says what one asset promises. A broken critical rule stops whatever is made from the asset; a warning is
shown and stops nothing. `make check-data` checks all rules without training. `data_contracts/README.md` describes the
format.

Rules about single rows (keys, ranges, references) are dbt tests beside the models. All but two guard our own code: no
dump that lands breaks them. `assert_interactions_are_left` fails where cleaning and the k-core leave nothing, and
`assert_split_boundaries_are_in_order` where `VALIDATION_FROM` and `TEST_FROM`, one a share and one a day, cross.

What guards our own code cannot be broken by an input, only by a defect of raw2rank; please report one. A test breaks it
by a damaged table, and every other rule by an input.
"""


_RELEASE = """## Releases

A recommender is released only where it keeps these bounds. A broken blocking bound refuses it and the champion stays; a
warning is shown. Edit the files in `data_contracts/release/` to allow more or less; the next run decides again.
"""


def page() -> str:
    """The page, as it is to stand in ``docs/``."""
    rules = [_section(contract) for contract in load_contracts()]
    bounds = [_bounds(contract) for contract in load_release_contracts().values()]
    return "\n".join([_INTRODUCTION, *rules, _RELEASE, *bounds, _measures()])


def _bounds(contract: ReleaseContract) -> str:
    lines = [f"### `{contract.decision}`", "", contract.promise, ""]
    lines += ["| Bound | Measure and limit | Severity | Why it matters | What to do |", "|---|---|---|---|---|"]
    return "\n".join([*lines, *(_bound_row(bound) for bound in contract.bounds), ""])


def _bound_row(bound: Bound) -> str:
    limit = f"`{bound.measure}`, {limit_text(bound)}"
    return "| " + " | ".join([f"`{bound.id}`", limit, bound.severity, _cell(bound.reason), _cell(bound.remedy)]) + " |"


def _measures() -> str:
    lines = ["### What a bound can be about", "", "| Measure | What it is |", "|---|---|"]
    rows = [f"| `{name}` | {_cell(measure.description)} |" for name, measure in MEASURES.items()]
    return "\n".join([*lines, *rows, ""])


def _section(contract: Contract) -> str:
    title = f"`{contract.asset}`" if contract.check == CONTRACT else f"`{contract.asset}`: {contract.check}"
    lines = [f"## {title}", "", contract.promise, "", "| Rule | Severity | Why it matters | What to do |"]
    lines += ["|---|---|---|---|", *(_row(rule) for rule in contract.rules), ""]
    return "\n".join(lines)


def _row(rule: Rule) -> str:
    severity = f"{rule.severity}, guards our own code" if rule.guards == CODE else rule.severity
    return "| " + " | ".join([f"`{rule.id}`", severity, _cell(rule.reason), _cell(rule.remedy)]) + " |"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")


if __name__ == "__main__":
    (REPOSITORY / PAGE).write_text(page(), encoding="utf-8")
