"""The Data Docs of a dataset: a page for each contract and an index of every check.

The pages are made from the results that Great Expectations returns (its JSON), by templates of this project. Its own
pages fetch styles, scripts and a picture from the network; these can be read offline and from an archive.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestration.contracts.results import error_text

if TYPE_CHECKING:
    import jinja2

_TEMPLATES = Path(__file__).parent / "templates"
# arguments of an expectation that say nothing of what it asks for
_NOT_SHOWN = frozenset({"batch_id", "column"})
_VERDICTS = ("failed", "warned", "passed")
# how many different values that break a rule a page shows
_EXAMPLES = 20


def write_data_docs(
    folder: Path, title: str, results: Path, names: Iterable[str], header: Sequence[str], rows: Sequence[Sequence[str]]
) -> Path:
    """Write the pages, in place of what the folder held before.

    Args:
        folder: folder to write, replaced as a whole.
        title: heading of the index.
        results: folder with a result of Great Expectations as JSON for each contract, ``<layer>/<name>.json``.
        names: contracts to show, ``layer/name``; those without a result are left out.
        header: header of the table of rules.
        rows: rows of that table, as text; the first cell names the contract, whose page repeats its rows.

    Returns:
        Path of the index.
    """
    from ml.data.versions import versioned_folder

    contracts = [name for name in names if (results / f"{name}.json").exists()]
    with versioned_folder(folder) as temporary:
        for name in contracts:
            page = temporary / f"{name}.html"
            page.parent.mkdir(parents=True, exist_ok=True)
            result = json.loads((results / f"{name}.json").read_text(encoding="utf-8"))
            # broken rules first
            rules = sorted(map(_rule, result["results"]), key=lambda rule: _VERDICTS.index(rule.verdict))
            page.write_text(
                _render(
                    "contract.html.j2",
                    title=name,
                    index="../" * name.count("/") + "index.html",
                    rules=rules,
                    kept=sum(rule.verdict == "passed" for rule in rules),
                    header=header,
                    rows=[row for row in rows if row[0] == name],
                ),
                encoding="utf-8",
            )
        broken = [row for row in rows if {"failed", "warned"} & set(row)]
        index = _render("index.html.j2", title=title, broken=broken, header=header, rows=rows, contracts=contracts)
        (temporary / "index.html").write_text(index, encoding="utf-8")
    return folder / "index.html"


@dataclass(frozen=True)
class _Rule:
    """One rule of a contract, as its page shows it.

    Attributes:
        name: id of the rule.
        verdict: ``passed``, ``warned`` or ``failed``.
        notes: why the rule matters and what to do.
        facts: labels and values of what was asked for and what was found.
        examples: values that break the rule, each with how often it is among the examples.
    """

    name: str
    verdict: str
    notes: list[str]
    facts: list[tuple[str, str]]
    examples: list[tuple[str, int]]


def _rule(found: Mapping[str, Any]) -> _Rule:
    config, result = found["expectation_config"], found["result"]
    name = config["meta"]["id"]
    broken = "failed" if config.get("severity") == "critical" else "warned"
    asked = {key: value for key, value in config["kwargs"].items() if key not in _NOT_SHOWN and value is not None}
    facts = [("expectation", config["type"].removeprefix("expect_").replace("_", " "))]
    facts += [("column", str(config["kwargs"]["column"]))] if "column" in config["kwargs"] else []
    facts += [(key.replace("_", " "), _text(value)) for key, value in asked.items()]
    if "observed_value" in result:
        facts.append(("observed", _text(result["observed_value"])))
    if "element_count" in result:
        facts.append(("rows checked", f"{result['element_count']:,}"))
        facts.append(("rows that break it", f"{result.get('unexpected_count', 0):,}"))
        facts.append(("rows without a value", f"{result.get('missing_count', 0):,}"))
    if not result and not found["success"]:
        # it was not evaluated
        facts.append(("error", error_text(found["exception_info"])))
    values = Counter(_text(value) for value in result.get("partial_unexpected_list") or [])
    return _Rule(
        name,
        "passed" if found["success"] else broken,
        [note.removeprefix(f"{name}: ") for note in config.get("notes") or []],
        facts,
        values.most_common(_EXAMPLES),
    )


def _text(value: Any) -> str:
    """A JSON value for a reader: numbers with separators, lists with commas."""
    if isinstance(value, bool) or value is None:
        return str(value).lower() if value is not None else "none"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.6g}"
    if isinstance(value, list):
        more = [f"and {len(value) - _EXAMPLES:,} more"] if len(value) > _EXAMPLES else []
        return ", ".join([*map(_text, value[:_EXAMPLES]), *more])
    return str(value)


@cache
def _environment() -> jinja2.Environment:
    import jinja2

    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        # all text may come from the data
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )


def _render(template: str, **content: Any) -> str:
    return _environment().get_template(template).render(content)
