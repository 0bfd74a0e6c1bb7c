"""A made-up comparison of two reports with something in every section."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa

from ml.audits.audit import CONCERN, NO_CONCERN
from ml.evaluation.intervals import Interval
from ml.evaluation.significance import MeanDifference
from ml.reports.compare.comparison import (
    PAIRED,
    UNPAIRED,
    AuditChange,
    Change,
    Comparison,
    FileChange,
    ListChange,
    MetricChange,
)
from ml.reports.compare.written_report import Report


def _report(folder: str, **board: dict[str, Any]) -> Report:
    return Report(Path(folder), "Made_Up", folder, {}, {}, {}, "", (), {}, board, {}, pa.table({}))


def _metric(title: str, before: float, after: float, finding: str, p: float, **changes: Any) -> MetricChange:
    difference = after - before
    known: dict[str, Any] = {
        "recommender": title.lower(),
        "title": title,
        "before": before,
        "after": after,
        "rank_before": 2,
        "rank_after": 1,
        "method": PAIRED,
        "users": (65, 65),
        "test": MeanDifference(difference, 0.002, 64.0),
        "differs": finding != "equal",
        "difference": Interval(difference, difference - 0.004, difference + 0.004),
        "p_value_adjusted": p,
        "finding": finding,
    }
    return MetricChange(**{**known, **changes})


def changed_data() -> Comparison:
    """Other files, another protocol, an audit with a new concern, and recommenders in every state."""
    fit = (Change("fit_on", "train", "train+validation"), Change("seeds", None, 3))
    return Comparison(
        before=_report("before", tower={"seeds": 1}),
        after=_report("after", tower={"seeds": 3}),
        same_training_set=False,
        incomparable=(),
        choices=(Change("seed", "0", "1"),),
        protocol=(Change("seed", "0", "1"), Change("test users", "70", "71")),
        files=(
            FileChange("a.json.gz", "same", 10, 10),
            FileChange("b.json.gz", "changed", 2000, 2100),
            FileChange("c.json.gz", "added", None, 6),
            FileChange("d.json.gz", "gone", 4, None),
        ),
        statistics=(Change("users", 70, 71), Change("density", 0.25, 0.2534567)),
        data_versions=(Change("marts/interactions", "ab" * 32, "cd" * 32),),
        settings=(Change("verified_only", False, True),),
        versions=(Change("numpy", "1.0", "2.0"),),
        code=Change("raw2rank", "0.1.0", "0.2.0"),
        audits=(
            AuditChange(
                "Ties in time",
                NO_CONCERN,
                CONCERN,
                "No rule matters.",
                "A rule matters.",
                (Change("share", 0.25, 0.5),),
            ),
            AuditChange("Duplicates", CONCERN, None, "Many are equal.", "", ()),
        ),
        lists=(
            ListChange("tower", "Tower", 65, 0.5, 0.75, 0.8125),
            ListChange("chain", "Chain", 65, 1.0, 1.0, 1.0),
        ),
        metrics=(
            _metric("Tower", 0.05, 0.06, "better", 0.0123, made=(Change("seed", 0, 1),)),
            _metric("Chain", 0.04, 0.04, "equal", 1.0, rank_before=3, rank_after=3),
            _metric("Graph", 0.05, 0.044, "worse", 0.00001, method=UNPAIRED, users=(70, 71)),
            _metric("Small", 0.03, 0.031, "not significantly different", 0.31),
            _metric("Blend", 0.07, 0.08, "not comparable", float("nan"), made=fit),
        ),
        new=("Fresh",),
        gone=("Old",),
        sampled=(65, 66, 65, 65),
    )


def nothing_changed() -> Comparison:
    """Equal reports of three recommenders."""
    metrics = tuple(
        _metric(title, 0.05, 0.05, "equal", 1.0, rank_before=place, rank_after=place)
        for place, title in enumerate(("Tower", "Chain", "Small"), start=1)
    )
    lists = tuple(ListChange(one.recommender, one.title, 65, 1.0, 1.0, 1.0) for one in metrics)
    return Comparison(
        *(_report("before"), _report("after"), True),
        *((), (), (), (FileChange("a.json.gz", "same", 10, 10),), (), (), (), (), None, ()),
        lists,
        metrics,
        (),
        (),
        (65, 65, 65, 65),
    )


def incomparable() -> Comparison:
    """Two reports under other protocols, without a recommender in both samples."""
    from dataclasses import replace

    split = Change("split", "leave-one-out", "global-temporal")
    metric = _metric("Tower", 0.05, 0.06, "not comparable", float("nan"))
    return replace(
        nothing_changed(),
        same_training_set=False,
        incomparable=(split,),
        choices=(split,),
        protocol=(split,),
        lists=(),
        metrics=(metric,),
        sampled=(65, 65, 0, 0),
    )
