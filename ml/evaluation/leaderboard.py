"""All recommenders side by side, under one protocol.

The leaderboard is a table that equal input makes equal, byte for byte: nothing in it depends on the clock.
Seconds, where known, are handed to the functions that print it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from ml.data.training_set import TrainingSet
from ml.evaluation.entry import Entry
from ml.evaluation.findings import BETTER, NOT_DIFFERENT, WORSE, Comparison
from ml.evaluation.intervals import Interval, bootstrap_interval
from ml.evaluation.leaderboard_columns import RowFacts, columns_of_depth, schema_of
from ml.evaluation.metrics import HEADLINE, mean_metrics, metrics_of_depth
from ml.evaluation.protocol_line import choices_as_metadata, protocol_of
from ml.evaluation.rankings import RankingError, facts
from ml.evaluation.significance import SeedValues, compare_all, compare_with_reference, mean_test
from ml.number_format import interval as interval_text
from ml.number_format import metric_value, p_value, signed_metric
from ml.recommender import BASELINE


def build_leaderboard(entries: Sequence[Entry], training_set: TrainingSet, seed: int = 0) -> pa.Table:
    """One row a recommender, best nDCG@10 first.

    The columns are those of :data:`ml.evaluation.leaderboard_columns.LEADERBOARD`: metrics are means over users and
    seeds; the interval of nDCG@10 is a bootstrap over users with one seed, and a t-interval over users and seeds with
    several; every other row is compared with the best training-free recommender, the reference, whose own row has no
    comparison; every pair of recommenders is tested in the same way, corrected by Holm over all pairs.
    :func:`ml.evaluation.protocol_line.protocol` reads the protocol kept with the table.

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

    columns = columns_of_depth(facts(ranked[0].user_metrics[0])["depth"])
    rows = []
    for position, entry in enumerate(ranked, start=1):
        name = entry.recommender
        row = RowFacts(
            entry=entry,
            position=position,
            means=means[name],
            interval=_interval(values[name], seed),
            users=values[name].users,
            catalogue=training_set.items,
            reference=reference.recommender if reference and name in comparisons else None,
            comparison=comparisons.get(name),
            beats=beats[name],
        )
        rows.append({column.name: column.value(row) for column in columns})
    choices = protocol_of(training_set, digest, ranked, len(comparisons), reference.title if reference else None)
    return pa.Table.from_pylist(rows, schema_of(columns).with_metadata(choices_as_metadata(choices)))


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


def _means(entry: Entry) -> dict[str, float]:
    """Mean of each metric over users and seeds."""
    by_seed = [mean_metrics(table) for table in sorted(entry.user_metrics, key=lambda table: facts(table)["seed"])]
    return {metric: sum(means[metric] for means in by_seed) / len(by_seed) for metric in by_seed[0]}


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
