"""The report as Markdown, laid out as a model card.

After Mitchell et al., "Model cards for model reporting" (FAT* 2019), with the front matter that model hubs read
(huggingface.co/docs/hub/model-cards). Holds no image and no example recommendations: it may stand in a repository.
"""

from __future__ import annotations

import json

from ml import number_format as numbers
from ml.evaluation.columns import SIZES
from ml.evaluation.metrics import metric_name
from ml.reports.content.report import HEADLINE, ReportContent, RunFacts
from ml.reports.render.markdown import report as markdown
from ml.reports.render.markdown.folds import folds
from ml.reports.render.markdown.over_time import over_time, progress
from ml.reports.render.markdown.release import decision_text
from ml.reports.render.markdown.table import leaderboard_table, markdown_table, table
from ml.reports.render.text import escape_markdown, visible
from ml.reports.words import verdict, wording
from ml.reports.words.row_marks import row_marks

# longer tables of audits are omitted from the card; audits.json has them
_ROWS = 24


def model_card(content: ReportContent, run: RunFacts | None = None) -> str:
    """The whole card; ``run`` adds seconds and the machine."""
    board = content.leaderboard
    protocol = "; ".join(f"{label}: {value}" for label, value in board.protocol)
    sections = [
        _front_matter(content),
        f"# Recommenders on {escape_markdown(content.dataset)}",
        "\n\n".join(map(escape_markdown, verdict.verdict(content))),
        *_section("Model details", _models(content, run)),
        *_section("Intended use", *_use(content)),
        *_section(
            "Data",
            "### Evaluation data",
            markdown.statistics(content) if content.statistics else "",
            *_reading(content),
            "### Training data, and how every row of the dump was used",
            *(markdown.funnel(funnel) for funnel in content.funnels),
        ),
        *_section("Protocol", f"{escape_markdown(protocol)}." if protocol else ""),
        *_section("Results", *_results(content)),
        *_section("Limitations", *_limits(content)),
        *_section("Training", markdown.training(content.training) if content.training else "", *_codes(content)),
        *_section("Provenance", *_provenance(content, run)),
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def _section(title: str, *parts: str) -> list[str]:
    found = [part for part in parts if part and not part.startswith("###")]
    return [f"## {title}", *(part for part in parts if part)] if found else []


def _front_matter(content: ReportContent) -> str:
    """YAML for model hubs; every text in quotes, as JSON writes it, which YAML reads the same."""
    names = dict.fromkeys(metric.partition("@")[0] for metric in wording.metrics_of(content.leaderboard))
    lines = [
        "---",
        f"datasets: [{_quoted(content.dataset)}]",
        f"metrics: [{', '.join(map(_quoted, names))}]",
        'tags: ["recommendation", "sequential-recommendation"]',
    ]
    if content.leaderboard.rows:
        lines.append("model-index:")
    revision = f", revision: {_quoted(content.provenance.training_set)}" if content.provenance.training_set else ""
    dataset = f"{{type: {_quoted(content.dataset)}, name: {_quoted(content.dataset)}{revision}}}"
    for row in content.leaderboard.rows:
        lines += [
            f"- name: {_quoted(row.title)}",
            "  results:",
            '  - task: {type: "sequential-recommendation", name: "next item over the whole catalogue"}',
            f"    dataset: {dataset}",
            "    metrics:",
            *(
                f"    - {{type: {_quoted(metric)}, name: {_quoted(metric_name(metric))}, value: {value:.6f}}}"
                for metric, value in row.metrics.items()
            ),
        ]
    return "\n".join([*lines, "---"])


def _quoted(text: str) -> str:
    return json.dumps(visible(text), ensure_ascii=False)


def _models(content: ReportContent, run: RunFacts | None) -> str:
    return markdown_table(leaderboard_table(content.leaderboard, SIZES, {}, (run.fit_seconds if run else {}) or None))


def _use(content: ReportContent) -> tuple[str, ...]:
    dataset = escape_markdown(content.dataset)
    several = wording.has_several_targets(content.leaderboard)
    found = "a few held-out items of each user's past are" if several else "one held-out item of each user's past is"
    return (
        f"- To compare these recommenders with one another, and with others under the protocol below, on {dataset}.\n"
        "- To repeat the run: digests, settings and versions of everything that it depends on are under “Provenance”.",
        "Not intended:\n\n"
        f"- To forecast clicks, sales or satisfaction: the metrics measure how well {found} found.\n"
        "- To compare with results on another data file, split, core or tie rule.\n"
        "- To make decisions about individual people.",
    )


def _results(content: ReportContent) -> list[str]:
    board = content.leaderboard
    if not board.rows:
        return []
    parts = [markdown.leaderboard(board, marks=row_marks(content))]
    if any(row.difference is not None for row in board.rows):
        parts += [f"### {metric_name(HEADLINE)} against the best baseline", markdown.comparison(board)]
    parts += ["### All metrics", markdown.all_metrics(board)]
    for title, found in (
        ("Slices of the users", markdown.slices(content)),
        ("What is recommended", markdown.list_metrics(content)),
    ):
        if found:
            parts += [f"### {title}", found]
    if content.release is not None:
        parts += ["### Release", decision_text(content.release)]
    if content.over_time:
        parts += ["### Over time", over_time(content.over_time, images=False)]
        parts += [progress(content.progress)] if content.progress else []
    if content.beyond_accuracy is not None:
        parts += ["### Beyond accuracy", markdown.beyond_accuracy(content.beyond_accuracy.trade_offs)]
    if content.folds is not None:
        parts += ["### Folds over time", folds(content.folds, images=False)]
    if content.what_helps is not None:
        parts += ["### What helps here", markdown.what_helps(content.what_helps)]
    if content.answers:
        parts += ["### Answers of language models", markdown.answers(content.answers)]
    return parts


def _limits(content: ReportContent) -> list[str]:
    parts = [f"- {escape_markdown(sentence)}" for sentence in verdict.caveats(content)]
    audits = sorted(content.audits, key=verdict.gravity)
    failed = [check for check in content.checks if not check.passed]
    checks = ["### Data checks that failed", markdown.checks(failed)] if failed else []
    return ["\n".join(parts), *checks, *(markdown.audit(audit, images=False, most_rows=_ROWS) for audit in audits)]


def _reading(content: ReportContent) -> list[str]:
    found = markdown.reading(content.provenance.files)
    return ["### How the files were read", found] if found else []


def _codes(content: ReportContent) -> list[str]:
    parts = ["### Codes", markdown.codes(content.codes)] if content.codes else []
    if content.generation:
        parts += ["### Identifiers and generation", markdown.generation(content.generation)]
    return parts


def _provenance(content: ReportContent, run: RunFacts | None) -> list[str]:
    source = content.provenance
    parts = []
    if source.files:
        rows = [
            (file.name, file.source, numbers.size(file.bytes), numbers.count(file.rows_read), file.sha256)
            for file in source.files
        ]
        parts.append(table(("File", "Holds", "Size", "Rows", "SHA-256"), rows, {2, 3}))
    facts = {"raw2rank": source.code_version, "training set": source.training_set, **source.settings, **source.versions}
    tables = [(("What", "Value"), facts), (("Asset", "Data version"), source.data_versions)]
    if run:
        tables.append((("This run", ""), {"finished": run.finished, **run.machine}))
    parts += [
        table(header, [(name, value) for name, value in values.items() if value])
        for header, values in tables
        if any(values.values())
    ]
    return parts
