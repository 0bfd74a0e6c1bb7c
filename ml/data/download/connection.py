"""Asking a server for a file, and reading what its answer says."""

from __future__ import annotations

import email.utils
import http.client
import re
import socket
import ssl
import time
import urllib.error
import urllib.parse
import urllib.request
from typing import cast

from ml.data.download.errors import DownloadError, PassingError, Patience
from ml.data.download.part import State

RETRIED_STATUSES = {408, 425, 429}


class _Redirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, request, answer, code, message, headers, address):
        if urllib.parse.urlsplit(address).scheme not in ("http", "https"):
            raise DownloadError(f"{request.full_url} leads to {address}, which is not http(s); it is not followed")
        return super().redirect_request(request, answer, code, message, headers, address)


def _opener() -> urllib.request.OpenerDirector:
    """An opener for http and https only, with the proxies of the environment."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.UnknownHandler(),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(),
        urllib.request.HTTPDefaultErrorHandler(),
        _Redirects(),
        urllib.request.HTTPErrorProcessor(),
    ):
        opener.add_handler(handler)
    return opener


def open_url(url: str, headers: dict[str, str], patience: Patience) -> http.client.HTTPResponse:
    """The server's answer, 2xx or 416.

    Raises:
        PassingError: 5xx, 408, 425 and 429, timeouts and broken connections.
        DownloadError: any other refusal.
    """
    request = urllib.request.Request(url, headers={"User-Agent": "raw2rank", "Accept-Encoding": "identity", **headers})
    try:
        return _opener().open(request, timeout=patience.timeout)
    except urllib.error.HTTPError as error:
        if error.code == 416:
            # an error is read and closed as any other answer
            return cast(http.client.HTTPResponse, error)
        error.close()
        refusal = f"the server answered HTTP {error.code} {error.reason}"
        if error.code >= 500 or error.code in RETRIED_STATUSES:
            raise PassingError(refusal, _asked_wait(error.headers.get("Retry-After"))) from error
        if error.code in (404, 410):
            refusal += ": it has no such file; the release may have moved, and --base-url takes another address"
        raise DownloadError(f"{url}: {refusal}") from error
    except (OSError, http.client.HTTPException) as error:
        reason = error.reason if isinstance(error, urllib.error.URLError) else error
        if isinstance(reason, ssl.SSLCertVerificationError):
            raise DownloadError(f"{url}: the server's certificate was not accepted: {reason}") from error
        if isinstance(reason, socket.gaierror) and reason.errno == socket.EAI_NONAME:
            raise DownloadError(
                f"{url}: the name of the server is not known here ({reason}); is this machine connected? Running the "
                "command again resumes"
            ) from error
        raise PassingError(trouble_of(reason, patience)) from error


def read_bytes(response: http.client.HTTPResponse, most: int, whole: bool = False) -> bytes:
    """The next bytes, none at the end; with ``whole``, as many as asked for unless it ends before."""
    try:
        return response.read(most) if whole else response.read1(most)
    except (OSError, http.client.HTTPException) as error:
        raise PassingError(trouble_of(error)) from error


def trouble_of(reason: object, patience: Patience | None = None) -> str:
    if isinstance(reason, TimeoutError):
        return "nothing came in time" + (f" ({patience.timeout:.0f} s)" if patience else "")
    return f"the connection failed ({reason or type(reason).__name__})"


def _asked_wait(text: str | None) -> float | None:
    """Seconds that Retry-After asks for, as a number or a date; ``None`` without one that can be read."""
    if text is None:
        return None
    if text.strip().isdecimal():
        return float(text)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(text).timestamp() - time.time())
    except ValueError:
        return None


def state_of(url: str, headers: http.client.HTTPMessage) -> State:
    return State(url, headers.get("ETag"), headers.get("Last-Modified"), length_of(headers.get("Content-Length")))


def length_of(text: str | None) -> int | None:
    return int(text) if text and text.strip().isdecimal() else None


def content_range(text: str | None) -> tuple[int | None, int | None]:
    """First byte and total size of ``bytes 5-9/10`` or ``bytes */10``; ``None`` for what it does not say."""
    parts = re.fullmatch(r"bytes (?:(\d+)-\d+|\*)/(?:(\d+)|\*)", (text or "").strip())
    if not parts:
        return None, None
    return length_of(parts[1]), length_of(parts[2])
