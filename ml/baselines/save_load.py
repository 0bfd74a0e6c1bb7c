"""How a baseline is kept: ``recommender.json`` beside one ``.npy`` file an array."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from ml.data.files import whole

FORMAT = "raw2rank-baseline-1"
_DESCRIPTION = "recommender.json"


def save_state(folder: Path, recommender: str, settings: dict, arrays: dict[str, np.ndarray]) -> None:
    """Write settings and arrays into an existing folder."""
    description = {
        "format": FORMAT,
        "recommender": recommender,
        "settings": settings,
        "arrays": sorted(arrays),
    }
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array, allow_pickle=False)
    (folder / _DESCRIPTION).write_text(json.dumps(description, indent=2) + "\n")


def load_state(folder: Path, recommender: str) -> tuple[dict, dict[str, np.ndarray]]:
    """Read what :func:`save_state` wrote: settings and arrays.

    Raises:
        DamagedFile: the folder holds no saved baseline, not all of it, another recommender, or another version's.
    """
    with whole(folder):
        description = json.loads((folder / _DESCRIPTION).read_text())
        found = description["format"], description["recommender"]
        if found != (FORMAT, recommender):
            raise ValueError(
                f"{_DESCRIPTION} describes {found[1]!r} in format {found[0]!r}; expected {recommender!r} in {FORMAT!r}"
            )
        arrays = {name: np.load(folder / f"{name}.npy", allow_pickle=False) for name in description["arrays"]}
        return description["settings"], arrays
