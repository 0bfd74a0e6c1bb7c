"""Facts of a fitted recommender for the leaderboard: kind, fit, objective and sizes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from ml.alignment.summary import chosen_folder
from ml.data.files import read_json
from ml.models.settings import generates, writes_lists
from ml.objectives.settings import describe
from ml.recommender import ALIGNMENT, BASELINE, FUSION, LANGUAGE_MODEL, MODEL, RERANKING
from ml.recommenders.load import FolderOf
from ml.recommenders.registry import Registry
from ml.training.summary import derived_of_trained, fit_on_of_trained, pretrained_on_of_trained

# beside a baseline, a fusion and a re-ranking: what the final fit read
FIT = "fit.json"


def facts_of(name: str, folder_of: FolderOf, registry: Registry, items: int) -> dict[str, Any]:
    """Keyword arguments of :class:`ml.evaluation.entry.Entry`, as far as the recommender has them.

    Args:
        name: name of the recommender.
        folder_of: the folder of a recommender by its name.
        registry: the recommenders that names stand for.
        items: size of the catalogue.

    Raises:
        KeyError: there is no such recommender.
        DamagedFile: a file of its folder cannot be read.
    """
    kind = registry.kind_of(name)
    return {"kind": kind, **_FACTS[kind](name, folder_of, registry, items)}


def _baseline(name: str, folder_of: FolderOf, registry: Registry, items: int) -> dict[str, Any]:
    folder = folder_of(name)
    return {
        "fit_on": read_json(folder, FIT)["fit_on"],
        "model_bytes": sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()),
    }


def _model(name: str, folder_of: FolderOf, registry: Registry, items: int) -> dict[str, Any]:
    folder, recipe = folder_of(name), registry.recipes[name]
    run = read_json(folder, "training_run.json")
    result = run["result"]
    return {
        "fit_on": fit_on_of_trained(folder),
        "loss": describe(recipe.objective, items),
        "parameters": result["parameters"],
        "model_bytes": result["size_in_bytes"],
        "codes": recipe.codes or "",
        "beam": beam_width_of(recipe.model),
        "written": recipe.model.list_length if writes_lists(recipe.model) else None,
        **({"pretrained_on": pretrained_on_of_trained(folder)} if recipe.pretraining else {}),
        "started_from": run.get("started_from", {}).get("source", ""),
        **_length_of(folder, recipe.model),
    }


def beam_width_of(model: Any) -> int | None:
    """Beam width of the settings of a model that generates identifiers, 0 where it scores all items; ``None`` for
    other models."""
    return model.beam_width if generates(model) else None


def _fusion(name: str, folder_of: FolderOf, registry: Registry, items: int) -> dict[str, Any]:
    parts = [facts_of(part, folder_of, registry, items) for part in registry.fusions[name].parts]
    elsewhere = sorted({part["pretrained_on"] for part in parts if "pretrained_on" in part})
    longest = max(parts, key=lambda part: part.get("maximum_length") or 0)
    return {
        "fit_on": read_json(folder_of(name), FIT)["fit_on"],
        "parameters": sum(part.get("parameters", 0) for part in parts) or None,
        "model_bytes": sum(part["model_bytes"] for part in parts),
        "codes": ", ".join(sorted({part["codes"] for part in parts if part.get("codes")})),
        **({"pretrained_on": ", ".join(elsewhere)} if elsewhere else {}),
        "maximum_length": longest.get("maximum_length"),
        "derived_from": longest.get("derived_from", ""),
    }


def _reranking(name: str, folder_of: FolderOf, registry: Registry, items: int) -> dict[str, Any]:
    folder = folder_of(name)
    part = facts_of(registry.rerankings[name].of, folder_of, registry, items)
    kept = ("parameters", "codes", "pretrained_on", "maximum_length", "derived_from")
    return {
        "fit_on": read_json(folder, FIT)["fit_on"],
        "model_bytes": part["model_bytes"] + sum(path.stat().st_size for path in folder.glob("*.npy")),
        **{name: part[name] for name in kept if name in part},
    }


def _alignment(name: str, folder_of: FolderOf, registry: Registry, items: int) -> dict[str, Any]:
    recipe, folder = registry.alignments[name], chosen_folder(folder_of(name))
    student = facts_of(recipe.student, folder_of, registry, items)
    kept = ("parameters", "codes", "written", "maximum_length", "derived_from")
    return {
        "fit_on": fit_on_of_trained(folder),
        "model_bytes": (folder / "model.safetensors").stat().st_size,
        **{name: student[name] for name in kept if name in student},
    }


def _language_model(name: str, folder_of: FolderOf, registry: Registry, items: int) -> dict[str, Any]:
    folder = folder_of(name)
    reranked = registry.reranked_by(name)
    if reranked is not None:
        part = facts_of(reranked, folder_of, registry, items)
        kept = ("codes", "maximum_length", "derived_from")
        return {
            "fit_on": read_json(folder, "prompted_reranking.json")["fit_on"],
            # of what it re-ranks: the language model is another's
            "model_bytes": part["model_bytes"] + sum(path.stat().st_size for path in folder.glob("*.npy")),
            **{name: part[name] for name in kept if name in part},
        }
    described = read_json(folder, "query_generation.json")
    return {
        "fit_on": described["fit_on"],
        "loss": "next title",
        "parameters": described["parameters"],
        "model_bytes": sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()),
        "maximum_length": described["recipe"]["query"]["history"],
    }


def _length_of(folder: Path, model: Any) -> dict[str, Any]:
    """Maximum history length of a trained model, and the reason where it was derived from the data."""
    derived = derived_of_trained(folder).get("model.max_length")
    if derived is not None:
        return {"maximum_length": derived["value"], "derived_from": derived["reason"]}
    return {"maximum_length": getattr(model, "max_length", None)}


_FACTS: dict[str, Callable[[str, FolderOf, Registry, int], dict[str, Any]]] = {
    BASELINE: _baseline,
    MODEL: _model,
    FUSION: _fusion,
    RERANKING: _reranking,
    ALIGNMENT: _alignment,
    LANGUAGE_MODEL: _language_model,
}
