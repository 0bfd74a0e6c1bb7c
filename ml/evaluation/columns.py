"""The columns of the leaderboard, in one place.

The Parquet schema, the column descriptions in Dagster, the CSV file and the tables of the terminal, the Markdown and
the HTML report are all made from :data:`LEADERBOARD`. To add a column, add a :class:`Column` to it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa

from ml import number_format as numbers
from ml.evaluation.entry import Entry
from ml.evaluation.findings import Comparison
from ml.evaluation.intervals import Interval
from ml.evaluation.metrics import HEADLINE, METRICS, mean_metrics, metric_name, metrics_of_depth
from ml.recommender import ALIGNMENT, BASELINE, FUSION, LANGUAGE_MODEL, MODEL, RERANKING

RANKING = "ranking"
"""The first table of every report: what leads, and by how much."""
TERMINAL = "terminal"
"""The same, as ``make run`` prints it at the end."""
COMPARISON = "comparison"
"""Each recommender against the best baseline, with the p-values."""
SIZES = "sizes"
"""How each recommender was fitted, and how large it is."""

LOW, HIGH = f"{HEADLINE}_low", f"{HEADLINE}_high"
_AGAINST = "Against the best baseline"
KINDS = {
    BASELINE: "training-free",
    MODEL: "trained",
    FUSION: "fused",
    RERANKING: "re-ranked",
    ALIGNMENT: "aligned",
    LANGUAGE_MODEL: "language model",
}
"""How each kind of recommender is printed."""


@dataclass(frozen=True)
class RowFacts:
    """Everything that the values of one row are computed from.

    Attributes:
        entry: the recommender.
        position: 1-based rank by nDCG@10.
        means: of every metric over users and seeds, by name.
        interval: of the mean nDCG@10.
        users: test users.
        catalogue: items ranked for each of them.
        reference: name of the recommender that it was compared with, ``None`` for the reference itself.
        comparison: with the reference.
        beats: names of the recommenders that it is significantly better than.
    """

    entry: Entry
    position: int
    means: Mapping[str, float]
    interval: Interval
    users: int
    catalogue: int
    reference: str | None = None
    comparison: Comparison | None = None
    beats: Sequence[str] = ()


@dataclass(frozen=True)
class Format:
    """How the cells of a column are printed.

    Attributes:
        write: from a row of the leaderboard, by name of column, and the name of the column to the printed text.
        right: whether cells are aligned to the right.
    """

    write: Callable[[Mapping[str, Any], str], str]
    right: bool = True


def _format(write: Callable[[Any], str], right: bool = True) -> Format:
    """Print the value alone, and nothing where it is missing."""
    return Format(lambda row, name: "" if row.get(name) is None else write(row[name]), right)


TEXT = _format(str, right=False)


@dataclass(frozen=True)
class Printed:
    """That a printed table shows a column.

    Attributes:
        table: ``ranking``, ``terminal``, ``comparison`` or ``sizes``.
        place: of the column among the others of the table, ascending from the left.
        label: heading in this table, where it differs from that of the column.
        format: in this table, where it differs from that of the column.
    """

    table: str
    place: float
    label: str = ""
    format: Format | None = None


@dataclass(frozen=True)
class Column:
    """One column of the leaderboard.

    Attributes:
        name: in the Parquet and CSV files.
        type: in the Parquet file.
        description: what it holds, in half a sentence.
        value: computes the value of a row; ``None`` is a missing value.
        label: heading in printed tables.
        format: how its cells are printed.
        printed: the printed tables that show it.
    """

    name: str
    type: pa.DataType
    description: str
    value: Callable[[RowFacts], Any]
    label: str = ""
    format: Format = TEXT
    printed: tuple[Printed, ...] = ()

    def cell(self, row: Mapping[str, Any]) -> str:
        """The printed cell of a row of the leaderboard, empty where there is nothing to print."""
        return self.format.write(row, self.name)


def columns(names: Sequence[str] | None = None) -> tuple[Column, ...]:
    """The columns of :data:`LEADERBOARD`, in the order of the file.

    Args:
        names: only these; metrics depend on how deep the rankings are. All where ``None``.
    """
    return tuple(column for column in LEADERBOARD if names is None or column.name in names)


def printed_columns(table: str, names: Sequence[str] | None = None) -> tuple[Column, ...]:
    """The columns of a printed table (``ranking``, ``terminal``, ``comparison``, ``sizes``), from the left.

    Args:
        table: which table.
        names: columns of the leaderboard at hand; all where ``None``.
    """
    shown = [(one.place, column, one) for column in columns(names) for one in column.printed if one.table == table]
    return tuple(
        replace(column, label=one.label or column.label, format=one.format or column.format)
        for _, column, one in sorted(shown, key=lambda found: found[0])
    )


def columns_of_depth(depth: int) -> tuple[Column, ...]:
    """The columns of a leaderboard of rankings of this depth: those of metrics with a larger cut-off are left out."""
    left_out = {*METRICS} - {*metrics_of_depth(depth)}
    return tuple(column for column in LEADERBOARD if column.name not in left_out)


def schema_of(found: Sequence[Column]) -> pa.Schema:
    """The Arrow schema of some columns."""
    return pa.schema([(column.name, column.type) for column in found])


def descriptions() -> dict[str, str]:
    """What each column holds, by name."""
    return {column.name: column.description for column in LEADERBOARD}


def _interval(row: Mapping[str, Any], name: str) -> str:
    """Both bounds; the name is that of the column of the lower one."""
    low, high = row.get(name), row.get(name.replace("_low", "_high"))
    return numbers.interval(low, high, signed=name.startswith("difference"))


def _against_reference(row: Mapping[str, Any], name: str) -> str:
    """The difference and what it means; the row of the best baseline is named as such."""
    if row.get(name) is None:
        return "best baseline" if row["kind"] == BASELINE else ""
    return f"{numbers.signed_metric(row[name])} {row['finding'] or ''}".strip()


_WORDS = _format(lambda text: text.replace("_", " "), right=False)
_KIND = _format(lambda kind: KINDS[kind], right=False)
_METRIC = _format(numbers.metric_value)
_SIGNED = _format(numbers.signed_metric)
_P_VALUE = _format(numbers.p_figure)
_WHOLE = _format(str)
_COUNT = _format(lambda number: numbers.count(number) if number else "")
_SIZE = _format(lambda number: numbers.size(number) if number else "")


def _known(value: float) -> float | None:
    return None if np.isnan(value) else value


def _compared(value: Callable[[Comparison], Any]) -> Callable[[RowFacts], Any]:
    """A value of the comparison, missing in the row of the reference."""
    return lambda row: None if row.comparison is None else value(row.comparison)


def _seed_deviation(row: RowFacts) -> float | None:
    means = [mean_metrics(table)[HEADLINE] for table in row.entry.user_metrics]
    return float(np.std(sorted(means), ddof=1)) if len(means) > 1 else None


def _cut_tied(row: RowFacts) -> float | None:
    tied = [table["cut_is_tied"] for table in row.entry.user_metrics]
    if any(column.null_count for column in tied):
        return None
    return sum(int(np.count_nonzero(column.to_numpy())) for column in tied) / sum(len(column) for column in tied)


def _metric_columns() -> list[Column]:
    printed: dict[str, tuple[Printed, ...]] = {
        HEADLINE: (
            Printed(RANKING, 4),
            Printed(TERMINAL, 4),
        ),
        "recall@10": (
            Printed(RANKING, 6),
            Printed(TERMINAL, 6),
        ),
        "mrr@10": (
            Printed(RANKING, 7),
            Printed(TERMINAL, 7),
        ),
        "recall@1": (
            Printed(RANKING, 8),
            Printed(TERMINAL, 8),
        ),
        "recall@20": (Printed(TERMINAL, 9),),
    }
    found = []
    for metric in METRICS:
        name, _, cut_off = metric.partition("@")
        found.append(
            Column(
                metric,
                pa.float64(),
                f"{name} of the first {cut_off} items, mean over the test users",
                lambda row, metric=metric: row.means[metric],  # type: ignore[misc]
                metric_name(metric),
                _METRIC,
                printed.get(metric, ()),
            )
        )
    return found


LEADERBOARD: tuple[Column, ...] = (
    Column(
        "position",
        pa.int16(),
        "1 is the best nDCG@10",
        lambda row: row.position,
        "Rank",
        _WHOLE,
        (
            Printed(RANKING, 1),
            Printed(TERMINAL, 1),
        ),
    ),
    Column("recommender", pa.string(), "its name", lambda row: row.entry.recommender),
    Column(
        "title",
        pa.string(),
        "its name for readers",
        lambda row: row.entry.title,
        "Recommender",
        TEXT,
        (
            Printed(RANKING, 2),
            Printed(TERMINAL, 2),
            Printed(COMPARISON, 1),
            Printed(SIZES, 1),
        ),
    ),
    Column(
        "kind",
        pa.string(),
        "baseline (training-free), model, fusion of the lists of several of these, reranking of the lists of one, or "
        "alignment of a model with a goal, or language_model that writes queries or re-ranks",
        lambda row: row.entry.kind,
        "Kind",
        _KIND,
        (
            Printed(RANKING, 3),
            Printed(TERMINAL, 3),
            Printed(SIZES, 2),
        ),
    ),
    *_metric_columns(),
    Column(
        LOW,
        pa.float64(),
        "lower end of its 95 % interval",
        lambda row: row.interval.low,
        "95 % interval",
        Format(_interval, right=False),
        (
            Printed(RANKING, 5),
            Printed(TERMINAL, 5),
        ),
    ),
    Column(HIGH, pa.float64(), "upper end of its 95 % interval", lambda row: row.interval.high),
    Column("reference", pa.string(), "the best training-free recommender", lambda row: row.reference),
    Column(
        "difference",
        pa.float64(),
        "paired difference in nDCG@10 to the reference",
        _compared(lambda found: found.difference.mean),
        "Difference",
        _SIGNED,
        (
            Printed(RANKING, 20, _AGAINST, Format(_against_reference, right=False)),
            Printed(TERMINAL, 20, _AGAINST, Format(_against_reference, right=False)),
            Printed(COMPARISON, 2),
        ),
    ),
    Column(
        "difference_low",
        pa.float64(),
        "lower end of the interval of the difference",
        _compared(lambda found: _known(found.difference.low)),
        "Interval, corrected",
        Format(_interval),
        (Printed(COMPARISON, 3),),
    ),
    Column(
        "difference_high",
        pa.float64(),
        "upper end of the interval of the difference",
        _compared(lambda found: _known(found.difference.high)),
    ),
    Column(
        "difference_confidence",
        pa.float64(),
        "of that interval: at least .95, corrected like the test",
        _compared(lambda found: found.confidence),
    ),
    Column(
        "p_value",
        pa.float64(),
        "of the paired t-test of nDCG@10 against the reference, over users and seeds",
        _compared(lambda found: _known(found.p_value)),
        "p alone",
        _P_VALUE,
        (Printed(COMPARISON, 4),),
    ),
    Column(
        "p_value_adjusted",
        pa.float64(),
        "the same by Holm, for all that are compared with the reference",
        _compared(lambda found: _known(found.p_value_adjusted)),
        "p corrected",
        _P_VALUE,
        (Printed(COMPARISON, 5),),
    ),
    Column(
        "finding",
        pa.string(),
        "better, worse or not significantly different, by the adjusted p-value at .05",
        _compared(lambda found: found.finding),
        "Finding",
        TEXT,
        (Printed(COMPARISON, 6),),
    ),
    Column("verdict", pa.string(), "the finding as a sentence", _compared(lambda found: found.sentence)),
    Column(
        "beats",
        pa.string(),
        "which others it is better than, every pair tested and corrected by Holm",
        lambda row: ", ".join(row.beats),
        "Better than",
        _WHOLE,
        (Printed(COMPARISON, 7),),
    ),
    Column("users", pa.int64(), "test users", lambda row: row.users),
    Column("catalogue", pa.int64(), "items ranked for each of them", lambda row: row.catalogue),
    Column("seed", pa.int32(), "the first seed it was fitted with", lambda row: row.entry.seeds[0]),
    Column(
        "seeds",
        pa.int16(),
        "how many seeds it was fitted with",
        lambda row: len(row.entry.seeds),
        "Seeds",
        _WHOLE,
        (
            Printed(COMPARISON, 8),
            Printed(SIZES, 5),
        ),
    ),
    Column(
        "seed_deviation",
        pa.float64(),
        "standard deviation of nDCG@10 over the seeds",
        _seed_deviation,
        "Deviation",
        _METRIC,
        (Printed(COMPARISON, 9),),
    ),
    Column(
        "cut_tied",
        pa.float64(),
        "share of users whose tenth and eleventh item have equal scores, so that the rule chose",
        _cut_tied,
        "Tied at the cut",
        _format(numbers.percent),
    ),
    Column(
        "fit_on",
        pa.string(),
        "splits that its final fit saw",
        lambda row: row.entry.fit_on,
        "Fit on",
        TEXT,
        (Printed(SIZES, 4),),
    ),
    Column(
        "started_from",
        pa.string(),
        "digest of the release whose weights training started from; missing for fresh weights",
        lambda row: row.entry.started_from or None,
    ),
    Column(
        "loss",
        pa.string(),
        "objective of a model",
        lambda row: row.entry.loss or None,
        "Loss",
        _WORDS,
        (Printed(SIZES, 3),),
    ),
    Column(
        "parameters",
        pa.int64(),
        "trained numbers of a model",
        lambda row: row.entry.parameters,
        "Parameters",
        _COUNT,
        (Printed(SIZES, 6),),
    ),
    Column(
        "model_bytes",
        pa.int64(),
        "size of what is needed to rank",
        lambda row: row.entry.model_bytes,
        "Size",
        _SIZE,
        (Printed(SIZES, 7),),
    ),
)
"""All columns, in the order of the file."""
