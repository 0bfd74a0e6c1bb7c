"""Sentences and tables on a release, for its page, the report, the model card and the UI."""

from __future__ import annotations

from ml.evaluation.metrics import metric_name
from ml.number_format import count
from ml.release.gate.bounds import FIRST_RELEASE, MEASURES, NEXT_RELEASE, SLICES, limit_text, shown
from ml.release.gate.decision import NO_RELEASE, PROMOTE, REFUSE, UNCHANGED, Decision
from ml.release.gate.findings import CANDIDATE, CHAMPION, MOST_POPULAR
from ml.tables import Table

VERDICTS = {
    PROMOTE: "Promoted",
    REFUSE: "Refused",
    UNCHANGED: "Unchanged",
    NO_RELEASE: "No release",
}
_ROLES = {CANDIDATE: "Candidate", CHAMPION: "Champion", MOST_POPULAR: "Most popular items"}
_OF_CHAMPION = "_of_champion"


def introduction(decision: Decision) -> str:
    """What the bounds are about, in a sentence or two; empty where nothing was measured."""
    if not decision.findings:
        return ""
    users = count(decision.users.get("", 0))
    if decision.champion is None:
        return (
            f"There is no champion, so the candidate is compared with the most popular items, on {users} test users. "
            f"The bounds are those of data_contracts/release/{FIRST_RELEASE}.yml."
        )
    return (
        f"The champion was ranked again for the {users} test users of this run, so both are measured on the same "
        "cases. Items that it does not know are never in its lists, and items that are gone are left out of them. The "
        f"bounds are those of data_contracts/release/{NEXT_RELEASE}.yml."
    )


def broken(decision: Decision) -> list[str]:
    """A sentence on each bound that is broken: what was found, why it matters and what to do; blocking ones first."""
    found = sorted((one for one in decision.findings if not one.passed), key=lambda one: not one.blocks)
    return [
        f"{one.bound.id} ({one.bound.severity}): {one.sentence} {one.bound.reason} {one.bound.remedy}" for one in found
    ]


def bounds_table(decision: Decision) -> Table:
    """Every bound with what was found."""
    rows = [
        (
            finding.bound.id,
            finding.bound.severity,
            "kept" if finding.passed else "broken",
            "" if finding.value is None else shown(MEASURES[finding.bound.measure], finding.value),
            limit_text(finding.bound),
            finding.sentence,
        )
        for finding in decision.findings
    ]
    return Table("Bounds", ("Bound", "Severity", "Result", "Value", "Limit", "Found"), tuple(rows), right=(3,))


def metrics_table(decision: Decision) -> Table:
    """Metrics of candidate, champion and the most popular items on the same test users."""
    roles = [role for role in _ROLES if role in decision.metrics]
    names = dict.fromkeys(name for role in roles for name in decision.metrics[role])
    rows = [
        (_metric(name, decision), *(decision.metrics[role].get(name) for role in roles))
        for name in names
        if name.startswith(("ndcg", "recall"))
    ]
    return Table("On the same test users", ("Metric", *(_ROLES[role] for role in roles)), tuple(rows))


def _metric(name: str, decision: Decision) -> str:
    metric, _, part = name.partition(" ")
    if not part:
        return metric_name(metric)
    return f"{metric_name(metric)}, {SLICES[part]} ({count(decision.users[part])})"


def figures_table(decision: Decision) -> Table:
    """The other figures: lists, size and time."""
    rows = []
    for name, value in decision.figures.items():
        measure = MEASURES.get(name.removesuffix(_OF_CHAMPION))
        if measure is None or value is None:
            continue
        words = name.removesuffix(_OF_CHAMPION).replace("_", " ")
        rows.append((f"{words} of the champion" if name.endswith(_OF_CHAMPION) else words, shown(measure, value)))
    return Table("Lists, size and time", ("Figure", "Value"), tuple(rows), right=(1,))


def releases_table(decision: Decision) -> Table:
    """What candidate and champion are."""
    rows = [
        (
            role,
            one.title,
            one.kind.replace("_", " "),
            count(one.items),
            one.fitted_on,
            one.digest[:12],
            one.training_set[:12],
        )
        for role, one in (("Candidate", decision.candidate), ("Champion", decision.champion))
        if one is not None
    ]
    columns = ("", "Recommender", "Kind", "Items", "Fitted on", "Release", "Training set")
    return Table("Candidate and champion", columns, tuple(rows), right=(3,))
