"""What long histories cost, and what is remembered of them: attention beside a recurrence and a state space.

    python -m benchmarks.long_memory [--lengths 50 200 500 1000] [--repeats 3] [--json FILE]
    python -m benchmarks.long_memory --recall [--distances 5 20 100 400]

Without ``--recall`` each model takes training steps on batches of made-up histories that all have one length, in a
process of its own on one thread: seconds of a step (forward, loss over sampled items, backward, optimiser) and the peak
memory of the process, beside those of SASRec at the same length. Models take turns; reported are medians over the
repeats, with the least and the most. SIGMA's own task, a target at the end of each prefix, has more steps in an epoch
than the one here, a target at every position; a model that reasons is timed with the loss of its last step alone.

With ``--recall`` each model is trained on histories in which the last item names an item that stands a given number of
places before it, and must be repeated: a task that cannot be solved without remembering so far back. Reported is the
share of held-out histories whose item is ranked first. Sizes, steps and seed are the same for all models.

Linux alone (peak memory is that of the process, from ``getrusage``).
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
MODELS = ("sasrec", "gru4rec", "mamba", "hstu", "sigma", "sasrec_reasoning")
ITEMS = 2000
ROWS = 16
STEPS = 5
# of the task of recall
NAMES, RECALL_STEPS, RECALL_ROWS = 64, 1500, 32


def settings_of(model: str, max_length: int):
    """The sizes of the plain recipe, for each architecture."""
    from ml.models.settings import MODEL_SETTINGS

    common = {
        "dimensions": 64,
        "dropout": 0.1,
        "max_length": max_length,
        "item_embedding": "dense",
        "separate_output_embedding": False,
        "embedding_deviation": 0.05,
    }
    attention = {"blocks": 2, "heads": 1, "feed_forward_dimensions": 64, "block": "pre_norm"}
    state_space = {
        "blocks": 2,
        "feed_forward_dimensions": 64,
        "expansion": 1,
        "head_dimensions": 32,
        "state_dimensions": 32,
        "convolution_width": 4,
    }
    own = {
        "sasrec": attention,
        "gru4rec": {"layers": 1, "hidden_dimensions": 64},
        "mamba": state_space,
        "hstu": {"blocks": 2, "heads": 1},
        "sigma": state_space,
        "sasrec_reasoning": attention | {"reasoning_steps": 2, "reasoning_temperature": 1.5},
    }[model]
    return MODEL_SETTINGS[model](**common, **own)


def measure_steps(model_name: str, length: int) -> dict[str, float]:
    """Seconds of a training step, and peak memory, of this process."""
    import numpy as np
    import torch
    from torch.nn import functional as F

    from ml.models.build import build_model

    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = build_model(settings_of(model_name, length), ITEMS, 0, None).train()
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-3, fused=True)
    items = torch.from_numpy(np.random.default_rng(0).integers(0, ITEMS, (ROWS, length + 1)))
    lengths = torch.full((ROWS,), length)
    negatives = torch.arange(256)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    seconds = []
    for _ in range(STEPS):
        start = time.perf_counter()
        optimiser.zero_grad()
        states = model(items[:, :-1], lengths, lengths).flatten(0, 1)
        target = model.output_embedding.score_target(states, items[:, 1:].flatten())
        others = model.output_embedding.score_shared(states, negatives)
        F.cross_entropy(
            torch.cat([target[:, None], others], dim=1), torch.zeros(len(states), dtype=torch.long)
        ).backward()
        optimiser.step()
        seconds.append(time.perf_counter() - start)
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # the first step allocates
    return {"seconds": statistics.median(seconds[1:]), "megabytes": (after - before) / 1024}


def measure_recall(model_name: str, distance: int) -> dict[str, float]:
    """Share of held-out histories whose item at the distance is ranked first after training."""
    import numpy as np
    import torch
    from torch.nn import functional as F

    from ml.models.build import build_model

    torch.set_num_threads(1)
    torch.manual_seed(0)
    length = distance + 8
    model = build_model(settings_of(model_name, length), NAMES + 1, 0, None)
    optimiser = torch.optim.Adam(model.parameters(), lr=2e-3, fused=True)
    generator = np.random.default_rng(0)

    def batch() -> tuple[torch.Tensor, torch.Tensor]:
        # fillers are a few items, names many: the one name of a history is what is to be repeated
        items = generator.integers(0, 8, (RECALL_ROWS, length))
        names = generator.integers(8, NAMES, RECALL_ROWS)
        items[:, length - 1 - distance] = names
        items[:, -1] = NAMES
        return torch.from_numpy(items), torch.from_numpy(names)

    lengths = torch.full((RECALL_ROWS,), length)
    model.train()
    start = time.perf_counter()
    for _ in range(RECALL_STEPS):
        items, names = batch()
        optimiser.zero_grad()
        states = model(items, lengths, lengths)[:, -1]
        F.cross_entropy(model.output_embedding.score_all(states), names).backward()
        optimiser.step()
    seconds = time.perf_counter() - start
    model.eval()
    right = []
    with torch.no_grad():
        for _ in range(16):
            items, names = batch()
            scores = model.output_embedding.score_all(model(items, lengths, lengths)[:, -1])
            right.append((scores.argmax(dim=1) == names).float().mean().item())
    return {"recall": statistics.mean(right), "seconds": seconds}


def in_a_process(*arguments: str) -> dict[str, float]:
    """What a measurement in a process of its own says."""
    command = [sys.executable, "-m", "benchmarks.long_memory", "--one", *arguments]
    ran = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
    if ran.returncode:
        sys.exit(f"{' '.join(arguments)} failed:\n{ran.stderr}")
    return json.loads(ran.stdout.splitlines()[-1])


def sweep(models: list[str], lengths: list[int], repeats: int) -> dict[str, dict[str, list[float]]]:
    """Seconds and megabytes by model and length; models take turns."""
    found: dict[str, dict[str, list[float]]] = {}
    for length in lengths:
        for _ in range(repeats):
            for model in models:
                one = in_a_process("steps", model, str(length))
                cell = found.setdefault(f"{model} {length}", {name: [] for name in one})
                for name, value in one.items():
                    cell[name].append(value)
    return found


def table_of_sweep(found: dict[str, dict[str, list[float]]], models: list[str], lengths: list[int]) -> list[str]:
    rows = ["| Model | Length | ms a step | × SASRec | MB of a step | × SASRec |", "|---|---:|---:|---:|---:|---:|"]
    for length in lengths:
        plain = found.get(f"sasrec {length}")
        for model in models:
            cell = found[f"{model} {length}"]
            shown = []
            for name, scale in (("seconds", 1000), ("megabytes", 1)):
                values = [scale * value for value in cell[name]]
                middle = statistics.median(values)
                shown.append(f"{middle:.0f} ({min(values):.0f} to {max(values):.0f})")
                shown.append(f"{middle / scale / statistics.median(plain[name]):.2f}" if plain else "")
            rows.append(f"| {model} | {length:,} | " + " | ".join(shown) + " |")
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=list(MODELS), choices=MODELS)
    parser.add_argument("--lengths", nargs="+", type=int, default=[50, 200, 500, 1000])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--recall", action="store_true", help="train on the task of recall instead")
    parser.add_argument("--distances", nargs="+", type=int, default=[5, 20, 100, 400])
    parser.add_argument("--json", type=Path, help="everything measured goes here")
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.one:
        kind, model, number = chosen.one
        print(json.dumps({"steps": measure_steps, "recall": measure_recall}[kind](model, int(number))))
        return
    if chosen.recall:
        recalled = {
            f"{model} {distance}": in_a_process("recall", model, str(distance))
            for distance in chosen.distances
            for model in chosen.models
        }
        print("| Distance | " + " | ".join(chosen.models) + " |\n|---:|" + "---:|" * len(chosen.models))
        for distance in chosen.distances:
            cells = (f"{recalled[f'{model} {distance}']['recall']:.2f}" for model in chosen.models)
            print(f"| {distance} | " + " | ".join(cells) + " |")
        found: dict = recalled
    else:
        found = sweep(chosen.models, chosen.lengths, chosen.repeats)
        print("\n".join(table_of_sweep(found, chosen.models, chosen.lengths)))
    if chosen.json:
        chosen.json.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
