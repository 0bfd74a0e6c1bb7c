"""Sequence files, and splits made elsewhere."""

from __future__ import annotations

from .entry import TIME, Input

_G = "Sequences"


def text(*lines: str) -> dict[str, str]:
    return {"shop.txt": "".join(f"{line}\n" for line in lines)}


_SEQUENCES = [
    Input(_G, "a user and its items on each line", text("u1 i5 i2", "u2 i9"), rows=3),
    Input(_G, "an interaction on each line", text("u1 i5", "u1 i2", "u2 i9"), rows=3),
    Input(
        _G,
        "a byte order mark",
        {"shop.txt": b"\xef\xbb\xbfu1 i5 i2\nu2 i9\n"},
        rows=3,
        kept=[("u1", "i5", None), ("u1", "i2", None), ("u2", "i9", None)],
    ),
    Input(
        _G,
        "four columns that end in times",
        text(*(f"{n % 9} {n % 7 + 100} {n % 5 + 1} {TIME + n}" for n in range(40))),
        refused="looks like a table of user, item, rating, timestamp",
    ),
    Input(_G, "a line of names", text("user_id item_id", "u1 i5", "u2 i9"), rows=2, warns=["names"]),
    Input(
        _G,
        "zeros that fill up the lines",
        text("u1 0 0 i5 i2", "u2 0 0 0 i9"),
        rows=3,
        kept=[("u1", "i5", None), ("u1", "i2", None), ("u2", "i9", None)],
        warns=["0"],
    ),
    Input(
        _G,
        "zeros that fill up the first 1,000 lines, and an item `0` further on",
        text(*(f"u{n} 0 0 i{n % 9} i{n % 7}" for n in range(1000)), "u i5 0 i9 i2"),
        refused="0",
    ),
    Input(_G, "commas between the items", text("u1,i5,i2", "u2,i9,i1"), refused="separates the fields"),
    Input(_G, "lists in brackets", text("u1 [i5, i2]", "u2 [i9, i1]"), refused="without brackets and commas"),
    Input(_G, "JSON", text('{"user": "u1", "items": ["i5"]}'), refused="holds JSON"),
    Input(_G, "one word on each line", text("u1", "u2", "u3"), refused="one word each"),
    Input(_G, "a user without an item", text("u1 i5 i2", "u2"), rows=2, rejects={"no item": 1}),
    Input(_G, "identities such as `5.0`", text("1 5.0 2.0", "2 9.0 5.0 7.0"), rows=5, warns=["5.0"]),
]

_S = "A split made elsewhere"
PARTS = {
    "train/input.txt": "1 2\n4 5\n",
    "val/input.txt": "1 2\n",
    "val/output.txt": "3\n",
    "test/input.txt": "1 2 3\n4 5 6\n",
    "test/output.txt": "4\n7\n",
}
_SPLIT = [
    Input(_S, "five files", PARTS, rows=8),
    Input(
        _S,
        "a file is missing",
        {name: text for name, text in PARTS.items() if "val/out" not in name},
        refused="val/output.txt",
    ),
    Input(
        _S,
        "training is not how the history begins",
        PARTS | {"train/input.txt": "1 9\n4 5\n"},
        refused="train/input.txt",
    ),
    Input(_S, "two targets on a line", PARTS | {"test/output.txt": "4 5\n7\n"}, refused="2 items instead of one"),
]

SEQUENCES = (*_SEQUENCES, *_SPLIT)
