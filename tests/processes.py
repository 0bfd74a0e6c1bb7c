"""``make run``, or ``make check-data``, as a process of its own, to be killed or to meet another one."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

from ml.data.versions import VERSIONS
from ml.release.gate.decision import Decision

# Children are forked from a process that has imported everything: a start costs milliseconds, not seconds.
_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(
    [
        "orchestration.definitions",
        "orchestration.commands.run",
        "orchestration.execution.dagster_sqlite",
        "great_expectations",
        "pandas",
        "pyarrow.parquet",
        "duckdb",
    ]
)

# of anything that is waited for: it is no test of speed, and machines are shared
LONGEST = 300.0


@dataclass
class Run:
    """One run under way, or ended."""

    process: multiprocessing.Process
    output: Path

    @property
    def said(self) -> str:
        return self.output.read_text() if self.output.exists() else ""

    def wait(self) -> int:
        """The exit code, once it has ended."""
        self.process.join(LONGEST)
        assert self.process.exitcode is not None, f"still running after {LONGEST} s:\n{self.said}"
        return self.process.exitcode

    def wait_for(self, text: str, times: int = 1) -> None:
        """Until it has said something so many times, or has ended."""
        until = time.monotonic() + LONGEST
        while self.process.is_alive() and self.said.count(text) < times:
            assert time.monotonic() < until, f"no {text!r} after {LONGEST} s:\n{self.said}"
            time.sleep(0.01)

    def children(self) -> list[int]:
        """Processes that it has started and that live."""
        found = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return [int(pid) for pid in found.read_text().split()] if found.exists() else []

    def kill(self, alone: bool = False) -> bool:
        """SIGKILL, to it and its children or to it alone; whether it was still under way."""
        if not self.process.is_alive():
            return False
        (os.kill if alone else os.killpg)(self.process.pid, signal.SIGKILL)
        self.process.join()
        return self.process.exitcode == -signal.SIGKILL


def start(home: Path, dumps: Path, *options: str, dataset: str = "Small", command: str = "run") -> Run:
    """``make run`` in a workspace, one recipe only; or ``check_data``."""
    output = home.parent / f"{dataset}-{time.monotonic_ns()}.txt"
    arguments = ["--dataset", dataset, "--dumps", str(dumps), "--k-core", "3", "--recipes", "tiny_softmax", *options]
    process = _context.Process(target=_run, args=(str(home), command, arguments, str(output)))
    process.start()
    return Run(process, output)


def _run(home: str, command: str, arguments: list[str], output: str) -> None:
    # a group of its own, to be killed with all its children
    os.setsid()
    descriptor = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    os.environ["RAW2RANK_HOME"] = home
    from orchestration.commands import check_data, run

    raise SystemExit({"run": run, "check_data": check_data}[command].main(arguments))


def digests(home: Path, dataset: str = "Small") -> dict[str, str]:
    """SHA-256 of every file of a dataset in the lake, without what tells the time and without previous versions."""
    lake = home / "lake" / dataset
    return {str(path.relative_to(lake)): hashlib.sha256(_without_the_clock(path)).hexdigest() for path in _files(lake)}


def _files(folder: Path) -> list[Path]:
    """All files at their plain paths, links followed."""
    found = []
    for where, folders, names in os.walk(folder, followlinks=True):
        folders[:] = sorted(name for name in folders if name != VERSIONS)
        found += [Path(where) / name for name in sorted(names)]
    assert all(path.is_file() for path in found), "a link leads nowhere"
    return found


def _without_the_clock(path: Path) -> bytes:
    if path.name in ("report.html", "report.md", "decision.html", "release.html"):
        # the data version is that of the page without the clock and the machine
        return b""
    if path.name == "decision.json":
        return json.dumps(Decision.from_json(json.loads(path.read_text())).timeless().as_json()).encode()
    if path.name == "over_time.json":
        entries = json.loads(path.read_text())["entries"]
        return json.dumps([{**entry, "when": "", "run": ""} for entry in entries]).encode()
    if path.name == "champion.json":
        return json.dumps({**json.loads(path.read_text()), "since": ""}).encode()
    if path.name == "history.jsonl":
        events = [json.loads(line) for line in path.read_text().splitlines()]
        return json.dumps([{**event, "when": "", "run": ""} for event in events]).encode()
    if path.name == "report.json":
        return json.dumps(
            {name: value for name, value in json.loads(path.read_text()).items() if name != "run"}
        ).encode()
    if path.name == "training_run.json":
        return json.dumps(_timeless(json.loads(path.read_text())), sort_keys=True).encode()
    if path.name == "training_log.jsonl":
        return json.dumps([_timeless(json.loads(line)) for line in path.read_text().splitlines()]).encode()
    return path.read_bytes()


def _timeless(value: object) -> object:
    """JSON without durations, speeds and peaks of memory in it."""
    if isinstance(value, dict):
        return {
            name: _timeless(inner)
            for name, inner in value.items()
            if "second" not in name and "peak_memory" not in name
        }
    return value


def leftovers(home: Path) -> list[Path]:
    """Working folders, logs that were written ahead, and temporary files."""
    patterns = (".writing-*", "*.wal", "*.temporary")
    return [path for pattern in patterns for path in home.rglob(pattern) if "dagster" not in path.parts[-4:-1]]
