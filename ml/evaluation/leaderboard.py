"""All recommenders side by side, under one protocol.

The leaderboard is a table that equal input makes equal, byte for byte: nothing in it depends on the clock.
Seconds, where known, are handed to the functions that print it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from ml.data.training_set import TrainingSet
from ml.evaluation.entry import BASELINE, Entry
from ml.evaluation.intervals import Interval, bootstrap_interval
from ml.evaluation.metrics import HEADLINE, mean_metrics, metrics_of_depth
from ml.evaluation.protocol_line import choices_as_metadata, protocol_of
from ml.evaluation.rankings import RankingError, facts
from ml.evaluation.significance import SeedValues, compare_all, compare_with_reference, mean_test
from ml.number_format import interval as interval_text
from ml.number_format import metric_value, p_value, signed_metric

BETTER, WORSE, NOT_DIFFERENT = "better", "worse", "not significantly different"


@dataclass(frozen=True)
class Comparison:
    """A recommender against a reference, over the same users.

    Attributes:
        difference: in nDCG@10, above zero where it is better, with an interval over users and seeds.
        confidence: of the interval, at least .95: corrected by Holm's method like the test, so that the interval
            leaves zero out exactly where the finding is ``better`` or ``worse``.
        p_value: of :func:`ml.evaluation.significance.paired_test`; nan where there are fewer than two users.
        p_value_adjusted: the same, corrected by Holm's method for all that were compared with the reference.
        finding: ``better``, ``worse`` or ``not significantly different``: whether the adjusted p-value is below .05.
        sentence: the finding with its figures.
    """

    difference: Interval
    confidence: float
    p_value: float
    p_value_adjusted: float
    finding: str
    sentence: str


def build_leaderboard(entries: Sequence[Entry], training_set: TrainingSet, seed: int = 0) -> pa.Table:
    """One row a recommender, best nDCG@10 first.

    Columns: ``position`` (1-based), ``recommender``, ``title``, ``kind``; the mean of each metric over users and
    seeds; ``ndcg@10_low`` and ``ndcg@10_high``, a 95 % interval: bootstrap over users with one seed, a t-interval
    over users and seeds with several; ``reference`` (the best training-free recommender, which all other rows are
    compared with), ``difference`` in nDCG@10, ``difference_low``, ``difference_high`` and ``difference_confidence``,
    ``p_value`` and ``p_value_adjusted``, ``finding`` and ``verdict`` (see :class:`Comparison`), all null in the row of
    the reference; ``beats``, the names of all recommenders, separated by commas, that it is better than (every pair
    tested in the same way, corrected by Holm's method over all pairs);
    ``users``, ``catalogue``, ``seed`` (the lowest), ``seeds`` (how many), ``seed_deviation`` (standard deviation of
    nDCG@10 over the seeds, null with one), ``cut_tied`` (share of users whose tenth item the tie rule chose, null
    where the rankings are too short to tell), ``fit_on``, ``loss``, ``parameters``, ``model_bytes``.
    :func:`protocol` reads the protocol kept with it.

    The reference is the best baseline on the same test users. Choosing it there makes it look better than it is, if
    anything, which works against the others; the protocol says so.

    Args:
        entries: in any order.
        training_set: that all were fitted on and ranked for.
        seed: of the intervals.

    Raises:
        RankingError: there is nothing to compare, or the entries do not share training set, users, depth or
            the treatment of seen items, or one stands twice, or their rankings are too short for nDCG@10.
    """
    digest = training_set.digest()
    _check(entries, training_set, digest)
    means = {entry.recommender: _means(entry) for entry in entries}
    ranked = sorted(entries, key=lambda one: (*(-means[one.recommender][key] for key in (HEADLINE, "recall@10")),
                                              one.recommender))  # fmt: skip
    values = {entry.recommender: entry.seed_values() for entry in ranked}
    reference = next((entry for entry in ranked if entry.kind == BASELINE), None)
    comparisons = _against(ranked, values, reference) if reference else {}
    beats = compare_all(values).beats

    table: list[dict] = []
    for position, entry in enumerate(ranked, start=1):
        name = entry.recommender
        interval = _interval(values[name], seed)
        row = {
            "position": position,
            "recommender": name,
            "title": entry.title,
            "kind": entry.kind,
            **means[name],
            f"{HEADLINE}_low": interval.low,
            f"{HEADLINE}_high": interval.high,
            "beats": ", ".join(beats[name]),
            "users": values[name].users,
            "catalogue": training_set.items,
            "seed": entry.seeds[0],
            "seeds": len(entry.seeds),
            "seed_deviation": _seed_deviation(entry),
            "cut_tied": _cut_tied(entry),
            "fit_on": entry.fit_on,
            "loss": entry.loss or None,
            "parameters": entry.parameters,
            "model_bytes": entry.model_bytes,
        }
        if reference is not None and name in comparisons:
            compared = comparisons[name]
            row |= {
                "reference": reference.recommender,
                "difference": compared.difference.mean,
                "difference_low": _known(compared.difference.low),
                "difference_high": _known(compared.difference.high),
                "difference_confidence": compared.confidence,
                "p_value": _known(compared.p_value),
                "p_value_adjusted": _known(compared.p_value_adjusted),
                "finding": compared.finding,
                "verdict": compared.sentence,
            }
        table.append(row)
    choices = protocol_of(training_set, digest, ranked, len(comparisons), reference.title if reference else None)
    depth = facts(ranked[0].user_metrics[0])["depth"]
    return pa.Table.from_pylist(table, _schema(depth).with_metadata(choices_as_metadata(choices)))


def no_better_than(entries: Sequence[Entry], name: str) -> dict[str, Comparison]:
    """Recommenders that are not found better than a given one, by name, each with its comparison.

    So recommenders are in it that are worse, and those that do not differ significantly; see :func:`compare_with`.

    Args:
        entries: in any order, ``name`` among them.
        name: a recommender, ``most_popular`` for the least that a model should beat.

    Raises:
        RankingError: no entry has that name, or the entries cannot be compared.
    """
    found = compare_with(entries, name)
    return {one: comparison for one, comparison in found.items() if comparison.finding != BETTER}


def compare_with(entries: Sequence[Entry], name: str) -> dict[str, Comparison]:
    """All recommenders against a given one, by name.

    The test is that of the leaderboard, with ``name`` as the reference: of nDCG@10, paired by user, over users and
    seeds, corrected for all that are compared.

    Args:
        entries: in any order, ``name`` among them.
        name: the recommender that the others are compared with.

    Raises:
        RankingError: no entry has that name, or the entries cannot be compared.
    """
    _check(entries)
    reference = next((entry for entry in entries if entry.recommender == name), None)
    if reference is None:
        known = ", ".join(sorted(entry.recommender for entry in entries))
        raise RankingError(f"there is no recommender {name} to compare with; there are {known}")
    ordered = sorted(entries, key=lambda entry: entry.recommender)
    return _against(ordered, {entry.recommender: entry.seed_values() for entry in ordered}, reference)


def _against(entries: Sequence[Entry], values: dict[str, SeedValues], reference: Entry) -> dict[str, Comparison]:
    """All others against one, by name, in the order of the entries."""
    tests = compare_with_reference({one.recommender: values[one.recommender] for one in entries}, reference.recommender)
    found = {}
    for name, test in tests.items():
        finding = NOT_DIFFERENT
        if test.is_significant:
            finding = BETTER if test.difference.mean > 0 else WORSE
        sentence = _sentence(finding, test.difference, test.p_value_adjusted, reference.title, len(tests))
        found[name] = Comparison(
            test.difference, test.confidence, test.p_value, test.p_value_adjusted, finding, sentence
        )
    return found


def _sentence(finding: str, difference: Interval, p: float, reference: str, compared: int) -> str:
    """The finding with its figures, as one sentence."""
    if np.isnan(p):
        return f"{finding} from {reference}: difference {signed_metric(difference.mean)}, too few users for a test"
    figures = f"interval {interval_text(difference.low, difference.high, signed=True)}, {p_value(p)}"
    if compared > 1:
        figures += f", both corrected for {compared} comparisons"
    if finding == NOT_DIFFERENT:
        return f"{finding} from {reference}: difference {signed_metric(difference.mean)}, {figures}"
    return f"{finding} than {reference} by {metric_value(abs(difference.mean))} ({figures})"


def _interval(values: SeedValues, seed: int) -> Interval:
    """The 95 % interval of a mean: over users by bootstrap with one seed, over users and seeds with several."""
    if len(values.seeds) == 1 or values.users < 2:
        return bootstrap_interval(values.mean_by_user, seed)
    return mean_test(values).interval()


def _known(value: float) -> float | None:
    return None if np.isnan(value) else value


def _means(entry: Entry) -> dict[str, float]:
    """Mean of each metric over users and seeds."""
    by_seed = [mean_metrics(table) for table in sorted(entry.user_metrics, key=lambda table: facts(table)["seed"])]
    return {metric: sum(means[metric] for means in by_seed) / len(by_seed) for metric in by_seed[0]}


def _seed_deviation(entry: Entry) -> float | None:
    means = [mean_metrics(table)[HEADLINE] for table in entry.user_metrics]
    return float(np.std(sorted(means), ddof=1)) if len(means) > 1 else None


def _cut_tied(entry: Entry) -> float | None:
    tied = [table["cut_is_tied"] for table in entry.user_metrics]
    if any(column.null_count for column in tied):
        return None
    return sum(int(np.count_nonzero(column.to_numpy())) for column in tied) / sum(len(column) for column in tied)


def _schema(depth: int) -> pa.Schema:
    def floats(*names: str) -> list[tuple[str, pa.DataType]]:
        return [(name, pa.float64()) for name in names]

    return pa.schema(
        [
            ("position", pa.int16()),
            *((name, pa.string()) for name in ("recommender", "title", "kind")),
            *floats(*metrics_of_depth(depth), f"{HEADLINE}_low", f"{HEADLINE}_high"),
            ("reference", pa.string()),
            *floats("difference", "difference_low", "difference_high", "difference_confidence"),
            *floats("p_value", "p_value_adjusted"),
            *((name, pa.string()) for name in ("finding", "verdict", "beats")),
            ("users", pa.int64()),
            ("catalogue", pa.int64()),
            ("seed", pa.int32()),
            ("seeds", pa.int16()),
            *floats("seed_deviation", "cut_tied"),
            ("fit_on", pa.string()),
            ("loss", pa.string()),
            ("parameters", pa.int64()),
            ("model_bytes", pa.int64()),
        ]
    )


def _check(entries: Sequence[Entry], training_set: TrainingSet | None = None, digest: str = "") -> None:
    """Whether the entries can be compared with one another, and were evaluated on the training set."""
    if not entries:
        raise RankingError("there is no recommender to make a leaderboard of")
    tables = [table for entry in entries for table in entry.user_metrics]
    known = [facts(table) for table in tables]
    for one in known:
        if training_set is not None and one["training_set"] != digest:
            raise RankingError(
                f"{one['recommender']} was evaluated on another training set ({one['dataset']}) than "
                f"{training_set.dataset}: rank it again"
            )
    for name in ("training_set", "depth", "exclude_seen"):
        if len({one[name] for one in known}) > 1:
            said = ", ".join(f"{one['recommender']} {one[name]}" for one in known)
            raise RankingError(f"recommenders can only be compared at one {name} ({said}): rank again")
    names = [entry.recommender for entry in entries]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise RankingError(f"{twice[0]} stands twice among the recommenders: its seeds belong into one entry")
    for table, one in zip(tables, known, strict=True):
        if not table["user_index"].equals(tables[0]["user_index"]):
            raise RankingError(f"{one['recommender']} was evaluated on other users than the rest: evaluate again")
    if HEADLINE not in metrics_of_depth(known[0]["depth"]):
        raise RankingError(f"rankings of depth {known[0]['depth']} are too short for {HEADLINE}: rank 10 or more")
