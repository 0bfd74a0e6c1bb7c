"""Cross-entropy of the codes of the next item, summed over the levels of its identifier.

With the true codes before it given, this is the negative log-likelihood of the item, as in TIGER (Rajput et al.,
NeurIPS 2023). Only the models of :mod:`ml.models.generating_model` give the predictions that it reads.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from ml.models.generating_model import CodePredictions
from ml.objectives.settings import CodeCrossEntropySettings
from ml.registry import Registered

REGISTERED = Registered(
    name="code_cross_entropy",
    title="Cross-entropy of codes",
    description="Negative log-likelihood of the codes of the next item, one after the other.",
    source="Rajput et al., Recommender Systems with Generative Retrieval, NeurIPS 2023",
    path="ml.objectives.settings:CodeCrossEntropySettings",
    rank=80,
)


class CodeCrossEntropy:
    """Weighted sum over levels of the cross-entropy, mean over targets."""

    def __init__(self, settings: CodeCrossEntropySettings, counts: np.ndarray) -> None:
        self.settings = settings

    def __call__(self, predictions: Sequence[CodePredictions], targets: int) -> Tensor:
        """The loss.

        Args:
            predictions: of the codes of some targets, see :class:`ml.models.generating_model.CodePredictions`.
            targets: how many targets there are; those that are in no prediction of a level have the loss 0 there.

        Raises:
            ValueError: there are ``level_weights``, and fewer than levels.
        """
        weights = self.settings.level_weights
        levels = 1 + max(prediction.level for prediction in predictions)
        if weights and len(weights) < levels:
            raise ValueError(
                f"objective.level_weights has {len(weights)} weights, and identifiers have {levels} levels"
            )
        total = torch.zeros((), device=predictions[0].logits.device)
        for prediction in predictions:
            weight = prediction.weight * (weights[prediction.level] if weights else 1.0)
            total = total + weight * self._sum(prediction.logits, prediction.targets)
        return total / max(1, targets)

    def _sum(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Sum of the losses of rows; logits in float32, whatever they were computed in."""
        kind = torch.promote_types(logits.dtype, torch.float32)
        temperature = self.settings.label_temperature
        tempered = logits.to(kind) if temperature == 1 else logits.to(kind) / temperature
        scores = tempered.log_softmax(dim=-1)
        loss = -scores.gather(1, targets[:, None]).sum()
        smoothing = self.settings.label_smoothing
        if not smoothing:
            return loss
        exists = torch.isfinite(logits)
        spread = scores.masked_fill(~exists, 0.0).sum(dim=1) / exists.sum(dim=1)
        return (1 - smoothing) * loss - smoothing * spread.sum()
