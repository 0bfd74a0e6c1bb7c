"""Detect the content of a JSON lines file from its first lines: reviews or metadata, and of which release.

Names say little: reviews of 2023 are passed on as ``.json.gz``, metadata is taken for reviews, and dumps of Yelp or
Goodreads are JSON lines as well. All lines of a file that is read in the wrong layout would be rejects.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ml.data.landing.file_lines import LONGEST_LINE_BYTES
from ml.data.landing.text_stream import BYTE_ORDER_MARK, first_text
from ml.data.sources.literals import read_literal

# Kinds that are read, and the layout of each.
REVIEWS = {"reviews of 2018": "amazon_2018", "reviews of 2023": "amazon_2023"}
METADATA = {
    "metadata of 2014": "amazon_2014",
    "metadata of 2018": "amazon_2018",
    "metadata of 2023": "amazon_2023",
}
# Others, and the preset under which they are read.
_OTHERS = {
    "reviews of Yelp": "yelp",
    "reviews of Goodreads": "goodreads",
    "reviews of Steam": "steam",
    "reviews of Google Maps": "google_maps",
}
_STEAM_ITEMS = "the items of Steam's users"
ARRAY = "a JSON array"
PRETTY = "JSON over several lines"
SEVERAL = "several JSON objects a line"
WITH_COMMAS = "JSON objects with commas between them"
BY_COLUMN = "JSON by column"
NO_JSON = "no JSON"
# kinds of which no line is an object that could be a row
NOT_LINES = (ARRAY, PRETTY, SEVERAL, WITH_COMMAS, BY_COLUMN, NO_JSON)
JSON_LINES = "JSON lines"
UNKNOWN = "JSON objects of another kind"

_LOOKED_AT_BYTES = 1 << 18
_LOOKED_AT_LINES = 50
_SHOWN_KEYS = 12
_BETWEEN_OBJECTS = re.compile(rb"\}[ \t\r]*\{")


@dataclass(frozen=True)
class Content:
    """The detected content of a file.

    Attributes:
        kinds: how many of the lines are of which kind, the most frequent first.
        keys: of the objects on them, in the order in which they are found.
        first_line: the first that is not blank, shortened.
    """

    kinds: dict[str, int]
    keys: tuple[str, ...]
    first_line: str

    @property
    def kind(self) -> str:
        return next(iter(self.kinds))


def content_of(path: Path) -> Content | None:
    """The content of a file; ``None`` if the first lines do not tell, or the file cannot be read."""
    lines = _first_lines(path)
    if not lines:
        return None
    kinds: Counter[str] = Counter()
    keys: dict[str, None] = {}
    for line, row in _objects(lines):
        kinds[_kind(row, line)] += 1
        keys.update(dict.fromkeys(map(str, row)))
    first_line = lines[0][:80].decode("utf-8", "replace")
    if lines[0] == b"[" or _kind_of_no_objects(lines) == WITH_COMMAS:
        # what stands on the last line is an object as well
        kinds.clear()
    if not kinds:
        kind = _kind_of_no_objects(lines)
        if kind is None:
            return None
        kinds[kind] = len(lines)
    return Content(dict(kinds.most_common()), tuple(keys), first_line)


def first_objects(path: Path) -> list[dict]:
    """The objects on the first lines of a file, of JSON or of Python."""
    return [row for _, row in _objects(_first_lines(path))]


def _first_lines(path: Path) -> list[bytes]:
    """The first lines of a file that are not blank, without white space around them."""
    size = _LOOKED_AT_BYTES
    text = first_text(path, size)
    if len(text) == size and b"\n" not in text and text.lstrip().startswith(b"{"):
        # an object may be long, but no longer than a line may be
        size = LONGEST_LINE_BYTES
        text = first_text(path, size)
    is_cut = len(text) == size
    lines = text.removeprefix(BYTE_ORDER_MARK).split(b"\n")
    if is_cut:
        # the last is cut
        cut = lines.pop()
        lines = lines or ([cut] if cut.lstrip().startswith((b"[", b"{")) else [])
    return [line for line in map(bytes.strip, lines) if line][:_LOOKED_AT_LINES]


def _objects(lines: list[bytes]) -> Iterator[tuple[bytes, dict]]:
    for line in lines:
        try:
            row = read_literal(line)
        except ValueError:
            continue
        if isinstance(row, dict):
            yield line, row


def refusal(path: Path, content: Content, wanted: str) -> str:
    """One sentence: why a file cannot be read as the reviews or metadata its name promises, and the remedy."""
    kind = content.kind
    name = path.name
    if kind == ARRAY:
        return (
            f"{path} is one JSON array, and {wanted} are lines of one object each; convert it, for instance with "
            f"jq -c '.[]' {name} > converted.jsonl, and put that file there in its place"
        )
    if kind == PRETTY:
        return (
            f"{path} holds JSON objects over several lines, and {wanted} are lines of one object each; convert it, for "
            f"instance with jq -c . {name} > converted.jsonl, and put that file there in its place"
        )
    if kind == SEVERAL:
        return (
            f"{path} holds several JSON objects on a line, and {wanted} are lines of one object each; convert it, for "
            f"instance with jq -c . {name} > converted.jsonl, and put that file there in its place"
        )
    if kind == WITH_COMMAS:
        return (
            f"{path} holds JSON objects with commas behind them, and {wanted} are lines of one object each; take "
            f"the commas away, for instance with sed 's/,[[:space:]]*$//' {name} > converted.jsonl, and put that file "
            "there in its place"
        )
    if kind == BY_COLUMN:
        return (
            f"{path} holds one JSON object with a value for each column, as pandas writes it, and {wanted} are lines "
            'of one object each; write it with to_json(path, orient="records", lines=True)'
        )
    if kind == NO_JSON:
        return (
            f"{path} holds no JSON objects, and {wanted} are lines of one each (its first line is "
            f"{content.first_line!r}); give the file the ending of what it is: .csv, .tsv or .txt"
        )
    if kind in REVIEWS:
        remedy = f"say LAYOUT={REVIEWS[kind]}, or give it the name of {kind}"
        if wanted == "metadata":
            remedy = "put the metadata there in its place, or take it away"
        return f"{path} looks like {kind}, not like {wanted}; {remedy}"
    if kind in METADATA:
        return (
            f"{path} looks like {kind}, not like {wanted}; put the reviews there in its place, and name this file "
            "meta_<dataset>"
        )
    if wanted == "metadata" and kind == UNKNOWN:
        return f"{path} holds objects without asin or parent_asin; give each the identity of its item under one of them"
    if kind == _STEAM_ITEMS:
        return (
            f"{path} looks like {kind}, not like {wanted}: a line holds all items of a user, without an order; give "
            'the reviews of Steam with preset = "steam" in source.toml, or lines of `user item item ...` in a .txt file'
        )
    if kind in _OTHERS:
        return (
            f'{path} looks like {kind}, not like {wanted}; put preset = "{_OTHERS[kind]}" and '
            f'interactions = ["{name}"] into source.toml'
        )
    keys = ", ".join(content.keys[:_SHOWN_KEYS]) + (", ..." if len(content.keys) > _SHOWN_KEYS else "")
    if wanted == JSON_LINES:
        return f"{path} looks like {kind}, not like {wanted} (their keys: {keys or 'none'})"
    return (
        f"{path} holds objects with the keys {keys or '(none)'}, which are not those of {wanted}; if they are "
        f'interactions, put layout = "json_lines" and interactions = ["{name}"] into source.toml and, under [columns], '
        'user = "<key>", item = "<key>", timestamp = "<key>" where the keys are not recognised'
    )


def _kind(row: dict, line: bytes) -> str:
    keys = row.keys()
    if _is_by_column(row):
        return BY_COLUMN
    if "reviewerID" in keys:
        return "reviews of 2018"
    if "business_id" in keys and "user_id" in keys:
        return "reviews of Yelp"
    if "book_id" in keys and "user_id" in keys:
        return "reviews of Goodreads"
    if "gmap_id" in keys and "user_id" in keys:
        return "reviews of Google Maps"
    if "user_id" in keys and ("parent_asin" in keys or "asin" in keys):
        return "reviews of 2023"
    if "username" in keys and "product_id" in keys:
        return "reviews of Steam"
    if "user_id" in keys and "items" in keys:
        return _STEAM_ITEMS
    if "parent_asin" in keys and not keys & {"user_id", "rating", "timestamp"}:
        return "metadata of 2023"
    if "asin" in keys and not keys & {"user_id", "overall", "unixReviewTime", "rating", "timestamp"}:
        is_literal = not line.startswith(b'{"')
        return "metadata of 2014" if is_literal or keys & {"categories", "imUrl"} else "metadata of 2018"
    return UNKNOWN


def _is_by_column(row: dict) -> bool:
    """Whether an object holds a whole table, as pandas writes it: of each column an object of all of its values."""
    if len(row) < 2 or not all(isinstance(value, dict) and value for value in row.values()):
        return False
    return len({tuple(value) for value in row.values()}) == 1


def _kind_of_no_objects(lines: list[bytes]) -> str | None:
    first = lines[0]
    if first.startswith(b"{") and _BETWEEN_OBJECTS.search(first):
        return SEVERAL
    if first.startswith(b"{") and first.endswith(b"},") and all(_is_object(line.rstrip(b",")) for line in lines[:3]):
        return WITH_COMMAS
    if first == b"[" or first.startswith((b"[{", b"[ {", b"[\t{")):
        return ARRAY
    if first == b"{" and len(lines) > 1 and lines[1].startswith((b'"', b"'")):
        return PRETTY
    if any(line.startswith((b"{", b"[")) for line in lines):
        # JSON that is damaged: which of its lines can be read is seen when they are
        return None
    return NO_JSON


def _is_object(line: bytes) -> bool:
    try:
        return isinstance(read_literal(line), dict)
    except ValueError:
        return False
