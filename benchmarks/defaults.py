"""What the default recipes make of datasets of different shapes, judged on items that are no test items.

    .venv/bin/python -m benchmarks.defaults --data <folder> --out defaults.jsonl [--sets ...] [--seeds 2]

The folder holds the files that ``benchmarks/default_sets.py`` names, at any depth, or training sets that were saved.
Every fit adds a line of JSON to the file, a fit that is there already is not made again, and the tables of
``docs/defaults.md`` are printed from it at the end. ``--as before`` trains with the values that were the defaults until
version 0.1, and ``--fix training.patience=40`` with others of one's own.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import time
import tomllib
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from benchmarks.default_sets import DEFAULT_SETS, load
from ml.baselines.registry import BASELINES
from ml.codes.recipe import load_codes_recipes
from ml.data.training_set import TrainingSet
from ml.evaluation.metrics import metric_values, user_metrics
from ml.evaluation.rankings import rank
from ml.search.space import with_values
from ml.training.derived import described
from ml.training.recipe import Recipe, load_recipes
from ml.training.runtime import Execution
from ml.training.sequential_recommender import SequentialRecommender

_METRIC = "ndcg@10"
_DEPTH = 20
_BASELINES = ("most_popular", "markov_chain", "two_hop_graph", "two_hop_graph_decay")
_RECIPES = ("sasrec_sampled_softmax", "gsasrec", "gsasrec_recjpq")

# values that were the defaults before any of them followed the data
_NOTHING_DERIVED = {
    "model.max_length": 50,
    "training.batch_items": 0,
    "training.max_steps": 0,
    "training.patience_steps": 0,
    "training.validate_every_steps": 0,
}
BEFORE: dict[str, dict[str, Any]] = {
    "sasrec_sampled_softmax": {"training.max_epochs": 60, "training.patience": 6},
    "gsasrec": {
        "model.dropout": 0.3,
        "objective.negatives_drawn_for": "position",
        "objective.prior_offset": False,
        "optimiser.learning_rate": 2e-3,
        "training.max_epochs": 80,
        "training.patience": 20,
    },
    "gsasrec_recjpq": {
        "model.dropout": 0.3,
        "objective.prior_offset": False,
        "optimiser.learning_rate": 1e-3,
        "training.max_epochs": 100,
        "training.patience": 12,
    },
}


def main(arguments: list[str] | None = None) -> None:
    chosen = _parser().parse_args(arguments)
    known = _read(chosen.out)
    fixed = dict(_fixed(text) for text in chosen.fix)
    recipes = {recipe.name: recipe for recipe in load_recipes()}
    for name in chosen.sets:
        training_set = load(name, chosen.data)
        for recommender in (*_BASELINES, *chosen.recipes):
            for seed in range(1 if recommender in BASELINES else chosen.seeds):
                for state in ["baseline"] if recommender in BASELINES else chosen.states:
                    values = (BEFORE[recommender] | _NOTHING_DERIVED if state == "before" else {}) | fixed
                    recipe = None if recommender in BASELINES else with_values(recipes[recommender], values)
                    digest = "" if recipe is None else recipe.digest()
                    key = {"set": name, "recommender": recommender, "seed": seed, "state": state, "digest": digest}
                    if any(key.items() <= row.items() for row in known):
                        continue
                    row = key | {"fixed": fixed} | fit(training_set, name, recommender, recipe, seed)
                    known.append(row)
                    with chosen.out.open("a", encoding="utf-8") as file:
                        file.write(json.dumps(row) + "\n")
                    print({part: value for part, value in row.items() if part not in ("curve", "digest")}, flush=True)
    print(table(known))


def fit(training_set: TrainingSet, name: str, recommender: str, recipe: Recipe | None, seed: int) -> dict[str, Any]:
    """One recommender, fitted with one thread and judged."""
    exclude_seen = name in DEFAULT_SETS and DEFAULT_SETS[name].exclude_seen
    row: dict[str, Any] = {}
    began, cpu = time.perf_counter(), _cpu_seconds()
    if recipe is None:
        fitted = BASELINES[recommender].create(seed).fit(training_set)
    else:
        codes = load_codes_recipes()[recipe.codes].assign(training_set, seed) if recipe.codes else None
        fitted = SequentialRecommender(
            recipe, seed, codes, execution=Execution(threads=1), validate_with_seen_excluded=exclude_seen
        ).fit(training_set)
        row = {
            "stopping": fitted.best_validation_ndcg_at_10,
            "best_epoch": fitted.best_epoch,
            "epochs": len(fitted.log),
            "steps": fitted.log[-1].step,
            "derived": {part: value["value"] for part, value in described(fitted.derived).items()},
            "curve": [record.validation_ndcg_at_10 for record in fitted.log],
        }
    row |= {"seconds": time.perf_counter() - began, "cpu_seconds": _cpu_seconds() - cpu}
    rankings = rank(fitted, training_set, recommender, seed, _DEPTH, exclude_seen)
    return row | {"judged": float(metric_values(user_metrics(rankings, training_set), _METRIC).mean())}


def table(rows: Iterable[dict[str, Any]]) -> str:
    """The tables of ``docs/defaults.md``: means over seeds, and processor seconds."""
    cells: dict[tuple[str, str], dict[str, list[dict]]] = defaultdict(lambda: defaultdict(list))
    sets: dict[str, None] = {}
    for row in rows:
        if row.get("fixed"):
            continue
        cells[row["recommender"], row["state"]][row["set"]].append(row)
        sets[row["set"]] = None
    names = [name for name in DEFAULT_SETS if name in sets] + [name for name in sets if name not in DEFAULT_SETS]
    lines = ["| recommender | values | " + " | ".join(names) + " |", "|" + "---|" * (len(names) + 2)]
    for (recommender, state), by_set in cells.items():
        parts = []
        for name in names:
            values = [row["judged"] for row in by_set[name]]
            spread = f" ± {statistics.stdev(values):.4f}".replace("0.", ".") if len(values) > 1 else ""
            parts.append(f"{statistics.mean(values):.4f}".replace("0.", ".") + spread if values else "")
        lines.append(f"| {recommender} | {'' if state == 'baseline' else state} | " + " | ".join(parts) + " |")
    lines += ["", "Epochs that were run, the best one, steps, and processor seconds of one thread (seed 0):", ""]
    lines += ["| recommender | values | set | derived | epochs | best | steps | seconds |", "|" + "---|" * 8]
    for (recommender, state), by_set in cells.items():
        for name in names:
            for row in by_set[name][:1]:
                if "epochs" in row:
                    derived = ", ".join(f"{part.split('.')[1]} {value:,}" for part, value in row["derived"].items())
                    numbers = f"{row['epochs']} | {row['best_epoch']} | {row['steps']:,} | {row['cpu_seconds']:.0f}"
                    lines.append(f"| {recommender} | {state} | {name} | {derived or 'none'} | {numbers} |")
    return "\n".join(lines)


def _fixed(text: str) -> tuple[str, Any]:
    """``table.key=value``, the value as TOML has it."""
    key, _, value = text.partition("=")
    return key, tomllib.loads(f"value = {value}")["value"]


def _read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []


def _cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--data", type=Path, required=True, help="folder that holds the files, at any depth")
    add("--out", type=Path, required=True, help="file of JSON lines that fits are added to")
    add("--sets", nargs="+", default=list(DEFAULT_SETS), help=f"of {', '.join(DEFAULT_SETS)}, or saved training sets")
    add("--recipes", nargs="*", default=list(_RECIPES), choices=list(BEFORE), help="beside the baselines")
    add("--as", dest="states", nargs="+", default=["before", "now"], choices=["before", "now"])
    add("--seeds", type=int, default=1, help="how many, from 0")
    add("--fix", nargs="*", default=[], metavar="table.key=value", help="other values, as TOML has them")
    return parser


if __name__ == "__main__":
    main()
