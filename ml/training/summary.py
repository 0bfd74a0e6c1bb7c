"""Data version and displayed facts of a trained model, read from its folder.

Needs the standard library alone, because the process that starts a training reports them without importing torch.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from ml.data.files import read_json, sha256_of_file, whole
from ml.training.derived import read_described


def version_of_trained(folder: Path) -> str:
    """Digest of the weights, of what they were fitted on and of the lists of the validation users.

    All that is read below a model; not the log, which knows the time.
    """
    config = _config(folder)
    known = {
        "weights": config["weights_digest"],
        "fit_on": config["fit_on"],
        "validation_lists": {path.name: sha256_of_file(path) for path in sorted(folder.glob("validation_*.npy"))},
    }
    return hashlib.sha256(json.dumps(known, sort_keys=True).encode()).hexdigest()[:32]


def facts_of_trained(folder: Path) -> dict[str, Any]:
    """Metadata of a training run for the UI: texts, numbers and JSON."""
    config = _config(folder)
    run = read_json(folder, "training_run.json")
    result = run["result"]
    quality = result["best_validation_ndcg_at_10"]
    sizes = run["model"]
    return {
        "dagster/row_count": config["users"],
        "dagster/uri": str(folder),
        "best validation ndcg@10": "no validation users" if quality is None else quality,
        "best_epoch": result["best_epoch"],
        "epochs": result["epochs"],
        "fit_on": config["fit_on"],
        **_started_from(run),
        "parameters": result["parameters"],
        "bytes": result["size_in_bytes"],
        **_output_embedding(sizes),
        "seconds": result["seconds"],
        "sequences_per_second": result["sequences_per_second"],
        "share_of_padding": sizes["share_of_padding"],
        "seed": config["seed"],
        "device": run["machine"]["device"],
        "peak_memory_in_bytes": run["peak_memory_in_bytes"],
        "machine": run["machine"],
        "recipe": config["recipe"],
        "derived from the data": {each.key: each.shown for each in read_described(derived_of_trained(folder))},
    }


def _started_from(run: dict[str, Any]) -> dict[str, str]:
    """What a training started from, where a warm start was asked for."""
    if "started_from" not in run:
        return {}
    started = run["started_from"]
    return {"started from": started.get("source") or f"fresh weights, because {started['cold']}"}


def source_of_trained(folder: Path) -> str:
    """The release whose weights a model was trained from; empty for fresh weights."""
    return _config(folder).get("started_from", {}).get("source", "")


def _output_embedding(sizes: dict[str, Any]) -> dict[str, Any]:
    """Sizes of the embedding that items are scored with; none for a model that generates identifiers."""
    if "output_embedding_bytes" not in sizes:
        return {}
    stored = sizes["output_embedding_bytes"]
    return {
        "output embedding, bytes": stored,
        "output embedding, share of a dense one": stored / sizes["dense_output_embedding_bytes"],
    }


def fit_on_of_trained(folder: Path) -> str:
    """The data that the final fit read: ``train`` or ``train+validation``."""
    return _config(folder)["fit_on"]


def student_and_teacher(folder: Path) -> tuple[float | None, float | None]:
    """Validation nDCG@10 of a model that was taught the lists of a teacher, and that of its teacher; ``None`` without
    validation users.

    Raises:
        DamagedFile: it was taught none, or a file of its folder cannot be read.
    """
    with whole(folder):
        config = _config(folder)
        return config["best_validation_ndcg_at_10"], config["teacher_lists"]["teacher_validation_ndcg_at_10"]


def derived_of_trained(folder: Path) -> dict[str, dict[str, Any]]:
    """Values that the recipe left open, by key of the recipe: ``value`` and ``reason``."""
    return _config(folder).get("derived", {})


def pretrained_on_of_trained(folder: Path) -> str:
    """Names of the other datasets that a model was trained on first, joined by commas; empty for none."""
    begun = _config(folder).get("pretrained", {"sources": []})
    return ", ".join(source["dataset"] for source in begun["sources"])


def _config(folder: Path) -> dict[str, Any]:
    return read_json(folder, "config.json")
