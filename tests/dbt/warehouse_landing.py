"""Small made-up landing folders for the tests of the warehouse."""

from __future__ import annotations

import hashlib
import random
from dataclasses import dataclass, field, replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

DAY = 86_400
PLACE = [("source_file", pa.string()), ("line_number", pa.int64())]
TEXTS = ("title", "brand", "main_cat", "price")
SCHEMAS = {
    "reviews/rows": pa.schema(
        [
            *PLACE,
            ("line_digest", pa.uint64()),
            ("reviewer_id", pa.string()),
            ("asin", pa.string()),
            ("overall", pa.float64()),
            ("unix_review_time", pa.int64()),
            ("verified", pa.bool_()),
            ("invalid_fields", pa.list_(pa.string())),
        ]
    ),
    "metadata/rows": pa.schema(
        [
            *PLACE,
            ("line_digest", pa.uint64()),
            ("asin", pa.string()),
            *((name, pa.string()) for name in TEXTS),
            ("category", pa.list_(pa.string())),
            ("image_url", pa.string()),
            ("invalid_fields", pa.list_(pa.string())),
        ]
    ),
}
for _kind in ("reviews", "metadata"):
    SCHEMAS[f"{_kind}/rejects"] = pa.schema(
        [
            *PLACE,
            ("byte_offset", pa.int64()),
            ("reason", pa.string()),
            ("detail", pa.string()),
            ("line", pa.binary()),
        ]
    )
    SCHEMAS[f"{_kind}/files"] = pa.schema(
        [
            ("source_file", pa.string()),
            ("bytes", pa.int64()),
            ("sha256", pa.string()),
            ("lines_read", pa.int64()),
            ("rows_kept", pa.int64()),
            ("rows_rejected", pa.int64()),
        ]
    )


@dataclass(frozen=True)
class Landing:
    """Lines of dumps by kind, each with its place; a line is a row, or a reject where it has a ``reason``."""

    reviews: list[dict] = field(default_factory=list)
    metadata: list[dict] = field(default_factory=list)

    def tables(self) -> dict[str, pa.Table]:
        """The six tables of a landing folder, by ``<kind>/<name>``."""
        tables = {}
        for kind in ("reviews", "metadata"):
            lines = getattr(self, kind)
            rows = [line for line in lines if "reason" not in line]
            rejects = [line for line in lines if "reason" in line]
            files = [
                {
                    "source_file": name,
                    "bytes": 1,
                    "sha256": hashlib.sha256(name.encode()).hexdigest(),
                    "lines_read": sum(line["source_file"] == name for line in lines),
                    "rows_kept": sum(line["source_file"] == name for line in rows),
                    "rows_rejected": sum(line["source_file"] == name for line in rejects),
                }
                for name in sorted({line["source_file"] for line in lines})
            ]
            for name, content in (("rows", rows), ("rejects", rejects), ("files", files)):
                tables[f"{kind}/{name}"] = pa.Table.from_pylist(content, schema=SCHEMAS[f"{kind}/{name}"])
        return tables

    def write(self, lake: Path) -> Path:
        """Write the folder that dbt reads as ``RAW2RANK_LAKE``."""
        for name, table in self.tables().items():
            path = lake / "landing" / f"{name}.parquet"
            path.parent.mkdir(parents=True, exist_ok=True)
            pq.write_table(table, path)
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
    """Give each line a place in one of two files, at random."""
    generator.shuffle(lines)
    last_line = {"a.json.gz": 0, "b.json.gz": 0}
    for line in lines:
        file = generator.choice(sorted(last_line))
        last_line[file] += 1
        line |= {"source_file": file, "line_number": last_line[file]}
    return lines


def review(user: str, item: str, day: int, rating: float = 5.0, text: str = "", verified: bool | None = True) -> dict:
    """A review without a place; ``text`` stands for what is not kept, and makes the line another one."""
    content = repr((user, item, day, rating, text, verified))
    return {
        "reviewer_id": user,
        "asin": item,
        "overall": rating,
        "unix_review_time": day * DAY,
        "verified": verified,
        "invalid_fields": [],
        "line_digest": int.from_bytes(hashlib.md5(content.encode()).digest()[:8]),
    }


def description(item: str, **fields) -> dict:
    """A metadata row without a place."""
    row = {"asin": item, **dict.fromkeys((*TEXTS, "image_url")), "category": None, **fields}
    digest = int.from_bytes(hashlib.md5(repr(row).encode()).digest()[:8])
    return row | {"invalid_fields": [], "line_digest": digest}


def reject(line: bytes, reason: str = "malformed JSON") -> dict:
    return {"byte_offset": 0, "reason": reason, "detail": "made up", "line": line}


def dirty_landing(seed: int, users: int = 14, items: int = 10, reviews: int = 110) -> Landing:
    """Reviews and metadata at random, with every kind of dirt that is left after landing.

    Few days, so that ties abound; copies of lines, copies with another text, one rating instead of another,
    items that are described twice with or without a conflict, or not at all; rejected lines; short users.
    """
    generator = random.Random(seed)
    lines = [
        review(
            f"A{min(generator.randrange(users), generator.randrange(users)):02d}",
            f"B{min(generator.randrange(items), generator.randrange(items)):02d}",
            day=generator.randrange(1, 6),
            rating=float(generator.choice([1, 4, 5, 5, 5])),
            text=generator.choice(["fine", "well"]),
            verified=generator.choice([True, False, None]),
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
            )
            for _ in range(3)
        ]
        # none, one, the same twice, others, or both
        metadata += [*generator.choice([[], rows[:1], rows[:1] * 2, rows[:2], [*rows, rows[0]]])]
    return Landing(
        reviews=placed([*map(dict, lines), reject(b"{"), reject(b"\xff", "invalid UTF-8")], generator),
        metadata=placed([*map(dict, metadata), reject(b"[]", "not an object")], generator),
    )
