"""The folder of a trained recommender: what is in which file, and the checks when it is read."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from ml.codes.codes import CODES_PER_BOOK, Codes, code_type
from ml.data.files import whole
from ml.recommender import Recommendations
from ml.training.item_features import load_features, save_features
from ml.training.log import FILE as LOG_FILE
from ml.training.log import EpochRecord, read_log, write_log
from ml.training.weights_digest import contiguous, weights_digest

FORMAT = "raw2rank-sequential-recommender-2"
# where a model keeps the codes that it is built on: quantised item vectors, and models that generate codes
_CODES_IN_WEIGHTS = ("input_embedding.codes", "codes")


@dataclass(frozen=True)
class Contents:
    """What a folder holds.

    Attributes:
        config: all that is no array, ``config.json``; its ``weights_digest`` is that of ``weights``.
        weights: of the model, ``model.safetensors``.
        counts: training interactions of each item, int64 ``[items]``, ``training_counts.npy``.
        log: one record an epoch, ``training_log.jsonl``; the only file that holds times, so that the others are equal
            byte for byte for equal input.
        features: what the model reads of the items' text or categories, ``item_features.safetensors``; empty for
            a model that reads nothing.
        validation_lists: of the validation users, ``validation_items.npy`` and ``validation_scores.npy``.
    """

    config: dict[str, Any]
    weights: dict[str, Tensor]
    counts: np.ndarray
    log: list[EpochRecord]
    features: dict[str, np.ndarray] = field(default_factory=dict)
    validation_lists: Recommendations | None = None

    @property
    def codes(self) -> Codes | None:
        """The codes that the model is built on, as its weights keep them."""
        for name in _CODES_IN_WEIGHTS:
            if name in self.weights:
                sizes = self.config["codes"].get("book_sizes", [CODES_PER_BOOK])
                return Codes(self.weights[name].numpy().astype(code_type(sizes)), self.config["codes"])
        return None


def write(contents: Contents, folder: Path) -> None:
    """Write all files into an existing folder."""
    from safetensors.torch import save_file

    save_file(contiguous(contents.weights), folder / "model.safetensors")
    np.save(folder / "training_counts.npy", contents.counts, allow_pickle=False)
    save_features(folder, contents.features)
    if contents.validation_lists is not None:
        np.save(folder / "validation_items.npy", contents.validation_lists.items, allow_pickle=False)
        np.save(folder / "validation_scores.npy", contents.validation_lists.scores, allow_pickle=False)
    config = {"format": FORMAT, **contents.config}
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    write_log(contents.log, folder / LOG_FILE)


def read(folder: Path) -> Contents:
    """Read what :func:`write` wrote.

    Raises:
        DamagedFile: the folder holds another format, weights that are not those described, or not all files.
    """
    from safetensors.torch import load_file

    with whole(folder):
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        if config["format"] != FORMAT:
            raise ValueError(f"it holds {config['format']}, this version reads {FORMAT}")
        weights = load_file(folder / "model.safetensors")
        if weights_digest(weights) != config["weights_digest"]:
            raise ValueError("model.safetensors does not hold the weights that config.json describes")
        features: dict[str, np.ndarray] = {}
        if "item_features_digest" in config:
            features = load_features(folder, config["item_features_digest"])
        lists = None
        if (folder / "validation_items.npy").exists():
            lists = Recommendations(
                *(np.load(folder / f"validation_{part}.npy", allow_pickle=False) for part in ("items", "scores"))
            )
        log = read_log(folder / LOG_FILE)
        if len(log) < config["best_epoch"]:
            raise ValueError(f"{LOG_FILE} ends before the best epoch")
        counts = np.load(folder / "training_counts.npy", allow_pickle=False)
        return Contents(config, weights, counts, log, features, lists)
