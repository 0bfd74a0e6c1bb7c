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
    "nextitnet": "Dilated causal convolutions over a history.",
    "mamba": "A selective state space that reads a history item by item and predicts the next one.",
    "sasrec_reasoning": "A transformer that reads a history from left to right, and its own state again before it "
    "predicts the next item.",
    "sigma": "A selective state space that reads a history twice, once with its older part reversed, beside a "
    "recurrent network for the latest items.",
    "hstu": "Attention without a softmax, with a gate, that reads a history from left to right.",
    "fpmc": "A factorised Markov chain of the last item, and a user vector.",
    "bsarec": "A transformer with a filter of low and high frequencies beside its attention, which predicts the next "
    "item.",
    "gptrec, top_k": "GPT-2 on the items of a history: it predicts the next item, and its list is that of one step.",
    "gptrec, next_k": "GPT-2 on the items of a history: it writes its list item by item, and each choice depends on "
    "those before it.",
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
    if row.aligned:
        return _aligned(row.title, _read(folder / "alignment.json"))
    if row.of_language_model:
        prompted = _read(folder / "prompted_reranking.json")
        if prompted:
            return _prompted(row.title, prompted)
        return _query_generation(row.title, _read(folder / "query_generation.json"))
    config = _read(folder / "config.json")
    recipe = config.get("recipe", {})
    model = recipe.get("model", {})
    architecture = model.get("architecture", "")
    variants = {"item_codes": "head", "gptrec": "lists"}
    name = f"{architecture}, {model.get(variants[architecture])}" if architecture in variants else architecture
    text = _ARCHITECTURES.get(name, f"A model of the architecture {architecture}." if architecture else "")
    settings = {name: value for table in _TABLES for name, value in _settings(table, recipe.get(table, {}))}
    settings |= {name: str(config[name]) for name in ("seed", "threads", "fit_on", "best_epoch") if name in config}
    taught = config.get("teacher_lists") or {}
    settings |= {name: _in_words(value) for name, value in _of_teacher(taught, config)}
    return Described(row.title, text + _on_codes(recipe) + _on_teacher(taught), recipe.get("source", ""), settings)


def _on_teacher(taught: Mapping[str, Any]) -> str:
    """A sentence on the lists that a model was taught."""
    if not taught:
        return ""
    goal = GOALS.get(taught["goal"] or "")
    if goal is None:
        return f" It was taught the lists of {taught['teacher']}."
    between = f"{len(taught['tradeoffs'])} trade-offs between accuracy and {goal.title.lower()}"
    return f" It was taught the lists of {taught['teacher']} at {between}."


def _of_teacher(taught: Mapping[str, Any], config: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """What is known of a student's teacher, for the table of its settings."""
    if taught:
        yield "teacher", taught["teacher"]
        if taught["teacher_validation_ndcg_at_10"] is not None:
            quality = taught["teacher_validation_ndcg_at_10"]
            yield "validation nDCG@10 of the teacher", f"{quality:.4f}"
        if len(taught["tradeoffs"]) > 1:
            tradeoff = config.get("tradeoff")
            chosen = ", chosen on the validation users" if "validation" in taught else ""
            yield "tradeoff", f"{taught['tradeoffs'][0] if tradeoff is None else tradeoff:g}{chosen}"


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


def _query_generation(title: str, described: Mapping[str, Any]) -> Described:
    """What a language model that writes queries reads and writes, and how it was trained."""
    if not described:
        return Described(title, "", "")
    settings = {
        f"{table}: {name.replace('_', ' ')}": _in_words(value)
        for table, values in described["recipe"].items()
        for name, value in values.items()
    }
    settings |= {name.replace("_", " "): str(described[name]) for name in ("seed", "fit_on", "threads", "best_step")}
    text = (
        "A language model that reads the titles of a history and writes what the next item may be called, several "
        "times by beam search. BM25 looks for these queries in the catalogue."
    )
    return Described(title, text, described["source"], settings)


def _prompted(title: str, described: Mapping[str, Any]) -> Described:
    """What a language model was asked to re-rank, and how."""
    recipe = described["recipe"]
    names = ("of", "candidates", "history", "shuffles", "prompt", "users", "token_budget", "answer_tokens")
    settings = {"language model": described["model"]}
    settings |= {name.replace("_", " "): _in_words(recipe[name]) for name in names}
    settings |= {name.replace("_", " "): str(described[name]) for name in ("seed", "fit_on")}
    text = (
        f"A language model, {described['model']}, is shown the titles of a history and asked to rank the first "
        f"{recipe['candidates']} items of {recipe['of']}. It is trained on none of the data."
    )
    return Described(title, text, described["source"], settings)


def _aligned(title: str, alignment: Mapping[str, Any]) -> Described:
    """What was aligned, how, and with which goal."""
    recipe, goal = alignment.get("recipe", {}), alignment.get("goal", {})
    if not recipe or not goal:
        return Described(title, "", "")
    names = ("method", "steps", "batch_size", "kl", "entropy", "clip", "discount", "gae", "value", "cut")
    settings = {"student": recipe["student"], "goal": goal["name"]}
    weights = ", ".join(f"{policy['weight']:g}" for policy in alignment["policies"])
    chosen = "none: the student" if alignment["chosen"] is None else f"{alignment['chosen']:g}"
    settings |= {"weights": weights, "chosen weight": chosen, "seed": str(alignment["seed"])}
    settings |= {name.replace("_", " "): _in_words(recipe[name]) for name in names if name in recipe}
    method = {"ppo": "proximal policy optimisation", "reinforce": "REINFORCE with a self-critical baseline"}
    text = (
        f"{recipe['student']}, aligned by {method.get(recipe['method'], recipe['method'])}: sampled lists are rewarded "
        f"for accuracy and for a goal. Goal: {goal['title'].lower()}."
    )
    return Described(title, text, "arXiv 2403.04875", settings)


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
