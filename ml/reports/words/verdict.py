"""The verdict of a report: what the leaderboard shows and what limits it, as sentences.

Whether a recommender differs significantly from the reference is decided once, in the leaderboard, after correction for
the number of comparisons; here it is put into words. Returns plain text that may contain text from a dump: the renderer
escapes it.
"""

from __future__ import annotations

from collections.abc import Iterator

from ml.audits.audit import OUTCOMES, Audit
from ml.audits.registry import AUDITS
from ml.data.variants import COLD_ITEMS
from ml.evaluation.findings import NOT_DIFFERENT
from ml.evaluation.metrics import metric_name
from ml.number_format import NO_BREAK, count, metric_value, of, p_value, percent
from ml.reports.content.report import HEADLINE, Leaderboard, LeaderboardRow, ReportContent
from ml.reports.words.row_marks import mark_sentences
from ml.reports.words.wording import has_several_targets, interval

# Smaller shares than these are not worth a caveat.
_TIED_SHARE = 0.05
_REPEATED_SHARE = 0.02
_FEW_TEST_USERS = 1000
_SMALL_CATALOGUE, _LONG_LIST = 100, 20
_TITLED_SHARE = 0.5


def gravity(audit: Audit) -> tuple:
    """Sort key of audits: by outcome, then the most serious first; unknown audits come last, by name.

    Nothing is more serious than a fitted part that saw held-out items.
    """
    place = [*AUDITS, audit.name].index(audit.name)
    return (OUTCOMES.index(audit.outcome), not audit.facts.get("sees_held_out"), place, audit.name)


def verdict(content: ReportContent) -> tuple[str, ...]:
    """The result in two or three sentences: which recommender leads, whether significantly, and the main limitation."""
    board = content.leaderboard
    if not board.rows:
        return ("No recommender was evaluated on this dataset.",)
    sentences = [_leads(board), _against_reference(board), limit(content)[0]]
    return tuple(sentence for sentence in sentences if sentence)


def limit(content: ReportContent) -> tuple[str, Audit | None]:
    """The most serious limitation, and the audit that found it, if one did; an empty text where there is none."""
    failed = next(_failed_checks(content), None)
    if failed is not None:
        return failed, None
    concerns = sorted((audit for audit in content.audits if audit.concern), key=gravity)
    if concerns:
        return concerns[0].verdict, concerns[0]
    return next(caveats(content), ""), None


def further_caveats(content: ReportContent) -> tuple[str, ...]:
    """The caveats that are neither in the verdict nor found by an audit."""
    said = limit(content)[0]
    return tuple(sentence for sentence in caveats(content) if sentence != said)


def caveats(content: ReportContent) -> Iterator[str]:
    """Limitations beside those that the audits found, the most serious first."""
    board = content.leaderboard
    yield from _failed_checks(content)
    yield from (f"{file.name}: {warning}" for file in content.provenance.files for warning in file.warnings)
    yield from mark_sentences(content)
    yield from (f"{sentence}." for sentence in content.left_out)
    if dict(board.protocol).get("split", "").startswith(COLD_ITEMS):
        yield (
            "Every target is an item that is in no training history. A recommender that reads item ids alone knows "
            "nothing of such an item: what it ranks first is among the other items, and its results are at the level "
            "of chance or below. Only recommenders that score every item by its text can do better; the text graphs "
            "choose among items of the training histories and cannot."
        )
    if has_several_targets(board):
        yield (
            "Each user is tested with several items. A metric is that of the user over all of them, and the mean is "
            "over users; an item that is held out twice counts once. Audits and examples that speak of “the target” or "
            "the next item mean the first of them, and a slice by target contains a user if any of the targets belongs "
            "to it."
        )
    audited = {audit.name for audit in content.audits}
    if "ties" not in audited:
        yield from _tie_caveat(content)
    if 0 < board.test_users < _FEW_TEST_USERS:
        yield (
            f"There {'is' if board.test_users == 1 else 'are'} only {of(board.test_users, 'test user')}: each one "
            f"changes recall by {1 / board.test_users:.4f}, so small differences are not significant."
        )
    if 0 < board.catalogue < _SMALL_CATALOGUE:
        yield (
            f"The catalogue has only {of(board.catalogue, 'item')}: a random list of {_LONG_LIST} contains the target "
            f"of {percent(min(1.0, _LONG_LIST / board.catalogue))} of the users, so recall@{_LONG_LIST} is not "
            "informative."
        )
    if "leakage" not in audited:
        yield from _repeat_caveat(content)
    yield from _title_caveat(content)
    once = [row for row in board.rows if row.is_model]
    if once and all(row["seeds"] == 1 for row in once) and len(once) == len({row.recommender for row in once}):
        yield (
            "Each model was trained with one seed: intervals and tests cover the sampling of users, not the "
            "randomness of training."
        )
    warned = [check for check in content.checks if not check.passed and check.severity != "error"]
    if warned:
        yield f"{of(len(warned), 'data check')} gave a warning: see “Data quality”."


def _leads(board: Leaderboard) -> str:
    leader = board.rows[0]
    estimate = leader.headline
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
        return "No training-free baseline was evaluated, so there is no evidence that training pays off."
    if leader is not reference:
        return _trained_leads(leader, reference, board)
    trained = board.best_trained
    if trained is None:
        return "No trained model was evaluated."
    opening = f"It needs no training; the best trained model, {_named(trained)},"
    if not trained["finding"]:
        return f"{opening} scores lower; no significance test was computed."
    found = "significantly worse" if trained["finding"] == "worse" else f"{trained['finding']} from it"
    return f"{opening} is {found}{_evidence(trained, board)}."


def _trained_leads(leader: LeaderboardRow, reference: LeaderboardRow, board: Leaderboard) -> str:
    if leader["finding"] == NOT_DIFFERENT:
        named = _named(reference)
        return f"It is {NOT_DIFFERENT} from the best training-free baseline, {named}{_evidence(leader, board)}."
    top, base = leader[HEADLINE], reference[HEADLINE]
    gain = f"{percent(top / base - 1)} above" if base > 0 else "above"
    opening = f"It is {gain} the best training-free baseline, {_named(reference)}"
    if not leader["finding"]:
        return f"{opening}; no significance test was computed."
    return f"{opening}, a significant difference{_evidence(leader, board)}."


def _named(row: LeaderboardRow) -> str:
    return f"{row.title} ({metric_value(row[HEADLINE])})"


def _evidence(row: LeaderboardRow, board: Leaderboard) -> str:
    """The statistics behind the finding, as the end of a sentence."""
    said = [] if row["p_value_adjusted"] is None else [p_value(row["p_value_adjusted"])]
    bounds = interval(row.difference, signed=True) if row.difference is not None else ""
    if bounds:
        said.append(f"interval of the paired difference {bounds}")
    if not said:
        return ""
    compared = sum(one["p_value_adjusted"] is not None for one in board.rows)
    corrected = ""
    if compared > 1 and row["p_value_adjusted"] is not None:
        corrected = f", {'both ' if bounds else ''}corrected for {of(compared, 'comparison')}"
    return f": {', '.join(said)}{corrected}"


def _failed_checks(content: ReportContent) -> Iterator[str]:
    blocking = [check for check in content.checks if not check.passed and check.severity == "error"]
    if blocking:
        yield (
            f"{count(len(blocking))} of {of(len(content.checks), 'data check')} failed with severity error "
            f"({blocking[0].name} on {blocking[0].asset}{', and others' if len(blocking) > 1 else ''}): find out why "
            "before you trust any number."
        )


def _repeat_caveat(content: ReportContent) -> Iterator[str]:
    repeated, users = content.statistics.get("test_targets_repeated"), content.leaderboard.test_users
    if repeated and users and repeated / users >= _REPEATED_SHARE:
        yield (
            f"{percent(repeated / users)} of the test "
            + ("users have a target that is" if has_several_targets(content.leaderboard) else "targets are")
            + " already in the user's history, which favours recommenders that repeat items."
        )


def _title_caveat(content: ReportContent) -> Iterator[str]:
    known = content.statistics
    items, titled = known.get("items"), known.get("items_with_title")
    if items and titled is not None and titled / items < _TITLED_SHARE:
        having = f"Only {count(titled)} of {of(items, 'item')} have" if titled else f"None of {of(items, 'item')} has"
        yield f"{having} a title, so recommenders that use text have little input."


def _tie_caveat(content: ReportContent) -> Iterator[str]:
    known = content.statistics
    users = content.leaderboard.test_users
    rule = f" ({known['tie_order']})" if known.get("tie_order") else ""
    tied = known.get("test_targets_tied")
    if tied is not None:
        if users and tied / users >= _TIED_SHARE:
            yield (
                f"For {percent(tied / users)} of the test users the target shares its timestamp with the interaction "
                f"before it, so the tie rule{rule}, not time, decided which item to predict."
            )
        return
    tied, interactions = known.get("tied_interactions"), known.get("interactions")
    if tied and interactions and tied / interactions >= _TIED_SHARE:
        yield (
            f"{percent(tied / interactions)} of the interactions share their timestamp with another of the same "
            f"user, so the tie rule{rule} decides their order."
        )
