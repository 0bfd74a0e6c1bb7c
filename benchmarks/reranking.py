"""How fast candidates are re-ranked.

    python benchmarks/reranking.py [--users 10000] [--candidates 200] [--k 10]

*ours*: seconds of ``ml.reranking.rerank.rerank``, from candidates and vectors to lists, for every method: with
multi-hot vectors of 18 labels, up to six an item, as the genres of films; with 300 categories, one an item; and with
dense vectors of 128 dimensions, as of text. ``lists at 11 tradeoffs`` are those of a front, from one call.

*plain loop*: the same method user after user and place after place, with numpy over the candidates of a place: one
product of their vectors with those of the list. It runs for ``--users-of-loop``
users, and its seconds are scaled to the number of ours. Its lists must agree with ours in all but one place of a
thousand, since sums of another order may round to another order of close candidates.

Made-up scores, vectors and histories of 20 items. Processes, cores, repeats, files and tables are as
``benchmarks/training.py`` says. Sizes are those of the aim: under 2 s on two cores.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from training import Bench, Ratio, common_options, median_of, report, run_step

SECONDS, FRONT, USERS_A_SECOND = "seconds", "lists at 11 tradeoffs, seconds", "users/s"
TRADEOFF = 0.5
AIM = 2.0
LARGEST_DISAGREEMENT = 1e-3
VECTORS = {"18 labels": (18, 6), "300 labels": (300, 1), "128 dimensions": (128, 0)}
METHODS = {
    "mmr": "category_diversity",
    "greedy": "category_diversity",
    "sog": "category_diversity",
    "calibration": "category_diversity",
    "greedy, popularity": "popularity",
}


def made_up(users: int, candidates: int, items: int, vectors: str, seed: int) -> dict:
    """Candidates, histories, and what is known of the items."""
    import numpy as np

    from ml.data.sequences import Sequences
    from ml.recommender import Recommendations

    generator = np.random.default_rng(seed)
    # items at equal distances behind a first one, shuffled: no item twice, and no sort of the whole catalogue
    found = generator.integers(items, size=(users, 1)) + np.arange(candidates) * (items // candidates)
    found = generator.permuted(found % items, axis=1).astype(np.int32)
    scores = -np.sort(-generator.normal(size=found.shape), axis=1).astype(np.float32)
    dimensions, most_labels = VECTORS[vectors]
    if most_labels:
        drawn = generator.integers(dimensions, size=(items, most_labels))
        kept = np.arange(most_labels) < generator.integers(1, most_labels + 1, size=(items, 1))
        known = np.zeros((items, dimensions), np.float32)
        known[np.nonzero(kept)[0], drawn[kept]] = 1
    else:
        known = generator.normal(size=(items, dimensions)).astype(np.float32)
    known /= np.linalg.norm(known, axis=1, keepdims=True)
    histories = generator.integers(items, size=(users, 20)).astype(np.int32)
    return {
        "candidates": Recommendations(found, scores),
        "histories": Sequences(histories.reshape(-1), np.arange(users + 1, dtype=np.int64) * 20),
        "vectors": known,
        "popularity": generator.random(items).astype(np.float32),
    }


def goal_of(name: str, known: dict):
    from ml.beyond_accuracy.goals import GOALS, GoalOnData

    if name == "popularity":
        return GoalOnData(GOALS[name], None, known["popularity"])
    return GoalOnData(GOALS[name], known["vectors"], None)


def rerank_ours(method: str, users: int, k: int, threads: int, users_of_loop: int, **sizes) -> dict:
    """One call for the lists, one for a front; and the plain loop for some of the same users."""
    import numpy as np
    from threadpoolctl import threadpool_limits

    from ml.reranking.rerank import lists_at, rerank

    known = made_up(users, **sizes)
    name, on = method.partition(",")[0], goal_of(METHODS[method], known)
    candidates, histories = known["candidates"], known["histories"]
    options = {"popularity": known["popularity"], "threads": threads}
    began = time.perf_counter()
    lists = rerank(candidates, k, name, TRADEOFF, on, histories, **options)
    seconds = time.perf_counter() - began
    began = time.perf_counter()
    lists_at(candidates, [tenths / 10 for tenths in range(11)], k, name, on, histories, **options)
    front = time.perf_counter() - began
    began = time.perf_counter()
    # products so small would wait for their threads
    with threadpool_limits(1):
        loop = [plain_loop(method, known, row, k) for row in range(users_of_loop)]
    of_loop = time.perf_counter() - began
    disagreement = float((np.array(loop) != lists[:users_of_loop]).mean())
    if disagreement > LARGEST_DISAGREEMENT:
        raise SystemExit(f"{method}: {disagreement:.4f} of the places differ from the plain loop")
    return {
        SECONDS: seconds,
        FRONT: front,
        USERS_A_SECOND: users / seconds,
        "plain loop, seconds": of_loop * users / users_of_loop,
        "times faster than the plain loop": of_loop * users / users_of_loop / seconds,
        "places that differ": disagreement,
    }


def plain_loop(method: str, known: dict, row: int, k: int) -> list[int]:
    """The list of one user."""
    import numpy as np

    items, scores = known["candidates"].items[row], known["candidates"].scores[row]
    relevance = (scores - scores.min()) / (scores.max() - scores.min())
    vectors, history = known["vectors"][items], known["vectors"][known["histories"][row]]
    unpopular = 1 - known["popularity"][items]
    fixed = (1 - vectors @ history.mean(axis=0) + unpopular) / 3
    wanted, shares = (history**2).mean(axis=0), vectors**2
    left, chosen = np.ones(len(items), bool), []
    for place in range(k):
        similar = vectors @ vectors[chosen].T if chosen else np.zeros((len(items), 1), np.float32)
        to_list = 1 - similar.mean(axis=1) if chosen else np.zeros(len(items))
        if method == "mmr":
            gain = -similar.max(axis=1)
        elif method == "sog":
            gain = to_list / 3 + fixed
        elif method == "calibration":
            given = (shares[chosen].sum(axis=0) + shares) / (place + 1)
            smooth = 0.99 * given + 0.01 * wanted
            held = wanted > 0
            gain = -(wanted[held] * np.log(wanted[held] / smooth[:, held])).sum(axis=1)
        else:
            gain = to_list if method == "greedy" else unpopular
        objective = (1 - TRADEOFF) * relevance + TRADEOFF * gain
        objective[~left] = -np.inf
        best = int(objective.argmax())
        left[best] = False
        chosen.append(best)
    return items[chosen].tolist()


STEPS = {"rerank_ours": rerank_ours}


def main() -> None:
    if sys.argv[1:2] == ["step"]:
        return run_step(STEPS)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--users", type=int, default=10_000)
    parser.add_argument("--candidates", type=int, default=200)
    parser.add_argument("--items", type=int, default=12_000)
    parser.add_argument("--k", type=int, default=10)
    parser.add_argument("--users-of-loop", type=int, default=300, help="that the plain loop runs for")
    common_options(parser, repeats=3)
    arguments = parser.parse_args()
    bench = Bench(Path(__file__).resolve(), arguments.cores)
    sizes = {
        "users": arguments.users,
        "candidates": arguments.candidates,
        "items": arguments.items,
        "k": arguments.k,
        "users_of_loop": arguments.users_of_loop,
        "threads": arguments.cores,
    }
    asked = [
        (method, vectors)
        for method in METHODS
        for vectors in VECTORS
        # labels are not dense, and popularity has no vectors
        if not (method == "calibration" and vectors == "128 dimensions")
        and not (METHODS[method] == "popularity" and vectors != "18 labels")
    ]
    runs = [
        bench.measure(f"{method}, {vectors}", "rerank_ours", method=method, vectors=vectors, seed=seed, **sizes)
        for seed in range(arguments.repeats)
        for method, vectors in asked
    ]
    ratios = [
        Ratio(f"{method}, {vectors}: seconds", median_of(runs, f"{method}, {vectors}", SECONDS), f"<= {AIM:g}")
        for method, vectors in asked
    ]
    title = (
        f"{arguments.users:,} users, {arguments.candidates} candidates, lists of {arguments.k}, {arguments.cores} cores"
    )
    figures = [SECONDS, FRONT, USERS_A_SECOND, "plain loop, seconds", "times faster than the plain loop"]
    report(title, runs, figures, ratios, arguments.json)


if __name__ == "__main__":
    main()
