"""A description of each recommender of a leaderboard and its hyperparameters."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ml.baselines.registry import BASELINES
from ml.beyond_accuracy.goals import GOALS
from ml.reports.content.evaluation import Described, LeaderboardRow
from ml.reranking.methods import METHODS

_ARCHITECTURES = {
    "sasrec": "A transformer that reads a history from left to right and predicts the next item at each position.",
    "bert4rec": "A transformer that reads a history in both directions and predicts masked items.",
    "gru4rec": "A recurrent network (GRU) that reads a history item by item and predicts the next one.",
    "caser": "Convolutions over the last items of a history, and a user vector.",
    "fpmc": "A factorised Markov chain of the last item, and a user vector.",
    "bsarec": "A transformer with a filter of low and high frequencies beside its attention, which predicts the next "
    "item.",
    "gptrec_codes": "GPT-2 on the codes of a history: it generates the codes of the next item one after the other, by "
    "beam search.",
    "item_codes, tree": "A transformer that reads a history from left to right, and goes down the prefix tree of the "
    "items’ codes: at each node it chooses among the codes that exist there. Every item is scored.",
    "item_codes, prefix": "A transformer that reads a history from left to right, and generates the codes of the next "
    "item one after the other, by beam search.",
    "item_codes, parallel": "A transformer that reads a history from left to right, and predicts all codes of the next "
    "item at once. Every item is scored.",
    "tiger": "An encoder reads the codes of a history, and a decoder generates those of the next item one after the "
    "other, by beam search.",
    "genrec": "As TIGER, with item vectors, and pre-trained by filling in masked items.",
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
    if row.reranked:
        return _reranked(row.title, _read(folder / "reranking.json"))
    config = _read(folder / "config.json")
    recipe = config.get("recipe", {})
    model = recipe.get("model", {})
    architecture = model.get("architecture", "")
    name = f"item_codes, {model.get('head')}" if architecture == "item_codes" else architecture
    text = _ARCHITECTURES.get(name, f"A model of the architecture {architecture}." if architecture else "")
    settings = {name: value for table in _TABLES for name, value in _settings(table, recipe.get(table, {}))}
    settings |= {name: str(config[name]) for name in ("seed", "threads", "fit_on", "best_epoch") if name in config}
    return Described(row.title, text + _on_codes(recipe), recipe.get("source", ""), settings)


def _reranked(title: str, reranking: Mapping[str, Any]) -> Described:
    """What is re-ranked, how, and for which goal."""
    method, goal = METHODS.get(reranking.get("method", "")), GOALS.get(reranking.get("goal", ""))
    names = ("of", "method", "goal", "tradeoff", "candidates", "seed")
    settings = {name: _in_words(reranking[name]) for name in names if name in reranking}
    if "validation ndcg@10" in reranking:
        settings["tradeoff"] += ", chosen on the validation users"
    if method is None or goal is None:
        return Described(title, "", "", settings)
    text = f"Re-ranks the lists of {reranking['of']}. {method.description} Goal: {goal.title.lower()}."
    return Described(title, text, method.source, settings)


def _in_words(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _on_codes(recipe: Mapping[str, Any]) -> str:
    """A sentence on what codes are for, where the text on the architecture does not say it."""
    return _CODES if recipe.get("codes") and "beam_width" not in recipe.get("model", {}) else ""


_TABLES = ("model", "task", "objective", "optimiser", "training")


def _settings(table: str, values: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name, value in values.items():
        label = table if name in ("architecture", "name") else f"{table}: {name.replace('_', ' ')}"
        yield label, ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _read(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
