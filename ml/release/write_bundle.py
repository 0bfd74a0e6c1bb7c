"""Writing a bundle: a fitted recommender with its parts, its catalogue and its item graph, as one folder.

:mod:`ml.release.bundle` opens it and answers from it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ml.alignment.summary import chosen_folder
from ml.data.files import read_json
from ml.data.training_set import FIT_ON_TRAIN, TrainingSet
from ml.models.settings import knows_users, reads_times
from ml.recommender import ALIGNMENT, MODEL
from ml.recommenders.prompted_reranking import PROMPTED_FILE
from ml.release.contents import (
    CARD_FILE,
    CATALOGUE_FILE,
    FORMAT,
    GRAPH_FOLDER,
    RECOMMENDERS,
    BundleError,
    copy_recommender,
    digests_of_files,
    write_about,
    write_catalogue,
)
from ml.release.model_card import model_card
from ml.release.similar import write_item_graph
from ml.training.recipe import recipe_from_tables

if TYPE_CHECKING:
    from ml.recommenders.load import FolderOf
    from ml.recommenders.registry import Registry


def write_bundle(
    folder: Path,
    name: str,
    folder_of: FolderOf,
    registry: Registry,
    training_set: TrainingSet,
    titles: Mapping[str, str] | None,
    described: Mapping[str, Any],
) -> None:
    """Write a fitted recommender as a bundle. Equal input gives equal bytes.

    Args:
        folder: existing and empty (:func:`ml.data.versions.versioned_folder`).
        name: of the recommender.
        folder_of: the folder of a fitted recommender by its name; those of parts too.
        registry: the recommenders that names stand for.
        training_set: that it was fitted on: catalogue, protocol, and the graph of its training histories.
        titles: of items by their id; ``None`` where there are none.
        described: what else is to be known of it, as JSON. ``exclude_seen`` (``False`` by default) says whether lists
            leave the items of a history out, ``fitted_on`` what the final fit read (by default what the recommender
            itself says), ``metrics`` what was measured; these and all else stand in the model card.

    Raises:
        KeyError: there is no such recommender.
        BundleError: an item id is no text, the recommender is not in its folder, or it asks a language model.
    """
    counts = np.bincount(training_set.train.items, minlength=training_set.items)
    write_catalogue(folder, training_set.item_ids, titles or {}, counts)
    (folder / GRAPH_FOLDER).mkdir()
    write_item_graph(folder / GRAPH_FOLDER, training_set)
    parts = {part: _source(part, folder_of, registry) for part in (*registry.parts_of(name), name)}
    for part, (_, source) in parts.items():
        (folder / RECOMMENDERS / part).mkdir(parents=True)
        copy_recommender(source, folder / RECOMMENDERS / part, parts)
    files = digests_of_files(folder)
    models = [recipe for _, source in parts.values() if (recipe := _model_settings(source)) is not None]
    about = {
        "format": FORMAT,
        "name": name,
        "title": registry.title_of(name),
        "kind": registry.kind_of(name),
        "dataset": training_set.dataset,
        "items": training_set.items,
        "exclude_seen": bool(described.get("exclude_seen", False)),
        "reads_times": any(map(reads_times, models)),
        "knows_users": any(map(knows_users, models)),
        "fitted_on": str(described.get("fitted_on") or _fitted_on(folder_of(name))),
        "protocol": training_set.protocol,
        "digests": {
            "training_set": training_set.digest(),
            "catalogue": files[CATALOGUE_FILE],
            "recommender": _digest(files, f"{RECOMMENDERS}/"),
        },
        "described": dict(described),
        "recommenders": {part: {"kind": kind} for part, (kind, _) in parts.items()},
        "files": files,
    }
    write_about(folder, about)
    (folder / CARD_FILE).write_text(model_card(about), encoding="utf-8")


def _source(name: str, folder_of: FolderOf, registry: Registry) -> tuple[str, Path]:
    """How a recommender is loaded from a bundle, and the folder to copy: an alignment is the policy it chose."""
    kind, folder = registry.kind_of(name), folder_of(name).resolve()
    if not folder.is_dir():
        raise BundleError(f"{folder_of(name)} does not exist: fit {name} before it is released")
    if (folder / PROMPTED_FILE).exists():
        raise BundleError(
            f"{name} asks a language model that is in no bundle, and would send it the histories of those who are "
            "served: release what it re-ranks"
        )
    return (MODEL, chosen_folder(folder).resolve()) if kind == ALIGNMENT else (kind, folder)


def _model_settings(folder: Path) -> Any | None:
    """Settings of a trained model; ``None`` for any other recommender."""
    if not (folder / "model.safetensors").exists():
        return None
    config = read_json(folder, "config.json")
    return recipe_from_tables(config["recipe_name"], config["recipe"], str(folder / "config.json")).model


def _fitted_on(folder: Path) -> str:
    for name in ("fit.json", "config.json", "query_generation.json", "fusion.json", "reranking.json"):
        if (folder / name).exists() and "fit_on" in (known := read_json(folder, name)):
            return known["fit_on"]
    return FIT_ON_TRAIN


def _digest(files: Mapping[str, str], beginning: str) -> str:
    chosen = {name: digest for name, digest in files.items() if name.startswith(beginning)}
    return hashlib.sha256(json.dumps(chosen, sort_keys=True).encode()).hexdigest()
