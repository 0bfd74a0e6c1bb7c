"""The text of an item by a template: ``"{title} {brand} {features} {description}"``, filled from a row of metadata.

The names are the same for all releases of the Amazon metadata. What a row does not say is left out; lists are joined by
spaces, and tables such as ``details`` are written ``name: value``. Markup and entities are cleaned in the warehouse.
"""

from __future__ import annotations

import string
from collections.abc import Mapping

# the keys of each field, of which the first that a row has counts
FIELDS: dict[str, tuple[str, ...]] = {
    "title": ("title",),
    "subtitle": ("subtitle",),
    "brand": ("brand", "store"),
    "main_category": ("main_cat", "main_category"),
    "categories": ("category", "categories"),
    "price": ("price",),
    "features": ("feature", "features"),
    "description": ("description",),
    "details": ("details",),
}
_DEEPEST = 6


def fields_of(template: str) -> tuple[str, ...]:
    """The fields that a template names.

    Raises:
        ValueError: it names a field that is not known, or none, or is no template.
    """
    try:
        parts = list(string.Formatter().parse(template))
    except ValueError as error:
        raise ValueError(f"{template!r} is no template: {error}; write fields as in {{title}}") from error
    names = []
    for _, name, form, conversion in parts:
        if name is None:
            continue
        if name not in FIELDS or form or conversion:
            written = "{" + name + (f"!{conversion}" if conversion else "") + (f":{form}" if form else "") + "}"
            raise ValueError(f"{written} is not known; there are {', '.join('{' + one + '}' for one in FIELDS)}")
        names.append(name)
    if not names:
        raise ValueError(f"{template!r} names no field; there are {', '.join('{' + one + '}' for one in FIELDS)}")
    return tuple(dict.fromkeys(names))


def filled(template: str, row: Mapping[str, object]) -> str | None:
    """The text of a row of metadata; ``None`` where it has none of the fields."""
    values = {}
    for name in fields_of(template):
        found = next((row[key] for key in FIELDS[name] if row.get(key) is not None), None)
        values[name] = " ".join(_texts(found)).strip()
    if not any(values.values()):
        return None
    # halves of surrogate pairs cannot be stored
    return template.format(**values).encode("utf-8", "replace").decode("utf-8")


def _texts(value: object, depth: int = 0) -> list[str]:
    """The texts in a value, in their order."""
    if isinstance(value, str):
        value = value.strip()
        return [value] if value else []
    if isinstance(value, bool) or value is None or depth > _DEEPEST:
        return []
    if isinstance(value, Mapping):
        pairs = ((key, " ".join(_texts(one, depth + 1))) for key, one in value.items())
        return [f"{str(key).strip().rstrip(':')}: {text}" for key, text in pairs if text]
    if isinstance(value, list):
        return [text for one in value for text in _texts(one, depth + 1)]
    return [str(value)]
