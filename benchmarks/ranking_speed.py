"""How fast whole catalogues are ranked.

    python benchmarks/ranking_speed.py evaluation --sequences FILE --peers FOLDER
    python benchmarks/ranking_speed.py top-k      [--items 12101] [--k 10]
    python benchmarks/ranking_speed.py codes      [--items 1000000]
    python benchmarks/ranking_speed.py quantised  [--items 12101 1000000] [--histories 1 32]

*evaluation*: users/s of the validation pass (the rank of each validation target among all items) and of
``recommend(k=10)`` with and without the items of the history, for all users of a sequence file; beside RecTools'
``recommend`` for the same users, k and catalogue. Weights are those after little training: they do not change what is
computed. RecTools gets a first, small call before the clock starts, ours does not.

*top-k*: the ranking alone, rows/s on one core, beside a partition of one key an item (all keys made, none left out).

*codes*: the ten best of a large catalogue for one query after the other on one core: joint product quantised items
by PQTopK and by dynamic pruning, beside the product with a dense table of the same sizes and its ten best. A dense
table is read once for many queries where they come together, so that is measured too. Queries and codes are drawn at
random, or queries lie near an item each.

*quantised*: the two ways in which ``SequentialRecommender.recommend`` ranks a quantised catalogue, on one core: every
item scored for all histories of a batch, or PQTopK history by history. Both give the same lists and scores. These
figures, of processor time, decide when the second one is taken (``ml.retrieval.quantised_top_k.pays``).

Processes, cores, repeats, files and tables are as ``benchmarks/training.py`` says, whose environment for RecTools is
used too.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from training import (
    OURS,
    RECTOOLS,
    Bench,
    Measurement,
    Ratio,
    common_options,
    median_of,
    read_sequences,
    recipe_named,
    rectools_model,
    report,
    run_step,
    training_set_of,
)

K = 10
VALIDATION, RECOMMEND, UNSEEN = "validation, users/s", f"recommend {K}, users/s", f"recommend {K} unseen, users/s"
FOLDS, KEYS = "ml.retrieval.top_k.top_k", "partition of all keys"
PQTOPK, PRUNED, DENSE = "PQTopK", "dynamic pruning", "dense product and top-k"
TOGETHER = 32
DENSE_TOGETHER = f"dense, {TOGETHER} queries at once"
ALL_SCORES = "every item scored"


# ---- steps: each runs in a process of its own


def evaluate_ours(sequences: str, recipe: str, epochs: int, threads: int) -> dict:
    """Train for some epochs; a validation pass ends each, and its time is what the training of the epoch leaves."""
    from dataclasses import replace

    import numpy as np

    from ml.training.runtime import Execution
    from ml.training.sequential_recommender import SequentialRecommender

    training_set, chosen = training_set_of(read_sequences(sequences)), recipe_named(recipe)
    chosen = replace(chosen, training=replace(chosen.training, max_epochs=epochs, patience=epochs, max_steps=0))
    recommender = SequentialRecommender(chosen, execution=Execution(threads=threads)).fit(training_set)
    trained_on = int((training_set.train.lengths > 1).sum())
    ends = np.array([0.0] + [record.seconds for record in recommender.log])
    training = np.array([trained_on / record.sequences_per_second for record in recommender.log])
    users, histories = training_set.users, training_set.histories("validation")
    return {
        VALIDATION: users / float(np.median(np.diff(ends) - training)),
        RECOMMEND: users / seconds_of(lambda: recommender.recommend(histories, K, exclude_seen=False)),
        UNSEEN: users / seconds_of(lambda: recommender.recommend(histories, K, exclude_seen=True)),
    }


def evaluate_rectools(sequences: str, batch_size: int) -> dict:
    """Two training steps, then all users."""
    rows = read_sequences(sequences)
    model, dataset, users = rectools_model(rows, 0, batch_size, get_trainer_func=short_trainer)
    model.fit(dataset)
    model.recommend(users[:256], dataset, k=K, filter_viewed=True)
    return {
        RECOMMEND: len(users) / seconds_of(lambda: model.recommend(users, dataset, k=K, filter_viewed=False)),
        UNSEEN: len(users) / seconds_of(lambda: model.recommend(users, dataset, k=K, filter_viewed=True)),
    }


def short_trainer():
    """Lightning's trainer for two steps."""
    from pytorch_lightning import Trainer

    quiet = {"enable_progress_bar": False, "enable_model_summary": False, "logger": False}
    return Trainer(max_epochs=1, limit_train_batches=2, enable_checkpointing=False, devices=1, **quiet)


def rank_rows(rows: int, items: int, k: int, seed: int, how: str) -> dict:
    """Rows/s of one way on scores that differ, and on scores that nearly all are 0, as those of a Markov chain are."""
    import numpy as np

    from ml.retrieval.top_k import tie_break_order, top_k

    generator = np.random.default_rng(seed)
    order = tie_break_order(items)
    different = generator.standard_normal((rows, items), dtype=np.float32)
    mostly_zero = np.zeros((rows, items), dtype=np.float32)
    places = generator.integers(rows, size=8 * rows), generator.integers(items, size=8 * rows)
    mostly_zero[places] = generator.integers(1, 9, size=8 * rows)
    rank = top_k if how == FOLDS else partition_of_all_keys
    found = {}
    for name, scores in (("different", different), ("mostly 0", mostly_zero)):
        if not np.array_equal(top_k(scores[:50], k, order).items, partition_of_all_keys(scores[:50], k, order)):
            raise AssertionError(f"the two ways give other items for {name} scores")
        found[f"{name}, rows/s"] = rows / seconds_of(lambda scores=scores: rank(scores, k, order))
    return found


def partition_of_all_keys(scores, k: int, order):
    """The k best items of each row by score and place in the order, none of them -inf: int64 ``[rows, k]``."""
    import numpy as np

    items = len(order)
    place = np.empty(items, dtype=np.uint64)
    place[order] = np.arange(items, 0, -1, dtype=np.uint64) - np.uint64(1)
    best = []
    for start in range(0, len(scores), 64):
        bits = (scores[start : start + 64] + np.float32(0)).view(np.uint32)
        bits ^= (np.uint32(0) - (bits >> np.uint32(31))) | np.uint32(0x80000000)
        keys = (bits.astype(np.uint64) << np.uint64(32)) | place
        best.append(np.sort(np.partition(keys, items - k, axis=1)[:, items - k :], axis=1)[:, ::-1])
    return order[items - 1 - (np.concatenate(best) & np.uint64(0xFFFFFFFF)).astype(np.int64)]


def rank_catalogue(
    items: int, dimensions: int, books: int, queries: int, near: bool, k: int, seed: int, how: str
) -> dict:
    """Milliseconds a query, and what the catalogue takes."""
    import numpy as np
    import torch

    from ml.retrieval.pqtopk import QuantisedCatalogue

    generator = np.random.default_rng(seed)
    codes = generator.integers(256, size=(items, books), dtype=np.uint8)
    centroids = generator.standard_normal((books, 256, dimensions // books), dtype=np.float32)
    states = generator.standard_normal((queries, dimensions), dtype=np.float32)
    if near:
        chosen = codes[generator.integers(items, size=queries)]
        states += centroids[np.arange(books), chosen].reshape(queries, dimensions)
    if how in (DENSE, DENSE_TOGETHER):
        table = np.empty((items, dimensions), dtype=np.float32)
        for book, width in enumerate(np.split(np.arange(dimensions), books)):
            table[:, width] = centroids[book][codes[:, book]]
        table = torch.from_numpy(table)

        def answer(some: np.ndarray) -> None:
            together = torch.from_numpy(some)
            # for one query a product of matrix and vector is the faster call
            torch.topk(table @ together[0] if len(together) == 1 else together @ table.T, k)

        size = table.nbytes
    else:
        catalogue = QuantisedCatalogue(codes, centroids)
        method = "pqtopk" if how == PQTOPK else "pruned"

        def answer(some: np.ndarray) -> None:
            catalogue.top_k(some, k, method=method)

    with torch.inference_mode():
        at_once = TOGETHER if how == DENSE_TOGETHER else 1
        parts = [states[start : start + at_once] for start in range(0, queries, at_once)]
        answer(parts[0])
        milliseconds = [1000 * seconds_of(lambda part=part: answer(part)) / len(part) for part in parts]
    if how not in (DENSE, DENSE_TOGETHER):
        size = catalogue.memory.total
    return {
        "ms a query": statistics.median(milliseconds),
        "95th percentile": sorted(milliseconds)[int(0.95 * len(milliseconds))],
        "catalogue, MB": size / 1e6,
    }


def rank_quantised(items: int, dimensions: int, books: int, histories: int, k: int, seed: int, how: str) -> dict:
    """Milliseconds of the processor a history, from states to lists, median of some batches."""
    import numpy as np
    import torch

    from ml.models.item_embeddings import JointProductQuantisedItemEmbedding
    from ml.retrieval.quantised_top_k import QuantisedTopK
    from ml.retrieval.top_k import top_k

    torch.manual_seed(seed)
    codes = np.random.default_rng(seed).integers(256, size=(items, books), dtype=np.uint8)
    embedding = JointProductQuantisedItemEmbedding(codes, dimensions, 1.0)
    ranking = QuantisedTopK(embedding)

    def answer(states: torch.Tensor) -> None:
        if how == PQTOPK:
            ranking.top_k(states, k)
        else:
            top_k(embedding.score_all(states).numpy(), k, ranking.order)

    with torch.inference_mode():
        batches = [torch.randn(histories, dimensions) for _ in range(max(8, 64 // histories))]
        answer(batches[0])
        milliseconds = []
        for states in batches:
            began = time.process_time()
            answer(states)
            milliseconds.append(1000 * (time.process_time() - began) / histories)
    return {"ms a history": statistics.median(milliseconds)}


def seconds_of(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


STEPS: dict[str, Callable[..., dict]] = {
    step.__name__: step for step in (evaluate_ours, evaluate_rectools, rank_rows, rank_catalogue, rank_quantised)
}


# ---- commands


def evaluation(arguments: argparse.Namespace) -> None:
    """Ours and RecTools, taking turns."""
    bench = Bench(Path(__file__).resolve(), arguments.cores, arguments.peers)
    sequences = str(arguments.sequences.resolve())
    runs: list[Measurement] = []
    for _ in range(arguments.repeats):
        settings = {"recipe": arguments.recipe, "epochs": arguments.epochs, "threads": arguments.cores}
        runs.append(bench.measure(OURS, "evaluate_ours", sequences=sequences, **settings))
        batch_size = arguments.peer_batch_size
        runs.append(bench.measure(RECTOOLS, "evaluate_rectools", peer=True, sequences=sequences, batch_size=batch_size))
    ratios = [
        Ratio(f"ours / RecTools, {ours}", median_of(runs, OURS, ours) / median_of(runs, RECTOOLS, theirs), ">= 5")
        for ours, theirs in ((VALIDATION, RECOMMEND), (RECOMMEND, RECOMMEND), (UNSEEN, UNSEEN))
    ]
    title = f"Evaluation over the whole catalogue, {arguments.cores} cores"
    report(title, runs, [VALIDATION, RECOMMEND, UNSEEN], ratios, arguments.json)


def top_k_alone(arguments: argparse.Namespace) -> None:
    """Both ways of ranking, taking turns."""
    bench = Bench(Path(__file__).resolve(), 1)
    data = {"rows": arguments.rows, "items": arguments.items, "k": arguments.k}
    runs = [
        bench.measure(how, "rank_rows", how=how, seed=seed, **data)
        for seed in range(arguments.repeats)
        for how in (FOLDS, KEYS)
    ]
    figures = ["different, rows/s", "mostly 0, rows/s"]
    ratios = [
        Ratio(f"{FOLDS} / {KEYS}, {figure}", median_of(runs, FOLDS, figure) / median_of(runs, KEYS, figure), ">= 2")
        for figure in figures
    ]
    report(f"The {arguments.k} best of {arguments.items:,} items, one core", runs, figures, ratios, arguments.json)


def codes(arguments: argparse.Namespace) -> None:
    """Four ways, taking turns."""
    bench = Bench(Path(__file__).resolve(), 1)
    sizes = {"items": arguments.items, "dimensions": arguments.dimensions, "books": arguments.books}
    sizes |= {"queries": arguments.queries, "near": arguments.queries_near_items, "k": K}
    runs = [
        bench.measure(how, "rank_catalogue", how=how, seed=seed, **sizes)
        for seed in range(arguments.repeats)
        for how in (PQTOPK, PRUNED, DENSE, DENSE_TOGETHER)
    ]
    ratios = []
    for how in (PQTOPK, PRUNED):
        for dense, figure, aim in (
            (DENSE, "ms a query", ">= 5"),
            (DENSE_TOGETHER, "ms a query", ">= 5"),
            (DENSE, "catalogue, MB", ">= 20"),
        ):
            value = median_of(runs, dense, figure) / median_of(runs, how, figure)
            ratios.append(Ratio(f"{dense} / {how}, {figure}", value, aim))
    near = "near items" if arguments.queries_near_items else "at random"
    title = f"The {K} best of {arguments.items:,} items by {arguments.books} codes, queries {near}, one core"
    report(title, runs, ["ms a query", "95th percentile", "catalogue, MB"], ratios, arguments.json)


def quantised(arguments: argparse.Namespace) -> None:
    """Both ways for each size, taking turns."""
    bench = Bench(Path(__file__).resolve(), 1)
    runs, ratios = [], []
    for items in arguments.items:
        for histories in arguments.histories:
            sizes = {"items": items, "dimensions": arguments.dimensions, "books": arguments.books, "k": arguments.k}
            names = {how: f"{how}: {items:,} items, {histories} at a time" for how in (ALL_SCORES, PQTOPK)}
            runs += [
                bench.measure(name, "rank_quantised", how=how, histories=histories, seed=seed, **sizes)
                for seed in range(arguments.repeats)
                for how, name in names.items()
            ]
            all_scores, pqtopk = (median_of(runs, name, "ms a history") for name in names.values())
            text = f"{ALL_SCORES} / {PQTOPK}, {items:,} items, {histories} at a time"
            # the faster one must be the one that is taken
            aim = ">= 1" if histories == 1 or items >= arguments.large else "<= 1"
            ratios.append(Ratio(text, all_scores / pqtopk, aim))
    title = f"The {arguments.k} best by {arguments.books} codes, one core"
    report(title, runs, ["ms a history"], ratios, arguments.json)


def main() -> None:
    if sys.argv[1:2] == ["step"]:
        return run_step(STEPS)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    command = commands.add_parser("evaluation")
    command.add_argument("--sequences", type=Path, required=True, help="a line for each user: user item item ...")
    command.add_argument("--recipe", default="sasrec_sampled_softmax", help="name of a recipe of this project")
    command.add_argument("--epochs", type=int, default=3, help="of ours; each ends with a validation pass")
    command.add_argument("--peers", type=Path, required=True, help="folder of the environment of RecTools")
    command.add_argument("--peer-batch-size", type=int, default=128)
    common_options(command, repeats=3)
    command.set_defaults(run=evaluation)
    command = commands.add_parser("top-k")
    command.add_argument("--rows", type=int, default=2000)
    command.add_argument("--items", type=int, default=12101)
    command.add_argument("--k", type=int, default=K)
    command.add_argument("--repeats", type=int, default=5)
    command.add_argument("--json", type=Path)
    command.set_defaults(run=top_k_alone)
    command = commands.add_parser("codes")
    command.add_argument("--items", type=int, default=1_000_000)
    command.add_argument("--dimensions", type=int, default=512)
    command.add_argument("--books", type=int, default=8)
    command.add_argument("--queries", type=int, default=100)
    command.add_argument("--queries-near-items", action="store_true", help="instead of at random")
    command.add_argument("--repeats", type=int, default=3)
    command.add_argument("--json", type=Path)
    command.set_defaults(run=codes)
    command = commands.add_parser("quantised")
    command.add_argument("--items", type=int, nargs="+", default=[1_000, 12_101, 100_000, 300_000, 1_000_000])
    command.add_argument("--histories", type=int, nargs="+", default=[1, 32])
    command.add_argument("--large", type=int, default=1 << 18, help="items from which PQTopK is taken for batches too")
    command.add_argument("--dimensions", type=int, default=64)
    command.add_argument("--books", type=int, default=8)
    command.add_argument("--k", type=int, default=100)
    command.add_argument("--repeats", type=int, default=3)
    command.add_argument("--json", type=Path)
    command.set_defaults(run=quantised)
    arguments = parser.parse_args()
    arguments.run(arguments)


if __name__ == "__main__":
    main()
