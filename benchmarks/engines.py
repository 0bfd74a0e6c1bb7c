"""What Spark costs beside DuckDB: the same dbt models from the same landed reviews, on this machine.

    make install-spark
    python benchmarks/engines.py [--reviews 100000 300000 1000000] [--work FOLDER] [--json FILE]
    python benchmarks/engines.py --read engines.json [more.json]      # the table of earlier runs, nothing measured

Each engine runs ``dbt run`` in a process of its own, for each size and once for a dump of 10,000 reviews, which has
hardly anything to clean: that is the engine's start, dbt's parsing and the statements themselves. Reported are the
seconds of processor of all its processes, Spark's JVM among them, and of the clock. What is left without the fixed cost
is what grows, and the ratio of the two engines says how many times the cores of this machine a cluster has to have
before it is faster, if it loses nothing by being one.

Linux alone: the seconds of processor are read from ``/proc``.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(REPOSITORY), str(REPOSITORY / "benchmarks")]

from data_path_steps import K_CORE, VALIDATION_USERS  # noqa: E402
from measuring import Bench, family, processor_of  # noqa: E402

from orchestration.engine import check_spark, spark_dbt  # noqa: E402

ENGINES = ("duckdb", "spark")
SMALLEST = 10_000
SIZES = [100_000, 300_000, 1_000_000]
_SECONDS_BETWEEN_LOOKS = 0.2


@dataclass(frozen=True)
class Run:
    """All models of one dump by one engine.

    Attributes:
        engine: one of :data:`ENGINES`.
        reviews: in the dump.
        processor: seconds of all cores.
        clock: seconds.
    """

    engine: str
    reviews: int
    processor: float
    clock: float


def measure(bench: Bench, engine: str, reviews: int) -> Run:
    """Make all models once.

    Raises:
        SystemExit: dbt failed; with the end of what it said.
    """
    lake = bench.staged(reviews)
    with tempfile.TemporaryDirectory(dir=bench.work) as made:
        folder = Path(made)
        environment = {
            **os.environ,
            "RAW2RANK_LAKE": lake,
            "RAW2RANK_WAREHOUSE": str(folder / "warehouse.duckdb"),
            "RAW2RANK_DUCKDB_THREADS": str(bench.cores),
            "RAW2RANK_SPARK_MASTER": f"local[{bench.cores}]",
            "RAW2RANK_SPARK_WAREHOUSE": str(folder / "tables"),
            "RAW2RANK_SPARK_CATALOGUE": str(folder / "catalogue"),
        }
        dbt = spark_dbt() if engine == "spark" else Path(sys.executable).with_name("dbt")
        project = REPOSITORY / "dbt_project"
        command: list[str | Path] = [
            dbt,
            "run",
            "--target",
            engine,
            "--project-dir",
            project,
            "--profiles-dir",
            project,
        ]
        command += ["--target-path", folder / "target", "--log-path", folder]
        command += ["--vars", json.dumps({"k_core": K_CORE, "validation_users": VALIDATION_USERS})]
        with open(folder / "output", "w+") as output:
            began = time.perf_counter()
            started = subprocess.Popen(command, cwd=folder, env=environment, stdout=output, stderr=subprocess.STDOUT)
            spent: dict[int, float] = {}
            while started.poll() is None:
                for process in family(started.pid):
                    with suppress(OSError):  # it may end meanwhile
                        spent[process] = processor_of(process)
                time.sleep(_SECONDS_BETWEEN_LOOKS)
            clock = time.perf_counter() - began
            output.seek(0)
            told = output.read()
    if started.returncode:
        raise SystemExit(f"dbt on {engine} failed:\n{told[-4000:]}")
    found = Run(engine, reviews, sum(spent.values()), clock)
    print(f"{engine}, {reviews:,} reviews: {found.processor:.1f} s of processor, {clock:.1f} s", file=sys.stderr)
    return found


def table(runs: Sequence[Run]) -> str:
    """One row a size, without the fixed cost of each engine, which is a row of its own; medians where a size was
    measured several times."""

    def median(engine: str, reviews: int, of: str) -> float:
        same = [run for run in runs if (run.engine, run.reviews) == (engine, reviews)]
        return statistics.median(getattr(run, of) for run in same)

    def grown(engine: str, reviews: int, of: str) -> float:
        return median(engine, reviews, of) - median(engine, SMALLEST, of)

    def cells(of_run: Callable[[str, int, str], float], reviews: int) -> str:
        shown = (
            f"{of_run(engine, reviews, 'processor'):.1f} s ({of_run(engine, reviews, 'clock'):.1f} s)"
            for engine in ENGINES
        )
        return " | ".join(shown)

    lines = [
        "| Reviews | DuckDB, processor (clock) | Spark | Spark / DuckDB, processor |",
        "|---|---|---|---|",
        f"| fixed cost | {cells(median, SMALLEST)} | |",
    ]
    for reviews in sorted({run.reviews for run in runs} - {SMALLEST}):
        duckdb, spark = (grown(engine, reviews, "processor") for engine in ENGINES)
        # what is as small as the noise of the fixed cost has no ratio
        ratio = f"{spark / duckdb:.1f}" if duckdb > 0.1 * median("duckdb", SMALLEST, "processor") else ""
        lines.append(f"| {reviews:,} | {cells(grown, reviews)} | {ratio} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--reviews", type=int, nargs="+", default=SIZES)
    parser.add_argument("--work", type=Path, default=REPOSITORY / "workspace" / "benchmarks", help="dumps go there")
    parser.add_argument("--json", type=Path, default=REPOSITORY / "benchmarks" / "results" / "engines.json")
    parser.add_argument("--read", type=Path, nargs="+", help="show what was measured before")
    given = parser.parse_args()
    if given.read:
        print(table([Run(**run) for path in given.read for run in json.loads(path.read_text())]))
        return
    work = given.work.resolve()
    work.mkdir(parents=True, exist_ok=True)
    check_spark(work)
    bench = Bench(work, len(os.sched_getaffinity(0)), Path(__file__).resolve())
    runs: list[Run] = []
    for reviews in (SMALLEST, *sorted(given.reviews)):
        runs += [measure(bench, engine, reviews) for engine in ENGINES]
        given.json.parent.mkdir(parents=True, exist_ok=True)
        given.json.write_text(json.dumps([asdict(run) for run in runs], indent=1))
        if reviews != SMALLEST:
            shutil.rmtree(bench.staged(reviews))
    print(table(runs))


if __name__ == "__main__":
    main()
