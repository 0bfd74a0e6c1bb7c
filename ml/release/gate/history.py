"""The history of the releases of a dataset: who put what in charge, when and why.

One JSON object a line in ``release/history.jsonl``, the oldest first. The file is rewritten whole for each line, so a
killed process leaves the old history or the new one.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from pathlib import Path

from ml.data.files import atomic_file

HISTORY_FILE = "history.jsonl"
# what happened: the gate or somebody put a release in charge, somebody took it back, or the gate refused one
PROMOTED, PROMOTED_BY_HAND, ROLLED_BACK, REFUSED = "promoted", "promoted by hand", "rolled back", "refused"
EVENTS = (PROMOTED, PROMOTED_BY_HAND, ROLLED_BACK, REFUSED)


class HistoryError(ValueError):
    """The history cannot be read, or does not allow what is asked for; the message names the file and the remedy."""


@dataclass(frozen=True)
class Event:
    """One line of the history.

    Attributes:
        when: ISO 8601 with the offset to UTC.
        event: one of :data:`EVENTS`.
        release: digest of the release that it is about; of a roll-back the one that was taken back.
        name: of its recommender.
        in_charge: digest of the release in charge afterwards; empty where there is none.
        who: the user of the machine, or the gate.
        why: one sentence.
        run: the Dagster run, where it was one.
    """

    when: str
    event: str
    release: str
    name: str
    in_charge: str
    who: str
    why: str
    run: str = ""

    def __post_init__(self) -> None:
        if self.event not in EVENTS:
            raise HistoryError(f"an event is one of {', '.join(EVENTS)}, not {self.event!r}")


def read_history(folder: Path) -> list[Event]:
    """The history in a folder, the oldest event first; empty where there is none.

    Raises:
        HistoryError: a line cannot be read; the message names file and line.
    """
    path = folder / HISTORY_FILE
    if not path.exists():
        return []
    events = []
    names = {one.name for one in fields(Event)}
    for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), start=1):
        try:
            values = json.loads(line)
            if not isinstance(values, dict) or not all(isinstance(value, str) for value in values.values()):
                raise ValueError("it is not an object of texts")
            if missing := sorted(names - {"run"} - values.keys()):
                raise ValueError(f"it lacks {', '.join(missing)}")
            events.append(Event(**{name: value for name, value in values.items() if name in names}))
        except (ValueError, RecursionError) as error:
            raise HistoryError(
                f"{path}, line {number}: {error}; mend or delete this line, which says who released what"
            ) from error
    return events


def add(folder: Path, event: Event) -> None:
    """Add an event at the end.

    Raises:
        HistoryError: what is there cannot be read.
    """
    events = [*read_history(folder), event]
    folder.mkdir(parents=True, exist_ok=True)
    with atomic_file(folder / HISTORY_FILE) as file:
        file.write_text("".join(f"{json.dumps(asdict(one))}\n" for one in events), encoding="utf-8")


def now() -> str:
    return datetime.now().astimezone().isoformat(timespec="seconds")


def in_charge(events: Sequence[Event]) -> list[Event]:
    """The promotions that stand, the oldest first: the last is that of the release in charge.

    A promotion is put on top, a roll-back takes the top away. So two roll-backs lead two releases back.
    """
    stack: list[Event] = []
    for event in events:
        if event.event in (PROMOTED, PROMOTED_BY_HAND):
            stack.append(event)
        elif event.event == ROLLED_BACK and stack:
            stack.pop()
    return stack


def rolled_back(events: Sequence[Event], release: str) -> Event | None:
    """The roll-back that keeps a release from being promoted again unasked; ``None`` where none does.

    One that was promoted by hand afterwards is trusted again.
    """
    found = None
    for event in events:
        if event.release == release:
            if event.event == ROLLED_BACK:
                found = event
            elif event.event == PROMOTED_BY_HAND:
                found = None
    return found
