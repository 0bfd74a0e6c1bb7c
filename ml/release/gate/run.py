"""The gate at work: load both bundles, measure them on the same cases, hold them against the bounds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from ml.data.sequences import Sequences
from ml.data.training_set import TrainingSet
from ml.evaluation.metrics import user_metrics
from ml.release.bundle import Bundle, BundleError, load
from ml.release.gate import measures
from ml.release.gate.bounds import FIRST_RELEASE, NEXT_RELEASE, Bound
from ml.release.gate.cases import (
    BEST,
    OnNewCatalogue,
    best_lists,
    champion_rankings,
    measured_cases,
    metrics_of,
)
from ml.release.gate.decision import REFUSE, UNCHANGED, Decision, decide, digest_of, released
from ml.release.gate.findings import CANDIDATE, CHAMPION, MOST_POPULAR, judge
from ml.release.gate.history import Event, rolled_back

# folder in a bundle that was fitted on everything: the fit that was measured, as a bundle of its own
MEASURED = "measured"


@dataclass(frozen=True)
class Today:
    """What the recommenders of a run were measured on and with.

    Attributes:
        training_set: with times where the candidate or the champion reads them.
        rankings: of the candidate, for the test users.
        candidate: its user metrics.
        most_popular: user metrics of the most popular items.
        exclude_seen: whether items of the history are left out of lists.
        seed: of the run.
    """

    training_set: TrainingSet
    rankings: pa.Table
    candidate: pa.Table
    most_popular: pa.Table
    exclude_seen: bool
    seed: int


@dataclass(frozen=True)
class Champion:
    """What is in charge.

    Attributes:
        bundle: ``None`` where there is none that can be loaded.
        problem: why a bundle that is there cannot be loaded; else empty.
    """

    bundle: Bundle | None = None
    problem: str = ""


def open_champion(folder: Path) -> Champion:
    """The bundle in charge, with its recommender loaded; a damaged one counts as none, and says so.

    Raises:
        MissingExtra: it needs an extra that is not installed.
    """
    if not folder.exists():
        return Champion()
    try:
        bundle = load(folder)
        # what cannot recommend is not in charge of anything
        _measured_fit(bundle).recommender  # noqa: B018
    except BundleError as error:
        return Champion(problem=f"The champion cannot be loaded and counts as none: {error}.")
    return Champion(bundle)


def needs_times(candidate: Bundle, champion: Champion) -> bool:
    """Whether one of both reads when interactions took place."""
    return candidate.reads_times or (champion.bundle is not None and champion.bundle.reads_times)


def run_gate(
    candidate: Bundle,
    champion: Champion,
    today: Today,
    bounds: Mapping[str, Sequence[Bound]],
    history: Sequence[Event] = (),
) -> tuple[Decision, pa.Table | None]:
    """Decide on a candidate.

    Nothing is ranked where the candidate is the champion already, or was rolled back.

    Args:
        candidate: the bundle to be released.
        champion: of :func:`open_champion`.
        today: what the candidate was measured on.
        bounds: of the contracts, by ``first_release`` and ``next_release``.
        history: of the releases.

    Returns:
        The decision, and nDCG@10 of each test user under ``candidate``, ``champion`` and ``most_popular``, by ascending
        ``user_index``; ``None`` where nothing was ranked.
    """
    new, notes = released(candidate), [champion.problem] if champion.problem else []
    old = None if champion.bundle is None else released(champion.bundle)
    if old is not None and old.digest == new.digest:
        return Decision(UNCHANGED, f"{new.title} is the champion already; nothing has changed.", new, old), None
    if (taken_back := rolled_back(history, new.digest)) is not None:
        notes.append(
            f"This candidate was rolled back by {taken_back.who} at {taken_back.when} ({taken_back.why}). It is not "
            f"promoted again unless you do it by hand: promote --version {new.digest[:12]}."
        )
        verdict, sentence = decide(new, old, (), "it was rolled back")
        assert verdict == REFUSE
        return Decision(verdict, sentence, new, old, tuple(notes)), None

    translated = None if champion.bundle is None else OnNewCatalogue(_measured_fit(champion.bundle), today.training_set)
    tables = {CANDIDATE: today.candidate, MOST_POPULAR: today.most_popular}
    figures = _figures_of_candidate(candidate, today)
    if translated is not None:
        assert champion.bundle is not None
        lists = champion_rankings(translated, today.training_set, today.exclude_seen, today.seed)
        tables[CHAMPION] = user_metrics(lists, today.training_set)
        figures |= _figures_beside_champion(candidate, champion.bundle, lists, today, figures)
    else:
        figures |= _latencies({CANDIDATE: candidate}, today)
    cases = measured_cases(
        today.training_set,
        today.candidate,
        today.most_popular,
        tables.get(CHAMPION),
        None if translated is None else translated.knows,
    )
    contract = bounds[FIRST_RELEASE if translated is None else NEXT_RELEASE]
    findings = judge(contract, cases, figures, translated is not None)
    verdict, sentence = decide(new, old, findings)
    decision = Decision(
        verdict,
        sentence,
        new,
        old,
        tuple(notes),
        findings,
        metrics_of(cases, tables),
        {"": len(cases.candidate), **{name: int(rows.sum()) for name, rows in cases.slices.items()}},
        figures,
    )
    columns = {"user_index": np.asarray(today.training_set.test_users), CANDIDATE: cases.candidate, **cases.others}
    return decision, pa.table(columns)


def _measured_fit(bundle: Bundle) -> Bundle:
    """The fit that the gate compares: of a release that was fitted on everything the one that was measured, since the
    other has seen the targets."""
    folder = bundle.folder / MEASURED
    return load(folder) if folder.is_dir() else bundle


def _figures_of_candidate(candidate: Bundle, today: Today) -> dict[str, float | None]:
    training_set = today.training_set
    lists = best_lists(today.rankings, training_set)
    sample = _histories(training_set, np.arange(min(measures.TIMED, len(lists))))
    answered = _measured_fit(candidate).ranked(sample, BEST, today.exclude_seen)
    return {
        "coverage": measures.coverage(lists, training_set.items),
        "bundle_overlap": measures.list_overlap(lists[: len(sample)], answered.items),
        "size": float(measures.size_on_disk(candidate.folder, MEASURED)),
    }


def _figures_beside_champion(
    candidate: Bundle, champion: Bundle, rankings: pa.Table, today: Today, known: Mapping[str, float | None]
) -> dict[str, float | None]:
    training_set = today.training_set
    lists, others = best_lists(today.rankings, training_set), best_lists(rankings, training_set)
    found = _latencies({CANDIDATE: candidate, CHAMPION: champion}, today)
    covered = measures.coverage(others, training_set.items)
    size, coverage = known["size"], known["coverage"]
    assert size is not None
    assert coverage is not None
    return found | {
        "coverage_of_champion": covered,
        "coverage_change": coverage / covered - 1 if covered else None,
        "list_overlap": measures.list_overlap(lists, others),
        "rank_biased_overlap": measures.rank_biased_overlap(lists, others),
        "size_ratio": size / measures.size_on_disk(champion.folder, MEASURED),
    }


def _latencies(bundles: Mapping[str, Bundle], today: Today) -> dict[str, float | None]:
    """Median milliseconds of a list for one history, each bundle in turn, on its own catalogue."""
    cases = min(measures.TIMED, len(today.training_set.test_users))
    histories = {name: _translated(bundle, today.training_set, cases) for name, bundle in bundles.items()}

    def caller(name: str, bundle: Bundle):
        k = min(BEST, bundle.items)
        return lambda case: bundle.ranked(histories[name].take(np.array([case])), k, today.exclude_seen)

    timings = measures.time_in_turns({name: caller(name, bundle) for name, bundle in bundles.items()}, cases)
    latency = timings.median(CANDIDATE)
    if CHAMPION not in bundles:
        return {"latency": latency}
    before = timings.median(CHAMPION)
    return {"latency": latency, "latency_of_champion": before, "latency_ratio": latency / before}


def _histories(training_set: TrainingSet, rows: np.ndarray) -> Sequences:
    """Test histories of nobody that is known: a bundle knows no users."""
    known = training_set.histories("test").take(rows)
    return Sequences(known.items, known.offsets, times=known.times)


def _translated(bundle: Bundle, training_set: TrainingSet, cases: int) -> Sequences:
    return OnNewCatalogue(bundle, training_set).translated(_histories(training_set, np.arange(cases)))


def champion_digest(champion: Champion) -> str:
    """Digest of the release in charge; empty where there is none that can be loaded."""
    return "" if champion.bundle is None else digest_of(champion.bundle)
