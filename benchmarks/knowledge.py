"""What recommenders gain that read more than item ids: each beside its plain counterpart, with several seeds.

    python -m benchmarks.knowledge --lake workspace/lake/Beauty workspace/lake/ml-100k --out build/knowledge \\
        --recipes sasrec_text_and_id cl4srec --seeds 3
    python -m benchmarks.knowledge ... --only-table
    python -m benchmarks.knowledge ... --recipes llm_query --pairs llm_query:sasrec_sampled_softmax
    python -m benchmarks.knowledge ... --recipes unisrec_pretrained --pretrain-on workspace/lake/Toys

Each recipe, and the recipe that its key ``plain`` names, is fitted with the seeds on the training set of each dataset
that was run before, and ranks the whole catalogue for the test users, with or without the items of their histories as
that run did. Baselines can be named too; they are compared with the recommenders that the report compares them with,
and with any others that ``--pairs`` names.

What is fitted stays in ``<out>/<dataset>/<recommender>/seed-<n>/``, with the rank of each test user's target. Called
again, the benchmark goes on from there, in the middle of a training too. A fit is made again where the training set,
its recipe or the protocol is another; delete its folder to fit it again after a change of the code. ``--only-table``
fits nothing and compares what is there. The tables are printed, and written to ``<out>/<dataset>.md``.

Each fit has a process of its own, so that its peak memory is its own.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.fronts import load_training_set
from ml.data.files import read_json
from ml.data.times import build_times
from ml.data.training_set import FIT_ON_BOTH, FIT_ON_TRAIN, TrainingSet
from ml.data.versions import versioned_folder
from ml.evaluation.metrics import HEADLINE, metric_name, metric_values, seed_values, user_metrics
from ml.evaluation.rankings import rank, write_table
from ml.evaluation.what_helps.comparison import Difference, compare, parts_of
from ml.evaluation.what_helps.content import ALL_USERS
from ml.evaluation.what_helps.counterpart import Counterpart
from ml.number_format import duration, metric_value, p_figure, signed_metric, size
from ml.number_format import interval as interval_text
from ml.recommender import MODEL
from ml.recommenders.choice import needed_pretrained
from ml.recommenders.counterparts import counterparts
from ml.recommenders.fit import Conditions, depends_on_seed, fit
from ml.recommenders.registry import Registry, registry
from ml.reports.render.markdown.table import table as markdown_table
from ml.tables import Cell
from ml.training.runtime import DEFAULT_THREADS
from ml.transfer.sources import described

METRICS = (HEADLINE, "recall@10")
_DEPTH = 20
_FITTED, _MEASURED = "fitted", "measured"


@dataclass(frozen=True)
class Bench:
    """What all fits on one dataset share.

    Attributes:
        lake: folder of the dataset in the lake of a workspace.
        folder: where its results are kept.
        exclude_seen: whether the items of a user's own history are left out of rankings.
        fit_on: what the final fit sees.
        device: of torch.
        threads: of torch.
        sources: folders of other datasets, that recipes with a table ``pretraining`` are trained on first.
    """

    lake: Path
    folder: Path
    exclude_seen: bool
    fit_on: str
    device: str
    threads: int
    sources: tuple[Path, ...] = ()


@dataclass(frozen=True)
class Measured:
    """One recommender, fitted with one seed.

    Attributes:
        user_metrics: of :func:`ml.evaluation.metrics.user_metrics`.
        facts: validation nDCG@10, sequences per second, epochs and peak memory of a training; seconds of any fit.
    """

    user_metrics: pa.Table
    facts: dict[str, Any]


def main(arguments: Sequence[str] | None = None) -> None:
    options = _parser().parse_args(arguments)
    for lake in options.lake:
        exclude_seen = options.exclude_seen
        if exclude_seen is None:
            exclude_seen = read_json(lake / "settings", "ranking.json")["exclude_seen"]
        folder = options.out / lake.name
        sources = tuple(sorted(options.pretrain_on))
        if lake in sources:
            raise SystemExit(f"error: --pretrain-on names {lake}, which is the dataset itself")
        bench = Bench(lake, folder, exclude_seen, options.fit_on, options.device, options.threads, sources)
        asked = tuple(dict.fromkeys([*options.recipes, *(name for pair in options.pairs for name in pair)]))
        names = with_plain(asked, registry())
        if not options.only_table:
            fit_all(bench, names, options.seeds, options.processes)
        text = f"## {lake.name}\n\n{tables(bench, names, options.seeds, options.pairs)}\n"
        folder.mkdir(parents=True, exist_ok=True)
        (options.out / f"{lake.name}.md").write_text(text, encoding="utf-8")
        print(text, flush=True)


def with_plain(names: Sequence[str], known: Registry) -> list[str]:
    """The recommenders and those that they are compared with, what others are built on or compared with first.

    Raises:
        KeyError: there is no recommender of a name.
    """
    plain = [one.plain for one in counterparts(names, known)]
    return list(dict.fromkeys(part for name in (*plain, *names) for part in (*known.built_on(name), name)))


# ---- fits


def fit_all(bench: Bench, names: Sequence[str], seeds: int, processes: int) -> None:
    """Fit what is not there yet: seed 0 of all recommenders first."""
    wanted = [
        (name, seed)
        for seed in range(seeds)
        for name in names
        if (seed == 0 or depends_on_seed(name)) and measured_before(bench, name, seed) is None
    ]
    if processes == 0:
        for name, seed in wanted:
            print(fit_and_measure(bench, name, seed), file=sys.stderr, flush=True)
        return
    for several in _in_order(wanted):
        with ProcessPoolExecutor(processes, mp_context=get_context("spawn"), max_tasks_per_child=1) as pool:
            for told in pool.map(fit_and_measure, *zip(*((bench, *one) for one in several), strict=True)):
                print(told, file=sys.stderr, flush=True)


def _in_order(wanted: Sequence[tuple[str, int]]) -> Iterator[Sequence[tuple[str, int]]]:
    """Fits that can run side by side: what is built on other recommenders after the rest."""
    known = registry()
    alone = [one for one in wanted if not known.built_on(one[0])]
    if alone:
        yield alone
    for one in wanted:
        if one not in alone:
            yield [one]


def fit_and_measure(bench: Bench, name: str, seed: int) -> str:
    """Fit a recommender with one seed and keep its metrics; gives a line that says so."""
    training_set, known = _training_set(bench.lake), registry()
    folder = _folder(bench, name, seed)
    conditions = Conditions(
        seed,
        bench.fit_on,
        bench.exclude_seen,
        device=bench.device,
        threads=bench.threads,
        sources=tuple(map(load_training_set, bench.sources)) if needed_pretrained([name]) else (),
    )
    folder.mkdir(parents=True, exist_ok=True)
    began = time.perf_counter()
    try:
        recommender = fit(name, training_set, conditions, known, folder=folder / _FITTED)
    except ValueError as error:
        # the dataset lacks what it reads: the others are fitted all the same
        return f"{bench.lake.name}, {name}, seed {seed}: not fitted: {error}"
    facts: dict[str, Any] = {"seconds": time.perf_counter() - began}
    if known.kind_of(name) == MODEL:
        run = read_json(folder / _FITTED, "training_run.json")
        facts |= {
            "validation": run["result"]["best_validation_ndcg_at_10"],
            "sequences_per_second": run["result"]["sequences_per_second"],
            "epochs": run["result"]["epochs"],
            "peak_memory_in_bytes": max(run["peak_memory_in_bytes"].values()),
            "machine": run["machine"],
        }
    per_user = user_metrics(rank(recommender, training_set, name, seed, _DEPTH, bench.exclude_seen), training_set)
    with versioned_folder(folder / _MEASURED) as working:
        write_table(per_user, working / "user_metrics.parquet")
        described = {"key": _key(bench, name, seed), **facts}
        (working / "facts.json").write_text(json.dumps(described, indent=2) + "\n", encoding="utf-8")
    mean = metric_values(per_user, HEADLINE).mean()
    return f"{bench.lake.name}, {name}, seed {seed}: {mean:.4f} ({duration(facts['seconds'])})"


def measured_before(bench: Bench, name: str, seed: int) -> Measured | None:
    """What an earlier fit of the same recipe under the same protocol left; ``None`` where there is none."""
    folder = _folder(bench, name, seed) / _MEASURED
    if not (folder / "facts.json").exists():
        return None
    facts = read_json(folder, "facts.json")
    if facts["key"] != _key(bench, name, seed):
        return None
    return Measured(pq.read_table(folder / "user_metrics.parquet"), facts)


def _folder(bench: Bench, name: str, seed: int) -> Path:
    return bench.folder / name / f"seed-{seed}"


def _key(bench: Bench, name: str, seed: int) -> str:
    """Digest of all that decides a result but the code and the machine."""
    known = registry()
    of_kinds: tuple[Any, ...] = (known.recipes, known.fusions, known.rerankings, known.alignments)
    decisive = {
        "training_set": _training_set(bench.lake).digest(),
        "recipes": {
            part: recipes[part].digest()
            for part in (*known.built_on(name), name)
            for recipes in of_kinds
            if part in recipes
        },
        "recommender": name,
        "seed": seed,
        "exclude_seen": bench.exclude_seen,
        "fit_on": bench.fit_on,
    }
    if needed_pretrained([name]):
        decisive["sources"] = [described(load_training_set(source)) for source in bench.sources]
    return hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()


@cache
def _training_set(lake: Path) -> TrainingSet:
    """With item text, its vectors and times, where the dataset has them."""
    training_set, splits = load_training_set(lake), lake / "marts" / "splits.parquet"
    times = build_times(splits, training_set) if splits.exists() else None
    return training_set if times is None else times.added_to(training_set)


# ---- tables


def tables(bench: Bench, names: Sequence[str], seeds: int, others: Sequence[tuple[str, str]] = ()) -> str:
    """Markdown of the results that are there: means, differences to the plain counterparts, and parts of the users.

    Args:
        bench: what the fits share.
        names: of the recommenders.
        seeds: how many.
        others: more pairs to compare, of a recommender and what it is compared with.
    """
    found: dict[str, list[Measured]] = {}
    for name in names:
        of_seeds = [measured_before(bench, name, seed) for seed in range(seeds)]
        if any(of_seeds):
            found[name] = [one for one in of_seeds if one is not None]
    every = (*counterparts(found, registry()), *_pairs(others))
    pairs = [one for one in every if {one.recommender, one.plain} <= found.keys()]
    values = {name: seed_values([one.user_metrics for one in of_seeds]) for name, of_seeds in found.items()}
    training_set = _training_set(bench.lake)
    compared = compare(values, pairs, parts_of(training_set))
    plain = {one.recommender: found[one.plain] for one in pairs}
    return "\n\n".join(
        [
            f"{len(training_set.test_users):,} test users, {training_set.items:,} items, fitted on {bench.fit_on}, "
            f"items of the own history {'excluded' if bench.exclude_seen else 'ranked'}. ± is the standard deviation "
            "of the seeds. Peak memory is that of the whole process.",
            _means_table(found, plain),
            "Paired differences of nDCG@10 to the plain counterpart: the 95 % interval and p-value of the single test, "
            f"and the p-value after Holm's correction for all {len(compared)} tests of the table.",
            _differences_table(compared),
        ]
    )


def _pairs(others: Sequence[tuple[str, str]]) -> Iterator[Counterpart]:
    return (Counterpart(name, "chosen", plain) for name, plain in others)


def _means_table(found: dict[str, list[Measured]], plain: dict[str, list[Measured]]) -> str:
    columns = ["Recommender", "Seeds", "Validation nDCG@10", *(f"Test {metric_name(metric)}" for metric in METRICS)]
    columns += ["ms per sequence", "× plain", "Epochs", "Fit", "Peak memory"]
    rows: list[tuple[Cell, ...]] = []
    for name, measured in found.items():
        cost = _milliseconds(measured)
        of_plain = _milliseconds(plain.get(name, []))
        rows.append(
            (
                name,
                len(measured),
                _mean_and_spread(_known(measured, "validation")),
                *(
                    _mean_and_spread([metric_values(one.user_metrics, metric).mean() for one in measured])
                    for metric in METRICS
                ),
                f"{cost:.3f}" if cost else "",
                f"{cost / of_plain:.2f}" if cost and of_plain else "",
                f"{statistics.mean(epochs):.0f}" if (epochs := _known(measured, "epochs")) else "",
                duration(statistics.median(_known(measured, "seconds"))),
                size(max(peaks)) if (peaks := _known(measured, "peak_memory_in_bytes")) else "",
            )
        )
    return markdown_table(columns, rows, right=range(1, len(columns)))


def _differences_table(compared: Sequence[Difference]) -> str:
    columns = ("Recommender", "Plain", "Users", "Number", "nDCG@10", "plain", "Difference", "95 %", "p", "p, Holm")
    rows = [
        (
            one.counterpart.recommender if one.part == ALL_USERS else "",
            one.counterpart.plain if one.part == ALL_USERS else "",
            one.part,
            one.users,
            one.value,
            one.plain_value,
            signed_metric(one.test.difference),
            interval_text(interval.low, interval.high, signed=True),
            p_figure(one.compared.p_value),
            p_figure(one.compared.p_value_adjusted),
        )
        for one in compared
        if (interval := one.test.interval())
    ]
    return markdown_table(columns, rows, right=range(3, len(columns)))


def _known(measured: Sequence[Measured], fact: str) -> list[float]:
    return [one.facts[fact] for one in measured if one.facts.get(fact) is not None]


def _milliseconds(measured: Sequence[Measured]) -> float | None:
    """Of training a sequence, the median over the seeds; ``None`` of what is not trained."""
    speeds = _known(measured, "sequences_per_second")
    return 1000 / statistics.median(speeds) if speeds else None


def _mean_and_spread(values: Sequence[float]) -> str:
    if not values:
        return ""
    spread = f" ± {metric_value(statistics.stdev(values))}" if len(values) > 1 else ""
    return f"{metric_value(statistics.mean(values))}{spread}"


def _pair(text: str) -> tuple[str, str]:
    name, separator, plain = text.partition(":")
    if not (name and separator and plain):
        raise argparse.ArgumentTypeError(f"{text!r} is no pair: write two recommenders as llm_query:bm25_last_item")
    return name, plain


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--lake", type=Path, nargs="+", required=True, help="folders of datasets in the lake of a workspace")
    add("--out", type=Path, required=True, help="folder for what is fitted and for the results")
    add("--recipes", nargs="+", required=True, help="recommenders; the plain ones are added")
    add("--pairs", nargs="+", type=_pair, default=[], metavar="NAME:PLAIN", help="more recommenders to compare")
    add("--seeds", type=int, default=3, help="how many, from 0")
    add(
        "--pretrain-on",
        type=Path,
        nargs="+",
        default=[],
        metavar="LAKE",
        help="other datasets, for pre-trained recipes",
    )
    add("--only-table", action="store_true", help="fit nothing")
    add("--exclude-seen", action=argparse.BooleanOptionalAction, help="default: as the run that made the lake")
    add("--fit-on", choices=(FIT_ON_TRAIN, FIT_ON_BOTH), default=FIT_ON_TRAIN)
    add("--processes", type=int, default=1, help="fits side by side; 0 for all fits in this process")
    add("--device", default="cpu")
    add("--threads", type=int, default=DEFAULT_THREADS, help="of torch, each process")
    return parser


if __name__ == "__main__":
    main()
