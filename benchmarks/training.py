"""How fast sequence models train, beside a peer and beside a published form.

    python benchmarks/training.py time-to-quality --sequences FILE --peers FOLDER [--quality .055] [--ratio 30]
    python benchmarks/training.py gbce [--users 1024] [--lengths movielens]
    python benchmarks/training.py load [--threads 1]
    python benchmarks/training.py beside-plain [--recipes cl4srec,duorec,icsrec,cbit]

*time-to-quality*: wall time from arrays to a validation nDCG@10, over the whole catalogue less the items of the history
(those of the Beauty file never repeat) and evaluation included, and
what RecTools' SASRec of the same sizes needs on the same sequences. RecTools is trained epoch by epoch until it has
that quality or has trained for ``--ratio`` times as long; in the second case the ratio is a lower bound. Only
the seconds inside its own ``fit_partial`` count for it, those of its evaluation do not.

*gbce*: sequences/s and memory of gBCE with many negatives on sizes of MovieLens-1M, beside the published form of it
(``gbce_reference.py``), on made-up sequences or on a file.

*load*: seconds of a small training on otherwise idle cores, and while another process keeps each core busy. Idle and
busy runs alternate. With ``--threads 2`` it shows why one thread is the default.

*beside-plain*: what recipes that add something to a plain one cost beside it, on the same made-up sequences. For
recipes that read neither text nor times, of which made-up sequences have none.

A sequence file has a line for each user: the user, and the items from the oldest to the newest, apart by blanks. The
last item is the test item, the one before it the validation item; the rest is trained on.

RecTools runs in an environment of its own, made in ``--peers`` where it is not there yet. Every measurement is a
process of its own on ``--cores`` cores; those that are compared take turns. Reported are medians, with the
least and the most. *processor* is the seconds of all cores of the process from start to end: on a machine that does
other things too it says more than wall time. A table goes to standard output, everything measured to ``--json``.
Linux alone.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

# a peer's process runs this file too, so nothing but the standard library is imported here

REPOSITORY = Path(__file__).resolve().parent.parent
REQUIREMENTS = REPOSITORY / "benchmarks" / "requirements_rectools.txt"
OURS, RECTOOLS, PUBLISHED_FORM = "raw2rank", "RecTools 0.19", "published form"
IDLE, BUSY = "idle cores", "busy cores"
# sizes of SASRec in RecTools, as its authors run it on this file; the rest are its defaults
RECTOOLS_SIZES = {"n_factors": 64, "n_blocks": 1, "n_heads": 1, "dropout_rate": 0.2, "session_max_len": 50}
RECTOOLS_LOSS = {"loss": "sampled_softmax", "n_negatives": 256}


# ---- data


def read_sequences(file: str) -> list[list[int]]:
    """Items of each user, oldest first, of users with three items or more."""
    with open(file, encoding="utf-8") as lines:
        rows = [[int(item) for item in line.split()[1:]] for line in lines]
    return [row for row in rows if len(row) >= 3]


def training_set_of(rows: list[list[int]], validation: bool = True):
    """Sequences as a training set: the last item for the test, the one before it for validation."""
    import numpy as np

    from ml.data.sequences import Sequences
    from ml.data.training_set import TrainingSet

    catalogue, flat = np.unique(np.concatenate([np.asarray(row) for row in rows]), return_inverse=True)
    ends = np.cumsum([len(row) for row in rows])
    indexed = np.split(flat.astype(np.int32), ends[:-1])
    users = np.arange(len(rows), dtype=np.int32)
    none = users[:0]
    return TrainingSet(
        dataset="benchmark",
        item_ids=np.array([f"{item:09d}".encode() for item in catalogue]),
        user_ids=np.array([f"{user:09d}".encode() for user in users]),
        train=Sequences.from_lists([row[:-2] if validation else row for row in indexed]),
        validation_users=users if validation else none,
        validation_targets=np.array([row[-2] for row in indexed], dtype=np.int32) if validation else none,
        test_users=users if validation else none,
        test_targets=np.array([row[-1] for row in indexed], dtype=np.int32) if validation else none,
    )


def made_up_sequences(users: int, items: int, longest: int, lengths: str, seed: int = 0) -> list:
    """Sequences of unequally popular items.

    ``lengths`` is ``movielens`` for those of MovieLens-1M (log-normal, median 96 and mean 166 before they are cut to
    ``longest``, 18 at least) or ``full`` for ``longest`` items each.
    """
    import numpy as np

    generator = np.random.default_rng(seed)
    drawn = np.clip(generator.lognormal(np.log(96), 1.044, users), 18, longest).astype(np.int64)
    counts = np.full(users, longest) if lengths == "full" else drawn
    weights = 1 / np.arange(10, items + 10)
    popular = generator.permutation(items)
    return [popular[generator.choice(items, count, p=weights / weights.sum())] for count in counts]


# ---- steps: each runs in a process of its own


def train_ours(sequences: str, recipe: str, quality: float, seed: int, epochs: int, threads: int) -> dict:
    """A recipe, trained as it is trained everywhere; when its log first shows the quality."""
    from dataclasses import replace

    from ml.training.runtime import Execution
    from ml.training.sequential_recommender import SequentialRecommender

    training_set, chosen = training_set_of(read_sequences(sequences)), recipe_named(recipe)
    if epochs:
        chosen = replace(chosen, training=replace(chosen.training, max_epochs=epochs, max_steps=0))
    began = time.perf_counter()
    execution = Execution(threads=threads)
    recommender = SequentialRecommender(chosen, seed, execution=execution, validate_with_seen_excluded=True)
    log = recommender.fit(training_set).log
    reached = next((record for record in log if record.validation_ndcg_at_10 >= quality), None)
    return {
        "seconds to quality": reached and reached.seconds,
        "epochs to quality": reached and reached.epoch,
        "sequences/s": statistics.median(record.sequences_per_second for record in log),
        "best nDCG@10": max(record.validation_ndcg_at_10 for record in log),
        "seconds of the whole fit": time.perf_counter() - began,
        "nDCG@10 by epoch": [record.validation_ndcg_at_10 for record in log],
    }


def train_rectools(sequences: str, quality: float, seed: int, limit: float, epochs: int, batch_size: int) -> dict:
    """RecTools' SASRec, epoch by epoch, until it has the quality, or has trained for long enough."""
    rows = read_sequences(sequences)
    model, dataset, users = rectools_model(rows, seed, batch_size)
    spent, speeds, evaluations, qualities = [], [], [], []
    while len(spent) < epochs and sum(spent) < limit and (not qualities or qualities[-1] < quality):
        began = time.perf_counter()
        model.fit_partial(dataset, min_epochs=1, max_epochs=1)
        spent.append(time.perf_counter() - began)
        speeds.append(sum(len(row) > 3 for row in rows) / spent[-1])
        began = time.perf_counter()
        ranked = model.recommend(users, dataset, k=10, filter_viewed=True)
        evaluations.append(time.perf_counter() - began)
        targets = ranked["user_id"].map({user: row[-2] for user, row in enumerate(rows)})
        ranks = ranked.loc[ranked["item_id"] == targets, "rank"].to_numpy(dtype=float)
        qualities.append(float(_discounts(ranks).sum() / len(rows)))
        print(f"epoch {len(spent)}: {spent[-1]:.0f} s, nDCG@10 {qualities[-1]:.4f}", file=sys.stderr, flush=True)
    reached = qualities[-1] >= quality
    return {
        "seconds to quality": sum(spent) if reached else None,
        "epochs to quality": len(spent) if reached else None,
        "sequences/s": statistics.median(speeds),
        "best nDCG@10": max(qualities),
        "seconds of training": sum(spent),
        "seconds of an evaluation": statistics.median(evaluations),
        "nDCG@10 by epoch": qualities,
        "seconds by epoch": spent,
    }


def gbce_ours(recipe: str, seed: int, threads: int, **data) -> dict:
    """One epoch of a gSASRec recipe at the sizes of MovieLens-1M."""
    from dataclasses import replace

    from ml.training.runtime import Execution
    from ml.training.sequential_recommender import SequentialRecommender

    sizes, rows = gbce_sizes(), gbce_rows(**data)
    chosen = recipe_named(recipe)
    chosen = replace(
        chosen,
        model=replace(
            chosen.model,
            dimensions=sizes.dimensions,
            blocks=sizes.blocks,
            heads=sizes.heads,
            feed_forward_dimensions=sizes.dimensions,
            dropout=sizes.dropout,
            max_length=sizes.length,
            block="sasrec",
        ),
        objective=replace(chosen.objective, negatives=sizes.negatives, calibration=sizes.calibration),
        training=replace(chosen.training, batch_size=sizes.batch_size, batch_items=0, max_epochs=1, max_steps=0),
    )
    log = (
        SequentialRecommender(chosen, seed, execution=Execution(threads=threads))
        .fit(training_set_of(rows, validation=False))
        .log
    )
    return {"sequences/s": log[0].sequences_per_second, "loss": log[0].loss}


def gbce_published_form(seed: int, **data) -> dict:
    """The same epoch in the published form."""
    from gbce_reference import train_epoch

    sizes, rows = gbce_sizes(), gbce_rows(**data)
    began = time.perf_counter()
    losses = train_epoch(rows, sizes, seed)
    return {"sequences/s": len(rows) / (time.perf_counter() - began), "loss": statistics.fmean(losses)}


def train_small(recipe: str, seed: int, epochs: int, threads: int, warm_up: bool = False) -> dict:
    """A few epochs on about as many made-up histories as the demo dataset has."""
    from dataclasses import replace

    from ml.training.runtime import Execution
    from ml.training.sequential_recommender import SequentialRecommender

    rows = made_up_sequences(2000, 1000, 30, "movielens", seed)
    chosen = recipe_named(recipe)
    chosen = replace(chosen, training=replace(chosen.training, max_epochs=epochs, max_steps=0, patience=epochs))
    training_set, execution = training_set_of(rows), Execution(threads=threads)
    if warm_up:
        # what is imported in a first fit is no cost of the recipe
        once = replace(chosen, training=replace(chosen.training, max_epochs=1, patience=1))
        SequentialRecommender(once, seed, execution=execution).fit(training_set_of(rows[:100]))
    began = time.process_time()
    log = SequentialRecommender(chosen, seed, execution=execution).fit(training_set).log
    return {
        "seconds": log[-1].seconds,
        "processor in the fit, s": time.process_time() - began,
        "sequences/s": statistics.median(record.sequences_per_second for record in log),
        "loss": log[-1].loss,
    }


def gbce_sizes():
    from gbce_reference import Sizes

    return Sizes(
        items=3416,
        length=200,
        dimensions=128,
        blocks=2,
        heads=1,
        dropout=0.5,
        negatives=256,
        calibration=0.75,
        batch_size=128,
    )


def gbce_rows(users: int, lengths: str) -> list:
    sizes = gbce_sizes()
    return made_up_sequences(users, sizes.items, sizes.length + 1, lengths)


def recipe_named(name: str):
    from ml.training.recipe import RECIPES, load_recipe

    return load_recipe(RECIPES / f"{name}.toml")


def rectools_model(rows: list[list[int]], seed: int, batch_size: int, **options):
    """RecTools' SASRec, not trained yet, its data set of the training items, and the users."""
    import logging
    import warnings

    import numpy as np
    import pandas as pd
    import torch
    from rectools.dataset import Dataset
    from rectools.models import SASRecModel

    warnings.filterwarnings("ignore")
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    torch.manual_seed(seed)
    lengths = [len(row) - 2 for row in rows]
    interactions = pd.DataFrame(
        {
            "user_id": np.repeat(np.arange(len(rows)), lengths),
            "item_id": np.concatenate([row[:-2] for row in rows]),
            "weight": 1.0,
            "datetime": pd.to_datetime(np.concatenate([np.arange(length) for length in lengths]), unit="D"),
        }
    )
    model = SASRecModel(**RECTOOLS_SIZES, **RECTOOLS_LOSS, batch_size=batch_size, lr=1e-3, epochs=1, **options)
    return model, Dataset.construct(interactions), np.arange(len(rows))


def _discounts(ranks):
    import numpy as np

    return 1 / np.log2(1 + ranks)


STEPS: dict[str, Callable[..., dict]] = {
    step.__name__: step for step in (train_ours, train_rectools, train_small, gbce_ours, gbce_published_form)
}


# ---- measuring


@dataclass(frozen=True)
class Measurement:
    """One run of a step.

    Attributes:
        name: of what was measured, in words.
        figures: what the step says of itself.
        processor: seconds of all cores, from start to end of the process.
        peak: bytes of memory of the process at most.
    """

    name: str
    figures: dict
    processor: float
    peak: int


class StepError(Exception):
    """A step that did not end well; the message holds the end of its output."""


@dataclass(frozen=True)
class Bench:
    """Where steps run.

    Attributes:
        script: the file whose ``STEPS`` are run.
        cores: that a step may use, and its number of threads.
        peers: folder of the environment of RecTools.
    """

    script: Path
    cores: int
    peers: Path | None = None

    def measure(self, name: str, step: str, peer: bool = False, cores: int | None = None, **arguments) -> Measurement:
        """Run a step in a fresh process; with the Python of the peers, or with this one."""
        cores = cores or self.cores
        chosen = sorted(os.sched_getaffinity(0))[:cores]
        python = str(peer_python(self.peers)) if peer else sys.executable
        # of our Python the repository, of the peer's nothing of ours
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        environment |= {"OMP_NUM_THREADS": str(cores), "MKL_NUM_THREADS": str(cores)}
        if not peer:
            environment["PYTHONPATH"] = str(REPOSITORY)
        print(f"{name}: {step} {arguments}", file=sys.stderr, flush=True)
        started = subprocess.Popen(
            [python, str(self.script), "step", step, json.dumps(arguments)],
            env=environment,
            stdout=subprocess.PIPE,
            text=True,
            preexec_fn=lambda: os.sched_setaffinity(0, chosen),
        )
        output = started.stdout.read().splitlines()
        _, status, usage = os.wait4(started.pid, 0)
        started.returncode = os.waitstatus_to_exitcode(status)
        if started.returncode:
            raise StepError(f"{name}: the process ended with {started.returncode}\n" + "\n".join(output[-40:]))
        figures = json.loads(output[-1])
        shown = ", ".join(f"{key} {value:.4g}" for key, value in figures.items() if isinstance(value, (int, float)))
        print(f"  {shown}", file=sys.stderr, flush=True)
        return Measurement(name, figures, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024)


def peer_python(folder: Path | None) -> Path:
    """Python of the environment of the peers, made where it is not there or of other requirements."""
    if folder is None:
        raise SystemExit("--peers FOLDER is missing: where the environment of RecTools is, or is to be made")
    python, made_of = folder / "bin" / "python", folder / "made_of.txt"
    requirements = REQUIREMENTS.read_text(encoding="utf-8")
    if not made_of.exists() or made_of.read_text(encoding="utf-8") != requirements:
        print(f"making {folder} from {REQUIREMENTS.name}", file=sys.stderr, flush=True)
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "--quiet", "-r", str(REQUIREMENTS)], check=True)
        made_of.write_text(requirements, encoding="utf-8")
    return python


def run_step(steps: dict[str, Callable[..., dict]]) -> None:
    """Run the step that the command line names, and print what it found as the last line."""
    _, _, name, arguments = sys.argv
    print(json.dumps(steps[name](**json.loads(arguments))))


# ---- reporting


@dataclass(frozen=True)
class Ratio:
    """One figure over another, and what it should be.

    Attributes:
        text: what is divided by what.
        value: of the medians.
        aim: as ``>= 5``.
        is_bound: the true value is at least this one.
    """

    text: str
    value: float
    aim: str
    is_bound: bool = False

    @property
    def is_met(self) -> bool:
        comparison, limit = self.aim.split()
        return self.value <= float(limit) if comparison == "<=" else self.value >= float(limit)


def median_of(runs: list[Measurement], name: str, figure: str) -> float:
    """Median of a figure over the runs of one name."""
    return statistics.median(
        value for run in runs if run.name == name and (value := figure_of(run, figure)) is not None
    )


def figure_of(run: Measurement, figure: str) -> float | None:
    """A figure of a step, or ``processor, s`` or ``peak, MB`` of its process."""
    process = {"processor, s": run.processor, "peak, MB": run.peak / 1e6}
    return process[figure] if figure in process else run.figures.get(figure)


def report(title: str, runs: list[Measurement], figures: list[str], ratios: list[Ratio], file: Path | None) -> None:
    """Print the tables, and write all that was measured where a file is named."""
    figures = [*figures, "processor, s", "peak, MB"]
    print(f"### {title}\n\n| | runs | {' | '.join(figures)} |\n|---|---|{'---|' * len(figures)}")
    for name in dict.fromkeys(run.name for run in runs):
        of_name = [run for run in runs if run.name == name]
        cells = [_spread([figure_of(run, figure) for run in of_name]) for figure in figures]
        print(f"| {name} | {len(of_name)} | {' | '.join(cells)} |")
    if ratios:
        print("\n| | measured | aim | met |\n|---|---|---|---|")
    for ratio in ratios:
        at_least = "at least " if ratio.is_bound else ""
        print(f"| {ratio.text} | {at_least}{ratio.value:.3g} | {ratio.aim} | {'yes' if ratio.is_met else 'no'} |")
    if file:
        measured = {
            "title": title,
            "machine": {"processor": _processor(), "cores": os.cpu_count(), "python": platform.python_version()},
            "date": time.strftime("%Y-%m-%d"),
            "runs": [asdict(run) for run in runs],
            "ratios": [asdict(ratio) | {"is_met": ratio.is_met} for ratio in ratios],
        }
        file.write_text(json.dumps(measured, indent=2) + "\n", encoding="utf-8")


def _spread(values: list[float | None]) -> str:
    """Median, least and most, of four digits; a dash where there is nothing."""
    known = [value for value in values if value is not None]
    if not known:
        return "-"
    shown = [f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}" for value in (statistics.median(known),)]
    if len(known) > 1:
        shown += [f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}" for value in (min(known), max(known))]
        return f"{shown[0]} ({shown[1]} to {shown[2]})"
    return shown[0]


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.machine())


# ---- commands


def time_to_quality(arguments: argparse.Namespace) -> None:
    """Ours, the peer, ours again."""
    bench = Bench(Path(__file__).resolve(), arguments.cores, arguments.peers)
    common = {"sequences": str(arguments.sequences.resolve()), "quality": arguments.quality}

    def ours(seed: int) -> Measurement:
        return bench.measure(
            OURS,
            "train_ours",
            **common,
            recipe=arguments.recipe,
            seed=seed,
            epochs=arguments.epochs,
            threads=arguments.cores,
        )

    seeds = list(range(arguments.repeats))
    before = [ours(seed) for seed in seeds[: (len(seeds) + 1) // 2]]
    limit = arguments.peer_seconds
    if limit is None and any(run.figures["seconds to quality"] for run in before):
        limit = 1.02 * arguments.ratio * median_of(before, OURS, "seconds to quality")
    if limit is None:
        raise SystemExit(f"{arguments.recipe} did not reach {arguments.quality}: give --peer-seconds for RecTools")
    peer = bench.measure(
        RECTOOLS,
        "train_rectools",
        peer=True,
        **common,
        seed=0,
        limit=limit,
        epochs=arguments.peer_epochs,
        batch_size=arguments.peer_batch_size,
    )
    runs = [*before, peer, *(ours(seed) for seed in seeds[len(before) :])]
    ratios = [
        Ratio("sequences/s, ours / RecTools", *_over(runs, OURS, RECTOOLS, "sequences/s"), f">= {arguments.ratio}")
    ]
    if any(run.figures["seconds to quality"] for run in runs if run.name == OURS):
        seconds = median_of(runs, OURS, "seconds to quality")
        ratios.append(Ratio(f"seconds to {arguments.quality}, ours", seconds, "<= 60"))
        if all(run.figures["seconds to quality"] for run in runs if run.name == OURS):
            text = f"seconds to {arguments.quality}, RecTools / ours"
            reached = peer.figures["seconds to quality"]
            value = (reached or peer.figures["seconds of training"]) / seconds
            ratios.append(Ratio(text, value, f">= {arguments.ratio}", is_bound=reached is None))
    figures = ["seconds to quality", "epochs to quality", "sequences/s", "best nDCG@10"]
    title = f"Time to validation nDCG@10 {arguments.quality}, {arguments.cores} cores"
    report(title, runs, figures, ratios, arguments.json)


def gbce(arguments: argparse.Namespace) -> None:
    """Ours and the published form, taking turns."""
    bench = Bench(Path(__file__).resolve(), arguments.cores)
    data = {"users": arguments.users, "lengths": arguments.lengths}
    runs = []
    for seed in range(arguments.repeats):
        runs.append(
            bench.measure(OURS, "gbce_ours", recipe=arguments.recipe, seed=seed, threads=arguments.cores, **data)
        )
        runs.append(bench.measure(PUBLISHED_FORM, "gbce_published_form", seed=seed, **data))
    ratios = [
        Ratio(f"sequences/s, ours / {PUBLISHED_FORM}", *_over(runs, OURS, PUBLISHED_FORM, "sequences/s"), ">= 5"),
        Ratio(f"peak, ours / {PUBLISHED_FORM}", *_over(runs, OURS, PUBLISHED_FORM, "peak, MB"), "<= 0.25"),
    ]
    title = f"gBCE, 256 negatives, {arguments.users:,} sequences, {arguments.lengths} lengths, {arguments.cores} cores"
    report(title, runs, ["sequences/s", "loss"], ratios, arguments.json)


def load(arguments: argparse.Namespace) -> None:
    """Idle and busy, taking turns."""
    bench = Bench(Path(__file__).resolve(), arguments.cores)
    settings = {"recipe": arguments.recipe, "epochs": arguments.epochs, "threads": arguments.threads}
    runs = []
    for seed in range(arguments.repeats):
        runs.append(bench.measure(IDLE, "train_small", seed=seed, **settings))
        with busy_cores(arguments.cores):
            runs.append(bench.measure(BUSY, "train_small", seed=seed, **settings))
    # threads that spin while they wait show in the processor time, whatever else the machine does
    ratios = [
        Ratio(f"{figure}, {BUSY} / {IDLE}", *_over(runs, BUSY, IDLE, figure), aim)
        for figure, aim in (("seconds", "<= 3"), ("processor, s", "<= 1.5"))
    ]
    title = f"{arguments.recipe}, {arguments.epochs} epochs of 2,000 histories, threads: {arguments.threads}"
    report(title, runs, ["seconds", "loss"], ratios, arguments.json)


def beside_plain(arguments: argparse.Namespace) -> None:
    """Each recipe after the one that it is compared with."""
    # not seconds, which count what else the machine does
    figure = "processor in the fit, s"
    bench = Bench(Path(__file__).resolve(), arguments.cores)
    plain_of = {name: recipe_named(name).plain for name in arguments.recipes.split(",")}
    if without := [name for name, plain in plain_of.items() if plain is None]:
        raise SystemExit(f"{', '.join(without)}: not compared with a plain recipe, so there is no ratio to measure")
    settings = {"epochs": arguments.epochs, "threads": arguments.threads, "warm_up": True}
    order = dict.fromkeys(name for pair in plain_of.items() for name in reversed(pair))
    runs = [
        bench.measure(name, "train_small", recipe=name, seed=seed, **settings)
        for seed in range(arguments.repeats)
        for name in order
    ]
    ratios = [
        Ratio(f"{figure}, {name} / {plain}", *_over(runs, name, plain, figure), "<= 2")
        for name, plain in plain_of.items()
    ]
    title = (
        f"Recipes beside their plain ones, {arguments.epochs} epochs of 2,000 histories, threads: {arguments.threads}"
    )
    report(title, runs, [figure, "sequences/s"], ratios, arguments.json)


@contextmanager
def busy_cores(cores: int) -> Iterator[None]:
    """Processes that each keep one of the first ``cores`` cores busy, for as long as the context lasts."""
    burners = [
        subprocess.Popen(
            [sys.executable, "-c", f"import os\nos.sched_setaffinity(0, [{core}])\nwhile True: pass"],
            # Linux may share processor time between sessions first: those of another terminal are in another one
            start_new_session=True,
        )
        for core in sorted(os.sched_getaffinity(0))[:cores]
    ]
    try:
        yield
    finally:
        for burner in burners:
            burner.kill()
            burner.wait()


def _over(runs: list[Measurement], one: str, other: str, figure: str) -> tuple[float]:
    return (median_of(runs, one, figure) / median_of(runs, other, figure),)


def common_options(parser: argparse.ArgumentParser, repeats: int) -> None:
    """Options that every command has."""
    parser.add_argument("--cores", type=int, default=2, help="cores of a step, and its threads unless stated")
    parser.add_argument("--repeats", type=int, default=repeats)
    parser.add_argument("--json", type=Path, help="write everything measured into this file")


def main() -> None:
    if sys.argv[1:2] == ["step"]:
        return run_step(STEPS)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    command = commands.add_parser("time-to-quality")
    command.add_argument("--sequences", type=Path, required=True, help="a line for each user: user item item ...")
    command.add_argument("--recipe", default="sasrec_sampled_softmax", help="name of a recipe of this project")
    command.add_argument("--quality", type=float, default=0.055, help="validation nDCG@10 to reach")
    command.add_argument("--epochs", type=int, default=0, help="of ours, at most; 0: as the recipe says")
    command.add_argument("--peers", type=Path, required=True, help="folder of the environment of RecTools")
    command.add_argument("--ratio", type=float, default=30, help="RecTools is given this many times our seconds")
    command.add_argument("--peer-seconds", type=float, help="and this many instead, where they are given")
    command.add_argument("--peer-epochs", type=int, default=1000, help="and as many epochs, at most")
    command.add_argument("--peer-batch-size", type=int, default=128, help="RecTools' default is 128")
    common_options(command, repeats=3)
    command.set_defaults(run=time_to_quality)
    command = commands.add_parser("gbce")
    command.add_argument("--recipe", default="gsasrec", help="whose options other than sizes are used")
    command.add_argument("--users", type=int, default=1024, help="sequences of the epoch; MovieLens-1M has 6,040")
    command.add_argument("--lengths", choices=("movielens", "full"), default="movielens")
    common_options(command, repeats=3)
    command.set_defaults(run=gbce)
    command = commands.add_parser("load")
    command.add_argument("--recipe", default="sasrec_sampled_softmax", help="name of a recipe of this project")
    command.add_argument("--epochs", type=int, default=4)
    command.add_argument("--threads", type=int, default=1, help="of torch; 1 is the default of all trainings")
    common_options(command, repeats=3)
    command.set_defaults(run=load)
    command = commands.add_parser("beside-plain")
    command.add_argument("--recipes", default="cl4srec,duorec,icsrec,cbit", help="apart by commas")
    command.add_argument("--epochs", type=int, default=4)
    command.add_argument("--threads", type=int, default=1, help="of torch; 1 is the default of all trainings")
    common_options(command, repeats=3)
    command.set_defaults(run=beside_plain)
    arguments = parser.parse_args()
    arguments.run(arguments)


if __name__ == "__main__":
    main()
