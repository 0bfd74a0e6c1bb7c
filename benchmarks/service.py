"""What ``raw2rank serve`` takes for an answer at a constant rate, and whether a promotion makes a request fail.

    python -m benchmarks.service --lake workspace/lake/Industrial_and_Scientific --keep FOLDER
        [--only sasrec two_hop_graph_decay quantised] [--rate 200] [--seconds 60] [--rounds 3] [--items 1000000]
        [--threads N] [--wrk] [--json FILE]

Recommenders: SASRec with sampled softmax and the two-hop graph, both fitted on the training set of the lake, and
gSASRec on eight codes an item of a made-up catalogue of a million (its weights, after one epoch of few users, do not
change what is computed). Each is written twice as a bundle, with and without ``exclude_seen``: two releases that cost
the same. ``--keep`` keeps them for the next time.

A round, for each recommender: the service is started as a user does, on a workspace of its own where the first release
is in charge, and is asked

- ``/health``, which does nothing: the floor of the server, the client and the machine;
- ``/recommendations``, ten items for one history of a test user (made-up users for the made-up catalogue);
- the same, and in the middle the second release is promoted, in a process of its own, by what ``raw2rank promote``
  calls. Answers must name the second release from then on: one turn.

Requests come at a constant rate whether the ones before were answered or not, and latency counts from the time at
which each was to be sent (``benchmarks/open_loop.py``). It is that of what was answered: where more come than can be
answered soon, the service refuses some with status 503, and these are counted apart. Server and client share the
cores. Reported are medians over the rounds, with the least and the most, the milliseconds of processor time that the
server took for a request, its memory, and the load of the machine before each round. ``--wrk`` adds a closed loop,
where wrk is installed: eight connections that ask again as soon as they are answered, for as many seconds, with a
promotion in the middle. That shows what the service can answer at most, and what one waits for when it is saturated;
it is no latency at a rate.

Linux alone: memory and processor time are read from ``/proc``.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.measuring import processor_of

REPOSITORY = Path(__file__).resolve().parent.parent
MODEL, BASELINE, QUANTISED = "sasrec", "two_hop_graph_decay", "quantised"
RECIPES = {MODEL: "sasrec_sampled_softmax", QUANTISED: "gsasrec_recjpq"}
K, BOOKS = 10, 8
# made-up users of the made-up catalogue, and histories that requests take turns with
TRAINED_ON, HISTORIES = 1000, 2000
AIM, PERCENTILES = 20.0, ("p50", "p90", "p99", "p99.9", "max")
FLOOR, STEADY, PROMOTED = "/health", "recommendations", "with a promotion"
_PROMOTE = (
    "import sys; from orchestration.paths import Workspace; from orchestration.release import promote; "
    "promote(Workspace.current().dataset(sys.argv[1]), reason='benchmark')"
)
_WRK = """
local bodies = {}
for line in io.lines("%s") do bodies[#bodies + 1] = line end
local n = 0
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
request = function()
    n = n %% #bodies + 1
    return wrk.format(nil, "/recommendations", nil, bodies[n])
end
"""


@dataclass(frozen=True)
class Prepared:
    """Two releases of a recommender, and the requests that it is asked."""

    name: str
    releases: tuple[Path, Path]
    bodies: list[str]


def prepare(name: str, options: argparse.Namespace) -> Prepared:
    """The releases and requests of a recommender, made where they are not kept from before."""
    from benchmarks.release import made_up
    from ml.data.training_set import TrainingSet

    folder = options.keep / (f"{name}-{options.items}" if name == QUANTISED else name)
    releases = (folder / "first", folder / "second")
    if name == QUANTISED:
        training_set = made_up(TRAINED_ON, options.items)
    else:
        training_set = TrainingSet.load(options.lake / "training_sets" / "sequences")
    if not (folder / "done").exists():
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        print(f"fitting {name} on {training_set.dataset}, {training_set.items:,} items", flush=True)
        _write(name, training_set, _titles(options.lake, name, training_set), releases)
        (folder / "done").touch()
    histories = training_set.histories("test")
    chosen = np.random.default_rng(0).permutation(len(histories))[:HISTORIES]
    ids = [[training_set.item_ids[item].decode() for item in histories[row]] for row in chosen.tolist()]
    return Prepared(name, releases, [json.dumps({"histories": [row], "k": K}) for row in ids])


def _titles(lake: Path, name: str, training_set: Any) -> dict[str, str]:
    if name == QUANTISED:
        return {item.decode(): f"Title of {item.decode()}" for item in training_set.item_ids.tolist()}
    import pyarrow.parquet as pq

    items = pq.read_table(lake / "marts" / "items.parquet", columns=["item_id", "title"]).to_pydict()
    return {item: title or "" for item, title in zip(items["item_id"], items["title"], strict=True)}


def _write(name: str, training_set: Any, titles: dict[str, str], releases: tuple[Path, Path]) -> None:
    from ml.baselines.registry import BASELINES
    from ml.codes.codes import Codes
    from ml.recommenders.registry import Registry
    from ml.release.write_bundle import write_bundle
    from ml.training.recipe import load_recipe
    from ml.training.runtime import Execution
    from ml.training.sequential_recommender import SequentialRecommender

    if name == BASELINE:
        fitted, registry = BASELINES[name].create().fit(training_set), Registry({}, {})
    else:
        recipe, codes = load_recipe(RECIPES[name]), None
        if name == QUANTISED:
            values = np.random.default_rng(0).integers(256, size=(training_set.items, BOOKS), dtype=np.uint8)
            codes = Codes(values, {"method": "drawn at random for a benchmark"})
            recipe = replace(recipe, training=replace(recipe.training, max_epochs=1, patience=1))
        fitted = SequentialRecommender(recipe, codes=codes, execution=Execution(threads=1)).fit(training_set)
        registry = Registry({name: recipe}, {})
    with tempfile.TemporaryDirectory() as saved:
        fitted.save(Path(saved))
        for exclude_seen, folder in zip((True, False), releases, strict=True):
            folder.mkdir()
            described = {"exclude_seen": exclude_seen}
            write_bundle(folder, name, lambda _: Path(saved), registry, training_set, titles, described)


class Service:
    """A service in a process of its own, on a workspace in which the first release is in charge."""

    def __init__(self, prepared: Prepared, home: Path, threads: int | None) -> None:
        from ml.data.versions import versioned_folder
        from orchestration.release import promote

        self.environment = {**os.environ, "RAW2RANK_HOME": str(home)}
        os.environ["RAW2RANK_HOME"] = str(home)
        from orchestration.paths import Workspace

        self.paths = Workspace.current().dataset("Served")
        for number, release in enumerate(prepared.releases):
            with versioned_folder(self.paths.asset("release", "candidate")) as folder:
                shutil.copytree(release, folder, dirs_exist_ok=True)
            if number == 0:
                promote(self.paths, reason="benchmark")
        command = [sys.executable, "-m", "orchestration.commands.serve", "--dataset", "Served", "--port", "0"]
        command += ["--threads", str(threads)] if threads else []
        self.process = subprocess.Popen(
            command, cwd=REPOSITORY, env=self.environment, stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdout is not None
        said = self.process.stdout.readline()
        found = re.search(r"http://([\d.]+):(\d+)", said)
        if found is None:
            raise SystemExit(f"the service did not start: {said}")
        self.host, self.port = found[1], int(found[2])

    def promote(self) -> subprocess.Popen:
        """Put the second release in charge, in a process that goes on by itself."""
        return subprocess.Popen([sys.executable, "-c", _PROMOTE, "Served"], cwd=REPOSITORY, env=self.environment)

    def cpu_seconds(self) -> float:
        return processor_of(self.process.pid)

    def megabytes(self, which: str) -> float:
        """``VmRSS`` for now, ``VmHWM`` for the most so far."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        found = re.search(rf"{which}:\s+(\d+) kB", status)
        assert found is not None
        return int(found[1]) / 1024

    def close(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(60)


@contextmanager
def serving(prepared: Prepared, threads: int | None) -> Iterator[Service]:
    with tempfile.TemporaryDirectory() as home:
        service = Service(prepared, Path(home), threads)
        try:
            yield service
        finally:
            service.close()


def ask(service: Service, options: argparse.Namespace, bodies: list[str], promotes: bool = False) -> dict[str, Any]:
    """Send requests for so many seconds; figures of the answers and of the server."""
    path = "/recommendations" if any(bodies) else FLOOR
    plan = {"host": service.host, "port": service.port, "rate": options.rate, "seconds": options.seconds}
    plan |= {"paths": [path] * len(bodies), "bodies": bodies}
    client = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.open_loop"],
        cwd=REPOSITORY,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert client.stdin is not None
    assert client.stdout is not None
    before = service.cpu_seconds()
    client.stdin.write(json.dumps(plan))
    client.stdin.close()
    if promotes:
        time.sleep(options.seconds / 2)
        if service.promote().wait():
            raise SystemExit("the promotion failed")
    printed = client.stdout.read()
    if client.wait():
        raise SystemExit("the client failed")
    measured = json.loads(printed)
    measured["cpu_ms"] = 1000 * (service.cpu_seconds() - before) / measured["requests"]
    measured["mb"] = service.megabytes("VmRSS")
    return measured


def closed_loop(service: Service, options: argparse.Namespace, bodies: list[str]) -> dict[str, Any]:
    """wrk, with a promotion in the middle."""
    with tempfile.TemporaryDirectory() as folder:
        lines, script = Path(folder) / "bodies.txt", Path(folder) / "ask.lua"
        lines.write_text("\n".join(bodies) + "\n")
        script.write_text(_WRK % lines)
        command = ["wrk", "-t1", "-c8", f"-d{options.seconds:.0f}s", "--latency", "--timeout", "30s", "-s", str(script)]
        wrk = subprocess.Popen([*command, f"http://{service.host}:{service.port}"], stdout=subprocess.PIPE, text=True)
        time.sleep(options.seconds / 2)
        if service.promote().wait():
            raise SystemExit("the promotion failed")
        printed, _ = wrk.communicate()
    return read_wrk(printed)


def read_wrk(printed: str) -> dict[str, Any]:
    """Figures of what wrk prints."""
    units = {"us": 0.001, "ms": 1.0, "s": 1000.0, "m": 60000.0}
    found: dict[str, Any] = {"failed": 0}
    if rate := re.search(r"Requests/sec:\s+([\d.]+)", printed):
        found["rate"] = float(rate[1])
    for share, value, unit in re.findall(r"^\s+(\d+)%\s+([\d.]+)(us|ms|s|m)$", printed, re.MULTILINE):
        found[f"p{share}"] = float(value) * units[unit]
    if other := re.search(r"Non-2xx or 3xx responses: (\d+)", printed):
        found["failed"] += int(other[1])
    if errors := re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", printed):
        found["failed"] += sum(map(int, errors.groups()))
    return found


def measure(name: str, options: argparse.Namespace) -> dict[str, Any]:
    """All rounds of a recommender."""
    prepared = prepare(name, options)
    rounds = []
    for number in range(options.rounds):
        load = os.getloadavg()[0]
        with serving(prepared, options.threads) as service:
            start_mb = service.megabytes("VmRSS")
            steps = {FLOOR: ask(service, options, [""]), STEADY: ask(service, options, prepared.bodies)}
            steps[PROMOTED] = ask(service, options, prepared.bodies, promotes=True)
            peak = service.megabytes("VmHWM")
        wrk = None
        if options.wrk:
            with serving(prepared, options.threads) as service:
                wrk = closed_loop(service, options, prepared.bodies)
        rounds.append({"load": load, "start_mb": start_mb, "peak_mb": peak, "steps": steps, "wrk": wrk})
        print(f"{name}, round {number + 1} of {options.rounds}, load {load:.1f}: {_line(rounds[-1])}", flush=True)
    return {"name": name, "rounds": rounds}


def _line(one: dict[str, Any]) -> str:
    steps = [
        f"{step} p50 {found['p50']:.1f}, p99 {found['p99']:.1f}, most {found['max']:.0f} ms, "
        f"{found['refused']} refused, {found['failed']} failed"
        for step, found in one["steps"].items()
    ]
    wrk = one["wrk"]
    return "; ".join(steps) + (f"; wrk {wrk['rate']:.0f}/s, {wrk['failed']} failed" if wrk else "")


def spread(values: list[float], digits: int = 1) -> str:
    """The median, with the least and the most."""
    middle, least, most = (f"{value:,.{digits}f}" for value in (statistics.median(values), min(values), max(values)))
    return middle if least == most else f"{middle} ({least} to {most})"


def table(measured: list[dict[str, Any]]) -> str:
    """What was measured, as Markdown."""
    lines = [
        "| Recommender | Asked | p50, ms | p90 | p99 | p99.9 | Longest | p99/floor | Refused | Failed | CPU, ms | MB |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for one in measured:
        for step in (FLOOR, STEADY, PROMOTED):
            found = [each["steps"][step] for each in one["rounds"]]
            floors = [each["steps"][FLOOR]["p99"] for each in one["rounds"]]
            ratios = [each["p99"] / floor for each, floor in zip(found, floors, strict=True)]
            memory = [each["peak_mb"] for each in one["rounds"]] if step == PROMOTED else [each["mb"] for each in found]
            cells = [
                one["name"] if step == FLOOR else "",
                step,
                *(spread([each[key] for each in found]) for key in PERCENTILES),
                "" if step == FLOOR else spread(ratios),
                f"{sum(each['refused'] for each in found):,}",
                f"{sum(each['failed'] for each in found)} of {sum(each['requests'] for each in found):,}",
                spread([each["cpu_ms"] for each in found], 2),
                f"{statistics.median(memory):,.0f}",
            ]
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lake", type=Path, required=True, help="of a dataset, with its training set and marts")
    parser.add_argument("--keep", type=Path, required=True, help="folder for releases, which the next call uses again")
    parser.add_argument("--only", nargs="+", choices=(MODEL, BASELINE, QUANTISED), default=[MODEL, BASELINE, QUANTISED])
    parser.add_argument("--items", type=int, default=1_000_000, help="of the made-up catalogue")
    parser.add_argument("--rate", type=float, default=200.0, help="requests a second")
    parser.add_argument("--seconds", type=float, default=60.0, help="of each step")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, help="of the service; as it decides where not given")
    parser.add_argument("--wrk", action="store_true", help="ask by wrk too")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    options.lake, options.keep = options.lake.resolve(), options.keep.resolve()
    measured = [measure(name, options) for name in options.only]
    print(table(measured))
    for one in measured:
        for step in (STEADY, PROMOTED):
            p99 = statistics.median(each["steps"][step]["p99"] for each in one["rounds"])
            print(f"{one['name']}, {step}: p99 {p99:.1f} ms, aim {AIM:.0f}, {'met' if p99 < AIM else 'not met'}")
        turns = [each["steps"][PROMOTED]["turns"] for each in one["rounds"]]
        loads = [round(each["load"], 1) for each in one["rounds"]]
        print(f"{one['name']}: the release in the answers changed {turns} times, load {loads}")
    if options.json:
        options.json.write_text(json.dumps(measured, indent=2) + "\n")


if __name__ == "__main__":
    main()
