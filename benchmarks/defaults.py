"""What the default recipes make of datasets of different shapes, judged on items that are no test items.

    python -m benchmarks.defaults --data <folder> --out <file> [--sets ...] [--recipes ...] [--fix table.key=value ...]

Each fit adds a line of JSON to the file, and a fit that is there already is not made again.
"""

from __future__ import annotations

import argparse
import ast
import json
import resource
import time
from pathlib import Path
from typing import Any

from benchmarks.default_sets import DEFAULT_SETS, load
from ml.baselines import BASELINES
from ml.codes import ASSIGNMENTS
from ml.data.training_set import TrainingSet
from ml.evaluation.metrics import metric_values, user_metrics
from ml.evaluation.rankings import rank
from ml.training.execution import Execution
from ml.training.recipe import Recipe, load_recipes, recipe_from_tables
from ml.training.sequential_recommender import SequentialRecommender

_METRIC = "ndcg@10"
_DEPTH = 20


def main(arguments: list[str] | None = None) -> None:
    chosen = _parser().parse_args(arguments)
    for name in chosen.sets:
        training_set = load(name, chosen.data)
        for recommender in chosen.recipes:
            seeds = range(chosen.seeds) if recommender not in BASELINES else range(1)
            for seed in seeds:
                row = fit(training_set, name, recommender, seed, chosen.fix if recommender not in BASELINES else [])
                with chosen.out.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(row) + "\n")
                print(json.dumps({k: v for k, v in row.items() if k != "curve"}), flush=True)


def fit(training_set: TrainingSet, name: str, recommender: str, seed: int, fixed: list[str]) -> dict[str, Any]:
    began, cpu = time.perf_counter(), _cpu()
    exclude_seen = DEFAULT_SETS[name].exclude_seen
    row: dict[str, Any] = {"set": name, "recommender": recommender, "seed": seed, "fixed": fixed}
    if recommender in BASELINES:
        fitted = BASELINES[recommender].create(seed).fit(training_set)
    else:
        recipe = with_fixed({each.name: each for each in load_recipes()}[recommender], fixed)
        codes = ASSIGNMENTS[recipe.codes].assign(training_set, seed=0) if recipe.codes else None
        fitted = SequentialRecommender(
            recipe, seed, codes, execution=Execution(threads=1), validate_with_seen_excluded=exclude_seen
        ).fit(training_set)
        row["stopping"] = fitted.best_validation_ndcg_at_10
        row["best_epoch"], row["epochs"], row["steps"] = fitted.best_epoch, len(fitted.log), fitted.log[-1].step
        row["curve"] = [record.validation_ndcg_at_10 for record in fitted.log]
    row["seconds"], row["cpu_seconds"] = round(time.perf_counter() - began, 1), round(_cpu() - cpu, 1)
    rankings = rank(fitted, training_set, recommender, seed, _DEPTH, exclude_seen)
    row["judged"] = float(metric_values(user_metrics(rankings, training_set), _METRIC).mean())
    return row


def with_fixed(recipe: Recipe, fixed: list[str]) -> Recipe:
    """The recipe with values such as ``training.patience=6`` in place of its own."""
    tables = recipe.as_tables()
    for change in fixed:
        key, _, value = change.partition("=")
        table, _, name = key.partition(".")
        try:
            tables[table][name] = ast.literal_eval(value)
        except (ValueError, SyntaxError):
            tables[table][name] = value
    return recipe_from_tables(recipe.name, tables, "benchmarks.defaults")


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--sets", nargs="+", default=list(DEFAULT_SETS), choices=list(DEFAULT_SETS))
    parser.add_argument("--recipes", nargs="+", default=["sasrec_sampled_softmax", "gsasrec"])
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--fix", nargs="*", default=[])
    return parser


if __name__ == "__main__":
    main()
