"""A description of each recommender of a leaderboard and its hyperparameters."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ml.baselines.registry import BASELINES
from ml.reports.content.evaluation import Described, LeaderboardRow

_ARCHITECTURES = {
    "sasrec": "A transformer that reads a history from left to right and predicts the next item at each position.",
    "bert4rec": "A transformer that reads a history in both directions and predicts masked items.",
    "gru4rec": "A recurrent network (GRU) that reads a history item by item and predicts the next one.",
    "caser": "Convolutions over the last items of a history, and a user vector.",
    "fpmc": "A factorised Markov chain of the last item, and a user vector.",
    "matrix_factorisation": "A vector for each user and each item; the order of the history is ignored.",
}
_CODES = " Its item vectors are composed of shared codes, which saves memory."
_FUSION = (
    "Combines the lists of several recommenders: their scores are normalised and added, with weights chosen on the "
    "validation users."
)


def described(lake: Path, rows: tuple[LeaderboardRow, ...]) -> tuple[Described, ...]:
    """One entry for each row, in their order.

    Args:
        lake: the dataset's folder in the lake.
        rows: of the leaderboard.
    """
    return tuple(_described(lake, row) for row in rows)


def _described(lake: Path, row: LeaderboardRow) -> Described:
    if not row.trained:
        known = BASELINES.get(row.recommender)
        return Described(row.title, known.description, known.source) if known else Described(row.title, "", "")
    folder = lake / "models" / row.recommender
    if row.fused:
        fusion = _read(folder / "fusion.json")
        weights = fusion.get("weights", {})
        settings = {f"weight of {part}": f"{weight:g}" for part, weight in weights.items()}
        settings |= {name: str(fusion[name]) for name in ("normalisation", "depth", "seed") if name in fusion}
        return Described(row.title, _FUSION, "", settings)
    config = _read(folder / "config.json")
    recipe = config.get("recipe", {})
    architecture = recipe.get("model", {}).get("architecture", "")
    text = _ARCHITECTURES.get(architecture, f"A model of the architecture {architecture}." if architecture else "")
    settings = {name: value for table in _TABLES for name, value in _settings(table, recipe.get(table, {}))}
    settings |= {name: str(config[name]) for name in ("seed", "threads", "fit_on", "best_epoch") if name in config}
    return Described(row.title, text + (_CODES if recipe.get("codes") else ""), recipe.get("source", ""), settings)


_TABLES = ("model", "task", "objective", "optimiser", "training")


def _settings(table: str, values: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name, value in values.items():
        label = table if name in ("architecture", "name") else f"{table}: {name.replace('_', ' ')}"
        yield label, ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _read(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
