"""Small made-up landing folders for the tests of the warehouse."""

from __future__ import annotations

import hashlib
import random
from dataclasses import dataclass, field, replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from ml.data.landing.land import FILES_SCHEMA, INTERACTIONS_SCHEMA, METADATA_SCHEMA, REJECTS_SCHEMA

DAY = 86_400
TEXTS = ("title", "brand", "main_cat", "price")
SCHEMAS = {
    "reviews/rows": INTERACTIONS_SCHEMA,
    "metadata/rows": METADATA_SCHEMA,
    **{f"{kind}/rejects": REJECTS_SCHEMA for kind in ("reviews", "metadata")},
    **{f"{kind}/files": FILES_SCHEMA for kind in ("reviews", "metadata")},
}


@dataclass(frozen=True)
class Landing:
    """Records of dumps by kind, each with its place; a record is a row, or a reject where it has a ``reason``.

    ``repeated`` counts, by file of reviews, records that only say again what another file says. ``order`` names the
    files in the order of the source; others come behind them by name.
    """

    reviews: list[dict] = field(default_factory=list)
    metadata: list[dict] = field(default_factory=list)
    repeated: dict[str, int] = field(default_factory=dict)
    order: tuple[str, ...] = ()

    def file_positions(self, kind: str) -> dict[str, int]:
        """By file of one kind, its place in the source, from 1."""
        names = sorted({record["source_file"] for record in getattr(self, kind)})
        named = [name for name in self.order if name in names]
        return {name: position for position, name in enumerate(dict.fromkeys([*named, *names]), 1)}

    def tables(self) -> dict[str, pa.Table]:
        """The six tables of a landing folder, by ``<kind>/<name>``."""
        tables = {}
        for kind in ("reviews", "metadata"):
            records = getattr(self, kind)
            rows = [record for record in records if "reason" not in record]
            rejects = [record for record in records if "reason" in record]
            files = [
                {
                    "source_file": name,
                    "file_position": position,
                    "bytes": 1,
                    "sha256": hashlib.sha256(name.encode()).hexdigest(),
                    "content": hashlib.sha256(
                        repr([row for row in rows if row["source_file"] == name]).encode()
                    ).hexdigest(),
                    "layout": "made up",
                    "lines_read": len({record["line_number"] for record in records if record["source_file"] == name}),
                    "rows_read": sum(record["source_file"] == name for record in records) + repeated,
                    "rows_kept": sum(record["source_file"] == name for record in rows),
                    "rows_rejected": sum(record["source_file"] == name for record in rejects),
                    "rows_repeated": repeated,
                    "problem": None,
                }
                for name, position in self.file_positions(kind).items()
                for repeated in [self.repeated.get(name, 0) if kind == "reviews" else 0]
            ]
            for name, content in (("rows", rows), ("rejects", rejects), ("files", files)):
                tables[f"{kind}/{name}"] = pa.Table.from_pylist(content, schema=SCHEMAS[f"{kind}/{name}"])
        return tables

    def write(self, lake: Path) -> Path:
        """Write the folder that dbt reads as ``RAW2RANK_LAKE``, rows and rejects in two files each."""
        for name, table in self.tables().items():
            path = lake / "landing" / name
            if name.endswith("/files"):
                path.parent.mkdir(parents=True, exist_ok=True)
                pq.write_table(table, path.with_suffix(".parquet"))
                continue
            path.mkdir(parents=True, exist_ok=True)
            middle = len(table) // 2
            pq.write_table(table.slice(0, middle), path / "000000.parquet")
            pq.write_table(table.slice(middle), path / "000001.parquet")
        return lake

    def shuffled(self, seed: int) -> Landing:
        """The same lines in another order, spread otherwise over the files."""
        generator = random.Random(seed)
        return replace(
            self,
            reviews=placed([dict(line) for line in self.reviews], generator),
            metadata=placed([dict(line) for line in self.metadata], generator),
        )


def placed(lines: list[dict], generator: random.Random) -> list[dict]:
    """Give each line a place in one of two files, at random; in the first where its place counts."""
    generator.shuffle(lines)
    last_line = {"a.json.gz": 0, "b.json.gz": 0}
    for line in lines:
        file = "a.json.gz" if line.get("given_position") else generator.choice(sorted(last_line))
        last_line[file] += 1
        line |= {"source_file": file, "line_number": last_line[file]}
    return lines


def review(
    user: str,
    item: str,
    timestamp: int | None,
    rating: float | None = 5.0,
    *,
    text: str = "",
    verified: bool | None = True,
    millisecond: int | None = 0,
    given_position: int = 0,
    given_split: str | None = None,
) -> dict:
    """A review without a place; ``text`` stands for what is not kept, and makes the line another one."""
    row = {
        "user_id": user,
        "item_id": item,
        "rating": rating,
        "timestamp": timestamp,
        "millisecond": millisecond,
        "verified": verified,
        "given_position": given_position,
        "given_split": given_split,
    }
    return row | {"invalid_fields": [], "line_digest": _digest([*row.values(), text])}


def description(item: str, **fields) -> dict:
    """A metadata row without a place."""
    row = {"item_id": item, **dict.fromkeys((*TEXTS, "image_url", "item_text")), "category": None, **fields}
    return row | {"invalid_fields": [], "line_digest": _digest(row)}


def _digest(content: object) -> int:
    return int.from_bytes(hashlib.md5(repr(content).encode()).digest()[:8])


def reject(line: bytes, reason: str = "malformed JSON") -> dict:
    return {"byte_offset": 0, "reason": reason, "detail": "made up", "line": line}


def dirty_landing(seed: int, users: int = 14, items: int = 10, reviews: int = 110) -> Landing:
    """Reviews and metadata at random, with every kind of dirt that is left after landing.

    Few days, so that ties abound; copies of lines, copies with another text, one rating instead of another, none
    at all; items that are described twice with or without a conflict, or not at all; rejected and repeated records;
    short users.
    """
    generator = random.Random(seed)
    lines = [
        review(
            f"A{min(generator.randrange(users), generator.randrange(users)):02d}",
            f"B{min(generator.randrange(items), generator.randrange(items)):02d}",
            generator.randrange(1, 6) * DAY,
            generator.choice([1.0, 4.0, 5.0, 5.0, 5.0, None]),
            text=generator.choice(["fine", "well"]),
            verified=generator.choice([True, False, None]),
            millisecond=generator.choice([0, 0, 0, 0, 250, None]),
        )
        for _ in range(reviews)
    ]
    lines += [dict(line) for line in generator.choices(lines, k=reviews // 8)]
    lines += [line | {"line_digest": generator.getrandbits(64)} for line in generator.choices(lines, k=reviews // 8)]
    metadata = []
    for number in range(items + 2):
        rows = [
            description(
                f"B{number:02d}",
                title=generator.choice(["Anvil", "Bolt", "Zither", "<span", None]),
                brand=generator.choice(["Acme", "Zorg", "", None]),
                main_cat=generator.choice(["Tools", None]),
                price=generator.choice(["$1.50", "$20.00", "$1 - $2", None]),
                image_url=generator.choice(["https://x/1.jpg", None]),
                item_text=generator.choice(["An anvil", None]),
            )
            for _ in range(3)
        ]
        # none, one, the same twice, others, or both
        metadata += [*generator.choice([[], rows[:1], rows[:1] * 2, rows[:2], [*rows, rows[0]]])]
    return Landing(
        reviews=placed([*map(dict, lines), reject(b"{"), reject(b"\xff", "invalid UTF-8")], generator),
        metadata=placed([*map(dict, metadata), reject(b"[]", "not an object")], generator),
        repeated={"a.json.gz": 3},
        # not by name
        order=("b.json.gz", "a.json.gz"),
    )


def ordered_landing(seed: int, users: int = 14, items: int = 10, sequences: int = 30) -> Landing:
    """Sequences without times and ratings, several records a line, some of them written to two files."""
    generator = random.Random(seed)
    reviews = []
    for file in ("a.txt", "b.txt"):
        position = 0
        for line_number in range(1, sequences // 2 + 1):
            user = f"A{generator.randrange(users):02d}"
            for _ in range(generator.randrange(1, 6)):
                position += 1
                item = f"B{min(generator.randrange(items), generator.randrange(items)):02d}"
                row = review(user, item, None, None, verified=None, millisecond=None, given_position=position)
                reviews.append(row | {"source_file": file, "line_number": line_number, "line_digest": line_number})
    reviews += [row | {"source_file": "c.txt"} for row in reviews if row["source_file"] == "a.txt"][:20]
    metadata = [description(f"B{number:02d}", title="Anvil") for number in range(items)]
    return Landing(reviews=reviews, metadata=placed(metadata, generator), order=("b.txt", "c.txt", "a.txt"))


def divided_landing(seed: int) -> Landing:
    """As :func:`dirty_landing`, where most users come with a split made elsewhere, in whole or in part."""
    generator = random.Random(seed)
    landing = dirty_landing(seed)
    splits = ["train", "train", "history", "validation", "test"]
    divided = [
        row | {"given_split": generator.choice([*splits, None] if row["user_id"] < "A02" else splits)}
        if "reason" not in row and row["user_id"] < "A06"
        else row
        for row in landing.reviews
    ]
    return replace(landing, reviews=divided)
