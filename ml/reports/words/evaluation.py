"""Labels and figures of audits, slices and list metrics, shared by the page and Markdown.

Returns plain text that may contain text from a dump: the renderer escapes it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ml.audits.audit import CANNOT_TELL, CONCERN, NOTE, Audit
from ml.evaluation.metrics import metric_name
from ml.number_format import listed, percent
from ml.reports.content.report import HEADLINE, Leaderboard, LeaderboardRow, ReportContent, SliceRow
from ml.reports.words.wording import has_several_targets, metrics_of
from ml.tables import Chart, Line

# how a metric relates to others when each user has one held-out item
_FAMILIES = {
    "recall": "With one held-out item per user, it equals the hit rate.",
    "precision": "With one held-out item per user, it equals recall at k divided by k.",
}
# the same where each has several
_FAMILIES_OF_SEVERAL = {
    "recall": "The share of a user's held-out items that are in the list.",
    "precision": "The number of a user's held-out items that are in the list, divided by k.",
}


def audits_summary(audits: Sequence[Audit]) -> str:
    """A sentence on how many audits raise a concern, add a note, or cannot tell."""
    counts = Counter(audit.outcome for audit in audits)

    def part(outcome: str, one: str, several: str) -> list[str]:
        return [f"{counts[outcome]} {one if counts[outcome] == 1 else several}"] if counts[outcome] else []

    if len(audits) == 1:
        return f"The one audit: {audits[0].outcome}."
    concerns = (
        f"{counts[CONCERN] or 'None'} of {len(audits)} audits {'raise' if counts[CONCERN] > 1 else 'raises'} a concern"
    )
    concerns += " about these numbers" if counts[CONCERN] else ""
    more = [*part(NOTE, "adds a note", "add a note"), *part(CANNOT_TELL, "cannot tell", "cannot tell")]
    return f"{listed([concerns, *more])}."


# --- metrics


@dataclass(frozen=True)
class Family:
    """The metrics of one kind, at all their cut-offs.

    Attributes:
        title: of the kind.
        metrics: by ascending cut-off.
        note: how it follows from others.
    """

    title: str
    metrics: tuple[str, ...]
    note: str


def families(board: Leaderboard) -> tuple[Family, ...]:
    """All metrics that any row has, by kind, nDCG first; MAP is omitted, with a note, where it equals MRR."""
    names: dict[str, list[str]] = {}
    for metric in metrics_of(board):
        names.setdefault(metric.partition("@")[0], []).append(metric)
    notes = dict(_FAMILIES_OF_SEVERAL if has_several_targets(board) else _FAMILIES)
    if "map" in names and "mrr" in names and not has_several_targets(board) and _is_reciprocal_rank(board):
        del names["map"]
        notes["mrr"] = "With one held-out item per user, MAP is equal to it."
    return tuple(
        Family(
            metric_name(name),
            tuple(sorted(metrics, key=lambda metric: int(metric.partition("@")[2] or 0))),
            notes.get(name, ""),
        )
        for name, metrics in names.items()
    )


def _is_reciprocal_rank(board: Leaderboard) -> bool:
    """Whether MAP is MRR everywhere, as it is with one relevant item a user."""
    return all(
        row.metrics.get(metric.replace("map", "mrr")) == value
        for row in board.rows
        for metric, value in row.metrics.items()
        if metric.startswith("map@")
    )


# --- what is recommended


@dataclass(frozen=True)
class ListMetric:
    """A metric of lists as it is printed: its heading, what it is, and how its values are written."""

    metric: str
    heading: str
    meaning: str
    digits: int | None


_LIST_METRICS = (
    ListMetric("coverage@10", "Coverage", "share of the catalogue that is in at least one list", None),
    ListMetric("gini@10", "Gini", "0 if all items are recommended equally often, near 1 if only a few are", 3),
    ListMetric(
        "popularity_percentile@10",
        "Popularity percentile",
        "mean share of the catalogue that is less popular than the recommended items; random lists have 0.5",
        3,
    ),
    ListMetric(
        "long_tail@10",
        "Long tail",
        "share of the recommended items that are in the tail: the least popular ones, with 20 % of the interactions",
        None,
    ),
    ListMetric("novelty@10", "Novelty, bits", "mean self-information of the recommended items", 2),
    ListMetric(
        "text_diversity@10", "Diversity by text", "1 minus the mean cosine similarity of two items of a list", 3
    ),
    ListMetric(
        "category_diversity@10",
        "Diversity by category",
        "1 minus the mean cosine similarity of the categories of two items of a list; with one category an item, the "
        "share of the pairs whose categories differ",
        3,
    ),
    ListMetric(
        "text_novelty@10",
        "New to the user by text",
        "1 minus the mean cosine similarity of a recommended item and an item of the user's history",
        3,
    ),
    ListMetric("category_novelty@10", "New to the user by category", "the same by category", 3),
    ListMetric("personalisation@10", "Personalisation", "1 minus the mean overlap of the lists of two users", 3),
)


def list_columns(metrics: Mapping[str, Mapping[str, float | None]]) -> tuple[ListMetric, ...]:
    """The list metrics that any recommender has a value of, in reading order."""
    return tuple(
        column for column in _LIST_METRICS if any(values.get(column.metric) is not None for values in metrics.values())
    )


def list_value(column: ListMetric, value: float | None) -> str:
    if value is None:
        return ""
    return percent(value) if column.digits is None else f"{value:.{column.digits}f}"


# --- slices


@dataclass(frozen=True)
class SliceView:
    """One slice of the users: its buckets in order, each with its users and its rows by recommender."""

    name: str
    buckets: tuple[tuple[str, int, Mapping[str, SliceRow]], ...]


def slice_rows(board: Leaderboard) -> tuple[LeaderboardRow, ...]:
    """The recommenders that slices are shown of: the leader and the best of each kind, in the leaderboard's order."""
    chosen = [board.rows[0] if board.rows else None, board.best_trained, board.reference, board.best_fused]
    names = {row.recommender for row in chosen if row is not None}
    return tuple(row for row in board.rows if row.recommender in names)


def slice_views(content: ReportContent) -> tuple[SliceView, ...]:
    """The slices as they are shown, in the order in which they were made."""
    shown = {row.recommender for row in slice_rows(content.leaderboard)}
    places: dict[str, dict[int, list[SliceRow]]] = {}
    for row in content.slices:
        if row.recommender in shown:
            places.setdefault(row.slice, {}).setdefault(row.place, []).append(row)
    return tuple(
        SliceView(
            name,
            tuple(
                (rows[0].bucket, rows[0].users, {row.recommender: row for row in rows})
                for _, rows in sorted(buckets.items())
            ),
        )
        for name, buckets in places.items()
    )


def slice_chart(view: SliceView, rows: Sequence[LeaderboardRow]) -> Chart:
    """The headline metric by bucket, one line for each recommender; one user has no interval, and no point."""
    lines = []
    for row in rows:
        found = [
            (bucket, by_name[row.recommender].headline)
            for bucket, _, by_name in view.buckets
            if row.recommender in by_name and by_name[row.recommender].headline.low is not None
        ]
        if found:
            labels, estimates = zip(*found, strict=True)
            lines.append(
                Line(
                    row.title,
                    tuple(labels),
                    tuple(one.value for one in estimates),
                    tuple(one.low for one in estimates),
                    tuple(one.high for one in estimates),
                )
            )
    name = metric_name(HEADLINE)
    return Chart(f"{name} by {view.name}", view.name, name, tuple(lines))
