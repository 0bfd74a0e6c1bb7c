"""Whether the order of recommenders is the same when training ends before testing begins."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.stats import kendalltau

from ml.audits.audit import CANNOT_TELL, CONCERN, LEAST_USERS, NO_CONCERN, Audit, not_applicable
from ml.audits.variant_runs import (
    RESAMPLES,
    Candidate,
    Difference,
    Measured,
    cheap_candidates,
    differences,
    measure,
    sample_note,
)
from ml.data.timed_interactions import Interactions
from ml.data.training_set import TrainingSet
from ml.data.variants import (
    GLOBAL_TEMPORAL,
    LEAVE_ONE_OUT,
    QUANTILES,
    VariantError,
    split_of,
    with_other_split,
)
from ml.evaluation.intervals import Interval, bootstrap_interval
from ml.number_format import percent
from ml.registry import Registered
from ml.tables import Chart, Line, Table

REGISTERED = Registered(
    name="temporal",
    title="Split by global time",
    description="The cheap recommenders on a split by global time beside leave-one-out.",
    source="Ji et al., A Critical Study on Data Leakage in Recommender System Offline Evaluation, TOIS 41(3), 2023",
    path="ml.audits.temporal:audit_temporal",
    needs=("training_set", "interactions", "candidates", "exclude_seen", "seed"),
    rank=50,
)

NAME, TITLE = REGISTERED.name, REGISTERED.title
_EXPLANATION = (
    "Leave-one-out trains on interactions of other users that are later than a target; a split at two points of global "
    "time does not, and is closer to practice. The same interactions are split both ways, and the recommenders are "
    "fitted and evaluated on each. Targets and test users differ, so the values of the two splits are not comparable, "
    "but the orders of the recommenders are. Concern: another recommender wins, and the two winners differ "
    f"significantly (paired t-test on the users of the split by global time). With fewer than {LEAST_USERS:,} of these "
    "users, or two winners that do not differ significantly, the audit cannot tell."
)


def audit_temporal(
    training_set: TrainingSet,
    interactions: Interactions,
    candidates: Sequence[Candidate] | None = None,
    exclude_seen: bool = False,
    seed: int = 0,
    quantiles: tuple[float, float] = QUANTILES,
) -> Audit:
    """Measure recommenders under leave-one-out and under a global-temporal split of the same interactions.

    Args:
        training_set: by one of the two splits, with item text where candidates read it.
        interactions: it was made of.
        candidates: recommenders to fit, at least one; by default those of ``cheap_candidates``.
        exclude_seen: whether items of a user's own history are left out of the rankings.
        seed: of samples and resampling.
        quantiles: shares of the interactions before the boundaries of validation and test.
    """
    if not interactions.has_times:
        return not_applicable(NAME, TITLE, "not every interaction has a time", _EXPLANATION)
    try:
        other = with_other_split(training_set, interactions, quantiles)
    except VariantError as error:
        return not_applicable(NAME, TITLE, str(error), _EXPLANATION)
    own = split_of(training_set)
    splits = {own: training_set, (LEAVE_ONE_OUT if own == GLOBAL_TEMPORAL else GLOBAL_TEMPORAL): other}
    candidates = cheap_candidates(training_set) if candidates is None else candidates
    results = {split: measure(splits[split], candidates, exclude_seen, seed) for split in sorted(splits, reverse=True)}
    places = {split: _places(by_name) for split, by_name in results.items()}
    titles = {candidate.name: candidate.title for candidate in candidates}
    winners = {split: min(place, key=place.__getitem__) for split, place in places.items()}
    tested = _difference_of_winners(results, winners, seed)
    tau = _tau(results)
    outcome = _outcome(winners, tested, len(splits[GLOBAL_TEMPORAL].test_users))
    values = {split: _values(by_name, seed) for split, by_name in results.items()}
    return Audit(
        name=NAME,
        title=TITLE,
        verdict=_verdict(results, winners, titles, tau, tested),
        outcome=outcome,
        explanation=_EXPLANATION,
        tables=(_table(splits, values, places, titles), _cases(splits)),
        charts=(_chart(values, titles),),
        facts={
            "applies": 1,
            "kendall_tau": tau,
            "winner_leave_one_out": winners[LEAVE_ONE_OUT],
            "winner_global_temporal": winners[GLOBAL_TEMPORAL],
            "winners_p_value": tested.p_value if tested else None,
            "test_users_global_temporal": len(splits[GLOBAL_TEMPORAL].test_users),
            "untrained_targets_global_temporal": _untrained(splits[GLOBAL_TEMPORAL]),
        },
    )


def _places(results: dict[str, Measured]) -> dict[str, int]:
    """Place of each recommender by nDCG@10, the best 1; equal values share the better place."""
    means = {name: one.mean for name, one in results.items()}
    return {name: 1 + sum(other > mean for other in means.values()) for name, mean in means.items()}


def _outcome(winners: dict[str, str], tested: Difference | None, users: int) -> str:
    """With fewer users than :data:`LEAST_USERS` a winner means nothing; two winners that do not differ significantly
    may win by chance."""
    if users < LEAST_USERS:
        return CANNOT_TELL
    if tested is None:
        return NO_CONCERN
    return CONCERN if tested.is_significant else CANNOT_TELL


def _difference_of_winners(
    results: dict[str, dict[str, Measured]], winners: dict[str, str], seed: int
) -> Difference | None:
    """The winner of the global-temporal split against that of leave-one-out, for the users of the former."""
    by_name = results[GLOBAL_TEMPORAL]
    first, second = winners[GLOBAL_TEMPORAL], winners[LEAVE_ONE_OUT]
    if first == second:
        return None
    return differences({(first, second): by_name[first].ndcg - by_name[second].ndcg}, seed)[first, second]


def _tau(results: dict[str, dict[str, Measured]]) -> float | None:
    """Kendall's tau-b of the two orders; ``None`` where one has no order."""
    means = [[one.mean for one in by_name.values()] for by_name in results.values()]
    if any(len(set(values)) < 2 for values in means):
        return None
    return float(kendalltau(*means).statistic)


def _values(by_name: dict[str, Measured], seed: int) -> dict[str, Interval]:
    return {name: bootstrap_interval(one.ndcg, seed, RESAMPLES) for name, one in by_name.items()}


def _verdict(
    results: dict[str, dict[str, Measured]],
    winners: dict[str, str],
    titles: dict[str, str],
    tau: float | None,
    tested: Difference | None,
) -> str:
    first, second = winners[LEAVE_ONE_OUT], winners[GLOBAL_TEMPORAL]
    number = len(results[GLOBAL_TEMPORAL][first].users)
    if number < LEAST_USERS:
        return (
            f"Too few users to tell: the split by global time has {number:,} test user{'' if number == 1 else 's'}, "
            f"and at least {LEAST_USERS:,} are needed."
        )
    order = "" if tau is None else f" (Kendall's tau between the two orders is {tau:.2f})".replace("-", "−")
    temporal = results[GLOBAL_TEMPORAL]
    users = f"{number:,} test users"
    if tested is None:
        return f"{titles[first]} wins under leave-one-out and, for {users}, under a global-temporal split{order}."
    if tested.is_significant:
        ending = f": a significant difference for {users}"
    else:
        ending = f", not a significant difference for {users}: there are too few to tell which one wins"
    return (
        f"{titles[first]} wins under leave-one-out, but {titles[second]} has the higher mean under a global-temporal "
        f"split{order}, with nDCG@10 of {temporal[second].mean:.4f} there against {temporal[first].mean:.4f}{ending}."
    )


def _table(
    splits: dict[str, TrainingSet],
    values: dict[str, dict[str, Interval]],
    places: dict[str, dict[str, int]],
    titles: dict[str, str],
) -> Table:
    columns: tuple[str, ...] = ("recommender",)
    for split in values:
        columns += (f"nDCG@10, {split}", "interval, low", "interval, high", "rank")
    rows = []
    for name, title in titles.items():
        row: tuple = (title,)
        for split, by_name in values.items():
            row += (by_name[name].mean, by_name[name].low, by_name[name].high, places[split][name])
        rows.append(row)
    notes = ["95 % bootstrap intervals over users."]
    notes += [f"For {split}: {sample_note(splits[split])}" for split in values if sample_note(splits[split])]
    return Table("Results under both splits", columns, tuple(rows), " ".join(notes))


def _cases(splits: dict[str, TrainingSet]) -> Table:
    rows = tuple(
        (
            split,
            len(splits[split].test_users),
            len(splits[split].train.items),
            int(np.median(splits[split].histories("test").lengths)),
            percent(_untrained(splits[split])),
        )
        for split in sorted(splits, reverse=True)
    )
    columns = ("split", "test users", "training interactions", "median history", "targets not in training")
    return Table("Sizes of the splits", columns, rows)


def _untrained(training_set: TrainingSet) -> float:
    """Share of test targets without a training interaction."""
    trained = np.bincount(training_set.train.items, minlength=training_set.items) > 0
    return float((~trained[training_set.test_targets]).mean())


def _chart(values: dict[str, dict[str, Interval]], titles: dict[str, str]) -> Chart:
    lines = tuple(
        Line(
            split,
            tuple(titles.values()),
            tuple(by_name[name].mean for name in titles),
            tuple(by_name[name].low for name in titles),
            tuple(by_name[name].high for name in titles),
        )
        for split, by_name in values.items()
    )
    return Chart("nDCG@10 under both splits", "recommender", "nDCG@10", lines)
