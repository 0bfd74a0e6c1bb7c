"""Two states of a dataset compared: the distances between their profiles, and a state beside the median of several."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from ml.data.drift.distances import (
    kolmogorov_smirnov,
    population_stability_index,
    rank_biased_overlap,
    total_variation,
)
from ml.data.drift.profile import IDENTITIES, OPTIONAL

REFERENCE = "reference"
# accepted states that the median is of, and how many there must be for it to say more than the last one does
_MEDIAN_OF, _MEDIAN_NEEDS = 5, 3

Row = dict[str, float | int | None]


def distances(
    kind: str, present: Mapping[str, Any], earlier: Mapping[str, Any] | None, common: Mapping[str, int]
) -> Row:
    """How far the present state is from an earlier one.

    Args:
        kind: ``reviews`` or ``metadata``.
        present: profile of the present state.
        earlier: profile of the earlier one, or ``None`` where there is none.
        common: how many users and items of the earlier one are still there; ``text_changed`` and ``price_changed``
            of these items, of metadata.

    Returns:
        ``rows_ratio``; for each optional column ``<column>_missing_change`` (share of missing values less the earlier
        share, -1 to 1); for users and items ``new_<users>_share`` (of the present ones, 0 to 1) and
        ``lost_<users>_share`` (of the earlier ones). Of reviews ``rating_distance`` (total variation, 0 to 1),
        ``rating_psi`` (population stability index), ``history_distance`` (Kolmogorov-Smirnov, of the rows of each
        user, 0 to 1) and ``popular_overlap`` (rank-biased overlap of the most popular items, 0 to 1). Of metadata
        ``text_changed_share`` and ``price_changed_share`` (of the common items, 0 to 1) and ``price_psi``. A figure is
        ``None`` where one side has nothing to count, or a profile of an earlier version lacks it.
    """
    before = earlier or {}
    row: Row = {"rows_ratio": _share(present["rows"], before.get("rows"))}
    for column in OPTIONAL[kind]:
        now = _share(present[f"{column}_missing"], present["rows"])
        then = _share(before.get(f"{column}_missing"), before.get("rows"))
        row[f"{column}_missing_change"] = None if now is None or then is None else now - then
    for name in IDENTITIES[kind]:
        kept = common.get(name)
        row[f"new_{name}_share"] = None if kept is None else _share(present[name] - kept, present[name])
        row[f"lost_{name}_share"] = None if kept is None else _share(before[name] - kept, before[name])
    if kind == "reviews":
        ratings = before.get("ratings", {}), present["ratings"]
        row["rating_distance"] = total_variation(*ratings)
        row["rating_psi"] = population_stability_index(*ratings)
        row["history_distance"] = kolmogorov_smirnov(before.get("history_lengths", {}), present["history_lengths"])
        row["popular_overlap"] = rank_biased_overlap(before.get("popular", ()), present["popular"])
    else:
        row["text_changed_share"] = _share(common.get("text_changed"), common.get("items"))
        row["price_changed_share"] = _share(common.get("price_changed"), common.get("items"))
        row["price_psi"] = population_stability_index(before.get("prices", {}), present["prices"])
    return row


def figures(kind: str, of: Mapping[str, Any]) -> Row:
    """What of a profile is one number: sizes, means, and shares of missing values."""
    row: Row = {"rows": of["rows"], **{name: of[name] for name in IDENTITIES[kind]}}
    row |= {f"{column}_missing_share": _share(of[f"{column}_missing"], of["rows"]) for column in OPTIONAL[kind]}
    if kind == "reviews":
        rated = sum(of["ratings"].values())
        row["mean_rating"] = _share(sum(float(rating) * count for rating, count in of["ratings"].items()), rated)
        row["mean_history"] = _share(of["rows"], of["users"])
    return row


def from_median(kind: str, present: Mapping[str, Any], states: Sequence[Mapping[str, Any]]) -> Row:
    """The sizes of the present state as multiples of their median over the last accepted states, named
    ``<rows>_to_median``, and of reviews the mean rating less that median, ``mean_rating_from_median``.

    ``None`` where fewer than three states were accepted.
    """
    now = figures(kind, present)
    sizes = ["rows", *IDENTITIES[kind], *(["mean_history"] if kind == "reviews" else [])]
    row: Row = {f"{name}_to_median": _share(now[name], _median(states, name)) for name in sizes}
    if kind == "reviews":
        mean, median = now["mean_rating"], _median(states, "mean_rating")
        row["mean_rating_from_median"] = None if mean is None or median is None else mean - median
    return row


def _median(states: Sequence[Mapping[str, Any]], name: str) -> float | None:
    known = [state[name] for state in states[-_MEDIAN_OF:] if state.get(name) is not None]
    return statistics.median(known) if len(known) >= _MEDIAN_NEEDS else None


def _share(part: float | None, whole: float | None) -> float | None:
    return part / whole if part is not None and whole else None
