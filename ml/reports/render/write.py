"""The report and what stands beside it: the page, the model card, and the figures for programs.

The figures are those that the page shows and more: every recommender, every slice, unrounded. In CSV files, which
spreadsheets open, no text becomes a formula (:func:`csv_text`); Parquet and JSON hold texts as they are.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from ml.evaluation.metrics import HEADLINE, METRICS
from ml.recommender import BASELINE, FUSION, MODEL
from ml.reports.content.report import FORMAT, ReportContent, RunFacts
from ml.reports.render.html import render_html
from ml.reports.render.markdown.model_card import model_card
from ml.reports.words import wording

FILES = (
    "report.html",
    "report.md",
    "report.json",
    "leaderboard.csv",
    "leaderboard.parquet",
    "slices.csv",
    "list_metrics.csv",
    "audits.json",
)
# What a spreadsheet takes for a formula at the beginning of a cell; a cell also begins after what some take for the
# separator. The wide forms count as the others in some languages.
_FORMULA = re.compile(r"(^|[;\t\r\n])([\s\"]*)(?=['=+\-@＝＋－＠])")
_GUARDED = re.compile(r"(^|[;\t\r\n])([\s\"]*)'(?=['=+\-@＝＋－＠])")


def write_report(content: ReportContent, folder: Path, run: RunFacts | None = None) -> None:
    """Write every file of a report (:data:`FILES`) into a folder that exists.

    Equal content gives equal bytes, but for what ``run`` adds to the page, the card and ``report.json``.

    Args:
        content: what it says.
        folder: where to; give one that is put in place as a whole (:func:`ml.data.versions.versioned_folder`).
        run: machine and seconds; left out where ``None``.
    """
    table = leaderboard_table(content)
    texts = {
        "report.html": render_html(content, run),
        "report.md": model_card(content, run),
        "report.json": to_json(report_facts(content, run)),
        "leaderboard.csv": to_csv(table.schema.names, table.to_pylist()),
        "slices.csv": to_csv(*_slices(content)),
        "list_metrics.csv": to_csv(*_list_metrics(content)),
        "audits.json": to_json([audit.as_json() for audit in content.audits]),
    }
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8", newline="")
    pq.write_table(table, folder / "leaderboard.parquet", compression="zstd")


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


def leaderboard_table(content: ReportContent) -> pa.Table:
    """The leaderboard, one row a recommender in its order, with the protocol in the metadata of the schema."""
    board = content.leaderboard
    found = wording.metrics_of(board)
    metrics = [metric for metric in METRICS if metric in found]
    reference = board.reference
    rows = []
    for position, row in enumerate(board.rows, start=1):
        headline, difference = row.metrics[HEADLINE], row.difference
        rows.append(
            {
                "position": position,
                "recommender": row.recommender,
                "title": row.title,
                "kind": FUSION if row.fused else MODEL if row.trained else BASELINE,
                **{metric: row.metrics[metric].value if metric in row.metrics else None for metric in metrics},
                f"{HEADLINE}_low": headline.low,
                f"{HEADLINE}_high": headline.high,
                "reference": reference.recommender if reference and difference else None,
                "difference": difference.value if difference else None,
                "difference_low": difference.low if difference else None,
                "difference_high": difference.high if difference else None,
                "difference_confidence": row.difference_confidence,
                "p_value": row.p_value,
                "p_value_adjusted": row.p_value_adjusted,
                "finding": row.finding or None,
                "verdict": row.verdict or None,
                "beats": ", ".join(row.beats),
                "users": board.test_users,
                "catalogue": board.catalogue,
                "seed": row.seed,
                "seeds": row.seeds,
                "seed_deviation": row.seed_deviation,
                "cut_tied": row.cut_tied,
                "fit_on": row.fit_on,
                "loss": row.loss or None,
                "parameters": row.parameters,
                "model_bytes": row.model_bytes,
            }
        )
    texts = ("recommender", "title", "kind", "reference", "finding", "verdict", "beats", "fit_on", "loss")
    numbers = ("users", "catalogue", "parameters", "model_bytes")
    small = {"position": pa.int16(), "seed": pa.int32(), "seeds": pa.int16()}
    order = list(rows[0]) if rows else ["position", "recommender", "title", "kind"]
    types = {**dict.fromkeys(texts, pa.string()), **dict.fromkeys(numbers, pa.int64()), **small}
    schema = pa.schema(
        [(name, types.get(name, pa.float64())) for name in order],
        metadata={b"protocol": json.dumps(dict(board.protocol)).encode()},
    )
    return pa.Table.from_pylist(rows, schema)


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
    are passed over. :func:`csv_text_as_it_was` takes it away again.
    """
    return _FORMULA.sub(r"\1\2'", text)


def csv_text_as_it_was(text: str) -> str:
    """What :func:`csv_text` was given."""
    return _GUARDED.sub(r"\1\2", text)
