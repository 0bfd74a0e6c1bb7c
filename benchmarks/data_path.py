"""What the way from a raw dump to arrays costs, beside what it cannot be cheaper than and what it is compared with.

    python benchmarks/data_path.py landing  [--reviews 1000000 10000000]   reading a dump, bad lines kept apart
    python benchmarks/data_path.py parallel [--reviews 10000000]           two files together and one by one
    python benchmarks/data_path.py clean    [--reviews 10000000]           landed Parquet to splits and arrays
    python benchmarks/data_path.py refresh  [--reviews 10000000]           one new file beside many known ones
    python benchmarks/data_path.py cleaning-refresh                        the same from landed rows, of 1, 5 and 20 %
    python benchmarks/data_path.py growth                                  time and memory by number of reviews
    python benchmarks/data_path.py all                                     all of it, as the README of this folder says

Dumps are made by ``synthetic.py`` in ``--work`` where they are not there yet. Every measurement is a process of its
own; those that are compared take turns. Reported are medians, with the least and the most, of

- *seconds*: of the work itself, timed inside the process, imports and the making of inputs left out;
- *process*: from the start of the process to its end;
- *processor*: seconds of all cores, in the process and what it started;
- *peak*: the most memory, the process and all that it started together (proportional sets, in which a
  page that several share counts once, looked at 20 times a second, and less often where there is much of it).

A Markdown table goes to standard output, everything measured to ``--json``. Linux alone, for ``/proc``.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(REPOSITORY), str(REPOSITORY / "benchmarks")]

from data_path_steps import STEPS  # noqa: E402
from measuring import MILLION, Bench, Measurement, StepError, run_step  # noqa: E402

# of the new file in a refresh of the cleaning
NEW_SHARES = (0.01, 0.05, 0.2)
DBT_LEFT_OUT = "dbt's start and parse left out"


# ---- commands: each gives a list of sections


@dataclass(frozen=True)
class Ratio:
    """One figure over another, and what it should be.

    Attributes:
        text: what is divided by what.
        value: of the medians.
        aim: as ``<= 2`` or ``>= 10``.
        low: least ratio within a round; ``None`` for what is no ratio.
        high: most.
    """

    text: str
    value: float
    aim: str
    low: float | None = None
    high: float | None = None

    @property
    def is_met(self) -> bool:
        comparison, limit = self.aim.split()[:2]
        limit = float(limit)
        return self.value <= limit if comparison == "<=" else self.value >= limit


@dataclass(frozen=True)
class Section:
    """What one command measured on one dump."""

    title: str
    reviews: int
    runs: list[Measurement]
    ratios: list[Ratio]

    def markdown(self) -> str:
        lines = [
            f"### {self.title}",
            "",
            "| | runs | seconds | process, s | processor, s | peak, MB |",
            "|---|---|---|---|---|---|",
        ]
        for name in dict.fromkeys(run.name for run in self.runs):
            runs = [run for run in self.runs if run.name == name]
            shown = [_spread([getattr(run, column) for run in runs]) for column in ("seconds", "process", "processor")]
            peak = max(run.peak for run in runs) / 1e6
            lines.append(f"| {name} | {len(runs)} | {' | '.join(shown)} | {peak:,.0f} |")
        for name in dict.fromkeys(run.name for run in self.runs if len(run.phases) > 1):
            runs = [run for run in self.runs if run.name == name]
            medians = {phase: statistics.median(run.phases[phase] for run in runs) for phase in runs[0].phases}
            if "seconds_in_dbt_nodes" in runs[0].found:
                inside = statistics.median(run.found["seconds_in_dbt_nodes"] for run in runs)
                medians["of dbt in its nodes"] = inside
            lines += ["", f"{name}: {', '.join(f'{phase} {seconds:.2f}' for phase, seconds in medians.items())}."]
        if self.ratios:
            lines += ["", "| | measured | by round | aim | met |", "|---|---|---|---|---|"]
        for ratio in self.ratios:
            rounds = "" if ratio.low is None else f"{ratio.low:.3g} to {ratio.high:.3g}"
            met = "yes" if ratio.is_met else "no"
            lines.append(f"| {ratio.text} | {ratio.value:.3g} | {rounds} | {ratio.aim} | {met} |")
        return "\n".join(lines) + "\n"


def _spread(values: list[float]) -> str:
    median = f"{statistics.median(values):.2f}"
    return median if len(values) == 1 else f"{median} ({min(values):.2f} to {max(values):.2f})"


def over(
    runs: list[Measurement],
    one: str,
    other: str,
    aim: str,
    of: Callable[[Measurement], float] = lambda run: run.seconds,
    what: str = "",
) -> Ratio:
    """Median of one over median of the other, and the least and the most of what was measured in one round."""
    values = {name: [of(run) for run in runs if run.name == name] for name in (one, other)}
    rounds = [a / b for a, b in zip(values[one], values[other], strict=False)]
    value = statistics.median(values[one]) / statistics.median(values[other])
    return Ratio(f"{one} / {other}{what and f', {what}'}", value, aim, min(rounds), max(rounds))


def most(runs: list[Measurement], name: str, aim_mb: int) -> Ratio:
    """The most memory of some runs against an aim in MB."""
    return Ratio(f"peak of {name}, MB", max(run.peak for run in runs if run.name == name) / 1e6, f"<= {aim_mb}")


def measure_landing(bench: Bench, reviews: int, repeats: int, peer_repeats: int) -> Section:
    """Ours, the floor and the peer on one file."""
    files = bench.dump(reviews)
    with_simdjson = _has_simdjson(bench)
    ours, simdjson, orjson, peer = "landing", "floor: isal, simdjson", "floor: isal, orjson", "peer: pandas.read_json"
    runs = []
    for number in range(repeats):
        with bench.scratch() as out:
            runs.append(bench.measure(ours, "land", files=files, out=out))
        if with_simdjson:
            runs.append(bench.measure(simdjson, "simdjson_loop", files=files))
        runs.append(bench.measure(orjson, "orjson_loop", files=files))
        if number < peer_repeats:
            runs.append(bench.measure(peer, "pandas_chunks", files=files))
    ratios = [over(runs, ours, simdjson if with_simdjson else orjson, "<= 1.5")]
    if with_simdjson:
        ratios.append(over(runs, ours, orjson, "<= 1.5"))
    if peer_repeats:
        ratios.append(over(runs, peer, ours, ">= 10"))
    ratios.append(most(runs, ours, 500))
    _check_counts(runs, reviews, Path(files[0]).parent)
    return Section(f"Landing, {reviews:,} reviews in one file", reviews, runs, ratios)


def _check_counts(runs: list[Measurement], reviews: int, folder: Path) -> None:
    """Every loop saw every line, and the landing rejected the lines that are bad."""
    bad_lines = json.loads((folder / "synthetic.json").read_text())["bad_lines"]
    # a blank line is neither a row nor a reject
    bad = sum(count for reason, count in bad_lines.items() if reason != "blank line")
    for run in runs:
        if run.found["lines"] != reviews or run.found.get("rejected", bad) != bad:
            raise StepError(f"{run.name} found {run.found} in {reviews:,} lines with {bad:,} bad ones")


def _has_simdjson(bench: Bench) -> bool:
    environment = {**os.environ, **({"PYTHONPATH": str(bench.peers)} if bench.peers else {})}
    command = [sys.executable, "-c", "import simdjson"]
    found = subprocess.run(command, env=environment, capture_output=True, check=False).returncode == 0
    if not found:
        print("without simdjson: see benchmarks/requirements.txt and --peers", file=sys.stderr)
    return found


def measure_parallel(bench: Bench, reviews: int, repeats: int) -> Section:
    """Two files in one call, and one call after the other, on two cores."""
    files = bench.dump(reviews, files=2)
    together, in_turn = "two files together", "one after the other"
    runs = []
    for _ in range(repeats):
        for name in (together, in_turn):
            with bench.scratch() as out:
                runs.append(bench.measure(name, "land", cores=2, files=files, out=out, together=name == together))
    ratios = [over(runs, together, in_turn, "<= 0.6")]
    return Section(f"Two files on two cores, {reviews:,} reviews", reviews, runs, ratios)


def measure_clean(bench: Bench, reviews: int, repeats: int, memory: str | None, pipeline: bool) -> Section:
    """From landed Parquet to arrays: ours without and with tests, and the reference."""
    lake = bench.staged(reviews)
    limit = f", DuckDB limited to {memory}" if memory else ""
    models, tested, reference = f"models{limit}", f"models, tests, all tables as Parquet{limit}", "reference: numpy"
    runs = []
    for _ in range(repeats):
        with bench.scratch() as out:
            runs.append(bench.measure(models, "clean", memory=memory, lake=lake, out=out))
        if pipeline:
            with bench.scratch() as out:
                runs.append(bench.measure(tested, "clean", memory=memory, lake=lake, out=out, tests=True, export=True))
        if not memory:
            with bench.scratch() as out:
                runs.append(bench.measure(reference, "clean_with_numpy", lake=lake, out=out))
    counts = {tuple(run.found[key] for key in ("interactions", "users", "items", "test_cases")) for run in runs}
    if len(counts) != 1:
        raise StepError(f"the ways do not agree on interactions, users, items and test cases: {counts}")
    ratios = [most(runs, models, 10_000)] if reviews >= 50 * MILLION else []
    if not memory:
        ratios.append(over(runs, models, reference, "<= 2"))
        ratios.append(over(runs, models, reference, "<= 2", _without_start, DBT_LEFT_OUT))
    return Section(f"Cleaning, {reviews:,} reviews{limit}", reviews, runs, ratios)


def _without_start(run: Measurement) -> float:
    """Seconds of a run without what dbt takes to start, parse and end."""
    if "dbt" not in run.phases:
        return run.seconds
    return run.seconds - run.phases["dbt"] + run.found["seconds_in_dbt_nodes"]


def _landing_alone(run: Measurement) -> float:
    return run.phases["landing"]


def measure_refresh(bench: Bench, reviews: int, repeats: int, files: int = 4, new_share: float = 0.05) -> Section:
    """All files from raw, and the new one beside the others that are landed already."""
    names = bench.dump(reviews, files, new_share)
    whole, refresh = "all from raw", f"refresh, one new file of {new_share:.0%}"
    known = bench.work / "known"
    shutil.rmtree(known, ignore_errors=True)
    bench.measure("landing of the known files", "prepare", files=names[:-1], lake=str(known))
    runs = []
    for _ in range(repeats):
        for name in (whole, refresh):
            with bench.scratch() as out:
                lake = Path(out) / "lake"
                if name == refresh:
                    shutil.copytree(known, lake, symlinks=True)
                runs.append(bench.measure(name, "from_raw", files=names, lake=str(lake), out=f"{out}/work"))
    shutil.rmtree(known)
    if len({tuple(run.found[key] for key in ("interactions", "users", "items")) for run in runs}) != 1:
        raise StepError("the refresh does not give what the whole run gives")
    title = f"Refresh, {reviews:,} reviews in {files} files, and one more"
    ratios = [
        over(runs, refresh, whole, "<= 0.25"),
        over(runs, refresh, whole, "<= 0.25", _without_start, DBT_LEFT_OUT),
        over(runs, refresh, whole, "<= 0.25", _landing_alone, "landing alone"),
    ]
    return Section(title, reviews, runs, ratios)


def measure_cleaning_refresh(bench: Bench, reviews: int, repeats: int, new_share: float, files: int = 4) -> Section:
    """From landed rows to splits and arrays: all files from scratch, and one new file beside known ones."""
    lake = Path(bench.staged(reviews, files, new_share))
    whole, refresh = "all from landed rows", f"refresh, one new file of {new_share:.0%}"
    known = bench.work / "known"
    shutil.rmtree(known, ignore_errors=True)
    _without_last_file(lake, known)
    # both landings are read from the same place, as they are when a file is added to a dataset
    place, cleaned = bench.work / "lake", bench.work / "cleaned"
    shutil.rmtree(cleaned, ignore_errors=True)
    _point(place, known)
    bench.measure("cleaning of the known files", "clean", lake=str(place), out=str(cleaned))
    _point(place, lake)
    runs = []
    for _ in range(repeats):
        for name in (whole, refresh):
            with bench.scratch() as out:
                folder = Path(out) / "work"
                if name == refresh:
                    shutil.copytree(cleaned, folder)
                runs.append(bench.measure(name, "clean", lake=str(place), out=str(folder)))
    place.unlink()
    shutil.rmtree(known)
    shutil.rmtree(cleaned)
    if len({tuple(run.found[key] for key in ("interactions", "users", "items")) for run in runs}) != 1:
        raise StepError("the refresh does not give what the whole run gives")
    title = f"Refresh of the cleaning, {reviews:,} reviews in {files} files, and one more of {new_share:.0%}"
    ratios = [
        over(runs, refresh, whole, "<= 0.35"),
        over(runs, refresh, whole, "<= 0.35", _without_start, DBT_LEFT_OUT),
        over(runs, refresh, whole, "<= 0.35", lambda run: run.processor, "seconds of processor"),
        over(runs, refresh, whole, "<= 1", lambda run: run.peak, "peak of memory"),
    ]
    return Section(title, reviews, runs, ratios)


def _point(link: Path, target: Path) -> None:
    link.unlink(missing_ok=True)
    link.symlink_to(target, target_is_directory=True)


def _without_last_file(lake: Path, known: Path) -> None:
    """A lake without the last file of reviews; tables are linked and not copied."""
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    landing = lake / "landing" / "reviews"
    files = pq.read_table(landing / "files.parquet")
    last = pc.equal(files["file_position"], pc.max(files["file_position"]))
    (name,) = files.filter(last)["source_file"].to_pylist()
    shutil.copytree(lake / "landing" / "metadata", known / "landing" / "metadata")
    for part in ("rows", "rejects"):
        (known / "landing" / "reviews" / part).mkdir(parents=True)
        for path in (landing / part).glob("*.parquet"):
            if pq.read_table(path, columns=["source_file"])["source_file"][0].as_py() != name:
                (known / "landing" / "reviews" / part / path.name).hardlink_to(path)
    pq.write_table(files.filter(pc.invert(last)), known / "landing" / "reviews" / "files.parquet")


def measure_growth(bench: Bench, sizes: list[int], landing_sizes: list[int], repeats: int) -> list[Section]:
    """Time and memory by size; what is made for it is removed again, but for dumps."""
    sections = []
    for reviews in sizes:
        was_there = (bench.work / f"staged-{reviews}").exists()
        section = measure_clean(bench, reviews, repeats, memory=None, pipeline=False)
        runs = section.runs
        if not was_there:
            shutil.rmtree(bench.work / f"staged-{reviews}")
        if reviews in landing_sizes:
            files = bench.dump(reviews)
            for _ in range(repeats):
                with bench.scratch() as out:
                    runs.append(bench.measure("landing", "land", files=files, out=out))
        sections.append(Section(f"{reviews:,} reviews", reviews, runs, section.ratios))
    return sections


# ---- command line


def report(sections: list[Section], path: Path, bench: Bench, show: bool = True) -> None:
    """Print the tables, and write everything that was measured."""
    import duckdb
    import numpy
    import pandas
    import pyarrow

    modules = (duckdb, numpy, pandas, pyarrow)
    machine = {
        "cores": bench.cores,
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "processor": _processor(),
        "load_average": os.getloadavg(),
        "python": platform.python_version(),
        **{module.__name__: module.__version__ for module in modules},
    }
    for section in sections if show else ():
        print(section.markdown())
    told = [{**asdict(section), "ratios": [asdict(ratio) for ratio in section.ratios]} for section in sections]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"machine": machine, "sections": told}, indent=1, allow_nan=False) + "\n")
    print(f"{path}", file=sys.stderr)


def _processor() -> str:
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.machine()


def measure_all(bench: Bench, reviews: int, repeats: int, peer_repeats: int) -> Iterator[tuple[str, Callable]]:
    """Everything the README of this folder shows, by the name of its results."""
    small, large = reviews // 10, reviews * 5
    sizes = [small, reviews // 5, reviews // 2, reviews, reviews * 2, large]
    yield "landing", lambda: [measure_landing(bench, small, repeats, repeats)]
    yield "landing", lambda: [measure_landing(bench, reviews, repeats, peer_repeats)]
    yield "parallel", lambda: [measure_parallel(bench, reviews, repeats)]
    yield "clean", lambda: [measure_clean(bench, reviews, repeats, None, True)]
    yield "clean", lambda: [measure_clean(bench, large, 1, None, True)]
    yield "clean", lambda: [measure_clean(bench, large, 1, "4GB", False)]
    yield "refresh", lambda: [measure_refresh(bench, reviews, repeats)]
    for share in NEW_SHARES:
        yield "cleaning-refresh", lambda share=share: [measure_cleaning_refresh(bench, reviews, repeats, share)]
    yield "growth", lambda: measure_growth(bench, sizes, [size for size in sizes if size <= reviews], 1)


def run_all(bench: Bench, reviews: int, repeats: int, peer_repeats: int, results: Path) -> bool:
    """Measure all, one file of results a command; what fails is told, and the rest goes on. Whether all went well."""
    sections: dict[str, list[Section]] = {}
    failures = []
    for name, measure in measure_all(bench, reviews, repeats, peer_repeats):
        try:
            sections.setdefault(name, []).extend(measure())
        except StepError as error:
            failures.append(f"{name}: {error}")
            print(failures[-1], file=sys.stderr)
        if sections[name]:
            report(sections[name], results / f"{name}.json", bench, show=False)
    for found in sections.values():
        for section in found:
            print(section.markdown())
    for failure in failures:
        print(f"**failed** {failure.splitlines()[0]}\n")
    return not failures


def _measured(bench: Bench, reviews: int, given: argparse.Namespace) -> list[Section]:
    """What one command measures on a dump of one size; nothing for the command that takes all sizes together."""
    repeats = given.repeats
    match given.command:
        case "landing":
            return [measure_landing(bench, reviews, repeats, given.peer_repeats)]
        case "parallel":
            return [measure_parallel(bench, reviews, repeats)]
        case "clean":
            return [measure_clean(bench, reviews, repeats, given.memory, not given.models_only)]
        case "refresh":
            return [measure_refresh(bench, reviews, repeats)]
        case "cleaning-refresh":
            return [measure_cleaning_refresh(bench, reviews, repeats, share) for share in given.new_shares]
    return []


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--work", type=Path, default=REPOSITORY / "workspace" / "benchmarks", help="dumps go there")
    common.add_argument("--json", type=Path, help="default: benchmarks/results/COMMAND.json; a folder for all")
    common.add_argument("--repeats", type=int, default=3)
    common.add_argument("--cores", type=int, default=len(os.sched_getaffinity(0)))
    common.add_argument("--peers", type=Path, help="folder with the packages of benchmarks/requirements.txt")
    for name, sizes in {
        "landing": [MILLION, 10 * MILLION],
        "parallel": [10 * MILLION],
        "clean": [10 * MILLION],
        "refresh": [10 * MILLION],
        "cleaning-refresh": [10 * MILLION],
        "growth": [MILLION, 2 * MILLION, 5 * MILLION, 10 * MILLION, 20 * MILLION, 50 * MILLION],
        "all": [10 * MILLION],
    }.items():
        command = commands.add_parser(name, parents=[common])
        command.add_argument("--reviews", "--rows", type=int, nargs="+", default=sizes)
        if name in ("landing", "all"):
            command.add_argument("--peer-repeats", type=int, default=1, help="of pandas, which takes minutes")
        if name == "clean":
            command.add_argument("--memory", help="limit of DuckDB's memory, as 4GB; without the reference")
            command.add_argument("--models-only", action="store_true", help="leave out dbt's tests and the export")
        if name == "cleaning-refresh":
            command.add_argument("--new-shares", type=float, nargs="+", default=NEW_SHARES)
        if name == "growth":
            command.add_argument("--landing", type=int, nargs="*", default=[MILLION, 2 * MILLION, 5 * MILLION])
    step = commands.add_parser("step", help="one step, measured by the others")
    step.add_argument("name", choices=STEPS)
    step.add_argument("arguments", type=json.loads)
    given = parser.parse_args()
    if given.command == "step":
        run_step(STEPS, given.name, given.arguments)
        return
    bench = Bench(given.work.resolve(), given.cores, Path(__file__).resolve(), given.peers and given.peers.resolve())
    bench.work.mkdir(parents=True, exist_ok=True)
    results = REPOSITORY / "benchmarks" / "results"
    target = given.json or results / f"{given.command}.json"
    if given.command == "all":
        (reviews,) = given.reviews
        sys.exit(0 if run_all(bench, reviews, given.repeats, given.peer_repeats, given.json or results) else 1)
    sections = [section for reviews in given.reviews for section in _measured(bench, reviews, given)]
    if given.command == "growth":
        sections = measure_growth(bench, given.reviews, given.landing, given.repeats)
    report(sections, target, bench)


if __name__ == "__main__":
    main()
