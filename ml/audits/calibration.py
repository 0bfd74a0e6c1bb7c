"""Whether the probabilities of a model are calibrated: predicted against observed, rank by rank.

Models trained with sampled negatives see a positive far more often than there is one, and so predict too high
probabilities (overconfidence: Petrov and Macdonald, "gSASRec: Reducing Overconfidence in Sequential Recommendation
Trained with Negative Sampling", RecSys 2023, which plots mean predicted probability beside precision). This is
harmless where items are only ranked, and harmful where a score is read as a probability or scores of models are mixed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ml.audits.audit import CANNOT_TELL, NO_CONCERN, NOT_APPLICABLE, NOTE, Audit
from ml.data.training_set import TrainingSet
from ml.models.settings import writes_lists
from ml.number_format import listed, percent
from ml.objectives.settings import (
    BinaryCrossEntropySettings,
    GeneralisedBinaryCrossEntropySettings,
    ObjectiveSettings,
    SampledSoftmaxSettings,
    SoftmaxSettings,
    describe,
)
from ml.registry import Registered
from ml.retrieval.top_k import tie_break_order, top_k
from ml.tables import Chart, Line, Table

REGISTERED = Registered(
    name="calibration",
    title="Calibration",
    description="The probabilities that trained models give to what they recommend, beside how often they are right.",
    source="Petrov and Macdonald, gSASRec, RecSys 2023",
    path="ml.audits.calibration:audit",
    needs=("trained", "sequences", "exclude_seen", "seed"),
    rank=60,
)

if TYPE_CHECKING:
    from ml.training.sequential_recommender import SequentialRecommender

# ratio of predicted to observed for the first item above which a score cannot be read as a probability
OVERCONFIDENT = 2.0
USERS = 10_000
DEPTH = 10
SIGMOID = "sigmoid"
SOFTMAX = "softmax"
_Z = 1.959963984540054


def audit(
    trained: Mapping[str, tuple[SequentialRecommender, ObjectiveSettings]],
    sequences: TrainingSet,
    exclude_seen: bool,
    seed: int,
) -> Audit:
    """:func:`audit_calibration` of what the asset of the audit is given."""
    return audit_calibration(trained, sequences, exclude_seen=exclude_seen, seed=seed)


def audit_calibration(
    models: Mapping[str, tuple[SequentialRecommender, ObjectiveSettings]],
    training_set: TrainingSet,
    *,
    exclude_seen: bool,
    seed: int = 0,
    users: int = USERS,
) -> Audit:
    """Compare what models predict for the items they rank first to tenth with how often these are the target.

    A note is a model whose mean predicted probability of its first item is more than twice the share of users whose
    target that is, and above the 95 % interval of that share: no ranking depends on it, so it is no concern.

    Args:
        models: fitted, with the settings of their objectives, by title.
        training_set: whose test users are asked for.
        exclude_seen: whether the items of a history are left out of its ranking. Probabilities are over the whole
            catalogue all the same: what a model gives to seen items is lost.
        seed: of the sample of users.
        users: most test users that are scored.
    """
    filled = np.flatnonzero(training_set.histories("test").lengths > 0)
    rows = filled[np.sort(np.random.default_rng(seed).permutation(len(filled))[:users])]
    known, left_out = [], []
    for title, (recommender, objective) in models.items():
        kind, why_not = probability_of(objective)
        if writes_lists(recommender.recipe.model):
            kind, why_not = None, "it writes lists item by item, so an item's probability depends on those before it"
        if kind is None:
            left_out.append((title, describe(objective, training_set.items), why_not))
        else:
            found = measure_calibration(recommender, kind, training_set, rows, exclude_seen)
            known.append((title, objective, found))
    wrong = [(title, found) for title, _, found in known if found.is_overconfident]
    return Audit(
        name="calibration",
        title="Calibration",
        verdict=_verdict(known, wrong, bool(models)),
        outcome=_outcome(known, bool(models)),
        explanation=(
            "Negative sampling makes models predict probabilities that are too high (overconfidence: Petrov and "
            "Macdonald, gSASRec, RecSys 2023). This is harmless for a ranking, but not where scores are read as "
            "probabilities or combined with others. For each rank, the audit compares the mean predicted probability "
            "with the share of users whose target is at that rank. Note: the first item is predicted to be more than "
            f"{OVERCONFIDENT:g} times as likely as it is, beyond the 95 % interval; no ranking of this report depends "
            "on it."
        ),
        tables=_tables(known, left_out, len(rows), len(filled), training_set, exclude_seen),
        charts=(_chart(known),) if known else (),
        facts={
            "models": len(known),
            "overconfident": "; ".join(title for title, _ in wrong) or None,
            **{
                f"{title}: {name}": value
                for title, _, found in known
                for name, value in (
                    ("predicted at 1", float(found.predicted[0])),
                    ("observed at 1", float(found.observed[0])),
                    ("calibration error", found.error),
                )
            },
        },
    )


def probability_of(objective: ObjectiveSettings) -> tuple[str | None, str]:
    """Which function of the scores is a probability, ``sigmoid`` or ``softmax``; or ``None``, and why there is none."""
    match objective:
        case BinaryCrossEntropySettings() | GeneralisedBinaryCrossEntropySettings():
            return SIGMOID, ""
        case SoftmaxSettings():
            return SOFTMAX, ""
        case SampledSoftmaxSettings():
            # without the correction scores learn the ratio to the negatives' distribution, which is flat if uniform
            if objective.log_q_correction or objective.distribution == "uniform":
                return SOFTMAX, ""
            return None, "its scores are relative to the popularity by which negatives are drawn"
    return None, "its loss only compares scores, which are no probabilities"


@dataclass(frozen=True)
class Calibration:
    """Predicted and observed, by rank; all arrays ``[ranks]``.

    Attributes:
        kind: ``sigmoid`` or ``softmax``.
        users: how many were asked for.
        predicted: mean predicted probability of the item at each rank.
        observed: share of the users whose target it is.
        low: lower bound of the 95 % interval of ``observed`` (Wilson).
        high: upper bound.
    """

    kind: str
    users: int
    predicted: np.ndarray
    observed: np.ndarray
    low: np.ndarray
    high: np.ndarray

    @property
    def error(self) -> float:
        """Expected calibration error: mean over ranks of the distance between predicted and observed."""
        return float(np.abs(self.predicted - self.observed).mean())

    @property
    def ratio(self) -> float:
        """Predicted over observed for the first item; infinite where it never was the target."""
        return float(self.predicted[0] / self.observed[0]) if self.observed[0] > 0 else math.inf

    @property
    def is_overconfident(self) -> bool:
        return self.ratio > OVERCONFIDENT and bool(self.predicted[0] > self.high[0])


def measure_calibration(
    recommender: SequentialRecommender,
    kind: str,
    training_set: TrainingSet,
    rows: np.ndarray,
    exclude_seen: bool,
    depth: int = DEPTH,
) -> Calibration:
    """Score the whole catalogue for some test cases, and set the probability at each rank beside its precision.

    Args:
        recommender: fitted.
        kind: ``sigmoid`` or ``softmax`` over the whole catalogue.
        training_set: with the test cases.
        rows: test cases whose history holds an item.
        exclude_seen: leave the items of the history out of the ranking.
        depth: ranks to look at, fewer in a smaller catalogue.

    Raises:
        ValueError: there is no test case, or one without a history.
    """
    import torch

    from ml.objectives.binary_cross_entropy import score_offset
    from ml.tasks.build import build_task
    from ml.training.reproducible import reproducible
    from ml.training.scoring import hide_seen, scored_chunks

    histories = training_set.histories("test").take(rows)
    if len(rows) == 0 or histories.lengths.min() == 0:
        raise ValueError(
            f"calibration needs test users with a history: {training_set.dataset} has none, or one lacks it"
        )
    items = training_set.items
    model, task = recommender.model, build_task(recommender.recipe.task, items)
    targets = np.asarray(training_set.test_targets, dtype=np.int64)[rows]
    order, offset = tie_break_order(items), score_offset(recommender.recipe.objective, items)
    depth = min(depth, items)
    predicted, hits = np.zeros(depth), np.zeros(depth, dtype=np.int64)
    with reproducible(recommender.execution.threads, model.device), torch.inference_mode():
        for chunk, scores in scored_chunks(model, task, histories, torch.zeros(items)):
            # before anything is left out: the softmax is over the whole catalogue
            normaliser = torch.logsumexp(scores, dim=1).cpu().numpy() if kind == SOFTMAX else None
            if exclude_seen:
                hide_seen(scores, histories.take(chunk))
            ranked = top_k(scores.cpu().numpy(), depth, order)
            best = ranked.scores.astype(np.float64)
            exponent = -np.logaddexp(0, -best - offset) if normaliser is None else best - normaliser[:, None]
            predicted += np.exp(exponent).sum(axis=0)
            hits += (ranked.items == targets[chunk][:, None]).sum(axis=0)
    low, high = wilson_interval(hits, len(rows))
    return Calibration(kind, len(rows), predicted / len(rows), hits / len(rows), low, high)


def wilson_interval(hits: np.ndarray, cases: int) -> tuple[np.ndarray, np.ndarray]:
    """The 95 % interval of shares: its lower and upper bounds, same shape as ``hits``.

    Wilson, "Probable inference, the law of succession, and statistical inference", JASA 22 (1927).
    """
    share = hits / cases
    middle = share + _Z**2 / (2 * cases)
    width = _Z * np.sqrt(share * (1 - share) / cases + _Z**2 / (4 * cases**2))
    scale = 1 + _Z**2 / cases
    return np.maximum(0.0, (middle - width) / scale), (middle + width) / scale


def without_sampling(probability: float, objective: ObjectiveSettings, items: int) -> float | None:
    """What a sigmoid says once the sampling of negatives is undone; ``None`` for other objectives.

    With negatives at a rate of ``alpha`` and positives weighing ``beta``, the loss is least where
    ``sigmoid = beta p / (alpha - alpha p + beta p)`` of the true probability ``p`` (Petrov and Macdonald, RecSys 2023,
    section 4); this is that formula, solved for ``p``.
    """
    if not isinstance(objective, BinaryCrossEntropySettings | GeneralisedBinaryCrossEntropySettings):
        return None
    from ml.objectives.binary_cross_entropy import positive_weight

    negatives = min(objective.negatives, max(1, items - 1))
    rate = negatives / max(1, items - 1)
    weight = positive_weight(items, negatives, getattr(objective, "calibration", 0.0))
    return rate * probability / (weight * (1 - probability) + rate * probability)


def _outcome(known: list[tuple[str, ObjectiveSettings, Calibration]], asked: bool) -> str:
    if not known:
        return CANNOT_TELL if asked else NOT_APPLICABLE
    if any(found.is_overconfident for _, _, found in known):
        return NOTE
    return CANNOT_TELL if any(found.ratio > OVERCONFIDENT for _, _, found in known) else NO_CONCERN


def _verdict(
    known: list[tuple[str, ObjectiveSettings, Calibration]], wrong: list[tuple[str, Calibration]], asked: bool
) -> str:
    if not known:
        return (
            "Not known: no trained model has a loss whose scores are probabilities."
            if asked
            else ("Not known: there is no trained model.")
        )
    if wrong:
        title, found = max(wrong, key=lambda one: one[1].ratio)
        others = f"; so {'is' if len(wrong) == 2 else 'are'} {len(wrong) - 1} of the others" if len(wrong) > 1 else ""
        return (
            f"Overconfident: {title} predicts {percent(found.predicted[0])} for its first item, which is correct for "
            f"{percent(found.observed[0])} of the users{others}."
        )
    said = [f"{title} {found.ratio:.2f}" for title, _, found in known if math.isfinite(found.ratio)]
    said += [f"not known for {title}, which had no hit" for title, _, found in known if not math.isfinite(found.ratio)]
    figures = f"the ratio of predicted to observed for the first item is {listed(said)}"
    doubtful = [title for title, _, found in known if found.ratio > OVERCONFIDENT]
    if doubtful:
        verb = "is" if len(doubtful) == 1 else "are"
        return f"Too few users to tell whether {listed(doubtful)} {verb} overconfident: {figures}."
    return f"No model is overconfident: {figures}."


def _tables(
    known: list[tuple[str, ObjectiveSettings, Calibration]],
    left_out: list[tuple[str, str, str]],
    users: int,
    asked: int,
    training_set: TrainingSet,
    exclude_seen: bool,
) -> tuple[Table, ...]:
    tables = []
    ranking = "excluded from the ranking, not from the softmax" if exclude_seen else "ranked like all others"
    which = "A seeded sample of" if users < asked else "All"
    note = (
        f"{which} {users:,} test users with a history. Sigmoid for binary losses, softmax over the whole catalogue for "
        f"softmax losses, corrected samples included; seen items are {ranking}. Error: mean over the ranks of the "
        "distance between predicted and observed. Sampling undone: the predicted probability, corrected for the number "
        "of negatives and the weight of a positive."
    )
    if known:
        rows = []
        for title, objective, found in known:
            undone = without_sampling(float(found.predicted[0]), objective, training_set.items)
            rows.append(
                (
                    title,
                    describe(objective, training_set.items),
                    found.kind,
                    float(found.predicted[0]),
                    float(found.observed[0]),
                    f"{found.low[0]:.4f} to {found.high[0]:.4f}",
                    f"{found.ratio:.2f}" if math.isfinite(found.ratio) else "no hit",
                    found.error,
                    undone,
                )
            )
        columns = (
            "Model",
            "Loss",
            "Probability",
            "Predicted at 1",
            "Observed at 1",
            "95 % interval",
            "Ratio",
            "Error",
            "Sampling undone",
        )
        tables.append(Table("Predicted probability against precision, first item", columns, tuple(rows), note))
        by_rank = []
        for rank in range(max(len(found.predicted) for _, _, found in known)):
            cells: list[float | int | None] = [rank + 1]
            for _, _, found in known:
                cells += [float(found.predicted[rank]), float(found.observed[rank])]
            by_rank.append(tuple(cells))
        headings = ["Rank"]
        for title, _, _ in known:
            headings += [f"{title}, predicted", f"{title}, observed"]
        tables.append(Table("The same at each rank", tuple(headings), tuple(by_rank)))
    if left_out:
        tables.append(Table("Models without a probability", ("Model", "Loss", "Why"), tuple(left_out)))
    return tuple(tables)


def _chart(known: list[tuple[str, ObjectiveSettings, Calibration]]) -> Chart:
    """On logarithmic axes: from the first rank to the tenth both fall by a factor of ten and more."""
    lines = []
    for title, _, found in known:
        shown = np.flatnonzero((found.observed > 0) & (found.predicted > 0))
        lines.append(
            Line(
                title,
                *(
                    tuple(float(value) for value in part[shown])
                    for part in (found.predicted, found.observed, found.low, found.high)
                ),
            )
        )
    return Chart(
        "Predicted probability against precision, ranks 1 to 10",
        "Mean predicted probability",
        "Share of users whose target is at that rank",
        tuple(lines),
        diagonal=True,
        logarithmic=True,
    )
