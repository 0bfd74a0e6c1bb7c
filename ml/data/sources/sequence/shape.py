"""Whether lines of words are sequences of items, by the first of them: tables and JSON look alike.

A table of ``user item rating time`` read as sequences would make items of ratings and times. What else lines may hold
is in :mod:`ml.data.sources.sequence.doubts`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ml.data.landing.file_lines import LandingError
from ml.data.sources.sequence.doubts import FILLERS, doubts, padding_of, refuse_other_lines

SAMPLE_LINES = 1000
_LEAST_LINES = 3
_WIDEST_TABLE = 8
_MOST_RATINGS = 21
_LARGEST_RATING = 100.0
_NUMBER = re.compile(r"-?[0-9]+(?:\.[0-9]+)?")
_DATE = re.compile(r"[0-9]{4}[-/][0-9]{1,2}[-/][0-9]{1,2}(?:[T_ ].*)?|[0-9]{1,2}/[0-9]{1,2}/[0-9]{4}")
_CLOCK = re.compile(r"[0-9]{1,2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]+)?)?(?:Z|[+-][0-9:]+)?")
# seconds, milliseconds, microseconds and nanoseconds from 1990 to 2100
_TIMES = tuple((631_152_000 * scale, 4_102_444_800 * scale) for scale in (1, 10**3, 10**6, 10**9))
_MOVIE = re.compile(r"[0-9]+:")
_CUSTOMER = re.compile(r"[0-9]+,[0-9],[0-9]{4}-[0-9]{2}-[0-9]{2}")
_SEPARATORS = ("::", ",", ";", "|")
# compared in lower case, without "_", "-" and ".", and without a type as RecBole writes it
_USER_NAMES = frozenset(("user", "userid", "uid", "reviewerid", "customerid", "visitorid", "sessionid", "session"))
_ITEM_NAMES = frozenset(
    (
        *("item", "items", "itemid", "itemids", "iid", "asin", "parentasin", "productid", "movieid"),
        *("sequence", "itemsequence", "itemseq", "seq", "history", "itemlist", "itemidlist"),
    )
)
_OTHER_NAMES = frozenset(
    (
        *("rating", "ratings", "stars", "score", "overall"),
        *("timestamp", "time", "date", "datetime", "unixreviewtime", "ts"),
    )
)


@dataclass(frozen=True)
class Shape:
    """How the lines of a sequence file are laid out.

    Attributes:
        pairs: whether each line is one interaction, and not a user with all of its items.
        header: the words of a line that names columns, or ``None``.
        padding: which end of the lines a word fills up, ``start`` or ``end``, or ``None``.
        filler: that word.
        warnings: what the user should look at.
    """

    pairs: bool
    header: tuple[str, ...] | None = None
    padding: str | None = None
    filler: str = FILLERS[0]
    warnings: tuple[str, ...] = ()


def shape_of(path: Path, lines: Sequence[Sequence[str]]) -> Shape:
    """How lines are laid out, by the first of them.

    Args:
        path: the file, for errors.
        lines: the words of at most :data:`SAMPLE_LINES` lines; none is blank.

    Raises:
        LandingError: they are no sequences; it says what they look like and how to have them read.
    """
    if not lines:
        return Shape(pairs=False)
    first = lines[0]
    if first[0].startswith(("{", "[{")) or first == ["["]:
        raise LandingError(f"{path} holds JSON, not lines of a user and items; give it the ending .json or .jsonl")
    header = tuple(first) if _is_header(first) or first[0] == "#" else None
    if header is not None:
        is_table = _named(header[1:2], _USER_NAMES) or (len(header) > 2 and _named(header, _OTHER_NAMES))
        if is_table and first[0] != "#":
            raise LandingError(f"{path} is a table with the columns {', '.join(header)}; {_as_table(path)}")
        lines = [words for words in lines if tuple(words) != header]
    _refuse_separators(path, lines)
    _refuse_table(path, lines)
    refuse_other_lines(path, lines)
    pairs = bool(lines) and all(len(words) == 2 for words in lines)
    warnings = []
    if header is not None:
        warnings.append(f"the line {' '.join(header)!r} names columns, and is left out wherever it stands")
    for what, words in (
        ("users", [line[0] for line in lines]),
        ("items", [word for line in lines for word in line[1:]]),
    ):
        if words and all(re.fullmatch(r"[0-9]+\.0", word) for word in words):
            warnings.append(
                f"{what} are written as decimal numbers such as {words[0]!r}, and are other identities than "
                f"{words[0][:-2]!r}; write them without .0 where metadata or another file does"
            )
    warnings += doubts(lines, pairs)
    padding = None if pairs else padding_of(lines)
    if padding is None:
        return Shape(pairs, header, warnings=tuple(warnings))
    filler, end = padding
    return Shape(pairs, header, end, filler, tuple(warnings))


def refuse_tabs(path: Path, lines: Sequence[bytes]) -> None:
    """Refuse lines with the same number of tabs, at least two, between fields that hold blanks: a table.

    Line ends of old Macs are refused as well, since all of the file would be one line.

    Raises:
        LandingError: it is one of these; the message says how to have it read.
    """
    if lines and b"\r" in lines[0].strip():
        raise LandingError(f"{path}, line 1 holds line ends of old Macs (\\r); save the file with line feeds (\\n)")
    written = [line for line in lines if line.strip()]
    counts = {line.count(b"\t") for line in written}
    if len(written) < _LEAST_LINES or len(counts) != 1 or min(counts) < 2:
        return
    rows = [[field.strip() for field in line.decode("utf-8", "replace").split("\t")] for line in written]
    if not any(" " in field for row in rows for field in row):
        return
    columns = list(zip(*rows, strict=True))
    header = rows[0] if _is_header(rows[0]) else None
    names = None if header else _names(columns)
    raise LandingError(
        f"{path} looks like a table of {len(columns)} columns with tabs between them, not like sequences of items: "
        f"some fields hold blanks, such as {next(field for row in rows for field in row if ' ' in field)[:40]!r}; "
        + _as_table(path, names, "\\t")
    )


def _is_header(words: Sequence[str]) -> bool:
    pair = words[:2]
    return len(pair) == 2 and _named(pair, _USER_NAMES) and _named(pair, _ITEM_NAMES)


def _named(words: Sequence[str], names: frozenset[str]) -> bool:
    plain = (re.sub(r"[_\-.]", "", word.partition(":")[0]).lower().strip("'\"") for word in words)
    return any(word in names for word in plain)


def _refuse_separators(path: Path, lines: Sequence[Sequence[str]]) -> None:
    """Lines whose fields are separated by something else than blanks."""
    if not lines:
        return
    if _MOVIE.fullmatch(lines[0][0]) and len(lines) > 1 and _CUSTOMER.fullmatch("".join(lines[1])):
        raise LandingError(
            f"{path} is laid out as the Netflix prize, a movie and below it its customers; write a table of it, for "
            'instance with awk -F, \'/:$/{sub(":","");m=$1;next}{print $1","m","$2","$3}\' '
            f'{path.name} > table.csv, and describe it in source.toml: layout = "table", interactions = ["table.csv"], '
            'columns = ["user", "item", "rating", "timestamp"] (each on a line of its own)'
        )
    for separator in _SEPARATORS:
        if all(len(words) == 1 and separator in words[0] for words in lines):
            names = [name.strip("\"'") for name in lines[0][0].split(separator)]
            if _named(names, _USER_NAMES) and _named(names, _ITEM_NAMES):
                raise LandingError(f"{path} is a table with the columns {', '.join(names)}; {_as_table(path)}")
            fields = [word.split(separator) for (word,) in lines]
            widths = {len(one) for one in fields}
            is_table = len(widths) == 1 and max(widths) <= _WIDEST_TABLE
            guessed = _names(list(zip(*fields, strict=True))) if is_table else None
            hint = _as_table(path, guessed, separator) if guessed else f"write blanks instead of {separator!r}"
            raise LandingError(
                f"{path}: {separator!r} separates the fields of its lines, such as {lines[0][0][:40]!r}, and in a "
                f"sequence file blanks or tabs do; {hint}"
            )
    if all(words[-1].endswith(("]", ")")) or "," in "".join(words) for words in lines):
        shown = " ".join(lines[0])[:40]
        raise LandingError(
            f"{path}: the items of a line are written as a list or with commas, such as {shown!r}; write blanks "
            "between them, without brackets and commas"
        )
    if len(lines) >= _LEAST_LINES and all(len(words) == 1 for words in lines):
        raise LandingError(
            f"{path}: its lines hold one word each, such as {lines[0][0][:40]!r}, and need a user and at least one "
            "item, separated by blanks"
        )


def _refuse_table(path: Path, lines: Sequence[Sequence[str]]) -> None:
    """Lines of equally many words, some of which are ratings or times."""
    widths = {len(words) for words in lines}
    if len(lines) < _LEAST_LINES or len(widths) > 1 or min(widths) < 3:
        return
    columns = list(zip(*lines, strict=True))
    roles = [_role(column) for column in columns]
    if not _is_table(columns, roles):
        return
    names = _names(columns)
    shown = " ".join(lines[0])[:60]
    raise LandingError(
        f"{path} looks like a table of {', '.join(names)}, not like sequences of items: its lines have {len(columns)} "
        f"columns, such as {shown!r}; {_as_table(path, names)}"
    )


def _is_table(columns: Sequence[Sequence[str]], roles: Sequence[str | None]) -> bool:
    others = [column for column, role in zip(columns, roles, strict=True) if role not in ("timestamp", "date", "clock")]
    if len(others) < 2:
        return False
    if "date" in roles:
        return True
    lines, users = len(columns[0]), len(set(others[0]))
    if "timestamp" in roles:
        # of a user with one line, other numbers of this size are items as well
        return roles.count("timestamp") <= 2 and (users < lines or "rating" in roles[1:])
    if len(columns) == 3 and roles[2] == "rating":
        ratings, items = set(columns[2]), len(set(columns[1]))
        return (
            (users <= lines // 2 and items > len(ratings))
            or any("." in rating and not rating.endswith(".0") for rating in ratings)
            or items >= 10 * len(ratings)
        )
    return False


def _names(columns: Sequence[Sequence[str]]) -> list[str]:
    """Names of the columns of a table, as far as they can be seen."""
    roles = [_role(column) for column in columns]
    time = next((place for place, role in enumerate(roles) if role in ("timestamp", "date")), None)
    ratings = [place for place, role in enumerate(roles) if role == "rating" and place > 1]
    names = []
    for place in range(len(columns)):
        if place == time:
            name = "timestamp"
        elif ratings and place == ratings[0]:
            name = "rating"
        else:
            name = next((one for one in ("user", "item") if one not in names), f"other_{place + 1}")
        names.append(name)
    return names


def _as_table(path: Path, names: Sequence[str] | None = None, separator: str | None = None) -> str:
    lines = ['layout = "table"', f'interactions = ["{path.name}"]']
    if separator is not None:
        lines.append(f'separator = "{separator}"')
    if names:
        lines.append("columns = [" + ", ".join(f'"{name}"' for name in names) + "]")
    return f"describe it in source.toml beside it: {', '.join(lines)} (each on a line of its own)"


def _role(column: Sequence[str]) -> str | None:
    """What a column of words looks like, if it is neither users nor items."""
    if all(map(_DATE.fullmatch, column)):
        return "date"
    if all(map(_CLOCK.fullmatch, column)):
        return "clock"
    if not all(map(_NUMBER.fullmatch, column)):
        return None
    # an identity may be longer than a number can be
    numbers = [float(word) if len(word) < 30 else -1.0 for word in column]
    if any(least <= min(numbers) and max(numbers) < end for least, end in _TIMES):
        return "timestamp"
    small = len(set(numbers)) <= _MOST_RATINGS and min(numbers) >= -_LARGEST_RATING and max(numbers) <= _LARGEST_RATING
    return "rating" if small and max(numbers) <= 10 else None
