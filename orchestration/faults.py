"""Errors in plain words: what went wrong, where, and what to do about it, in one sentence.

An error is classified by the names of its class and by its text, not by its type. That is what Dagster keeps of an
error that ended a step, what dbt writes of one that DuckDB raised, and what is left of one from another process; so one
set of rules serves errors in this process, in a step, and in dbt.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import tempfile
import time
import traceback
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from orchestration.dagster_internals import SerializableErrorInfo

TRACEBACK_VARIABLE = "RAW2RANK_TRACEBACK"

# Errors whose message is written for the user: it names the file and the remedy.
WORDED = frozenset(
    {
        "AcceptanceError",
        "ContractError",
        "DamagedFile",
        "DatasetBusy",
        "DivergedError",
        "DownloadError",
        "HistoryError",
        "LandingError",
        "MissingExtra",
        "MissingInput",
        "NoSymbolicLinks",
        "RankingError",
        "RegistrationError",
        "ReportError",
        "SplitError",
        "StorageError",
        "TableError",
        "VariantError",
        "WarehouseBusy",
        "WorkspaceError",
    }
)
_INTERRUPTIONS = frozenset({"DagsterExecutionInterruptedError", "KeyboardInterrupt", "Stopped"})
# A path between quotes, as Python, DuckDB and the C library write it.
_QUOTED_PATH = re.compile(r"""'([^'\n]*/[^'\n]*)'|"([^"\n]*/[^"\n]*)\"""")


@dataclass(frozen=True)
class Link:
    """One error of a chain.

    Attributes:
        kind: name of its class, without the module.
        text: its message.
        path: the file it names, where that is known apart from the message.
    """

    kind: str
    text: str
    path: str = ""


@dataclass(frozen=True)
class _Rule:
    """Message for the errors that a pattern matches, by path and workspace; ``None`` for other cases."""

    pattern: re.Pattern[str]
    says: Callable[[str, Path], str | None]


def _full(path: str, home: Path) -> str:
    free = shutil.disk_usage(_existing(Path(path))).free >> 20
    return (
        f"the disk that holds {path} is full ({free:,} MiB are free): free some space on it, or name a workspace on "
        "another disk by RAW2RANK_HOME, and run the command again; what was finished before is kept"
    )


def _read_only(path: str, home: Path) -> str:
    return (
        f"{path} cannot be written, because it is read-only: make it writable, or name another workspace by "
        f"RAW2RANK_HOME (it is {home} now)"
    )


def _forbidden(path: str, home: Path) -> str:
    return (
        f"this user may not read or write {path}: change its permissions, or name another workspace by RAW2RANK_HOME "
        f"(it is {home} now)"
    )


def _too_long(path: str, home: Path) -> str:
    name = max(Path(path).parts, key=lambda part: len(os.fsencode(part)), default=path)
    shown = name if len(name) <= 40 else f"{name[:40]}..."
    return (
        f"the name {shown} in a path of {len(os.fsencode(path)):,} bytes is longer than the file system allows "
        "(usually 255 bytes for a name and 4,096 for a path): use a shorter one"
    )


def _memory_of_duckdb(path: str, home: Path) -> str:
    from ml.data.database import memory_limit

    return (
        f"DuckDB needs more memory than it may use (RAW2RANK_DUCKDB_MEMORY is {memory_limit()}): raise "
        "RAW2RANK_DUCKDB_MEMORY where the machine has more, else lower RAW2RANK_DUCKDB_THREADS (such as 1)"
    )


def _memory(path: str, home: Path) -> str:
    return (
        "the machine ran out of memory: close other programs, take a machine with more of it, or raise K_CORE or "
        "FROM_DATE so that less data is left"
    )


def _damaged_table(path: str, home: Path) -> str | None:
    try:
        dataset, *asset = Path(path).relative_to(home / "lake").parts
    except ValueError:
        # a file of the user is the business of whoever reads it
        return None
    folder = home / "lake" / dataset / Path(*asset[:2])
    return f"{path} is damaged: remove {folder} and run the command again, which makes it again"


def _process(path: str, home: Path) -> str:
    # the exit code stands where other errors have a path
    code = int(path)
    ended = killed_by(code) if code < 0 else f"ended with exit code {code}"
    return f"the training process {ended}; run the command again, which goes on from the last checkpoint"


def _rule(pattern: str, says: Callable[[str, Path], str | None] | str) -> _Rule:
    return _Rule(re.compile(pattern, re.IGNORECASE), says if callable(says) else lambda path, home: says.format(path))


# The first rule that matches counts.
_RULES = (
    _rule(
        r"no space left on device|\berrno 28\b|\bos error 28\b|disk is full|disk quota exceeded|\berrno 122\b"
        r"|file too large|max_temp_directory_size",
        _full,
    ),
    _rule(r"out of memory error|OutOfMemoryException", _memory_of_duckdb),
    _rule(r"no magic bytes found|parquet magic bytes|parquet file size is|not a parquet file", _damaged_table),
    _rule(
        r"cuda out of memory",
        "the GPU ran out of memory: choose DEVICE=cpu, or a recipe with a smaller batch or model",
    ),
    _rule(r"External execution process failed with code (?P<named>-?\d+)", _process),
    _rule(
        r"^MemoryError\b|cannot allocate memory|can't allocate memory|unable to allocate|ArrowMemoryError|\berrno 12\b",
        _memory,
    ),
)
# Of errors that the operating system or a database raised, not of any text.
_RULES_OF_THE_SYSTEM = (
    _rule(r"read-only file system|\berrno 30\b|readonly database", _read_only),
    _rule(r"file name too long|\berrno 36\b", _too_long),
    _rule(r"permission denied|operation not permitted|\berrno 13\b|\berrno 1\b", _forbidden),
    _rule(
        r"not a directory|\berrno 20\b|file exists|\berrno 17\b",
        "{0} is needed as a folder, but there is a file at that place: move the file away, or name another folder",
    ),
    _rule(r"is a directory|\berrno 21\b", "{0} is needed as a file, but it is a folder: move the folder away"),
    _rule(
        r"too many open files|\berrno 24\b",
        "this process may not open more files, {0} among them: raise the limit (ulimit -n 4096) and run the command "
        "again",
    ),
    _rule(
        r"no locks available|\berrno 37\b",
        "{0} lies on a file system without locks, such as some network drives: name a workspace on a local disk by "
        "RAW2RANK_HOME",
    ),
    _rule(
        r"database is locked",
        "another process keeps the record of runs in the folder dagster of {0} locked: wait until it has ended, and "
        "run the command again",
    ),
    _rule(
        r"disk image is malformed|file is not a database",
        "the record of runs in the folder dagster of {0} is damaged: move that folder away and run the command again, "
        "which makes every asset again",
    ),
    _rule(
        r"unable to open database file",
        "the record of runs in the folder dagster of {0} cannot be opened: check that this user may write there",
    ),
    _rule(r"input/output error|\berrno 5\b|disk i/o error", "the disk that holds {0} reports an error: check the disk"),
)
_KINDS_OF_THE_SYSTEM = frozenset(
    {
        "ArrowIOError",
        "BlockingIOError",
        "DatabaseError",
        "DbtRuntimeError",
        "Error",
        "FileExistsError",
        "IOException",
        "IsADirectoryError",
        "NotADirectoryError",
        "OSError",
        "OperationalError",
        "PermissionError",
        "SafetensorError",
    }
)


def links_of(error: BaseException) -> list[Link]:
    """An error and what led to it, the error itself first."""
    links: list[Link] = []
    seen: set[int] = set()
    at: BaseException | None = error
    while at is not None and id(at) not in seen:
        seen.add(id(at))
        path = getattr(at, "filename", None)
        named = os.fsdecode(path) if isinstance(path, (str, bytes, os.PathLike)) else ""
        links.append(Link(type(at).__name__, str(at), named))
        at = at.__cause__ or (None if at.__suppress_context__ else at.__context__)
    return links


def links_of_step(error: SerializableErrorInfo) -> list[Link]:
    """The same of what Dagster keeps of an error that ended a step."""
    links: list[Link] = []
    at: SerializableErrorInfo | None = error
    while at is not None:
        kind = (at.cls_name or "").rsplit(".", 1)[-1]
        # the message is "dotted.name.of.the.Class: text"
        text = re.sub(rf"^(?:[\w.]*\.)?{re.escape(kind)}: ", "", at.message.strip()) if kind else at.message.strip()
        links.append(Link(kind, text))
        at = at.cause or at.context
    return links


def interrupted(links: Iterable[Link]) -> bool:
    """Whether the errors say that somebody stopped the work."""
    return any(link.kind in _INTERRUPTIONS for link in links)


def sentence(links: Sequence[Link], home: Path) -> str | None:
    """Cause and remedy in one sentence; ``None`` for errors of an unknown kind.

    Args:
        links: the errors, as :func:`links_of` gives them.
        home: the workspace, named where the errors name no file.
    """
    for link in links:
        if link.kind in WORDED and link.text:
            return link.text
    for link in links:
        text = f"{link.kind}: {link.text}"
        rules = [*_RULES, *_RULES_OF_THE_SYSTEM] if link.kind in _KINDS_OF_THE_SYSTEM else _RULES
        for rule in rules:
            if found := rule.pattern.search(text):
                named = found.groupdict().get("named") or link.path or _named_path(link.text)
                if said := rule.says(named or str(home), home):
                    return said
    return None


def unexpected(links: Sequence[Link], trace: str, home: Path, where: str = "") -> str:
    """One sentence on an error of no known kind; its stack trace goes to a file that the sentence names."""
    root = links[-1]
    lines = root.text.strip().splitlines()
    said = f"{root.kind}: {lines[0]}" if lines else root.kind
    kept = keep_trace(trace, home)
    place = f"the stack trace is in {kept}" if kept else f"{TRACEBACK_VARIABLE}=1 shows the stack trace"
    return f"{f'{where}: ' if where else ''}{said} (unexpected error; {place})"


def reason(error: BaseException, home: Path) -> str:
    """Message for an error that ended a command: always one sentence."""
    links = links_of(error)
    return sentence(links, home) or unexpected(links, "".join(traceback.format_exception(error)), home)


def reason_of_step(step: str, error: SerializableErrorInfo, home: Path) -> str:
    """Message for an error that ended a step of a run: always one sentence."""
    links = links_of_step(error)
    return sentence(links, home) or unexpected(links, error.to_string(), home, where=step)


def killed_by(code: int) -> str:
    """Message for a process that was ended by a signal, from its negative exit code: "was killed by SIGTERM"."""
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    if name == "SIGKILL":
        return f"was killed by {name}, as Linux does where memory runs out: {_memory('', Path())}"
    return f"was killed by {name}"


def keep_trace(trace: str, home: Path) -> Path | None:
    """Write a stack trace to a file of the workspace, else to one of the system's temporary folder; ``None`` where
    neither can be written."""
    name = f"error-{time.strftime('%Y%m%dT%H%M%S')}-"
    for folder in (home / "logs", Path(tempfile.gettempdir())):
        try:
            if folder.parent == home:
                # the workspace itself is made by whoever has work for it
                folder.mkdir(exist_ok=True)
            descriptor, path = tempfile.mkstemp(prefix=name, suffix=".txt", dir=folder)
            with open(descriptor, "w", encoding="utf-8", errors="backslashreplace") as file:
                file.write(trace)
        except OSError:
            continue
        return Path(path)
    return None


def _named_path(text: str) -> str:
    """The first path between quotes."""
    found = _QUOTED_PATH.search(text)
    return (found[1] or found[2]) if found else ""


def _existing(path: Path) -> Path:
    """The path, or the closest folder above it that exists."""
    for candidate in (path, *path.parents):
        if os.path.lexists(candidate):
            return candidate
    return Path("/")
