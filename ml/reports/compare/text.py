"""A comparison of two reports in words and tables, for a terminal and as Markdown.

Names of files, recommenders and users may come from a dump: they are escaped in Markdown, and made visible on a
terminal.
"""

from __future__ import annotations

import json
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ml import number_format as numbers
from ml.audits.audit import CONCERN
from ml.evaluation.metrics import metric_name
from ml.reports.compare import comparison
from ml.reports.compare.comparison import Change, Comparison, MetricChange
from ml.reports.render.markdown.table import markdown_table
from ml.reports.render.text import escape_markdown, visible
from ml.tables import Table
from ml.tables import to_text as aligned

_WIDTH = 100
# a cell of a terminal table; Markdown shows all of it
_CELL = 56
_NAMED = 3


@dataclass(frozen=True)
class Section:
    """A heading, the paragraphs under it, and tables with their titles."""

    heading: str
    paragraphs: tuple[str, ...]
    tables: tuple[Table, ...] = ()


def to_text(found: Comparison) -> str:
    """The comparison for a terminal."""
    parts = [_title(found)]
    for section in sections(found):
        parts.append(f"{section.heading}\n{'-' * len(section.heading)}")
        parts += (textwrap.fill(visible(paragraph), _WIDTH) for paragraph in section.paragraphs)
        parts += (f"{table.title}:\n{aligned(table, _cell)}" for table in section.tables)
    return "\n\n".join([visible(parts[0]), *parts[1:]]) + "\n"


def to_markdown(found: Comparison) -> str:
    """The comparison as Markdown."""
    parts = [f"# {escape_markdown(_title(found))}"]
    for section in sections(found):
        parts.append(f"## {section.heading}")
        parts += map(escape_markdown, section.paragraphs)
        parts += (f"{table.title}:\n\n{markdown_table(table)}" for table in section.tables)
    return "\n\n".join(parts) + "\n"


def sections(found: Comparison) -> tuple[Section, ...]:
    """All sections, in reading order, not escaped."""
    judged = (data_sentence(found), rankings_sentence(found), metrics_sentence(found))
    parts = (Section("Summary", judged), _data(found), _audits(found), _rankings(found), _metrics(found))
    return tuple(part for part in parts if part is not None)


def data_sentence(found: Comparison) -> str:
    """Whether both reports are about equal data, and why not."""
    files = _listed([f"{file.name} {file.state}" for file in found.files if file.state not in ("same", "renamed")])
    choices = _listed([change.name for change in found.choices])
    if found.same_training_set:
        if files:
            made = f"The files differ ({files}), but the training sets made from them are equal"
        else:
            made = "The data are equal (files and training set)"
        said = [made + (f", while the protocol differs in {choices}" if choices else ", under the same protocol")]
    else:
        causes = [f"files ({files})"] if files else []
        causes += [f"protocol ({choices})"] if choices else []
        unexplained = "although files and protocol are equal: the code or the libraries differ"
        said = [f"The data differ {f'in {_and(causes)}' if causes else unexplained}"]
        counted = [one for one in found.statistics if isinstance(one.before, int) and isinstance(one.after, int)]
        said += [f"{_label(one.name)} {_value(one.before)} to {_value(one.after)}" for one in counted[:_NAMED]]
    versions = [change.name for change in _all_versions(found)]
    if versions:
        said.append(f"the versions of {_listed(versions)} differ")
    raised = [one.title for one in found.audits if one.outcome_after == CONCERN != one.outcome_before]
    if raised:
        said.append(f"{'an audit raises' if len(raised) == 1 else 'audits raise'} a new concern: {_listed(raised)}")
    return f"{'; '.join(said)}."


def _all_versions(found: Comparison) -> tuple[Change, ...]:
    return (*((found.code,) if found.code else ()), *found.versions)


def rankings_sentence(found: Comparison) -> str:
    """Whether the lists are equal, and where they differ most."""
    if not found.metrics:
        return "No recommender is in both reports, so lists cannot be compared."
    if not found.lists:
        lacking = "No recommender" if found.sampled[2] else "No user"
        return f"{lacking} is in both samples, so lists cannot be compared."
    users = numbers.of(found.lists[0].users, "user")
    other = [change for change in found.lists if change.equal < 1]
    if not other:
        return f"All lists are equal ({numbers.of(len(found.lists), 'recommender')}, {users} in both samples)."
    least = min(other, key=lambda change: change.rank_biased_overlap)
    return (
        f"{numbers.count(len(other))} of {numbers.of(len(found.lists), 'recommender')} "
        f"{'has' if len(other) == 1 else 'have'} different lists for the {users} in both samples; those of "
        f"{least.title} differ most: {numbers.percent(least.equal)} are equal, rank-biased overlap "
        f"{least.rank_biased_overlap:.3f}{_cause(found, least.recommender)}."
    )


def _cause(found: Comparison, recommender: str) -> str:
    """Why the lists of a recommender may differ, as far as the reports record it."""
    made = next(change.made for change in found.metrics if change.recommender == recommender)
    if made:
        otherwise = [f"{_label(one.name)}: {_value(one.before)}; {_value(one.after)}" for one in made]
        return f"; it was fitted differently ({_listed(otherwise)})"
    fitted = any(change.name in ("codes", "maximum length", "beam", "written lists") for change in found.protocol)
    others = (found.choices, found.settings, fitted, found.versions, found.code)
    if not found.same_training_set or any(others):
        return ""
    return (
        "; the reports record no reason, so a recipe, the code of the same version, the number of threads or the "
        "machine must have changed"
    )


def metrics_sentence(found: Comparison) -> str:
    """Which recommenders became better or worse."""
    if found.incomparable:
        choices = [f"{one.name} ({_value(one.before)}; {_value(one.after)})" for one in found.incomparable]
        return f"The metrics are not comparable: the reports differ in {_and(choices)}."
    if not found.metrics:
        return "No recommender is in both reports, so metrics cannot be compared."
    summary = _summary(found.metrics)
    if found.same_training_set:
        return f"On the same test set: {summary}."
    return (
        "The data differ, so the metrics are about different histories, users or targets, and do not show a change of "
        f"the models: {summary}."
    )


def _summary(metrics: Sequence[MetricChange]) -> str:
    """The findings, each with the recommenders that it is of, those with the largest differences first."""
    if len(metrics) > 1 and all(one.finding == comparison.EQUAL for one in metrics):
        return f"all {numbers.of(len(metrics), 'recommender')} are equal"
    parts = []
    for finding in comparison.FINDINGS:
        changes = [one for one in metrics if one.finding == finding]
        if not changes:
            continue
        named = [one.title for one in changes]
        if finding in (comparison.BETTER, comparison.WORSE):
            changes.sort(key=lambda one: -abs(one.difference.mean))
            named = [f"{one.title} ({numbers.signed_metric(one.difference.mean)})" for one in changes]
        elif finding == comparison.NOT_COMPARABLE:
            fits = [next(made for made in one.made if made.name == "fit_on") for one in changes]
            named = [
                f"{title} (fit on: {_value(fit.before)}; {_value(fit.after)})"
                for title, fit in zip(named, fits, strict=True)
            ]
        parts.append(f"{_listed(named)} {_is(changes)} {finding}")
    return "; ".join(parts)


def _data(found: Comparison) -> Section:
    same = sum(file.state == "same" for file in found.files)
    said = f"Unchanged raw files: {numbers.count(same)} of {numbers.count(len(found.files))}."
    files = tuple(
        (file.name, file.state, _value(file.rows_before), _value(file.rows_after))
        for file in found.files
        if file.state != "same"
    )
    contents = tuple(Change(one.name, _short(one.before), _short(one.after)) for one in found.data_versions)
    tables = [Table("Files", ("File", "State", "Rows before", "Rows after"), files, right=(2, 3))]
    for title, column, changes in (
        ("Protocol", "Entry", found.protocol),
        ("Settings", "Setting", found.settings),
        ("Statistics", "Statistic", found.statistics),
        ("Versions of code and libraries", "Name", _all_versions(found)),
        ("Data versions", "Asset", contents),
    ):
        rows = tuple((_label(one.name), _value(one.before), _value(one.after)) for one in changes)
        tables.append(Table(title, (column, "Before", "After"), rows, right=()))
    unchanged = [table.title.lower() for table in tables[1:] if not table.rows]
    if unchanged:
        said += f" No difference in {_and(unchanged)}."
    return Section("Data", (said,), tuple(table for table in tables if table.rows))


def _audits(found: Comparison) -> Section | None:
    if not found.audits:
        return None
    said = []
    for audit in found.audits:
        before, after = audit.outcome_before or "not made", audit.outcome_after or "not made"
        turned = f"{before} in both" if before == after else f"{before} before, {after} after"
        verdicts = [
            f"{when}: {text}"
            for when, text in (("Before", audit.verdict_before), ("After", audit.verdict_after))
            if text
        ]
        said.append(f"{audit.title}: {turned}. {' '.join(verdicts)}")
    facts = tuple(
        (audit.title, _label(change.name), _value(change.before), _value(change.after))
        for audit in found.audits
        for change in audit.facts
    )
    table = Table("Changed facts", ("Audit", "Fact", "Before", "After"), facts, right=(2, 3))
    return Section("Audits", tuple(said), (table,) if facts else ())


def _rankings(found: Comparison) -> Section | None:
    if not found.lists:
        return None
    rows = tuple(
        (one.title, numbers.percent(one.equal), numbers.percent(one.overlap), f"{one.rank_biased_overlap:.3f}")
        for one in found.lists
    )
    header = ("Recommender", "Equal lists", "Items in common", "Rank-biased overlap")
    said = (
        f"The first {comparison.LENGTH} items for the {numbers.of(found.lists[0].users, 'user')} in both samples. "
        "Lists are equal if they have the same items in the same order; rank-biased overlap (Webber, Moffat and Zobel "
        "2010) is extrapolated, with persistence 0.9, and is 1 for equal lists."
    )
    return Section("Rankings", (said,), (Table("Lists", header, rows, right=(1, 2, 3)),))


def _metrics(found: Comparison) -> Section:
    metric = metric_name(comparison.HEADLINE)
    rows = tuple(
        (
            one.title,
            f"{one.rank_before} → {one.rank_after}" if one.rank_before != one.rank_after else str(one.rank_after),
            numbers.metric_value(one.before),
            numbers.metric_value(one.after),
            numbers.signed_metric(one.difference.mean),
            numbers.interval(one.difference.low, one.difference.high, signed=True),
            numbers.p_figure(one.p_value_adjusted),
            one.finding,
        )
        for one in found.metrics
    )
    header = ("Recommender", "Rank", f"{metric} before", "After", "Difference", "Interval", "p", "Finding")
    made = tuple(
        (one.title, _label(change.name), _value(change.before), _value(change.after))
        for one in found.metrics
        for change in one.made
    )
    tables = (
        Table("Recommenders in both reports", header, rows, right=(2, 3, 4, 6)),
        Table("Fitted differently", ("Recommender", "Property", "Before", "After"), made, right=()),
    )
    said = []
    if found.metrics:
        said.append(_how_tested(found))
    if found.new:
        said.append(f"Only in the second report: {', '.join(found.new)}.")
    if found.gone:
        said.append(f"Only in the first report: {', '.join(found.gone)}.")
    return Section("Metrics", tuple(said), tuple(table for table in tables if table.rows))


def _how_tested(found: Comparison) -> str:
    first, second, both, kept = (numbers.count(number) for number in found.sampled)
    by_method = {one.method: one for one in found.metrics}
    paired, unpaired = by_method.get(comparison.PAIRED), by_method.get(comparison.UNPAIRED)
    said = ["“Before” and “after” are means over all test users."]
    if paired:
        said.append(
            f"Differences, intervals and paired t-tests use the {numbers.of(paired.users[0], 'user')} in both samples "
            f"({first} and {second} users) whose target is the same item."
        )
    if unpaired:
        where = "Where a recommender is missing in a sample, the" if paired else "The"
        why = (
            ""
            if paired
            else "; the samples hold the first target of users who have several, so no test is paired on them"
            if found.several_targets
            else f"; of the {both} users in both samples, {kept} kept their target, too few for a paired test"
        )
        before, after = map(numbers.count, unpaired.users)
        said.append(
            f"{where} difference is between all test users ({before} and {after}), tested with Welch's unpaired t-test "
            f"and standard errors derived from both 95 % intervals{why}."
        )
    if any((row.get("seeds") or 1) > 1 for report in (found.before, found.after) for row in report.board.values()):
        said.append(
            "The samples contain the lists of one seed; intervals and tests include the deviation between seeds that "
            "the leaderboards state."
        )
    tested = sum(one.differs and one.finding != comparison.NOT_COMPARABLE for one in found.metrics)
    if tested:
        said.append(
            f"p-values and intervals are corrected with Holm's method for the {numbers.of(tested, 'recommender')} "
            "whose values differ."
        )
    return " ".join(said)


def _title(found: Comparison) -> str:
    before, after = found.before, found.after
    names = before.dataset if before.dataset == after.dataset else f"{before.dataset} and {after.dataset}"
    return f"Two reports on {names}: before in {before.folder}, after in {after.folder}"


def _label(name: str) -> str:
    return name if "/" in name else name.replace("_", " ")


def _value(value: Any) -> str:
    """A value as it is printed; a dash where a report does not have it."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return numbers.count(value)
    if isinstance(value, float):
        return f"{value:.6g}"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _short(digest: str | None) -> str | None:
    return digest if digest is None else digest[:12]


def _listed(names: Sequence[str]) -> str:
    """The first few of them, and how many more there are."""
    shown = [f"“{name}”" if "," in name else name for name in names[:_NAMED]]
    more = len(names) - _NAMED
    return f"{', '.join(shown)} and {more} more" if more > 0 else ", ".join(shown)


def _and(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _is(named: Sequence[object]) -> str:
    return "is" if len(named) == 1 else "are"


def _cell(text: str) -> str:
    """A cell on a terminal: shortened, and without control characters."""
    shown = visible(text)
    return shown if len(shown) <= _CELL else f"{shown[: _CELL - 1]}…"
