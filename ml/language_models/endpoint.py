"""A language model behind an OpenAI-compatible server (``POST <address>/chat/completions``).

Only the address, the name of the model and the prompt leave this machine; the key is sent to the server and is neither
written nor logged anywhere.
"""

from __future__ import annotations

import http.client
import json
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

from ml.language_models.answers import Answer, NoAnswer, NoModel
from ml.language_models.asking import most_tokens

_BUSY = (408, 409, 425, 429, 500, 502, 503, 504, 529)
_FIRST_WAIT, _LONGEST_WAIT = 1.0, 120.0
_MOST_BYTES = 8 << 20
_KEPT = "; answers so far are kept, so run the command again to continue"


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """Follows none: the key would go to another server."""

    def redirect_request(self, *args: Any, **kwargs: Any) -> None:
        return None


@dataclass
class Endpoint:
    """A model of a server, which is asked at temperature 0.

    A question is asked again, after a wait that doubles each time, where the server is busy (429), fails (5xx), or is
    silent; a wait that the server asks for (``Retry-After``) is kept, by all threads.

    Args:
        url: address of the API, ``http://127.0.0.1:8000/v1``.
        model: name of the model there.
        key: sent as a bearer token; empty for none.
        at_once: questions at a time.
        timeout: seconds that the server may be silent for.
        retries: of a question.
        sleep: waits for so many seconds.

    Raises:
        NoModel: the address is none, or holds a password.
    """

    url: str
    model: str
    key: str = field(default="", repr=False)
    at_once: int = 4
    timeout: float = 120.0
    retries: int = 5
    sleep: Callable[[float], None] = field(default=time.sleep, repr=False)

    def __post_init__(self) -> None:
        no_address = NoModel(
            "RAW2RANK_LLM_URL must be the address of an API, such as http://127.0.0.1:8000/v1, and it is not"
        )
        try:
            parts = urlsplit(self.url)
            is_address = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        except ValueError as error:
            raise no_address from error
        if not is_address or not self.url.isascii():
            raise no_address
        if parts.username or parts.password or parts.query:
            raise NoModel("RAW2RANK_LLM_URL must hold no key: give it in RAW2RANK_LLM_KEY")
        if not self.key.isascii() or any(not character.isprintable() for character in self.key):
            raise NoModel("RAW2RANK_LLM_KEY holds a line break, or a character that no key has: give the key alone")
        self.url = self.url.rstrip("/")
        self.identity = f"endpoint {self.url} {self.model}"
        self._opener = urllib.request.build_opener(_NoRedirects)
        self._lock = threading.Lock()
        self._resume_at = 0.0
        # a server that was there once is waited for; one that never was is an error at once
        self._was_reached = False

    def answer(self, prompt: str, longest: int) -> Answer:
        """The answer of the server.

        Raises:
            NoAnswer: it cannot be reached, refuses, or stays busy; the message names the address and the reason.
        """
        asked = {
            "model": self.model,
            "messages": [{"role": "user", "content": prompt}],
            "temperature": 0,
            "max_tokens": longest,
        }
        body, pause = json.dumps(asked).encode(), _FIRST_WAIT
        for attempt in range(self.retries + 1):
            self._wait_for_turn()
            try:
                return self._read(self._post(body), prompt)
            except _TryAgain as error:
                wanted = pause if error.wait is None else error.wait
                if wanted > _LONGEST_WAIT:
                    raise NoAnswer(
                        f"{self.url} asks to wait for {wanted:.0f} seconds ({error}){_KEPT} after that"
                    ) from error
                if attempt == self.retries:
                    times = "once" if attempt == 0 else f"{attempt + 1} times"
                    raise NoAnswer(f"{self.url} was asked {times}, and the last time {error}{_KEPT}") from error
                self._postpone(wanted)
                pause = min(2 * pause, _LONGEST_WAIT)
        raise AssertionError("the last attempt returns or raises")

    def _wait_for_turn(self) -> None:
        """Wait while the server asked for it."""
        with self._lock:
            left = self._resume_at - time.monotonic()
        if left > 0:
            self.sleep(left)

    def _postpone(self, seconds: float) -> None:
        with self._lock:
            self._resume_at = max(self._resume_at, time.monotonic() + seconds)

    def _post(self, body: bytes) -> bytes:
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        if self.key:
            headers["Authorization"] = f"Bearer {self.key}"
        request = urllib.request.Request(f"{self.url}/chat/completions", body, headers, method="POST")
        try:
            with self._opener.open(request, timeout=self.timeout) as response:
                found = response.read(_MOST_BYTES + 1)
        except urllib.error.HTTPError as error:
            with error:
                self._was_reached = True
                raise self._refused(error) from error
        except (urllib.error.URLError, http.client.HTTPException, OSError) as error:
            raise self._unreached(error) from error
        self._was_reached = True
        if len(found) > _MOST_BYTES:
            raise NoAnswer(f"{self.url} answered with more than {_MOST_BYTES >> 20} MiB: is it the address of an API?")
        return found

    def _refused(self, error: urllib.error.HTTPError) -> Exception:
        """The error of a status."""
        try:
            said = self._message(error.read(4096))
        except (OSError, http.client.HTTPException):
            said = ""
        because = f" ({said})" if said else ""
        if error.code in _BUSY:
            wait = _retry_after(error.headers.get("Retry-After"))
            return _TryAgain(f"it answered with the status {error.code}{because}", wait)
        if error.code in (401, 403):
            return NoAnswer(f"{self.url} refused the key (status {error.code}){because}: check RAW2RANK_LLM_KEY")
        if error.code == 404:
            return NoAnswer(
                f"{self.url} does not know the model {self.model}, or is not the address of an API (status 404)"
                f"{because}: check RAW2RANK_LLM_MODEL and RAW2RANK_LLM_URL"
            )
        if 300 <= error.code < 400:
            return NoAnswer(
                f"{self.url} leads to another address (status {error.code}), which the key is not sent to: name that "
                "address in RAW2RANK_LLM_URL"
            )
        return NoAnswer(f"{self.url} refused the question (status {error.code}){because}")

    def _unreached(self, error: Exception) -> Exception:
        """The error of a connection that failed, or was silent for too long."""
        reason = error.reason if isinstance(error, urllib.error.URLError) else error
        if isinstance(reason, TimeoutError):
            return _TryAgain(f"it was silent for {self.timeout:g} seconds", None)
        because = self._without_key(" ".join(str(reason).split()) or type(reason).__name__)
        if self._was_reached:
            return _TryAgain(f"the connection failed ({because})", None)
        return NoAnswer(f"{self.url} cannot be reached ({because}): check RAW2RANK_LLM_URL, and that the server runs")

    def _read(self, found: bytes, prompt: str) -> Answer:
        """The answer in a response.

        Raises:
            NoAnswer: it is not the JSON that the API promises.
        """
        try:
            response = json.loads(found)
            text = response["choices"][0]["message"]["content"]
            if text is not None and not isinstance(text, str):
                raise TypeError("the content is no text")
        except (ValueError, KeyError, IndexError, TypeError, RecursionError) as error:
            raise NoAnswer(
                f"{self.url} answered with something that is no chat completion "
                f"({type(error).__name__}: {self._without_key(str(error))[:200]}): is it the address of an "
                f"OpenAI-compatible API?{_KEPT}"
            ) from error
        usage = response.get("usage") or {}
        read, written = (_tokens(usage, name) for name in ("prompt_tokens", "completion_tokens"))
        text = text or ""
        if read is None or written is None:
            return Answer(text, most_tokens(prompt, 0), len(text.encode()), counted=False)
        return Answer(text, read, written)

    def _message(self, body: bytes) -> str:
        """What a server says of an error, in one short line."""
        try:
            error = json.loads(body)
            error = error.get("error", error) if isinstance(error, dict) else error
            said = error.get("message", "") if isinstance(error, dict) else error
        except (ValueError, RecursionError):
            return ""
        return self._without_key(" ".join(str(said).split()))[:200]

    def _without_key(self, text: str) -> str:
        return text.replace(self.key, "***") if self.key else text


class _TryAgain(Exception):
    """A question may be answered later.

    Args:
        reason: why it was not, as the end of a sentence.
        wait: seconds that the server asks for; ``None`` where it does not.
    """

    def __init__(self, reason: str, wait: float | None) -> None:
        super().__init__(reason)
        self.wait = wait


def _retry_after(value: str | None) -> float | None:
    """Seconds of the header ``Retry-After``: a number, or a date (RFC 9110, 10.2.3); ``None`` for anything else."""
    if not value:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(value).timestamp() - time.time()
        except (ValueError, TypeError, OverflowError):
            return None
    return max(0.0, seconds) if seconds < float("inf") else None


def _tokens(usage: Any, name: str) -> int | None:
    number = usage.get(name) if isinstance(usage, dict) else None
    return number if type(number) is int and number >= 0 else None
