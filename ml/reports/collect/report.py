"""From a dataset's lake folder to the content of its report.

Reads what the assets left: landing tables, marts, the leaderboard, rankings, training logs and reports on
codes. Nothing is computed again that an asset has computed, and nothing is read that the leaderboard does not
compare, so a model left from an earlier choice of recipes does not appear.
"""

from __future__ import annotations

import json
import platform
import subprocess
import sys
from collections.abc import Iterable, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pyarrow as pa

from ml import number_format as numbers
from ml.data.files import read_json
from ml.data.setting_names import by_new_name
from ml.data.training_set import FIT_ON_TRAIN
from ml.limits import processors
from ml.recommender import BASELINE
from ml.reports.collect.answers import answers
from ml.reports.collect.beyond_accuracy import beyond_accuracy
from ml.reports.collect.codes import codes_reports
from ml.reports.collect.dumps import dump_files, funnels, rejected_lines
from ml.reports.collect.evaluation import (
    MissingInput,
    audits,
    leaderboard_content,
    list_metrics,
    loss_name,
    read_leaderboard,
    slices,
)
from ml.reports.collect.folds import folds_over_time
from ml.reports.collect.generation import generations
from ml.reports.collect.interactions import examples, history_lengths, statistics, training_set_digest
from ml.reports.collect.over_time import made_over_time, progress, results_over_time
from ml.reports.collect.release import release_decision
from ml.reports.collect.what_helps import what_helps
from ml.reports.content.libraries import LIBRARIES
from ml.reports.content.report import (
    Check,
    Provenance,
    ReportContent,
    RunFacts,
    TrainingCurve,
)
from ml.reports.words.recommenders import described

__all__ = [
    "MissingInput",
    "collect",
    "library_versions",
    "machine_facts",
    "project_version",
    "run_facts",
    "training_curve",
]
_LOG = "training_log.jsonl"
# what settings mean that are left empty, or are 0
_EMPTY = {"recipes": "the set quick", "from_date": "the first", "until_date": "the last"}
_ZERO = {
    "k_core": "none",
    "k_core_users": "none",
    "k_core_items": "none",
    "validation_users": "all",
    "min_rating": "any",
    "min_history": "any",
    "fold_days": "as many interactions as in the last fold",
}


def collect(
    lake: Path,
    dataset: str,
    checks: Iterable[Check] = (),
    data_versions: Mapping[str, str] | None = None,
    code_version: str = "",
    command: str = "",
    left_out: Iterable[str] = (),
) -> ReportContent:
    """Everything that the report of a dataset says, but the clock and the machine.

    Args:
        lake: the dataset's folder in the lake.
        dataset: its name.
        checks: results of contracts and dbt tests, in any order.
        data_versions: content digest by asset key (``marts/interactions``), in the order to print them.
        code_version: version or commit of this project; its installed version where empty.
        command: that makes the same from the same dumps.
        left_out: a sentence on each recommender that was chosen and cannot be made for the dataset.

    Raises:
        MissingInput: a part is missing; the message says which asset makes it.
    """
    table = read_leaderboard(lake)
    board = leaderboard_content(table)
    return ReportContent(
        dataset=dataset,
        leaderboard=board,
        recommenders=described(lake, board.rows),
        list_metrics=list_metrics(lake, board),
        slices=slices(lake, board),
        audits=audits(lake),
        funnels=funnels(lake),
        statistics=statistics(lake),
        history_lengths=history_lengths(lake),
        training=training_curves(lake, table),
        codes=codes_reports(lake, table),
        generation=generations(lake, table),
        beyond_accuracy=beyond_accuracy(lake),
        what_helps=what_helps(lake),
        folds=folds_over_time(lake),
        answers=answers(lake, table),
        left_out=tuple(left_out),
        release=release_decision(lake),
        over_time=results_over_time(lake),
        progress=progress(lake),
        rejected=rejected_lines(lake),
        checks=tuple(sorted(checks, key=lambda check: (check.asset, check.name))),
        examples=examples(lake, board.rows[0]),
        provenance=Provenance(
            files=dump_files(lake),
            training_set=training_set_digest(lake),
            data_versions=dict(data_versions or {}),
            settings=_settings(lake),
            versions=library_versions(),
            code_version=code_version or _version_of("raw2rank"),
            command=command,
        ),
    )


def training_curves(lake: Path, leaderboard: pa.Table) -> tuple[TrainingCurve, ...]:
    """The training log of each model of the leaderboard, in its order."""
    curves = []
    for record in leaderboard.to_pylist():
        folder = lake / "models" / record["recommender"]
        if (folder / _LOG).exists() and record["kind"] != BASELINE:
            curves.append(training_curve(folder, record["title"], loss_name(record), record["parameters"]))
    return tuple(curves)


def training_curve(folder: Path, title: str, loss_name: str, parameters: int | None) -> TrainingCurve:
    """The training log of a model; of the epochs that validation chose from, not those of a final fit after them."""
    log = [entry for entry in _training_log(folder) if entry["fit_on"] == FIT_ON_TRAIN]
    return TrainingCurve(
        title=title,
        loss_name=loss_name,
        epochs=tuple(entry["epoch"] for entry in log),
        loss=tuple(entry["loss"] for entry in log),
        validation=tuple(entry["validation_ndcg_at_10"] for entry in log),
        best_epoch=read_json(folder, "config.json")["best_epoch"],
        parameters=parameters,
    )


def run_facts(
    lake: Path,
    finished: str = "",
    fit_seconds: Mapping[str, float] | None = None,
    other_seconds: Mapping[str, float] | None = None,
    made_by: Mapping[str, str] | None = None,
) -> RunFacts:
    """The clock and the machine of a run.

    Args:
        lake: the dataset's folder in the lake.
        finished: when the run ended, as text.
        fit_seconds: by name of recommender; models without one take theirs from their training log.
        other_seconds: of other steps, by what they did.
        made_by: what made the report, by label.
    """
    seconds = {}
    for log in sorted((lake / "models").glob(f"*/{_LOG}")):
        # the clock of a final fit starts anew
        fits = {entry["fit_on"]: float(entry["seconds"]) for entry in _training_log(log.parent)}
        seconds[log.parent.name] = sum(fits.values())
    seconds.update(fit_seconds or {})
    return RunFacts(
        finished, machine_facts(), seconds, dict(other_seconds or {}), dict(made_by or {}), made_over_time(lake)
    )


def project_version(repository: Path) -> str:
    """Version of this project and, in a git checkout, its commit, with a note of changes that are not committed."""
    installed = _version_of("raw2rank")
    if not (repository / ".git").exists():
        # an installed package; a repository that its environment lies in is another one
        return installed
    try:
        found = subprocess.run(
            [
                "git",
                "-C",
                str(repository),
                "describe",
                "--always",
                "--dirty= with changes",
                "--abbrev=12",
                "--exclude=*",
            ],
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        # no git, or no checkout
        return installed
    return f"{installed}, commit {found.stdout.strip()}"


def library_versions() -> dict[str, str]:
    """Versions of Python and of the libraries that numbers may depend on."""
    return {"Python": platform.python_version(), **{name: _version_of(name) for name in LIBRARIES}}


def machine_facts() -> dict[str, str]:
    """What the machine is, as far as the operating system tells."""
    import os

    facts = {
        "processor": f"{_processor_name()}, {numbers.of(processors(), 'core')}",
        "operating system": f"{platform.system()} {platform.release()}",
    }
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        facts["memory"] = numbers.size(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        facts["accelerator"] = torch.cuda.get_device_name(0)
    return facts


def _processor_name() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text(errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _training_log(folder: Path) -> list[dict]:
    lines = (folder / _LOG).read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines if line]


def _settings(lake: Path) -> dict[str, str]:
    """Every setting that was written down, by name, in words where a value stands for the lack of one."""
    written: dict[str, object] = {}
    for path in sorted((lake / "settings").glob("*.json")):
        written |= by_new_name(json.loads(path.read_text(encoding="utf-8")))
    return {name.replace("_", " "): _setting(name, value, written) for name, value in sorted(written.items())}


# settings that one split alone reads
_TEMPORAL = ("global-temporal", "temporal-folds")
_OF_SPLITS = {
    "validation_from": _TEMPORAL,
    "test_from": _TEMPORAL,
    "folds": ("temporal-folds",),
    "fold_days": ("temporal-folds",),
    "cold_items": ("cold-items",),
}


def _setting(name: str, value: object, written: Mapping[str, object]) -> str:
    if name in ("k_core_users", "k_core_items") and value == -1:
        return f"as k core ({written['k_core']})" if "k_core" in written else "as k core"
    if name in _OF_SPLITS and str(written.get("split", _OF_SPLITS[name][0])) not in _OF_SPLITS[name]:
        return f"{value} (not used: the split is {written['split']})"
    if isinstance(value, list):
        return ", ".join(map(str, value)) or _EMPTY.get(name, "none")
    if value is None or value == "" or value is False:
        return _EMPTY.get(name, "no" if value is False else "none")
    if value is True:
        return "yes"
    return _ZERO.get(name, str(value)) if value == 0 else str(value)


def _version_of(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
