"""How fast the recipes of MovieLens-1M train on a GPU, beside what the device can do at most.

    python benchmarks/gpu.py                              # every recipe of the claims ml1m_*, on the GPU
    python benchmarks/gpu.py --precision bfloat16 --compile
    python benchmarks/gpu.py --device cpu --small         # the same on a processor and on small data, to try it out

Each recipe is trained for ``--epochs`` epochs after one that warms up, in a process of its own, on the sequences of
``--sequences`` (a line for each user: user item item ...) or on made-up ones of the sizes of MovieLens-1M: 6,040 users,
3,416 items, lengths as there. Validation is not counted.

- *epoch, s* and *sequences/s*: medians of the epochs.
- *TFLOP*: floating-point operations of an epoch as ``torch.utils.flop_counter`` counts them, forwards and backwards:
  2 m n k for each product of matrices [m, k] and [k, n], those of attention among them; nothing for additions,
  normalisations and functions of single numbers.
- *GB*: bytes that an epoch moves if no two operations are fused: for each operation its inputs read once and its
  outputs written once; nothing for views and for memory that is only reserved.
- *roofline share*: the time that the device would need at least, the larger one of operations over its measured
  peak and bytes over its measured bandwidth, divided by the time that the epoch took. An operation that is fused moves
  less, so that the share of a compiled model may exceed 1.
- *peak, GB*: of the memory of the GPU; on a processor, of the process.

Peak and bandwidth are measured in the same run, by a product of square matrices in the precision of the training
(float32 without TF32) and by a copy, each the best of ten.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

REPOSITORY = Path(__file__).resolve().parent.parent
if str(REPOSITORY) not in sys.path:
    sys.path.insert(0, str(REPOSITORY))

from benchmarks.training import made_up_sequences, read_sequences, training_set_of  # noqa: E402

CLAIMS = "ml1m_"
USERS, ITEMS, LONGEST = 6040, 3416, 201
SMALL_USERS, SMALL_ITEMS, SMALL_LONGEST = 32, 100, 24
BOOKS = 8
REPEATS = 10
COLUMNS = ("epoch, s", "sequences/s", "TFLOP", "GB", "roofline share", "peak, GB")


def recipes_of_claims() -> dict[str, str | None]:
    """The recipes of the claims on MovieLens-1M, and why one is not measured; ``None`` for those that are."""
    from ml.reproduction.claims import load_claims
    from ml.training.recipe import load_recipe

    names = sorted({claim.recommender for name, claim in load_claims().items() if name.startswith(CLAIMS)})
    return {name: "reads the lists of a teacher" if load_recipe(name).teacher_lists else None for name in names}


class BytesMoved(TorchDispatchMode):
    """Counts what the operations within it read and write.

    Attributes:
        total: bytes so far.
    """

    def __init__(self) -> None:
        super().__init__()
        self.total = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        results = func(*args, **(kwargs or {}))
        schema = func._schema
        is_view = any(each.alias_info is not None and not each.alias_info.is_write for each in schema.returns)
        if not is_view and "empty" not in schema.name:
            moved = [each for each in tree_leaves((args, kwargs, results)) if isinstance(each, torch.Tensor)]
            self.total += sum(each.numel() * each.element_size() for each in moved)
        return results


def measured(
    recipe: str,
    device: str,
    precision: str,
    compile: bool,
    epochs: int,
    small: bool,
    sequences: str | None,
    threads: int,
) -> dict[str, Any]:
    """The figures of a recipe, trained here."""
    from torch.utils.flop_counter import FlopCounterMode

    from ml.codes.svd import assign_svd_codes
    from ml.training.devices import choose_device, name_of, peak_memory_in_bytes, start_measuring_memory
    from ml.training.recipe import load_recipe
    from ml.training.runtime import Execution
    from ml.training.sequential_recommender import SequentialRecommender

    chosen, at = load_recipe(recipe), choose_device(device)
    if sequences is not None:
        rows: list = read_sequences(sequences)
    elif small:
        rows = made_up_sequences(SMALL_USERS, SMALL_ITEMS, SMALL_LONGEST, "movielens")
    else:
        rows = made_up_sequences(USERS, ITEMS, LONGEST, "movielens")
    training_set = training_set_of(rows, validation=False)
    codes = assign_svd_codes(training_set, books=BOOKS) if chosen.codes else None

    def fit(count: int, compiled: bool) -> list[float]:
        training = replace(chosen.training, max_epochs=count, max_steps=0, patience=count)
        execution = Execution(threads=threads, device=device, precision=precision, compile=compiled)
        recommender = SequentialRecommender(replace(chosen, training=training), 0, codes, execution=execution)
        return [record.sequences_per_second for record in recommender.fit(training_set).log]

    with FlopCounterMode(display=False) as operations, BytesMoved() as moved:
        fit(1, False)
    start_measuring_memory(at)
    speed = statistics.median(fit(1 + epochs, compile)[1:])
    peaks = peak_memory_in_bytes(at)
    seconds = len(rows) / speed
    flops, bandwidth = peak_flops(at, precision, small), peak_bandwidth(at, small)
    least = max(operations.get_total_flops() / flops, moved.total / bandwidth)
    return {
        "device": name_of(at),
        "epoch, s": seconds,
        "sequences/s": speed,
        "TFLOP": operations.get_total_flops() / 1e12,
        "GB": moved.total / 1e9,
        "roofline share": least / seconds,
        "peak, GB": peaks.get("gpu", peaks["process"]) / 1e9,
        "peak TFLOP/s": flops / 1e12,
        "peak GB/s": bandwidth / 1e9,
    }


def peak_flops(device: torch.device, precision: str, small: bool) -> float:
    """Operations per second of a product of square matrices."""
    size = 8192 if device.type == "cuda" else 512 if small else 2048
    kind = torch.bfloat16 if precision == "bfloat16" else torch.float32
    left, right = (torch.randn(size, size, device=device).to(kind) for _ in range(2))
    out = torch.empty_like(left)
    return 2 * size**3 / best_seconds(device, lambda: torch.mm(left, right, out=out))


def peak_bandwidth(device: torch.device, small: bool) -> float:
    """Bytes per second that a copy reads and writes."""
    size = 1 << (30 if device.type == "cuda" else 24 if small else 28)
    source = torch.zeros(size, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    return 2 * size / best_seconds(device, lambda: target.copy_(source))


def best_seconds(device: torch.device, operation: Callable[[], Any]) -> float:
    """The least time of so many, after one that warms up."""
    taken = []
    for _ in range(1 + REPEATS):
        began = time.perf_counter()
        operation()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        taken.append(time.perf_counter() - began)
    return min(taken[1:])


def table(figures: dict[str, dict[str, Any]], left_out: dict[str, str]) -> str:
    """The figures as a table in Markdown; recipes that were not measured are in it too."""
    lines = [f"| Recipe | {' | '.join(COLUMNS)} |", f"|---|{'---|' * len(COLUMNS)}"]
    lines += [
        f"| `{name}` | {' | '.join(f'{found[column]:,.4g}' for column in COLUMNS)} |" for name, found in figures.items()
    ]
    lines += [f"| `{name}` | not run: {why} |{' |' * (len(COLUMNS) - 1)}" for name, why in left_out.items()]
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> int:
    """Measure every recipe in a process of its own; the exit code."""
    given = sys.argv[1:] if arguments is None else arguments
    if given[:1] == ["step"]:
        print(json.dumps(measured(**json.loads(given[1]))))
        return 0
    options = _parser().parse_args(given)
    if options.device == "cuda" and not torch.cuda.is_available():
        print(
            'there is no GPU here, so nothing was measured and the rows of benchmarks/README.md stay "not run"; '
            "--device cpu --small tries the same on a processor",
            file=sys.stderr,
        )
        return 1
    known = recipes_of_claims()
    if unknown := sorted(set(options.recipes) - set(known)):
        print(f"error: {', '.join(unknown)} is no recipe of a claim; there are {', '.join(known)}", file=sys.stderr)
        return 1
    chosen = {name: why for name, why in known.items() if name in (options.recipes or known)}
    settings = {
        "device": options.device,
        "precision": options.precision,
        "compile": options.compile,
        "epochs": options.epochs,
        "small": options.small,
        "sequences": None if options.sequences is None else str(options.sequences.resolve()),
        "threads": options.threads,
    }
    figures = {}
    for name in (name for name, why in chosen.items() if why is None):
        print(name, file=sys.stderr, flush=True)
        step = [sys.executable, __file__, "step", json.dumps({"recipe": name, **settings})]
        ended = subprocess.run(step, stdout=subprocess.PIPE, text=True)
        if ended.returncode:
            print(f"error: {name} was not measured: its process ended with {ended.returncode}", file=sys.stderr)
            return 1
        figures[name] = json.loads(ended.stdout.splitlines()[-1])
    print(table(figures, {name: why for name, why in chosen.items() if why is not None}))
    if figures:
        last = list(figures.values())[-1]
        print(
            f"\n{last['device']}, {options.precision}{', compiled' if options.compile else ''}: "
            f"{last['peak TFLOP/s']:.4g} TFLOP/s and {last['peak GB/s']:.4g} GB/s measured; torch {torch.__version__}, "
            f"numpy {np.__version__}"
        )
    print(f"\nQuality on the real data: make reproduce CLAIMS='{CLAIMS}*' DEVICE={options.device} DATA=<folder>")
    if options.json is not None:
        options.json.write_text(json.dumps({"settings": settings, "figures": figures}, indent=2) + "\n")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--precision", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--compile", action="store_true", help="let torch.compile fuse the model")
    parser.add_argument("--epochs", type=int, default=5, help="that are measured (default: 5)")
    parser.add_argument("--small", action="store_true", help=f"{SMALL_USERS} made-up users, to try the command out")
    parser.add_argument("--sequences", type=Path, help="a line for each user: user item item ...; made up otherwise")
    parser.add_argument("--recipes", type=lambda names: names.split(","), default=[], help="apart by commas; all")
    parser.add_argument("--threads", type=int, default=1, help="of torch (default: 1)")
    parser.add_argument("--json", type=Path, help="write everything measured into this file")
    return parser


if __name__ == "__main__":
    sys.exit(main())
