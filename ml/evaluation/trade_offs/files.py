"""The files of a comparison: a table of points as Parquet, and everything as JSON."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pyarrow as pa

from ml.data.files import atomic_file, whole
from ml.evaluation.intervals import Interval
from ml.evaluation.rankings import write_table
from ml.evaluation.trade_offs.content import (
    Bought,
    ExampleLists,
    HypervolumeDifference,
    ListsOfUser,
    Point,
    Reference,
    SeriesResult,
    TradeOffs,
)

FORMAT = "raw2rank-trade-offs-1"
JSON_FILE = "trade_offs.json"
POINTS_FILE = "points.parquet"
# columns of the table of points
_TEXTS = ("series", "title", "kind", "goal", "start", "parameter")
_FLAGS = ("on_front", "chosen")
_NUMBERS = (
    *("tradeoff", "ndcg@10", "ndcg@10_low", "ndcg@10_high", "value", "value_low", "value_high"),
    *("popularity_percentile@10", "coverage@10"),
)
POINTS = pa.schema(
    [
        *(pa.field(name, pa.string(), nullable=False) for name in _TEXTS),
        pa.field("seeds", pa.int32(), nullable=False),
        *(pa.field(name, pa.float64(), nullable=False) for name in _NUMBERS),
        *(pa.field(name, pa.bool_(), nullable=False) for name in _FLAGS),
    ]
)


def points_table(found: TradeOffs) -> pa.Table:
    """One row a point, in the order of the series and their tradeoffs."""
    rows = [
        {
            "series": one.name,
            "title": one.title,
            "kind": one.kind,
            "goal": one.goal,
            "start": one.start,
            "parameter": one.parameter,
            "seeds": one.seeds,
            "tradeoff": point.tradeoff,
            "ndcg@10": point.ndcg.mean,
            "ndcg@10_low": point.ndcg.low,
            "ndcg@10_high": point.ndcg.high,
            "value": point.value.mean,
            "value_low": point.value.low,
            "value_high": point.value.high,
            "popularity_percentile@10": point.popularity,
            "coverage@10": point.coverage,
            "on_front": point.on_front,
            "chosen": point.chosen,
        }
        for one in found.series
        for point in one.points
    ]
    return pa.Table.from_pylist(rows, POINTS)


def save_trade_offs(found: TradeOffs, folder: Path) -> None:
    """Write ``points.parquet`` and ``trade_offs.json`` into an existing folder."""
    write_table(points_table(found), folder / POINTS_FILE)
    with atomic_file(folder / JSON_FILE) as temporary:
        text = json.dumps({"format": FORMAT, **asdict(found)}, indent=2, ensure_ascii=False, allow_nan=False)
        temporary.write_text(text + "\n", encoding="utf-8")


def load_trade_offs(folder: Path) -> TradeOffs:
    """Read what :func:`save_trade_offs` wrote.

    Raises:
        DamagedFile: not all of it is there, or not as it was written.
    """
    with whole(folder):
        described = json.loads((folder / JSON_FILE).read_text(encoding="utf-8"))
        if described.pop("format") != FORMAT:
            raise ValueError(f"{JSON_FILE} is not of the format {FORMAT}")
        return TradeOffs(
            users=described["users"],
            validation_users=described["validation_users"],
            series=tuple(_series_result(one) for one in described["series"]),
            references=tuple(Reference(**one) for one in described["references"]),
            differences=tuple(
                HypervolumeDifference(**one | {"difference": Interval(**one["difference"])})
                for one in described["differences"]
            ),
            left_out=tuple(described["left_out"]),
            examples=_example_lists(described["examples"]),
        )


def _example_lists(one: dict[str, Any] | None) -> ExampleLists | None:
    if one is None:
        return None
    users = (ListsOfUser(user["user_index"], tuple(user["before"]), tuple(user["after"])) for user in one["users"])
    return ExampleLists(**one | {"users": tuple(users)})


def _series_result(one: dict[str, Any]) -> SeriesResult:
    points = tuple(
        Point(**point | {"ndcg": Interval(**point["ndcg"]), "value": Interval(**point["value"])})
        for point in one["points"]
    )
    bought = one["bought"]
    if bought is not None:
        intervals = {name: bought[name] for name in ("loss", "gain", "relative_gain")}
        bought = Bought(**bought | {name: value and Interval(**value) for name, value in intervals.items()})
    return SeriesResult(**one | {"points": points, "hypervolume": Interval(**one["hypervolume"]), "bought": bought})
