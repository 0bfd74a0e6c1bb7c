"""Prompts of a zero-shot re-ranking: a history and candidates, as one message to a language model.

After Hou et al., "Large language models are zero-shot rankers for recommender systems" (ECIR 2024, arXiv 2305.08845).
Unlike there, candidates have numbers in square brackets and the answer is to consist of these, which takes fewer tokens
than titles; and items are called items, whatever the dataset holds.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence

import numpy as np


def prompt_of(form: str, history: Sequence[str], candidates: Sequence[str]) -> str:
    """The message.

    Args:
        form: ``sequential``, ``recency`` or ``in_context``.
        history: titles, oldest first; at least one.
        candidates: titles, in the order that they are shown in.

    Raises:
        ValueError: there is no such form.
    """
    if form not in ("sequential", "recency", "in_context"):
        raise ValueError(f"there is no form of prompts {form}")
    *before, last = history
    if form == "in_context" and before:
        said = (
            f"I have chosen these items in the past, in order, the latest last:\n{_numbered(before)}\n"
            f"You should then recommend this item to me: {last}\n"
            f"Now I have chosen {last} as well."
        )
    else:
        said = f"I have chosen these items in the past, in order, the latest last:\n{_numbered(history)}"
        if form == "recency":
            said += f"\nNote that my most recent item is: {last}"
    shown = "\n".join(f"[{number}] {title}" for number, title in enumerate(candidates, start=1))
    return (
        f"{said}\n\n"
        f"There are {len(candidates)} candidates that I can choose next:\n{shown}\n\n"
        f"Rank these {len(candidates)} candidates by how likely I am to choose each of them next, judging by the items "
        "that I have chosen. Rank every candidate once, and nothing that is not a candidate. Answer with the numbers "
        "of the candidates in square brackets, one on a line, the most likely one first, and write nothing else."
    )


def shuffled(seed: int, history: Sequence[int], candidates: Sequence[int], turn: int) -> np.ndarray:
    """A random order of candidates that depends on nothing but the arguments: places in ``candidates``, int
    ``[candidates]``."""
    key = json.dumps([seed, list(history), list(candidates), turn]).encode()
    entropy = int.from_bytes(hashlib.sha256(key).digest()[:16], "little")
    return np.random.default_rng(entropy).permutation(len(candidates))


def is_drawn(seed: int, history: Sequence[int], share: float) -> bool:
    """Whether a history is among a share of all histories; it does not depend on what other histories there are."""
    key = json.dumps([seed, "drawn", list(history)]).encode()
    return int.from_bytes(hashlib.sha256(key).digest()[:8], "little") < share * 2**64


def _numbered(titles: Sequence[str]) -> str:
    return "\n".join(f"{number}. {title}" for number, title in enumerate(titles, start=1))
