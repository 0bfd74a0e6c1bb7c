"""What a release must keep to: measures, and the bounds on them that ``data_contracts/release/`` states.

Here is what a bound can be about and how values and limits are printed. Whether a bound is kept is found in
:mod:`ml.release.gate.findings`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

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
