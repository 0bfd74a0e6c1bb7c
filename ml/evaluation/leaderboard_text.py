"""The leaderboard as text for a terminal."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence

import pyarrow as pa

from ml.evaluation.metrics import HEADLINE
from ml.evaluation.protocol_line import protocol_line

# columns of the printed table, as far as they were computed
_PRINTED = ("recall@10", "mrr@10", "recall@1", "recall@20")
_LONGEST_TITLE = 40


def to_text_table(leaderboard: pa.Table, seconds: Mapping[str, float] | None = None) -> str:
    """The leaderboard as aligned text, and the protocol below it.

    Args:
        leaderboard: of :func:`ml.evaluation.leaderboard.build_leaderboard`.
        seconds: time of fitting by name of recommender, for one more column.
    """
    header, rows, right = _cells(leaderboard, seconds)
    widths = [max(len(row[column]) for row in [header, *rows]) for column in range(len(header))]

    def line(cells: Sequence[str]) -> str:
        aligned = (
            cell.rjust(width) if to_right else cell.ljust(width)
            for cell, width, to_right in zip(cells, widths, right, strict=True)
        )
        return "  ".join(aligned).rstrip()

    lines = [line(header), line(["-" * width for width in widths]), *(line(row) for row in rows)]
    below = textwrap.wrap(f"Protocol: {protocol_line(leaderboard)}.", width=max(80, len(lines[1])))
    return "\n".join([*lines, "", *below, ""])


def _cells(leaderboard: pa.Table, seconds: Mapping[str, float] | None) -> tuple[list[str], list[list[str]], list[bool]]:
    """Header, rows, and which columns are aligned to the right."""
    metrics = [metric for metric in _PRINTED if metric in leaderboard.schema.names]
    header = ["#", "Recommender", "Kind", "nDCG@10", "95 % interval"]
    header += [metric.replace("recall", "Recall").replace("mrr", "MRR") for metric in metrics]
    header.append("Against best baseline")
    right = [True, False, False, True, False, *(True for _ in metrics), False]
    records = leaderboard.to_pylist()
    rows = []
    for record in records:
        row = [str(record["position"]), _title(record), record["kind"], f"{record[HEADLINE]:.4f}"]
        row.append(f"{record[f'{HEADLINE}_low']:.4f} to {record[f'{HEADLINE}_high']:.4f}")
        row += [f"{record[metric]:.4f}" for metric in metrics]
        row.append(_against(record))
        rows.append(row)
    if seconds is not None:
        header.append("Fit, s")
        right.append(True)
        for record, row in zip(records, rows, strict=True):
            taken = seconds.get(record["recommender"])
            row.append("" if taken is None else f"{taken:.1f}")
    return header, rows, right


def _title(record: Mapping) -> str:
    title = textwrap.shorten(record["title"], _LONGEST_TITLE, placeholder=" ...")
    return title if record["seeds"] == 1 else f"{title}, {record['seeds']} seeds, sd {record['seed_deviation']:.4f}"


def _against(record: Mapping) -> str:
    if record["difference"] is None:
        return "best baseline" if record["reference"] is None and record["kind"] == "baseline" else ""
    return f"{record['difference']:+.4f}, {record['finding']}"
