"""A made-up review dump of any size in the layout of the 2018 release, for measuring and for nothing else.

    python benchmarks/synthetic.py --reviews 1000000 --out FOLDER [--files 2] [--new-share 0.05] [--staged]

Nothing in it is copied from a real dump. What is made like one, since it decides what reading and cleaning cost:

- lines of some 700 bytes, texts of very different lengths, words by a power law, so that gzip (level 6, one member
  a file) shrinks them to some two fifths;
- activity of users and popularity of items by power laws: somewhat more than half of the interactions survive a 5-core;
- rows grouped by item; times are days, and users come back on few of them, so that ties are common;
- 3 % of the lines repeat another byte for byte, 3 % repeat its user, item, time and rating in other words;
- 0.5 % of the lines are of no use, in seven ways, half of them cut off.

Users and items do not learn from one another: there is nothing in it that a recommender could find.

Equal arguments give equal bytes (of one version of zlib), however many processes help. Memory is bounded by a few
batches of 50,000 lines a process. ``synthetic.json``, written last, says what there is in the folder.

``--staged`` writes what landing would have made of the same dump (Parquet, 64-bit random digests for lines that were
never written), without the texts: 50 million reviews take a minute or two and some gigabytes.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import struct
import sys
import tempfile
import time
import zlib
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from isal import isal_zlib

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

ROWS_PER_BATCH = 50_000
DAY = 86_400
FIRST_DAY, LAST_DAY = 11_000, 17_800  # since 1970: from 2000 to 2018
# of a user's or an item's rank, in the power law of how often it is drawn
USER_EXPONENT, ITEM_EXPONENT = 0.55, 0.75
IDENTICAL_SHARE, REWORDED_SHARE, BAD_SHARE = 0.03, 0.03, 0.005
# reasons of ml.data.sources.amazon.v2018, and how often each is drawn among the bad lines
BAD_REASONS = {
    "malformed JSON": 0.5,
    "reviewerID missing": 0.1,
    "overall out of range": 0.1,
    "unixReviewTime missing": 0.1,
    "invalid UTF-8": 0.1,
    "not an object": 0.05,
    "blank line": 0.05,
}
_WORDS = 30_000
_NAMES = 400


@dataclass(frozen=True)
class Batch:
    """Consecutive lines of one file.

    Attributes:
        number: of this batch in the whole dump, from 0; what is drawn depends on it and the seed alone.
        file: name of the file.
        first_line: number of its first line in the file, from 1.
        rows: lines in it.
        part: which part of the catalogue its items are from.
    """

    number: int
    file: str
    first_line: int
    rows: int
    part: int


@dataclass(frozen=True)
class Plan:
    """All of a dump before it is written.

    Attributes:
        seed: of everything that is drawn.
        users: users that may be drawn; nearly all of them are.
        items: items that may be drawn.
        parts: parts of the catalogue, of equal size, over which the popular items are spread evenly.
        batches: in the order of files and lines.
    """

    seed: int
    users: int
    items: int
    parts: int
    batches: tuple[Batch, ...]

    @property
    def files(self) -> list[str]:
        return list(dict.fromkeys(batch.file for batch in self.batches))


@dataclass(frozen=True)
class Interactions:
    """The rows of a batch as numbers, each array ``[rows]``.

    Attributes:
        user: rank of the user, from 0, the most active first.
        item: rank of the item, from 0.
        day: days since 1970.
        rating: 1 to 5.
        is_verified: whether the purchase was verified.
        same_line_as: row of the batch whose line this row repeats byte for byte; its own where it repeats none.
        bad: index of the reason in ``BAD_REASONS``, -1 for a line that is sound.
    """

    user: np.ndarray
    item: np.ndarray
    day: np.ndarray
    rating: np.ndarray
    is_verified: np.ndarray
    same_line_as: np.ndarray
    bad: np.ndarray


def make_plan(reviews: int, files: int = 1, new_share: float = 0.0, seed: int = 0) -> Plan:
    """Cut a dump into batches.

    Args:
        reviews: lines of all files but the new one, split evenly.
        files: ``Synthetic-01.json.gz`` and so on.
        new_share: lines of one more file, ``Synthetic-new.json.gz``, of the same users and items, as a share of
            ``reviews``; 0 for none.
        seed: of everything that is drawn.
    """
    sizes = {f"Synthetic-{n + 1:02}.json.gz": reviews * (n + 1) // files - reviews * n // files for n in range(files)}
    parts = sum(-(-rows // ROWS_PER_BATCH) for rows in sizes.values())
    if new_share:
        sizes["Synthetic-new.json.gz"] = round(reviews * new_share)
    batches: list[Batch] = []
    for file, size in sizes.items():
        cuts = range(0, size, ROWS_PER_BATCH)
        for index, start in enumerate(cuts):
            # the parts of a new file are spread over the catalogue
            part = len(batches) if len(batches) < parts else index * parts // len(cuts)
            batches.append(Batch(len(batches), file, start + 1, min(ROWS_PER_BATCH, size - start), part))
    return Plan(seed, max(reviews // 5, 10), max(reviews // 20, 10), parts, tuple(batches))


def draw_interactions(plan: Plan, batch: Batch) -> Interactions:
    """Who reviewed what in a batch, and which of its lines are copies or of no use."""
    rng = np.random.default_rng([plan.seed, batch.number, 0])
    copies = int(batch.rows * (IDENTICAL_SHARE + REWORDED_SHARE))
    drawn = batch.rows - copies
    user = _power_law(rng, drawn, plan.users, USER_EXPONENT)
    item = _power_law(rng, drawn, plan.items // plan.parts, ITEM_EXPONENT) * plan.parts + batch.part
    # a user comes back on a number of days that grows with the expected number of reviews
    expected = (1 - USER_EXPONENT) * sum(b.rows for b in plan.batches) / plan.users
    expected = expected * ((user + 1) / plan.users) ** -USER_EXPONENT
    visit = np.floor(rng.random(drawn) * np.ceil(1.5 * expected)).astype(np.uint64)
    share = _mixed(user.astype(np.uint64) * np.uint64(1_000_003) + visit) / 2.0**64
    day = FIRST_DAY + np.floor((LAST_DAY - FIRST_DAY) * share**0.4).astype(np.int64)
    rating = rng.choice(np.arange(1, 6), drawn, p=(0.07, 0.05, 0.08, 0.17, 0.63))
    is_verified = rng.random(drawn) < 0.85
    # copies behind the rows that they repeat, then all of them by item, as a release is
    source = np.concatenate([np.arange(drawn), rng.integers(0, drawn, copies)])
    is_identical = np.arange(batch.rows) >= drawn
    is_identical[drawn + int(batch.rows * IDENTICAL_SHARE) :] = False
    order = np.argsort(item[source], kind="stable")
    place = np.empty(batch.rows, dtype=np.int64)
    place[order] = np.arange(batch.rows)
    same_line_as = np.where(is_identical, place[source], place)[order]
    bad = np.full(batch.rows, -1)
    chosen = rng.choice(batch.rows, round(batch.rows * BAD_SHARE), replace=False)
    bad[chosen] = rng.choice(len(BAD_REASONS), len(chosen), p=list(BAD_REASONS.values()))
    source = source[order]
    return Interactions(user[source], item[source], day[source], rating[source], is_verified[source], same_line_as, bad)


def user_ids(user: np.ndarray) -> pa.StringArray:
    """Identities of users: ``A`` and 13 letters and digits, in no order."""
    return _identities(b"A", _mixed(user.astype(np.uint64)), 13)


def item_ids(item: np.ndarray) -> pa.StringArray:
    """Identities of items: ``B0`` and 8 letters and digits, in no order."""
    # an odd factor, so that no two are equal
    mixed = (item.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)) & np.uint64((1 << 40) - 1)
    return _identities(b"B0", mixed, 8)


def lines_of(plan: Plan, batch: Batch) -> tuple[bytes, Counter[str]]:
    """The lines of a batch as they stand in a file, and how many of them are what."""
    rows = draw_interactions(plan, batch)
    rng = np.random.default_rng([plan.seed, batch.number, 1])
    texts = _some_texts()
    words = np.clip(np.exp(rng.normal(3.6, 1.0, batch.rows)), 1, 1500).astype(np.int64)
    parts = [
        '{"overall": ',
        texts["rating"].take(pa.array(rows.rating - 1)),
        texts["vote"].take(pa.array(_often_first(rng, batch.rows, len(texts["vote"]), 0.85))),
        ', "verified": ',
        texts["verified"].take(pa.array(rows.is_verified.astype(np.int64))),
        ', "reviewTime": "',
        texts["day"].take(pa.array(rows.day - FIRST_DAY)),
        '", "reviewerID": "',
        user_ids(rows.user),
        '", "asin": "',
        item_ids(rows.item),
        '"',
        texts["style"].take(pa.array(_often_first(rng, batch.rows, len(texts["style"]), 0.6))),
        ', "reviewerName": "',
        texts["name"].take(pa.array(rows.user % _NAMES)),
        '", "reviewText": "',
        _sentences(rng, words),
        '", "summary": "',
        _sentences(rng, rng.integers(1, 7, batch.rows)),
        '", "unixReviewTime": ',
        pc.cast(pa.array(rows.day * DAY), pa.string()),
        "}\n",
    ]
    lines = pc.binary_join_element_wise(*parts, "").cast(pa.binary())
    is_copy = rows.same_line_as != np.arange(batch.rows)
    index = rows.same_line_as.copy()
    broken_rows = np.flatnonzero(rows.bad >= 0)
    reasons = [list(BAD_REASONS)[kind] for kind in rows.bad[broken_rows]]
    broken = [_broken(lines[int(row)].as_py(), why) for row, why in zip(broken_rows, reasons, strict=True)]
    index[broken_rows] = batch.rows + np.arange(len(broken_rows))
    lines = pa.concat_arrays([lines, pa.array(broken, pa.binary())]).take(pa.array(index))
    counts = Counter(reasons)
    counts["identical"] = int((is_copy & (rows.bad < 0)).sum())
    return _bytes_of(lines), counts


def compressed_batch(plan: Plan, batch: Batch, level: int) -> tuple[bytes, int, int, Counter[str]]:
    """A batch as a piece of a deflate stream that ends on a byte; CRC-32 and size of its lines; its counts."""
    raw, counts = lines_of(plan, batch)
    compressor = zlib.compressobj(level, zlib.DEFLATED, -zlib.MAX_WBITS)
    return compressor.compress(raw) + compressor.flush(zlib.Z_SYNC_FLUSH), zlib.crc32(raw), len(raw), counts


def write_dump(plan: Plan, folder: Path, level: int = 6, processes: int | None = None) -> dict:
    """Write the files of a dump, each one gzip member, and ``synthetic.json``; what that holds."""
    folder.mkdir(parents=True, exist_ok=True)
    began = time.perf_counter()
    counts: Counter[str] = Counter()
    raw_bytes = 0
    with ProcessPoolExecutor(processes) as pool:
        pieces = _in_order(pool, partial(compressed_batch, plan, level=level), plan.batches)
        for file in plan.files:
            path = folder / file
            checksum = size = 0
            with open(path.with_name(f".{file}.part"), "wb") as new:
                # no name and no time in the header
                new.write(b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff")
                for _ in (batch for batch in plan.batches if batch.file == file):
                    piece, piece_checksum, piece_bytes, piece_counts = next(pieces)
                    new.write(piece)
                    checksum = isal_zlib.crc32_combine(checksum, piece_checksum, piece_bytes)
                    size += piece_bytes
                    counts += piece_counts
                # an empty last block
                new.write(b"\x03\x00" + struct.pack("<II", checksum, size & 0xFFFFFFFF))
            path.with_name(f".{file}.part").replace(path)
            raw_bytes += size
    return _write_summary(
        plan,
        folder,
        {
            "gzip_level": level,
            "raw_bytes": raw_bytes,
            "bytes": sum((folder / file).stat().st_size for file in plan.files),
            "identical_lines": counts.pop("identical"),
            "bad_lines": dict(sorted(counts.items())),
            "seconds_to_write": round(time.perf_counter() - began, 1),
        },
    )


def write_staged(plan: Plan, folder: Path, processes: int | None = None) -> dict:
    """Write ``landing/reviews`` and ``landing/metadata`` (empty) below a folder as landing would, and the summary.

    One review of each file is landed first. Columns that this knows nothing of are filled with what they hold for it.
    """
    from ml.data.sources.amazon.dumps import land_metadata, land_reviews

    began = time.perf_counter()
    landing = folder / "landing" / "reviews"
    with tempfile.TemporaryDirectory() as elsewhere:
        dumps = [Path(elsewhere) / file for file in plan.files]
        for dump in dumps:
            dump.write_bytes(gzip.compress(_TWO_LINES))
        land_reviews(dumps, landing)
        land_metadata([], folder / "landing" / "metadata")
    kinds = ("rows", "rejects")
    # a file is a unit, so one of each for every file
    paths = {(kind, _source_file(path)): path for kind in kinds for path in (landing / kind).glob("*.parquet")}
    rows = dict.fromkeys(paths, 0)
    with ProcessPoolExecutor(processes) as pool, ExitStack() as stack:
        tables = {place: pq.read_table(path) for place, path in paths.items()}
        writers = {
            place: stack.enter_context(pq.ParquetWriter(path, tables[place].schema, compression="zstd"))
            for place, path in paths.items()
        }
        batches = [batch for file in plan.files for batch in plan.batches if batch.file == file]
        made = _in_order(pool, partial(_staged_batch, plan), batches)
        for batch, columns_by_kind in zip(batches, made, strict=True):
            for kind, columns in columns_by_kind.items():
                place = kind, batch.file
                writers[place].write_table(_filled(columns, batch.file, tables[place]))
                rows[place] += len(columns["line_number"])
    files = pq.read_table(landing / "files.parquet")
    held = []
    for file in files.to_pylist():
        kept, rejected = (rows[kind, file["source_file"]] for kind in kinds)
        known = {"lines_read": kept + rejected, "rows_read": kept + rejected, "rows_kept": kept}
        # not the digest of the rows, but different for every file
        content = f"{file['content']} {file['source_file']} {plan.seed} {kept}"
        held.append({**file, **known, "rows_rejected": rejected, "content": content})
    pq.write_table(pa.Table.from_pylist(held, schema=files.schema), landing / "files.parquet")
    counts = {name: sum(file[name] for file in held) for name in ("lines_read", "rows_kept", "rows_rejected")}
    return _write_summary(plan, folder, {**counts, "seconds_to_write": round(time.perf_counter() - began, 1)})


def _source_file(path: Path) -> str:
    return pq.read_table(path, columns=["source_file"])["source_file"][0].as_py()


_TWO_LINES = (
    b'{"overall": 5.0, "verified": true, "reviewerID": "A1", "asin": "B1", "unixReviewTime": 1400000000}\n'
    b'{"overall": 5.0\n'
)


def _filled(columns: dict[str, pa.Array], file: str, like: pa.Table) -> pa.Table:
    """These columns in the schema of a table, the others as in its first row."""
    count = len(columns["line_number"])
    arrays = []
    for field in like.schema:
        if field.name == "source_file":
            arrays.append(pa.repeat(pa.scalar(file, field.type), count))
        elif field.name in columns:
            arrays.append(columns[field.name].cast(field.type))
        else:
            arrays.append(pa.array([like[field.name][0].as_py()], field.type).take(pa.array(np.zeros(count, int))))
    return pa.table(arrays, schema=like.schema)


def _staged_batch(plan: Plan, batch: Batch) -> dict[str, dict[str, pa.Array]]:
    """Columns of the rows and of the rejects of a batch, by the names of the landing."""
    drawn = draw_interactions(plan, batch)
    numbers = np.arange(batch.rows) + batch.first_line
    digests = _mixed((numbers + (batch.number << 32)).astype(np.uint64))[drawn.same_line_as]
    kept = drawn.bad < 0
    rows = {
        "line_number": pa.array(numbers[kept]),
        "line_digest": pa.array(digests[kept]),
        "user_id": user_ids(drawn.user[kept]),
        "item_id": item_ids(drawn.item[kept]),
        "rating": pa.array(drawn.rating[kept].astype(np.float64)),
        "timestamp": pa.array(drawn.day[kept] * DAY),
        "verified": pa.array(drawn.is_verified[kept]),
    }
    reasons = pa.array(list(BAD_REASONS)).take(pa.array(drawn.bad[~kept]))
    return {"rows": rows, "rejects": {"line_number": pa.array(numbers[~kept]), "reason": reasons}}


def _write_summary(plan: Plan, folder: Path, found: dict) -> dict:
    rows = {file: sum(batch.rows for batch in plan.batches if batch.file == file) for file in plan.files}
    summary = {"reviews": sum(rows.values()), "seed": plan.seed, "lines_by_file": rows, **found}
    (folder / "synthetic.json").write_text(json.dumps(summary, indent=2) + "\n")
    return summary


_Made = TypeVar("_Made")


def _in_order(pool: ProcessPoolExecutor, make: Callable[[Batch], _Made], batches: Iterable[Batch]) -> Iterator[_Made]:
    """What becomes of each batch, in order, with few of them waiting: unlike ``pool.map``, memory stays bounded."""
    waiting: deque = deque()
    for batch in batches:
        waiting.append(pool.submit(make, batch))
        if len(waiting) > 2 * (os.cpu_count() or 1):
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


def _power_law(rng: np.random.Generator, count: int, ranks: int, exponent: float) -> np.ndarray:
    """Ranks from 0 whose frequency falls with ``rank ** -exponent``."""
    return np.floor(max(ranks, 1) * rng.random(count) ** (1 / (1 - exponent))).astype(np.int64)


def _often_first(rng: np.random.Generator, count: int, choices: int, share: float) -> np.ndarray:
    """Indices of which a share is 0 and the others are spread over the rest."""
    return np.where(rng.random(count) < share, 0, rng.integers(1, choices, count))


def _mixed(numbers: np.ndarray) -> np.ndarray:
    """64-bit numbers that look random; no two of different numbers are equal (the finaliser of SplitMix64)."""
    numbers = numbers + np.uint64(0x9E3779B97F4A7C15)
    numbers = (numbers ^ (numbers >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    numbers = (numbers ^ (numbers >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return numbers ^ (numbers >> np.uint64(31))


def _identities(prefix: bytes, numbers: np.ndarray, digits: int) -> pa.StringArray:
    """Numbers in base 36 with leading zeros, behind a prefix."""
    alphabet = np.frombuffer(b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ", dtype=np.uint8)
    width = len(prefix) + digits
    letters = np.empty((len(numbers), width), dtype=np.uint8)
    letters[:, : len(prefix)] = np.frombuffer(prefix, dtype=np.uint8)
    for column in range(width - 1, len(prefix) - 1, -1):
        numbers, digit = np.divmod(numbers, np.uint64(36))
        letters[:, column] = alphabet[digit]
    offsets = np.arange(len(letters) + 1, dtype=np.int32) * width
    return pa.StringArray.from_buffers(len(letters), pa.py_buffer(offsets), pa.py_buffer(letters))


@cache
def _vocabulary() -> tuple[pa.StringArray, np.ndarray]:
    """Words as they stand in JSON, and 65,536 indices of them in which each is as frequent as it should be."""
    rng = np.random.default_rng(1)
    syllables = [a + b + c for a in "bcdfghlmnprstvw" for b in "aeiou" for c in ("", "n", "r", "s", "t", "ll", "ck")]
    words = []
    for rank in range(_WORDS):
        # the frequent ones are short
        word = "".join(rng.choice(syllables, 1 if rank < 300 else int(rng.integers(2, 5))))
        ending = rng.choice(["", ".", ",", ".\\n", '\\"', "\\u00e9", "!"], p=(0.82, 0.08, 0.06, 0.01, 0.01, 0.01, 0.01))
        words.append(f"{word}{ending}")
    weights = 1 / (np.arange(_WORDS) + 8.0)
    cumulated = np.cumsum(weights / weights.sum())
    return pa.array(words), np.searchsorted(cumulated, (np.arange(65_536) + 0.5) / 65_536).astype(np.int32)


def _sentences(rng: np.random.Generator, words: np.ndarray) -> pa.StringArray:
    """Texts of so many words each."""
    vocabulary, by_frequency = _vocabulary()
    offsets = np.concatenate([[0], np.cumsum(words)]).astype(np.int32)
    drawn = vocabulary.take(pa.array(by_frequency[rng.integers(0, 65_536, offsets[-1], dtype=np.uint16)]))
    return pc.binary_join(pa.ListArray.from_arrays(pa.array(offsets), drawn), " ")


@cache
def _some_texts() -> dict[str, pa.StringArray]:
    """What stands in the short fields."""
    rng = np.random.default_rng(2)
    days = np.arange(FIRST_DAY, LAST_DAY + 1).astype("datetime64[D]").astype(object)
    words = _vocabulary()[0].to_pylist()
    plain = [word.capitalize() for word in words if word.isalpha()]
    names = [f"{first} {last}" for first, last in rng.choice(plain, (_NAMES, 2))]
    return {
        "rating": pa.array([f"{stars}.0" for stars in range(1, 6)]),
        "vote": pa.array(["", *(f', "vote": "{votes}"' for votes in range(2, 60))]),
        "verified": pa.array(["false", "true"]),
        "day": pa.array([f"{day.month:02} {day.day}, {day.year}" for day in days]),
        "style": pa.array(["", *(f', "style": {{"Size:": " {name}"}}' for name in rng.choice(plain, 200))]),
        "name": pa.array(names),
    }


def _broken(line: bytes, reason: str) -> bytes:
    """A line, with its line ending, made useless for a reason."""
    line = line.removesuffix(b"\n")
    if reason == "malformed JSON":
        line = line[: len(line) // 2].rstrip(b"}")
    elif reason == "reviewerID missing":
        line = line.replace(b'"reviewerID"', b'"reviewer"')
    elif reason == "overall out of range":
        line = line.replace(b'"overall": ', b'"overall": 9')
    elif reason == "unixReviewTime missing":
        line = line[: line.rindex(b": ")] + b": null}"
    elif reason == "invalid UTF-8":
        line = line.replace(b'"reviewText": "', b'"reviewText": "\xff')
    else:
        line = b"null" if reason == "not an object" else b""
    return line + b"\n"


def _bytes_of(lines: pa.BinaryArray) -> bytes:
    """The values of an array end to end."""
    offsets = np.frombuffer(lines.buffers()[1], dtype=np.int32)
    first, last = offsets[lines.offset], offsets[lines.offset + len(lines)]
    return lines.buffers()[2].slice(int(first), int(last - first)).to_pybytes()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--reviews", type=int, required=True, help="lines, those of a new file not counted")
    parser.add_argument("--out", type=Path, required=True, help="folder to write into")
    parser.add_argument("--files", type=int, default=1, help="files to split them over")
    parser.add_argument("--new-share", type=float, default=0.0, help="lines of one more file, as a share of --reviews")
    parser.add_argument("--staged", action="store_true", help="write landed Parquet and no dump")
    parser.add_argument("--level", type=int, default=6, help="of gzip")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--processes", type=int, help="that draw and compress; default: one a core")
    given = parser.parse_args()
    plan = make_plan(given.reviews, given.files, given.new_share, given.seed)
    if given.staged:
        summary = write_staged(plan, given.out, given.processes)
    else:
        summary = write_dump(plan, given.out, given.level, given.processes)
    print(json.dumps(summary, indent=2))


if __name__ == "__main__":
    main()
