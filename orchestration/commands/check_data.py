"""``make check-data``: hold the dumps of a dataset against every contract and test, and train nothing.

Lands and cleans what is out of date, as ``make run`` does, and prints every check with what it found. Exit code 0:
nothing critical is broken (warnings are shown); 1: something is; 2: the command was given what is not possible.
"""

from __future__ import annotations

import logging
import sys
import textwrap
import uuid
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from orchestration.exits import EXIT_FAILED, ends_plainly

EXIT_USAGE = 2
PASSED, FAILED, WARNED, NOT_CHECKED = "passed", "failed", "warned", "not checked"
HEADER = ("asset", "rule", "severity", "result", "rows")
_SWITCHES = {
    "verbose": "list every rule, also those that are kept or were not checked",
    "accept": "take the present state as the accepted one, however far it is from the last; other rules stay in force",
}


@dataclass(frozen=True)
class Line:
    """One rule and its result.

    Attributes:
        asset: what was checked, ``layer/name``, or ``layer/name.drift`` beside its accepted state.
        rule: the rule of a contract, or the dbt test.
        severity: ``critical`` or ``warning``.
        result: ``passed``, ``failed`` (critical), ``warned`` or ``not checked``.
        rows: how many rows break it; ``None`` for none, and for a rule about a table as a whole.
        finding: what was found, with examples; empty where it was kept.
        remedy: what to do; empty where nothing is known or needed.
    """

    asset: str
    rule: str
    severity: str
    result: str
    rows: int | None = None
    finding: str = ""
    remedy: str = ""

    def cells(self) -> tuple[str, ...]:
        return (self.asset, self.rule, self.severity, self.result, "" if self.rows is None else f"{self.rows:,}")


@ends_plainly
def main(arguments: list[str] | None = None) -> int:
    from ml.extras import MissingExtra
    from orchestration.commands import run

    chosen = run.parse(arguments, "make check-data", __doc__, _SWITCHES, EXIT_USAGE)
    from orchestration.commands.console import problem
    from orchestration.dataset_lock import DatasetBusy
    from orchestration.paths import Workspace, check_dataset_name

    try:
        check_dataset_name(chosen.dataset)
        run._settings(chosen, keep=True)
    except (ValueError, MissingExtra) as error:
        problem(str(error))
        return EXIT_USAGE
    workspace = Workspace.current()
    paths = workspace.dataset(chosen.dataset)
    try:
        with run.working_on(workspace, paths, "make check-data", wait=not chosen.no_wait) as instance:
            return _check_data(instance, paths, chosen)
    except (DatasetBusy, run.NoSuchDataset) as error:
        problem(str(error))
        return EXIT_FAILED


def _check_data(instance, paths, chosen) -> int:
    """Check the dataset while holding its lock; returns the exit code."""
    from orchestration.commands import run
    from orchestration.commands.console import say
    from orchestration.definitions import defs

    run.register(instance, paths, chosen)
    say(f"raw2rank: dataset {chosen.dataset}, dumps in {paths.dumps_shown}")
    settings = run.settings_for(chosen, "as written down", keep=True)
    # a state that was judged before need not be judged once more to be accepted
    if chosen.accept and _is_made(instance, chosen.dataset):
        _accept(instance, defs, paths)
    made = run.make(instance, defs, chosen.dataset, settings, data_only=True)
    if made is None and chosen.accept and _accept(instance, defs, paths):
        made = run.make(instance, defs, chosen.dataset, settings, data_only=True)
    lines, notes = read_lines(instance, chosen.dataset)
    if made is not None:
        run.publish_where_asked(instance, paths)
    say("")
    say(to_text(lines, notes, verbose=chosen.verbose))
    say("")
    say(f"data docs: {_write_docs(paths, lines, notes)}")
    return EXIT_FAILED if made is None or any(line.result == FAILED for line in lines) else 0


def read_lines(instance, dataset: str) -> tuple[list[Line], list[str]]:
    """Every rule and test of the data of a dataset, in the order in which the data flows, and what drift says.

    What was checked on data that is out of date, or was not reached because something above it failed, is
    ``not checked``.
    """
    from orchestration.contracts.checks import load_contracts, warnings_check
    from orchestration.contracts.files import CONTRACT
    from orchestration.execution.plan import up_to_date
    from orchestration.execution.staleness import CHECKED_LAYERS, asset_graph, in_order, latest_evaluations

    graph = asset_graph()
    contracts = load_contracts()
    keys = _checked_keys(graph)
    order = sorted(in_order(graph, keys), key=lambda key: CHECKED_LAYERS.index(graph.get(key).group_name))
    current = up_to_date(instance, graph, dataset) & keys
    said = latest_evaluations(instance, graph, dataset, current)
    lines: list[Line] = []
    notes: list[str] = []
    for key in order:
        own = sorted((c for c in contracts if c.key == key), key=lambda contract: contract.check != CONTRACT)
        for contract in own:
            evaluation = said.get(_check(key, contract.check))
            lines.extend(_of_contract(contract, evaluation))
            if evaluation is not None and evaluation.metadata["note"].value:
                notes.append(f"{contract.name}: {evaluation.metadata['note'].value}")
        of_contracts = {_check(key, name) for contract in own for name in (contract.check, warnings_check(contract))}
        lines.extend(
            _of_test(graph, check, said.get(check)) for check in sorted(graph.get(key).check_keys - of_contracts)
        )
    return lines, notes


def to_text(lines: Sequence[Line], notes: Sequence[str] = (), verbose: bool = False) -> str:
    """Findings and remedies of broken rules, and the number of rules that hold.

    With ``verbose`` a table of every rule stands above.
    """
    text = [_table_text(lines)] if verbose else []
    text.extend(
        f"{line.result.upper()} {line.asset}: {line.rule}\n{_indented(line.finding, line.remedy)}"
        for line in lines
        if line.result in (FAILED, WARNED)
    )
    text.extend(notes)
    counts = {result: sum(line.result == result for line in lines) for result in (PASSED, FAILED, WARNED, NOT_CHECKED)}
    text.append(", ".join(f"{count} {result}" for result, count in counts.items() if count))
    return "\n\n".join(text)


def _table_text(lines: Sequence[Line]) -> str:
    rows = [HEADER, *(line.cells() for line in lines)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADER))]
    table = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    table.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join(table)


def _indented(*paragraphs: str) -> str:
    return "\n".join(textwrap.indent(paragraph, "  ") for paragraph in paragraphs if paragraph)


def _check(key, name: str):
    import dagster as dg

    return dg.AssetCheckKey(key, name)


def _checked_keys(graph) -> set:
    from orchestration.execution.staleness import CHECKED_LAYERS

    return {key for key in graph.materializable_asset_keys if graph.get(key).group_name in CHECKED_LAYERS}


def _is_made(instance, dataset: str) -> bool:
    """Whether all data was made from the present dumps, so that its checks are about them."""
    import dagster as dg

    from orchestration.assets.raw import observe
    from orchestration.execution.plan import up_to_date
    from orchestration.execution.staleness import asset_graph

    observe(instance, dataset)
    graph = asset_graph()
    return _checked_keys(graph) - {dg.AssetKey(["marts", "accepted"])} <= up_to_date(instance, graph, dataset)


def _of_contract(contract, evaluation) -> Iterator[Line]:
    """A line for each rule of a contract."""
    if evaluation is None:
        for rule in contract.rules:
            yield Line(contract.name, rule.id, rule.severity, NOT_CHECKED)
        return
    broken = {entry["rule"]: entry for entry in evaluation.metadata["failed_rules"].value}
    for rule in contract.rules:
        entry = broken.get(rule.id)
        if entry is None:
            yield Line(contract.name, rule.id, rule.severity, PASSED)
            continue
        result = FAILED if entry["severity"] == "critical" else WARNED
        rows, text = entry["unexpected_rows"], f"{rule.reason} {entry['finding']}"
        if entry["examples"]:
            text += f" Examples: {'; '.join(_in_words(example) for example in entry['examples'])}."
        yield Line(contract.name, rule.id, entry["severity"], result, rows, text, rule.remedy)


def _in_words(example: Mapping) -> str:
    shown = {name: f"{value:.4g}" if isinstance(value, float) else value for name, value in example.items()}
    return ", ".join(f"{name} = {value}" for name, value in shown.items())


def _of_test(graph, check, evaluation) -> Line:
    """The line of a dbt test."""
    asset, critical = check.asset_key.to_user_string(), graph.get(check).blocking
    severity = "critical" if critical else "warning"
    if evaluation is None:
        return Line(asset, check.name, severity, NOT_CHECKED)
    if evaluation.passed:
        return Line(asset, check.name, severity, PASSED)
    count = evaluation.metadata.get("dagster_dbt/failed_row_count")
    rows = None if count is None else count.value
    finding = "" if rows is None else f"Rows that fail it: {rows:,}."
    result = FAILED if critical else WARNED
    return Line(asset, check.name, severity, result, rows, finding, graph.get(check).description or "")


def _accept(instance, defs, paths) -> bool:
    """Accept the present state if drift is the only finding; returns whether it was accepted.

    The drift checks are then repeated; the data need not be made again for them to speak of it.
    """
    from ml.data.drift import accept
    from orchestration.commands.console import problem, run_quietly, say
    from orchestration.execution.staleness import asset_graph, unpassed_checks

    graph = asset_graph()
    unpassed = unpassed_checks(instance, graph, paths.dataset, _checked_keys(graph))
    others = [f"{check.name} of {check.asset_key.to_user_string()}" for check in unpassed if check.name != "drift"]
    if others:
        problem(f"not accepted, because not only drift stands against it: {', '.join(others)}")
        return False
    if not unpassed:
        return False
    for check in unpassed:
        name = check.asset_key.path[-1]
        kind = name.removeprefix("stg_")
        accept(kind, paths.table("staging", name), paths.asset("marts", "accepted") / kind, by_hand=True)
        say(f"accepted by hand: {kind}")
    shown = {_check(check.asset_key, f"{check.name}_warnings") for check in unpassed}
    job = defs.resolve_job_def("everything").get_subset(asset_check_selection={*unpassed, *shown})
    return run_quietly(job, instance, paths.dataset, None, {}, str(uuid.uuid4()))


def _write_docs(paths, lines: Sequence[Line], notes: Sequence[str]):
    from orchestration.contracts.checks import load_contracts
    from orchestration.contracts.data_docs import write_data_docs
    from orchestration.contracts.frames import results_folder
    from orchestration.files_read import files_read

    checked = {line.asset for line in lines if line.result != NOT_CHECKED}
    names = [contract.name for contract in load_contracts() if contract.name in checked]
    rows = [(*line.cells(), " ".join(filter(None, (line.finding, line.remedy)))) for line in lines]
    rows.extend(("", "", "", "", "", note) for note in notes)
    rows.extend(
        (f"landing/{file.kind}", f"how {file.name} was read", "", "", "", "; ".join((file.layout, *file.sentences)))
        for file in files_read(paths)
    )
    title = f"Checks of the data of {paths.dataset}"
    return write_data_docs(paths.data_docs, title, results_folder(paths), names, (*HEADER, "what to know"), rows)


if __name__ == "__main__":
    logging.captureWarnings(True)
    warnings.simplefilter("default")
    sys.exit(main())
