"""The report and what stands beside it: the page, the model card, and the figures for programs.

The figures are those that the page shows and more: every recommender, every slice, unrounded. In CSV files, which
spreadsheets open, no text becomes a formula (:func:`csv_text`); Parquet and JSON hold texts as they are.
"""

from __future__ import annotations

import json
import math
import re
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import pyarrow.parquet as pq

from ml.evaluation.folds.content import FoldResults
from ml.evaluation.folds.files import folds_table
from ml.evaluation.metrics import HEADLINE
from ml.evaluation.trade_offs.files import POINTS, points_table
from ml.evaluation.what_helps.content import WhatHelps
from ml.evaluation.what_helps.files import gains_table
from ml.release.over_time import Figure, protocols
from ml.reports.content.report import FORMAT, ReportContent, RunFacts
from ml.reports.render.html import render_html
from ml.reports.render.markdown.model_card import model_card

FILES = (
    "report.html",
    "report.md",
    "report.json",
    "leaderboard.csv",
    "leaderboard.parquet",
    "slices.csv",
    "list_metrics.csv",
    "audits.json",
    "trade_offs.csv",
    "trade_offs.json",
    "what_helps.csv",
    "folds.csv",
    "over_time.csv",
)
# What a spreadsheet takes for a formula at the beginning of a cell; a cell also begins after what some take for the
# separator. The wide forms count as the others in some languages.
_FORMULA = re.compile(r"(^|[;\t\r\n])([\s\"]*)(?=['=+\-@＝＋－＠])")
_GUARDED = re.compile(r"(^|[;\t\r\n])([\s\"]*)'(?=['=+\-@＝＋－＠])")


def write_report(content: ReportContent, folder: Path, leaderboard: Path, run: RunFacts | None = None) -> None:
    """Write every file of a report (:data:`FILES`) into a folder that exists.

    Equal content gives equal bytes, but for what ``run`` adds to the page, the card and ``report.json``.

    Args:
        content: what it says.
        folder: where to; give one that is put in place as a whole (:func:`ml.data.versions.versioned_folder`).
        leaderboard: Parquet file of the leaderboard that ``content`` was collected from; it is copied.
        run: machine and seconds; left out where ``None``.
    """
    table = pq.read_table(leaderboard)
    trade_offs = content.beyond_accuracy.trade_offs if content.beyond_accuracy is not None else None
    points = points_table(trade_offs) if trade_offs is not None else POINTS.empty_table()
    gains = gains_table(content.what_helps or WhatHelps())
    folds = folds_table(content.folds or FoldResults())
    texts = {
        "report.html": render_html(content, run),
        "report.md": model_card(content, run),
        "report.json": to_json(report_facts(content, run)),
        "leaderboard.csv": to_csv(table.schema.names, table.to_pylist()),
        "slices.csv": to_csv(*_slices(content)),
        "list_metrics.csv": to_csv(*_list_metrics(content)),
        "audits.json": to_json([audit.as_json() for audit in content.audits]),
        "trade_offs.csv": to_csv(points.schema.names, points.to_pylist()),
        "trade_offs.json": to_json(trade_offs and asdict(trade_offs)),
        "over_time.csv": to_csv(*_over_time(content)),
        "what_helps.csv": to_csv(gains.schema.names, gains.to_pylist()),
        "folds.csv": to_csv(folds.schema.names, folds.to_pylist()),
    }
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8", newline="")
    shutil.copyfile(leaderboard, folder / "leaderboard.parquet")


def report_facts(content: ReportContent, run: RunFacts | None = None) -> dict:
    """What a comparison of two reports needs beside the leaderboard, as JSON holds it.

    Keys: ``format``, ``dataset``, ``training_set`` (digest), ``test_users``, ``catalogue``, ``protocol``,
    ``data_versions``, ``settings``, ``versions``, ``code_version``, ``command``, ``files`` (one object for each raw
    file, with ``name``, ``sha256`` and ``rows_read``), ``statistics`` and ``run`` (``null`` where not given).
    """
    source = content.provenance
    return {
        "format": FORMAT,
        "dataset": content.dataset,
        "training_set": source.training_set,
        "test_users": content.leaderboard.test_users,
        "catalogue": content.leaderboard.catalogue,
        "protocol": dict(content.leaderboard.protocol),
        "data_versions": dict(source.data_versions),
        "settings": dict(source.settings),
        "versions": dict(source.versions),
        "code_version": source.code_version,
        "command": source.command,
        "files": [asdict(file) for file in source.files],
        "statistics": dict(content.statistics),
        "run": asdict(run) if run else None,
    }


def _slices(content: ReportContent) -> tuple[Sequence[str], list[dict]]:
    rows = [
        {
            "slice": row.slice,
            "bucket": row.bucket,
            "place": row.place,
            "users": row.users,
            "recommender": row.recommender,
            HEADLINE: row.headline.value,
            f"{HEADLINE}_low": row.headline.low,
            f"{HEADLINE}_high": row.headline.high,
            "recall@10": row.recall,
        }
        for row in content.slices
    ]
    bounds = (HEADLINE, f"{HEADLINE}_low", f"{HEADLINE}_high")
    return ("slice", "bucket", "place", "users", "recommender", *bounds, "recall@10"), rows


def _over_time(content: ReportContent) -> tuple[Sequence[str], list[dict]]:
    columns = (
        *("result", "leaderboard", "training_set", "code", "interactions", "users", "recommenders", "best"),
        *(HEADLINE, f"{HEADLINE}_low", f"{HEADLINE}_high", "release", "in_charge", f"{HEADLINE}_in_charge"),
        *(f"{HEADLINE}_in_charge_low", f"{HEADLINE}_in_charge_high", "decision", "protocol"),
    )
    rows = []
    for number, (entry, protocol) in enumerate(
        zip(content.over_time, protocols(content.over_time), strict=True), start=1
    ):
        best, serving = entry.best, entry.in_charge or Figure("")
        values = (
            *(number, entry.leaderboard, entry.training_set, entry.code, entry.interactions, entry.users),
            *(entry.recommenders, best.title, best.ndcg, best.low, best.high, entry.release, serving.title),
            *(serving.ndcg, serving.low, serving.high, entry.verdict, protocol),
        )
        rows.append(dict(zip(columns, values, strict=True)))
    return columns, rows


def _list_metrics(content: ReportContent) -> tuple[Sequence[str], list[dict]]:
    names = dict.fromkeys(metric for values in content.list_metrics.values() for metric in values)
    rows = [{"recommender": name, **values} for name, values in content.list_metrics.items()]
    return ("recommender", *names), rows


def to_json(value: object) -> str:
    """Indented, in the order given; what is no number in JSON (infinite, undefined) is null."""
    return json.dumps(_finite(value), indent=1, ensure_ascii=False, allow_nan=False, default=str) + "\n"


def _finite(value: object) -> object:
    if isinstance(value, Mapping):
        return {str(name): _finite(entry) for name, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def to_csv(columns: Sequence[str], rows: Iterable[Mapping[str, object]]) -> str:
    """Comma-separated as in RFC 4180: numbers as they are, nothing where none is, texts in quotes and harmless."""
    lines = [[csv_cell(column) for column in columns]]
    lines += [[csv_cell(row.get(column)) for column in columns] for row in rows]
    return "".join(",".join(cells) + "\r\n" for cells in lines)


def csv_cell(value: object) -> str:
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return ""
    if isinstance(value, int | float):
        return repr(value)
    return '"' + csv_text(str(value)).replace('"', '""') + '"'


def csv_text(text: str) -> str:
    """Text that no spreadsheet takes for a formula.

    An apostrophe goes before every ``=``, ``+``, ``-``, ``@`` or apostrophe that begins the text, or begins what
    follows a semicolon, a tab or a new line in it, which some take for the end of a cell; spaces and quotes between
    are passed over. :func:`plain_csv_text` takes it away again.
    """
    return _FORMULA.sub(r"\1\2'", text)


def plain_csv_text(text: str) -> str:
    """What :func:`csv_text` was given."""
    return _GUARDED.sub(r"\1\2", text)
