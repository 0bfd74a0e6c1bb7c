"""Landing of several units: what is read again, what at the same time, and what comes out of it."""

import functools
import gzip
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from types import MappingProxyType
from unittest.mock import patch

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from costs import others_slow
from xxhash import xxh3_64_intdigest

from ml.data.content_digest import parquet_digest
from ml.data.landing import land as landing
from ml.data.landing.land import FILES_SCHEMA, LandingError, content_digest, land, read_lines
from ml.data.landing.schema import INTERACTIONS_SCHEMA, ORIGIN, Added, FileCounts, Reject, Sink, SourceFile, Unit
from ml.data.sources.amazon.dumps import land_reviews
from ml.data.sources.amazon.v2018 import ReviewLines

REVIEW = {"overall": 4.0, "verified": True, "reviewerID": "A1", "asin": "B1", "unixReviewTime": 1393372800}
READ_REVIEWS = functools.partial(read_lines, make_reader=ReviewLines, schema=INTERACTIONS_SCHEMA)


def write(path: Path, *items: str, ending: bytes = b"") -> Path:
    rows = [json.dumps({**REVIEW, "asin": item}).encode() for item in items]
    path.write_bytes(gzip.compress(b"\n".join(rows) + ending, mtime=0))
    return path


def unit(path: Path, layout: str = "reviews", read: object = READ_REVIEWS) -> Unit:
    return Unit((SourceFile(path, path.name),), layout, read)


def items(folder: Path) -> list[tuple[str, int, str]]:
    query = "select source_file, line_number, item_id from read_parquet(?) order by all"
    with duckdb.connect() as connection:
        return connection.execute(query, [str(folder / "rows" / "*.parquet")]).fetchall()


def inodes(folder: Path) -> set[int]:
    return {path.stat().st_ino for part in ("rows", "rejects") for path in (folder / part).iterdir()}


# --- what is read again --------------------------------------------------------------------------------------


@pytest.mark.parametrize("with_cache", [False, True])
def test_only_changed_units_are_read_again(tmp_path, with_cache):
    files = [write(tmp_path / f"{name}.json.gz", name, "B") for name in ("One", "Two", "Three")]
    options = {"fingerprints": tmp_path / "fingerprints.json" if with_cache else None, "processes": 1}
    folder = tmp_path / "landed"
    assert land([unit(file) for file in files], folder, INTERACTIONS_SCHEMA, **options).files_read == 3
    first, before, digest = items(folder), inodes(folder), content_digest(folder)

    with patch.object(landing, "land_unit", side_effect=AssertionError("read again")):
        again = land([unit(file) for file in files], folder, INTERACTIONS_SCHEMA, **options)
    assert (again.files_read, again.rows_kept) == (0, 6)
    assert (items(folder), inodes(folder), content_digest(folder)) == (first, before, digest)

    # another order of the files is another content, and reads nothing again
    with patch.object(landing, "land_unit", side_effect=AssertionError("read again")):
        land([unit(file) for file in reversed(files)], folder, INTERACTIONS_SCHEMA, **options)
    assert (items(folder), inodes(folder)) == (first, before)
    assert content_digest(folder) != digest
    listed = pq.read_table(folder / "files.parquet").to_pylist()
    assert [(file["file_position"], file["source_file"]) for file in listed] == [
        (1, "Three.json.gz"),
        (2, "Two.json.gz"),
        (3, "One.json.gz"),
    ]
    assert {file["ordered_by"] for file in listed} == {"time"}

    write(files[1], "changed", ending=b"\nnonsense")
    changed = land([unit(file) for file in files], folder, INTERACTIONS_SCHEMA, **options)
    assert (changed.files_read, changed.rows_kept, changed.rejects_by_reason) == (1, 5, {"malformed JSON": 1})
    assert len(inodes(folder) & before) == 4
    assert content_digest(folder) != digest
    assert ("Two.json.gz", 1, "changed") in items(folder)

    fewer = land([unit(files[0])], folder, INTERACTIONS_SCHEMA, **options)
    assert (fewer.files_read, [file.source_file for file in fewer.files]) == (0, ["One.json.gz"])
    assert {name for name, _, _ in items(folder)} == {"One.json.gz"}


def test_a_unit_is_read_again_where_anything_that_reads_it_differs(tmp_path):
    file = write(tmp_path / "One.json.gz", "B1")
    folder = tmp_path / "landed"
    other_schema = INTERACTIONS_SCHEMA.append(pa.field("more", pa.string()))
    read_with_more = functools.partial(read_lines, make_reader=WithMore, schema=other_schema)
    for changed, schema, code in [
        (unit(file), INTERACTIONS_SCHEMA, ""),
        (unit(file), INTERACTIONS_SCHEMA, "2"),
        (unit(file, layout="other"), INTERACTIONS_SCHEMA, "2"),
        (unit(file, layout="other", read=read_with_more), other_schema, "2"),
        (unit(file, layout="other", read=read_with_more), other_schema, "3"),
    ]:
        assert land([changed], folder, schema, code_version=code).files_read == 1
        assert land([changed], folder, schema, code_version=code).files_read == 0


class WithMore(ReviewLines):
    constants = MappingProxyType({**ReviewLines.constants, "more": "x"})


@pytest.mark.parametrize("damage", ["rows cut", "rejects gone", "note cut", "other rows"])
def test_a_damaged_landing_is_read_again(tmp_path, damage):
    file = write(tmp_path / "One.json.gz", "B1", "B2")
    folder = tmp_path / "landed"
    land_reviews([file], folder)
    digest = content_digest(folder)
    [rows], [rejects], [note] = ([*(folder / part).iterdir()] for part in ("rows", "rejects", "units"))
    if damage == "rows cut":
        rows.write_bytes(rows.read_bytes()[:-10])
    elif damage == "rejects gone":
        rejects.unlink()
    elif damage == "note cut":
        note.write_text(note.read_text()[:-10])
    else:
        pq.write_table(pq.read_table(rows).slice(1), rows)
    assert land_reviews([file], folder).files_read == 1
    assert content_digest(folder) == digest
    assert len(items(folder)) == 2


def test_units_are_copied_where_links_are_not_to_be_had(tmp_path):
    file = write(tmp_path / "One.json.gz", "B1")
    land_reviews([file], tmp_path / "landed")
    before = items(tmp_path / "landed")
    with patch.object(os, "link", side_effect=PermissionError):
        assert land_reviews([file], tmp_path / "landed").files_read == 0
    assert items(tmp_path / "landed") == before


def append(files: tuple[SourceFile, ...], sink: Sink, when: str) -> list[FileCounts]:
    if when == "before":
        with open(files[0].path, "ab") as file:
            file.write(gzip.compress(b"\n{}"))
    counts = READ_REVIEWS(files, sink)
    if when == "after":
        with open(files[0].path, "ab") as file:
            file.write(gzip.compress(b"\n{}"))
    return counts


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("with_cache", [False, True])
def test_a_file_that_changes_while_it_is_read_is_told(tmp_path, when, with_cache):
    file = write(tmp_path / "One.json.gz", "B1")
    cache = tmp_path / "fingerprints.json" if with_cache else None
    land_reviews([file], tmp_path / "landed")
    appended = unit(file, read=functools.partial(append, when=when))
    with pytest.raises(LandingError, match=r"One\.json\.gz changed while it was read"):
        land([appended], tmp_path / "landed", INTERACTIONS_SCHEMA, fingerprints=cache)
    assert len(items(tmp_path / "landed")) == 1


def test_a_file_that_differs_from_its_fingerprint_is_told(tmp_path):
    file = write(tmp_path / "One.json.gz", "B1")
    with (
        patch.object(landing, "fingerprint", return_value="0" * 64),
        pytest.raises(LandingError, match="changed while it was read"),
    ):
        land([unit(file)], tmp_path / "landed", INTERACTIONS_SCHEMA, fingerprints=tmp_path / "fingerprints.json")
    assert not (tmp_path / "landed").exists()


# --- processes -----------------------------------------------------------------------------------------------


def test_units_read_in_processes_give_what_they_give_one_after_the_other(tmp_path):
    files = [write(tmp_path / f"{number}.json.gz", *"BCD"[: number % 3 + 1], ending=b"\n{}") for number in range(5)]
    one = land_reviews(files, tmp_path / "one", processes=1)
    several = land_reviews(files, tmp_path / "several", processes=2)
    assert several == one
    assert content_digest(tmp_path / "several") == content_digest(tmp_path / "one")
    assert items(tmp_path / "several") == items(tmp_path / "one")
    assert land_reviews(files, tmp_path / "one", processes=3).files_read == 0


def test_a_failure_in_a_process_is_told_here_and_leaves_everything_as_it_was(tmp_path):
    files = [write(tmp_path / f"{number}.json.gz", "B") for number in range(3)]
    land_reviews(files, tmp_path / "landed")
    before = items(tmp_path / "landed")
    for number in (0, 1):
        (tmp_path / f"{number}.json.gz").write_bytes(b"")
    with pytest.raises(LandingError, match=r"[01]\.json\.gz is empty"):
        land_reviews(files, tmp_path / "landed", processes=2)
    assert items(tmp_path / "landed") == before
    assert not list(tmp_path.glob(".writing-*"))


SCRIPT = """
import sys
import time
from pathlib import Path
from ml.data.sources.amazon.dumps import land_reviews
print("started")
files = [Path(path) for path in sys.argv[2:]]
print(land_reviews(files, Path(sys.argv[1]), processes=2).rows_kept)
"""


@pytest.mark.parametrize("way", others_slow(["file", "module", "command", "standard input"], "standard input"))
def test_a_program_without_a_main_guard_lands_in_processes(tmp_path, way):
    files = [str(write(tmp_path / f"{number}.json.gz", "B", "C")) for number in range(2)]
    (tmp_path / "lands.py").write_text(SCRIPT)
    start = {
        "file": [str(tmp_path / "lands.py")],
        "module": ["-m", "lands"],
        "command": ["-c", SCRIPT],
        "standard input": ["-"],
    }[way]
    root = str(Path(landing.__file__).parents[3])
    done = subprocess.run(
        [sys.executable, *start, str(tmp_path / "landed"), *files],
        input=SCRIPT if way == "standard input" else "",
        env={**os.environ, "PYTHONPATH": root},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.stdout.split() == ["started", "4"], done.stderr


def end_the_process(files: tuple[SourceFile, ...], sink: Sink) -> list[FileCounts]:
    os._exit(7)


def print_a_line(files: tuple[SourceFile, ...], sink: Sink) -> list[FileCounts]:
    print("some text")
    return READ_REVIEWS(files, sink)


def test_a_process_that_dies_or_prints(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    files = [write(tmp_path / f"{number}.json.gz", "B") for number in range(3)]
    printing = [unit(file, read=print_a_line) for file in files]
    assert land(printing, tmp_path / "landed", INTERACTIONS_SCHEMA, processes=2).rows_kept == 3
    dying = [unit(file, read=end_the_process) for file in files]
    with pytest.raises(LandingError, match=r"exit status 7.*fewer processes"):
        land(dying, tmp_path / "landed", INTERACTIONS_SCHEMA, processes=2)


# --- readers -------------------------------------------------------------------------------------------------

PAIRS_SCHEMA = pa.schema([*ORIGIN, ("user", pa.string()), ("item", pa.string()), ("tags", pa.list_(pa.string()))])


class Pairs:
    """A made-up layout: a header, then a user and any number of items a line."""

    reasons = ("no item",)
    constants = MappingProxyType({"tags": ["a", "b"]})

    def __init__(self) -> None:
        self._header = True

    def add(self, lines: list[bytes], columns: dict[str, list]) -> Added:
        rejected, headers, counts = [], (), np.zeros(len(lines), int)
        for index, line in enumerate(lines):
            user, *names = line.decode().split()
            if self._header:
                headers, self._header = (index,), False
            elif not names:
                rejected.append((index, Reject("no item", user)))
            else:
                columns["user"].extend([user] * len(names))
                columns["item"].extend(names)
                counts[index] = len(names)
        return Added(rejected, headers, counts)


def test_headers_and_lines_of_several_rows(tmp_path):
    (tmp_path / "pairs.txt").write_bytes(b"user items\r\nu1 a b c\nu2\nu3 d")
    read = functools.partial(read_lines, make_reader=Pairs, schema=PAIRS_SCHEMA)
    with patch("ml.data.landing.file_lines.CHUNK_BYTES", 5):
        landed = land([unit(tmp_path / "pairs.txt", "pairs", read)], tmp_path / "landed", PAIRS_SCHEMA)
    [counts] = landed.files
    assert (counts.lines_read, counts.rows_read, counts.rows_kept, counts.rows_rejected) == (4, 5, 4, 1)
    rows = pq.read_table(tmp_path / "landed" / "rows").to_pylist()
    assert [(row["line_number"], row["user"], row["item"], row["tags"]) for row in rows] == [
        (2, "u1", "a", ["a", "b"]),
        (2, "u1", "b", ["a", "b"]),
        (2, "u1", "c", ["a", "b"]),
        (4, "u3", "d", ["a", "b"]),
    ]
    assert len({row["line_digest"] for row in rows[:3]}) == 1
    [reject] = pq.read_table(tmp_path / "landed" / "rejects").to_pylist()
    assert (reject["line_number"], reject["byte_offset"], reject["line"]) == (3, 21, b"u2")
    assert pq.read_schema(tmp_path / "landed" / "files.parquet").equals(FILES_SCHEMA)


class Forgetful(Pairs):
    def add(self, lines: list[bytes], columns: dict[str, list]) -> Added:
        added = super().add(lines, columns)
        if columns["item"]:
            columns["item"].pop()
        return added


def count_wrongly(files: tuple[SourceFile, ...], sink: Sink, field: str, value: object) -> list[FileCounts]:
    [counts] = READ_REVIEWS(files, sink)
    return [FileCounts(**{**vars(counts), field: value})]


def test_readers_that_break_their_promise_are_told(tmp_path):
    (tmp_path / "pairs.txt").write_bytes(b"user items\nu1 a b c")
    forgetful = functools.partial(read_lines, make_reader=Forgetful, schema=PAIRS_SCHEMA)
    with pytest.raises(RuntimeError, match=r"gave 2 values of item for 3 rows, up to line 2"):
        land([unit(tmp_path / "pairs.txt", read=forgetful)], tmp_path / "landed", PAIRS_SCHEMA)
    file = write(tmp_path / "One.json.gz", "B1")
    for field, value, message in [
        ("source_file", "Two", "gave counts of"),
        ("rows_read", 2, "do not add up"),
        ("rows_repeated", 1, "do not add up"),
    ]:
        wrong = functools.partial(count_wrongly, field=field, value=value)
        with pytest.raises(RuntimeError, match=message):
            land([unit(file, read=wrong)], tmp_path / "landed", INTERACTIONS_SCHEMA)
    assert not (tmp_path / "landed").exists()


def read_in_order(files: tuple[SourceFile, ...], sink: Sink) -> list[FileCounts]:
    return READ_REVIEWS(files, sink)


def test_files_are_listed_in_the_order_of_the_units(tmp_path):
    files = [SourceFile(write(tmp_path / name, name[0]), name) for name in ("b.json.gz", "d.json.gz", "a.json.gz")]
    together = Unit(tuple(files), "together", read_in_order)
    alone = unit(write(tmp_path / "c.json.gz", "c"))
    landed = land([together, alone], tmp_path / "landed", INTERACTIONS_SCHEMA, processes=1)
    assert [file.source_file for file in landed.files] == ["b.json.gz", "d.json.gz", "a.json.gz", "c.json.gz"]
    table = pq.read_table(tmp_path / "landed" / "files.parquet")
    assert table["layout"].to_pylist() == ["together", "together", "together", "reviews"]
    assert len(list((tmp_path / "landed" / "rows").iterdir())) == 2


# --- what is wrong with a file -------------------------------------------------------------------------------

COMPRESSED = gzip.compress(b"\n".join(json.dumps({**REVIEW, "n": n}).encode() for n in range(2000)), mtime=0)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (COMPRESSED[:3000], r"is cut short: its gzip stream ends inside line [\d,]+, after [\d,]+ bytes of text"),
        (COMPRESSED[:-3], r"is cut short: .* inside line 2,000, after [\d,]+ bytes of text"),
        (COMPRESSED[:-8] + bytes(4) + COMPRESSED[-4:], r"is damaged: .*inside line 2,000"),
        (COMPRESSED[:2000] + bytes(500) + COMPRESSED[2500:], "is (damaged|cut short)"),
        (COMPRESSED + b"<html>", "is damaged: something that is not gzip follows its gzip stream"),
    ],
)
def test_what_stands_before_a_break_is_landed_and_the_break_is_told(tmp_path, data, message):
    (tmp_path / "Some.json.gz").write_bytes(data)
    landed = land_reviews([tmp_path / "Some.json.gz"], tmp_path / "landed")
    assert landed.rejects_by_reason.get("cut short") == 1
    assert landed.rows_kept > 100
    assert landed.rows_read == landed.rows_kept + landed.rows_rejected == landed.lines_read
    [problem] = landed.problems
    [file] = pq.read_table(tmp_path / "landed" / "files.parquet").to_pylist()
    assert file["problem"] == problem
    assert file["bytes"] == len(data)
    assert problem.startswith("Some.json.gz is ")
    assert problem.endswith("; download it again")
    assert re.search(message, problem)
    assert land_reviews([tmp_path / "Some.json.gz"], tmp_path / "landed").files_read == 0


def test_a_plain_file_is_read_whatever_its_name(tmp_path):
    data = json.dumps(REVIEW).encode() + b"\n\0\n" + json.dumps(REVIEW).encode()
    (tmp_path / "Some.json.gz").write_bytes(data)
    landed = land_reviews([tmp_path / "Some.json.gz"], tmp_path / "landed")
    assert (landed.rows_kept, landed.rejects_by_reason, landed.problems) == (2, {"malformed JSON": 1}, [])


# --- digests -------------------------------------------------------------------------------------------------


def test_the_digests_that_are_noted_are_those_of_the_tables(tmp_path):
    land_reviews([write(tmp_path / "One.json.gz", *"BCDEF", ending=b"\n{}\n\n" * 3)], tmp_path / "landed")
    [note] = (tmp_path / "landed" / "units").iterdir()
    for part, digest in json.loads(note.read_text())["landed"]["digests"].items():
        [path] = (tmp_path / "landed" / part).iterdir()
        assert parquet_digest(path) == digest


def test_the_content_digest_follows_the_files_and_their_order(tmp_path):
    one, two = write(tmp_path / "One.json.gz", "B1"), write(tmp_path / "Two.json.gz", "B2")
    digests = {}
    for name, chosen in {"both": [one, two], "swapped": [two, one], "one": [one], "two": [two], "none": []}.items():
        land([unit(file) for file in chosen], tmp_path / "landed", INTERACTIONS_SCHEMA, processes=1)
        digests[name] = content_digest(tmp_path / "landed")
    assert len(set(digests.values())) == 5
    with pytest.raises(LandingError, match="is not a landing folder"):
        content_digest(tmp_path)


class Words:
    """Rejects what is blank, as every reader does, and keeps all else."""

    reasons = ("blank line",)
    constants = MappingProxyType({"tags": []})

    def add(self, lines: list[bytes], columns: dict[str, list]) -> Added:
        words = [line.decode().strip() for line in lines]
        columns["user"].extend(filter(None, words))
        columns["item"].extend(filter(None, words))
        return Added([(index, Reject("blank line", "")) for index, word in enumerate(words) if not word])


@pytest.mark.parametrize("chunk", [1, 3, 7, 1 << 19])
@pytest.mark.parametrize("ending", ["\n", "\r\n"])
def test_blank_lines_are_neither_rows_nor_rejects(tmp_path, chunk, ending):
    content = ["", "u1", "", "", " \t", "u2", "   ", "u3", "", ""]
    (tmp_path / "words.txt").write_bytes(b"\xef\xbb\xbf" + ending.join(content).encode())
    read = functools.partial(read_lines, make_reader=Words, schema=PAIRS_SCHEMA)
    with patch("ml.data.landing.file_lines.CHUNK_BYTES", chunk):
        landed = land([unit(tmp_path / "words.txt", "words", read)], tmp_path / "landed", PAIRS_SCHEMA)
    rows = pq.read_table(tmp_path / "landed" / "rows").to_pylist()
    assert [(row["line_number"], row["user"]) for row in rows] == [(2, "u1"), (6, "u2"), (8, "u3")]
    assert [row["line_digest"] for row in rows] == [xxh3_64_intdigest(row["user"].encode()) for row in rows]
    assert (landed.lines_read, landed.rows_read, landed.rows_rejected) == (9, 3, 0)


def test_a_file_that_is_gone_when_it_is_read_is_named(tmp_path):
    path = tmp_path / "words.txt"
    read = functools.partial(read_lines, make_reader=ReviewLines, schema=INTERACTIONS_SCHEMA)
    with pytest.raises(LandingError, match=r"words\.txt does not exist; put the dump there"):
        read((SourceFile(path, "words.txt"),), None)


@pytest.mark.parametrize("blank", [b"\n", b"\r\n", b" \n", b"    \t\n"], ids=repr)
def test_millions_of_blank_lines_cost_no_minutes(tmp_path, blank):
    row = b'{"reviewerID": "A1", "asin": "B1", "overall": 4.0, "unixReviewTime": 1393372800}\n'
    (tmp_path / "Some.json.gz").write_bytes(gzip.compress(row + blank * 3_000_000 + row, compresslevel=1))
    began = time.process_time()
    landed = land_reviews([tmp_path / "Some.json.gz"], tmp_path / "landed")
    assert (landed.lines_read, landed.rows_kept, landed.rows_rejected) == (3_000_002, 2, 0)
    # to read as many lines one by one takes several seconds
    assert time.process_time() - began < 2
    rows = pq.read_table(tmp_path / "landed" / "rows")
    assert rows["line_number"].to_pylist() == [1, 3_000_002]
