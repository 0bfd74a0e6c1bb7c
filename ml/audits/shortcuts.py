"""Whether a dataset can be solved by shortcuts, and whether it can tell recommenders apart at all.

"An Embarrassingly Simple Graph Heuristic Reveals Shortcut-Solvable Benchmarks for Sequential Recommendation" (arXiv
2605.07125) names three structures that make the next item easier than it should be: transitions of low branching,
transitions between items of like features, and little dependence on long histories. How each of them is measured here,
and where a concern begins, is chosen here.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ml.audits.audit import CANNOT_TELL, CONCERN, NO_CONCERN, NOTE, Audit
from ml.audits.history_dependence import Dependence, measure_dependence, sample_of
from ml.audits.leakage import GRAPHS
from ml.audits.transitions import (
    Branching,
    Smoothness,
    measure_branching,
    measure_smoothness,
)
from ml.data.training_set import TrainingSet
from ml.evaluation.power import Neighbours, Power, different_neighbours, smallest_difference
from ml.evaluation.significance import Compared, SeedValues, compare_with_reference
from ml.number_format import interval, percent, signed_metric
from ml.recommender import Recommender
from ml.registry import Registered
from ml.tables import Chart, Line, Table

REGISTERED = Registered(
    name="shortcuts",
    title="Shortcuts",
    description=(
        "How far the last items, the graph and the text go, and whether this dataset can tell models apart at all."
    ),
    source="arXiv 2605.07125, An Embarrassingly Simple Graph Heuristic Reveals Shortcut-Solvable Benchmarks",
    path="ml.audits.shortcuts:audit",
    needs=("with_vectors", "leading", "leaderboard", "values", "fit_on", "exclude_seen", "seed"),
    rank=10,
)

# a shortcut that gives this share of what the best trained model gives leaves the model little to show
ENOUGH = 0.95
# where two recommenders must differ by more than this share of the best to differ significantly, the dataset is too
# coarse to rank models by
FINEST = 0.1
USERS = 5000


def audit(
    with_vectors: TrainingSet,
    leading: Mapping[str, Recommender],
    leaderboard: Sequence[Mapping[str, Any]],
    values: Mapping[str, SeedValues],
    fit_on: str,
    exclude_seen: bool,
    seed: int,
) -> Audit:
    """:func:`audit_shortcuts` on the graph that fitted recommenders know."""
    fitted_on = with_vectors.to_fit_on(fit_on)
    return audit_shortcuts(fitted_on, leading, leaderboard, values, exclude_seen=exclude_seen, seed=seed)


def audit_shortcuts(
    training_set: TrainingSet,
    recommenders: Mapping[str, Recommender],
    leaderboard: Sequence[Mapping[str, Any]],
    values: Mapping[str, SeedValues],
    *,
    exclude_seen: bool,
    graphs: Sequence[str] = GRAPHS,
    seed: int = 0,
    users: int = USERS,
) -> Audit:
    """Measure the three shortcut structures, what they are worth, and how fine the dataset can measure.

    A concern is any of: the best graph row has at least 95 % of the nDCG@10 of the best trained row, or does not differ
    significantly from it by the corrected test of the leaderboard; the best trained model keeps at least 95 % of its
    nDCG@10 with the last two items of each history alone; the smallest difference that these users can show between
    the two best rows is more than a tenth of the best. A model that is better with the last two items than with all of
    them is a note: its long histories hurt it, which is no property of the dataset.

    Args:
        training_set: with its item text where there is one.
        recommenders: fitted, by title: those whose dependence on long histories is measured.
        leaderboard: records with ``recommender``, ``title``, ``kind`` and ``ndcg@10``.
        values: nDCG@10 of every test user under each seed by name of recommender, users in one order.
        exclude_seen: whether rankings leave out the items of the (whole) history.
        graphs: names of recommenders that walk the training graph and train nothing.
        seed: of the sample of users and of the bootstrap.
        users: most test users that are ranked again with cut histories.

    Raises:
        ValueError: arrays of values differ in their number of users.
    """
    lengths = {name: one.users for name, one in values.items()}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"the values are of different numbers of users: {lengths}")
    sample = sample_of(training_set, users, seed)
    branching = measure_branching(training_set, sample)
    smoothness = measure_smoothness(training_set, sample, seed)
    dependence = [
        measure_dependence(title, recommender, training_set, sample, exclude_seen, seed)
        for title, recommender in recommenders.items()
        if len(sample)
    ]
    against = graph_against_trained(leaderboard, values, graphs)
    ranked = sorted(leaderboard, key=lambda record: -record["ndcg@10"])
    ordered = [record["recommender"] for record in ranked if record["recommender"] in values]
    power = (
        smallest_difference([values[name] for name in ordered[:2]])
        if len(ordered) > 1 and lengths[ordered[0]] > 1
        else None
    )
    neighbours = different_neighbours([values[name] for name in ordered])
    judged = _of_trained(dependence, leaderboard)
    shortcuts = _shortcuts(against, judged)
    hurt = _hurt_by_history(judged)
    is_known = against is not None or judged is not None or power is not None
    return Audit(
        name="shortcuts",
        title="Shortcuts",
        verdict=_verdict(shortcuts, hurt, against, judged, power, neighbours),
        outcome=(
            CANNOT_TELL if not is_known else CONCERN if shortcuts or _is_coarse(power) else NOTE if hurt else NO_CONCERN
        ),
        explanation=(
            "A dataset in which the last one or two items determine the next one says little about sequence models. "
            "The audit measures the three structures of arXiv 2605.07125: low branching, transitions between items "
            "with similar text, and little dependence on long histories. Concern: a graph has at least "
            f"{percent(ENOUGH)} of the nDCG@10 of the best trained model, or does not differ significantly from it "
            f"(test of the leaderboard, corrected by Holm); a trained model keeps {percent(ENOUGH)} of its nDCG@10 "
            "with only the last two items of each history; or the two best recommenders must differ by more than "
            f"{percent(FINEST)} of the best to differ significantly. Note: a model is better with the last two items "
            "than with the whole history."
        ),
        tables=(
            _branching_table(branching),
            _smoothness_table(smoothness),
            *(() if not dependence else (_dependence_table(dependence, len(sample), training_set),)),
            _against_table(against, leaderboard, graphs),
            _power_table(power, neighbours),
        ),
        charts=() if not dependence else (_dependence_chart(dependence),),
        facts={
            "median_successors": branching.median_successors,
            "targets_within_one_step": branching.one_step_share,
            "targets_within_two_steps": branching.two_step_share,
            "cosine_of_transitions": None if smoothness is None else smoothness.transitions,
            "cosine_of_random_pairs": None if smoothness is None else smoothness.random_pairs,
            "targets_in_ten_most_alike": None if smoothness is None else smoothness.in_ten_most_alike,
            "graph_over_trained": None if against is None else against.ratio,
            "kept_with_last_two_items": None if judged is None else judged.kept(2),
            "smallest_difference": None if power is None else power.difference,
            "smallest_difference_relative": None if power is None or math.isinf(power.relative) else power.relative,
            "neighbours_significantly_different": neighbours.different,
            "neighbours": neighbours.pairs,
        },
    )


@dataclass(frozen=True)
class Against:
    """The best graph row beside the best trained row.

    Attributes:
        graph: title of the first.
        trained: title of the second.
        graph_value: its nDCG@10.
        trained_value: of the second.
        compared: the second with the first as the reference, by the corrected test; ``None`` where values of users are
            not known.
    """

    graph: str
    trained: str
    graph_value: float
    trained_value: float
    compared: Compared | None

    @property
    def ratio(self) -> float | None:
        """What share of the second the first is; ``None`` where the second is 0."""
        return self.graph_value / self.trained_value if self.trained_value > 0 else None

    @property
    def is_different(self) -> bool:
        """Whether the two differ significantly, as far as is known."""
        return self.compared is None or self.compared.is_significant


def graph_against_trained(
    leaderboard: Sequence[Mapping[str, Any]], values: Mapping[str, SeedValues], graphs: Sequence[str]
) -> Against | None:
    """Compare the best of the graph rows with the best trained model; ``None`` where either is missing.

    Fusions and re-rankings are not trained models.

    The test is that of the leaderboard: all rows against the graph, corrected for their number. Where the graph is the
    best baseline, it has the figures of the leaderboard.
    """
    graph_rows = [record for record in leaderboard if record["recommender"] in graphs]
    trained_rows = [record for record in leaderboard if record["kind"] == "model"]
    if not graph_rows or not trained_rows:
        return None
    graph, trained = (max(rows, key=lambda record: record["ndcg@10"]) for rows in (graph_rows, trained_rows))
    compared = None
    if graph["recommender"] in values and trained["recommender"] in values:
        compared = compare_with_reference(values, graph["recommender"])[trained["recommender"]]
    return Against(graph["title"], trained["title"], graph["ndcg@10"], trained["ndcg@10"], compared)


def _of_trained(dependence: Sequence[Dependence], leaderboard: Sequence[Mapping[str, Any]]) -> Dependence | None:
    """That of the best trained model that was measured; ``None`` where none was."""
    trained = {record["title"]: record["ndcg@10"] for record in leaderboard if record["kind"] == "model"}
    measured = [one for one in dependence if one.title in trained]
    return max(measured, key=lambda one: trained[one.title]) if measured else None


def _shortcuts(against: Against | None, judged: Dependence | None) -> list[str]:
    """Which shortcuts go as far as the trained models, each with its figure."""
    found = []
    if against is not None and (against.ratio is None or against.ratio >= ENOUGH):
        has = "no less nDCG@10 than" if against.ratio is None else f"{percent(against.ratio)} of the nDCG@10 of"
        found.append(f"{against.graph}, a graph without training, has {has} the best trained model, {against.trained}")
    elif against is not None and against.ratio is not None and not against.is_different:
        found.append(
            f"the best trained model, {against.trained}, is not significantly better than {against.graph}, a graph "
            f"without training, which has {percent(against.ratio)} of its nDCG@10"
        )
    kept = None if judged is None else judged.kept(2)
    if judged is not None and kept is not None and kept >= ENOUGH and not _hurt_by_history(judged):
        share = "all" if kept >= 1 else percent(kept)
        found.append(f"{judged.title} keeps {share} of its nDCG@10 with the last two items of each history")
    return found


def _hurt_by_history(judged: Dependence | None) -> str:
    """That a model is better with the last two items than with all of a history, where its interval shows it."""
    kept = None if judged is None else judged.kept(2)
    if judged is None or kept is None or judged.differences[judged.cuts.index(2)].low <= 0:
        return ""
    return (
        f"{judged.title} is {percent(kept - 1)} better with the last two items of each history than with all of them: "
        "long histories hurt this model, which says nothing about the dataset"
    )


def _verdict(
    shortcuts: list[str],
    hurt: str,
    against: Against | None,
    judged: Dependence | None,
    power: Power | None,
    neighbours: Neighbours,
) -> str:
    if against is None and judged is None and power is None:
        return "Not known: there are neither a trained model and a graph nor two recommenders to compare."
    said = list(shortcuts)
    if not shortcuts:
        if against is not None and against.ratio is not None:
            said.append(
                f"the best trained model, {against.trained}, is ahead of the best graph, {against.graph}, which has "
                f"{percent(against.ratio)} of its nDCG@10"
            )
        kept = None if judged is None else judged.kept(2)
        if judged is not None and kept is not None and not hurt:
            said.append(f"the last two items alone give {percent(kept)} of the nDCG@10 of {judged.title}")
    # otherwise the table of the power has the same numbers
    if power is not None and not shortcuts:
        relative = "" if math.isinf(power.relative) else f" ({percent(power.relative)} of the best)"
        said.append(
            f"with {power.users:,} users, differences in nDCG@10 of at least {power.difference:.4f}{relative} can be "
            f"detected, and {neighbours.different:,} of {neighbours.pairs:,} pairs of neighbouring ranks differ "
            "significantly"
        )
    if hurt:
        said.append(hurt)
    if shortcuts:
        start = "This dataset says little about sequence models"
    elif _is_coarse(power):
        start = "This dataset is too small to compare models"
    else:
        start = "This dataset can show which models are better"
    return f"{start}: {'; '.join(said)}."


def _is_coarse(power: Power | None) -> bool:
    return power is not None and power.relative > FINEST


def _branching_table(branching: Branching) -> Table:
    rows = (
        ("Different successors per item with any, mean", f"{branching.mean_successors:.1f}"),
        ("Different successors per item with any, median", f"{branching.median_successors:.0f}"),
        ("Items without a successor", percent(branching.without_successor)),
        ("Targets one step from the last item", percent(branching.one_step_share)),
        ("Items one step from the last item, median", f"{branching.one_step_items:,.0f}"),
        ("Targets one or two steps from the last item", percent(branching.two_step_share)),
        ("Items one or two steps from the last item, median", f"{branching.two_step_items:,.0f}"),
        (
            "Items one or two steps away, share of the catalogue",
            percent(branching.two_step_items / max(1, branching.items)),
        ),
    )
    return Table(
        "Branching of the transitions",
        ("What", "Value"),
        rows,
        "Steps along the transitions of the training histories, starting at the last item of the histories of "
        f"{branching.cases:,} test users. If few items contain many of the targets, the task is easy.",
    )


def _smoothness_table(smoothness: Smoothness | None) -> Table:
    title, columns = "Text similarity along the transitions", ("What", "Value")
    if smoothness is None:
        return Table(title, columns, (("Text similarity", "not known"),), "The items have no text.")
    rows = (
        ("Cosine similarity of two consecutive items, mean", f"{smoothness.transitions:.3f}"),
        ("Cosine similarity of two random items, mean", f"{smoothness.random_pairs:.3f}"),
        ("Targets among the ten items most similar to the last one", percent(smoothness.in_ten_most_alike)),
        (
            "Share of the catalogue more similar to the last item than the target, median",
            percent(smoothness.median_place),
        ),
    )
    return Table(
        title,
        columns,
        rows,
        f"Vectors of {smoothness.encoder}; {smoothness.pairs:,} pairs, {smoothness.cases:,} test users. By chance, "
        "half of the catalogue is more similar to the last item than the target is.",
    )


def _dependence_table(dependence: Sequence[Dependence], users: int, training_set: TrainingSet) -> Table:
    rows = []
    for one in dependence:
        for cut, value, difference, longer in zip(one.cuts, one.values, one.differences, one.longer, strict=True):
            kept = one.kept(cut)
            rows.append(
                (
                    one.title,
                    f"last {cut}" if cut > 1 else "last one",
                    value.mean,
                    f"{signed_metric(difference.mean)} ({interval(difference.low, difference.high, signed=True)})",
                    "" if kept is None else percent(kept),
                    percent(longer),
                )
            )
        rows.append((one.title, "whole", one.whole.mean, "", "", ""))
    of = len(training_set.test_users)
    which = f"A seeded sample of {users:,} of {of:,} test users" if users < of else f"All {of:,} test users"
    return Table(
        "nDCG@10 with the history truncated to its last items",
        (
            "Recommender",
            "History",
            "nDCG@10",
            "Difference from whole (95 % interval)",
            "Share of whole",
            "Histories truncated",
        ),
        tuple(rows),
        f"{which}; nothing was fitted again. Models truncate longer histories to their maximum length anyway.",
    )


def _dependence_chart(dependence: Sequence[Dependence]) -> Chart:
    lines = []
    for one in dependence:
        values = (*one.values, one.whole)
        lines.append(
            Line(
                one.title,
                (*(str(cut) for cut in one.cuts), "whole"),
                tuple(value.mean for value in values),
                tuple(value.low for value in values),
                tuple(value.high for value in values),
            )
        )
    return Chart("nDCG@10 with the history truncated", "Last items of the history", "nDCG@10", tuple(lines))


def _against_table(against: Against | None, leaderboard: Sequence[Mapping[str, Any]], graphs: Sequence[str]) -> Table:
    rows = sorted(
        (record for record in leaderboard if record["recommender"] in graphs or record["kind"] == "model"),
        key=lambda record: -record["ndcg@10"],
    )
    note = "There are no trained model and graph to compare." if against is None else ""
    if against is not None and against.compared is not None:
        difference = against.compared.difference
        note = (
            f"{against.trained} minus {against.graph}: {signed_metric(difference.mean)}, interval "
            f"{interval(difference.low, difference.high, signed=True)}, paired by user and corrected for all "
            "rows of the leaderboard (Holm)."
        )
    if against is not None and (against.ratio is None or against.ratio > 1):
        note = f"{note} If a graph leads, the trained models may also be undertrained.".lstrip()
    return Table(
        "Graphs and trained models",
        ("Recommender", "Kind", "nDCG@10"),
        tuple(
            (record["title"], "graph, no training" if record["recommender"] in graphs else "trained", record["ndcg@10"])
            for record in rows
        ),
        note,
    )


def _power_table(power: Power | None, neighbours: Neighbours) -> Table:
    rows: list[tuple] = []
    note = "There are no two recommenders to compare."
    if power is not None:
        rows = [
            ("Test users", f"{power.users:,}"),
            ("Smallest detectable difference in nDCG@10", power.difference),
            (
                "Smallest detectable difference, share of the best",
                "" if math.isinf(power.relative) else percent(power.relative),
            ),
            ("Neighbouring ranks that differ significantly", f"{neighbours.different} of {neighbours.pairs}"),
        ]
        note = (
            "A difference is detectable if a paired test of the two best recommenders finds it with a power of 80 % "
            "(two-sided, level 5 %). Neighbours by rank are compared by paired tests with Holm's correction."
        )
    return Table("Power of comparisons on this dataset", ("What", "Value"), tuple(rows), note)
