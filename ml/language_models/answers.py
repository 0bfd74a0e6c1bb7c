"""Answers of language models, kept on disk by the digest of what was asked."""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

FORMAT = 1
CACHE_NAME = "llm_answers.sqlite"


class NoAnswer(ValueError):
    """A language model gave no answer; the message says why and what to do. Answers that it gave before are kept."""


class NoModel(NoAnswer):
    """There is no language model to ask, or another one than before; the message says what to do."""


@dataclass(frozen=True)
class Answer:
    """What a model answered.

    Attributes:
        text: of the answer.
        tokens_read: of the prompt.
        tokens_written: of the answer.
        counted: whether the model counted the tokens; otherwise they are the most that there can have been.
    """

    text: str
    tokens_read: int
    tokens_written: int
    counted: bool = True

    @property
    def tokens(self) -> int:
        return self.tokens_read + self.tokens_written


class Client(Protocol):
    """A model that can be asked.

    Attributes:
        model: its name, for people.
        identity: what answers depend on besides the prompt; equal for equal models.
        at_once: questions that may be asked at a time, by threads.
    """

    model: str
    identity: str
    at_once: int

    def answer(self, prompt: str, longest: int) -> Answer:
        """The answer to a prompt, of at most ``longest`` tokens, as little random as the model allows.

        Raises:
            NoAnswer: there is none.
        """


def digest_of_question(client: Client, prompt: str, longest: int) -> str:
    """SHA-256 of all that an answer depends on."""
    return hashlib.sha256(json.dumps([FORMAT, client.identity, prompt, longest]).encode()).hexdigest()


def cache_file() -> Path:
    """``$RAW2RANK_LLM_CACHE``; without it a file of the workspace ``$RAW2RANK_HOME``, or of the user's caches."""
    if given := os.environ.get("RAW2RANK_LLM_CACHE"):
        return Path(given)
    if home := os.environ.get("RAW2RANK_HOME"):
        return Path(home) / CACHE_NAME
    caches = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return caches / "raw2rank" / CACHE_NAME


class KeptAnswers:
    """Answers by digest in an SQLite file. An answer is on disk before it is used, so a killed process loses none.

    Several threads, and several processes, may use one file.

    Args:
        path: the file, made where there is none; ``None`` keeps answers in memory.

    Raises:
        NoAnswer: the file is no such file, or cannot be opened.
    """

    def __init__(self, path: Path | None = None) -> None:
        self.path = path
        self._lock = threading.Lock()
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._database = sqlite3.connect(path or ":memory:", timeout=60, check_same_thread=False)
            with self._database as writing:
                writing.execute(
                    "create table if not exists answers ("
                    "question text primary key, answer text not null, tokens_read integer not null, "
                    "tokens_written integer not null, counted integer not null) without rowid"
                )
        except sqlite3.Error as error:
            raise self._unusable(error) from error

    def get(self, digest: str) -> Answer | None:
        """The answer to a question; ``None`` where it was not asked yet."""
        query = "select answer, tokens_read, tokens_written, counted from answers where question = ?"
        try:
            with self._lock:
                found = self._database.execute(query, (digest,)).fetchone()
        except sqlite3.Error as error:
            raise self._unusable(error) from error
        return None if found is None else Answer(found[0], found[1], found[2], bool(found[3]))

    def keep(self, digest: str, answer: Answer) -> Answer:
        """Keep an answer, and give the one that is kept: that of another process where it was faster."""
        values = (digest, answer.text, answer.tokens_read, answer.tokens_written, int(answer.counted))
        try:
            with self._lock, self._database as writing:
                writing.execute("insert or ignore into answers values (?, ?, ?, ?, ?)", values)
        except sqlite3.Error as error:
            raise self._unusable(error) from error
        kept = self.get(digest)
        assert kept is not None  # it was written just now
        return kept

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    def _unusable(self, error: sqlite3.Error) -> NoAnswer:
        return NoAnswer(
            f"{self.path} cannot be used as the cache of answers ({error}): remove it to ask all questions again, or "
            "name another file by RAW2RANK_LLM_CACHE"
        )
