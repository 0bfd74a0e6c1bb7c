"""The sentences and labels of a report, computed from its content alone.

Returns plain text that may hold text from a dump: whoever shows it escapes it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ml.reports.content import HEADLINE, CodesReport, Estimate, FunnelStep, Leaderboard, LeaderboardRow, ReportContent

NO_BREAK = "\u00a0"
_METRIC_NAMES = {
    "ndcg": "nDCG",
    "recall": "Recall",
    "mrr": "MRR",
    "hit_rate": "Hit rate",
    "map": "MAP",
    "precision": "Precision",
}
_SIDE_METRICS = ("recall@10", "mrr@10", "recall@1")
# Below these a caveat says nothing that the reader needs.
_TIED_SHARE = 0.05
_REPEATED_SHARE = 0.02
_FEW_TEST_USERS = 1000
_TITLED_SHARE = 0.5


def metric_name(metric: str) -> str:
    """``ndcg@10`` as it is printed: ``nDCG@10``."""
    name, _, cutoff = metric.partition("@")
    printed = _METRIC_NAMES.get(name, name)
    return f"{printed}@{cutoff}" if cutoff else printed


def metric_value(value: float) -> str:
    return f"{value:.4f}"


def signed_metric(value: float) -> str:
    """With its sign; a difference that rounds to nothing has none."""
    printed = f"{value:+.4f}"
    return printed[1:] if float(printed) == 0 else printed.replace("-", "−")


def interval(estimate: Estimate, signed: bool = False) -> str:
    """``0.0512 to 0.0571``; empty without an interval."""
    if estimate.low is None or estimate.high is None:
        return ""
    write = signed_metric if signed else metric_value
    return f"{write(estimate.low)} to {write(estimate.high)}"


def count(value: float | int) -> str:
    return f"{value:,.0f}"


def compact(value: float) -> str:
    """A tick label: ``0.5``, ``20``, ``200 k``, ``1.5 M``."""
    for unit, name in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= unit:
            return f"{value / unit:g}{NO_BREAK}{name}"
    return f"{value:g}"


def of(number: int, singular: str, plural: str | None = None) -> str:
    """``1 user``, ``2,328 users``."""
    return f"{count(number)} {singular if number == 1 else plural or singular + 's'}"


def percent(share: float) -> str:
    """A share as a percentage that never rounds something to nothing, nor almost all to all."""
    if 0 < share < 0.001:
        number = "< 0.1"
    elif 0.999 < share < 1:
        number = "> 99.9"
    elif 0 < share < 0.1 or 0.995 <= share < 1:
        number = f"{100 * share:.1f}"
    else:
        number = f"{100 * share:.0f}"
    return f"{number}{NO_BREAK}%"


def size(number: float) -> str:
    """Bytes in decimal units, as file managers and download pages print them."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if number < 1000 or unit == "GB":
            break
        number /= 1000
    return f"{number:.0f}{NO_BREAK}{unit}" if unit == "bytes" else f"{number:.1f}{NO_BREAK}{unit}"


def duration(seconds: float) -> str:
    if seconds < 1:
        return f"{1000 * seconds:.0f}{NO_BREAK}ms"
    if seconds < 120:
        return f"{seconds:.1f}{NO_BREAK}s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 120:
        return f"{minutes}{NO_BREAK}min {rest:02d}{NO_BREAK}s"
    return f"{minutes // 60}{NO_BREAK}h {minutes % 60:02d}{NO_BREAK}min"


def funnel_label(step: FunnelStep) -> str:
    """What a step is, where no indentation tells a stage from what is taken out of it."""
    return {"removed": "− ", "of which": "of which ", "part": "· "}.get(step.role, "") + step.label


def kind(row: LeaderboardRow) -> str:
    if row.fused:
        return "fused"
    return "trained" if row.trained else "training-free"


def metrics_of(board: Leaderboard) -> tuple[str, ...]:
    """Every metric any row has, the headline first, then by name and cutoff."""
    found = {metric for row in board.rows for metric in row.metrics}
    order = list(_METRIC_NAMES)

    def place(metric: str) -> tuple:
        name, _, cutoff = metric.partition("@")
        known = order.index(name) if name in order else len(order)
        return (metric != HEADLINE, known, name, int(cutoff) if cutoff.isdigit() else 0)

    return tuple(sorted(found, key=place))


def side_metrics(board: Leaderboard) -> tuple[str, ...]:
    """The metrics that stand beside the headline on the first screen."""
    known = metrics_of(board)
    return tuple(metric for metric in _SIDE_METRICS if metric in known)


def finding(row: LeaderboardRow) -> str:
    """``better``, ``worse`` or ``not told apart`` from the reference; empty where nothing decides it.

    Decided by the interval of the paired difference: the two recommenders' own intervals may overlap although
    the same users tell them apart.
    """
    paired = row.difference
    if paired is None or paired.low is None or paired.high is None:
        return ""
    if paired.low <= 0 <= paired.high:
        return "not told apart"
    return "better" if paired.value > 0 else "worse"


def verdict(content: ReportContent) -> tuple[str, ...]:
    """What the leaderboard says, in two or three plain sentences."""
    board = content.leaderboard
    if not board.rows:
        return ("No recommender was evaluated on this dataset.",)
    sentences = [_leads(board), _against_reference(board), next(caveats(content), "")]
    return tuple(sentence for sentence in sentences if sentence)


def further_caveats(content: ReportContent) -> tuple[str, ...]:
    """The caveats that the verdict has no room for."""
    return tuple(caveats(content))[1:]


def _leads(board: Leaderboard) -> str:
    leader = board.rows[0]
    estimate = leader.metrics[HEADLINE]
    bounds = interval(estimate)
    if bounds:
        bounds = f" (95{NO_BREAK}% interval {bounds})"
    return (
        f"{leader.title} leads with {metric_name(HEADLINE)} {metric_value(estimate.value)}{bounds} over "
        f"{of(board.test_users, 'test user')}, ranking all {count(board.catalogue)} items."
    )


def _against_reference(board: Leaderboard) -> str:
    leader, reference = board.rows[0], board.reference
    if reference is None:
        return "No training-free baseline was evaluated beside it, so nothing says that training pays."
    if leader is not reference:
        return _trained_leads(leader, reference)
    trained = next((row for row in board.rows if row.trained and not row.fused), None)
    if trained is None:
        return "No trained model was evaluated beside it."
    opening = f"It needs no training; the best trained model, {_named(trained)},"
    found = finding(trained)
    if not found:
        return f"{opening} is below it; no interval was computed to tell whether by more than chance."
    return f"{opening} is {'behind it' if found == 'worse' else found + ' from it'}: {_evidence(trained)}."


def _trained_leads(leader: LeaderboardRow, reference: LeaderboardRow) -> str:
    found = finding(leader)
    if found == "not told apart":
        return f"It is not told apart from the best training-free baseline, {_named(reference)}: {_evidence(leader)}."
    top, base = leader.metrics[HEADLINE].value, reference.metrics[HEADLINE].value
    gain = f"{percent(top / base - 1)} above" if base > 0 else "above"
    opening = f"It is {gain} the best training-free baseline, {_named(reference)}"
    if not found:
        return f"{opening}; no interval was computed to tell whether by more than chance."
    return f"{opening}, and told apart from it: {_evidence(leader)}."


def _named(row: LeaderboardRow) -> str:
    return f"{row.title} ({metric_value(row.metrics[HEADLINE].value)})"


def _evidence(row: LeaderboardRow) -> str:
    holds = "holds zero" if finding(row) == "not told apart" else "excludes zero"
    return f"the paired 95{NO_BREAK}% interval of the difference, {interval(row.difference, signed=True)}, {holds}"


def caveats(content: ReportContent) -> Iterator[str]:
    """What limits the numbers, gravest first; nothing when nothing found does."""
    known = content.statistics
    board = content.leaderboard
    failed = [check for check in content.checks if not check.passed]
    blocking = [check for check in failed if check.severity == "error"]
    if blocking:
        yield (
            f"{count(len(blocking))} of {of(len(content.checks), 'data check')} failed with severity error "
            f"({blocking[0].name} on {blocking[0].asset}{', and others' if len(blocking) > 1 else ''}): see why "
            "before believing a number."
        )
    yield from _tie_caveat(content)
    if 0 < board.test_users < _FEW_TEST_USERS:
        yield (
            f"There are only {of(board.test_users, 'test user')}: one user is worth {1 / board.test_users:.4f} of a "
            "recall, so small differences cannot be told apart."
        )
    repeated = known.get("test_targets_repeated")
    if repeated and board.test_users and repeated / board.test_users >= _REPEATED_SHARE:
        yield (
            f"{percent(repeated / board.test_users)} of the test targets are already in the user's history, which "
            "favours recommenders that repeat."
        )
    items, titled = known.get("items"), known.get("items_with_title")
    if items and titled is not None and titled / items < _TITLED_SHARE:
        having = f"Only {count(titled)} of {of(items, 'item')} have" if titled else f"None of {of(items, 'item')} has"
        yield f"{having} a title, so recommenders that read text have little to go by."
    trained = [row.recommender for row in board.rows if row.trained and not row.fused]
    if trained and len(trained) == len(set(trained)):
        yield "Each trained model was trained once: intervals tell of users, not of the luck of a seed."
    warned = len(failed) - len(blocking)
    if warned:
        yield f"{of(warned, 'data check')} ended with a warning: see data quality."


def _tie_caveat(content: ReportContent) -> Iterator[str]:
    known = content.statistics
    users = content.leaderboard.test_users
    rule = f" ({known['tie_order']})" if known.get("tie_order") else ""
    tied = known.get("test_targets_tied")
    if tied is not None:
        if users and tied / users >= _TIED_SHARE:
            yield (
                f"For {percent(tied / users)} of the test users the target shares its timestamp with the interaction "
                f"before it, so the tie rule{rule} and not time chose what was to be predicted."
            )
        return
    tied, interactions = known.get("tied_interactions"), known.get("interactions")
    if tied and interactions and tied / interactions >= _TIED_SHARE:
        yield (
            f"{percent(tied / interactions)} of the interactions share their timestamp with another of the same "
            f"user, so their order rests on the tie rule{rule}."
        )


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
                ("Interactions that share user and timestamp", "tied_interactions", "interactions"),
                ("Test targets that share it with the item before", "test_targets_tied", "users_with_test"),
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


def _printed(name: str, value: object) -> str:
    if name.endswith("_timestamp"):
        return day(int(value))
    if name == "density":
        return f"{100 * float(value):.3g}{NO_BREAK}%"
    if name in ("mean_history_length", "median_history_length"):
        return f"{float(value):.4g}"
    return count(value)


def day(timestamp: int) -> str:
    """Unix seconds as a date (UTC)."""
    from datetime import UTC, datetime

    return datetime.fromtimestamp(timestamp, UTC).date().isoformat()
