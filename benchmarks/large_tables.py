"""What a training step costs as the catalogue grows.

    python benchmarks/large_tables.py [--items 10000 100000 1000000 5000000] [--recipe sasrec_sampled_softmax]

One epoch of a recipe on made-up histories of nine items, with every row of the table updated in each step
(``optimiser.rows = "all"``) and with those that a step reads (``"touched"``), taking turns; the weights are the same up
to rounding. *step* is the processor time from one step of the training loop to the next, the median over the epoch but
for its first steps, which import what they need. *rest* is what the fit takes beside its steps: initial weights, and at
the end of the epoch the rows that are behind and the copy of the weights.

Processes, cores, repeats, files and tables are as ``benchmarks/training.py`` says.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from training import Bench, Ratio, common_options, median_of, recipe_named, report, run_step

WAYS = ("all", "touched")
LENGTH = 9
FIRST = 5
STEP, REST = "step, ms", "rest, s"


def take_steps(items: int, rows: str, recipe: str, steps: int, seed: int, threads: int) -> dict:
    """One epoch of so many steps; runs in a process of its own."""
    from dataclasses import replace

    from ml.training import loop
    from ml.training.runtime import Execution
    from ml.training.sequential_recommender import SequentialRecommender

    chosen = recipe_named(recipe)
    once = replace(chosen.training, max_epochs=1, max_steps=0, patience=1, validate_every_steps=0, batch_items=0)
    chosen = replace(chosen, optimiser=replace(chosen.optimiser, rows=rows), training=once)
    training_set = made_up(items, steps * once.batch_size, seed)
    moments: list[float] = []
    set_learning_rate = loop.set_learning_rate

    def noted(*arguments) -> None:
        moments.append(time.process_time())
        set_learning_rate(*arguments)

    # what the loop calls once a step
    loop.set_learning_rate = noted
    began = time.process_time()
    recommender = SequentialRecommender(chosen, seed, execution=Execution(threads=threads)).fit(training_set)
    spent = time.process_time() - began
    took = [later - earlier for earlier, later in zip(moments[FIRST:], moments[FIRST + 1 :], strict=False)]
    return {
        STEP: 1e3 * statistics.median(took),
        REST: spent - (moments[-1] - moments[0]),
        "loss": recommender.log[0].loss,
    }


def made_up(items: int, users: int, seed: int):
    """Histories of unequally popular items, without validation users: half of all interactions are with an eighth of
    the catalogue."""
    import numpy as np

    from ml.data.training_set import Sequences, TrainingSet

    drawn = np.random.default_rng(seed).random((users, LENGTH)) ** 3
    none = np.empty(0, dtype=np.int32)
    return TrainingSet(
        dataset="benchmark",
        item_ids=np.array([f"{item:09d}".encode() for item in range(items)]),
        user_ids=np.array([f"{user:09d}".encode() for user in range(users)]),
        train=Sequences.from_lists(list((items * drawn).astype(np.int32))),
        validation_users=none,
        validation_targets=none,
        test_users=none,
        test_targets=none,
    )


def main() -> None:
    if sys.argv[1:2] == ["step"]:
        return run_step({take_steps.__name__: take_steps})
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, nargs="+", default=[10_000, 100_000, 1_000_000, 5_000_000])
    parser.add_argument("--recipe", default="sasrec_sampled_softmax", help="name of a recipe of this project")
    parser.add_argument("--steps", type=int, default=60, help="of the epoch")
    common_options(parser, repeats=3)
    given = parser.parse_args()
    bench = Bench(Path(__file__).resolve(), given.cores)
    settings = {"recipe": given.recipe, "steps": given.steps, "threads": given.cores}
    runs = [
        bench.measure(f"{items:,} items, {rows}", "take_steps", items=items, rows=rows, seed=seed, **settings)
        for items in sorted(given.items)
        for seed in range(given.repeats)
        for rows in WAYS
    ]
    ratios = []
    for items in sorted(given.items):
        whole, touched = (median_of(runs, f"{items:,} items, {rows}", STEP) for rows in WAYS)
        # from 50,000 rows on it is what a recipe does that leaves it open
        aim = ">= 1" if items >= 50_000 else ">= 0.5"
        ratios.append(Ratio(f"a step at {items:,} items, all / touched", whole / touched, aim))
    least, most = min(given.items), max(given.items)
    growth = median_of(runs, f"{most:,} items, touched", STEP) / median_of(runs, f"{least:,} items, touched", STEP)
    ratios.append(Ratio(f"a touched step, at {most:,} items / at {least:,}", growth, "<= 2"))
    report(f"A step of {given.recipe}, {given.cores} cores", runs, [STEP, REST, "loss"], ratios, given.json)


if __name__ == "__main__":
    main()
