"""What a step of a benchmark costs: seconds, processor, memory, in a process of its own.

A script names its steps, :class:`Bench` starts the script again with ``step NAME ARGUMENTS`` for each measurement, and
:func:`run_step` runs the step there and prints what it found. Linux alone, for ``/proc``.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
MILLION = 1_000_000


@dataclass
class Clock:
    """Seconds by phase of a step.

    Attributes:
        phases: by the clock.
        processor: of all cores, without the processes that a phase starts.
    """

    phases: dict[str, float] = field(default_factory=dict)
    processor: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        began, spent = time.perf_counter(), time.process_time()
        yield
        self.phases[name] = self.phases.get(name, 0.0) + time.perf_counter() - began
        self.processor[name] = self.processor.get(name, 0.0) + time.process_time() - spent


def run_step(steps: dict[str, Callable[..., dict]], name: str, arguments: dict) -> None:
    """Run a step in this process and print what it found."""
    clock = Clock()
    found = steps[name](clock, **arguments)
    print(json.dumps({"phases": clock.phases, "processor": clock.processor, "found": found}))


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
        processor_of: the same of all cores, without the processes that a phase started.
        found: what the step says of its result.
    """

    name: str
    seconds: float
    process: float
    processor: float
    peak: int
    phases: dict[str, float]
    processor_of: dict[str, float]
    found: dict


@dataclass(frozen=True)
class Bench:
    """How and where to measure.

    Attributes:
        work: folder for dumps and results of steps.
        cores: cores that a step may use.
        script: whose steps are run.
        peers: folder with the packages of ``benchmarks/requirements.txt``, or ``None``.
    """

    work: Path
    cores: int
    script: Path
    peers: Path | None = None

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
            told["processor"],
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
