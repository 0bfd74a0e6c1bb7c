"""Columns that stand in the names of folders, as Hive and Spark write them: ``shop/day=2020-01-31/part-0.parquet``."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING
from urllib.parse import unquote

from ml.data.landing.file_lines import LandingError
from ml.data.landing.schema import Added, FileReading, LineReader, Reject, SourceFile
from ml.data.sources.columns import ColumnNotFoundError, find_columns
from ml.data.sources.table_options import TableOptions
from ml.data.sources.time_format import TimeFormat
from ml.data.sources.timestamps import Timestamps

if TYPE_CHECKING:
    from ml.data.sources.table import TableLines

_NULL = "__HIVE_DEFAULT_PARTITION__"
_CALENDAR = ("year", "month", "day", "hour")
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}|[0-9]{8}")
_HOURS = ("hour", "hr", "hh", "h")
_AND_HOURS = tuple(f"/{hour}" for hour in _HOURS)


def partition_columns(name: str) -> dict[str, str]:
    """Value by column of the folders in a file's name, in their order; a null is an empty text.

    Folders for year, month, day and hour are one column more, named after them all: ``year/month/day``.
    """
    values = {}
    for part in PurePosixPath(name).parts[:-1]:
        column, sign, value = part.partition("=")
        if sign and column:
            values[unquote(column)] = "" if value == _NULL else unquote(value)
    lower = {column.lower(): column for column in values}
    parts = [lower[unit] for unit in _CALENDAR if unit in lower]
    if len(parts) > 1 and [column.lower() for column in parts] == list(_CALENDAR[: len(parts)]):
        numbers = [values[column] for column in parts]
        if all(number.isascii() and number.isdigit() for number in numbers):
            year, month, day, hour = (*map(int, numbers), *(1, 0)[len(numbers) - 2 :])
            values = {column: value for column, value in values.items() if column not in parts}
            values["/".join(parts)] = f"{year:04}-{month:02}-{day:02}T{hour:02}:00:00"
    return _with_hours(values)


def _with_hours(values: dict[str, str]) -> dict[str, str]:
    """The same with a day and an hour that stand in folders of their own as one column, ``date/hour``."""
    day = next((column for column, value in values.items() if _DAY.fullmatch(value)), None)
    hour = next((column for column in values if column.lower() in _HOURS), None)
    if day is None or hour is None or not re.fullmatch(r"[0-9]{1,2}", values[hour]) or int(values[hour]) > 23:
        return values
    digits = values[day].replace("-", "")
    moment = f"{digits[:4]}-{digits[4:6]}-{digits[6:]}T{int(values[hour]):02}:00:00"
    return {column: value for column, value in values.items() if column not in (day, hour)} | {f"{day}/{hour}": moment}


def known_as_time(columns: Mapping[str, str], options: TableOptions, where: str) -> str | None:
    """The column of a partition that is the time, by its name or as the source says, or ``None``."""
    if "timestamp" in options.absent:
        return None
    configured = options.columns.get("timestamp")
    if configured is not None:
        return configured if configured in columns else None
    calendar = next((column for column in columns if column.lower().startswith("year/")), None)
    calendar = calendar or next((column for column in columns if column.lower().endswith(_AND_HOURS)), None)
    if calendar is not None:
        return calendar
    names = [column for column in columns if column not in options.unused]
    try:
        places = find_columns([*names, "user", "item"], {"user": "user", "item": "item"}, where)
    except LandingError:
        return None
    place = places.get("timestamp")
    return names[place] if place is not None and place < len(names) else None


def roles_with_folders(
    path: Path, in_file: Sequence[str], options: TableOptions, folders: Mapping[str, str]
) -> tuple[dict[str, int], dict[str, str]]:
    """Place and name of the column of each role in a Parquet file; those of folders stand behind those of the file.

    A column of the file counts more than a folder, unless the source names the folder.

    Raises:
        LandingError: as :func:`ml.data.sources.columns.find_columns`.
    """
    where = f"{path}, its columns"
    extra = [column for column in folders if column not in in_file]
    known = [*in_file, *extra]
    named = set(options.columns.values())
    times = known_as_time({column: folders[column] for column in extra}, options, where)
    try:
        # a folder that is known by its name is asked only where the file has no such column
        unused = (*options.unused, *(column for column in extra if column not in named))
        places = find_columns(known, options.columns, where, absent=options.absent, unused=unused)
    except ColumnNotFoundError:
        places = find_columns(known, options.columns, where, absent=options.absent, unused=options.unused)
    if "timestamp" not in places and times is not None:
        places["timestamp"] = known.index(times)
    return places, {role: known[place] for role, place in places.items()}


def without_partitions(options: TableOptions, columns: Mapping[str, str], where: str) -> TableOptions:
    """The options that concern the file itself.

    Raises:
        LandingError: the user, the item, the rating or the verification stands in the name of a folder of text.
    """
    for role, name in options.columns.items():
        if name in columns and role != "timestamp":
            raise LandingError(
                f"{where}: the {role} {name!r} stands in the names of folders, which is read of Parquet only; write "
                "the table as Parquet, or the column into the files"
            )
    own = {role: name for role, name in options.columns.items() if name not in columns}
    # a time of the file must not count where the source names a folder
    absent = options.absent if len(own) == len(options.columns) else (*options.absent, "timestamp")
    return replace(options, columns=own, absent=absent)


def table_reader(file: SourceFile, options: TableOptions) -> LineReader:
    """The reader of a file of text, with the columns in the names of its folders, where there are any.

    Raises:
        LandingError: as :func:`without_partitions` and :class:`PartitionedLines`.
    """
    from ml.data.sources.table import TableLines

    columns = partition_columns(file.name)
    if not columns:
        return TableLines(file.path, options)
    where = str(file.path)
    time = known_as_time(columns, options, where)
    own = without_partitions(options, columns, where)
    return PartitionedLines(TableLines(file.path, own), columns, time, options, where)


class PartitionedLines:
    """A reader of the lines of a table in folders that are named after values of columns.

    A time in the name of a folder is that of every row, where the file has no time of its own.

    Args:
        reader: of the lines alone, a :class:`ml.data.sources.table.TableLines`.
        columns: as :func:`partition_columns` gives them.
        time: which of them is the time, or ``None``.
        options: what the source says of the table.
        where: the file, for errors.

    Raises:
        LandingError: the time cannot be read.
    """

    def __init__(
        self, reader: TableLines, columns: Mapping[str, str], time: str | None, options: TableOptions, where: str
    ) -> None:
        self.reasons = reader.reasons
        self.constants = reader.constants
        self._reader = reader
        self._columns = dict(columns)
        self._time = time
        self._timestamps = Timestamps(TimeFormat(options.time_format) if options.time_format else None)
        self._milliseconds = 0
        if time is not None:
            problem = self._timestamps.learn([columns[time]])
            if problem:
                raise LandingError(f"{where}: {time}={columns[time]} in the names of its folders {problem}")
            milliseconds = self._timestamps.read(columns[time])
            if isinstance(milliseconds, Reject):
                raise LandingError(
                    f"{where}: {time}={columns[time]!r} in the names of its folders is no time; "
                    "rename the folder, or leave the time out: timestamp = false under [columns] of source.toml"
                )
            self._milliseconds = milliseconds

    @property
    def left_out(self) -> int:
        """See :class:`ml.data.landing.schema.LineReader`."""
        return self._reader.left_out

    def add(self, lines: list[bytes], columns: dict[str, list]) -> Added:
        """See :meth:`ml.data.landing.schema.LineReader.add`."""
        before = len(columns["timestamp"])
        added = self._reader.add(lines, columns)
        self._put_time(columns, before)
        return added

    def add_whole_records(self, lines: list[bytes], columns: dict[str, list]) -> tuple[Added, int]:
        """See :class:`ml.data.landing.schema.LineReader`."""
        before = len(columns["timestamp"])
        added, used = self._reader.add_whole_records(lines, columns)
        self._put_time(columns, before)
        return added, used

    def reading(self) -> FileReading:
        """The interpretation of the file."""
        return describe_partitions(self._reader.reading(), self._columns, self._time, self._timestamps.unit)

    def _put_time(self, columns: dict[str, list], before: int) -> None:
        count = len(columns["timestamp"]) - before
        if self._time is None or not count or columns["timestamp"][before] is not None:
            return
        seconds, fraction = divmod(self._milliseconds, 1000)
        columns["timestamp"][before:] = [seconds] * count
        columns["millisecond"][before:] = [fraction] * count
        columns["given_position"][before:] = [0] * count


def describe_partitions(
    reading: FileReading, columns: Mapping[str, str], time: str | None, unit: str | None
) -> FileReading:
    """The interpretation of a file together with the columns in its folder names."""
    from ml.data.sources.rows import NO_TIME

    if time is None or "timestamp" in reading.columns:
        named = tuple(f"{column} (folder)" for column in columns)
        return replace(reading, unused_columns=reading.unused_columns + named)
    others = tuple(f"{column} (folder)" for column in columns if column != time)
    return replace(
        reading,
        columns={**reading.columns, "timestamp": f"{time} (folder)"},
        unused_columns=reading.unused_columns + others,
        time_unit=unit,
        order="time",
        warnings=tuple(text for text in reading.warnings if not text.startswith(NO_TIME)),
    )
