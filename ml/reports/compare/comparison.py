"""What changed between two reports: data, rankings and metrics, as plain data.

Both come from the folders that they were written to (:mod:`ml.reports.compare.written_report`);
:mod:`ml.reports.compare.text` says in words what is found here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy import stats

from ml.audits.audit import CONCERN, NO_CONCERN
from ml.data.list_overlap import overlaps, rank_biased_overlap
from ml.evaluation.findings import BETTER, NOT_DIFFERENT, WORSE
from ml.evaluation.intervals import CONFIDENCE, Interval
from ml.evaluation.metrics import HEADLINE, relevance_metrics
from ml.evaluation.sampled_rankings import LENGTH, PairedSamples
from ml.evaluation.significance import LEVEL, MeanDifference, SeedTerm, holm, holm_confidence, with_seed_terms
from ml.reports.compare.written_report import Report

EQUAL = "equal"
UNDECIDED = NOT_DIFFERENT
NOT_COMPARABLE = "not comparable"
FINDINGS = (BETTER, WORSE, UNDECIDED, EQUAL, NOT_COMPARABLE)
PAIRED = "paired"
UNPAIRED = "unpaired"

# what else a row of the leaderboard says of how its recommender was made
_MADE = ("kind", "fit_on", "loss", "seed", "seeds", "parameters")
# entries of the protocol that follow from the data
_VALIDATION_USERS = "validation users"
_MEASURED = {"dataset", "dataset digest", "test users", "test targets", _VALIDATION_USERS, "ranked"}
# entries that sum up the rows of the leaderboard, which are compared one by one
_OF_RECOMMENDERS = {
    *("fit on", "seeds", "codes", "losses", "maximum length", "beam"),
    *("written lists", "lists certified to be exact", "lists filled by popularity"),
}
# entries that say how figures were made of the same values
_OF_TESTS = {"intervals", "tests", "compared with"}


@dataclass(frozen=True)
class Change:
    """Something that both reports may say by one name, before and after; ``None`` where a report does not say it."""

    name: str
    before: Any
    after: Any


@dataclass(frozen=True)
class FileChange:
    """A raw file: ``same``, ``renamed``, ``changed``, ``added`` or ``gone``, and the rows read from it."""

    name: str
    state: str
    rows_before: int | None
    rows_after: int | None


@dataclass(frozen=True)
class AuditChange:
    """An audit whose outcome, verdict or facts changed; an outcome is ``None`` where the audit was not made."""

    title: str
    outcome_before: str | None
    outcome_after: str | None
    verdict_before: str
    verdict_after: str
    facts: tuple[Change, ...]


@dataclass(frozen=True)
class ListChange:
    """How far the lists of one recommender, for the users of both samples, are the same.

    Attributes:
        recommender: its name.
        title: the same for readers.
        users: users compared.
        equal: share of them whose first ten items are equal in order.
        overlap: mean share of common items.
        rank_biased_overlap: mean, extrapolated, with persistence .9.
    """

    recommender: str
    title: str
    users: int
    equal: float
    overlap: float
    rank_biased_overlap: float


@dataclass(frozen=True)
class MetricChange:
    """nDCG@10 of one recommender before and after.

    Attributes:
        recommender: its name.
        title: the same for readers.
        before: mean over all test users.
        after: the same of the other report.
        rank_before: on the leaderboard, 1 is the best.
        rank_after: the same of the other report.
        method: ``paired`` over the sampled users of both that kept their target, or ``unpaired`` over all test users.
        users: users that the test is over, before and after; the same number twice where paired.
        test: of the difference, after less before, over these users: :func:`ml.evaluation.significance.with_seed_terms`
            where paired, Welch's else.
        differs: whether any value does, and not only the last bits of a mean, which another version may add otherwise.
        difference: of the test, with the interval that agrees with the corrected test.
        p_value_adjusted: after Holm's correction over all recommenders whose values differ; nan where not comparable,
            or where nothing could be tested.
        finding: decided by ``p_value_adjusted < .05``; :data:`EQUAL` where no value differs; :data:`NOT_COMPARABLE`
            where another protocol, or another ``fit_on``, decides nothing.
        made: what the leaderboard says of how it was made, where that differs.
    """

    recommender: str
    title: str
    before: float
    after: float
    rank_before: int
    rank_after: int
    method: str
    users: tuple[int, int]
    test: MeanDifference
    differs: bool
    difference: Interval
    p_value_adjusted: float
    finding: str
    made: tuple[Change, ...] = ()

    @property
    def p_value(self) -> float:
        """Of the test, not corrected; 1 where nothing differs."""
        return self.test.p_value


@dataclass(frozen=True)
class Comparison:
    """Everything that changed from one report to another.

    Attributes:
        before: the first report.
        after: the second.
        same_training_set: whether both were fitted and tested on equal arrays.
        incomparable: choices of the protocol that differ, so that metrics cannot be compared at all.
        choices: all entries of the protocol that differ by choice, and not because data or recommenders do.
        protocol: all entries of the protocol that differ, these included.
        files: all raw files, also those that are the same.
        statistics: of the dataset, those that differ.
        data_versions: content digests that differ, by asset key.
        settings: what the runs were asked for, where that differs.
        versions: of libraries, those that differ.
        code: version of this project, where it differs.
        audits: those that changed.
        lists: one entry a recommender of both reports, by place in the second.
        metrics: the same.
        new: titles of recommenders of the second report alone.
        gone: titles of recommenders of the first alone.
        sampled: users sampled in the first, in the second, in both, and those of both that kept their target.
        several_targets: whether users have more targets than the one that the samples hold.
    """

    before: Report
    after: Report
    same_training_set: bool
    incomparable: tuple[Change, ...]
    choices: tuple[Change, ...]
    protocol: tuple[Change, ...]
    files: tuple[FileChange, ...]
    statistics: tuple[Change, ...]
    data_versions: tuple[Change, ...]
    settings: tuple[Change, ...]
    versions: tuple[Change, ...]
    code: Change | None
    audits: tuple[AuditChange, ...]
    lists: tuple[ListChange, ...]
    metrics: tuple[MetricChange, ...]
    new: tuple[str, ...]
    gone: tuple[str, ...]
    sampled: tuple[int, int, int, int]
    several_targets: bool = False


def compare(before: Report, after: Report) -> Comparison:
    """What changed from one report to another; see :class:`Comparison`."""
    same_training_set = before.training_set == after.training_set
    files = _file_changes(before.files, after.files)
    same_files = all(file.state in ("same", "renamed") for file in files)
    protocol = _changes(_by_label(before.protocol), _by_label(after.protocol))
    choices = tuple(change for change in protocol if _is_choice(change))
    if not choices and same_files and not same_training_set:
        # a choice too, but printed as the number of users that it came to, which follows from the others
        choices = tuple(change for change in protocol if change.name == _VALIDATION_USERS)
    # the seed of ties in time and of validation users has no effect where the training sets are equal
    incomparable = tuple(change for change in choices if change.name != "seed" or not same_training_set)
    if before.dataset != after.dataset and not same_training_set:
        incomparable = (Change("dataset", before.dataset, after.dataset), *incomparable)
    common = [name for name in after.board if name in before.board]
    samples = PairedSamples(before.sample, after.sample)
    metrics = [_metric_change(before.board[name], after.board[name], samples) for name in common]
    return Comparison(
        before=before,
        after=after,
        same_training_set=same_training_set,
        incomparable=incomparable,
        choices=choices,
        protocol=protocol,
        files=files,
        statistics=_changes(before.statistics, after.statistics),
        data_versions=_changes(before.data_versions, after.data_versions),
        settings=_changes(before.settings, after.settings),
        versions=_changes(before.versions, after.versions),
        code=next(iter(_changes({"raw2rank": before.code_version}, {"raw2rank": after.code_version})), None),
        audits=_audit_changes(before.audits, after.audits),
        lists=tuple(change for name in common if (change := _list_change(name, after.board[name]["title"], samples))),
        metrics=_found(metrics, comparable=not incomparable),
        new=tuple(row["title"] for name, row in after.board.items() if name not in before.board),
        gone=tuple(row["title"] for name, row in before.board.items() if name not in after.board),
        sampled=samples.counts,
        several_targets=samples.have_several,
    )


def _changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> tuple[Change, ...]:
    """Entries that differ, in the order of the first, then of the second."""
    names = dict.fromkeys([*before, *after])
    found = (Change(name, before.get(name), after.get(name)) for name in names)
    return tuple(change for change in found if not _same(change.before, change.after))


def _same(before: Any, after: Any) -> bool:
    # a nan is equal to nothing, itself included
    return before == after or (before != before and after != after)


def _by_label(protocol: Mapping[str, Any]) -> dict[str, Any]:
    return {name.replace("_", " ").replace("k core", "k-core"): value for name, value in protocol.items()}


def _is_choice(change: Change) -> bool:
    """Whether an entry of the protocol differs by a choice, as one does that this version does not know."""
    if change.name == "test history":
        # it says the number of users, where it is not of all
        before, after = (re.sub(r"[\d,]+", "", str(value)) for value in (change.before, change.after))
        return before != after
    return change.name not in _MEASURED | _OF_RECOMMENDERS | _OF_TESTS


def _file_changes(before: Sequence[Mapping], after: Sequence[Mapping]) -> tuple[FileChange, ...]:
    # one file may be read as reviews and as metadata
    old, new = ({(file.get("source"), file["name"]): file for file in files} for files in (before, after))
    gone = [file for key, file in old.items() if key not in new]
    found = []
    for key, file in new.items():
        was = old.get(key)
        if was is not None:
            state = "same" if was["sha256"] == file["sha256"] else "changed"
        else:
            was = next((one for one in gone if one["sha256"] == file["sha256"]), None)
            state = "added" if was is None else "renamed"
            gone = [one for one in gone if one is not was]
        found.append(FileChange(file["name"], state, was["rows_read"] if was else None, file["rows_read"]))
    return (*found, *(FileChange(file["name"], "gone", file["rows_read"], None) for file in gone))


def _audit_changes(before: Mapping[str, Mapping], after: Mapping[str, Mapping]) -> tuple[AuditChange, ...]:
    found = []
    for name in dict.fromkeys([*before, *after]):
        old, new = before.get(name), after.get(name)
        facts = _changes(old["facts"], new["facts"]) if old and new else ()
        change = AuditChange(
            title=(new or old or {})["title"],
            outcome_before=_outcome(old) if old else None,
            outcome_after=_outcome(new) if new else None,
            verdict_before=old["verdict"] if old else "",
            verdict_after=new["verdict"] if new else "",
            facts=facts,
        )
        if facts or (change.outcome_before, change.verdict_before) != (change.outcome_after, change.verdict_after):
            found.append(change)
    return tuple(found)


def _outcome(audit: Mapping) -> str:
    """Earlier versions wrote whether there is a concern, and nothing else."""
    return audit.get("outcome") or (CONCERN if audit["concern"] else NO_CONCERN)


def _list_change(name: str, title: str, samples: PairedSamples) -> ListChange | None:
    lists = samples.lists(name)
    if lists is None:
        return None
    return ListChange(
        recommender=name,
        title=title,
        users=len(lists[0]),
        equal=float((lists[0] == lists[1]).all(axis=1).mean()),
        overlap=float(overlaps(*lists).mean()),
        rank_biased_overlap=float(rank_biased_overlap(*lists).mean()),
    )


def _headline(ranks: np.ndarray) -> np.ndarray:
    """nDCG@10 of users whose target has these ranks, 0 where it was not ranked; float64 ``[users]``."""
    relevance = ranks[:, None] == np.arange(1, LENGTH + 1)
    return relevance_metrics(relevance, np.ones(len(ranks), dtype=np.int64), (HEADLINE,))[HEADLINE]


def _metric_change(before: Mapping[str, Any], after: Mapping[str, Any], samples: PairedSamples) -> MetricChange:
    """One recommender's change; finding, interval and adjusted p-value are decided among all of them."""
    ranks = samples.ranks(after["recommender"])
    differs = abs(after[HEADLINE] - before[HEADLINE]) > 1e-12
    if ranks is not None:
        old, new = map(_headline, ranks)
        method, users = PAIRED, (len(new), len(new))
        # the sampled lists are of one seed; what another seed would have given is known from the leaderboards
        test = with_seed_terms(new - old, [_of_another_seed(row) for row in (before, after)])
        differs |= bool((new != old).any())
    else:
        method, users = UNPAIRED, (before["users"], after["users"])
        test = _welch(before, after)
        differs |= test.error != 0
    return MetricChange(
        recommender=after["recommender"],
        title=after["title"],
        before=before[HEADLINE],
        after=after[HEADLINE],
        rank_before=before["position"],
        rank_after=after["position"],
        method=method,
        users=users,
        test=test,
        differs=differs,
        difference=test.interval(),
        p_value_adjusted=test.p_value,
        finding=UNDECIDED,
        made=_changes(*({name: row[name] for name in _MADE if name in row} for row in (before, after))),
    )


def _of_another_seed(row: Mapping[str, Any]) -> SeedTerm:
    """What the choice of one seed adds to the variance of a mean, from the spread of several; nothing where one is
    all there is."""
    deviation = row.get("seed_deviation")
    if deviation is None or row.get("seeds", 1) < 2:
        return SeedTerm(0.0)
    return SeedTerm(deviation**2, ((deviation**2, row["seeds"] - 1),))


def _welch(before: Mapping[str, Any], after: Mapping[str, Any]) -> MeanDifference:
    """Welch's test, with the standard errors that the rows' own intervals imply; nan where a row has no interval.

    Source: Welch, "The generalization of Student's problem when several different population variances are involved",
    Biometrika 34, 1947.
    """
    difference = after[HEADLINE] - before[HEADLINE]
    if any(row[f"{HEADLINE}_{bound}"] is None for row in (before, after) for bound in ("low", "high")):
        return MeanDifference(difference, float("nan"), float("nan"))
    normal = 2 * stats.norm.ppf(0.5 + CONFIDENCE / 2)
    squares = [((row[f"{HEADLINE}_high"] - row[f"{HEADLINE}_low"]) / normal) ** 2 for row in (before, after)]
    error = float(np.sqrt(sum(squares)))
    if error == 0:
        return MeanDifference(difference, 0.0, 1.0)
    freedom = sum(squares) ** 2 / sum(
        square**2 / max(1, row["users"] - 1) for square, row in zip(squares, (before, after), strict=True)
    )
    return MeanDifference(difference, error, float(freedom))


def _found(changes: Sequence[MetricChange], comparable: bool) -> tuple[MetricChange, ...]:
    """The changes with Holm's correction over those that differ, and what is found of each."""

    def is_comparable(change: MetricChange) -> bool:
        return comparable and all(made.name != "fit_on" for made in change.made)

    tested = [change for change in changes if change.differs and is_comparable(change)]
    p_values = [change.test.p_value for change in tested]
    decided = {
        change.recommender: (float(adjusted), change.test.interval(float(confidence)))
        for change, adjusted, confidence in zip(tested, holm(p_values), holm_confidence(p_values), strict=True)
    }
    found = []
    for change in changes:
        p_value, difference = decided.get(change.recommender, (1.0, change.difference))
        if not is_comparable(change):
            finding, p_value = NOT_COMPARABLE, float("nan")
        elif not change.differs:
            finding = EQUAL
        elif p_value < LEVEL:
            finding = BETTER if difference.mean > 0 else WORSE
        else:
            # a nan too: nothing could be tested
            finding = UNDECIDED
        found.append(replace(change, difference=difference, p_value_adjusted=p_value, finding=finding))
    return tuple(found)
