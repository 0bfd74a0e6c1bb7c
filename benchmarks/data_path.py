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
  page that several share counts once, looked at 20 times a second).

A Markdown table goes to standard output, everything measured to ``--json``. Linux alone, for ``/proc``.
"""

from __future__ import annotations

import argparse
import gzip
import io
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(REPOSITORY), str(REPOSITORY / "benchmarks")]
SCRIPT = Path(__file__).resolve()
DATASET = "Synthetic"
K_CORE, VALIDATION_USERS = 5, 512
MILLION = 1_000_000
# of the new file in a refresh of the cleaning
NEW_SHARES = (0.01, 0.05, 0.2)
DBT_LEFT_OUT = "dbt's start and parse left out"


# ---- steps: each runs in a process of its own


@dataclass
class Clock:
    """Seconds by phase of a step."""

    phases: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        began = time.perf_counter()
        yield
        self.phases[name] = self.phases.get(name, 0.0) + time.perf_counter() - began


def land(clock: Clock, files: list[str], out: str, together: bool = True) -> dict:
    """The landing of this project: rows and rejects as Parquet. Not together: one file after the other."""
    from ml.data.sources.amazon.dumps import land_reviews

    groups = [files] if together else [[file] for file in files]
    with clock.phase("landing"):
        landed = [
            land_reviews([Path(file) for file in group], Path(out) / f"landing-{number}")
            for number, group in enumerate(groups)
        ]
    return {
        "lines": sum(counts.lines_read for counts in landed),
        "rows": sum(counts.rows_kept for counts in landed),
        "rejected": sum(counts.rows_rejected for counts in landed),
    }


def simdjson_loop(clock: Clock, files: list[str]) -> dict:
    """Inflate, and read four fields of each line with simdjson; nothing is kept, nothing checked."""
    import simdjson
    from isal import igzip

    parser = simdjson.Parser()
    rows = bad = 0
    with clock.phase("loop"):
        for file in files:
            with igzip.open(file, "rb") as stream:
                for line in io.BufferedReader(stream, 1 << 20):
                    row = None  # the parser must not be used while something of its last line is held
                    try:
                        row = parser.parse(line)
                        row["reviewerID"], row["asin"], row["overall"], row["unixReviewTime"]
                        rows += 1
                    except (ValueError, KeyError, TypeError):
                        bad += 1
    return {"lines": rows + bad, "rows": rows}


def orjson_loop(clock: Clock, files: list[str]) -> dict:
    """The same with orjson."""
    import orjson
    from isal import igzip

    rows = bad = 0
    with clock.phase("loop"):
        for file in files:
            with igzip.open(file, "rb") as stream:
                for line in io.BufferedReader(stream, 1 << 20):
                    try:
                        row = orjson.loads(line)
                        row["reviewerID"], row["asin"], row["overall"], row["unixReviewTime"]
                        rows += 1
                    except (ValueError, KeyError, TypeError):
                        bad += 1
    return {"lines": rows + bad, "rows": rows}


def pandas_chunks(clock: Clock, files: list[str], chunk_lines: int = 100_000) -> dict:
    """What is commonly written: pandas.read_json in chunks, four columns kept, cleaned as the reference does.

    pandas stops at a line that is no JSON, so lines that do not look like an object are left out before, by the
    cheapest test there is; why they were bad, nobody learns.
    """
    import pandas

    columns = ["reviewerID", "asin", "overall", "unixReviewTime"]
    frames: list[pandas.DataFrame] = []
    held: list[bytes] = []
    lines = 0

    def read() -> None:
        text = io.StringIO(b"".join(held).decode("utf-8", errors="replace"))
        frames.append(pandas.read_json(text, lines=True, convert_dates=False).reindex(columns=columns))
        held.clear()

    with clock.phase("reading"):
        for file in files:
            with gzip.open(file, "rb") as stream:
                for line in stream:
                    lines += 1
                    if line.startswith(b"{") and line.endswith(b"}\n"):
                        held.append(line)
                        if len(held) == chunk_lines:
                            read()
        if held:
            read()
    with clock.phase("cleaning"):
        frame = pandas.concat(frames, ignore_index=True).dropna()
        frame = frame[frame["overall"].between(1, 5)].drop_duplicates(columns)
    return {"lines": lines, "interactions": len(frame)}


def clean(clock: Clock, lake: str, out: str, tests: bool = False, export: bool = False) -> dict:
    """dbt over a landing, and the training set from its splits.

    Args:
        clock: of the phases.
        lake: folder that holds ``landing``.
        out: where the warehouse, the splits and the training set go.
        tests: with dbt's tests between the models, as the pipeline runs it.
        export: write every model as Parquet, as the pipeline does; else the splits alone.
    """
    import duckdb

    from ml.data.build_training_set import build_training_set

    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    warehouse, splits, target = folder / "warehouse.duckdb", folder / "splits.parquet", folder / "target"
    command = ["build", "--exclude-resource-type", "unit_test"] if tests else ["run"]
    project = str(REPOSITORY / "dbt_project")
    places = ["--project-dir", project, "--profiles-dir", project, "--target-path", str(target)]
    settings = json.dumps({"k_core": K_CORE, "validation_users": VALIDATION_USERS})
    environment = {**os.environ, "RAW2RANK_LAKE": lake, "RAW2RANK_WAREHOUSE": str(warehouse)}
    with clock.phase("dbt"):
        ran = subprocess.run(
            [Path(sys.executable).with_name("dbt"), *command, *places, "--log-path", str(folder), "--vars", settings],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
    if ran.returncode:
        raise SystemExit(f"dbt failed:\n{ran.stdout[-4000:]}{ran.stderr[-2000:]}")
    results = json.loads((target / "run_results.json").read_text())["results"]
    found = {"seconds_in_dbt_nodes": _node_seconds(results), "nodes": _slowest(results)}
    if export:
        splits = _export_all(clock, folder, results, Path(lake))
    else:
        with clock.phase("splits as Parquet"), duckdb.connect(str(warehouse), read_only=True) as connection:
            connection.execute("set enable_progress_bar = false")
            connection.execute(f"set threads = {os.environ.get('RAW2RANK_DUCKDB_THREADS', '4')}")
            connection.execute(f"set memory_limit = '{os.environ.get('RAW2RANK_DUCKDB_MEMORY', '80%')}'")
            connection.execute(
                f"copy (from marts.splits order by all) to '{splits}' (format parquet, compression zstd)"
            )
    with clock.phase("arrays"):
        training_set = build_training_set(DATASET, splits, {})
        (folder / "training_set").mkdir(exist_ok=True)
        training_set.save(folder / "training_set")
    found["warehouse_bytes"] = warehouse.stat().st_size
    held_out = len(training_set.validation_users) + len(training_set.test_users)
    return {
        **found,
        "interactions": len(training_set.train.items) + held_out,
        "users": len(training_set.user_ids),
        "items": len(training_set.item_ids),
        "validation_cases": len(training_set.validation_users),
        "test_cases": len(training_set.test_users),
    }


def clean_with_numpy(clock: Clock, lake: str, out: str) -> dict:
    """The reference: identities and repeats in DuckDB, then the k-core, order, split and arrays in numpy.

    It keeps no table, counts nothing it drops, tests nothing, and orders ties by item.
    """
    import duckdb
    import numpy as np

    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    with duckdb.connect() as connection:
        connection.execute("set enable_progress_bar = false")
        connection.execute(f"set threads = {os.environ.get('RAW2RANK_DUCKDB_THREADS', '4')}")
        connection.execute(f"set temp_directory = '{folder / 'temporary'}'")
        with clock.phase("identities"):
            connection.execute(
                f"""
                create temp table interactions as
                select distinct user_id, item_id, rating, timestamp as moment
                from '{Path(lake) / "landing" / "reviews" / "rows" / "*.parquet"}'
                """
            )
            for kind in ("user", "item"):
                connection.execute(
                    f"""
                    create temp table {kind}s as
                    select {kind}_id, (row_number() over (order by {kind}_id) - 1)::integer as {kind}
                    from (select {kind}_id from interactions group by all having count(*) >= {K_CORE})
                    """
                )
            edges = connection.execute(
                "select user, item, moment from interactions join users using (user_id) join items using (item_id)"
            ).fetchnumpy()
            identities = {
                kind: connection.execute(f"select {kind}_id from {kind}s order by {kind}").fetchnumpy()[f"{kind}_id"]
                for kind in ("user", "item")
            }
    users, items, moments = edges["user"], edges["item"], edges["moment"]
    rounds = 0
    with clock.phase("k-core"):
        while True:
            rounds += 1
            keep = (np.bincount(users)[users] >= K_CORE) & (np.bincount(items)[items] >= K_CORE)
            if keep.all():
                break
            users, items, moments = users[keep], items[keep], moments[keep]
    with clock.phase("arrays"):
        left = {}
        for kind, indices in (("user", users), ("item", items)):
            is_left = np.zeros(len(identities[kind]), dtype=bool)
            is_left[indices] = True
            left[kind] = np.cumsum(is_left, dtype=np.int32) - 1
            ids = np.char.encode(identities[kind][is_left].astype(np.str_), "utf-8")
            np.save(folder / f"{kind}_ids.npy", ids)
            left[f"{kind}_count"] = len(ids)
        users, items = left["user"][users], left["item"][items]
        order = np.lexsort((items, moments, users))
        users, items = users[order], items[order]
        lengths = np.bincount(users, minlength=left["user_count"])
        ends = np.cumsum(lengths)
        # every user has at least five
        validated = np.sort(np.random.default_rng(0).permutation(left["user_count"])[:VALIDATION_USERS])
        in_train = np.ones(len(items), dtype=bool)
        in_train[ends - 1] = False
        in_train[ends[validated] - 2] = False
        offsets = np.concatenate([[0], np.cumsum(np.bincount(users[in_train], minlength=left["user_count"]))])
        for name, array in {
            "train_items": items[in_train],
            "train_offsets": offsets,
            "validation_users": validated.astype(np.int32),
            "validation_targets": items[ends[validated] - 2],
            "test_users": np.arange(left["user_count"], dtype=np.int32),
            "test_targets": items[ends - 1],
        }.items():
            np.save(folder / f"{name}.npy", array)
    return {
        "interactions": len(items),
        "users": left["user_count"],
        "items": left["item_count"],
        "validation_cases": len(validated),
        "test_cases": left["user_count"],
        "rounds": rounds,
    }


def from_raw(clock: Clock, files: list[str], lake: str, out: str) -> dict:
    """Landing into a lake, which may know some of the files already, then cleaning."""
    from ml.data.sources.amazon.dumps import land_metadata, land_reviews

    landing = Path(lake) / "landing"
    with clock.phase("landing"):
        counts = land_reviews([Path(file) for file in files], landing / "reviews")
        land_metadata([], landing / "metadata")
    return {"lines": counts.lines_read, **clean(clock, lake, out)}


def prepare(clock: Clock, files: list[str], lake: str) -> dict:
    """What :func:`from_raw` may start with: the landing of some files."""
    from ml.data.sources.amazon.dumps import land_reviews

    with clock.phase("landing"):
        land_reviews([Path(file) for file in files], Path(lake) / "landing" / "reviews")
    return {}


STEPS: dict[str, Callable[..., dict]] = {
    step.__name__: step
    for step in (
        land,
        simdjson_loop,
        orjson_loop,
        pandas_chunks,
        clean,
        clean_with_numpy,
        from_raw,
        prepare,
    )
}


def run_step(steps: dict[str, Callable[..., dict]], name: str, arguments: dict) -> None:
    """Run a step in this process and print what it found."""
    clock = Clock()
    found = steps[name](clock, **arguments)
    print(json.dumps({"phases": clock.phases, "found": found}))


def _export_all(clock: Clock, folder: Path, results: list[dict], lake: Path) -> Path:
    """Write all models as the pipeline does; the path of the splits."""
    from orchestration.assets.warehouse import export
    from orchestration.paths import DatasetPaths

    paths = DatasetPaths(folder / "home", DATASET)
    paths.warehouse.parent.mkdir(parents=True)
    (folder / "warehouse.duckdb").replace(paths.warehouse)
    manifest = json.loads((folder / "target" / "manifest.json").read_text())
    names = [result["unique_id"] for result in results if result["unique_id"].startswith("model.")]
    models = [(manifest["nodes"][name]["schema"], manifest["nodes"][name]["name"]) for name in names]
    os.environ |= {"RAW2RANK_LAKE": str(lake), "RAW2RANK_WAREHOUSE": str(paths.warehouse)}
    with clock.phase("all models as Parquet"):
        export(paths, models)
    (folder / "warehouse.duckdb").symlink_to(paths.warehouse)
    return paths.table("marts", "splits")


def _node_seconds(results: list[dict]) -> float:
    """From the start of the first node of a dbt run to the end of its last one."""
    from datetime import datetime

    timings = [timing for result in results for timing in result["timing"] if timing["name"] == "execute"]
    times = [datetime.fromisoformat(timing[end]) for timing in timings for end in ("started_at", "completed_at")]
    return (max(times) - min(times)).total_seconds()


def _slowest(results: list[dict], most: int = 12) -> dict[str, float]:
    """Seconds of the slowest nodes of a dbt run, by name."""
    by_time = sorted(results, key=lambda result: -result["execution_time"])
    return {result["unique_id"].split(".")[2]: round(result["execution_time"], 2) for result in by_time[:most]}


# ---- measuring


@dataclass(frozen=True)
class Measurement:
    """One run of a step.

    Attributes:
        name: what was measured, in words.
        seconds: of the work.
        process: seconds from start to end of the process.
        processor: seconds of all cores.
        peak: bytes of memory at most.
        phases: seconds by phase of the work.
        found: what the step says of its result.
    """

    name: str
    seconds: float
    process: float
    processor: float
    peak: int
    phases: dict[str, float]
    found: dict


@dataclass(frozen=True)
class Bench:
    """How and where to measure.

    Attributes:
        work: folder for dumps and results of steps.
        cores: cores that a step may use.
        peers: folder with the packages of ``benchmarks/requirements.txt``, or ``None``.
        script: whose steps are run.
    """

    work: Path
    cores: int
    peers: Path | None = None
    script: Path = SCRIPT

    def measure(
        self, name: str, step: str, memory: str | None = None, cores: int | None = None, **arguments
    ) -> Measurement:
        """Run a step in a fresh process, on some cores, with a limit for DuckDB's memory or none."""
        cores = cores or self.cores
        chosen = sorted(os.sched_getaffinity(0))[:cores]
        environment = {**os.environ, "RAW2RANK_DUCKDB_THREADS": str(cores), "RAW2RANK_HOME": str(self.work / "home")}
        if memory:
            environment["RAW2RANK_DUCKDB_MEMORY"] = memory
        if self.peers:
            environment["PYTHONPATH"] = str(self.peers)
        command = [sys.executable, str(self.script), "step", step, json.dumps(arguments)]
        log = self.work / "step.log"
        os.sync()
        with open(log, "w+") as output:
            began = time.perf_counter()
            started = subprocess.Popen(
                command,
                env=environment,
                stdout=output,
                stderr=subprocess.STDOUT,
                preexec_fn=lambda: os.sched_setaffinity(0, chosen),
            )
            status, usage, peak = _wait(started.pid)
            process = time.perf_counter() - began
            started.returncode = os.waitstatus_to_exitcode(status)
            output.seek(0)
            lines = output.read().splitlines()
        if started.returncode:
            raise StepError(f"{name}: the process ended with {started.returncode}\n" + "\n".join(lines[-40:]))
        told = json.loads(lines[-1])
        measured = Measurement(
            name,
            sum(told["phases"].values()),
            process,
            usage.ru_utime + usage.ru_stime,
            peak,
            told["phases"],
            told["found"],
        )
        shown = ", ".join(f"{phase} {seconds:.1f}" for phase, seconds in measured.phases.items())
        print(f"{name}: {measured.seconds:.2f} s ({shown}), {measured.peak / 1e6:,.0f} MB", file=sys.stderr)
        return measured

    def dump(self, reviews: int, files: int = 1, new_share: float = 0.0) -> list[str]:
        """Files of a synthetic dump, the new one last; made where they are not there."""
        folder = self.work / f"dump-{reviews}-{files}-{new_share}"
        asked = ["--files", str(files), "--new-share", str(new_share)]
        return [str(folder / name) for name in self._synthetic(reviews, folder, asked)["lines_by_file"]]

    def staged(self, reviews: int, files: int = 1, new_share: float = 0.0) -> str:
        """Lake with a synthetic landing, the new file last; made where it is not there."""
        folder = self.work / (f"staged-{reviews}" if files == 1 else f"staged-{reviews}-{files}-{new_share}")
        asked = ["--staged", "--files", str(files), "--new-share", str(new_share)]
        self._synthetic(reviews, folder, asked)
        return str(folder)

    def _synthetic(self, reviews: int, folder: Path, asked: list[str]) -> dict:
        summary = folder / "synthetic.json"
        if not summary.exists():
            script = REPOSITORY / "benchmarks" / "synthetic.py"
            command = [sys.executable, str(script), "--reviews", str(reviews), "--out", str(folder), *asked]
            print(f"making {folder.name}", file=sys.stderr)
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        return json.loads(summary.read_text())

    @contextmanager
    def scratch(self) -> Iterator[str]:
        """A folder that is gone afterwards."""
        folder = self.work / "scratch"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        try:
            yield str(folder)
        finally:
            shutil.rmtree(folder, ignore_errors=True)


class StepError(Exception):
    """A step that did not end well; the message holds the end of its output."""


def _wait(process: int) -> tuple[int, object, int]:
    """Wait for a process; its status and use of resources, and the most memory of it and its offspring."""
    peak = 0
    while True:
        ended, status, usage = os.wait4(process, os.WNOHANG)
        if ended:
            return status, usage, peak
        began = time.perf_counter()
        peak = max(peak, sum(_resident(member) for member in family(process)))
        # the kernel walks through all pages and holds them up meanwhile: of gigabytes, not twenty times a second
        time.sleep(max(0.05, 50 * (time.perf_counter() - began)))


def family(process: int) -> Iterator[int]:
    """A process and all that it started, as far as they still live."""
    yield process
    with suppress(OSError):
        for thread in os.listdir(f"/proc/{process}/task"):
            with suppress(OSError):
                for child in Path(f"/proc/{process}/task/{thread}/children").read_text().split():
                    yield from family(int(child))


def processor_of(process: int) -> float:
    """Seconds of processor of a process until now.

    Raises:
        OSError: it has ended.
    """
    # the name of the program, in brackets, may hold blanks
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _resident(process: int) -> int:
    """Bytes of a process in memory; of pages that it shares with others, its part. 0 where it has ended."""
    try:
        lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:")), 0)


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
    bench = Bench(given.work.resolve(), given.cores, given.peers and given.peers.resolve())
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
