"""What the frame costs: loading the definitions, and the part of a demo run that is not the work itself.

    .venv/bin/python benchmarks/frame.py [--repeats 3]

Loading is measured in fresh processes, beside that of the two libraries the definitions cannot do without. The
overhead of a run is its wall time without what the steps do: landing, SQL, fitting, ranking, evaluation. What
is left is process start, imports, dbt's start and parse, contracts, and Dagster's own book-keeping.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
WORK = ("landing", "training_sets", "baselines", "codes", "models", "rankings", "evaluation", "settings")


def seconds_of(command: list[str], home: Path) -> float:
    environment = {**os.environ, "RAW2RANK_HOME": str(home)}
    started = time.perf_counter()
    subprocess.run(
        command, cwd=REPOSITORY, env=environment, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    return time.perf_counter() - started


def import_seconds(modules: str, home: Path) -> float:
    """Seconds of importing modules in a fresh process, without its start and end."""
    code = f"import time; began = time.perf_counter(); import {modules}; print(time.perf_counter() - began)"
    environment = {**os.environ, "RAW2RANK_HOME": str(home)}
    command = [sys.executable, "-c", code]
    ran = subprocess.run(command, cwd=REPOSITORY, env=environment, check=True, capture_output=True, text=True)
    return float(ran.stdout.splitlines()[-1])


def step_seconds(home: Path) -> dict[str, float]:
    """Seconds in the steps of every run of an instance, by layer."""
    import dagster as dg

    seconds: dict[str, float] = defaultdict(float)
    with dg.DagsterInstance.from_config(str(home / "dagster")) as instance:
        for run in instance.get_runs():
            for entry in instance.all_logs(run.run_id, of_type=dg.DagsterEventType.STEP_SUCCESS):
                event = entry.dagster_event
                seconds[event.step_key.split("__")[0]] += event.step_success_data.duration_ms / 1000
    return seconds


def sql_seconds(home: Path) -> float:
    """Seconds that dbt spent in the models and tests of the demo's last build."""
    results = json.loads((home / "dbt" / "Demo" / "run_results.json").read_text())["results"]
    # models and tests overlap; the span from the first to the last is what a user waits for
    spans = [timing for result in results for timing in result["timing"] if timing["name"] == "execute"]
    if not spans:
        return 0.0
    from datetime import datetime

    times = [datetime.fromisoformat(timing[end]) for timing in spans for end in ("started_at", "completed_at")]
    return (max(times) - min(times)).total_seconds()


def spread(values: list[float]) -> str:
    return f"{statistics.median(values):.1f} s (of {len(values)}: {min(values):.1f} to {max(values):.1f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3)
    repeats = parser.parse_args().repeats
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        import_seconds("orchestration.definitions", home)  # parses dbt once, as the first start does
        limit = [import_seconds("dagster, dagster_dbt", home) for _ in range(repeats)]
        loading = [import_seconds("orchestration.definitions", home) for _ in range(repeats)]
        print(f"definitions load: {spread(loading)}; dagster and dagster_dbt alone: {spread(limit)}")
    frames, again, totals = [], [], []
    for _ in range(repeats):
        with tempfile.TemporaryDirectory() as folder:
            home = Path(folder)
            command = [sys.executable, "-m", "orchestration.commands.run"]
            total = seconds_of(command, home)
            by_layer = step_seconds(home)
            work = sum(by_layer[layer] for layer in WORK) + sql_seconds(home)
            totals.append(total)
            frames.append(total - work)
            again.append(seconds_of(command, home))
            print(", ".join(f"{layer} {seconds:.1f}" for layer, seconds in sorted(by_layer.items())))
    print(f"demo run: {spread(totals)}; of that the frame: {spread(frames)}; run again, nothing to do: {spread(again)}")


if __name__ == "__main__":
    main()
