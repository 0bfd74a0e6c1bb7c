"""What a report says of users and items: statistics, lengths of histories, example recommendations."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ml.data.seen_targets import in_history
from ml.data.training_set import TrainingSet
from ml.evaluation.rankings import facts
from ml.reports.content.report import Example, ExampleItem, Examples, LeaderboardRow

_USERS = 4
_HISTORY_TAIL = 5
_RECOMMENDED = 5
_ORDER = ("user_id", "position", "timestamp", "split")
_RULE = (
    "The users are taken at even steps from all test users, ordered by id; they are not selected by their "
    "recommendations."
)


def statistics(lake: Path) -> dict[str, object]:
    """``marts.statistics``, with the test targets that a tie rule chose and those already in the history."""
    found = pq.read_table(lake / "marts" / "statistics.parquet").to_pylist()[0]
    splits = pq.read_table(lake / "marts" / "splits.parquet", columns=list(_ORDER))
    training_set = _training_set(lake)
    if training_set.unmeasured is not None:
        measured = np.char.decode(training_set.user_ids[training_set.test_users], "utf-8")
        splits = splits.filter(pc.is_in(splits["user_id"], pa.array(measured)))
    found["test_targets_tied"] = count_tied_targets(splits)
    found["test_targets_repeated"] = count_repeated_targets(training_set)
    return found


def training_set_digest(lake: Path) -> str:
    """Of the content of what all recommenders were fitted on and ranked for."""
    return _training_set(lake).digest()


def count_tied_targets(splits: pa.Table) -> int:
    """Test interactions that share their timestamp with the interaction of the same user before them; of several
    targets of a user the first counts.

    Args:
        splits: ``user_id``, ``position``, ``timestamp`` and ``split``, in any order.
    """
    columns = splits.select(_ORDER)
    if not _consecutive(columns):
        columns = columns.sort_by([("user_id", "ascending"), ("position", "ascending")])
    time = columns["timestamp"].to_numpy()
    tested = pc.equal(columns["split"], "test").to_numpy()
    follows = columns["position"].to_numpy()[1:] > 0
    # what precedes the first target of a user is no target
    return int((tested[1:] & follows & ~tested[:-1] & (time[1:] == time[:-1])).sum())


def _consecutive(columns: pa.Table) -> bool:
    """Whether every row that is not the first of its user stands right behind the row before it."""
    position = columns["position"].to_numpy()
    users = columns["user_id"].combine_chunks()
    if len(position) == 0:
        return True
    same_user = pc.equal(users[1:], users[:-1]).to_numpy(zero_copy_only=False)
    behind = (position[1:] == position[:-1] + 1) & same_user
    return bool(position[0] == 0 and (behind | (position[1:] == 0)).all())


def count_repeated_targets(training_set: TrainingSet) -> int:
    """Test users with a target that is already in their history."""
    held_out = training_set.held_out()
    return len(np.unique(held_out.row_of_each[in_history(training_set)]))


def history_lengths(lake: Path) -> tuple[tuple[int, int], ...]:
    """``(interactions, users with so many)``, ascending."""
    import polars as pl

    users = pl.read_parquet(lake / "marts" / "users.parquet", columns=["interactions"])
    return tuple(users["interactions"].value_counts(sort=False).sort("interactions").rows())


def examples(lake: Path, leader: LeaderboardRow) -> Examples:
    """What the leader recommends to a few test users, beside what they did before and next."""
    training_set = _training_set(lake)
    rankings = pq.read_table(lake / "rankings" / f"{leader.recommender}.parquet")
    depth = facts(rankings)["depth"]
    cases = np.unique(np.linspace(0, len(training_set.test_users) - 1, _USERS).round().astype(np.int64))
    users = np.asarray(training_set.test_users)[cases]
    chosen = rankings.filter(pc.is_in(rankings["user_index"], pa.array(users, pa.int32())))
    histories = training_set.histories("test").take(cases)
    held_out = training_set.held_out(cases)
    ranked: dict[int, list[tuple[int, int]]] = {int(user): [] for user in users}
    for record in chosen.select(["user_index", "rank", "item_index"]).to_pylist():
        ranked[record["user_index"]].append((record["rank"], record["item_index"]))
    lists = [[item for _, item in sorted(ranked[int(user)])] for user in users]

    wanted = {int(item) for row in range(len(users)) for item in histories[row][-_HISTORY_TAIL:]}
    wanted |= {int(item) for item in held_out.items} | {item for items in lists for item in items[:_RECOMMENDED]}
    identities = {item: training_set.item_ids[item].decode() for item in wanted}
    titles = titles_of(lake, sorted(identities.values()))

    found = []
    for row, user in enumerate(users):
        history, items = histories[row].tolist(), lists[row]
        target, *later = held_out[row].tolist()

        def show(item: int, targets: list[int], history: list[int]) -> ExampleItem:
            identity = identities[item]
            is_next = item in targets[:1]
            return ExampleItem(
                identity, titles.get(identity), is_next, item in history, item in targets and not is_next
            )

        found.append(
            Example(
                user_id=training_set.user_ids[user].decode(),
                history_length=len(history),
                history=tuple(show(item, [], []) for item in history[-_HISTORY_TAIL:]),
                target=show(target, [target], history),
                recommended=tuple(show(item, [target, *later], history) for item in items[:_RECOMMENDED]),
                target_rank=items.index(target) + 1 if target in items else None,
                depth=depth,
                later_targets=tuple(show(item, later, history) for item in later),
            )
        )
    return Examples(leader.title, _RULE, tuple(found))


def titles_of(lake: Path, identities: list[str]) -> dict[str, str]:
    """Titles by identity, of the given items that have one."""
    import polars as pl

    items = pl.scan_parquet(lake / "marts" / "items.parquet").select("item_id", "title")
    return dict(items.filter(pl.col("item_id").is_in(identities) & (pl.col("title") != "")).collect().rows())


def _training_set(lake: Path) -> TrainingSet:
    return TrainingSet.load(lake / "training_sets" / "sequences")
