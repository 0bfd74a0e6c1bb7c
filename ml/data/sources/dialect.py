"""The dialect of a text table: separator, quoting and header.

All of it is decided from the first lines of a file, so that it does not depend on how the file is read further on.
"""

from __future__ import annotations

import csv
import re
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from ml.data.landing.file_lines import FileLines, LandingError
from ml.data.sources.columns import ColumnNotFoundError, find_columns
from ml.data.sources.names import without_compression
from ml.data.sources.quoting import BACKSLASH, DOUBLED, NONE, Quoting
from ml.data.sources.table_options import TableOptions

SAMPLE_LINES = 1000
SEPARATORS = (",", ";", "\t", "|", "::", " ")
SEPARATOR_NAMES = {",": "comma", ";": "semicolon", "\t": "tab", "|": "pipe", " ": "space"}

_EXCEL_LINE = re.compile(r'"?sep=(.+?)"?\s*', re.IGNORECASE)
_DATA = re.compile(r"[+-]?[0-9][0-9.,eE:/ TZ+-]*")
_BETWEEN_WORDS = re.compile(r"[^\w\s\"'.-]+|[\x00-\x08\x0b-\x1f]+")
_LOOKED_AT_IN_FRONT = 20


@dataclass(frozen=True)
class Dialect:
    """The dialect of one file.

    Attributes:
        quoting: how its fields are separated and quoted.
        names: of its columns.
        places: place of the column of each role among them.
        first_lines: lines in front of the first row.
        sample: fields of the first rows, for what is decided from values.
        quotes_seen: whether the sample holds a quote.
    """

    quoting: Quoting
    names: tuple[str, ...]
    places: dict[str, int]
    first_lines: int
    sample: tuple[tuple[str, ...], ...]
    quotes_seen: bool

    @property
    def described(self) -> str:
        """The separator and the quoting in words."""
        separator = SEPARATOR_NAMES.get(self.quoting.separator, self.quoting.separator)
        if self.quoting.style == BACKSLASH:
            return f"{separator}, quotes escaped by backslashes"
        return (
            f"{separator}, quotes are part of the text"
            if self.quotes_seen and self.quoting.style == NONE
            else separator
        )


def find_dialect(path: Path, options: TableOptions) -> Dialect:
    """Detect the dialect of a file.

    Raises:
        LandingError: the line of names is not UTF-8, or does not name a user and an item; there is no such line.
    """
    head, is_whole = _head(path)
    first = next((index for index, line in enumerate(head) if line.strip()), 0)
    separators: tuple[str, ...] = (
        SEPARATORS if without_compression(path.name.lower()).endswith(".csv") else ("\t", *SEPARATORS)
    )
    if head and options.encoding:
        head = recoded(head, options.encoding)
    elif head and head[first].lstrip().startswith((b"{", b"[{")):
        raise LandingError(
            f"{path}, line {first + 1} is JSON, not a line of names; give the file the ending .jsonl, and describe it "
            'in source.toml: layout = "json_lines"'
        )
    if head and (excel := _EXCEL_LINE.fullmatch(head[first].decode("latin-1"))):
        separators = (excel[1].replace("\\t", "\t"),)
        first += 1
    if options.separator:
        separators = (options.separator,)
    separators = tuple(dict.fromkeys(separators))
    lines = head[first:]
    quotings = [Quoting(separator, _style(separator, lines, is_whole)) for separator in separators]
    where = f"{path}, line {first + 1}"
    if options.names:
        return _without_names(path, options, quotings, lines, first)
    _check_text(lines, where)
    found: list[tuple[tuple, Dialect]] = []
    errors: list[tuple[int, LandingError]] = []
    for quoting in quotings:
        names, length = _names(quoting, lines)
        try:
            places = find_columns(names, options.columns, where, absent=options.absent, unused=options.unused)
        except LandingError as error:
            errors.append((len(names), error))
            continue
        dialect = _dialect(quoting, names, places, lines[length:], first + length)
        fitting = sum(len(fields) == len(names) for fields in dialect.sample)
        found.append(((fitting, len(names)), dialect))
    if found:
        dialect = max(found, key=lambda candidate: candidate[0])[1]
        _check_lengths(path, dialect, first)
        return dialect
    if all(isinstance(error, ColumnNotFoundError) for _, error in errors):
        _refuse_separator(path, options, lines, first)
        _refuse_lines_in_front(path, quotings, options, lines, first)
        _refuse_data(path, quotings, lines, first)
    certain = [error for error in errors if not isinstance(error[1], ColumnNotFoundError)]
    raise max(certain or errors, key=lambda error: error[0])[1]


def recoded(lines: list[bytes], encoding: str) -> list[bytes]:
    """Lines of another encoding in UTF-8; one that is not of the encoding stays as it is, and is a reject."""
    found = []
    for line in lines:
        try:
            found.append(line.decode(encoding).encode())
        except UnicodeDecodeError:
            # what is no UTF-8 in any case
            found.append(b"\xff" + line)
    return found


def _head(path: Path) -> tuple[list[bytes], bool]:
    """The first lines of a file, and whether they are all."""
    lines: list[bytes] = []
    with closing(iter(FileLines(path))) as blocks:
        for block in blocks:
            if block.long_line_bytes is not None or block.cut_short:
                return lines, False
            lines += block.lines
            if len(lines) > SAMPLE_LINES:
                return lines[:SAMPLE_LINES], False
    return lines, True


def _check_text(lines: list[bytes], where: str) -> None:
    try:
        text = lines[0].decode("utf-8") if lines else ""
    except UnicodeDecodeError as error:
        raise LandingError(
            f"{where} is not UTF-8 text ({error.reason} at byte {error.start}); save the file as UTF-8, or say what it "
            'is, as in encoding = "cp1252" in source.toml'
        ) from error
    if not text.strip("\ufeff \t"):
        raise LandingError(f"{where} holds no names of columns, and no line does; write or download it again")
    if "\r" in text:
        raise LandingError(f"{where} holds line ends of old Macs (\\r); save the file with line feeds (\\n)")


def _style(separator: str, lines: list[bytes], is_whole: bool) -> str:
    """Detect the quoting from the first lines; tab-separated files mostly have none, all others do."""
    if len(separator) > 1:
        return NONE
    default = NONE if separator == "\t" else DOUBLED
    if not any(b'"' in line for line in lines):
        return default
    fits = {style: _fits(Quoting(separator, style), lines, is_whole) for style in (DOUBLED, BACKSLASH)}
    if fits[DOUBLED]:
        return DOUBLED
    has_escapes = any(b'\\"' in line for line in lines)
    return BACKSLASH if has_escapes and fits[BACKSLASH] else default


def _fits(quoting: Quoting, lines: list[bytes], is_whole: bool) -> bool:
    """Whether all records of the first lines are sound under a style; the last may be cut off."""
    index = 0
    while index < len(lines):
        length = quoting.record_length(lines, index)
        if length is None:
            return not is_whole
        try:
            quoting.fields(_text(lines[index : index + length]))
        except csv.Error:
            return False
        index += length
    return True


def _text(lines: list[bytes]) -> str:
    return b"\n".join(lines).decode("utf-8", "replace")


def _names(quoting: Quoting, lines: list[bytes]) -> tuple[tuple[str, ...], int]:
    """The names in the first record, and the lines that it takes."""
    if not lines:
        return (), 0
    length = quoting.record_length(lines, 0) or 1
    try:
        names = quoting.fields(_text(lines[:length]))
    except csv.Error:
        names = _text(lines[:1]).split(quoting.separator)
    names = [name.strip() for name in names]
    # a comment sign in front of the names, as in files made for gnuplot or numpy
    names[0] = names[0].lstrip("\ufeff#").strip()
    return tuple(names), length


def _dialect(
    quoting: Quoting, names: tuple[str, ...], places: dict[str, int], rows: list[bytes], first_lines: int
) -> Dialect:
    sample = []
    index = 0
    while index < len(rows):
        length = quoting.record_length(rows, index)
        if length is None:
            index += 1
            continue
        try:
            fields = quoting.fields(_text(rows[index : index + length]))
        except csv.Error:
            fields = []
        if any(fields) and fields != list(names):
            sample.append(tuple(fields))
        index += length
    return Dialect(quoting, names, places, first_lines, tuple(sample), any(b'"' in row for row in rows))


def _without_names(
    path: Path, options: TableOptions, quotings: list[Quoting], lines: list[bytes], first: int
) -> Dialect:
    """The dialect of a file whose columns the source names; it may have a line of the same names all the same."""
    names = options.names
    where = f"{path}, columns"
    places = find_columns(names, options.columns, where, absent=options.absent, unused=options.unused)
    candidates = []
    for quoting in quotings:
        header, length = _names(quoting, lines)
        has_names = _has_names(header, names)
        dialect = _dialect(quoting, names, places, lines[length:] if has_names else lines, first + length * has_names)
        candidates.append((sum(len(fields) == len(names) for fields in dialect.sample), dialect))
    fitting, dialect = max(candidates, key=lambda candidate: candidate[0])
    if not fitting and dialect.sample:
        counts = {len(fields) for _, dialect in candidates for fields in dialect.sample[:1]}
        raise LandingError(
            f"{path}, line {first + 1}: columns in the description of the source names {len(names)} columns, and the "
            f"line has {' or '.join(map(str, sorted(counts)))}; correct columns, or say what separates the "
            "fields, as in "
            'separator = ","'
        )
    return dialect


def _has_names(header: tuple[str, ...], names: tuple[str, ...]) -> bool:
    """Whether the first record of a file whose columns the source names is a line of names all the same."""
    if len(header) != len(names):
        return False
    # the names of the source have the place behind them, where it makes two columns of one name distinct
    same = (
        name.lower() in (field.lower(), f"{field}_{place}".lower())
        for place, (field, name) in enumerate(zip(header, names, strict=True), 1)
    )
    if all(same):
        return True
    try:
        find_columns(header, {}, "")
    except ColumnNotFoundError:
        return False
    except LandingError:
        # two of one name, which is a reason to name the columns by position
        return True
    return True


def _check_lengths(path: Path, dialect: Dialect, first: int) -> None:
    """Refuse a file whose rows all have one field more or fewer than there are names."""
    lengths = {len(fields) for fields in dialect.sample}
    if len(lengths) != 1 or len(dialect.names) in lengths:
        return
    (length,) = lengths
    names = list(dialect.names)
    if length > len(names):
        ends_empty = all(not fields[-1].strip() for fields in dialect.sample)
        names = [*names, "unused"] if ends_empty else ["index", *names]
        names += [f"column_{place + 1}" for place in range(len(names), length)]
    listed = ", ".join(f'"{name}"' for name in names[:length])
    raise LandingError(
        f"{path}, line {first + 1} names {len(dialect.names)} columns, and the lines below it have {length} fields "
        "each; correct the line of names, or name all columns by their position in source.toml, as in "
        f'layout = "table" and columns = [{listed}]'
    )


def _refuse_separator(path: Path, options: TableOptions, lines: list[bytes], first: int) -> None:
    """Refuse a header whose separator differs from the detected or stated one."""
    text = _text(lines[:1]).strip()
    where = f"{path}, line {first + 1}"
    if len(text) > 2 and text[0] == text[-1] == '"' and any(sign in text for sign in ",;\t|") and '","' not in text:
        raise LandingError(
            f"{where} stands in quotes as a whole; take the quotes at both ends of each line away, for instance with "
            f"sed -i 's/^\"//; s/\"$//' {path.name}"
        )
    for separator in dict.fromkeys(_BETWEEN_WORDS.findall(text)):
        if separator == options.separator or (separator in SEPARATORS and options.separator is None):
            continue
        names = [name.strip("\"' ") for name in text.split(separator)]
        try:
            find_columns(names, options.columns, where, absent=options.absent, unused=options.unused)
        except LandingError:
            continue
        tried = (
            f"separator = {options.separator!r} does not divide it"
            if options.separator
            else "none of the separators that are recognised divides it"
        )
        raise LandingError(
            f"{where}: {tried} into names, but {separator!r} does: put "
            f'layout = "table" and separator = "{_as_toml(separator)}" into source.toml'
        )


def _as_toml(separator: str) -> str:
    """A separator as TOML writes it."""
    return separator if separator.isprintable() else "".join(f"\\u{ord(character):04X}" for character in separator)


def _refuse_lines_in_front(
    path: Path, quotings: list[Quoting], options: TableOptions, lines: list[bytes], first: int
) -> None:
    """Refuse a file with titles or comments in front of its line of names."""
    for index, line in enumerate(lines[1:_LOOKED_AT_IN_FRONT], 1):
        for quoting in quotings:
            names, _ = _names(quoting, [line])
            try:
                find_columns(names, options.columns, "", absent=options.absent, unused=options.unused)
            except LandingError:
                continue
            raise LandingError(
                f"{path}, line {first + 1} is not the line of names; line {first + index + 1} looks like it: take the "
                "lines in front of it away"
            )


def _refuse_data(path: Path, quotings: list[Quoting], lines: list[bytes], first: int) -> None:
    """Refuse a file whose first line looks like an interaction instead of like names."""
    fields = max(
        (quoting.fields(_text(lines[:1])) for quoting in quotings if _splits(quoting, lines)), key=len, default=[]
    )
    fields = [field.strip() for field in fields]
    if not any(_DATA.fullmatch(field) for field in fields):
        return
    names = ["user", "item", *(f"column_{place + 1}" for place in range(2, len(fields)))][: len(fields)]
    for place, field in enumerate(fields[2:], 2):
        if re.fullmatch(r"[0-9](?:\.[0-9]+)?|10", field) and "rating" not in names:
            names[place] = "rating"
        elif re.fullmatch(r"[0-9]{9,19}|[0-9]{4}-[0-9]{2}-[0-9]{2}.*", field) and "timestamp" not in names:
            names[place] = "timestamp"
    listed = ", ".join(f'"{name}"' for name in names)
    raise LandingError(
        f"{path}, line {first + 1} looks like an interaction and not like the names of columns; name the columns in "
        f'source.toml, user and item in the order that they have in the file: layout = "table" and '
        f"columns = [{listed}]"
    )


def _splits(quoting: Quoting, lines: list[bytes]) -> bool:
    """Whether a separator divides the first lines into equally many fields, at least two."""
    counts = set()
    for line in islice(lines, 20):
        try:
            counts.add(len(quoting.fields(_text([line]))))
        except csv.Error:
            return False
    return len(counts) == 1 and min(counts) > 1
