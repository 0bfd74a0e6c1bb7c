"""Whether the champion's weights are a start for today's training, and with what."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from ml.data.training_set import FIT_ON_TRAIN, TrainingSet
from ml.recommender import MODEL
from ml.release.bundle import BundleError, load
from ml.release.contents import RECOMMENDERS
from ml.release.gate.decision import digest_of
from ml.training.summary import fit_on_of_trained
from ml.training.warm_start import AnyStart, ColdStart, Start

# splits under which what was a training item yesterday is no target today, as long as the data grow
_GROWING_SPLITS = ("leave-one-out", "global-temporal")


def start_from(
    champion: Path, recipe: str, training_set: TrainingSet, text: Callable[[], np.ndarray | None]
) -> AnyStart:
    """What a model starts from: the part of the champion that was trained from the same recipe.

    The champion must have been trained on training items alone, under the same protocol. A model that had seen what
    today's validation and test users are asked for would look better than it is.

    Args:
        champion: folder of a bundle, or of none yet.
        recipe: name of the recipe of the model.
        training_set: that it is to be trained on.
        text: gives vectors of the text of its items, float32 ``[items, dimensions]``, rows of 0 for items without;
            ``None`` where there is no text. Called only where there are items that the champion does not know.
    """
    if not champion.is_dir():
        return ColdStart("there is no champion yet")
    try:
        bundle = load(champion)
    except BundleError as error:
        return ColdStart(f"the champion cannot be read: {error}")
    if bundle.about["recommenders"].get(recipe, {}).get("kind") != MODEL:
        return ColdStart(f"the champion ({bundle.title}) has no part of the recipe {recipe}")
    folder = bundle.folder / RECOMMENDERS / recipe
    for fitted_on in (bundle.fitted_on, fit_on_of_trained(folder)):
        if fitted_on != FIT_ON_TRAIN:
            return ColdStart(f"the champion was fitted on {fitted_on}, and has seen items that users are tested with")
    split = str(training_set.protocol.get("split", ""))
    if not split.startswith(_GROWING_SPLITS):
        return ColdStart(
            f"under the split {split or 'unknown'} the champion may have seen items that users are tested with"
        )
    if bundle.protocol != training_set.protocol:
        return ColdStart("the data of the champion were cleaned or split by other rules")
    is_new = ~np.isin(training_set.item_ids, bundle.item_ids)
    return Start(folder, digest_of(bundle), bundle.item_ids, text() if is_new.any() else None)
