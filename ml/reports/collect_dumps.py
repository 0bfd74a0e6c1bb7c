"""What a report says of the dumps: files, rejected lines, and where every row went."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from ml.reports.content import DumpFile, Funnel, FunnelStep, RejectedLine
from ml.reports.text import visible

SOURCES = ("reviews", "metadata")
_EXAMPLES_A_REASON = 2
_EXAMPLES = 12
_LINE_CHARACTERS = 240


def funnels(lake: Path) -> tuple[Funnel, ...]:
    """The way of the reviews, and of the metadata where any landed."""
    records = pq.read_table(lake / "marts" / "reconciliation.parquet").to_pylist()
    landed = {source: _sums([record for record in records if record["source"] == source]) for source in SOURCES}
    found = [_review_funnel(lake, landed["reviews"])]
    if landed["metadata"]["lines_read"]:
        found.append(_metadata_funnel(lake, landed["metadata"]))
    return tuple(found)


def _review_funnel(lake: Path, sums: Counter) -> Funnel:
    settings = pq.read_table(lake / "marts" / "statistics.parquet", columns=["k_core"]).to_pylist()[0]
    core = f"outside the {settings['k_core']}-core" if settings["k_core"] else "k-core (switched off)"
    splits = pq.read_table(lake / "marts" / "splits.parquet", columns=["split"])["split"]
    parts = {entry["values"]: entry["counts"] for entry in splits.value_counts().to_pylist()}
    steps = [
        *_from_lines(lake, "reviews", sums, "Valid reviews"),
        *_duplicates("exact duplicates (same user, item, time and rating)", sums),
        FunnelStep("Distinct interactions", sums["lines_read"] - sums["rejected"] - sums["duplicates"], "stage"),
        FunnelStep(core, sums["dropped_by_k_core"], "removed"),
        FunnelStep("Interactions kept", sums["kept"], "stage"),
        FunnelStep("training", parts.get("train", 0), "part"),
        FunnelStep("validation", parts.get("validation", 0), "part"),
        FunnelStep("test", parts.get("test", 0), "part"),
    ]
    return Funnel("reviews", "line", tuple(steps))


def _metadata_funnel(lake: Path, sums: Counter) -> Funnel:
    steps = [
        *_from_lines(lake, "metadata", sums, "Valid rows"),
        *_duplicates("further rows of an ASIN", sums),
        FunnelStep("ASINs", sums["lines_read"] - sums["rejected"] - sums["duplicates"], "stage"),
        FunnelStep("not in the catalogue", sums["not_in_catalogue"], "removed"),
        FunnelStep("Items of the catalogue with metadata", sums["kept"], "stage"),
    ]
    return Funnel("metadata", "line", tuple(steps))


def _from_lines(lake: Path, source: str, sums: Counter, valid: str) -> list[FunnelStep]:
    steps = [FunnelStep("Lines read", sums["lines_read"], "stage")]
    reasons = _reasons(lake, source)
    steps += [
        FunnelStep(f"rejected: {reason}", number, "removed")
        for reason, number in sorted(reasons.items(), key=lambda entry: (-entry[1], entry[0]))
    ]
    if sums["rejected"]:
        steps.append(FunnelStep(valid, sums["lines_read"] - sums["rejected"], "stage"))
    return steps


def _duplicates(label: str, sums: Counter) -> list[FunnelStep]:
    steps = [FunnelStep(label, sums["duplicates"], "removed")]
    if sums["duplicates"]:
        steps.append(FunnelStep("byte-identical lines", sums["byte_identical_duplicates"], "of which"))
    return steps


def _reasons(lake: Path, source: str) -> dict[str, int]:
    reasons = pq.read_table(_rejects(lake, source), columns=["reason"])["reason"]
    return {entry["values"]: entry["counts"] for entry in reasons.value_counts().to_pylist()}


def _rejects(lake: Path, source: str) -> Path:
    return lake / "landing" / source / "rejects.parquet"


def _sums(records: list[dict]) -> Counter:
    """Each count over the files of a source."""
    sums: Counter = Counter()
    for record in records:
        sums.update({name: value for name, value in record.items() if isinstance(value, int)})
    return sums


def dump_files(lake: Path) -> tuple[DumpFile, ...]:
    """Each raw file with its digest, and where its lines went."""
    records = pq.read_table(lake / "marts" / "reconciliation.parquet").to_pylist()
    went = {(record["source"], record["source_file"]): record for record in records}
    files = []
    for source in SOURCES:
        for landed in pq.read_table(lake / "landing" / source / "files.parquet").to_pylist():
            counts = went[source, landed["source_file"]]
            files.append(
                DumpFile(
                    source=source,
                    name=landed["source_file"],
                    bytes=landed["bytes"],
                    sha256=landed["sha256"],
                    lines_read=counts["lines_read"],
                    rejected=counts["rejected"],
                    duplicates=counts["duplicates"],
                    unused=counts["dropped_by_k_core"] + counts["not_in_catalogue"],
                    kept=counts["kept"],
                )
            )
    return tuple(files)


def rejected_lines(lake: Path) -> tuple[RejectedLine, ...]:
    """The first rejected lines of each reason, in the order of the files."""
    found: list[RejectedLine] = []
    for source in SOURCES:
        with pq.ParquetFile(_rejects(lake, source)) as file:
            reasons = file.read(columns=["reason"])["reason"].to_pylist()
            seen: Counter = Counter()
            candidates = []
            for row, reason in enumerate(reasons):
                seen[reason] += 1
                if seen[reason] <= _EXAMPLES_A_REASON:
                    candidates.append((seen[reason], row))
            # every reason once before any reason twice
            chosen = sorted(row for _, row in sorted(candidates)[:_EXAMPLES])
            found += [_rejected(record) for record in _rows(file, chosen)]
    return tuple(found)


def _rows(file: pq.ParquetFile, chosen: list[int]) -> list[dict]:
    """The given rows, reading only the row groups that hold one: rejected lines may be many and long."""
    records: list[dict] = []
    start = 0
    for group in range(file.metadata.num_row_groups):
        end = start + file.metadata.row_group(group).num_rows
        inside = [row - start for row in chosen if start <= row < end]
        if inside:
            records += file.read_row_group(group).take(pa.array(inside)).to_pylist()
        start = end
    return records


def _rejected(record: dict) -> RejectedLine:
    # cut before it is decoded: a line may be megabytes
    beginning = record["line"][: 4 * _LINE_CHARACTERS].decode("utf-8", errors="backslashreplace")
    shown = visible(beginning)
    if len(shown) > _LINE_CHARACTERS or len(record["line"]) > 4 * _LINE_CHARACTERS:
        shown = shown[:_LINE_CHARACTERS] + "…"
    return RejectedLine(record["source_file"], record["line_number"], record["reason"], record["detail"] or "", shown)
