"""Errors of a download, and the policy of retries."""

from __future__ import annotations

from dataclasses import dataclass


class DownloadError(Exception):
    """A file that could not be fetched. The message names it, says what happened and what to do."""


class PassingError(Exception):
    """An error that may go away on a retry; ``wait`` is in seconds where the server states a delay."""

    def __init__(self, text: str, wait: float | None = None) -> None:
        super().__init__(text)
        self.wait = wait


@dataclass(frozen=True)
class Patience:
    """Delays between retries, in seconds, and their number.

    Attributes:
        retries: attempts after the first that may fail in a row; one that brought the file forward starts the
            count anew.
        first_wait: before the first of them; each further wait is twice as long.
        longest_wait: no wait is longer, except one that the server asks for.
        longest_asked_wait: where the server asks for a longer one, the download ends.
        timeout: for connecting, and for each further piece to arrive.
    """

    retries: int = 6
    first_wait: float = 1.0
    longest_wait: float = 60.0
    longest_asked_wait: float = 300.0
    timeout: float = 60.0
