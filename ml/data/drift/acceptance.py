"""Accepted states of a dataset, and the comparison of the present one with them.

A state is held against three: the one that was accepted last; the reference, which is the first one accepted since the
beginning or since a state was accepted by hand; and the median of the last accepted ones. A drift that is small from
each state to the next shows in the distance from the reference.

Of the accepted state is kept besides how it compared with those before it: holding the same state against its contract
once more then finds what it found at first, and does not compare the state with itself.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ml.data.database import one_row, quoted
from ml.data.drift.comparison import REFERENCE, distances, figures, from_median
from ml.data.drift.profile import IDENTITIES, identities, profile, staged
from ml.data.versions import versioned_folder

FORMAT = "raw2rank-accepted-1"
# of how many accepted states the figures are kept
STATES_KEPT = 50
_RECORD = "accepted.json"
_FIRST = "Nothing to compare with: no earlier state of this dataset was accepted."


class AcceptanceError(ValueError):
    """The record of the accepted state cannot be read; the message says where it is and what to do."""


@dataclass(frozen=True)
class Comparison:
    """The present statistics of one kind of data and the accepted ones.

    Attributes:
        row: figures of both and the distances between them, by name; ``None`` where there is nothing to compare.
        note: with what it was compared, in one sentence.
    """

    row: dict[str, float | int | None]
    note: str


def compare(kind: str, table: Path, accepted: Path) -> Comparison:
    """Compare the staged table of a kind with its accepted states.

    Args:
        kind: ``reviews`` or ``metadata``.
        table: its Parquet file.
        accepted: folder that :func:`accept` writes; need not exist.

    Returns:
        ``rows``; ``accepted_rows`` and the distances of :func:`ml.data.drift.comparison.distances` from the state that
        was accepted last; the same from the reference, each name after ``reference_``; and those of
        :func:`ml.data.drift.comparison.from_median`.

    Raises:
        AcceptanceError: the accepted state cannot be read.
    """
    return _compare(kind, table, accepted, profile(kind, table))


def accept(kind: str, table: Path, accepted: Path, by_hand: bool = False) -> dict[str, Any]:
    """Make the state of a staged table the accepted one, and give its profile.

    The state that is accepted already stays as it is, with what it was compared with.

    Args:
        kind: ``reviews`` or ``metadata``.
        table: its Parquet file.
        accepted: folder to write: ``accepted.json`` and a Parquet file of each kind of identity; the same of the
            reference in ``reference/``, where that is another state.
        by_hand: accept it however far it is from those before, as the reference of a new line of states.

    Raises:
        AcceptanceError: the accepted state cannot be read.
    """
    present = profile(kind, table)
    stored = None if by_hand else _stored(accepted)
    if stored and stored["profile"] == present:
        return present
    record = {
        "format": FORMAT,
        "by_hand": by_hand,
        "profile": present,
        "comparison": _nothing(kind, present) if by_hand else _compare(kind, table, accepted, present).row,
        "states": [*(_figures_of(kind, stored) if stored else []), figures(kind, present)][-STATES_KEPT:],
    }
    with versioned_folder(accepted, keep=0) as folder, staged(table) as connection:
        for name in IDENTITIES[kind]:
            connection.execute(
                f"copy ({identities(kind, name, connection)} order by id) to '{quoted(folder / name)}.parquet' "
                "(format parquet, compression zstd)"
            )
        (folder / _RECORD).write_text(json.dumps(record, indent=2) + "\n")
        if stored:
            shutil.copytree(_reference(accepted), folder / REFERENCE, ignore=shutil.ignore_patterns(REFERENCE))
    return present


def states(kind: str, accepted: Path) -> list[dict[str, float | int | None]]:
    """Figures of the states that were accepted one after the other, the last one last; empty before the first.

    Raises:
        AcceptanceError: the accepted state cannot be read.
    """
    stored = _stored(accepted)
    return [] if stored is None else _figures_of(kind, stored)


def _compare(kind: str, table: Path, accepted: Path, present: Mapping[str, Any]) -> Comparison:
    stored = _stored(accepted)
    if stored is None:
        return Comparison(_nothing(kind, present), _FIRST)
    if stored["profile"] == present:
        note = f"This state was accepted at {_written_at(accepted)}; shown is what it was compared with then."
        if stored["by_hand"]:
            note = f"This state was accepted by hand at {_written_at(accepted)}; it was compared with nothing."
        return Comparison(stored["comparison"], note)
    reference = _reference(accepted)
    first = stored if reference == accepted else _stored(reference)
    from_last = distances(kind, present, stored["profile"], _common(kind, table, accepted))
    from_reference = (
        from_last
        if first is None or reference == accepted
        else distances(kind, present, first["profile"], _common(kind, table, reference))
    )
    row = (
        {"rows": present["rows"], "accepted_rows": stored["profile"]["rows"], **from_last}
        | {f"{REFERENCE}_{name}": value for name, value in from_reference.items()}
        | from_median(kind, present, _figures_of(kind, stored))
    )
    return Comparison(row, f"Compared with the state that was accepted at {_written_at(accepted)}.")


def _nothing(kind: str, present: Mapping[str, Any]) -> dict[str, float | int | None]:
    """The row of a state that is compared with none."""
    names = distances(kind, present, None, {})
    return (
        {"rows": present["rows"], "accepted_rows": None, **names}
        | {f"{REFERENCE}_{name}": None for name in names}
        | from_median(kind, present, [])
    )


def _common(kind: str, table: Path, accepted: Path) -> dict[str, int]:
    """How many users or items of an accepted state the table still has; of described items also how many of them say
    something else, or have another price, than they had."""
    found: dict[str, int] = {}
    with staged(table) as connection:
        for name in IDENTITIES[kind]:
            path = quoted(accepted / name)
            earlier = f"read_parquet('{path}.parquet', hive_partitioning = false)"
            there = {column for column, *_ in connection.execute(f"describe from {earlier}").fetchall()}
            # a state that an earlier version accepted has identities alone
            changed = [column for column in ("text", "price") if column in there]
            counts = "".join(
                f", count(*) filter (present.{column} is distinct from earlier.{column})" for column in changed
            )
            kept, *others = one_row(
                connection,
                f"select count(*){counts} from ({identities(kind, name, connection)}) as present "
                f"inner join {earlier} as earlier using (id)",
            )
            found[name] = kept
            found |= {f"{column}_changed": count for column, count in zip(changed, others, strict=True)}
    return found


def _figures_of(kind: str, stored: Mapping[str, Any]) -> list[dict[str, float | int | None]]:
    """Figures of all states of a record; a record of an earlier version has those of its own state."""
    states: Sequence[Any] = stored.get("states", ())
    return list(states) or [figures(kind, stored["profile"])]


def _reference(accepted: Path) -> Path:
    """Folder of the reference: the accepted state itself, while it is the only one of its line."""
    folder = accepted / REFERENCE
    return folder if folder.is_dir() else accepted


def _written_at(accepted: Path) -> str:
    """Time at which a state was accepted: that of its file, so that equal states are equal bytes."""
    return datetime.fromtimestamp((accepted / _RECORD).stat().st_mtime, UTC).isoformat(timespec="seconds")


def _stored(accepted: Path) -> dict[str, Any] | None:
    path = accepted / _RECORD
    try:
        record = json.loads(path.read_text())
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise AcceptanceError(f"{path} is not JSON ({error}); remove {accepted} to begin anew") from error
    if not isinstance(record, dict) or record.get("format") != FORMAT:
        raise AcceptanceError(f"{path} was written by another version; remove {accepted} to begin anew")
    return record
