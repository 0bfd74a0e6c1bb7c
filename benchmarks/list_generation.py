"""How fast lists are written item by item, and what the cache of keys and values saves.

    python benchmarks/list_generation.py [--size small] [--catalogues 1500 12000] [--histories 50 200]

For each size of the catalogue and length of the histories, with GPTRec of random weights (they do not change the work),
a mark behind each history, and the items of the history left out:

*first step*: reading a batch of histories and choosing one item for each, in milliseconds. *ten items*: the same and
nine more items; their ratio is what the nine cost. The aim is that ten items take less than twice the first step.

*lists/s*: lists of ten of the most probable items, with the cache; *uncached*, where each step reads history and list
again; *drawn*, where items are drawn by their probabilities; and *drawn and learnt from*, where the log-probabilities
of a drawn list are computed again in one pass with gradients, and a second network of the same size, which estimates
values, reads it too. The last is what one step of alignment by reinforcement learning does to a batch, without the
optimiser and the rewards. From it follow the *hours* of the public setting of GPTRec-RL (github.com/asash/gptrec_rl):
64,000 steps of 128 lists. They are computed, not measured.

``--size published`` takes the sizes of that setting: 256 dimensions, three blocks of four heads.

Ways take turns, several rounds in each process, of which the median counts. Processes, cores, repeats, files and
tables are as ``benchmarks/training.py`` says. Seconds are those of all cores that the process used, since other work on
the machine changes wall time more; with ``--cores 1`` they are wall time on an idle machine.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from training import Bench, Measurement, Ratio, common_options, median_of, report, run_step

K, BATCH, PUBLIC_STEPS = 10, 128, 64_000
SIZES = {
    "small": {"dimensions": 64, "blocks": 2, "heads": 2, "feed_forward_dimensions": 256},
    "published": {"dimensions": 256, "blocks": 3, "heads": 4, "feed_forward_dimensions": 1024},
}
FIRST, TEN, RATIO = "first step, ms", "ten items, ms", "ten items / first step"
CACHED, UNCACHED, DRAWN, LEARNT = "lists/s", "lists/s, uncached", "lists/s, drawn", "lists/s, drawn and learnt from"
HOURS = "hours of 64,000 steps"


def write_lists(size: str, items: int, length: int, rounds: int, seed: int, threads: int) -> dict:
    """Speeds of all ways for one catalogue and one length of histories."""
    import torch

    from ml.generation.next_k import generate_lists, list_log_probabilities, list_states
    from ml.models.build import build_model
    from ml.models.settings import GPTRecSettings

    torch.set_num_threads(threads)
    torch.manual_seed(seed)
    settings = GPTRecSettings(
        **SIZES[size],
        dropout=0.1,
        max_length=length,
        item_embedding="dense",
        separate_output_embedding=False,
        embedding_deviation=0.02,
        lists="next_k",
        list_length=K,
        marks=1,
    )
    policy, values = (build_model(settings, items, 1, None).eval() for _ in range(2))
    histories = torch.randint(items, (BATCH, length))
    lengths, marks = torch.full((BATCH,), length), torch.zeros(BATCH, dtype=torch.int64)
    hidden = torch.zeros(BATCH, items, dtype=torch.bool).scatter_(1, histories, True)
    inputs = policy, histories, lengths, marks
    generator = torch.Generator().manual_seed(seed)

    def uncached() -> None:
        """The whole sequence is read again for each item."""
        lists = torch.zeros(BATCH, 0, dtype=torch.int64)
        with torch.no_grad():
            for _ in range(K):
                read = torch.cat([lists, torch.zeros(BATCH, 1, dtype=torch.int64)], dim=1)
                scores = policy.output_embedding.score_all(list_states(*inputs, read)[:, -1])
                scores = scores.masked_fill_(hidden, -torch.inf).scatter_(1, lists, -torch.inf).log_softmax(dim=1)
                lists = torch.cat([lists, scores.argmax(dim=1, keepdim=True)], dim=1)

    def learnt() -> None:
        drawn = generate_lists(*inputs, K, hidden, generator).items
        log_probabilities, entropies = list_log_probabilities(*inputs, drawn, hidden)
        states = list_states(values, histories, lengths, marks, drawn)
        (log_probabilities.sum() + entropies.sum() + states.sum()).backward()

    ways = {
        FIRST: lambda: generate_lists(*inputs, 1, hidden),
        TEN: lambda: generate_lists(*inputs, K, hidden),
        UNCACHED: uncached,
        DRAWN: lambda: generate_lists(*inputs, K, hidden, generator),
        LEARNT: learnt,
    }
    seconds = defaultdict(list)
    for round_ in range(rounds + 1):
        for name, way in ways.items():
            began = time.process_time()
            way()
            # the first round warms up
            if round_:
                seconds[name].append(time.process_time() - began)
    of = {name: statistics.median(known) for name, known in seconds.items()}
    speeds = {CACHED: BATCH / of[TEN]} | {name: BATCH / of[name] for name in (UNCACHED, DRAWN, LEARNT)}
    return {
        FIRST: 1000 * of[FIRST],
        TEN: 1000 * of[TEN],
        RATIO: of[TEN] / of[FIRST],
        **speeds,
        HOURS: PUBLIC_STEPS * BATCH / speeds[LEARNT] / 3600,
    }


STEPS: dict[str, Callable[..., dict]] = {write_lists.__name__: write_lists}


def main() -> None:
    if sys.argv[1:2] == ["step"]:
        return run_step(STEPS)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=list(SIZES), default="small")
    parser.add_argument("--catalogues", type=int, nargs="+", default=[1_500, 12_000])
    parser.add_argument("--histories", type=int, nargs="+", default=[50, 200])
    parser.add_argument("--rounds", type=int, default=5)
    common_options(parser, repeats=3)
    arguments = parser.parse_args()
    bench = Bench(Path(__file__).resolve(), arguments.cores)
    cases = {
        f"{items:,} items, histories of {length}": {"items": items, "length": length}
        for items in arguments.catalogues
        for length in arguments.histories
    }
    shared = {"size": arguments.size, "rounds": arguments.rounds, "threads": arguments.cores}
    runs: list[Measurement] = [
        bench.measure(name, "write_lists", seed=seed, **case, **shared)
        for seed in range(arguments.repeats)
        for name, case in cases.items()
    ]
    ratios = [Ratio(f"{RATIO}, {name}", median_of(runs, name, RATIO), "<= 2") for name in cases]
    ratios += [
        Ratio(f"cached / uncached, {name}", median_of(runs, name, CACHED) / median_of(runs, name, UNCACHED), ">= 1")
        for name in cases
    ]
    figures = [FIRST, TEN, RATIO, CACHED, UNCACHED, DRAWN, LEARNT, HOURS]
    title = f"Lists of {K}, batches of {BATCH}, {arguments.size} sizes, {arguments.cores} cores"
    report(title, runs, figures, ratios, arguments.json)


if __name__ == "__main__":
    main()
