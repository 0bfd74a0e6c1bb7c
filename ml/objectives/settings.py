"""What can be set about the objectives that ship, and how results describe them.

They stand apart from the losses for one reason: recipes are read wherever the graph of assets is loaded, and a loss
cannot be defined without torch, which takes seconds to import. Settings name the class of their loss under
``objective``. An objective of your own has its settings in its own file: see :mod:`ml.objectives.registry`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from ml.models.settings import generates


@dataclass(frozen=True)
class SoftmaxSettings:
    """Cross-entropy over the whole catalogue; nothing to set."""

    objective: ClassVar[str] = "ml.objectives.softmax:Softmax"

    def describe(self, items: int | None = None) -> str:
        return "softmax over the whole catalogue"


@dataclass(frozen=True)
class SampledSoftmaxSettings:
    """Cross-entropy over the target and sampled negatives.

    Attributes:
        negatives: how many negatives are drawn; 0 for ``in_batch``, which draws none.
        log_q_correction: subtract the logarithm of how often an item is expected among the negatives from its
            score, which makes the softmax's denominator an unbiased estimate of the full one (Bengio and Senecal,
            IEEE Transactions on Neural Networks 2008).
        distribution: ``uniform`` over the catalogue; ``popularity``, in proportion to an item's training
            interactions raised to ``popularity_power``; ``in_batch``, the targets of the batch (Yi et al.,
            RecSys 2019), which are corrected by their share of the training interactions.
        popularity_power: .75 is that of word2vec (Mikolov et al., NeurIPS 2013); read for ``popularity`` alone.
        negatives_drawn_for: ``batch``, one draw shared by all positions of a batch; ``position``, a draw for each.
            Uniform draws for the batch are without replacement, all others with replacement.
    """

    negatives: int
    log_q_correction: bool
    distribution: Literal["uniform", "popularity", "in_batch"] = "uniform"
    popularity_power: float = 0.75
    negatives_drawn_for: Literal["batch", "position"] = "batch"

    objective: ClassVar[str] = "ml.objectives.sampled_softmax:SampledSoftmax"
    weighs_targets: ClassVar[bool] = True
    reads_some_items: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.distribution == "in_batch":
            if self.negatives != 0:
                raise ValueError(f"negatives must be 0 where the targets of the batch are it, not {self.negatives}")
            if self.negatives_drawn_for != "batch":
                raise ValueError('negatives_drawn_for must be "batch" where the targets of the batch are the negatives')
        elif self.negatives < 1:
            raise ValueError(f"negatives must be at least 1, not {self.negatives}")
        if self.popularity_power < 0:
            raise ValueError(f"popularity_power must not be negative, not {self.popularity_power}")

    def describe(self, items: int | None = None) -> str:
        corrected = "logQ corrected" if self.log_q_correction else "without logQ correction"
        if self.distribution == "in_batch":
            return f"sampled softmax, targets of the batch as negatives, {corrected}"
        kind = "uniform" if self.distribution == "uniform" else f"popularity^{self.popularity_power:g}"
        return f"sampled softmax, {_drawn(self.negatives, kind, self.negatives_drawn_for, items)}, {corrected}"


@dataclass(frozen=True)
class BinaryCrossEntropySettings:
    """Binary cross-entropy with sampled negatives (Kang and McAuley, ICDM 2018, with one for each position).

    Attributes:
        negatives: uniformly drawn negatives a position.
        negatives_drawn_for: ``position``, as published, or ``batch``: see ``GeneralisedBinaryCrossEntropySettings``.
    """

    negatives: int = 1
    negatives_drawn_for: Literal["position", "batch"] = "position"

    objective: ClassVar[str] = "ml.objectives.binary_cross_entropy:BinaryCrossEntropy"
    weighs_targets: ClassVar[bool] = True
    reads_some_items: ClassVar[bool] = True
    calibration: ClassVar[float] = 0.0
    prior_offset: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if self.negatives < 1:
            raise ValueError(f"negatives must be at least 1, not {self.negatives}")

    def describe(self, items: int | None = None) -> str:
        return f"binary cross-entropy, {_drawn(self.negatives, 'uniform', self.negatives_drawn_for, items)}"


@dataclass(frozen=True)
class GeneralisedBinaryCrossEntropySettings:
    """gBCE (Petrov and Macdonald, RecSys 2023).

    Attributes:
        negatives: uniformly drawn negatives a position, ``k`` of the paper.
        calibration: ``t`` of the paper, from 0 (plain binary cross-entropy) to 1 (fully calibrated).
        negatives_drawn_for: ``position``, as published, or ``batch``: one draw shared by all positions of a
            batch. The expected gradient is the same, the draws of a batch are not independent, and a score is
            a plain matrix product, several times faster.
        prior_offset: let scores start from the log-odds of a target among its negatives, so that training does not
            have to learn them first: see :mod:`ml.objectives.binary_cross_entropy`. Not in the paper.
    """

    negatives: int
    calibration: float
    negatives_drawn_for: Literal["position", "batch"]
    prior_offset: bool = False

    objective: ClassVar[str] = "ml.objectives.binary_cross_entropy:BinaryCrossEntropy"
    weighs_targets: ClassVar[bool] = True
    reads_some_items: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.negatives < 1:
            raise ValueError(f"negatives must be at least 1, not {self.negatives}")
        if not 0 <= self.calibration <= 1:
            raise ValueError(f"calibration must be from 0 to 1, not {self.calibration}")

    def describe(self, items: int | None = None) -> str:
        drawn = _drawn(self.negatives, "uniform", self.negatives_drawn_for, items)
        offset = ", prior offset" if self.prior_offset else ""
        return f"gBCE, t = {self.calibration:g}, {drawn}{offset}"


@dataclass(frozen=True)
class BayesianPersonalisedRankingSettings:
    """BPR (Rendle et al., UAI 2009).

    Attributes:
        negatives: uniformly drawn negatives a position; the loss is the mean over them. The paper draws one.
    """

    negatives: int = 1

    objective: ClassVar[str] = "ml.objectives.bayesian_personalised_ranking:BayesianPersonalisedRanking"
    weighs_targets: ClassVar[bool] = True
    reads_some_items: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.negatives < 1:
            raise ValueError(f"negatives must be at least 1, not {self.negatives}")

    def describe(self, items: int | None = None) -> str:
        return f"BPR, {_drawn(self.negatives, 'uniform', 'position', items)}"


@dataclass(frozen=True)
class LambdaRankSettings:
    """LambdaRank (Burges, 2010) as Petrov and Macdonald (RecSys 2022) use it with recency sampling of sequences.

    Attributes:
        sigma: steepness of the pairwise logistic loss.
        ndcg_at: a pair counts where at least one of its items is ranked so high.
        truncate_at: so many highest scored items are compared with the targets, the rest get no gradient.
        normalised: divide a pair's weight by the distance of its scores, and a state's gradient by a function of its
            size, as LightGBM and the published code do.
    """

    sigma: float = 1.0
    ndcg_at: int = 50
    truncate_at: int = 4000
    normalised: bool = True

    objective: ClassVar[str] = "ml.objectives.lambdarank:LambdaRank"

    def __post_init__(self) -> None:
        if self.sigma <= 0:
            raise ValueError(f"sigma must be above 0, not {self.sigma}")
        if self.ndcg_at < 1:
            raise ValueError(f"ndcg_at must be at least 1, not {self.ndcg_at}")
        if self.truncate_at < self.ndcg_at:
            raise ValueError(f"truncate_at must be at least ndcg_at ({self.ndcg_at}), not {self.truncate_at}")

    def describe(self, items: int | None = None) -> str:
        normalised = "" if self.normalised else ", not normalised"
        return f"LambdaRank, nDCG@{self.ndcg_at}, top {self.truncate_at:,} items{normalised}"


@dataclass(frozen=True)
class CodeCrossEntropySettings:
    """Cross-entropy of the codes of the next item, level by level; for models that generate identifiers.

    Attributes:
        level_weights: weight of each level's loss, the first level first; empty for 1 each. APAO (arXiv 2603.02730)
            weighs early levels more, since a beam that loses the prefix cannot get it back.
        label_smoothing: share of the probability that is spread over all choices of a step.
        label_temperature: logits are divided by it before the softmax while training; above 1 the model is asked for
            larger differences (the ranking guided loss of LETTER, arXiv 2405.07314).
    """

    level_weights: tuple[float, ...] = ()
    label_smoothing: float = 0.0
    label_temperature: float = 1.0

    objective: ClassVar[str] = "ml.objectives.code_cross_entropy:CodeCrossEntropy"
    generates: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if any(weight < 0 for weight in self.level_weights):
            raise ValueError(f"level_weights must not be negative, not {list(self.level_weights)}")
        if not 0 <= self.label_smoothing < 1:
            raise ValueError(f"label_smoothing must be in [0, 1), not {self.label_smoothing}")
        if self.label_temperature <= 0:
            raise ValueError(f"label_temperature must be above 0, not {self.label_temperature}")

    def describe(self, items: int | None = None) -> str:
        said = "cross-entropy of codes"
        if self.level_weights:
            said += f", levels weighted {', '.join(f'{weight:g}' for weight in self.level_weights)}"
        if self.label_smoothing:
            said += f", label smoothing {self.label_smoothing:g}"
        if self.label_temperature != 1:
            said += f", temperature {self.label_temperature:g}"
        return said


def check_objective_of_model(objective: Any, model: Any) -> None:
    """Check that the model can be trained by the objective.

    Cross-entropy of codes goes with models that generate codes, all others go with models that score items.

    Raises:
        ValueError: it cannot.
    """
    of_model, of_objective = generates(model), bool(getattr(objective, "generates", False))
    if of_model and not of_objective:
        raise ValueError("this model generates identifiers code by code; its objective is code_cross_entropy")
    if of_objective and not of_model:
        raise ValueError("code_cross_entropy is a loss of codes, and this model scores items; choose another objective")


# a dataclass with `describe` and `objective`; that of an objective of your own stands in the objective's file
ObjectiveSettings = Any


def describe(settings: ObjectiveSettings, items: int | None = None) -> str:
    """The objective in words, for tables of results: a model's name says little without its loss.

    Args:
        settings: of the objective.
        items: size of the catalogue, where it is known: negatives are then described as they are drawn from it. A
            shared draw that asks for more than there are takes every item once.
    """
    return settings.describe(items)


def _drawn(negatives: int, kind: str, drawn_for: str, items: int | None) -> str:
    of_batch = drawn_for == "batch"
    if items is not None and negatives >= items and of_batch and kind == "uniform":
        return f"all {items:,} items as negatives shared by the batch"
    noun = "negative" if negatives == 1 else "negatives"
    said = f"{negatives:,} {kind} {noun} " + ("shared by the batch" if of_batch else "a position")
    if items is not None and negatives >= items:
        said += f", drawn with replacement from {items:,} items"
    return said


@dataclass(frozen=True)
class WeightingSettings:
    """Weights of targets in the loss (:mod:`ml.training.weighting`), after UniRec (Liu et al., CIKM 2024).

    Attributes:
        uniformity: exponent of how even the gaps between the times of a history are: above 0 for more weight on even
            histories, below 0 for more on uneven ones, 0 for none. Needs times.
        frequency: a target weighs in proportion to its training interactions raised to ``-frequency``: above 0 for more
            weight on rare items, 0 for none.
    """

    uniformity: float = 0.0
    frequency: float = 0.0

    def __post_init__(self) -> None:
        if not self.uniformity and not self.frequency:
            raise ValueError("uniformity and frequency are both 0, so nothing is weighted; remove the table")

    @property
    def reads_times(self) -> bool:
        """Whether weights follow from the times of histories."""
        return self.uniformity != 0


def check_weighting(weighting: WeightingSettings, task: Any, objective: Any, model: Any) -> None:
    """Check that the targets of a model can be weighted.

    Raises:
        ValueError: they cannot.
    """
    if generates(model) or not getattr(objective, "weighs_targets", False):
        raise ValueError(
            "this objective has one weight for all targets; the table weighting goes with sampled_softmax, "
            "binary_cross_entropy, generalised_binary_cross_entropy and bayesian_personalised_ranking"
        )
    if weighting.reads_times and (getattr(task, "uses_masks", False) or getattr(task, "shows_marks", False)):
        raise ValueError(
            "the weighting uniformity reads times, which the tasks cloze, masked_then_last and teacher_lists do not "
            "show; use next_item, every_prefix or recency_sampling"
        )
