"""Rejected rows of a landing folder: counts, an example of each reason, and the remedy."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

SHOWN_CHARACTERS = 80
SHOWN_REASONS = 3
_REMEDIES = {
    "invalid UTF-8": "save the file as UTF-8",
    "line too long": "write each record on a line of its own",
    "cut short": "download the file again",
}


@dataclass
class RejectReason:
    """The rejects of one file for one reason; ``line_number``, ``detail`` and ``line`` are of the first of them."""

    source_file: str
    reason: str
    count: int
    line_number: int
    detail: str
    line: str


def reject_reasons(folder: Path) -> list[RejectReason]:
    """The reasons of each file of a landing folder, the most frequent first; in bounded memory."""
    found: dict[tuple[str, str], RejectReason] = {}
    for path in sorted((folder / "rejects").glob("*.parquet")):
        with pq.ParquetFile(path) as file:
            for group in range(file.metadata.num_row_groups):
                _add(file.read_row_group(group), found)
    return sorted(found.values(), key=lambda entry: (entry.source_file, -entry.count, entry.reason))


def in_words(folder: Path, rows_read: dict[str, int]) -> dict[str, str]:
    """By file, its reasons with counts, an example and a remedy each, and where in the workspace all rejects lie."""
    by_file: dict[str, list[RejectReason]] = {}
    for entry in reject_reasons(folder):
        by_file.setdefault(entry.source_file, []).append(entry)
    return {
        name: "; ".join(_sentence(entry, rows_read.get(name, 0)) for entry in entries[:SHOWN_REASONS])
        + (f"; and {len(entries) - SHOWN_REASONS} more reasons" if len(entries) > SHOWN_REASONS else "")
        # below the workspace, so that the same dump gives the same words on every machine
        + f". All rejects: {'/'.join(folder.parts[-4:])}/rejects in the workspace."
        for name, entries in by_file.items()
    }


def _sentence(entry: RejectReason, rows_read: int) -> str:
    detail = f" ({entry.detail})" if entry.detail else ""
    remedy = _REMEDIES.get(entry.reason, "")
    # the detail of some readers says it already
    remedy = f"; {remedy}" if remedy and remedy not in entry.detail else ""
    return (
        f"{entry.reason}: {entry.count:,} of {rows_read:,}, such as line {entry.line_number:,} of "
        f"{entry.source_file}{detail}: {entry.line}{remedy}"
    )


def _add(rejects: pa.Table, found: dict[tuple[str, str], RejectReason]) -> None:
    keys = rejects.select(["source_file", "reason"]).combine_chunks()
    counted = keys.group_by(["source_file", "reason"]).aggregate([([], "count_all")]).to_pylist()
    for group in counted:
        key = (group["source_file"], group["reason"])
        if key in found:
            found[key].count += group["count_all"]
            continue
        same = pc.and_(pc.equal(keys["source_file"], key[0]), pc.equal(keys["reason"], key[1]))
        row = rejects.slice(pc.index(same, True).as_py(), 1).to_pylist()[0]
        found[key] = RejectReason(
            *key, group["count_all"], row["line_number"], row["detail"] or "", _shown(row["line"])
        )


def _shown(line: bytes) -> str:
    # cut before it is decoded: a line may be megabytes
    text = line[: 4 * SHOWN_CHARACTERS].decode("utf-8", errors="backslashreplace")
    text = "".join(character if character.isprintable() else " " for character in text)
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[:SHOWN_CHARACTERS]}…"
