"""A language model for tests that answers at once."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field

from ml.language_models.answers import Answer


def candidates_of(prompt: str) -> dict[int, str]:
    """The candidates that a prompt shows, by number."""
    return {int(number): title for number, title in re.findall(r"^\[(\d+)\] (.*)$", prompt, re.MULTILINE)}


def alphabetically(prompt: str) -> str:
    """The answer of a model that likes titles by the alphabet, backwards."""
    shown = candidates_of(prompt)
    return "\n".join(f"[{number}]" for number in sorted(shown, key=lambda one: (shown[one], one), reverse=True))


@dataclass
class AlphabeticalModel:
    """Answers a prompt by :func:`alphabetically`, or as it is told to; counts what it was asked."""

    says: Callable[[str], str] = alphabetically
    model: str = "alphabetical"
    identity: str = "alphabetical"
    at_once: int = 1
    asked: list[str] = field(default_factory=list)

    def answer(self, prompt: str, longest: int) -> Answer:
        self.asked.append(prompt)
        text = self.says(prompt)
        return Answer(text, len(prompt.split()), len(text.split()))
