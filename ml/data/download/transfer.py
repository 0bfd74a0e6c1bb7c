"""Bringing one file: request after request until it is whole, checked, and in place."""

from __future__ import annotations

import http.client
import os
import re
import shutil
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from isal import igzip, isal_zlib

from ml.data.download.connection import content_range, length_of, open_url, read_bytes, state_of
from ml.data.download.errors import DownloadError, PassingError, Patience
from ml.data.download.part import Part, State, locked_part, state_path
from ml.data.download.progress import Progress, byte_text, time_text

CHUNK_BYTES = 1 << 18
GZIP_MAGIC = b"\x1f\x8b"
# left free on the disk beside the file
SPARE_BYTES = 64 << 20

Answer = TypeVar("Answer")


@dataclass(frozen=True)
class Fetched:
    """Outcome of downloading one file.

    Attributes:
        path: where it lies.
        bytes: its size.
        received: bytes that were transferred for it now; 0 for a file that lay there whole.
    """

    path: Path
    bytes: int
    received: int


def fetch(url: str, target: Path, patience: Patience | None = None, progress: Progress | None = None) -> Fetched:
    """Fetch one gzip file, going on where an earlier attempt broke off.

    A target that exists with the size of the server's file is left as it is.

    Args:
        url: http or https.
        target: where it shall lie; its folder is made.
        patience: waits and retries.
        progress: told how far it is.

    Raises:
        DownloadError: the server cannot be reached, refuses, or sends something else or something damaged; the
            target exists with another size; the disk is too small; another process fetches the same file.
    """
    patience, progress = patience or Patience(), progress or Progress()
    target = Path(os.path.abspath(target))
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.exists():
            return _existing(url, target, patience, progress)
        with locked_part(target) as part:
            # another process may have finished it between the look and the lock
            if target.exists():
                part.remove()
                return _existing(url, target, patience, progress)
            _persist(url, lambda: _transfer(url, part, patience, progress), patience, progress, part)
            progress.note(f"{target.name}: {byte_text(part.size)} received, checking the gzip stream")
            _check_stream(url, part)
            part.put_in_place()
            return Fetched(target, part.size, part.received)
    except OSError as error:
        raise DownloadError(
            f"{url} could not be kept as {target}: {error}; what was received stays, and running the command again "
            "resumes"
        ) from error
    finally:
        progress.clear()


def _existing(url: str, target: Path, patience: Patience, progress: Progress) -> Fetched:
    """A target that is there already, compared with the server's file."""
    size = target.stat().st_size

    def ask() -> int | None:
        with closing(open_url(url, {}, patience)) as response:
            return length_of(response.headers.get("Content-Length"))

    total = _persist(url, ask, patience, progress)
    if total is not None and total != size:
        raise DownloadError(
            f"{target} exists with {size:,} bytes, but {url} has {total:,}: it is damaged, or of another release; "
            "move it away to fetch the server's"
        )
    state_path(target).unlink(missing_ok=True)
    return Fetched(target, size, 0)


def _persist(
    url: str, attempt: Callable[[], Answer], patience: Patience, progress: Progress, part: Part | None = None
) -> Answer:
    """Try until it works, with growing waits.

    Raises:
        DownloadError: it failed too often without getting on.
    """
    failures = 0
    while True:
        restarts, size = (part.restarts, part.size) if part else (0, 0)
        try:
            return attempt()
        except PassingError as trouble:
            if part and part.restarts == restarts and part.size > size:
                failures = 0
            failures += 1
            wait = min(patience.first_wait * 2 ** (failures - 1), patience.longest_wait)
            if trouble.wait is not None:
                wait = trouble.wait
            if failures > patience.retries or (part and part.restarts > patience.retries):
                attempts = f"gave up after {failures} attempts in a row without getting on"
                if part and failures <= patience.retries:
                    attempts = f"gave up after beginning anew {part.restarts} times"
                raise DownloadError(f"{url}: {trouble}; {attempts}. {_resuming(part)}") from trouble
            if wait > patience.longest_asked_wait:
                raise DownloadError(
                    f"{url}: {trouble}; the server asks to come back in {time_text(wait)}. {_resuming(part)}"
                ) from trouble
            progress.note(f"{url.rsplit('/', 1)[-1]}: {trouble}; trying again in {wait:.0f} s")
            time.sleep(wait)


def _resuming(part: Part | None) -> str:
    if part and part.size:
        return f"Running the command again resumes at {byte_text(part.size)}"
    return "Running the command again tries again"


def _transfer(url: str, part: Part, patience: Patience, progress: Progress) -> None:
    """One request: go on with the part as far as the connection holds.

    Raises:
        PassingError: the file is not whole yet.
        DownloadError: it is not to be had.
    """
    known = part.state if part.state and part.state.url == url and part.size else None
    if known and known.total == part.size:
        return
    headers = {}
    if known:
        headers["Range"] = f"bytes={part.size}-"
        if known.validator:
            headers["If-Range"] = known.validator
    with closing(open_url(url, headers, patience)) as response:
        if response.status == 416 and known:
            total = content_range(response.headers.get("Content-Range"))[1]
            if total == part.size:
                # all of it, whatever length was announced before; the check of the stream decides
                return
            part.begin(None)
            raise PassingError("the server's file is no longer the one that was begun", wait=0.0)
        if response.status == 206 and known:
            _check_continues(part, known, response.headers)
            state, head = known, b""
        elif response.status == 200:
            state = state_of(url, response.headers)
            # looked at before the part is given up: a page of a proxy is no reason to lose it
            head = read_bytes(response, len(GZIP_MAGIC), whole=True)
            _check_head(url, head, response)
        else:
            raise DownloadError(f"{url}: the server answered HTTP {response.status}, which does not carry the file")
        if state.total is not None:
            _check_space(url, part.target, state.total - part.size)
        if response.status == 200:
            if part.size:
                progress.note(f"{part.target.name}: the server sends the file from the start; beginning anew")
            part.begin(state)
            part.append(head)
        progress.start(part.target.name, part.size, state.total)
        while data := read_bytes(response, CHUNK_BYTES):
            part.append(data)
            progress.update(part.size)
        if state.total is not None and part.size < state.total:
            raise PassingError(
                f"the connection ended at {part.size:,} of the {state.total:,} bytes that the server announced"
            )
        if state.total is not None and part.size > state.total:
            part.begin(None)
            raise PassingError(f"the server sent more than the {state.total:,} bytes that it announced")


def _check_continues(part: Part, known: State, headers: http.client.HTTPMessage) -> None:
    """Pass an answer that goes on exactly where the part ends, in the same version of the file."""
    first, total = content_range(headers.get("Content-Range"))
    same = first == part.size and (known.total is None or total is None or total == known.total)
    for name, value in (("ETag", known.etag), ("Last-Modified", known.last_modified)):
        # a server that does not know If-Range sends a piece of the new version
        if value and headers.get(name) and headers[name] != value:
            same = False
    if not same:
        part.begin(None)
        raise PassingError("the server's file is no longer the one that was begun", wait=0.0)


def _check_head(url: str, head: bytes, response: http.client.HTTPResponse) -> None:
    """Pass the start of a gzip file; say what it is otherwise."""
    if len(head) < len(GZIP_MAGIC):
        if length_of(response.headers.get("Content-Length")) == len(head):
            raise DownloadError(f"{url}: the server sent an empty file")
        raise PassingError("the connection ended before the first bytes")
    if head == GZIP_MAGIC:
        return
    text = (head + read_bytes(response, 2000, whole=True)).decode("utf-8", errors="replace")
    if response.headers.get_content_type() == "text/html" or re.match(r"\s*<(!doctype|html|\?xml)", text, re.I):
        title = re.search(r"<title[^>]*>\s*(.*?)\s*</title>", text, re.I | re.S)
        called = f" titled {title[1]!r}" if title else ""
        raise DownloadError(
            f"{url}: the server sent a web page{called} instead of the gzip file; nothing of it was kept. Open the "
            "address in a browser to see what it asks for, or give a mirror (--base-url)"
        )
    raise DownloadError(
        f"{url}: what the server sent is not gzip (it begins with {text[:20]!r}); nothing of it was kept"
    )


def _check_space(url: str, target: Path, missing: int) -> None:
    # what a part that is given up frees is counted in: `missing` is then smaller by its size
    free = shutil.disk_usage(target.parent).free
    if missing + SPARE_BYTES > free:
        raise DownloadError(
            f"{url}: {byte_text(missing)} more are needed in {target.parent} (and {byte_text(SPARE_BYTES)} to spare), "
            f"but only {byte_text(free)} are free; make room, or fetch into another folder (--into)"
        )


def _check_stream(url: str, part: Part) -> None:
    """Inflate the part from start to end, its checksums included.

    Raises:
        DownloadError: it is damaged or cut short; the part is removed, since going on with it mends nothing.
    """
    try:
        with igzip.open(part.path, "rb") as stream:
            while stream.read(4 * CHUNK_BYTES):
                pass
    except (EOFError, igzip.BadGzipFile, isal_zlib.IsalError) as error:  # type: ignore[misc]  # see text_stream
        size = part.size
        part.begin(None)
        raise DownloadError(
            f"{url}: the {size:,} bytes received are no whole gzip file ({error}); they were removed, and running the "
            "command again fetches them anew. If that does not help, the server's file is damaged"
        ) from error
