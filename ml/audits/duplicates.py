"""How exact duplicates would change the results."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ml.audits.audit import CANNOT_TELL, CONCERN, LEAST_USERS, NO_CONCERN, NOTE, Audit, not_applicable
from ml.audits.variant_runs import Candidate, cheap_candidates, differences, measure, sample_note
from ml.data.timed_interactions import Interactions
from ml.data.training_set import TrainingSet
from ml.data.variants import LEAVE_ONE_OUT, split_of, why_no_variant, with_duplicates
from ml.number_format import change, p_figure, percent
from ml.registry import Registered
from ml.tables import Chart, Line, Table

REGISTERED = Registered(
    name="duplicates",
    title="Exact duplicates",
    description="The cheap recommenders with and without the exact duplicates of the dump.",
    source="raw2rank",
    path="ml.audits.duplicates:audit_duplicates",
    needs=("training_set", "interactions", "candidates", "exclude_seen", "seed"),
    rank=30,
)

ROWS_SHARE = 0.01
"""With a larger share of duplicates, results on files that keep them are not comparable with these."""
CHANGE_SHARE = 0.05
"""The same for a significant relative change of nDCG@10 that is larger than this."""
NAME, TITLE = REGISTERED.name, REGISTERED.title
_EXPLANATION = (
    "The results of this report exclude exact duplicates: rows with equal user, item, time and rating count once. "
    "Published results often keep them, and where the last row of a user is a copy of the row before it, repeating the "
    "last item is a hit. This audit restores every duplicate of the kept interactions next to its original, and fits "
    "and evaluates the recommenders again for the same users. Users and items stay the same, without a second k-core, "
    "so that the copies are the only difference."
)


def audit_duplicates(
    training_set: TrainingSet,
    interactions: Interactions,
    candidates: Sequence[Candidate] | None = None,
    exclude_seen: bool = False,
    seed: int = 0,
) -> Audit:
    """Measure recommenders with and without exact duplicates.

    There is a concern where a recommender changes by more than 5 % and the change is significant (paired t-test, Holm):
    results of files that keep duplicates do not compare with these. More than 1 % of copies that change no recommender
    are a note. With fewer than :data:`ml.audits.audit.LEAST_USERS` test users a change cannot be ruled out.

    Args:
        training_set: without duplicates, with item text where candidates read it.
        interactions: it was made of, which know how often each was said.
        candidates: recommenders to fit; by default those of ``cheap_candidates``.
        exclude_seen: whether items of a user's own history are left out of the rankings.
        seed: of samples and resampling.
    """
    if interactions.has_given_split or interactions.has_given_order:
        what = "split" if interactions.has_given_split else "order"
        reason = f"the {what} is given by the source, in which every interaction has its own position"
        return not_applicable(NAME, TITLE, reason, _EXPLANATION)
    if reason := why_no_variant(training_set):
        return not_applicable(NAME, TITLE, reason, _EXPLANATION)
    copies = int(interactions.duplicates.sum())
    share = copies / (len(interactions) + copies)
    facts: dict[str, float | int | str | None] = {"applies": 1, "duplicates": copies, "duplicates_share": share}
    if not copies:
        verdict = f"None of the {len(interactions):,} kept interactions had an exact duplicate in the dump."
        return Audit(NAME, TITLE, verdict, NO_CONCERN, _EXPLANATION, facts=facts)
    copied = _copied_targets(training_set, interactions)
    candidates = cheap_candidates(training_set) if candidates is None else candidates
    without = measure(training_set, candidates, exclude_seen, seed)
    kept = measure(with_duplicates(training_set, interactions), candidates, exclude_seen, seed)
    tested = differences({(name,): without[name].ndcg - kept[name].ndcg for name in kept}, seed)
    rows, changed = [], []
    for candidate in candidates:
        before, after = kept[candidate.name].mean, without[candidate.name].mean
        difference = tested[candidate.name,]
        if difference.is_significant and abs(after - before) > CHANGE_SHARE * before:
            changed.append((abs(np.log(max(after, 1e-9) / max(before, 1e-9))), candidate, before, after))
        rows.append(
            (
                candidate.title,
                before,
                after,
                change(before, after),
                kept[candidate.name].recall.mean().item(),
                without[candidate.name].recall.mean().item(),
                difference.interval.low,
                difference.interval.high,
                p_figure(difference.p_value),
            )
        )
    facts |= {"copied_targets_share": copied, "recommenders_changed": len(changed)}
    verdict = (
        f"{percent(share)} of the rows are exact duplicates of kept interactions; with them, the held-out item of "
        f"{percent(copied)} of the test users would be a copy of the item before it; "
    )
    if changed:
        _, candidate, before, after = max(changed, key=lambda one: one[0])
        verdict += (
            f"removing them changes the nDCG@10 of {candidate.title} by {change(before, after)}, from {before:.4f} to "
            f"{after:.4f}."
        )
        facts["largest_change"] = after / before - 1 if before else None
    else:
        verdict += f"removing them changes no recommender significantly by more than {percent(CHANGE_SHARE)}"
        few = len(training_set.test_users) < LEAST_USERS
        verdict += f", but {len(training_set.test_users):,} test users are too few to tell." if few else "."
    columns: tuple[str, ...] = ("recommender", "nDCG@10 with duplicates", "without", "change")
    columns += ("Recall@10 with duplicates", "without", "difference of nDCG@10, low", "difference, high", "adjusted p")
    note = "Differences with 95 % bootstrap intervals over users; p by paired t-test, adjusted by Holm. "
    table = Table("Results with and without exact duplicates", columns, tuple(rows), note + sample_note(training_set))
    titles = tuple(candidate.title for candidate in candidates)
    lines = tuple(
        Line(title, titles, tuple(results[candidate.name].mean for candidate in candidates))
        for title, results in (("with duplicates", kept), ("without", without))
    )
    return Audit(
        name=NAME,
        title=TITLE,
        verdict=verdict,
        outcome=_outcome(bool(changed), share, len(training_set.test_users)),
        explanation=_EXPLANATION,
        tables=(_copies_table(interactions, copies, share, copied), table),
        charts=(Chart("nDCG@10 with and without exact duplicates", "recommender", "nDCG@10", lines),),
        facts=facts,
    )


def _outcome(is_changed: bool, share: float, users: int) -> str:
    if is_changed:
        return CONCERN
    if share > ROWS_SHARE:
        return NOTE
    return CANNOT_TELL if users < LEAST_USERS else NO_CONCERN


def _copied_targets(training_set: TrainingSet, interactions: Interactions) -> float:
    """Share of test users whose held-out item is a copy of its predecessor where duplicates stay.

    In a global-temporal split the target is the first of its time window, and its copies come after it.
    """
    if split_of(training_set) != LEAVE_ONE_OUT:
        return 0.0
    return float((interactions.duplicates[interactions.split_is("test")] > 0).mean())


def _copies_table(interactions: Interactions, copies: int, share: float, copied: float) -> Table:
    repeated = interactions.duplicates > 0
    rows = (
        ("kept interactions", f"{len(interactions):,}"),
        ("of these, recorded more than once", f"{int(repeated.sum()):,}"),
        ("exact duplicates of these", f"{copies:,} ({percent(share)} of the rows)"),
        ("users with a duplicate", f"{len(np.unique(interactions.users[repeated])):,}"),
        ("test users whose held-out item would be a copy of the item before it", percent(copied)),
    )
    return Table("Exact duplicates", ("of", "number"), rows)
