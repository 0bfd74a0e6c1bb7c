"""What a warm start saves, and what it costs: today's model from yesterday's weights beside one from fresh weights.

    python -m benchmarks.warm_start --marts FOLDER [--recipes NAME ...] [--seeds 1] [--variants NAME ...] [--json FILE]

``FOLDER`` holds ``interactions.parquet`` and ``items.parquet`` of a cleaned dataset, as in
``$RAW2RANK_HOME/lake/<dataset>/marts``. Yesterday are the first nine tenths of its interactions by time, today all of
them; of either day users and items with fewer than five interactions are left out, and each is split leave-one-out with
a sample of 512 validation users, as by default. Per recipe and seed a model is trained on yesterday, and on today from
fresh weights and from yesterday's, with the text of the items for new ones.

Reported are seconds and epochs until the best validation nDCG@10 of the cold run is reached (the seconds of an epoch
include its validation), those until training stops, and nDCG@10 of today's test users: of a warm run with the
difference to the cold one and its test, paired by user and over seeds (:mod:`ml.evaluation.significance`). Aim: no
worse, in at most half of the time. Runs take turns on one thread.

Variants of the warm run change the recipe: ``warm_up`` raises the learning rate over five epochs, ``half`` and
``tenth`` train at that share of it, ``short`` stops at half of the patience.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ml.data.training_set import TrainingSet
from ml.training.recipe import Recipe

CORE, VALIDATED = 5, 512
YESTERDAY = 0.9
COLD = "cold"


def _optimiser(recipe: Recipe, **changed: Any) -> Recipe:
    return replace(recipe, optimiser=replace(recipe.optimiser, **changed))


VARIANTS: dict[str, Callable[[Recipe, int], Recipe]] = {
    "warm": lambda recipe, steps: recipe,
    "warm_up": lambda recipe, steps: _optimiser(recipe, warm_up_steps=5 * steps),
    "half": lambda recipe, steps: _optimiser(recipe, learning_rate=recipe.optimiser.learning_rate / 2),
    "tenth": lambda recipe, steps: _optimiser(recipe, learning_rate=recipe.optimiser.learning_rate / 10),
    "short": lambda recipe, steps: replace(
        recipe,
        training=replace(
            recipe.training,
            patience=max(1, recipe.training.patience // 2),
            patience_steps=recipe.training.patience_steps // 2,
        ),
    ),
}


def days(marts: Path) -> tuple[TrainingSet, TrainingSet]:
    """The training sets of yesterday and today; today's with its item text."""
    import pyarrow.parquet as pq

    from ml.data.item_text import item_texts

    columns = ["user_id", "item_id", "timestamp", "position"]
    table = pq.read_table(marts / "interactions.parquet", columns=columns)
    found = {name: table[name].to_numpy(zero_copy_only=False) for name in columns}
    order = np.lexsort((found["position"], found["user_id"].astype(str), found["timestamp"]))
    rows = {name: values[order] for name, values in found.items()}
    first = {name: values[: int(YESTERDAY * len(values))] for name, values in rows.items()}
    today = _training_set("today", rows)
    return _training_set("yesterday", first), today.with_text(item_texts(marts / "items.parquet", today.item_ids))


def _training_set(name: str, rows: dict[str, np.ndarray]) -> TrainingSet:
    """Core and split of some interactions."""
    import hashlib

    from ml.data.build_training_set import SPLITS, divided

    users, items = rows["user_id"], rows["item_id"]
    kept = np.ones(len(users), dtype=bool)
    while True:
        counted = [np.unique(ids[kept], return_inverse=True, return_counts=True)[1:] for ids in (users, items)]
        enough = np.all([counts[places] >= CORE for places, counts in counted], axis=0)
        if enough.all():
            break
        kept[np.flatnonzero(kept)[~enough]] = False
    user_ids, user_index = np.unique(users[kept].astype(str), return_inverse=True)
    item_ids, item_index = np.unique(items[kept].astype(str), return_inverse=True)
    order = np.lexsort((rows["position"][kept], user_index))
    user_index, item_index = user_index[order], item_index[order]
    last = np.append(user_index[1:] != user_index[:-1], True)
    drawn = sorted(range(len(user_ids)), key=lambda user: hashlib.md5(f"0|{user_ids[user]}".encode()).hexdigest())
    is_validated = np.isin(user_index, drawn[:VALIDATED])
    second_last = np.append(last[1:], False) & ~last
    splits = np.full(len(user_index), SPLITS.index("train"))
    splits[second_last & is_validated] = SPLITS.index("validation")
    splits[last] = SPLITS.index("test")
    return TrainingSet(
        dataset=name,
        item_ids=np.char.encode(item_ids, "utf-8"),
        user_ids=np.char.encode(user_ids, "utf-8"),
        **divided(user_index, item_index, splits, len(user_ids)),
    )


def measure(recipe: Recipe, seed: int, yesterday: TrainingSet, today: TrainingSet, variants: list[str]) -> dict:
    """Log and test metrics of each run of one seed, by name of the run."""
    from ml.evaluation.metrics import user_metrics
    from ml.evaluation.rankings import rank
    from ml.text.vectors import text_vectors
    from ml.training.train import train
    from ml.training.warm_start import Start

    with tempfile.TemporaryDirectory(prefix="raw2rank-") as temporary:
        folder = Path(temporary)
        result = train(recipe, yesterday, folder / "yesterday", seed, progress=False)
        print(f"  yesterday: {result.epochs} epochs, {result.seconds:.0f} s", file=sys.stderr, flush=True)
        steps = -(-today.users // recipe.training.batch_size)
        found = {}
        for name in (COLD, *variants):
            start, chosen = None, recipe
            if name != COLD:
                chosen = VARIANTS[name](recipe, steps)
                text = text_vectors(today)
                start = Start(_of(chosen, folder / "yesterday", folder / name), "yesterday", yesterday.item_ids, text)
            found[name] = _run(chosen, today, seed, start)
            recommender = found[name].pop("recommender")
            ranked = rank(recommender, today, recipe.name, seed)
            found[name]["metrics"] = user_metrics(ranked, today)
            print(f"  {name}: {recommender.started_from or ''}", file=sys.stderr, flush=True)
    return found


def _run(recipe: Recipe, today: TrainingSet, seed: int, start: Any) -> dict[str, Any]:
    from ml.training.sequential_recommender import SequentialRecommender

    recommender = SequentialRecommender(recipe, seed, start=start).fit(today)
    return {"recommender": recommender, "log": [record.as_json() for record in recommender.log]}


def _of(recipe: Recipe, folder: Path, target: Path) -> Path:
    """A copy of a model that says it is of another recipe: of one with other step sizes."""
    shutil.copytree(folder, target)
    config = json.loads((target / "config.json").read_text()) | {"recipe_digest": recipe.digest()}
    (target / "config.json").write_text(json.dumps(config))
    return target


def reached(log: list[dict], quality: float) -> tuple[float, int] | None:
    """Seconds and epochs until a validation nDCG@10; ``None`` where it never was."""
    for record in log:
        if (record["validation_ndcg_at_10"] or 0) >= quality:
            return record["seconds"], record["epoch"]
    return None


def summary(runs: list[dict]) -> dict[str, dict[str, Any]]:
    """Figures of each run, over the seeds."""
    from ml.evaluation.metrics import seed_values
    from ml.evaluation.significance import paired_test

    best = [max(record["validation_ndcg_at_10"] or 0 for record in run[COLD]["log"]) for run in runs]
    cold = seed_values(tuple(run[COLD]["metrics"] for run in runs))
    figures = {}
    for name in runs[0]:
        logs = [run[name]["log"] for run in runs]
        values = seed_values(tuple(run[name]["metrics"] for run in runs))
        times = [reached(log, quality) for log, quality in zip(logs, best, strict=True)]
        known = [time for time in times if time is not None]
        in_all = len(known) == len(times)
        test = None if name == COLD else paired_test(values, cold)
        interval = None if test is None else test.interval()
        figures[name] = {
            "reached": len(known),
            "seconds": statistics.mean(seconds for seconds, _ in known) if in_all else None,
            "epochs": statistics.mean(epochs for _, epochs in known) if in_all else None,
            "seconds_in_all": statistics.mean(log[-1]["seconds"] for log in logs),
            "epochs_in_all": statistics.mean(len(log) for log in logs),
            "validation": statistics.mean(max(record["validation_ndcg_at_10"] or 0 for record in log) for log in logs),
            "test": float(values.mean_by_user.mean()),
            "difference": None if interval is None else interval.mean,
            "low": None if interval is None else interval.low,
            "high": None if interval is None else interval.high,
            "p": None if test is None else test.p_value,
        }
    return figures


def table(recipe: str, figures: dict[str, dict[str, Any]], seeds: int) -> str:
    """The figures as a Markdown table."""
    lines = [
        f"| {recipe} | Until cold's best validation: seconds | Epochs | Until it stops: seconds | Epochs | "
        "Validation nDCG@10 | Test nDCG@10 | Difference to cold, 95 % interval, p |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, row in figures.items():
        until = f"reached in {row['reached']} of {seeds}" if row["seconds"] is None else f"{row['seconds']:.1f}"
        epochs = "" if row["epochs"] is None else f"{row['epochs']:.1f}"
        difference = (
            ""
            if row["difference"] is None
            else f"{row['difference']:+.4f} ({row['low']:+.4f} to {row['high']:+.4f}), p = {row['p']:.3f}"
        )
        lines.append(
            f"| {name} | {until} | {epochs} | {row['seconds_in_all']:.1f} | {row['epochs_in_all']:.1f} | "
            f"{row['validation']:.4f} | {row['test']:.4f} | {difference} |"
        )
    return "\n".join(lines)


def main() -> None:
    from ml.training.recipe import load_recipe

    assert __doc__ is not None
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--marts", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--recipes", nargs="+", default=["sasrec_sampled_softmax"])
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=["warm"])
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args()
    yesterday, today = days(options.marts)
    print(
        f"yesterday {len(yesterday.train.items):,} training interactions, {yesterday.users:,} users, "
        f"{yesterday.items:,} items; today {len(today.train.items):,}, {today.users:,}, {today.items:,}"
    )
    known = {}
    for name in options.recipes:
        recipe = load_recipe(name)
        runs = []
        for seed in range(options.seeds):
            print(f"{name}, seed {seed}", file=sys.stderr, flush=True)
            runs.append(measure(recipe, seed, yesterday, today, options.variants))
        known[name] = summary(runs)
        print(f"\n{table(recipe.title, known[name], options.seeds)}", flush=True)
    if options.json:
        options.json.write_text(json.dumps(known, indent=2) + "\n")


if __name__ == "__main__":
    main()
