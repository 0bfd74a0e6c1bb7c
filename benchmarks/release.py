"""What a release costs in use: lists for every user in bounded memory, and models run by ONNX Runtime.

    python -m benchmarks.release batch [--users 100000 1000000] [--items 10000] [--recommender sasrec] [--json FILE]
    python -m benchmarks.release onnx  [--items 10000] [--dimensions 64] [--json FILE]

*batch*: made-up histories (ten items on average, popular items more often), and a small model that was trained on a
thousand of them: its weights do not change what is computed. For each number of users a process of its own loads the
bundle and the training set, and writes ten items for each user; reported are users/s, the memory of the process before
the first list, and its peak. The file is then made in two processes, a part each, and joined: the bytes are compared.

*onnx*: SASRec, BERT4Rec and GRU4Rec as they are released, and exported (the extra ``onnx``): milliseconds for the ten
best of one history, and histories/s where a thousand come together, on one thread each. The two take turns; medians of
the rounds, with the least and the most, and the largest difference of a score. Lists are read to the end, so what is
compared includes the ranking, which is the same.

Linux alone (peak memory is that of the process, from ``getrusage``).
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

REPOSITORY = Path(__file__).resolve().parent.parent
K = 10
MEAN_LENGTH = 10
TRAINED_ON = 1000
# histories that are asked for one by one in a round, and all at once
SINGLE, TOGETHER = 100, 1000
DIMENSIONS = 32


def made_up(users: int, items: int, seed: int = 0):
    """A training set of so many users, with one validation and one test item each."""
    from ml.data.sequences import Sequences
    from ml.data.training_set import TrainingSet

    rng = np.random.default_rng(seed)
    weights = np.cumsum(1 / np.arange(1, items + 1) ** 0.8)

    def drawn(number: int) -> np.ndarray:
        return np.searchsorted(weights, rng.random(number) * weights[-1]).astype(np.int32)

    lengths = 2 + rng.geometric(1 / (MEAN_LENGTH - 3), users)
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    everyone = np.arange(users, dtype=np.int32)
    return TrainingSet(
        dataset="Made_Up",
        item_ids=np.char.mod("I%08d", np.arange(items)).astype("S"),
        user_ids=np.char.mod("U%08d", np.arange(users)).astype("S"),
        train=Sequences(drawn(int(offsets[-1])), offsets),
        validation_users=everyone,
        validation_targets=drawn(users),
        test_users=everyone,
        test_targets=drawn(users),
        protocol={"split": "leave-one-out"},
    )


def recipe_of(architecture: str, dimensions: int):
    """A small model, trained for an epoch."""
    from ml.training.recipe import recipe_from_tables

    attention = {"blocks": 2, "heads": 2, "feed_forward_dimensions": dimensions}
    own: dict[str, dict[str, Any]] = {
        "sasrec": attention | {"block": "pre_norm"},
        "bert4rec": attention | {"item_biases": True},
        "gru4rec": {"layers": 1, "hidden_dimensions": dimensions},
    }
    tables = {
        "title": architecture,
        "source": "none",
        "notes": "for a benchmark",
        "set": "quick",
        "model": {
            "architecture": architecture,
            "dimensions": dimensions,
            "dropout": 0.1,
            "max_length": 50,
            "item_embedding": "dense",
            "separate_output_embedding": False,
            "embedding_deviation": 0.1,
        }
        | own[architecture],
        "task": {"name": "cloze", "masked_share": 0.2, "last_item_share": 0.2}
        if architecture == "bert4rec"
        else {"name": "next_item"},
        "objective": {"name": "softmax"},
        "optimiser": {"learning_rate": 0.001, "betas": [0.9, 0.98], "weight_decay": 0.0, "warm_up_steps": 0},
        "training": {"batch_size": 128, "max_epochs": 1, "patience": 1},
    }
    return recipe_from_tables(architecture, tables, "the benchmark")


def release(name: str, items: int, folder: Path, dimensions: int = DIMENSIONS) -> None:
    """A bundle of a baseline, or of a small model, fitted on few users of a catalogue."""
    from ml.baselines.registry import BASELINES
    from ml.recommenders.registry import Registry
    from ml.release.write_bundle import write_bundle

    few = made_up(TRAINED_ON, items, seed=1)
    if name in BASELINES:
        registry, recommender = Registry({}, {}), BASELINES[name].create().fit(few)
    else:
        from ml.training.runtime import Execution
        from ml.training.sequential_recommender import SequentialRecommender

        recipe = recipe_of(name, dimensions)
        registry = Registry({name: recipe}, {})
        recommender = SequentialRecommender(recipe, execution=Execution(threads=1)).fit(few)
    with tempfile.TemporaryDirectory() as saved:
        recommender.save(Path(saved))
        folder.mkdir()
        titles = {item.decode(): f"Title of {item.decode()}" for item in few.item_ids.tolist()}
        write_bundle(folder, name, lambda _: Path(saved), registry, few, titles, {"exclude_seen": True})


def write_lists(bundle: str, training_set: str, path: str, part: int, parts: int) -> dict[str, float]:
    """One process: peak memory in MB, and seconds without imports and loading."""
    import raw2rank
    from ml.data.training_set import TrainingSet
    from ml.release.recommendations import Users, write_recommendations

    opened = raw2rank.load(Path(bundle))
    users = Users.of(TrainingSet.load(Path(training_set)))
    opened.recommend([["I00000001"]])
    before, began = _peak(), time.perf_counter()
    written = write_recommendations(Path(path), opened, users, k=K, part=part, parts=parts)
    seconds = time.perf_counter() - began
    return {"users": written.users, "seconds": seconds, "before_mb": before, "peak_mb": _peak()}


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def start(*arguments: object) -> subprocess.Popen:
    command = [sys.executable, "-m", "benchmarks.release", "step", *map(str, arguments)]
    return subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True)


def answer(process: subprocess.Popen) -> dict[str, Any]:
    printed, _ = process.communicate()
    if process.returncode:
        raise SystemExit(f"a step ended with {process.returncode}")
    return json.loads(printed)


def batch(options: argparse.Namespace) -> list[dict[str, Any]]:
    from ml.release.recommendations import join_recommendations

    measured = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        release(options.recommender, options.items, folder / "bundle")
        for users in options.users:
            place = folder / f"users-{users}"
            place.mkdir()
            made_up(users, options.items).save(place)
            one = answer(start(folder / "bundle", place, folder / "whole.parquet", 0, 1))
            began = time.perf_counter()
            files = [folder / f"part-{part}.parquet" for part in range(2)]
            both = [start(folder / "bundle", place, file, part, 2) for part, file in enumerate(files)]
            for process in both:
                answer(process)
            in_parts = time.perf_counter() - began
            join_recommendations(files, folder / "joined.parquet")
            same = (folder / "joined.parquet").read_bytes() == (folder / "whole.parquet").read_bytes()
            measured.append(
                {
                    "users": users,
                    "users_per_second": one["users"] / one["seconds"],
                    "seconds": one["seconds"],
                    "memory_before_mb": one["before_mb"],
                    "peak_mb": one["peak_mb"],
                    "two_processes_seconds": in_parts,
                    "joined_bytes_are_equal": same,
                    "file_mb": (folder / "whole.parquet").stat().st_size / 2**20,
                }
            )
            print(
                f"{users:>9,} users, {options.items:,} items, {options.recommender}: {one['seconds']:.1f} s "
                f"({one['users'] / one['seconds']:,.0f} users/s), peak {one['peak_mb']:.0f} MB "
                f"({one['before_mb']:.0f} MB before the first list), file {measured[-1]['file_mb']:.0f} MB; two "
                f"processes {in_parts:.1f} s with imports, joined bytes {'equal' if same else 'DIFFER'}",
                flush=True,
            )
    return measured


def onnx(options: argparse.Namespace) -> list[dict[str, Any]]:
    import torch

    import raw2rank
    from ml.release.onnx_export import export_onnx
    from ml.release.onnx_recommender import OnnxRecommender

    torch.set_num_threads(1)
    everyone = made_up(TOGETHER, options.items, seed=2).train
    measured = []
    for name in ("sasrec", "bert4rec", "gru4rec"):
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary)
            release(name, options.items, folder / "bundle", options.dimensions)
            (folder / "onnx").mkdir()
            bundle = raw2rank.load(folder / "bundle")
            export_onnx(bundle, folder / "onnx")
            both = {"torch": bundle.recommender, "onnx": OnnxRecommender.load(folder / "onnx")}
        lists = {kind: recommender.recommend(everyone, K, True) for kind, recommender in both.items()}
        difference = float(np.abs(lists["torch"].scores - lists["onnx"].scores).max())
        same = float((lists["torch"].items == lists["onnx"].items).mean())
        alone: dict[str, list[float]] = {kind: [] for kind in both}
        together: dict[str, list[float]] = {kind: [] for kind in both}
        for number in range(options.rounds):
            for kind, recommender in both.items():
                began = time.perf_counter()
                for row in range(SINGLE):
                    recommender.recommend(everyone.take(np.array([(number * SINGLE + row) % TOGETHER])), K, True)
                alone[kind].append((time.perf_counter() - began) / SINGLE * 1000)
                began = time.perf_counter()
                recommender.recommend(everyone, K, True)
                together[kind].append(TOGETHER / (time.perf_counter() - began))
        ratios = [one / other for one, other in zip(alone["torch"], alone["onnx"], strict=True)]
        more = [other / one for one, other in zip(together["torch"], together["onnx"], strict=True)]
        measured.append(
            {
                "model": name,
                "largest_score_difference": difference,
                "equal_places": same,
                **{f"one_ms_{kind}": statistics.median(values) for kind, values in alone.items()},
                **{f"histories_per_second_{kind}": statistics.median(values) for kind, values in together.items()},
                "one_speed_up": [statistics.median(ratios), min(ratios), max(ratios)],
                "together_speed_up": [statistics.median(more), min(more), max(more)],
            }
        )
        median = statistics.median
        print(f"{name}, {options.items:,} items, {options.dimensions} dimensions")
        print(
            f"  one history: {median(alone['torch']):.2f} ms with torch, {median(alone['onnx']):.2f} ms with ONNX "
            f"Runtime, {median(ratios):.2f} times as fast ({min(ratios):.2f} to {max(ratios):.2f})"
        )
        print(
            f"  {TOGETHER} together: {median(together['torch']):,.0f} and {median(together['onnx']):,.0f} histories/s, "
            f"{median(more):.2f} times as fast ({min(more):.2f} to {max(more):.2f})"
        )
        print(f"  scores differ by at most {difference:.1e}, {same:.2%} of the places are equal", flush=True)
    return measured


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    of_batch = commands.add_parser("batch")
    of_batch.add_argument("--users", type=int, nargs="+", default=[100_000, 1_000_000])
    of_batch.add_argument("--items", type=int, default=10_000)
    of_batch.add_argument("--recommender", default="sasrec", help="sasrec, gru4rec, bert4rec, or a baseline")
    of_batch.add_argument("--json", type=Path)
    of_onnx = commands.add_parser("onnx")
    of_onnx.add_argument("--items", type=int, default=10_000)
    of_onnx.add_argument("--dimensions", type=int, default=64)
    of_onnx.add_argument("--rounds", type=int, default=7)
    of_onnx.add_argument("--json", type=Path)
    of_step = commands.add_parser("step")
    of_step.add_argument("arguments", nargs=5)
    options = parser.parse_args()
    if options.command == "step":
        bundle, training_set, path, part, parts = options.arguments
        print(json.dumps(write_lists(bundle, training_set, path, int(part), int(parts))))
        return
    measured = {"batch": batch, "onnx": onnx}[options.command](options)
    if options.json:
        options.json.write_text(json.dumps(measured, indent=2) + "\n")


if __name__ == "__main__":
    main()
