"""What a file of JSON lines holds, by its first lines: reviews or metadata of which release, or something else.

Names say little: reviews of 2023 are passed on as ``.json.gz``, metadata is taken for reviews, and dumps of Yelp or
Goodreads are JSON lines as well. All lines of a file that is read in the wrong layout would be rejects.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from ml.data.sources.literals import read_literal
from ml.data.text_stream import BYTE_ORDER_MARK, first_text

# Kinds that are read, and the layout of each.
REVIEWS = {"reviews of 2018": "amazon_2018", "reviews of 2023": "amazon_2023"}
METADATA = {
    "metadata of 2014": "amazon_2014",
    "metadata of 2018": "amazon_2018",
    "metadata of 2023": "amazon_2023",
}
# Others, and what their fields are called in the columns of a table.
_OTHERS = {
    "reviews of Yelp": "user_id, business_id, stars, date",
    "reviews of Goodreads": "user_id, book_id, rating, date_added",
    "reviews of Steam": "username or user_id, product_id or item_id, and a date",
    "reviews of Google Maps": "user_id, gmap_id, rating, time",
}
ARRAY = "a JSON array"
PRETTY = "JSON over several lines"
NO_JSON = "no JSON"
UNKNOWN = "JSON objects of another kind"

_LOOKED_AT_BYTES = 1 << 18
_LOOKED_AT_LINES = 50
_SHOWN_KEYS = 12


@dataclass(frozen=True)
class Content:
    """What the first lines of a file hold.

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
    """What a file holds; ``None`` where that cannot be seen from its first lines, or it cannot be read."""
    text = first_text(path, _LOOKED_AT_BYTES).removeprefix(BYTE_ORDER_MARK)
    lines = text.split(b"\n")
    if len(text) == _LOOKED_AT_BYTES:
        # the last is cut
        cut = lines.pop()
        lines = lines or ([cut] if cut.lstrip().startswith(b"[") else [])
    lines = [line for line in map(bytes.strip, lines) if line][:_LOOKED_AT_LINES]
    if not lines:
        return None
    kinds: Counter[str] = Counter()
    keys: dict[str, None] = {}
    for line in lines:
        try:
            row = read_literal(line)
        except ValueError:
            continue
        if isinstance(row, dict):
            kinds[_kind(row, line)] += 1
            keys.update(dict.fromkeys(map(str, row)))
    first_line = lines[0][:80].decode("utf-8", "replace")
    if lines[0] == b"[":
        # what stands on the last line of an array is an object as well
        kinds.clear()
    if not kinds:
        kind = _kind_of_no_objects(lines)
        if kind is None:
            return None
        kinds[kind] = len(lines)
    return Content(dict(kinds.most_common()), tuple(keys), first_line)


def refusal(path: Path, content: Content, wanted: str) -> str:
    """Why a file is not read as the reviews or the metadata that its name promises, and what to do, in one sentence."""
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
    if kind in _OTHERS:
        return (
            f"{path} looks like {kind}, not like {wanted}; write the fields {_OTHERS[kind]} to a table with a line of "
            "names (.csv or .parquet), and give that"
        )
    keys = ", ".join(content.keys[:_SHOWN_KEYS]) + (", ..." if len(content.keys) > _SHOWN_KEYS else "")
    return (
        f"{path} holds objects with the keys {keys or '(none)'}, which are not those of {wanted}; write the user, the "
        "item, the time and the rating to a table with a line of names (.csv or .parquet), and give that"
    )


def _kind(row: dict, line: bytes) -> str:
    keys = row.keys()
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
    if ("username" in keys and "product_id" in keys) or ("user_id" in keys and "items" in keys):
        return "reviews of Steam"
    if "parent_asin" in keys and not keys & {"user_id", "rating", "timestamp"}:
        return "metadata of 2023"
    if "asin" in keys and not keys & {"user_id", "overall", "unixReviewTime", "rating", "timestamp"}:
        is_literal = not line.startswith(b'{"')
        return "metadata of 2014" if is_literal or keys & {"categories", "imUrl"} else "metadata of 2018"
    return UNKNOWN


def _kind_of_no_objects(lines: list[bytes]) -> str | None:
    first = lines[0]
    if first == b"[" or first.startswith((b"[{", b"[ {", b"[\t{")):
        return ARRAY
    if first == b"{" and len(lines) > 1 and lines[1].startswith((b'"', b"'")):
        return PRETTY
    if any(line.startswith((b"{", b"[")) for line in lines):
        # JSON that is damaged: which of its lines can be read is seen when they are
        return None
    return NO_JSON
