"""Progressive evaluation: the interactions of the next dump are the test of the release that was in charge before it.

A figure of this kind looks forward: nothing of what is predicted was there when the release was fitted, chosen and
promoted. Of each user who was known before, the first interaction that is new is ranked by the release, from what
the user did before it. Each new interaction is so used once, by the release that was in charge when it arrived.

What was known is kept as a digest of each interaction, beside the series of results, in one folder that is replaced in
one step: :func:`advance` either adds a result and knows the new interactions, or does neither.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ml.data.database import connect, one_row, quoted
from ml.data.sequences import Sequences
from ml.evaluation.significance import SeedValues, mean_test, paired_test
from ml.recommender import NO_ITEM
from ml.release.bundle import Bundle
from ml.release.series import read_entries, write_entries

if TYPE_CHECKING:
    import duckdb

FORMAT = "raw2rank-progress-1"
SERIES_FILE, KNOWN_FILE = "series.json", "known.parquet"
K = 10


class ProgressError(ValueError):
    """The record of earlier results cannot be read; the message says where it is and what to do."""


@dataclass(frozen=True)
class Result:
    """What one release was worth for the interactions that came after it.

    Attributes:
        release: digest of the release.
        title: of its recommender.
        interactions: that are new.
        lost: that were known and are gone.
        late: of the new ones, those that stand before another of the same user that was known; not ranked.
        new_users: users of whom nothing was known; not ranked.
        users: whose first new interaction was ranked.
        new_items: of these interactions, those with an item that the release does not know; each is a miss.
        ndcg: nDCG@10 over the users.
        ndcg_low: lower bound of its 95 % interval; ``None`` where there are fewer than two users.
        ndcg_high: upper bound.
        recall: recall@10 over the users.
        popular_ndcg: nDCG@10 of the items that were most popular in the release's training histories.
        difference_low: lower bound of the 95 % interval of the release less the most popular items, paired by user.
        difference_high: upper bound.
    """

    release: str
    title: str
    interactions: int
    lost: int
    late: int
    new_users: int
    users: int
    new_items: int
    ndcg: float | None
    ndcg_low: float | None
    ndcg_high: float | None
    recall: float | None
    popular_ndcg: float | None
    difference_low: float | None
    difference_high: float | None

    @classmethod
    def from_json(cls, known: Mapping[str, Any]) -> Result:
        return cls(**{field.name: known.get(field.name) for field in fields(cls)})  # type: ignore[arg-type]


def read_series(folder: Path) -> list[Result]:
    """Results in the order in which they were made; none before the first.

    Raises:
        ProgressError: the record cannot be read.
    """
    return read_entries(folder / SERIES_FILE, FORMAT, "series", Result.from_json, ProgressError)


def advance(interactions: Path, before: Path, release: Bundle | None, digest: str, after: Path) -> Result | None:
    """Measure a release on what is new, and know it from now on.

    Args:
        interactions: the mart of that name, with the columns ``user_id``, ``item_id``, ``timestamp`` and ``position``.
        before: folder that an earlier call wrote; need not exist.
        release: in charge until now; ``None`` where there is none.
        digest: of the release.
        after: existing folder to write (:func:`ml.data.versions.versioned_folder`).

    Returns:
        The result that was added to the series; ``None`` where nothing is new, nothing was known, or there is no
        release.

    Raises:
        ProgressError: the record of earlier results cannot be read.
    """
    series = read_series(before)
    known = before / KNOWN_FILE
    result = None
    with connect() as connection:
        connection.execute(
            "create table present as select user_id::varchar as user_id, item_id::varchar as item_id, position, "
            "coalesce(timestamp, 0) as timestamp, "
            "md5_number_lower(concat_ws(chr(31), user_id, item_id, timestamp, row_number() over ("
            "partition by user_id, item_id, timestamp order by position))) as digest "
            f"from read_parquet('{quoted(interactions)}', hive_partitioning = false)"
        )
        if release is not None and known.exists():
            connection.execute(f"create view known as from read_parquet('{quoted(known)}', hive_partitioning = false)")
            result = _measured(connection, release, digest)
        connection.execute(
            f"copy (select digest from present order by digest) to '{quoted(after / KNOWN_FILE)}' "
            "(format parquet, compression zstd)"
        )
    write_entries(after / SERIES_FILE, FORMAT, "series", [*series, result] if result is not None else series)
    return result


def _measured(connection: duckdb.DuckDBPyConnection, release: Bundle, digest: str) -> Result | None:
    new, lost = one_row(
        connection,
        "select (select count(*) from present anti join known using (digest)), "
        "(select count(*) from known anti join present using (digest))",
    )
    if not new:
        return None
    connection.execute(
        "create table marked as select present.*, known.digest is null as is_new, "
        "max(present.position) filter (known.digest is not null) over (partition by user_id) as last_known "
        "from present left join known using (digest)"
    )
    late, new_users = one_row(
        connection,
        "select count(*) filter (is_new and position < last_known), "
        "count(distinct user_id) filter (last_known is null) from marked",
    )
    cases = connection.execute(
        "select arg_min(item_id, position) filter (is_new and position > last_known) as target, "
        "list(item_id order by position) filter (not is_new) as history, "
        "list(timestamp order by position) filter (not is_new) as times "
        "from marked where last_known is not null group by user_id having target is not null order by user_id"
    ).fetchall()
    targets = release.indices([target for target, *_ in cases])
    histories, _ = release.encode([history for _, history, _ in cases], [times for *_, times in cases])
    ranks = _ranks(release, histories, targets)
    ndcg, popular = _ndcg(ranks), _ndcg(_ranks_by_popularity(release, histories, targets))
    mean = mean_test(SeedValues.of_one_seed(ndcg)) if len(cases) > 1 else None
    gain = paired_test(SeedValues.of_one_seed(ndcg), SeedValues.of_one_seed(popular)) if len(cases) > 1 else None
    return Result(
        release=digest,
        title=release.title,
        interactions=new,
        lost=lost,
        late=late,
        new_users=new_users,
        users=len(cases),
        new_items=int((targets == NO_ITEM).sum()),
        ndcg=float(ndcg.mean()) if len(cases) else None,
        ndcg_low=mean.interval().low if mean else None,
        ndcg_high=mean.interval().high if mean else None,
        recall=float((ranks < K).mean()) if len(cases) else None,
        popular_ndcg=float(popular.mean()) if len(cases) else None,
        difference_low=gain.interval().low if gain else None,
        difference_high=gain.interval().high if gain else None,
    )


def _ranks(release: Bundle, histories: Sequences, targets: np.ndarray) -> np.ndarray:
    """Rank of each target in its list of ten, from 0, int64 ``[cases]``; :data:`K` for a miss."""
    lists = release.ranked(histories, min(K, release.items)).items
    found = (lists == targets[:, None]) & (targets[:, None] != NO_ITEM)
    return np.where(found.any(axis=1), found.argmax(axis=1), K)


def _ranks_by_popularity(release: Bundle, histories: Sequences, targets: np.ndarray) -> np.ndarray:
    """The same in the order of the interactions in the release's training histories, of equal ones by item id; without
    the items of a history where the release leaves them out."""
    order = np.argsort(-release.interactions, kind="stable")
    place = np.empty(release.items, dtype=np.int64)
    place[order] = np.arange(release.items)
    ranks = np.where(targets == NO_ITEM, K, place[targets])
    if release.exclude_seen and len(histories.items):
        rows = histories.row_of_each
        own = np.unique(np.stack([rows, histories.items]), axis=1)
        above = place[own[1]] < ranks[own[0]]
        seen = own[1] == targets[own[0]]
        # a target that is left out is a miss
        ranks = np.where(np.bincount(own[0], seen, len(ranks)) > 0, K, ranks - np.bincount(own[0], above, len(ranks)))
    return np.minimum(ranks, K).astype(np.int64)


def _ndcg(ranks: np.ndarray) -> np.ndarray:
    """nDCG@10 of lists with one relevant item each, float64 ``[cases]``."""
    return np.where(ranks < K, 1 / np.log2(ranks + 2), 0.0)
