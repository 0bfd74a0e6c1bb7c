"""What lines of words may hold that is neither a user nor an item: fillers, times, counts, and names of fields."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from ml.data.landing.file_lines import LandingError

# what fills up lines to the same length
FILLERS = ("0", "-1", "00", "000", "<pad>", "[pad]", "<PAD>", "[PAD]", "pad", "PAD", "padding")
_LEAST_LINES = 3
# as a count of seconds or of a smaller unit since 1970
_TIME = re.compile(r"[0-9]{9,10}|[0-9]{13}|[0-9]{16}|[0-9]{19}")
_WITH_VALUE = re.compile(r".+[:|@;,]([0-9]+(?:\.[0-9]+)?)")
_NUMBER = re.compile(r"-?[0-9]+(?:\.[0-9]+)?")
_MOST_RATINGS = 21
_LARGEST_RATING = 10.0


def refuse_other_lines(path: Path, lines: Sequence[Sequence[str]]) -> None:
    """Refuse lines whose words are not a user and items alone.

    Args:
        path: the file, for errors.
        lines: the words of the first lines.

    Raises:
        LandingError: the words hold times or ratings, every other word is a time, the second word counts the others,
            or the first word names a field.
    """
    if len(lines) < _LEAST_LINES:
        return
    shown = " ".join(lines[0])[:60]
    one_each = "write a table with a row per interaction"
    if all(words[0].endswith(":") and len(words) > 1 for words in lines):
        raise LandingError(
            f"{path}: the first word of each line ends with a colon, as in {shown!r}; if it is the user, leave the "
            f"colon out, and if it names a field of a record, {one_each}"
        )
    items = [word for words in lines for word in words[1:]]
    values = [value for value in map(_WITH_VALUE.fullmatch, items) if value is not None]
    if items and len(values) == len(items):
        numbers = {value[1] for value in values}
        are_ratings = len(numbers) <= _MOST_RATINGS and max(map(float, numbers)) <= _LARGEST_RATING
        if all(map(_TIME.fullmatch, numbers)) or (are_ratings and len(set(items)) > len(numbers)):
            what = "ratings" if are_ratings else "times"
            raise LandingError(f"{path}: its items have {what} behind them, as in {shown!r}; {one_each}")
    if _have_times_between(lines):
        raise LandingError(f"{path}: every other word of a line is a time, as in {shown!r}; {one_each}")
    lengths = {len(words) for words in lines}
    if len(lengths) > 1 and all(len(words) > 2 and words[1] == str(len(words) - 2) for words in lines):
        raise LandingError(
            f"{path}: the second word of each line is the number of items that follow, as in {shown!r}; leave it out"
        )
    width = max(lengths)
    users = {words[0] for words in lines}
    if len(lengths) == 1 and width == 3 and len(users) <= len(lines) // 2:
        second, third = [words[1] for words in lines], [words[2] for words in lines]
        if all(map(_NUMBER.fullmatch, third)) and not set(second) & set(third):
            raise LandingError(
                f"{path} looks like a table of a user, an item and a number, such as {shown!r}: its users stand on "
                'several lines, and no number is an item; describe it in source.toml: layout = "table", interactions = '
                f'["{path.name}"], columns = ["user", "item", "count"] (each on a line of its own)'
            )


def _have_times_between(lines: Sequence[Sequence[str]]) -> bool:
    """Whether a time stands behind each item; where identities are long numbers, the items are long as well."""
    if not all(len(words) > 2 and len(words) % 2 for words in lines):
        return False
    items = [word for words in lines for word in words[1::2]]
    times = [word for words in lines for word in words[2::2]]
    return all(map(_TIME.fullmatch, times)) and not all(map(_TIME.fullmatch, items))


def doubts(lines: Sequence[Sequence[str]], pairs: bool) -> list[str]:
    """What the user should look at, of lines that are read as sequences."""
    found = []
    users = [words[0] for words in lines]
    items = {word for words in lines for word in words[1:]}
    among = sum(user in items for user in users)
    named = [user for user in users if not _NUMBER.fullmatch(user)]
    if len(lines) >= _LEAST_LINES and len(named) == len(users) and among > len(users) / 2:
        found.append(
            f"most of its users, such as {users[0]!r}, stand among the items as well; if the lines hold items alone, "
            "put a user in front of each"
        )
    width = {len(words) for words in lines}
    if not pairs and len(lines) >= _LEAST_LINES and width == {3} and len(set(users)) <= len(users) // 2:
        found.append(
            "its lines have three words each, and users stand on several lines; if the third is a rating or a count, "
            'it is a table: layout = "table" and columns = ["user", "item", "rating"] in source.toml'
        )
    return found


def padding_of(lines: Sequence[Sequence[str]]) -> tuple[str, str] | None:
    """The word that fills up lines, and the end at which it does, or ``None``."""
    words = {word for line in lines for word in (*line[1:2], *line[-1:])} & set(FILLERS)
    for filler in FILLERS:
        if filler in words and (end := _padded_end(lines, filler)):
            return filler, end
    return None


def _padded_end(lines: Sequence[Sequence[str]], filler: str) -> str | None:
    if len(lines) < 2:
        return None
    ends = set()
    filled = []
    for _, *items in lines:
        start, end = fillers_at_the_ends(items, filler)
        if filler in items[start : len(items) - end]:
            return None
        if start < len(items):
            ends |= {side for side, count in (("start", start), ("end", end)) if count}
        filled.append(start or end)
    if len(ends) != 1 or sum(count > 1 for count in filled) == 0:
        return None
    same_length = len({len(words) for words in lines}) == 1
    return ends.pop() if same_length or all(count > 1 for count in filled) else None


def fillers_at_the_ends(items: Sequence[str], filler: str) -> tuple[int, int]:
    """How often a word stands in front of the other items, and how often behind; where it stands alone, in front."""
    start = 0
    while start < len(items) and items[start] == filler:
        start += 1
    end = 0
    while end < len(items) - start and items[len(items) - 1 - end] == filler:
        end += 1
    return start, end
