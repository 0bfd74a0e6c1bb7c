"""The warm start of a dataset's models: what the setting says, and what there is to start from.

The champion is read as a folder, not as an asset: it is made of the models that are trained from it, and another
champion is no reason to train them again.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from orchestration.dataset_settings import read_settings
from orchestration.paths import DatasetPaths

if TYPE_CHECKING:
    import numpy as np

    from ml.data.training_set import TrainingSet
    from ml.training.warm_start import AnyStart


def start_of(paths: DatasetPaths, recipe: str, training_set: TrainingSet) -> AnyStart | None:
    """What a model is trained from, or why it starts from fresh weights; ``None`` where no warm start is asked for."""
    # written down by an earlier version, the settings do not have it
    if read_settings("fit", paths.dataset).get("warm_start", "off") == "off":
        return None
    from ml.release.warm_start import start_from

    return start_from(paths.champion, recipe, training_set, lambda: _text_vectors(paths, training_set))


def saved_start(paths: DatasetPaths, recipe: str, training_set: TrainingSet) -> Path | None:
    """The same as a folder, for a training in a process of its own; the training removes it with its checkpoints."""
    start = start_of(paths, recipe, training_set)
    if start is None:
        return None
    from ml.training.checkpoint import checkpoint_folder

    folder = checkpoint_folder(paths.asset("models", recipe)) / "start"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    start.save(folder)
    return folder


def _text_vectors(paths: DatasetPaths, training_set: TrainingSet) -> np.ndarray | None:
    """Vectors of the items' text, from the mart that the training set was made beside; no model waits for the asset of
    the vectors, which most of them do not read."""
    from ml.data.item_text import item_texts
    from ml.text.vectors import text_vectors, texts_known

    with_text = training_set.with_text(item_texts(paths.table("marts", "items"), training_set.item_ids))
    known = texts_known(with_text)
    if not known.any():
        return None
    vectors = text_vectors(with_text).copy()
    vectors[~known] = 0
    return vectors
