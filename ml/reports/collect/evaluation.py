"""What a report says of the evaluation: leaderboard, what is recommended, slices and audits."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ml.audits.audit import Audit
from ml.data.files import read_json
from ml.evaluation.metrics import HEADLINE
from ml.evaluation.protocol_line import protocol
from ml.recommender import BASELINE
from ml.reports.content.report import Estimate, Leaderboard, LeaderboardRow, SliceRow
from ml.reports.words.verdict import gravity


class MissingInput(FileNotFoundError):
    """A file that a report needs is not there; the message names it and what makes it."""


def read_leaderboard(lake: Path) -> pa.Table:
    """The table that the leaderboard's asset left."""
    return _read(lake, "leaderboard")


def leaderboard_content(table: pa.Table) -> Leaderboard:
    """The rows of :func:`ml.evaluation.leaderboard.build_leaderboard` as a report shows them."""
    records = table.to_pylist()
    several_seeds = len({record["seed"] for record in records if record["kind"] != BASELINE}) > 1
    several_fits = len({record["fit_on"] for record in records}) > 1

    def note(record: Mapping[str, Any]) -> str:
        loss = loss_name(record)
        found = [loss] if loss and loss.lower() not in record["title"].lower() else []
        if several_fits:
            found.append(f"fit on {record['fit_on']}")
        if several_seeds and record["kind"] != BASELINE and record["seeds"] == 1:
            found.append(f"seed {record['seed']}")
        return ", ".join(found)

    rows = tuple(LeaderboardRow(record, note(record)) for record in records)
    return Leaderboard(rows, records[0]["users"], records[0]["catalogue"], tuple(protocol(table).items()))


def loss_name(record: Mapping) -> str:
    """The objective in words, as recipes name it."""
    return (record["loss"] or "").replace("_", " ")


def list_metrics(lake: Path, board: Leaderboard) -> dict[str, dict[str, float | None]]:
    """What each recommender of the leaderboard recommends, by metric, in the leaderboard's order."""
    records = {record.pop("recommender"): record for record in _read(lake, "list_metrics").to_pylist()}
    order = dict.fromkeys(row.recommender for row in board.rows)
    return {
        name: {metric: value for metric, value in records[name].items() if "@" in metric}
        for name in order
        if name in records
    }


def slices(lake: Path, board: Leaderboard) -> tuple[SliceRow, ...]:
    """The slices of the recommenders of the leaderboard, in the order in which they were made."""
    compared = {row.recommender for row in board.rows}
    return tuple(
        SliceRow(
            slice=record["slice"],
            bucket=record["bucket"],
            place=record["place"],
            users=record["users"],
            recommender=record["recommender"],
            headline=Estimate(record[HEADLINE], record[f"{HEADLINE}_low"], record[f"{HEADLINE}_high"]),
            recall=record["recall@10"],
        )
        for record in _read(lake, "slices").to_pylist()
        if record["recommender"] in compared
    )


def audits(lake: Path) -> tuple[Audit, ...]:
    """The audits that were made, those with a concern first; none where no audit was made."""
    found = [Audit.from_json(read_json(path)) for path in sorted((lake / "audits").glob("*.json"))]
    return tuple(sorted(found, key=gravity))


def _read(lake: Path, name: str) -> pa.Table:
    path = lake / "evaluation" / f"{name}.parquet"
    if not path.exists():
        raise MissingInput(f"{path} is missing: materialise the leaderboard of this dataset first")
    return pq.read_table(path)
