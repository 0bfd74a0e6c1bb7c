"""Calls of dbt: the variables for its paths, its temporary folder, and the reason of a failure."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from orchestration.faults import Link, killed_by, sentence
from orchestration.paths import DatasetPaths
from orchestration.warehouse.nothing_left import why_nothing_is_left

RESULTS = "run_results.json"
# dbt-duckdb derives the name of the database from the path as if it were a URL, and would stop at one of these.
_CUTS_A_URL = frozenset("#;")


@contextmanager
def places(paths: DatasetPaths) -> Iterator[dict[str, str]]:
    """The environment variables that tell dbt where to read and write, valid within the block.

    The folder for what does not fit into memory lies beside the database unless ``RAW2RANK_DUCKDB_TEMPORARY`` names
    another, is open to this user alone, and is removed at the end. What an earlier call of dbt said of its results is
    removed at the start, so that nobody takes it for that of this one.
    """
    (paths.dbt_target / RESULTS).unlink(missing_ok=True)
    root = os.environ.get("RAW2RANK_DUCKDB_TEMPORARY")
    spill = Path(root) / f"{paths.dataset}.temporary" if root else paths.spill
    shutil.rmtree(spill, ignore_errors=True)
    spill.mkdir(mode=0o700, parents=True)
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, spill, ignore_errors=True)
        warehouse = paths.warehouse
        if _CUTS_A_URL & set(str(warehouse)):
            link = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="raw2rank-"))) / "warehouse"
            link.symlink_to(warehouse.parent, target_is_directory=True)
            warehouse = link / warehouse.name
        yield {
            "RAW2RANK_LAKE": str(paths.lake),
            "RAW2RANK_WAREHOUSE": str(warehouse),
            "RAW2RANK_DUCKDB_TEMPORARY": str(spill),
        }


def left_no_model_half_made(paths: DatasetPaths, invocation: Any) -> bool:
    """Whether dbt has ended by itself and no model failed, whatever its tests have found."""
    return invocation.process.returncode >= 0 and not any("error" in result["status"] for result in _results(paths))


def why(paths: DatasetPaths, settings: Mapping[str, Any], invocation: Any) -> str:
    """One plain sentence or more on why dbt failed.

    Args:
        paths: the dataset.
        settings: that dbt was called with.
        invocation: the call that failed (:class:`dagster_dbt.DbtCliInvocation`), with ``paths.dbt_target`` as its
            target.
    """
    bad = [result for result in _results(paths) if result["status"] in {"fail", "error", "runtime error"}]
    if any("assert_interactions_are_left" in result["unique_id"] for result in bad):
        return why_nothing_is_left(paths, settings)
    log = f"its log is {paths.dbt_target / 'dbt.log'}"
    code = invocation.process.returncode
    if code < 0:
        return f"{paths.dataset}: dbt {killed_by(code)}; run the command again, {log}"
    if not bad:
        said = " ".join(str(invocation.get_error() or "").partition("Errors parsed from dbt logs:")[2].split())
        known = sentence([Link("DbtRuntimeError", said)], paths.home)
        return f"{paths.dataset}: {known or f'dbt ended with exit code {code} and no results; {log}. {said}'}".rstrip()
    lines = {f"{result['unique_id'].split('.')[2]}: {_plain(result['message'], paths)}": None for result in bad}
    return f"{paths.dataset}: dbt found {len(bad)} problem{'s' * (len(bad) > 1)} ({log})\n" + "\n".join(lines)


def _plain(message: str | None, paths: DatasetPaths) -> str:
    """The message of a model that failed, in plain words where it is of a known kind."""
    return sentence([Link("DbtRuntimeError", message or "")], paths.home) or message or "no message"


def _results(paths: DatasetPaths) -> list[dict[str, Any]]:
    """Results of the models and tests that dbt reached; empty if it ended before writing them."""
    try:
        return json.loads((paths.dbt_target / RESULTS).read_text(encoding="utf-8"))["results"]
    except (FileNotFoundError, ValueError, KeyError):
        return []
