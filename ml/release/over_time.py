"""Results over time: one entry for each leaderboard of a dataset, with what was in charge after it.

The entries are kept in one file, to which :func:`advance` adds the present state where it differs from the last one.
So making it again on equal input changes nothing, and the same sequence of dumps, settings and seeds gives the same
entries but for the clock.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ml.evaluation.columns import HIGH, LOW
from ml.evaluation.metrics import HEADLINE
from ml.evaluation.protocol_line import protocol
from ml.evaluation.significance import SeedValues, mean_test
from ml.release.gate.decision import PROMOTE, UNCHANGED, Decision
from ml.release.gate.findings import CHAMPION
from ml.release.series import KEPT, read_entries, write_entries

FORMAT = "raw2rank-over-time-1"
OVER_TIME_FILE = "over_time.json"
# the choices of a protocol that every data set has its own value of; those after them are of the recommenders
_OF_THE_DATA = ("dataset", "dataset digest", "validation users")
_FIRST_OF_THE_RECOMMENDERS, _SEEN_ITEMS = "test users", "seen items"


class OverTimeError(ValueError):
    """The record of earlier results cannot be read; the message says where it is and what to do."""


@dataclass(frozen=True)
class Figure:
    """nDCG@10 of a recommender.

    Attributes:
        title: of the recommender.
        ndcg: its mean over the test users; ``None`` where it was not measured.
        low: lower bound of its 95 % interval; ``None`` where there is none.
        high: upper bound.
    """

    title: str
    ndcg: float | None = None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Standing:
    """A leaderboard, and the release in charge after it.

    Attributes:
        leaderboard: digest of the leaderboard.
        training_set: first digits of the digest of the training set.
        code: version or commit of this project.
        interactions: that were kept of the dumps.
        users: test users.
        recommenders: how many were compared.
        best: of the leaderboard.
        in_charge: after the decision of the gate; ``None`` where nothing is.
        release: digest of what is in charge; empty where nothing is.
        verdict: of the gate.
        protocol: the choices that decide what is measured, by label.
        when: it was made, as text.
        run: the Dagster run that made it.
    """

    leaderboard: str
    training_set: str
    code: str
    interactions: int
    users: int
    recommenders: int
    best: Figure
    in_charge: Figure | None = None
    release: str = ""
    verdict: str = ""
    protocol: Mapping[str, str] = field(default_factory=dict)
    when: str = ""
    run: str = ""

    def timeless(self) -> Standing:
        """The same without the clock, equal for equal input."""
        return replace(self, when="", run="")

    @classmethod
    def from_json(cls, known: Mapping[str, Any]) -> Standing:
        values = {one.name: known[one.name] for one in fields(cls) if one.name in known}
        for name in ("best", "in_charge"):
            values[name] = Figure(**values[name]) if values.get(name) else None
        return cls(**values)


def standing_of(
    board: pa.Table, digest: str, decision: Decision | None, cases: pa.Table | None, interactions: int, code: str
) -> Standing:
    """The entry of a leaderboard.

    Args:
        board: the leaderboard.
        digest: its own.
        decision: of the gate on its candidate; ``None`` where there was none.
        cases: what the decision was made on; ``None`` where nothing was ranked for it.
        interactions: that were kept of the dumps.
        code: version or commit of this project.
    """
    rows = board.to_pylist()
    best = max(rows, key=lambda row: row[HEADLINE])
    choices = protocol(board)
    in_charge, release = _in_charge(decision, cases, {row["recommender"]: row for row in rows})
    return Standing(
        leaderboard=digest,
        training_set=choices.get("dataset digest", ""),
        code=code,
        interactions=interactions,
        users=best["users"],
        recommenders=len(rows),
        best=_figure(best),
        in_charge=in_charge,
        release=release,
        verdict="" if decision is None else decision.verdict,
        protocol=_choices(choices),
    )


def _choices(known: Mapping[str, str]) -> dict[str, str]:
    """The choices that decide what is measured: split, cleaning rules, order of ties, and whether seen items count."""
    found = {}
    for label, value in known.items():
        if label == _FIRST_OF_THE_RECOMMENDERS:
            break
        if label not in _OF_THE_DATA:
            found[label] = value
    if _SEEN_ITEMS in known:
        found[_SEEN_ITEMS] = known[_SEEN_ITEMS]
    return found


def _figure(row: Mapping[str, Any]) -> Figure:
    return Figure(row["title"], row[HEADLINE], row.get(LOW), row.get(HIGH))


def _in_charge(
    decision: Decision | None, cases: pa.Table | None, rows: Mapping[str, Mapping[str, Any]]
) -> tuple[Figure | None, str]:
    """What is in charge after a decision, and its digest: the candidate, or the champion that stays."""
    if decision is None:
        return None, ""
    if decision.verdict in (PROMOTE, UNCHANGED) and decision.candidate is not None:
        new = decision.candidate
        return _figure(rows[new.name]) if new.name in rows else Figure(new.title), new.digest
    if decision.champion is None:
        return None, ""
    old = decision.champion
    if cases is None or CHAMPION not in cases.column_names:
        return Figure(old.title), old.digest
    values = np.asarray(cases[CHAMPION], dtype=np.float64)
    bounds = mean_test(SeedValues.of_one_seed(values)).interval() if len(values) > 1 else None
    return (
        Figure(old.title, float(values.mean()), bounds.low if bounds else None, bounds.high if bounds else None),
        old.digest,
    )


def read_standings(folder: Path) -> list[Standing]:
    """The entries, the oldest first; none before the first.

    Raises:
        OverTimeError: the record cannot be read.
    """
    return read_entries(folder / OVER_TIME_FILE, FORMAT, "entries", Standing.from_json, OverTimeError)


def advance(before: Path, entry: Standing, after: Path) -> list[Standing]:
    """Add an entry to those of an earlier call, unless the last one is about the same leaderboard and release.

    Args:
        before: folder that an earlier call wrote; need not exist.
        entry: the present state.
        after: existing folder to write (:func:`ml.data.versions.versioned_folder`).

    Returns:
        The entries, the oldest first.

    Raises:
        OverTimeError: the record of earlier results cannot be read.
    """
    entries = read_standings(before)
    if not entries or (entries[-1].leaderboard, entries[-1].release) != (entry.leaderboard, entry.release):
        entries = [*entries, entry][-KEPT:]
    write_entries(after / OVER_TIME_FILE, FORMAT, "entries", entries)
    return entries


def read_cases(path: Path) -> pa.Table | None:
    """What a decision was made on; ``None`` where nothing was ranked for it."""
    return pq.read_table(path) if path.exists() else None


def changed_choices(before: Standing, after: Standing) -> tuple[str, ...]:
    """Labels of the choices of the protocol in which two entries differ."""
    labels = dict.fromkeys((*before.protocol, *after.protocol))
    return tuple(label for label in labels if before.protocol.get(label) != after.protocol.get(label))


def protocols(entries: Sequence[Standing]) -> list[int]:
    """A number for each entry, from 1, that grows where the protocol changes: figures of other numbers were measured
    otherwise."""
    numbers: list[int] = []
    for place, entry in enumerate(entries):
        changed = place > 0 and bool(changed_choices(entries[place - 1], entry))
        numbers.append(1 if place == 0 else numbers[-1] + changed)
    return numbers
