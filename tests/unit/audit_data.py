"""Made-up interactions for the audits, with training sets made of them row by row in plain Python."""

from __future__ import annotations

import hashlib
import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from ml.data.sequences import Sequences
from ml.data.timed_interactions import NO_TIME, SPLITS, Interactions
from ml.data.training_set import TrainingSet

DAY = 86_400_000


@dataclass(frozen=True)
class Row:
    """One kept interaction; ``moment`` in milliseconds, ``copies`` further rows of the dump that say the same."""

    user: str
    item: str
    moment: int | None
    line: int
    rating: float | None = 5.0
    copies: int = 0


def _md5(*parts: object) -> str:
    return hashlib.md5("|".join(str(part) for part in parts if part is not None).encode()).hexdigest()


def histories(rows: Sequence[Row], rule: str, seed: int) -> dict[str, list[Row]]:
    """Rows of each user by time, ties by the rule."""

    def key(row: Row) -> tuple:
        second = None if row.moment is None else row.moment // 1000
        ties = {
            "hash": _md5(row.user, row.item, second),
            "shuffle": _md5(seed, row.user, row.item, second),
            "file": row.line,
            "item": row.item,
        }
        rating = (row.rating is None, row.rating or 0)
        return (row.moment is None, row.moment or 0, ties[rule], row.item, rating)

    users = defaultdict(list)
    for row in rows:
        users[row.user].append(row)
    return {user: sorted(users[user], key=key) for user in sorted(users)}


def _sampled(users: list[str], seed: int, wanted: int) -> set[str]:
    ordered = sorted(users, key=lambda user: (_md5(seed, user), user))
    return set(ordered[:wanted] if wanted else ordered)


def leave_one_out(users: dict[str, list[Row]], seed: int, wanted: int) -> dict[str, list[str]]:
    validated = _sampled([user for user, rows in users.items() if len(rows) >= 3], seed, wanted)
    labels = {user: ["train"] * len(rows) for user, rows in users.items()}
    for user, rows in users.items():
        if len(rows) >= 2:
            labels[user][-1] = "test"
        if user in validated:
            labels[user][-2] = "validation"
    return labels


def global_temporal(
    users: dict[str, list[Row]], seed: int, wanted: int, quantiles: tuple[float, float]
) -> dict[str, list[str]]:
    times = sorted(row.moment // 1000 for rows in users.values() for row in rows)
    first, second = (times[math.ceil(Fraction(str(share)) * len(times)) - 1] for share in quantiles)
    labels, may_validate = {}, []
    for user, rows in users.items():
        seconds = [row.moment // 1000 for row in rows]
        labels[user] = ["train" if at < first else "history" if at < second else "unused" for at in seconds]
        if "train" in labels[user] and "history" in labels[user]:
            may_validate.append(user)
        if "unused" in labels[user] and labels[user][0] != "unused":
            labels[user][labels[user].index("unused")] = "test"
    for user in _sampled(may_validate, seed, wanted):
        labels[user][labels[user].index("history")] = "validation"
    return labels


def training_set(users: dict[str, list[Row]], labels: dict[str, list[str]], protocol: dict) -> TrainingSet:
    """Of rows in the order of their histories, user by user."""
    item_ids = sorted({row.item for rows in users.values() for row in rows})
    place = {item: index for index, item in enumerate(item_ids)}
    train, targets, between = [], {"validation": {}, "test": {}}, {"validation": {}, "test": {}}
    for index, (user, rows) in enumerate(users.items()):
        items, own = [place[row.item] for row in rows], labels[user]
        train.append([item for item, label in zip(items, own, strict=True) if label == "train"])
        validated = own.index("validation") if "validation" in own else -1
        known = [(at, items[at]) for at, label in enumerate(own) if label == "history"]
        for split in ("validation", "test"):
            if split in own:
                targets[split][index] = items[own.index(split)]
                is_before = split == "validation"
                between[split][index] = [item for at, item in known if (at < validated) == is_before]

    def cases(split: str) -> tuple[np.ndarray, np.ndarray]:
        return tuple(np.array(list(part), dtype=np.int32) for part in (targets[split], targets[split].values()))

    everything = [[place[row.item] for row in rows] for rows in users.values()]
    read = [*train, *(row for split in between for row in [*between[split].values(), list(targets[split])])]
    leaves_some_out = sum(map(len, read)) < sum(map(len, everything))
    return TrainingSet(
        dataset="Made_Up",
        item_ids=np.char.encode(np.array(item_ids), "utf-8"),
        user_ids=np.char.encode(np.array(list(users)), "utf-8"),
        train=Sequences.from_lists(train),
        validation_users=cases("validation")[0],
        validation_targets=cases("validation")[1],
        test_users=cases("test")[0],
        test_targets=cases("test")[1],
        protocol=protocol,
        before_validation=Sequences.from_lists(list(between["validation"].values())),
        before_test=Sequences.from_lists(list(between["test"].values())),
        whole=Sequences.from_lists(everything) if leaves_some_out else None,
    )


def interactions(
    users: dict[str, list[Row]], labels: dict[str, list[str]], given_order: bool = False, given_split: bool = False
) -> Interactions:
    rows = [row for own in users.values() for row in own]
    items = sorted({row.item for row in rows})
    return Interactions(
        users=np.repeat(np.arange(len(users)), [len(own) for own in users.values()]).astype(np.int32),
        items=np.array([items.index(row.item) for row in rows], dtype=np.int32),
        splits=np.array([SPLITS.index(label) for own in labels.values() for label in own], dtype=np.uint8),
        moments=np.array([NO_TIME if row.moment is None else row.moment for row in rows], dtype=np.int64),
        lines=np.array([row.line for row in rows], dtype=np.int64),
        ratings=np.array([math.nan if row.rating is None else row.rating for row in rows], dtype=np.float32),
        duplicates=np.array([row.copies for row in rows], dtype=np.int64),
        has_given_order=given_order,
        has_given_split=given_split,
    )


def dataset(
    rows: Sequence[Row],
    rule: str = "hash",
    seed: int = 0,
    split: str = "leave-one-out",
    validation_users: int = 0,
    given_order: bool = False,
) -> tuple[TrainingSet, Interactions]:
    """Training set and interactions of rows, as the warehouse would make them. All may validate with 0."""
    users = histories(rows, rule, seed)
    if split == "leave-one-out":
        labels = leave_one_out(users, seed, validation_users)
    else:
        labels = global_temporal(users, seed, validation_users, (0.8, 0.9))
    protocol = {"split": split, "tie_order": rule, "seed": seed, "validation_users": validation_users}
    return training_set(users, labels, protocol), interactions(users, labels, given_order)


def chains(
    users: int = 120,
    items: int = 40,
    length: int = 8,
    per_moment: int = 1,
    sort_ties: bool = False,
    days: int = 1000,
    seed: int = 0,
) -> list[Row]:
    """Histories that walk along a ring of items, so that the last item tells the next.

    Args:
        users: how many.
        items: how many, with identities that have nothing to do with their place in the ring.
        length: of each history.
        per_moment: interactions of a user at one moment.
        sort_ties: whether the rows of one moment stand in the order of item identities in the dump.
        days: on the first of which users start, at random.
        seed: of all that is drawn.
    """
    generator = np.random.default_rng(seed)
    ring = [f"B{number:04d}" for number in generator.permutation(items)]
    rows = []
    for user in range(users):
        start, day = int(generator.integers(items)), int(generator.integers(days))
        walked = [ring[(start + step) % items] for step in range(length)]
        for moment in range(0, length, per_moment):
            together = walked[moment : moment + per_moment]
            together = sorted(together) if sort_ties else together
            rows += [(f"A{user:04d}", item, (day + moment) * DAY) for item in together]
    return [Row(user, item, moment, line) for line, (user, item, moment) in enumerate(rows)]
