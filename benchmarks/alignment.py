"""How fast students that write lists are aligned.

    python benchmarks/alignment.py [--size small] [--items 1682] [--steps 30]

Lists/s that are sampled from a policy with random weights (REINFORCE writes the greedy ones too), that are learned
from, and in all, drawing histories and rewards counted; for PPO with either value network and for REINFORCE. The
catalogue is made up, with 18 categories. From the speed in all the report works out how long the public setting takes
(64,000 batches of 128 lists for each weight: Petrov and Macdonald, arXiv 2403.04875), and a front of five weights of
the recipe ``gptrec_ppo``; validation is not counted.

Sizes are those of the recipe ``gptrec_student`` (``small``: 64 dimensions, 2 blocks, 50 items of a history) or those
of the paper on MovieLens-1M (``published``: 256 dimensions, 3 blocks, 200 items). Processes, cores, repeats and files
are as ``benchmarks/training.py`` says.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))

from training import Bench, Ratio, common_options, made_up_sequences, median_of, report, run_step, training_set_of

K = 10
SAMPLED, LEARNED, WHOLE = "lists/s sampled", "lists/s learned from", "lists/s in all"
PUBLIC_STEPS, PUBLIC_BATCH, STEPS_OF_RECIPE, WEIGHTS, CATEGORIES = 64_000, 128, 1_000, 5, 18
SIZES = {
    "small": {"dimensions": 64, "blocks": 2, "heads": 2, "feed_forward_dimensions": 256, "max_length": 50},
    "published": {"dimensions": 256, "blocks": 3, "heads": 4, "feed_forward_dimensions": 1024, "max_length": 200},
}
OPTIONS = {
    "dropout": 0.1,
    "item_embedding": "dense",
    "separate_output_embedding": False,
    "embedding_deviation": 0.02,
    "lists": "next_k",
    "marks": 1,
}
WAYS = {
    "PPO": {"method": "ppo"},
    "PPO, GPT as value network": {"method": "ppo", "value": "gpt"},
    "REINFORCE": {"method": "reinforce"},
}


def align_batches(way: str, size: str, items: int, users: int, steps: int, seed: int, threads: int) -> dict:
    """Lists/s of some steps, the first of them not counted."""
    import copy

    import numpy as np
    import torch

    from ml.alignment.episodes import draw_episodes
    from ml.alignment.learner import Learner
    from ml.alignment.policy import prompts_of, write_lists
    from ml.alignment.recipe import REINFORCE, AlignmentRecipe
    from ml.alignment.rewards import rewards_of
    from ml.beyond_accuracy.goals import GOALS, GoalOnData
    from ml.models.build import build_model
    from ml.models.settings import GPTRecSettings
    from ml.training.reproducible import reproducible

    words = dict.fromkeys(("name", "title", "source", "notes", "student"), way)
    goals = {"goals": ("category_diversity",), "weights": (0.5,), "set": "published", "batch_size": PUBLIC_BATCH}
    recipe = AlignmentRecipe(**words, **goals, **WAYS[way])
    training_set = training_set_of(made_up_sequences(users, items, SIZES[size]["max_length"], "movielens", seed))
    sequences, generator = training_set.histories("train"), np.random.default_rng(seed)
    vectors = (generator.random((training_set.items, CATEGORIES)) < 0.1).astype(np.float32)
    vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1)
    goal = GoalOnData(GOALS["category_diversity"], vectors, None)
    spent = dict.fromkeys(("drawing", "sampling", "rewards", "learning"), 0.0)

    def clocked(part: str, work: Callable, *arguments: Any) -> Any:
        began = time.perf_counter()
        found = work(*arguments)
        spent[part] += time.perf_counter() - began
        return found

    with reproducible(threads):
        torch.manual_seed(seed)
        settings = GPTRecSettings(**SIZES[size], **OPTIONS)
        student = build_model(settings, training_set.items, 0, None).eval()
        learner = Learner(recipe, copy.deepcopy(student), student)
        policy, rows = learner.policy, np.arange(len(sequences))
        for step in range(steps + 1):
            if step == 1:
                spent.update(dict.fromkeys(spent, 0.0))
            episodes = clocked("drawing", draw_episodes, sequences, rows, PUBLIC_BATCH, "random", 1, generator)
            histories = episodes.histories
            prompts = clocked("drawing", prompts_of, policy, histories, 0, True)
            draws = torch.Generator().manual_seed(step)
            written = [clocked("sampling", write_lists, policy, prompts, K, draws)]
            if recipe.method == REINFORCE:
                written.append(clocked("sampling", write_lists, policy, prompts, K))
            rewards = [
                clocked("rewards", rewards_of, each.items.numpy(), episodes.targets, histories, goal).weighted(1.0, 0.5)
                for each in written
            ]
            clocked("learning", learner.learn, prompts, written[0], rewards[0], rewards[-1], False, generator)
    lists = steps * PUBLIC_BATCH
    return {
        SAMPLED: lists / spent["sampling"],
        LEARNED: lists / spent["learning"],
        WHOLE: lists / sum(spent.values()),
    }


STEPS: dict[str, Callable[..., dict]] = {"align_batches": align_batches}


def main() -> None:
    if sys.argv[1:2] == ["step"]:
        return run_step(STEPS)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=SIZES, default="small")
    parser.add_argument("--items", type=int, default=1682)
    parser.add_argument("--users", type=int, default=943)
    parser.add_argument("--steps", type=int, default=30)
    common_options(parser, repeats=3)
    arguments = parser.parse_args()
    bench = Bench(Path(__file__).resolve(), arguments.cores)
    sizes = {name: getattr(arguments, name) for name in ("size", "items", "users", "steps")}
    runs = [
        bench.measure(way, "align_batches", way=way, seed=seed, threads=arguments.cores, **sizes)
        for seed in range(arguments.repeats)
        for way in WAYS
    ]
    ratios = []
    # an hour is the aim for the sizes of the recipe
    for way in WAYS if arguments.size == "small" else ():
        speed = median_of(runs, way, WHOLE)
        minutes = WEIGHTS * STEPS_OF_RECIPE * PUBLIC_BATCH / speed / 60
        ratios.append(
            Ratio(f"{way}, front of {WEIGHTS} weights and {STEPS_OF_RECIPE:,} steps, minutes", minutes, "<= 60")
        )
    title = (
        f"Batches of {PUBLIC_BATCH} lists of 10 of {arguments.items:,} items, {arguments.size} sizes, "
        f"{arguments.cores} cores"
    )
    report(title, runs, [SAMPLED, LEARNED, WHOLE], ratios, arguments.json)
    for way in WAYS:
        hours = PUBLIC_STEPS * PUBLIC_BATCH / median_of(runs, way, WHOLE) / 3600
        print(f"\n{way}: {PUBLIC_STEPS:,} steps would take {hours:,.1f} hours a weight.")


if __name__ == "__main__":
    main()
