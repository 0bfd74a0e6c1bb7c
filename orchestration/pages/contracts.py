"""``docs/contracts.md``, made from the contracts: ``python -m orchestration.pages.contracts``."""

from __future__ import annotations

from orchestration.contracts.files import CODE, CONTRACT, Contract, Rule, load_contracts
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


def page() -> str:
    """The page, as it is to stand in ``docs/``."""
    return "\n".join([_INTRODUCTION, *(_section(contract) for contract in load_contracts())])


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
