"""How fast rankings become metrics, intervals and tests.

    python -m benchmarks.evaluation --users 100000 --recommenders 20 [--seeds 1] [--peers FOLDER]

Made-up lists of 100 items for so many users and recommenders. Each recommender's table is made when it is its turn,
by a seeded generator whose time is not counted; no two are held at once.

*ours*: the rank of every held-out item from the table of rankings, and the values of 25 metrics for every user
(``metrics``); then the leaderboard (``leaderboard``): means, a bootstrap interval of every recommender and of every
difference to the best baseline, paired tests with Holm's correction, and ranx's tests between all pairs, its import
included. ``all`` has the other imports too. Reading files is not counted.

*ranx*: ``evaluate`` of the same 25 metrics for every user on arrays of sorted items, the fastest of its inputs, and
the tests of ``compare`` between all pairs on nDCG@10. Making the arrays and compiling are not counted. ``compare``
itself wants the lists of all recommenders at once. ranx has no intervals.

*RecTools* (with ``--peers``): ``calc_metrics`` of the same 25 metrics on data frames, whose making is not counted. It
gives means alone, and no tests. It stops after ``--limit`` seconds; what is compared is the time a recommender.

Means of all three must agree to 1e-9. Processes, cores, repeats, files and tables are as ``benchmarks/training.py``
says, whose environment for RecTools is used too.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from training import OURS, RECTOOLS, Bench, Measurement, Ratio, common_options, median_of, report, run_step

RANX = "ranx 0.3.21"
DEPTH = 100
CUT_OFFS = (1, 5, 10, 20, 100)
ALL, METRICS, BOARD, PAIRS = "all, s", "metrics, s", "leaderboard, s", "all pairs, s"
EACH = "metrics, s a recommender"
CHECKED = ("recall@100", "ndcg@10", "mrr@20", "map@100", "precision@5")


# ---- data, with numpy alone: the peer's environment has no more


def targets_of(users: int, items: int):
    """The held-out item of each user, int32 ``[users]``."""
    import numpy as np

    return np.random.default_rng(0).integers(items, size=users, dtype=np.int32)


def lists_of(recommender: int, seed: int, users: int, items: int):
    """Lists of one recommender: items int32 ``[users, 100]``, scores float32 of the same shape.

    Some users are easy for all recommenders; the higher its number, the better a recommender is. It finds 15 to 30 % of
    the targets. One score in four is that of the item before.
    """
    import numpy as np

    targets, ease = targets_of(users, items), np.random.default_rng(1).random(users)
    generator = np.random.default_rng([2, recommender, seed])
    chance = 0.75 * ease + 0.25 * generator.random(users)
    place = ((chance / (0.55 + 0.005 * recommender)) ** 6 * DEPTH).astype(np.int64)
    steps = np.arange(DEPTH + 1) * 7
    ranked = ((generator.integers(items, size=users)[:, None] + steps) % items).astype(np.int32)
    # the target stands where it was drawn to, and nowhere else
    ranked[:, :DEPTH] = np.where(ranked[:, :DEPTH] == targets[:, None], ranked[:, DEPTH:], ranked[:, :DEPTH])
    ranked = ranked[:, :DEPTH].copy()
    found = np.flatnonzero(place < DEPTH)
    ranked[found, place[found]] = targets[found]
    falls = generator.integers(0, 4, size=ranked.shape, dtype=np.int8) > 0
    return ranked, -np.cumsum(falls, axis=1, dtype=np.float32)


def metric_names() -> list[str]:
    return [f"{name}@{k}" for name in ("recall", "ndcg", "mrr", "map", "precision") for k in CUT_OFFS]


# ---- steps: each runs in a process of its own


def evaluate_ours(users: int, recommenders: int, seeds: int, items: int) -> dict:
    """Rankings to the leaderboard."""
    began = time.perf_counter()
    from ml.evaluation.entry import Entry
    from ml.evaluation.leaderboard import build_leaderboard
    from ml.evaluation.metrics import metric_values, user_metrics
    from ml.evaluation.significance import paired_t_tests
    from ml.recommender import BASELINE, MODEL

    imports = time.perf_counter() - began
    training_set = made_up_training_set(users, items)
    entries, spent = [], 0.0
    for recommender in range(recommenders):
        tables = []
        for rankings in tables_of(recommender, seeds, training_set):
            began = time.perf_counter()
            tables.append(user_metrics(rankings, training_set))
            values = {metric: metric_values(tables[-1], metric) for metric in metric_names()}
            spent += time.perf_counter() - began
            if recommender == 0 and len(tables) == 1:
                means = {metric: float(values[metric].mean()) for metric in CHECKED}
        entries.append(Entry(f"R{recommender}", MODEL if recommender % 2 else BASELINE, tuple(tables)))
    began = time.perf_counter()
    board = build_leaderboard(entries, training_set)
    leaderboard = time.perf_counter() - began
    import numpy as np

    values = np.stack([entry.values() for entry in entries])
    began = time.perf_counter()
    for row in values:
        paired_t_tests(values, row)
    pairs = time.perf_counter() - began
    return {
        ALL: imports + spent + leaderboard,
        METRICS: spent,
        BOARD: leaderboard,
        PAIRS: pairs,
        EACH: spent / (recommenders * seeds),
        "significantly different": sum(row in ("better", "worse") for row in board["finding"].to_pylist()),
        "means": means,
    }


def made_up_training_set(users: int, items: int):
    """Users with the targets of the lists, and two other items each."""
    import numpy as np

    from ml.data.sequences import Sequences
    from ml.data.training_set import TrainingSet

    everyone = np.arange(users, dtype=np.int32)
    train = np.random.default_rng(3).integers(items, size=2 * users, dtype=np.int32)
    return TrainingSet(
        dataset="made_up",
        item_ids=np.char.encode(np.char.zfill(np.arange(items).astype(str), 9)),
        user_ids=np.char.encode(np.char.zfill(np.arange(users).astype(str), 9)),
        train=Sequences(train, np.arange(0, 2 * users + 1, 2, dtype=np.int64)),
        validation_users=everyone[:0],
        validation_targets=everyone[:0],
        test_users=everyone,
        test_targets=targets_of(users, items),
    )


def tables_of(recommender: int, seeds: int, training_set) -> Iterator:
    """Tables as ``ml.evaluation.rankings.rank`` makes them, one a seed, one at a time."""
    import numpy as np
    import pyarrow as pa

    from ml.evaluation.rankings import COLUMNS

    users = len(training_set.test_users)
    about = {"dataset": "made_up", "training_set": training_set.digest(), "recommender": f"r{recommender}"}
    about |= {"depth": DEPTH, "exclude_seen": False}
    for seed in range(seeds):
        items, scores = lists_of(recommender, seed, users, training_set.items)
        columns = {
            "user_index": np.repeat(training_set.test_users, DEPTH),
            "rank": np.tile(np.arange(1, DEPTH + 1, dtype=np.int16), users),
            "item_index": items.ravel(),
            "score": scores.ravel(),
            "recommender": pa.array([f"r{recommender}"]).dictionary_encode().take(pa.array(np.zeros(items.size, int))),
            "seed": np.full(items.size, seed, dtype=np.int32),
        }
        columns["recommender"] = columns["recommender"].cast(COLUMNS.field("recommender").type)
        metadata = {b"raw2rank": json.dumps(about | {"seed": seed}).encode()}
        yield pa.table(columns, schema=COLUMNS.with_metadata(metadata))


def evaluate_ranx(users: int, recommenders: int, items: int) -> dict:
    """The same metrics, and tests between all pairs."""
    import numpy as np
    from ranx import evaluate
    from ranx.statistical_tests import compute_statistical_significance

    def arrays(recommender: int, users: int):
        run = np.empty((users, DEPTH, 2))
        run[:, :, 0] = lists_of(recommender, 0, users, items)[0]
        run[:, :, 1] = -np.arange(DEPTH)
        return run

    relevant = np.ones((users, 1, 2))
    relevant[:, 0, 0] = targets_of(users, items)
    evaluate(relevant[:20], arrays(0, users)[:20], metric_names(), return_mean=False)
    spent, scores = 0.0, {}
    for recommender in range(recommenders):
        run = arrays(recommender, users)
        began = time.perf_counter()
        values = evaluate(relevant, run, metric_names(), return_mean=False)
        spent += time.perf_counter() - began
        scores[f"r{recommender}"] = {"ndcg@10": values["ndcg@10"]}
        if recommender == 0:
            means = {metric: float(values[metric].mean()) for metric in CHECKED}
    began = time.perf_counter()
    compute_statistical_significance(list(scores), scores, stat_test="student")
    pairs = time.perf_counter() - began
    return {ALL: spent + pairs, METRICS: spent, PAIRS: pairs, EACH: spent / recommenders, "means": means}


def evaluate_rectools(users: int, recommenders: int, items: int, limit: float) -> dict:
    """Means of the same metrics."""
    import numpy as np
    import pandas as pd
    from rectools.metrics import MAP, MRR, NDCG, Precision, Recall, calc_metrics

    metrics = {}
    for k in CUT_OFFS:
        metrics |= {f"recall@{k}": Recall(k), f"ndcg@{k}": NDCG(k, divide_by_achievable=True), f"mrr@{k}": MRR(k)}
        metrics |= {f"map@{k}": MAP(k), f"precision@{k}": Precision(k)}
    interactions = pd.DataFrame({"user_id": np.arange(users), "item_id": targets_of(users, items)})
    spent = []
    while len(spent) < recommenders and sum(spent) < limit:
        ranked = lists_of(len(spent), 0, users, items)[0]
        reco = pd.DataFrame({"user_id": np.repeat(np.arange(users), DEPTH), "item_id": ranked.ravel()})
        reco["rank"] = np.tile(np.arange(1, DEPTH + 1), users)
        began = time.perf_counter()
        found = calc_metrics(metrics, reco, interactions)
        spent.append(time.perf_counter() - began)
        if len(spent) == 1:
            means = {metric: float(found[metric]) for metric in CHECKED}
        print(f"recommender {len(spent)}: {spent[-1]:.1f} s", file=sys.stderr, flush=True)
    return {METRICS: sum(spent), EACH: statistics.fmean(spent), "recommenders": len(spent), "means": means}


STEPS = {step.__name__: step for step in (evaluate_ours, evaluate_ranx, evaluate_rectools)}


# ---- measuring


def compare(arguments: argparse.Namespace) -> None:
    """Ours, ranx and RecTools, taking turns."""
    bench = Bench(Path(__file__).resolve(), arguments.cores, arguments.peers)
    data = {name: vars(arguments)[name] for name in ("users", "recommenders", "items")}
    runs: list[Measurement] = []
    for turn in range(arguments.repeats):
        runs.append(bench.measure(OURS, "evaluate_ours", seeds=arguments.seeds, **data))
        runs.append(bench.measure(RANX, "evaluate_ranx", **data))
        if arguments.peers and turn < arguments.peer_repeats:
            runs.append(bench.measure(RECTOOLS, "evaluate_rectools", peer=True, limit=arguments.limit, **data))
    for run in runs:
        for metric, mean in run.figures["means"].items():
            ours = runs[0].figures["means"][metric]
            if abs(mean - ours) > 1e-9:
                raise SystemExit(f"{metric} is {mean} by {run.name}, {ours} by {OURS}: not the same is measured")

    def over(name: str, figure: str) -> float:
        return median_of(runs, name, figure) / median_of(runs, OURS, figure)

    peak = statistics.median(run.peak for run in runs if run.name == OURS) / 1e9
    ratios = [
        Ratio("metrics, intervals and tests, ours, s", median_of(runs, OURS, ALL), "<= 60"),
        Ratio("peak, ours, GB", peak, "<= 4"),
        Ratio(f"metrics, {RANX} / ours", over(RANX, EACH), ">= 1"),
        Ratio(f"tests of all pairs, {RANX} / ours", over(RANX, PAIRS), ">= 1"),
    ]
    if arguments.peers:
        ratios.append(Ratio(f"metrics, {RECTOOLS} / ours", over(RECTOOLS, EACH), ">= 1"))
    title = f"{arguments.users:,} users, {arguments.recommenders} recommenders, {arguments.seeds} seeds"
    title += f", {arguments.cores} cores"
    report(title, runs, [ALL, METRICS, EACH, BOARD, PAIRS, "recommenders"], ratios, arguments.json)


def main() -> None:
    if sys.argv[1:2] == ["step"]:
        return run_step(STEPS)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--users", type=int, default=100_000)
    parser.add_argument("--recommenders", type=int, default=20)
    parser.add_argument("--seeds", type=int, default=1, help="of each recommender, of ours alone")
    parser.add_argument("--items", type=int, default=50_000)
    parser.add_argument(
        "--peers", type=Path, help="folder of the environment of RecTools; without it RecTools is left out"
    )
    parser.add_argument("--peer-repeats", type=int, default=1, help="how often RecTools is measured")
    parser.add_argument("--limit", type=float, default=600, help="seconds after which RecTools stops")
    common_options(parser, repeats=3)
    compare(parser.parse_args())


if __name__ == "__main__":
    main()
