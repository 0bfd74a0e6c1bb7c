"""What a line of a review dump must hold to be kept, and under which reason it is rejected if it does not.

The layout is that of Amazon Review Data (2018): Ni, Li and McAuley, "Justifying recommendations using
distantly-labeled reviews and fine-grained aspects", EMNLP 2019. One JSON object a line; keys beyond those
named here are not looked at; of a key that stands twice in an object the last value counts.

A review needs

- ``reviewerID`` and ``asin``: strings that are not blank and hold no control character, kept as they are;
- ``overall``: a number (``true`` is none) from 1 to 5;
- ``unixReviewTime``: whole seconds since 1970, after 1970-01-01 00:00:00 and before 2100. A float with a
  whole value counts, since tools that know missing integers as floats only write ``1393372800.0``.

It may have ``verified``, a boolean. Metadata needs ``asin`` alone, and may have ``title``, ``brand``,
``main_cat`` (strings), ``price`` (a string, or a number, which is kept as its JSON text), ``category`` (a
list of strings), and of image addresses ``imageURLHighRes`` and ``imageURL``, or in the other release
``image`` (each a list of strings, or a string). An optional field may be absent or null; one of another type
counts as null, and is named in the row's ``invalid_fields``.

JSON is as strict as RFC 8259 asks (orjson): no NaN or Infinity, no lone surrogates, no number beyond the
range of a 64-bit float.
"""

from __future__ import annotations

from typing import NamedTuple

import orjson

# 2100-01-01 00:00:00 UTC
END_OF_TIME = 4_102_444_800

LINE_REASONS = ("line too long", "blank line", "invalid UTF-8", "malformed JSON", "not an object")
REVIEW_REASONS = (
    *LINE_REASONS,
    "reviewerID missing",
    "reviewerID not a string",
    "reviewerID with control characters",
    "asin missing",
    "asin not a string",
    "asin with control characters",
    "overall missing",
    "overall not a number",
    "overall out of range",
    "unixReviewTime missing",
    "unixReviewTime not an integer",
    "unixReviewTime out of range",
)
METADATA_REASONS = (*LINE_REASONS, "asin missing", "asin not a string", "asin with control characters")

NO_FIELDS: tuple[str, ...] = ()
_IMAGE_FIELDS = ("imageURLHighRes", "imageURL", "image")


class Review(NamedTuple):
    """A kept review: ``unix_review_time`` in seconds, ``verified`` null where absent or of a wrong type."""

    reviewer_id: str
    asin: str
    overall: float
    unix_review_time: int
    verified: bool | None
    invalid_fields: tuple[str, ...]


class Metadata(NamedTuple):
    """A kept row of metadata, its texts as given; ``image_url`` is the first of the highest resolution."""

    asin: str
    title: str | None
    brand: str | None
    main_cat: str | None
    price: str | None
    category: list[str] | None
    image_url: str | None
    invalid_fields: tuple[str, ...]


class Reject(NamedTuple):
    """Why a line is not kept: ``reason`` from a fixed vocabulary, ``detail`` what was found instead."""

    reason: str
    detail: str


def read_review(line: bytes) -> Review | Reject:
    """A review from a line without its line ending, or why it is rejected."""
    row = _read_object(line)
    if isinstance(row, Reject):
        return row
    overall, time = row.get("overall"), row.get("unixReviewTime")
    problem = _identity_problem(row, "reviewerID") or _identity_problem(row, "asin")
    if problem:
        return problem
    if overall is None:
        return Reject("overall missing", _shown(row, "overall"))
    if isinstance(overall, bool) or not isinstance(overall, int | float):
        return Reject("overall not a number", _shown(row, "overall"))
    if not 1 <= overall <= 5:
        return Reject("overall out of range", _shown(row, "overall"))
    if time is None:
        return Reject("unixReviewTime missing", _shown(row, "unixReviewTime"))
    if isinstance(time, float) and time.is_integer():
        time = int(time)
    if isinstance(time, bool) or not isinstance(time, int):
        return Reject("unixReviewTime not an integer", _shown(row, "unixReviewTime"))
    if not 0 < time < END_OF_TIME:
        return Reject("unixReviewTime out of range", _shown(row, "unixReviewTime"))
    verified, invalid_fields = row.get("verified"), NO_FIELDS
    if not (verified is None or isinstance(verified, bool)):
        verified, invalid_fields = None, ("verified",)
    return Review(row["reviewerID"], row["asin"], float(overall), time, verified, invalid_fields)


def read_metadata(line: bytes) -> Metadata | Reject:
    """A row of metadata from a line without its line ending, or why it is rejected."""
    row = _read_object(line)
    if isinstance(row, Reject):
        return row
    problem = _identity_problem(row, "asin")
    if problem:
        return problem
    invalid = []
    texts = {}
    for name in ("title", "brand", "main_cat", "price"):
        value = row.get(name)
        if name == "price" and type(value) in (int, float):
            value = orjson.dumps(value).decode()
        if not (value is None or isinstance(value, str)):
            invalid.append(name)
            value = None
        texts[name] = value
    category = row.get("category")
    if not (category is None or _is_list_of_strings(category)):
        invalid.append("category")
        category = None
    image_url = None
    for name in _IMAGE_FIELDS:
        images = row.get(name)
        if isinstance(images, str):
            images = [images]
        if not (images is None or _is_list_of_strings(images)):
            invalid.append(name)
        elif images and image_url is None:
            image_url = next((image for image in images if image), None)
    return Metadata(row["asin"], **texts, category=category, image_url=image_url, invalid_fields=tuple(invalid))


def _read_object(line: bytes) -> dict | Reject:
    try:
        row = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        if not line.strip():
            return Reject("blank line", f"{len(line)} bytes of white space" if line else "")
        try:
            line.decode("utf-8")
        except UnicodeDecodeError as invalid:
            return Reject("invalid UTF-8", f"byte {invalid.start}: {invalid.reason}")
        return Reject("malformed JSON", str(error))
    if not isinstance(row, dict):
        return Reject("not an object", f"a JSON {_type_name(row)}")
    return row


def _identity_problem(row: dict, name: str) -> Reject | None:
    value = row.get(name)
    if value is None or (isinstance(value, str) and not value.strip()):
        return Reject(f"{name} missing", _shown(row, name))
    if not isinstance(value, str):
        return Reject(f"{name} not a string", _shown(row, name))
    if any(character < " " or "\x7f" <= character <= "\x9f" for character in value):
        return Reject(f"{name} with control characters", _shown(row, name))
    return None


def _is_list_of_strings(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(element, str) for element in value)


def _shown(row: dict, name: str, longest: int = 80) -> str:
    """The value as JSON, short enough for a table."""
    if name not in row:
        return "no such key"
    text = orjson.dumps(row[name]).decode()
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


def _type_name(value: object) -> str:
    return {list: "array", str: "string", bool: "boolean", type(None): "null"}.get(type(value), "number")
