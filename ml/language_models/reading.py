"""Reading the answer of a language model that was asked to rank candidates, whatever it wrote."""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

# what a model thought before it answered
_THOUGHT = re.compile(r"\A.*</think>", re.DOTALL)
# one number, or a list of numbers, in square brackets
_BRACKETED = re.compile(r"\[\s*(\d{1,6}(?:\s*,\s*\d{1,6})*)\s*\]")
# what stands before an entry of a list
_MARK = re.compile(r"^(?:[-*•>#\s]+|\(?\d{1,6}\s*[.):\]]|rank\s+\d{1,6}\s*[:.)-])\s*", re.IGNORECASE)
_ONLY_NUMBERS = re.compile(r"[\s\d,;>(){}\[\].\"'#*-]*\d[\s\d,;>(){}\[\].\"'#*-]*")
_PLACE_AND_NUMBER = re.compile(r"\D*\d{1,6}\s*[.):]\s+\D*(\d{1,6})\D*")
_ALIKE = 0.85
# a title of fewer words may stand in any sentence
_WORDS_OF_A_NAME = 3


@dataclass(frozen=True)
class Reading:
    """What an answer says of the candidates.

    Attributes:
        order: numbers of candidates from 0, best first, each once.
        shown: how many candidates there were.
        hallucinated: entries that name nothing among the candidates.
        wrong_numbers: numbers that no candidate has, or that stand beside the title of another one.
        repeated: candidates that were named again.
    """

    order: tuple[int, ...]
    shown: int
    hallucinated: int = 0
    wrong_numbers: int = 0
    repeated: int = 0

    @property
    def missing(self) -> int:
        """Candidates that were not named."""
        return self.shown - len(self.order)

    def ranks(self) -> np.ndarray:
        """Rank of each candidate from 1, float64 ``[shown]``; nan for one that was not named."""
        ranks = np.full(self.shown, np.nan)
        ranks[list(self.order)] = np.arange(1, len(self.order) + 1)
        return ranks


def read_answer(answer: str, titles: Sequence[str]) -> Reading:
    """Match an answer with the candidates.

    An entry is a number in square brackets, as was asked for, a bare number, or a title: equal to that of a candidate
    but for case and punctuation, containing it, cut short, or nearly equal. Where an entry has a number and the title
    of another candidate, the title counts. Lines that are no entries (an introduction) are passed over.

    Args:
        answer: what the model wrote.
        titles: of the candidates, in the order that they were shown in.
    """
    reader = _Reader(titles)
    for line in _THOUGHT.sub("", answer).splitlines():
        if line := line.strip():
            reader.read(line)
    return Reading(tuple(reader.order), len(titles), reader.hallucinated, reader.wrong_numbers, reader.repeated)


class _Reader:
    """Reads line after line."""

    def __init__(self, titles: Sequence[str]) -> None:
        self.names = [_normalised(title) for title in titles]
        self.order: dict[int, None] = {}
        self.hallucinated = self.wrong_numbers = self.repeated = 0

    def read(self, line: str) -> None:
        bracketed = [int(each) for found in _BRACKETED.findall(line) for each in found.split(",")]
        if bracketed:
            self._bracketed(bracketed, _BRACKETED.sub(" ", line))
        elif _ONLY_NUMBERS.fullmatch(line):
            placed = _PLACE_AND_NUMBER.fullmatch(line)
            for number in [placed[1]] if placed else re.findall(r"\d+", line):
                self._number(int(number))
        else:
            self._text(line)

    def _bracketed(self, numbers: list[int], rest: str) -> None:
        by_title = self._equal(_normalised(_MARK.sub("", rest.strip()))) if len(numbers) == 1 else None
        if by_title is not None and (numbers[0] < 1 or self.names[by_title] != self._name(numbers[0])):
            self.wrong_numbers += 1
            self._take(by_title)
            return
        for number in numbers:
            self._number(number)

    def _text(self, line: str) -> None:
        rest = line
        while (shorter := _MARK.sub("", rest, count=1)) != rest:
            rest = shorter
        is_entry, name = rest != line, _normalised(rest)
        if not name:
            return
        # a whole line first: one title may begin with another
        found = self._equal(name)
        if found is not None:
            self._take(found)
            return
        inside = self._contained(name, 1 if is_entry else _WORDS_OF_A_NAME)
        if inside:
            for place in inside:
                self._take(place)
        elif is_entry and (alike := self._alike(name)) is not None:
            self._take(alike)
        elif is_entry:
            self.hallucinated += 1

    def _number(self, number: int) -> None:
        if 1 <= number <= len(self.names):
            self._take(number - 1)
        else:
            self.wrong_numbers += 1

    def _name(self, number: int) -> str | None:
        return self.names[number - 1] if number <= len(self.names) else None

    def _take(self, place: int) -> None:
        if place in self.order:
            self.repeated += 1
        else:
            self.order[place] = None

    def _equal(self, name: str) -> int | None:
        """A candidate of a name; of several with one title the first that was not named yet."""
        places = [place for place, known in enumerate(self.names) if name and known == name]
        return next((place for place in places if place not in self.order), places[0] if places else None)

    def _contained(self, text: str, words: int) -> list[int]:
        """Candidates whose titles stand in a text, in their order there; of titles that overlap the longest."""
        left, found = f" {text} ", []
        for name in sorted(
            {each for each in self.names if len(each.split()) >= words}, key=lambda one: (-len(one), one)
        ):
            place = left.find(f" {name} ")
            if place >= 0:
                candidate = self._equal(name)
                assert candidate is not None  # it is one of the names
                found.append((place, candidate))
                left = left.replace(f" {name} ", f" {'|' * len(name)} ", 1)
        return [candidate for _, candidate in sorted(found)]

    def _alike(self, name: str) -> int | None:
        """The candidate whose title is cut short to a name, or nearly equal to it."""
        begun = [each for each in self.names if each.startswith(f"{name} ") and " " in name]
        if len(begun) == 1:
            return self._equal(begun[0])
        alike = difflib.get_close_matches(name, self.names, 1, _ALIKE)
        return self._equal(alike[0]) if alike else None


def mean_ranks(turns: Sequence[np.ndarray]) -> np.ndarray:
    """Ranks averaged over several answers, float64 ``[candidates]``.

    Candidates that an answer does not name stand behind those that it does, in the order of the candidates.

    Args:
        turns: ranks of each answer, nan where there is none, in the order of the candidates.
    """
    filled = []
    for ranks in turns:
        missing = np.isnan(ranks)
        ranks = ranks.copy()
        ranks[missing] = len(ranks) - missing.sum() + np.arange(1, missing.sum() + 1)
        filled.append(ranks)
    return np.mean(filled, axis=0)


def _normalised(text: str) -> str:
    """Words in lower case, a space between them."""
    return " ".join(re.findall(r"[^\W_]+", unicodedata.normalize("NFKC", text).casefold()))
