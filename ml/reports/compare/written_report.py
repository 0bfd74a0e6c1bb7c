"""A report read back from the folder that it was written to.

Nothing else is needed, so a report can be read that was made on another machine or long ago.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ml.data.setting_names import RENAMED, by_new_name
from ml.evaluation.metrics import HEADLINE
from ml.evaluation.rankings import RankingError
from ml.evaluation.sampled_rankings import SAMPLE_FILE, check_sample
from ml.reports.content.report import FORMAT

_REPORT, _BOARD, _AUDITS = "report.json", "leaderboard.parquet", "audits.json"
_KEYS = {
    "dataset": str,
    "training_set": str,
    "protocol": dict,
    "data_versions": dict,
    "versions": dict,
    "code_version": str,
    "files": list,
    "statistics": dict,
}
_COLUMNS = ("position", "recommender", "title", HEADLINE, f"{HEADLINE}_low", f"{HEADLINE}_high", "users")
# names of settings as reports print them
_RENAMED = {old.replace("_", " "): new.replace("_", " ") for old, new in RENAMED.items()}


class ReportError(ValueError):
    """A folder that no report can be read from; the message names the file and what to do."""


@dataclass(frozen=True)
class Report:
    """A report as it was written.

    Attributes:
        folder: it was read from.
        dataset: its name.
        training_set: digest of the training set.
        protocol: choices that the numbers depend on, by label.
        data_versions: content digest by asset key.
        versions: of libraries, by name.
        code_version: of this project.
        files: the raw files: ``name``, ``sha256``, ``rows_read``, and ``source`` where known.
        statistics: of the dataset, by name.
        board: rows of the leaderboard by recommender, best first.
        audits: as JSON, by name.
        sample: of :func:`ml.evaluation.sampled_rankings.sample_rankings`.
        settings: what the run was asked for, by name, as far as it is said.
    """

    folder: Path
    dataset: str
    training_set: str
    protocol: Mapping[str, Any]
    data_versions: Mapping[str, str]
    versions: Mapping[str, str]
    code_version: str
    files: Sequence[Mapping[str, Any]]
    statistics: Mapping[str, Any]
    board: Mapping[str, Mapping[str, Any]]
    audits: Mapping[str, Mapping[str, Any]]
    sample: pa.Table
    settings: Mapping[str, Any] = field(default_factory=dict)


def read_report(folder: Path) -> Report:
    """Read a report's folder, or the one in a dataset's lake folder.

    Raises:
        ReportError: the folder holds no report, a file of it is missing or damaged, or another version wrote it.
    """
    inner = folder / "evaluation" / "report"
    if not (folder / _REPORT).exists() and (inner / _REPORT).exists():
        folder = inner
    if not folder.is_dir():
        raise ReportError(f"{folder} is not a folder: give the folder that a report was written to")
    for name in (_REPORT, _BOARD, _AUDITS, SAMPLE_FILE):
        if not (folder / name).is_file():
            raise ReportError(
                f"{folder} holds no {name}, so it is no report that can be compared: give the folder that report.html "
                "lies in; one that an earlier version wrote has to be made again"
            )
    said = _read_json(folder / _REPORT, dict)
    if said.get("format", FORMAT) != FORMAT:
        raise _another_version(folder / _REPORT, f"its format is {said['format']}, this version reads {FORMAT}")
    wrong = [key for key, kind in _KEYS.items() if not isinstance(said.get(key), kind)]
    if said.get("training_set") == "":
        wrong.append("training_set")
    if wrong:
        raise _another_version(folder / _REPORT, f"it does not say its {', '.join(wrong)}")
    audits = _read_json(folder / _AUDITS, list)
    _check_entries(folder / _REPORT, said["files"], ("name", "sha256", "rows_read"))
    _check_entries(folder / _AUDITS, audits, ("name", "title", "concern", "verdict", "facts"))
    sample = _read_table(folder / SAMPLE_FILE)
    try:
        check_sample(sample)
    except RankingError as error:
        raise _another_version(folder / SAMPLE_FILE, str(error)) from error
    return Report(
        folder=folder,
        board=_board(folder / _BOARD),
        audits={audit["name"]: audit for audit in audits},
        sample=sample,
        settings={_RENAMED.get(name, name): value for name, value in (said.get("settings") or {}).items()},
        **{key: said[key] for key in _KEYS} | {"statistics": by_new_name(said["statistics"])},
    )


def _read_json(path: Path, kind: type) -> Any:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ReportError(f"{path} is damaged ({error}): make the report again") from error
    if not isinstance(found, kind):
        raise _another_version(path, f"it holds no JSON {'object' if kind is dict else 'array'}")
    return found


def _check_entries(path: Path, entries: Sequence[Any], names: Sequence[str]) -> None:
    for entry in entries:
        missing = [name for name in names if not isinstance(entry, dict) or name not in entry]
        if missing:
            raise _another_version(path, f"an entry has no {', '.join(missing)}")


def _read_table(path: Path) -> pa.Table:
    try:
        return pq.read_table(path)
    except pa.ArrowInvalid as error:
        raise ReportError(f"{path} is damaged ({error}): make the report again") from error


def _board(path: Path) -> dict[str, dict[str, Any]]:
    table = _read_table(path)
    missing = [name for name in _COLUMNS if name not in table.schema.names]
    if missing:
        raise _another_version(path, f"it has no column {', '.join(missing)}")
    rows = sorted(table.to_pylist(), key=lambda row: row["position"])
    board = {row["recommender"]: row for row in rows}
    if len(board) < len(rows):
        raise _another_version(path, "a recommender stands in it twice")
    return board


def _another_version(path: Path, why: str) -> ReportError:
    return ReportError(f"{path} was written by another version ({why}): make that report again with this version")
