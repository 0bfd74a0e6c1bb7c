"""The sentences and labels of a report, computed from its content alone.

Returns plain text that may contain text from a dump: the renderer escapes it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ml.evaluation.columns import KINDS
from ml.evaluation.metrics import METRIC_NAMES
from ml.number_format import NO_BREAK, count, day, metric_value
from ml.number_format import interval as interval_of
from ml.reports.content.report import (
    HEADLINE,
    CodesReport,
    DumpFile,
    Estimate,
    FunnelStep,
    Leaderboard,
    LeaderboardRow,
    ReportContent,
)

GLOSSARY = (
    (
        "nDCG@10",
        "1 / log2(1 + rank) of the held-out item where it is among the first ten, else 0; the mean over users.",
    ),
    (
        "Recall@k",
        "Share of the users whose held-out item is among the first k. With one item a user it is the hit rate.",
    ),
    ("MRR@10", "1 / rank of the held-out item where it is among the first ten, else 0; the mean over users."),
    (
        "Significantly better, worse",
        "The difference in nDCG@10 has a p-value below 0.05 in a two-sided t-test paired by user, after correction for "
        "all comparisons. With several seeds the test is over users and seeds.",
    ),
    (
        "Not significantly different",
        "The test users and seeds do not show which of the two is better. It does not mean that they are equally good.",
    ),
    (
        "Holm’s correction",
        "Among many tests, some p-values are below 0.05 by chance. The correction raises p-values so that the "
        "probability of even one false finding stays below 0.05 (Holm, 1979).",
    ),
    (
        "95 % interval",
        "The range in which the mean of another sample of such users is expected, by a bootstrap over the users; over "
        "users and seeds where a recommender has several seeds.",
    ),
    ("Training-free", "Nothing is trained: the recommender only counts."),
    ("Fused", "A combination of the lists of several recommenders."),
    ("Re-ranked", "The lists of one recommender in another order, which trades accuracy for a goal beyond it."),
    ("Aligned", "A model that writes lists, trained further with rewards for accuracy and for a goal beyond it."),
    ("logQ corrected", "Scores of sampled negatives are corrected for how often each item is drawn."),
)
# of users with several targets, in place of the entries of the same name
_OF_SEVERAL = {
    "nDCG@10": "The sum of 1 / log2(1 + rank) over the held-out items among the first ten, divided by that of the best "
    "possible list; the mean over users.",
    "Recall@k": "Share of a user's held-out items that are among the first k; the mean over users.",
    "MRR@10": "1 / rank of the first held-out item in the list where it is among the first ten, else 0; the mean over "
    "users.",
}


def has_several_targets(board: Leaderboard) -> bool:
    """Whether users are tested with more than one item: the protocol then says how these are counted."""
    return "test targets" in dict(board.protocol)


def glossary(board: Leaderboard) -> tuple[tuple[str, str], ...]:
    """What the words of a leaderboard mean."""
    if not has_several_targets(board):
        return GLOSSARY
    return tuple((word, _OF_SEVERAL.get(word, meaning)) for word, meaning in GLOSSARY)


def interval(estimate: Estimate, signed: bool = False) -> str:
    """``0.0512 to 0.0571``; empty without an interval."""
    return interval_of(estimate.low, estimate.high, signed)


def reading(files: Sequence[DumpFile]) -> tuple[DumpFile, ...]:
    """The files for which it is recorded how they were read."""
    return tuple(file for file in files if file.layout or file.reading or file.warnings)


def funnel_label(step: FunnelStep) -> str:
    """The label of a step with a sign of its role, for tables that cannot indent."""
    return {"removed": "− ", "of which": "of which ", "part": "· "}.get(step.role, "") + step.label


def kind(row: LeaderboardRow) -> str:
    """``trained``, ``training-free``, ``fused``, ``re-ranked`` or ``aligned``."""
    return KINDS[row["kind"]]


def metrics_of(board: Leaderboard) -> tuple[str, ...]:
    """Every metric any row has, the headline first, then by name and cutoff."""
    found = {metric for row in board.rows for metric in row.metrics}
    order = list(METRIC_NAMES)

    def place(metric: str) -> tuple:
        name, _, cutoff = metric.partition("@")
        known = order.index(name) if name in order else len(order)
        return (metric != HEADLINE, known, name, int(cutoff) if cutoff.isdigit() else 0)

    return tuple(sorted(found, key=place))


def seeds(row: LeaderboardRow) -> str:
    """``3 seeds, deviation 0.0008``; empty for one seed."""
    if row["seeds"] < 2:
        return ""
    spread = "" if row["seed_deviation"] is None else f", deviation {metric_value(row['seed_deviation'])}"
    return f"{row['seeds']} seeds{spread}"


def beats(row: LeaderboardRow, board: Leaderboard) -> str:
    """``5 of 11``: number of recommenders that it is significantly better than; empty where no pair was tested."""
    if not any(one.beats for one in board.rows):
        return ""
    return f"{len(row.beats)} of {len(board.rows) - 1}"


def note(row: LeaderboardRow) -> str:
    """The line below the name of a recommender."""
    return ", ".join(part for part in (row.note, seeds(row)) if part)


def code_use(report: CodesReport) -> str:
    """Codes in use in the least and in the most used code book: ``241 to 256``."""
    used = [book.used for book in report.books]
    if not used:
        return ""
    return count(used[0]) if min(used) == max(used) else f"{count(min(used))} to {count(max(used))}"


@dataclass(frozen=True)
class Statistic:
    """One line of the statistics: label, value and, where it is a share of something, that share."""

    label: str
    value: str
    share: float | None = None


def statistics(content: ReportContent) -> tuple[tuple[str, tuple[Statistic, ...]], ...]:
    """Groups of the statistics that are known, in reading order: ``(heading, lines)``."""
    known = content.statistics

    def lines(*entries: tuple[str, str, str | None]) -> tuple[Statistic, ...]:
        found = []
        for label, name, whole in entries:
            value = known.get(name)
            if value is None:
                continue
            total = known.get(whole) if whole else None
            share = float(value) / float(total) if total else None
            found.append(Statistic(label, _printed(name, value), share))
        return tuple(found)

    groups = (
        (
            "Size",
            lines(
                ("Users", "users", None),
                ("Items (the catalogue)", "items", None),
                ("Interactions", "interactions", None),
                ("Density", "density", None),
                ("Mean history", "mean_history_length", None),
                ("Median history", "median_history_length", None),
                ("First interaction", "first_timestamp", None),
                ("Last interaction", "last_timestamp", None),
            ),
        ),
        (
            "Split",
            lines(
                ("Users with a test item", "users_with_test", "users"),
                ("Users with a validation item", "users_with_validation", "users"),
                ("Users too short to split", "users_too_short", "users"),
            ),
        ),
        (
            "Ties and repeats",
            lines(
                (
                    "Interactions that share their timestamp with another of the user",
                    "tied_interactions",
                    "interactions",
                ),
                ("Test targets that share it with the item before them", "test_targets_tied", "users_with_test"),
                ("Interactions that repeat an earlier item", "repeated_interactions", "interactions"),
                ("Test targets already in the history", "test_targets_repeated", "users_with_test"),
            ),
        ),
        (
            "Item metadata",
            lines(
                ("Items with metadata", "items_with_metadata", "items"),
                ("with a title", "items_with_title", "items"),
                ("with a brand", "items_with_brand", "items"),
                ("with a category", "items_with_category", "items"),
                ("with a price", "items_with_price", "items"),
            ),
        ),
    )
    return tuple((heading, found) for heading, found in groups if found)


def _printed(name: str, value: Any) -> str:
    if name.endswith("_timestamp"):
        return day(int(value))
    if name == "density":
        return f"{100 * float(value):.3g}{NO_BREAK}%"
    if name in ("mean_history_length", "median_history_length"):
        return f"{float(value):.4g}"
    return count(value)
