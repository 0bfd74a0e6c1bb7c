"""What a report says of the dumps: files, rejected lines, and where every row went."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from ml.data.landing.files_read import files_read
from ml.reports.content.report import DumpFile, Funnel, FunnelStep, RejectedLine
from ml.reports.render.text import visible

SOURCES = ("reviews", "metadata")
_EXAMPLES_PER_REASON = 2
_EXAMPLES = 12
_LINE_CHARACTERS = 240


def funnels(lake: Path) -> tuple[Funnel, ...]:
    """The way of the reviews, and of the metadata where any landed."""
    records = pq.read_table(lake / "marts" / "reconciliation.parquet").to_pylist()
    landed = {source: _sums([record for record in records if record["source"] == source]) for source in SOURCES}
    found = [_review_funnel(lake, landed["reviews"])]
    if landed["metadata"]["rows_read"]:
        found.append(_metadata_funnel(lake, landed["metadata"]))
    return tuple(found)


def _review_funnel(lake: Path, sums: Counter) -> Funnel:
    rules = pq.read_table(lake / "marts" / "statistics.parquet").to_pylist()[0]
    splits = pq.read_table(lake / "marts" / "splits.parquet", columns=["split"])["split"]
    parts = {entry["values"]: entry["counts"] for entry in splits.value_counts().to_pylist()}
    distinct = sums["rows_read"] - sums["rejected"] - sums["repeated"] - sums["duplicates"]
    steps = [
        *_from_lines(lake, "reviews", sums, "Valid reviews"),
        *_duplicates("exact duplicates (same user, item, time and rating)", sums),
        FunnelStep("Distinct interactions", distinct, "stage"),
        *(
            FunnelStep(label, sums[f"dropped_by_{rule}"], "removed")
            for rule, label in _rules(rules).items()
            if rule == "k_core" or sums[f"dropped_by_{rule}"]
        ),
        FunnelStep("Interactions kept", sums["kept"], "stage"),
        FunnelStep("training", parts.get("train", 0), "part"),
        FunnelStep("validation", parts.get("validation", 0), "part"),
        FunnelStep("test", parts.get("test", 0), "part"),
    ]
    others = {"history": "known before a target, not trained on", "unused": "after the target, not used"}
    steps += [FunnelStep(label, parts[part], "part") for part, label in others.items() if parts.get(part)]
    return Funnel("reviews", "line", tuple(steps))


def _rules(chosen: dict) -> dict[str, str]:
    """What each cleaning rule takes away, in the order in which they are applied."""
    core = {side: chosen[f"k_core_{side}"] for side in ("users", "items")}
    if not any(core.values()):
        core_label = "k-core (switched off)"
    elif core["users"] == core["items"]:
        core_label = f"outside the {core['users']}-core"
    else:
        core_label = f"outside the core of {core['users']} a user and {core['items']} an item"
    window = [
        f"{word} {chosen[date]}" for word, date in (("from", "from_date"), ("until", "until_date")) if chosen[date]
    ]
    return {
        "time_window": f"outside the time window ({', '.join(window)})",
        "verified_only": "not a verified purchase",
        "min_rating": f"rated below {chosen['min_rating']:g}, or not rated",
        "first_interaction_only": "later interactions of a user with the same item",
        "min_history": f"users with fewer than {chosen['min_history']} interactions",
        "k_core": core_label,
    }


def _metadata_funnel(lake: Path, sums: Counter) -> Funnel:
    steps = [
        *_from_lines(lake, "metadata", sums, "Valid rows"),
        *_duplicates("more rows of the same item", sums),
        FunnelStep("Distinct items", sums["rows_read"] - sums["rejected"] - sums["duplicates"], "stage"),
        FunnelStep("not in the catalogue", sums["not_in_catalogue"], "removed"),
        FunnelStep("Items of the catalogue with metadata", sums["kept"], "stage"),
    ]
    return Funnel("metadata", "line", tuple(steps))


def _from_lines(lake: Path, source: str, sums: Counter, valid: str) -> list[FunnelStep]:
    """Rows are lines, or the interactions of a line that holds several."""
    steps = [FunnelStep("Rows read", sums["rows_read"], "stage")]
    reasons = _reasons(lake, source)
    steps += [
        FunnelStep(f"rejected: {reason}", number, "removed")
        for reason, number in sorted(reasons.items(), key=lambda entry: (-entry[1], entry[0]))
    ]
    if sums["repeated"]:
        steps.append(FunnelStep("repeated in another file of the same split", sums["repeated"], "removed"))
    if sums["rejected"] or sums["repeated"]:
        steps.append(FunnelStep(valid, sums["rows_read"] - sums["rejected"] - sums["repeated"], "stage"))
    return steps


def _duplicates(label: str, sums: Counter) -> list[FunnelStep]:
    steps = [FunnelStep(label, sums["duplicates"], "removed")]
    if sums["duplicates"]:
        steps.append(FunnelStep("byte-identical lines", sums["byte_identical_duplicates"], "of which"))
    return steps


def _reasons(lake: Path, source: str) -> dict[str, int]:
    import polars as pl

    paths = _rejects(lake, source)
    return dict(pl.scan_parquet(paths).group_by("reason").len().collect().rows()) if paths else {}


def _rejects(lake: Path, source: str) -> list[Path]:
    return sorted((lake / "landing" / source / "rejects").glob("*.parquet"))


def _sums(records: list[dict]) -> Counter:
    """Each count over the files of a source."""
    sums: Counter = Counter()
    for record in records:
        sums.update({name: value for name, value in record.items() if isinstance(value, int)})
    return sums


def dump_files(lake: Path) -> tuple[DumpFile, ...]:
    """Each raw file with its digest, how it was read, and where its lines went."""
    records = pq.read_table(lake / "marts" / "reconciliation.parquet").to_pylist()
    went = {(record["source"], record["source_file"]): record for record in records}
    read = {(file.kind, file.name): file for file in files_read(lake)}
    files = []
    for source in SOURCES:
        for landed in pq.read_table(lake / "landing" / source / "files.parquet").to_pylist():
            counts = went[source, landed["source_file"]]
            how = read.get((source, landed["source_file"]))
            files.append(
                DumpFile(
                    source=source,
                    name=landed["source_file"],
                    bytes=landed["bytes"],
                    sha256=landed["sha256"],
                    rows_read=counts["rows_read"],
                    rejected=counts["rejected"],
                    duplicates=counts["duplicates"] + counts["repeated"],
                    unused=sum(number for name, number in counts.items() if name.startswith("dropped_by_"))
                    + counts["not_in_catalogue"],
                    kept=counts["kept"],
                    layout=landed.get("layout") or "",
                    reading=how.sentences if how else (),
                    warnings=how.warnings if how else (),
                )
            )
    return tuple(files)


def rejected_lines(lake: Path) -> tuple[RejectedLine, ...]:
    """The first rejected lines of each reason, in the order of the files."""
    found: list[RejectedLine] = []
    for source in SOURCES:
        paths = _rejects(lake, source)
        chosen = _first_of_each_reason(paths)
        of_source = []
        for number, path in enumerate(paths):
            rows = sorted(row for of_file, row in chosen if of_file == number)
            if rows:
                with pq.ParquetFile(path) as file:
                    of_source += [_rejected(record) for record in _rows(file, rows)]
        found += sorted(of_source, key=lambda line: (line.source_file, line.line_number))
    return tuple(found)


def _first_of_each_reason(paths: list[Path]) -> list[tuple[int, int]]:
    """File and row of the lines to show: every reason once before any reason twice."""
    import polars as pl

    if not paths:
        return []
    reasons = pl.concat(
        pl.read_parquet(path, columns=["reason"]).with_row_index("row").with_columns(file=pl.lit(number))
        for number, path in enumerate(paths)
    )
    place = pl.int_range(pl.len()).over("reason")
    first = reasons.with_columns(place=place).filter(pl.col("place") < _EXAMPLES_PER_REASON)
    return first.sort("place", "file", "row").head(_EXAMPLES).select("file", "row").rows()


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
