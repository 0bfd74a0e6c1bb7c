"""Interactions as JSON lines of any kind: an object each, of which some keys are the user, the item and the time.

The keys are recognised as the columns of a table are (:mod:`ml.data.sources.columns`), or named under ``[columns]`` of
the source; they stand on the first level of the objects. Lines of Python literals, as some data sets are published, are
read as well, without evaluating anything (:mod:`ml.data.sources.literals`).

A user or an item is a text or a whole number, a time and a rating are numbers or texts; what a row must hold is in
:mod:`ml.data.sources.rows`. A key that an object does not have is as good as null.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from types import MappingProxyType

from ml.data.landing.file_lines import LandingError
from ml.data.landing.json_text import is_text, type_name
from ml.data.landing.schema import LANDING_REASONS, Added, FileReading, Reject
from ml.data.sources.columns import ColumnNotFoundError, find_columns
from ml.data.sources.content import JSON_LINES, NOT_LINES, content_of, first_objects, refusal
from ml.data.sources.keep import Keep
from ml.data.sources.literals import read_object
from ml.data.sources.rows import ROW_REASONS, Rows, like_times
from ml.data.sources.table_options import TableOptions

REASONS = (
    *LANDING_REASONS,
    "blank line",
    "invalid UTF-8",
    "malformed JSON",
    "nested too deeply",
    "not an object",
    *(f"{role} of a wrong type" for role in ("user", "item", "timestamp", "rating", "verified")),
    *ROW_REASONS,
)


class JsonLines:
    """Reads the lines of one such file.

    Args:
        path: the file; its first lines are looked at when the first line is read.
        options: what the source says of it; separators, encodings and names by position are for tables.
    """

    reasons = REASONS
    constants = MappingProxyType({"given_split": None})

    def __init__(self, path: Path, options: TableOptions | None = None) -> None:
        self._path = path
        self._options = options or TableOptions()
        self._rows = Rows(self._options)

    @cached_property
    def _objects(self) -> list[dict]:
        return first_objects(self._path)

    @cached_property
    def _keys(self) -> dict[str, str]:
        """The key of each role.

        Raises:
            LandingError: the file holds no objects, or no key is known as the user or the item.
        """
        where = f"{self._path}, the keys of its objects"
        objects, keys = self._objects, self._all_keys
        content = content_of(self._path)
        if content is not None and content.kind in NOT_LINES:
            raise LandingError(refusal(self._path, content, JSON_LINES))
        if not objects:
            raise LandingError(f"{self._path}: none of its first lines is a JSON object; each line has to be one")
        self._refuse_nested(keys)
        options = self._options
        try:
            places = find_columns(keys, options.columns, where, absent=options.absent, unused=options.unused)
        except ColumnNotFoundError as error:
            problem = str(error).removeprefix(f"{where}: ").partition(";")[0]
            raise LandingError(f"{where}: {problem}; {self._remedy(keys)}") from error
        except LandingError as error:
            raise LandingError(str(error).replace('layout = "table"', 'layout = "json_lines"')) from error
        found = {role: keys[place] for role, place in places.items()}
        for role, key in found.items():
            self._refuse_objects(role, key)
        if "timestamp" in found:
            texts = [_text(one.get(found["timestamp"])) for one in objects]
            wrong = self._rows.timestamps.learn([text for text in texts if text is not None])
            if wrong:
                raise LandingError(f"{self._path}: the key {found['timestamp']!r}, taken as the time, {wrong}")
        return found

    @cached_property
    def _keep(self) -> Keep:
        return Keep(self._options.keep, self._all_keys, f"{self._path}, the keys of its objects")

    @cached_property
    def _all_keys(self) -> list[str]:
        return list(dict.fromkeys(str(key) for one in self._objects for key in one))

    def _refuse_nested(self, keys: Sequence[str]) -> None:
        for role, name in self._options.columns.items():
            parent = name.partition(".")[0]
            if name not in keys and any(isinstance(one.get(parent), dict | list) for one in self._objects):
                raise LandingError(
                    f"{self._path}: the key {name!r}, given for the {role}, lies inside {parent!r}, and keys of the "
                    f"first level only are read; lift it out, for instance with jq -c '. + {{\"{role}\": .{name}}}' "
                    f"{self._path.name} > flat.jsonl"
                )

    def _refuse_objects(self, role: str, key: str) -> None:
        """Refuse a key that holds an object or an array in every line."""
        values = [one[key] for one in self._objects if one.get(key) is not None]
        if not values or not all(isinstance(value, dict | list) for value in values):
            return
        said = f"{self._path}: the key {key!r}, taken as the {role}, holds"
        single = (name for value in values if isinstance(value, dict) for name, part in value.items() if _text(part))
        inside = next(single, None)
        if inside is None:
            raise LandingError(f"{said} lists; write one line per interaction, with a single value under {key!r}")
        raise LandingError(
            f"{said} objects, and keys of the first level only are read; lift a value out, for instance with "
            f"jq -c '.[{json.dumps(key)}] = .[{json.dumps(key)}][{json.dumps(inside)}]' {self._path.name} > flat.jsonl"
        )

    def _remedy(self, keys: Sequence[str]) -> str:
        """The remedy where no key is recognised as the user or the item."""
        for key in keys:
            inner = [one[key] for one in self._objects if isinstance(one.get(key), dict)]
            names = list(dict.fromkeys(str(name) for one in inner for name in one))
            try:
                find_columns(names, {}, "")
            except LandingError:
                continue
            return (
                f"they lie inside {key!r}, and keys of the first level only are read; lift them out, for instance with "
                f"jq -c '.[{json.dumps(key)}]' {self._path.name} > flat.jsonl"
            )
        there = f"there are {', '.join(map(repr, keys[:20]))}" if keys else "there is none"
        roles = 'user = "<key>" and item = "<key>" under [columns] of source.toml'
        return f"{there}; say {roles} (keys of the first level only)"

    def add(self, lines: list[bytes], columns: dict[str, list]) -> Added:
        """See :meth:`ml.data.landing.schema.LineReader.add`.

        Raises:
            LandingError: the file holds no objects, or no key is known as the user or the item.
        """
        keys, keep = self._keys, self._keep
        rejected: list[tuple[int, Reject]] = []
        skipped: list[int] = []
        texts: list[Mapping[str, str]] = []
        for index, line in enumerate(lines):
            row = read_object(line)
            if isinstance(row, Reject):
                rejected.append((index, row))
                continue
            if keep and not all(keep.is_kept({name: [_text(row.get(name)) or ""] for name in keep.places}, 1)):
                skipped.append(index)
                continue
            found = {}
            for role, key in keys.items():
                text = _text(row.get(key))
                if text is None or (isinstance(row.get(key), bool) and role in ("user", "item")):
                    rejected.append((index, Reject(f"{role} of a wrong type", f"{key}: a JSON {type_name(row[key])}")))
                    break
                found[role] = text
            else:
                texts.append(found)
                continue
        gone = {*skipped, *(index for index, _ in rejected)}
        if texts and not self._rows.add_all({role: [row[role] for row in texts] for role in keys}, columns):
            left = (index for index in range(len(lines)) if index not in gone)
            for index, text_of in zip(left, texts, strict=True):
                problem = self._rows.add(text_of, columns)
                if problem is not None:
                    rejected.append((index, problem))
            rejected.sort(key=lambda one: one[0])
        return Added(rejected, skipped)

    @property
    def left_out(self) -> int:
        """See :class:`ml.data.landing.schema.LineReader`."""
        return self._keep.left_out

    def reading(self) -> FileReading:
        """See :class:`ml.data.landing.schema.LineReader`."""
        keys = self._keys
        unused = tuple(key for key in self._all_keys if key not in {*keys.values(), *self._keep.places})
        values = {key: [_text(one.get(key)) or "" for one in self._objects if one.get(key)] for key in unused}
        return FileReading(
            columns=dict(keys),
            unused_columns=unused,
            time_unit=self._rows.timestamps.unit if "timestamp" in keys else None,
            order="time" if "timestamp" in keys else "position",
            warnings=(
                *self._rows.warnings(keys, like_times(unused, values)),
                *self._keep.warnings(self._rows.count > 0),
            ),
        )


def _text(value: object) -> str | None:
    """A value as the text of a table; null as an empty one, and ``None`` for what is no single value."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value)
    if isinstance(value, int | float):
        return repr(value)
    return value if isinstance(value, str) and is_text(value) else None
