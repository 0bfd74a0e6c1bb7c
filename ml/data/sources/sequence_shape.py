"""Whether lines of words are sequences of items, by the first of them: a table, JSON or padding look alike.

A table of ``user item rating time`` read as sequences would make items of ratings and times, and zeros that fill up
lines would be the most popular item.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ml.data.lines import LandingError

PADDING = "0"
SAMPLE_LINES = 1000
_LEAST_LINES = 3
_WIDEST_TABLE = 8
_MOST_RATINGS = 21
_LARGEST_RATING = 100.0
_NUMBER = re.compile(r"-?[0-9]+(?:\.[0-9]+)?")
_DATE = re.compile(r"[0-9]{4}[-/][0-9]{1,2}[-/][0-9]{1,2}(?:[T_].*)?|[0-9]{1,2}/[0-9]{1,2}/[0-9]{4}")
_CLOCK = re.compile(r"[0-9]{1,2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]+)?)?(?:Z|[+-][0-9:]+)?")
# seconds, milliseconds, microseconds and nanoseconds from 1990 to 2100
_TIMES = tuple((631_152_000 * scale, 4_102_444_800 * scale) for scale in (1, 10**3, 10**6, 10**9))
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
        padding: which end of the lines zeros fill up, ``start`` or ``end``, or ``None``.
        warnings: what the user should look at.
    """

    pairs: bool
    header: tuple[str, ...] | None = None
    padding: str | None = None
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
    header = tuple(first) if _is_header(first) else None
    if header is not None:
        if _named(header[1:2], _USER_NAMES) or (len(header) > 2 and _named(header, _OTHER_NAMES)):
            raise LandingError(f"{path} is a table with the columns {', '.join(header)}; {_as_table(path)}")
        lines = [words for words in lines if tuple(words) != header]
    _refuse_separators(path, lines)
    _refuse_table(path, lines)
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
    return Shape(pairs, header, None if pairs else _padding(lines), tuple(warnings))


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
    for separator in _SEPARATORS:
        if all(len(words) == 1 and separator in words[0] for words in lines):
            fields = [word.split(separator) for (word,) in lines]
            widths = {len(one) for one in fields}
            is_table = len(widths) == 1 and max(widths) <= _WIDEST_TABLE
            names = _names(list(zip(*fields, strict=True))) if is_table else None
            hint = _as_table(path, names, separator) if names else f"write blanks instead of {separator!r}"
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


def _padding(lines: Sequence[Sequence[str]]) -> str | None:
    """The end of the lines that zeros fill up, if they do."""
    if len(lines) < 2:
        return None
    ends = set()
    filled = []
    for _, *items in lines:
        start, end = zeros_at_the_ends(items)
        if PADDING in items[start : len(items) - end]:
            return None
        if start < len(items):
            ends |= {side for side, count in (("start", start), ("end", end)) if count}
        filled.append(start or end)
    if len(ends) != 1 or sum(count > 1 for count in filled) == 0:
        return None
    same_length = len({len(words) for words in lines}) == 1
    return ends.pop() if same_length or all(count > 1 for count in filled) else None


def zeros_at_the_ends(items: Sequence[str]) -> tuple[int, int]:
    """How many zeros stand in front of the other items, and how many behind; of zeros alone all stand in front."""
    start = 0
    while start < len(items) and items[start] == PADDING:
        start += 1
    end = 0
    while end < len(items) - start and items[len(items) - 1 - end] == PADDING:
        end += 1
    return start, end
