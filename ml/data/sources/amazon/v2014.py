"""Metadata of the 2014 release: lines that hold a Python dictionary each (:mod:`ml.data.sources.literals`).

The layout is that of Amazon product data (2014): McAuley, Targett, Shi and van den Hengel, "Image-based recommendations
on styles and substitutes", SIGIR 2015. A line needs ``asin`` as in :mod:`ml.data.sources.amazon.v2018`, and may
have ``title``, ``brand`` (strings), ``price`` (a number, kept as its JSON text, or a string), ``categories`` (a list of
paths in the category tree, each a list of strings, of which the first is kept) and ``imUrl`` (a string). There is no
main category. The reviews of this release are read as those of 2018
(:class:`ml.data.sources.amazon.v2018.ReviewLines`).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from ml.data.landing.json_text import (
    fields_reading,
    identity_problem,
    is_list_of_texts,
    is_text,
    type_name,
    why_unreadable,
)
from ml.data.landing.schema import LANDING_REASONS, Added, FileReading, Reject
from ml.data.sources.amazon.v2018 import Metadata, add_items, read_texts
from ml.data.sources.item_template import filled
from ml.data.sources.literals import read_literal

REASONS = (
    *LANDING_REASONS,
    "blank line",
    "invalid UTF-8",
    "malformed literal",
    "nested too deeply",
    "not an object",
    "asin missing",
    "asin not a string",
    "asin with control characters",
)

_FIELDS = {
    "item": "asin",
    "title": "title",
    "brand": "brand",
    "price": "price",
    "category": "categories",
    "image_url": "imUrl",
}
_TEXTS = {"title": "title", "brand": "brand", "price": "price"}


class Metadata2014Lines:
    """Reads such metadata, as :func:`read_metadata_2014` each line."""

    reasons = REASONS
    reads_each_line_alone = True

    def __init__(self, keys: Sequence[str] = (), warnings: Sequence[str] = (), template: str | None = None) -> None:
        """Keys of the first objects of the file, and warnings, for :meth:`reading`; a template of the item text."""
        self._keys, self._warnings, self._template = keys, warnings, template

    def add(self, lines: list[bytes], columns: dict[str, list]) -> Added:
        """See :meth:`ml.data.landing.schema.LineReader.add`."""
        return add_items(partial(read_metadata_2014, template=self._template), lines, columns)

    def reading(self) -> FileReading:
        """See :class:`ml.data.landing.schema.LineReader`."""
        return fields_reading(_FIELDS, self._keys, None, self._warnings)


def read_metadata_2014(line: bytes, template: str | None = None) -> Metadata | Reject:
    """A row of metadata from a line without its line ending, or why it is rejected."""
    try:
        row = read_literal(line)
    except ValueError as error:
        return why_unreadable(line, error, "malformed literal")
    if not isinstance(row, dict):
        return Reject("not an object", f"a {type_name(row)}")
    problem = identity_problem(row, "asin")
    if problem:
        return problem
    texts, invalid = read_texts(row, _TEXTS)
    paths, category = row.get("categories"), None
    if isinstance(paths, list) and all(map(is_list_of_texts, paths)):
        category = paths[0] if paths else []
    elif paths is not None:
        invalid.append("categories")
    image_url = row.get("imUrl")
    if not (image_url is None or is_text(image_url)):
        invalid.append("imUrl")
        image_url = None
    return Metadata(
        item_id=row["asin"].strip(),
        main_cat=None,
        category=category,
        image_url=image_url or None,
        invalid_fields=tuple(invalid),
        item_text=template and filled(template, row),
        **texts,
    )
