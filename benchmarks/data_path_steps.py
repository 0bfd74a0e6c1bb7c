"""The steps whose cost ``data_path.py`` and others measure: ours, what they cannot be cheaper than, and peers.

Each runs in a process of its own (:mod:`measuring`), times its phases, and says what it found, so that those which are
compared can be seen to have done the same.
"""

from __future__ import annotations

import gzip
import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from measuring import REPOSITORY, Clock

DATASET = "Synthetic"
K_CORE, VALIDATION_USERS = 5, 512


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
