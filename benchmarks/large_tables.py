"""What a training step costs as the catalogue grows.

    python benchmarks/large_tables.py [--items 10000 100000 1000000 5000000] [--recipe sasrec_sampled_softmax]
    python benchmarks/large_tables.py --training-sets FOLDER... [--steps 100]

One epoch of a recipe on made-up histories of nine items, with every row of the table updated in each step
(``optimiser.rows = "all"``) and with those that a step reads (``"touched"``), taking turns; the weights are the same up
to rounding. *step* is the processor time from one step of the training loop to the next, the median over the epoch but
for its first steps, which import what they need. *rest* is what the fit takes beside its steps: initial weights, and at
the end of the epoch the rows that are behind and the copy of the weights.

With ``--training-sets`` the histories are those of some users of arrays that were made, over their whole catalogue.

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


def take_steps(catalogue: int | str, rows: str, recipe: str, steps: int, seed: int, threads: int) -> dict:
    """One epoch of so many steps, on so many items or on a training set; runs in a process of its own."""
    from dataclasses import replace

    from ml.training import loop
    from ml.training.runtime import Execution
    from ml.training.sequential_recommender import SequentialRecommender

    chosen = recipe_named(recipe)
    once = replace(chosen.training, max_epochs=1, max_steps=0, patience=1, validate_every_steps=0, batch_items=0)
    chosen = replace(chosen, optimiser=replace(chosen.optimiser, rows=rows), training=once)
    of_catalogue = made_up if isinstance(catalogue, int) else sampled
    training_set = of_catalogue(catalogue, steps * once.batch_size, seed)
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
        "items": training_set.items,
        "loss": recommender.log[0].loss,
    }


def made_up(items: int, users: int, seed: int):
    """Histories of unequally popular items, without validation users: half of all interactions are with an eighth of
    the catalogue."""
    import numpy as np

    from ml.data.sequences import Sequences
    from ml.data.training_set import TrainingSet

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


def sampled(folder: str, users: int, seed: int):
    """The training histories of some users of a training set."""
    import numpy as np
    from scaling import of_users

    from ml.data.training_set import TrainingSet

    whole = TrainingSet.load(Path(folder))
    drawn = np.sort(np.random.default_rng(seed).permutation(whole.users)[:users])
    return of_users(whole, drawn, drawn[:0])


def main() -> None:
    if sys.argv[1:2] == ["step"]:
        return run_step({take_steps.__name__: take_steps})
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, nargs="+", default=[10_000, 100_000, 1_000_000, 5_000_000])
    parser.add_argument("--training-sets", type=Path, nargs="+", help="folders of arrays, in place of --items")
    parser.add_argument("--recipe", default="sasrec_sampled_softmax", help="name of a recipe of this project")
    parser.add_argument("--steps", type=int, default=60, help="of the epoch")
    common_options(parser, repeats=3)
    given = parser.parse_args()
    from ml.training.row_choice import LEAST_ROWS

    bench = Bench(Path(__file__).resolve(), given.cores)
    settings = {"recipe": given.recipe, "steps": given.steps, "threads": given.cores}
    catalogues = {f"{items:,} items": items for items in sorted(given.items)}
    if given.training_sets:
        catalogues = {str(folder): str(folder.resolve()) for folder in given.training_sets}
    runs = [
        bench.measure(f"{name}, {rows}", "take_steps", catalogue=catalogue, rows=rows, seed=seed, **settings)
        for name, catalogue in catalogues.items()
        for seed in range(given.repeats)
        for rows in WAYS
    ]
    ratios, names = [], list(catalogues)
    for name in catalogues:
        whole, touched = (median_of(runs, f"{name}, {rows}", STEP) for rows in WAYS)
        # from so many rows on it is what a recipe does that leaves it open
        aim = ">= 1" if median_of(runs, f"{name}, touched", "items") >= LEAST_ROWS else ">= 0.5"
        ratios.append(Ratio(f"a step, {name}, all / touched", whole / touched, aim))
    first, last = (median_of(runs, f"{name}, touched", STEP) for name in (names[0], names[-1]))
    ratios.append(Ratio(f"a touched step, {names[-1]} / {names[0]}", last / first, "<= 2"))
    report(f"A step of {given.recipe}, {given.cores} cores", runs, ["items", STEP, REST, "loss"], ratios, given.json)


if __name__ == "__main__":
    main()
