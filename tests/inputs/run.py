"""An input, landed as a run lands it, and what happened in words."""

from __future__ import annotations

import functools
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq

from ml.data.landing.files_read import FileRead, file_read
from ml.data.landing.land import INTERACTIONS_SCHEMA, METADATA_SCHEMA, LandingError, land
from ml.data.sources import find_source
from orchestration.contracts.checks import Contract, load_contracts, validate
from orchestration.contracts.files import CRITICAL
from orchestration.contracts.frames import landed_files

from .entry import Input

# the page must not change from day to day: 2026-01-01
NOW = 1_767_225_600
# its findings are the warnings of the files, which stand there anyway
_REPEATED = "read_without_doubt"


@dataclass(frozen=True)
class Outcome:
    """What became of an input.

    Attributes:
        refusal: the sentence, where nothing is landed.
        rows: user, item and time of each interaction.
        rejects: counts by reason, reviews first.
        read: how each file was read, those of the interactions first.
        stops: findings of broken critical rules, by rule.
        warns: warnings of the reading, findings of rules that only warn, notes on files that are not read.
        items: rows of metadata; ``None`` without metadata.
    """

    refusal: str = ""
    rows: tuple[tuple, ...] = ()
    rejects: tuple[tuple[str, int], ...] = ()
    read: tuple[FileRead, ...] = ()
    stops: tuple[tuple[str, str], ...] = ()
    warns: tuple[str, ...] = ()
    items: int | None = None

    def to_text(self) -> str:
        """A paragraph."""
        if self.refusal:
            return f"**Refused:** {self.refusal}."
        parts = [f"{_count(len(self.rows), 'row')}."]
        parts += [f"{_count(self.items, 'row')} of metadata."] if self.items is not None else []
        parts += [f"{_count(count, 'reject')}: {reason}." for reason, count in self.rejects]
        for file in self.read:
            name = f"{file.name}: " if len(self.read) > 1 else ""
            parts += [f"{name}{'; '.join(file.sentences)}."] if file.sentences else []
        parts += [f"**Stops the run:** {finding}" for _, finding in self.stops]
        parts += [f"**Warning:** {warning.rstrip('.')}." for warning in self.warns]
        return " ".join(parts)


def outcome(entry: Input) -> Outcome:
    """Land an input in a folder of its own, called as the dataset."""
    with tempfile.TemporaryDirectory() as home:
        folder = Path(home) / "dumps" / entry.dataset
        for name, content in entry.files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content.encode() if isinstance(content, str) else content)
        folder.mkdir(parents=True, exist_ok=True)
        if entry.source:
            (folder / "source.toml").write_text(entry.source, encoding="utf-8")
        try:
            return _landed(entry, folder, Path(home) / "lake" / entry.dataset / "landing")
        except LandingError as error:
            said = str(error).replace(f"{folder}/", "").replace(str(folder), "the folder")
            return Outcome(refusal=said.rstrip("."))


def _landed(entry: Input, folder: Path, lake: Path) -> Outcome:
    source = find_source(folder, entry.dataset)
    kinds = {"reviews": (source.interactions, INTERACTIONS_SCHEMA), "metadata": (source.metadata, METADATA_SCHEMA)}
    rejects: Counter[str] = Counter()
    read: list[FileRead] = []
    for kind, (units, schema) in kinds.items():
        landed = land(units, lake / kind, schema, processes=1)
        rejects.update(landed.rejects_by_reason)
        files = pq.read_table(lake / kind / "files.parquet").to_pylist()
        read += [file_read(kind, file) for file in files]
    rows = pq.read_table(lake / "reviews" / "rows").sort_by(
        [("source_file", "ascending"), ("line_number", "ascending"), ("given_position", "ascending")]
    )
    stops, warns = _checked(lake) if entry.checked else ((), ())
    return Outcome(
        rows=tuple(tuple(row.values()) for row in rows.select(["user_id", "item_id", "timestamp"]).to_pylist()),
        rejects=tuple(rejects.items()),
        read=tuple(read),
        stops=tuple(stops),
        warns=(*source.notes, *(warning for file in read for warning in file.warnings), *warns),
        items=len(pq.read_table(lake / "metadata" / "rows")) if source.metadata else None,
    )


@functools.cache
def _contracts() -> dict[str, Contract]:
    return {contract.name: contract for contract in load_contracts()}


def _checked(lake: Path) -> tuple[list[tuple[str, str]], list[str]]:
    """Findings on what was landed: critical ones by rule, and warnings."""
    stops, warns = [], []
    landing, staging = _contracts()["landing/reviews"], _contracts()["staging/stg_reviews"]
    rows = pq.read_table(lake / "reviews" / "rows").to_pandas()
    for contract, frame in ((landing, landed_files(lake / "reviews", landing)), (staging, rows)):
        for entry in validate(contract, frame, now=NOW).results:
            if entry.passed or entry.rule.id == _REPEATED:
                continue
            if entry.severity == CRITICAL:
                stops.append((entry.rule.id, f"{entry.finding()} {entry.rule.remedy}"))
            else:
                warns.append(entry.finding())
    return stops, warns


def _count(number: int | None, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
