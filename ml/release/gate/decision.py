"""The gate of a release: whether a candidate replaces the champion.

Plain data and arithmetic. :mod:`ml.release.gate.cases` measures both on the same test users,
:mod:`ml.release.gate.measures` computes the other figures, and the bounds come from ``data_contracts/release/``.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from ml.evaluation.significance import MeanDifference, SeedValues, paired_test

if TYPE_CHECKING:
    from ml.release.bundle import Bundle

# who is measured, as columns of the cases are named
CHAMPION, CANDIDATE, MOST_POPULAR = "champion", "candidate", "most_popular"
FORMAT = "raw2rank-release-decision-1"
PROMOTE, REFUSE, UNCHANGED, NO_RELEASE = "promote", "refuse", "unchanged", "no release"
VERDICTS = (PROMOTE, REFUSE, UNCHANGED, NO_RELEASE)
BLOCKING, WARNING = "blocking", "warning"
# the test of a bound: it must be shown that the bound is kept, or that it is broken
KEPT, BROKEN = "kept", "broken"
# which bounds apply
FIRST_RELEASE, NEXT_RELEASE = "first_release", "next_release"

EVERYBODY, SHORT_HISTORIES, TAIL_ITEMS, NEW_ITEMS = "", "short_histories", "tail_items", "new_items"
SLICES = {
    EVERYBODY: "all test users",
    SHORT_HISTORIES: "test users with at most four items in their history",
    TAIL_ITEMS: "test users whose target is in the tail of the catalogue",
    NEW_ITEMS: "test users whose target the champion does not know, or that is in no training history",
}
METRIC = "ndcg@10"


@dataclass(frozen=True)
class Measure:
    """What a bound can be about.

    Attributes:
        name: in the contracts.
        description: one sentence.
        unit: ``ndcg`` (a difference of means), ``share`` (of 1; a change where it is relative), ``ratio``, ``ms`` or
            ``bytes``.
        needs_champion: whether it compares the candidate with a champion.
        compared: of the paired measures, what the candidate is compared with: ``champion`` or ``most_popular``; empty
            for a measure that is one figure and has no test.
        slice: of the paired measures, the test users, a key of :data:`SLICES`.
        relative: of the paired measures, whether the limit is a share of the other's mean.
    """

    name: str
    description: str
    unit: str
    needs_champion: bool = True
    compared: str = ""
    slice: str = EVERYBODY
    relative: bool = False

    @property
    def is_tested(self) -> bool:
        return bool(self.compared)


def _paired_measures() -> Iterable[Measure]:
    for name, of in SLICES.items():
        ending = f"_{name}" if name else ""
        yield Measure(
            f"ndcg_change{ending}",
            f"Change of nDCG@10 from the champion to the candidate, as a share of the champion's, over {of}.",
            "share",
            compared="champion",
            slice=name,
            relative=True,
        )
        yield Measure(
            f"ndcg_difference{ending}",
            f"nDCG@10 of the candidate less that of the champion, over {of}.",
            "ndcg",
            compared="champion",
            slice=name,
        )


MEASURES: dict[str, Measure] = {
    measure.name: measure
    for measure in (
        *_paired_measures(),
        Measure(
            "ndcg_above_most_popular",
            "nDCG@10 of the candidate less that of the most popular items, over all test users.",
            "ndcg",
            needs_champion=False,
            compared="most_popular",
        ),
        Measure(
            "coverage",
            "Share of the catalogue that is among the ten best of some test user.",
            "share",
            needs_champion=False,
        ),
        Measure("coverage_change", "Change of the coverage from the champion to the candidate, relative.", "share"),
        Measure("list_overlap", "Mean share of the ten best that champion and candidate have in common.", "share"),
        Measure("rank_biased_overlap", "Mean rank-biased overlap (p = 0.9) of the ten best of both.", "share"),
        Measure(
            "bundle_overlap",
            "Mean share of the ten best that the bundle of the candidate and the rankings that were measured have in "
            "common, over a sample of test users.",
            "share",
            needs_champion=False,
        ),
        Measure("size", "Bytes of the bundle of the candidate on disk.", "bytes", needs_champion=False),
        Measure("size_ratio", "Size of the candidate divided by that of the champion.", "ratio"),
        Measure(
            "latency",
            "Median milliseconds for the ten best of one history, on the machine of the run.",
            "ms",
            needs_champion=False,
        ),
        Measure(
            "latency_ratio",
            "Latency of the candidate divided by that of the champion, both measured in turns in one process.",
            "ratio",
        ),
    )
}


@dataclass(frozen=True)
class Limit:
    """How far a measure may go.

    Attributes:
        at_least: its smallest value, or ``None``.
        at_most: its largest, or ``None``; one of the two is given.
        level: of the one-sided test of a paired measure; ``None`` for the others.
        test: :data:`KEPT`: the bound holds only where the test shows, at this level, that the true value is above the
            limit (non-inferiority). :data:`BROKEN`: it is broken only where the test shows that it is below.
    """

    at_least: float | None = None
    at_most: float | None = None
    level: float | None = None
    test: str = KEPT

    @property
    def value(self) -> float:
        value = self.at_most if self.at_least is None else self.at_least
        assert value is not None
        return value


@dataclass(frozen=True)
class Bound:
    """One condition of a release, as ``data_contracts/release/`` states it.

    Attributes:
        id: its name, unique in its file.
        measure: a name of :data:`MEASURES`.
        limit: how far it may go.
        severity: :data:`BLOCKING` (the candidate is refused where it is broken) or :data:`WARNING` (it is shown).
        reason: why it matters, one sentence.
        remedy: what to do where it is broken, one sentence.
    """

    id: str
    measure: str
    limit: Limit
    severity: str
    reason: str
    remedy: str


@dataclass(frozen=True)
class Finding:
    """What was found of a bound.

    Attributes:
        bound: the condition.
        passed: whether it is kept.
        sentence: what was found, with figures.
        value: of the measure; ``None`` where it could not be measured.
        p_value: one-sided, of the test that the limit asks for; ``None`` without one.
        users: over how many test users; ``None`` where the measure is not of users.
        low: lower bound of the one-sided confidence interval of an absolute difference.
    """

    bound: Bound
    passed: bool
    sentence: str
    value: float | None = None
    p_value: float | None = None
    users: int | None = None
    low: float | None = None

    @property
    def blocks(self) -> bool:
        return not self.passed and self.bound.severity == BLOCKING


@dataclass(frozen=True)
class Released:
    """A bundle as a decision names it.

    Attributes:
        digest: :func:`digest_of` it.
        name: of the recommender.
        title: shown to readers.
        kind: one of :data:`ml.recommender.KINDS`.
        items: size of its catalogue.
        training_set: digest of the training set that it was fitted on.
        fitted_on: what its final fit read.
    """

    digest: str
    name: str
    title: str
    kind: str
    items: int
    training_set: str
    fitted_on: str


def digest_of(bundle: Bundle) -> str:
    """Name of the release that a bundle is: equal for bundles that answer alike, 32 hexadecimal digits."""
    known = [bundle.name, bundle.digests, bundle.exclude_seen, bundle.fitted_on]
    return hashlib.sha256(json.dumps(known, sort_keys=True).encode()).hexdigest()[:32]


def released(bundle: Bundle) -> Released:
    """A bundle as a decision names it."""
    return Released(
        digest=digest_of(bundle),
        name=bundle.name,
        title=bundle.title,
        kind=bundle.kind,
        items=bundle.items,
        training_set=str(bundle.digests.get("training_set", "")),
        fitted_on=bundle.fitted_on,
    )


@dataclass(frozen=True)
class Cases:
    """nDCG@10 of each test user, all in one order.

    Attributes:
        candidate: float64 ``[users]``.
        others: of what it is compared with, by name: ``champion`` (where there is one) and ``most_popular``.
        slices: the users of each slice, bool ``[users]``, by key of :data:`SLICES`.
    """

    candidate: np.ndarray
    others: Mapping[str, np.ndarray]
    slices: Mapping[str, np.ndarray] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, values in {**self.others, **self.slices}.items():
            if np.shape(values) != np.shape(self.candidate):
                raise ValueError(f"{name}: {np.shape(values)} for test users of {np.shape(self.candidate)}")

    def rows(self, name: str) -> np.ndarray:
        """Which users a slice holds, bool ``[users]``."""
        return np.ones(len(self.candidate), dtype=bool) if name == EVERYBODY else self.slices[name]


def p_above(test: MeanDifference, limit: float) -> float:
    """One-sided p-value of the hypothesis that a mean is at most ``limit``; small where it is shown to be above.

    With ``limit = -margin`` and a difference of two recommenders this is the test of non-inferiority (Schuirmann, "A
    comparison of the two one-sided tests procedure and the power approach", Journal of Pharmacokinetics and
    Biopharmaceutics 15, 1987). Without variance it is 0 or 1; nan where there are fewer than two users.
    """
    from scipy.special import stdtr

    if math.isnan(test.error):
        return float("nan")
    if test.error == 0:
        return float(not test.difference > limit)
    return float(stdtr(test.freedom, -(test.difference - limit) / test.error))


def lower_bound(test: MeanDifference, level: float) -> float:
    """The one-sided lower confidence bound of a mean: above ``limit`` exactly where ``p_above(test, limit)`` is below
    ``level``. nan where there are fewer than two users."""
    from scipy.special import stdtrit

    if test.error == 0:
        return test.difference
    return test.difference - float(stdtrit(test.freedom, 1 - level)) * test.error


def non_inferiority(candidate: np.ndarray, other: np.ndarray, limit: float, relative: bool = False) -> MeanDifference:
    """The mean that a test against ``limit`` is about, by user.

    A limit that is a share of the other's mean is linear in both means: ``mean(candidate) > (1 + limit) mean(other)``.
    So the test is of ``candidate - (1 + limit) other`` against 0, and the uncertainty of the other's mean is part of
    it (Fieller, "Some problems in interval estimation", Journal of the Royal Statistical Society B 16, 1954).

    Args:
        candidate: of each user, float64 ``[users]``.
        other: of the same users in the same order.
        limit: of the difference, or of the relative change.
        relative: whether the limit is a share of the other's mean.

    Returns:
        A mean difference to be tested against ``limit``, or against 0 where it is relative.
    """
    scaled = (1 + limit) * other if relative else other
    return paired_test(SeedValues.of_one_seed(candidate), SeedValues.of_one_seed(scaled))


def users_needed(test: MeanDifference, limit: float, level: float, users: int) -> int | None:
    """About how many test users would show what was found: the standard error shrinks with their square root.

    ``None`` where no number would, since what was found is not above the limit.
    """
    from scipy.special import ndtri

    distance = test.difference - limit
    if not distance > 0 or not test.error > 0:
        return None
    return math.ceil(users * (float(ndtri(1 - level)) * test.error / distance) ** 2)


def judge(
    bounds: Sequence[Bound], cases: Cases, figures: Mapping[str, float | None], has_champion: bool
) -> tuple[Finding, ...]:
    """Hold what was measured against the bounds, in their order.

    Args:
        bounds: of the contract that applies.
        cases: what the paired measures are computed from.
        figures: value of each other measure, by name; ``None`` or absent where it could not be measured.
        has_champion: whether there is a champion that the candidate is compared with; measures that need one are
            skipped where there is none.
    """
    findings = []
    for bound in bounds:
        measure = MEASURES[bound.measure]
        if measure.needs_champion and not has_champion:
            findings.append(Finding(bound, True, "There is no champion to compare with."))
        elif measure.is_tested:
            findings.append(_paired(bound, measure, cases))
        else:
            findings.append(_single(bound, measure, figures.get(measure.name)))
    return tuple(findings)


def _single(bound: Bound, measure: Measure, value: float | None) -> Finding:
    if value is None or math.isnan(value):
        return Finding(bound, True, "Not measured.")
    limit = bound.limit
    passed = (limit.at_least is None or value >= limit.at_least) and (limit.at_most is None or value <= limit.at_most)
    return Finding(bound, passed, f"{shown(measure, value)}; allowed is {limit_text(bound)}.", value=value)


def _paired(bound: Bound, measure: Measure, cases: Cases) -> Finding:
    limit, rows = bound.limit, cases.rows(measure.slice)
    # the contracts were checked
    assert limit.level is not None
    assert limit.at_least is not None
    candidate, other = cases.candidate[rows], cases.others[measure.compared][rows]
    users = len(candidate)
    allowed = f"allowed is {limit_text(bound)}"
    if users < 2:
        sentence = f"{users} test users are too few for a test; {allowed}."
        return Finding(bound, limit.test == BROKEN, sentence, users=users)
    test = non_inferiority(candidate, other, limit.at_least, measure.relative)
    against = 0.0 if measure.relative else limit.at_least
    value = _value(measure, candidate, other)
    above = p_above(test, against)
    p_value = above if limit.test == KEPT else 1 - above
    passed = p_value < limit.level if limit.test == KEPT else not p_value < limit.level
    low = None if measure.relative else lower_bound(test, limit.level)
    found = "not defined, since the other has a mean of 0" if value is None else shown(measure, value)
    sentence = f"{found} over {users:,} test users (one-sided {_p(p_value)}); {allowed}"
    if limit.test == KEPT and not passed:
        needed = users_needed(test, against, limit.level, users)
        sentence += (
            f". The test cannot show it with so few users: about {needed:,} would be needed for this value"
            if needed
            else ". The value itself is not above the limit"
        )
    return Finding(bound, passed, f"{sentence}.", value=value, p_value=p_value, users=users, low=low)


def _value(measure: Measure, candidate: np.ndarray, other: np.ndarray) -> float | None:
    difference = float(candidate.mean() - other.mean())
    if not measure.relative:
        return difference
    mean = float(other.mean())
    return difference / mean if mean else None


def _p(value: float) -> str:
    from ml.number_format import p_value

    return "p not a number" if math.isnan(value) else p_value(value)


def shown(measure: Measure, value: float) -> str:
    """A value of a measure as it is printed."""
    from ml import number_format as numbers

    if measure.unit == "ndcg":
        return numbers.signed_metric(value)
    if measure.unit == "bytes":
        return numbers.size(value)
    if measure.unit == "ms":
        return f"{value:.3g}{numbers.NO_BREAK}ms"
    if measure.unit == "ratio":
        return f"{value:.3g} times"
    is_change = "_change" in measure.name
    text = f"{100 * value:+.1f}" if is_change else f"{100 * value:.1f}"
    return text.replace("-", "−") + f"{numbers.NO_BREAK}%"


def limit_text(bound: Bound) -> str:
    """The limit of a bound in words."""
    limit = bound.limit
    word = "at most" if limit.at_least is None else "at least"
    text = f"{word} {shown(MEASURES[bound.measure], limit.value)}"
    if limit.level is None:
        return text
    how = "shown at the level" if limit.test == KEPT else "unless the contrary is shown at the level"
    return f"{text}, {how} {limit.level:g}"


@dataclass(frozen=True)
class Decision:
    """Whether a candidate replaces the champion, and why.

    Attributes:
        verdict: one of :data:`VERDICTS`.
        sentence: the decision in one sentence.
        candidate: what was to be released; ``None`` where nothing is.
        champion: what is in charge; ``None`` where there is nothing that can be loaded.
        notes: sentences on what decided beside the bounds: a damaged champion, a candidate that was rolled back.
        findings: of the bounds, in the order of the contract.
        metrics: of candidate, champion and ``most_popular`` on the same test users, by name and metric; also
            ``ndcg@10`` of each slice.
        users: test users; of each slice by its name.
        figures: all other measures, by name. Those of time are of the machine and of the moment.
    """

    verdict: str
    sentence: str
    candidate: Released | None = None
    champion: Released | None = None
    notes: tuple[str, ...] = ()
    findings: tuple[Finding, ...] = ()
    metrics: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    users: Mapping[str, int] = field(default_factory=dict)
    figures: Mapping[str, float | None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.verdict not in VERDICTS:
            raise ValueError(f"a verdict is one of {', '.join(VERDICTS)}, not {self.verdict!r}")

    def as_json(self) -> dict[str, Any]:
        return {"format": FORMAT, **asdict(self)}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """What :meth:`as_json` made.

        Raises:
            ValueError: it is of another format.
        """
        if values.get("format") != FORMAT:
            raise ValueError(f"a decision of the format {values.get('format')!r}, not {FORMAT!r}: decide again")
        known = {one.name: values[one.name] for one in fields(cls)}
        for name in ("candidate", "champion"):
            known[name] = Released(**known[name]) if known[name] else None
        known["notes"] = tuple(known["notes"])
        known["findings"] = tuple(_finding(entry) for entry in known["findings"])
        return cls(**known)

    def timeless(self) -> Self:
        """The same without measurements of time, which differ from run to run: a bound on time tells only whether it
        is kept."""
        timed = {name for name in MEASURES if name.startswith("latency")}
        figures = {name: value for name, value in self.figures.items() if not name.startswith("latency")}
        findings = tuple(
            _untimed(one) if one.bound.measure in timed and one.value is not None else one for one in self.findings
        )
        return replace(self, figures=figures, findings=findings)


def _untimed(finding: Finding) -> Finding:
    result = "Kept" if finding.passed else "Broken"
    return replace(finding, value=None, sentence=f"{result}; allowed is {limit_text(finding.bound)}.")


def _finding(values: Mapping[str, Any]) -> Finding:
    bound = {**values["bound"], "limit": Limit(**values["bound"]["limit"])}
    return Finding(**{**values, "bound": Bound(**bound)})


def decide(
    candidate: Released,
    champion: Released | None,
    findings: Sequence[Finding],
    refused_by_hand: str = "",
) -> tuple[str, str]:
    """Verdict and sentence of a decision on a candidate that is not the champion itself.

    Args:
        candidate: to be released.
        champion: in charge, if there is one.
        findings: of the bounds.
        refused_by_hand: why this candidate is not promoted whatever its figures are; empty where nothing says so.
    """
    broken = [finding for finding in findings if finding.blocks]
    against = f"{champion.title} stays the champion" if champion else "there is no champion"
    if refused_by_hand:
        return REFUSE, f"{candidate.title} is refused: {refused_by_hand}; {against}."
    if broken:
        names = ", ".join(finding.bound.id for finding in broken)
        return REFUSE, f"{candidate.title} is refused ({names}); {against}."
    warned = [finding.bound.id for finding in findings if not finding.passed]
    but = f", with warnings ({', '.join(warned)})" if warned else ""
    after = f", in place of {champion.title}" if champion else ", as the first champion"
    return PROMOTE, f"{candidate.title} is promoted{after}{but}."
