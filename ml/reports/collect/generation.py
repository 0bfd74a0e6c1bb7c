"""How models that generate identifiers made their lists, read from what their assets saved."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ml.codes.codes import VALUES_BEFORE
from ml.codes.equal_rows import collisions_of
from ml.codes.quality import tuple_metrics
from ml.data.files import read_json
from ml.data.training_set import TrainingSet
from ml.evaluation.rankings import facts
from ml.recommender import NO_ITEM
from ml.reports.content.generation import BeamWidth, Generation, TupleFigures

_CUT = 10


def generations(lake: Path, leaderboard: pa.Table) -> tuple[Generation, ...]:
    """One entry for each model of the leaderboard that generates identifiers, in its order.

    Args:
        lake: the dataset's folder in the lake.
        leaderboard: the table of its asset.
    """
    found = []
    for record in leaderboard.to_pylist():
        config = lake / "models" / record["recommender"] / "config.json"
        recipe = read_json(config.parent, config.name)["recipe"] if config.exists() else {}
        # lists that are written item by item come from no search
        if "beam_width" in recipe.get("model", {}) and recipe["model"].get("lists") != "next_k":
            found.append(_generation(lake, record["recommender"], record["title"], recipe))
    return tuple(found)


def _generation(lake: Path, name: str, title: str, recipe: Mapping[str, Any]) -> Generation:
    codes, beam = recipe["codes"], recipe["model"]["beam_width"]
    rankings = pq.read_table(lake / "rankings" / f"{name}.parquet", columns=["user_index", "rank", "item_index"])
    counts = facts(rankings).get("generated", {})
    path = lake / "rankings" / f"{name}.beam_widths.json"
    widths: dict[str, Any] = read_json(path.parent, path.name) if beam and path.exists() else {}
    return Generation(
        title=title,
        codes=codes,
        levels=read_json(lake / "codes" / codes, "codes.json")["books"],
        beam=beam,
        candidates=recipe["model"].get("dense_candidates", 0),
        lists=counts.get("lists"),
        certified=counts.get("certified"),
        repeated=counts.get("repeated"),
        filled=counts.get("filled"),
        tuples=_tuple_figures(lake, codes, rankings),
        users=widths.get("users", 0),
        widths=tuple(
            BeamWidth(one["width"], one["certified"], one["equal"], one["ndcg@10"]) for one in widths.get("widths", ())
        ),
    )


def _tuple_figures(lake: Path, codes: str, rankings: pa.Table) -> TupleFigures | None:
    before = lake / "codes" / codes / VALUES_BEFORE
    if not before.exists():
        return None
    training_set = TrainingSet.load(lake / "training_sets" / "sequences")
    if training_set.later_targets is not None:
        # identifiers are compared by the rank of one target
        return None
    values = np.load(before, allow_pickle=False)
    lists, targets = _lists(rankings, training_set), np.asarray(training_set.test_targets)
    of_tuples = tuple_metrics(values, lists, targets, _CUT)
    hits = lists[:, :_CUT] == targets[:, None]
    gains = hits / np.log2(np.arange(hits.shape[1]) + 2)
    return TupleFigures(
        shared=collisions_of(values)["items_in_collisions"],
        ndcg=float(gains.sum(axis=1).mean()),
        ndcg_of_tuples=float(of_tuples.ndcg_of_tuples.mean()),
        recall=float(hits.any(axis=1).mean()),
        recall_of_tuples=float(of_tuples.hit_of_tuples.mean()),
    )


def _lists(rankings: pa.Table, training_set: TrainingSet) -> np.ndarray:
    """The list of each test user, int ``[users, depth]``."""
    row_of = np.full(training_set.users, -1, dtype=np.int64)
    row_of[training_set.test_users] = np.arange(len(training_set.test_users))
    rank = rankings["rank"].to_numpy()
    lists = np.full((len(training_set.test_users), int(rank.max(initial=1))), NO_ITEM, dtype=np.int64)
    lists[row_of[rankings["user_index"].to_numpy()], rank - 1] = rankings["item_index"].to_numpy()
    return lists
