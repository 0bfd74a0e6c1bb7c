"""Refreshes that nobody watches, with faults: what is lost, what is replaced, what stays on disk.

    python -m benchmarks.soak --refreshes 50 --seed 0 --out build/soak

A made-up dump grows from refresh to refresh, and ``raw2rank run`` is called on it, each time as a process of its own.
In most refreshes something is planted: the process group is killed at some moment, in the middle of a promotion or
while old versions are removed; the disk is full; a file is cut short, damaged, empty, or breaks a contract; a second
run of this dataset or of another one stands beside it; the candidate is a worse one. The seed decides which, when and
how much.

After each refresh the exit code and the message are held against what was planted, and the invariants of
:mod:`benchmarks.soak_checks` are checked. A run that could not succeed is followed by one without the fault, which has
to. In the end everything is made once more from scratch, which must give the same bytes.

The workspace lies on a file system of its own (tmpfs) where that can be mounted, and a full disk is a file that leaves
next to nothing free: the processes meet ENOSPC. Elsewhere they may write files of a few hundred kilobytes and no larger
ones (``RLIMIT_FSIZE``): they meet EFBIG.

No model is trained unless ``--recipes`` names some: the training-free recommenders are fitted and released. The exit
code is 1 where an invariant was broken; ``report.md`` in the folder of ``--out`` has a row for each run.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks import soak_dumps as dumps_module
from benchmarks.soak_dumps import DATASET, METADATA, Dumps
from benchmarks.soak_process import Process, start

BESIDE = "Beside"
NONE = "none"
# what ends a run with exit code 1 and is taken away before the next one, and how the message names it
FILE_FAULTS: dict[str, tuple[Callable[[bytes], bytes], tuple[str, ...]]] = {
    "truncated": (dumps_module.truncated, ("file_is_whole", "ends too early", "cut short", "truncated")),
    "damaged": (dumps_module.damaged, ("file_is_whole", "damaged", "corrupt")),
    "empty": (dumps_module.empty, ("is empty",)),
    "another_rating": (dumps_module.another_rating, ("rejected_below_5_percent",)),
    "drift": (dumps_module.thinned_out, ("not_fewer_than_half",)),
}
FULL_DISK = "full_disk"
KILLS = ("kill", "kill_alone", "kill_promotion", "kill_clearing")
# what a run survives
SURVIVED = ("cut_lines", "second_run", "other_dataset", "worse_candidate")
FAULTS = (*KILLS, FULL_DISK, *FILE_FAULTS, *SURVIVED, NONE)
WORSE = ("random", "popularity_sampling", "most_popular", "repeat_last")
# how much of what is current the lake may be: five champions and reports, three of everything else
MOST_OF_CURRENT = 6


@dataclass(frozen=True)
class Night:
    """What is planned for one refresh.

    Attributes:
        number: from 1.
        users: that are new.
        in_new_file: or in the latest file, written anew.
        fault: one of :data:`FAULTS`.
        moment: where in the run it strikes, as a share; of a full disk the share that is still free.
        worse: the candidate that is planted.
    """

    number: int
    users: int
    in_new_file: bool
    fault: str
    moment: float
    worse: str


def plan(refreshes: int, seed: int, users: int, faults: tuple[str, ...] = FAULTS) -> list[Night]:
    """The nights: faults in random order, each about as often as the others; none in the first."""
    rng = random.Random(seed)
    order = [NONE]
    while len(order) < refreshes:
        order += rng.sample(faults, len(faults))
    return [
        Night(
            number,
            users=rng.randint(max(1, users // 2), users),
            in_new_file=rng.random() < 0.6,
            fault=fault,
            moment=rng.random(),
            worse=rng.choice(WORSE),
        )
        for number, fault in enumerate(order[:refreshes], start=1)
    ]


@dataclass
class Row:
    """One run.

    Attributes:
        night: number of the refresh.
        growth: what the dump grew by.
        fault: what was planted, and where it struck.
        exit: code, negative where it was killed.
        seconds: it took.
        lake, events, rest: megabytes on disk after it.
        ndcg: nDCG@10 of the release in charge, measured here.
        release: what became of the candidate.
        message: what it said of the fault.
        broken: the invariants that it broke.
    """

    night: int
    growth: str
    fault: str
    exit: int = 0
    seconds: float = 0.0
    lake: float = 0.0
    events: float = 0.0
    rest: float = 0.0
    ndcg: float | None = None
    release: str = ""
    message: str = ""
    broken: list[str] = field(default_factory=list)


class Soak:
    """One workspace, and what happens to it."""

    def __init__(self, out: Path, dumps: Dumps, seed: int, options: list[str], forked: bool, mounted: bool) -> None:
        from orchestration.paths import Workspace

        self.out, self.dumps = out, dumps
        self.home = out / "workspace"
        self.paths = Workspace(self.home).dataset(DATASET)
        self.options, self.forked, self.mounted = options, forked, mounted
        self.rng = random.Random(seed)
        self.rows: list[Row] = []
        self.lines = 0

    def start(self, name: str, *options: str, largest_file: int = 0) -> Process:
        """``raw2rank run`` on the dataset."""
        given = ["--dataset", DATASET, "--dumps", str(self.dumps.folder), *self.options, *options]
        output = self.out / "output" / f"{name}.txt"
        output.parent.mkdir(exist_ok=True)
        return start(self.home, output, "run", given, self.forked, largest_file)

    def refresh(self, night: Night) -> None:
        """One night: the dump grows, something happens, and where that had to end a run, the next one must succeed."""
        growth = self.dumps.grow(night.users, night.in_new_file)
        row = self._run(night, growth)
        if row.exit != 0:
            self.dumps.clear()
            again = Night(night.number, 0, True, NONE, 0.0, "")
            self._run(again, "", "again")
        self.dumps.clear()

    def _run(self, night: Night, growth: str, ending: str = "") -> Row:
        row = Row(night.number, growth, night.fault)
        self.rows.append(row)
        before = Path(os.path.realpath(self.paths.champion)) if self.paths.champion.exists() else None
        name = f"{night.number:03d}{ending or '-' + night.fault}"
        began = time.monotonic()
        process = getattr(self, f"_{night.fault}", self._plainly)(night, row, name)
        row.seconds = time.monotonic() - began
        code = process.poll()
        assert code is not None
        row.exit = code
        self._look(row, process, before)
        print(as_line(row), flush=True)
        for sentence in row.broken:
            print(f"    BROKEN: {sentence}", flush=True)
        return row

    def _plainly(self, night: Night, row: Row, name: str) -> Process:
        if night.fault in FILE_FAULTS or night.fault == "cut_lines":
            change = FILE_FAULTS[night.fault][0] if night.fault in FILE_FAULTS else dumps_module.cut_lines
            path = self.dumps.folder / METADATA if night.fault == "drift" else self.rng.choice(self.dumps.reviews)
            self.dumps.plant(path, change)
            row.fault = f"{night.fault}: {path.name}"
        process = self.start(name)
        process.wait()
        return process

    def _kill(self, night: Night, row: Row, name: str, alone: bool = False) -> Process:
        process = self.start(name)
        line = int(night.moment * max(1, self.lines))
        if process.wait_until(lambda: process.rows_said >= line):
            time.sleep(self.rng.uniform(0, 0.5))
        process.kill(alone)
        row.fault = f"{night.fault} after {line} assets"
        return process

    def _kill_alone(self, night: Night, row: Row, name: str) -> Process:
        return self._kill(night, row, name, alone=True)

    def _kill_promotion(self, night: Night, row: Row, name: str) -> Process:
        from orchestration.release import read_state

        # another fit of what is in charge is promoted most easily
        state = read_state(self.paths)
        process = self.start(name, *(["--release", state.name] if state and state.name else []))
        folder = self.paths.asset("release")
        process.wait_until(lambda: (folder / "under_way.json").exists(), pause=0.0005)
        time.sleep(night.moment * 0.03)
        return self._struck(process, row, f"{night.fault}, {night.moment * 30:.0f} ms after it began")

    def _kill_clearing(self, night: Night, row: Row, name: str) -> Process:
        before = list(self.paths.lake.glob("*/.versions/*/*"))
        process = self.start(name)
        # gone stays gone, so that a look every other millisecond sees it
        gone = 0

        def clearing() -> bool:
            nonlocal gone
            gone = sum(not version.exists() for version in before)
            return gone > night.moment * 10

        process.wait_until(clearing, pause=0.002)
        return self._struck(process, row, f"{night.fault}, after {gone} versions were removed")

    @staticmethod
    def _struck(process: Process, row: Row, what: str) -> Process:
        process.kill()
        row.fault = what if process.poll() != 0 else f"{row.fault}: it did not come to that"
        return process

    def _full_disk(self, night: Night, row: Row, name: str) -> Process:
        if not self.mounted:
            largest = int(4096 * 2 ** (night.moment * 8))
            process = self.start(name, largest_file=largest)
            process.wait()
            row.fault = f"{night.fault}: files of at most {largest >> 10} KiB"
            return process
        free = int(night.moment**2 * (6 << 20))
        filler = self.home / "filler"
        with open(filler, "wb") as file:
            os.posix_fallocate(file.fileno(), 0, max(4096, shutil.disk_usage(self.home).free - free))
        try:
            process = self.start(name)
            process.wait()
        finally:
            filler.unlink()
        row.fault = f"{night.fault}: {free >> 10:,} KiB free"
        return process

    def _second_run(self, night: Night, row: Row, name: str) -> Process:
        process = self.start(name)
        process.wait_until(lambda: "making" in process.said)
        second = self.start(f"{name}-beside", "--no-wait")
        code, first_ended = second.wait(), process.poll() is not None
        process.wait()
        if not first_ended and (code != 1 or "is in use by" not in second.said):
            row.broken.append(f"the second run ended with {code}: {_last(second.said)}")
        row.message = _last(second.said)
        return process

    def _other_dataset(self, night: Night, row: Row, name: str) -> Process:
        folder = self.out / "beside"
        if not folder.exists():
            folder.mkdir()
            for path in (self.dumps.folder / dumps_module.FIRST, self.dumps.folder / METADATA):
                shutil.copyfile(path, folder / path.name.replace("night_000", BESIDE).replace(DATASET, BESIDE))
        process = self.start(name)
        given = ["--dataset", BESIDE, "--dumps", str(folder), *self.options, "--seed", str(night.number)]
        other = start(self.home, self.out / "output" / f"{name}-beside.txt", "check-data", given, self.forked)
        if (code := other.wait()) != 0:
            row.broken.append(f"the run of the other dataset ended with {code}: {_last(other.said)}")
        process.wait()
        return process

    def _worse_candidate(self, night: Night, row: Row, name: str) -> Process:
        before = os.path.realpath(self.paths.champion)
        process = self.start(name, "--release", night.worse)
        process.wait()
        row.fault = f"{night.fault}: {night.worse}"
        from benchmarks.soak_checks import verdict_of

        verdict, sentence = verdict_of(self.paths)
        if verdict != "refuse" or os.path.realpath(self.paths.champion) != before:
            row.broken.append(f"a worse candidate was planted and this is what was decided: {sentence}")
        if sentence not in process.said.replace("\n", " "):
            row.broken.append(f"the run does not say that {sentence}")
        return process

    def _look(self, row: Row, process: Process, before: Path | None) -> None:
        """Hold a run and what it left against what must be."""
        from benchmarks import soak_checks as checks

        fault = row.fault.split(":")[0].split(",")[0].split(" ")[0]
        said = process.said
        row.message = row.message or _message(said)
        row.broken += _fits(fault, row, said, self.dumps)
        row.broken += checks.champion_loads(self.paths)
        if before is not None and self.paths.champion.exists():
            worse, row.ndcg = checks.not_worse(self.paths, before)
            row.broken += worse
        if row.exit == 0:
            self.lines = process.rows_said or self.lines
            row.broken += checks.rows_are_accounted_for(self.paths, self.dumps.folder)
            row.broken += checks.history_is_whole(self.paths)
            row.broken += checks.nothing_half_written(self.home)
            row.broken += checks.versions_are_cleared(self.paths)
            row.release = checks.verdict_of(self.paths)[1]
        found = checks.disk(self.home, self.paths.lake)
        row.lake, row.events, row.rest = (size / 2**20 for size in (found.lake, found.events, found.rest))
        if row.exit == 0 and found.lake > MOST_OF_CURRENT * found.current:
            row.broken.append(f"the lake is {found.lake / found.current:.1f} times what is current in it")

    def from_scratch(self) -> Row:
        """The same dumps in a workspace of its own: the same bytes."""
        from benchmarks.soak_checks import digests
        from orchestration.paths import Workspace

        row = Row(self.rows[-1].night, "", "from scratch")
        self.rows.append(row)
        home = self.out / "scratch"
        given = ["--dataset", DATASET, "--dumps", str(self.dumps.folder), *self.options]
        process = start(home, self.out / "output" / "scratch.txt", "run", given, self.forked)
        row.exit, row.seconds = process.wait(), time.monotonic() - process.began
        if row.exit != 0:
            row.broken.append(f"from scratch it ends with {row.exit}: {_last(process.said)}")
        else:
            one, other = digests(self.paths.lake), digests(Workspace(home).dataset(DATASET).lake)
            row.broken += [f"{name} is another one from scratch" for name in one if one[name] != other[name]]
        shutil.rmtree(home)
        print(as_line(row), flush=True)
        return row


def _fits(fault: str, row: Row, said: str, dumps: Dumps) -> list[str]:
    """Whether exit code and message are those of the fault."""
    broken = []
    if "Traceback" in said or "unexpected error" in said:
        broken.append(f"an error in no plain words: {_last(said)}")
    errors = " ".join(line for line in said.splitlines() if not line.startswith("  warning"))
    if fault in FILE_FAULTS:
        (name,) = (path.name for path in dumps.planted)
        named = METADATA if fault == "drift" else name
        if row.exit != 1:
            broken.append(f"exit code {row.exit} where {fault} was planted in {name}")
        if (fault != "drift" and named not in errors) or not any(word in errors for word in FILE_FAULTS[fault][1]):
            broken.append(f"the message does not name {named} and what is wrong with it: {_last(said)}")
    elif fault == FULL_DISK:
        if row.exit not in (0, 1) or (
            row.exit == 1
            and "is full" not in errors
            and not ("files of at most" in row.fault and "reports an error" in errors)
        ):
            # SQLite says no more of EFBIG than that the disk reports an error
            broken.append(f"exit code {row.exit} on a full disk: {_last(said)}")
    elif fault in KILLS:
        if row.exit not in (0, -9):
            broken.append(f"exit code {row.exit} of a run that was killed: {_last(said)}")
    elif row.exit != 0:
        broken.append(f"exit code {row.exit}: {_last(said)}")
    if fault == "cut_lines":
        (name,) = (path.name for path in dumps.planted)
        if not any("rejected_below_1_percent" in line and name in line for line in said.splitlines()):
            broken.append(f"the message does not name {name}, some lines of which are cut")
    return broken


def _message(said: str) -> str:
    lines = [line.strip() for line in said.splitlines()]
    for begin in ("error: ", "cleared up after", "warning: landing", "release: "):
        if found := [number for number, line in enumerate(lines) if line.startswith(begin)]:
            # what a check found is in the line below that which names the check
            last = found[0] + 1 + lines[found[0]].endswith("failed")
            return " ".join(lines[found[0] : last])
    return lines[-1] if lines else ""


def _last(said: str) -> str:
    return " / ".join(line.strip() for line in said.splitlines()[-3:])[-600:]


COLUMNS = (
    "refresh",
    "growth",
    "planted",
    "exit",
    "s",
    "lake MB",
    "events MB",
    "rest MB",
    "nDCG@10",
    "release",
    "message",
)


def _cells(row: Row) -> list[str]:
    sizes = [f"{size:.1f}" for size in (row.lake, row.events, row.rest)]
    ndcg = "" if row.ndcg is None else f"{row.ndcg:.4f}"
    texts = [row.release, row.message]
    return [str(row.night), row.growth, row.fault, str(row.exit), f"{row.seconds:.0f}", *sizes, ndcg, *texts]


def as_line(row: Row) -> str:
    """A run for the terminal."""
    return " | ".join(cell[:110] for cell in _cells(row))


def report(rows: list[Row], head: str) -> str:
    """All runs as a page."""
    shown = [[cell.replace("|", "\\|")[:160] for cell in _cells(row)] for row in rows]
    table = [COLUMNS, ["---"] * len(COLUMNS), *shown]
    broken = [f"- refresh {row.night}, {row.fault}: {sentence}" for row in rows for sentence in row.broken]
    verdict = "No invariant was broken." if not broken else f"{len(broken)} invariants were broken."
    lines = ["# Soak", "", head, "", verdict, *([""] if broken else []), *broken, ""]
    return "\n".join([*lines, *(f"| {' | '.join(cells)} |" for cells in table)]) + "\n"


@contextmanager
def file_system_of_its_own(folder: Path, megabytes: int = 2048) -> Iterator[bool]:
    """Mount a tmpfs at a folder for the block; whether that was possible."""
    folder.mkdir(parents=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(folder)]
    try:
        mounted = subprocess.run(command, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        mounted = False
    try:
        yield mounted
    finally:
        if mounted:
            subprocess.run(["umount", "-l", str(folder)], check=True)


def quick_recipes(folder: Path) -> None:
    """A folder of recipes none of which is trained unless it is named."""
    from ml.training.recipe import RECIPES

    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(RECIPES / "bsarec_beauty.toml", folder)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--refreshes", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("build/soak"))
    parser.add_argument("--recipes", default="", help="recipes to train, separated by commas; none by default")
    parser.add_argument("--users", type=int, default=400, help="users of the first dump")
    parser.add_argument("--items", type=int, default=120)
    parser.add_argument("--growth", type=int, default=30, help="users that come in a refresh, at most")
    parser.add_argument("--faults", default=",".join(FAULTS), help="what may be planted, separated by commas")
    parser.add_argument(
        "--forked", action="store_true", help="fork the runs from a process that has imported everything"
    )
    parser.add_argument("--minutes", type=float, default=float("inf"), help="begin no refresh after so long")
    chosen = parser.parse_args(arguments)
    if unknown := set(chosen.faults.split(",")) - set(FAULTS):
        parser.error(f"no such fault: {', '.join(sorted(unknown))}; there are {', '.join(FAULTS)}")
    out = chosen.out.resolve()
    if out.exists():
        parser.error(f"{out} exists; remove it, or name another folder by --out")
    if not chosen.recipes and "RAW2RANK_RECIPES" not in os.environ:
        quick_recipes(out / "recipes")
        os.environ["RAW2RANK_RECIPES"] = str(out / "recipes")
    options = ["--k-core", "3", *(["--recipes", chosen.recipes] if chosen.recipes else [])]
    nights = plan(chosen.refreshes, chosen.seed, chosen.growth, tuple(chosen.faults.split(",")))
    began = time.monotonic()
    with file_system_of_its_own(out / "workspace") as mounted:
        users = sum(night.users for night in nights)
        dumps = Dumps.begin(out / "dumps", chosen.users, users, chosen.items, chosen.seed)
        soak = Soak(out, dumps, chosen.seed, options, chosen.forked, mounted)
        done = 0
        for night in nights:
            if time.monotonic() - began > 60 * chosen.minutes:
                break
            soak.refresh(night)
            done += 1
            _write(out, soak.rows, done, chosen, mounted)
        soak.from_scratch()
        _write(out, soak.rows, done, chosen, mounted)
    broken = sum(len(row.broken) for row in soak.rows)
    print(f"{done} refreshes, {len(soak.rows)} runs, {broken} invariants broken: {out / 'report.md'}")
    return 1 if broken else 0


def _write(out: Path, rows: list[Row], done: int, chosen: argparse.Namespace, mounted: bool) -> None:
    shown = {name: value for name, value in vars(chosen).items() if name not in ("out", "faults")}
    head = f"{done} refreshes in {len(rows)} runs; {'tmpfs' if mounted else 'RLIMIT_FSIZE'} for a full disk; {shown}."
    (out / "report.md").write_text(report(rows, head), encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
