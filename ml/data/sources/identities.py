"""Users and items of a table: how they are kept, and what about them a user should look at."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from unicodedata import is_normalized

from ml.data.landing.schema import Reject
from ml.data.sources.timestamps import shown

CONTROL_CHARACTER = re.compile("[\x00-\x1f\x7f-\x9f]")
# what tools write for a missing value
MISSING_WORDS = frozenset(
    ("nan", "NaN", "NAN", "null", "NULL", "Null", "none", "None", "NONE", "NA", "<NA>", "N/A", "n/a", "\\N", "NaT")
)
_LONGEST_MISSING = max(map(len, MISSING_WORDS))
# soft hyphen, zero-width space, marks of direction, word joiner, byte order mark; joiners of emoji are no mistake
_INVISIBLE = re.compile("[\u00ad\u200b\u200e\u200f\u2060\ufeff]")
_ROUNDED = re.compile(r"[0-9](?:\.[0-9]+)?[eE]\+[0-9]+")
_WHOLE_AS_FLOAT = re.compile(r"-?[0-9]+\.0+")

_ODDITIES = {
    "missing": "are {example}, a word for a missing value, and count as one user or one item; leave their rows out, or "
    "leave the field empty",
    "rounded": "are numbers that may have been rounded when they were written, as {example}, so that different ones "
    "became one; export them again as text",
    "invisible": "hold invisible characters, as {example}, and differ from the same text without them; remove them",
    "decomposed": "write accents as separate characters (Unicode NFD), as {example}, and differ from the same text in "
    "NFC; normalise the file to NFC",
    "quoted": "stand in single quotes, as {example}, which are part of them; write double quotes or none",
    "lists": "are lists, as {example}; write one row per interaction",
}


class Identities:
    """Counts what is dropped from users and items, and what looks like a mistake in them.

    Attributes:
        trimmed: number of users and items with white space around them.
        floats: number of users and items that are whole numbers written as floats.
    """

    def __init__(self) -> None:
        self.trimmed = self.floats = 0
        self._odd: Counter[str] = Counter()
        self._examples: dict[str, str] = {}

    def note(self, values: Sequence[str], joined: str) -> None:
        """Look at some values as they are kept; ``joined`` are the same end to end."""
        # to look for the shortest is quicker than to look each up
        if values and min(map(len, values)) <= _LONGEST_MISSING and not MISSING_WORDS.isdisjoint(values):
            self.count("missing", values, MISSING_WORDS.__contains__)
        if "+" in joined:
            self.count("rounded", values, _ROUNDED.fullmatch)
        if "'" in joined:
            self.count("quoted", values, lambda value: len(value) > 1 and value[0] == value[-1] == "'")
        if "[" in joined:
            self.count("lists", values, lambda value: value[0] == "[" and value[-1] == "]")
        if not joined.isascii():
            if _INVISIBLE.search(joined):
                self.count("invisible", values, _INVISIBLE.search)
            if not is_normalized("NFC", joined):
                self.count("decomposed", values, lambda value: not is_normalized("NFC", value))

    def count(self, kind: str, values: Iterable[str], is_odd: Callable[[str], object]) -> None:
        """Count those of some values that are of one kind of mistake."""
        odd = [value for value in values if is_odd(value)]
        if odd:
            self._odd[kind] += len(odd)
            self._examples.setdefault(kind, odd[0])

    def warnings(self) -> list[str]:
        """The findings, one sentence each."""
        said = []
        if self.trimmed:
            said.append(f"white space around {self.trimmed:,} users or items was dropped")
        if self.floats:
            said.append(f"{self.floats:,} users or items are whole numbers written as floats; their .0 was dropped")
        for kind, words in _ODDITIES.items():
            if self._odd[kind]:
                example = ascii(self._examples[kind]) if kind == "invisible" else repr(self._examples[kind])
                example = example if len(example) <= 60 else f"{example[:59]}…"
                said.append(f"{self._odd[kind]:,} users or items {words.format(example=example)}")
        return said


def whole_number(identity: str) -> str:
    """The same identity, without the ``.0`` of a whole number that a tool wrote as a float."""
    return identity.partition(".")[0] if _WHOLE_AS_FLOAT.fullmatch(identity) else identity


def identity_problem(role: str, value: str | None) -> Reject | None:
    """Reason why a value cannot be a user or item id."""
    if value is None or not value.strip():
        return Reject(f"{role} missing", "" if value is None else repr(shown(value)))
    if CONTROL_CHARACTER.search(value):
        return Reject(f"{role} with control characters", repr(shown(value)))
    return None
