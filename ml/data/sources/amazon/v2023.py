"""Reviews and metadata of the 2023 release: JSON lines.

The layout is that of Amazon Reviews 2023: Hou, Li, He, Yan, Chen and McAuley, "Bridging language and items for
retrieval and recommendation", 2024. JSON and identities are read as in :mod:`ml.data.sources.amazon.v2018`.

A review needs ``user_id``, ``parent_asin`` (or, where that is missing, ``asin``), ``rating`` (a number from 1 to 5) and
``timestamp``, whole milliseconds since 1970 before 2100; a number below 100,000,000,000 is taken for seconds, and
rejected. It may have ``verified_purchase``, a boolean.

Metadata needs ``parent_asin`` (or ``asin``), and may have ``title``, ``store`` (landed as brand), ``main_category``
(strings), ``price`` (a number, kept as its JSON text, or a string), ``categories`` (a list of strings), and ``images``
(a list of objects with addresses under ``hi_res``, ``large`` and ``thumb``; the first of the highest resolution is
kept).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from types import MappingProxyType
from typing import NamedTuple

import orjson

from ml.data.landing.json_text import (
    LEAST_DEEP_BYTES,
    fields_reading,
    identity_problem,
    is_list_of_texts,
    is_text,
    may_be_nested_deeply,
    shown,
)
from ml.data.landing.schema import END_OF_TIME, Added, FileReading, Reject
from ml.data.sources.amazon.v2018 import LINE_REASONS, NO_FIELDS, Metadata, add_items, read_texts
from ml.data.sources.item_template import filled
from ml.data.sources.literals import read_object
from ml.data.sources.timestamps import LEAST_MILLISECONDS

_ITEM_REASONS = tuple(
    f"{name} {problem}"
    for name in ("parent_asin", "asin")
    for problem in ("missing", "not a string", "with control characters")
)
REVIEW_REASONS = (
    *LINE_REASONS,
    "user_id missing",
    "user_id not a string",
    "user_id with control characters",
    *_ITEM_REASONS,
    "rating missing",
    "rating not a number",
    "rating out of range",
    "timestamp missing",
    "timestamp not an integer",
    "timestamp out of range",
)
METADATA_REASONS = (*LINE_REASONS, *_ITEM_REASONS)

_REVIEW_FIELDS = {
    "user": "user_id",
    "item": ("parent_asin", "asin"),
    "timestamp": "timestamp",
    "rating": "rating",
    "verified": "verified_purchase",
}
_ITEM_FIELDS = {
    "item": ("parent_asin", "asin"),
    "title": "title",
    "brand": "store",
    "main_cat": "main_category",
    "price": "price",
    "category": "categories",
    "image_url": "images",
}
_TEXTS = {"title": "title", "brand": "store", "main_cat": "main_category", "price": "price"}
_RESOLUTIONS = ("hi_res", "large", "thumb")


class Review2023(NamedTuple):
    """A kept review: ``milliseconds`` since 1970, ``verified`` null where absent or of a wrong type."""

    user_id: str
    item_id: str
    rating: float
    milliseconds: int
    verified: bool | None
    invalid_fields: tuple[str, ...]


class Review2023Lines:
    """Reads such reviews, as :func:`read_review_2023` each line; nearly all of them pass a short test."""

    reasons = REVIEW_REASONS
    reads_each_line_alone = True
    constants = MappingProxyType({"given_position": 0, "given_split": None})

    def __init__(self, keys: Sequence[str] = (), warnings: Sequence[str] = ()) -> None:
        """Keys of the first objects of the file, and warnings, for :meth:`reading`."""
        self._keys, self._warnings = keys, warnings

    def add(self, lines: list[bytes], columns: dict[str, list]) -> Added:
        """See :meth:`ml.data.landing.schema.LineReader.add`."""
        rejected = []
        loads = orjson.loads
        add_user, add_item = columns["user_id"].append, columns["item_id"].append
        add_rating, add_verified = columns["rating"].append, columns["verified"].append
        add_second, add_millisecond = columns["timestamp"].append, columns["millisecond"].append
        add_invalid = columns["invalid_fields"].append
        for index, line in enumerate(lines):
            try:
                row = loads(line)
                user, item = row["user_id"], row["parent_asin"]
                rating, time, verified = row["rating"], row["timestamp"], row.get("verified_purchase")
                plain = (
                    user.isalnum()
                    and item.isalnum()
                    and 1 <= rating <= 5
                    and rating is not True
                    and type(time) is int
                    and LEAST_MILLISECONDS <= time < END_OF_TIME * 1000
                    and (verified is True or verified is False or verified is None)
                    and not (len(line) >= LEAST_DEEP_BYTES and may_be_nested_deeply(line))
                )
            except (ValueError, TypeError, KeyError, AttributeError):
                plain = False
            invalid_fields = NO_FIELDS
            if not plain:
                review = read_review_2023(line)
                if isinstance(review, Reject):
                    rejected.append((index, review))
                    continue
                user, item, rating, time, verified, invalid_fields = review
            add_user(user)
            add_item(item)
            add_rating(rating)
            add_second(time // 1000)
            add_millisecond(time % 1000)
            add_verified(verified)
            add_invalid(invalid_fields)
        return Added(rejected)

    def reading(self) -> FileReading:
        """See :class:`ml.data.landing.schema.LineReader`."""
        return fields_reading(_REVIEW_FIELDS, self._keys, "milliseconds", self._warnings)


class Metadata2023Lines:
    """Reads such metadata, as :func:`read_metadata_2023` each line."""

    reasons = METADATA_REASONS
    reads_each_line_alone = True

    def __init__(self, keys: Sequence[str] = (), warnings: Sequence[str] = (), template: str | None = None) -> None:
        """Keys of the first objects of the file, and warnings, for :meth:`reading`; a template of the item text."""
        self._keys, self._warnings, self._template = keys, warnings, template

    def add(self, lines: list[bytes], columns: dict[str, list]) -> Added:
        """See :meth:`ml.data.landing.schema.LineReader.add`."""
        return add_items(partial(read_metadata_2023, template=self._template), lines, columns)

    def reading(self) -> FileReading:
        """See :class:`ml.data.landing.schema.LineReader`."""
        return fields_reading(_ITEM_FIELDS, self._keys, None, self._warnings)


def read_review_2023(line: bytes) -> Review2023 | Reject:
    """A review from a line without its line ending, or why it is rejected."""
    row = read_object(line)
    if isinstance(row, Reject):
        return row
    item_name = _item_name(row)
    problem = identity_problem(row, "user_id") or identity_problem(row, item_name)
    if problem:
        return problem
    rating, time = row.get("rating"), row.get("timestamp")
    if rating is None:
        return Reject("rating missing", shown(row, "rating"))
    if isinstance(rating, bool) or not isinstance(rating, int | float):
        return Reject("rating not a number", shown(row, "rating"))
    if not 1 <= rating <= 5:
        return Reject("rating out of range", shown(row, "rating"))
    if time is None:
        return Reject("timestamp missing", shown(row, "timestamp"))
    if isinstance(time, float) and time.is_integer():
        time = int(time)
    if isinstance(time, bool) or not isinstance(time, int):
        return Reject("timestamp not an integer", shown(row, "timestamp"))
    if not LEAST_MILLISECONDS <= time < END_OF_TIME * 1000:
        return Reject("timestamp out of range", f"{shown(row, 'timestamp')} milliseconds")
    verified, invalid_fields = row.get("verified_purchase"), NO_FIELDS
    if not (verified is None or isinstance(verified, bool)):
        verified, invalid_fields = None, ("verified_purchase",)
    return Review2023(row["user_id"].strip(), row[item_name].strip(), float(rating), time, verified, invalid_fields)


def read_metadata_2023(line: bytes, template: str | None = None) -> Metadata | Reject:
    """A row of metadata from a line without its line ending, or why it is rejected."""
    row = read_object(line)
    if isinstance(row, Reject):
        return row
    item_name = _item_name(row)
    problem = identity_problem(row, item_name)
    if problem:
        return problem
    texts, invalid = read_texts(row, _TEXTS)
    category = row.get("categories")
    if not (category is None or is_list_of_texts(category)):
        invalid.append("categories")
        category = None
    images = row.get("images")
    if not (images is None or _is_list_of_images(images)):
        invalid.append("images")
        images = None
    addresses = (image.get(name) for name in _RESOLUTIONS for image in images or ())
    return Metadata(
        item_id=row[item_name].strip(),
        category=category,
        image_url=next((address for address in addresses if address), None),
        invalid_fields=tuple(invalid),
        item_text=template and filled(template, row),
        **texts,
    )


def _item_name(row: dict) -> str:
    """The key under which a row names its item."""
    parent = row.get("parent_asin")
    is_absent = parent is None or (isinstance(parent, str) and not parent.strip())
    return "asin" if is_absent and row.get("asin") is not None else "parent_asin"


def _is_list_of_images(value: object) -> bool:
    return isinstance(value, list) and all(
        isinstance(image, dict) and all(image.get(name) is None or is_text(image[name]) for name in _RESOLUTIONS)
        for image in value
    )
