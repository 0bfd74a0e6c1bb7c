"""The decision of the gate: whether a candidate replaces the champion, from what was found of the bounds.

Plain data, and its form as JSON. :mod:`ml.release.gate.run` makes a decision from two bundles.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any, Self

from ml.release.gate.bounds import MEASURES, Bound, Limit, limit_text
from ml.release.gate.findings import Finding

if TYPE_CHECKING:
    from ml.release.bundle import Bundle

FORMAT = "raw2rank-release-decision-1"
PROMOTE, REFUSE, UNCHANGED, NO_RELEASE = "promote", "refuse", "unchanged", "no release"
VERDICTS = (PROMOTE, REFUSE, UNCHANGED, NO_RELEASE)


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
