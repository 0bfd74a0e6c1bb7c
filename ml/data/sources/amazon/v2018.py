"""Reviews and metadata of the 2018 release: required fields, and the reasons for rejecting a line.

The layout is that of Amazon Review Data (2018): Ni, Li and McAuley, "Justifying recommendations using
distantly-labeled reviews and fine-grained aspects", EMNLP 2019. One JSON object a line; keys beyond those
named here are not looked at; of a key that stands twice in an object the last value counts.

A review needs

- ``reviewerID`` and ``asin``: strings that are not blank and hold no control character; white space around them is
  dropped;
- ``overall``: a number (``true`` is none) from 1 to 5;
- ``unixReviewTime``: whole seconds since 1970, after 1970-01-01 00:00:00 and before 2100. A float with a
  whole value counts, since tools that know missing integers as floats only write ``1393372800.0``.

It may have ``verified``, a boolean. Metadata needs ``asin`` alone, and may have ``title``, ``brand``,
``main_cat`` (strings), ``price`` (a string, or a number, which is kept as its JSON text), ``category`` (a
list of strings), and of image addresses ``imageURLHighRes`` and ``imageURL``, or in the other release
``image`` (each a list of strings, or a string). An optional field may be absent or null; one of another type
counts as null, and is named in the row's ``invalid_fields``.

JSON is read as :mod:`ml.data.landing.json_text` says: in a field that is looked at, NaN, Infinity, half of a surrogate
pair and a number beyond the range of a 64-bit float are of a wrong type or out of range; elsewhere they do no harm. A
line of 1,000 or more levels is a reject.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import NamedTuple

import msgspec
import orjson

from ml.data.landing.json_text import (
    LEAST_DEEP_BYTES,
    NestedTooDeeply,
    fields_reading,
    identity_problem,
    is_finite_number,
    is_list_of_texts,
    is_text,
    may_be_nested_deeply,
    shown,
)
from ml.data.landing.schema import END_OF_TIME, LANDING_REASONS, Added, FileReading, Reject
from ml.data.sources.item_template import filled
from ml.data.sources.literals import read_object

LINE_REASONS = (
    *LANDING_REASONS,
    "blank line",
    "invalid UTF-8",
    "malformed JSON",
    "nested too deeply",
    "not an object",
)
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
_REVIEW_FIELDS = MappingProxyType(
    {
        "user": "reviewerID",
        "item": "asin",
        "timestamp": "unixReviewTime",
        "rating": "overall",
        "verified": "verified",
    }
)
_ITEM_FIELDS = MappingProxyType(
    {
        "item": "asin",
        "title": "title",
        "brand": "brand",
        "main_cat": "main_cat",
        "price": "price",
        "category": "category",
        "image_url": _IMAGE_FIELDS,
    }
)


class Review(NamedTuple):
    """A kept review: ``timestamp`` in seconds, ``verified`` null where absent or of a wrong type."""

    user_id: str
    item_id: str
    rating: float
    timestamp: int
    verified: bool | None
    invalid_fields: tuple[str, ...]


class Metadata(NamedTuple):
    """A kept row of metadata, its texts as given; ``image_url`` is the first of the highest resolution."""

    item_id: str
    title: str | None
    brand: str | None
    main_cat: str | None
    price: str | None
    category: list[str] | None
    image_url: str | None
    invalid_fields: tuple[str, ...]
    item_text: str | None = None


class _PlainReview(msgspec.Struct, gc=False):
    """Fields read from nearly every review, in one pass that skips the rest."""

    reviewerID: str
    asin: str
    overall: float
    unixReviewTime: int
    verified: bool | None = None


_read_plain = msgspec.json.Decoder(_PlainReview).decode


class ReviewLines:
    """Reads reviews, as :func:`read_review` each line; nearly all of them pass a short test, many at a time."""

    reasons = REVIEW_REASONS
    reads_each_line_alone = True
    constants = MappingProxyType({"millisecond": 0, "given_position": 0, "given_split": None})

    def __init__(self, keys: Sequence[str] = (), warnings: Sequence[str] = ()) -> None:
        """Keys of the first objects of the file, and warnings, for :meth:`reading`."""
        self._keys, self._warnings = keys, warnings

    def add(self, lines: list[bytes], columns: dict[str, list]) -> Added:
        """See :meth:`ml.data.landing.schema.LineReader.add`."""
        kept: list[_PlainReview] = []
        rejected: list[tuple[int, Reject]] = []
        invalid_fields: dict[int, tuple[str, ...]] = {}
        keep, read_plain = kept.append, _read_plain
        for index, line in enumerate(lines):
            try:
                # how many levels the decoder takes depends on the version of Python
                if len(line) >= LEAST_DEEP_BYTES and may_be_nested_deeply(line):
                    raise NestedTooDeeply
                review = read_plain(line)
                # the decoder does not look into texts that it leaves out
                if not line.isascii():
                    line.decode()
            except (ValueError, RecursionError):
                found = read_review(line)
                if isinstance(found, Reject):
                    rejected.append((index, found))
                    continue
                if found.invalid_fields:
                    invalid_fields[len(kept)] = found.invalid_fields
                review = _PlainReview(*found[:5])
            keep(review)
        if kept and not _are_sound(kept):
            kept, rejected, invalid_fields = _judged(lines, kept, rejected, invalid_fields)
        columns["user_id"] += [review.reviewerID for review in kept]
        columns["item_id"] += [review.asin for review in kept]
        columns["rating"] += [review.overall for review in kept]
        columns["timestamp"] += [review.unixReviewTime for review in kept]
        columns["verified"] += [review.verified for review in kept]
        columns["invalid_fields"] += [NO_FIELDS] * len(kept)
        for place, fields in invalid_fields.items():
            columns["invalid_fields"][place - len(kept)] = fields
        return Added(rejected)

    def reading(self) -> FileReading:
        """See :class:`ml.data.landing.schema.LineReader`."""
        return fields_reading(_REVIEW_FIELDS, self._keys, "seconds", self._warnings)


def _are_sound(reviews: list[_PlainReview]) -> bool:
    """Whether all numbers are in range, and no identity is empty or holds a space or a control character."""
    ratings = [review.overall for review in reviews]
    times = [review.unixReviewTime for review in reviews]
    if not (min(ratings) >= 1 and max(ratings) <= 5 and min(times) > 0 and max(times) < END_OF_TIME):
        return False
    for identities in ([review.reviewerID for review in reviews], [review.asin for review in reviews]):
        text = "".join(identities)
        if "" in identities or " " in text or not text.isprintable():
            return False
    return True


def _judged(
    lines: list[bytes],
    reviews: list[_PlainReview],
    rejected: list[tuple[int, Reject]],
    invalid_fields: dict[int, tuple[str, ...]],
) -> tuple[list[_PlainReview], list[tuple[int, Reject]], dict[int, tuple[str, ...]]]:
    """The same with each review that is not sound read again by itself."""
    gone = dict(rejected)
    places = (index for index in range(len(lines)) if index not in gone)
    kept: list[_PlainReview] = []
    invalid = {}
    for before, (index, review) in enumerate(zip(places, reviews, strict=True)):
        fields = invalid_fields.get(before, NO_FIELDS)
        plain = (
            1 <= review.overall <= 5
            and 0 < review.unixReviewTime < END_OF_TIME
            and review.reviewerID.isalnum()
            and review.asin.isalnum()
        )
        if not plain and not _are_sound([review]):
            again = read_review(lines[index])
            if isinstance(again, Reject):
                gone[index] = again
                continue
            review, fields = _PlainReview(*again[:5]), again.invalid_fields
        if fields:
            invalid[len(kept)] = fields
        kept.append(review)
    return kept, sorted(gone.items()), invalid


class MetadataLines:
    """Reads metadata, as :func:`read_metadata` each line."""

    reasons = METADATA_REASONS
    reads_each_line_alone = True

    def __init__(self, keys: Sequence[str] = (), warnings: Sequence[str] = (), template: str | None = None) -> None:
        """Keys of the first objects of the file, and warnings, for :meth:`reading`; a template of the item text."""
        self._keys, self._warnings, self._template = keys, warnings, template

    def add(self, lines: list[bytes], columns: dict[str, list]) -> Added:
        """See :meth:`ml.data.landing.schema.LineReader.add`."""
        return add_items(partial(read_metadata, template=self._template), lines, columns)

    def reading(self) -> FileReading:
        """See :class:`ml.data.landing.schema.LineReader`."""
        return fields_reading(_ITEM_FIELDS, self._keys, None, self._warnings)


def read_review(line: bytes) -> Review | Reject:
    """A review from a line without its line ending, or why it is rejected."""
    row = read_object(line)
    if isinstance(row, Reject):
        return row
    overall, time = row.get("overall"), row.get("unixReviewTime")
    problem = identity_problem(row, "reviewerID") or identity_problem(row, "asin")
    if problem:
        return problem
    if overall is None:
        return Reject("overall missing", shown(row, "overall"))
    if isinstance(overall, bool) or not isinstance(overall, int | float):
        return Reject("overall not a number", shown(row, "overall"))
    if not 1 <= overall <= 5:
        return Reject("overall out of range", shown(row, "overall"))
    if time is None:
        return Reject("unixReviewTime missing", shown(row, "unixReviewTime"))
    if isinstance(time, float) and time.is_integer():
        time = int(time)
    if isinstance(time, bool) or not isinstance(time, int):
        return Reject("unixReviewTime not an integer", shown(row, "unixReviewTime"))
    if not 0 < time < END_OF_TIME:
        return Reject("unixReviewTime out of range", shown(row, "unixReviewTime"))
    verified, invalid_fields = row.get("verified"), NO_FIELDS
    if not (verified is None or isinstance(verified, bool)):
        verified, invalid_fields = None, ("verified",)
    return Review(row["reviewerID"].strip(), row["asin"].strip(), float(overall), time, verified, invalid_fields)


def read_metadata(line: bytes, template: str | None = None) -> Metadata | Reject:
    """A row of metadata from a line without its line ending, or why it is rejected."""
    row = read_object(line)
    if isinstance(row, Reject):
        return row
    problem = identity_problem(row, "asin")
    if problem:
        return problem
    texts, invalid = read_texts(row, {name: name for name in ("title", "brand", "main_cat", "price")})
    category = row.get("category")
    if not (category is None or is_list_of_texts(category)):
        invalid.append("category")
        category = None
    image_url = None
    for name in _IMAGE_FIELDS:
        images = row.get(name)
        if isinstance(images, str):
            images = [images]
        if not (images is None or is_list_of_texts(images)):
            invalid.append(name)
        elif images and image_url is None:
            image_url = next((image for image in images if image), None)
    return Metadata(
        row["asin"].strip(),
        **texts,
        category=category,
        image_url=image_url,
        invalid_fields=tuple(invalid),
        item_text=template and filled(template, row),
    )


def add_items(read: Callable[[bytes], Metadata | Reject], lines: list[bytes], columns: dict[str, list]) -> Added:
    """Append what can be read of some lines to the columns of :data:`ml.data.landing.schema.METADATA_SCHEMA`."""
    rejected, kept = [], []
    for index, line in enumerate(lines):
        item = read(line)
        if isinstance(item, Reject):
            rejected.append((index, item))
        else:
            kept.append(item)
    if kept:
        for name, values in zip(Metadata._fields, zip(*kept, strict=True), strict=True):
            columns[name].extend(values)
    return Added(rejected)


def read_texts(row: dict, names: Mapping[str, str]) -> tuple[dict[str, str | None], list[str]]:
    """Optional texts of a row, by column, and the keys that hold something else.

    Args:
        row: the object on a line.
        names: key of the row by column; a number counts as its JSON text in the column ``price`` alone.
    """
    texts, invalid = {}, []
    for column, name in names.items():
        value = row.get(name)
        if column == "price" and is_finite_number(value):
            value = orjson.dumps(value).decode()
        if not (value is None or is_text(value)):
            invalid.append(name)
            value = None
        texts[column] = value
    return texts, invalid
