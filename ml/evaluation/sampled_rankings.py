"""The lists of a fixed sample of users, so that two runs can be compared list by list.

Users are taken by a digest of their identity: those with the smallest ones. Which they are depends on nothing else, so
two runs on slightly different data sample nearly the same people (a bottom-k sample with permanent random numbers;
Cohen and Kaplan, "Summarizing data using bottom-k sketches", PODC 2007). Users and items stand by identity, since
indices change with the catalogue.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ml.data.training_set import TrainingSet
from ml.evaluation.rankings import RankingError, facts
from ml.recommender import NO_ITEM

# beside a report, in its folder
SAMPLE_FILE = "sampled_users.parquet"
USERS = 2000
LENGTH = 10
COLUMNS = pa.schema(
    [
        pa.field("user_id", pa.string(), nullable=False),
        pa.field("recommender", pa.string(), nullable=False),
        # the held-out item of the user
        pa.field("target", pa.string(), nullable=False),
        # 1-based, null where the target is not in the list that was kept
        pa.field("target_rank", pa.int16()),
        # the first of the list, best first
        pa.field("items", pa.list_(pa.string()), nullable=False),
    ]
)
# a paired test speaks of the users that kept their target; where most did not, it would speak of few
_KEPT_SHARE = 0.5
_FORMAT = b"raw2rank-sampled-rankings-1"
# in the metadata of a sample whose users have more targets than the one that stands there
_SEVERAL = b"several_targets"


def sample_rankings(rankings: Mapping[str, pa.Table], training_set: TrainingSet, users: int = USERS) -> pa.Table:
    """The first :data:`LENGTH` items and the rank of the target, for a sample of the test users.

    Args:
        rankings: of :func:`ml.evaluation.rankings.rank`, by name of the recommender on the leaderboard; of several
            seeds, those of one.
        training_set: that was ranked for.
        users: at most so many are taken.

    Where users have several targets, the sample is of the first, and says so; no test is paired on it.

    Returns:
        Columns :data:`COLUMNS`, by ascending ``user_id`` and ``recommender``; one row for each of both, also where the
        list is empty. Equal rankings give equal tables, whatever the order of the mapping.

    Raises:
        RankingError: rankings are of another training set.
    """
    digest = training_set.digest()
    cases = sampled_cases(training_set, users)
    place = np.full(training_set.users, -1, dtype=np.int64)
    place[np.asarray(training_set.test_users)[cases]] = np.arange(len(cases))
    targets = np.asarray(training_set.test_targets)[cases]
    names = sorted(rankings)
    ranks = np.zeros((len(cases), len(names)), dtype=np.int16)
    items = np.full((len(cases), len(names), LENGTH), NO_ITEM, dtype=np.int64)
    for column, name in enumerate(names):
        table = rankings[name]
        if facts(table)["training_set"] != digest:
            raise RankingError(f"{name} was ranked on another training set than {training_set.dataset}: rank again")
        row = place[table["user_index"].to_numpy()]
        chosen = row >= 0
        row, rank = row[chosen], table["rank"].to_numpy()[chosen]
        item = table["item_index"].to_numpy()[chosen]
        first = rank <= LENGTH
        items[row[first], column, rank[first] - 1] = item[first]
        hit = item == targets[row]
        ranks[row[hit], column] = rank[hit]
    return _table(training_set, cases, names, ranks, items)


def sampled_cases(training_set: TrainingSet, users: int = USERS) -> np.ndarray:
    """The sampled test cases, int64 ``[at most users]``, ascending."""
    identities = np.asarray(training_set.user_ids)[np.asarray(training_set.test_users)]
    digests = [hashlib.sha256(identity).digest() for identity in identities.tolist()]
    return np.sort(np.array(sorted(range(len(digests)), key=digests.__getitem__)[:users], dtype=np.int64))


def _table(
    training_set: TrainingSet, cases: np.ndarray, names: list[str], ranks: np.ndarray, items: np.ndarray
) -> pa.Table:
    """The arrays ``[cases, names]`` and ``[cases, names, LENGTH]`` as one row a case and name."""
    flat = items.reshape(-1, LENGTH)
    kept = flat != NO_ITEM
    offsets = np.concatenate([[0], np.cumsum(kept.sum(axis=1))]).astype(np.int32)
    user_ids = _texts(training_set.user_ids, np.asarray(training_set.test_users)[cases])
    targets = _texts(training_set.item_ids, np.asarray(training_set.test_targets)[cases])
    of_case = pa.array(np.repeat(np.arange(len(cases)), len(names)))
    return pa.table(
        {
            "user_id": user_ids.take(of_case),
            "recommender": pa.array(names * len(cases), pa.string()),
            "target": targets.take(of_case),
            "target_rank": pa.array(ranks.reshape(-1), pa.int16(), mask=ranks.reshape(-1) == 0),
            "items": pa.ListArray.from_arrays(pa.array(offsets), _texts(training_set.item_ids, flat[kept])),
        },
        schema=COLUMNS.with_metadata(
            {b"raw2rank": _FORMAT} | ({} if training_set.later_targets is None else {_SEVERAL: b"yes"})
        ),
    )


def _texts(identities: np.ndarray, indices: np.ndarray) -> pa.Array:
    """Identities as text, each decoded once."""
    wanted, place = np.unique(indices, return_inverse=True)
    known = pa.array([identity.decode() for identity in np.asarray(identities)[wanted].tolist()], pa.string())
    return known.take(pa.array(place.reshape(-1)))


def check_sample(table: pa.Table) -> None:
    """Make sure that a table was made by :func:`sample_rankings` of this version.

    Raises:
        RankingError: it was not.
    """
    said = (table.schema.metadata or {}).get(b"raw2rank", b"nothing")
    if said != _FORMAT or not table.schema.equals(COLUMNS, check_metadata=False):
        raise RankingError(
            f"sampled rankings of another version ({said.decode(errors='replace')}; this one reads {_FORMAT.decode()})"
        )


class PairedSamples:
    """The samples of two runs, user by user.

    Attributes:
        counts: users sampled in the first, in the second, in both, and those of both whose target is the same item.
        have_several: whether the users of a sample have more targets than the one that it holds.
    """

    def __init__(self, before: pa.Table, after: pa.Table) -> None:
        self._tables = (before, after)
        targets = [
            dict(zip(table["user_id"].to_pylist(), table["target"].to_pylist(), strict=True)) for table in self._tables
        ]
        self._both = sorted(targets[0].keys() & targets[1].keys())
        kept = [user for user in self._both if targets[0][user] == targets[1][user]]
        self.counts = (len(targets[0]), len(targets[1]), len(self._both), len(kept))
        self.have_several = any(_SEVERAL in (table.schema.metadata or {}) for table in self._tables)
        self._kept = kept if not self.have_several and len(kept) >= max(2, _KEPT_SHARE * min(self.counts[:2])) else []

    def ranks(self, name: str) -> tuple[np.ndarray, np.ndarray] | None:
        """Ranks of the target before and after for the users who kept it, 0 where it was not ranked, ``[users]``.

        ``None`` where fewer kept it than half of the smaller sample, users have several targets, or a sample does not
        know the recommender.
        """
        rows = [self._rows(table, name, self._kept) for table in self._tables]
        parts = [part for part in rows if part is not None]
        if not self._kept or len(parts) < len(rows):
            return None
        before, after = (pc.fill_null(part["target_rank"], 0).to_numpy() for part in parts)
        return before, after

    def lists(self, name: str) -> tuple[np.ndarray, np.ndarray] | None:
        """Lists before and after for the users of both, int64 ``[users, LENGTH]``, as those of
        :func:`ml.data.list_overlap.overlaps`.

        ``None`` where there is no such user, or a sample does not know the recommender.
        """
        rows = [self._rows(table, name, self._both) for table in self._tables]
        parts = [part for part in rows if part is not None]
        if not self._both or len(parts) < len(rows):
            return None
        lists = [part["items"].combine_chunks() for part in parts]
        numbered = pa.concat_arrays([one.flatten() for one in lists]).dictionary_encode().indices.to_numpy()
        found, start = [], 0
        for one in lists:
            lengths = pc.list_value_length(one).to_numpy()
            filled = np.full((len(one), LENGTH), NO_ITEM, dtype=np.int64)
            filled[np.arange(LENGTH) < lengths[:, None]] = numbered[start : start + lengths.sum()]
            start += lengths.sum()
            found.append(filled)
        return found[0], found[1]

    def _rows(self, table: pa.Table, name: str, users: list[str]) -> pa.Table | None:
        """The rows of one recommender, one for each of the given users in this order."""
        rows = table.filter(pc.equal(table["recommender"], name))
        found = pc.index_in(pa.array(users, pa.string()), rows["user_id"])
        return None if rows.num_rows == 0 or found.null_count else rows.take(found)
